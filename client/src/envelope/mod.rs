//! The envelope: data sealed under a data key of its own, which travels wrapped with the data. What
//! is sealed or opened never leaves this process; only data keys cross the wire.

#[cfg(unix)]
mod file;
mod format;
mod header;
mod open;
mod reader;
mod seal;

#[cfg(test)]
mod known_answers;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use bulla_proto::kms;
use tokio::io::{AsyncRead, AsyncWrite};

#[cfg(unix)]
pub use file::{FileError, Rewrite, is_header_copy, read_file_header, rewrite_file_header};
pub use format::{DataKey, DataKeyLength};
pub use header::{DataFailure, Header};
pub use open::Opener;
pub use reader::SealedReader;
pub use seal::Sealer;

use crate::cache::{Batch, DataKeyCache, FreshKey, Scope};
use crate::client::Client;
use crate::error::Error;

/// Seals and opens data under one key of the server and one encryption context.
///
/// ```no_run
/// # async fn example(client: bulla_client::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let envelope = bulla_client::Envelope::new(client, "customers").context([("table", "users")]);
/// let sealed = envelope.seal(b"jane@example.org").await?;
/// assert_eq!(envelope.open(&sealed).await?, b"jane@example.org");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Envelope {
    client: Client,
    key: String,
    context: BTreeMap<String, String>,
    repeated: Option<String>,
    store: u32,
    any_key: bool,
    cache: Option<Arc<DataKeyCache>>,
}

