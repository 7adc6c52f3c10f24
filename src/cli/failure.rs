//! What goes wrong, said to a person: what happened, what to do next, and an exit code that a
//! script can tell apart (the numbers of sysexits.h).
//!
//! Never shows text from elsewhere unescaped, and never a secret: a failure is made of names, paths
//! and the server's own message.

use std::fmt;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use bulla_client::{Code, Kind};

use super::escape::visible;
use super::json::Misfit;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    what: String,
    hint: Option<String>,
}

/// The exit codes of the program besides 0.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// The question was answered, and the answer is not SAFE, or not the expected one.
    NotSafe = 1,
    /// The command line, or a field of the request, is wrong.
    Usage = 64,
    /// The input is damaged, or was made for another key or encryption context.
    Data = 65,
    /// An input file is missing or cannot be read.
    NoInput = 66,
    /// The server cannot be reached, or the key's state does not allow this.
    Unavailable = 69,
    /// A fault of the program, here or at the server.
    Internal = 70,
    /// The output exists already, or cannot be made.
    CannotCreate = 73,
    /// Reading or writing failed midway.
    InputOutput = 74,
    /// Nothing was changed; trying again later may work.
    Temporary = 75,
    /// Not authenticated, or not allowed.
    Permission = 77,
    /// The connection is not configured, or wrongly.
    Configuration = 78,
    /// Interrupted by a person.
    Interrupted = 130,
}

/// What `--help` says about exit codes.
pub const EXIT_CODES: &str = "\
Exit codes:
   0  done
   1  the version is not SAFE to let go (bulla key retire-check), or a case of bulla policy test
      is not as expected
  64  the command line, or a field of the request, is wrong
  65  the input is damaged, or was made for another key or encryption context
  66  an input file is missing or cannot be read
  69  the server cannot be reached, or the key's state does not allow this
  70  a fault of the program, here or at the server
  73  the output exists already, or cannot be made
  74  reading or writing failed midway
  75  nothing was changed; trying again later may work
  77  not authenticated, or not allowed
  78  the connection is not configured, or wrongly
 130  interrupted";

// === impl Failure ===

impl Failure {
    /// A failure without a hint. `what` is lowercase without a full stop.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says in front what was being done.
    #[must_use]
    pub(crate) fn during(mut self, doing: &str) -> Self {
        self.what = format!("{doing}: {}", self.what);
        self
    }

    /// Adds where more is said.
    #[must_use]
    pub(crate) fn see_also(mut self, log: &Path) -> Self {
        let more = format!("the log is {}", log.display());
        self.hint = Some(match self.hint {
            None => more,
            Some(hint) => format!("{hint}; {more}"),
        });
        self
    }

    /// An input file that cannot be used.
    pub(crate) fn input(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::NoInput, format!("cannot read {}: {}", path.display(), plain(error)))
    }

    /// An output file that cannot be made.
    pub(crate) fn output(path: &Path, error: &io::Error) -> Self {
        Self::new(Exit::CannotCreate, format!("cannot make {}: {}", path.display(), plain(error)))
    }

    /// Reading or writing that failed midway.
    pub(crate) fn midway(what: &str, error: &io::Error) -> Self {
        Self::new(Exit::InputOutput, format!("{what}: {}", plain(error)))
    }

    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", visible(&self.what))?;
        match &self.hint {
            None => Ok(()),
            Some(hint) => write!(formatter, "\nhint: {}", visible(hint)),
        }
    }
}

impl From<bulla_client::Error> for Failure {
    fn from(error: bulla_client::Error) -> Self {
        let (exit, hint) = match error.kind() {
            Kind::Config => (Exit::Configuration, CONNECTION_HINT),
            Kind::Unreachable => (
                Exit::Unavailable,
                "is the server running, and are --server and --ca the right ones?",
            ),
            Kind::Deadline => (Exit::Temporary, LOOK_FIRST),
            _ => meaning(error.reason(), error.code()),
        };
        let failure = Self::new(exit, error.to_string());
        if hint.is_empty() { failure } else { failure.hint(hint) }
    }
}

impl From<Misfit> for Failure {
    fn from(error: Misfit) -> Self {
        Self::new(Exit::Internal, error.to_string())
    }
}

// === impl Exit ===

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// A reason that a server gives, the exit code, and what to do about it; empty where the message itself
/// names the field and what it must be.
pub type Meaning = (&'static str, Exit, &'static str);

