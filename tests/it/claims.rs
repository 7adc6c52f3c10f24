//! What the documents say is so: every test that SECURITY.md names exists, since a claim without its test
//! is not a claim, and every reason that a server gives is explained.

use std::collections::BTreeSet;
use std::path::Path;

use bulla::cli::MEANINGS;
use bulla::service::ErrorReason;

#[test]
fn every_reason_that_a_server_gives_is_explained_and_no_other() {
    let given: BTreeSet<&str> = ErrorReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(given.len(), ErrorReason::ALL.len(), "two reasons with one name");

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("docs/operations.md")).unwrap();
    let (_, table) = text.split_once("| a caller gets | it means | do |\n|---|---|---|\n").unwrap();
    let mut told = Vec::new();
    for row in table.lines().take_while(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells.len() == 3 && cells.iter().all(|cell| !cell.is_empty()), "{row}");
        told.push(cells[0].trim_matches('`'));
    }
    assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), given, "docs/operations.md");
    assert_eq!(told.len(), given.len(), "a reason is told twice");

    let hinted: BTreeSet<&str> = MEANINGS.iter().map(|(reason, ..)| *reason).collect();
    assert_eq!(hinted, given, "src/cli/failure.rs");
    assert_eq!(MEANINGS.len(), given.len(), "a reason is there twice");
    // The messages of these name the field and what it must be.
    let by_field = ["INVALID_ARGUMENT", "CONTEXT_TOO_LARGE", "TOO_LARGE"];
    for (reason, _, hint) in MEANINGS {
        assert_eq!(hint.is_empty(), by_field.contains(reason), "{reason}");
    }
}

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

/// The classes of mistakes in who is who and who may do what, each with a test of its own or with a reason
/// why there can be none.
#[test]
fn every_class_of_mistakes_in_identity_and_rights_has_its_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let (_, claims) = text.split_once("## Claims and their tests").unwrap();
    let rows: Vec<Vec<&str>> = claims
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let code = code(root);
    let numbered = |letter: char, last: u8| (1..=last).map(move |n| format!("{letter}{n:02}"));
    let ids: Vec<String> = [('A', 13), ('B', 9), ('C', 5), ('D', 14)]
        .into_iter()
        .flat_map(|(letter, last)| numbered(letter, last))
        .chain(["E01", "E07", "I02", "I06", "J07", "J08", "J10"].map(str::to_owned))
        .collect();
    assert_eq!(ids.len(), 48);
    for id in ids {
        let own: Vec<_> =
            rows.iter().filter(|row| row[0].split(", ").any(|one| one == id)).collect();
        assert!(!own.is_empty(), "{id} has no row");
        // A test carries the id at the beginning of its name, or after another.
        let small = id.to_lowercase();
        let is_its = |name: &str| name.split('_').any(|word| word == small);
        let has_test =
            own.iter().flat_map(|row| row[2].split('`').skip(1).step_by(2)).any(|name| {
                is_its(name)
                    && ["(", "<"].iter().any(|next| code.contains(&format!("fn {name}{next}")))
            });
        let has_reason = own.iter().any(|row| row[2].starts_with("no test: "));
        assert!(has_test || has_reason, "{id} has neither a test nor a reason");
    }
}

/// Every source of the four packages.
fn code(root: &Path) -> String {
    let mut folders: Vec<_> = ["src", "tests", "client", "proto", "proof"]
        .iter()
        .map(|folder| root.join(folder))
        .collect();
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
