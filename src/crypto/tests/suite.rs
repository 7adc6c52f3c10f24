//! Wrapping, opening, and what a blob is bound to.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::crypto::context::bound_parts;
use crate::crypto::suite::{KekState, Place};

fn a_header() -> impl Strategy<Value = Header> {
    let kind = prop::sample::select(BlobKind::ALL.to_vec());
    (kind, any::<[u8; 16]>(), 1..=u32::MAX, any::<u32>()).prop_map(
        |(kind, key_id, version, store)| Header::new(kind, key_id, version, store).unwrap(),
    )
}

fn a_context() -> impl Strategy<Value = Vec<(String, String)>> {
    btree_map("\\PC{1,20}", "\\PC{0,30}", 0..8).prop_map(|pairs| pairs.into_iter().collect())
}

/// Contexts of few letters, so that two of them are often nearly alike.
fn a_short_context() -> impl Strategy<Value = BTreeMap<String, String>> {
    btree_map("[ab\u{0}]{1,3}", "[ab\u{0}]{0,3}", 0..4)
}

fn a_place() -> impl Strategy<Value = Somewhere> {
    (any::<[u8; 32]>(), a_header(), any::<[u8; 16]>(), a_context())
        .prop_map(|(kek, header, tenant, context)| Somewhere { kek, header, tenant, context })
}

fn a_plaintext() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 1..80), vec(any::<u8>(), 4000..=4096)]
}

proptest! {
    #[test]
    fn f12_either_back_end_opens_what_either_wrapped(
        place in a_place(), plaintext in a_plaintext(),
    ) {
        for blob in [place.wrap::<RustCrypto>(&plaintext), place.wrap::<Ring>(&plaintext)] {
            prop_assert_eq!(blob.len(), plaintext.len() + BLOB_OVERHEAD_BYTES);
            prop_assert_eq!(&blob[..HEADER_BYTES], &place.header.to_bytes()[..]);
            prop_assert_eq!(Header::parse(&blob), Ok(place.header));
            prop_assert_eq!(place.open::<RustCrypto>(&blob), Ok(plaintext.clone()));
            prop_assert_eq!(place.open::<Ring>(&blob), Ok(plaintext.clone()));
        }
    }

    #[test]
    fn f05_a_changed_bit_anywhere_never_opens(
        place in a_place(), plaintext in a_plaintext(), bit: prop::sample::Index,
    ) {
        let mut blob = place.wrap::<RustCrypto>(&plaintext);
        let bit = bit.index(blob.len() * 8);
        blob[bit / 8] ^= 1 << (bit % 8);
        let class = place.open::<RustCrypto>(&blob).unwrap_err();
        prop_assert_eq!(place.open::<Ring>(&blob), Err(class));
        match bit / 8 {
            0..4 => prop_assert_eq!(class, OpenFailure::Magic),
            4 => prop_assert_eq!(class, OpenFailure::Suite),
            5 => prop_assert!(matches!(class, OpenFailure::Type | OpenFailure::Commitment)),
            22..26 => prop_assert!(matches!(class, OpenFailure::Version | OpenFailure::Commitment)),
            46..58 | 90.. => prop_assert_eq!(class, OpenFailure::Tag),
            _ => prop_assert_eq!(class, OpenFailure::Commitment),
        }
        // Nor does it under the binding of the blob that it was.
        let kept = place.kek::<RustCrypto>().open(&place.binding(), &blob);
        prop_assert_eq!(kept.err(), Some(class));
    }

    #[test]
    fn f02_a_blob_opens_for_its_own_key_tenant_and_context_alone(
        place in a_place(), bit in 0_usize..128, key_bit in 0_usize..256, other in a_context(),
    ) {
        let blob = place.wrap::<RustCrypto>(b"a data key");
        let mut another = place.clone();
        another.tenant[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(another.open::<RustCrypto>(&blob), Err(OpenFailure::Commitment));
        let mut another = place.clone();
        another.kek[key_bit / 8] ^= 1 << (key_bit % 8);
        prop_assert_eq!(another.open::<Ring>(&blob), Err(OpenFailure::Commitment));
        let another = Somewhere { context: other, ..place.clone() };
        let same = another.context == place.context;
        prop_assert_eq!(another.open::<RustCrypto>(&blob).is_ok(), same);
    }

    #[test]
    fn f04_two_contexts_encode_alike_only_if_they_are_the_same(
        one in a_short_context(), other in a_short_context(),
    ) {
        let same = one == other;
        prop_assert_eq!(encoded(&one) == encoded(&other), same);
        prop_assert_eq!(naively_encoded(&one) == naively_encoded(&other), same);
    }

    #[test]
    fn f04_contexts_encode_as_a_second_encoder_says(
        context in a_context(), turn: prop::sample::Index,
    ) {
        let map: BTreeMap<_, _> = context.iter().cloned().collect();
        prop_assert_eq!(encoded(&map), naively_encoded(&map));
        // In whatever order the pairs come.
        let mut turned = context.clone();
        turned.rotate_left(if context.is_empty() { 0 } else { turn.index(context.len()) });
        prop_assert_eq!(EncryptionContext::new(turned), EncryptionContext::new(context));
    }

    #[test]
    fn j05_bytes_of_any_kind_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
        let place = somewhere();
        prop_assert!(place.open::<RustCrypto>(&bytes).is_err());
        let mut blob = place.header.to_bytes().to_vec();
        blob.extend_from_slice(&bytes);
        prop_assert!(place.open::<Ring>(&blob).is_err());
    }
}

