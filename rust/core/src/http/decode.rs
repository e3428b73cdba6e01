//! Percent-encoding and `name=value` lists, as URLs and forms have them.

use crate::codec::json;
use std::borrow::Cow;
use std::collections::HashMap;

/// From this many pairs on duplicates are found by hashing.
const LINEAR_MAX: usize = 8;

/// What a percent-encoded text stands for: escapes that are none stay, bytes that are no UTF-8 become U+FFFD.
pub(super) fn percent(text: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (byte == b'%').then(|| hex(bytes, at + 1)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    Cow::Owned(match String::from_utf8(decoded) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn hex(bytes: &[u8], at: usize) -> Option<u8> {
    let digit = |at: usize| bytes.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    Some((digit(at)? << 4 | digit(at + 1)?) as u8)
}

/// As [`percent`], of a name or value in a query or form: `+` is a space.
fn form(text: &str) -> Cow<'_, str> {
    if !text.as_bytes().contains(&b'+') {
        return percent(text);
    }
    Cow::Owned(percent(&text.replace('+', " ")).into_owned())
}

/// Writes `a=1&b=2` as a JSON object of strings: a name without `=` has an empty value, values of one name are joined with `, `.
pub(super) fn write_fields(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        return out.extend_from_slice(b"{}");
    }
    out.push(b'{');
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let mut fields: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for pair in pairs {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (form(name), form(value));
        if fields.len() == LINEAR_MAX {
            places.extend(fields.iter().enumerate().map(|(at, (name, _))| (name.to_string(), at)));
        }
        let place = if fields.len() < LINEAR_MAX {
            fields.iter().position(|(known, _)| *known == name)
        } else {
            places.get(&*name).copied()
        };
        match place {
            Some(at) => {
                let joined = fields[at].1.to_mut();
                joined.push_str(", ");
                joined.push_str(&value);
            }
            None => {
                if fields.len() >= LINEAR_MAX {
                    places.insert(name.to_string(), fields.len());
                }
                fields.push((name, value));
            }
        }
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::write_string(out, name);
        out.push(b':');
        json::write_string(out, value);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::{percent, write_fields};

    fn fields(text: &str) -> String {
        let mut out = Vec::new();
        write_fields(&mut out, text);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn escapes_are_decoded_and_what_is_none_stays() {
        for (text, decoded) in
            [("a%20b", "a b"), ("%zz%4", "%zz%4"), ("caf%c3%A9", "café"), ("%ff", "\u{fffd}"), ("+", "+")]
        {
            assert_eq!(percent(text), decoded);
        }
    }

    #[test]
    fn pairs_become_an_object_and_duplicates_are_joined_however_many_there_are() {
        assert_eq!(fields(""), "{}");
        assert_eq!(fields("a=1&b&=c&&a=2+%2B&d=x=y"), r#"{"a":"1, 2 +","b":"","":"c","d":"x=y"}"#);
        let many: Vec<String> = (0..40).map(|n| format!("k{}={n}", n % 20)).collect();
        let object = fields(&many.join("&"));
        let expected: Vec<String> = (0..20).map(|n| format!(r#""k{n}":"{n}, {}""#, n + 20)).collect();
        assert_eq!(object, format!("{{{}}}", expected.join(",")));
    }
}
