//! The connector over real directories.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use bulla_client::{DataKey, Sealer};

use super::*;
use crate::agent::connector::ContextSource;

const OLD: [u8; 138] = [0xb0; 138];

fn sealed() -> Vec<u8> {
    let data_key = DataKey::from_bytes(vec![7; 32]).unwrap();
    Sealer::new(data_key, &OLD, b"").unwrap().seal(b"secret").unwrap()
}

/// A case of the known answers of suite 01.
fn sealed_by_suite_01() -> Vec<u8> {
    let text = include_str!("../../../tests/vectors/data-v1.json");
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    hex::decode(file["cases"][2]["sealed"].as_str().unwrap()).unwrap()
}

fn directory(path: &Path) -> FilesDirectory {
    FilesDirectory { directory: path.to_owned(), recursive: false, all: false, context: [].into() }
}

async fn all(store: &Files, limit: usize) -> Vec<Entry> {
    let (mut entries, mut after) = (Vec::new(), Place::default());
    loop {
        let read = store.read(&after, limit).await.unwrap();
        let Some(last) = read.last() else { return entries };
        assert!(read.len() <= limit);
        after = last.place.clone();
        entries.extend(read);
    }
}

async fn scanned(store: &Files) -> Vec<String> {
    let (mut rows, mut names) = (store.scan().await.unwrap(), Vec::new());
    while let Some(batch) = rows.next().await.unwrap() {
        names.extend(batch.into_iter().map(|entry| entry.name));
    }
    names.sort();
    names
}

fn names(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.name.as_str()).collect()
}

#[tokio::test]
async fn files_are_met_once_each_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("b/c")).unwrap();
    let paths = ["b.bulla", "a.bulla", "b/z.bulla", "b/c/y.bulla", "c.bulla"];
    for path in paths {
        fs::write(folder.path().join(path), sealed()).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "not sealed").unwrap();
    symlink(folder.path().join("a.bulla"), folder.path().join("link.bulla")).unwrap();
    symlink(folder.path(), folder.path().join("b/up")).unwrap();

    let flat = Files::open(directory(folder.path())).unwrap();
    assert_eq!(names(&all(&flat, 2).await), ["a.bulla", "b.bulla", "c.bulla"]);
    assert_eq!(flat.total().await.unwrap(), 3);

    let deep = FilesDirectory { recursive: true, ..directory(folder.path()) };
    let deep = Files::open(deep).unwrap();
    let whole = ["a.bulla", "b.bulla", "b/c/y.bulla", "b/z.bulla", "c.bulla"];
    for limit in [1, 2, 1000] {
        assert_eq!(names(&all(&deep, limit).await), whole);
    }
    assert_eq!(scanned(&deep).await, whole);
    // A run that goes on in the middle.
    let after = Place::new(b"b/c/y.bulla".to_vec()).unwrap();
    let deep = Files::open(FilesDirectory { recursive: true, ..directory(folder.path()) }).unwrap();
    assert_eq!(names(&deep.read(&after, 9).await.unwrap()), ["b/z.bulla", "c.bulla"]);
}

#[tokio::test]
async fn d10_a_header_is_replaced_where_what_was_read_still_stands() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.bulla", "b.bulla", "c.bulla", "d.bulla"] {
        fs::write(folder.path().join(name), sealed()).unwrap();
    }
    let store = Files::open(directory(folder.path())).unwrap();
    let entries = all(&store, 9).await;
    assert_eq!(*entries[0].held.blob().unwrap(), OLD);
    rewrite_file_header(&folder.path().join("b.bulla"), &OLD, &[0xb9; 138]).unwrap();
    fs::remove_file(folder.path().join("c.bulla")).unwrap();
    fs::write(folder.path().join("d.bulla"), "no longer sealed").unwrap();
    let new = || Held::Bytes(vec![0xb1; 140]);
    let moves: Vec<_> = entries.into_iter().map(|entry| Move { entry, new: new() }).collect();

    use Outcome::{Changed, Replaced};
    assert_eq!(store.replace(&moves).await.unwrap(), [Replaced, Changed, Changed, Changed]);
    let now = store.read_one(&moves[0].entry.place).await.unwrap().unwrap();
    assert_eq!(now.held, new());
    let other = store.read_one(&moves[1].entry.place).await.unwrap().unwrap();
    assert_eq!(other.held, Held::Bytes(vec![0xb9; 138]));
    assert_eq!(store.read_one(&moves[2].entry.place).await.unwrap(), None);
    assert_eq!(fs::read(folder.path().join("d.bulla")).unwrap(), b"no longer sealed");
}

