//! `bulla quickstart`: from nothing to a finished rotation on a real table, on this machine alone.
//!
//! Uses the program as anybody else would: it writes a configuration, starts `bulla init` and
//! `bulla serve` as children, and talks to the server through the client. Everything it makes is in
//! one folder, which is new or empty before. Never reachable from elsewhere, never left
//! half-running.

mod callers;
mod certificates;
mod folder;
mod proof;
mod server;
mod table;
mod tour;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use super::json::Json;
use super::output::{Format, Printer, note, write_out};
use super::seal::interrupted;
use folder::Folder;
use server::Server;
use tour::{Narrator, Outcome};

/// Where the quickstart happens, and how it ends.
#[derive(clap::Args, Debug)]
pub struct QuickstartArguments {
    /// The folder to make; new or empty
    #[arg(long, value_name = "DIR", default_value = "quickstart-demo")]
    dir: PathBuf,
    /// Stop the server at the end, and end with 0 only if all went well
    #[arg(long)]
    once: bool,
    /// Where the server listens [default: 127.0.0.1:8443, or another port if that is taken]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
}

/// The whole quickstart.
pub(crate) fn run(arguments: QuickstartArguments, printer: &Printer) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::midway("cannot start", &error))?;
    let voice = Voice { format: printer.format() };
    let (listen, moved) = server::choose_address(arguments.listen)?;
    let folder = Folder::create(&arguments.dir, listen)?;
    voice.say(&format!("folder     {}", folder.path().display()))?;
    let logged = |failure: Failure| failure.see_also(&folder.log_file());
    let bindings = server::initialise(&folder).map_err(logged)?;
    voice.say(&format!(
        "init       a root key, a SQLite store, two tenants, {bindings} role bindings"
    ))?;
    let mut server = Server::start(&folder).map_err(logged)?;
    let work = async {
        let waited = server.ready(&folder).await?;
        let elsewhere = if moved { " (port 8443 is taken)" } else { "" };
        let pid = server.pid();
        folder.write("server.pid", &format!("{pid}\n"))?;
        voice
            .say(&format!("serve      {listen}{elsewhere}, pid {pid}, ready after {waited:.2?}"))?;
        tour::run(&folder, &voice).await
    };
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => done,
            () = interrupted() => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
    });
    // With the runtime its connections close, so that the server has nobody left to wait for.
    drop(runtime);
    // On failure the server is dropped here, and with that stopped.
    let outcome = done.map_err(logged)?;
    let pid = server.pid();
    if arguments.once {
        let took = server.stop().map_err(logged)?;
        voice.say(&format!("stop       the server ended with 0 after {took:.2?}"))?;
    } else {
        server.leave();
        voice.say(&next_steps(&folder, pid))?;
    }
    voice.conclude(&folder, pid, &outcome, !arguments.once)
}

/// Lines on stdout for a person; on stderr when stdout is for a program.
struct Voice {
    format: Format,
}

// === impl Voice ===

impl Narrator for Voice {
    fn say(&self, line: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => write_out(format!("{line}\n").as_bytes()),
            Format::Json => {
                line.lines().for_each(note);
                Ok(())
            }
        }
    }
}

impl Voice {
    /// For a program, what came out, in one object.
    fn conclude(
        &self,
        folder: &Folder,
        pid: u32,
        outcome: &Outcome,
        running: bool,
    ) -> Result<(), Failure> {
        if self.format == Format::Table {
            return Ok(());
        }
        let count = |n: usize| Json::Integer(i128::try_from(n).unwrap_or(i128::MAX));
        let json = Json::object([
            ("dir", Json::text(folder.path().display().to_string())),
            ("server", Json::text(folder.server())),
            ("pid", Json::Integer(pid.into())),
            ("running", Json::Bool(running)),
            ("key_id", Json::text(&outcome.key_id)),
            ("rows", count(outcome.rows)),
            ("moved", count(outcome.moved)),
            ("sealed_sha256", Json::text(&outcome.sealed_sha256)),
            ("audit_records", count(outcome.audit_records)),
        ]);
        write_out(json.pretty().as_bytes())
    }
}

/// What to paste and what to try.
fn next_steps(folder: &Folder, pid: u32) -> String {
    let file = |name: &str| quoted(&folder.file(name));
    let program = std::env::current_exe().unwrap_or_default();
    let bin = quoted(program.parent().unwrap_or(Path::new(".")));
    format!(
        "\n\
         The server is running. To be its app, paste this:\n\
         \n\
         export PATH={bin}:\"$PATH\"\n\
         export BULLA_SERVER={server}\n\
         export BULLA_CA={ca}\n\
         export BULLA_CERTIFICATE={certificate}\n\
         export BULLA_KEY={key}\n\
         \n\
         Then try:\n\
         \n\
         bulla whoami\n\
         echo 'a secret of mine' > note.txt\n\
         bulla encrypt note.txt --key {alias} -c owner=me\n\
         bulla inspect note.txt.bulla\n\
         bulla decrypt note.txt.bulla -c owner=me --out note-again.txt\n\
         bulla --profile {operator} key versions {alias}\n\
         bulla --profile {auditor} audit list\n\
         \n\
         To stop the server: kill {pid}",
        server = folder.server(),
        ca = file("tls/servers-ca.pem"),
        certificate = file("clients/app.pem"),
        key = file("clients/app.key"),
        operator = file("operator.toml"),
        auditor = file("auditor.toml"),
        alias = tour::ALIAS,
    )
}

/// A path as one word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b09_a_path_is_one_word_of_a_shell_whatever_is_in_it() {
        for (path, word) in [
            ("/tmp/demo-1", "/tmp/demo-1"),
            ("/tmp/my demo", "'/tmp/my demo'"),
            ("/tmp/$(id)", "'/tmp/$(id)'"),
            ("/tmp/it's", r"'/tmp/it'\''s'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
