//! What holds for sealed data of every length and every change to it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

mod pieces;

use std::fmt::Debug;
use std::io::{Cursor, Read, Seek, SeekFrom};

use bulla_client::{DataFailure, DataKey, Header, Opener, SealedReader, Sealer};
use pieces::{by_reader, by_slice, by_stream, opener, reader, released_by_stream};
use proptest::prelude::*;

const CHUNK: usize = 65_536;
const SEALED_CHUNK: usize = CHUNK + 16;
const HEADER: usize = 8 + 138 + 32 + 32;
/// Where the wrapped data key is. Whether that is whole is for the server to say: what is opened here
/// is opened with the data key itself.
const WRAPPED_AT: std::ops::Range<usize> = 8..146;
const DEK: [u8; 32] = [0x5a; 32];
const WRAPPED: [u8; 138] = [0xb0; 138];

fn seal(plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let data_key = DataKey::from_bytes(DEK.to_vec()).unwrap();
    Sealer::new(data_key, &WRAPPED, aad).unwrap().seal(plaintext).unwrap()
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Lengths that are on, just below or just above a chunk's end as often as elsewhere.
fn lengths() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..300_usize,
        (0..4_usize, 0..5_usize).prop_map(|(chunks, off)| (chunks * CHUNK + off).saturating_sub(2)),
        0..3 * CHUNK,
    ]
}

/// No way of opening gives anything but an error, and a stream has released a true beginning.
fn never_opens(sealed: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<(), TestCaseError> {
    let failure = by_slice(&DEK, aad, sealed).expect_err("a slice was opened");
    let (outcome, released) = wait(released_by_stream(&DEK, aad, sealed, 10_007));
    prop_assert_eq!(outcome, Err(failure));
    prop_assert!(plaintext.starts_with(&released));
    prop_assert!(
        released.len() < plaintext.len() || plaintext.is_empty() || released.len() % CHUNK == 0
    );
    prop_assert_eq!(by_reader(&DEK, aad, sealed, 10_007), Err(failure));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_sealed_opens_in_every_way(
        length in lengths(),
        aad in proptest::collection::vec(any::<u8>(), 0..40),
        piece in 1..200_000_usize,
    ) {
        let plaintext = pattern(length);
        let sealed = seal(&plaintext, &aad);
        let chunks = length.div_ceil(CHUNK).max(1);
        prop_assert_eq!(sealed.len(), HEADER + length + 16 * chunks);
        prop_assert!(by_slice(&DEK, &aad, &sealed).unwrap() == plaintext);
        prop_assert!(wait(by_stream(&DEK, &aad, &sealed, piece)).unwrap() == plaintext);
        prop_assert!(by_reader(&DEK, &aad, &sealed, piece).unwrap() == plaintext);
    }

    #[test]
    fn f07_a_flipped_bit_never_opens_and_releases_nothing_false(
        length in lengths(),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let plaintext = pattern(length);
        let mut sealed = seal(&plaintext, b"aad");
        let place = place.index(sealed.len() - WRAPPED_AT.len());
        let place = if place < WRAPPED_AT.start { place } else { place + WRAPPED_AT.len() };
        sealed[place] ^= 1 << bit;
        never_opens(&sealed, b"aad", &plaintext)?;
    }

    #[test]
    fn f07_a_truncated_message_never_opens(
        length in lengths(),
        kept in any::<prop::sample::Index>(),
    ) {
        let plaintext = pattern(length);
        let sealed = seal(&plaintext, b"");
        never_opens(&sealed[..kept.index(sealed.len())], b"", &plaintext)?;
    }

    #[test]
    fn f07_an_extended_message_never_opens(
        length in lengths(),
        more in proptest::collection::vec(any::<u8>(), 1..100),
    ) {
        let plaintext = pattern(length);
        let sealed = [seal(&plaintext, b""), more].concat();
        never_opens(&sealed, b"", &plaintext)?;
    }

    #[test]
    fn f07_chunks_that_change_places_never_open(
        rest in 1..CHUNK,
        (from, to) in (0..4_usize, 0..4_usize),
    ) {
        prop_assume!(from != to);
        let plaintext = pattern(3 * CHUNK + rest);
        let sealed = seal(&plaintext, b"");
        let (header, body) = sealed.split_at(HEADER);
        let mut chunks: Vec<&[u8]> = body.chunks(SEALED_CHUNK).collect();
        chunks.swap(from, to);
        never_opens(&[header, &chunks.concat()].concat(), b"", &plaintext)?;
        chunks.remove(from);
        never_opens(&[header, &chunks.concat()].concat(), b"", &plaintext)?;
    }

    #[test]
    fn f04_associated_data_that_differs_never_opens(
        aad in proptest::collection::vec(any::<u8>(), 0..20),
        other in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        prop_assume!(aad != other);
        let sealed = seal(b"attack at dawn", &aad);
        prop_assert_eq!(by_slice(&DEK, &other, &sealed), Err(DataFailure::Commitment));
    }

    #[test]
    fn f02_another_data_key_never_opens(other in any::<[u8; 32]>()) {
        prop_assume!(other != DEK);
        let sealed = seal(b"attack at dawn", b"");
        prop_assert_eq!(by_slice(&other, b"", &sealed), Err(DataFailure::Commitment));
    }

    #[test]
    fn reading_at_any_offset_gives_what_is_there(
        length in lengths(),
        steps in proptest::collection::vec((any::<prop::sample::Index>(), 0..150_000_usize), 1..12),
    ) {
        let plaintext = pattern(length);
        let sealed = seal(&plaintext, b"");
        let mut reader = reader(&DEK, b"", &sealed).unwrap();
        prop_assert_eq!(reader.plaintext_bytes(), length as u64);
        for (offset, wanted) in steps {
            let offset = offset.index(length + 10);
            let expected = plaintext.get(offset..).unwrap_or_default();
            let expected = &expected[..expected.len().min(wanted)];

            let mut found = Vec::new();
            reader.seek(SeekFrom::Start(offset as u64)).unwrap();
            reader.by_ref().take(wanted as u64).read_to_end(&mut found).unwrap();
            prop_assert!(found == expected);

            let mut buffer = vec![0; wanted];
            let read = reader.read_at(offset as u64, &mut buffer).unwrap();
            prop_assert!(expected.starts_with(&buffer[..read]));
            prop_assert_eq!(read == 0, expected.is_empty());
        }
    }
}

#[test]
fn f03_no_header_byte_can_be_changed_unnoticed() {
    let sealed = seal(b"attack at dawn", b"");
    for place in (0..HEADER).filter(|place| !WRAPPED_AT.contains(place)) {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[place] ^= 1 << bit;
            assert!(by_slice(&DEK, b"", &changed).is_err(), "byte {place}, bit {bit}");
        }
    }
}

