//! Witnesses: what they sign is kept and demanded, and they notice a log that does not go on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use bulla::audit::WitnessKey;

use super::witness::Witness;
use super::{User, configure, installed, until};
use crate::server::TestServer;
use crate::transcripts::Callers;

fn anchor(name: &str, witness: &Witness) -> String {
    format!(
        "[[audit.anchors]]\nname = \"{name}\"\nkind = \"witness\"\n\
         address = \"http://127.0.0.1:{}/w\"\nplaintext_to_loopback = true\n\
         verifier_key = \"{}\"\n",
        witness.address.port(),
        witness.verifier_key()
    )
}

/// Installed, with two witnesses that know its key.
async fn witnessed() -> (TestServer, [Witness; 2]) {
    let mut server = installed("");
    server.serve();
    assert_eq!(server.stop(), 0);
    let log = fs::read_to_string(server.path("data/audit/key.pub")).unwrap();
    fs::write(server.path("pinned.pub"), &log).unwrap();
    let log = log.trim_end();
    let witnesses = [
        Witness::start("one.test/witness", 1, log).await,
        Witness::start("two.test/witness", 2, log).await,
    ];
    let both = anchor("one", &witnesses[0]) + &anchor("two", &witnesses[1]);
    configure(&server, &both);
    (server, witnesses)
}

fn copy(server: &TestServer, from: &str, to: &str) {
    let (from, to) = (server.path(from), server.path(to));
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

/// `bulla audit verify`, with or without the server: its exit code and what it says.
fn verified(server: &TestServer, online: bool, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
    command.args(["audit", "verify", "--public-key"]).arg(server.path("pinned.pub"));
    match online {
        true => command.arg("--state").arg(server.path("state")),
        false => command.arg("--directory").arg(server.path("data")),
    };
    let output = command.args(arguments).envs(server.environment("auditor")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let text = (text + &String::from_utf8_lossy(&output.stderr)).to_lowercase();
    (output.status.code().unwrap(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_what_witnesses_sign_is_kept_and_can_be_demanded() {
    let (mut server, witnesses) = witnessed().await;
    server.serve();
    let user = User::new(&server).await;
    for place in 0..300 {
        assert!(user.call(&place.to_string()).await.1.is_ok());
    }
    until("nobody signed", || witnesses.iter().all(|witness| witness.seen() > 300)).await;
    let keys = witnesses.each_ref().map(Witness::verifier_key);
    let [one, two] = [&*keys[0], &*keys[1]];
    let stranger = Witness::start("three.test/witness", 3, "").await.verifier_key();
    let cosigned = || fs::read(server.path("data/audit/cosigned")).unwrap_or_default();
    let parsed = keys.each_ref().map(|key| WitnessKey::parse(key).unwrap());
    until("they never signed the same", || parsed.iter().all(|key| key.has_signed(&cosigned())))
        .await;
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--witness", one, "--witness", two], 0, "witnessed"),
        (&["--witness", one, "--witness", &stranger, "--quorum", "1"], 0, "witnessed"),
        (&["--witness", one, "--witness", &stranger], 65, "of these witnesses"),
        (&["--witness", one, "--quorum", "2"], 64, "--quorum must be"),
        (&["--witness", "x"], 64, "no verifier key"),
    ];
    for (arguments, exit, said) in cases {
        let (ended, text) = verified(&server, true, arguments);
        assert!(ended == exit && text.contains(said), "online {arguments:?}: {ended} {text}");
    }
    assert_eq!(server.stop(), 0);
    for (arguments, exit, said) in cases {
        let (ended, text) = verified(&server, false, arguments);
        assert!(ended == exit && text.contains(said), "{arguments:?}: {ended} {text}");
    }
    // A signature that was changed is none.
    let path = server.path("data/audit/cosigned");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() - 12;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    fs::write(&path, bytes).unwrap();
    // The newest checkpoint is beside it, and was not signed by both perhaps.
    let (ended, text) = verified(&server, false, cases[0].0);
    assert!(ended == 65, "{ended} {text}");
    // Both begin where they know the log from, also after a restart: the first is told by a conflict.
    fs::remove_file(&path).unwrap();
    server.serve();
    let before = witnesses[0].seen();
    let user = User::new(&server).await;
    assert!(user.call("more").await.1.is_ok());
    until("nobody signed again", || witnesses[0].seen() > before).await;
    let answers = witnesses[0].answers();
    assert!(answers.contains(&409) && !answers.contains(&422), "{answers:?}");
    println!("witness: {} answers, {answers:?}", answers.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h03_a_witness_notices_an_older_copy_and_a_slow_one_stops_nobody() {
    let (mut server, witnesses) = witnessed().await;
    copy(&server, "data", "old");
    witnesses[1].be_slow(Duration::from_secs(3));
    server.serve();
    let user = User::new(&server).await;
    let mut longest = Duration::ZERO;
    for place in 0..20 {
        let (took, made) = user.call(&place.to_string()).await;
        assert!(made.is_ok());
        longest = longest.max(took);
    }
    until("nobody signed", || witnesses[0].seen() > 20 && witnesses[1].seen() > 20).await;
    server.kill();
    fs::remove_dir_all(server.path("data")).unwrap();
    copy(&server, "old", "data");
    server.serve();
    until("it was not noticed", || server.log().contains("it was rolled back")).await;
    println!("a witness that takes 3 s: calls took at most {longest:?}");
}
