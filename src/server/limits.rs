//! Every limit of a listener and its connections, with its unit in its name. Never a policy: what a
//! caller may do with a connection is not decided here.

use std::time::Duration;

/// What a listener takes, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ListenLimits {
    /// Connections at once, all listeners together.
    pub connections_max: usize,
    /// Connections at once from one IPv4 address or one IPv6 /64 network.
    pub connections_per_address_max: usize,
    /// TLS handshakes at once. Over it, nobody is refused: further connections wait to be accepted.
    pub handshakes_max: usize,
    /// TLS handshakes at once from one address. Over it, a connection is closed.
    pub handshakes_per_address_max: usize,
    /// From the accept to the end of the TLS handshake.
    pub handshake_ms_max: u64,
    /// From the TLS handshake to the first whole request head, HTTP/2 preface included.
    pub first_request_ms_max: u64,
    /// Without any request, after the first: closed between once and twice this.
    pub idle_ms_max: u64,
    /// A connection's age, after which it is closed gracefully; spread by a tenth either way.
    pub age_ms_max: u64,
    /// Between two HTTP/2 pings.
    pub keep_alive_interval_ms: u64,
    /// For the answer to a ping.
    pub keep_alive_ms_max: u64,
    /// For requests in flight to end once a connection closes gracefully.
    pub drain_ms_max: u64,
    /// A request's head, uncompressed.
    pub header_list_bytes_max: u32,
    /// Requests in flight on one connection.
    pub streams_max: u32,
    /// Bytes that a client may send on one stream before they are read.
    pub stream_window_bytes: u32,
    /// The same for all streams of a connection together.
    pub connection_window_bytes: u32,
    /// Bytes of a response that wait for the client to read, on one stream.
    pub send_buffer_bytes_max: usize,
    /// Streams that a client resets before they are even looked at.
    pub unaccepted_resets_max: usize,
    /// Streams that are reset because the client broke the protocol.
    pub local_resets_max: usize,
    /// How many more requests a client may cancel than it lets end.
    pub cancelled_max: u32,
    /// The pause after a failed accept; doubles with each failure that follows.
    pub accept_pause_ms_min: u64,
    /// The longest such pause.
    pub accept_pause_ms_max: u64,
    /// Refusals told to the audit record in one second; others are counted and told with the next.
    pub refusals_per_second_max: u32,
}

// === impl ListenLimits ===

impl ListenLimits {
    /// What holds where nothing else is configured.
    pub const DEFAULT: Self = Self {
        connections_max: 10_000,
        connections_per_address_max: 2_000,
        handshakes_max: 256,
        handshakes_per_address_max: 64,
        handshake_ms_max: 10_000,
        first_request_ms_max: 30_000,
        idle_ms_max: 300_000,
        age_ms_max: 3_600_000,
        keep_alive_interval_ms: 30_000,
        keep_alive_ms_max: 10_000,
        drain_ms_max: 30_000,
        header_list_bytes_max: 16 * 1024,
        streams_max: 128,
        stream_window_bytes: 64 * 1024,
        connection_window_bytes: 1024 * 1024,
        send_buffer_bytes_max: 256 * 1024,
        unaccepted_resets_max: 32,
        local_resets_max: 64,
        cancelled_max: 256,
        accept_pause_ms_min: 10,
        accept_pause_ms_max: 1_000,
        refusals_per_second_max: 100,
    };

    /// How old the connection `id` may grow: not all the same, so that clients that came together do
    /// not come back together.
    pub(super) fn age(&self, id: u64) -> Duration {
        let tenth = self.age_ms_max.div_euclid(10);
        let spread = id.wrapping_mul(SPREAD).checked_rem(tenth.saturating_mul(2)).unwrap_or(0);
        Duration::from_millis(self.age_ms_max.saturating_sub(tenth).saturating_add(spread))
    }
}

impl Default for ListenLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// 2^64 divided by the golden ratio: neighbours land far apart.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

const _: () = {
    let limits = ListenLimits::DEFAULT;
    assert!(limits.connections_per_address_max <= limits.connections_max);
    assert!(limits.handshakes_per_address_max <= limits.handshakes_max);
    assert!(limits.handshakes_max <= limits.connections_max);
    assert!(limits.accept_pause_ms_min > 0);
    assert!(limits.accept_pause_ms_min <= limits.accept_pause_ms_max);
    assert!(limits.stream_window_bytes <= limits.connection_window_bytes);
    assert!(limits.first_request_ms_max <= limits.idle_ms_max);
    assert!(limits.cancelled_max >= limits.streams_max);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_by_a_tenth_either_way() {
        let ages: Vec<u64> = (0..1000)
            .map(|id| u64::try_from(ListenLimits::DEFAULT.age(id).as_millis()).unwrap_or(0))
            .collect();
        assert!(ages.iter().all(|age| (3_240_000..3_960_000).contains(age)));
        assert!(ages.iter().any(|age| *age < 3_300_000) && ages.iter().any(|age| *age > 3_900_000));
    }

    #[test]
    fn an_age_of_nothing_is_nothing() {
        let limits = ListenLimits { age_ms_max: 0, ..ListenLimits::DEFAULT };
        assert_eq!(limits.age(7), Duration::ZERO);
    }
}
