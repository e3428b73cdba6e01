//! Names the place of a byte in a value: looked for only when there is something to complain about.

use crate::codec::json::{self, Elements, JsonKind};
use crate::codec::msgpack::{Head, MsgpackError, Scanner};

/// Characters of a name that a path shows.
const NAME_CHARS_MAX: usize = 64;

/// The path of the value that begins at byte `target` of a valid JSON text.
pub(super) fn in_json(text: &str, target: usize) -> String {
    let mut path = String::new();
    let mut begin = 0;
    while begin < target {
        let rest = &text[begin..];
        let Some(child) = json_child(rest, target - begin, &mut path) else { break };
        begin += child;
    }
    path
}

/// Where the item of `value` begins that has byte `target`; its step is added to `path`.
fn json_child(value: &str, target: usize, path: &mut String) -> Option<usize> {
    let offset = |item: &str| item.as_ptr() as usize - value.as_ptr() as usize;
    let has = |item: &str| (offset(item)..offset(item) + item.len()).contains(&target);
    if json::kind(value) == JsonKind::Object {
        let mut members = json::Members::new(value, usize::MAX).ok()?;
        while let Ok(Some(member)) = members.next() {
            if has(member.value) {
                push_name(path, &json::unescape(member.key).ok()?);
                return Some(offset(member.value));
            }
        }
        return None;
    }
    let mut elements = Elements::new(value, usize::MAX).ok()?;
    let mut index = 0;
    while let Ok(Some(element)) = elements.next() {
        if has(element) {
            push_index(path, index);
            return Some(offset(element));
        }
        index += 1;
    }
    None
}

/// The path of the value that begins at byte `target` of a valid msgpack value; of the map when it is one of its names.
pub(super) fn in_msgpack(bytes: &[u8], target: usize) -> String {
    let mut path = String::new();
    let mut begin = 0;
    while begin < target {
        let Ok(Some(child)) = msgpack_child(bytes, begin, target, &mut path) else { break };
        begin = child;
    }
    path
}

fn msgpack_child(bytes: &[u8], begin: usize, target: usize, path: &mut String) -> Result<Option<usize>, MsgpackError> {
    let mut scanner = Scanner::new(bytes, begin);
    let (items, is_map) = match scanner.head()? {
        Head::Map(len) => (len, true),
        Head::Array(len) => (len, false),
        _ => return Ok(None),
    };
    for index in 0..items {
        let name = scanner.at();
        if is_map {
            scanner.value_lenient()?;
        }
        let value = scanner.at();
        scanner.value_lenient()?;
        if target >= scanner.at() {
            continue;
        }
        if target < value {
            return Ok(None);
        }
        match crate::codec::msgpack::string(&bytes[name..value]) {
            Some(name) if is_map => push_name(path, name),
            _ => push_index(path, index),
        }
        return Ok(Some(value));
    }
    Ok(None)
}

fn push_index(path: &mut String, index: usize) {
    path.push_str(&format!("[{index}]"));
}

fn push_name(path: &mut String, name: &str) {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '-';
    let shown: String = match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    };
    if !name.is_empty() && name.chars().all(is_plain) {
        path.push('.');
        path.push_str(&shown);
        return;
    }
    let mut quoted = Vec::new();
    json::write_string(&mut quoted, &shown);
    path.push('[');
    path.push_str(&String::from_utf8_lossy(&quoted));
    path.push(']');
}
