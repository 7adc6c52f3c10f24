//! The quickstart's server: this same program, started as a child and watched until it is ready.
//!
//! The child is only ever ended by its own pid, and always ended when the quickstart fails.

use std::fs::{File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bulla_client::kms;
use rustix::process::{Pid, Signal, kill_process};

use super::folder::{CALLERS, Folder};
use crate::cli::failure::{Exit, Failure};

/// A running server. Dropped, it is stopped.
pub(super) struct Server {
    child: Option<Child>,
}

// === impl Server ===

impl Server {
    /// Starts `bulla serve` in a process group of its own, so that an interruption of the
    /// quickstart reaches the quickstart, which then stops it.
    pub(super) fn start(folder: &Folder) -> Result<Self, Failure> {
        let child = program(folder, "serve")?
            .process_group(0)
            .spawn()
            .map_err(|error| Failure::midway("cannot start bulla serve", &error))?;
        Ok(Self { child: Some(child) })
    }

    /// The process.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map(Child::id).unwrap_or_default()
    }

    /// Waits until the server answers a call over TLS, or has ended, or the time is over.
    pub(super) async fn ready(&mut self, folder: &Folder) -> Result<Duration, Failure> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Err(Failure::new(
                    Exit::Unavailable,
                    format!("the server ended before it was ready ({status})"),
                ));
            }
            let answer = async {
                let client = folder.connection("app").connect().await?;
                Ok::<_, Failure>(client.who_am_i(kms::WhoAmIRequest {}).await?)
            };
            match tokio::time::timeout(READY_WITHIN, answer).await {
                Ok(Ok(_)) => return Ok(began.elapsed()),
                Ok(Err(failure)) if began.elapsed() > READY_WITHIN => {
                    return Err(failure.during("the server does not become ready"));
                }
                Err(_) => {
                    return Err(Failure::new(
                        Exit::Unavailable,
                        "the server takes connections and does not answer",
                    ));
                }
                // Not yet: ask again in a moment.
                Ok(Err(_)) => tokio::time::sleep(ASK_AGAIN_AFTER).await,
            }
        }
    }

    /// Asks the server to end and waits for it.
    pub(super) fn stop(mut self) -> Result<Duration, Failure> {
        let began = Instant::now();
        match self.end()? {
            Some(status) if status.success() => Ok(began.elapsed()),
            Some(status) => Err(Failure::new(
                Exit::Internal,
                format!("the server did not end with 0 ({status})"),
            )),
            None => Err(Failure::new(Exit::Internal, "the server was not running")),
        }
    }

    /// Leaves it running when the quickstart ends.
    pub(super) fn leave(mut self) {
        self.child = None;
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let Some(child) = &mut self.child else { return Ok(None) };
        child.try_wait().map_err(|error| Failure::midway("cannot watch the server", &error))
    }

    /// SIGTERM, and SIGKILL when that does not help in time.
    fn end(&mut self) -> Result<Option<ExitStatus>, Failure> {
        if let Some(status) = self.ended()? {
            self.child = None;
            return Ok(Some(status));
        }
        let Some(mut child) = self.child.take() else { return Ok(None) };
        let lost = |error| Failure::midway("cannot stop the server", &error);
        // The child has not been waited for, so the pid is still its own.
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM).map_err(|errno| lost(errno.into()))?;
        }
        let began = Instant::now();
        while began.elapsed() < ENDS_WITHIN {
            if let Some(status) = child.try_wait().map_err(lost)? {
                return Ok(Some(status));
            }
            std::thread::sleep(ASK_AGAIN_AFTER);
        }
        child.kill().map_err(lost)?;
        child.wait().map(Some).map_err(lost)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The failure that led here is the one to tell.
        let _ = self.end();
    }
}

/// Makes the store, the root key and the role bindings. Gives the number of bindings.
pub(super) fn initialise(folder: &Folder) -> Result<usize, Failure> {
    let mut command = program(folder, "init")?;
    command.arg("--make-key-file");
    let mut bindings: usize = 0;
    for caller in &CALLERS {
        for role in caller.roles {
            command.arg("--bind").arg(format!("{}={role}", caller.spiffe_id()));
            bindings = bindings.saturating_add(1);
        }
    }
    let status =
        command.status().map_err(|error| Failure::midway("cannot start bulla init", &error))?;
    if status.success() {
        Ok(bindings)
    } else {
        Err(Failure::new(Exit::Internal, format!("bulla init failed ({status})")))
    }
}

/// Where to listen: what was asked for, if it is free; by default any free port when the usual one
/// is taken. Says whether it had to move.
pub(super) fn choose_address(asked: Option<SocketAddr>) -> Result<(SocketAddr, bool), Failure> {
    let usual = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT));
    let wanted = asked.unwrap_or(usual);
    if !wanted.ip().is_loopback() {
        return Err(Failure::new(Exit::Usage, format!("{wanted} can be reached from elsewhere"))
            .hint("the quickstart is for this machine alone; listen on 127.0.0.1"));
    }
    let free =
        |address: SocketAddr| TcpListener::bind(address).and_then(|bound| bound.local_addr());
    match (free(wanted), asked) {
        (Ok(address), _) => Ok((address, false)),
        (Err(error), Some(_)) => Err(Failure::new(
            Exit::Unavailable,
            format!("cannot listen on {wanted}: {}", error.kind()),
        )
        .hint("choose another address with --listen, or leave it out")),
        (Err(_), None) => {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let address = free(any).map_err(|error| Failure::midway("cannot listen", &error))?;
            Ok((address, true))
        }
    }
}

/// This program with one of the server's own commands, writing to the log file.
fn program(folder: &Folder, subcommand: &str) -> Result<Command, Failure> {
    let path = folder.log_file();
    let open = || -> std::io::Result<(std::path::PathBuf, File, File)> {
        let log = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        Ok((std::env::current_exe()?, log.try_clone()?, log))
    };
    let (executable, out, err) = open().map_err(|error| Failure::output(&path, &error))?;
    let mut command = Command::new(executable);
    command.arg(subcommand).arg("--config").arg(folder.configuration_file());
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(command)
}

const USUAL_PORT: u16 = 8443;
const READY_WITHIN: Duration = Duration::from_secs(30);
const ENDS_WITHIN: Duration = Duration::from_secs(30);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_that_was_asked_for_is_never_exchanged_for_another() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(choose_address(Some(address)).unwrap_err().exit(), Exit::Unavailable);
        drop(taken);
        assert_eq!(choose_address(Some(address)).unwrap(), (address, false));
    }

    #[test]
    fn the_quickstart_cannot_be_reached_from_elsewhere() {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8443"] {
            let failure = choose_address(Some(address.parse().unwrap())).unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{address}");
        }
    }
}
