//! The envelope and its cache against a server that keeps data keys in a map.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

#[allow(unused)]
mod fake;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bulla_client::{
    Client, Clock, Code, DataFailure, DataKeyCache, Envelope, EnvelopeError, Header, OpeningLimits,
    SealingLimits, kms,
};
use fake::{Call, Fake, Reply};
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

/// Makes data keys out of numbers, and opens what it made under the same key and context.
#[derive(Default)]
struct Keeper {
    made: Mutex<HashMap<Vec<u8>, Made>>,
}

#[derive(Clone)]
struct Made {
    plaintext: Vec<u8>,
    key: String,
    context: BTreeMap<String, String>,
    store: u32,
}

impl Keeper {
    fn answer(&self, call: &Call) -> Reply {
        let method = call.path.rsplit('/').next().unwrap();
        match method {
            "GenerateDataKey" => {
                let request = kms::GenerateDataKeyRequest::decode(&*call.message).unwrap();
                assert_eq!(request.key_bytes, 32);
                let (key, context) = (request.key, request.encryption_context);
                let (plaintext, ciphertext) = self.make(&key, &context, request.store);
                let key_id = key;
                let response =
                    kms::GenerateDataKeyResponse { plaintext, ciphertext, key_id, version: 1 };
                Reply::message(&response)
            }
            "GenerateDataKeys" => {
                let request = kms::GenerateDataKeysRequest::decode(&*call.message).unwrap();
                let (key, context) = (request.key, request.encryption_context);
                let data_keys = (0..request.count)
                    .map(|_| {
                        let (plaintext, ciphertext) = self.make(&key, &context, request.store);
                        kms::DataKey { plaintext, ciphertext }
                    })
                    .collect();
                let response = kms::GenerateDataKeysResponse { data_keys, key_id: key, version: 1 };
                Reply::message(&response)
            }
            "Decrypt" => {
                let request = kms::DecryptRequest::decode(&*call.message).unwrap();
                let made = self.made.lock().unwrap().get(&request.ciphertext).cloned();
                let made = made.filter(|made| {
                    made.context == request.encryption_context
                        && (request.key.is_empty() || request.key == made.key)
                });
                match made {
                    Some(Made { plaintext, key, store, .. }) => {
                        let response =
                            kms::DecryptResponse { plaintext, key_id: key, version: 1, store };
                        Reply::message(&response)
                    }
                    None => Reply::Status(Status::with_error_details(
                        Code::InvalidArgument,
                        "this blob does not open",
                        ErrorDetails::with_error_info(
                            "INVALID_CIPHERTEXT",
                            "bulla",
                            HashMap::new(),
                        ),
                    )),
                }
            }
            other => panic!("{other} is not for an envelope"),
        }
    }

    fn make(
        &self,
        key: &str,
        context: &BTreeMap<String, String>,
        store: u32,
    ) -> (Vec<u8>, Vec<u8>) {
        let mut made = self.made.lock().unwrap();
        let plaintext = Sha256::digest(made.len().to_be_bytes()).to_vec();
        let mut blob = vec![0xb0; 130];
        blob.extend_from_slice(&made.len().to_be_bytes());
        let (key, context) = (key.to_owned(), context.clone());
        made.insert(blob.clone(), Made { plaintext: plaintext.clone(), key, context, store });
        (plaintext, blob)
    }

    /// Another blob of the same data key, as ReEncrypt makes it.
    fn rewrap(&self, blob: &[u8]) -> Vec<u8> {
        let mut made = self.made.lock().unwrap();
        let same = made[blob].clone();
        let mut fresh = blob.to_vec();
        fresh[0] ^= 0xff;
        made.insert(fresh.clone(), same);
        fresh
    }

    fn forget(&self, blob: &[u8]) {
        self.made.lock().unwrap().remove(blob).unwrap();
    }
}

struct Setup {
    keeper: Arc<Keeper>,
    fake: Fake,
    client: Client,
}

impl Setup {
    async fn new() -> Self {
        let keeper = Arc::new(Keeper::default());
        let answer = {
            let keeper = Arc::clone(&keeper);
            move |call: &Call| keeper.answer(call)
        };
        let fake = Fake::start(answer).await;
        let client = Client::connect(fake.config()).await.unwrap();
        Self { keeper, fake, client }
    }

