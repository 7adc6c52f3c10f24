//! A disk that fails, fills up or is slow when a test says so, under SQLite's own feet.
//!
//! It is a layer over SQLite's access to files, for the whole process; it changes nothing but for
//! files in a folder that a test has put a [`Disk`] on.

#![allow(unsafe_code)] // A disk below SQLite is not to be had without its C interface.
#![allow(clippy::disallowed_methods)] // SQLite keeps what it is given for ever.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock};

use rusqlite::ffi;

/// What a folder's files do until this is dropped.
pub struct Disk {
    folder: PathBuf,
}

/// What a disk does to the files of its folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    #[default]
    Works,
    /// Every sync of a file whose name ends so fails.
    FailsToSync(&'static str),
    /// Every write fails as a broken disk does.
    FailsToWrite,
    /// Every write fails for want of room.
    IsFull,
    /// Syncs wait until the disk works.
    HoldsSyncs,
}

#[derive(Debug, Default)]
struct State {
    behaviour: Behaviour,
    syncs: usize,
    writes: usize,
}

struct Layer {
    disks: BTreeMap<PathBuf, State>,
    /// The files that SQLite has open, by the address of its handle.
    files: BTreeMap<usize, OpenFile>,
    /// The tables of functions that were layered over, by the address of SQLite's own.
    tables: BTreeMap<usize, &'static ffi::sqlite3_io_methods>,
}

struct OpenFile {
    path: PathBuf,
    /// SQLite's own functions; not the same for a database and for a log.
    own: &'static ffi::sqlite3_io_methods,
}

// === impl Disk ===

impl Disk {
    pub fn over(folder: &Path) -> Disk {
        install();
        let folder = folder.canonicalize().unwrap();
        LAYER.lock().unwrap().disks.insert(folder.clone(), State::default());
        Disk { folder }
    }

    pub fn set(&self, behaviour: Behaviour) {
        LAYER.lock().unwrap().disks.get_mut(&self.folder).unwrap().behaviour = behaviour;
        CHANGED.notify_all();
    }

    /// How many syncs have begun.
    pub fn syncs(&self) -> usize {
        LAYER.lock().unwrap().disks[&self.folder].syncs
    }

    /// How many writes have begun.
    pub fn writes(&self) -> usize {
        LAYER.lock().unwrap().disks[&self.folder].writes
    }

    /// Waits until as many syncs have begun.
    pub fn wait_for_syncs(&self, count: usize) {
        let layer = LAYER.lock().unwrap();
        drop(CHANGED.wait_while(layer, |layer| layer.disks[&self.folder].syncs < count).unwrap());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        LAYER.lock().unwrap().disks.remove(&self.folder);
        CHANGED.notify_all();
    }
}

// === impl Layer ===

impl Layer {
    fn disk_of(&mut self, file: usize) -> Option<(&PathBuf, &mut State)> {
        let path = &self.files.get(&file)?.path;
        Some((path, self.disks.get_mut(path.parent()?)?))
    }

    fn own_of(&self, file: usize) -> &'static ffi::sqlite3_io_methods {
        self.files[&file].own
    }
}

/// Puts the layer on, once.
fn install() {
    static INSTALLED: OnceLock<()> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        // SAFETY: a null name asks for the default.
        let found = unsafe { ffi::sqlite3_vfs_find(std::ptr::null()) };
        UNDERNEATH.set(found as usize).unwrap();
        // SAFETY: SQLite's default is a valid value for as long as the process lives.
        let mut layer = unsafe { *found };
        layer.zName = c"bulla-disk".as_ptr();
        layer.xOpen = Some(open);
        let layer: &'static mut ffi::sqlite3_vfs = Box::leak(Box::new(layer));
        // SAFETY: the layer lives as long as the process, and is SQLite's own but for `xOpen`.
        let result = unsafe { ffi::sqlite3_vfs_register(layer, 1) };
        assert_eq!(result, ffi::SQLITE_OK);
    });
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let underneath = *UNDERNEATH.get().unwrap() as *mut ffi::sqlite3_vfs;
    // SAFETY: `install` has checked it.
    let open = unsafe { (*underneath).xOpen }.unwrap();
    // SAFETY: SQLite's own arguments for SQLite's own function.
    let result = unsafe { open(underneath, name, file, flags, flags_out) };
    if result != ffi::SQLITE_OK || name.is_null() {
        return result;
    }
    // SAFETY: a name that is not null is a string of C's.
    let path = unsafe { CStr::from_ptr(name) };
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(path.to_bytes()));
    // SAFETY: the file has been opened, so that it has functions.
    let own = unsafe { (*file).pMethods };
    // SAFETY: these are constants of SQLite's.
    let own: &'static ffi::sqlite3_io_methods = unsafe { &*own };
    let mut layer = LAYER.lock().unwrap();
    let table = *layer.tables.entry(std::ptr::from_ref(own) as usize).or_insert_with(|| {
        Box::leak(Box::new(ffi::sqlite3_io_methods {
            xSync: Some(sync),
            xWrite: Some(write),
            xClose: Some(close),
            ..*own
        }))
    });
    layer.files.insert(file as usize, OpenFile { path, own });
    // SAFETY: the file is open, and the table lives as long as the process.
    unsafe { (*file).pMethods = table };
    result
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let mut layer = LAYER.lock().unwrap();
    if let Some((path, disk)) = layer.disk_of(file as usize) {
        disk.syncs += 1;
        let ends_with = |suffix: &str| path.as_os_str().as_bytes().ends_with(suffix.as_bytes());
        let fails = matches!(disk.behaviour, Behaviour::FailsToSync(suffix) if ends_with(suffix));
        CHANGED.notify_all();
        if fails {
            return ffi::SQLITE_IOERR_FSYNC;
        }
    }
    let holds = |layer: &mut Layer| {
        layer
            .disk_of(file as usize)
            .is_some_and(|(_, disk)| disk.behaviour == Behaviour::HoldsSyncs)
    };
    let layer = CHANGED.wait_while(layer, holds).unwrap();
    let sync = layer.own_of(file as usize).xSync.unwrap();
    drop(layer);
    // SAFETY: SQLite's own arguments for SQLite's own function.
    unsafe { sync(file, flags) }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    bytes: *const c_void,
    length: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let mut layer = LAYER.lock().unwrap();
    if let Some((_, disk)) = layer.disk_of(file as usize) {
        disk.writes += 1;
        match disk.behaviour {
            Behaviour::FailsToWrite => return ffi::SQLITE_IOERR_WRITE,
            Behaviour::IsFull => return ffi::SQLITE_FULL,
            Behaviour::Works | Behaviour::FailsToSync(_) | Behaviour::HoldsSyncs => {}
        }
    }
    let write = layer.own_of(file as usize).xWrite.unwrap();
    drop(layer);
    // SAFETY: SQLite's own arguments for SQLite's own function.
    unsafe { write(file, bytes, length, offset) }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let closed = LAYER.lock().unwrap().files.remove(&(file as usize)).unwrap();
    let close = closed.own.xClose.unwrap();
    // SAFETY: SQLite's own arguments for SQLite's own function.
    unsafe { close(file) }
}

static LAYER: Mutex<Layer> =
    Mutex::new(Layer { disks: BTreeMap::new(), files: BTreeMap::new(), tables: BTreeMap::new() });
static CHANGED: Condvar = Condvar::new();
/// The address of SQLite's default.
static UNDERNEATH: OnceLock<usize> = OnceLock::new();
