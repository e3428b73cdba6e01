//! The bounds of paths and values: every check that does not need the stored value (section 9.3 of the protocol).

use std::borrow::Cow;

use super::names::{NameId, Names};
use super::op::{Problem, show};
use crate::codec::json::{JsonError, JsonKind, Members, kind, unescape};
use crate::limits::JSON_DEPTH_MAX;

const PATH_SEGMENTS_MAX: usize = 32;
const SEGMENT_BYTES_MAX: usize = 256;
const MERGE_KEYS_MAX: usize = 1024;
const MERGE_DEPTH_MAX: usize = 16;
/// Names that change the prototype when a JavaScript worker assigns them.
const PROTOTYPE_NAMES: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// A check can find that the text is no JSON, or a problem to report.
pub(super) type Checked<T> = Result<Result<T, Problem>, JsonError>;

/// Checks the segments of a path and gives them ids.
pub(super) fn path<'a>(segments: Vec<Cow<'a, str>>, names: &mut Names<'a>) -> Result<Vec<NameId>, Problem> {
    if segments.len() > PATH_SEGMENTS_MAX {
        let text = format!("Path depth {} exceeds maximum of {PATH_SEGMENTS_MAX}", segments.len());
        return Err(Problem::new("path.too_deep", text));
    }
    let mut ids = Vec::with_capacity(segments.len());
    for segment in segments {
        if segment.is_empty() {
            return Err(Problem::new("path.empty_segment", "Path contains an empty segment".to_owned()));
        }
        if segment.len() > SEGMENT_BYTES_MAX {
            let text = format!("Path segment of {} bytes exceeds maximum of {SEGMENT_BYTES_MAX}", segment.len());
            return Err(Problem::new("path.segment_too_long", text));
        }
        if PROTOTYPE_NAMES.contains(&&*segment) {
            let text = format!("Path segment '{segment}' is not allowed (prototype pollution).");
            return Err(Problem::new("path.proto_polluted", text));
        }
        ids.push(names.add(segment));
    }
    Ok(ids)
}

/// Checks the value of a merge and takes it apart.
pub(super) fn merge<'a>(value: &'a str, names: &mut Names<'a>) -> Checked<Vec<(NameId, &'a str)>> {
    if kind(value) != JsonKind::Object {
        return Ok(Err(Problem::new("value.not_an_object", "Merge value must be a JSON object".to_owned())));
    }
    let mut puts = Vec::new();
    let mut walk = Members::new(value, JSON_DEPTH_MAX)?;
    while let Some(member) = walk.next()? {
        puts.push((names.add(unescape(member.key)?), member.value));
    }
    let mut ids: Vec<NameId> = puts.iter().map(|&(id, _)| id).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.len() > MERGE_KEYS_MAX {
        let text = format!("Merge value has {} top-level keys, exceeds maximum of {MERGE_KEYS_MAX}", ids.len());
        return Ok(Err(Problem::new("value.too_many_keys", text)));
    }
    let depth = nesting(value);
    if depth > MERGE_DEPTH_MAX {
        let text = format!("Merge value JSON nesting depth {depth} exceeds maximum of {MERGE_DEPTH_MAX}");
        return Ok(Err(Problem::new("value.too_deep", text)));
    }
    if let Some(name) = puts.iter().map(|&(id, _)| names.text(id)).find(|name| PROTOTYPE_NAMES.contains(name)) {
        let text = format!("Merge value top-level key \"{name}\" is a prototype-pollution sink");
        return Ok(Err(Problem::new("value.proto_polluted", text)));
    }
    Ok(Ok(puts))
}

/// Checks that a value appended at `path` cannot make the stored value too deep to be delivered.
pub(super) fn append(value: &str, path: &[NameId], names: &Names<'_>) -> Result<(), Problem> {
    let depth = path.len() + 1 + nesting(value);
    if depth <= JSON_DEPTH_MAX {
        return Ok(());
    }
    let path = show(path, names);
    let text = format!("Append value at path '{path}' would nest {depth} levels, exceeds maximum of {JSON_DEPTH_MAX}");
    Err(Problem::new("value.too_deep", text))
}

/// Levels of arrays and objects in a valid value: 0 for a scalar, 1 for `{"a":1}`.
fn nesting(value: &str) -> usize {
    let mut bytes = value.bytes();
    let (mut depth, mut deepest) = (0_usize, 0);
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth -= 1,
            b'"' => skip_string(&mut bytes),
            _ => {}
        }
    }
    deepest
}

fn skip_string(bytes: &mut std::str::Bytes<'_>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::nesting;

    #[test]
    fn nesting_does_not_count_brackets_in_strings() {
        for (value, depth) in [
            ("1", 0),
            (r#""[[{""#, 0),
            ("[]", 1),
            (r#"{"a":1}"#, 1),
            (r#"{"a":["\"[[[\\",[]],"b":{}}"#, 3),
            (r#"["\\\"]",[]]"#, 2),
        ] {
            assert_eq!(nesting(value), depth, "{value}");
        }
    }
}