fn encoded(pairs: &BTreeMap<String, String>) -> Vec<u8> {
    let context = EncryptionContext::new(pairs.clone()).unwrap();
    let mut bytes = Vec::new();
    bound_parts(&somewhere().header.to_bytes(), &[2; 16], &context, |it| {
        bytes.extend_from_slice(it)
    });
    bytes
}

/// Written from the format's description and nothing else: pairs as byte strings, sorted by hand.
fn naively_encoded(pairs: &BTreeMap<String, String>) -> Vec<u8> {
    let mut pairs: Vec<(Vec<u8>, Vec<u8>)> =
        pairs.iter().map(|(key, value)| (key.bytes().collect(), value.bytes().collect())).collect();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let two = |n: usize| vec![(n >> 8) as u8, (n & 0xFF) as u8];
    let mut all = vec![somewhere().header.to_bytes().to_vec(), vec![2; 16], two(pairs.len())];
    for (key, value) in pairs {
        all.extend([two(key.len()), key, two(value.len()), value]);
    }
    all.concat()
}

#[test]
fn f04_a_boundary_between_key_and_value_that_moved_does_not_open() {
    let with = |key: &str, value: &str| Somewhere {
        context: vec![(key.to_owned(), value.to_owned())],
        ..somewhere()
    };
    let blob = with("ab", "c").wrap::<RustCrypto>(b"secret");
    assert_eq!(with("ab", "c").open::<RustCrypto>(&blob).unwrap(), b"secret");
    for (key, value) in [("a", "bc"), ("abc", ""), ("ab", "C"), ("AB", "c"), ("ab\0", "c")] {
        assert_eq!(with(key, value).open::<RustCrypto>(&blob), Err(OpenFailure::Commitment));
    }
    let empty = Somewhere { context: Vec::new(), ..somewhere() };
    assert_eq!(empty.open::<RustCrypto>(&blob), Err(OpenFailure::Commitment));
}

#[test]
fn f04_letters_that_look_alike_are_different_letters() {
    let composed = EncryptionContext::new([("\u{e9}".to_owned(), String::new())]);
    let decomposed = EncryptionContext::new([("e\u{301}".to_owned(), String::new())]);
    assert_ne!(composed, decomposed);
}

