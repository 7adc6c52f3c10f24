//! The contract of `bulla::store::Store`, sentence by sentence, for any store.

mod commits;
mod feed;
mod reads;
mod together;

pub use commits::*;
pub use feed::*;
pub use reads::*;
pub use together::*;
