//! Project Wycheproof's cases for both primitives, on both back ends. They are in here and not in
//! `tests/` because nothing outside can pass a nonce.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use wycheproof::{aead, mac};

use super::backend::{Backend, Ring, RustCrypto};

#[test]
fn wycheproof_aes_256_gcm_on_rustcrypto() {
    aes_256_gcm::<RustCrypto>();
}

#[test]
fn wycheproof_aes_256_gcm_on_ring() {
    aes_256_gcm::<Ring>();
}

#[test]
fn wycheproof_hmac_sha_256_on_rustcrypto() {
    hmac_sha_256::<RustCrypto>();
}

#[test]
fn wycheproof_hmac_sha_256_on_ring() {
    hmac_sha_256::<Ring>();
}

fn aes_256_gcm<B: Backend>() {
    let (mut valid, mut invalid) = (0_u32, 0_u32);
    let cases = aead::TestSet::load(aead::TestName::AesGcm).unwrap();
    for group in cases.test_groups {
        // The suite has one size of each.
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for case in group.tests {
            let key: [u8; 32] = case.key[..].try_into().unwrap();
            let iv: [u8; 12] = case.nonce[..].try_into().unwrap();
            let tag: [u8; 16] = case.tag[..].try_into().unwrap();
            let mut opened = case.ct.to_vec();
            let outcome = B::open(&key, &iv, &case.aad, &mut opened, &tag);
            if case.result.must_fail() {
                assert!(outcome.is_err(), "case {} opened", case.tc_id);
                assert!(opened != *case.pt || case.pt.is_empty(), "case {}: f07", case.tc_id);
                invalid = invalid.saturating_add(1);
                continue;
            }
            assert!(outcome.is_ok(), "case {} did not open", case.tc_id);
            assert_eq!(opened, *case.pt, "case {}", case.tc_id);
            let mut sealed = case.pt.to_vec();
            assert_eq!(B::seal(&key, &iv, &case.aad, &mut sealed), Ok(tag), "case {}", case.tc_id);
            assert_eq!(sealed, *case.ct, "case {}", case.tc_id);
            valid = valid.saturating_add(1);
        }
    }
    assert!(valid > 0 && invalid > 0, "{valid} valid, {invalid} invalid");
    println!("{}: AES-256-GCM, {valid} valid and {invalid} invalid cases", B::NAME);
}

fn hmac_sha_256<B: Backend>() {
    let (mut valid, mut invalid) = (0_u32, 0_u32);
    let cases = mac::TestSet::load(mac::TestName::HmacSha256).unwrap();
    for group in cases.test_groups {
        for case in group.tests {
            let state = B::mac_state(&case.key);
            let mut tag = [0; 32];
            let (head, tail) = case.msg.split_at(case.msg.len().div_ceil(3));
            B::mac(&state, &[head, tail], &mut tag);
            // Shorter tags are the head of the whole one.
            let matches = tag.starts_with(&case.tag);
            assert_eq!(matches, !case.result.must_fail(), "case {}", case.tc_id);
            let count = if matches { &mut valid } else { &mut invalid };
            *count = count.saturating_add(1);
        }
    }
    assert!(valid > 0 && invalid > 0, "{valid} valid, {invalid} invalid");
    println!("{}: HMAC-SHA-256, {valid} valid and {invalid} invalid cases", B::NAME);
}
