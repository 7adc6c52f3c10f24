//! How large and how deep a policy may be, found out without parsing it (attack D12).
//!
//! Parsers, validators and evaluators of nested text recurse. What could make them recurse too deeply is
//! refused before any of them sees it: brackets nest at most [`MAX_DEPTH`] deep, and operators, whose
//! chains become nested expressions too, are at most [`MAX_OPERATORS`].

use crate::policy::problem::PolicyProblem;

/// The longest text of a policy.
pub const MAX_POLICY_BYTES: usize = 16 * 1024;

/// How deep brackets may nest.
pub(super) const MAX_DEPTH: usize = 24;

/// How many operators there may be. A chain of so many is a tree as deep, which Cedar walks in less than
/// half of a thread's 2 MiB of stack; about 40 conditions such as `context.environment == "staging"`.
pub(super) const MAX_OPERATORS: usize = 160;

/// Whether a parser may see the text.
pub(super) fn check(policy: &str, text: &str) -> Result<(), PolicyProblem> {
    if text.len() > MAX_POLICY_BYTES {
        let what = format!("it has {} bytes, and {MAX_POLICY_BYTES} are the most", text.len());
        return Err(PolicyProblem::new(policy, what, "make several policies of it"));
    }
    let (mut depth, mut operators, mut line) = (0_usize, 0_usize, 1_usize);
    let mut bytes = text.bytes().peekable();
    let problem = |line, what: String| {
        let help = "make several policies of it".to_owned();
        Err(PolicyProblem { policy: policy.to_owned(), line: Some(line), what, help })
    };
    let mut in_operator = false;
    while let Some(byte) = bytes.next() {
        let continues = in_operator && b"&|=<>".contains(&byte);
        in_operator = b"!&|=<>".contains(&byte);
        match byte {
            _ if continues => {}
            b'\n' => line = line.saturating_add(1),
            b'"' => skip_string(&mut bytes),
            b'/' if bytes.peek() == Some(&b'/') => {
                while bytes.peek().is_some_and(|byte| *byte != b'\n') {
                    bytes.next();
                }
            }
            b'(' | b'[' | b'{' => depth = depth.saturating_add(1),
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b'.' | b'!' | b'-' | b'+' | b'*' | b'&' | b'|' | b'<' | b'>' | b'=' => {
                operators = operators.saturating_add(1);
            }
            // `if`, `has`, `like`, `is` and `in` stand between words.
            b'i' | b'h' | b'l' if bytes.peek().is_some_and(|byte| b"fansi".contains(byte)) => {
                operators = operators.saturating_add(1);
            }
            _ => {}
        }
        if depth > MAX_DEPTH {
            return problem(line, format!("brackets nest deeper than {MAX_DEPTH}"));
        }
        if operators > MAX_OPERATORS {
            return problem(line, format!("it has more than {MAX_OPERATORS} operators"));
        }
    }
    Ok(())
}

/// Past the end of a string whose quotation mark has been read.
fn skip_string(bytes: &mut impl Iterator<Item = u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' => return,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d12_what_is_too_deep_is_told_by_its_line_and_comments_and_strings_do_not_count() {
        let deep = format!("permit\n(\n{}", "(".repeat(MAX_DEPTH));
        let problem = check("one", &deep).err();
        assert_eq!(problem.and_then(|problem| problem.line), Some(3));
        let brackets = "(".repeat(MAX_DEPTH + 1);
        for harmless in [format!("// {brackets}\n permit"), format!("\"{brackets}\"")] {
            assert!(check("one", &harmless).is_ok(), "{harmless}");
        }
        // One slash is no comment, and a comment ends with its line.
        for text in [format!("/ {brackets}"), format!("// \n{brackets}"), format!("/*{brackets}")] {
            assert!(check("one", &text).is_err(), "{text}");
        }
    }
}
