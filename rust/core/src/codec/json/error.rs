//! What can be wrong with a JSON text, and where.

use std::fmt;

use crate::limits::JSON_DEPTH_MAX;

/// The first thing wrong with a text. [`fmt::Display`] gives the wire's text: `at byte 57: NaN is not a JSON value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {kind}")]
pub struct JsonError {
    /// What is wrong.
    pub kind: JsonErrorKind,
    /// Bytes before the offending one in the text that was given: of a token or an escape its first byte.
    pub offset: usize,
}

impl JsonError {
    pub(super) fn new(kind: JsonErrorKind, offset: usize) -> Self {
        JsonError { kind, offset }
    }

    /// The same error in a text that has `bytes` more in front: for errors found in a part of a message.
    #[must_use]
    pub fn moved(self, bytes: usize) -> Self {
        JsonError { offset: self.offset + bytes, ..self }
    }
}

/// Kinds of [`JsonError`]. Grammar: RFC 8259; depth and surrogates: the wire's rule 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonErrorKind {
    /// A number that JSON does not have.
    NotJson(NotNumber),
    /// One level more than allowed; the offset is that of its bracket.
    TooDeep,
    /// A `\uD800`-`\uDFFF` escape that is not part of a pair.
    LoneSurrogate,
    /// The text stops inside a value.
    UnexpectedEnd,
    /// Something that begins no value.
    ExpectedValue,
    /// Something else than `"` where a string must be.
    ExpectedString,
    /// Something else than `{` where an object must be.
    ExpectedObject,
    /// Something else than `[` where an array must be.
    ExpectedArray,
    /// Something else than `:` after a member's name.
    ExpectedColon,
    /// Something else than `,` or `}` after a member.
    ExpectedMemberEnd,
    /// Something else than `,` or `]` after an element.
    ExpectedElementEnd,
    /// A raw byte below 0x20 in a string.
    ControlCharacter,
    /// A backslash followed by something unknown.
    BadEscape,
    /// A number with a leading zero, or without a digit where one must be.
    BadNumber,
    /// Something after the value.
    TrailingCharacters,
}

/// What some encoders write for a float that is no finite number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotNumber {
    /// `NaN`
    NaN,
    /// `Infinity`
    Infinity,
    /// `-Infinity`
    NegativeInfinity,
}

impl NotNumber {
    /// How it stands in the text.
    pub fn token(self) -> &'static str {
        match self {
            NotNumber::NaN => "NaN",
            NotNumber::Infinity => "Infinity",
            NotNumber::NegativeInfinity => "-Infinity",
        }
    }
}

impl fmt::Display for JsonErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            JsonErrorKind::NotJson(number) => return write!(f, "{} is not a JSON value", number.token()),
            JsonErrorKind::TooDeep => return write!(f, "more than {JSON_DEPTH_MAX} nested levels"),
            JsonErrorKind::LoneSurrogate => "lone surrogate in a string",
            JsonErrorKind::UnexpectedEnd => "unexpected end of the text",
            JsonErrorKind::ExpectedValue => "expected a value",
            JsonErrorKind::ExpectedString => "expected a string",
            JsonErrorKind::ExpectedObject => "expected an object",
            JsonErrorKind::ExpectedArray => "expected an array",
            JsonErrorKind::ExpectedColon => "expected `:`",
            JsonErrorKind::ExpectedMemberEnd => "expected `,` or `}`",
            JsonErrorKind::ExpectedElementEnd => "expected `,` or `]`",
            JsonErrorKind::ControlCharacter => "control character in a string",
            JsonErrorKind::BadEscape => "invalid escape in a string",
            JsonErrorKind::BadNumber => "invalid number",
            JsonErrorKind::TrailingCharacters => "characters after the value",
        };
        f.write_str(text)
    }
}
