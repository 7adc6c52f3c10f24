//! Every test that SECURITY.md names exists: a claim without its test is not a claim.

use std::path::Path;

#[test]
fn every_test_that_security_md_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, claims) = text.split_once("## Claims and their tests").unwrap();
    let table: Vec<&str> = claims.lines().filter(|line| line.starts_with("| ")).collect();
    // Between backquotes, every other piece is a name; a test's is the only kind of four words.
    let names = table.iter().flat_map(|line| line.split('`').skip(1).step_by(2));
    let names: Vec<&str> = names.filter(|name| name.matches('_').count() >= 3).collect();
    assert!(table.len() > 30 && names.len() > 60, "{} {}", table.len(), names.len());
    let code = code(root);
    let exists =
        |name: &str| ["(", "<"].iter().any(|next| code.contains(&format!("fn {name}{next}")));
    let missing: Vec<&&str> = names.iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Every source of the three packages.
fn code(root: &Path) -> String {
    let mut folders: Vec<_> =
        ["src", "tests", "client", "proto"].iter().map(|folder| root.join(folder)).collect();
    let mut code = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                code.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    code
}
