//! Outcomes on their way to the caller: the `invocationresult` message in each of its forms.

use crate::calls::{Call, Outcome};
use crate::codec::json::{self, JsonKind, Members};
use crate::codec::transcode::{self, Inexpressible, What};
use crate::codec::{Codec, msgpack};
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::{WireError, code};
use crate::invocation::{Caller, InvocationId, Pending};
use crate::limits::JSON_DEPTH_MAX;
use crate::message::Envelope;
use crate::outbox::Outbox;
use crate::parts::Parts;
use crate::peer::SessionId;
use crate::state::Answer;
use crate::ws;
use std::borrow::Cow;
use std::sync::atomic::Ordering;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

const HEAD: &[u8] = b"{\"type\":\"invocationresult\",\"invocation_id\":";
const FUNCTION: &[u8] = b",\"function_id\":";
const RESULT: &[u8] = b",\"result\":";
const ERROR: &[u8] = b",\"error\":";
const TAIL: &[u8] = b"}";

/// The JSON text of an invocation id: a UUID in quotes.
pub struct IdText([u8; Hyphenated::LENGTH + 2]);

impl IdText {
    /// Canonical form.
    pub fn new(id: &Uuid) -> Self {
        let mut text = [b'"'; Hyphenated::LENGTH + 2];
        id.hyphenated().encode_lower(&mut text[1..=Hyphenated::LENGTH]);
        IdText(text)
    }

    /// With its quotes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The text of a result, wherever it is kept.
pub trait Body {
    /// Bytes of JSON text.
    fn size(&self) -> usize;
    /// Writes exactly those.
    fn write_to(&self, out: &mut impl Parts);
}

impl Body for &[u8] {
    fn size(&self) -> usize {
        self.len()
    }
    fn write_to(&self, out: &mut impl Parts) {
        out.bytes(self);
    }
}

impl Body for Answer {
    fn size(&self) -> usize {
        self.len()
    }
    fn write_to(&self, out: &mut impl Parts) {
        Answer::write_to(self, out);
    }
}

/// The address of a reply: raw JSON texts of both ids, and what the receiver can take.
pub struct Reply<'a> {
    /// `invocation_id`, as the receiver knows it.
    pub invocation_id: &'a [u8],
    /// `function_id`.
    pub function_id: &'a [u8],
    /// Largest message the receiver takes, bytes.
    pub message_bytes_max: usize,
    /// What the receiver speaks.
    pub codec: Codec,
}

impl Reply<'_> {
    fn frame_bytes(&self) -> usize {
        HEAD.len() + self.invocation_id.len() + FUNCTION.len() + self.function_id.len() + TAIL.len()
    }

    #[inline]
    fn begin<'o>(&self, outbox: &'o mut Outbox, len: usize) -> &'o mut Outbox {
        let out = outbox.begin_text(len);
        out.bytes(HEAD);
        out.bytes(self.invocation_id);
        out.bytes(FUNCTION);
        out.bytes(self.function_id);
        out
    }

    /// A result with a body. `written`: the call has changed state, which a refusal must not hide.
    pub fn result(&self, outbox: &mut Outbox, body: &impl Body, written: bool) {
        if self.codec == Codec::Msgpack {
            return self.msgpack(outbox, RESULT, |out| body.write_to(out), Some(written));
        }
        let len = self.frame_bytes() + RESULT.len() + body.size();
        if len > self.message_bytes_max {
            return self.error(outbox, &too_large(len, self.message_bytes_max, written));
        }
        let out = self.begin(outbox, len);
        out.bytes(RESULT);
        body.write_to(out);
        out.bytes(TAIL);
    }

    /// A result without a body: the function returned nothing.
    pub fn nothing(&self, outbox: &mut Outbox) {
        if self.codec == Codec::Msgpack {
            return self.msgpack(outbox, b"", |_| {}, None);
        }
        self.begin(outbox, self.frame_bytes()).bytes(TAIL);
    }

    /// The message as msgpack. A body that has a bound and is too large, or that msgpack cannot express, becomes an error;
    /// `bounded` has none or says whether state was changed.
    fn msgpack(&self, outbox: &mut Outbox, name: &[u8], body: impl FnOnce(&mut Vec<u8>), bounded: Option<bool>) {
        let mut text = [HEAD, self.invocation_id, FUNCTION, self.function_id, name].concat();
        body(&mut text);
        text.bytes(TAIL);
        let error = match (message_to_msgpack(&text), bounded) {
            (Ok(message), Some(written)) if message.len() > self.message_bytes_max => {
                too_large(message.len(), self.message_bytes_max, written)
            }
            (Ok(message), _) => return outbox.binary(&message),
            (Err(error), Some(written)) => not_expressible(&error, written),
            // Not for what the engine makes itself: its texts are strings.
            (Err(_), None) => return outbox.text(&text),
        };
        self.error(outbox, &error);
    }

    /// An error of the engine; always small enough.
    pub fn error(&self, outbox: &mut Outbox, error: &WireError) {
        self.put_error(outbox, &error_json(error));
    }

    /// An error object of a function, as JSON text.
    pub fn error_object(&self, outbox: &mut Outbox, object: &[u8]) {
        if self.codec == Codec::Msgpack {
            return self.msgpack(outbox, ERROR, |out| out.bytes(object), Some(false));
        }
        let len = self.frame_bytes() + ERROR.len() + object.len();
        if len > self.message_bytes_max {
            return self.error(outbox, &too_large(len, self.message_bytes_max, false));
        }
        self.put_error(outbox, object);
    }

    fn put_error(&self, outbox: &mut Outbox, object: &[u8]) {
        if self.codec == Codec::Msgpack {
            return self.msgpack(outbox, ERROR, |out| out.bytes(object), None);
        }
        let len = self.frame_bytes() + ERROR.len() + object.len();
        let out = self.begin(outbox, len);
        out.bytes(ERROR);
        out.bytes(object);
        out.bytes(TAIL);
    }
}

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

