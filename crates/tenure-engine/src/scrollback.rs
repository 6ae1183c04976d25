//! What a terminal printed before, made fit to be printed once more: without the questions that a terminal would answer again.
//!
//! Programs ask a terminal who it is, where its cursor stands, or which colors it has; what it answers is typed on it. Asked once more on paper that is long
//! read, it would type answers that nobody waits for.

const ESCAPE: u8 = 0x1b;

/// The same bytes without questions. Where they begin somewhere in the middle, also without the rest of a character there.
pub(crate) fn without_queries(bytes: &[u8], in_the_middle: bool) -> Vec<u8> {
    let torn = if in_the_middle { bytes.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count() } else { 0 };
    let mut kept = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[torn..];
    while let Some(at) = rest.iter().position(|byte| *byte == ESCAPE || *byte == 0x05) {
        kept.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        // ENQ, the oldest of the questions.
        if rest[0] == 0x05 {
            rest = &rest[1..];
            continue;
        }
        let length = sequence(rest);
        let (one, after) = rest.split_at(length);
        if !asks(one) {
            kept.extend_from_slice(one);
        }
        rest = after;
    }
    kept.extend_from_slice(rest);
    kept
}

/// How long the sequence is that begins here.
fn sequence(bytes: &[u8]) -> usize {
    let all = bytes.len();
    match bytes.get(1) {
        // Parameters and what stands between them, then one letter.
        Some(b'[') => bytes[2..].iter().position(|byte| !(0x20..=0x3f).contains(byte)).map_or(all, |at| at + 3),
        // Text up to BEL or ESC \. One that does not end is nothing but its beginning.
        Some(b']' | b'P' | b'_' | b'^' | b'X') => {
            let end = bytes[2..].iter().position(|byte| matches!(*byte, 0x07 | ESCAPE));
            match end.map(|at| at + 2) {
                Some(at) if bytes[at] == 0x07 => at + 1,
                Some(at) if bytes.get(at + 1) == Some(&b'\\') => at + 2,
                Some(at) => at,
                None => 2,
            }
        }
        Some(_) => 2,
        None => 1,
    }
}

/// Whether a terminal answers this.
fn asks(sequence: &[u8]) -> bool {
    match sequence {
        [_, b'Z'] => true,
        // Who it is, where its cursor stands, its version, its modes, its keys.
        [_, b'[', body @ .., b'c' | b'n'] => !matches!(body.first(), Some(b'!')),
        [_, b'[', b'>', .., b'q'] | [_, b'[', b'?', b'u'] => true,
        [_, b'[', body @ .., b'p'] => body.last() == Some(&b'$'),
        // What it measures; other numbers move or name its window.
        [_, b'[', body @ .., b't'] => {
            let number = body.split(|byte| *byte == b';').next().and_then(|text| std::str::from_utf8(text).ok());
            matches!(number.and_then(|text| text.parse::<u8>().ok()), Some(11..=21))
        }
        [_, b'[', body @ .., b'x'] => matches!(body, [] | [b'0' | b'1']),
        // Colors and the clipboard; settings and capabilities; pictures, which are acknowledged.
        [_, b']', body @ ..] => body.contains(&b'?'),
        [_, b'P', b'$' | b'+', b'q', ..] => true,
        [_, b'_', b'G', ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, after: &str) {
        let kept = without_queries(before.as_bytes(), false);
        assert_eq!(String::from_utf8(kept).unwrap_or_default(), after, "{before:?}");
    }

    /// EN-7
    #[test]
    fn questions_are_not_asked_again() {
        check("a\x1b[cb\x1b[>cc\x1b[=0c\x1b[6n\x1b[?6nd", "abcd");
        check("\x1b]11;?\x07x\x1b]10;?\x1b\\y\x1b]52;c;?\x07", "xy");
        check("\x1bP+q544e\x1b\\x\x1bP$q q\x1b\\y\x1bZ\x1b[>q\x1b[?u\x1b[?2026$p", "xy");
        check("\x1b[14t\x1b[18tx\x05y", "xy");
    }

    /// EN-7
    #[test]
    fn everything_else_is_as_it_was_printed() {
        for text in [
            "plain\r\n",
            "\x1b[1;31mred\x1b[0m\x1b[2J\x1b[H\x1b[?1049h\x1b[?25l",
            "\x1b]0;title\x07\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\",
            "\x1b(B\x1b[!p\x1b[22;0;0t\x1b[?2004h\x1b7\x1b8\x1bM",
            "torn \x1b[1;3",
            "torn \x1b]0;title without an end",
            "torn \x1b",
        ] {
            check(text, text);
        }
    }

    /// EN-7
    #[test]
    fn a_character_that_was_cut_is_not_shown_in_half() {
        let text = "äöü".as_bytes();
        assert_eq!(without_queries(&text[1..], true), "öü".as_bytes());
        assert_eq!(without_queries(&[0x80; 10], true).len(), 7);
    }
}
