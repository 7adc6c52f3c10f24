//! `bulla key`: keys as a whole. Their versions and aliases have files of their own.

use bulla_client::{Client, kms};
use prost_types::{Duration, Timestamp};

use super::alias::AliasCommand;
use super::arguments::{Change, Once, distinct, parse_pair};
use super::confirm::Confirmation;
use super::failure::{Exit, Failure};
use super::output::Printer;
use super::pages::{Limit, gather};
use super::retire::RetireCommand;
use super::table::{Table, pairs, record, unless_zero, yes_or_no};
use super::version::{self, VersionCommand};
use super::{Session, time, watch};

/// Keys and their versions.
#[derive(clap::Subcommand, Debug)]
pub enum KeyCommand {
    /// Make a key with version 1 active
    Create(CreateKey),
    /// List keys
    List {
        /// Only keys of this ring and of the rings inside it
        #[arg(long, value_name = "PATH")]
        key_ring: Option<String>,
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Show one key
    Show {
        /// UUID or alias
        key: String,
    },
    /// Change a key's ring, description, tags or when it rotates
    Update(UpdateKey),
    /// Make a new active version; the former one still opens what it wrapped
    Rotate(ChangeKey),
    /// Make a key that was disabled work again
    Enable(ChangeKey),
    /// Stop every version of a key from working
    Disable {
        /// Which.
        #[command(flatten)]
        change: ChangeKey,
        /// Whether to ask.
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// One version.
    #[command(flatten)]
    Version(VersionCommand),
    /// Letting one go.
    #[command(flatten)]
    Retire(RetireCommand),
    /// Names that point at keys
    Alias {
        /// Which.
        #[command(subcommand)]
        command: AliasCommand,
    },
    /// Follow every change to keys, until interrupted
    Watch {
        /// Go on after the change that had this cursor
        #[arg(long, default_value = "", hide_default_value = true)]
        cursor: String,
    },
}

/// A change to one key.
#[derive(clap::Args, Debug)]
pub struct ChangeKey {
    /// UUID or alias
    key: String,
    #[command(flatten)]
    change: Change,
}

/// What a new key is.
#[derive(clap::Args, Debug)]
pub struct CreateKey {
    /// A name for the key, unique in your tenant
    #[arg(long, value_name = "NAME")]
    alias: Option<String>,
    /// A path that the key lives in, such as payments/cards
    #[arg(long, value_name = "PATH")]
    key_ring: Option<String>,
    /// What the key is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Pairs of your own; repeat for more
    #[arg(long, alias = "tag", value_name = "NAME=VALUE", value_parser = parse_pair)]
    tags: Vec<(String, String)>,
    /// How often the key rotates by itself: 90d, 12h, never [default: 90d]
    #[arg(long, value_name = "SPAN", value_parser = time::parse_rotation_period)]
    rotation_period: Option<Duration>,
    #[command(flatten)]
    triggers: Triggers,
    #[command(flatten)]
    once: Once,
}

/// What to change; what is not given stays.
#[derive(clap::Args, Debug)]
pub struct UpdateKey {
    /// UUID or alias
    key: String,
    /// The new path; empty for none
    #[arg(long, value_name = "PATH")]
    key_ring: Option<String>,
    /// The new description; empty for none
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Replaces all tags; repeat for more
    #[arg(long, alias = "tag", value_name = "NAME=VALUE", value_parser = parse_pair)]
    #[arg(conflicts_with = "no_tags")]
    tags: Vec<(String, String)>,
    /// Removes all tags
    #[arg(long)]
    no_tags: bool,
    /// How often the key rotates by itself: 90d, 12h, never
    #[arg(long, value_name = "SPAN", value_parser = time::parse_rotation_period)]
    rotation_period: Option<Duration>,
    #[command(flatten)]
    triggers: Triggers,
    #[command(flatten)]
    once: Once,
}

/// When a key rotates by itself besides its period: whichever comes first.
#[derive(clap::Args, Debug)]
struct Triggers {
    /// Rotate too after the active version has wrapped so often; 0 for never
    #[arg(long, value_name = "N")]
    rotation_wraps: Option<u64>,
    /// Rotate too after the active version has wrapped so many bytes; 0 for never
    #[arg(long, value_name = "N")]
    rotation_bytes: Option<u64>,
    /// Rotate too at this time, once: 2027-01-15T08:00:00Z, or never
    #[arg(long, value_name = "TIME", value_parser = time::parse_rotation_time)]
    rotation_time: Option<Timestamp>,
}

// === impl KeyCommand ===

impl KeyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(session).await,
            Self::List { key_ring, limit } => list(session, key_ring, limit).await,
            Self::Show { key } => {
                let response = session.client().await?.get_key(kms::GetKeyRequest { key }).await?;
                let key = response.key.clone().unwrap_or_default();
                session.printer.message(&response, |now| key_record(&key, now))
            }
            Self::Update(update) => update.run(session).await,
            Self::Rotate(rotate) => rotate.rotate(session).await,
            Self::Enable(enable) => enable.enable(session).await,
            Self::Disable { change, confirmation } => {
                let question =
                    format!("No version of {} will work until it is enabled.", change.key);
                confirmation.ask(&question)?;
                change.disable(session).await
            }
            Self::Version(command) => command.run(session).await,
            Self::Retire(command) => command.run(session).await,
            Self::Alias { command } => command.run(session).await,
            Self::Watch { cursor } => watch::run(session, cursor).await,
        }
    }
}

