//! Bytes waiting for one peer: small pieces copied together, large payloads shared, written out as scattered parts.
//!
//! Knows frames only as headers it is asked to write; knows no socket. [`Outbox::slices`] and [`Outbox::advance`] are the
//! two halves of a `writev`.

use crate::codec::Codec;
use crate::limits::SHARE_BYTES_MIN;
use crate::parts::Parts;
use crate::ws;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

/// A piece that is complete and waits in front of the tail.
enum Segment {
    Copied(Vec<u8>),
    /// All behind the first so many bytes.
    Shared(Arc<[u8]>, usize),
}

impl Segment {
    fn bytes(&self) -> &[u8] {
        match self {
            Segment::Copied(bytes) => bytes,
            Segment::Shared(bytes, from) => &bytes[*from..],
        }
    }
}

/// What usually stands around a payload; the allocator has pieces of this size at hand.
const ENVELOPE_BYTES: usize = 240;
/// Written bytes that are not worth moving the rest for.
const COMPACT_BYTES_MIN: usize = 64 << 10;

/// What one peer has still to be sent.
#[derive(Default)]
pub struct Outbox {
    /// In front of `tail`; empty unless a large payload was shared.
    front: VecDeque<Segment>,
    tail: Vec<u8>,
    /// Bytes of the first piece that are already written.
    written: usize,
    len: usize,
}

impl Outbox {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Begins a text message of `len` bytes; exactly that many must follow through [`Parts`].
    pub fn begin_text(&mut self, len: usize) -> &mut Self {
        self.begin(ws::OPCODE_TEXT, len)
    }

    /// As [`Outbox::begin_text`], a message in a codec: text, or binary.
    #[inline]
    pub fn begin_message(&mut self, codec: Codec, len: usize) -> &mut Self {
        match codec {
            Codec::Json => self.begin_text(len),
            Codec::Msgpack => self.begin(ws::OPCODE_BINARY, len),
        }
    }

    fn begin(&mut self, opcode: u8, len: usize) -> &mut Self {
        let before = self.tail.len();
        // Of a long one most is shared.
        let copied = if len < SHARE_BYTES_MIN { len } else { ENVELOPE_BYTES };
        self.tail.reserve(copied + ws::HEADER_BYTES_MAX);
        ws::write_frame_header(&mut self.tail, opcode, len);
        self.len += self.tail.len() - before;
        self
    }

    /// A whole text message from one piece.
    pub fn text(&mut self, message: &[u8]) {
        self.begin_text(message.len()).bytes(message);
    }

    /// A whole binary message.
    pub fn binary(&mut self, message: &[u8]) {
        self.frame(ws::OPCODE_BINARY, message);
    }

    /// A whole message or control frame.
    pub fn frame(&mut self, opcode: u8, payload: &[u8]) {
        self.begin(opcode, payload.len()).bytes(payload);
    }

    /// Moves everything that waits in `other` to the end of this outbox.
    pub fn append(&mut self, other: Outbox) {
        let Outbox { front, tail, written: _, len: _ } = other;
        for segment in front {
            match segment {
                Segment::Copied(bytes) => self.bytes(&bytes),
                Segment::Shared(bytes, from) => self.shared(&bytes, from),
            }
        }
        self.bytes(&tail);
    }

    /// Fills `slices` with what waits, in order; returns how many were filled.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut skip = self.written;
        let pieces = self.front.iter().map(Segment::bytes).chain(std::iter::once(self.tail.as_slice()));
        for piece in pieces {
            let piece = &piece[skip..];
            skip = 0;
            if piece.is_empty() {
                continue;
            }
            let Some(slot) = slices.get_mut(filled) else { break };
            *slot = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    /// The first piece that waits: all of it when nothing is shared.
    pub fn first(&self) -> &[u8] {
        let piece = self.front.front().map_or(self.tail.as_slice(), Segment::bytes);
        &piece[self.written..]
    }

    /// Whether [`Self::first`] is all there is.
    pub fn is_single(&self) -> bool {
        self.front.is_empty()
    }

    /// `n` bytes were written.
    pub fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        self.len -= n;
        self.written += n;
        while let Some(segment) = self.front.front() {
            let size = segment.bytes().len();
            if self.written < size {
                return;
            }
            self.written -= size;
            self.front.pop_front();
        }
        if self.written == self.tail.len() {
            self.tail.clear();
            self.written = 0;
        } else if self.written >= COMPACT_BYTES_MIN && self.written >= self.tail.len() / 2 {
            self.compact();
        }
    }

