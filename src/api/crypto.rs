//! The service `Crypto`.

use std::pin::Pin;

use bulla_proto::kms::{self, crypto_server};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Code, Request, Response, Status, Streaming};
use zeroize::Zeroizing;

use super::{Api, errors, parse, render, status, taken};
use crate::service::{
    Decrypt, DecryptMany, Destination, Encrypt, GenerateDataKeys, GenerateRandom, Inspect,
    ReEncrypt, ReEncryptMany, Refusal,
};

#[tonic::async_trait]
impl crypto_server::Crypto for Api {
    type ReEncryptStreamStream =
        Pin<Box<dyn Stream<Item = Result<kms::ReEncryptStreamResponse, Status>> + Send>>;

    async fn generate_data_key(
        &self,
        request: Request<kms::GenerateDataKeyRequest>,
    ) -> Result<Response<kms::GenerateDataKeyResponse>, Status> {
        let parse = |asked: kms::GenerateDataKeyRequest| {
            Ok(GenerateDataKeys::<true> {
                key: parse::key(&asked.key)?,
                context: parse::context(asked.encryption_context)?,
                key_bytes: parse::key_bytes(asked.key_bytes)?,
                store: asked.store,
                count: 1,
            })
        };
        self.perform(request, parse, |made| {
            let (plaintext, ciphertext) = only(made.data_keys);
            kms::GenerateDataKeyResponse {
                plaintext,
                ciphertext,
                key_id: made.key.to_string(),
                version: made.version,
            }
        })
        .await
    }

    async fn generate_data_key_without_plaintext(
        &self,
        request: Request<kms::GenerateDataKeyWithoutPlaintextRequest>,
    ) -> Result<Response<kms::GenerateDataKeyWithoutPlaintextResponse>, Status> {
        let parse = |asked: kms::GenerateDataKeyWithoutPlaintextRequest| {
            Ok(GenerateDataKeys::<false> {
                key: parse::key(&asked.key)?,
                context: parse::context(asked.encryption_context)?,
                key_bytes: parse::key_bytes(asked.key_bytes)?,
                store: asked.store,
                count: 1,
            })
        };
        self.perform(request, parse, |made| kms::GenerateDataKeyWithoutPlaintextResponse {
            ciphertext: only(made.data_keys).1,
            key_id: made.key.to_string(),
            version: made.version,
        })
        .await
    }

    async fn generate_data_keys(
        &self,
        request: Request<kms::GenerateDataKeysRequest>,
    ) -> Result<Response<kms::GenerateDataKeysResponse>, Status> {
        let parse = |asked: kms::GenerateDataKeysRequest| {
            Ok(GenerateDataKeys::<true> {
                key: parse::key(&asked.key)?,
                context: parse::context(asked.encryption_context)?,
                key_bytes: parse::key_bytes(asked.key_bytes)?,
                store: asked.store,
                count: parse::count("count", asked.count as usize)?,
            })
        };
        self.perform(request, parse, |made| kms::GenerateDataKeysResponse {
            data_keys: made
                .data_keys
                .into_iter()
                .map(|pair| kms::DataKey { plaintext: pair.plaintext, ciphertext: pair.ciphertext })
                .collect(),
            key_id: made.key.to_string(),
            version: made.version,
        })
        .await
    }

    async fn encrypt(
        &self,
        request: Request<kms::EncryptRequest>,
    ) -> Result<Response<kms::EncryptResponse>, Status> {
        let parse = |asked: kms::EncryptRequest| {
            let plaintext = Zeroizing::new(asked.plaintext);
            parse::plaintext(&plaintext)?;
            Ok(Encrypt {
                key: parse::key(&asked.key)?,
                plaintext,
                context: parse::context(asked.encryption_context)?,
                store: asked.store,
            })
        };
        self.perform(request, parse, |wrapped| kms::EncryptResponse {
            ciphertext: wrapped.ciphertext,
            key_id: wrapped.key.to_string(),
            version: wrapped.version,
        })
        .await
    }

    async fn decrypt(
        &self,
        request: Request<kms::DecryptRequest>,
    ) -> Result<Response<kms::DecryptResponse>, Status> {
        self.perform(request, decrypt, render::opened).await
    }

    async fn decrypt_many(
        &self,
        request: Request<kms::DecryptManyRequest>,
    ) -> Result<Response<kms::DecryptManyResponse>, Status> {
        let parse = |asked: kms::DecryptManyRequest| {
            parse::count("requests", asked.requests.len())?;
            Ok(DecryptMany(asked.requests.into_iter().map(decrypt).collect()))
        };
        self.perform(request, parse, |results| kms::DecryptManyResponse {
            results: results
                .into_iter()
                .map(|result| kms::DecryptResult {
                    outcome: Some(match result {
                        Ok(opened) => kms::decrypt_result::Outcome::Opened(render::opened(opened)),
                        Err(refusal) => {
                            kms::decrypt_result::Outcome::Refusal(render::refusal(&refusal))
                        }
                    }),
                })
                .collect(),
        })
        .await
    }

