//! The composition root: builds the program from its parts, listens, drains. No rule lives here.

mod administer;
mod assemble;
mod check;
mod connection;
mod counted_store;
mod directory;
mod drain;
mod error;
mod gate;
mod limits;
mod listen;
mod notary;
mod outside;
mod retention;
mod runtimes;
mod serve;
mod tls;
mod tokens;
mod trust;

pub use administer::{Bindings, InitOptions, bind, init};
pub use check::{Finding, check};
pub use connection::Tracked;
pub use drain::{Drain, DrainSwitch, drain, terminated};
pub use error::ServerError;
pub use gate::{Gate, ListenCounts};
pub use limits::ListenLimits;
pub use listen::{Accept, AuthRefusal, Listen, OnRefused};
pub use notary::rotate_audit_key;
pub use runtimes::{Ended, Runtimes, bind_each, cores};
pub use serve::{ServeOptions, serve};
pub use tls::{TlsIdentity, provider, server_config};
