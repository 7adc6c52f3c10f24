//! What webpki does not tell of a certificate: whether it is an authority's, whether it says what it is
//! for, and *all* its URI names, unreadable ones included.
//!
//! Walks DER (ITU-T X.690) down to one extension (RFC 5280, section 4.1) and stops at the first thing
//! that it does not expect. Never verifies anything: webpki does, on the same bytes.

/// The value of the extension `object_id` (encoded) in the certificate `der`: `Ok(None)` when it has
/// none.
pub(super) fn extension<'a>(der: &'a [u8], object_id: &[u8]) -> Result<Option<&'a [u8]>, Odd> {
    let (certificate, after) = expect(der, SEQUENCE)?;
    if !after.is_empty() {
        return Err(Odd);
    }
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    let mut found = None;
    while !fields.is_empty() {
        let (tag, field, rest) = next(fields)?;
        fields = rest;
        if tag != EXTENSIONS {
            continue;
        }
        let (mut extensions, _) = expect(field, SEQUENCE)?;
        while !extensions.is_empty() {
            let (one, rest) = expect(extensions, SEQUENCE)?;
            extensions = rest;
            let (id, mut value) = expect(one, OBJECT_ID)?;
            if id != object_id {
                continue;
            }
            if let Ok((_critical, rest)) = expect(value, BOOLEAN) {
                value = rest;
            }
            let (value, _) = expect(value, OCTET_STRING)?;
            if found.replace(value).is_some() {
                return Err(Odd);
            }
        }
    }
    Ok(found)
}

/// Every URI among the subject alternative names (RFC 5280, section 4.2.1.6), as bytes.
pub(super) fn uri_names(der: &[u8]) -> Result<Vec<&[u8]>, Odd> {
    let Some(value) = extension(der, SUBJECT_ALTERNATIVE_NAME)? else { return Ok(Vec::new()) };
    let (mut names, _) = expect(value, SEQUENCE)?;
    let mut uris = Vec::new();
    while !names.is_empty() {
        let (tag, name, rest) = next(names)?;
        names = rest;
        if tag == URI {
            uris.push(name);
        }
    }
    Ok(uris)
}

/// Whether the basic constraints (RFC 5280, section 4.2.1.9) say that it is an authority's.
pub(super) fn is_authority(der: &[u8]) -> Result<bool, Odd> {
    let Some(value) = extension(der, BASIC_CONSTRAINTS)? else { return Ok(false) };
    let (constraints, _) = expect(value, SEQUENCE)?;
    Ok(matches!(expect(constraints, BOOLEAN), Ok(([0xff], _))))
}

/// The last second of a certificate's validity (RFC 5280, section 4.1.2.5), since the Unix epoch.
pub(super) fn not_after(der: &[u8]) -> Result<i64, Odd> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut fields, _) = expect(certificate, SEQUENCE)?;
    if let Ok((_version, rest)) = expect(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature algorithm and issuer come before it.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        (_, fields) = expect(fields, tag)?;
    }
    let (validity, _) = expect(fields, SEQUENCE)?;
    let (_, _, last) = next(validity)?;
    match next(last)? {
        (UTC_TIME, text, _) => {
            // Years from 50 are of the last century.
            let old = text.first().is_some_and(|digit| *digit >= b'5');
            seconds(if old { 1_900 } else { 2_000 }, text)
        }
        (GENERALIZED_TIME, text, _) => {
            let (century, text) = text.split_at_checked(2).ok_or(Odd)?;
            seconds(number(century)?.saturating_mul(100), text)
        }
        _ => Err(Odd),
    }
}

/// `YYMMDDHHMMSSZ` of a century, in seconds since the Unix epoch.
fn seconds(century: i64, text: &[u8]) -> Result<i64, Odd> {
    let (digits, b"Z") = text.split_at_checked(12).ok_or(Odd)? else { return Err(Odd) };
    let mut parts = [0; 6];
    for (part, digits) in parts.iter_mut().zip(digits.chunks(2)) {
        *part = number(digits)?;
    }
    let [year, month, day, hour, minute, second] = parts;
    let lawful = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !lawful {
        return Err(Odd);
    }
    // A year that begins in March ends with its leap day, so that days can be counted without a table.
    let year = century.saturating_add(year).saturating_sub(i64::from(month <= 2));
    let month = month.saturating_add(9) % 12;
    let leap_days = (year / 4).saturating_sub(year / 100).saturating_add(year / 400);
    let days = year
        .saturating_mul(365)
        .saturating_add(leap_days)
        .saturating_add(month.saturating_mul(153).saturating_add(2) / 5)
        .saturating_add(day)
        .saturating_sub(DAYS_BEFORE_THE_EPOCH);
    let hours = days.saturating_mul(24).saturating_add(hour);
    let minutes = hours.saturating_mul(60).saturating_add(minute);
    Ok(minutes.saturating_mul(60).saturating_add(second))
}

