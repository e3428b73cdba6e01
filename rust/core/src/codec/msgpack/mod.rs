//! msgpack as bytes: validated once at the door, then handed on as spans of what came; the twin of [`super::json`].
//!
//! Strict where the specification leaves a choice: strings are UTF-8, nothing follows a value, and the depth is that of JSON.

mod error;
mod scan;
mod walk;
mod write;

use std::ops::Range;

pub use error::{MsgpackError, MsgpackErrorKind};
pub use scan::Head;
pub(crate) use scan::Scanner;
pub(crate) use walk::read_members;
pub use walk::{Member, Members, elements};
pub use write::{string_head, write_array, write_float, write_map, write_signed, write_string, write_unsigned};

/// The byte that the specification never uses.
pub const NEVER_USED: u8 = 0xc1;

/// Whether a binary message of this first byte is a msgpack map.
#[inline]
pub fn is_map(message: &[u8]) -> bool {
    matches!(message.first(), Some(0x80..=0x8f | 0xde | 0xdf))
}

/// Validates the value that begins at byte `at` of `bytes` and returns its span. What follows it is not looked at.
/// `depth_left` levels may be nested: 0 takes only scalars.
///
/// # Errors
/// The first thing that is wrong, with its offset in `bytes`.
pub fn skip_value(bytes: &[u8], at: usize, depth_left: usize) -> Result<Range<usize>, MsgpackError> {
    let mut scanner = Scanner::new(bytes, at);
    scanner.value(depth_left)?;
    Ok(at..scanner.at())
}

/// Validates that `bytes` is one value and nothing else.
///
/// # Errors
/// As [`skip_value`], and [`MsgpackErrorKind::TrailingBytes`].
pub fn validate(bytes: &[u8], depth_left: usize) -> Result<(), MsgpackError> {
    let mut scanner = Scanner::new(bytes, 0);
    scanner.value(depth_left)?;
    scanner.finish()
}

/// The string that `value` is, if it is one.
pub fn string(value: &[u8]) -> Option<&str> {
    let mut scanner = Scanner::new(value, 0);
    let Ok(Head::String(len)) = scanner.head() else { return None };
    scanner.text(0, len).ok()
}

/// Whether a valid value is a string of at most 255 bytes in its shortest form.
#[inline]
pub(crate) fn is_short_string(value: &[u8]) -> bool {
    matches!(value, [0xa0..=0xbf, ..] | [0xd9, 0x20..=0xff, ..])
}

/// What `value` begins with, if it is whole.
pub fn head(value: &[u8]) -> Option<Head> {
    Scanner::new(value, 0).head().ok()
}
