//! A value at rest.

use std::borrow::Cow;
use std::sync::Arc;

use crate::codec::transcode::{self, Inexpressible};
use crate::codec::{Codec, Value, msgpack};
use crate::limits::SHARE_BYTES_MIN;
use crate::parts::Parts;

/// In front of msgpack. Neither codec begins a value with it: what is kept says by itself in which one it is.
const MSGPACK: u8 = msgpack::NEVER_USED;

/// A value at rest: its bytes as they came, in the codec they came in. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored(Arc<[u8]>);

impl Stored {
    /// Copies one valid value; the caller has validated it.
    #[inline]
    pub fn of(value: Value<'_>) -> Self {
        match value {
            Value::Json(text) => Self::new(text),
            Value::Msgpack(bytes) => Self::tagged(bytes),
        }
    }

    /// Copies the text of one valid JSON value (without white space around it).
    #[inline]
    pub fn new(text: &str) -> Self {
        Stored(Arc::from(text.as_bytes()))
    }

    fn tagged(bytes: &[u8]) -> Self {
        let mut kept: Arc<[u8]> = std::iter::repeat_n(MSGPACK, bytes.len() + 1).collect();
        if let Some(kept) = Arc::get_mut(&mut kept) {
            kept[1..].copy_from_slice(bytes);
        }
        Stored(kept)
    }

    /// Copies [`Stored::raw`] of a value that was stored before.
    pub fn restored(raw: &[u8]) -> Self {
        Stored(Arc::from(raw))
    }

    /// What [`Stored::raw`] of a value will be, in two pieces.
    pub fn pieces(value: Value<'_>) -> [&[u8]; 2] {
        match value {
            Value::Json(text) => [b"", text.as_bytes()],
            Value::Msgpack(bytes) => [&[MSGPACK], bytes],
        }
    }

    /// What files and Redis hold: JSON text, or 0xc1 and msgpack.
    #[inline]
    pub fn raw(&self) -> &[u8] {
        &self.0
    }

    /// The codec in which it is kept.
    #[inline]
    pub fn codec(&self) -> Codec {
        if self.0.first() == Some(&MSGPACK) { Codec::Msgpack } else { Codec::Json }
    }

    #[inline]
    fn begin(&self) -> usize {
        usize::from(self.codec() == Codec::Msgpack)
    }

    /// The value's bytes as they came.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        &self.0[self.begin()..]
    }

    /// To be looked at. None when it is not UTF-8, which nothing has that passed the door.
    pub fn value(&self) -> Option<Value<'_>> {
        Self::view(&self.0)
    }

    /// The same of [`Stored::raw`] wherever it is.
    pub fn view(raw: &[u8]) -> Option<Value<'_>> {
        match raw.split_first() {
            Some((&MSGPACK, bytes)) => Some(Value::Msgpack(bytes)),
            _ => simdutf8::basic::from_utf8(raw).ok().map(Value::Json),
        }
    }

    /// The JSON text of [`Stored::raw`] wherever it is: as it came, or turned.
    ///
    /// # Errors
    /// The first thing in it that JSON does not have.
    pub fn json_text(raw: &[u8]) -> Result<Cow<'_, [u8]>, Inexpressible> {
        match raw.split_first() {
            Some((&MSGPACK, bytes)) => transcode::to_json(bytes).map(|text| Cow::Owned(text.into_bytes())),
            _ => Ok(Cow::Borrowed(raw)),
        }
    }

    /// Turns it into `codec` if it is in the other one.
    ///
    /// # Errors
    /// The first thing in it that `codec` does not have.
    #[inline]
    pub fn turn(&mut self, codec: Codec) -> Result<(), Inexpressible> {
        if self.codec() == codec { Ok(()) } else { self.turn_other(codec) }
    }

    #[cold]
    fn turn_other(&mut self, codec: Codec) -> Result<(), Inexpressible> {
        let Some(value) = self.value() else { return Ok(()) };
        let turned = match codec {
            Codec::Json => Stored::from(value.to_json()?.into_owned().into_bytes()),
            Codec::Msgpack => Stored::tagged(&value.to_msgpack()?),
        };
        *self = turned;
        Ok(())
    }

    /// Length of the value in bytes, in the codec it is kept in: what `max_value_bytes` counts.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // no value is empty
    pub fn len(&self) -> usize {
        self.0.len() - self.begin()
    }

    /// Puts [`Stored::bytes`] into `out`: shared when it is large, else copied.
    #[inline]
    pub fn write_to(&self, out: &mut impl Parts) {
        if self.0.len() < SHARE_BYTES_MIN { out.bytes(self.bytes()) } else { out.shared(&self.0, self.begin()) }
    }

    /// Whether both share their bytes in memory.
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
        match self.codec() {
            Codec::Json => f.write_str(&String::from_utf8_lossy(&self.0)),
            Codec::Msgpack => write!(f, "msgpack {:x?}", self.bytes()),
        }
    }
}
