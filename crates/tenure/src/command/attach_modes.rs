//! What a program made of the caller's terminal, so that it can be undone when somebody leaves a program that goes on.

use std::collections::BTreeSet;

/// The cursor is shown unless a program says otherwise; every other mode is off.
const CURSOR: u16 = 25;

/// Modes that must not outlive a program: keys, mouse, focus, the other screen, pasting, and waiting with what is drawn.
const KNOWN: [u16; 16] = [1, 9, 47, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1015, 1016, 1047, 1049, 2004, 2026];

/// Follows what is printed.
#[derive(Debug, Default)]
pub struct Modes {
    set: BTreeSet<u16>,
    cursor_hidden: bool,
    at: At,
}

#[derive(Debug, Default)]
enum At {
    #[default]
    Text,
    Escape,
    Bracket,
    Numbers(String),
}

impl Modes {
    /// This was printed.
    pub fn printed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.at = match (std::mem::take(&mut self.at), byte) {
                (_, 0x1b) => At::Escape,
                (At::Escape, b'[') => At::Bracket,
                (At::Bracket, b'?') => At::Numbers(String::new()),
                (At::Numbers(mut numbers), b'0'..=b'9' | b';') if numbers.len() < 64 => {
                    numbers.push(char::from(byte));
                    At::Numbers(numbers)
                }
                (At::Numbers(numbers), b'h' | b'l') => {
                    self.switch(&numbers, byte == b'h');
                    At::Text
                }
                (At::Text | At::Escape | At::Bracket | At::Numbers(_), _) => At::Text,
            };
        }
    }

    fn switch(&mut self, numbers: &str, on: bool) {
        for number in numbers.split(';').filter_map(|number| number.parse().ok()) {
            match (number, on) {
                (CURSOR, _) => self.cursor_hidden = !on,
                (number, true) if KNOWN.contains(&number) => drop(self.set.insert(number)),
                (number, _) => drop(self.set.remove(&number)),
            }
        }
    }

    /// What undoes it: every mode, colors, and the cursor.
    pub fn undone(&self) -> String {
        let cursor = if self.cursor_hidden { "\x1b[?25h" } else { "" };
        let modes: String = self.set.iter().map(|mode| format!("\x1b[?{mode}l")).collect();
        format!("{modes}{cursor}\x1b[0m\x1b>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(printed: &str, undone: &str) {
        let mut modes = Modes::default();
        printed.bytes().for_each(|byte| modes.printed(&[byte]));
        assert_eq!(modes.undone(), format!("{undone}\x1b[0m\x1b>"), "{printed:?}");
    }

    /// EN-7
    #[test]
    fn what_was_switched_on_is_switched_off_and_nothing_else() {
        check("plain \x1b[1;31mred\x1b[2J", "");
        check("\x1b[?1049h\x1b[?25l\x1b[?2004h", "\x1b[?1049l\x1b[?2004l\x1b[?25h");
        check("\x1b[?1000;1006h\x1b[?1000l", "\x1b[?1006l");
        check("\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l", "");
        check("\x1b[?7h\x1b[?\x1b[?1h", "\x1b[?1l");
    }
}
