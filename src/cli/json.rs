//! Messages as JSON for programs: the mapping of ProtoJSON with the field names of the `.proto`
//! files (snake_case), bytes in base64, times in RFC 3339, spans as `90s`, enumerations by name.
//!
//! Two things differ from ProtoJSON: 64-bit integers are numbers, and a field that is at its
//! default is written too, so that a script finds the same fields every time (`null` for an absent
//! message; fields of a `oneof` and `optional` ones are left out when absent). The layout comes
//! from the descriptors that the stubs were made from, so no name is spelled twice.
//!
//! No message that can hold a secret is [`Described`]: their commands choose what to show.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_proto::kms;
use prost::Message as _;
use prost::bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, Duration, FieldDescriptorProto, FileDescriptorSet, Timestamp};
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::escape::acts_on_a_terminal;
use super::time;

/// A value whose fields keep the order of the message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    /// Absent.
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Integer(i128),
    /// A floating-point number.
    Float(f64),
    /// Text.
    Text(String),
    /// A repeated field.
    List(Vec<Json>),
    /// A message or a map.
    Object(Vec<(String, Json)>),
}

/// A message that is known by its full name in the descriptors and never holds a secret.
pub(crate) trait Described: prost::Message {
    /// Such as `bulla.kms.v1.Key`.
    const NAME: &'static str;
}

/// The bytes of a message do not fit its descriptor: the program was built wrong.
#[derive(Debug, thiserror::Error)]
#[error("a message does not fit its descriptor")]
pub(crate) struct Misfit;

macro_rules! described {
    ($($message:ident),* $(,)?) => {$(
        impl Described for kms::$message {
            const NAME: &'static str = concat!(".bulla.kms.v1.", stringify!($message));
        }
    )*};
}

described!(
    AbandonCampaignResponse,
    Alias,
    ApproveResponse,
    BindRoleResponse,
    Campaign,
    CancelDestroyResponse,
    CompromiseVersionResponse,
    CreateCampaignResponse,
    CreateGrantResponse,
    CreateKeyResponse,
    CreateServiceAccountResponse,
    CreateTenantResponse,
    DecideProblemResponse,
    DeleteAliasResponse,
    DeletePolicyResponse,
    DeleteApprovalRuleResponse,
    DeleteServiceAccountResponse,
    DisableKeyResponse,
    EnableKeyResponse,
    ExplainResponse,
    GetCampaignResponse,
    GetCensusResponse,
    GetExposureResponse,
    GetKeyResponse,
    GetLadderResponse,
    GetPolicyResponse,
    GetPolicySchemaResponse,
    GetProposalResponse,
    GetCheckpointResponse,
    GetRecordResponse,
    GetTenantResponse,
    InspectResponse,
    ListAliasesResponse,
    ListApprovalRulesResponse,
    ListCampaignsResponse,
    ListGrantsResponse,
    ListCredentialsResponse,
    ListKeysResponse,
    ListPoliciesResponse,
    ListProblemsResponse,
    ListProposalsResponse,
    ListRecordsResponse,
    ListRelationsResponse,
    ListRoleBindingsResponse,
    ListServiceAccountsResponse,
    ListStoresResponse,
    ListTenantsResponse,
    ListVersionsResponse,
    PauseCampaignResponse,
    PutPolicyResponse,
    ProposeResponse,
    PutApprovalRuleResponse,
    Record,
    RegisterStoreResponse,
    RejectResponse,
    ReportRestoreResponse,
    RestrictVersionResponse,
    ResumeCampaignResponse,
    ResumeLadderResponse,
    ResumeTenantResponse,
    ResumeVersionResponse,
    RetireCheckResponse,
    RevokeGrantResponse,
    RevokeCredentialResponse,
    RotateDueResponse,
    RotateKeyResponse,
    ScheduleDestroyResponse,
    SetAliasResponse,
    SetLadderResponse,
    SimulatePoliciesResponse,
    StatusResponse,
    SuspendTenantResponse,
    SuspendVersionResponse,
    TailRecordsResponse,
    UnbindRoleResponse,
    UnrestrictVersionResponse,
    UpdateKeyResponse,
    UpdateTenantResponse,
    WaiveUnnamedStoreResponse,
    WatchKeysResponse,
    WhoAmIResponse,
    WriteRelationsResponse,
);