#[test]
fn a_header_takes_any_wrapped_form_of_its_data_key_and_the_chunks_stay() {
    let plaintext = pattern(CHUNK + 1);
    let sealed = seal(&plaintext, b"aad");
    let (header, body) = Header::split(&sealed).unwrap();
    assert_eq!((header.suite(), header.header_bytes()), (2, HEADER));
    for bytes in [107, 138, 4202] {
        let other = header.with_wrapped(&vec![0xc0; bytes]).unwrap();
        assert_eq!(other.header_bytes(), HEADER - WRAPPED.len() + bytes);
        let moved = [&other.to_bytes(), body].concat();
        assert!(by_slice(&DEK, b"aad", &moved).unwrap() == plaintext, "{bytes}");
        assert!(by_reader(&DEK, b"aad", &moved, 70_000).unwrap() == plaintext, "{bytes}");
        // Back again, it is what it was.
        assert!([&other.with_wrapped(&WRAPPED).unwrap().to_bytes(), body].concat() == sealed);
    }
    for bytes in [0, 106, 4203] {
        assert_eq!(header.with_wrapped(&vec![0; bytes]), Err(DataFailure::WrappedLength));
    }
}

#[test]
fn f01_two_messages_under_one_data_key_share_no_stream_and_no_commitment() {
    let (one, two) = (seal(&[0; 100], b""), seal(&[0; 100], b""));
    for at in (WRAPPED_AT.end..HEADER).step_by(32) {
        assert_ne!(one[at..at + 32], two[at..at + 32], "at {at}");
    }
    assert!(one[HEADER..].iter().zip(&two[HEADER..]).filter(|(a, b)| a == b).count() < 20);
    // Nor can parts of the one stand in the other.
    for cut in [WRAPPED_AT.end + 32, HEADER] {
        assert!(by_slice(&DEK, b"", &[&one[..cut], &two[cut..]].concat()).is_err(), "at {cut}");
    }
}

#[test]
fn f07_a_slice_with_a_wrong_last_chunk_gives_nothing_at_all() {
    let plaintext = pattern(2 * CHUNK + 5);
    let mut sealed = seal(&plaintext, b"");
    *sealed.last_mut().unwrap() ^= 1;
    assert_eq!(by_slice(&DEK, b"", &sealed), Err(DataFailure::Chunk));
    // A stream has given the first two by then, as its documentation says.
    let (outcome, released) = wait(released_by_stream(&DEK, b"", &sealed, 9_999));
    assert_eq!(outcome, Err(DataFailure::Chunk));
    assert!(released == plaintext[..2 * CHUNK]);
}

#[test]
fn a_reader_refuses_a_file_cut_at_a_chunk_before_any_byte_is_read() {
    let sealed = seal(&pattern(3 * CHUNK), b"");
    for chunks in 0..3 {
        let cut = &sealed[..HEADER + chunks * SEALED_CHUNK];
        let failure = reader(&DEK, b"", cut).err().unwrap();
        let expected = if chunks == 0 { DataFailure::Truncated } else { DataFailure::Chunk };
        assert_eq!(failure, expected);
    }
}

