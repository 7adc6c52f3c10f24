//! The service `Audit`.

use std::pin::Pin;

use bulla_proto::kms::{self, audit_server};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use crate::audit::{Filter, MAX_PRINCIPAL_BYTES, Outcome};
use crate::keys::KeyId;

use super::{Api, parse, render, status, taken};
use crate::service::{
    AuditRecord, Caller, GetCheckpoint, GetRecord, Proof, ProveConsistency, ProveInclusion,
    ReadAudit, Refusal,
};

#[tonic::async_trait]
impl audit_server::Audit for Api {
    type TailRecordsStream =
        Pin<Box<dyn Stream<Item = Result<kms::TailRecordsResponse, Status>> + Send>>;

    async fn list_records(
        &self,
        request: Request<kms::ListRecordsRequest>,
    ) -> Result<Response<kms::ListRecordsResponse>, Status> {
        let parse = |asked: kms::ListRecordsRequest| {
            Ok(ReadAudit {
                after: asked.after_sequence,
                page_size: parse::page_size(asked.page_size)?,
                last: None,
                filter: filter(asked.filter)?,
            })
        };
        self.perform(request, parse, |page| kms::ListRecordsResponse {
            records: page.records.into_iter().map(render::record).collect(),
            next_after_sequence: page.next_after,
            end: page.end,
        })
        .await
    }

    async fn tail_records(
        &self,
        request: Request<kms::TailRecordsRequest>,
    ) -> Result<Response<Self::TailRecordsStream>, Status> {
        let caller = taken(&request)?;
        let kms::TailRecordsRequest { last, filter: asked } = request.into_inner();
        let asked = filter(asked);
        let wanted = asked.as_ref().cloned().unwrap_or_default();
        let asked = asked.and_then(|filter| match last {
            last @ 0..=1000 => {
                Ok(ReadAudit { after: 0, page_size: 1000, last: Some(last as usize), filter })
            }
            _ => Err(Refusal::invalid("last", "must be at most 1000")),
        });
        let begun = self.desk.perform(&caller, asked).await;
        let page = begun.map_err(|refusal| status(&refusal))?;
        let first = stream::iter(page.records.into_iter().map(tailed));
        let rest = self.clone().records_after(caller, page.next_after, wanted);
        Ok(Response::new(self.until_draining(first.chain(rest))))
    }

    async fn get_checkpoint(
        &self,
        request: Request<kms::GetCheckpointRequest>,
    ) -> Result<Response<kms::GetCheckpointResponse>, Status> {
        self.perform(
            request,
            |asked| Ok(GetCheckpoint { cosigned: asked.cosigned }),
            |(checkpoint, key)| kms::GetCheckpointResponse {
                checkpoint: checkpoint.as_bytes().to_vec(),
                verifier_key: key.to_string(),
            },
        )
        .await
    }

    async fn get_record(
        &self,
        request: Request<kms::GetRecordRequest>,
    ) -> Result<Response<kms::GetRecordResponse>, Status> {
        let parse = |asked: kms::GetRecordRequest| match asked.sequence {
            0 => Err(Refusal::invalid("sequence", "must be at least 1")),
            sequence => Ok(GetRecord { sequence }),
        };
        self.perform(request, parse, |proven| kms::GetRecordResponse {
            hash: proven.entry.hash.to_vec(),
            record: Some(render::record(proven.entry)),
            payload: proven.payload,
            previous_hash: proven.previous.to_vec(),
        })
        .await
    }

    async fn prove_inclusion(
        &self,
        request: Request<kms::ProveInclusionRequest>,
    ) -> Result<Response<kms::ProveInclusionResponse>, Status> {
        let parse = |asked: kms::ProveInclusionRequest| {
            Ok(ProveInclusion { sequence: asked.sequence, tree_size: size(asked.tree_size) })
        };
        self.perform(request, parse, |proof: Proof| kms::ProveInclusionResponse {
            tree_size: proof.size,
            hashes: proof.hashes.iter().map(|hash| hash.to_vec()).collect(),
        })
        .await
    }

