//! Every test of the whole program, in one binary so that it links once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::print_stdout, clippy::print_stderr)]
#![allow(missing_docs, unreachable_pub)]

mod absences;
mod agent;
mod audit_key;
mod auth;
mod campaigns;
mod claims;
mod compile_fail;
mod faults;
mod histories;
mod hostile_store;
mod independent;
mod json_lines;
mod kill;
mod layering;
mod listener;
mod matrix;
mod memory_scan;
mod notary;
mod openmetrics;
mod outbox;
mod outside;
mod permits;
mod postgres;
mod retention;
mod rewrap;
mod rotation;
mod server;
#[path = "../store/mod.rs"]
mod store;
mod tampering;
mod trail;
mod transcripts;
mod vectors;
mod wire;
