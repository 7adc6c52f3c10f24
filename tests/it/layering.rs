//! Who may name whom: the architecture as a table that runs.
//!
//! A module of the program stands on a floor and may name only the floors below it; some arrows never
//! exist whatever the floors say; and each module may name only the outside crates of its row. A real
//! arrow that breaks a rule is a fault of the tree, never a reason for an exception here.

mod fixtures;
mod source;

use std::collections::BTreeSet;
use std::path::Path;

use source::{Named, Source};

/// One module: where it stands, and which outside crates it may name.
struct Row {
    module: &'static str,
    stands: Stands,
    /// With spaces between.
    crates: &'static str,
}

#[derive(Clone, Copy, PartialEq)]
enum Stands {
    /// Names only the floors below.
    Floor(u8),
    /// Names no other module of the program.
    Beside,
    /// Starts the program, and names whatever it starts.
    Door,
}

use Stands::{Beside, Door, Floor};

const ROWS: &[Row] = &[
    row_of(
        "crypto",
        Floor(0),
        "aes_gcm getrandom hmac parking_lot ring rustix secrecy sha2 subtle thiserror \
         zeroize",
    ),
    row_of("config", Floor(0), "serde thiserror toml"),
    row_of("clock", Floor(0), ""),
    row_of("keys", Floor(1), "thiserror uuid"),
    row_of("metrics", Floor(2), "prometheus_client"),
    row_of("policy", Floor(2), "cedar_policy miette quick_cache serde_json thiserror"),
    row_of("audit", Floor(2), "base64 bulla_proof bulla_proto crc32fast prost sha2 thiserror"),
    row_of("campaign", Floor(2), "thiserror"),
    row_of("store", Floor(2), "async_trait parking_lot rusqlite rustix thiserror tokio"),
    row_of("approval", Floor(3), "thiserror"),
    row_of("census", Floor(3), "thiserror"),
    row_of("limits", Floor(3), "quick_cache thiserror"),
    row_of("trail", Floor(3), "crc32fast parking_lot roaring rustix thiserror tokio tracing zstd"),
    row_of(
        "auth",
        Floor(3),
        "arc_swap async_trait aws_lc_rs base64 bytes crc32fast http http_body_util hyper hyper_util \
         parking_lot quick_cache rustls rustls_pki_types serde serde_json sha2 subtle thiserror \
         tokio tokio_rustls tracing webpki zeroize",
    ),
    row_of(
        "custody",
        Floor(4),
        "arc_swap base64 bulla_proto hex parking_lot prost quick_cache sha2 subtle \
         thiserror tokio tracing zeroize",
    ),
    row_of("auditor", Floor(4), "thiserror"),
    row_of(
        "sinks",
        Floor(4),
        "base64 bytes hex http http_body_util hyper hyper_util opentelemetry_proto prost \
         prost_types rand rustls rustls_pki_types serde serde_json socket2 thiserror tokio tokio_rustls tracing",
    ),
    row_of(
        "service",
        Floor(5),
        "futures_util hex parking_lot thiserror tokio tracing uuid zeroize",
    ),
    row_of("rotation", Floor(6), "futures_util thiserror tokio tracing"),
    row_of(
        "api",
        Floor(6),
        "age async_trait base64 bulla_proto bytes futures_util http http_body \
         http_body_util parking_lot prost prost_types sha2 thiserror tokio tokio_stream tonic \
         tonic_prost tonic_types tower_service tracing uuid zeroize",
    ),
    row_of(
        "server",
        Floor(7),
        "arc_swap async_trait bulla_proto bytes futures_util http http_body http_body_util hyper \
         hyper_util parking_lot rustix rustls rustls_pki_types socket2 thiserror tokio \
         tokio_rustls tokio_stream tonic tower_service tracing tracing_subscriber uuid",
    ),
    row_of(
        "cli",
        Beside,
        "aes_gcm base64 bulla_client bulla_proof bulla_proto bytes clap clap_complete csv futures_util \
         getrandom hex http http_body_util hyper hyper_util indicatif oauth2 prost prost_types rcgen \
         rusqlite rustix rustls rustls_pki_types serde serde_json sha2 thiserror tokio tokio_rustls \
         tokio_stream toml uuid zeroize",
    ),
    row_of(
        "agent",
        Beside,
        "async_trait base64 bulla_client futures_util parking_lot rand rusqlite rustls \
         rustls_pki_types serde serde_json sha2 thiserror tokio tokio_postgres \
         tokio_postgres_rustls tokio_stream toml uuid zeroize",
    ),
    row_of("main", Door, "mimalloc"),
    row_of("program", Door, "bulla_client clap serde_json tokio tracing tracing_subscriber"),
];

