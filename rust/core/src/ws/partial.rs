//! A message that is under way: what has come of it so far, and the frame that is being received.

use super::assembler::Message;
use super::close::ProtocolError;
use super::frame::{Header, Mask, OPCODE_TEXT};

/// The body of a message, collected piece by piece.
#[derive(Debug)]
pub(super) enum Body {
    Text(Text),
    Binary(Vec<u8>),
}

/// Text that is known to be UTF-8, and the beginning of one more character.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    begun: [u8; 4],
    begun_len: usize,
}

/// The last frame of a message that has been begun, and all that came before it.
#[derive(Debug)]
pub(super) struct Partial {
    body: Body,
    /// Payload bytes of the frame that are still to come.
    pub remaining: usize,
    /// Whether the frame is the last one.
    pub fin: bool,
    mask: Mask,
    /// Where the socket is read to while much remains; empty until it is asked for.
    pub spare: Vec<u8>,
}

impl Partial {
    /// A message whose first frame has this header and `remaining` payload bytes.
    pub(super) fn new(header: &Header, remaining: usize) -> Self {
        let body = match header.opcode {
            OPCODE_TEXT => Body::Text(Text::default()),
            _ => Body::Binary(Vec::new()),
        };
        Partial { body, remaining, fin: header.fin, mask: header.mask, spare: Vec::new() }
    }

    /// A further frame.
    pub(super) fn continue_with(&mut self, header: &Header, remaining: usize) {
        self.remaining = remaining;
        self.fin = header.fin;
        self.mask = header.mask;
    }

    /// Bytes of the message that have come.
    pub(super) fn len(&self) -> usize {
        match &self.body {
            Body::Text(text) => text.text.len() + text.begun_len,
            Body::Binary(bytes) => bytes.len(),
        }
    }

    /// Bytes of heap memory behind it.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        let body = match &self.body {
            Body::Text(text) => text.text.capacity(),
            Body::Binary(bytes) => bytes.capacity(),
        };
        body + self.spare.capacity()
    }

    /// Takes what belongs to the frame from the start of `input` (unmasked in place); returns how many bytes that were.
    ///
    /// # Errors
    /// The text so far cannot become UTF-8.
    pub(super) fn append(&mut self, input: &mut [u8]) -> Result<usize, ProtocolError> {
        let count = self.remaining.min(input.len());
        let payload = &mut input[..count];
        self.mask.apply(payload);
        // The last frame tells how much memory is needed in the end.
        let limit = if self.fin { self.remaining } else { usize::MAX };
        match &mut self.body {
            Body::Text(Text { text, begun_len, .. }) => {
                text.reserve_exact(growth(count + *begun_len, text.len(), text.capacity(), limit));
            }
            Body::Binary(bytes) => bytes.reserve_exact(growth(count, bytes.len(), bytes.capacity(), limit)),
        }
        match &mut self.body {
            Body::Text(text) => text.append(payload)?,
            Body::Binary(bytes) => bytes.extend_from_slice(payload),
        }
        self.remaining -= count;
        Ok(count)
    }

    /// The whole body.
    ///
    /// # Errors
    /// The text ends inside a character.
    pub(super) fn finish(self) -> Result<Whole, ProtocolError> {
        match self.body {
            Body::Binary(bytes) => Ok(Whole::Binary(bytes)),
            Body::Text(text) if text.begun_len == 0 => Ok(Whole::Text(text.text)),
            Body::Text(_) => Err(ProtocolError::NotUtf8),
        }
    }
}

/// A body that is complete.
#[derive(Debug)]
pub enum Whole {
    /// Of text frames.
    Text(String),
    /// Of binary frames.
    Binary(Vec<u8>),
}

impl Whole {
    /// The same, lent.
    pub fn message(&self) -> Message<'_> {
        match self {
            Whole::Text(text) => Message::Text(text),
            Whole::Binary(bytes) => Message::Binary(bytes),
        }
    }
}

/// How many bytes to reserve for `count` more: doubles, so that bytes are moved rarely; `limit` more will not be needed.
/// What was only announced takes no memory.
fn growth(count: usize, len: usize, capacity: usize, limit: usize) -> usize {
    if capacity - len >= count { 0 } else { len.min(limit).max(count) }
}

impl Text {
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolError> {
        while self.begun_len > 0 {
            let [next, rest @ ..] = bytes else { return Ok(()) };
            bytes = rest;
            self.complete(*next)?;
        }
        let (whole, begun) = bytes.split_at(bytes.len() - begun_len(bytes));
        self.text.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| ProtocolError::NotUtf8)?);
        begun.iter().try_for_each(|byte| self.complete(*byte))
    }

    /// Adds one byte to the character that is begun.
    fn complete(&mut self, byte: u8) -> Result<(), ProtocolError> {
        self.begun[self.begun_len] = byte;
        self.begun_len += 1;
        match str::from_utf8(&self.begun[..self.begun_len]) {
            Ok(character) => {
                self.text.push_str(character);
                self.begun_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => Ok(()),
            Err(_) => Err(ProtocolError::NotUtf8),
        }
    }
}

/// How many bytes at the end of `bytes` may be the beginning of a character: none to three.
fn begun_len(bytes: &[u8]) -> usize {
    for (back, byte) in (1..=3).zip(bytes.iter().rev()) {
        match byte {
            0xC0..=0xDF => return if back < 2 { back } else { 0 },
            0xE0..=0xEF => return if back < 3 { back } else { 0 },
            0xF0..=0xFF => return back,
            0x80..=0xBF => {}
            0..=0x7F => return 0,
        }
    }
    0
}
