//! The data plane's threads: one single-threaded runtime per core, pinned to it, each with a
//! listener of its own on the same address, among which the kernel shares out the connections
//! (SO_REUSEPORT).
//!
//! Measured: a runtime that spreads tasks over threads flushes each reply by itself, and halves the
//! throughput. Never runs anything that blocks.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::sync::mpsc;

/// The running threads.
pub struct Runtimes {
    ended: mpsc::UnboundedReceiver<Ended>,
}

/// A thread that ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ended {
    /// Its place among the cores that were asked for.
    pub index: usize,
    /// Whether it ended by a panic rather than because its work was done.
    pub panicked: bool,
}

/// Tells of a thread's end, however it ends.
struct EndNotice {
    index: usize,
    sender: mpsc::UnboundedSender<Ended>,
}

/// The cores that this process may run on, in ascending order.
pub fn cores() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect())
}

/// `count` listeners on the same address. With port 0 the first picks one and the others join it.
///
/// # Errors
/// `AddrInUse` also when another process of ours listens there already: sharing a port must be
/// meant.
pub fn bind_each(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // A socket that does not share its port finds out whether anybody listens there.
        bound(address, false)?;
    }
    let mut address = address;
    let mut listeners = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = bound(address, true)?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

// === impl Runtimes ===

impl Runtimes {
    /// Starts a thread pinned to each of `cores`, with a runtime of its own that runs
    /// `work(its index)` to its end.
    ///
    /// # Errors
    /// When a thread cannot be started, pinned or given a runtime; those started before it keep
    /// running, and the process should not.
    pub fn start<W, F>(cores: &[usize], work: W) -> io::Result<Self>
    where
        W: Fn(usize) -> F + Send + Sync + 'static,
        F: Future<Output = ()>,
    {
        let work = Arc::new(work);
        let (sender, ended) = mpsc::unbounded_channel();
        for (index, core) in cores.iter().copied().enumerate() {
            let work = Arc::clone(&work);
            let notice = EndNotice { index, sender: sender.clone() };
            let (ready, started) = std::sync::mpsc::sync_channel(1);
            std::thread::Builder::new().name(format!("bulla-data-{index}")).spawn(move || {
                let _notice = notice;
                match pinned_runtime(core) {
                    Ok(runtime) => {
                        // Whoever started this waits for it.
                        let _ = ready.send(Ok(()));
                        runtime.block_on(work(index));
                    }
                    Err(error) => {
                        let _ = ready.send(Err(error));
                    }
                }
            })?;
            started.recv().map_err(io::Error::other)??;
        }
        Ok(Self { ended })
    }

    /// The next thread that ends; None when all have.
    pub async fn next_ended(&mut self) -> Option<Ended> {
        self.ended.recv().await
    }
}

// === impl EndNotice ===

impl Drop for EndNotice {
    fn drop(&mut self) {
        let ended = Ended { index: self.index, panicked: std::thread::panicking() };
        // Nobody may be interested any more.
        let _ = self.sender.send(ended);
    }
}

fn pinned_runtime(core: usize) -> io::Result<tokio::runtime::Runtime> {
    let mut only = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no such core"));
    }
    only.set(core);
    sched_setaffinity(None, &only)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Connections that wait to be accepted, for each listener.
const BACKLOG: i32 = 1024;
