//! A borrowed view of one wire message: the members of the envelope as spans of its text, payloads opaque.
//!
//! One pass validates the whole text and finds every member; nothing is copied.

use crate::codec::json::{self, JsonError, JsonKind, Member, Members};
use crate::error::{WireError, code};
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;
use uuid::Uuid;

/// Raw JSON text of each member that was there (`null` included); of duplicates the last.
#[derive(Debug, Default)]
pub struct Envelope<'a> {
    kind: Option<&'a str>,
    /// `id` of a registration.
    pub id: Option<&'a str>,
    /// `invocation_id`.
    pub invocation_id: Option<&'a str>,
    /// `function_id`.
    pub function_id: Option<&'a str>,
    /// `data`.
    pub data: Option<&'a str>,
    /// `action`.
    pub action: Option<&'a str>,
    /// `metadata`.
    pub metadata: Option<&'a str>,
    /// `namespace`.
    pub namespace: Option<&'a str>,
    /// `traceparent`.
    pub traceparent: Option<&'a str>,
    /// `baggage`.
    pub baggage: Option<&'a str>,
    /// `result`.
    pub result: Option<&'a str>,
    /// `error`.
    pub error: Option<&'a str>,
    /// `previous_worker_id`.
    pub previous_worker_id: Option<&'a str>,
    /// `reattach_token`.
    pub reattach_token: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    /// Reads and validates a message.
    pub fn read(text: &'a str) -> Result<Self, JsonError> {
        Self::collect(Members::new(text, JSON_DEPTH_MAX)?)
    }

    /// What can be read of a message that is refused only for `NaN` and the like, lone surrogates, or its depth.
    pub fn read_lenient(text: &'a str) -> Option<Self> {
        Self::collect(Members::new_lenient(text, usize::MAX).ok()?).ok()
    }

    fn collect(mut members: Members<'a>) -> Result<Self, JsonError> {
        let mut envelope = Envelope::default();
        while let Some(member) = members.next()? {
            envelope.put(&member);
        }
        members.finish()?;
        Ok(envelope)
    }

    #[inline]
    fn put(&mut self, member: &Member<'a>) {
        let plain = &member.key[1..member.key.len() - 1];
        if !self.put_named(plain, member.value) {
            self.put_escaped(member);
        }
    }

    /// Unknown members end here; a name with an escape in it may still be a known one.
    #[cold]
    fn put_escaped(&mut self, member: &Member<'a>) {
        if let Ok(Cow::Owned(key)) = json::unescape(member.key) {
            self.put_named(&key, member.value);
        }
    }

    #[inline]
    fn put_named(&mut self, key: &str, value: &'a str) -> bool {
        let field = match key {
            "type" => &mut self.kind,
            "invocation_id" => &mut self.invocation_id,
            "function_id" => &mut self.function_id,
            "data" => &mut self.data,
            "action" => &mut self.action,
            "metadata" => &mut self.metadata,
            "namespace" => &mut self.namespace,
            "traceparent" => &mut self.traceparent,
            "baggage" => &mut self.baggage,
            "result" => &mut self.result,
            "error" => &mut self.error,
            "id" => &mut self.id,
            "previous_worker_id" => &mut self.previous_worker_id,
            "reattach_token" => &mut self.reattach_token,
            _ => return false,
        };
        *field = Some(value);
        true
    }

    /// The `type`, if it is one that a worker may send.
    pub fn kind(&self) -> Option<Kind> {
        match self.kind? {
            "\"invokefunction\"" => Some(Kind::InvokeFunction),
            "\"invocationresult\"" => Some(Kind::InvocationResult),
            other => Kind::from_wire(&string(Some(other))?),
        }
    }

    /// `data`, null when absent.
    pub fn data(&self) -> &'a str {
        self.data.unwrap_or("null")
    }

    /// The sender's id for the call: raw text of a string.
    pub fn invocation_id(&self) -> Option<&'a str> {
        self.invocation_id.filter(|raw| json::kind(raw) == JsonKind::String)
    }

    /// A member that counts only when it is a string.
    pub fn string_or_absent(raw: Option<&'a str>) -> Option<&'a str> {
        raw.filter(|raw| json::kind(raw) == JsonKind::String)
    }

    /// A member that counts only when it is not null.
    pub fn non_null(raw: Option<&'a str>) -> Option<&'a str> {
        raw.filter(|raw| json::kind(raw) != JsonKind::Null)
    }
}

/// The decoded text of a member, if it is a string.
pub fn string(raw: Option<&str>) -> Option<Cow<'_, str>> {
    let raw = raw?;
    if json::kind(raw) != JsonKind::String {
        return None;
    }
    json::unescape(raw).ok()
}

