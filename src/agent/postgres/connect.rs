//! How a connection to PostgreSQL is made: with which password, and how it is protected.

use std::time::Duration;

use tokio_postgres::config::{self, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::failed;
use super::tls;
use crate::agent::connector::{ChannelBinding, PostgresTable, Tls};
use crate::agent::secret_file;
use crate::agent::store::StoreError;

/// A database to connect to.
pub(super) struct Server {
    config: Config,
    /// Absent: over a Unix socket or loopback.
    authorities: Option<MakeRustlsConnect>,
}

// === impl Server ===

impl Server {
    /// Reads the files that the connector names.
    pub(super) fn new(table: &PostgresTable) -> Result<Self, StoreError> {
        let protected = !table.is_socket() && table.tls == Tls::VerifyFull;
        let authorities = match (&table.ca_file, protected) {
            (Some(path), true) => Some(tls::trusting(path)?),
            (None, true) => return Err(StoreError::Connector("ca_file is missing".to_owned())),
            (_, false) => None,
        };
        let mut config = Config::new();
        config
            .host(&table.host)
            .port(table.port)
            .dbname(&table.database)
            .user(&table.user)
            .application_name("bulla rewrap")
            .connect_timeout(CONNECT_TIMEOUT)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENCE.saturating_mul(4))
            .ssl_mode(if protected { SslMode::Require } else { SslMode::Disable });
        if let Some(path) = &table.password_file {
            config.password(secret_file::read(path)?.as_slice());
            if protected && table.channel_binding == ChannelBinding::Require {
                config.channel_binding(config::ChannelBinding::Require);
            }
        }
        Ok(Self { config, authorities })
    }

    /// A new connection to a database that takes writes: a scan of a standby would prove nothing.
    pub(super) async fn connect(&self) -> Result<Client, StoreError> {
        let client = match &self.authorities {
            Some(authorities) => {
                let connected = self.config.connect(authorities.clone()).await;
                let (client, connection) = connected.map_err(|error| failed("connect", &error))?;
                // It ends with its client; why it broke is told by the call that it broke.
                tokio::spawn(connection);
                client
            }
            None => {
                let connected = self.config.connect(NoTls).await;
                let (client, connection) = connected.map_err(|error| failed("connect", &error))?;
                tokio::spawn(connection);
                client
            }
        };
        let standby = client.query_one("SELECT pg_is_in_recovery()", &[]).await;
        let standby = standby.and_then(|row| row.try_get(0));
        if standby.map_err(|error| failed("ask for its role", &error))? {
            let text = "postgresql: this is a standby; give the host of the primary".to_owned();
            return Err(StoreError::Connector(text));
        }
        Ok(client)
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A host that is gone without a word is noticed after four of these.
const SILENCE: Duration = Duration::from_secs(15);
