//! What can go wrong with a call: one type for every method, made for a person to read and for a
//! program to match. Never holds a key, a plaintext or a file's content.

use std::error;
use std::fmt;
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::config::ConfigError;
use crate::connect::ConnectFailure;

/// Why a call failed, or why a [`Client`](crate::Client) could not be made.
///
/// `Display` is one line for a person. Programs match [`Error::kind`], then [`Error::reason`].
#[derive(Clone, Debug)]
pub struct Error(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    code: Code,
    reason: String,
    message: String,
    violations: Vec<FieldViolation>,
    retry_after: Option<Duration>,
}

/// Who found the fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// The client's own configuration: a file, an address, a setting. Nothing was sent.
    Config,
    /// There was no connection, or it broke. A change may or may not have happened.
    Unreachable,
    /// The deadline passed first. A change may or may not have happened.
    Deadline,
    /// The server answered, and refused or failed. [`Error::reason`] says why.
    Refused,
    /// The server answered with what no Bulla server says.
    Protocol,
    /// Nothing was changed, because this client proposes and does not make changes.
    Proposed,
}

/// One field of the request that the server did not accept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldViolation {
    /// The field's name in the request message, such as `encryption_context`.
    pub field: String,
    /// What is wrong with it.
    pub description: String,
}

// === impl Error ===

impl Error {
    /// Who found the fault.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The stable reason of the server's `google.rpc.ErrorInfo` (domain `bulla`), such as
    /// `KEY_DISABLED`. Empty when the server did not answer, or gave none.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The gRPC code. `InvalidArgument` for [`Kind::Config`], `Unavailable` for
    /// [`Kind::Unreachable`], `DeadlineExceeded` for [`Kind::Deadline`], `Internal` for
    /// [`Kind::Protocol`], `FailedPrecondition` for [`Kind::Proposed`].
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What happened, as the server or this client puts it. Text of a server may hold control
    /// characters; `Display` escapes them.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The fields that the server did not accept (`google.rpc.BadRequest`).
    pub fn field_violations(&self) -> &[FieldViolation] {
        &self.0.violations
    }

    /// How long the server asks to wait before the next try (`google.rpc.RetryInfo`).
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the same call may succeed later without anything being changed. The client has
    /// then already retried as far as its deadline and its retry budget went.
    pub fn is_retryable(&self) -> bool {
        match self.0.kind {
            Kind::Config | Kind::Protocol | Kind::Proposed => false,
            Kind::Unreachable | Kind::Deadline => true,
            Kind::Refused => {
                self.0.retry_after.is_some()
                    || matches!(self.0.code, Code::Unavailable | Code::Aborted)
            }
        }
    }

    /// Whether the client itself may send the call again: the fault passes by itself, and the
    /// server did no more than half of a repeatable call.
    pub(crate) fn is_worth_repeating(&self) -> bool {
        match self.0.kind {
            Kind::Config | Kind::Deadline | Kind::Protocol | Kind::Proposed => false,
            Kind::Unreachable => true,
            Kind::Refused => matches!(self.0.code, Code::Unavailable | Code::Aborted),
        }
    }

    pub(crate) fn deadline(waited: Duration, last: Option<Self>) -> Self {
        let message = match last {
            Some(last) => format!("no answer within {waited:?}; the last try ended with: {last}"),
            None => format!("no answer within {waited:?}"),
        };
        Self::local(Kind::Deadline, Code::DeadlineExceeded, message)
    }

    pub(crate) fn unreachable(message: String) -> Self {
        Self::local(Kind::Unreachable, Code::Unavailable, message)
    }

    pub(crate) fn protocol(message: String) -> Self {
        Self::local(Kind::Protocol, Code::Internal, message)
    }

    pub(crate) fn config(message: String) -> Self {
        Self::local(Kind::Config, Code::InvalidArgument, message)
    }

    pub(crate) fn proposed(message: String) -> Self {
        Self::local(Kind::Proposed, Code::FailedPrecondition, message)
    }

    fn local(kind: Kind, code: Code, message: String) -> Self {
        Self(Arc::new(Inner {
            kind,
            code,
            reason: String::new(),
            message,
            violations: Vec::new(),
            retry_after: None,
        }))
    }

    /// Reads the failure of a connection, from its first cause that says something.
    pub(crate) fn from_transport(error: &(dyn error::Error + 'static), server: &str) -> Self {
        let mut lowest = error.to_string();
        for cause in causes(error) {
            if let Some(failure) = cause.downcast_ref::<ConnectFailure>() {
                return failure.clone().into();
            }
            lowest = cause.to_string();
            if let Some(failure) = ConnectFailure::in_stream(server, &lowest) {
                return failure.into();
            }
        }
        Self::unreachable(format!("the connection to {server} broke: {lowest}"))
    }

    /// Reads the failure of one try. A status with a source was made on this side of the wire.
    pub(crate) fn from_status(status: &Status, server: &str, timeout: Duration) -> Self {
        match error::Error::source(status) {
            Some(_) if timed_out(status) => Self::deadline(timeout, None),
            Some(_) => Self::from_transport(status, server),
            None => from_server(status),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        if inner.message.is_empty() {
            write!(formatter, "{}", inner.code.description().to_lowercase())?;
        } else {
            write!(formatter, "{}", Printable(&inner.message))?;
        }
        if !inner.reason.is_empty() {
            write!(formatter, " ({})", Printable(&inner.reason))?;
        }
        for violation in &inner.violations {
            let FieldViolation { field, description } = violation;
            write!(formatter, "; {}: {}", Printable(field), Printable(description))?;
        }
        match inner.retry_after {
            Some(wait) if !wait.is_zero() => write!(formatter, "; try again in {wait:?}"),
            _ => Ok(()),
        }
    }
}

impl error::Error for Error {}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::local(Kind::Config, Code::InvalidArgument, error.to_string())
    }
}

impl From<ConnectFailure> for Error {
    fn from(failure: ConnectFailure) -> Self {
        Self::unreachable(failure.to_string())
    }
}

fn from_server(status: &Status) -> Error {
    let details = status.get_error_details();
    let reason = match details.error_info() {
        Some(info) if info.domain == DOMAIN => info.reason.clone(),
        _ => String::new(),
    };
    let violations = details
        .bad_request()
        .into_iter()
        .flat_map(|bad| &bad.field_violations)
        .map(|violation| FieldViolation {
            field: violation.field.clone(),
            description: violation.description.clone(),
        })
        .collect();
    Error(Arc::new(Inner {
        kind: Kind::Refused,
        code: status.code(),
        reason,
        message: status.message().to_owned(),
        violations,
        retry_after: details.retry_info().and_then(|info| info.retry_delay),
    }))
}

fn timed_out(status: &Status) -> bool {
    causes(status).any(|cause| cause.is::<tonic::TimeoutExpired>())
}

fn causes<'a>(
    error: &'a (dyn error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn error::Error + 'static)> {
    iter::successors(Some(error), |error| error.source())
}

/// Text from the other side, with control characters escaped so that it cannot drive a terminal.
struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;

        for character in self.0.chars() {
            if character.is_control() || is_direction_mark(character) {
                write!(formatter, "{}", character.escape_unicode())?;
            } else {
                formatter.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Marks that reorder the text around them (Unicode UAX #9).
fn is_direction_mark(character: char) -> bool {
    matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The `ErrorInfo` domain of every reason that Bulla gives.
const DOMAIN: &str = "bulla";
