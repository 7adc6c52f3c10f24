//! A password from a file that only its owner may read. Never from the connector file, the command
//! line or the environment, where others can read it.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use super::store::StoreError;

/// The file's content without the line feed at its end. Wiped on drop.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let shown = path.display();
    let wrong = |why: String| StoreError::Connector(format!("password_file {shown}: {why}"));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mode = file.metadata().map_err(|error| wrong(error.to_string()))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(wrong(format!("others can read it (mode {mode:04o}); run: chmod 600 {shown}")));
    }
    // Born with room for all of it, so that no piece is left behind by growing.
    let mut password = Zeroizing::new(Vec::with_capacity(PASSWORD_BYTES_MAX.saturating_add(1)));
    let limit = u64::try_from(password.capacity()).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut password).map_err(|error| wrong(error.to_string()))?;
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(wrong(format!("it is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    while matches!(password.last(), Some(b'\n' | b'\r')) {
        password.pop();
    }
    if password.is_empty() {
        return Err(wrong("it is empty".to_owned()));
    }
    Ok(password)
}

const PASSWORD_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn d10_a_password_comes_only_from_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        assert!(read(&path).is_err());
        for (content, mode, read_as) in [
            ("tea time\n", 0o600, Some("tea time")),
            ("tea time", 0o400, Some("tea time")),
            ("tea time\n", 0o640, None),
            ("tea time\n", 0o604, None),
            ("\n", 0o600, None),
            ("", 0o600, None),
        ] {
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let password = read(&path).ok();
            assert_eq!(password.as_deref().map(Vec::as_slice), read_as.map(str::as_bytes));
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "a".repeat(4097)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("longer than 4096"));
    }
}
