//! Text from elsewhere, made safe to show on a terminal.
//!
//! What a server, a file name or another tenant's operator put into a string never moves the
//! cursor, never colours, hides or reorders what stands beside it, and never starts a line of its
//! own. Nothing is dropped: what cannot be shown is shown by its code point.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with each character that a terminal acts upon written as `\u{…}` (line feed, carriage
/// return and tab as `\n`, `\r`, `\t`).
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts_on_a_terminal) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().saturating_add(16));
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            other if acts_on_a_terminal(other) => {
                // Writing to a `String` cannot fail.
                let _ = write!(shown, "\\u{{{:04x}}}", u32::from(other));
            }
            other => shown.push(other),
        }
    }
    Cow::Owned(shown)
}

/// Control characters (C0, DEL, C1), and characters of Unicode that reorder, hide or break a line:
/// bidirectional controls (UAX 9), zero-width ones, separators, tags and interlinear marks.
pub(crate) fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b09_h05_what_a_terminal_acts_on_is_shown_by_its_code_point() {
        for (text, shown) in [
            ("\u{1b}[2J\u{1b}]0;owned\u{7}", "\\u{001b}[2J\\u{001b}]0;owned\\u{0007}"),
            ("a\nerror: b\r\tc", "a\\nerror: b\\r\\tc"),
            ("\u{9b}31m\u{7f}\u{0}", "\\u{009b}31m\\u{007f}\\u{0000}"),
            ("ab\u{202e}dc\u{2066}\u{200f}", "ab\\u{202e}dc\\u{2066}\\u{200f}"),
            ("pay\u{200b}ments\u{feff}\u{2028}", "pay\\u{200b}ments\\u{feff}\\u{2028}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(visible(text), shown);
            assert!(!visible(text).chars().any(acts_on_a_terminal));
        }
    }

    #[test]
    fn text_of_any_language_stays_as_it_is() {
        for text in ["payments/cards", "Zoë Şahin", "顧客", "ключ", "🔑", ""] {
            assert!(matches!(visible(text), Cow::Borrowed(same) if same == text));
        }
    }
}
