//! Keys over time, by a clock that is moved by hand and a source that is broken at will; and which
//! places and addresses are outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;
use crate::auth::forge::{PAIRS, Pair, claims, key_set};
use crate::auth::token::{Jws, KeySet, TokenError};
use crate::clock::ManualClock;

const AGES: KeyAges = KeyAges { refresh_ms: 300_000, max_ms: 3_600_000, cooldown_ms: 10_000 };

/// A provider whose answer is set, and whose fetches are counted and can be held up.
#[derive(Default)]
pub(in crate::auth) struct Fake {
    keys: Mutex<Option<Vec<u8>>>,
    pub(in crate::auth) fetches: AtomicUsize,
    held: Option<Semaphore>,
}

impl Fake {
    pub(in crate::auth) fn publish(&self, keys: &[(&str, &Pair)]) {
        let keys: Vec<_> = keys.iter().map(|(id, pair)| pair.jwk(id)).collect();
        *self.keys.lock() = Some(key_set(&keys));
    }

    pub(in crate::auth) fn goes_down(&self) {
        *self.keys.lock() = None;
    }

    pub(in crate::auth) fn fetched(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl FetchKeys for Fake {
    async fn fetch(&self) -> Result<KeySet, FetchError> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        if let Some(held) = &self.held {
            let _ = held.acquire().await.unwrap();
        }
        let text = self.keys.lock().clone();
        Ok(KeySet::parse(&text.ok_or(FetchError::Late)?)?)
    }
}

struct World {
    fake: Arc<Fake>,
    clock: Arc<ManualClock>,
    keys: Arc<IssuerKeys>,
}

fn world_of(fake: Fake) -> World {
    let (fake, clock) = (Arc::new(fake), Arc::new(ManualClock::at_ms(1_781_481_600_000)));
    let keys = IssuerKeys::fetched(
        "login",
        Arc::<Fake>::clone(&fake),
        AGES,
        Arc::<ManualClock>::clone(&clock),
    );
    World { fake, clock, keys }
}

fn world() -> World {
    let world = world_of(Fake::default());
    world.fake.publish(&[("k1", &PAIRS[1])]);
    world
}

impl World {
    async fn asked(&self, id: &str, pair: &Pair) -> Result<u64, TokenError> {
        let token = pair.token(pair.algorithms()[0], id, &claims());
        self.keys.verify(&Jws::parse(&token).unwrap()).await
    }

    /// Until a fetch in the background has ended.
    async fn settle(&self) {
        while self.keys.is_fetching() {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a08_whatever_key_ids_come_there_is_one_fetch_in_a_cooldown() {
    let world = world();
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    for n in 0..200 {
        assert_eq!(world.asked(&format!("x{n}"), &PAIRS[1]).await, Err(TokenError::UnknownKey));
    }
    assert_eq!(world.fake.fetched(), 1);
    world.clock.advance_ms(9_999);
    assert!(world.asked("x", &PAIRS[1]).await.is_err());
    assert_eq!(world.fake.fetched(), 1);
    world.clock.advance_ms(1);
    for n in 0..200 {
        assert!(world.asked(&format!("y{n}"), &PAIRS[1]).await.is_err());
    }
    assert_eq!(world.fake.fetched(), 2);
}

#[tokio::test]
async fn a08_the_cooldown_holds_when_nothing_is_held_and_when_fetches_fail() {
    let world = world();
    world.fake.goes_down();
    for _ in 0..50 {
        assert_eq!(world.asked("k1", &PAIRS[1]).await, Err(TokenError::IssuerUnavailable));
    }
    assert_eq!(world.fake.fetched(), 1);
    world.fake.publish(&[("k1", &PAIRS[1])]);
    assert_eq!(world.asked("k1", &PAIRS[1]).await, Err(TokenError::IssuerUnavailable));
    world.clock.advance_ms(10_000);
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    assert_eq!(world.fake.fetched(), 2);
}

#[tokio::test]
async fn a08_a_jump_of_the_time_of_day_opens_no_cooldown_and_ages_no_key() {
    let world = world();
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    for by_ms in [86_400_000, -2 * 86_400_000] {
        world.clock.jump_ms(by_ms);
        assert!(world.asked("x", &PAIRS[1]).await.is_err());
        assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    }
    assert_eq!(world.fake.fetched(), 1);
}

#[tokio::test]
async fn a13_sixty_four_callers_at_once_share_one_fetch() {
    let world = Arc::new(world_of(Fake { held: Some(Semaphore::new(0)), ..Fake::default() }));
    world.fake.publish(&[("k1", &PAIRS[1])]);
    let callers: Vec<_> = (0..64)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.asked("k1", &PAIRS[1]).await })
        })
        .collect();
    while world.fake.fetched() == 0 {
        tokio::task::yield_now().await;
    }
    world.fake.held.as_ref().unwrap().add_permits(100);
    for caller in callers {
        assert!(caller.await.unwrap().is_ok());
    }
    assert_eq!(world.fake.fetched(), 1);
}