    fn envelope(&self) -> Envelope {
        Envelope::new(self.client.clone(), "customers").context([("table", "customers")])
    }
}

#[derive(Clone, Default)]
struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

fn wrapped(sealed: &[u8]) -> Vec<u8> {
    Header::split(sealed).unwrap().0.wrapped().to_vec()
}

fn reason(error: EnvelopeError) -> String {
    match error {
        EnvelopeError::Call(error) => error.reason().to_owned(),
        other => panic!("not a call: {other}"),
    }
}

#[tokio::test]
async fn what_an_envelope_seals_it_opens() {
    let setup = Setup::new().await;
    let envelope = setup.envelope().store(7);
    for plaintext in [&b""[..], b"jane@example.org", &vec![9; 200_000]] {
        let sealed = envelope.seal(plaintext).await.unwrap();
        assert_eq!(envelope.open(&sealed).await.unwrap(), plaintext);
        assert_eq!(setup.keeper.made.lock().unwrap()[&wrapped(&sealed)].store, 7);
    }
    assert_eq!(setup.fake.count("GenerateDataKey"), 3);
    assert_eq!(setup.fake.count("Decrypt"), 3);
}

#[tokio::test]
async fn what_is_sealed_never_reaches_the_server() {
    let setup = Setup::new().await;
    let secret = b"nobody but us may know this";
    let sealed = setup.envelope().seal_with_aad(secret, b"row 17 of the table").await.unwrap();
    setup.envelope().open_with_aad(&sealed, b"row 17 of the table").await.unwrap();
    for call in setup.fake.calls() {
        for text in [&secret[..], b"row 17 of the table"] {
            assert!(!call.message.windows(text.len()).any(|part| part == text));
        }
    }
}

#[tokio::test]
async fn every_message_has_a_data_key_of_its_own() {
    let setup = Setup::new().await;
    let one = setup.envelope().seal(b"same").await.unwrap();
    let two = setup.envelope().seal(b"same").await.unwrap();
    assert_ne!(one, two);
    assert_ne!(wrapped(&one), wrapped(&two));
}

#[tokio::test]
async fn another_context_or_key_does_not_open() {
    let setup = Setup::new().await;
    let sealed = setup.envelope().seal(b"secret").await.unwrap();
    let of = |key: &str| Envelope::new(setup.client.clone(), key);
    for other in [
        of("customers"),
        of("customers").context([("table", "orders")]),
        of("customers").context([("table", "customers"), ("extra", "")]),
        of("orders").context([("table", "customers")]),
    ] {
        assert_eq!(reason(other.open(&sealed).await.unwrap_err()), "INVALID_CIPHERTEXT");
    }
    let any = of("orders").context([("table", "customers")]).opens_any_key();
    assert_eq!(any.open(&sealed).await.unwrap(), b"secret");
}

#[tokio::test]
async fn f04_a_context_key_with_two_values_is_refused_before_any_call() {
    let setup = Setup::new().await;
    let sealed = setup.envelope().seal(b"secret").await.unwrap();
    let envelope = setup.envelope().context([("table", "orders")]);
    for error in
        [envelope.seal(b"secret").await.unwrap_err(), envelope.open(&sealed).await.unwrap_err()]
    {
        assert_eq!(error.to_string(), "the encryption context has two values for \"table\"");
    }
    assert_eq!(setup.fake.calls().len(), 1);
}

#[tokio::test]
async fn other_associated_data_does_not_open() {
    let setup = Setup::new().await;
    let envelope = setup.envelope();
    let sealed = envelope.seal_with_aad(b"secret", b"row 1").await.unwrap();
    assert_eq!(envelope.open_with_aad(&sealed, b"row 1").await.unwrap(), b"secret");
    for error in [
        envelope.open(&sealed).await.unwrap_err(),
        envelope.open_with_aad(&sealed, b"row 2").await.unwrap_err(),
    ] {
        assert!(matches!(error, EnvelopeError::Data(DataFailure::Commitment)), "{error}");
    }
}

#[tokio::test]
async fn a_header_that_cannot_be_parsed_costs_no_call() {
    let setup = Setup::new().await;
    let error = setup.envelope().open(b"plain text, not sealed").await.unwrap_err();
    assert_eq!(error.to_string(), "this is no data sealed by bulla");
    assert!(setup.fake.calls().is_empty());
}

