//! Bulla: a key management service for envelope encryption that can finish a rotation.
//!
//! The modules are floors of a house; who may name whom is the table in `tests/it/layering.rs`.

pub mod agent;
pub mod api;
pub mod approval;
pub mod audit;
pub mod auditor;
pub mod auth;
pub mod campaign;
pub mod census;
pub mod cli;
pub mod clock;
pub mod config;
pub mod crypto;
pub mod custody;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod policy;
pub mod rotation;
pub mod server;
pub mod service;
pub mod sinks;
pub mod store;
pub mod trail;