// === impl CreateKey ===

impl CreateKey {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::CreateKeyRequest {
            tags: distinct("--tags", &self.tags)?,
            request_id: self.once.request_id(),
            alias: self.alias.unwrap_or_default(),
            key_ring: self.key_ring.unwrap_or_default(),
            description: self.description.unwrap_or_default(),
            rotation_period: self.rotation_period,
            rotation_wraps: self.triggers.rotation_wraps.unwrap_or_default(),
            rotation_bytes: self.triggers.rotation_bytes.unwrap_or_default(),
            // A new key has no time that `never` could take away.
            rotation_time: self.triggers.rotation_time.filter(|time| *time != NEVER),
        };
        let response = session.client().await?.create_key(request).await?;
        let key = response.key.clone().unwrap_or_default();
        session.printer.message(&response, |now| key_record(&key, now))
    }
}

// === impl UpdateKey ===

impl UpdateKey {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = self.request()?;
        let response = session.client().await?.update_key(request).await?;
        let key = response.key.clone().unwrap_or_default();
        session.printer.message(&response, |now| key_record(&key, now))
    }

    fn request(self) -> Result<kms::UpdateKeyRequest, Failure> {
        let pairs = distinct("--tags", &self.tags)?;
        let tags = (self.no_tags || !pairs.is_empty()).then_some(kms::Tags { pairs });
        let request = kms::UpdateKeyRequest {
            tags,
            request_id: self.once.request_id(),
            key: self.key,
            key_ring: self.key_ring,
            description: self.description,
            rotation_period: self.rotation_period,
            rotation_wraps: self.triggers.rotation_wraps,
            rotation_bytes: self.triggers.rotation_bytes,
            rotation_time: self.triggers.rotation_time,
        };
        let changes = request.tags.is_some()
            || request.key_ring.is_some()
            || request.description.is_some()
            || request.rotation_period.is_some()
            || request.rotation_wraps.is_some()
            || request.rotation_bytes.is_some()
            || request.rotation_time.is_some();
        if changes {
            Ok(request)
        } else {
            Err(Failure::new(Exit::Usage, "nothing to change was given")
                .hint("give --key-ring, --description, --tags, --no-tags or one of --rotation-…"))
        }
    }
}

// === impl ChangeKey ===

impl ChangeKey {
    async fn rotate(self, session: &Session) -> Result<(), Failure> {
        let (request_id, reason) = (self.change.request_id(), self.change.reason());
        let request = kms::RotateKeyRequest { key: self.key, request_id, reason };
        let response = session.client().await?.rotate_key(request).await?;
        let version = response.version.clone().unwrap_or_default();
        session.printer.message(&response, |now| version::version_record(&version, now))
    }

    async fn enable(self, session: &Session) -> Result<(), Failure> {
        let (request_id, reason) = (self.change.request_id(), self.change.reason());
        let request = kms::EnableKeyRequest { key: self.key, request_id, reason };
        let response = session.client().await?.enable_key(request).await?;
        let key = response.key.clone().unwrap_or_default();
        session.printer.message(&response, |now| key_record(&key, now))
    }

