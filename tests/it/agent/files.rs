//! The agent over a directory of sealed files.

use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use bulla::agent::Ended;
use bulla_client::kms::ProblemDecision;
use bulla_client::{DataKey, Header, Opener, Sealer, read_file_header};

use super::fake::{ACTIVE, KEY, Server, blob, context_of, opens, store_of, version_of};
use super::{agent, job, open, run};

fn connector(folder: &Path) -> String {
    format!(
        "[files]\ndirectory = {folder:?}\nrecursive = true\n[files.context]\n\
         owner = {{ value = \"me\" }}\nfile = {{ column = \"stem\" }}\n"
    )
}

fn data_key(number: u64) -> DataKey {
    DataKey::from_bytes([number.to_be_bytes(); 4].concat()).unwrap()
}

/// The wrapped data key of file `number` under an old version.
fn wrapped(number: u64) -> Vec<u8> {
    let context = context_of(&[("owner", "me"), ("file", &number.to_string())]);
    blob(KEY, 1 + u32::try_from(number % 2).unwrap(), 0, &context, number, number)
}

fn write(folder: &Path, number: u64, text: &str) {
    let sealer = Sealer::new(data_key(number), &wrapped(number), b"").unwrap();
    let partial = folder.join(format!("{number}.partial"));
    fs::write(&partial, sealer.seal(text.as_bytes()).unwrap()).unwrap();
    fs::rename(&partial, folder.join(format!("{number}.bulla"))).unwrap();
}

/// A file of suite 01, as far as its header.
fn write_suite_01(folder: &Path, number: u64) {
    let wrapped = wrapped(number);
    let front = [&[0xD7, 0x42, 0x55, 0x02, 0x01, 0x00, 0x00][..], &[wrapped.len() as u8]].concat();
    let sealed = [&front, &wrapped[..], &[0; 50]].concat();
    fs::write(folder.join(format!("{number}.bulla")), sealed).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn d10_files_survive_kills_and_an_application_and_open_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("deep");
    fs::create_dir(&deep).unwrap();
    for number in 0..600 {
        write(if number < 300 { folder.path() } else { &deep }, number, "first");
    }
    let server = Server::new();
    let application = {
        let deep = deep.clone();
        std::thread::spawn(move || {
            (300..600).rev().for_each(|number| write(&deep, number, "later"))
        })
    };
    for until in [100, 250, 400] {
        let (killed, job) = (agent(&server, open(&connector(folder.path())).await.unwrap()), job());
        let moved = || server.state.lock().moved_blobs;
        // Dropped wherever it stands, as `kill -9` would.
        let kill = async {
            while moved() < until {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = kill => {}
            ended = killed.run(&job, std::future::pending()) => drop(ended.unwrap()),
        }
    }
    application.join().unwrap();
    let ended = run(&server, open(&connector(folder.path())).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(_)), "{ended:?}");

    for number in 0..600 {
        let (folder, text) =
            if number < 300 { (folder.path(), "first") } else { (&*deep, "later") };
        let sealed = fs::read(folder.join(format!("{number}.bulla"))).unwrap();
        let (header, body) = Header::split(&sealed).unwrap();
        assert_eq!((version_of(header.wrapped()), store_of(header.wrapped())), (ACTIVE, 5));
        let context = context_of(&[("owner", "me"), ("file", &number.to_string())]);
        assert_eq!(opens(header.wrapped(), &context), Some(number));
        let opener = Opener::new(&data_key(number), &header, b"").unwrap();
        assert_eq!(opener.open(body).unwrap(), text.as_bytes(), "{number}");
    }
}

/// A file system of one mebibyte, gone with this.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Nothing where nobody may mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1M", "tmpfs"]).arg(folder.path());
        mount.output().is_ok_and(|made| made.status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// Runs the agent over 40 files where only the first ones fit, lets it go on where all fit, and sees that
/// every file opens. `full` makes it full after some files, `free` undoes that.
async fn disk_full(folder: &Path, full: impl FnOnce(), free: impl FnOnce(), said: &str) {
    let text = "x".repeat(8_000);
    (100..140).for_each(|number| write(folder, number, &text));
    let before: Vec<_> =
        (100..140).map(|n| fs::read(folder.join(format!("{n}.bulla"))).unwrap()).collect();
    full();
    let server = Server::new();
    let error =
        run(&server, open(&connector(folder)).await.unwrap()).await.unwrap_err().to_string();
    assert!(error.contains(said) && error.contains("100.bulla"), "{error}");
    // As they were, to the byte, and nothing beside them.
    for (number, before) in (100..140).zip(before) {
        assert_eq!(fs::read(folder.join(format!("{number}.bulla"))).unwrap(), before, "{number}");
    }
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.filter(|name| name.as_encoded_bytes().ends_with(b".bulla")).count(), 40);
    free();
    let ended = run(&server, open(&connector(folder)).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(standing) if standing.moved == 40), "{ended:?}");
    for number in 100..140 {
        let sealed = fs::read(folder.join(format!("{number}.bulla"))).unwrap();
        let (header, body) = Header::split(&sealed).unwrap();
        assert_eq!(version_of(header.wrapped()), ACTIVE);
        let opener = Opener::new(&data_key(number), &header, b"").unwrap();
        assert_eq!(opener.open(body).unwrap(), text.as_bytes(), "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn j09_a_disk_that_is_full_is_told_and_no_file_is_lost() {
    let Some(disk) = SmallDisk::mount() else {
        // Nobody may mount here; then a folder that takes no new file.
        let folder = tempfile::tempdir().unwrap();
        let mode = |mode| fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        return disk_full(folder.path(), || mode(0o555), || mode(0o755), "ermission denied").await;
    };
    let (folder, ballast) = (disk.0.path(), disk.0.path().join("ballast"));
    let fill = || {
        let mut file = fs::File::create(&ballast).unwrap();
        // Until not one byte fits.
        while file.write_all(&[0; 512]).is_ok() {}
    };
    disk_full(folder, fill, || fs::remove_file(&ballast).unwrap(), "No space left on device").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_suite_01_waits_for_a_person() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), 1, "new");
    write_suite_01(folder.path(), 2);
    let before = fs::read(folder.path().join("2.bulla")).unwrap();
    let server = Server::new();
    let ended = run(&server, open(&connector(folder.path())).await.unwrap()).await.unwrap();
    assert!(!matches!(ended, Ended::Clean(_)), "{ended:?}");
    let digest = {
        let state = server.state.lock();
        let [(digest, problem)] = Vec::from_iter(&state.problems)[..] else { panic!("not one") };
        assert_eq!((problem.place.as_str(), problem.version), ("2.bulla", 1));
        assert!(problem.reason.starts_with("FIXED_HEADER"), "{}", problem.reason);
        // It is under an old version, so no scan is clean.
        let scan = state.scans.last().unwrap();
        assert!(scan.versions.iter().any(|found| found.version == 1 && found.count == 1));
        digest.clone()
    };
    assert_eq!(fs::read(folder.path().join("2.bulla")).unwrap(), before);

    // Encrypted again, as `bulla decrypt` and `bulla encrypt` do, it moves.
    write(folder.path(), 2, "again");
    server.decide(&digest, ProblemDecision::Retry);
    let ended = run(&server, open(&connector(folder.path())).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(_)), "{ended:?}");
    let header = read_file_header(&folder.path().join("2.bulla")).unwrap();
    assert_eq!(version_of(header.wrapped()), ACTIVE);
}
