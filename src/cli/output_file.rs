//! Output files that are whole or not there.
//!
//! What is written goes to a file beside the one that was asked for, readable by its owner only,
//! and takes the name when it is complete and on the disk. Whatever goes wrong before leaves no
//! file, and nothing is ever overwritten unless that was asked for.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::failure::{Exit, Failure};

/// A file that is being written and has not got its name yet. Dropped, it is gone.
pub(crate) struct Unfinished {
    file: File,
    partial: Partial,
    target: PathBuf,
    overwrite: bool,
}

/// The name of the file while it is incomplete; removes it when dropped.
struct Partial(Option<PathBuf>);

// === impl Unfinished ===

impl Unfinished {
    /// Starts the file that will be `target`. Without `overwrite`, a target that is there already
    /// is an error now, and again at the end.
    pub(crate) fn create(target: &Path, overwrite: bool) -> Result<Self, Failure> {
        if !overwrite && target.symlink_metadata().is_ok() {
            return Err(exists(target));
        }
        if target.is_dir() {
            let error = io::Error::from(io::ErrorKind::IsADirectory);
            return Err(Failure::output(target, &error));
        }
        let partial = partial_name(target).map_err(|error| Failure::output(target, &error))?;
        let file = create_private(&partial).map_err(|error| Failure::output(target, &error))?;
        let partial = Partial(Some(partial));
        Ok(Self { file, partial, target: target.to_owned(), overwrite })
    }

    /// Where to remove it if the process has to end at once.
    pub(crate) fn partial_path(&self) -> Option<PathBuf> {
        self.partial.0.clone()
    }

    /// Puts it on the disk and gives it its name.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let midway = |error: io::Error| {
            Failure::midway(&format!("cannot finish {}", self.target.display()), &error)
        };
        self.file.flush().and_then(|()| self.file.sync_all()).map_err(midway)?;
        let Some(partial) = self.partial.0.as_deref() else {
            return Err(midway(io::ErrorKind::NotFound.into()));
        };
        let named = if self.overwrite {
            fs::rename(partial, &self.target)
        } else {
            rename_to_new(partial, &self.target)
        };
        match named {
            Ok(()) => self.partial.0 = None,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(exists(&self.target));
            }
            Err(error) => return Err(midway(error)),
        }
        sync_folder(&self.target).map_err(midway)
    }
}

impl Write for Unfinished {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

// === impl Partial ===

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It holds nothing that anybody asked for; there is nothing better to do.
            let _ = fs::remove_file(path);
        }
    }
}

/// A file that must be new, readable and writable by its owner only.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Waits until the folder knows the file by its name.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// Renames in one step that fails if the target is there; where the file system cannot, by a hard
/// link, which fails in the same case.
fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        Err(errno) => Err(errno.into()),
    }
}

fn partial_name(target: &Path) -> io::Result<PathBuf> {
    let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let mut partial = OsString::from(".");
    partial.push(name);
    partial.push(format!(".{}.partial", hex::encode(random)));
    Ok(target.with_file_name(partial))
}

fn exists(target: &Path) -> Failure {
    Failure::new(Exit::CannotCreate, format!("{} is there already", target.display()))
        .hint("choose another name, or add --force to overwrite it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn i05_a_file_is_private_and_has_its_name_only_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let mut file = Unfinished::create(&target, false).unwrap();
        file.write_all(b"half").unwrap();
        assert!(!target.exists());
        file.write_all(b" and half").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"half and half");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn i05_what_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = Unfinished::create(&folder.path().join("out"), false).unwrap();
        file.write_all(b"secret").unwrap();
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn nothing_is_overwritten_unless_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let late = Unfinished::create(&target, false).unwrap();
        fs::write(&target, "first").unwrap();
        let early = Unfinished::create(&target, false).map(|_| ()).unwrap_err();
        assert_eq!(early.exit(), Exit::CannotCreate);
        assert_eq!(late.finish().unwrap_err().exit(), Exit::CannotCreate);
        assert_eq!(fs::read(&target).unwrap(), b"first");
        let mut forced = Unfinished::create(&target, true).unwrap();
        forced.write_all(b"second").unwrap();
        forced.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_link_that_points_nowhere_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &target).unwrap();
        assert!(Unfinished::create(&target, false).is_err());
        assert_eq!(names(folder.path()), ["out"]);
    }

    #[test]
    fn a_folder_is_no_output_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Unfinished::create(folder.path(), true).is_err());
        assert!(Unfinished::create(Path::new("/"), true).is_err());
    }
}
