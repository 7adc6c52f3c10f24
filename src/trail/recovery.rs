//! What is done with a log before it is used: a new one is begun; of an old one the last segments are
//! verified, and a torn end is left behind where it stands, for the next segment begins before it. Never
//! passes over a damage that a later write came after: that is not what a crash leaves.

use std::io;
use std::sync::Arc;

use super::TrailError;
use super::catalogue::{Catalogue, Part};
use super::disk::LogFile;
use super::ledger::Active;
use super::place::{Kind, Name, Place, read_whole, write_whole};
use super::reader::{Bytes, Found, Frames, first_chain};
use super::tenants::Tenants;
use crate::audit::{Chain, Frame, MAX_FRAME_BYTES, Record, SEGMENT_HEADER_BYTES};

/// A log that can be added to.
pub(super) struct Recovered {
    pub(super) created: bool,
    pub(super) chain: Chain,
    pub(super) catalogue: Catalogue,
    pub(super) tenants: Tenants,
    /// The segment to go on with; None where a new one is to be begun.
    pub(super) active: Option<Active>,
    pub(super) torn_bytes: u64,
}

/// What the last segment holds.
struct Last {
    chain: Chain,
    begins: Chain,
    tenants: Tenants,
    /// Where its last record ends.
    sound: u64,
    torn_bytes: u64,
}

/// Verifies the log's end.
pub(super) fn recover(place: &Place, names: &[String]) -> Result<Recovered, TrailError> {
    let parts = names.iter().filter_map(|name| match Kind::of(name) {
        Kind::Plain(name) => Some(Part::new(name, false)),
        Kind::Packed(name) => Some(Part::new(name, true)),
        _ => None,
    });
    let mut catalogue = Catalogue::new(parts.collect());
    let Some((name, packed)) = catalogue.names().next_back() else {
        return Ok(Recovered {
            created: true,
            chain: first_chain(place),
            catalogue,
            tenants: Tenants::default(),
            active: None,
            torn_bytes: 0,
        });
    };
    verify_beginning(place, &catalogue)?;
    let last = verify_last(place, name, packed)?;
    verify_before(place, &catalogue, name, &last.begins)?;
    let mut tenants = tenants_before(place, &catalogue, &last.begins)?;
    tenants.extend(last.tenants);
    catalogue.set_durable(last.chain.sequence());
    let active = match packed {
        true => None,
        false => go_on(place, &mut catalogue, name, &last.begins, last.sound, last.torn_bytes)?,
    };
    let (chain, torn_bytes) = (last.chain, last.torn_bytes);
    Ok(Recovered { created: false, chain, catalogue, tenants, active, torn_bytes })
}

/// Makes sure that what was found is durable: an earlier run may have been stopped between a write
/// and its sync, or after a sync that failed, and then the pages say more than the disk. A torn
/// segment is not added to.
fn go_on(
    place: &Place,
    catalogue: &mut Catalogue,
    name: Name,
    begins: &Chain,
    sound: u64,
    torn_bytes: u64,
) -> Result<Option<Active>, TrailError> {
    let file = place.disk.open(&place.segment(name)).map_err(|e| TrailError::io("open", e))?;
    write_again(&*file, sound).map_err(|error| TrailError::io("sync", error))?;
    let file: Arc<dyn LogFile> = file.into();
    let length = file.length().map_err(|error| TrailError::io("measure", error))?;
    catalogue.begin(name, Arc::clone(&file), sound);
    let is_whole = torn_bytes == 0 && length == place.segment_bytes;
    Ok(is_whole.then_some(Active { name, file, begins: *begins, used: sound }))
}

fn write_again(file: &dyn LogFile, end: u64) -> io::Result<()> {
    let mut at = 0_u64;
    let mut part = Vec::new();
    while at < end {
        let left = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX);
        part.resize(left.min(MAX_FRAME_BYTES), 0);
        read_whole(file, at, &mut part)?;
        write_whole(file, at, &part)?;
        at = at.saturating_add(part.len() as u64);
    }
    file.sync()
}

fn verify_last(place: &Place, name: Name, packed: bool) -> Result<Last, TrailError> {
    let bytes = Bytes::at(place, name, packed).map_err(opened)?;
    let begins = bytes.header(place, name)?.chain();
    let read = |error| TrailError::io("read", error);
    let mut frames = Frames::new(bytes, SEGMENT_HEADER_BYTES as u64, u64::MAX).map_err(read)?;
    let (mut chain, mut tenants) = (begins, Tenants::default());
    loop {
        let sequence = chain.sequence().saturating_add(1);
        let passed = match frames.peek().map_err(read)? {
            Found::End | Found::Damage => None,
            Found::Frame(frame, bytes) => match chain.verify(&frame) {
                Ok(()) => {
                    tenants.follow(&frame);
                    Some(bytes)
                }
                Err(_) if chain.is_torn(&frame) => None,
                Err(_) => return Err(TrailError::Broken { sequence }),
            },
        };
        if let Some(bytes) = passed {
            frames.pass(bytes);
            continue;
        }
        let sound = frames.offset();
        let torn_bytes = torn(&mut frames, sequence)?;
        return Ok(Last { chain, begins, tenants, sound, torn_bytes });
    }
}

