//! Anchors: each new checkpoint arrives, and an older or another copy of the whole directory is found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use bulla::audit::{AnchoredNotes, SignedCheckpoint, VerifyingKey};

use super::receivers::{Mood, Receiver, Speaks};
use super::{User, configure, installed, until};
use crate::server::TestServer;

const FILE: &str =
    "[[audit.anchors]]\nname = \"elsewhere\"\nkind = \"file\"\npath = \"anchor/checkpoints\"\n";

fn notes(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    AnchoredNotes::new(&text).collect()
}

/// `bulla audit verify --directory`, with more: its exit code and what it says.
fn verified(server: &TestServer, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bulla"))
        .args(["audit", "verify", "--directory"])
        .arg(server.path("data"))
        .arg("--public-key")
        .arg(server.path("pinned.pub"))
        .args(arguments)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text + &String::from_utf8_lossy(&output.stderr))
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_anchor_gets_what_is_signed() {
    let mut server = installed("");
    fs::create_dir(server.path("anchor")).unwrap();
    let http = Receiver::start(Speaks::Http, Some(&server.path("receiver"))).await;
    let (script, taken) = (server.path("take.sh"), server.path("taken"));
    let said = format!(
        "#!/bin/sh\ncat >> {0}; echo >> {0}; env > {0}.env; echo \"$1\" > {0}.argument\n",
        taken.display()
    );
    fs::write(&script, said).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let more = format!(
        "{FILE}[[audit.anchors]]\nname = \"command\"\nkind = \"command\"\n\
         command = [\"{}\", \"$(id)\"]\n[[audit.anchors]]\nname = \"http\"\nkind = \"http\"\n\
         address = \"https://127.0.0.1:{}/checkpoints\"\nca_file = \"receivers.pem\"\n",
        script.display(),
        http.address.port(),
    );
    configure(&server, &more);
    server.serve();
    let user = User::new(&server).await;
    for place in 0..3 {
        let had = http.got().len();
        assert!(user.call(&place.to_string()).await.1.is_ok());
        until("no checkpoint came", || http.got().len() > had).await;
    }
    assert_eq!(server.stop(), 0);
    let key = fs::read_to_string(server.path("data/audit/key.pub")).unwrap();
    let key = VerifyingKey::parse(&key).unwrap();
    let newest = fs::read_to_string(server.path("data/audit/checkpoint")).unwrap();
    for (name, notes) in [
        ("file", notes(&server.path("anchor/checkpoints"))),
        ("command", notes(&taken)),
        ("http", http.got()),
    ] {
        assert!(notes.len() >= 3, "{name}: {}", notes.len());
        assert_eq!(notes.last(), Some(&newest), "{name}");
        for note in &notes {
            SignedCheckpoint::open(note.as_bytes(), &key).unwrap();
        }
        println!("{name}: {} checkpoints", notes.len());
    }
    // No shell has looked at the argument, and nothing of the server's environment is there.
    assert_eq!(fs::read_to_string(server.path("taken.argument")).unwrap(), "$(id)\n");
    let environment = fs::read_to_string(server.path("taken.env")).unwrap();
    assert!(!environment.contains("BULLA") && !environment.contains("HOME="), "{environment}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_copy_of_the_whole_directory_that_is_older_or_another_is_found_by_an_anchor() {
    let mut server = installed(FILE);
    fs::create_dir(server.path("anchor")).unwrap();
    server.serve();
    let user = User::new(&server).await;
    assert!(user.call("shared").await.1.is_ok());
    assert_eq!(server.stop(), 0);
    fs::copy(server.path("data/audit/key.pub"), server.path("pinned.pub")).unwrap();
    copy(&server.path("data"), &server.path("old"));
    server.serve();
    let user = User::new(&server).await;
    for place in 0..5 {
        assert!(user.call(&place.to_string()).await.1.is_ok());
    }
    assert_eq!(server.stop(), 0);
    let anchor = server.path("anchor/checkpoints");
    let anchored = ["--anchor", anchor.to_str().unwrap()];
    let (exit, text) = verified(&server, &anchored);
    assert_eq!(exit, 0, "{text}");

    // The older copy: sound in itself.
    fs::rename(server.path("data"), server.path("true")).unwrap();
    copy(&server.path("old"), &server.path("data"));
    assert_eq!(verified(&server, &[]).0, 0);
    let (exit, text) = verified(&server, &anchored);
    assert!(exit == 65 && text.contains("rolled back"), "{exit} {text}");
    let (exit, text) = server.serve_refused();
    assert!(exit == 69 && text.contains("was rolled back"), "{exit} {text}");

    // Another history of it, as long and longer: it was served without the anchor.
    let config = fs::read_to_string(server.path("bulla.toml")).unwrap();
    fs::write(server.path("bulla.toml"), config.replace(FILE, "")).unwrap();
    server.serve();
    let user = User::new(&server).await;
    for place in 0..9 {
        assert!(user.call(&format!("other-{place}")).await.1.is_ok());
    }
    assert_eq!(server.stop(), 0);
    fs::write(server.path("bulla.toml"), config).unwrap();
    assert_eq!(verified(&server, &[]).0, 0);
    let (exit, text) = verified(&server, &anchored);
    assert!(exit == 65 && text.contains("forked"), "{exit} {text}");
    let (exit, text) = server.serve_refused();
    assert!(exit == 69 && text.contains("was forked"), "{exit} {text}");

    // The true one, with a piece at the anchor's end that was not finished.
    fs::remove_dir_all(server.path("data")).unwrap();
    fs::rename(server.path("true"), server.path("data")).unwrap();
    let before = fs::read_to_string(&anchor).unwrap();
    fs::write(&anchor, format!("{before}{}", &before[..40])).unwrap();
    server.serve();
    assert_eq!(server.stop(), 0);
    let after = fs::read_to_string(&anchor).unwrap();
    assert!(after.starts_with(&before) && after.len() > before.len() + 200, "never shortened");
    let (exit, text) = verified(&server, &anchored);
    assert_eq!(exit, 0, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_anchor_that_is_away_too_long_has_calls_refused_until_it_is_back() {
    let mut server = installed("");
    let http = Receiver::start(Speaks::Http, Some(&server.path("receiver"))).await;
    configure(
        &server,
        &format!(
            "[[audit.anchors]]\nname = \"http\"\nkind = \"http\"\nrequired = true\n\
             age_seconds_max = 5\naddress = \"https://127.0.0.1:{}/\"\nca_file = \"receivers.pem\"\n",
            http.address.port()
        ),
    );
    server.serve();
    let user = User::new(&server).await;
    assert!(user.call("before").await.1.is_ok());
    until("no checkpoint came", || !http.got().is_empty()).await;
    http.set(Mood::Refuses);
    let begun = Instant::now();
    let mut answered = 0;
    let refused = loop {
        match user.call("while").await {
            (_, Ok(_)) => answered += 1,
            (took, Err(reason)) => {
                assert_eq!(reason, "AUDIT_UNAVAILABLE");
                break took;
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "never refused");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let after = begun.elapsed();
    assert!(after > Duration::from_secs(4) && answered > 0, "{after:?}");
    assert!(refused < Duration::from_secs(1), "{refused:?}");
    http.set(Mood::Takes);
    let back = user.until_answered("after").await;
    println!(
        "required anchor away: {answered} answered for {after:?}, then refused in {refused:?}; \
         answered again after {back:?}"
    );
}
