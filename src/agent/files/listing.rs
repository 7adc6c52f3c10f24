//! The names in a directory. Follows no link, and leaves out nothing that it cannot read: a list that
//! is not whole is an error.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::Path;

use super::failed;
use crate::agent::store::StoreError;

/// A file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Listed {
    /// From the directory.
    pub(super) path: Vec<u8>,
    /// Another one when another file has taken the name.
    pub(super) inode: u64,
}

/// The regular files in a directory whose names are wanted, by the bytes of their paths.
pub(super) fn list(
    root: &Path,
    recursive: bool,
    is_wanted: impl Fn(&OsStr) -> bool,
) -> Result<Vec<Listed>, StoreError> {
    let mut listed = Vec::new();
    let mut folders = vec![Vec::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(OsStr::from_bytes(&folder));
        let entries = match fs::read_dir(&path) {
            // It was removed since its name was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            entries => entries.map_err(|error| failed(&path, &error))?,
        };
        for entry in entries {
            let entry = entry.map_err(|error| failed(&path, &error))?;
            let kind = match entry.file_type() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                kind => kind.map_err(|error| failed(&path, &error))?,
            };
            let name = entry.file_name();
            let inside = |name: &OsStr| {
                let mut inside = folder.clone();
                if !inside.is_empty() {
                    inside.push(b'/');
                }
                inside.extend_from_slice(name.as_bytes());
                inside
            };
            if kind.is_dir() && recursive {
                folders.push(inside(&name));
            } else if kind.is_file() && is_wanted(&name) {
                listed.push(Listed { path: inside(&name), inode: entry.ino() });
            }
        }
    }
    listed.sort_unstable_by(|one, other| one.path.cmp(&other.path));
    Ok(listed)
}