    async fn re_encrypt(
        &self,
        request: Request<kms::ReEncryptRequest>,
    ) -> Result<Response<kms::ReEncryptResponse>, Status> {
        self.perform(request, re_encrypt, render::moved).await
    }

    async fn re_encrypt_stream(
        &self,
        request: Request<Streaming<kms::ReEncryptStreamRequest>>,
    ) -> Result<Response<Self::ReEncryptStreamStream>, Status> {
        let caller = taken(&request)?;
        let api = self.clone();
        let messages = request.into_inner();
        let replies = stream::unfold(Some(messages), move |messages| {
            let (api, caller) = (api.clone(), caller.clone());
            async move {
                let mut messages = messages?;
                let message = match messages.next().await? {
                    Ok(message) => message,
                    Err(error) => return Some((Err(unreadable(&error)), None)),
                };
                let asked = parse::count("requests", message.requests.len())
                    .map(|_| ReEncryptMany(message.requests.into_iter().map(re_encrypt).collect()));
                match api.desk.perform(&caller, asked).await {
                    Ok(results) => {
                        let results = results.into_iter().map(re_encrypt_result).collect();
                        Some((Ok(kms::ReEncryptStreamResponse { results }), Some(messages)))
                    }
                    Err(refusal) => Some((Err(status(&refusal)), None)),
                }
            }
        });
        Ok(Response::new(Box::pin(replies)))
    }

    async fn inspect(
        &self,
        request: Request<kms::InspectRequest>,
    ) -> Result<Response<kms::InspectResponse>, Status> {
        let parse = |asked: kms::InspectRequest| Ok(Inspect { ciphertext: asked.ciphertext });
        self.perform(request, parse, |seen| kms::InspectResponse {
            suite: seen.suite.into(),
            key_id: seen.key.to_string(),
            version: seen.version,
            store: seen.store,
            plaintext_bytes: u32::try_from(seen.plaintext_bytes).unwrap_or(u32::MAX),
            state: seen.state.map_or(kms::VersionState::Unspecified, render::state).into(),
            decryptable: seen.decryptable,
            aliases: seen.aliases.iter().map(ToString::to_string).collect(),
        })
        .await
    }

    async fn generate_random(
        &self,
        request: Request<kms::GenerateRandomRequest>,
    ) -> Result<Response<kms::GenerateRandomResponse>, Status> {
        let parse = |asked: kms::GenerateRandomRequest| {
            Ok(GenerateRandom { random_bytes: parse::random_bytes(asked.random_bytes)? })
        };
        self.perform(request, parse, |mut bytes| kms::GenerateRandomResponse {
            plaintext: std::mem::take(&mut *bytes),
        })
        .await
    }
}

fn decrypt(asked: kms::DecryptRequest) -> Result<Decrypt, Refusal> {
    Ok(Decrypt {
        context: parse::context(asked.encryption_context)?,
        key: parse::optional_key(&asked.key)?,
        ciphertext: asked.ciphertext,
    })
}

fn re_encrypt(asked: kms::ReEncryptRequest) -> Result<ReEncrypt, Refusal> {
    let destination_context = asked.destination_encryption_context;
    Ok(ReEncrypt {
        context: parse::context(asked.source_encryption_context)?,
        destination: Destination {
            key: parse::optional_key(&asked.destination_key)?,
            context: destination_context
                .map(|context| parse::context(context.pairs))
                .transpose()?,
            store: asked.store,
        },
        ciphertext: asked.ciphertext,
    })
}

fn re_encrypt_result(result: Result<crate::service::Moved, Refusal>) -> kms::ReEncryptResult {
    kms::ReEncryptResult {
        outcome: Some(match result {
            Ok(moved) => kms::re_encrypt_result::Outcome::Moved(render::moved(moved)),
            Err(refusal) => kms::re_encrypt_result::Outcome::Refusal(render::refusal(&refusal)),
        }),
    }
}

/// A message of a stream that was too long or did not decode. The stream ends with it.
fn unreadable(error: &Status) -> Status {
    match error.code() {
        Code::OutOfRange => errors::too_large(1024 * 1024),
        _ => errors::malformed(),
    }
}

/// The one data key that was asked for.
fn only(data_keys: Vec<crate::service::DataKeyPair>) -> (Vec<u8>, Vec<u8>) {
    let one = data_keys.into_iter().next();
    one.map(|pair| (pair.plaintext, pair.ciphertext)).unwrap_or_default()
}