#[tokio::test]
async fn a_file_of_suite_01_is_counted_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old.bulla"), sealed_by_suite_01()).unwrap();
    let store = Files::open(directory(folder.path())).unwrap();
    let entry = all(&store, 9).await.pop().unwrap();
    assert!(entry.held.blob().unwrap().starts_with(&[0xd7, 0x42, 0x55, 0x01]));
    assert_eq!(entry.context, Err(Unmovable::FixedHeader));
    assert_eq!(scanned(&store).await, ["old.bulla"]);
}

#[tokio::test]
async fn what_is_called_sealed_and_is_not_is_shown_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("text.bulla", b"not sealed".to_vec()),
        ("cut.bulla", sealed()[..100].to_vec()),
        ("empty.bulla", Vec::new()),
        // What a rewrite that was killed leaves: cut short it is nothing, whole it is a file.
        (".a.bulla.0123456789abcdef.bulla", sealed()[..100].to_vec()),
        (".b.bulla.0123456789abcdef.bulla", sealed()),
    ] {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let store = Files::open(directory(folder.path())).unwrap();
    let shown = [".b.bulla.0123456789abcdef.bulla", "cut.bulla", "empty.bulla", "text.bulla"];
    assert_eq!(names(&all(&store, 9).await), shown);

    // Among files of all sorts, what does not begin as sealed data does is none.
    fs::write(folder.path().join("photo.jpg"), sealed()).unwrap();
    fs::write(folder.path().join("readme"), "text").unwrap();
    let every = Files::open(FilesDirectory { all: true, ..directory(folder.path()) }).unwrap();
    let shown = [".b.bulla.0123456789abcdef.bulla", "cut.bulla", "photo.jpg"];
    assert_eq!(names(&all(&every, 9).await), shown);
}

#[tokio::test]
async fn a_context_is_made_of_constants_and_of_the_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("2027")).unwrap();
    fs::write(folder.path().join("2027/notes.txt.bulla"), sealed()).unwrap();
    let odd = folder.path().join(OsStr::from_bytes(b"\xff.bulla"));
    fs::write(odd, sealed()).unwrap();
    let column = |word: &str| ContextSource::Column(word.to_owned());
    let context = BTreeMap::from([
        ("owner".to_owned(), ContextSource::Value("me".to_owned())),
        ("file".to_owned(), column("name")),
        ("of".to_owned(), column("stem")),
        ("at".to_owned(), column("path")),
    ]);
    let files = FilesDirectory { recursive: true, context, ..directory(folder.path()) };
    let entries = all(&Files::open(files).unwrap(), 9).await;
    let pairs = [
        ("owner", "me"),
        ("file", "notes.txt.bulla"),
        ("of", "notes.txt"),
        ("at", "2027/notes.txt.bulla"),
    ];
    let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(entries[0].context, Ok(pairs.into()));
    assert!(matches!(entries[1].context, Err(Unmovable::NullColumn(_))));
}

#[tokio::test]
async fn g06_a_scan_reads_again_what_has_come_under_a_name_since() {
    let folder = tempfile::tempdir().unwrap();
    for number in 0..4000 {
        fs::write(folder.path().join(format!("{number:04}.bulla")), sealed()).unwrap();
    }
    let store = Files::open(directory(folder.path())).unwrap();
    let mut rows = store.scan().await.unwrap();
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!(first.len(), 1000);
    // From where it has not been read yet to where all has been read: under a new name, and over
    // another file. The thread of the scan is at most two batches ahead of what is taken.
    fs::rename(folder.path().join("3999.bulla"), folder.path().join("0000a.bulla")).unwrap();
    fs::rename(folder.path().join("3998.bulla"), folder.path().join("0001.bulla")).unwrap();
    let mut later = Vec::new();
    while let Some(batch) = rows.next().await.unwrap() {
        later.extend(batch.into_iter().map(|entry| entry.name));
    }
    for name in ["0000a.bulla", "0001.bulla"] {
        assert!(later.iter().any(|later| later == name), "{name}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_connector_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for (files, said) in [
        (directory(&file), "is no directory"),
        (directory(&folder.path().join("absent")), "absent"),
        (
            FilesDirectory {
                context: [("a".to_owned(), ContextSource::Column("size".to_owned()))].into(),
                ..directory(folder.path())
            },
            "a file has no \"size\", only name, stem, path",
        ),
    ] {
        let error = Files::open(files).err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[tokio::test]
async fn b04_a_place_that_the_server_gives_never_leads_out_of_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let store = Files::open(directory(folder.path())).unwrap();
    for place in ["../a.bulla", "/etc/passwd", "a/../../b", ".", "a\0b"] {
        let place = Place::new(place.as_bytes().to_vec()).unwrap();
        assert!(store.read_one(&place).await.is_err(), "{place:?}");
    }
}
