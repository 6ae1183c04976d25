//! The caller's own terminal while a program inside has it: raw, and as it was before in every way out.

use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tenure_protocol::WindowSize;

/// A terminal that passes every key on; dropped, it is what it was.
pub struct RawTerminal {
    before: Termios,
}

impl RawTerminal {
    /// Makes the terminal at standard input raw. `None` where it is no terminal.
    pub fn enter() -> std::io::Result<Option<RawTerminal>> {
        let stdin = rustix::stdio::stdin();
        if !isatty(stdin) {
            return Ok(None);
        }
        let before = tcgetattr(stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin, OptionalActions::Now, &raw)?;
        Ok(Some(RawTerminal { before }))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &self.before);
    }
}

/// The size of the caller's terminal, or the size terminals had before they had one.
pub fn size() -> WindowSize {
    let found = [rustix::stdio::stdout(), rustix::stdio::stdin(), rustix::stdio::stderr()]
        .into_iter()
        .find_map(|fd| tcgetwinsize(fd).ok());
    match found {
        Some(size) if size.ws_row > 0 && size.ws_col > 0 => WindowSize { rows: size.ws_row, cols: size.ws_col },
        _ => WindowSize { rows: 24, cols: 80 },
    }
}