#[tokio::test]
async fn streams_and_readers_agree_with_slices() {
    let setup = Setup::new().await;
    let envelope = setup.envelope();
    let plaintext: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let mut sealed = Vec::new();
    let bytes = envelope.seal_stream(&plaintext[..], &mut sealed, b"aad").await.unwrap();
    assert_eq!(bytes, 300_000);
    assert!(envelope.open_with_aad(&sealed, b"aad").await.unwrap() == plaintext);

    let mut opened = Vec::new();
    let bytes = envelope.open_stream(&sealed[..], &mut opened, b"aad").await.unwrap();
    assert!(bytes == 300_000 && opened == plaintext);

    let mut reader = envelope.open_reader(Cursor::new(&sealed), b"aad").await.unwrap();
    reader.seek(SeekFrom::Start(65_530)).unwrap();
    let mut part = [0; 100];
    reader.read_exact(&mut part).unwrap();
    assert_eq!(part, plaintext[65_530..65_630]);

    let cut = &sealed[..sealed.len() - 20_000];
    let mut released = Vec::new();
    let error = envelope.open_stream(cut, &mut released, b"aad").await.unwrap_err();
    assert!(matches!(error, EnvelopeError::Data(DataFailure::Chunk)), "{error}");
    assert!(plaintext.starts_with(&released));
}

#[tokio::test]
async fn a_rewrapped_data_key_beside_the_data_opens_it_when_the_old_one_is_gone() {
    let setup = Setup::new().await;
    let envelope = setup.envelope();
    let sealed = envelope.seal_with_aad(b"secret", b"row 1").await.unwrap();
    let old = wrapped(&sealed);
    let new = setup.keeper.rewrap(&old);
    setup.keeper.forget(&old);

    assert!(envelope.open_with_aad(&sealed, b"row 1").await.is_err());
    assert_eq!(envelope.open_with_wrapped(&sealed, &new, b"row 1").await.unwrap(), b"secret");

    let (header, body) = Header::split(&sealed).unwrap();
    let opener = envelope.opener(&header, &new, b"row 1").await.unwrap();
    assert_eq!(opener.open(body).unwrap(), b"secret");

    let other = envelope.seal(b"other").await.unwrap();
    let error = envelope.open_with_wrapped(&sealed, &wrapped(&other), b"row 1").await.unwrap_err();
    assert!(matches!(error, EnvelopeError::Data(DataFailure::Commitment)), "{error}");
}

#[tokio::test]
async fn a_rewrapped_data_key_in_the_header_opens_the_data_and_another_one_does_not() {
    let setup = Setup::new().await;
    let envelope = setup.envelope();
    let sealed = envelope.seal_with_aad(b"secret", b"row 1").await.unwrap();
    let (header, body) = Header::split(&sealed).unwrap();
    let new = setup.keeper.rewrap(header.wrapped());
    setup.keeper.forget(header.wrapped());
    let with = |wrapped: &[u8]| [&header.with_wrapped(wrapped).unwrap().to_bytes(), body].concat();
    assert_eq!(envelope.open_with_aad(&with(&new), b"row 1").await.unwrap(), b"secret");

    let other = envelope.seal_with_aad(b"other", b"row 1").await.unwrap();
    let confused = with(&wrapped(&other));
    let error = envelope.open_with_aad(&confused, b"row 1").await.unwrap_err();
    assert!(matches!(error, EnvelopeError::Data(DataFailure::Commitment)), "{error}");
}

#[tokio::test]
async fn a_server_that_returns_no_data_key_is_not_believed() {
    for plaintext in [Vec::new(), vec![1; 15], vec![1; 65]] {
        let fake = Fake::start(move |_| {
            let plaintext = plaintext.clone();
            let ciphertext = vec![0; 138];
            Reply::message(&kms::GenerateDataKeyResponse {
                plaintext,
                ciphertext,
                ..Default::default()
            })
        })
        .await;
        let client = Client::connect(fake.config()).await.unwrap();
        let error = Envelope::new(client, "k").seal(b"secret").await.unwrap_err();
        assert!(error.to_string().contains("no data key"), "{error}");
    }
}

// === the cache ===

