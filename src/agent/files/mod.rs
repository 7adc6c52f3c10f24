//! A directory of sealed files. Only their headers are read and rewritten, each in one step; nothing of
//! what they hold is opened, and nothing follows a link.
//!
//! The names of all files are held in memory, about a hundred bytes each; nothing else grows with them.

mod listing;
mod rows;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bulla_client::{FileError, Rewrite, is_header_copy, read_file_header, rewrite_file_header};
use parking_lot::Mutex;

use super::connector::FilesDirectory;
use super::context::ContextPlan;
use super::store::{Entry, Held, Move, Outcome, Place, Rows, Store, StoreError, Unmovable, named};
use listing::Listed;

/// A directory that is there.
pub(super) struct Files {
    identity: String,
    directory: Arc<Directory>,
    /// As of the beginning of the pass.
    listed: Mutex<Arc<[Listed]>>,
}

/// What is needed of a directory to say what is in it.
struct Directory {
    path: PathBuf,
    recursive: bool,
    all: bool,
    context: ContextPlan,
}

// === impl Files ===

impl Files {
    /// Makes sure that the directory is there, and that the context asks for what a file has.
    pub(super) fn open(files: FilesDirectory) -> Result<Self, StoreError> {
        let wrong = |why: String| StoreError::Connector(format!("files: {why}"));
        let context = ContextPlan::new(&files.context);
        if let Some(unknown) = context.columns().find(|word| !WORDS.contains(word)) {
            return Err(wrong(format!("a file has no {unknown:?}, only {}", WORDS.join(", "))));
        }
        let shown = files.directory.display();
        match files.directory.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(wrong(format!("{shown} is no directory"))),
            Err(error) => return Err(wrong(format!("{shown}: {error}"))),
        }
        let identity = format!("files {shown}");
        let FilesDirectory { directory: path, recursive, all, .. } = files;
        let directory = Arc::new(Directory { path, recursive, all, context });
        Ok(Self { identity, directory, listed: Mutex::new(Arc::new([])) })
    }
}

#[async_trait]
impl Store for Files {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn total(&self) -> Result<u64, StoreError> {
        let directory = Arc::clone(&self.directory);
        let listed = blocking(move || directory.list()).await?;
        Ok(u64::try_from(listed.len()).unwrap_or(u64::MAX))
    }

    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (directory, after) = (Arc::clone(&self.directory), after.clone());
        let mut listed = Arc::clone(&self.listed.lock());
        let (listed, entries) = blocking(move || {
            // A run that goes on in the middle has no list yet either.
            if after.is_start() || listed.is_empty() {
                listed = directory.list()?.into();
            }
            let from = listed.partition_point(|file| file.path.as_slice() <= after.as_bytes());
            let mut entries = Vec::new();
            for file in listed.get(from..).unwrap_or_default() {
                if entries.len() >= limit {
                    break;
                }
                entries.extend(directory.entry(&file.path)?);
            }
            Ok((listed, entries))
        })
        .await?;
        *self.listed.lock() = listed;
        Ok(entries)
    }

    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let (directory, place) = (Arc::clone(&self.directory), place.clone());
        blocking(move || directory.entry(place.as_bytes())).await
    }

    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError> {
        let (directory, moves) = (Arc::clone(&self.directory), moves.to_vec());
        blocking(move || moves.iter().map(|moved| directory.replace(moved)).collect()).await
    }

    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError> {
        Ok(Box::new(rows::Scan::begin(Arc::clone(&self.directory))))
    }
}

// === impl Directory ===

impl Directory {
    /// Every file that may be sealed, by name.
    fn list(&self) -> Result<Vec<Listed>, StoreError> {
        let is_wanted = |name: &OsStr| self.all || name.as_bytes().ends_with(SUFFIX);
        listing::list(&self.path, self.recursive, is_wanted)
    }

