//! What holds for every key, context and plaintext, on both back ends; here, what these tests
//! are made of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod data_keys;
mod keys;
mod limits;
mod residue;
mod suite;

use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::backend::{Primitives, Refused};
use super::*;

/// A back end that computes as RustCrypto does, but for one fault.
pub(super) struct Lying<const FAULT: u8>;

pub(super) const MAC_IS_WRONG: u8 = 0;
pub(super) const SEALED_TAG_IS_WRONG: u8 = 1;
pub(super) const SEALED_TEXT_IS_WRONG: u8 = 2;
pub(super) const ANY_TAG_IS_RIGHT: u8 = 3;
pub(super) const NO_TAG_IS_RIGHT: u8 = 4;
pub(super) const LONG_TEXT_IS_WRONG: u8 = 5;
pub(super) const OPENED_TEXT_IS_WRONG: u8 = 6;
/// Right for the binding of the known answers alone.
pub(super) const OTHER_BINDINGS_ARE_WRONG: u8 = 7;

impl<const FAULT: u8> Primitives for Lying<FAULT> {
    const NAME: &'static str = "a lying back end";
    type MacState = <RustCrypto as Primitives>::MacState;

    fn mac_state(key: &[u8]) -> Self::MacState {
        RustCrypto::mac_state(key)
    }

    fn mac(state: &Self::MacState, parts: &[&[u8]], tag: &mut [u8; 32]) {
        RustCrypto::mac(state, parts, tag);
        tag[31] ^= u8::from(FAULT == MAC_IS_WRONG);
    }

    fn seal(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; 16], Refused> {
        let mut tag = RustCrypto::seal(key, iv, aad, buffer)?;
        tag[15] ^= u8::from(FAULT == SEALED_TAG_IS_WRONG);
        let wrong = match FAULT {
            SEALED_TEXT_IS_WRONG => true,
            LONG_TEXT_IS_WRONG => buffer.len() > 1024,
            OTHER_BINDINGS_ARE_WRONG => aad[0] != 0xDB,
            _ => false,
        };
        *buffer.last_mut().unwrap() ^= u8::from(wrong);
        Ok(tag)
    }

    fn open(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Refused> {
        if FAULT == NO_TAG_IS_RIGHT {
            return Err(Refused);
        }
        let opened = RustCrypto::open(key, iv, aad, buffer, tag);
        buffer[0] ^= u8::from(FAULT == OPENED_TEXT_IS_WRONG);
        if FAULT == ANY_TAG_IS_RIGHT { Ok(()) } else { opened }
    }
}

/// The same bytes on every draw, and a clock that stands where it was put.
struct Stuck {
    byte: u8,
    moment: u64,
}

impl Random for Stuck {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        bytes.fill(self.byte);
        Ok(())
    }

    fn moment(&self) -> u64 {
        self.moment
    }
}

/// The system's, counted; fails from some draw on.
struct Counted {
    draws: AtomicUsize,
    bytes: AtomicU64,
    draws_max: usize,
}

impl Counted {
    fn new(draws_max: usize) -> Self {
        Self { draws: AtomicUsize::new(0), bytes: AtomicU64::new(0), draws_max }
    }
}

impl Random for Counted {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        if self.draws.fetch_add(1, Ordering::Relaxed) >= self.draws_max {
            return Err(RandomFailed::Unavailable);
        }
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        OsRandom.fill(bytes)
    }
}

/// All that decides whether a blob opens.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Somewhere {
    kek: [u8; 32],
    header: Header,
    tenant: [u8; 16],
    context: Vec<(String, String)>,
}

impl Somewhere {
    fn kek<B: Backend>(&self) -> Kek<B> {
        KeyMaterial::from_bytes(&mut self.kek.clone()).kek()
    }

    fn binding(&self) -> Binding {
        Binding::new(&self.header, &self.tenant, &context(&self.context))
    }

    fn wrap<B: Backend>(&self, plaintext: &[u8]) -> Vec<u8> {
        self.kek::<B>().wrap(&OsRandom, &self.binding(), plaintext).unwrap()
    }

    /// Opens a blob as a server does: the header is the blob's own.
    fn open<B: Backend>(&self, blob: &[u8]) -> Result<Vec<u8>, OpenFailure> {
        let header = Header::parse(blob)?;
        let binding = Binding::new(&header, &self.tenant, &context(&self.context));
        self.kek::<B>().open(&binding, blob).map(Plaintext::into_public)
    }
}

fn context(pairs: &[(String, String)]) -> EncryptionContext {
    EncryptionContext::new(pairs.to_vec()).unwrap()
}

fn somewhere() -> Somewhere {
    let header = Header::new(BlobKind::Client, [3; 16], 7, 1).unwrap();
    let context = vec![("app".to_owned(), "billing".to_owned())];
    Somewhere { kek: [1; 32], header, tenant: [2; 16], context }
}

/// Runs the test that calls it, of this full name, once more in a process of its own; is `true`
/// there.
pub(super) fn in_a_child(test: &str) -> bool {
    if std::env::var_os("BULLA_TEST_CHILD").is_some_and(|child| child == test) {
        return true;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env("BULLA_TEST_CHILD", test)
        .output()
        .unwrap();
    let output = [child.stdout, child.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    assert!(child.status.success() && output.contains("1 passed"), "{output}");
    false
}
