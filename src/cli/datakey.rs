//! `bulla datakey`: data keys, made and opened one at a time.
//!
//! The key in the clear goes where the person says and nowhere else: into a new file that only its
//! owner may read, or to stdout. It is never an argument and never in the environment. The copies
//! that rendering makes are wiped by the program's allocator as they are freed.

use std::path::{Path, PathBuf};

use bulla_client::kms;
use zeroize::Zeroizing;

use super::Session;
use super::arguments::{ContextArguments, blob};
use super::failure::Failure;
use super::json::{self, Json};
use super::output::Printer;
use super::output_file::Unfinished;
use super::store::StoreArgument;
use super::table::{record, unless_zero};

/// Data keys.
#[derive(clap::Subcommand, Debug)]
pub enum DatakeyCommand {
    /// Make a data key; keep its ciphertext beside what you encrypt with it
    Generate(Generate),
    /// Open the ciphertext of a data key
    Decrypt(Decrypt),
}

/// What to make.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("plaintext").required(true)))]
pub struct Generate {
    /// UUID or alias of the key to wrap it with
    key: String,
    #[command(flatten)]
    context: ContextArguments,
    /// Length of the data key in bytes, 16 to 64
    #[arg(long, value_name = "N", default_value_t = 32)]
    #[arg(value_parser = clap::value_parser!(u32).range(16..=64))]
    key_bytes: u32,
    #[command(flatten)]
    store: StoreArgument,
    /// Write the plaintext, in base64, to this new file that only you may read
    #[arg(long, value_name = "FILE", group = "plaintext")]
    out: Option<PathBuf>,
    /// Write the plaintext, in base64, to stdout
    #[arg(long, group = "plaintext")]
    plaintext_to_stdout: bool,
    /// Ask for the ciphertext alone: the plaintext never leaves the server
    #[arg(long, group = "plaintext")]
    without_plaintext: bool,
}

/// What to open.
#[derive(clap::Args, Debug)]
#[command(group(clap::ArgGroup::new("plaintext").required(true)))]
pub struct Decrypt {
    /// The ciphertext in base64, or @FILE
    #[arg(value_name = "BLOB")]
    ciphertext: String,
    #[command(flatten)]
    context: ContextArguments,
    /// Refuse the ciphertext if it is of any other key (UUID or alias)
    #[arg(long)]
    key: Option<String>,
    /// Write the plaintext, in base64, to this new file that only you may read
    #[arg(long, value_name = "FILE", group = "plaintext")]
    out: Option<PathBuf>,
    /// Write the plaintext, in base64, to stdout
    #[arg(long, group = "plaintext")]
    plaintext_to_stdout: bool,
}

/// The fields of an answer, with the plaintext kept apart.
struct Answer {
    plaintext: Option<Zeroizing<Vec<u8>>>,
    fields: Vec<(&'static str, Json)>,
}

// === impl DatakeyCommand ===

impl DatakeyCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Generate(generate) => generate.run(session).await,
            Self::Decrypt(decrypt) => decrypt.run(session).await,
        }
    }
}

// === impl Generate ===

impl Generate {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let file = self.out.as_deref().map(|path| Unfinished::create(path, false)).transpose()?;
        let answer = if self.without_plaintext {
            self.without_plaintext(session).await?
        } else {
            self.with_plaintext(session).await?
        };
        answer.deliver(&session.printer, file, self.out.as_deref())
    }

    async fn with_plaintext(&self, session: &Session) -> Result<Answer, Failure> {
        let client = session.client().await?;
        let request = kms::GenerateDataKeyRequest {
            key: self.key.clone(),
            encryption_context: self.context.pairs()?,
            key_bytes: self.key_bytes,
            store: self.store.number(&client).await?,
        };
        let mut made = client.generate_data_key(request).await?;
        let plaintext = Zeroizing::new(std::mem::take(&mut made.plaintext));
        let fields = wrapped(&made.ciphertext, made.key_id, made.version);
        Ok(Answer { plaintext: Some(plaintext), fields })
    }

    async fn without_plaintext(&self, session: &Session) -> Result<Answer, Failure> {
        let client = session.client().await?;
        let request = kms::GenerateDataKeyWithoutPlaintextRequest {
            key: self.key.clone(),
            encryption_context: self.context.pairs()?,
            key_bytes: self.key_bytes,
            store: self.store.number(&client).await?,
        };
        let made = client.generate_data_key_without_plaintext(request).await?;
        let fields = wrapped(&made.ciphertext, made.key_id, made.version);
        Ok(Answer { plaintext: None, fields })
    }
}