/// What the message says.
pub(crate) fn of<M: Described>(message: &M) -> Result<Json, Misfit> {
    object(M::NAME, &mut message.encode_to_vec().as_slice()).ok_or(Misfit)
}

/// Bytes as they stand in JSON.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

// === impl Json ===

impl Json {
    /// An object with these fields, in this order.
    pub(crate) fn object<const N: usize>(fields: [(&str, Json); N]) -> Self {
        Self::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// The same object with one more field of text, unless that is empty.
    pub(crate) fn with(mut self, name: &str, text: &str) -> Self {
        if let Self::Object(fields) = &mut self
            && !text.is_empty()
        {
            fields.push((name.to_owned(), Self::text(text)));
        }
        self
    }

    /// Text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// Indented, for one answer; ends with a line feed.
    pub(crate) fn pretty(&self) -> String {
        self.write(Escaping(serde_json::ser::PrettyFormatter::new()))
    }

    /// On one line, for a stream of answers; ends with a line feed.
    pub(crate) fn compact(&self) -> String {
        self.write(Escaping(serde_json::ser::CompactFormatter))
    }

    fn write<F: serde_json::ser::Formatter>(&self, formatter: F) -> String {
        let mut bytes = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
        // Writing to memory cannot fail, and every key is a string.
        let _ = self.serialize(&mut serializer);
        bytes.push(b'\n');
        String::from_utf8(bytes).unwrap_or_default()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i128(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => {
                let mut list = serializer.serialize_seq(Some(values.len()))?;
                values.iter().try_for_each(|value| list.serialize_element(value))?;
                list.end()
            }
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields.iter().try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

// === impl Escaping ===

/// Writes characters that a terminal acts upon as `\u` escapes: the same JSON, and safe to look at.
struct Escaping<F>(F);

macro_rules! forward {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {$(
        fn $method<W: ?Sized + io::Write>(
            &mut self, writer: &mut W, $($argument: $type),*
        ) -> io::Result<()> {
            self.0.$method(writer, $($argument),*)
        }
    )*};
}

impl<F: serde_json::ser::Formatter> serde_json::ser::Formatter for Escaping<F> {
    forward! {
        begin_array();
        end_array();
        begin_array_value(first: bool);
        end_array_value();
        begin_object();
        end_object();
        begin_object_key(first: bool);
        end_object_key();
        begin_object_value();
        end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for character in fragment.chars() {
            if acts_on_a_terminal(character) {
                for unit in character.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            } else {
                write!(writer, "{character}")?;
            }
        }
        Ok(())
    }
}

// === reading a message by its descriptor; None is a misfit ===

struct Index {
    messages: HashMap<String, DescriptorProto>,
    enumerations: HashMap<String, HashMap<i32, String>>,
}

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index { messages: HashMap::new(), enumerations: HashMap::new() };
        let set = FileDescriptorSet::decode(bulla_proto::DESCRIPTORS).unwrap_or_default();
        for file in set.file {
            let package = format!(".{}", file.package());
            for message in file.message_type {
                index.add(&package, message);
            }
            for enumeration in file.enum_type {
                let names = enumeration.value.iter().map(|v| (v.number(), v.name().to_owned()));
                let name = format!("{package}.{}", enumeration.name());
                index.enumerations.insert(name, names.collect());
            }
        }
        index
    })
}

impl Index {
    fn add(&mut self, within: &str, message: DescriptorProto) {
        let name = format!("{within}.{}", message.name());
        for inner in &message.nested_type {
            self.add(&name, inner.clone());
        }
        self.messages.insert(name, message);
    }
}

fn object(name: &str, bytes: &mut &[u8]) -> Option<Json> {
    let descriptor = index().messages.get(name)?;
    let mut fields: Vec<(u32, String, Option<Json>)> = descriptor
        .field
        .iter()
        .map(|field| (field.number().unsigned_abs(), field.name().to_owned(), absent(field)))
        .collect();
    while bytes.has_remaining() {
        let (number, wire_type) = decode_key(bytes).ok()?;
        let known = descriptor.field.iter().find(|field| field.number().unsigned_abs() == number);
        let Some(field) = known else {
            skip_field(wire_type, number, bytes, DecodeContext::default()).ok()?;
            continue;
        };
        let (_, _, slot) = fields.iter_mut().find(|(at, _, _)| *at == number)?;
        read_field(field, wire_type, bytes, slot)?;
    }
    let present = fields.into_iter().filter_map(|(_, name, value)| Some((name, value?)));
    Some(Json::Object(present.collect()))
}

/// What stands for a field that is not in the bytes; `None` leaves the field out.
fn absent(field: &FieldDescriptorProto) -> Option<Json> {
    if field.label() == Label::Repeated {
        return Some(if is_map(field) { Json::Object(Vec::new()) } else { Json::List(Vec::new()) });
    }
    if field.oneof_index.is_some() {
        return None;
    }
    Some(match field.r#type() {
        Type::Message | Type::Group => Json::Null,
        Type::Bool => Json::Bool(false),
        Type::String | Type::Bytes => Json::text(""),
        Type::Float | Type::Double => Json::Float(0.0),
        Type::Enum => enumeration(field.type_name(), 0),
        _ => Json::Integer(0),
    })
}

