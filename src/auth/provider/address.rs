//! Which addresses are outside: attack A09 is about all the others.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether an address is one of the public Internet's (the IANA registries of special-purpose
/// addresses), and so not of this machine, its network, a cloud's metadata service, or nobody's.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match (a, b, c) {
        (0 | 10 | 127 | 224..=255, _, _) => true,
        // Shared by carriers: RFC 6598.
        (100, 64..=127, _) => true,
        // Link-local, and every cloud's metadata service.
        (169, 254, _) | (172, 16..=31, _) | (192, 168, _) => true,
        // Assigned to protocols, for documentation, 6to4 relays, and for benchmarks.
        (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) => true,
        (198, 51, 100) | (203, 0, 113) => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    // 2000::/3 is all that is given out; the rest is mapped, translated, link-local, unique-local,
    // multicast or nobody's.
    let given_out = a & 0xe000 == 0x2000;
    // Of that: 2001::/23 for protocols (Teredo among them), documentation, and 6to4, which carries an
    // IPv4 address.
    let special = match a {
        0x2001 => b < 0x0200 || b == 0x0db8,
        0x2002 => true,
        0x3fff => b < 0x1000,
        _ => false,
    };
    given_out && !special
}