// === impl Decrypt ===

impl Decrypt {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::DecryptRequest {
            ciphertext: blob(&self.ciphertext)?,
            encryption_context: self.context.pairs()?,
            key: self.key.unwrap_or_default(),
        };
        let file = self.out.as_deref().map(|path| Unfinished::create(path, false)).transpose()?;
        let mut opened = session.client().await?.decrypt(request).await?;
        let answer = Answer {
            plaintext: Some(Zeroizing::new(std::mem::take(&mut opened.plaintext))),
            fields: vec![
                ("key_id", Json::text(opened.key_id)),
                ("version", Json::Integer(opened.version.into())),
                ("store", Json::Integer(opened.store.into())),
            ],
        };
        answer.deliver(&session.printer, file, self.out.as_deref())
    }
}

// === impl Answer ===

impl Answer {
    /// Writes the plaintext to `file` if there is one, else to stdout; the rest to stdout.
    fn deliver(
        self,
        printer: &Printer,
        file: Option<Unfinished>,
        path: Option<&Path>,
    ) -> Result<(), Failure> {
        let plaintext = self.plaintext.map(|bytes| Zeroizing::new(json::base64(&bytes)));
        match (plaintext, file, path) {
            (Some(plaintext), Some(mut file), Some(path)) => {
                write_line(&mut file, &plaintext, path)?;
                file.finish()?;
                let mut fields = self.fields;
                fields.push(("plaintext_file", Json::text(path.display().to_string())));
                show(printer, fields)
            }
            (Some(plaintext), _, _) => {
                let mut fields = self.fields;
                fields.insert(0, ("plaintext", Json::text(plaintext.as_str())));
                show(printer, fields)
            }
            (None, _, _) => show(printer, self.fields),
        }
    }
}

fn wrapped(ciphertext: &[u8], key_id: String, version: u32) -> Vec<(&'static str, Json)> {
    vec![
        ("ciphertext", Json::text(json::base64(ciphertext))),
        ("key_id", Json::text(key_id)),
        ("version", Json::Integer(version.into())),
    ]
}

fn write_line(file: &mut Unfinished, line: &str, path: &Path) -> Result<(), Failure> {
    use std::io::Write as _;

    let written = file.write_all(line.as_bytes()).and_then(|()| file.write_all(b"\n"));
    written.map_err(|error| Failure::midway(&format!("cannot write {}", path.display()), &error))
}

fn show(printer: &Printer, fields: Vec<(&'static str, Json)>) -> Result<(), Failure> {
    let shown: Vec<_> = fields.iter().map(|(name, value)| (*name, cell(name, value))).collect();
    let named = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    printer.answer(&Json::Object(named.collect()), || record(&shown))
}

fn cell(name: &str, value: &Json) -> String {
    match value {
        Json::Text(text) => text.clone(),
        Json::Integer(number) if name == "store" => {
            unless_zero(u64::try_from(*number).unwrap_or(u64::MAX))
        }
        Json::Integer(number) => number.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::{Args as _, FromArgMatches as _};

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Generate, clap::Error> {
        let command = Generate::augment_args(clap::Command::new("generate"));
        let matches = command.try_get_matches_from(arguments)?;
        Generate::from_arg_matches(&matches)
    }

    #[test]
    fn b09_where_the_plaintext_goes_must_be_said() {
        assert!(parse(&["generate", "demo"]).is_err());
        assert!(parse(&["generate", "demo", "--out", "f", "--plaintext-to-stdout"]).is_err());
        assert!(parse(&["generate", "demo", "--out", "f"]).is_ok());
        assert!(parse(&["generate", "demo", "--without-plaintext"]).unwrap().without_plaintext);
    }

    #[test]
    fn a_data_key_is_16_to_64_bytes() {
        for (bytes, lawful) in [("15", false), ("16", true), ("64", true), ("65", false)] {
            let parsed = parse(&["generate", "demo", "--without-plaintext", "--key-bytes", bytes]);
            assert_eq!(parsed.is_ok(), lawful, "{bytes}");
        }
    }
}