/// `type` of the messages that workers send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Call a function.
    InvokeFunction,
    /// The outcome of one.
    InvocationResult,
    /// Provide a function.
    RegisterFunction,
    /// Provide it no longer.
    UnregisterFunction,
    /// Replace an older connection of the same worker.
    Reattach,
    /// Answered by `pong`.
    Ping,
    /// Accepted, without effect.
    RegisterService,
    /// One that the control plane handles; with its name.
    Control(&'static str),
}

/// Messages that go up as they are; `protocol.CONTROL_KINDS` has the same list.
pub const CONTROL_KINDS: [&str; 5] = [
    "registertriggertype",
    "unregistertriggertype",
    "registertrigger",
    "unregistertrigger",
    "triggerregistrationresult",
];

impl Kind {
    fn from_wire(kind: &str) -> Option<Self> {
        Some(match kind {
            "invokefunction" => Kind::InvokeFunction,
            "invocationresult" => Kind::InvocationResult,
            "registerfunction" => Kind::RegisterFunction,
            "unregisterfunction" => Kind::UnregisterFunction,
            "reattach" => Kind::Reattach,
            "ping" => Kind::Ping,
            "registerservice" => Kind::RegisterService,
            other => Kind::Control(CONTROL_KINDS.into_iter().find(|kind| *kind == other)?),
        })
    }
}

/// How a function is to be invoked.
#[derive(Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Wait for the result.
    Wait,
    /// Nobody waits.
    Void,
    /// Run later, from a named queue.
    Enqueue(Cow<'a, str>),
}

impl<'a> Action<'a> {
    /// From the raw member; the error names the field.
    pub fn read(raw: Option<&'a str>) -> Result<Self, WireError> {
        let Some(raw) = Envelope::non_null(raw) else { return Ok(Action::Wait) };
        if json::kind(raw) != JsonKind::Object {
            return Err(wrong_type("action", json::kind(raw), "an object"));
        }
        let (mut kind, mut queue) = (None, None);
        // Lenient: the message may be one that is refused already, and a void call never gets an answer.
        if let Ok(mut members) = Members::new_lenient(raw, usize::MAX) {
            while let Ok(Some(member)) = members.next() {
                if member.key_is("type") {
                    kind = Some(member.value);
                } else if member.key_is("queue") {
                    queue = Some(member.value);
                }
            }
        }
        const KINDS: &str = "\"void\" or \"enqueue\"";
        let Some(kind) = kind else { return Err(missing("action.type", KINDS)) };
        match string(Some(kind)).as_deref() {
            Some("void") => Ok(Action::Void),
            Some("enqueue") => match (queue, string(queue)) {
                (_, Some(queue)) => Ok(Action::Enqueue(queue)),
                (None, _) => Err(missing("action.queue", "a string")),
                (Some(other), _) => Err(wrong_type("action.queue", json::kind(other), "a string")),
            },
            Some(_) => Err(invalid(format!("field `action.type` is {kind}, expected {KINDS}"))),
            None => Err(wrong_type("action.type", json::kind(kind), KINDS)),
        }
    }
}

/// The namespace a call names: the only one that exists, or an error.
pub fn check_namespace(raw: Option<&str>) -> Result<Option<Cow<'_, str>>, WireError> {
    let Some(raw) = Envelope::non_null(raw) else { return Ok(None) };
    let Some(namespace) = string(Some(raw)) else {
        return Err(wrong_type("namespace", json::kind(raw), "a string"));
    };
    if namespace.trim().is_empty() {
        return Err(WireError::new(
            code::INVALID_NAMESPACE,
            "`namespace` is empty: it was named and left blank. Give it a name, or omit it to use `default`.",
        ));
    }
    Ok(Some(namespace).filter(|namespace| namespace != "default"))
}

/// A required string member of `invokefunction`.
pub fn required_string<'a>(field: &str, raw: Option<&'a str>) -> Result<Cow<'a, str>, WireError> {
    match (raw, string(raw)) {
        (_, Some(text)) => Ok(text),
        (None, _) => Err(missing(field, "a string")),
        (Some(other), _) => Err(wrong_type(field, json::kind(other), "a string")),
    }
}

fn invalid(detail: String) -> WireError {
    WireError::new(code::INVALID_MESSAGE, format!("Invalid invokefunction: {detail}"))
}

fn missing(field: &str, expected: &str) -> WireError {
    invalid(format!("field `{field}` is missing, expected {expected}"))
}

fn wrong_type(field: &str, got: JsonKind, expected: &str) -> WireError {
    let got = match got {
        JsonKind::Null => "null",
        JsonKind::Boolean => "a boolean",
        JsonKind::Number => "a number",
        JsonKind::String => "a string",
        JsonKind::Array => "an array",
        JsonKind::Object => "an object",
    };
    invalid(format!("field `{field}` is {got}, expected {expected}"))
}

/// A UUID in canonical form (lower case, hyphens) from the raw text of a string.
pub fn canonical_uuid(raw: &str) -> Option<Uuid> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    if text.len() != 36 || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    Uuid::try_parse(text).ok()
}
