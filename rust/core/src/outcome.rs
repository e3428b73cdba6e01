//! Outcomes on their way to the caller, in all their forms.

use crate::calls::{Call, Outcome};
use crate::codec::json::{self, JsonKind, Members};
use crate::codec::transcode::{self, Inexpressible, What};
use crate::codec::{Codec, Value, msgpack};
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::WireError;
use crate::invocation::{Caller, Pending};
use crate::limits::JSON_DEPTH_MAX;
use crate::message::Envelope;
use crate::outbox::Outbox;
use crate::peer::SessionId;
use crate::reply::{Id, IdText, Reply, not_expressible};
use crate::state::Stored;
use crate::ws;
use std::borrow::Cow;
use std::sync::atomic::Ordering;

/// A message of the engine's making, from the JSON text that says the same.
///
/// # Errors
/// A number in it that msgpack does not have.
pub fn message_to_msgpack(text: &[u8]) -> Result<Vec<u8>, Inexpressible> {
    let malformed = |_| Inexpressible { path: String::new(), what: What::Malformed };
    let text = simdutf8::basic::from_utf8(text).map_err(malformed)?;
    transcode::to_msgpack(text).map_err(|error| error.within(""))
}

/// A message that its receiver has not asked for, from its JSON text. What msgpack cannot express goes as text.
pub fn push(outbox: &mut Outbox, codec: Codec, text: &[u8]) {
    match codec {
        Codec::Json => outbox.text(text),
        Codec::Msgpack => match message_to_msgpack(text) {
            Ok(message) => outbox.binary(&message),
            Err(_) => outbox.text(text),
        },
    }
}

/// An error object with string `code` and `message`.
pub enum ErrorObject<'a> {
    /// As the worker sent it.
    AsItCame(Value<'a>),
    /// JSON text: what was missing is filled in.
    Repaired(String),
}

impl ErrorObject<'_> {
    /// The object.
    pub fn value(&self) -> Value<'_> {
        match self {
            ErrorObject::AsItCame(value) => *value,
            ErrorObject::Repaired(text) => Value::Json(text),
        }
    }
}