#[tokio::test]
async fn a_cache_opens_the_same_data_without_a_call_until_it_is_too_old() {
    let setup = Setup::new().await;
    let clock = ManualClock::default();
    let limits = OpeningLimits { age_max: Duration::from_secs(60), ..Default::default() };
    let cache = Arc::new(DataKeyCache::with_clock(limits, clock.clone()));
    let envelope = setup.envelope().cache(Arc::clone(&cache));
    let sealed = envelope.seal(b"secret").await.unwrap();
    for _ in 0..10 {
        assert_eq!(envelope.open(&sealed).await.unwrap(), b"secret");
        let mut reader = envelope.open_reader(Cursor::new(&sealed), b"").await.unwrap();
        reader.read_to_end(&mut Vec::new()).unwrap();
    }
    assert_eq!((setup.fake.count("Decrypt"), cache.entries()), (1, 1));
    clock.advance(59);
    envelope.open(&sealed).await.unwrap();
    assert_eq!(setup.fake.count("Decrypt"), 1);
    clock.advance(1);
    envelope.open(&sealed).await.unwrap();
    assert_eq!(setup.fake.count("Decrypt"), 2);
    cache.clear();
    assert_eq!(cache.entries(), 0);
    envelope.open(&sealed).await.unwrap();
    assert_eq!(setup.fake.count("Decrypt"), 3);
}

#[tokio::test]
async fn a_cache_opens_so_many_times_and_so_many_bytes() {
    let setup = Setup::new().await;
    let limits = OpeningLimits { uses_max: 3, ..Default::default() };
    let envelope = setup.envelope().cache(Arc::new(DataKeyCache::new(limits)));
    let sealed = envelope.seal(b"secret").await.unwrap();
    for uses in 0..9 {
        envelope.open(&sealed).await.unwrap();
        assert_eq!(setup.fake.count("Decrypt"), uses / 3 + 1);
    }

    let limits = OpeningLimits { bytes_max: 2_500, ..Default::default() };
    let envelope = setup.envelope().cache(Arc::new(DataKeyCache::new(limits)));
    let sealed = envelope.seal(&[0; 1_000]).await.unwrap();
    let before = setup.fake.count("Decrypt");
    for uses in 0..6 {
        // In every way alike.
        match uses % 3 {
            0 => drop(envelope.open(&sealed).await.unwrap()),
            1 => {
                envelope.open_stream(&sealed[..], &mut Vec::new(), b"").await.unwrap();
            }
            _ => drop(envelope.open_reader(Cursor::new(&sealed), b"").await.unwrap()),
        }
        assert_eq!(setup.fake.count("Decrypt") - before, uses / 3 + 1, "{uses}");
    }
}

#[tokio::test]
async fn e01_a_cache_keeps_callers_keys_and_contexts_apart() {
    let setup = Setup::new().await;
    let cache = Arc::new(DataKeyCache::new(OpeningLimits::default()));
    let sealed = setup.envelope().cache(Arc::clone(&cache)).seal(b"secret").await.unwrap();
    setup.envelope().cache(Arc::clone(&cache)).open(&sealed).await.unwrap();
    assert_eq!(setup.fake.count("Decrypt"), 1);

    // Another context or key is asked for, and refused, though the data key is at hand.
    for other in [
        Envelope::new(setup.client.clone(), "customers"),
        Envelope::new(setup.client.clone(), "orders").context([("table", "customers")]),
        Envelope::new(setup.client.clone(), "customers").context([("tablec", "ustomers")]),
    ] {
        let error = other.cache(Arc::clone(&cache)).open(&sealed).await.unwrap_err();
        assert_eq!(reason(error), "INVALID_CIPHERTEXT");
    }
    assert_eq!(setup.fake.count("Decrypt"), 4);

    // So is another caller.
    let leaf = setup.fake.authority.client("spiffe://test/other");
    let client = Client::connect(setup.fake.config_of(&leaf)).await.unwrap();
    let envelope = Envelope::new(client, "customers").context([("table", "customers")]);
    envelope.cache(Arc::clone(&cache)).open(&sealed).await.unwrap();
    assert_eq!(setup.fake.count("Decrypt"), 5);
}

#[tokio::test]
async fn a_cache_does_not_seal_unless_it_is_asked_to() {
    let setup = Setup::new().await;
    let cache = Arc::new(DataKeyCache::new(OpeningLimits::default()));
    let envelope = setup.envelope().cache(cache);
    for _ in 0..5 {
        envelope.seal(b"secret").await.unwrap();
    }
    assert_eq!(setup.fake.count("GenerateDataKey"), 5);
    assert_eq!(setup.fake.count("GenerateDataKeys"), 0);
}