    async fn prove_consistency(
        &self,
        request: Request<kms::ProveConsistencyRequest>,
    ) -> Result<Response<kms::ProveConsistencyResponse>, Status> {
        let parse = |asked: kms::ProveConsistencyRequest| {
            let (first_size, second_size) = (asked.first_size, size(asked.second_size));
            Ok(ProveConsistency { first_size, second_size })
        };
        self.perform(request, parse, |proof: Proof| kms::ProveConsistencyResponse {
            second_size: proof.size,
            hashes: proof.hashes.iter().map(|hash| hash.to_vec()).collect(),
        })
        .await
    }
}

impl Api {
    fn records_after(
        self,
        caller: Caller,
        after: u64,
        filter: Filter,
    ) -> impl Stream<Item = Result<kms::TailRecordsResponse, Status>> + Send {
        let pages = stream::unfold(Some(after), move |after| {
            let (api, caller, filter) = (self.clone(), caller.clone(), filter.clone());
            async move {
                match api.desk.tail_on(&caller, after?, filter).await {
                    Ok(page) => {
                        let records: Vec<_> = page.records.into_iter().map(tailed).collect();
                        Some((records, Some(page.next_after)))
                    }
                    Err(refusal) => Some((vec![Err(status(&refusal))], None)),
                }
            }
        });
        pages.flat_map(stream::iter)
    }
}

/// Which records a filter of the API asks for.
///
/// # Errors
/// In words, which field is wrong.
pub fn record_filter(asked: Option<kms::RecordFilter>) -> Result<Filter, String> {
    filter(asked).map_err(|refusal| refusal.to_string())
}

fn filter(asked: Option<kms::RecordFilter>) -> Result<Filter, Refusal> {
    let Some(asked) = asked else { return Ok(Filter::default()) };
    let time_us = |field, time: Option<prost_types::Timestamp>| match time {
        None => Ok(None),
        Some(time) => parse::time_us(field, &time).map(Some),
    };
    let key = match asked.key_id.as_str() {
        "" => None,
        text => Some(KeyId::parse(text).map_err(|error| Refusal::invalid("filter.key_id", error))?),
    };
    let version = Some(asked.version).filter(|version| *version != 0);
    if version.is_some() && key.is_none() {
        return Err(Refusal::invalid("filter.version", "is a key's: give its key_id as well"));
    }
    let outcome = match asked.outcome.as_str() {
        "" => None,
        name => Some(outcome_named(name).ok_or_else(|| {
            let problem = "must be STARTED, SUCCEEDED, REFUSED or FAILED";
            Refusal::invalid("filter.outcome", problem)
        })?),
    };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let fields = [&asked.principal, &asked.action, &asked.reason, &asked.request_id];
    if fields.iter().any(|field| field.len() > MAX_PRINCIPAL_BYTES) {
        return Err(Refusal::invalid("filter", "has a text of more than 255 bytes"));
    }
    Ok(Filter {
        start_us: time_us("filter.start_time", asked.start_time)?,
        end_us: time_us("filter.end_time", asked.end_time)?,
        principal: text(asked.principal),
        action: text(asked.action),
        key,
        version,
        outcome,
        reason: text(asked.reason),
        request_id: text(asked.request_id),
        context: parse::context(asked.encryption_context)?
            .pairs()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    })
}

fn outcome_named(name: &str) -> Option<Outcome> {
    let all = [Outcome::Started, Outcome::Succeeded, Outcome::Refused, Outcome::Failed];
    all.into_iter().find(|outcome| outcome.as_str() == name)
}

/// 0 stands for the newest checkpoint's.
fn size(asked: u64) -> Option<u64> {
    (asked != 0).then_some(asked)
}

fn tailed(entry: AuditRecord) -> Result<kms::TailRecordsResponse, Status> {
    Ok(kms::TailRecordsResponse { record: Some(render::record(entry)) })
}
