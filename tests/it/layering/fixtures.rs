//! Each rule of the table, proved by a source that breaks it.

use super::source::{Named, Source};
use super::{Crates, client_faults, faults, manifest};

fn found(path: &str, text: &str) -> Vec<String> {
    faults(&[Source::new(path, text)], &Crates::of(&manifest("Cargo.toml")))
}

#[track_caller]
fn refused(path: &str, text: &str, why: &str) {
    let found = found(path, text);
    assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    assert!(found[0].contains(why), "{path}: {text}: {found:?}");
}

#[track_caller]
fn accepted(path: &str, text: &str) {
    assert_eq!(found(path, text), [""; 0], "{path}: {text}");
}

#[test]
fn an_arrow_down_is_accepted_however_it_is_written() {
    accepted("src/custody/read.rs", "use crate::store::Store; fn f(k: crate::crypto::Kek) {}");
    accepted("src/service/mod.rs", "use crate::{keys::KeyId, custody::{self, Custody}};");
    accepted("src/store/sqlite/mod.rs", "use super::rows; use super::super::store::Row;");
    accepted("src/main.rs", "fn main() { bulla::server::run(); bulla::cli::run() }");
}

#[test]
fn an_arrow_up_or_across_is_refused() {
    refused("src/crypto/mod.rs", "use crate::keys::KeyId;", "crypto → keys: not a floor below");
    refused("src/store/mod.rs", "fn f() { crate::audit::x() }", "store → audit: not a floor below");
    refused("src/custody/a.rs", "use crate::service::Service;", "custody → service");
    refused("src/api/mod.rs", "use crate::rotation::x;", "api → rotation: not a floor below");
}