/// A payload cannot be told to a peer of the other codec.
pub fn not_expressible(error: &Inexpressible, written: bool) -> WireError {
    WireError::new(code::NOT_EXPRESSIBLE, format!("{error}{}", applied(written)))
}

fn applied(written: bool) -> &'static str {
    if written { "; the write was applied" } else { "" }
}

fn too_large(len: usize, max: usize, written: bool) -> WireError {
    let suffix = applied(written);
    WireError::new(
        code::PAYLOAD_TOO_LARGE,
        format!("Result of {len} bytes exceeds what this connection can receive ({max} bytes){suffix}."),
    )
}

/// `{"code":…,"message":…}`.
pub fn error_json(error: &WireError) -> Vec<u8> {
    let mut object = Vec::with_capacity(64 + error.message.len());
    object.extend_from_slice(b"{\"code\":");
    json::write_string(&mut object, error.code);
    object.extend_from_slice(b",\"message\":");
    json::write_string(&mut object, &error.message);
    object.push(b'}');
    object
}

/// A worker's error as callers may rely on it: an object with string `code` and `message`.
pub fn complete_error(raw: &str) -> Cow<'_, [u8]> {
    let (mut code, mut message, mut stacktrace) = (None, None, None);
    if json::kind(raw) != JsonKind::Object {
        let mut object = b"{\"code\":\"UNKNOWN\",\"message\":".to_vec();
        json::write_string(&mut object, raw);
        object.push(b'}');
        return Cow::Owned(object);
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
    if code.is_some() && message.is_some() {
        return Cow::Borrowed(raw.as_bytes());
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
    Cow::Owned(object)
}

/// Replies that waited for their writes (whole frames of this module's making) as the same number of errors.
pub fn fail_held(held: &mut Outbox, error: &WireError) -> Outbox {
    let mut failed = Outbox::default();
    let bytes = held.take_bytes();
    let mut rest = bytes.as_slice();
    while let Some((message, after)) = ws::split_frame(rest) {
        rest = after;
        let codec = if msgpack::is_map(message) { Codec::Msgpack } else { Codec::Json };
        let text = match codec {
            Codec::Json => std::str::from_utf8(message).ok().map(Cow::Borrowed),
            Codec::Msgpack => transcode::to_json(message).ok().map(Cow::Owned),
        };
        let Some(Ok(envelope)) = text.as_deref().map(Envelope::read) else { continue };
        if let (Some(invocation_id), Some(function_id)) = (envelope.invocation_id, envelope.function_id) {
            let (invocation_id, function_id) = (invocation_id.as_bytes(), function_id.as_bytes());
            Reply { invocation_id, function_id, message_bytes_max: usize::MAX, codec }.error(&mut failed, error);
        }
    }
    failed
}

/// What an invocation came to, borrowed from where it happened.
#[derive(Debug, Clone, Copy)]
pub enum Settlement<'a> {
    /// JSON text of the result, or none.
    Result(Option<&'a [u8]>),
    /// JSON text of a complete error object.
    ErrorObject(&'a [u8]),
    /// The engine's own error.
    Error(&'a WireError),
}

/// Gives an outcome to whoever waits for it.
pub fn deliver(core: &Core, router: &mut impl Router, id: &InvocationId, pending: Pending, outcome: Settlement<'_>) {
    match pending.caller {
        Caller::Control(ticket) => {
            core.calls.push(Call::Settled { ticket, outcome: owned(outcome) });
        }
        Caller::Http(exchange) => router.respond(core, exchange, outcome),
        Caller::Worker { peer, own_id } => {
            let text = IdText::new(id);
            let reply = Reply {
                invocation_id: own_id.as_ref().map_or(text.bytes(), |own| own.as_bytes()),
                function_id: pending.function.id_json.as_bytes(),
                message_bytes_max: peer.message_bytes_max.load(Ordering::Relaxed),
                codec: peer.codec(),
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
        Settlement::Result(Some(body)) => reply.result(outbox, &body, false),
        Settlement::Result(None) => reply.nothing(outbox),
        Settlement::ErrorObject(object) => reply.error_object(outbox, object),
        Settlement::Error(error) => reply.error(outbox, error),
    }
}

/// The same, kept.
pub fn owned(outcome: Settlement<'_>) -> Outcome {
    match outcome {
        Settlement::Result(body) => Outcome::Result(body.map(Into::into)),
        Settlement::ErrorObject(object) => Outcome::WorkerError(String::from_utf8_lossy(object).into()),
        Settlement::Error(error) => Outcome::Error(error.clone()),
    }
}

impl Outcome {
    /// The same, borrowed.
    pub fn settlement(&self) -> Settlement<'_> {
        match self {
            Outcome::Result(body) => Settlement::Result(body.as_deref()),
            Outcome::WorkerError(object) => Settlement::ErrorObject(object.as_bytes()),
            Outcome::Error(error) => Settlement::Error(error),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
        for (codec, id) in [(Codec::Json, &b"\"a\""[..]), (Codec::Msgpack, b"\"b\""), (Codec::Json, b"\"c\"")] {
            let reply = Reply { invocation_id: id, function_id: b"\"f\"", message_bytes_max: 1000, codec };
            reply.result(&mut held, &&b"{\"old_value\":null}"[..], true);
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
