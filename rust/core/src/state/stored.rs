//! A value at rest.

use std::sync::Arc;

use crate::limits::SHARE_BYTES_MIN;
use crate::parts::Parts;

/// A value at rest: its JSON text as it came. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored(Arc<[u8]>);

impl Stored {
    /// Copies the text of one valid JSON value (without white space around it); the caller has validated it.
    pub fn new(text: &str) -> Self {
        Stored(Arc::from(text.as_bytes()))
    }

    /// As [`Stored::new`], from bytes.
    pub(crate) fn copied(text: &[u8]) -> Self {
        Stored(Arc::from(text))
    }

    /// Copies bytes that were a stored value before.
    pub(super) fn restored(bytes: &[u8]) -> Self {
        Stored(Arc::from(bytes))
    }

    /// The JSON text.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length of the JSON text in bytes: what `max_value_bytes` counts.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // no JSON value is empty
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts the text into `out`: shared when it is large, else copied.
    #[inline]
    pub fn write_to(&self, out: &mut impl Parts) {
        if self.0.len() < SHARE_BYTES_MIN { out.bytes(&self.0) } else { out.shared(&self.0) }
    }

    /// Puts the text of `stored` into `out`, or `null`.
    pub fn write_or_null(stored: Option<&Stored>, out: &mut impl Parts) {
        match stored {
            Some(stored) => stored.write_to(out),
            None => out.bytes(b"null"),
        }
    }

    /// Whether both share one text in memory.
    pub fn shares(&self, other: &Stored) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Vec<u8>> for Stored {
    /// Takes the text of one valid JSON value.
    fn from(text: Vec<u8>) -> Self {
        Stored(Arc::from(text))
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}
