//! Tests of tokens by file and by value.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

fn file(folder: &tempfile::TempDir, text: &str, mode: u32) -> PathBuf {
    let path = folder.path().join("token");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn header(bearer: &Bearer) -> String {
    bearer.current().unwrap().to_str().unwrap().to_owned()
}

fn refused(source: &TokenSource) -> String {
    source.open().map(|_| ()).unwrap_err().to_string()
}

#[test]
fn a_token_is_sent_without_the_line_end_of_its_file_and_marked_as_sensitive() {
    let folder = tempfile::tempdir().unwrap();
    let bearer = TokenSource::File(file(&folder, "a.b-c_d.e=\n", 0o600)).open().unwrap();
    assert_eq!(header(&bearer), "Bearer a.b-c_d.e=");
    let sent = bearer.current().unwrap();
    assert!(sent.is_sensitive());
    assert_eq!(format!("{sent:?}"), "Sensitive");
}

#[test]
fn a_file_that_changed_is_read_again_however_it_was_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "one", 0o600);
    let bearer = TokenSource::File(path.clone()).open().unwrap();
    assert_eq!(header(&bearer), "Bearer one");
    // Of the same length, in the same file.
    fs::write(&path, "two").unwrap();
    assert_eq!(header(&bearer), "Bearer two");
    // Another file takes the name.
    fs::write(folder.path().join("next"), "three").unwrap();
    fs::rename(folder.path().join("next"), &path).unwrap();
    assert_eq!(header(&bearer), "Bearer three");
    // As the kubelet does it: the folder that a link leads to is exchanged.
    for version in ["v1", "v2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
        fs::write(folder.path().join(version).join("token"), version).unwrap();
    }
    let data = folder.path().join("..data");
    symlink("v1", &data).unwrap();
    let mounted = TokenSource::File(data.join("token")).open().unwrap();
    assert_eq!(header(&mounted), "Bearer v1");
    symlink("v2", folder.path().join("..new")).unwrap();
    fs::rename(folder.path().join("..new"), &data).unwrap();
    assert_eq!(header(&mounted), "Bearer v2");
    fs::remove_file(&path).unwrap();
    let gone = bearer.current().unwrap_err().to_string();
    assert!(gone.contains("cannot read the token file"), "{gone}");
}

#[test]
fn b09_a_token_file_that_others_may_write_to_is_refused_and_one_they_may_read_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o600, 0o400, 0o640, 0o644, 0o444] {
        let source = TokenSource::File(file(&folder, "token", mode));
        assert_eq!(header(&source.open().unwrap()), "Bearer token", "{mode:o}");
        fs::remove_file(folder.path().join("token")).unwrap();
    }
    for mode in [0o620, 0o602, 0o666, 0o646] {
        let said = refused(&TokenSource::File(file(&folder, "token", mode)));
        assert!(said.contains(&format!("(mode {mode:04o}); run: chmod 600")), "{said}");
    }
}

#[test]
fn b09_a_credential_that_others_may_read_is_refused_also_when_that_changes_later() {
    let folder = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o644] {
        let said = refused(&TokenSource::File(file(&folder, "bulla_abc", mode)));
        assert!(said.contains(&format!("(mode {mode:04o})")) && !said.contains("abc"), "{said}");
    }
    let path = file(&folder, "bulla_abc", 0o600);
    let bearer = TokenSource::File(path.clone()).open().unwrap();
    assert_eq!(header(&bearer), "Bearer bulla_abc");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(bearer.current().is_err());
}

#[test]
fn a12_what_is_no_token_is_told_before_anything_is_sent_and_not_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let longest = "x".repeat(TOKEN_BYTES_MAX);
    assert!(TokenSource::File(file(&folder, &format!("{longest}\n"), 0o600)).open().is_ok());
    for (bad, why) in [
        (format!("{longest}x"), "longer than 8192 bytes"),
        ("x".repeat(100_000), "longer than 8192 bytes"),
        (String::new(), "empty"),
        (" \n".to_owned(), "empty"),
        ("SECRET SECRET".to_owned(), "something else"),
        ("SECRET\r\nx-admin: yes".to_owned(), "something else"),
        ("SECRET\u{1b}[2J".to_owned(), "something else"),
        ("SECRETé".to_owned(), "something else"),
        ("\0SECRET".to_owned(), "something else"),
    ] {
        let by_value = TokenSource::Value(Zeroizing::new(bad.clone()));
        for source in [TokenSource::File(file(&folder, &bad, 0o600)), by_value] {
            let said = refused(&source);
            assert!(said.contains(why) && !said.contains("SECRET"), "{said}");
        }
    }
    assert!(refused(&TokenSource::File(folder.path().to_owned())).contains("directory"));
}
