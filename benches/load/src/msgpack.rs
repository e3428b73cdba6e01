//! State calls and their answers in msgpack, made byte by byte: an engine has to answer in the shortest form.

use crate::flight::ID_BYTES;
use crate::hex::write_hex;
use crate::value::Values;

const CALL: &[u8] = b"\x84\xa4type\xaeinvokefunction\xadinvocation_id\xd9\x24";
const RESULT: &[u8] = b"\x84\xa4type\xb0invocationresult\xadinvocation_id\xd9\x24";
const GET: &[u8] = b"\xabfunction_id\xaastate::get";
const SET: &[u8] = b"\xabfunction_id\xaastate::set";
const NIL: &[u8] = b"\xc0";

/// Writes a get, or a set of a version.
pub fn write_request(out: &mut Vec<u8>, scope: &str, values: &Values, key: u32, set: Option<u32>, id: &[u8; ID_BYTES]) {
    out.clear();
    out.extend_from_slice(CALL);
    out.extend_from_slice(id);
    out.extend_from_slice(if set.is_some() { SET } else { GET });
    out.extend_from_slice(b"\xa4data");
    out.push(if set.is_some() { 0x83 } else { 0x82 });
    out.extend_from_slice(b"\xa5scope");
    write_string(out, scope.as_bytes());
    out.extend_from_slice(b"\xa3key\xackey-");
    let mut digits = [0; 8];
    write_hex(&mut digits, key.into());
    out.extend_from_slice(&digits);
    if let Some(version) = set {
        out.extend_from_slice(b"\xa5value");
        write_value(out, values, key, version);
    }
}

/// The id in an answer.
pub fn id(answer: &[u8]) -> &[u8] {
    answer.strip_prefix(RESULT).and_then(|rest| rest.get(..ID_BYTES)).unwrap_or_default()
}

/// Whether `answer` is what a get of version `before` must come to, or a set of another version.
pub fn is_right(answer: &[u8], values: &Values, key: u32, before: u32, set: Option<u32>) -> bool {
    let rest = answer.strip_prefix(RESULT).and_then(|rest| rest.get(ID_BYTES..));
    let rest = rest.and_then(|rest| rest.strip_prefix(if set.is_some() { SET } else { GET }));
    let Some(result) = rest.and_then(|rest| rest.strip_prefix(b"\xa6result")) else { return false };
    let Some(after) = set else { return split_value(result, values, key, before) == Some(b"") };
    let new = result
        .strip_prefix(b"\x82\xa9old_value")
        .and_then(|rest| split_value(rest, values, key, before))
        .and_then(|rest| rest.strip_prefix(b"\xa9new_value"));
    new.and_then(|rest| split_value(rest, values, key, after)) == Some(b"")
}

/// What follows the value at the start of `bytes`; version 0 is nil.
fn split_value<'a>(bytes: &'a [u8], values: &Values, key: u32, version: u32) -> Option<&'a [u8]> {
    if version == 0 {
        return bytes.strip_prefix(NIL);
    }
    let mut digits = [0; 8];
    write_hex(&mut digits, key.into());
    let rest = bytes.strip_prefix(b"\x83\xa2id\xa8")?.strip_prefix(&digits)?;
    write_hex(&mut digits, version.into());
    let rest = rest.strip_prefix(b"\xa7version\xa8")?.strip_prefix(&digits)?.strip_prefix(b"\xa4data")?;
    let body = values.body(key, version);
    let (head, len) = string_head(body.len());
    rest.strip_prefix(&head[..len])?.strip_prefix(body)
}

fn write_value(out: &mut Vec<u8>, values: &Values, key: u32, version: u32) {
    let mut digits = [0; 8];
    write_hex(&mut digits, key.into());
    out.extend_from_slice(b"\x83\xa2id\xa8");
    out.extend_from_slice(&digits);
    write_hex(&mut digits, version.into());
    out.extend_from_slice(b"\xa7version\xa8");
    out.extend_from_slice(&digits);
    out.extend_from_slice(b"\xa4data");
    write_string(out, values.body(key, version));
}

fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    let (head, len) = string_head(text.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(text);
}

/// What begins a string, and how many bytes of it count.
const fn string_head(len: usize) -> ([u8; 5], usize) {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    match len {
        0..0x20 => ([0xa0 | d, 0, 0, 0, 0], 1),
        0x20..0x100 => ([0xd9, d, 0, 0, 0], 2),
        0x100..0x1_0000 => ([0xda, c, d, 0, 0], 3),
        _ => ([0xdb, a, b, c, d], 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &[u8; ID_BYTES] = b"00000000-0000-4000-8000-000000000001";

    fn answer(function: &[u8], result: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut answer = [RESULT, ID, function, b"\xa6result"].concat();
        result(&mut answer);
        answer
    }

    #[test]
    fn knows_right_answers_and_no_others() {
        for length in [60, 100, 400, 70_000] {
            let values = Values::new(length, 1);
            let got = answer(GET, |out| write_value(out, &values, 42, 7));
            let set = answer(SET, |out| {
                out.extend_from_slice(b"\x82\xa9old_value\xc0\xa9new_value");
                write_value(out, &values, 42, 1);
            });
            assert_eq!(id(&got), ID);
            assert!(is_right(&got, &values, 42, 7, None) && is_right(&set, &values, 42, 0, Some(1)));
            assert!(!is_right(&got, &values, 42, 8, None) && !is_right(&got, &values, 42, 7, Some(8)));
            assert!(!is_right(&set, &values, 42, 1, Some(1)) && !is_right(&set, &values, 42, 0, None));
            for position in (0..RESULT.len()).chain(RESULT.len() + ID_BYTES..got.len().min(300)) {
                let mut wrong = got.clone();
                wrong[position] ^= 1;
                assert!(!is_right(&wrong, &values, 42, 7, None), "{position}");
            }
        }
    }
}