fn number(digits: &[u8]) -> Result<i64, Odd> {
    let lawful = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = str::from_utf8(digits).map_err(|_| Odd)?;
    if lawful { text.parse().map_err(|_| Odd) } else { Err(Odd) }
}

/// The bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Odd;

/// The value of the next element, which has `tag`, and what comes after it.
fn expect(der: &[u8], tag: u8) -> Result<(&[u8], &[u8]), Odd> {
    match next(der)? {
        (found, value, rest) if found == tag => Ok((value, rest)),
        _ => Err(Odd),
    }
}

/// The next element: its tag, its value, and what comes after it.
fn next(der: &[u8]) -> Result<(u8, &[u8], &[u8]), Odd> {
    let (length, tag, rest) = match der {
        [tag, length @ 0..=0x7f, rest @ ..] => (usize::from(*length), *tag, rest),
        [tag, 0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), *tag, rest),
        [tag, 0x82, high @ 1..=0xff, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), *tag, rest)
        }
        _ => return Err(Odd),
    };
    let (value, rest) = rest.split_at_checked(length).ok_or(Odd)?;
    Ok((tag, value, rest))
}

pub(super) const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]` of a certificate.
const VERSION: u8 = 0xa0;
/// `[3]` of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[6]` of a general name.
const URI: u8 = 0x86;

/// From 1 March of the year 0 to the Unix epoch, and the day that months count from 1.
const DAYS_BEFORE_THE_EPOCH: i64 = 719_469;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn j05_any_bytes_are_walked_or_refused(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (uri_names(&der), is_authority(&der), not_after(&der));
        }
    }

    #[test]
    fn times_are_read_as_the_calendar_has_them() {
        let read = |century, text: &str| seconds(century, text.as_bytes());
        assert_eq!(read(1_900, "700101000000Z"), Ok(0));
        assert_eq!(read(2_000, "000229123456Z"), Ok(951_827_696));
        assert_eq!(read(2_000, "260615000000Z"), Ok(1_781_481_600));
        assert_eq!(read(9_900, "991231235959Z"), Ok(253_402_300_799));
        for bad in
            ["", "260615000000", "2606150000Z", "261315000000Z", "26061a000000Z", "260615240000Z"]
        {
            assert_eq!(read(2_000, bad), Err(Odd), "{bad}");
        }
        for bad in ["260615006000Z", "260615000060Z", "26+115000000Z", "260015000000Z"] {
            assert_eq!(read(2_000, bad), Err(Odd), "{bad}");
        }
    }

    #[test]
    fn the_end_of_a_certificate_is_read_in_both_forms_of_a_time() {
        use rcgen::{CertificateParams, KeyPair, date_time_ymd};
        // RFC 5280: until 2049 as UTCTime, with two digits of the year, and GeneralizedTime from 2050 on.
        for (year, end) in [(1960, -315_619_200), (2026, 1_767_225_600), (2060, 2_840_140_800)] {
            let mut params = CertificateParams::default();
            params.not_before = date_time_ymd(1950, 1, 1);
            params.not_after = date_time_ymd(year, 1, 1);
            let key = KeyPair::generate();
            let made = key.and_then(|key| params.self_signed(&key));
            let der = made.map(|made| made.der().to_vec()).unwrap_or_default();
            assert_eq!(not_after(&der), Ok(end), "{year}");
        }
    }

    #[test]
    fn lengths_that_are_not_der_are_odd() {
        for bad in [
            &[0x30][..],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x01, 0],
            &[0x30, 0x83, 0x01, 0x00, 0x00],
            &[0x30, 0x02, 0x00],
        ] {
            assert_eq!(next(bad), Err(Odd), "{bad:?}");
        }
        assert_eq!(next(&[0x30, 0x01, 0x07, 0x09]), Ok((0x30, &[0x07][..], &[0x09][..])));
    }
}
