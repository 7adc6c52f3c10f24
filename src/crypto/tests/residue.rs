//! What is left of keys in the memory of a process that used them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::*;

#[test]
fn i05_no_key_and_no_data_key_is_left_outside_locked_pages() {
    if !in_a_child(
        "crypto::tests::residue::i05_no_key_and_no_data_key_is_left_outside_locked_pages",
    ) {
        return;
    }
    no_key_is_left::<RustCrypto>(&[0x00, 0x36, 0x5C]);
    // Its MAC keys, made on the stack, are wiped with it.
    no_key_is_left::<Ring>(&[0x00, 0x36, 0x5C]);
}

/// Uses a key in every way, lets go of all but itself, and looks for it in all of the memory.
///
/// `masks` are what is looked for XORed with the key: HMAC writes its key with two of them.
fn no_key_is_left<B: Backend>(masks: &[u8]) {
    let mut key = [0; 32];
    OsRandom.fill(&mut key).unwrap();
    let mut secrets = vec![Hidden::new(&key)];
    let material = KeyMaterial::<B>::from_bytes(&mut key);
    let other = KeyMaterial::<B>::generate(&OsRandom).unwrap();
    let binding = somewhere().binding();
    {
        let kek = material.kek();
        let mut blobs = Vec::new();
        for count in [1, 100] {
            kek.generate_data_keys(&OsRandom, &binding, 32, count, |data_key, blob| {
                secrets.push(Hidden::new(data_key));
                blobs.push(blob);
            })
            .unwrap();
        }
        for blob in &blobs {
            kek.open(&binding, blob).unwrap();
            kek.rewrap(&binding, blob, &other.kek(), &binding, &mut Drawn::new(&OsRandom, 1))
                .unwrap();
        }
        let blob = other.kek().wrap_key(&OsRandom, &binding, &material).unwrap();
        other.kek().open_key(&binding, &blob).unwrap();
        material.mac_key(Label::new("bulla-row-v1")).tag(&[b"row"]);
    }
    assert_eq!(found(&secrets, masks), Vec::<String>::new(), "with {}", B::NAME);
    // The search does find what is there.
    let planted: Vec<u8> = secrets[0].0.iter().map(|byte| byte ^ HIDING).collect();
    assert!(!found(&secrets, masks).is_empty());
    drop(planted);
}

/// The head of a secret, so changed that looking for it does not find it here.
struct Hidden([u8; 16]);

const HIDING: u8 = 0xA7;

impl Hidden {
    fn new(secret: &[u8]) -> Self {
        Self(std::array::from_fn(|at| secret[at] ^ HIDING))
    }

    fn is_at(&self, window: &[u8], mask: u8) -> bool {
        self.0.iter().zip(window).all(|(hidden, byte)| hidden ^ HIDING ^ mask == *byte)
    }
}

/// Where in writable memory, outside locked pages, any of `secrets` lies.
fn found(secrets: &[Hidden], masks: &[u8]) -> Vec<String> {
    let memory = File::open("/proc/self/mem").unwrap();
    let mut places = Vec::new();
    for (name, start, end) in searched_mappings() {
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        if memory.read_exact_at(&mut bytes, start).is_err() {
            continue; // A guard page of some thread's stack.
        }
        for (at, window) in bytes.windows(16).enumerate() {
            for (which, secret) in secrets.iter().enumerate() {
                for mask in masks.iter().filter(|mask| secret.is_at(window, **mask)) {
                    places.push(format!("secret {which}, mask {mask:#x}: {name} + {at:#x}"));
                }
            }
        }
    }
    places
}

fn searched_mappings() -> Vec<(String, u64, u64)> {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut mappings = Vec::new();
    let mut current = None;
    for line in maps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let locked = flags.split_whitespace().any(|flag| flag == "lo" || flag == "dd");
            mappings.extend(current.take().filter(|_| !locked));
            continue;
        }
        let Some((range, rest)) = line.split_once(' ') else { continue };
        let Some((start, end)) = range.split_once('-') else { continue };
        let (start, end) = (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16));
        if let (Ok(start), Ok(end), true) = (start, end, rest.starts_with("rw")) {
            current = Some((line.to_owned(), start, end));
        }
    }
    mappings
}
