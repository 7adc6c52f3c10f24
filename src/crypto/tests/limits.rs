//! Every limit at one less, at it, and at one more.

use std::collections::HashSet;

use super::*;
use crate::crypto::context::bound_parts;

#[test]
fn a_plaintext_has_1_to_4096_bytes() {
    let kek = somewhere().kek::<RustCrypto>();
    for (bytes, fits) in [(0, false), (1, true), (4095, true), (4096, true), (4097, false)] {
        let wrapped = kek.wrap(&OsRandom, &somewhere().binding(), &vec![5; bytes]);
        match wrapped {
            Ok(blob) => assert_eq!(somewhere().open::<Ring>(&blob).unwrap(), vec![5; bytes]),
            Err(failure) => assert_eq!(failure, WrapFailure::Length { bytes }),
        }
        assert_eq!(kek.wrap(&OsRandom, &somewhere().binding(), &vec![5; bytes]).is_ok(), fits);
    }
}

#[test]
fn a_blob_has_107_to_4202_bytes() {
    for (bytes, class) in [
        (0, OpenFailure::Length),
        (106, OpenFailure::Length),
        (107, OpenFailure::Commitment),
        (108, OpenFailure::Commitment),
        (4201, OpenFailure::Commitment),
        (4202, OpenFailure::Commitment),
        (4203, OpenFailure::Length),
    ] {
        let mut blob = somewhere().header.to_bytes().to_vec();
        blob.resize(bytes, 0);
        assert_eq!(somewhere().open::<RustCrypto>(&blob), Err(class), "{bytes}");
    }
}

#[test]
fn context_limits_hold_to_the_byte() {
    let pair = |key, value| EncryptionContext::new([("k".repeat(key), "v".repeat(value))]);
    assert_eq!(pair(0, 1), Err(ContextError::KeyEmpty));
    assert!(pair(1, 0).is_ok() && pair(255, 1).is_ok() && pair(256, 1).is_ok());
    assert_eq!(pair(257, 1), Err(ContextError::KeyTooLong { bytes: 257 }));
    assert!(pair(1, 2047).is_ok() && pair(1, 2048).is_ok());
    assert_eq!(pair(1, 2049), Err(ContextError::ValueTooLong { bytes: 2049 }));

    let pairs = |n: usize| EncryptionContext::new((0..n).map(|it| (it.to_string(), String::new())));
    assert!(pairs(63).is_ok() && pairs(64).is_ok());
    assert_eq!(pairs(65), Err(ContextError::TooManyPairs));

    // Eight pairs with keys of one byte: 48 + 8 × 5 + the values.
    let of_size = |bound: usize| {
        let mut left = bound - 48 - 8 * 5;
        EncryptionContext::new((0..8).map(|it: u8| {
            let value = left.min(CONTEXT_VALUE_BYTES_MAX);
            left -= value;
            (char::from(b'a' + it).to_string(), "v".repeat(value))
        }))
    };
    for bound in [16383, 16384] {
        let context = of_size(bound).unwrap();
        let mut bytes = 0;
        bound_parts(&somewhere().header.to_bytes(), &[2; 16], &context, |part| bytes += part.len());
        assert_eq!(bytes, bound);
    }
    assert_eq!(of_size(16385), Err(ContextError::TooLarge { bytes: 16385 }));
}

#[test]
fn f04_a_key_that_comes_twice_is_an_error_whatever_its_values() {
    for (one, other) in [("x", "x"), ("x", "y"), ("y", "x")] {
        let pairs = [("a", one), ("b", ""), ("a", other)];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(EncryptionContext::new(pairs), Err(ContextError::KeyTwice));
    }
}

#[test]
fn a_version_is_never_zero() {
    assert_eq!(Header::new(BlobKind::Client, [0; 16], 0, 0), Err(VersionZero));
    for version in [1, u32::MAX] {
        assert_eq!(Header::new(BlobKind::Kek, [0; 16], version, 0).unwrap().version(), version);
    }
}

#[test]
fn data_keys_have_16_to_64_bytes_and_come_1_to_1000_at_once() {
    let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
    let made = |bytes, count| {
        let mut data_keys = HashSet::new();
        kek.generate_data_keys(&OsRandom, &binding, bytes, count, |data_key, blob| {
            assert_eq!(data_key.len(), bytes);
            assert_eq!(somewhere().open::<Ring>(&blob).unwrap(), data_key);
            data_keys.insert(data_key.to_vec());
        })
        .map(|()| data_keys.len())
    };
    for bytes in [15, 65, 0] {
        assert_eq!(made(bytes, 1), Err(WrapFailure::KeyBytes { bytes }));
    }
    for bytes in [16, 17, 24, 32, 33, 63, 64] {
        for count in [1, 2, 100, 999, 1000] {
            assert_eq!(made(bytes, count), Ok(count), "{bytes} {count}");
        }
    }
    for count in [0, 1001] {
        assert_eq!(made(32, count), Err(WrapFailure::Count { count }));
    }
}
