//! What is called: the echo and the four methods, each as a frame that can be sent again and again.

use std::collections::BTreeMap;

use bulla_proto::kms;

use crate::Failure;
use crate::connection::{Connection, Prepared};

/// A method under load.
pub(crate) struct Method {
    /// As printed.
    pub(crate) name: &'static str,
    /// The call.
    pub(crate) call: Prepared,
    /// Data keys that one call makes or moves.
    pub(crate) data_keys: u32,
}

/// The echo that everything is compared with, and what is compared.
pub(crate) struct Methods {
    pub(crate) echo: Method,
    pub(crate) compared: Vec<Method>,
}

/// The echo: a payload about as long as a data key with its blob.
pub(crate) fn echo() -> Result<Prepared, Failure> {
    let payload = vec![0x5a; ECHO_BYTES];
    Prepared::new("/bulla.kms.v1.Bench/Echo", &kms::EchoRequest { payload })
}

/// Makes two keys and one blob, calls each method once and looks at what it gives.
pub(crate) async fn prepare(
    connection: &mut Connection,
    manager: &mut Connection,
) -> Result<Methods, Failure> {
    let mut call = echo()?;
    let reply: kms::EchoResponse = connection.call_decoded(&mut call).await?;
    expect(reply.payload.len() == ECHO_BYTES, "the echo is not one")?;
    let echo = Method { name: "Echo", call, data_keys: 0 };

    create_key(manager, "bench").await?;
    create_key(manager, "bench-to").await?;
    let request = kms::GenerateDataKeyRequest {
        key: "bench".into(),
        encryption_context: context(),
        ..Default::default()
    };
    let mut generate = Prepared::new(&crypto("GenerateDataKey"), &request)?;
    let made: kms::GenerateDataKeyResponse = connection.call_decoded(&mut generate).await?;
    expect(made.plaintext.len() == 32, "the data key is not of 32 bytes")?;

    let request = kms::DecryptRequest {
        ciphertext: made.ciphertext.clone(),
        encryption_context: context(),
        ..Default::default()
    };
    let mut decrypt = Prepared::new(&crypto("Decrypt"), &request)?;
    let opened: kms::DecryptResponse = connection.call_decoded(&mut decrypt).await?;
    expect(opened.plaintext == made.plaintext, "the data key opens to something else")?;

    let request = kms::ReEncryptRequest {
        ciphertext: made.ciphertext.clone(),
        source_encryption_context: context(),
        destination_key: "bench-to".into(),
        ..Default::default()
    };
    let mut re_encrypt = Prepared::new(&crypto("ReEncrypt"), &request)?;
    let moved: kms::ReEncryptResponse = connection.call_decoded(&mut re_encrypt).await?;
    expect(moved.source_key_id == made.key_id, "moved from another key")?;
    expect(moved.key_id != made.key_id, "the blob was not moved")?;

    let request = kms::GenerateDataKeysRequest {
        key: "bench".into(),
        encryption_context: context(),
        count: BATCH,
        ..Default::default()
    };
    let mut batch = Prepared::new(&crypto("GenerateDataKeys"), &request)?;
    let many: kms::GenerateDataKeysResponse = connection.call_decoded(&mut batch).await?;
    expect(many.data_keys.len() == usize::try_from(BATCH)?, "not as many data keys as asked for")?;

    let one = kms::ReEncryptRequest {
        ciphertext: made.ciphertext,
        source_encryption_context: context(),
        ..Default::default()
    };
    let request =
        kms::ReEncryptStreamRequest { requests: vec![one; usize::try_from(MOVED_TOGETHER)?] };
    let mut stream = Prepared::new(&crypto("ReEncryptStream"), &request)?;
    let many: kms::ReEncryptStreamResponse = connection.call_decoded(&mut stream).await?;
    let moved = |result: &kms::ReEncryptResult| {
        matches!(result.outcome, Some(kms::re_encrypt_result::Outcome::Moved(_)))
    };
    expect(many.results.len() == usize::try_from(MOVED_TOGETHER)?, "not as many as were sent")?;
    expect(many.results.iter().all(moved), "not every blob was moved")?;

    let (alone, many) = (generate.unrecorded(), batch.unrecorded());
    let compared = vec![
        Method { name: "GenerateDataKey", call: generate, data_keys: 1 },
        Method { name: "Decrypt", call: decrypt, data_keys: 1 },
        Method { name: "ReEncrypt", call: re_encrypt, data_keys: 1 },
        Method { name: "GenerateDataKeys(100)", call: batch, data_keys: BATCH },
        Method { name: "ReEncryptStream", call: stream, data_keys: MOVED_TOGETHER },
        Method { name: "  one, no record", call: alone, data_keys: 1 },
        Method { name: "  (100), no record", call: many, data_keys: BATCH },
    ];
    Ok(Methods { echo, compared })
}

/// Makes a key of this name in the managers' tenant, and the call that makes data keys of it.
pub(crate) async fn generate(
    connection: &mut Connection,
    manager: &mut Connection,
    alias: &str,
) -> Result<Prepared, Failure> {
    create_key(manager, alias).await?;
    let request = kms::GenerateDataKeyRequest {
        key: alias.into(),
        encryption_context: context(),
        ..Default::default()
    };
    let mut call = Prepared::new(&crypto("GenerateDataKey"), &request)?;
    let made: kms::GenerateDataKeyResponse = connection.call_decoded(&mut call).await?;
    expect(made.plaintext.len() == 32, "the data key is not of 32 bytes")?;
    Ok(call)
}

async fn create_key(connection: &mut Connection, alias: &str) -> Result<(), Failure> {
    let request = kms::CreateKeyRequest {
        alias: alias.into(),
        request_id: format!("create-{alias}"),
        ..Default::default()
    };
    let mut call = Prepared::new("/bulla.kms.v1.Keys/CreateKey", &request)?;
    let created: kms::CreateKeyResponse = connection.call_decoded(&mut call).await?;
    expect(created.key.is_some(), "no key was made")
}

fn crypto(method: &str) -> String {
    format!("/bulla.kms.v1.Crypto/{method}")
}

fn context() -> BTreeMap<String, String> {
    let pairs = [("app", "billing"), ("table", "customers")];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn expect(holds: bool, otherwise: &str) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

const ECHO_BYTES: usize = 160;
const BATCH: u32 = 100;
/// Blobs in one message of a stream.
const MOVED_TOGETHER: u32 = 500;
