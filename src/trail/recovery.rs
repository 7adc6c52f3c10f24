//! What is done with a log before it is used: a new one gets its header, an old one is verified from
//! its first record to its last, and a torn end is cut off. Never cuts anything off a log that has a
//! whole record after the damage: that is not what a crash leaves behind.

use super::TrailError;
use super::disk::LogFile;
use super::reader::{Found, Frames, INDEX_INTERVAL, Index, Mark};
use crate::audit::{Chain, Frame, HASH_BYTES, LOG_HEADER_BYTES, LogHeader};

/// A log that can be added to.
pub(super) struct Recovered {
    pub(super) created: bool,
    pub(super) chain: Chain,
    pub(super) index: Index,
    pub(super) torn_bytes: u64,
}

/// Verifies, or begins, the log in `file`.
pub(super) fn recover(file: &dyn LogFile, header: LogHeader) -> Result<Recovered, TrailError> {
    let length = file.length().map_err(|error| TrailError::io("measure", error))?;
    let created = begin(file, header, length)?;
    let length = length.max(LOG_HEADER_BYTES as u64);
    let (chain, marks, sound) = verify(file, header.chain(), length)?;
    let torn_bytes = length.saturating_sub(sound);
    if torn_bytes > 0 {
        file.truncate(sound).map_err(|error| TrailError::io("cut the torn end off", error))?;
        file.sync().map_err(|error| TrailError::io("sync", error))?;
    }
    Ok(Recovered { created, chain, index: Index::new(marks, sound), torn_bytes })
}

/// Checks the header, or writes it where there is no record yet and a crash may have kept it from
/// being whole. Whether the log is new.
fn begin(file: &dyn LogFile, header: LogHeader, length: u64) -> Result<bool, TrailError> {
    let mut found = [0; LOG_HEADER_BYTES];
    let known = usize::try_from(length).unwrap_or(usize::MAX).min(LOG_HEADER_BYTES);
    let into = found.get_mut(..known).unwrap_or_default();
    read_exactly(file, into)?;
    let expected = header.to_bytes();
    if known < LOG_HEADER_BYTES {
        if expected.get(..known) != found.get(..known) {
            return Err(TrailError::NotALog);
        }
        write_exactly(file, &expected)?;
        file.sync().map_err(|error| TrailError::io("sync", error))?;
        return Ok(true);
    }
    match LogHeader::parse(&found) {
        Ok(found) if found == header => Ok(false),
        Ok(_) => Err(TrailError::OtherInstallation),
        Err(_) => Err(TrailError::NotALog),
    }
}

/// Follows the chain; where the last whole record ends is the third value.
fn verify(
    file: &dyn LogFile,
    mut chain: Chain,
    length: u64,
) -> Result<(Chain, Vec<Mark>, u64), TrailError> {
    let mut frames = Frames::new(file, LOG_HEADER_BYTES as u64, length);
    let mut marks = vec![Mark { offset: frames.offset(), chain }];
    loop {
        let passed = match frames.peek().map_err(|error| TrailError::io("read", error))? {
            Found::End => break,
            Found::Damage => None,
            Found::Frame(frame, bytes) => match chain.verify(&frame) {
                Ok(()) => Some(bytes),
                Err(_) if is_torn_in_its_hash(&frame) => None,
                Err(broken) => return Err(TrailError::Broken { sequence: broken.sequence }),
            },
        };
        let Some(bytes) = passed else {
            let sound = frames.offset();
            let sequence = chain.sequence().saturating_add(1);
            if has_later_record(&mut frames, sequence, length)? {
                return Err(TrailError::Broken { sequence });
            }
            return Ok((chain, marks, sound));
        };
        frames.pass(bytes);
        if chain.sequence().is_multiple_of(INDEX_INTERVAL) {
            marks.push(Mark { offset: frames.offset(), chain });
        }
    }
    let sound = frames.offset();
    Ok((chain, marks, sound))
}

/// The checksum does not cover the hash, so a write that stopped inside it leaves zeros there.
fn is_torn_in_its_hash(frame: &Frame<'_>) -> bool {
    frame.hash().iter().skip(HASH_BYTES / 2).all(|byte| *byte == 0)
}

/// Whether a whole record that could follow `sequence` stands anywhere after the place of damage.
fn has_later_record(
    frames: &mut Frames<'_>,
    sequence: u64,
    length: u64,
) -> Result<bool, TrailError> {
    loop {
        frames.pass(1);
        let latest = sequence.saturating_add(length.saturating_sub(frames.offset()));
        let ahead = frames.look().map_err(|error| TrailError::io("read", error))?;
        let Some(claimed) = ahead.get(8..).and_then(|rest| rest.first_chunk()) else {
            return Ok(false);
        };
        // The checksum is worth computing only where the sequence is one that could be here.
        let plausible = (sequence..=latest).contains(&u64::from_be_bytes(*claimed));
        if plausible && matches!(Frame::read(ahead), Ok(Some(_))) {
            return Ok(true);
        }
    }
}

fn read_exactly(file: &dyn LogFile, into: &mut [u8]) -> Result<(), TrailError> {
    let mut done = 0;
    while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(done as u64, rest) {
            Ok(0) => return Err(TrailError::NotALog),
            Ok(read) => done = done.saturating_add(read),
            Err(error) => return Err(TrailError::io("read", error)),
        }
    }
    Ok(())
}

fn write_exactly(file: &dyn LogFile, bytes: &[u8]) -> Result<(), TrailError> {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match file.write_at(done as u64, rest) {
            Ok(written) if written > 0 => done = done.saturating_add(written),
            Ok(_) => return Err(TrailError::io("begin", std::io::ErrorKind::WriteZero.into())),
            Err(error) => return Err(TrailError::io("begin", error)),
        }
    }
    Ok(())
}
