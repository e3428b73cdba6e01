//! What can still be read of a msgpack message that is broken.

use crate::codec::{json, msgpack};

/// What of a refused message tells who is to hear of it, as JSON text.
#[cold]
pub(crate) fn read_unusable(message: &[u8]) -> Option<String> {
    const NAMES: [&str; 3] = ["type", "invocation_id", "function_id"];
    let mut strings: [Option<String>; NAMES.len()] = [None, None, None];
    let mut action = None;
    let mut members = msgpack::Members::new_lenient(message).ok()?;
    while let Some(member) = members.next().ok()? {
        let Some(name) = member.name.as_deref() else { continue };
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            strings[at] = lenient_string(member.value);
        } else if name == "action" {
            action = lenient_type(member.value);
        }
    }
    members.finish().ok()?;
    let mut text = b"{\"action\":{\"type\":".to_vec();
    json::write_string(&mut text, action.as_deref().unwrap_or_default());
    text.push(b'}');
    for (name, string) in NAMES.iter().zip(strings) {
        if let Some(string) = string {
            text.extend_from_slice(b",\"");
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(b"\":");
            json::write_string(&mut text, &string);
        }
    }
    text.push(b'}');
    String::from_utf8(text).ok()
}

fn lenient_string(value: &[u8]) -> Option<String> {
    let mut scanner = msgpack::Scanner::new(value, 0);
    let Ok(msgpack::Head::String(len)) = scanner.head() else { return None };
    Some(String::from_utf8_lossy(scanner.payload(len).ok()?).into_owned())
}

/// The `type` of an action.
fn lenient_type(action: &[u8]) -> Option<String> {
    let mut kind = None;
    let mut members = msgpack::Members::new_lenient(action).ok()?;
    while let Some(member) = members.next().ok()? {
        if member.name.as_deref() == Some("type") {
            kind = lenient_string(member.value);
        }
    }
    kind
}
