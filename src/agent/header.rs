//! The thirty bytes that every blob begins with (docs/format.md), as far as the agent needs them:
//! whose blob it is and of which version. Neither secret nor proof: only a blob that opens has a true
//! header.

/// Whose blob it is, as its header claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) key_id: [u8; 16],
    /// Never 0.
    pub(super) version: u32,
}

// === impl Header ===

impl Header {
    /// Reads the header of a whole blob of a client; nothing else has one.
    pub(super) fn parse(blob: &[u8]) -> Option<Self> {
        if !(BLOB_BYTES_MIN..=BLOB_BYTES_MAX).contains(&blob.len()) {
            return None;
        }
        let rest = blob.strip_prefix(&BEGINNING)?;
        let (key_id, rest) = rest.split_first_chunk()?;
        let (version, _) = rest.split_first_chunk()?;
        let version = u32::from_be_bytes(*version);
        (version != 0).then_some(Self { key_id: *key_id, version })
    }
}

/// Magic, suite 01, type 01: a data key or small payload of a client.
const BEGINNING: [u8; 6] = [0xD7, 0x42, 0x55, 0x01, 0x01, 0x01];

/// 106 bytes more than the 1 to 4096 that it wraps.
const BLOB_BYTES_MIN: usize = 107;
const BLOB_BYTES_MAX: usize = 4202;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn blob(version: u32) -> Vec<u8> {
        let mut blob = [&BEGINNING[..], &[7; 16], &version.to_be_bytes()].concat();
        blob.resize(138, 0);
        blob
    }

    #[test]
    fn a_blob_says_whose_it_is_and_of_which_version() {
        let header = Header::parse(&blob(0x0102_0304)).unwrap();
        assert_eq!(header, Header { key_id: [7; 16], version: 0x0102_0304 });
    }

    #[test]
    fn what_is_no_blob_of_a_client_has_no_header() {
        let mut of_a_kek = blob(1);
        of_a_kek[5] = 0x10;
        let mut sealed_data = blob(1);
        sealed_data[3] = 0x02;
        let mut long = blob(1);
        long.resize(BLOB_BYTES_MAX + 1, 0);
        for wrong in [&blob(0), &of_a_kek, &sealed_data, &long, &blob(1)[..106], &[]] {
            assert_eq!(Header::parse(wrong), None);
        }
    }
}