const fn row_of(module: &'static str, stands: Stands, crates: &'static str) -> Row {
    Row { module, stands, crates }
}

/// Arrows that never exist, whatever the floors say: from, to, why.
const NEVER: &[(&[&str], &[&str], &str)] = &[
    (&["store"], &["crypto"], "a store holds wrapped bytes and cannot open them"),
    (&["service", "api", "rotation"], &["store"], "rows are reached through custody alone"),
    (&["api"], &["crypto", "custody"], "the api parses and renders, and holds no key"),
    (
        &["approval", "census", "campaign"],
        &["crypto", "config", "clock", "store", "trail", "auth"],
        PURE,
    ),
    (&["keys", "metrics", "policy", "audit"], &["crypto", "config", "clock", "store"], PURE),
    (&["metrics"], &["policy", "audit", "campaign"], "it counts, and knows nobody"),
    (&["service"], &["auth"], "a use case is given a principal"),
];

/// Paths outside the program that never appear: in which modules, what, why.
const NEVER_OUTSIDE: &[(&[&str], &[&str], &str)] = &[
    (PURE_MODULES, &["std", "fs"], PURE),
    (PURE_MODULES, &["std", "net", "TcpStream"], PURE),
    (PURE_MODULES, &["std", "net", "TcpListener"], PURE),
    (PURE_MODULES, &["std", "net", "UdpSocket"], PURE),
    (PURE_MODULES, &["std", "net", "ToSocketAddrs"], PURE),
    (PURE_MODULES, &["std", "io"], PURE),
    (PURE_MODULES, &["std", "env"], PURE),
    (PURE_MODULES, &["std", "process"], PURE),
    (PURE_MODULES, &["std", "thread"], PURE),
    (PURE_MODULES, &["std", "future"], PURE),
    (PURE_MODULES, &["std", "time", "SystemTime"], PURE),
    (PURE_MODULES, &["std", "time", "Instant"], PURE),
    (&["service"], &["bulla_proto", "kms"], "a use case knows no gRPC"),
    (
        &["audit", "custody", "census", "campaign"],
        &["bulla_proto", "kms"],
        "what is stored is not what is sent",
    ),
];

const PURE_MODULES: &[&str] =
    &["keys", "metrics", "policy", "approval", "audit", "census", "campaign"];
const PURE: &str = "it is pure: no I/O, no clock, no async";

/// Two engines that must not lean on each other.
const APART: (&[&str], &[&str]) = (&["store", "sqlite"], &["store", "postgres"]);

/// Names that say nothing.
const EMPTY_NAMES: [&str; 6] = ["utils", "common", "helpers", "types", "core", "manager"];

/// What the client, which a user's service links, never depends on.
const HEAVY: [&str; 5] = ["bulla", "rusqlite", "libsqlite3-sys", "ring", "openssl"];

/// The outside crates that the manifest gives: for the program, and for its tests besides.
struct Crates {
    program: BTreeSet<String>,
    tests: BTreeSet<String>,
}

impl Crates {
    fn of(manifest: &toml::Table) -> Self {
        let names = |section: &str| {
            let table = manifest.get(section).and_then(toml::Value::as_table);
            let names = table.into_iter().flat_map(toml::Table::keys);
            names.map(|name| name.replace('-', "_")).collect()
        };
        Self { program: names("dependencies"), tests: names("dev-dependencies") }
    }
}

/// Everything that is wrong with the program's sources, one line each.
fn faults(sources: &[Source], crates: &Crates) -> Vec<String> {
    let test_modules: Vec<_> = sources.iter().flat_map(Source::test_modules).collect();
    let mut faults = Vec::new();
    for source in sources {
        let module = source.module();
        for name in module.iter().cloned().chain(source.declared()) {
            if EMPTY_NAMES.contains(&name.as_str()) {
                faults.push(format!("{}: a module called {name} says nothing", source.path));
            }
        }
        let top = match module.first() {
            Some(top) => top.as_str(),
            None if source.path.ends_with("main.rs") => "main",
            None => {
                // The crate's root only declares; each module that it declares needs a row.
                for name in source.declared().iter().filter(|name| row(name).is_none()) {
                    faults.push(format!("{}: module {name} has no row", source.path));
                }
                continue;
            }
        };
        let Some(row) = row(top) else {
            faults.push(format!("{}: module {top} has no row", source.path));
            continue;
        };
        let all_test = test_modules.iter().any(|test| module.starts_with(test));
        for named in source.names(all_test) {
            let fault = if named.inside {
                inside_fault(row, &module, &named)
            } else {
                outside_fault(row, &named, crates)
            };
            if let Some(fault) = fault {
                faults.push(format!("{}:{}: {fault}", source.path, named.line));
            }
        }
    }
    faults.dedup();
    faults
}

