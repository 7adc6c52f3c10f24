//! `[[audit.sinks]]` and `[[audit.anchors]]`: where else records and checkpoints go. In the file only,
//! never by a call: whoever may call must not be able to send the log elsewhere or to stop it (H06).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, setting};

/// Another place that every record goes to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// 1 to 32 of a-z 0-9 -, for files and metrics.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
    /// Whether a call is answered only when its record is there too.
    #[serde(default)]
    pub required: bool,
    /// `file`: the file of JSON lines.
    pub path: Option<PathBuf>,
    /// `file`: another file is begun when this one has so many bytes.
    #[serde(default = "rotate_bytes")]
    pub rotate_bytes: u64,
    /// `syslog`: `HOST:PORT`. `otlp`: `https://HOST:PORT/PATH`.
    pub address: Option<String>,
    /// `syslog`: the longest message; what of a record does not fit is left out, and named.
    #[serde(default = "message_bytes_max")]
    pub message_bytes_max: u32,
    /// How the other end is known.
    #[serde(flatten)]
    pub peer: Peer,
}

/// What a sink is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum SinkKind {
    /// A file of JSON lines.
    File,
    /// RFC 5424 over TLS (RFC 5425).
    Syslog,
    /// OTLP logs over HTTP.
    Otlp,
}

/// Another place that checkpoints go to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// 1 to 32 of a-z 0-9 -, for metrics.
    pub name: String,
    /// What it is.
    pub kind: AnchorKind,
    /// Whether calls are refused when it has not had the newest checkpoint for `age_seconds_max`.
    #[serde(default)]
    pub required: bool,
    /// How long a record may wait for a required anchor.
    #[serde(default = "age_seconds_max")]
    pub age_seconds_max: u32,
    /// `file`: the file, on another volume.
    pub path: Option<PathBuf>,
    /// `command`: an absolute path and its arguments.
    #[serde(default)]
    pub command: Vec<String>,
    /// `http` and `witness`: `https://HOST:PORT/PATH`.
    pub address: Option<String>,
    /// `witness`: the key that its co-signatures are made with, as it publishes it.
    pub verifier_key: Option<String>,
    /// How the other end is known.
    #[serde(flatten)]
    pub peer: Peer,
}

/// What an anchor is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AnchorKind {
    /// A program that is run with each checkpoint on its standard input.
    Command,
    /// A server that gets each checkpoint in a POST.
    Http,
    /// A file that checkpoints are appended to.
    File,
    /// A witness that co-signs (C2SP `tlog-witness`).
    Witness,
}

/// Who is at the other end of a connection, and who this server is to it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
pub struct Peer {
    /// The authorities that vouch for it, in PEM.
    pub ca_file: Option<PathBuf>,
    /// This server's certificate to it, in PEM, where it asks for one.
    pub certificate_file: Option<PathBuf>,
    /// The key of that certificate.
    pub key_file: Option<PathBuf>,
    /// A file with the value of the header `Authorization`.
    pub authorization_file: Option<PathBuf>,
    /// Without TLS, to this machine alone.
    #[serde(default)]
    pub plaintext_to_loopback: bool,
}

// === impl Sink ===

impl Sink {
    pub(super) fn resolve(&mut self, base: &Path) {
        under(base, &mut self.path);
        self.peer.resolve(base);
    }

    fn checked(&self) -> Result<(), ConfigError> {
        let is_file = self.kind == SinkKind::File;
        if is_file != self.path.is_some() {
            return Err(setting("audit.sinks.path", "is what a sink of kind \"file\" needs"));
        }
        if is_file == self.address.is_some() {
            let problem = "is what a sink of kind \"syslog\" or \"otlp\" needs";
            return Err(setting("audit.sinks.address", problem));
        }
        if !(ROTATE_BYTES_MIN..=ROTATE_BYTES_MAX).contains(&self.rotate_bytes) {
            return Err(setting("audit.sinks.rotate_bytes", "must be from 4096 to 1099511627776"));
        }
        if !(2_048..=262_144).contains(&self.message_bytes_max) {
            return Err(setting("audit.sinks.message_bytes_max", "must be from 2048 to 262144"));
        }
        self.peer.checked(!is_file)
    }
}

