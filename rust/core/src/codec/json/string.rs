//! Strings between their JSON text and what they mean.

use std::borrow::Cow;

use super::error::{JsonError, JsonErrorKind};
use super::escape::{self, Escaped};
use wide::u8x16;

/// What a string with its quotes stands for; borrowed when there is no backslash in it.
///
/// # Errors
/// `raw` is not a string in quotes, or an escape in it is wrong or a lone surrogate; never for what
/// [`super::skip_value`] has accepted.
#[inline]
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !has_backslash(inner.as_bytes()) => Ok(Cow::Borrowed(inner)),
        Some(inner) => unescape_inner(inner).map(Cow::Owned),
        None => Err(JsonError::new(JsonErrorKind::ExpectedString, 0)),
    }
}

/// For names and keys faster than a search that finds out first how to go about it.
#[inline]
fn has_backslash(bytes: &[u8]) -> bool {
    let in_block = |block: &[u8; 16]| u8x16::new(*block).simd_eq(u8x16::splat(b'\\')).to_bitmask() != 0;
    let (blocks, rest) = bytes.as_chunks::<16>();
    if blocks.iter().any(in_block) {
        return true;
    }
    match (rest.first_chunk(), rest.last_chunk()) {
        (Some(first), Some(last)) => in_word(first) || in_word(last),
        _ => rest.contains(&b'\\'),
    }
}

/// Whether a backslash is among eight bytes: a byte that is zero, of those that differ from it.
#[inline]
fn in_word(word: &[u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let differing = u64::from_ne_bytes(*word) ^ (ONES * b'\\' as u64);
    differing.wrapping_sub(ONES) & !differing & (ONES << 7) != 0
}

/// The same of what is between the quotes.
///
/// # Errors
/// An escape in it is wrong or a lone surrogate.
pub(crate) fn unescape_inner(inner: &str) -> Result<String, JsonError> {
    let bytes = inner.as_bytes();
    let mut text = String::new();
    let mut at = 0;
    while let Some(run) = memchr::memchr(b'\\', &bytes[at..]) {
        text.push_str(&inner[at..at + run]);
        let backslash = at + run;
        let (escaped, end) = escape::read(bytes, backslash).map_err(|error| error.moved(1))?;
        match escaped {
            Escaped::Char(char) => text.push(char),
            Escaped::LoneSurrogate => return Err(JsonError::new(JsonErrorKind::LoneSurrogate, backslash + 1)),
        }
        at = end;
    }
    text.push_str(&inner[at..]);
    Ok(text)
}

/// Appends `s` as a JSON string with quotes. Escaped are `"`, `\` and control characters below 0x20 and nothing else, as
/// Python's `json.dumps(s, ensure_ascii=False)` does it.
pub fn write_string(out: &mut Vec<u8>, s: &str) {
    out.reserve(s.len() + 2);
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut written = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.extend_from_slice(&bytes[written..at]);
        write_escape(out, byte);
        written = at + 1;
    }
    out.extend_from_slice(&bytes[written..]);
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let letter = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', letter]);
}
