//! A sink that speaks OTLP: log records in protobuf over HTTP (OTLP 1.x, `/v1/logs`). A record's body is
//! its line of JSON, and what one looks for stands in attributes as well. Has a record when the collector
//! has answered so.

use http::StatusCode;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::error::PlaceError;
use super::follow::Receive;
use super::http::{Answer, Http};
use super::line::line;
use crate::audit::Outcome;
use crate::trail::Entry;

/// The collector.
pub(super) struct Otlp {
    http: Http,
    /// The log's name.
    instance: String,
}

// === impl Otlp ===

impl Otlp {
    pub(super) fn new(http: Http, instance: String) -> Self {
        Self { http, instance }
    }

    fn request(&self, entries: &[Entry]) -> ExportLogsServiceRequest {
        let resource = Resource {
            attributes: vec![
                attribute("service.name", text("bulla")),
                attribute("service.version", text(env!("CARGO_PKG_VERSION"))),
                attribute("service.instance.id", text(&self.instance)),
            ],
            ..Resource::default()
        };
        let scope = InstrumentationScope { name: "bulla.audit".to_owned(), ..Default::default() };
        let scope_logs = ScopeLogs {
            scope: Some(scope),
            log_records: entries.iter().map(log_record).collect(),
            ..ScopeLogs::default()
        };
        let resource_logs = ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        };
        ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
    }
}

impl Receive for Otlp {
    fn is_ready(&self) -> bool {
        self.http.is_connected()
    }

    async fn make_ready(&mut self) -> Result<(), PlaceError> {
        self.http.connect().await
    }

    async fn lost(&mut self) {
        self.http.ended().await;
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<(), PlaceError> {
        let body = self.request(entries).encode_to_vec();
        let Answer { status, body } = self.http.post("application/x-protobuf", body).await?;
        match status {
            StatusCode::OK => {
                let said = ExportLogsServiceResponse::decode(body);
                let partial = said.map_err(|_| PlaceError::Answer)?.partial_success;
                let rejected = partial.map_or(0, |partial| partial.rejected_log_records);
                match u64::try_from(rejected).unwrap_or(0) {
                    0 => Ok(()),
                    rejected => Err(PlaceError::Rejects(rejected)),
                }
            }
            // The one answer of which the specification says that it will be the same again.
            StatusCode::BAD_REQUEST => Err(PlaceError::Rejects(entries.len() as u64)),
            other => Err(PlaceError::Status(other)),
        }
    }

    fn give_up(&mut self) {
        self.http.give_up();
    }
}

fn log_record(entry: &Entry) -> LogRecord {
    let record = &entry.record;
    let severity = match record.outcome {
        Outcome::Started | Outcome::Succeeded => SeverityNumber::Info,
        Outcome::Refused => SeverityNumber::Warn,
        Outcome::Failed => SeverityNumber::Error,
    };
    let sequence = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
    let mut attributes = vec![
        attribute("bulla.audit.id", text(&hex::encode(record.id))),
        attribute("bulla.audit.sequence", any_value::Value::IntValue(sequence)),
        attribute("bulla.audit.action", text(&record.action)),
        attribute("bulla.audit.outcome", text(record.outcome.as_str())),
        attribute("bulla.audit.principal", text(&record.principal)),
    ];
    let ids = [
        ("bulla.audit.tenant_id", record.tenant.map(|id| id.to_string())),
        ("bulla.audit.key_id", record.key.map(|id| id.to_string())),
    ];
    attributes.extend(ids.into_iter().filter_map(|(key, id)| Some(attribute(key, text(&id?)))));
    let nanos = u64::try_from(record.time_us).unwrap_or(0).saturating_mul(1_000);
    LogRecord {
        time_unix_nano: nanos,
        observed_time_unix_nano: nanos,
        severity_number: severity.into(),
        severity_text: severity.as_str_name().trim_start_matches("SEVERITY_NUMBER_").to_owned(),
        body: Some(AnyValue { value: Some(text(&line(entry, usize::MAX))) }),
        attributes,
        event_name: "bulla.audit.record".to_owned(),
        ..LogRecord::default()
    }
}

fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}

fn text(text: &str) -> any_value::Value {
    any_value::Value::StringValue(text.to_owned())
}
