//! The one canonical form of CBOR: RFC 8949 section 4.2.1 (core deterministic encoding), narrowed to what entries use.
//!
//! Allowed: integers, byte strings, UTF-8 text, arrays, maps, `false`, `true`, `null`. Every length and integer is in its shortest
//! form, nothing is of indefinite length, map keys ascend by their encoded bytes without repeats, nesting ends at
//! [`DEPTH_MAX`]. Floats and tags do not occur: money is whole numbers.

/// Deepest nesting of arrays and maps.
pub const DEPTH_MAX: usize = 16;

/// Why bytes are not canonical, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at}")]
pub struct CanonError {
    /// What is wrong.
    pub what: &'static str,
    /// The offset of the item.
    pub at: usize,
}

/// Checks that `bytes` are exactly one item in canonical form.
///
/// # Errors
/// The first thing that is not.
pub fn check_canonical(bytes: &[u8]) -> Result<(), CanonError> {
    let end = item(bytes, 0, 0)?;
    if end != bytes.len() {
        return Err(CanonError { what: "bytes after the end", at: end });
    }
    Ok(())
}

/// Checks the item at `at` and answers where it ends.
fn item(bytes: &[u8], at: usize, depth: usize) -> Result<usize, CanonError> {
    let fail = |what| Err(CanonError { what, at });
    if depth > DEPTH_MAX {
        return fail("nested too deeply");
    }
    let Some(&first) = bytes.get(at) else { return fail("cut off") };
    let (major, info) = (first >> 5, first & 0x1f);
    if major == 7 {
        return if matches!(info, 20..=22) { Ok(at + 1) } else { fail("a float or simple value that entries do not use") };
    }
    let (value, body) = argument(bytes, at, info)?;
    match major {
        0 | 1 => Ok(body),
        2 | 3 => {
            let end = usize::try_from(value).ok().and_then(|n| body.checked_add(n)).filter(|&end| end <= bytes.len());
            let Some(end) = end else { return fail("cut off") };
            if major == 3 && std::str::from_utf8(&bytes[body..end]).is_err() {
                return fail("text that is not UTF-8");
            }
            Ok(end)
        }
        4 => {
            let mut next = body;
            for _ in 0..value {
                next = item(bytes, next, depth + 1)?;
            }
            Ok(next)
        }
        5 => map(bytes, at, body, value, depth),
        _ => fail("a tag"),
    }
}

fn map(bytes: &[u8], at: usize, body: usize, pairs: u64, depth: usize) -> Result<usize, CanonError> {
    let mut next = body;
    let mut last_key: Option<&[u8]> = None;
    for _ in 0..pairs {
        let value_at = item(bytes, next, depth + 1)?;
        let key = &bytes[next..value_at];
        if last_key.is_some_and(|last| last >= key) {
            return Err(CanonError { what: "map keys out of order or repeated", at });
        }
        last_key = Some(key);
        next = item(bytes, value_at, depth + 1)?;
    }
    Ok(next)
}

/// The argument of a head in its shortest form, and where the head ends.
fn argument(bytes: &[u8], at: usize, info: u8) -> Result<(u64, usize), CanonError> {
    let fail = |what| Err(CanonError { what, at });
    let width = match info {
        0..=23 => return Ok((info.into(), at + 1)),
        24..=27 => 1usize << (info - 24),
        31 => return fail("an indefinite length"),
        _ => return fail("a reserved head"),
    };
    let Some(raw) = bytes.get(at + 1..at + 1 + width) else { return fail("cut off") };
    let value = raw.iter().fold(0u64, |v, &b| (v << 8) | u64::from(b));
    let least = match width {
        1 => 24,
        2 => 1 << 8,
        4 => 1 << 16,
        _ => 1 << 32,
    };
    if value < least {
        return fail("a number that is not in its shortest form");
    }
    Ok((value, at + 1 + width))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_forms() {
        let ok: &[&[u8]] =
            &[b"\x00", b"\x18\x18", b"\x20", b"\x41a", b"\x61a", b"\x80", b"\xa0", b"\xa2\x00\x00\x01\xf6", b"\xf4"];
        for bytes in ok {
            assert_eq!(check_canonical(bytes), Ok(()), "{bytes:x?}");
        }
        let bad: &[(&[u8], &str)] = &[
            (b"", "cut off"),
            (b"\x18\x17", "a number that is not in its shortest form"),
            (b"\x19\x00\xff", "a number that is not in its shortest form"),
            (b"\x42a", "cut off"),
            (b"\x61\xff", "text that is not UTF-8"),
            (b"\x9f\xff", "an indefinite length"),
            (b"\xa2\x01\x00\x00\x00", "map keys out of order or repeated"),
            (b"\xa2\x00\x00\x00\x00", "map keys out of order or repeated"),
            (b"\xc0\x00", "a tag"),
            (b"\xf9\x00\x00", "a float or simple value that entries do not use"),
            (b"\x00\x00", "bytes after the end"),
            (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "cut off"),
            (b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff", "cut off"),
            (b"\x1c", "a reserved head"),
        ];
        for (bytes, what) in bad {
            assert_eq!(check_canonical(bytes).map_err(|e| e.what), Err(*what), "{bytes:x?}");
        }
        let deep = [&[0x81u8; 17][..], &[0x00]].concat();
        assert_eq!(check_canonical(&deep).map_err(|e| e.what), Err("nested too deeply"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check_canonical(&bytes);
        }
    }
}
