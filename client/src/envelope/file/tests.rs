//! Tests of sealed files.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;
use std::os::unix::fs::symlink;

use super::super::format::DataKey;
use super::super::header::Suite;
use super::super::{Opener, Sealer};
use super::*;

const OLD: [u8; 138] = [0xb0; 138];

fn sealed(suite: Suite, plaintext: &[u8]) -> Vec<u8> {
    let data_key = DataKey::from_bytes(vec![7; 32]).unwrap();
    Sealer::of(suite, data_key, &OLD, b"").unwrap().seal(plaintext).unwrap()
}

fn opened(sealed: &[u8]) -> Vec<u8> {
    let (header, body) = Header::split(sealed).unwrap();
    let data_key = DataKey::from_bytes(vec![7; 32]).unwrap();
    Opener::new(&data_key, &header, b"").unwrap().open(body).unwrap()
}

/// A folder with one sealed file.
fn one_file(plaintext: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.bulla");
    fs::write(&path, sealed(Suite::Two([1; 32]), plaintext)).unwrap();
    (folder, path)
}

fn names(folder: &Path) -> Vec<OsString> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn only_the_header_changes_and_the_file_opens_as_before() {
    let plaintext: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    let (folder, path) = one_file(&plaintext);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let before = fs::read(&path).unwrap();
    let mut old = OLD.to_vec();
    // As long as before, longer, shorter.
    for new in [vec![0xb1; 138], vec![0xb2; 4202], vec![0xb3; 107]] {
        assert_eq!(rewrite_file_header(&path, &old, &new).unwrap(), Rewrite::Done);
        let after = fs::read(&path).unwrap();
        assert_eq!(read_file_header(&path).unwrap().wrapped(), new);
        assert!(after[8 + new.len()..] == before[8 + OLD.len()..]);
        assert!(opened(&after) == plaintext);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(names(folder.path()), ["notes.bulla"]);
        old = new;
    }
}

#[test]
fn a_copy_is_known_by_its_name() {
    let copy = beside(Path::new("a/notes.bulla")).unwrap();
    assert!(is_header_copy(copy.file_name().unwrap()), "{}", copy.display());
    let long = beside(Path::new(&"n".repeat(255))).unwrap();
    assert!(is_header_copy(long.file_name().unwrap()) && long.as_os_str().len() < 100);
    for other in ["notes.bulla", ".notes.bulla", ".0123456789abcdeg.bulla", ".a.partial", ""] {
        assert!(!is_header_copy(OsStr::new(other)), "{other}");
    }
}

#[test]
fn d10_a_file_with_another_wrapped_key_is_left_alone() {
    let (_folder, path) = one_file(b"mine");
    let before = fs::read(&path).unwrap();
    let outcome = rewrite_file_header(&path, &[0xb9; 138], &[0xb1; 138]).unwrap();
    assert_eq!((outcome, fs::read(&path).unwrap()), (Rewrite::Changed, before));
}

#[test]
fn d10_a_file_that_was_replaced_meanwhile_keeps_what_it_has() {
    let (folder, path) = one_file(b"mine");
    let mut old = Sealed::open(&path).unwrap();
    let header = old.header.with_wrapped(&[0xb1; 138]).unwrap();
    let copy = old.copy_with(&header, &path).unwrap();
    let newer = folder.path().join("newer");
    fs::write(&newer, "theirs").unwrap();
    fs::rename(&newer, &path).unwrap();
    assert_eq!(copy.exchange(&path, old.stamp).unwrap(), Rewrite::Changed);
    assert_eq!(fs::read(&path).unwrap(), b"theirs");

    let copy = old.copy_with(&header, &path).unwrap();
    assert_eq!(copy.replace(&path, old.stamp).unwrap(), Rewrite::Changed);
    assert_eq!(fs::read(&path).unwrap(), b"theirs");

    let copy = old.copy_with(&header, &path).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(copy.exchange(&path, old.stamp).unwrap(), Rewrite::Changed);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_file_system_that_cannot_exchange_replaces() {
    let (folder, path) = one_file(b"mine");
    let mut old = Sealed::open(&path).unwrap();
    let header = old.header.with_wrapped(&[0xb1; 138]).unwrap();
    let copy = old.copy_with(&header, &path).unwrap();
    assert_eq!(copy.replace(&path, old.stamp).unwrap(), Rewrite::Done);
    assert_eq!(read_file_header(&path).unwrap(), header);
    assert_eq!(names(folder.path()), ["notes.bulla"]);
}

#[test]
fn d10_what_an_application_wrote_last_is_never_lost() {
    let (folder, path) = one_file(b"0");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for number in 1..=300_u32 {
                let next = folder.path().join("next");
                let text = number.to_string();
                fs::write(&next, sealed(Suite::Two([2; 32]), text.as_bytes())).unwrap();
                fs::rename(&next, &path).unwrap();
            }
        });
        let mut new = [0_u8; 138];
        while !writer.is_finished() {
            new[0] = new[0].wrapping_add(1);
            let old = read_file_header(&path).unwrap();
            rewrite_file_header(&path, old.wrapped(), &new).unwrap();
        }
        writer.join().unwrap();
    });
    assert_eq!(opened(&fs::read(&path).unwrap()), b"300");
    assert_eq!(names(folder.path()), ["notes.bulla"]);
}

#[test]
fn the_header_of_suite_01_is_never_rewritten() {
    let (_folder, path) = one_file(b"");
    let before = sealed(Suite::One, b"old");
    fs::write(&path, &before).unwrap();
    let failure = rewrite_file_header(&path, &OLD, &[0xb1; 138]).unwrap_err();
    assert!(matches!(failure, FileError::Data(DataFailure::FixedHeader)), "{failure}");
    assert!(failure.to_string().contains("seal it again"));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_sealed_file_is_refused() {
    let (folder, path) = one_file(b"");
    let text = folder.path().join("text");
    fs::write(&text, "not sealed, and longer than any front").unwrap();
    let failure = read_file_header(&text).unwrap_err();
    assert!(matches!(failure, FileError::Data(DataFailure::Magic)), "{failure}");
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mkfifoat(CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
    for other in [folder.path(), &link, &pipe] {
        let failure = rewrite_file_header(other, &OLD, &OLD).unwrap_err();
        assert!(matches!(failure, FileError::NotAFile), "{}: {failure}", other.display());
    }
    let failure = read_file_header(&folder.path().join("absent")).unwrap_err();
    assert!(matches!(failure, FileError::Io { .. }), "{failure}");
}

#[test]
fn a_wrapped_key_of_no_possible_length_is_refused() {
    let (_folder, path) = one_file(b"");
    for bytes in [0, 106, 4203] {
        let failure = rewrite_file_header(&path, &OLD, &vec![0; bytes]).unwrap_err();
        assert!(matches!(failure, FileError::Data(DataFailure::WrappedLength)), "{bytes}");
    }
}