    /// Forgets what is written, so that an outbox that never quite empties does not grow by all that passes through it. What
    /// moves is at most as much as what goes.
    #[cold]
    fn compact(&mut self) {
        self.tail.drain(..self.written);
        self.written = 0;
        if self.tail.capacity() > 4 * self.tail.len() + COMPACT_BYTES_MIN {
            self.tail.shrink_to(2 * self.tail.len());
        }
    }

    /// Takes an empty buffer to copy into, so that a busy peer needs no allocation and an idle one keeps none.
    pub fn lend(&mut self, buffer: Vec<u8>) {
        if self.tail.capacity() == 0 {
            self.tail = buffer;
        }
    }

    /// Gives the buffer back once nothing waits.
    pub fn reclaim(&mut self) -> Option<Vec<u8>> {
        if !self.is_empty() || self.tail.capacity() == 0 {
            return None;
        }
        self.front = VecDeque::new();
        Some(std::mem::take(&mut self.tail))
    }

    /// Whether it needs [`Self::lend`].
    pub fn is_bare(&self) -> bool {
        self.tail.capacity() == 0
    }

    /// Copies out everything that waits and leaves the outbox empty.
    pub fn take_bytes(&mut self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len);
        while !self.is_empty() {
            let n = {
                let piece = self.first();
                bytes.extend_from_slice(piece);
                piece.len()
            };
            self.advance(n);
        }
        bytes
    }
}

impl Parts for Outbox {
    #[inline]
    fn bytes(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.len += bytes.len();
    }

    #[inline]
    fn shared(&mut self, bytes: &Arc<[u8]>, from: usize) {
        let len = bytes.len() - from;
        if len < SHARE_BYTES_MIN {
            return self.bytes(&bytes[from..]);
        }
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.front.push_back(Segment::Copied(tail));
        }
        self.front.push_back(Segment::Shared(bytes.clone(), from));
        self.len += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let n = {
                let mut slices = [IoSlice::new(&[]); 4];
                let filled = outbox.slices(&mut slices);
                let flat: Vec<u8> = slices[..filled].iter().flat_map(|s| s.iter().copied()).collect();
                let n = flat.len().min(step);
                all.extend_from_slice(&flat[..n]);
                n
            };
            outbox.advance(n);
        }
        all
    }

    #[test]
    fn copied_and_shared_pieces_leave_in_order_in_any_step() {
        let large: Arc<[u8]> = vec![7u8; SHARE_BYTES_MIN + 1].into();
        for step in [1, 2, 3, 1000, SHARE_BYTES_MIN, usize::MAX] {
            let mut outbox = Outbox::default();
            let mut expected = Vec::new();
            for round in 0u8..3 {
                outbox.bytes(&[round; 5]);
                outbox.shared(&large, 1);
                outbox.shared(&vec![9u8; 3].into(), 0);
                outbox.bytes(&[round + 10; 2]);
                expected.extend_from_slice(&[round; 5]);
                expected.extend_from_slice(&large[1..]);
                expected.extend_from_slice(&[9; 3]);
                expected.extend_from_slice(&[round + 10; 2]);
            }
            assert_eq!(outbox.len(), expected.len());
            assert!(drain(&mut outbox, step) == expected, "step {step}");
            assert!(outbox.is_empty());
        }
    }

    #[test]
    fn appending_a_staged_outbox_keeps_the_order() {
        let large: Arc<[u8]> = vec![1u8; SHARE_BYTES_MIN * 2].into();
        let mut staged = Outbox::default();
        staged.text(b"abc");
        staged.shared(&large, 0);
        staged.bytes(b"end");
        let mut outbox = Outbox::default();
        outbox.bytes(b"first");
        outbox.append(staged);
        let bytes = outbox.take_bytes();
        assert_eq!(&bytes[..10], b"first\x81\x03abc");
        assert_eq!(&bytes[bytes.len() - 3..], b"end");
        assert_eq!(bytes.len(), 10 + large.len() + 3);
    }

    #[test]
    fn an_outbox_that_never_quite_empties_does_not_grow() {
        let mut outbox = Outbox::default();
        let message = vec![5u8; 3000];
        outbox.text(&message);
        for _ in 0..100_000 {
            outbox.text(&message);
            outbox.advance(message.len() + 4);
            assert!(outbox.tail.capacity() < 8 * COMPACT_BYTES_MIN, "{} bytes are kept", outbox.tail.capacity());
        }
        assert_eq!(outbox.len(), message.len() + 4);
        assert_eq!(outbox.take_bytes()[4..], message);
    }

    #[test]
    fn an_idle_outbox_holds_no_buffer() {
        let mut outbox = Outbox::default();
        outbox.lend(Vec::with_capacity(64));
        outbox.text(b"x");
        assert!(outbox.reclaim().is_none());
        outbox.advance(3);
        assert!(outbox.reclaim().is_some());
        assert!(outbox.is_bare());
    }
}