#[test]
fn an_arrow_is_seen_in_every_spelling() {
    let up = "custody → service";
    refused("src/custody/a.rs", "use crate::{keys::KeyId, service::{a, b as c}};", "→ service");
    refused("src/custody/a.rs", "use super::super::service;", up);
    refused("src/custody/mod.rs", "use super::service::*;", up);
    refused("src/custody/mod.rs", "mod inner { use super::super::service::x; }", up);
    refused("src/custody/mod.rs", "fn f() { let x = self::super::service::x(); }", up);
    refused("src/custody/mod.rs", "macro_rules! m { () => { $crate::service::x() } }", up);
    refused("src/custody/mod.rs", "#[derive(crate::service::X)] struct S;", up);
    refused("src/custody/mod.rs", "fn f<'a>(x: &'a crate::service::X<'a>) {}", up);
    refused("src/custody/mod.rs", "use crate :: /* a note */ service :: x;", up);
    refused("src/custody/mod.rs", "fn f() { x::<crate::service::X>() }", up);
    refused("src/custody/mod.rs", "#[cfg(test)] mod tests { use crate::service::x; }", up);
    refused("src/custody/mod.rs", r#"const A: char = '"'; use crate::service::x; // ""#, up);
    refused("src/custody/mod.rs", "use crate as root;", "names the whole crate");
    refused("src/custody/mod.rs", "use crate::*;", "names everything in the crate's root");
}

#[test]
fn what_is_no_code_is_no_arrow() {
    accepted("src/custody/mod.rs", "//! crate::service\n/* a /* crate::service */ b */");
    accepted("src/custody/mod.rs", r###"const A: &str = r#"crate::service "x""#;"###);
    accepted("src/custody/mod.rs", r#"const A: &[u8] = b"\"crate::service"; fn f<'a>() {}"#);
}

#[test]
fn the_forbidden_arrows_are_refused_for_their_reason() {
    refused("src/store/rows.rs", "use crate::crypto::Kek;", "holds wrapped bytes");
    for from in ["service", "api", "rotation"] {
        refused(&format!("src/{from}/mod.rs"), "use crate::store::Row;", "through custody alone");
    }
    refused("src/api/mod.rs", "use crate::crypto::EncryptionContext;", "holds no key");
    refused("src/api/mod.rs", "use crate::custody::Custody;", "holds no key");
    refused("src/service/mod.rs", "use crate::auth::Peer;", "is given a principal");
    refused("src/service/mod.rs", "use crate::server::Limits;", "not a floor below");
    refused("src/rotation/mod.rs", "use crate::server::Limits;", "not a floor below");
    refused("src/cli/mod.rs", "use crate::keys::KeyId;", "cli → keys");
    refused("src/cli/mod.rs", "use crate::server;", "cli → server");
    refused("src/agent/mod.rs", "use crate::service::perform;", "agent → service");
    refused("src/agent.rs", "use crate::cli::Printer;", "agent → cli");
}

#[test]
fn the_engines_stand_apart() {
    refused("src/store/sqlite/a.rs", "use crate::store::postgres::X;", "engines stand apart");
    refused("src/store/postgres/mod.rs", "use super::sqlite::X;", "engines stand apart");
}

#[test]
fn what_is_pure_names_no_disk_clock_or_runtime() {
    for module in ["keys", "policy", "audit"] {
        let path = format!("src/{module}/mod.rs");
        for text in [
            "use std::fs;",
            "use std::{fmt, fs::File};",
            "fn f() { std::net::TcpStream::connect(\"\"); }",
            "use std::io::Read;",
            "use std::time::SystemTime;",
            "use std::time;",
            "use std::time::*;",
            "fn f() -> std::time::Instant { loop {} }",
            "use core::future::Future;",
            "use crate::clock::Clock;",
            "use crate::store::Row;",
        ] {
            let found = found(&path, text);
            assert!(!found.is_empty(), "{path}: {text}");
            assert!(found.iter().all(|fault| fault.contains("it is pure")), "{text}: {found:?}");
        }
        refused(&path, "use tokio::sync::watch;", "may not name the crate tokio");
        refused(&path, "use async_trait::async_trait;", "may not name the crate async_trait");
        accepted(&path, "use std::{fmt, time::Duration, collections::BTreeMap};");
    }
}

#[test]
fn a_crate_outside_a_modules_row_is_refused() {
    refused("src/service/mod.rs", "use tonic::Status;", "may not name the crate tonic");
    refused("src/service/mod.rs", "use bulla_proto::kms::Key;", "knows no gRPC");
    refused("src/custody/mod.rs", "use bulla_proto::kms;", "not what is sent");
    refused("src/keys/mod.rs", "use bulla_proto::stored;", "may not name the crate bulla_proto");
    refused("src/server/mod.rs", "use ::rusqlite::Connection;", "may not name the crate rusqlite");
    refused("src/store/mod.rs", "extern crate ring;", "may not name the crate ring");
    accepted("src/api/mod.rs", "use bulla_proto::kms::Key;");
}

#[test]
fn test_code_may_name_the_crates_of_tests_and_no_other_code_may() {
    let test = "#[cfg(test)] mod tests { use proptest::prelude::*; fn f(a: u8, b: u8) {} }";
    accepted("src/keys/mod.rs", test);
    refused("src/keys/mod.rs", &format!("{test} use tempfile::TempDir;"), "the crate tempfile");
    let declares = Source::new("src/keys/mod.rs", "#[cfg(test)] mod tests;");
    let file = Source::new("src/keys/tests/a.rs", "use proptest::prelude::*;");
    let crates = Crates::of(&manifest("Cargo.toml"));
    assert_eq!(faults(&[declares, file], &crates), [""; 0]);
    refused("src/keys/tests/a.rs", "use proptest::prelude::*;", "the crate proptest");
}

#[test]
fn a_module_without_a_row_is_refused() {
    refused("src/extra/mod.rs", "", "module extra has no row");
    refused("src/extra.rs", "", "module extra has no row");
    refused("src/lib.rs", "pub mod extra;", "module extra has no row");
    refused("src/lib.rs", "pub mod extra { }", "module extra has no row");
    refused("src/service/mod.rs", "use crate::extra::X;", "module extra has no row");
}

#[test]
fn a_module_whose_name_says_nothing_is_refused() {
    for name in ["utils", "common", "helpers", "types", "core", "manager"] {
        refused(&format!("src/keys/{name}.rs"), "", "says nothing");
        refused("src/keys/mod.rs", &format!("mod {name} {{}}"), "says nothing");
    }
}

#[test]
fn a_client_that_leans_on_the_program_is_refused() {
    let none = "[dependencies]\nprost = \"1\"".parse().unwrap();
    let source = |text: &str| [Source::new("client/src/lib.rs", text)];
    assert_eq!(client_faults(&source("use bulla_proto::kms; use crate::call;"), &none), [""; 0]);
    assert_eq!(client_faults(&source("use bulla::crypto::Kek;"), &none).len(), 1);
    for heavy in ["bulla = \"1\"", "b = { package = \"bulla\", path = \"..\" }", "rusqlite = \"1\""]
    {
        let manifest = format!("[dependencies]\n{heavy}").parse().unwrap();
        assert_eq!(client_faults(&source(""), &manifest).len(), 1, "{heavy}");
    }
}

#[test]
fn a_path_is_unfolded_and_resolved() {
    let source = Source::new("src/store/sqlite/mod.rs", "use super::{a::{self, b}, c::*, d as e};");
    let names: Vec<String> =
        source.names(false).iter().map(|named: &Named| named.segments.join("::")).collect();
    assert_eq!(names, ["store::a", "store::a::b", "store::c::*", "store::d"]);
}