/// Every reason that a server gives: one table for all commands.
#[rustfmt::skip]
pub const MEANINGS: &[Meaning] = &[
    ("UNAUTHENTICATED", Exit::Permission,
     "the server does not know your certificate, token or credential; check --certificate and \
      --key-file, or --token-file"),
    ("PERMISSION_DENIED", Exit::Permission,
     "either it does not exist or you may not use it (the answer is the same); `bulla whoami` shows \
      your roles"),
    ("INVALID_ARGUMENT", Exit::Usage, ""),
    ("CONTEXT_TOO_LARGE", Exit::Usage, ""),
    ("TOO_LARGE", Exit::Usage, ""),
    ("RATE_LIMITED", Exit::Temporary, "wait as long as it says, or ask for a higher limit"),
    ("QUOTA_EXCEEDED", Exit::Unavailable,
     "`bulla tenant show TENANT` shows what is used of each limit to whoever manages tenants"),
    ("INVALID_CIPHERTEXT", Exit::Data,
     "give the same --encryption-context as when it was made; the audit record of this call has the \
      cause"),
    ("KEY_DISABLED", Exit::Unavailable, "a key manager can enable it: bulla key enable KEY"),
    ("VERSION_NOT_USABLE", Exit::Unavailable,
     "`bulla key versions KEY` shows the state of each version"),
    ("RETIRE_NOT_SAFE", Exit::Unavailable,
     "`bulla key retire-check KEY VERSION` says what speaks against it and what is missing"),
    ("CAMPAIGN_STATE", Exit::Unavailable,
     "`bulla campaign show CAMPAIGN_ID` says where it stands and why"),
    ("APPROVAL_REQUIRED", Exit::Unavailable,
     "`bulla proposal create --reason WHY -- COMMAND` asks the others; repeat the command with --approval ID then"),
    ("PROPOSAL_STATE", Exit::Unavailable,
     "`bulla proposal show ID` says where it stands and who has voted"),
    ("SEPARATION_OF_DUTIES", Exit::Unavailable,
     "`bulla explain PRINCIPAL ACTION` shows the roles that it holds, and its groups"),
    ("STALE_REPLICA", Exit::Temporary, NOTHING_DONE),
    ("ALREADY_EXISTS", Exit::CannotCreate, "choose another name, or use what is there"),
    ("CONFLICT", Exit::Temporary, "somebody else changed it at the same time; try again"),
    ("STORE_UNAVAILABLE", Exit::Temporary, NOTHING_DONE),
    ("AUDIT_UNAVAILABLE", Exit::Temporary, NOTHING_DONE),
    ("DRAINING", Exit::Temporary, NOTHING_DONE),
    ("DEADLINE_EXCEEDED", Exit::Temporary, LOOK_FIRST),
    ("UNKNOWN_METHOD", Exit::Unavailable,
     "the server is older than this program; `bulla status` shows its version"),
    ("INTERNAL", Exit::Internal, "the server's log has the id"),
];

const NOTHING_DONE: &str = "nothing was done; try again in a moment";
const LOOK_FIRST: &str = "a change may have been made or not; look before you repeat it";

/// The exit code of a refusal's reason, and what to do about it.
fn meaning(reason: &str, code: Code) -> (Exit, &'static str) {
    let known = MEANINGS.iter().find(|(name, ..)| *name == reason);
    // A server that gives no reason, or one newer than this program.
    known.map_or_else(|| (by_code(code), ""), |(_, exit, hint)| (*exit, *hint))
}

fn by_code(code: Code) -> Exit {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::DataLoss => Exit::Data,
        Code::Unauthenticated | Code::PermissionDenied | Code::NotFound => Exit::Permission,
        Code::AlreadyExists => Exit::CannotCreate,
        Code::Aborted | Code::ResourceExhausted | Code::DeadlineExceeded | Code::Cancelled => {
            Exit::Temporary
        }
        Code::Internal | Code::Unknown => Exit::Internal,
        Code::Ok | Code::FailedPrecondition | Code::Unimplemented | Code::Unavailable => {
            Exit::Unavailable
        }
    }
}

/// What to do when the connection is not configured.
pub(crate) const CONNECTION_HINT: &str =
    "see `bulla help` under Connection: flags, environment variables or a profile file";

/// The error's text without `(os error 2)`.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_exit_code() {
        for (reason, exit) in [
            ("PERMISSION_DENIED", 77),
            ("UNAUTHENTICATED", 77),
            ("INVALID_ARGUMENT", 64),
            ("CONTEXT_TOO_LARGE", 64),
            ("INVALID_CIPHERTEXT", 65),
            ("KEY_DISABLED", 69),
            ("VERSION_NOT_USABLE", 69),
            ("RETIRE_NOT_SAFE", 69),
            ("CAMPAIGN_STATE", 69),
            ("UNKNOWN_METHOD", 69),
            ("DEADLINE_EXCEEDED", 75),
            ("ALREADY_EXISTS", 73),
            ("CONFLICT", 75),
            ("TOO_LARGE", 64),
            ("QUOTA_EXCEEDED", 69),
            ("AUDIT_UNAVAILABLE", 75),
            ("STORE_UNAVAILABLE", 75),
            ("DRAINING", 75),
            ("INTERNAL", 70),
        ] {
            assert_eq!(meaning(reason, Code::Unknown).0 as u8, exit, "{reason}");
        }
        let newer = meaning("SOMETHING_NEW", Code::ResourceExhausted);
        assert_eq!(newer, (Exit::Temporary, ""), "a newer server's reason goes by its code");
    }

    #[test]
    fn h05_a_message_cannot_forge_a_line_of_its_own() {
        let failure = Failure::new(Exit::Data, "a\u{1b}[31m\nhint: run this").hint("b\u{202e}");
        assert_eq!(failure.to_string(), "error: a\\u{001b}[31m\\nhint: run this\nhint: b\\u{202e}");
    }

    #[test]
    fn help_names_every_exit_code() {
        for exit in [
            Exit::NotSafe,
            Exit::Usage,
            Exit::Data,
            Exit::NoInput,
            Exit::Unavailable,
            Exit::Internal,
            Exit::CannotCreate,
            Exit::InputOutput,
            Exit::Temporary,
            Exit::Permission,
            Exit::Configuration,
            Exit::Interrupted,
        ] {
            assert!(EXIT_CODES.contains(&format!("\n{:>4}  ", exit as u8)), "{exit:?}");
        }
    }
}
