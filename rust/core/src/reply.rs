//! `invocationresult` as it is written into an outbox, in either codec.

use crate::codec::transcode::Inexpressible;
use crate::codec::{Codec, Value, json, msgpack};
use crate::error::{WireError, code};
use crate::outbox::Outbox;
use crate::parts::Parts;
use crate::state::{Answer, Stored};
use std::borrow::Cow;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// An invocation id with its text: a UUID, in quotes for JSON.
pub struct IdText {
    id: Uuid,
    text: [u8; Hyphenated::LENGTH + 2],
}

impl IdText {
    /// Bytes of any such id in a message, in either codec.
    pub(crate) const LEN: usize = Hyphenated::LENGTH + 2;

    /// Canonical form.
    #[inline]
    pub fn new(id: &Uuid) -> Self {
        let mut text = [b'"'; Hyphenated::LENGTH + 2];
        id.hyphenated().encode_lower(&mut text[1..=Hyphenated::LENGTH]);
        IdText { id: *id, text }
    }

    /// Of a string in canonical form (lower case, hyphens) as it came, without escapes; none for any other.
    #[inline]
    pub fn canonical(value: Value<'_>) -> Option<Self> {
        let inner = match value {
            Value::Json(raw) => raw.strip_prefix('"')?.strip_suffix('"')?,
            Value::Msgpack(bytes) => msgpack::string(bytes)?,
        };
        let mut text = [b'"'; Hyphenated::LENGTH + 2];
        let characters: &[u8; Hyphenated::LENGTH] = inner.as_bytes().try_into().ok()?;
        text[1..=Hyphenated::LENGTH].copy_from_slice(characters);
        // All of them at once: most have none.
        if inner.bytes().fold(false, |any, byte| any | byte.is_ascii_uppercase()) {
            return None;
        }
        Some(IdText { id: Uuid::try_parse(inner).ok()?, text })
    }

    /// The id.
    #[inline]
    pub fn id(&self) -> Uuid {
        self.id
    }

    /// As a message has it.
    #[inline]
    pub(crate) fn written(&self, codec: Codec) -> Id<'_> {
        match codec {
            Codec::Json => Id { head: [0; 5], head_len: 0, text: Cow::Borrowed(&self.text) },
            Codec::Msgpack => {
                let text = &self.text[1..=Hyphenated::LENGTH];
                let (head, head_len) = msgpack::string_head(text.len());
                Id { head, head_len, text: Cow::Borrowed(text) }
            }
        }
    }
}

/// What stands around the ids and the body of a reply.
struct Frame {
    /// Up to the invocation id.
    head: &'static [u8],
    /// Up to the function id.
    function: &'static [u8],
    /// Up to the body.
    name: &'static [u8],
    /// Behind it.
    tail: &'static [u8],
}

/// Which member a reply has beside its ids.
#[derive(Clone, Copy)]
enum Part {
    Result,
    Error,
    Nothing,
}

const JSON: Frame = Frame {
    head: b"{\"type\":\"invocationresult\",\"invocation_id\":",
    function: b",\"function_id\":",
    name: b"",
    tail: b"}",
};
const MSGPACK: Frame = Frame {
    head: b"\x84\xa4type\xb0invocationresult\xadinvocation_id",
    function: b"\xabfunction_id",
    name: b"",
    tail: b"",
};
/// By [`Part`].
static FRAMES: [[Frame; 3]; 2] = [
    [Frame { name: b",\"result\":", ..JSON }, Frame { name: b",\"error\":", ..JSON }, JSON],
    [
        Frame { name: b"\xa6result", ..MSGPACK },
        Frame { name: b"\xa5error", ..MSGPACK },
        Frame { head: b"\x83\xa4type\xb0invocationresult\xadinvocation_id", ..MSGPACK },
    ],
];

impl Frame {
    #[inline]
    fn of(codec: Codec, part: Part) -> &'static Self {
        let [json, msgpack] = &FRAMES;
        let [result, error, nothing] = if codec == Codec::Json { json } else { msgpack };
        match part {
            Part::Result => result,
            Part::Error => error,
            Part::Nothing => nothing,
        }
    }

    #[inline]
    fn len(&self) -> usize {
        self.head.len() + self.function.len() + self.name.len() + self.tail.len()
    }
}

/// The string of an id as a message has it.
pub struct Id<'a> {
    head: [u8; 5],
    head_len: usize,
    text: Cow<'a, [u8]>,
}

impl<'a> Id<'a> {
    /// Of a string that came in either codec, as the other side is to see it.
    #[inline]
    pub fn new(id: Value<'a>, codec: Codec) -> Self {
        match (id, codec) {
            (Value::Json(raw), Codec::Json) => Self::as_it_came(raw.as_bytes()),
            (Value::Msgpack(raw), Codec::Msgpack) if msgpack::is_short_string(raw) => Self::as_it_came(raw),
            _ => Self::turned(id, codec),
        }
    }

    #[inline]
    fn as_it_came(raw: &'a [u8]) -> Self {
        Id { head: [0; 5], head_len: 0, text: Cow::Borrowed(raw) }
    }

    fn turned(id: Value<'a>, codec: Codec) -> Self {
        let text = match codec {
            Codec::Json => id.to_json().ok(),
            Codec::Msgpack => id.string(),
        };
        let text = match text.unwrap_or_default() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let (head, head_len) = if codec == Codec::Json { ([0; 5], 0) } else { msgpack::string_head(text.len()) };
        Id { head, head_len, text }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.text.len()
    }

