//! A sink that is a file of JSON lines on another volume: appended, synced, and set aside when it is
//! full. Never shortened but for a line that was not finished, and never removed: what was set aside is
//! for whoever collects it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::error::PlaceError;
use super::follow::Receive;
use super::line::line;
use crate::trail::Entry;

/// The file, while it is open.
pub(super) struct FileSink {
    path: PathBuf,
    rotate_bytes: u64,
    open: Option<File>,
}

// === impl FileSink ===

impl FileSink {
    pub(super) fn new(path: PathBuf, rotate_bytes: u64) -> Self {
        Self { path, rotate_bytes, open: None }
    }

    fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        let Some(mut file) = self.open.as_ref() else { return Err(io::ErrorKind::NotFound.into()) };
        let mut lines = Vec::new();
        for entry in entries {
            lines.extend_from_slice(line(entry, usize::MAX).as_bytes());
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        if file.metadata()?.len() < self.rotate_bytes {
            return Ok(());
        }
        // Everything before the next record is in the file that gets this name.
        let last = entries.last().map_or(0, |entry| entry.sequence);
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".{last:020}"));
        fs::rename(&self.path, aside)?;
        self.open = None;
        self.open()
    }

    fn open(&mut self) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).read(true).append(true).mode(0o600).open(&self.path)?;
        mend(&mut file)?;
        sync_folder(&self.path)?;
        self.open = Some(file);
        Ok(())
    }

    /// Whether what is open is what the path names.
    fn is_in_place(&self) -> bool {
        let open = self.open.as_ref().and_then(|file| file.metadata().ok());
        let named = fs::metadata(&self.path).ok();
        open.zip(named).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
    }
}

impl Receive for FileSink {
    fn is_ready(&self) -> bool {
        self.is_in_place()
    }

    async fn make_ready(&mut self) -> Result<(), PlaceError> {
        Ok(self.open()?)
    }

    async fn lost(&mut self) {
        std::future::pending::<()>().await;
    }

    async fn deliver(&mut self, entries: &[Entry]) -> Result<(), PlaceError> {
        Ok(self.write(entries)?)
    }

    fn give_up(&mut self) {
        self.open = None;
    }
}

/// Takes a line that was not finished off the end.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut end = length;
    let mut bytes = vec![0; TAIL_BYTES];
    while end > 0 {
        let begins = end.saturating_sub(TAIL_BYTES as u64);
        let size = usize::try_from(end.saturating_sub(begins)).unwrap_or(0);
        let tail = bytes.get_mut(..size).unwrap_or_default();
        file.seek(SeekFrom::Start(begins))?;
        file.read_exact(tail)?;
        if let Some(feed) = tail.iter().rposition(|byte| *byte == b'\n') {
            end = begins.saturating_add(feed as u64).saturating_add(1);
            break;
        }
        end = begins;
    }
    if end < length {
        file.set_len(end)?;
        file.sync_data()?;
    }
    Ok(())
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

const TAIL_BYTES: usize = 64 * 1024;
