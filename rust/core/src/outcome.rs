//! Outcomes on their way to the caller: the `invocationresult` message in each of its forms.

use crate::calls::{Call, Outcome};
use crate::codec::json::{self, JsonKind, Members};
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
        self.begin(outbox, self.frame_bytes()).bytes(TAIL);
    }

    /// An error of the engine; always small enough.
    pub fn error(&self, outbox: &mut Outbox, error: &WireError) {
        self.put_error(outbox, &error_json(error));
    }

    /// An error object of a function, as JSON text.
    pub fn error_object(&self, outbox: &mut Outbox, object: &[u8]) {
        let len = self.frame_bytes() + ERROR.len() + object.len();
        if len > self.message_bytes_max {
            return self.error(outbox, &too_large(len, self.message_bytes_max, false));
        }
        self.put_error(outbox, object);
    }

    fn put_error(&self, outbox: &mut Outbox, object: &[u8]) {
        let len = self.frame_bytes() + ERROR.len() + object.len();
        let out = self.begin(outbox, len);
        out.bytes(ERROR);
        out.bytes(object);
        out.bytes(TAIL);
    }
}

fn too_large(len: usize, max: usize, written: bool) -> WireError {
    let suffix = if written { "; the write was applied" } else { "" };
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
        let envelope = std::str::from_utf8(message).ok().and_then(|text| Envelope::read(text).ok());
        let Some(envelope) = envelope else { continue };
        if let (Some(invocation_id), Some(function_id)) = (envelope.invocation_id, envelope.function_id) {
            let (invocation_id, function_id) = (invocation_id.as_bytes(), function_id.as_bytes());
            Reply { invocation_id, function_id, message_bytes_max: usize::MAX }.error(&mut failed, error);
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
        Caller::Worker { peer, own_id } => {
            let text = IdText::new(id);
            let reply = Reply {
                invocation_id: own_id.as_ref().map_or(text.bytes(), |own| own.as_bytes()),
                function_id: pending.function.id_json.as_bytes(),
                message_bytes_max: peer.message_bytes_max.load(Ordering::Relaxed),
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

fn owned(outcome: Settlement<'_>) -> Outcome {
    match outcome {
        Settlement::Result(body) => Outcome::Result(body.map(Into::into)),
        Settlement::ErrorObject(object) => Outcome::WorkerError(String::from_utf8_lossy(object).into()),
        Settlement::Error(error) => Outcome::Error(error.clone()),
    }
}
