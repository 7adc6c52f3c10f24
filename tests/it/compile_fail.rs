//! What must not compile, does not: a permit is made by `policy` alone, and a secret is mute.
//!
//! Each file in `tests/fail` names in its first line the error that the compiler must give
//! (`// error: E0451`), or says that it compiles (`// compiles`), which proves that a failure has the
//! reason that it names and not a missing library.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

#[test]
fn a_permit_cannot_be_forged_and_a_secret_cannot_be_shown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fail");
    let (library, dependencies) = library();
    let out = tempfile::tempdir().unwrap();
    let mut controls = 0;
    let mut failures = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        let wanted = text.lines().next().unwrap().to_owned();
        let output = Command::new(std::env::var("RUSTC").unwrap_or("rustc".to_owned()))
            .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata"])
            .args(["--error-format", "short", "--out-dir"])
            .arg(out.path())
            .arg("--extern")
            .arg(format!("bulla={}", library.display()))
            .arg("-L")
            .arg(format!("dependency={}", dependencies.display()))
            .arg(&file)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let errors: Vec<&str> = said.lines().filter(|line| line.contains(": error")).collect();
        match wanted.strip_prefix("// error: ") {
            Some(code) => {
                assert!(!output.status.success(), "{} compiles", file.display());
                let expected = format!("error[{code}]");
                assert!(!errors.is_empty(), "{}: {said}", file.display());
                for error in errors {
                    assert!(error.contains(&expected), "{}: {said}", file.display());
                }
                failures += 1;
            }
            None => {
                assert_eq!(wanted, "// compiles", "{}", file.display());
                assert!(output.status.success(), "{}: {said}", file.display());
                controls += 1;
            }
        }
    }
    assert!(controls >= 1 && failures >= 7, "{controls} controls, {failures} failures");
}

/// The newest library of the program beside this test, and the folder of what it depends on.
fn library() -> (PathBuf, PathBuf) {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if name.starts_with("libbulla-") && name.ends_with(".rlib") {
            found.push((path.metadata().unwrap().modified().unwrap(), path));
        }
    }
    let (_, newest) = found.into_iter().max().expect("the library is built with its tests");
    (newest, folder)
}
