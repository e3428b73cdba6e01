//! JSON as text: validated once at the door, then handed on as spans of what came.
//!
//! Nothing here builds a tree. [`Members`] walks a message and validates it in the same pass; values stay `&str` slices of
//! it, raw strings keep their quotes and escapes. Grammar: RFC 8259, without lone surrogate escapes and with a depth limit.

mod error;
mod escape;
mod number;
mod scan;
mod string;
mod walk;

use std::ops::Range;

pub use error::{JsonError, JsonErrorKind, NotNumber};
pub use number::write_number_f64;
use scan::{Mode, Scanner, Wrong};
pub(crate) use string::unescape_inner;
pub use string::{unescape, write_string};
pub(crate) use walk::read_members;
pub use walk::{Elements, Member, Members};

/// The six kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// `null`
    Null,
    /// `true`, `false`
    Boolean,
    /// A number, whole or not.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl JsonKind {
    /// The name that error texts use: `null`, `boolean`, `number`, `string`, `array`, `object`.
    pub fn name(self) -> &'static str {
        match self {
            JsonKind::Null => "null",
            JsonKind::Boolean => "boolean",
            JsonKind::Number => "number",
            JsonKind::String => "string",
            JsonKind::Array => "array",
            JsonKind::Object => "object",
        }
    }
}

/// The kind of a valid value without white space in front: its first byte tells.
pub fn kind(value: &str) -> JsonKind {
    match value.as_bytes().first() {
        Some(b'"') => JsonKind::String,
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        Some(b't' | b'f') => JsonKind::Boolean,
        Some(b'-' | b'0'..=b'9') => JsonKind::Number,
        _ => JsonKind::Null,
    }
}

/// Validates the value that begins at byte `at` of `text`, after white space, and returns its span without that. What
/// follows it is not looked at. `depth_left` levels may be nested: 0 takes only scalars, 1 also `[]` and `{"a":1}`.
///
/// # Errors
/// The first thing that is not JSON, with its offset in `text`.
pub fn skip_value(text: &str, at: usize, depth_left: usize) -> Result<Range<usize>, JsonError> {
    skip(text, at, depth_left, Mode::Strict)
}

/// As [`skip_value`], but takes `NaN`, `Infinity`, `-Infinity` as values and lone surrogate escapes as characters: only to
/// find the invocation id in a message that is refused. `depth_left` may be as large as wanted; deep nesting costs no stack.
///
/// # Errors
/// As [`skip_value`].
pub fn skip_value_lenient(text: &str, at: usize, depth_left: usize) -> Result<Range<usize>, JsonError> {
    skip(text, at, depth_left, Mode::Lenient)
}

/// Validates that `text` is one value and nothing else but white space; returns the value's span.
///
/// # Errors
/// As [`skip_value`], and [`JsonErrorKind::TrailingCharacters`].
pub fn validate(text: &str, depth_left: usize) -> Result<Range<usize>, JsonError> {
    let span = skip(text, 0, depth_left, Mode::Strict)?;
    walk::finish(text, span.end)?;
    Ok(span)
}

fn skip(text: &str, at: usize, depth_left: usize, mode: Mode) -> Result<Range<usize>, JsonError> {
    let mut scanner = Scanner::new(text, mode);
    let begin = scanner.space(at);
    match scanner.value(begin, depth_left) {
        Ok(end) => Ok(begin..end),
        Err(Wrong) => Err(scanner.error()),
    }
}
