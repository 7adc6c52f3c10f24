//! A store under test: how to make it, and how to close it and open it again.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bulla::store::sqlite::SqliteStore;
use bulla::store::{Commit, Expect, MemoryStore, Options, Put, RowKey, Store};
use tempfile::TempDir;

use super::faulty::Faulty;

/// A store under test.
#[async_trait]
pub trait Subject: Sized + Send + Sync + 'static {
    /// A new, empty store.
    async fn with(options: Options) -> Self;

    /// The store.
    fn store(&self) -> Arc<dyn Store>;

    /// Closes the store and opens it again, with other options, as a restart does.
    async fn reopen(&mut self, options: Options);

    /// A new, empty store as a server has it.
    async fn fresh() -> Self {
        Self::with(Options::default()).await
    }
}

/// The store in memory.
pub struct MemorySubject(Arc<MemoryStore>);

/// The store in a SQLite file in a folder of its own.
pub struct SqliteSubject {
    store: Arc<SqliteStore>,
    pub path: PathBuf,
    _folder: TempDir,
}

/// The store in memory behind a [`Faulty`] without faults, which must not show.
pub struct FaultySubject(MemorySubject);

// === impl FaultySubject ===

#[async_trait]
impl Subject for FaultySubject {
    async fn with(options: Options) -> FaultySubject {
        FaultySubject(MemorySubject::with(options).await)
    }

    fn store(&self) -> Arc<dyn Store> {
        Arc::new(Faulty::new(self.0.store()))
    }

    async fn reopen(&mut self, options: Options) {
        self.0.reopen(options).await;
    }
}

// === impl MemorySubject ===

#[async_trait]
impl Subject for MemorySubject {
    async fn with(options: Options) -> MemorySubject {
        MemorySubject(Arc::new(MemoryStore::with(options)))
    }

    fn store(&self) -> Arc<dyn Store> {
        self.0.clone()
    }

    async fn reopen(&mut self, options: Options) {
        self.0 = Arc::new(self.0.reopen(options));
    }
}

// === impl SqliteSubject ===

impl SqliteSubject {
    pub fn sqlite(&self) -> Arc<SqliteStore> {
        self.store.clone()
    }

    /// The folder of the database, gone with this value.
    pub fn folder(&self) -> PathBuf {
        self.path.parent().unwrap().to_owned()
    }
}

#[async_trait]
impl Subject for SqliteSubject {
    async fn with(options: Options) -> SqliteSubject {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bulla.db");
        let store = Arc::new(SqliteStore::create_with(&path, options).unwrap());
        SqliteSubject { store, path, _folder: folder }
    }

    fn store(&self) -> Arc<dyn Store> {
        self.store.clone()
    }

    async fn reopen(&mut self, options: Options) {
        self.store.close().await.unwrap();
        self.store = Arc::new(SqliteStore::open_with(&self.path, options).unwrap());
    }
}

/// A key of the tenant and kind that most tests use.
pub fn key(id: impl AsRef<[u8]>) -> RowKey {
    RowKey::new([1; 16], 1, id.as_ref())
}

/// A put whose MAC is made from its body, so that a mix-up shows.
pub fn put(key: RowKey, body: impl AsRef<[u8]>) -> Put {
    let body = body.as_ref().to_vec();
    let mut mac = [0; 32];
    for (index, byte) in body.iter().enumerate() {
        mac[index % 32] ^= byte.wrapping_add(1);
    }
    Put { key, body, mac, due_at: None }
}

pub fn due(mut put: Put, due_at: i64) -> Put {
    put.due_at = Some(due_at);
    put
}

pub fn puts(puts: impl IntoIterator<Item = Put>) -> Commit {
    Commit { puts: puts.into_iter().collect(), ..Commit::default() }
}

pub fn tombstones(keys: impl IntoIterator<Item = RowKey>) -> Commit {
    Commit { tombstones: keys.into_iter().collect(), ..Commit::default() }
}

/// The commit, on the condition that the row was last changed at `revision`.
pub fn expecting(mut commit: Commit, key: RowKey, revision: impl Into<Option<u64>>) -> Commit {
    commit.expect.push(Expect { key, revision: revision.into() });
    commit
}