/// Why data was not sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The server could not be asked, or refused.
    #[error(transparent)]
    Call(#[from] Error),
    /// The sealed data is wrong.
    #[error(transparent)]
    Data(#[from] DataFailure),
    /// What was to be sealed or opened cannot be read.
    #[error("cannot read: {0}")]
    Read(#[source] io::Error),
    /// The outcome cannot be written.
    #[error("cannot write: {0}")]
    Write(#[source] io::Error),
    /// The encryption context names a pair twice.
    #[error("the encryption context has two values for {key:?}")]
    RepeatedContextKey {
        /// The pair's key.
        key: String,
    },
}

// === impl Envelope ===

impl Envelope {
    /// An envelope under `key`, which is a key's UUID or an alias, with an empty encryption
    /// context. Asks nothing of the server yet.
    pub fn new(client: Client, key: impl Into<String>) -> Self {
        Self {
            client,
            key: key.into(),
            context: BTreeMap::new(),
            repeated: None,
            store: 0,
            any_key: false,
            cache: None,
        }
    }

    /// Adds pairs to the encryption context. They are authenticated, not secret, and appear in the
    /// audit trail; the same pairs must be there to open. A key with two values is refused when the
    /// envelope is used.
    pub fn context<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            let other = self.context.insert(key.clone(), value);
            if other.is_some() {
                self.repeated = Some(key);
            }
        }
        self
    }

    /// The registered store that the sealed data will be kept in; 0 is "not said".
    pub fn store(mut self, store: u32) -> Self {
        self.store = store;
        self
    }

    /// Opens data under whatever key sealed it, as long as the server lets this client use it. By
    /// default data of another key than this envelope's is refused, so that nobody can pass off
    /// data of one purpose as that of another. Needed to open old data after the alias was pointed
    /// at another key.
    pub fn opens_any_key(mut self) -> Self {
        self.any_key = true;
        self
    }

    /// Keeps data keys in `cache`, within its limits, to save calls.
    pub fn cache(mut self, cache: Arc<DataKeyCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Seals `plaintext` under a new data key.
    ///
    /// # Errors
    /// [`EnvelopeError::Call`] when the server gives no data key.
    pub async fn seal(&self, plaintext: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.seal_with_aad(plaintext, &[]).await
    }

    /// The same as [`Envelope::seal`], bound to `aad`: data that is not in the result, is not sent
    /// to the server, and must be given again to open. Use it to bind data to its place, such as a
    /// row's primary key.
    ///
    /// # Errors
    /// As [`Envelope::seal`].
    pub async fn seal_with_aad(
        &self,
        plaintext: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let fresh = self.fresh_key(plaintext.len() as u64).await?;
        Ok(Sealer::new(fresh.data_key, &fresh.wrapped, aad)?.seal(plaintext)?)
    }

    /// Opens what [`Envelope::seal`] made.
    ///
    /// # Errors
    /// [`EnvelopeError::Data`] when the data is wrong; [`EnvelopeError::Call`] when the server does
    /// not open its data key, which is also what a wrong encryption context looks like.
    pub async fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        self.open_with_aad(sealed, &[]).await
    }

    /// Opens what [`Envelope::seal_with_aad`] made with the same `aad`.
    ///
    /// # Errors
    /// As [`Envelope::open`].
    pub async fn open_with_aad(&self, sealed: &[u8], aad: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
        let (header, body) = Header::split(sealed)?;
        let bytes = body.len() as u64;
        Ok(self.opener_for(&header, header.wrapped(), aad, bytes).await?.open(body)?)
    }

    /// Opens sealed data whose re-wrapped data key is kept beside the data. The copy inside the
    /// data is then not used, so its version may be gone.
    ///
    /// # Errors
    /// As [`Envelope::open`]; [`DataFailure::Commitment`] when `wrapped` is of other data.
    pub async fn open_with_wrapped(
        &self,
        sealed: &[u8],
        wrapped: &[u8],
        aad: &[u8],
    ) -> Result<Vec<u8>, EnvelopeError> {
        let (header, body) = Header::split(sealed)?;
        let bytes = body.len() as u64;
        Ok(self.opener_for(&header, wrapped, aad, bytes).await?.open(body)?)
    }

    /// Seals all that `reader` gives into `writer`, in constant memory. Gives the length of the
    /// plaintext in bytes.
    ///
    /// # Errors
    /// As [`Envelope::seal`]; [`EnvelopeError::Read`] and [`EnvelopeError::Write`] as the two
    /// report. What was written before an error does not open.
    pub async fn seal_stream(
        &self,
        reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        aad: &[u8],
    ) -> Result<u64, EnvelopeError> {
        let fresh = self.fresh_key(0).await?;
        let sealed =
            Sealer::new(fresh.data_key, &fresh.wrapped, aad)?.seal_stream(reader, writer).await?;
        if let (Some(cache), Some(batch)) = (&self.cache, fresh.batch) {
            cache.sealed(&batch, sealed);
        }
        Ok(sealed)
    }

    /// Opens all that `reader` gives into `writer`, in constant memory. Gives the length of the
    /// plaintext in bytes. A stream that turns out to be cut short or changed has already released
    /// what came before; see [`Opener::open_stream`].
    ///
    /// # Errors
    /// As [`Envelope::open`]; [`EnvelopeError::Read`] and [`EnvelopeError::Write`] as the two
    /// report.
    pub async fn open_stream(
        &self,
        mut reader: impl AsyncRead + Unpin,
        writer: impl AsyncWrite + Unpin,
        aad: &[u8],
    ) -> Result<u64, EnvelopeError> {
        let header = Header::read_async(&mut reader).await?;
        let opener = self.opener(&header, header.wrapped(), aad).await?;
        let opened = opener.open_stream(reader, writer).await?;
        self.count_opened(&header, opened);
        Ok(opened)
    }

    /// A reader of the plaintext from any offset; `sealed` is a file or anything else that seeks.
    /// Reads and seeks block.
    ///
    /// # Errors
    /// As [`Envelope::open`]; [`EnvelopeError::Read`] as `sealed` reports.
    pub async fn open_reader<R: Read + Seek>(
        &self,
        mut sealed: R,
        aad: &[u8],
    ) -> Result<SealedReader<R>, EnvelopeError> {
        sealed.rewind().map_err(EnvelopeError::Read)?;
        let header = Header::read(&mut sealed)?;
        let opener = self.opener(&header, header.wrapped(), aad).await?;
        let reader = SealedReader::new(opener, sealed)?;
        self.count_opened(&header, reader.plaintext_bytes());
        Ok(reader)
    }

    /// What opens the body under `header`, with the data key that `wrapped` holds: the header's own
    /// blob, or a re-wrapped one. Bytes that are opened with it do not count for a cache's limit.
    ///
    /// # Errors
    /// As [`Envelope::open`].
    pub async fn opener(
        &self,
        header: &Header,
        wrapped: &[u8],
        aad: &[u8],
    ) -> Result<Opener, EnvelopeError> {
        self.opener_for(header, wrapped, aad, 0).await
    }

    async fn opener_for(
        &self,
        header: &Header,
        wrapped: &[u8],
        aad: &[u8],
        bytes: u64,
    ) -> Result<Opener, EnvelopeError> {
        self.check_context()?;
        let decrypt = self.decrypt(wrapped);
        let data_key = match &self.cache {
            None => Arc::new(decrypt.await?),
            Some(cache) => {
                let scope = self.opening_scope().with_blob(wrapped);
                cache.data_key(&scope, bytes, decrypt).await?
            }
        };
        Ok(Opener::new(&data_key, header, aad)?)
    }

    /// Tells the cache how long a message was whose length was not known when it asked.
    fn count_opened(&self, header: &Header, bytes: u64) {
        if let Some(cache) = &self.cache {
            cache.opened(&self.opening_scope().with_blob(header.wrapped()), bytes);
        }
    }

    async fn decrypt(&self, wrapped: &[u8]) -> Result<DataKey, Error> {
        let request = kms::DecryptRequest {
            ciphertext: wrapped.to_vec(),
            encryption_context: self.context.clone(),
            key: if self.any_key { String::new() } else { self.key.clone() },
        };
        let response = self.client.decrypt(request).await?;
        data_key(response.plaintext)
    }

    async fn fresh_key(&self, bytes: u64) -> Result<FreshKey, EnvelopeError> {
        self.check_context()?;
        if let Some(cache) = self.cache.as_ref().filter(|cache| cache.seals()) {
            let generate = self.generate_many(cache.keys_per_call());
            return Ok(cache.fresh_key(&self.sealing_scope(), bytes, generate).await?);
        }
        let request = kms::GenerateDataKeyRequest {
            key: self.key.clone(),
            encryption_context: self.context.clone(),
            key_bytes: KEY_BYTES,
            store: self.store,
        };
        let response = self.client.generate_data_key(request).await?;
        let data_key = data_key(response.plaintext)?;
        Ok(FreshKey { data_key, wrapped: response.ciphertext, batch: None })
    }

    async fn generate_many(&self, count: u32) -> Result<Batch, Error> {
        let request = kms::GenerateDataKeysRequest {
            key: self.key.clone(),
            encryption_context: self.context.clone(),
            key_bytes: KEY_BYTES,
            store: self.store,
            count,
        };
        let response = self.client.generate_data_keys(request).await?;
        let made = response.data_keys.into_iter();
        made.map(|made| Ok((data_key(made.plaintext)?, made.ciphertext))).collect()
    }

    fn check_context(&self) -> Result<(), EnvelopeError> {
        match &self.repeated {
            None => Ok(()),
            Some(key) => Err(EnvelopeError::RepeatedContextKey { key: key.clone() }),
        }
    }

    fn opening_scope(&self) -> Scope {
        let key = if self.any_key { "" } else { &self.key };
        Scope::opening(&self.client, key, &self.context)
    }

    fn sealing_scope(&self) -> Scope {
        Scope::sealing(&self.client, &self.key, &self.context, self.store)
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Envelope")
            .field("client", &self.client)
            .field("key", &self.key)
            .field("context", &self.context)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

// === impl EnvelopeError ===

impl From<EnvelopeError> for io::Error {
    /// Keeps the kind of an input or output error; wrong data becomes `InvalidData`.
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::Read(error) | EnvelopeError::Write(error) => error,
            EnvelopeError::Data(failure) => Self::new(io::ErrorKind::InvalidData, failure),
            other => Self::other(other),
        }
    }
}

fn data_key(plaintext: Vec<u8>) -> Result<DataKey, Error> {
    DataKey::from_bytes(plaintext).map_err(|length| {
        Error::protocol(format!("the server opened something that is no data key: {length}"))
    })
}

const KEY_BYTES: u32 = 32;