#[test]
fn f01_a_repeated_salt_and_iv_never_meet_two_plaintexts() {
    let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
    let stuck = Stuck { byte: 9, moment: 0 };
    let blobs: Vec<_> = (0..200_u8).map(|it| kek.wrap(&stuck, &binding, &[it]).unwrap()).collect();
    let salts: HashSet<_> = blobs.iter().map(|blob| blob[30..46].to_vec()).collect();
    assert_eq!(salts.len(), blobs.len());
    // The same message again gives the same blob, which tells nothing but that.
    assert_eq!(kek.wrap(&stuck, &binding, &[0]).unwrap(), blobs[0]);
}

#[test]
fn f03_no_other_suite_is_tried() {
    for suite in (0..=u8::MAX).filter(|suite| *suite != 1) {
        let mut blob = somewhere().wrap::<RustCrypto>(b"secret");
        blob[4] = suite;
        assert_eq!(somewhere().open::<RustCrypto>(&blob), Err(OpenFailure::Suite));
    }
}

#[test]
fn f06_a_blob_of_one_kind_never_opens_as_another() {
    for kind in BlobKind::ALL {
        let header = |kind| Header::new(kind, [3; 16], 7, 1).unwrap();
        let wrapped = Somewhere { header: header(kind), ..somewhere() };
        let blob = wrapped.wrap::<RustCrypto>(&[5; 32]);
        for other in BlobKind::ALL {
            let wanted = Somewhere { header: header(other), ..somewhere() };
            let opened = wanted.kek::<RustCrypto>().open_key(&wanted.binding(), &blob);
            assert_eq!(opened.is_ok(), kind == other);
            // Nor if the blob is relabelled.
            let mut relabelled = blob.clone();
            relabelled[5] = other as u8;
            let opened = wanted.kek::<RustCrypto>().open(&wanted.binding(), &relabelled);
            assert_eq!(opened.is_ok(), kind == other);
        }
    }
}

#[test]
fn f07_a_buffer_whose_tag_is_wrong_never_holds_plaintext() {
    struct Seen<'a>(Vec<u8>, &'a RefCell<Vec<u8>>);
    impl Place for Seen<'_> {
        fn buffer(&mut self) -> &mut [u8] {
            &mut self.0
        }
    }
    impl Drop for Seen<'_> {
        fn drop(&mut self) {
            self.1.replace(self.0.clone());
        }
    }
    fn check<B: Backend>() {
        let state = KekState::<B>::new(&somewhere().kek);
        let plaintext: Vec<u8> = (0..64).collect();
        let mut blob = somewhere().wrap::<B>(&plaintext);
        *blob.last_mut().unwrap() ^= 1;
        let seen = RefCell::default();
        let opened = state.open(&somewhere().binding(), &blob, |bytes| Seen(vec![0; bytes], &seen));
        assert_eq!(opened.err(), Some(OpenFailure::Tag));
        let seen = seen.borrow();
        assert_eq!(seen.len(), plaintext.len());
        assert!(seen.iter().zip(&plaintext).filter(|(one, other)| one == other).count() < 16);
        // A wrong commitment does not even get as far as a buffer.
        blob[58] ^= 1;
        let none = |_| -> Plaintext { panic!("a buffer was made") };
        let opened = state.open(&somewhere().binding(), &blob, none);
        assert_eq!(opened.err(), Some(OpenFailure::Commitment));
    }
    check::<RustCrypto>();
    check::<Ring>();
}

#[test]
fn a_header_that_is_not_the_bindings_does_not_open() {
    let blob = somewhere().wrap::<RustCrypto>(b"secret");
    let header = Header::new(BlobKind::Client, [3; 16], 8, 1).unwrap();
    let another = Somewhere { header, ..somewhere() };
    let opened = another.kek::<RustCrypto>().open(&another.binding(), &blob);
    assert_eq!(opened.err(), Some(OpenFailure::Commitment));
}
