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
const OCTET_STRING: u8 = 0x04;
const OBJECT_ID: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
/// `[3]` of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// `[6]` of a general name.
const URI: u8 = 0x86;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn j05_any_bytes_are_walked_or_refused(der in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (uri_names(&der), is_authority(&der));
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
