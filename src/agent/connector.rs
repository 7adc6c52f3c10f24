//! The connector file: where the blobs are, and what each was bound to. Parsed whole before anything
//! is opened; it holds no secret.
//!
//! ```toml
//! [postgresql]
//! host = "db.internal"              # or the directory of a Unix socket
//! database = "orders"
//! user = "rewrap"
//! password_file = "rewrap.password" # readable by its owner only
//! ca_file = "db-ca.pem"
//! table = "customers"
//! column = "dek"
//!
//! [postgresql.context]
//! table = { value = "customers" }
//! customer = { column = "id" }
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use serde::Deserialize;

use super::files::Files;
use super::json_lines::JsonLines;
use super::postgres::Postgres;
use super::sqlite::Sqlite;
use super::store::{Store, StoreError};

/// Which store, and how to reach it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connector {
    /// A table in PostgreSQL.
    Postgresql(PostgresTable),
    /// A table in a file of SQLite.
    Sqlite(SqliteTable),
    /// A directory of sealed files.
    Files(FilesDirectory),
    /// An object a line, from standard input to standard output.
    JsonLines(JsonLinesTable),
}

/// A table in PostgreSQL.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresTable {
    /// A host name, an address, or the directory of a Unix socket.
    pub host: String,
    /// The port; of a socket too.
    #[serde(default = "postgres_port")]
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role, which needs SELECT on the table and UPDATE on the column.
    pub user: String,
    /// Holds the role's password; readable by its owner only.
    pub password_file: Option<PathBuf>,
    /// The authorities that the database's certificate must come from, in PEM.
    pub ca_file: Option<PathBuf>,
    /// How the connection is protected.
    #[serde(default)]
    pub tls: Tls,
    /// Whether the password's proof has to be bound to the TLS connection.
    #[serde(default)]
    pub channel_binding: ChannelBinding,
    /// The table's schema.
    #[serde(default = "public")]
    pub schema: String,
    /// The table.
    pub table: String,
    /// Columns that name a row; absent: the table's primary key.
    pub key: Option<Vec<String>>,
    /// The column that holds the blobs: bytea, or text in base64.
    pub column: String,
    /// What the blobs are bound to.
    #[serde(default)]
    pub context: BTreeMap<String, ContextSource>,
}

/// How a connection to PostgreSQL is protected.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// The certificate must come from `ca_file` and carry the name of `host`. Not asked of a Unix
    /// socket.
    #[default]
    VerifyFull,
    /// No TLS, to a loopback address only.
    Off,
}

/// Whether the proof of the password is good for one TLS connection alone (SCRAM-SHA-256-PLUS), so that
/// nobody in the middle can pass it on. Means something only where there are both.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelBinding {
    /// No connection without it.
    #[default]
    Require,
    /// Where the server offers it: for a pooler that cannot, or a certificate that names no hash
    /// (Ed25519).
    Prefer,
}

/// A table in a file of SQLite.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqliteTable {
    /// The database.
    pub file: PathBuf,
    /// The table.
    pub table: String,
    /// The column that holds the blobs: bytes, or text in base64.
    pub column: String,
    /// What the blobs are bound to.
    #[serde(default)]
    pub context: BTreeMap<String, ContextSource>,
}

/// A directory of sealed files. Of a file, the context may have its `name`, its `stem` (the name
/// without `.bulla`) and its `path` from the directory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesDirectory {
    /// The directory.
    pub directory: PathBuf,
    /// Directories in it too, and in those.
    #[serde(default)]
    pub recursive: bool,
    /// Every file that is sealed, whatever it is called; otherwise those that end in `.bulla`, and each
    /// of them has to be sealed.
    #[serde(default)]
    pub all: bool,
    /// What the files are bound to.
    #[serde(default)]
    pub context: BTreeMap<String, ContextSource>,
}

/// An object a line.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonLinesTable {
    /// The field that holds the blob in base64.
    pub field: String,
    /// What the blobs are bound to.
    #[serde(default)]
    pub context: BTreeMap<String, ContextSource>,
}

/// Where one value of an encryption context comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ContextSource {
    /// The same for every blob.
    Value(String),
    /// The column or field of this name, as text; of a file, see [`FilesDirectory`].
    #[serde(alias = "field")]
    Column(String),
}

// === impl Connector ===

