//! `bulla encrypt` and `bulla decrypt`: files of any size in constant memory, each under a data key
//! of its own (docs/format.md, "Sealed data"). Only the data key crosses the wire.
//!
//! An output file appears when it is whole and authentic, or not at all. What goes to stdout is
//! authentic chunk by chunk; that nothing is missing at its end is known at the end, by exit code
//! 0.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bulla_client::{Envelope, EnvelopeError};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use super::Session;
use super::arguments::ContextArguments;
use super::failure::{Exit, Failure};
use super::json::Json;
use super::output_file::Unfinished;
use super::store::StoreArgument;
use super::table::record;

/// What to encrypt.
#[derive(clap::Args, Debug)]
pub struct EncryptArguments {
    /// The file, or - for stdin
    file: PathBuf,
    /// UUID or alias of the key to wrap the file's data key with
    #[arg(long)]
    key: String,
    #[command(flatten)]
    context: ContextArguments,
    #[command(flatten)]
    store: StoreArgument,
    #[command(flatten)]
    to: Destination,
}

/// What to decrypt.
#[derive(clap::Args, Debug)]
pub struct DecryptArguments {
    /// The file, or - for stdin
    file: PathBuf,
    #[command(flatten)]
    context: ContextArguments,
    /// Refuse a file that was encrypted under any other key (UUID or alias)
    #[arg(long)]
    key: Option<String>,
    #[command(flatten)]
    to: Destination,
}

/// Where the outcome goes.
#[derive(clap::Args, Debug)]
pub(crate) struct Destination {
    /// The outcome's file, or - for stdout [default: FILE with .bulla added or taken off]
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// Overwrite the outcome's file if it is there already
    #[arg(long, short = 'f')]
    force: bool,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Direction {
    Encrypt,
    Decrypt,
}

/// One file's way through the envelope.
struct Job {
    direction: Direction,
    envelope: Envelope,
    source: Source,
    sink: Sink,
}

enum Source {
    Stdin,
    File(File, u64),
}

enum Sink {
    Stdout,
    File(Unfinished),
}

// === impl EncryptArguments ===

impl EncryptArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let out = self.to.path(&self.file, Direction::Encrypt)?;
        if is_dash(&out) && self.to.out.is_none() && io::stdout().is_terminal() {
            return Err(Failure::new(Exit::Usage, "ciphertext does not belong on a terminal")
                .hint("give --out FILE, or --out - if you mean it"));
        }
        let (context, source) = (self.context.pairs()?, Source::open(&self.file)?);
        let client = session.client().await?;
        let store = self.store.number(&client).await?;
        let envelope = Envelope::new(client, self.key).context(context).store(store);
        let sink = Sink::create(&out, self.to.force)?;
        let job = Job { direction: Direction::Encrypt, envelope, source, sink };
        run(session, job, &self.file, &out).await
    }
}

// === impl DecryptArguments ===

impl DecryptArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let out = self.to.path(&self.file, Direction::Decrypt)?;
        let (context, source) = (self.context.pairs()?, Source::open(&self.file)?);
        let client = session.client().await?;
        let envelope = match self.key {
            Some(key) => Envelope::new(client, key),
            None => Envelope::new(client, "").opens_any_key(),
        };
        let sink = Sink::create(&out, self.to.force)?;
        let envelope = envelope.context(context);
        let job = Job { direction: Direction::Decrypt, envelope, source, sink };
        run(session, job, &self.file, &out).await
    }
}

// === impl Destination ===

impl Destination {
    fn path(&self, file: &Path, direction: Direction) -> Result<PathBuf, Failure> {
        if let Some(out) = &self.out {
            return Ok(out.clone());
        }
        if is_dash(file) {
            return Ok(file.to_owned());
        }
        match direction {
            Direction::Encrypt => {
                let mut name = file.as_os_str().to_owned();
                name.push(SUFFIX);
                Ok(name.into())
            }
            Direction::Decrypt if file.extension().is_some_and(|ending| ending == &SUFFIX[1..]) => {
                Ok(file.with_extension(""))
            }
            Direction::Decrypt => {
                let what = format!("the name {} does not end in {SUFFIX}", file.display());
                Err(Failure::new(Exit::Usage, what).hint("say where to write with --out FILE"))
            }
        }
    }
}

// === impl Source ===

impl Source {
    fn open(path: &Path) -> Result<Self, Failure> {
        if is_dash(path) {
            return Ok(Self::Stdin);
        }
        let opened = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            if metadata.is_dir() {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            Ok(Self::File(file, metadata.len()))
        });
        opened.map_err(|error| Failure::input(path, &error))
    }
}

// === impl Sink ===

impl Sink {
    fn create(path: &Path, overwrite: bool) -> Result<Self, Failure> {
        if is_dash(path) {
            Ok(Self::Stdout)
        } else {
            Ok(Self::File(Unfinished::create(path, overwrite)?))
        }
    }

