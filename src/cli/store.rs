//! `bulla store`: the places where blobs are kept, each with the number that headers carry. And how
//! a store that a person names becomes that number.

use bulla_client::{Client, kms};
use prost_types::Duration;

use super::arguments::{Decision, Once};
use super::failure::{Exit, Failure};
use super::pages::{Limit, gather};
use super::table::{Table, enumerated, record};
use super::{Session, time};

/// Stores.
#[derive(clap::Subcommand, Debug)]
pub enum StoreCommand {
    /// Give a place where blobs are kept its number; a name is never used again
    Register(RegisterStore),
    /// List stores
    List {
        /// How many.
        #[command(flatten)]
        limit: Limit,
    },
    /// Say that a store was restored from a backup, or got blobs from elsewhere: earlier scans of
    /// it no longer count
    Restored {
        /// Its name or number
        store: String,
        /// Why.
        #[command(flatten)]
        decision: Decision,
    },
}

/// What a new store is.
#[derive(clap::Args, Debug)]
pub struct RegisterStore {
    /// Such as orders-db/customers.dek: a-z 0-9 - _ . and / between
    name: String,
    /// Who answers for it
    #[arg(long, value_name = "TEXT")]
    owner: String,
    /// What it is
    #[arg(long, value_enum)]
    kind: Kind,
    /// The longest that a writer holds a data key before its blob is in the store, up to 30d; 0 if
    /// writers write before they do anything else [default: 1h]
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
    write_delay: Option<Duration>,
    #[command(flatten)]
    once: Once,
}

/// Which store a blob will be kept in.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct StoreArgument {
    /// The registered store that it will be kept in: its name or number
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
}

// The variants have no documentation of their own, so that the help stays short.
#[allow(missing_docs)]
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Kind {
    Postgresql,
    Sqlite,
    Files,
    JsonLines,
    Other,
}

// === impl StoreCommand ===

impl StoreCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Register(register) => register.run(session).await,
            Self::List { limit } => list(session, limit).await,
            Self::Restored { store, decision: Decision { reason, once } } => {
                let request_id = once.request_id();
                let request = kms::ReportRestoreRequest { store, reason, request_id };
                let response = session.client().await?.report_restore(request).await?;
                let store = response.store.clone().unwrap_or_default();
                session.printer.message(&response, |now| store_record(&store, now))
            }
        }
    }
}

// === impl RegisterStore ===

impl RegisterStore {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::RegisterStoreRequest {
            request_id: self.once.request_id(),
            name: self.name,
            owner: self.owner,
            kind: kms::StoreKind::from(self.kind).into(),
            write_delay: self.write_delay,
        };
        let response = session.client().await?.register_store(request).await?;
        let store = response.store.clone().unwrap_or_default();
        session.printer.message(&response, |now| store_record(&store, now))
    }
}

// === impl StoreArgument ===

impl StoreArgument {
    /// The store's number, looked up by its name if need be; 0 when none was given.
    pub(crate) async fn number(&self, client: &Client) -> Result<u32, Failure> {
        let Some(store) = &self.store else { return Ok(0) };
        if let Ok(number) = store.parse() {
            return Ok(number);
        }
        let found = all(client, Limit::default()).await?.stores;
        let found = found.into_iter().find(|known| known.name == *store);
        found.map(|known| known.store).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("no store is called {store:?}"))
                .hint("`bulla store list` has the names, and `bulla store register` adds one")
        })
    }
}

// === impl Kind ===

impl From<Kind> for kms::StoreKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Postgresql => Self::Postgresql,
            Kind::Sqlite => Self::Sqlite,
            Kind::Files => Self::Files,
            Kind::JsonLines => Self::JsonLines,
            Kind::Other => Self::Other,
        }
    }
}

/// A store for people: by its name, or by its number where it has none; empty for blobs that name
/// no store.
pub(crate) fn store_name(number: u32, name: &str) -> String {
    match (number, name) {
        (0, "") => String::new(),
        (number, "") => number.to_string(),
        (_, name) => name.to_owned(),
    }
}

async fn all(client: &Client, limit: Limit) -> Result<kms::ListStoresResponse, Failure> {
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListStoresRequest { page_size, page_token };
        let client = client.clone();
        async move { client.list_stores(request).await.map(|page| (page.stores, page.next_page_token)) }
    });
    let all = all.await?;
    Ok(kms::ListStoresResponse { stores: all.items, next_page_token: all.next_page_token })
}

async fn list(session: &Session, limit: Limit) -> Result<(), Failure> {
    let response = all(&session.client().await?, limit).await?;
    session.printer.message(&response, |now| store_table(&response.stores, now))
}

fn store_table(stores: &[kms::Store], now: i64) -> String {
    let mut table = Table::new(&[
        "store",
        "name",
        "owner",
        "kind",
        "write_delay",
        "create_time",
        "restore_time",
    ]);
    for store in stores {
        table.row([
            store.store.to_string(),
            store.name.clone(),
            store.owner.clone(),
            kind_name(store.kind),
            time::span(store.write_delay.as_ref()),
            time::shown(store.create_time.as_ref(), now),
            time::shown(store.restore_time.as_ref(), now),
        ]);
    }
    table.render("no stores")
}

fn store_record(store: &kms::Store, now: i64) -> String {
    record(&[
        ("store", store.store.to_string()),
        ("name", store.name.clone()),
        ("owner", store.owner.clone()),
        ("kind", kind_name(store.kind)),
        ("write_delay", time::span(store.write_delay.as_ref())),
        ("create_time", time::shown(store.create_time.as_ref(), now)),
        ("restore_time", time::shown(store.restore_time.as_ref(), now)),
    ])
}

fn kind_name(kind: i32) -> String {
    let known = kms::StoreKind::try_from(kind).ok().map(|known| known.as_str_name());
    enumerated(known, "STORE_KIND_", kind)
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    #[test]
    fn a_store_is_shown_with_what_a_scan_of_it_has_to_wait_for() {
        let store = kms::Store {
            store: 3,
            name: "orders-db/customers.dek".into(),
            owner: "team-orders".into(),
            kind: kms::StoreKind::JsonLines.into(),
            write_delay: Some(Duration { seconds: 5_400, nanos: 0 }),
            create_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            restore_time: None,
        };
        assert_eq!(
            store_record(&store, 1_800_000_060),
            "STORE         3\n\
             NAME          orders-db/customers.dek\n\
             OWNER         team-orders\n\
             KIND          JSON_LINES\n\
             WRITE_DELAY   1h 30m\n\
             CREATE_TIME   2027-01-15T08:00:00Z (1 minute ago)\n\
             RESTORE_TIME  -\n"
        );
        assert_eq!(
            store_table(&[store], 1_800_000_060),
            "STORE  NAME                     OWNER        KIND        WRITE_DELAY  \
             CREATE_TIME                          RESTORE_TIME\n\
             3      orders-db/customers.dek  team-orders  JSON_LINES  1h 30m       \
             2027-01-15T08:00:00Z (1 minute ago)  -\n"
        );
        assert_eq!(store_table(&[], 0), "no stores\n");
    }

    #[test]
    fn a_store_is_called_by_its_name_or_else_by_its_number() {
        assert_eq!(store_name(3, "orders"), "orders");
        assert_eq!(store_name(3, ""), "3");
        assert_eq!(store_name(0, ""), "");
    }
}