    #[inline]
    pub(crate) fn write_to(&self, out: &mut impl Parts) {
        if self.head_len > 0 {
            out.bytes(&self.head[..self.head_len]);
        }
        out.bytes(&self.text);
    }
}

/// The address of a reply: both ids, and what the receiver can take.
pub struct Reply<'a> {
    /// `invocation_id`, as the receiver knows it.
    pub invocation_id: Id<'a>,
    /// `function_id`.
    pub function_id: Id<'a>,
    /// Largest message the receiver takes, bytes.
    pub message_bytes_max: usize,
    /// What the receiver speaks.
    pub codec: Codec,
}

impl Reply<'_> {
    /// What a state call came to; no result when that is absent. `written`: the call has changed state, which a refusal must not hide.
    pub fn answer(&self, outbox: &mut Outbox, answer: &mut Answer, written: bool) {
        if answer.is_absent() {
            return self.nothing(outbox);
        }
        if let Err(error) = answer.turn(self.codec) {
            return self.error(outbox, &not_expressible(&error.within("result"), written));
        }
        self.bounded(outbox, Part::Result, answer.len(self.codec), written, |out| answer.write_to(self.codec, out));
    }

    /// A result.
    pub fn result(&self, outbox: &mut Outbox, result: Value<'_>, written: bool) {
        match result.encoded(self.codec) {
            Ok(body) => self.bounded(outbox, Part::Result, body.len(), written, |out| out.bytes(&body)),
            Err(error) => self.error(outbox, &not_expressible(&error.within("result"), written)),
        }
    }

    /// A result that is kept in this reply's codec: shared.
    #[cold]
    pub fn shared(&self, outbox: &mut Outbox, result: &Stored) {
        self.bounded(outbox, Part::Result, result.len(), false, |out| result.write_to(out));
    }

    /// A result without a body: the function returned nothing.
    pub fn nothing(&self, outbox: &mut Outbox) {
        self.put(outbox, Part::Nothing, 0, usize::MAX, |_| {});
    }

    /// An error of the engine; always small enough.
    pub fn error(&self, outbox: &mut Outbox, error: &WireError) {
        let object = error_json(error);
        let object = Value::Json(std::str::from_utf8(&object).unwrap_or_default());
        // Strings alone: every codec has them.
        if let Ok(body) = object.encoded(self.codec) {
            self.put(outbox, Part::Error, body.len(), usize::MAX, |out| out.bytes(&body));
        }
    }

    /// An error object of a function.
    pub fn error_object(&self, outbox: &mut Outbox, object: Value<'_>) {
        match object.encoded(self.codec) {
            Ok(body) => self.bounded(outbox, Part::Error, body.len(), false, |out| out.bytes(&body)),
            Err(error) => self.error(outbox, &not_expressible(&error.within("error"), false)),
        }
    }

    /// A message that its receiver may not be able to take: an error then.
    #[inline]
    fn bounded(&self, outbox: &mut Outbox, part: Part, len: usize, written: bool, body: impl FnOnce(&mut Outbox)) {
        let max = self.message_bytes_max;
        if let Some(len) = self.put(outbox, part, len, max, body) {
            self.error(outbox, &too_large(len, max, written));
        }
    }

    /// Puts a message into the outbox, or tells its length when that is above `max`.
    #[inline]
    fn put(
        &self,
        outbox: &mut Outbox,
        part: Part,
        body_len: usize,
        max: usize,
        body: impl FnOnce(&mut Outbox),
    ) -> Option<usize> {
        // Apart, so that the length of each text is known where it is copied.
        match self.codec {
            Codec::Json => self.put_in(Frame::of(Codec::Json, part), outbox, body_len, max, body),
            Codec::Msgpack => self.put_in(Frame::of(Codec::Msgpack, part), outbox, body_len, max, body),
        }
    }

    #[inline(always)] // of every reply
    fn put_in(
        &self,
        frame: &Frame,
        outbox: &mut Outbox,
        body_len: usize,
        max: usize,
        body: impl FnOnce(&mut Outbox),
    ) -> Option<usize> {
        let len = frame.len() + self.invocation_id.len() + self.function_id.len() + body_len;
        if len > max {
            return Some(len);
        }
        let out = outbox.begin_message(self.codec, len);
        out.bytes(frame.head);
        self.invocation_id.write_to(out);
        out.bytes(frame.function);
        self.function_id.write_to(out);
        out.bytes(frame.name);
        body(out);
        out.bytes(frame.tail);
        None
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_in_canonical_form_goes_on_as_it_came() {
        let text = "0123abcd-4567-4ef0-8123-456789abcdef";
        let json = |text: &str| IdText::canonical(Value::Json(&format!("\"{text}\""))).map(|id| (id.id(), id.text));
        let id = Uuid::try_parse(text).unwrap();
        assert_eq!(json(text), Some((id, IdText::new(&id).text)));
        let packed = [b"\xd9\x24", text.as_bytes()].concat();
        assert_eq!(IdText::canonical(Value::Msgpack(&packed)).map(|id| id.text), json(text).map(|(_, text)| text));
        let others = [&text.to_uppercase(), &text.replace('-', ""), &format!("{{{text}}}"), &text[1..], ""];
        for other in
            others.into_iter().chain(["g123abcd-4567-4ef0-8123-456789abcdef", "0123abcd-45674-ef0-8123-456789abcdef"])
        {
            assert_eq!(json(other), None, "{other}");
        }
        assert!(IdText::canonical(Value::Json("1")).is_none());
    }
}