/// How many bytes from here to the last that is not zero: what was being written when the machine
/// stopped, the record `sequence` first.
///
/// Parts of one write reach the disk in any order, so whole records may stand behind what is missing.
/// Each says how far behind the beginning of its write it is: one whose write began after `sequence`
/// was written when `sequence` was durable, and then this is damage.
fn torn(frames: &mut Frames, sequence: u64) -> Result<u64, TrailError> {
    let read = |error| TrailError::io("read", error);
    let began = frames.offset();
    let mut torn_bytes = 0_u64;
    while frames.offset() < frames.end() {
        let ahead = frames.look().map_err(read)?;
        let zeros = ahead.iter().take_while(|byte| **byte == 0).count();
        if zeros > 7 || zeros == ahead.len() {
            // A frame's length begins with a zero or two, and its sequence has none before it but those.
            frames.pass(zeros.saturating_sub(3).max(1));
            continue;
        }
        let Some(first) = ahead.first() else { break };
        let is_zero = *first == 0;
        if let Ok(Some((frame, _))) = Frame::read(ahead)
            && began_after(&frame, sequence)
        {
            return Err(TrailError::Broken { sequence });
        }
        frames.pass(1);
        if !is_zero {
            torn_bytes = frames.offset().saturating_sub(began);
        }
    }
    Ok(torn_bytes)
}

fn began_after(frame: &Frame<'_>, sequence: u64) -> bool {
    let position = Record::decode(frame.payload()).map_or(0, |record| record.write_position);
    frame.sequence().saturating_sub(position.into()) > sequence
}

/// A log that does not begin with its first record was shortened by somebody who kept what it said of
/// tenants, or damaged. Whether they might shorten it, a verifier finds out.
fn verify_beginning(place: &Place, catalogue: &Catalogue) -> Result<(), TrailError> {
    let first = catalogue.begins();
    let Some((name, packed)) = catalogue.names().next().filter(|_| first > 1) else {
        return Ok(());
    };
    let bytes = Bytes::at(place, name, packed).map_err(opened)?;
    let begins = bytes.header(place, name)?.chain();
    Tenants::load_beginning(place, &begins).map(|_| ()).ok_or(TrailError::Beginning { first })
}

/// Whether what is before the last segment leads to its first record.
fn verify_before(
    place: &Place,
    catalogue: &Catalogue,
    last: Name,
    begins: &Chain,
) -> Result<(), TrailError> {
    let broken = TrailError::Broken { sequence: last.first };
    let before = catalogue.names().rev().find(|(name, _)| name.first < last.first);
    let Some((name, packed)) = before else {
        let is_first = last.first > 1 || *begins == first_chain(place);
        return if is_first { Ok(()) } else { Err(broken) };
    };
    let chain = follow(place, name, packed, begins.sequence(), |_| {})?;
    if chain == *begins { Ok(()) } else { Err(broken) }
}

/// Follows a segment as far as the record `until`.
fn follow(
    place: &Place,
    name: Name,
    packed: bool,
    until: u64,
    mut seen: impl FnMut(&Frame<'_>),
) -> Result<Chain, TrailError> {
    let read = |error| TrailError::io("read", error);
    let bytes = Bytes::at(place, name, packed).map_err(opened)?;
    let mut chain = bytes.header(place, name)?.chain();
    let mut frames = Frames::new(bytes, SEGMENT_HEADER_BYTES as u64, u64::MAX).map_err(read)?;
    while chain.sequence() < until {
        let sequence = chain.sequence().saturating_add(1);
        let bytes = match frames.peek().map_err(read)? {
            Found::Frame(frame, bytes) if chain.verify(&frame).is_ok() => {
                seen(&frame);
                bytes
            }
            _ => return Err(TrailError::Broken { sequence }),
        };
        frames.pass(bytes);
    }
    Ok(chain)
}

/// Each tenant's count before the last segment: as the file beside it says, or by that of an earlier
/// one and the records since.
fn tenants_before(
    place: &Place,
    catalogue: &Catalogue,
    begins: &Chain,
) -> Result<Tenants, TrailError> {
    if begins.sequence() == 0 {
        return Ok(Tenants::default());
    }
    if let Some(tenants) = Tenants::load(place, begins) {
        return Ok(tenants);
    }
    let mut firsts = Vec::new();
    let mut until = begins.sequence();
    let mut tenants = None;
    for (name, packed) in catalogue.names().rev() {
        if name.first > until {
            continue;
        }
        firsts.push((name, packed, until));
        until = name.first.saturating_sub(1);
        let chain = follow(place, name, packed, until, |_| {})?;
        if let Some(known) = Tenants::load(place, &chain) {
            tenants = Some(known);
            break;
        }
    }
    let first = catalogue.begins();
    // The counts of what is deleted stand nowhere else.
    let mut tenants = match tenants {
        None if first > 1 => return Err(TrailError::Beginning { first }),
        tenants => tenants.unwrap_or_default(),
    };
    for (name, packed, until) in firsts.into_iter().rev() {
        follow(place, name, packed, until, |frame| tenants.follow(frame))?;
    }
    Ok(tenants)
}

fn opened(error: io::Error) -> TrailError {
    match error.kind() {
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => TrailError::Exposed,
        _ => TrailError::io("open", error),
    }
}
