//! The service `Audit`.

use std::pin::Pin;

use bulla_proto::kms::{self, audit_server};
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status};

use super::{Api, parse, render, status, taken};
use crate::service::{AuditRecord, Caller, ReadAudit, Refusal};

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
        let asked = match request.get_ref().last {
            last @ 0..=1000 => {
                Ok(ReadAudit { after: 0, page_size: 1000, last: Some(last as usize) })
            }
            _ => Err(Refusal::invalid("last", "must be at most 1000")),
        };
        let begun = self.desk.perform(&caller, asked).await;
        let page = begun.map_err(|refusal| status(&refusal))?;
        let first = stream::iter(page.records.into_iter().map(tailed));
        let rest = self.clone().records_after(caller, page.next_after);
        Ok(Response::new(self.until_draining(first.chain(rest))))
    }
}

impl Api {
    fn records_after(
        self,
        caller: Caller,
        after: u64,
    ) -> impl Stream<Item = Result<kms::TailRecordsResponse, Status>> + Send {
        let pages = stream::unfold(Some(after), move |after| {
            let (api, caller) = (self.clone(), caller.clone());
            async move {
                match api.desk.tail_on(&caller, after?).await {
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

fn tailed(entry: AuditRecord) -> Result<kms::TailRecordsResponse, Status> {
    Ok(kms::TailRecordsResponse { record: Some(render::record(entry)) })
}