// === impl Anchor ===

impl Anchor {
    pub(super) fn resolve(&mut self, base: &Path) {
        under(base, &mut self.path);
        self.peer.resolve(base);
    }

    fn checked(&self) -> Result<(), ConfigError> {
        let (file, command) = (self.kind == AnchorKind::File, self.kind == AnchorKind::Command);
        if file != self.path.is_some() {
            return Err(setting("audit.anchors.path", "is what an anchor of kind \"file\" needs"));
        }
        let named = self.command.first().is_some_and(|program| Path::new(program).is_absolute());
        if command != named || (!command && !self.command.is_empty()) {
            let problem = "is what an anchor of kind \"command\" needs, with an absolute path";
            return Err(setting("audit.anchors.command", problem));
        }
        if (file || command) == self.address.is_some() {
            let problem = "is what an anchor of kind \"http\" or \"witness\" needs";
            return Err(setting("audit.anchors.address", problem));
        }
        if (self.kind == AnchorKind::Witness) != self.verifier_key.is_some() {
            let problem = "is what an anchor of kind \"witness\" needs";
            return Err(setting("audit.anchors.verifier_key", problem));
        }
        if !(5..=86_400).contains(&self.age_seconds_max) {
            return Err(setting("audit.anchors.age_seconds_max", "must be from 5 to 86400"));
        }
        self.peer.checked(!file && !command)
    }
}

// === impl Peer ===

impl Peer {
    fn resolve(&mut self, base: &Path) {
        for file in [
            &mut self.ca_file,
            &mut self.certificate_file,
            &mut self.key_file,
            &mut self.authorization_file,
        ] {
            under(base, file);
        }
    }

    /// Where there is a connection its other end is known by a certificate, or is this machine.
    fn checked(&self, connects: bool) -> Result<(), ConfigError> {
        let name = "audit.ca_file";
        let (tls, plain) = (self.ca_file.is_some(), self.plaintext_to_loopback);
        if !connects && *self != Self::default() {
            return Err(setting(name, "is for sinks and anchors that are connected to"));
        }
        if connects && tls == plain {
            let problem = "give the authorities that vouch for the other end, \
                           or plaintext_to_loopback = true for one on this machine";
            return Err(setting(name, problem));
        }
        if self.certificate_file.is_some() != self.key_file.is_some()
            || (plain && self.key_file.is_some())
        {
            let problem = "goes with a key_file, and over TLS only";
            return Err(setting("audit.certificate_file", problem));
        }
        Ok(())
    }
}

/// Names are used once, and each has what its kind needs.
pub(super) fn checked(sinks: &[Sink], anchors: &[Anchor]) -> Result<(), ConfigError> {
    let (mut sink_names, mut anchor_names) = (BTreeSet::new(), BTreeSet::new());
    if sinks.len() > PLACES_MAX || anchors.len() > PLACES_MAX {
        return Err(setting("audit.sinks", "at most 8 sinks and 8 anchors"));
    }
    for sink in sinks {
        if !is_name(&sink.name) || !sink_names.insert(&sink.name) {
            return Err(setting("audit.sinks.name", NAME));
        }
        sink.checked()?;
    }
    for anchor in anchors {
        if !is_name(&anchor.name) || !anchor_names.insert(&anchor.name) {
            return Err(setting("audit.anchors.name", NAME));
        }
        anchor.checked()?;
    }
    Ok(())
}

fn under(base: &Path, file: &mut Option<PathBuf>) {
    if let Some(file) = file {
        *file = base.join(&*file);
    }
}

fn is_name(name: &str) -> bool {
    (1..=32).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn rotate_bytes() -> u64 {
    256 * 1024 * 1024
}

/// What a receiver of RFC 5425 should be able to process at least.
fn message_bytes_max() -> u32 {
    8_192
}

fn age_seconds_max() -> u32 {
    60
}

const NAME: &str = "must be 1 to 32 of a-z 0-9 -, and used once";
const ROTATE_BYTES_MIN: u64 = 4_096;
const ROTATE_BYTES_MAX: u64 = 1 << 40;
const PLACES_MAX: usize = 8;
