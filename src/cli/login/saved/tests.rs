//! Tests of logins in files.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

const SERVER: &str = "https://bulla.test:1";

pub(in crate::cli::login) fn settings() -> Settings {
    toml::from_str("issuer = \"https://login.test/realm\"\nclient_id = \"cli\"\n").unwrap()
}

fn login(token: &str) -> Saved {
    Saved {
        server: SERVER.to_owned(),
        settings: settings(),
        subject: Some("alice".to_owned()),
        access_token: token.to_owned(),
        access_expire_time: Some(7),
        id_token: Some("id".to_owned()),
        id_expire_time: Some(9),
        refresh_token: None,
    }
}

fn folder(home: &tempfile::TempDir) -> Folder {
    let environment = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
    Folder::find(&environment).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn logins_are_kept_where_the_user_keeps_such_things() {
    let at = |state: Option<&str>, home: Option<&str>| {
        let environment = |name: &str| match name {
            "XDG_STATE_HOME" => state.map(OsString::from),
            "HOME" => home.map(OsString::from),
            _ => None,
        };
        Folder::find(&environment).map(|folder| folder.0).map_err(|failure| failure.exit())
    };
    let path = |text: &str| Ok(PathBuf::from(text));
    assert_eq!(at(None, Some("/h")), path("/h/.config/bulla/tokens"));
    assert_eq!(at(Some("/s"), Some("/h")), path("/s/bulla/tokens"));
    assert_eq!(at(Some("here"), Some("/h")), path("/h/.config/bulla/tokens"));
    assert_eq!(at(None, None), Err(Exit::Configuration));
}

#[test]
fn b09_a_login_is_in_a_file_of_its_owner_alone_and_is_replaced_whole() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(&home);
    let place = folder.place(&settings(), SERVER);
    for token in ["one", "two"] {
        folder.write(&place, &login(token)).unwrap();
        assert_eq!(folder.read(&place).unwrap().unwrap().access_token, token);
        assert_eq!((mode(&place), mode(&folder.0)), (0o600, 0o700));
    }
    drop(folder.lock().unwrap());
    assert_eq!(mode(&folder.0.join(".lock")), 0o600);
    assert_eq!(folder.all(SERVER).unwrap().len(), 1, "nothing else was left there");
}

#[test]
fn b09_a_login_that_others_could_read_or_write_is_not_used() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(&home);
    let place = folder.place(&settings(), SERVER);
    folder.write(&place, &login("secret")).unwrap();
    for bad in [0o644, 0o640, 0o604, 0o620, 0o666] {
        set_mode(&place, bad);
        let failure = folder.read(&place).map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        let said = failure.to_string();
        assert!(said.contains(&format!("(mode {bad:04o})")) && !said.contains("secret"), "{said}");
    }
    set_mode(&place, 0o600);
    set_mode(&folder.0, 0o755);
    assert!(folder.read(&place).is_err(), "others could put a file there");
    set_mode(&folder.0, 0o700);
    assert!(folder.read(&place).is_ok());
    // A link leads to what somebody else chose.
    let elsewhere = home.path().join("elsewhere");
    fs::rename(&place, &elsewhere).unwrap();
    symlink(&elsewhere, &place).unwrap();
    assert!(folder.read(&place).is_err());
    // And is replaced, not followed.
    folder.write(&place, &login("new")).unwrap();
    assert!(fs::read_to_string(&elsewhere).unwrap().contains("secret"));
    fs::write(&place, "{\"server\":1}").unwrap();
    assert!(folder.read(&place).map(|_| ()).unwrap_err().to_string().contains("no login"));
}

#[test]
fn a05_a_login_belongs_to_one_server() {
    let home = tempfile::tempdir().unwrap();
    let folder = folder(&home);
    let place = folder.place(&settings(), SERVER);
    folder.write(&place, &login("token")).unwrap();
    assert_eq!(folder.all(SERVER).unwrap().len(), 1);
    assert!(folder.all("https://other.test:1").unwrap().is_empty());
    let other = folder.place(&settings(), "https://other.test:1");
    assert_ne!(other, place);
    assert!(folder.read(&other).unwrap().is_none());
    let name = place.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("login.test-") && name.len() == "login.test-.json".len() + 16);
}

#[test]
fn what_is_sent_is_the_access_token_unless_the_id_token_was_asked_for() {
    let mut saved = login("access");
    assert_eq!(saved.token(), Some(("access", Some(7))));
    saved.settings.send = Sends::IdToken;
    assert_eq!(saved.token(), Some(("id", Some(9))));
    saved.id_token = None;
    assert_eq!(saved.token(), None);
}