impl Connector {
    /// Reads a connector file. Relative paths are relative to it.
    ///
    /// # Errors
    /// When it cannot be read, names something that does not exist, or lacks something: says which.
    pub fn load(path: &Path) -> Result<Self, StoreError> {
        let wrong =
            |why: String| StoreError::Connector(format!("connector {}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error: io::Error| wrong(error.to_string()))?;
        let mut connector = Self::parse(&text).map_err(wrong)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in connector.files() {
            *file = folder.join(&*file);
        }
        Ok(connector)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let connector: Self =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        if let Self::Postgresql(table) = &connector {
            table.check()?;
        }
        Ok(connector)
    }

    /// Opens the store, and makes sure that what the file names is there.
    ///
    /// # Errors
    /// When it cannot be reached, or does not have what the file names: says what it has.
    pub async fn open(self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Postgresql(table) => Arc::new(Postgres::open(table).await?),
            Self::Sqlite(table) => Arc::new(Sqlite::open(table).await?),
            Self::Files(files) => Arc::new(Files::open(files)?),
            Self::JsonLines(table) => {
                Arc::new(JsonLines::new(table, tokio::io::stdin(), tokio::io::stdout()))
            }
        })
    }

    fn files(&mut self) -> Vec<&mut PathBuf> {
        match self {
            Self::Postgresql(table) => {
                table.password_file.iter_mut().chain(&mut table.ca_file).collect()
            }
            Self::Sqlite(table) => vec![&mut table.file],
            Self::Files(files) => vec![&mut files.directory],
            Self::JsonLines(_) => Vec::new(),
        }
    }
}

// === impl PostgresTable ===

impl PostgresTable {
    /// Whether `host` is the directory of a Unix socket.
    pub(super) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    fn check(&self) -> Result<(), String> {
        let loopback = self.host == "localhost"
            || self.host.parse().is_ok_and(|host: std::net::IpAddr| host.is_loopback());
        match self.tls {
            _ if self.is_socket() => Ok(()),
            Tls::Off if loopback => Ok(()),
            Tls::Off => Err(format!(
                "tls = \"off\" is for a loopback address only, and host is {:?}; give ca_file",
                self.host
            )),
            Tls::VerifyFull if self.ca_file.is_none() => Err(
                "ca_file is missing: the authorities that the database's certificate must come from"
                    .to_owned(),
            ),
            Tls::VerifyFull => Ok(()),
        }
    }
}

fn postgres_port() -> u16 {
    5432
}

fn public() -> String {
    "public".to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const WHOLE: &str = r#"
        [postgresql]
        host = "db.internal"
        database = "orders"
        user = "rewrap"
        password_file = "rewrap.password"
        ca_file = "db-ca.pem"
        table = "customers"
        column = "dek"
        [postgresql.context]
        table = { value = "customers" }
        customer = { column = "id" }
    "#;

    #[test]
    fn a_file_is_read_whole_and_its_paths_are_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("orders.toml");
        fs::write(&path, WHOLE).unwrap();
        let Connector::Postgresql(table) = Connector::load(&path).unwrap() else { panic!() };
        assert_eq!(
            (table.port, table.schema.as_str(), table.tls),
            (5432, "public", Tls::VerifyFull)
        );
        assert_eq!(table.password_file, Some(folder.path().join("rewrap.password")));
        assert_eq!(table.ca_file, Some(folder.path().join("db-ca.pem")));
        let customer = ContextSource::Column("id".into());
        assert_eq!(table.context.get("customer"), Some(&customer));
        assert_eq!(table.context.get("table"), Some(&ContextSource::Value("customers".into())));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, said) in [
            ("column = \"dek\"", "", "missing field `column`"),
            ("column = \"dek\"", "column = 3", "expected a string"),
            ("user = ", "password = \"tea\"\nuser = ", "unknown field `password`"),
            ("postgresql", "mongodb", "unknown variant `mongodb`"),
            ("{ column = \"id\" }", "{ colunm = \"id\" }", "unknown variant `colunm`"),
            ("ca_file = \"db-ca.pem\"", "", "ca_file is missing"),
            ("table = \"customers\"", "table = \"customers\"\ntls = \"off\"", "loopback"),
            ("table = \"customers\"", "table = \"customers\"\ntls = \"prefer\"", "`prefer`"),
        ] {
            let text = WHOLE.replacen(from, to, 9);
            let error = Connector::parse(&text).unwrap_err();
            assert!(error.contains(said), "{said}: {error}");
        }
        let two = format!("{WHOLE}\n[json_lines]\nfield = \"dek\"");
        assert!(Connector::parse(&two).is_err());
        assert!(Connector::parse("").is_err());
    }

    #[test]
    fn b04_without_tls_only_this_machine_is_reached() {
        for (host, allowed) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("::1", true),
            ("/var/run/postgresql", true),
            ("db.internal", false),
            ("10.0.0.1", false),
            ("localhost.example.org", false),
        ] {
            let text =
                WHOLE.replace("db.internal", host).replace("user =", "tls = \"off\"\nuser =");
            assert_eq!(Connector::parse(&text).is_ok(), allowed, "{host}");
        }
        let socket = WHOLE.replace("db.internal", "/run").replace("ca_file = \"db-ca.pem\"", "");
        assert!(Connector::parse(&socket).is_ok());
    }
}