/// What is wrong with a path inside the program.
fn inside_fault(from: &Row, module: &[String], named: &Named) -> Option<String> {
    let Some(to) = named.segments.first().map(String::as_str) else {
        return named.in_use.then(|| "names the whole crate".to_owned());
    };
    if to == "*" {
        return Some("names everything in the crate's root".to_owned());
    }
    let (one, other) = APART;
    for (one, other) in [(one, other), (other, one)] {
        if module.iter().take(2).eq(one) && named.segments.iter().take(2).eq(other) {
            return Some(format!("{} → {}: engines stand apart", one.join("::"), other.join("::")));
        }
    }
    if to == from.module {
        return None;
    }
    let Some(target) = row(to) else { return Some(format!("module {to} has no row")) };
    for (whom, what, why) in NEVER {
        if whom.contains(&from.module) && what.contains(&to) {
            return Some(format!("{} → {to}: {why}", from.module));
        }
    }
    let allowed = match (from.stands, target.stands) {
        (Door, _) => true,
        (Floor(from), Floor(to)) => to < from,
        (Beside | Floor(_), _) => false,
    };
    (!allowed).then(|| format!("{} → {to}: not a floor below", from.module))
}

/// What is wrong with a path into another crate.
fn outside_fault(from: &Row, named: &Named, crates: &Crates) -> Option<String> {
    let first = named.segments.first()?;
    for (whom, what, why) in NEVER_OUTSIDE {
        let begin: Vec<&str> = named.segments.iter().map(String::as_str).collect();
        let begin = match begin.split_last() {
            Some((&"*", begin)) => begin,
            _ => &begin[..],
        };
        let begin: Vec<&str> =
            begin.iter().map(|s| if *s == "core" || *s == "alloc" { "std" } else { s }).collect();
        let hit = begin.starts_with(what) || (named.in_use && what.starts_with(&begin));
        if whom.contains(&from.module) && hit {
            return Some(format!("{} → {}: {why}", from.module, named.segments.join("::")));
        }
    }
    let known = crates.program.contains(first) || crates.tests.contains(first);
    let mine = from.crates.split(' ').any(|name| name == first);
    let test = named.in_test;
    (known && !mine && !test).then(|| format!("{} may not name the crate {first}", from.module))
}

/// What is wrong with the client: it leans on nothing of the program's.
fn client_faults(sources: &[Source], manifest: &toml::Table) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for named in source.names(false).iter().filter(|named| named.begins == "bulla") {
            faults.push(format!("{}:{}: bulla-client → bulla", source.path, named.line));
        }
    }
    for (name, given) in manifest.get("dependencies").and_then(toml::Value::as_table).unwrap() {
        let package = given.get("package").and_then(toml::Value::as_str).unwrap_or(name);
        if HEAVY.contains(&package) || HEAVY.contains(&name.as_str()) {
            faults.push(format!("client/Cargo.toml: bulla-client → {package}"));
        }
    }
    faults
}

fn row(module: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.module == module)
}

/// Every `.rs` file under a folder of the repository.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path: name, text: std::fs::read_to_string(path).unwrap() });
            }
        }
    }
    assert!(!found.is_empty());
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn manifest(path: &str) -> toml::Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(path).unwrap().parse().unwrap()
}

#[test]
fn every_arrow_of_the_program_points_down() {
    let faults = faults(&sources("src"), &Crates::of(&manifest("Cargo.toml")));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_client_leans_on_nothing_of_the_program() {
    let faults = client_faults(&sources("client/src"), &manifest("client/Cargo.toml"));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_crate_of_the_table_is_one_that_the_program_has() {
    let crates = Crates::of(&manifest("Cargo.toml"));
    for row in ROWS {
        for name in row.crates.split_whitespace() {
            assert!(crates.program.contains(name), "{}: {name} is no dependency", row.module);
        }
    }
}