    fn partial_path(&self) -> Option<PathBuf> {
        match self {
            Self::Stdout => None,
            Self::File(file) => file.partial_path(),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Stdout => Ok(()),
            Self::File(file) => file.finish(),
        }
    }
}

/// Does the job on a thread that may block, while this one keeps the connection going and listens
/// for an interruption.
async fn run(session: &Session, job: Job, file: &Path, out: &Path) -> Result<(), Failure> {
    let partial = job.sink.partial_path();
    let runtime = Handle::current();
    let work = tokio::task::spawn_blocking(move || runtime.block_on(job.run()));
    let plaintext_bytes = tokio::select! {
        done = work => done.map_err(|_| Failure::new(Exit::Internal, "the work was lost"))??,
        () = interrupted() => {
            if let Some(partial) = partial {
                let _ = std::fs::remove_file(partial);
            }
            return Err(Failure::new(Exit::Interrupted, "interrupted; no output was written"));
        }
    };
    if is_dash(out) {
        return Ok(());
    }
    let fields = [
        ("file", file.display().to_string()),
        ("out", out.display().to_string()),
        ("plaintext_bytes", plaintext_bytes.to_string()),
    ];
    let [from, to, _] = &fields;
    let json = Json::object([
        ("file", Json::text(&from.1)),
        ("out", Json::text(&to.1)),
        ("plaintext_bytes", Json::Integer(plaintext_bytes.into())),
    ]);
    session.printer.answer(&json, || record(&fields))
}

/// Resolves when a person or the system asks the program to end.
pub(crate) async fn interrupted() {
    let listen = |kind| signal(kind).ok();
    let (Some(mut interrupt), Some(mut terminate), Some(mut hangup)) = (
        listen(SignalKind::interrupt()),
        listen(SignalKind::terminate()),
        listen(SignalKind::hangup()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => (),
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
}

// === impl Job ===

impl Job {
    /// Gives the length of the plaintext in bytes.
    async fn run(self) -> Result<u64, Failure> {
        let Self { direction, envelope, source, mut sink } = self;
        let progress = Progress::new(&source);
        let input: Box<dyn Read> = match source {
            Source::Stdin => Box::new(io::stdin().lock()),
            Source::File(file, _) => Box::new(file),
        };
        let output: Box<dyn Write + '_> = match &mut sink {
            Sink::Stdout => Box::new(io::stdout().lock()),
            Sink::File(file) => Box::new(file),
        };
        let (reader, writer) = (Blocking(Counted { input, progress }), Blocking(output));
        let done = match direction {
            Direction::Encrypt => envelope.seal_stream(reader, writer, &[]).await,
            Direction::Decrypt => envelope.open_stream(reader, writer, &[]).await,
        };
        let plaintext_bytes = done.map_err(failure)?;
        sink.finish()?;
        Ok(plaintext_bytes)
    }
}

/// What went wrong with an envelope.
pub(crate) fn failure(error: EnvelopeError) -> Failure {
    match error {
        EnvelopeError::Call(error) => error.into(),
        EnvelopeError::Data(error) => Failure::new(Exit::Data, error.to_string())
            .hint("the file is damaged, cut short, or not from `bulla encrypt`"),
        EnvelopeError::Read(error) => Failure::midway("cannot read the input", &error),
        EnvelopeError::Write(error) => Failure::midway("cannot write the output", &error),
        EnvelopeError::RepeatedContextKey { .. } => Failure::new(Exit::Usage, error.to_string()),
        other => Failure::new(Exit::Internal, other.to_string()),
    }
}

// === progress ===

/// A bar on a terminal, for what takes longer than a second.
struct Progress {
    bar: ProgressBar,
    started: Instant,
}

/// Counts what is read.
struct Counted<R> {
    input: R,
    progress: Progress,
}

impl Progress {
    fn new(source: &Source) -> Self {
        let bar = match source {
            Source::Stdin => ProgressBar::no_length(),
            Source::File(_, length) => ProgressBar::new(*length),
        };
        bar.set_draw_target(ProgressDrawTarget::hidden());
        let template = match source {
            Source::Stdin => "{bytes} {bytes_per_sec}",
            Source::File(..) => "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now() }
    }

    fn advance(&self, bytes: usize) {
        if self.bar.is_hidden()
            && self.started.elapsed() >= SHOW_AFTER
            && io::stderr().is_terminal()
        {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.inc(u64::try_from(bytes).unwrap_or(0));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.read(buffer)?;
        self.progress.advance(bytes);
        Ok(bytes)
    }
}

// === blocking files as async ones, for a thread that may block ===

struct Blocking<T>(T);

impl<R: Read + Unpin> AsyncRead for Blocking<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = loop {
            match self.0.read(buffer.initialize_unfilled()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        Poll::Ready(read.map(|bytes| buffer.advance(bytes)))
    }
}

impl<W: Write + Unpin> AsyncWrite for Blocking<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return Poll::Ready(other),
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// What the name of an encrypted file ends in.
const SUFFIX: &str = ".bulla";

const SHOW_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
