//! `bulla rotate-audit-key` as a whole program: also killed between the log's record of the new key and
//! the store's, after which the next start goes on, and whoever trusts the first key can follow.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use bulla_proto::stored;
use prost::Message;

use crate::server::TestServer;

/// Whether the store has a next key that it does not sign with yet, by a copy of its files.
fn is_prepared(server: &TestServer) -> bool {
    let copy = tempfile::tempdir().unwrap();
    for name in ["bulla.db", "bulla.db-wal"] {
        // Without the log of what was committed last where the program has ended in order.
        let _ = fs::copy(server.path("data").join(name), copy.path().join(name));
    }
    let database = rusqlite::Connection::open(copy.path().join("bulla.db")).unwrap();
    let body: Vec<u8> = database
        .query_row("SELECT body FROM bulla_row WHERE kind = 31", [], |row| row.get(0))
        .unwrap();
    !stored::AuditKeyBody::decode(&body[..]).unwrap().next_wrapped.is_empty()
}

/// The log's first segment, and where its last record ends.
struct Segment(fs::File, u64);

impl Segment {
    fn of(server: &TestServer) -> Self {
        let path = server.path("data/audit/segments/00000000000000000001-0000.seg");
        let bytes = fs::read(&path).unwrap();
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
        Self(fs::File::open(path).unwrap(), end)
    }

    /// Whether a record of another key was written since.
    fn says_so(&self) -> bool {
        let mut bytes = [0; 4096];
        let read = self.0.read_at(&mut bytes, self.1).unwrap();
        bytes[..read].windows(ACTION.len()).any(|window| window == ACTION)
    }
}

fn published(server: &TestServer) -> String {
    fs::read_to_string(server.path("data/audit/key.pub")).unwrap()
}

fn rotated(server: &TestServer) -> String {
    let output = server.command("rotate-audit-key").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn verifies(server: &TestServer) {
    let output = Command::new(env!("CARGO_BIN_EXE_bulla"))
        .args(["audit", "verify", "--directory"])
        .arg(server.path("data"))
        .arg("--public-key")
        .arg(server.path("pinned.pub"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn a_change_of_the_audit_key_that_was_killed_half_way_is_finished_at_the_next_start() {
    let mut server = TestServer::install("sqlite", "");
    server.serve();
    assert_eq!(server.stop(), 0);
    fs::write(server.path("pinned.pub"), published(&server)).unwrap();
    let whole = rotated(&server);
    verifies(&server);
    let mut between = false;
    for turn in 1..=50 {
        let (segment, key) = (Segment::of(&server), published(&server));
        let mut rotate = server.command("rotate-audit-key");
        rotate.stdout(Stdio::null()).stderr(Stdio::null());
        let mut rotating = rotate.spawn().unwrap();
        // As soon as the log says it, whether or not that is durable yet.
        while !segment.says_so() && rotating.try_wait().unwrap().is_none() {}
        rotating.kill().unwrap();
        rotating.wait().unwrap();
        between = between || is_prepared(&server);
        server.serve();
        assert_eq!(server.stop(), 0);
        assert!(!is_prepared(&server), "{turn}");
        assert_ne!(published(&server), key, "{turn}");
        verifies(&server);
        if between {
            break;
        }
    }
    assert!(between, "the program was never killed between the two");
    let last = rotated(&server);
    assert_ne!(last, whole);
    server.serve();
    assert_eq!(server.stop(), 0);
    assert_eq!(published(&server), last);
    verifies(&server);
}

const ACTION: &[u8] = b"audit.rotate_key";
