//! JSON text to msgpack, each value in its shortest form.

use super::{Inexpressible, What, path};
use crate::codec::{json, msgpack};

/// The msgpack of a valid JSON text: integers (no `.`, no exponent) as integers, other numbers and `-0` as the nearest float of 64 bits,
/// members in their order, duplicates included.
///
/// # Errors
/// The first number that msgpack does not have: an integer outside -2^63 .. 2^64-1, or one that is infinite as a float.
pub fn to_msgpack(text: &str) -> Result<Vec<u8>, Inexpressible> {
    let mut out = Vec::with_capacity(text.len());
    let mut counts = count_items(text).into_iter();
    let mut tokens = Tokens { text, at: 0 };
    while let Some((at, token)) = tokens.next() {
        match token.as_bytes() {
            b"[" => msgpack::write_array(&mut out, counts.next().unwrap_or_default()),
            b"{" => msgpack::write_map(&mut out, counts.next().unwrap_or_default()),
            b"]" | b"}" | b"," | b":" => {}
            b"null" => out.push(0xc0),
            b"false" => out.push(0xc2),
            b"true" => out.push(0xc3),
            [b'"', ..] => match json::unescape(token) {
                Ok(string) => msgpack::write_string(&mut out, &string),
                Err(_) => return Err(Inexpressible { path: path::in_json(text, at), what: What::Malformed }),
            },
            _ => {
                let written = write_number(&mut out, token);
                written.map_err(|what| Inexpressible { path: path::in_json(text, at), what })?;
            }
        }
    }
    Ok(out)
}

fn write_number(out: &mut Vec<u8>, token: &str) -> Result<(), What> {
    let is_integer = token.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    // The sign of a negative zero is kept, as those do who read JSON numbers as floats.
    if is_integer && token != "-0" {
        if let Ok(number) = token.parse::<u64>() {
            msgpack::write_unsigned(out, number);
        } else {
            msgpack::write_signed(out, token.parse().map_err(|_| What::Integer)?);
        }
        return Ok(());
    }
    let number: f64 = token.parse().map_err(|_| What::Malformed)?;
    if number.is_infinite() {
        return Err(What::Number);
    }
    msgpack::write_float(out, number);
    Ok(())
}

/// How many elements or members each array and object has, in the order in which they begin.
fn count_items(text: &str) -> Vec<u32> {
    let mut counts: Vec<u32> = Vec::new();
    let mut open = Vec::new();
    let mut tokens = Tokens { text, at: 0 };
    // A comma stands between two items: one more than commas, unless there is nothing.
    let mut is_first = false;
    while let Some((_, token)) = tokens.next() {
        let closes = matches!(token, "]" | "}");
        if let Some(&current) = open.last()
            && (token == "," || is_first && !closes)
        {
            let count: Option<&mut u32> = counts.get_mut::<usize>(current);
            count.into_iter().for_each(|count| *count += 1);
        }
        is_first = matches!(token, "[" | "{");
        if is_first {
            open.push(counts.len());
            counts.push(0);
        } else if closes {
            open.pop();
        }
    }
    counts
}

/// The tokens of a valid text with their offsets.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    fn next(&mut self) -> Option<(usize, &'a str)> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        let begin = self.at;
        self.at = match bytes.get(begin)? {
            b'[' | b']' | b'{' | b'}' | b',' | b':' => begin + 1,
            b'"' => string_end(bytes, begin),
            _ => begin + bytes[begin..].iter().take_while(|byte| !b" \t\n\r[]{},:\"".contains(byte)).count(),
        };
        Some((begin, self.text.get(begin..self.at)?))
    }
}

/// Where the string ends whose first quote is at `begin`.
fn string_end(bytes: &[u8], begin: usize) -> usize {
    let mut at = begin + 1;
    while let Some(run) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += run;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at = (at + 2).min(bytes.len());
    }
    bytes.len()
}