#[tokio::test]
async fn f01_a_cached_batch_never_seals_two_messages_under_one_data_key() {
    let setup = Setup::new().await;
    let limits = SealingLimits { uses_max: 10, ..Default::default() };
    let cache = DataKeyCache::new(OpeningLimits::default()).for_sealing(limits);
    let envelope = setup.envelope().cache(Arc::new(cache));
    let mut blobs = HashSet::new();
    for number in 0..35_u8 {
        let sealed = match number % 2 {
            0 => envelope.seal(&[number]).await.unwrap(),
            _ => {
                let mut sealed = Vec::new();
                envelope.seal_stream(&[number][..], &mut sealed, b"").await.unwrap();
                sealed
            }
        };
        assert!(blobs.insert(wrapped(&sealed)), "message {number}");
        assert_eq!(envelope.open(&sealed).await.unwrap(), [number]);
    }
    assert_eq!(setup.fake.count("GenerateDataKeys"), 4);
    assert_eq!(setup.fake.count("GenerateDataKey"), 0);
}

#[tokio::test]
async fn j09_concurrent_seals_share_one_call_and_no_data_key() {
    let setup = Setup::new().await;
    let limits = SealingLimits { uses_max: 64, ..Default::default() };
    let cache = DataKeyCache::new(OpeningLimits::default()).for_sealing(limits);
    let envelope = setup.envelope().cache(Arc::new(cache));
    let seals: Vec<_> = (0..64)
        .map(|_| {
            let envelope = envelope.clone();
            tokio::spawn(async move { envelope.seal(b"secret").await.unwrap() })
        })
        .collect();
    let mut blobs = HashSet::new();
    for seal in seals {
        assert!(blobs.insert(wrapped(&seal.await.unwrap())));
    }
    assert_eq!(setup.fake.count("GenerateDataKeys"), 1);
}

#[tokio::test]
async fn a_batch_ends_with_its_time_or_its_bytes() {
    let setup = Setup::new().await;
    let clock = ManualClock::default();
    let limits = SealingLimits {
        age_max: Duration::from_secs(60),
        uses_max: 100,
        bytes_max: 1_000,
        entries_max: 2,
    };
    let cache = DataKeyCache::with_clock(OpeningLimits::default(), clock.clone());
    let cache = Arc::new(cache.for_sealing(limits));
    let envelope = setup.envelope().cache(Arc::clone(&cache));
    let calls = || setup.fake.count("GenerateDataKeys");

    envelope.seal(&[0; 400]).await.unwrap();
    envelope.seal(&[0; 400]).await.unwrap();
    assert_eq!(calls(), 1);
    envelope.seal(&[0; 400]).await.unwrap();
    assert_eq!(calls(), 2);
    envelope.seal_stream(&[0; 600][..], &mut Vec::new(), b"").await.unwrap();
    assert_eq!(calls(), 2);
    envelope.seal(&[0; 1]).await.unwrap();
    assert_eq!(calls(), 3);
    clock.advance(60);
    envelope.seal(&[0; 1]).await.unwrap();
    assert_eq!(calls(), 4);

    for store in 1..=5 {
        setup.envelope().store(store).cache(Arc::clone(&cache)).seal(b"x").await.unwrap();
        assert!(cache.entries() <= 2);
    }
    assert_eq!(calls(), 9);
}

#[tokio::test]
async fn i01_nothing_that_can_be_printed_shows_a_data_key() {
    let setup = Setup::new().await;
    let cache = DataKeyCache::new(OpeningLimits::default()).for_sealing(SealingLimits::default());
    let cache = Arc::new(cache);
    let envelope = setup.envelope().cache(Arc::clone(&cache));
    let sealed = envelope.seal(b"secret").await.unwrap();
    envelope.open(&sealed).await.unwrap();
    let printed = format!("{cache:?} {envelope:?} {:?}", setup.client);
    for made in setup.keeper.made.lock().unwrap().values() {
        let start = format!("{:?}", &made.plaintext[..4]);
        assert!(!printed.contains(start.trim_matches(['[', ']'])), "{printed}");
        assert!(!printed.contains(&hex::encode(&made.plaintext[..4])), "{printed}");
    }
    assert!(printed.contains("DataKeyCache { entries: 2, .. }"), "{printed}");
}
