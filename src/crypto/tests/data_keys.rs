//! How data keys are made, and what happens when the randomness is bad.

use std::collections::HashSet;

use super::*;
use crate::crypto::kbkdf::{DATA_KEY, derive};

#[test]
fn f08_data_keys_differ_when_the_randomness_is_stuck() {
    let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
    let stuck = Stuck { byte: 9, moment: 5 };
    let mut data_keys = HashSet::new();
    for count in [1, 1, 100, 1000] {
        kek.generate_data_keys(&stuck, &binding, 32, count, |data_key, _| {
            data_keys.insert(data_key.to_vec());
        })
        .unwrap();
    }
    assert_eq!(data_keys.len(), 1102);
}

#[test]
fn f01_cloned_machines_make_the_same_data_key_only_at_the_same_moment() {
    let first = |moment| {
        let mut made = Vec::new();
        let stuck = Stuck { byte: 9, moment };
        let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
        kek.generate_data_keys(&stuck, &binding, 32, 1, |it, _| made = it.to_vec()).unwrap();
        made
    };
    assert_ne!(first(1), first(2));
    // What the documentation says that it does not give.
    assert_eq!(first(1), first(1));
}

#[test]
fn a_data_key_is_the_systems_randomness_and_the_hedge_as_documented() {
    let kek = somewhere().kek::<Ring>();
    let binding = somewhere().binding();
    let stuck = Stuck { byte: 9, moment: 0x0102 };
    let mut number = 0_u64;
    kek.generate_data_keys(&stuck, &binding, 64, 3, |data_key, _| {
        let input = [&[9; 16][..], &0x0102_u64.to_be_bytes(), &number.to_be_bytes()].concat();
        let mut hedge = [0; 64];
        let state = RustCrypto::mac_state(&somewhere().kek);
        derive::<RustCrypto>(&state, DATA_KEY, [&input, binding.digest()], &mut hedge);
        assert_eq!(data_key, hedge.map(|byte| byte ^ 9));
        number += 1;
    })
    .unwrap();
}

#[test]
fn a_hundred_data_keys_take_one_draw_and_a_thousand_few() {
    let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
    for (bytes, count, draws) in [(32, 1, 1), (32, 100, 1), (64, 100, 1), (64, 1000, 10)] {
        let counted = Counted::new(usize::MAX);
        kek.generate_data_keys(&counted, &binding, bytes, count, |_, _| {}).unwrap();
        assert_eq!(counted.draws.into_inner(), draws);
        let drawn = draws * 16 + count * (bytes + 28);
        assert_eq!(counted.bytes.into_inner(), drawn as u64);
    }
}

#[test]
fn f08_without_randomness_nothing_is_made() {
    let (kek, binding) = (somewhere().kek::<RustCrypto>(), somewhere().binding());
    let none = Counted::new(0);
    let unavailable = WrapFailure::Random(RandomFailed::Unavailable);
    let made = kek.generate_data_keys(&none, &binding, 32, 5, |_, _| panic!("a data key was made"));
    assert_eq!(made, Err(unavailable));
    assert_eq!(kek.wrap(&none, &binding, b"secret"), Err(unavailable));
    assert!(KeyMaterial::<RustCrypto>::generate(&none).is_err());

    let zero = Stuck { byte: 0, moment: 0 };
    let stuck = WrapFailure::Random(RandomFailed::Stuck);
    assert_eq!(kek.generate_data_keys(&zero, &binding, 32, 1, |_, _| {}), Err(stuck));
    assert_eq!(kek.wrap(&zero, &binding, b"secret"), Err(stuck));
    assert_eq!(KeyMaterial::<Ring>::generate(&zero).err(), Some(RandomFailed::Stuck));

    // In the middle of a batch, too.
    let few = Counted::new(1);
    assert_eq!(kek.generate_data_keys(&few, &binding, 64, 101, |_, _| {}), Err(unavailable));
}
