//! Policies in files, and how they differ from those that are there.
//!
//! Text of a policy is shown line by line, each made safe to look at.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::cli::escape::visible;
use crate::cli::failure::{Exit, Failure};
use crate::cli::json::Json;

/// A policy as a file has it: `ID.cedar`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct PolicyFile {
    pub(super) policy_id: String,
    pub(super) text: String,
}

/// How a file differs from what is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Difference {
    /// No policy has the id.
    New,
    /// It has the same text.
    Same,
    /// Lines that are only there, and lines that are only in the file, from this line on.
    Changed { line: usize, there: Vec<String>, here: Vec<String> },
}

// === impl PolicyFile ===

impl PolicyFile {
    /// Reads the file. What is in it the server judges.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(policy_id) = name.strip_suffix(".cedar").filter(|id| !id.is_empty()) else {
            let what = format!("{} is not named ID.cedar", path.display());
            return Err(Failure::new(Exit::Usage, what).hint("the file's name is the policy's id"));
        };
        let file = File::open(path).map_err(|error| Failure::input(path, &error))?;
        let mut text = String::new();
        file.take(POLICY_FILE_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| Failure::input(path, &error))?;
        Ok(Self { policy_id: policy_id.to_owned(), text })
    }
}

// === impl Difference ===

impl Difference {
    /// For people.
    pub(super) fn shown(&self, policy_id: &str) -> String {
        let id = visible(policy_id);
        match self {
            Self::New => format!("{id}: new\n"),
            Self::Same => format!("{id}: same\n"),
            Self::Changed { line, there, here } => {
                let mut text = format!("{id}: changed, from line {line}\n");
                there.iter().for_each(|line| text.push_str(&format!("- {}\n", visible(line))));
                here.iter().for_each(|line| text.push_str(&format!("+ {}\n", visible(line))));
                text
            }
        }
    }
}

/// How `here`, a file, differs from what is there under its id.
pub(super) fn difference(there: Option<&str>, here: &str) -> Difference {
    let Some(there) = there else { return Difference::New };
    if there == here {
        return Difference::Same;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (there.lines().collect(), here.lines().collect());
    let before = old.iter().zip(&new).take_while(|(one, other)| one == other).count();
    let (old, new) = (old.get(before..).unwrap_or_default(), new.get(before..).unwrap_or_default());
    let after = old.iter().rev().zip(new.iter().rev()).take_while(|(one, other)| one == other);
    let after = after.count();
    let middle = |lines: &[&str]| {
        let end = lines.len().saturating_sub(after);
        lines.get(..end).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect()
    };
    Difference::Changed { line: before.saturating_add(1), there: middle(old), here: middle(new) }
}

/// For programs.
pub(super) fn as_json(told: &[(String, Difference)]) -> Json {
    let lines = |lines: &[String]| Json::List(lines.iter().map(Json::text).collect());
    let one = |(id, difference): &(String, Difference)| {
        let none = Vec::new();
        let (what, there, here) = match difference {
            Difference::New => ("new", &none, &none),
            Difference::Same => ("same", &none, &none),
            Difference::Changed { there, here, .. } => ("changed", there, here),
        };
        Json::object([
            ("policy_id", Json::text(id)),
            ("difference", Json::text(what)),
            ("there", lines(there)),
            ("here", lines(here)),
        ])
    };
    Json::object([("policies", Json::List(told.iter().map(one).collect()))])
}

/// A policy's text for people: line by line.
pub(super) fn shown(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", visible(line))).collect()
}

/// The server's limit is far below this.
const POLICY_FILE_BYTES_MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_policys_id_is_its_files_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("office-hours.cedar");
        assert_eq!(PolicyFile::read(&path).unwrap_err().exit(), Exit::NoInput);
        std::fs::write(&path, "permit (principal, action, resource);\n").unwrap();
        let file = PolicyFile::read(&path).unwrap();
        assert_eq!(file.policy_id, "office-hours");
        assert_eq!(file.text, "permit (principal, action, resource);\n");
        for name in [".cedar", "office-hours", "office-hours.txt"] {
            let failure = PolicyFile::read(&folder.path().join(name)).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{name}");
        }
    }

    #[test]
    fn a_difference_is_the_lines_between_those_that_are_the_same() {
        let of = |there, here| difference(there, here).shown("p");
        assert_eq!(of(None, "a"), "p: new\n");
        assert_eq!(of(Some("a\n"), "a\n"), "p: same\n");
        assert_eq!(of(Some("a\nb\nc"), "a\nx\ny\nc"), "p: changed, from line 2\n- b\n+ x\n+ y\n");
        assert_eq!(of(Some("a\na"), "a"), "p: changed, from line 2\n- a\n");
        assert_eq!(of(Some(""), "a"), "p: changed, from line 1\n+ a\n");
    }

    #[test]
    fn h05_a_policys_text_cannot_act_on_a_terminal() {
        assert_eq!(shown("a\u{1b}[2J\nb"), "a\\u{001b}[2J\nb\n");
    }
}
