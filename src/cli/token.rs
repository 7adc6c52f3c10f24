//! `bulla token exchange`: a token for less than its caller may, for a few minutes (RFC 8693 semantics).
//!
//! It goes into a new file that only its owner may read, or to stdout where that is asked for.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use bulla_client::kms;

use super::Session;
use super::failure::Failure;
use super::json::Json;
use super::output::write_out;
use super::output_file::Unfinished;
use super::table::record;
use super::time::{parse_span, rfc3339};

/// Tokens of the server's own.
#[derive(clap::Subcommand, Debug)]
pub enum TokenCommand {
    /// Get a token for less than you may yourself, for a short time
    Exchange {
        /// Who takes it: bulla, or a service that knows the server's keys
        #[arg(long, value_name = "TEXT", default_value = "bulla")]
        audience: String,
        /// At most these actions, such as crypto.decrypt
        #[arg(long, value_name = "ACTION", value_delimiter = ',')]
        actions: Vec<String>,
        /// At most these keys (UUID)
        #[arg(long, value_name = "KEY", value_delimiter = ',')]
        keys: Vec<String>,
        /// At most keys in these rings
        #[arg(long, value_name = "RING", value_delimiter = ',')]
        key_rings: Vec<String>,
        /// How long it is good for, such as 10m [default: 5m, at most 15m]
        #[arg(long, value_name = "SPAN", value_parser = parse_span)]
        lifetime: Option<prost_types::Duration>,
        /// Good on connections with your present certificate only
        #[arg(long)]
        bind_certificate: bool,
        /// A new file for the token, readable by its owner only; - is stdout
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Overwrite the file, to get the next token in time
        #[arg(long)]
        force: bool,
    },
}

// === impl TokenCommand ===

impl TokenCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let Self::Exchange {
            audience,
            actions,
            keys,
            key_rings,
            lifetime,
            bind_certificate,
            out,
            force,
        } = self;
        let request = kms::ExchangeTokenRequest {
            audience,
            actions,
            keys,
            key_rings,
            lifetime,
            bind_certificate,
        };
        exchange(session, request, &out, force).await
    }
}

async fn exchange(
    session: &Session,
    request: kms::ExchangeTokenRequest,
    out: &Path,
    force: bool,
) -> Result<(), Failure> {
    let to_stdout = out == Path::new("-");
    let file = (!to_stdout).then(|| Unfinished::create(out, force)).transpose()?;
    let audience = request.audience.clone();
    let answer = session.client().await?.exchange_token(request).await?;
    let line = format!("{}\n", answer.access_token);
    match file {
        Some(mut file) => {
            let written = file.write_all(line.as_bytes());
            written.map_err(|error| Failure::midway("cannot write the token", &error))?;
            file.finish()?;
        }
        None => write_out(line.as_bytes())?,
    }
    let expires = answer.expire_time.as_ref().and_then(rfc3339).unwrap_or_default();
    let place = out.display().to_string();
    let text = record(&[
        ("audience", audience.clone()),
        ("expires", expires.clone()),
        ("file", place.clone()),
    ]);
    if to_stdout {
        return session.printer.aside(&text);
    }
    let json = Json::object([
        ("audience", Json::text(audience)),
        ("expire_time", Json::text(expires)),
        ("file", Json::text(place)),
    ]);
    session.printer.answer(&json, || text)
}
