//! Backslash escapes of JSON strings (RFC 8259 section 7): the one place that knows them.

use super::error::{JsonError, JsonErrorKind};

/// What an escape stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaped {
    Char(char),
    /// Half of a surrogate pair, which no character is.
    LoneSurrogate,
}

/// Reads the escape whose backslash is at `at`; returns it and where it ends.
pub(super) fn read(bytes: &[u8], at: usize) -> Result<(Escaped, usize), JsonError> {
    let Some(&letter) = bytes.get(at + 1) else {
        return Err(JsonError::new(JsonErrorKind::UnexpectedEnd, bytes.len()));
    };
    let simple = match letter {
        b'"' | b'\\' | b'/' => char::from(letter),
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return read_unicode(bytes, at),
        _ => return Err(JsonError::new(JsonErrorKind::BadEscape, at)),
    };
    Ok((Escaped::Char(simple), at + 2))
}

fn read_unicode(bytes: &[u8], at: usize) -> Result<(Escaped, usize), JsonError> {
    let unit = match hex4(bytes, at + 2) {
        Some(unit) => unit,
        None => return Err(broken_unicode(bytes, at)),
    };
    if let Some(char) = char::from_u32(unit) {
        return Ok((Escaped::Char(char), at + 6));
    }
    let low = match bytes.get(at + 6..at + 8) {
        Some(b"\\u") => hex4(bytes, at + 8),
        _ => None,
    };
    match low {
        Some(low @ 0xDC00..=0xDFFF) if unit < 0xDC00 => {
            let code = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            Ok((char::from_u32(code).map_or(Escaped::LoneSurrogate, Escaped::Char), at + 12))
        }
        _ => Ok((Escaped::LoneSurrogate, at + 6)),
    }
}

/// Tells an escape that is cut off by the end of the text from a wrong one.
fn broken_unicode(bytes: &[u8], at: usize) -> JsonError {
    let digits = bytes.get(at + 2..).unwrap_or_default();
    if digits.len() < 4 && digits.iter().all(u8::is_ascii_hexdigit) {
        JsonError::new(JsonErrorKind::UnexpectedEnd, bytes.len())
    } else {
        JsonError::new(JsonErrorKind::BadEscape, at)
    }
}

fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
}