/// A worker's error as callers may rely on it.
///
/// # Errors
/// One that has to be repaired, which is done in JSON, has something in it that JSON does not have.
pub fn complete_error(error: Value<'_>) -> Result<ErrorObject<'_>, Inexpressible> {
    let (mut code, mut message) = (false, false);
    if error.is(JsonKind::Object) {
        error.members(|name, value| match name {
            "code" => code = value.is(JsonKind::String),
            "message" => message = value.is(JsonKind::String),
            _ => {}
        });
    }
    if code && message {
        return Ok(ErrorObject::AsItCame(error));
    }
    let repaired = repaired(&error.to_json()?);
    Ok(ErrorObject::Repaired(String::from_utf8_lossy(&repaired).into_owned()))
}

fn repaired(raw: &str) -> Vec<u8> {
    let (mut code, mut message, mut stacktrace) = (None, None, None);
    if json::kind(raw) != JsonKind::Object {
        let mut object = b"{\"code\":\"UNKNOWN\",\"message\":".to_vec();
        json::write_string(&mut object, raw);
        object.push(b'}');
        return object;
    }
    if let Ok(mut members) = Members::new(raw, JSON_DEPTH_MAX) {
        while let Ok(Some(member)) = members.next() {
            let field = match () {
                () if member.key_is("code") => &mut code,
                () if member.key_is("message") => &mut message,
                () if member.key_is("stacktrace") => &mut stacktrace,
                () => continue,
            };
            *field = Some(member.value).filter(|value| json::kind(value) == JsonKind::String);
        }
    }
    let mut object = b"{\"code\":".to_vec();
    object.extend_from_slice(code.unwrap_or("\"UNKNOWN\"").as_bytes());
    object.extend_from_slice(b",\"message\":");
    object.extend_from_slice(message.unwrap_or("\"\"").as_bytes());
    if let Some(stacktrace) = stacktrace {
        object.extend_from_slice(b",\"stacktrace\":");
        object.extend_from_slice(stacktrace.as_bytes());
    }
    object.push(b'}');
    object
}

/// Replies that waited for their writes (whole frames of this module's making) as the same number of errors.
pub fn fail_held(held: &mut Outbox, error: &WireError) -> Outbox {
    let mut failed = Outbox::default();
    let bytes = held.take_bytes();
    let mut rest = bytes.as_slice();
    while let Some((message, after)) = ws::split_frame(rest) {
        rest = after;
        let message = match msgpack::is_map(message) {
            true => Some(Value::Msgpack(message)),
            false => std::str::from_utf8(message).ok().map(Value::Json),
        };
        let Some(Ok(envelope)) = message.map(Envelope::read) else { continue };
        if let (Some(invocation_id), Some(function_id)) = (envelope.invocation_id, envelope.function_id) {
            let codec = invocation_id.codec();
            let (invocation_id, function_id) = (Id::new(invocation_id, codec), Id::new(function_id, codec));
            Reply { invocation_id, function_id, message_bytes_max: usize::MAX, codec }.error(&mut failed, error);
        }
    }
    failed
}

/// What an invocation came to, borrowed from where it happened.
#[derive(Debug, Clone, Copy)]
pub enum Settlement<'a> {
    /// The result, or none.
    Result(Option<Value<'a>>),
    /// A result of which there is a copy.
    Copied(&'a Copied<'a>),
    /// A complete error object.
    ErrorObject(Value<'a>),
    /// The engine's own error.
    Error(&'a WireError),
}

/// See [`Settlement::Copied`].
#[derive(Debug)]
pub struct Copied<'a> {
    /// The result.
    pub result: Value<'a>,
    /// To be shared, in the codec that the caller had a moment ago.
    pub copy: &'a Stored,
}

/// Gives an outcome to whoever waits for it.
pub fn deliver(core: &Core, router: &mut impl Router, id: &IdText, pending: Pending, outcome: Settlement<'_>) {
    match pending.caller {
        Caller::Control(ticket) => {
            core.calls.push(Call::Settled { ticket, outcome: owned(outcome) });
        }
        Caller::Http(exchange) => router.respond(core, exchange, outcome),
        Caller::Worker { peer, own_id } => {
            let codec = peer.codec();
            let reply = Reply {
                invocation_id: own_id
                    .as_ref()
                    .map_or_else(|| id.written(codec), |own| Id::new(Value::Json(own), codec)),
                function_id: Id::new(Value::Json(&pending.function.id_json), codec),
                message_bytes_max: peer.message_bytes_max.load(Ordering::Relaxed),
                codec,
            };
            let Some(outbox) = router.outbox(peer.session, None) else { return };
            write(&reply, outbox, outcome);
            let waiting = outbox.len().max(peer.outbox_bytes.load(Ordering::Relaxed));
            give_up_if_flooded(core, router, peer.session, waiting);
        }
    }
}

/// Closes a peer that does not read what it asked for: throttling it does not stop what is on its way already.
pub fn give_up_if_flooded(core: &Core, router: &mut impl Router, session: SessionId, waiting: usize) {
    if waiting > core.limits.outbox_bytes_max {
        router.close(session, 1008, "does not read: more than outbox_bytes_max waits for it");
    }
}

/// Writes a reply in the form its outcome has.
pub fn write(reply: &Reply<'_>, outbox: &mut Outbox, outcome: Settlement<'_>) {
    match outcome {
        Settlement::Copied(Copied { copy, .. }) if copy.codec() == reply.codec => reply.shared(outbox, copy),
        Settlement::Result(Some(result)) | Settlement::Copied(&Copied { result, .. }) => {
            reply.result(outbox, result, false);
        }
        Settlement::Result(None) => reply.nothing(outbox),
        Settlement::ErrorObject(object) => reply.error_object(outbox, object),
        Settlement::Error(error) => reply.error(outbox, error),
    }
}

/// The same, kept for those who read JSON: an error where that cannot express it.
pub fn owned(outcome: Settlement<'_>) -> Outcome {
    match outcome {
        Settlement::Result(None) => Outcome::Result(None),
        Settlement::Result(Some(result)) | Settlement::Copied(&Copied { result, .. }) => match result.to_json() {
            Ok(text) => Outcome::Result(Some(text.into())),
            Err(error) => Outcome::Error(not_expressible(&error.within("result"), false)),
        },
        Settlement::ErrorObject(Value::Json(object)) => Outcome::WorkerError(object.into()),
        Settlement::ErrorObject(object) => Outcome::WorkerError(error_strings(object)),
        Settlement::Error(error) => Outcome::Error(error.clone()),
    }
}

/// All of an error that is looked at outside workers, as JSON text.
fn error_strings(error: Value<'_>) -> Box<str> {
    const NAMES: [&str; 3] = ["code", "message", "stacktrace"];
    let mut strings = [const { None }; NAMES.len()];
    error.members(|name, value| {
        if let Some(at) = NAMES.iter().position(|known| *known == name) {
            strings[at] = value.string().map(Cow::into_owned);
        }
    });
    let mut object = Vec::new();
    for (name, string) in NAMES.iter().zip(strings) {
        if let Some(string) = string {
            object.push(if object.is_empty() { b'{' } else { b',' });
            json::write_string(&mut object, name);
            object.push(b':');
            json::write_string(&mut object, &string);
        }
    }
    object.push(b'}');
    String::from_utf8(object).unwrap_or_default().into()
}

impl Outcome {
    /// The same, borrowed.
    pub fn settlement(&self) -> Settlement<'_> {
        match self {
            Outcome::Result(result) => Settlement::Result(result.as_deref().map(Value::Json)),
            Outcome::WorkerError(object) => Settlement::ErrorObject(Value::Json(object)),
            Outcome::Error(error) => Settlement::Error(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::code;

    /// What waits, as JSON text; each with its opcode.
    fn waiting(outbox: &mut Outbox) -> Vec<(u8, String)> {
        let bytes = outbox.take_bytes();
        let mut rest = bytes.as_slice();
        let mut all = Vec::new();
        while let Some((message, after)) = ws::split_frame(rest) {
            let text = match rest[0] & 0x0f {
                ws::OPCODE_BINARY => transcode::to_json(message).unwrap(),
                _ => String::from_utf8(message.to_vec()).unwrap(),
            };
            all.push((rest[0] & 0x0f, text));
            rest = after;
        }
        all
    }

    #[test]
    fn replies_that_cannot_be_given_become_errors_in_their_codec() {
        let mut held = Outbox::default();
        for (codec, id) in [(Codec::Json, "\"a\""), (Codec::Msgpack, "\"b\""), (Codec::Json, "\"c\"")] {
            let [invocation_id, function_id] = [id, "\"f\""].map(|id| Id::new(Value::Json(id), codec));
            let reply = Reply { invocation_id, function_id, message_bytes_max: 1000, codec };
            reply.result(&mut held, Value::Json("{\"old_value\":null}"), true);
        }
        let mut failed = fail_held(&mut held, &WireError::new(code::STORAGE_FAILED, "why"));
        let error = |id| {
            let ids = format!("\"invocation_id\":\"{id}\",\"function_id\":\"f\"");
            format!(
                "{{\"type\":\"invocationresult\",{ids},\"error\":{{\"code\":\"STORAGE_FAILED\",\"message\":\"why\"}}}}"
            )
        };
        let expected = [(ws::OPCODE_TEXT, error("a")), (ws::OPCODE_BINARY, error("b")), (ws::OPCODE_TEXT, error("c"))];
        assert_eq!(waiting(&mut failed), expected);
    }

    #[test]
    fn what_msgpack_cannot_express_is_pushed_as_text() {
        let mut outbox = Outbox::default();
        for text in [&b"{\"n\":1}"[..], b"{\"n\":1e400}"] {
            push(&mut outbox, Codec::Msgpack, text);
        }
        let expected = [(ws::OPCODE_BINARY, "{\"n\":1}".to_owned()), (ws::OPCODE_TEXT, "{\"n\":1e400}".to_owned())];
        assert_eq!(waiting(&mut outbox), expected);
    }
}
