//! Where something is fetched from: an `https` address in its plainest form.

use std::fmt;

/// `https://HOST[:PORT][/PATH]`, and nothing else: no user, query, fragment, zone or escape.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    host: String,
    port: u16,
    path: String,
}

/// The text is no such address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "not an address such as https://login.example.org/realm, in lower case, without a query or an escape"
)]
pub struct MalformedPlace;

// === impl Place ===

impl Place {
    /// Parses the plain form.
    pub fn parse(text: &str) -> Result<Self, MalformedPlace> {
        let rest = text.strip_prefix("https://").ok_or(MalformedPlace)?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at_checked(slash).ok_or(MalformedPlace)?,
            None => (rest, ""),
        };
        let (host, port) = host_and_port(authority).ok_or(MalformedPlace)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/:@!$'()*+,;=".contains(&b);
        let lawful = text.len() <= BYTES_MAX && is_host(host) && path.bytes().all(plain);
        if !lawful {
            return Err(MalformedPlace);
        }
        Ok(Self { host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Where the issuer of this name publishes its discovery document.
    pub(super) fn discovery(&self) -> Self {
        let path = format!("{}/.well-known/openid-configuration", self.path.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }

    /// The name or address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, `/` at least.
    pub fn path(&self) -> &str {
        if self.path.is_empty() { "/" } else { &self.path }
    }

    /// What the header `host` says.
    pub(super) fn authority(&self) -> String {
        if self.port == HTTPS { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "https://{}{}", self.authority(), self.path)
    }
}

fn host_and_port(authority: &str) -> Option<(&str, u16)> {
    let after_host = match authority.find(']') {
        Some(bracket) if authority.starts_with('[') => bracket.checked_add(1)?,
        Some(_) => return None,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(after_host)?;
    if port.is_empty() {
        return Some((host, HTTPS));
    }
    let digits = port.strip_prefix(':')?;
    let lawful = digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    let port: u16 = digits.parse().ok()?;
    lawful.then_some((host, port))
}

/// A name in lower case, an IPv4 address, or an IPv6 address in brackets and without a zone.
fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    (1..=253).contains(&text.len())
        && text.split('.').all(|label| !label.is_empty())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
}

const HTTPS: u16 = 443;
const BYTES_MAX: usize = 512;
