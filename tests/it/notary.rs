//! The notary: what it signs others can verify, what it lost it makes anew, and a log that is not the
//! one that was signed is not served.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bulla::audit::verify::{Finding, What};
use bulla::audit::{
    Outcome, ROTATE_KEY, Record, Sign, SignedCheckpoint, VerifyingKey, leaf_hash, rotation_detail,
};
use bulla::auditor::{self, Copied, Shown};
use bulla::trail::{MIN_SEGMENT_BYTES, Notary, NotaryError, Purpose, Trail, TrailOptions};
use bulla_proof::{verify_consistency, verify_inclusion};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader, TileHashReader, TileReader, check_record, prove_record, record_hash};

use super::tampering::Key;

const INSTALLATION: [u8; 16] = [9; 16];

/// A data directory with a log of `records`, which `salt` tells from another.
async fn written(directory: &Path, records: usize, salt: &str) -> Trail {
    let trail = reopened(directory);
    append(&trail, records, |_| salt.to_owned(), "crypto.decrypt").await;
    trail
}

async fn append(
    trail: &Trail,
    records: usize,
    detail: impl Fn(usize) -> String,
    action: &'static str,
) {
    let lane = trail.lane();
    let running = tokio::spawn(lane.run());
    let appended: Vec<_> = (0..records)
        .map(|place| {
            let mut record = Record::new(place as i64, action, Outcome::Succeeded);
            record.detail = detail(place).into();
            lane.append(&record)
        })
        .collect();
    for appended in appended {
        appended.await.unwrap();
    }
    running.abort();
    let _ = running.await;
}

fn start_with(
    directory: &Path,
    trail: &Trail,
    key: Key,
    next: Option<Key>,
) -> Result<Notary, NotaryError> {
    let clock = AtomicI64::new(0);
    let next = next.map(|key| Arc::new(key) as Arc<dyn Sign + Send + Sync>);
    Notary::start(
        &directory.join("audit"),
        trail.clone(),
        Arc::new(key),
        next,
        Box::new(move || clock.fetch_add(1, Ordering::Relaxed)),
    )
}

fn start(directory: &Path, trail: &Trail) -> Result<Notary, NotaryError> {
    start_with(directory, trail, Key::new(INSTALLATION, 5), None)
}

/// Opens the log in `directory` again.
fn reopened(directory: &Path) -> Trail {
    let options = TrailOptions { segment_bytes: MIN_SEGMENT_BYTES, ..TrailOptions::default() };
    Trail::open(&directory.join("audit"), INSTALLATION, &options).unwrap().0
}

/// The chain values of the log, by place.
async fn entries(trail: &Trail) -> Vec<[u8; 32]> {
    let (mut hashes, mut after) = (Vec::new(), 0);
    loop {
        let read = trail.read(after, 1_000).await.unwrap();
        let Some(last) = read.last() else { return hashes };
        after = last.sequence;
        hashes.extend(read.iter().map(|entry| entry.hash));
    }
}

fn audited(directory: &Path) -> Result<u64, Finding> {
    let public_key = directory.join("pinned.pub");
    if !public_key.exists() {
        fs::write(&public_key, Key::new(INSTALLATION, 5).key().to_string()).unwrap();
    }
    let copied = Copied { directory: directory.to_owned(), public_key, ..Copied::default() };
    match auditor::verify(&copied, &mut |_, _| ()).unwrap() {
        Shown::Whole(verified, _) | Shown::Unwitnessed(verified) => Ok(verified.proven),
        Shown::Bad(finding) => Err(finding),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_record_and_every_earlier_size_is_proven_by_the_newest_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let trail = written(folder.path(), 700, "a").await;
    let notary = start(folder.path(), &trail).unwrap();
    let notarized = notary.notarized();
    let signed = notarized.checkpoint().unwrap();
    let checkpoint = signed.checkpoint();
    assert_eq!((checkpoint.size, notarized.failures()), (700, 0));
    let entries = entries(&trail).await;
    assert_eq!(checkpoint.chain, entries[699]);
    let mut tree = bulla::audit::Tree::new();
    for (place, entry) in entries.iter().enumerate() {
        let leaf = leaf_hash(entry);
        let (size, proof) = notarized.prove_inclusion(place as u64 + 1, None).unwrap();
        verify_inclusion(&leaf, place as u64, size, &proof, &checkpoint.root).unwrap();
        tree.append(leaf, |_, _| ());
        let (_, proof) = notarized.prove_consistency(tree.size(), None).unwrap();
        let (first, root) = (tree.size(), tree.root());
        verify_consistency(first, &root, 700, &checkpoint.root, &proof).unwrap();
    }
    for (sequence, size) in [(0, None), (701, None), (1, Some(701)), (7, Some(6))] {
        assert!(matches!(notarized.prove_inclusion(sequence, size), Err(NotaryError::NotYet)));
    }
    assert_eq!(audited(folder.path()), Ok(700));
}

// === somebody else's verifier ===

/// The tiles of a copied folder, as another implementation asks for them.
struct Files<'a>(&'a Path);

