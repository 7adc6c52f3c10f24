//! What was done, by whom, to which key, and whether it was refused: records, their bytes, and the
//! hash chain, the tree and the checkpoints that make a changed or missing record show.
//!
//! Pure: never a file, a clock or a thread (the `trail` module has those), and never a plaintext or a
//! key, for no field of a [`Record`] can hold one by its meaning. The chain alone cannot show that the
//! *end* of a log was cut off; that takes a signed checkpoint.

mod chain;
mod clip;
mod deletion;
mod filter;
mod frame;
mod origin;
mod record;
mod rotation;
mod segment;
mod terms;
pub mod verify;
mod wire;

pub use bulla_proof::{
    AnchoredNotes, Checkpoint, CheckpointError, Hash, Items, MAX_CHECKPOINT_BYTES, ProveError,
    Receipt, Sign, SignedCheckpoint, TILE_HASHES, Tile, Tiles, Tree, VerifyingKey, WitnessKey,
    consistency, inclusion, leaf_hash, verify_consistency,
};
pub use chain::{Chain, ChainBroken, ChainFull};
pub use clip::clip;
pub use deletion::{DELETE_SEGMENTS, Deletion};
pub use filter::{Filter, Owners, Query};
pub use frame::{Frame, FrameDamaged, HASH_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES, frame_bytes};
pub use origin::{installation_of, origin};
pub use record::{
    DecidedBy, Destination, MAX_CONTEXT_BYTES, MAX_CONTEXT_PAIRS, MAX_DETAIL_BYTES,
    MAX_ITEM_DETAILS, MAX_NAME_BYTES, MAX_POLICIES, MAX_PRINCIPAL_BYTES, MAX_REASON_BYTES,
    MAX_REQUEST_ID_BYTES, MalformedRecord, Outcome, OverLimit, Record, RecordItem,
};
pub use rotation::{ROTATE_KEY, handover_of, rotated_key, rotation_detail};
pub use segment::{NotASegment, SEGMENT_HEADER_BYTES, SegmentHeader};
pub use terms::{MAX_TERM_BYTES, each_term};
pub use wire::put_place;
