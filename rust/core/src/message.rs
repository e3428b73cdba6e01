//! A borrowed view of one wire message: the members of the envelope as spans of it, payloads opaque.
//!
//! One pass validates the whole message and finds every member; nothing is copied.

use crate::codec::json::{self, JsonError, JsonKind, Members};
use crate::codec::msgpack::{self, MsgpackError};
use crate::codec::{Codec, Collect, Kind as ValueKind, Opened, Value};
use crate::error::{WireError, code};
use crate::limits::JSON_DEPTH_MAX;
use crate::state::Stored;
use crate::ws;
use std::borrow::Cow;

/// The value that a worker sent: a binary message that is no map of msgpack is JSON as well. None when it is not UTF-8.
#[inline]
pub(crate) fn value_of(message: ws::Message<'_>) -> Option<Value<'_>> {
    match message {
        ws::Message::Text(text) => Some(Value::Json(text)),
        ws::Message::Binary(bytes) if msgpack::is_map(bytes) => Some(Value::Msgpack(bytes)),
        ws::Message::Binary(bytes) => simdutf8::basic::from_utf8(bytes).ok().map(Value::Json),
    }
}

/// Each member that was there (null included); of duplicates the last.
#[derive(Debug, Default)]
pub struct Envelope<'a> {
    kind: Option<Value<'a>>,
    /// The one that was put last.
    last: Option<Member>,
    /// `id` of a registration.
    pub id: Option<Value<'a>>,
    /// `invocation_id`.
    pub invocation_id: Option<Value<'a>>,
    /// `function_id`.
    pub function_id: Option<Value<'a>>,
    /// `data`.
    pub data: Option<Value<'a>>,
    /// Its members, as far as they are known.
    pub opened: Opened<'a>,
    /// A copy of `data` or `result` that was made before, if one was: in the codec that its receiver had then.
    pub copy: Option<&'a Stored>,
    /// `action`.
    pub action: Option<Value<'a>>,
    /// `metadata`.
    pub metadata: Option<Value<'a>>,
    /// `namespace`.
    pub namespace: Option<Value<'a>>,
    /// `traceparent`.
    pub traceparent: Option<Value<'a>>,
    /// `baggage`.
    pub baggage: Option<Value<'a>>,
    /// `result`.
    pub result: Option<Value<'a>>,
    /// `error`.
    pub error: Option<Value<'a>>,
    /// `previous_worker_id`.
    pub previous_worker_id: Option<Value<'a>>,
    /// `reattach_token`.
    pub reattach_token: Option<Value<'a>>,
}

impl<'a> Envelope<'a> {
    /// Reads and validates a message.
    ///
    /// # Errors
    /// What is wrong with it first.
    pub fn read(message: Value<'a>) -> Result<Self, Broken> {
        let mut envelope = Envelope::default();
        envelope.fill(message)?;
        Ok(envelope)
    }

    /// As [`Self::read`], in place: an envelope is large to hand around.
    #[inline]
    pub(crate) fn fill(&mut self, message: Value<'a>) -> Result<(), Broken> {
        match message {
            Value::Json(text) => json::read_members(text, JSON_DEPTH_MAX, self)?,
            Value::Msgpack(map) => msgpack::read_members(map, JSON_DEPTH_MAX, self)?,
        }
        Ok(())
    }

    /// What can be read of a message that is refused only for `NaN` and the like, lone surrogates, or its depth.
    pub fn read_lenient(text: &'a str) -> Option<Self> {
        let mut envelope = Envelope::default();
        let mut members = Members::new_lenient(text, usize::MAX).ok()?;
        while let Some(member) = members.next().ok()? {
            let name = &member.key[1..member.key.len() - 1];
            if let Some(known) = envelope.named(name.as_bytes(), name.contains('\\')) {
                envelope.put(known, Value::Json(member.value));
            }
        }
        members.finish().ok()?;
        Some(envelope)
    }