impl TileReader for Files<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        // This library writes the height into the path, as before C2SP; the specification does not.
        let path = |tile: &tlog_tiles::Tile| tile.path().replacen("tile/8/", "tile/", 1);
        let read = |tile: &tlog_tiles::Tile| fs::read(self.0.join(path(tile))).unwrap();
        Ok(tiles.iter().map(read).collect())
    }

    fn save_tiles(&self, _: &[tlog_tiles::Tile], _: &[Vec<u8>]) {}
}

/// Whether Cloudflare's `signed_note` and `tlog_tiles` accept every entry of the log in `folder`.
fn others_accept(folder: &Path, key: &VerifyingKey, entries: &[[u8; 32]]) -> Result<(), String> {
    let note = fs::read(folder.join("checkpoint")).unwrap();
    let note = Note::from_bytes(&note).map_err(|error| error.to_string())?;
    let verifier = StandardVerifier::new(&key.to_string()).unwrap();
    note.verify(&VerifierList::new(vec![Box::new(verifier)])).map_err(|e| e.to_string())?;
    let checkpoint =
        tlog_tiles::Checkpoint::from_bytes(note.text()).map_err(|error| error.to_string())?;
    let (size, root) = (checkpoint.size(), *checkpoint.hash());
    let files = Files(folder);
    let reader = TileHashReader::new(size, root, &files);
    for (index, entry) in entries.iter().enumerate() {
        let (index, leaf) = (index as u64, record_hash(entry));
        let proof = prove_record(size, index, &reader).map_err(|error| format!("{error:?}"))?;
        check_record(&proof, size, root, index, leaf).map_err(|error| format!("{error:?}"))?;
        let stored = reader.read_hashes(&[tlog_tiles::stored_hash_index(0, index)]);
        if stored.map_err(|error| format!("{error:?}"))? != [leaf] {
            return Err(format!("entry {index}"));
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_third_partys_verifier_accepts_the_log_and_rejects_a_tampered_one() {
    let folder = tempfile::tempdir().unwrap();
    let trail = written(folder.path(), 600, "a").await;
    drop(start(folder.path(), &trail).unwrap());
    let (key, audit) = (Key::new(INSTALLATION, 5), folder.path().join("audit"));
    let key = key.key();
    let entries = entries(&trail).await;
    assert_eq!(others_accept(&audit, key, &entries), Ok(()));
    assert_eq!(fs::read_to_string(audit.join("key.pub")).unwrap(), format!("{key}\n"));

    let mut rejected = 0;
    for place in (0..600).step_by(7) {
        let mut changed = entries.clone();
        changed[place][place % 32] ^= 1;
        assert!(others_accept(&audit, key, &changed).is_err(), "entry {place}");
        rejected += 1;
    }
    for (file, step) in
        [("checkpoint", 1), ("tile/0/000", 97), ("tile/0/002.p/88", 97), ("tile/1/000.p/2", 1)]
    {
        let path = audit.join(file);
        let true_bytes = fs::read(&path).unwrap();
        for position in (0..true_bytes.len()).step_by(step) {
            let mut bytes = true_bytes.clone();
            bytes[position] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(others_accept(&audit, key, &entries).is_err(), "{file} {position}");
            rejected += 1;
        }
        fs::write(&path, &true_bytes).unwrap();
    }
    assert_eq!(others_accept(&audit, key, &entries), Ok(()));
    let other = Key::new(INSTALLATION, 6);
    assert!(others_accept(&audit, other.key(), &entries).is_err());
    println!("third-party verifier: 600 entries accepted, {rejected} changes rejected");
}

// === starting again ===

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_derived_is_made_anew_where_it_is_missing_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let trail = written(folder.path(), 600, "a").await;
    drop(start(folder.path(), &trail).unwrap());
    let tile = folder.path().join("audit/tile/0/001");
    let true_tile = fs::read(&tile).unwrap();
    let damage: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&tile).unwrap(),
        &|| fs::write(&tile, [0; 8192]).unwrap(),
        &|| fs::remove_dir_all(folder.path().join("audit/tile")).unwrap(),
        &|| {
            for file in ["checkpoint", "checkpoints", "key.pub"] {
                fs::remove_file(folder.path().join("audit").join(file)).unwrap();
            }
            fs::remove_dir_all(folder.path().join("audit/tile")).unwrap();
        },
    ];
    for (turn, damage) in damage.iter().enumerate() {
        damage();
        append(&trail, 1, |_| "more".to_owned(), "crypto.decrypt").await;
        let notary = start(folder.path(), &trail).unwrap();
        let size = 601 + turn as u64;
        assert_eq!(notary.notarized().checkpoint().unwrap().checkpoint().size, size);
        notary.notarized().prove_inclusion(300, None).unwrap();
        drop(notary);
        assert_eq!(fs::read(&tile).unwrap(), true_tile, "{turn}");
        assert_eq!(audited(folder.path()), Ok(size));
    }
    // A note that was not finished when the machine stopped is taken off.
    let checkpoints = folder.path().join("audit/checkpoints");
    let mut bytes = fs::read(&checkpoints).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"bulla/half a note\n5");
    fs::write(&checkpoints, &bytes).unwrap();
    let notary = start(folder.path(), &trail).unwrap();
    drop(notary);
    let mended = fs::read(&checkpoints).unwrap();
    assert_eq!(mended[..whole], bytes[..whole]);
    assert_eq!(audited(folder.path()), Ok(604));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_log_that_is_not_the_one_that_was_signed_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit/segments/00000000000000000001-0000.seg");
    let trail = written(folder.path(), 300, "a").await;
    trail.close().await;
    drop(trail);
    let before = fs::read(&log).unwrap();
    let trail = reopened(folder.path());
    append(&trail, 100, |_| "b".to_owned(), "crypto.decrypt").await;
    drop(start(folder.path(), &trail).unwrap());
    trail.close().await;
    drop(trail);
    let whole = fs::read(&log).unwrap();

    // An old copy of the log, though its chain is sound.
    fs::write(&log, &before).unwrap();
    let trail = reopened(folder.path());
    let refused = start(folder.path(), &trail).err().unwrap();
    assert!(matches!(refused, NotaryError::CutOff { signed: 400, found: 300 }), "{refused}");
    let finding = audited(folder.path()).unwrap_err();
    assert_eq!((finding.what, finding.first, finding.last), (What::CutOff, 301, 400));

    // Another history from there on.
    append(&trail, 150, |_| "c".to_owned(), "crypto.decrypt").await;
    let refused = start(folder.path(), &trail).err().unwrap();
    assert!(matches!(refused, NotaryError::Forked { signed: 400 }), "{refused}");
    trail.close().await;
    drop(trail);
    let finding = audited(folder.path()).unwrap_err();
    assert_eq!((finding.what, finding.first), (What::Changed, 301), "{finding}");

    // One byte of a record.
    let mut bytes = whole.clone();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap() - 60;
    bytes[at] ^= 1;
    fs::write(&log, &bytes).unwrap();
    let finding = audited(folder.path()).unwrap_err();
    assert_eq!((finding.what, finding.first), (What::Changed, 400), "{finding}");

    // A checkpoint of another key.
    fs::write(&log, &whole).unwrap();
    let trail = reopened(folder.path());
    let refused = start_with(folder.path(), &trail, Key::new(INSTALLATION, 6), None).err().unwrap();
    assert!(matches!(refused, NotaryError::Checkpoint { .. }), "{refused}");
    drop(start(folder.path(), &trail).unwrap());
    assert_eq!(audited(folder.path()), Ok(400));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_key_signs_from_the_logs_record_of_it_on() {
    let folder = tempfile::tempdir().unwrap();
    let trail = written(folder.path(), 10, "a").await;
    let (old, next) = (Key::new(INSTALLATION, 5), Key::new(INSTALLATION, 6));
    let detail = rotation_detail(&old, next.key());
    drop(start(folder.path(), &trail).unwrap());
    append(&trail, 1, |_| detail.clone(), ROTATE_KEY).await;
    append(&trail, 5, |_| "b".to_owned(), "crypto.decrypt").await;
    let notary = start_with(folder.path(), &trail, old, Some(next)).unwrap();
    let signed = notary.notarized().checkpoint().unwrap();
    let next = Key::new(INSTALLATION, 6);
    assert_eq!(signed.checkpoint().size, 16);
    assert!(SignedCheckpoint::open(signed.as_bytes(), next.key()).is_ok());
    assert_eq!(&notary.notarized().key(), next.key());
    drop(notary);
    assert_eq!(audited(folder.path()), Ok(16));
    // Started again with the new key alone.
    drop(start_with(folder.path(), &trail, next, None).unwrap());
    assert_eq!(audited(folder.path()), Ok(16));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notary_that_cannot_write_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let trail = written(folder.path(), 10, "a").await;
    let notary = start(folder.path(), &trail).unwrap();
    let notarized = notary.notarized();
    let checkpoints = folder.path().join("audit/checkpoints");
    fs::remove_file(&checkpoints).unwrap();
    fs::create_dir(&checkpoints).unwrap();
    append(&trail, 5, |_| "b".to_owned(), "crypto.decrypt").await;
    assert!(trail.takes_records(Purpose::Use));
    // Its last turn is at its end.
    drop(notary);
    assert!(notarized.failures() > 0);
    assert_eq!(notarized.checkpoint().unwrap().checkpoint().size, 10);
    fs::remove_dir(&checkpoints).unwrap();
    drop(start(folder.path(), &trail).unwrap());
    assert_eq!(audited(folder.path()), Ok(15));
}
