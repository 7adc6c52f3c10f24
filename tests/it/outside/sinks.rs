//! Sinks: every record arrives, whatever happens on the way, and a required one holds answers back.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};

use super::receivers::{Mood, Receiver, Speaks};
use super::{User, by_sequence, configure, installed, is_dense, places, until};
use crate::server::TestServer;

/// The lines of a file sink, those of files that were set aside first.
fn lines(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let entries = fs::read_dir(path.parent().unwrap()).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|found| {
            let found = found.file_name().unwrap().to_str().unwrap();
            found.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        })
        .collect();
    files.sort();
    files.push(path.to_owned());
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn sink(speaks: Speaks, receiver: &Receiver, required: bool) -> String {
    let (kind, address) = match speaks {
        Speaks::Syslog => ("syslog", format!("127.0.0.1:{}", receiver.address.port())),
        _ => ("otlp", format!("https://127.0.0.1:{}/v1/logs", receiver.address.port())),
    };
    format!(
        "[[audit.sinks]]\nname = \"far\"\nkind = \"{kind}\"\nrequired = {required}\n\
         address = \"{address}\"\nca_file = \"receivers.pem\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_has_every_record_and_goes_on_where_it_stopped() {
    let mut server = installed(
        "[[audit.sinks]]\nname = \"copy\"\nkind = \"file\"\npath = \"copy.jsonl\"\nrotate_bytes = 4096\n",
    );
    let path = server.path("copy.jsonl");
    let mut made = BTreeSet::new();
    for turn in 0..3 {
        server.serve();
        let user = User::new(&server).await;
        for place in 0..20 {
            let place = format!("{turn}-{place}");
            assert!(user.call(&place).await.1.is_ok());
            made.insert(place);
        }
        if turn == 1 {
            server.kill();
            // A line that was not finished.
            let mut torn = fs::read_to_string(&path).unwrap();
            torn.push_str("{\"sequence\":99");
            fs::write(&path, torn).unwrap();
        } else {
            assert_eq!(server.stop(), 0);
        }
    }
    let found = lines(&path);
    let last = is_dense(&found);
    assert!(made.is_subset(&places(&found)));
    let set_aside = fs::read_dir(server.path("")).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_str().unwrap().starts_with("copy.jsonl.0")
    });
    let set_aside = set_aside.count();
    assert!(set_aside > 2, "{set_aside}");
    println!("file: {last} records, {} lines, {set_aside} files set aside", found.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h02_a_required_file_that_is_away_refuses_within_a_second_and_service_goes_on_by_itself() {
    let mut server = installed(
        "[[audit.sinks]]\nname = \"copy\"\nkind = \"file\"\nrequired = true\npath = \"volume/copy.jsonl\"\n",
    );
    let (volume, away) = (server.path("volume"), server.path("away"));
    fs::create_dir(&volume).unwrap();
    server.serve();
    let user = User::new(&server).await;
    let (_, answered) = user.call("before").await;
    assert!(answered.is_ok());
    // What was answered is there already.
    assert!(places(&lines(&volume.join("copy.jsonl"))).contains("before"));
    fs::rename(&volume, &away).unwrap();
    let mut longest = Duration::ZERO;
    for _ in 0..10 {
        let (took, refused) = user.call("while").await;
        assert_eq!(refused, Err("AUDIT_UNAVAILABLE".to_owned()));
        longest = longest.max(took);
    }
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    fs::rename(&away, &volume).unwrap();
    let back = user.until_answered("after").await;
    assert!(places(&lines(&volume.join("copy.jsonl"))).contains("after"));
    println!("required file away: refused in at most {longest:?}, answered again after {back:?}");
    assert_eq!(server.stop(), 0);
    is_dense(&lines(&volume.join("copy.jsonl")));
}

/// How a receiver that is troubled is for those who call.
async fn troubled(speaks: Speaks, required: bool, trouble: Trouble) -> String {
    let mut server = installed("");
    let mut receiver = Receiver::start(speaks, Some(&server.path("receiver"))).await;
    configure(&server, &sink(speaks, &receiver, required));
    server.serve();
    let user = User::new(&server).await;
    assert!(user.call("before").await.1.is_ok());
    until("the receiver never got it", || places(&receiver.got()).contains("before")).await;
    trouble.begin(&mut receiver, &server).await;
    let (mut answered, mut refused, mut longest) = (BTreeSet::new(), 0, Duration::ZERO);
    for place in 0..12 {
        let place = format!("while-{place}");
        let (took, outcome) = user.call(&place).await;
        longest = longest.max(took);
        match outcome {
            Ok(_) => drop(answered.insert(place)),
            Err(reason) => {
                assert_eq!(reason, "AUDIT_UNAVAILABLE");
                refused += 1;
            }
        }
    }
    assert!(longest < Duration::from_secs(1), "{trouble:?}: {longest:?}");
    if required {
        assert!(
            refused > 0 || trouble == Trouble::BreaksOffOnce,
            "{trouble:?}: nothing was refused"
        );
        // Nobody was answered whose record is not there.
        if speaks == Speaks::Otlp {
            assert!(answered.is_subset(&places(&receiver.got())), "{trouble:?}");
        }
    } else {
        assert_eq!(refused, 0, "{trouble:?}");
    }
    trouble.end(&mut receiver, &server).await;
    let back = user.until_answered("after").await;
    let all = || {
        let got = places(&receiver.got());
        got.contains("after") && answered.is_subset(&got)
    };
    until("the receiver did not catch up", all).await;
    assert_eq!(server.stop(), 0);
    let last = is_dense(&receiver.got());
    format!(
        "{trouble:?}: {} answered, {refused} refused, longest {longest:?}, answered again after \
         {back:?}; {last} records arrived, {} times",
        answered.len(),
        receiver.got().len(),
    )
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    Away,
    SlowBy10S,
    Refuses,
    AnotherCertificate,
    BreaksOff,
    BreaksOffOnce,
}

impl Trouble {
    async fn begin(self, receiver: &mut Receiver, server: &TestServer) {
        match self {
            Self::Away => receiver.go_away().await,
            Self::SlowBy10S => receiver.set(Mood::Slow(Duration::from_secs(10))),
            Self::Refuses => receiver.set(Mood::Refuses),
            Self::AnotherCertificate => {
                receiver.go_away().await;
                receiver.use_identity(&server.path("stranger"));
                receiver.come_back().await;
            }
            Self::BreaksOff => receiver.set(Mood::Resets),
            Self::BreaksOffOnce => receiver.hang_up(),
        }
    }

    async fn end(self, receiver: &mut Receiver, server: &TestServer) {
        match self {
            Self::Away => receiver.come_back().await,
            Self::SlowBy10S | Self::Refuses | Self::BreaksOff => receiver.set(Mood::Takes),
            Self::AnotherCertificate => {
                receiver.go_away().await;
                receiver.use_identity(&server.path("receiver"));
                receiver.come_back().await;
            }
            Self::BreaksOffOnce => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h02_a_required_collector_in_trouble_refuses_within_a_second_and_service_goes_on_by_itself()
{
    for trouble in [
        Trouble::Away,
        Trouble::SlowBy10S,
        Trouble::Refuses,
        Trouble::AnotherCertificate,
        Trouble::BreaksOff,
        Trouble::BreaksOffOnce,
    ] {
        println!("required otlp, {}", troubled(Speaks::Otlp, true, trouble).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_best_effort_collector_in_trouble_slows_nobody_and_gets_everything_later() {
    for trouble in
        [Trouble::Away, Trouble::SlowBy10S, Trouble::Refuses, Trouble::AnotherCertificate]
    {
        println!("best-effort otlp, {}", troubled(Speaks::Otlp, false, trouble).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_collector_refuses_for_ever_stops_a_required_one_and_no_other() {
    for required in [false, true] {
        let mut server = installed("");
        let receiver = Receiver::start(Speaks::Otlp, Some(&server.path("receiver"))).await;
        configure(&server, &sink(Speaks::Otlp, &receiver, required));
        server.serve();
        let user = User::new(&server).await;
        receiver.set(Mood::Rejects("poison"));
        for place in ["a", "poison", "b"] {
            let (_, outcome) = user.call(place).await;
            assert_eq!(outcome.is_ok(), !required || place == "a", "{place}");
        }
        if required {
            assert!(!places(&receiver.got()).contains("b"));
            receiver.set(Mood::Takes);
            user.until_answered("after").await;
            assert_eq!(server.stop(), 0);
            is_dense(&receiver.got());
            continue;
        }
        until("b never came", || places(&receiver.got()).contains("b")).await;
        assert_eq!(server.stop(), 0);
        let got = places(&receiver.got());
        assert!(got.contains("a") && !got.contains("poison"), "{got:?}");
        assert_eq!(server.log().matches("refuses an audit record for ever").count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h02_a_required_syslog_receiver_in_trouble_refuses_within_a_second() {
    for trouble in [Trouble::Away, Trouble::AnotherCertificate, Trouble::BreaksOffOnce] {
        println!("required syslog, {}", troubled(Speaks::Syslog, true, trouble).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_best_effort_syslog_receiver_in_trouble_slows_nobody_and_gets_everything_later() {
    for trouble in [
        Trouble::Away,
        Trouble::Refuses,
        Trouble::AnotherCertificate,
        Trouble::BreaksOff,
        Trouble::BreaksOffOnce,
    ] {
        println!("best-effort syslog, {}", troubled(Speaks::Syslog, false, trouble).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h04_no_secret_is_in_what_leaves_for_a_sink() {
    let mut server = installed("hashed_context_keys = [\"place\"]\n");
    let syslog = Receiver::start(Speaks::Syslog, Some(&server.path("receiver"))).await;
    let otlp = Receiver::start(Speaks::Otlp, Some(&server.path("receiver"))).await;
    let far = sink(Speaks::Syslog, &syslog, false).replace("far", "logs");
    let near = "[[audit.sinks]]\nname = \"copy\"\nkind = \"file\"\npath = \"copy.jsonl\"\n";
    configure(&server, &(far + &sink(Speaks::Otlp, &otlp, false) + near));
    server.serve();
    let user = User::new(&server).await;
    let mut secrets = vec![b"canary-place".to_vec()];
    for place in 0..20 {
        let key = user.call(&format!("canary-place-{place}")).await.1.unwrap();
        secrets.push(hex::encode(&key).into_bytes());
        secrets.push(BASE64_STANDARD.encode(&key).into_bytes());
        secrets.push(key);
    }
    assert_eq!(server.stop(), 0);
    let copy = server.path("copy.jsonl");
    let all = by_sequence(&lines(&copy));
    assert_eq!(by_sequence(&syslog.got()), all);
    assert_eq!(by_sequence(&otlp.got()), all);
    for (name, bytes) in
        [("file", fs::read(&copy).unwrap()), ("syslog", syslog.raw()), ("otlp", otlp.raw())]
    {
        assert!(String::from_utf8_lossy(&bytes).contains("hmac-sha256:"), "{name}");
        for secret in &secrets {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}");
        }
    }
    println!("{} records in three sinks, none of {} secrets", all.len(), secrets.len());
}

#[test]
fn h03_a_log_that_is_not_what_a_sink_was_sent_is_not_served() {
    let mut server =
        installed("[[audit.sinks]]\nname = \"copy\"\nkind = \"file\"\npath = \"copy.jsonl\"\n");
    server.serve();
    assert_eq!(server.stop(), 0);
    let path = server.path("data/audit/sinks/copy.position");
    let position = fs::read_to_string(&path).unwrap();
    let sequence: u64 = position.lines().nth(2).unwrap().parse().unwrap();
    let more = position.replace(&format!("\n{sequence}\n"), &format!("\n{}\n", sequence + 1_000));
    let other = position.replacen(position.lines().nth(3).unwrap(), &"00".repeat(32), 1);
    for (wrong, said) in [
        (more.as_str(), "was rolled back or replaced"),
        (&other, "was rolled back or replaced"),
        ("x", "is no position of this log"),
    ] {
        fs::write(&path, wrong).unwrap();
        let (exit, text) = server.serve_refused();
        assert!(exit == 69 && text.contains(said), "{exit} {text}");
    }
    fs::write(&path, &position).unwrap();
    server.serve();
}
