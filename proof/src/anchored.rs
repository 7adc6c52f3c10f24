//! A file that checkpoints were appended to, an empty line after each, perhaps not all of them whole: a
//! machine that stops while it writes leaves a piece.

/// The notes in the text of such a file. What has no signature below it is no note, and passed over.
pub struct AnchoredNotes<'a> {
    blocks: std::iter::Peekable<std::str::Split<'a, &'static str>>,
}

// === impl AnchoredNotes ===

impl<'a> AnchoredNotes<'a> {
    /// The notes in `text`.
    pub fn new(text: &'a str) -> Self {
        Self { blocks: text.split("\n\n").peekable() }
    }
}

impl Iterator for AnchoredNotes<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let text = self.blocks.next()?.trim_start_matches('\n');
            let is_signed = |next: &&str| next.starts_with(SIGNATURE);
            if text.is_empty() || text.starts_with(SIGNATURE) {
                continue;
            }
            if let Some(signatures) = self.blocks.next_if(is_signed) {
                return Some(format!("{text}\n\n{}\n", signatures.trim_end_matches('\n')));
            }
        }
    }
}

const SIGNATURE: &str = "\u{2014} ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_is_passed_over() {
        let (one, two) = ("a\n1\n\n\u{2014} a sig\n", "a\n2\n\n\u{2014} a sig\n\u{2014} b sig\n");
        let found = |text: &str| AnchoredNotes::new(text).collect::<Vec<_>>();
        assert_eq!(found(&format!("{one}\n{two}\n")), [one, two]);
        assert_eq!(found(&format!("{one}\na\n1\n\n{two}\n")), [one, two]);
        assert_eq!(found(&format!("{one}\na\n\n{two}")), [one, two]);
        assert_eq!(found(&format!("a sig\n\n{one}")), [one]);
        assert_eq!(found(""), [""; 0]);
        // A signature that was not finished is there, and does not verify.
        assert_eq!(found(&format!("a\n1\n\n\u{2014} a s\n\n{two}\n")).len(), 2);
    }
}