    /// The `type`, if it is one that a worker may send.
    pub fn kind(&self) -> Option<Kind> {
        match self.kind? {
            Value::Json("\"invokefunction\"") => Some(Kind::InvokeFunction),
            Value::Json("\"invocationresult\"") => Some(Kind::InvocationResult),
            Value::Msgpack(b"\xaeinvokefunction") => Some(Kind::InvokeFunction),
            Value::Msgpack(b"\xb0invocationresult") => Some(Kind::InvocationResult),
            other => Kind::from_wire(&other.string()?),
        }
    }

    /// `data`, null when absent.
    pub fn data(&self) -> Value<'a> {
        self.data.unwrap_or(Value::NULL)
    }

    /// The sender's id for the call, if it is a string.
    pub fn invocation_id(&self) -> Option<Value<'a>> {
        Self::string_or_absent(self.invocation_id)
    }

    /// A member that counts only when it is a string.
    pub fn string_or_absent(member: Option<Value<'a>>) -> Option<Value<'a>> {
        member.filter(|value| value.is(JsonKind::String))
    }

    /// A member that counts only when it is not null.
    pub fn non_null(member: Option<Value<'a>>) -> Option<Value<'a>> {
        member.filter(|value| !value.is(JsonKind::Null))
    }
}

macro_rules! members {
    ($($member:ident $name:literal $field:ident)*) => {
        /// A member of the envelope.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Member {
            $($member,)*
        }

        impl Member {
            #[inline]
            fn named(name: &[u8]) -> Option<Self> {
                Some(match name {
                    $(name if name == $name.as_bytes() => Member::$member,)*
                    _ => return None,
                })
            }

            /// A name with an escape in it may still be a known one.
            #[cold]
            #[inline(never)]
            fn escaped(name: &[u8]) -> Option<Self> {
                let name = json::unescape_inner(std::str::from_utf8(name).ok()?).ok()?;
                Self::named(name.as_bytes())
            }
        }

        impl<'a> Envelope<'a> {
            #[inline(always)] // of every message
            fn field(&mut self, member: Member) -> &mut Option<Value<'a>> {
                match member {
                    $(Member::$member => &mut self.$field,)*
                }
            }
        }
    };
}

members! {
    Type "type" kind
    InvocationId "invocation_id" invocation_id
    FunctionId "function_id" function_id
    Data "data" data
    Result "result" result
    Error "error" error
    Action "action" action
    Metadata "metadata" metadata
    Namespace "namespace" namespace
    Traceparent "traceparent" traceparent
    Baggage "baggage" baggage
    Id "id" id
    PreviousWorkerId "previous_worker_id" previous_worker_id
    ReattachToken "reattach_token" reattach_token
}

impl<'a> Collect<'a> for Envelope<'a> {
    type Member = Member;

    /// In the order in which workers write them. A name that is looked for costs less than one that is read.
    #[inline(always)] // of every message
    fn guess(&self, codec: Codec, rest: &[u8]) -> Option<(Member, usize)> {
        macro_rules! first {
            ($($member:ident $json:literal $msgpack:literal,)*) => {
                match codec {
                    $(Codec::Json if rest.starts_with($json) => Some((Member::$member, $json.len())),)*
                    $(Codec::Msgpack if rest.starts_with($msgpack) => Some((Member::$member, $msgpack.len())),)*
                    _ => None,
                }
            };
        }
        match self.last {
            None => first!(Type b"\"type\":" b"\xa4type",),
            Some(Member::Type) => first!(InvocationId b"\"invocation_id\":" b"\xadinvocation_id",),
            Some(Member::InvocationId) => first!(FunctionId b"\"function_id\":" b"\xabfunction_id",),
            Some(Member::FunctionId) => first!(Data b"\"data\":" b"\xa4data", Result b"\"result\":" b"\xa6result",),
            Some(_) => None,
        }
    }

    #[inline]
    fn named(&self, name: &[u8], escaped: bool) -> Option<Member> {
        if escaped { Member::escaped(name) } else { Member::named(name) }
    }

    #[inline(always)] // of every message
    fn put(&mut self, member: Member, value: Value<'a>) {
        *self.field(member) = Some(value);
        self.last = Some(member);
    }

    #[inline(always)] // of every message
    fn opened(&mut self, member: Member) -> Option<&mut Opened<'a>> {
        (member == Member::Data).then_some(&mut self.opened)
    }
}

