//! The agent that moves blobs from old versions to the new one, run beside the data: it reads a
//! store, has what is under the old versions re-wrapped, and writes it back where nobody changed it
//! meanwhile.
//!
//! Talks to the server through [`bulla_client`] alone, as any other program would; it names no module
//! of the server. Bulla learns no credential of a store, and the agent no key: only blobs cross.

mod board;
mod connector;
mod context;
mod engine;
mod error;
mod files;
mod header;
mod json_lines;
mod postgres;
mod secret_file;
mod sqlite;
mod store;
mod watcher;

pub use board::{Board, Mover, Remote, Replies, ServerError};
pub use connector::{ChannelBinding, PostgresTable, SqliteTable, Tls};
pub use connector::{Connector, ContextSource, FilesDirectory, JsonLinesTable};
pub use engine::{Agent, Ended, Job, Timing, agent_id};
pub use error::AgentError;
pub use store::{Context, Entry, Held, Move, NotBlob, Outcome, Place, Rows, Store, StoreError};
pub use store::{Unmovable, named};
pub use watcher::{Silent, Standing, Watcher};
