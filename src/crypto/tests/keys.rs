//! Keys that wrap keys, keys that MAC, and secrets that keep still.

use std::sync::atomic::Ordering;

use super::*;
use crate::crypto::memory::Locked;
use crate::crypto::suite::KekState;

#[test]
fn f12_a_key_wrapped_by_one_back_end_is_the_same_key_to_the_other() {
    let key = KeyMaterial::<RustCrypto>::generate(&OsRandom).unwrap();
    let binding = somewhere().binding();
    let blob = somewhere().kek::<RustCrypto>().wrap_key(&OsRandom, &binding, &key).unwrap();
    let opened = somewhere().kek::<Ring>().open_key(&binding, &blob).unwrap();
    let made = opened.kek().wrap(&OsRandom, &binding, b"secret").unwrap();
    assert_eq!(key.kek().open(&binding, &made).unwrap().into_public(), b"secret");
    let label = Label::new("bulla-row-v1");
    assert_eq!(key.mac_key(label).tag(&[b"row"]), opened.mac_key(label).tag(&[b"row"]));
}

#[test]
fn a_blob_of_another_length_holds_no_key() {
    for bytes in [1, 31, 33, 64] {
        let blob = somewhere().wrap::<RustCrypto>(&vec![5; bytes]);
        let opened = somewhere().kek::<RustCrypto>().open_key(&somewhere().binding(), &blob);
        assert_eq!(opened.err(), Some(OpenFailure::Length));
    }
}

#[test]
fn i05_key_bytes_are_wiped_where_they_came_from() {
    let mut source = [7; 32];
    let material = KeyMaterial::<RustCrypto>::from_bytes(&mut source);
    assert_eq!(source, [0; 32]);
    let opens = Somewhere { kek: [7; 32], ..somewhere() };
    let blob = material.kek().wrap(&OsRandom, &opens.binding(), b"secret").unwrap();
    assert_eq!(opens.open::<RustCrypto>(&blob).unwrap(), b"secret");
}

#[test]
fn a_mac_key_verifies_its_own_tags_alone() {
    let material = KeyMaterial::<RustCrypto>::from_bytes(&mut [7; 32]);
    let rows = material.mac_key(Label::new("bulla-row-v1"));
    let tokens = material.mac_key(Label::new("bulla-token-v1"));
    let tag = rows.tag(&[b"one", b"two"]);
    assert!(rows.verify(&[b"one", b"two"], &tag));
    assert!(rows.verify(&[b"onetwo"], &tag), "parts are joined, as documented");
    assert!(!rows.verify(&[b"one", b"tw"], &tag));
    assert!(!tokens.verify(&[b"one", b"two"], &tag));
    for bit in 0..256 {
        let mut forged = tag;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(!rows.verify(&[b"one", b"two"], &forged));
    }
}

#[test]
fn a_rewrapped_blob_holds_the_same_and_opens_under_the_new_key_alone() {
    let old = somewhere();
    let header = Header::new(BlobKind::Client, [3; 16], 8, 2).unwrap();
    let new = Somewhere { kek: [8; 32], header, ..somewhere() };
    let rewrapped = |blob: &[u8]| {
        let (from, to) = (old.kek::<RustCrypto>(), new.kek());
        from.rewrap(&old.binding(), blob, &to, &new.binding(), &mut Drawn::new(&OsRandom, 1))
    };
    let blob = old.wrap::<RustCrypto>(b"secret");
    let made = rewrapped(&blob).unwrap();
    assert_eq!(new.open::<Ring>(&made).unwrap(), b"secret");
    assert_eq!(Header::parse(&made), Ok(header));
    assert_eq!(old.open::<RustCrypto>(&made), Err(OpenFailure::Commitment));
    assert_eq!(old.open::<RustCrypto>(&blob).unwrap(), b"secret");

    let mut forged = blob;
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(rewrapped(&forged), Err(RewrapFailure::Open(OpenFailure::Tag)));
}

#[test]
fn f01_the_blobs_of_one_call_share_a_draw_and_no_randomness() {
    let (place, binding) = (somewhere(), somewhere().binding());
    let (kek, random) = (place.kek::<RustCrypto>(), Counted::new(usize::MAX));
    let blob = place.wrap::<RustCrypto>(b"secret");
    let mut drawn = Drawn::new(&random, 70);
    let made: std::collections::BTreeSet<Vec<u8>> = (0..75)
        .map(|_| kek.rewrap(&binding, &blob, &kek, &binding, &mut drawn).unwrap()[46..58].to_vec())
        .collect();
    assert_eq!(made.len(), 75, "an IV was used twice");
    // 32, 32, 6, and one for each blob that nobody had announced.
    assert_eq!(random.draws.load(Ordering::Relaxed), 3 + 5);
}

#[test]
fn f12_a_rewrapped_blob_that_does_not_open_to_the_same_is_never_returned() {
    fn rewrapped<const FAULT: u8>() -> Result<Vec<u8>, RewrapFailure> {
        let (place, binding) = (somewhere(), somewhere().binding());
        let blob = place.wrap::<RustCrypto>(b"secret");
        let kek = place.kek::<Lying<FAULT>>();
        kek.rewrap(&binding, &blob, &kek, &binding, &mut Drawn::new(&OsRandom, 1))
    }
    assert_eq!(rewrapped::<SEALED_TEXT_IS_WRONG>(), Err(RewrapFailure::Differs));
    assert_eq!(rewrapped::<SEALED_TAG_IS_WRONG>(), Err(RewrapFailure::Differs));
    // It reads wrongly what it wrote rightly: both readings are wrong, but not equal.
    assert_eq!(rewrapped::<OPENED_TEXT_IS_WRONG>(), Err(RewrapFailure::Differs));
}

/// Fails to compile unless the type implements none of the traits: if it does implement one, the
/// marker that is asked for could be either of two.
macro_rules! mute {
    ($type:ty: $($trait:path),+) => {$({
        trait AmbiguousIf<Marker> {
            fn it() {}
        }
        impl<T: ?Sized> AmbiguousIf<()> for T {}
        struct Implements;
        impl<T: ?Sized + $trait> AmbiguousIf<Implements> for T {}
        let _ = <$type as AmbiguousIf<_>>::it;
    })+};
}

#[test]
fn i01_secrets_cannot_be_printed_copied_compared_or_serialised() {
    macro_rules! each_mute {
        ($($type:ty),+) => {$(
            mute!($type: std::fmt::Debug, std::fmt::Display, Clone, PartialEq);
            mute!($type: serde::Serialize, AsRef<[u8]>, AsMut<[u8]>, std::hash::Hash);
        )+};
    }
    each_mute!(Plaintext, KeyMaterial, Kek, MacKey, KekState<RustCrypto>, Locked<[u8; 32]>);
    each_mute!(KeyMaterial<Ring>, Kek<Ring>, MacKey<Ring>, KekState<Ring>);
}

#[test]
fn a_hundred_thousand_keks_fit_into_a_hundred_mebibytes() {
    for bytes in [size_of::<KekState<RustCrypto>>(), size_of::<KekState<Ring>>()] {
        assert!(bytes.next_multiple_of(32) * 100_000 <= 100 << 20, "{bytes}");
    }
    assert_eq!(size_of::<KekState<RustCrypto>>(), 160);
}