/// Why a message is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// It is not the JSON object that it should be.
    #[error("Invalid JSON {0}")]
    Json(#[from] JsonError),
    /// It is not the msgpack map that it should be.
    #[error("Invalid msgpack {0}")]
    Msgpack(#[from] MsgpackError),
}

/// The decoded text of a member, if it is a string.
pub fn string(member: Option<Value<'_>>) -> Option<Cow<'_, str>> {
    member?.string()
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
    /// From the member; the error names the field.
    pub fn read(member: Option<Value<'a>>) -> Result<Self, WireError> {
        let Some(action) = Envelope::non_null(member) else { return Ok(Action::Wait) };
        if !action.is(JsonKind::Object) {
            return Err(wrong_type("action", action, "an object"));
        }
        let (mut kind, mut queue) = (None, None);
        // Of a message that is refused already as well: a void call never gets an answer.
        action.members(|name, value| match name {
            "type" => kind = Some(value),
            "queue" => queue = Some(value),
            _ => {}
        });
        const KINDS: &str = "\"void\" or \"enqueue\"";
        let Some(kind) = kind else { return Err(missing("action.type", KINDS)) };
        match kind.string().as_deref() {
            Some("void") => Ok(Action::Void),
            Some("enqueue") => match (queue, string(queue)) {
                (_, Some(queue)) => Ok(Action::Enqueue(queue)),
                (None, _) => Err(missing("action.queue", "a string")),
                (Some(other), _) => Err(wrong_type("action.queue", other, "a string")),
            },
            Some(_) => Err(invalid(format!("field `action.type` is {}, expected {KINDS}", kind.shown()))),
            None => Err(wrong_type("action.type", kind, KINDS)),
        }
    }
}

/// The namespace a call names: the only one that exists, or an error.
pub fn check_namespace(member: Option<Value<'_>>) -> Result<Option<Cow<'_, str>>, WireError> {
    let Some(value) = Envelope::non_null(member) else { return Ok(None) };
    let Some(namespace) = value.string() else {
        return Err(wrong_type("namespace", value, "a string"));
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
pub fn required_string<'a>(field: &str, member: Option<Value<'a>>) -> Result<Cow<'a, str>, WireError> {
    match (member, string(member)) {
        (_, Some(text)) => Ok(text),
        (None, _) => Err(missing(field, "a string")),
        (Some(other), _) => Err(wrong_type(field, other, "a string")),
    }
}

fn invalid(detail: String) -> WireError {
    WireError::new(code::INVALID_MESSAGE, format!("Invalid invokefunction: {detail}"))
}

fn missing(field: &str, expected: &str) -> WireError {
    invalid(format!("field `{field}` is missing, expected {expected}"))
}

fn wrong_type(field: &str, got: Value<'_>, expected: &str) -> WireError {
    let got = match got.kind() {
        ValueKind::Common(JsonKind::Null) => "null",
        ValueKind::Common(JsonKind::Boolean) => "a boolean",
        ValueKind::Common(JsonKind::Number) => "a number",
        ValueKind::Common(JsonKind::String) => "a string",
        ValueKind::Common(JsonKind::Array) => "an array",
        ValueKind::Common(JsonKind::Object) => "an object",
        ValueKind::Binary => "binary",
        ValueKind::Extension => "an extension",
    };
    invalid(format!("field `{field}` is {got}, expected {expected}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::select;

    const NAMES: [&str; 7] = ["type", "invocation_id", "function_id", "data", "result", "error", "other"];
    /// The same in both codecs.
    const VALUES: [(&str, &[u8]); 5] = [
        ("\"a\"", b"\xa1a"),
        ("1", b"\x01"),
        ("null", b"\xc0"),
        ("{}", b"\x80"),
        ("{\"scope\":\"s\",\"key\":[1]}", b"\x82\xa5scope\xa1s\xa3key\x91\x01"),
    ];

    /// A name in different hands: plain, apart from its colon, with an escape, behind a space.
    fn json_name(name: &str, hand: usize) -> String {
        match hand {
            0 | 1 => format!("\"{name}\":"),
            2 => format!("\"{name}\" : "),
            3 => format!("\"\\u{:04x}{}\":", name.as_bytes()[0], &name[1..]),
            _ => format!(" \"{name}\": "),
        }
    }

    /// In its shortest form or not.
    fn msgpack_name(name: &str, hand: usize) -> Vec<u8> {
        let head = if hand < 3 { vec![0xa0 | name.len() as u8] } else { vec![0xd9, name.len() as u8] };
        [&head, name.as_bytes()].concat()
    }

    /// The first error of a reader that guesses nothing.
    fn error_of(text: &str) -> Option<JsonError> {
        let walk = || {
            let mut members = Members::new(text, JSON_DEPTH_MAX)?;
            while members.next()?.is_some() {}
            members.finish()
        };
        walk().err()
    }

    fn check(envelope: &mut Envelope<'_>, last: impl Fn(&str) -> Option<Value<'static>>) {
        for name in NAMES {
            if let Some(member) = Member::named(name.as_bytes()) {
                assert_eq!(*envelope.field(member), last(name), "{name}");
            }
        }
        let mut expected = Vec::new();
        envelope.data().members(|name, value| expected.push((name.to_owned(), value)));
        if let Some(noted) = envelope.opened.members() {
            let noted = noted.iter().map(|(name, value)| (String::from_utf8(name.to_vec()).unwrap(), *value));
            assert_eq!(noted.collect::<Vec<_>>(), expected);
        }
    }

    proptest! {
        #[test]
        fn names_that_are_guessed_mean_what_they_mean_where_they_are_read(
            // Mostly as workers write them, so that guesses go far.
            usual in 0..=4usize,
            members in prop::collection::vec((select(&NAMES), 0..5usize, select(&VALUES)), 0..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let usual = NAMES[..usual].iter().map(|name| (*name, 0, VALUES[usual]));
            let members: Vec<_> = usual.chain(members).collect();
            let last = |name: &str| members.iter().rev().find(|member| member.0 == name).map(|member| member.2);

            let texts = members.iter().map(|(name, hand, value)| json_name(name, *hand) + value.0);
            let text = format!("{{{}}}", texts.collect::<Vec<_>>().join(","));
            check(&mut Envelope::read(Value::Json(&text)).unwrap(), |name| last(name).map(|value| Value::Json(value.0)));
            let cut = cut.index(text.len());
            let broken = [text[..cut].to_owned(), text[..cut].to_owned() + "\u{1}" + &text[cut..]];
            for broken in broken {
                let error = Envelope::read(Value::Json(&broken)).err();
                prop_assert_eq!(error, error_of(&broken).map(Broken::Json), "{}", broken);
            }

            let parts = members.iter().map(|(name, hand, value)| [&msgpack_name(name, *hand), value.1].concat());
            let map = [vec![0xde, 0, members.len() as u8], parts.collect::<Vec<_>>().concat()].concat();
            check(&mut Envelope::read(Value::Msgpack(&map)).unwrap(), |name| last(name).map(|value| Value::Msgpack(value.1)));
            prop_assert!(Envelope::read(Value::Msgpack(&map[..map.len() - 1])).is_err());
        }
    }
}