#[test]
fn a_reader_notices_a_file_that_changes_under_it() {
    let plaintext = pattern(3 * CHUNK);
    let sealed = seal(&plaintext, b"");
    let file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut &file, &sealed).unwrap();
    (&file).rewind().unwrap();
    let header = Header::read(&file).unwrap();
    let mut reader = SealedReader::new(opener(&DEK, b"", &header).unwrap(), &file).unwrap();

    let mut byte = [0];
    assert_eq!(reader.read_at(5, &mut byte).unwrap(), 1);
    file.set_len((HEADER + SEALED_CHUNK + 100) as u64).unwrap();
    let error = reader.read_at(CHUNK as u64, &mut byte).unwrap_err();
    assert_eq!(pieces::io_data(&error), DataFailure::Truncated);
    assert_eq!(reader.read_at(5, &mut byte).unwrap(), 1);
    assert_eq!(byte[0], plaintext[5]);
}

#[test]
fn a_reader_seeks_as_files_do() {
    let sealed = seal(b"0123456789", b"");
    let mut reader = reader(&DEK, b"", &sealed).unwrap();
    assert_eq!(reader.seek(SeekFrom::End(-3)).unwrap(), 7);
    let mut end = String::new();
    reader.read_to_string(&mut end).unwrap();
    assert_eq!(end, "789");
    assert_eq!(reader.seek(SeekFrom::Current(-4)).unwrap(), 6);
    assert!(reader.seek(SeekFrom::Current(-7)).is_err());
    assert_eq!(reader.stream_position().unwrap(), 6);
    assert_eq!(reader.seek(SeekFrom::End(90)).unwrap(), 100);
    assert_eq!(reader.read(&mut [0; 4]).unwrap(), 0);
}

#[test]
fn the_class_of_a_failure_does_not_depend_on_the_way() {
    let one = CHUNK;
    for (length, change, class) in [
        (one, 0, None),
        // A whole first chunk that is marked as the last, and then more.
        (one, 5, Some(DataFailure::Chunk)),
        (one, 16, Some(DataFailure::Chunk)),
        (2 * one, -15, Some(DataFailure::Chunk)),
        (2 * one, -65_537, Some(DataFailure::Truncated)),
        (2 * one, -65_536, Some(DataFailure::EmptyLastChunk)),
        (2 * one, -65_552, Some(DataFailure::Chunk)),
    ] {
        let plaintext = pattern(length);
        let mut sealed = seal(&plaintext, b"");
        sealed.resize(sealed.len().saturating_add_signed(change), 0);
        let slice = by_slice(&DEK, b"", &sealed);
        assert_eq!(slice.as_ref().err().copied(), class, "{length} {change}");
        assert!(by_reader(&DEK, b"", &sealed, 1_000) == slice);
        assert!(wait(by_stream(&DEK, b"", &sealed, 1_000)) == slice);
    }
}

#[test]
fn a_sealer_takes_a_wrapped_key_of_possible_lengths_only() {
    for (length, possible) in [(106, false), (107, true), (4202, true), (4203, false)] {
        let data_key = DataKey::from_bytes(DEK.to_vec()).unwrap();
        assert_eq!(Sealer::new(data_key, &vec![0; length], b"").is_ok(), possible, "{length}");
    }
}

#[test]
fn a_data_key_has_16_to_64_bytes() {
    for (length, possible) in [(0, false), (15, false), (16, true), (64, true), (65, false)] {
        assert_eq!(DataKey::from_bytes(vec![1; length]).is_ok(), possible, "{length}");
    }
}

#[tokio::test]
async fn a_stream_reports_the_reader_and_the_writer_that_failed() {
    use bulla_client::EnvelopeError;

    let data_key = || DataKey::from_bytes(DEK.to_vec()).unwrap();
    let sealer = Sealer::new(data_key(), &WRAPPED, b"").unwrap();
    let full = Cursor::new(vec![0; 200].into_boxed_slice());
    let error = sealer.seal_stream(pieces::Pieces::new(&[0; 100], 10), full).await.unwrap_err();
    assert!(matches!(error, EnvelopeError::Write(_)), "{error}");

    let sealed = seal(&[1; 100], b"");
    let header = Header::read_async(pieces::Pieces::new(&sealed, 3)).await.unwrap();
    let opener = opener(&DEK, b"", &header).unwrap();
    let body = pieces::Pieces::new(&sealed[HEADER..], 3);
    let error =
        opener.open_stream(body, Cursor::new(vec![0; 50].into_boxed_slice())).await.unwrap_err();
    assert!(matches!(error, EnvelopeError::Write(_)), "{error}");
}

/// Says of a type whether it can be printed.
struct Printed<T>(std::marker::PhantomData<T>);

impl<T: Debug> Printed<T> {
    const MUTE: bool = false;
}

trait Otherwise {
    const MUTE: bool = true;
}

impl<T> Otherwise for Printed<T> {}

#[test]
fn i01_what_holds_a_secret_cannot_be_printed() {
    const { assert!(!Printed::<String>::MUTE) };
    const { assert!(Printed::<DataKey>::MUTE) };
    const { assert!(Printed::<Sealer>::MUTE) };
    const { assert!(Printed::<Opener>::MUTE) };
    const { assert!(Printed::<SealedReader<Cursor<Vec<u8>>>>::MUTE) };
}
