//! What can be wrong with msgpack bytes, and where.

use std::fmt;

use crate::limits::JSON_DEPTH_MAX;

/// The first thing wrong with a message. [`fmt::Display`] gives the wire's text: `at byte 57: a string is not UTF-8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {kind}")]
pub struct MsgpackError {
    /// What is wrong.
    pub kind: MsgpackErrorKind,
    /// Bytes before the first byte of the value in question; the length of the whole when it is cut off.
    pub offset: usize,
}

impl MsgpackError {
    pub(super) fn new(kind: MsgpackErrorKind, offset: usize) -> Self {
        MsgpackError { kind, offset }
    }
}

/// Kinds of [`MsgpackError`]. Grammar: the msgpack specification of 2017; depth and UTF-8: the wire's rule 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MsgpackErrorKind {
    /// The bytes stop inside a value.
    UnexpectedEnd,
    /// The byte 0xc1, which the specification never uses.
    Reserved,
    /// One level more than allowed; the offset is that of its array or map.
    TooDeep,
    /// A string that is not UTF-8.
    NotUtf8,
    /// Something else than a map where one must be.
    ExpectedMap,
    /// Something after the value.
    TrailingBytes,
}

impl fmt::Display for MsgpackErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            MsgpackErrorKind::TooDeep => return write!(f, "more than {JSON_DEPTH_MAX} nested levels"),
            MsgpackErrorKind::UnexpectedEnd => "unexpected end of the message",
            MsgpackErrorKind::Reserved => "0xc1 begins no value",
            MsgpackErrorKind::NotUtf8 => "a string is not UTF-8",
            MsgpackErrorKind::ExpectedMap => "expected a map",
            MsgpackErrorKind::TrailingBytes => "bytes after the value",
        };
        f.write_str(text)
    }
}
