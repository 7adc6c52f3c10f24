//! The server under load: `bulla init`, then `bulla serve` as a child on a core of its own.
//!
//! The child is only ever ended by its own pid, and always ended when this is dropped.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::folder::{Folder, ROLES};

/// A running server.
pub(crate) struct Server {
    child: Child,
}

// === impl Server ===

impl Server {
    /// Starts the server on core 0 and leaves the calling thread on core 1. Both share one core
    /// where there is only one; the result says so.
    pub(crate) fn start(folder: &Folder) -> Result<(Self, Cores), Box<dyn Error>> {
        let separate = stay_on(SERVER_CORE);
        let mut init = program(folder, "init")?;
        init.arg("--make-key-file");
        for (caller, role) in ROLES {
            init.arg("--bind").arg(format!("{caller}={role}"));
        }
        let status = init.status()?;
        if !status.success() {
            return Err(format!("bulla init failed ({status})\n{}", folder.log_tail()).into());
        }
        let child = program(folder, "serve")?.spawn()?;
        let server = Self { child };
        let cores = if separate && stay_on(LOAD_CORE) { Cores::Apart } else { Cores::Shared };
        Ok((server, cores))
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<String> {
        self.child.try_wait().ok().flatten().map(|status| status.to_string())
    }

    /// CPU time that each of the server's threads has used since it started.
    pub(crate) fn cpu_ns(&self) -> Vec<(String, u64)> {
        cpu_ns(self.child.id())
    }

    /// SIGTERM; an error when it does not end with 0 in time.
    pub(crate) fn stop(mut self) -> Result<(), Box<dyn Error>> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).ok_or("no pid")?;
        kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        while began.elapsed() < ENDS_WITHIN {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(format!("the server ended with {status}").into()),
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        Err("the server did not end after SIGTERM".into())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended, or ended now; either way it is waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether server and load have a core each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cores {
    /// They have.
    Apart,
    /// They get into each other's way.
    Shared,
}

/// CPU time that each thread of a process has used since it started, in nanoseconds, by thread name
/// (`/proc/PID/task/TID/schedstat`, the first figure). Threads of one name are added together.
pub(crate) fn cpu_ns(process: u32) -> Vec<(String, u64)> {
    let mut threads: Vec<(String, u64)> = Vec::new();
    let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else {
        return threads;
    };
    for task in tasks.flatten() {
        let text = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (name, schedstat) = (text("comm").trim().to_owned(), text("schedstat"));
        let ns = schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0);
        match threads.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += ns,
            None => threads.push((name, ns)),
        }
    }
    threads
}

/// How long this program's main thread was ready and had no core, since it started
/// (`/proc/self/schedstat`, the second figure).
pub(crate) fn waited() -> Duration {
    let schedstat = fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ns = schedstat.split(' ').nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0);
    Duration::from_nanos(ns)
}

/// Keeps the calling thread, and the children that it starts, on one core.
fn stay_on(core: usize) -> bool {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).is_ok()
}

fn program(folder: &Folder, subcommand: &str) -> std::io::Result<Command> {
    let log = OpenOptions::new().create(true).append(true).open(folder.file("server.log"))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
    command.arg(subcommand).arg("--config").arg(folder.configuration());
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

const SERVER_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const ENDS_WITHIN: Duration = Duration::from_secs(30);