    async fn disable(self, session: &Session) -> Result<(), Failure> {
        let (request_id, reason) = (self.change.request_id(), self.change.reason());
        let request = kms::DisableKeyRequest { key: self.key, request_id, reason };
        let response = session.client().await?.disable_key(request).await?;
        let key = response.key.clone().unwrap_or_default();
        session.printer.message(&response, |now| key_record(&key, now))
    }
}

async fn list(session: &Session, ring: Option<String>, limit: Limit) -> Result<(), Failure> {
    let client: Client = session.client().await?;
    let key_ring = ring.unwrap_or_default();
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListKeysRequest { page_size, page_token, key_ring: key_ring.clone() };
        let client = client.clone();
        async move { client.list_keys(request).await.map(|page| (page.keys, page.next_page_token)) }
    });
    let all = all.await?;
    print_keys(&session.printer, all.items, all.next_page_token)
}

fn print_keys(printer: &Printer, keys: Vec<kms::Key>, next: String) -> Result<(), Failure> {
    let response = kms::ListKeysResponse { keys, next_page_token: next };
    printer.message(&response, |now| {
        let mut table = Table::new(&[
            "key_id",
            "aliases",
            "enabled",
            "active_version",
            "latest_version",
            "key_ring",
            "next_rotation_time",
        ]);
        for key in &response.keys {
            table.row([
                key.key_id.clone(),
                key.aliases.join(", "),
                yes_or_no(key.enabled),
                unless_zero(key.active_version),
                key.latest_version.to_string(),
                key.key_ring.clone(),
                time::shown(key.next_rotation_time.as_ref(), now),
            ]);
        }
        table.render("no keys")
    })
}

fn key_record(key: &kms::Key, now: i64) -> String {
    record(&[
        ("key_id", key.key_id.clone()),
        ("aliases", key.aliases.join(", ")),
        ("key_ring", key.key_ring.clone()),
        ("description", key.description.clone()),
        ("tags", pairs(&key.tags)),
        ("enabled", yes_or_no(key.enabled)),
        ("active_version", unless_zero(key.active_version)),
        ("latest_version", key.latest_version.to_string()),
        (
            "rotation_period",
            match &key.rotation_period {
                None => "never".to_owned(),
                period => time::span(period.as_ref()),
            },
        ),
        ("rotation_wraps", unless_zero(key.rotation_wraps)),
        ("rotation_bytes", unless_zero(key.rotation_bytes)),
        ("rotation_time", time::shown(key.rotation_time.as_ref(), now)),
        ("prepared_version", unless_zero(key.prepared_version)),
        ("create_time", time::shown(key.create_time.as_ref(), now)),
        ("next_rotation_time", time::shown(key.next_rotation_time.as_ref(), now)),
    ])
}

/// What stands for no time at all in an update.
const NEVER: Timestamp = Timestamp { seconds: 0, nanos: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_field_by_field_under_the_names_of_the_message() {
        let key = kms::Key {
            key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            aliases: vec!["cards".into(), "cards-eu".into()],
            tags: [("team".to_owned(), "pay\u{1b}[0m".to_owned())].into(),
            enabled: true,
            latest_version: 3,
            rotation_wraps: 1_000_000,
            rotation_time: Some(Timestamp { seconds: 1_800_000_120, nanos: 0 }),
            prepared_version: 4,
            create_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 1 }),
            ..Default::default()
        };
        assert_eq!(
            key_record(&key, 1_800_000_060),
            "KEY_ID              a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n\
             ALIASES             cards, cards-eu\n\
             KEY_RING            -\n\
             DESCRIPTION         -\n\
             TAGS                team=pay\\u{001b}[0m\n\
             ENABLED             yes\n\
             ACTIVE_VERSION      -\n\
             LATEST_VERSION      3\n\
             ROTATION_PERIOD     never\n\
             ROTATION_WRAPS      1000000\n\
             ROTATION_BYTES      -\n\
             ROTATION_TIME       2027-01-15T08:02:00Z (in 1 minute)\n\
             PREPARED_VERSION    4\n\
             CREATE_TIME         2027-01-15T08:00:00Z (1 minute ago)\n\
             NEXT_ROTATION_TIME  -\n"
        );
    }
}
