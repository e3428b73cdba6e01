//! The scanner: where a value ends and whether it is sound, in one pass and without allocation.

use super::error::{MsgpackError, MsgpackErrorKind};

/// What the first byte of a value, and the length behind it, say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// nil
    Nil,
    /// true, false
    Boolean(bool),
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A float of 32 or 64 bits.
    Float(f64),
    /// A string of this many bytes.
    String(usize),
    /// Binary of this many bytes.
    Binary(usize),
    /// An extension: its type, and how many bytes follow.
    Extension(i8, usize),
    /// An array of this many elements.
    Array(usize),
    /// A map of this many members.
    Map(usize),
}

/// A position in some bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Scanner { bytes, at }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// What has not been read yet.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[cold]
    fn cut_off(&self) -> MsgpackError {
        MsgpackError::new(MsgpackErrorKind::UnexpectedEnd, self.bytes.len())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], MsgpackError> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>()).ok_or_else(|| self.cut_off())?;
        self.at += N;
        Ok(*taken)
    }

    /// The next `len` bytes.
    #[inline]
    pub(crate) fn payload(&mut self, len: usize) -> Result<&'a [u8], MsgpackError> {
        let payload = self.bytes.get(self.at..).and_then(|rest| rest.get(..len)).ok_or_else(|| self.cut_off())?;
        self.at += len;
        Ok(payload)
    }

    /// The next `len` bytes of a string whose head begins at `begin`.
    #[inline]
    pub(crate) fn text(&mut self, begin: usize, len: usize) -> Result<&'a str, MsgpackError> {
        let payload = self.payload(len)?;
        // Names and keys: the standard library is as fast below some dozen bytes.
        let text = if len < 64 { std::str::from_utf8(payload).ok() } else { simdutf8::basic::from_utf8(payload).ok() };
        text.ok_or(MsgpackError::new(MsgpackErrorKind::NotUtf8, begin))
    }

    /// The same as bytes, which are UTF-8: what is only compared, or passed over, need not be turned.
    #[inline]
    fn text_bytes(&mut self, begin: usize, len: usize) -> Result<&'a [u8], MsgpackError> {
        let payload = self.payload(len)?;
        let is_text = payload.is_ascii() || simdutf8::basic::from_utf8(payload).is_ok();
        if is_text { Ok(payload) } else { Err(MsgpackError::new(MsgpackErrorKind::NotUtf8, begin)) }
    }

    /// Skips a member's name, which is UTF-8; none when it is no string. It may nest `depth_left` levels.
    #[inline]
    pub(crate) fn name(&mut self, depth_left: usize) -> Result<Option<&'a [u8]>, MsgpackError> {
        let begin = *self;
        if let Head::String(len) = self.head()? {
            return self.text_bytes(begin.at, len).map(Some);
        }
        *self = begin;
        self.value(depth_left)?;
        Ok(None)
    }

    fn length<const N: usize>(&mut self) -> Result<usize, MsgpackError> {
        Ok(self.take::<N>()?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    /// Reads what begins a value; a payload or items follow it.
    #[inline]
    pub(crate) fn head(&mut self) -> Result<Head, MsgpackError> {
        let [first] = self.take()?;
        Ok(match first {
            0x00..=0x7f => Head::Unsigned(u64::from(first)),
            0x80..=0x8f => Head::Map(usize::from(first & 0x0f)),
            0x90..=0x9f => Head::Array(usize::from(first & 0x0f)),
            0xa0..=0xbf => Head::String(usize::from(first & 0x1f)),
            0xe0..=0xff => Head::Negative(i64::from(first as i8)),
            // Of ids, mostly.
            0xd9 => Head::String(self.length::<1>()?),
            _ => self.long_head(first)?,
        })
    }

    fn long_head(&mut self, first: u8) -> Result<Head, MsgpackError> {
        Ok(match first {
            0xc0 => Head::Nil,
            0xc2 => Head::Boolean(false),
            0xc3 => Head::Boolean(true),
            0xc4 => Head::Binary(self.length::<1>()?),
            0xc5 => Head::Binary(self.length::<2>()?),
            0xc6 => Head::Binary(self.length::<4>()?),
            0xc7..=0xc9 | 0xd4..=0xd8 => self.extension(first)?,
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.take()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.take()?)),
            0xcc => Head::Unsigned(u64::from(u8::from_be_bytes(self.take()?))),
            0xcd => Head::Unsigned(u64::from(u16::from_be_bytes(self.take()?))),
            0xce => Head::Unsigned(u64::from(u32::from_be_bytes(self.take()?))),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.take()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.take()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.take()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.take()?))),
            0xd3 => signed(i64::from_be_bytes(self.take()?)),
            0xda => Head::String(self.length::<2>()?),
            0xdb => Head::String(self.length::<4>()?),
            0xdc => Head::Array(self.length::<2>()?),
            0xdd => Head::Array(self.length::<4>()?),
            0xde => Head::Map(self.length::<2>()?),
            0xdf => Head::Map(self.length::<4>()?),
            _ => return Err(MsgpackError::new(MsgpackErrorKind::Reserved, self.at - 1)),
        })
    }

    fn extension(&mut self, first: u8) -> Result<Head, MsgpackError> {
        let len = match first {
            0xc7 => self.length::<1>()?,
            0xc8 => self.length::<2>()?,
            0xc9 => self.length::<4>()?,
            fixed => 1 << (fixed - 0xd4),
        };
        let [kind] = self.take()?;
        Ok(Head::Extension(kind as i8, len))
    }

    /// Skips one value that nests at most `depth_left` levels.
    #[inline]
    pub(crate) fn value(&mut self, depth_left: usize) -> Result<(), MsgpackError> {
        let begin = self.at;
        let items = match self.head()? {
            Head::String(len) => return self.text_bytes(begin, len).map(|_| ()),
            Head::Binary(len) | Head::Extension(_, len) => return self.payload(len).map(|_| ()),
            Head::Array(len) => len,
            Head::Map(len) => 2 * len,
            _ => return Ok(()),
        };
        self.items(begin, items, depth_left)
    }

    /// Skips so many items of the value at `begin`, which nests at most `depth_left` levels.
    #[inline(never)]
    fn items(&mut self, begin: usize, items: usize, depth_left: usize) -> Result<(), MsgpackError> {
        // Bounded by `depth_left`, which is bounded by the depth of messages.
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(MsgpackError::new(MsgpackErrorKind::TooDeep, begin));
        };
        for _ in 0..items {
            self.value(depth_left)?;
        }
        Ok(())
    }

    /// As [`Self::value`] at any depth and with any bytes in strings; costs no stack.
    pub(crate) fn value_lenient(&mut self) -> Result<(), MsgpackError> {
        let mut values = 1u64;
        while values > 0 {
            values -= 1;
            match self.head()? {
                Head::String(len) | Head::Binary(len) | Head::Extension(_, len) => {
                    self.payload(len)?;
                }
                Head::Array(len) => values += len as u64,
                Head::Map(len) => values += 2 * len as u64,
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that nothing follows.
    pub(crate) fn finish(&self) -> Result<(), MsgpackError> {
        if self.at == self.bytes.len() {
            return Ok(());
        }
        Err(MsgpackError::new(MsgpackErrorKind::TrailingBytes, self.at))
    }
}

fn signed(number: i64) -> Head {
    u64::try_from(number).map_or(Head::Negative(number), Head::Unsigned)
}
