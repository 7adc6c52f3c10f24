//! Sealed data opened in each of the three ways, in pieces of any size, without a server.

#![allow(dead_code)]

use std::io::{self, Cursor, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

use bulla_client::{DataFailure, DataKey, EnvelopeError, Header, Opener, SealedReader};
use tokio::io::{AsyncRead, ReadBuf};

/// Gives at most so many bytes at a time, and is not ready every other time.
pub(crate) struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
    ready: bool,
}

impl<'a> Pieces<'a> {
    pub(crate) fn new(bytes: &'a [u8], piece: usize) -> Self {
        Self { rest: bytes, piece, ready: false }
    }
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if !self.ready {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let length = self.rest.len().min(self.piece).min(buffer.remaining());
        let (now, later) = self.rest.split_at(length);
        buffer.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

pub(crate) fn opener(dek: &[u8], aad: &[u8], header: &Header) -> Result<Opener, DataFailure> {
    Opener::new(&DataKey::from_bytes(dek.to_vec()).unwrap(), header, aad)
}

pub(crate) fn by_slice(dek: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, DataFailure> {
    let (header, body) = Header::split(sealed)?;
    opener(dek, aad, &header)?.open(body)
}

/// As a stream; whatever was released before a failure must be a true beginning, which the caller
/// checks with [`released_by_stream`].
pub(crate) async fn by_stream(
    dek: &[u8],
    aad: &[u8],
    sealed: &[u8],
    piece: usize,
) -> Result<Vec<u8>, DataFailure> {
    let (outcome, released) = released_by_stream(dek, aad, sealed, piece).await;
    outcome.map(|()| released)
}

pub(crate) async fn released_by_stream(
    dek: &[u8],
    aad: &[u8],
    sealed: &[u8],
    piece: usize,
) -> (Result<(), DataFailure>, Vec<u8>) {
    let mut released = Vec::new();
    let mut reader = Pieces::new(sealed, piece);
    let outcome = async {
        let header = Header::read_async(&mut reader).await.map_err(data)?;
        let opener = opener(dek, aad, &header)?;
        let opened = opener.open_stream(&mut reader, &mut released).await.map_err(data)?;
        assert_eq!(opened, released.len() as u64);
        Ok(())
    }
    .await;
    (outcome, released)
}

/// As a file, read from front to back in pieces.
pub(crate) fn by_reader(
    dek: &[u8],
    aad: &[u8],
    sealed: &[u8],
    piece: usize,
) -> Result<Vec<u8>, DataFailure> {
    let mut reader = reader(dek, aad, sealed)?;
    let mut plaintext = Vec::new();
    let mut buffer = vec![0; piece];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(plaintext),
            Ok(length) => plaintext.extend_from_slice(&buffer[..length]),
            Err(error) => return Err(io_data(&error)),
        }
    }
}

pub(crate) fn reader<'a>(
    dek: &[u8],
    aad: &[u8],
    sealed: &'a [u8],
) -> Result<SealedReader<Cursor<&'a [u8]>>, DataFailure> {
    let mut inner = Cursor::new(sealed);
    let header = Header::read(&mut inner).map_err(data)?;
    SealedReader::new(opener(dek, aad, &header)?, inner).map_err(data)
}

pub(crate) fn data(error: EnvelopeError) -> DataFailure {
    match error {
        EnvelopeError::Data(failure) => failure,
        other => panic!("not about the data: {other}"),
    }
}

pub(crate) fn io_data(error: &io::Error) -> DataFailure {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    *error.get_ref().unwrap().downcast_ref().unwrap()
}
