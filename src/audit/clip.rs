//! Free text made to fit into a record. Never a refusal.

use std::borrow::Cow;

/// `text`, or as much of its beginning as fits in `max_bytes` with a mark that the rest was cut off.
/// For free text that a caller had a hand in: a record must not be refused for being talkative.
pub fn clip(text: &str, max_bytes: usize) -> Cow<'_, str> {
    const MARK: &str = "…";
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(max_bytes.saturating_sub(MARK.len()));
    let mut clipped = text.get(..end).unwrap_or_default().to_owned();
    if clipped.len().saturating_add(MARK.len()) <= max_bytes {
        clipped.push_str(MARK);
    }
    Cow::Owned(clipped)
}
