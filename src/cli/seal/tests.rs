//! Tests of sealing.
#![allow(clippy::unwrap_used)]
use super::*;

fn path(file: &str, out: Option<&str>, direction: Direction) -> Result<PathBuf, Exit> {
    let to = Destination { out: out.map(PathBuf::from), force: false };
    to.path(Path::new(file), direction).map_err(|failure| failure.exit())
}

#[test]
fn the_outcome_is_named_after_the_input() {
    use Direction::{Decrypt, Encrypt};
    assert_eq!(path("a/notes.txt", None, Encrypt).unwrap(), Path::new("a/notes.txt.bulla"));
    assert_eq!(path("a/notes.txt.bulla", None, Decrypt).unwrap(), Path::new("a/notes.txt"));
    assert_eq!(path("-", None, Encrypt).unwrap(), Path::new("-"));
    assert_eq!(path("-", Some("x"), Decrypt).unwrap(), Path::new("x"));
    assert_eq!(path("notes.txt", None, Decrypt), Err(Exit::Usage));
    assert_eq!(path("notes.txt", Some("-"), Decrypt).unwrap(), Path::new("-"));
}

#[test]
fn an_input_that_is_not_there_or_is_a_folder_is_no_input() {
    let folder = tempfile::tempdir().unwrap();
    for input in [folder.path(), &folder.path().join("absent")] {
        let failure = Source::open(input).map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::NoInput);
    }
}