    /// What is at a path in the directory; nothing if there is no file, or in a directory of all sorts
    /// of files, none that is sealed.
    fn entry(&self, relative: &[u8]) -> Result<Option<Entry>, StoreError> {
        let path = self.at(relative)?;
        let (held, context) = match read_file_header(&path) {
            Ok(header) => {
                let context = match header.suite() {
                    1 => Err(Unmovable::FixedHeader),
                    _ => self.context(relative),
                };
                (header.wrapped().to_vec(), context)
            }
            Err(FileError::Data(_)) => match beginning(&path) {
                Ok(bytes) if self.all && !bytes.starts_with(MAGIC) => return Ok(None),
                // What a rewrite that was killed has left holds nothing of its own.
                Ok(_) if path.file_name().is_some_and(is_header_copy) => return Ok(None),
                Ok(bytes) => (bytes, Ok(self.context.constants())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(&path, &error)),
            },
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(failed(&path, &error)),
        };
        Ok(Some(Entry {
            place: Place::new(relative.to_vec())?,
            name: named(String::from_utf8_lossy(relative).into_owned()),
            held: Held::Bytes(held),
            context,
        }))
    }

    fn replace(&self, Move { entry, new }: &Move) -> Result<Outcome, StoreError> {
        let path = self.at(entry.place.as_bytes())?;
        let (Held::Bytes(old), Held::Bytes(new)) = (&entry.held, new) else {
            return Ok(Outcome::Changed);
        };
        match rewrite_file_header(&path, old, new) {
            Ok(Rewrite::Done) => Ok(Outcome::Replaced),
            // It is no longer what was read.
            Ok(Rewrite::Changed) | Err(FileError::Data(_)) => Ok(Outcome::Changed),
            Err(error) if is_gone(&error) => Ok(Outcome::Changed),
            Err(error) => Err(failed(&path, &error)),
        }
    }

    /// What a file is bound to: constants, and words of its name.
    fn context(&self, relative: &[u8]) -> Result<super::store::Context, Unmovable> {
        let path = Path::new(OsStr::from_bytes(relative));
        let filled = self.context.fill(|word| {
            let bytes = match word {
                "name" => path.file_name(),
                "stem" => path.file_name().map(|name| {
                    let name = name.as_bytes();
                    OsStr::from_bytes(name.strip_suffix(SUFFIX).unwrap_or(name))
                }),
                _ => Some(path.as_os_str()),
            };
            // A context is text; a name that is none can be bound to nothing.
            Ok::<_, std::convert::Infallible>(bytes.and_then(OsStr::to_str).map(str::to_owned))
        });
        let Ok(context) = filled;
        context
    }

    /// The server keeps places, so what comes back is looked at: never out of the directory.
    fn at(&self, relative: &[u8]) -> Result<PathBuf, StoreError> {
        let relative = Path::new(OsStr::from_bytes(relative));
        let mut parts = relative.components().peekable();
        let inside = parts.peek().is_some()
            && parts.all(|part| matches!(part, Component::Normal(_)))
            && !relative.as_os_str().as_bytes().contains(&0);
        if inside {
            return Ok(self.path.join(relative));
        }
        let text = "files: the place that the campaign keeps is of another store";
        Err(StoreError::Connector(text.to_owned()))
    }
}

/// What a file that is no sealed data begins with: as much as the longest header.
fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEADER_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether there is no such file any more, or something that is no file.
fn is_gone(error: &FileError) -> bool {
    match error {
        FileError::NotAFile => true,
        FileError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Failed(format!("files: {error}"))))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::Failed(format!("files: {}: {error}", path.display()))
}

/// What `{ column = "…" }` may say of a file: its name, the name without `.bulla`, the path from the
/// directory.
const WORDS: [&str; 3] = ["name", "stem", "path"];

/// What the name of a sealed file ends in.
const SUFFIX: &[u8] = b".bulla";

/// How sealed data begins (docs/format.md).
const MAGIC: &[u8] = &[0xd7, 0x42, 0x55, 0x02];

const HEADER_BYTES_MAX: u64 = 8 + 4202 + 64;

#[cfg(test)]
mod tests;
