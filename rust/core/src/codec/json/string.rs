//! Strings between their JSON text and what they mean.

use std::borrow::Cow;

use super::error::{JsonError, JsonErrorKind};
use super::escape::{self, Escaped};

/// What a string with its quotes stands for; borrowed when there is no backslash in it.
///
/// # Errors
/// `raw` is not a string in quotes, or an escape in it is wrong or a lone surrogate; never for what
/// [`super::skip_value`] has accepted.
pub fn unescape(raw: &str) -> Result<Cow<'_, str>, JsonError> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let inner = inner.ok_or(JsonError::new(JsonErrorKind::ExpectedString, 0))?;
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
    if at == 0 {
        return Ok(Cow::Borrowed(inner));
    }
    text.push_str(&inner[at..]);
    Ok(Cow::Owned(text))
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
