//! The request object: what functions are told about a request, as JSON text.

use super::decode::write_fields;
use super::head::{Head, Header};
use super::refusal::Refusal;
use super::routes::{Route, Values};
use crate::codec::json;
use crate::limits::JSON_DEPTH_MAX;

/// Where channel ends will be. The SDKs' wrappers of http handlers need the members; handlers that do not stream work.
const CHANNELS: &[u8] = b",\"request_body\":{},\"response\":{}}";

/// The whole object.
///
/// # Errors
/// 400 for a body that is not what its type says, 415 for a type that cannot be handed on.
pub fn object(head: &Head<'_, '_>, body: &[u8], route: &Route, values: &Values<'_>) -> Result<String, Refusal> {
    let headers: usize = head.headers.iter().map(|header| header.name.len() + header.value.len() + 6).sum();
    let fixed = 192 + route.path_json.len() + route.trigger_json.len();
    let mut out = Vec::with_capacity(fixed + head.path.len() + head.query.len() + headers + body.len());
    // A token needs no escapes.
    out.extend_from_slice(b"{\"method\":\"");
    out.extend_from_slice(head.method.as_bytes());
    out.extend_from_slice(b"\",\"path_params\":{");
    for (at, (name, value)) in route.names_json.iter().zip(values).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        json::write_string(&mut out, value);
    }
    out.extend_from_slice(b"},\"query_params\":");
    write_fields(&mut out, head.query);
    out.extend_from_slice(b",\"headers\":");
    write_headers(&mut out, head.headers);
    out.extend_from_slice(b",\"path\":");
    out.extend_from_slice(&route.path_json);
    out.extend_from_slice(b",\"body\":");
    write_body(&mut out, head.headers, body)?;
    out.extend_from_slice(b",\"trigger\":");
    out.extend_from_slice(&route.trigger_json);
    out.extend_from_slice(CHANNELS);
    String::from_utf8(out).map_err(|_| Refusal::new(500, "the request could not be written as JSON"))
}

/// Names in lower case; values of one name are joined with `, `, cookies with `; ` (RFC 9110, section 5.3; RFC 6265, section 5.4).
fn write_headers(out: &mut Vec<u8>, headers: &[Header<'_>]) {
    out.push(b'{');
    let mut is_first = true;
    for (at, header) in headers.iter().enumerate() {
        let is_same = |other: &Header<'_>| other.name.eq_ignore_ascii_case(header.name);
        if headers[..at].iter().any(is_same) {
            continue;
        }
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        out.push(b'"');
        let begin = out.len();
        // A token needs no escapes.
        out.extend_from_slice(header.name.as_bytes());
        out[begin..].make_ascii_lowercase();
        out.extend_from_slice(b"\":\"");
        write_latin(out, header.value);
        for other in headers[at + 1..].iter().filter(|other| is_same(other)) {
            let is_cookie = header.name.eq_ignore_ascii_case("cookie");
            out.extend_from_slice(if is_cookie { b"; " } else { b", " });
            write_latin(out, other.value);
        }
        out.push(b'"');
    }
    out.push(b'}');
}

/// The inside of a JSON string from a header's value: what is beyond ASCII is ISO 8859-1.
fn write_latin(out: &mut Vec<u8>, value: &[u8]) {
    let is_plain = |byte: u8| !matches!(byte, b'"' | b'\\' | b'\t' | 0x80..);
    // All of it, so that the compiler takes many at once.
    if value.iter().fold(true, |plain, &byte| plain & is_plain(byte)) {
        return out.extend_from_slice(value);
    }
    for &byte in value {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x80.. => out.extend_from_slice(char::from(byte).encode_utf8(&mut [0; 2]).as_bytes()),
            _ => out.push(byte),
        }
    }
}

fn write_body(out: &mut Vec<u8>, headers: &[Header<'_>], body: &[u8]) -> Result<(), Refusal> {
    if body.is_empty() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    let header = headers.iter().rev().find(|header| header.name.eq_ignore_ascii_case("content-type"));
    let value = header.map(|header| String::from_utf8_lossy(header.value).to_ascii_lowercase()).unwrap_or_default();
    let (media_type, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let media_type = media_type.trim_ascii();
    if media_type == "application/json" || media_type.ends_with("+json") {
        write_json(out, body)
    } else if media_type.starts_with("text/") {
        let text = decoded(body, parameters)?;
        json::write_string(out, &text);
        Ok(())
    } else if media_type == "application/x-www-form-urlencoded" {
        write_fields(out, &decoded(body, "")?);
        Ok(())
    } else {
        let shown = if media_type.is_empty() { "none" } else { media_type };
        Err(Refusal::new(
            415,
            format!("Content-Type is {shown}, expected JSON, text/* or application/x-www-form-urlencoded"),
        ))
    }
}

fn write_json(out: &mut Vec<u8>, body: &[u8]) -> Result<(), Refusal> {
    let refuse =
        |problem: String| Refusal::with_code(400, "INVALID_JSON", format!("The request body is not JSON: {problem}"));
    let text = simdutf8::compat::from_utf8(body)
        .map_err(|error| refuse(format!("at byte {}: not UTF-8", error.valid_up_to())))?;
    if text.bytes().all(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    json::validate(text, JSON_DEPTH_MAX).map_err(|error| refuse(error.to_string()))?;
    out.extend_from_slice(body);
    Ok(())
}

/// Text in UTF-8 or, when the parameters say so, ISO 8859-1.
fn decoded(body: &[u8], parameters: &str) -> Result<String, Refusal> {
    let charset = parameters.split(';').find_map(|one| {
        let (name, value) = one.split_once('=')?;
        (name.trim_ascii() == "charset").then(|| value.trim_ascii().trim_matches('"'))
    });
    match charset {
        None | Some("utf-8" | "utf8" | "us-ascii") => {
            let text = simdutf8::compat::from_utf8(body).map_err(|error| {
                let at = error.valid_up_to();
                Refusal::with_code(400, "INVALID_TEXT", format!("The request body is not UTF-8 at byte {at}"))
            })?;
            Ok(text.to_owned())
        }
        Some("iso-8859-1" | "latin1") => Ok(body.iter().map(|&byte| char::from(byte)).collect()),
        Some(other) => Err(Refusal::new(415, format!("charset is {other}, expected utf-8, us-ascii or iso-8859-1"))),
    }
}
