//! Tests of the configuration.
#![allow(clippy::unwrap_used)]
use super::*;

const GOOD: &str = r#"
        environment = "production"
        listen = "127.0.0.1:8443"
        data_directory = "data"
        [tls]
        certificate_file = "tls/server.pem"
        key_file = "/etc/bulla/server.key"
        [seal]
        key_file = "root.key"
        [[trust_domains]]
        name = "demo.bulla"
        ca_file = "ca.pem"
        tenant = "demo"
    "#;

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(text, |_| None)
}

fn load_with(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bulla.toml");
    fs::write(&path, text).unwrap();
    Config::load(&path, variable)
}

#[test]
fn paths_are_relative_to_the_file() {
    let config = load(GOOD).unwrap();
    assert!(config.database_file().ends_with("data/bulla.db"));
    assert!(config.database_file().is_absolute());
    assert_eq!(config.tls.key_file, Path::new("/etc/bulla/server.key"));
    assert_eq!(config.tenants().into_iter().collect::<Vec<_>>(), ["demo"]);
}

#[test]
fn the_environment_overrides_the_address() {
    let to =
        |value: &'static str| move |name: &str| (name == "BULLA_LISTEN").then(|| value.to_owned());
    let listen = load_with(GOOD, to("127.0.0.1:9")).unwrap().listen;
    assert_eq!(listen, "127.0.0.1:9".parse().unwrap());
    assert!(load_with(GOOD, to("localhost")).is_err());
}

#[test]
fn l07_what_is_unsafe_or_unknown_is_refused_before_anything_opens() {
    let bad = [
        (GOOD.replace("environment", "enviroment"), "unknown field"),
        (GOOD.replace("\"production\"", "\"prod\""), "unknown variant"),
        (GOOD.replace("\"root.key\"", "\"data/root.key\""), "outside data_directory"),
        (GOOD.replace("\"demo.bulla\"", "\"Demo\""), "trust_domains.name"),
        (GOOD.replace("tenant = \"demo\"", "tenant = \"\""), "trust_domains.tenant"),
        (GOOD.replace("[tls]", "store = \"memory\"\n[tls]"), "development"),
        (GOOD.replace("[tls]", "clock_ahead_file = \"x\"\n[tls]"), "clock_ahead_file"),
        (GOOD.replace("[tls]", "limits = { connections_max = 0 }\n[tls]"), "connections_max"),
        (GOOD.split("[[trust").next().unwrap().to_owned(), "trust_domains"),
        (GOOD.replace("ca_file = \"ca.pem\"", ""), "trust_domains.ca_file"),
        (
            format!(
                "{GOOD}\n[[trust_domains]]\nname = \"demo.bulla\"\nca_file = \"x\"\ntenant = \"other\""
            ),
            "twice",
        ),
    ];
    for (text, expected) in bad {
        let error = load(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::load(Path::new("/nowhere/bulla.toml"), |_| None).unwrap_err();
    assert!(error.to_string().contains("/nowhere/bulla.toml"));
}

/// With this after the table `[audit]`'s heading.
fn audited(audit: &str) -> Result<Config, ConfigError> {
    load(&GOOD.replace("[seal]", &format!("[audit]\n{audit}\n[seal]")))
}

#[test]
fn h06_i04_a_sink_or_anchor_has_what_its_kind_needs_and_speaks_tls_or_to_this_machine() {
    let sink = |rest: &str| format!("[[audit.sinks]]\nname = \"one\"\n{rest}");
    let anchor = |rest: &str| format!("[[audit.anchors]]\nname = \"one\"\n{rest}");
    let syslog = "kind = \"syslog\"\naddress = \"logs:6514\"\n";
    let good = audited(
        &(sink(&format!("{syslog}ca_file = \"ca.pem\"\n"))
            + &anchor("kind = \"file\"\npath = \"/mnt/far/checkpoints\"\nrequired = true\n")),
    );
    let audit = good.unwrap().audit;
    assert_eq!((audit.sinks.len(), audit.anchors.len()), (1, 1));
    assert!(audit.sinks.iter().all(|sink| !sink.required && sink.message_bytes_max == 8_192));
    assert!(audit.sinks.iter().all(|sink| sink.peer.ca_file.as_ref().unwrap().is_absolute()));
    assert!(audit.anchors.iter().all(|anchor| anchor.age_seconds_max == 60));
    let twice = sink("kind = \"file\"\npath = \"a\"\n");
    for wrong in [
        sink("kind = \"file\"\n"),
        sink("kind = \"file\"\npath = \"a\"\nca_file = \"ca.pem\"\n"),
        sink("kind = \"file\"\npath = \"a\"\nrotate_bytes = 1\n"),
        sink("kind = \"other\"\npath = \"a\"\n"),
        sink("kind = \"file\"\npath = \"a\"\nunknown = 1\n"),
        sink(&twice.replace("one", "../one")),
        format!("{twice}{twice}"),
        // Neither TLS nor this machine alone.
        sink(syslog),
        sink(&format!("{syslog}ca_file = \"ca.pem\"\nplaintext_to_loopback = true\n")),
        sink(&format!("{syslog}ca_file = \"ca.pem\"\nkey_file = \"key.pem\"\n")),
        anchor("kind = \"command\"\ncommand = [\"anchor\"]\n"),
        anchor("kind = \"command\"\ncommand = []\n"),
        anchor("kind = \"http\"\nca_file = \"ca.pem\"\n"),
        anchor("kind = \"witness\"\naddress = \"https://w\"\nca_file = \"ca.pem\"\n"),
        anchor("kind = \"file\"\npath = \"a\"\nage_seconds_max = 1\n"),
    ] {
        assert!(audited(&wrong).is_err(), "{wrong}");
    }
}
