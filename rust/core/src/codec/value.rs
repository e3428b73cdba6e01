//! A value in whichever codec it came. The one place that knows how to look at it in either; others ask here.

use super::Codec;
use super::json::{self, JsonError, JsonKind};
use super::msgpack::{self, Head};
use super::transcode::{self, Inexpressible};
use crate::limits::JSON_DEPTH_MAX;
use std::borrow::Cow;

/// A valid value, as a span of the message that it came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// JSON text, without white space around it.
    Json(&'a str),
    /// msgpack.
    Msgpack(&'a [u8]),
}

/// A value that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// JSON text.
    Json(Box<str>),
    /// msgpack.
    Msgpack(Box<[u8]>),
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that both codecs have.
    Common(JsonKind),
    /// Binary of msgpack.
    Binary,
    /// An extension of msgpack, timestamps included.
    Extension,
}

impl Kind {
    /// The name that error texts use: that of [`JsonKind::name`], `binary`, `extension`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Common(kind) => kind.name(),
            Kind::Binary => "binary",
            Kind::Extension => "extension",
        }
    }
}

impl<'a> Value<'a> {
    /// What stands for a value that is not there.
    pub const NULL: Value<'static> = Value::Json("null");

    /// In which codec it is.
    #[inline]
    pub fn codec(self) -> Codec {
        match self {
            Value::Json(_) => Codec::Json,
            Value::Msgpack(_) => Codec::Msgpack,
        }
    }

    /// As it came.
    #[inline]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Value::Json(text) => text.as_bytes(),
            Value::Msgpack(bytes) => bytes,
        }
    }

    /// A copy of its own.
    pub fn kept(self) -> Kept {
        match self {
            Value::Json(text) => Kept::Json(text.into()),
            Value::Msgpack(bytes) => Kept::Msgpack(bytes.into()),
        }
    }

    /// What it is: its first byte tells.
    #[inline]
    pub fn kind(self) -> Kind {
        let bytes = match self {
            Value::Json(text) => return Kind::Common(json::kind(text)),
            Value::Msgpack(bytes) => bytes,
        };
        Kind::Common(match msgpack::head(bytes) {
            Some(Head::Boolean(_)) => JsonKind::Boolean,
            Some(Head::Unsigned(_) | Head::Negative(_) | Head::Float(_)) => JsonKind::Number,
            Some(Head::String(_)) => JsonKind::String,
            Some(Head::Array(_)) => JsonKind::Array,
            Some(Head::Map(_)) => JsonKind::Object,
            Some(Head::Binary(_)) => return Kind::Binary,
            Some(Head::Extension(..)) => return Kind::Extension,
            Some(Head::Nil) | None => JsonKind::Null,
        })
    }

    /// Whether it is of a kind that both codecs have.
    #[inline]
    pub fn is(self, kind: JsonKind) -> bool {
        self.kind() == Kind::Common(kind)
    }

    /// The characters of a string; none for anything else.
    #[inline]
    pub fn string(self) -> Option<Cow<'a, str>> {
        match self {
            Value::Json(raw) if json::kind(raw) == JsonKind::String => json::unescape(raw).ok(),
            Value::Json(_) => None,
            Value::Msgpack(bytes) => msgpack::string(bytes).map(Cow::Borrowed),
        }
    }

    /// Whether a boolean is true; none for anything else.
    #[inline]
    pub fn boolean(self) -> Option<bool> {
        match self {
            Value::Json("true") => Some(true),
            Value::Json("false") => Some(false),
            Value::Json(_) => None,
            Value::Msgpack(bytes) => match msgpack::head(bytes) {
                Some(Head::Boolean(boolean)) => Some(boolean),
                _ => None,
            },
        }
    }

    /// An integer (in JSON: written without `.` and exponent) that is not negative; none for anything else.
    pub fn unsigned(self) -> Option<u64> {
        match self {
            Value::Json(text) => text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?,
            Value::Msgpack(bytes) => match msgpack::head(bytes) {
                Some(Head::Unsigned(number)) => Some(number),
                _ => None,
            },
        }
    }

    /// The members of an object with their names, in their order; names that are no strings are passed over. Of what is not valid, or no
    /// object, those before that.
    pub fn members(self, mut each: impl FnMut(&str, Self)) {
        match self {
            Value::Json(object) => {
                // Leniently: of a message that is refused something has to be read as well.
                let Ok(mut members) = json::Members::new_lenient(object, usize::MAX) else { return };
                while let Ok(Some(member)) = members.next() {
                    if let Ok(name) = json::unescape(member.key) {
                        each(&name, Value::Json(member.value));
                    }
                }
            }
            Value::Msgpack(map) => {
                let Ok(mut members) = msgpack::Members::new_lenient(map) else { return };
                while let Ok(Some(member)) = members.next() {
                    if let Some(name) = member.name {
                        each(&name, Value::Msgpack(member.value));
                    }
                }
            }
        }
    }

    /// The elements of a valid array, in their order.
    ///
    /// # Errors
    /// It is no array or not valid.
    pub fn elements(self, mut each: impl FnMut(Self)) -> Result<(), JsonError> {
        match self {
            Value::Json(array) => {
                let mut elements = json::Elements::new(array, JSON_DEPTH_MAX)?;
                while let Some(element) = elements.next()? {
                    each(Value::Json(element));
                }
            }
            Value::Msgpack(array) => msgpack::elements(array, |element| each(Value::Msgpack(element))),
        }
        Ok(())
    }

    /// As JSON text: as it came, or turned.
    ///
    /// # Errors
    /// The first thing in it that JSON does not have.
    pub fn to_json(self) -> Result<Cow<'a, str>, Inexpressible> {
        match self {
            Value::Json(text) => Ok(Cow::Borrowed(text)),
            Value::Msgpack(bytes) => transcode::to_json(bytes).map(Cow::Owned),
        }
    }

    /// As msgpack: as it came, or turned.
    ///
    /// # Errors
    /// The first number in it that msgpack does not have.
    pub fn to_msgpack(self) -> Result<Cow<'a, [u8]>, Inexpressible> {
        match self {
            Value::Json(text) => transcode::to_msgpack(text).map(Cow::Owned),
            Value::Msgpack(bytes) => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// Its bytes in a codec: as they came, or turned.
    ///
    /// # Errors
    /// The first thing in it that the codec does not have.
    #[inline]
    pub fn encoded(self, codec: Codec) -> Result<Cow<'a, [u8]>, Inexpressible> {
        if self.codec() == codec {
            return Ok(Cow::Borrowed(self.bytes()));
        }
        match self {
            Value::Json(text) => transcode::to_msgpack(text).map(Cow::Owned),
            Value::Msgpack(bytes) => transcode::to_json(bytes).map(|text| Cow::Owned(text.into_bytes())),
        }
    }

    /// For error texts: JSON text, or what it is.
    #[cold]
    pub fn shown(self) -> Cow<'a, str> {
        self.to_json().unwrap_or(Cow::Borrowed(self.kind().name()))
    }
}

impl Kept {
    /// The same, borrowed.
    #[inline]
    pub fn value(&self) -> Value<'_> {
        match self {
            Kept::Json(text) => Value::Json(text),
            Kept::Msgpack(bytes) => Value::Msgpack(bytes),
        }
    }

    /// Bytes that it keeps.
    pub fn size(&self) -> usize {
        self.value().bytes().len()
    }
}