fn read_field(
    field: &FieldDescriptorProto,
    wire_type: WireType,
    bytes: &mut &[u8],
    slot: &mut Option<Json>,
) -> Option<()> {
    let packed = wire_type == WireType::LengthDelimited
        && !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message);
    if packed {
        let mut inner = delimited(bytes)?;
        while inner.has_remaining() {
            place(field, value(field, &mut inner)?, slot)?;
        }
        return Some(());
    }
    place(field, value(field, bytes)?, slot)
}

fn place(field: &FieldDescriptorProto, value: Json, slot: &mut Option<Json>) -> Option<()> {
    match slot {
        Some(Json::List(values)) if field.label() == Label::Repeated => values.push(value),
        Some(Json::Object(pairs)) if field.label() == Label::Repeated => {
            let Json::Object(entry) = value else { return None };
            let mut entry = entry.into_iter().map(|(_, value)| value);
            let Json::Text(key) = entry.next()? else { return None };
            pairs.push((key, entry.next()?));
        }
        _ => *slot = Some(value),
    }
    Some(())
}

fn value(field: &FieldDescriptorProto, bytes: &mut &[u8]) -> Option<Json> {
    Some(match field.r#type() {
        Type::String => Json::text(std::str::from_utf8(delimited(bytes)?).ok()?),
        Type::Bytes => Json::text(base64(delimited(bytes)?)),
        Type::Message => message(field.type_name(), &mut delimited(bytes)?)?,
        Type::Bool => Json::Bool(decode_varint(bytes).ok()? != 0),
        Type::Uint32 | Type::Uint64 => Json::Integer(decode_varint(bytes).ok()?.into()),
        Type::Int32 | Type::Int64 => Json::Integer(decode_varint(bytes).ok()?.cast_signed().into()),
        Type::Enum => {
            enumeration(field.type_name(), i32::try_from(decode_varint(bytes).ok()?).ok()?)
        }
        Type::Double => Json::Float(bytes.try_get_f64_le().ok()?),
        Type::Float => Json::Float(bytes.try_get_f32_le().ok()?.into()),
        // No message of ours has the other types; the test of all messages would find the first.
        _ => return None,
    })
}

fn message(name: &str, bytes: &mut &[u8]) -> Option<Json> {
    Some(match name {
        ".google.protobuf.Timestamp" => {
            let time = Timestamp::decode(bytes).ok()?;
            time::rfc3339(&time).map_or(Json::Null, Json::Text)
        }
        ".google.protobuf.Duration" => Json::Text(Duration::decode(bytes).ok()?.to_string()),
        _ => object(name, bytes)?,
    })
}

fn enumeration(name: &str, number: i32) -> Json {
    let known = index().enumerations.get(name).and_then(|names| names.get(&number));
    known.map_or_else(|| Json::Integer(number.into()), Json::text)
}

fn delimited<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    let (inside, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(inside)
}

fn is_map(field: &FieldDescriptorProto) -> bool {
    index_entry(field).is_some_and(|entry| entry.options.as_ref().is_some_and(|o| o.map_entry()))
}

fn index_entry(field: &FieldDescriptorProto) -> Option<&'static DescriptorProto> {
    index().messages.get(field.type_name())
}

#[cfg(test)]
mod tests;
