#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use super::*;

fn caller(tenant: u8, name: &str) -> Principal {
    let id = PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap();
    Principal::new(id, TenantId::from_bytes([tenant; 16]))
}

const NOW: u64 = 1_000_000_000;

#[test]
fn without_rates_nobody_waits() {
    let limiter = Limiter::new(1_000_000, Rates::default());
    for _ in 0..10_000 {
        limiter.begin_at(NOW, &caller(1, "app"), Kind::Use, 1000, Rates::default()).unwrap();
    }
}

#[test]
fn one_principals_rate_is_its_own_and_the_tenants_is_everybodys() {
    let limiter = Limiter::new(1_000, Rates::default());
    let rates = Rates { uses_per_second: 15, principal_uses_per_second: 10, ..Rates::default() };
    let allowed = |name: &str| {
        let begin = || limiter.begin_at(NOW, &caller(1, name), Kind::Use, 1, rates);
        let outcomes: Vec<_> = (0..20).map(|_| begin().map(drop)).collect();
        let refused = outcomes.iter().find_map(|outcome| outcome.err());
        (outcomes.iter().filter(|outcome| outcome.is_ok()).count(), refused.unwrap().class)
    };
    assert_eq!(allowed("one"), (10, "principal_uses"));
    let (second, class) = allowed("two");
    assert!(second <= 5, "{second}");
    assert_eq!(class, "tenant_uses");
    assert!(limiter.begin_at(NOW, &caller(2, "one"), Kind::Use, 1, rates).is_ok());
}

#[test]
fn use_and_management_do_not_spend_each_others_rate() {
    let limiter = Limiter::new(1_000, Rates::default());
    let rates = Rates { uses_per_second: 1, management_per_second: 1, ..Rates::default() };
    let begin = |kind| limiter.begin_at(NOW, &caller(1, "app"), kind, 1, rates).map(drop);
    assert!(begin(Kind::Use).is_ok() && begin(Kind::Use).is_err());
    assert!(begin(Kind::Management).is_ok());
    assert_eq!(begin(Kind::Management).unwrap_err().class, "tenant_management");
}

#[test]
fn a_batch_counts_by_its_items() {
    let limiter = Limiter::new(1_000, Rates::default());
    let rates = Rates { uses_per_second: 10, ..Rates::default() };
    let begin = |items| limiter.begin_at(NOW, &caller(1, "app"), Kind::Use, items, rates);
    begin(900).unwrap();
    begin(100).unwrap();
    assert!(begin(1).is_err());
}

#[test]
fn e07_a_busy_server_gives_no_tenant_more_than_its_share() {
    let limiter = Limiter::new(100, Rates::default());
    let none = Rates::default();
    let begin = |tenant| limiter.begin_at(NOW, &caller(tenant, "app"), Kind::Use, 1, none);
    let small: Vec<_> = (0..5).map(|_| begin(2).unwrap()).collect();
    let mut large = Vec::new();
    let refused = loop {
        match begin(1) {
            Ok(under_way) => large.push(under_way),
            Err(limited) => break limited,
        }
    };
    assert_eq!((refused.class, large.len()), ("fair_share", 95));
    // The small tenant is let in all the same, and so is the large one when it is alone.
    let more: Vec<_> = (0..20).map(|_| begin(2).unwrap()).collect();
    assert!(begin(1).is_err());
    drop((small, more));
    assert!(begin(1).is_ok());
    drop(large);
    assert_eq!(limiter.under_way.load(Ordering::Relaxed), 0);
    assert_eq!(limiter.active_tenants.load(Ordering::Relaxed), 0);
}

#[test]
fn h08_of_many_refusals_in_a_second_one_is_recorded_and_the_next_says_how_many_there_were() {
    let limiter = Limiter::new(1_000, Rates::default());
    let rates = Rates { uses_per_second: 1, ..Rates::default() };
    let app = caller(1, "app");
    let begin = |now| limiter.begin_at(now, &app, Kind::Use, 1, rates).map(drop);
    begin(NOW).unwrap();
    let refusals: Vec<_> = (0..50).map(|_| begin(NOW).unwrap_err()).collect();
    assert_eq!(refusals.iter().filter(|refusal| refusal.is_first).count(), 1);
    begin(NOW + 1_000_000).unwrap();
    let next = begin(NOW + 1_000_001).unwrap_err();
    assert!(next.is_first);
    assert_eq!(next.untold, 49);
}