#[tokio::test]
async fn a08_a_fetch_that_its_caller_gave_up_still_ends_and_hangs_nobody() {
    let world = world_of(Fake { held: Some(Semaphore::new(0)), ..Fake::default() });
    world.fake.publish(&[("k1", &PAIRS[1])]);
    {
        let mut asking = std::pin::pin!(world.asked("k1", &PAIRS[1]));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asking.as_mut().poll(&mut context).is_pending());
    }
    world.fake.held.as_ref().unwrap().add_permits(1);
    world.settle().await;
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    assert_eq!(world.fake.fetched(), 1);
}

#[tokio::test]
async fn a10_keys_count_until_their_maximum_age_while_the_provider_is_down_and_not_longer() {
    let world = world();
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    world.fake.goes_down();
    for _ in 0..359 {
        world.clock.advance_ms(10_000);
        assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
        world.settle().await;
    }
    world.clock.advance_ms(9_999);
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    world.settle().await;
    world.clock.advance_ms(1);
    assert_eq!(world.asked("k1", &PAIRS[1]).await, Err(TokenError::IssuerUnavailable));
    world.settle().await;
    world.fake.publish(&[("k1", &PAIRS[1])]);
    world.clock.advance_ms(10_000);
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok(), "it is back");
}

#[tokio::test]
async fn a10_a_new_key_is_found_at_once_and_the_old_one_counts_beside_it() {
    let world = world();
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    world.fake.publish(&[("k1", &PAIRS[1]), ("k2", &PAIRS[3])]);
    world.clock.advance_ms(10_000);
    assert!(world.asked("k2", &PAIRS[3]).await.is_ok());
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    assert_eq!(world.fake.fetched(), 2);
}

#[tokio::test]
async fn a10_a_key_that_the_issuer_took_away_stops_within_the_refresh() {
    let world = world();
    let generation = world.asked("k1", &PAIRS[1]).await.unwrap();
    assert!(world.keys.still(generation));
    world.fake.publish(&[("k2", &PAIRS[3])]);
    world.clock.advance_ms(300_000);
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok(), "the fetch begins now");
    world.settle().await;
    assert_eq!(world.asked("k1", &PAIRS[1]).await, Err(TokenError::UnknownKey));
    assert!(!world.keys.still(generation), "nor does what it verified count");
}

#[tokio::test]
async fn a08_a_set_without_a_key_that_can_be_used_replaces_nothing() {
    let world = world();
    assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
    for broken in
        ["{}", r#"{"keys":[]}"#, "<html>", r#"{"keys":[{"kty":"oct","kid":"k1","k":"AA"}]}"#]
    {
        *world.fake.keys.lock() = Some(broken.as_bytes().to_vec());
        world.clock.advance_ms(300_000);
        assert!(world.asked("k1", &PAIRS[1]).await.is_ok());
        world.settle().await;
        assert!(world.asked("k1", &PAIRS[1]).await.is_ok(), "{broken}");
    }
}

#[test]
fn a09_only_an_address_of_the_public_internet_is_outside() {
    for inside in [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.1",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "4000::1",
        "5f00::1",
    ] {
        assert!(!is_public(inside.parse().unwrap()), "{inside}");
    }
    for outside in [
        "1.1.1.1",
        "8.8.8.8",
        "100.63.255.255",
        "100.128.0.1",
        "169.253.1.1",
        "172.15.1.1",
        "172.32.0.1",
        "192.0.1.1",
        "198.17.1.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "2001:4860:4860::8888",
    ] {
        assert!(is_public(outside.parse().unwrap()), "{outside}");
    }
}

#[test]
fn a09_a_place_is_plain_https_or_it_is_none() {
    for bad in [
        "http://login.example/",
        "HTTPS://login.example/",
        "https:/login.example",
        "https://",
        "https:///x",
        "https://user@login.example/",
        "https://login.example@evil.example/",
        "https://login.example/?next=x",
        "https://login.example/#x",
        "https://login.example/%2e%2e",
        "https://Login.example/",
        "https://login..example/",
        "https://login.example:0/",
        "https://login.example:/",
        "https://login.example:99999/",
        "https://login.example:+443/",
        "https://login.example:0443/",
        "https://[fe80::1%25eth0]/",
        "https://[fe80::1%eth0]/",
        "https://[::1/",
        "https://::1/",
        "https://login.example\\@evil/",
        "https://login .example/",
        "https://login.example/\r\nx: y",
        "file:///etc/passwd",
        "ftp://login.example/",
        "https://l\u{43e}gin.example/",
        "//login.example/",
        "",
        "https://[::1]x/",
    ] {
        assert_eq!(Place::parse(bad), Err(MalformedPlace), "{bad:?}");
    }
    let place = Place::parse("https://login.example:8443/realm/").unwrap();
    assert_eq!((place.host(), place.port(), place.path()), ("login.example", 8443, "/realm/"));
    let document = place.discovery().to_string();
    assert_eq!(document, "https://login.example:8443/realm/.well-known/openid-configuration");
    let six = Place::parse("https://[2606:4700::1111]").unwrap();
    assert_eq!((six.host(), six.port(), six.path()), ("2606:4700::1111", 443, "/"));
}