#[test]
fn c03_failures_in_anothers_name_spend_the_own_addresss_allowance_only() {
    let limiter = Limiter::new(1_000, Rates::default());
    let attacker: IpAddr = "203.0.113.9".parse().unwrap();
    let tried = |address: IpAddr| {
        let may = limiter.may_authenticate_at(NOW, address);
        limiter.failed_at(NOW, address);
        may
    };
    assert_eq!((0..2_000).filter(|_| tried(attacker)).count(), 1_000);
    assert!(tried("203.0.113.10".parse().unwrap()));
    // Of an IPv6 network, every address is the same caller's.
    let host = |n: u32| format!("2001:db8::{n:x}").parse().unwrap();
    assert_eq!((0..2_000).filter(|n| tried(host(*n))).count(), 1_000);
    // It is no lock: a second later it may try again.
    assert!(limiter.may_authenticate_at(NOW + 1_000_000, attacker));
}

#[test]
fn a_tenants_own_rate_comes_before_the_servers() {
    let server = Rates { uses_per_second: 2, management_per_second: 3, ..Rates::default() };
    let own = Rates { uses_per_second: 5, ..Rates::default() };
    let merged = own.or(server);
    assert_eq!((merged.uses_per_second, merged.management_per_second), (5, 3));
}

/// Slots that are always asked for by everybody: what each tenant has of them is what the rule says,
/// whatever the others ask for. Nothing here is timed.
#[test]
fn e07_of_a_bounded_number_of_slots_every_tenant_gets_what_it_asks_for_up_to_its_equal_share() {
    const SLOTS: usize = 100;
    const ROUNDS: usize = 400;
    let limiter = Limiter::new(100, Rates::default());
    let none = Rates::default();
    // How many each has under way at most, by itself: a small one, a fair one, a flood.
    let wanted = [5_usize, 30, 500];
    let mut held: [std::collections::VecDeque<UnderWay>; 3] = Default::default();
    let (mut begun, mut refused) = ([0_usize; 3], [0_usize; 3]);
    for round in 0..ROUNDS {
        let now = NOW + round as u64;
        for (at, most) in wanted.iter().enumerate() {
            let tenant = u8::try_from(at).unwrap() + 1;
            // Each asks until it has what it wants or is refused; the flood asks a hundred times.
            while held[at].len() < *most {
                match limiter.begin_at(now, &caller(tenant, "app"), Kind::Use, 1, none) {
                    Ok(under_way) => {
                        held[at].push_back(under_way);
                        begun[at] += 1;
                    }
                    Err(limited) => {
                        assert_eq!(limited.class, "fair_share");
                        assert!(limited.retry_after_ms > 0);
                        refused[at] += 1;
                        break;
                    }
                }
            }
        }
        let under_way: usize = held.iter().map(std::collections::VecDeque::len).sum();
        if round > 0 {
            assert!(under_way >= SLOTS.min(wanted.iter().sum()) - wanted[1], "{under_way} in use");
        }
        // The quiet ones are never refused, and the flood has what they leave.
        assert_eq!((held[0].len(), held[1].len()), (wanted[0], wanted[1]), "round {round}");
        assert!(held[2].len() <= SLOTS, "{} of {SLOTS}", held[2].len());
        // A tenth of everybody's calls end.
        for calls in &mut held {
            calls.drain(..calls.len().div_ceil(10));
        }
    }
    assert_eq!((refused[0], refused[1]), (0, 0));
    assert!(refused[2] > ROUNDS / 2 && begun[2] > begun[1] && begun[1] > begun[0]);
    drop(held);
    assert_eq!(limiter.under_way.load(Ordering::Relaxed), 0);
}
