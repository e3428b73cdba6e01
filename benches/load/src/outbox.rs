//! What waits for one peer: frames or plain bytes, copied, and between them parts of buffers that are not.

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::rc::Rc;

use crate::frame::{self, opcode};
use crate::random::Random;

/// Pieces of one scattered write.
const SLICES_MAX: usize = 64;

/// A part of a buffer that many messages have in them.
pub struct Shared {
    buffer: Rc<[u8]>,
    offset: usize,
    len: usize,
}

impl Shared {
    /// `len` bytes of `buffer` from `offset` on.
    pub const fn new(buffer: Rc<[u8]>, offset: usize, len: usize) -> Self {
        Self { buffer, offset, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.offset..self.offset + self.len]
    }
}

/// Bytes on their way to one peer.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    /// What is sent behind so many of `bytes`, in order.
    shared: Vec<(usize, Shared)>,
    sent: usize,
    /// Given on the client side of a connection, where frames must be masked.
    masks: Option<Random>,
}

impl Outbox {
    /// Nothing waits. `masks`: of a client.
    pub fn new(masks: Option<Random>) -> Self {
        Self { masks, ..Self::default() }
    }

    /// Queues one text message.
    #[inline]
    pub fn text(&mut self, payload: &[u8]) {
        self.frame(opcode::TEXT, payload);
    }

    /// Queues one whole frame.
    #[inline]
    pub fn frame(&mut self, opcode: u8, payload: &[u8]) {
        frame::encode(&mut self.bytes, opcode, payload, self.masks.as_mut());
    }

    /// Queues one text message whose middle is shared instead of copied; for servers, who do not mask.
    pub fn text_around(&mut self, begin: &[u8], shared: Shared, end: &[u8]) {
        frame::encode_head(&mut self.bytes, opcode::TEXT, begin.len() + shared.len + end.len());
        self.bytes.extend_from_slice(begin);
        self.shared.push((self.bytes.len(), shared));
        self.bytes.extend_from_slice(end);
    }

    /// Where requests of a plain protocol are appended.
    #[inline]
    pub const fn plain(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Writes all that waits. An error may be that the socket takes no more for now.
    #[inline]
    pub fn write_to(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.sent < self.len() {
            match self.write_once(stream) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.shared.clear();
        self.sent = 0;
        Ok(())
    }

    #[inline]
    fn len(&self) -> usize {
        self.bytes.len() + self.shared.iter().map(|(_, shared)| shared.len).sum::<usize>()
    }

    #[inline]
    fn write_once(&self, stream: &mut TcpStream) -> io::Result<usize> {
        if self.shared.is_empty() {
            return stream.write(&self.bytes[self.sent..]);
        }
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let (mut filled, mut skip) = (0, self.sent);
        for piece in self.pieces() {
            let rest = piece.get(skip..).unwrap_or_default();
            skip = skip.saturating_sub(piece.len());
            if !rest.is_empty() && filled < SLICES_MAX {
                slices[filled] = IoSlice::new(rest);
                filled += 1;
            }
        }
        stream.write_vectored(&slices[..filled])
    }

    fn pieces(&self) -> impl Iterator<Item = &[u8]> {
        let mut begin = 0;
        let before = self.shared.iter().flat_map(move |(at, shared)| {
            let copied = &self.bytes[begin..*at];
            begin = *at;
            [copied, shared.bytes()]
        });
        let last = self.shared.last().map_or(0, |(at, _)| *at);
        before.chain([&self.bytes[last..]])
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;

    #[test]
    fn shared_parts_come_out_in_their_places() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut server = listener.accept().unwrap().0;
        let buffer: Rc<[u8]> = (0..=u8::MAX).collect();
        let mut outbox = Outbox::default();
        outbox.text(b"first");
        for offset in 0..100 {
            outbox.text_around(b"{", Shared::new(buffer.clone(), offset, 100), b"}");
        }
        outbox.write_to(&mut server).unwrap();
        drop(server);
        let mut wire = Vec::new();
        client.read_to_end(&mut wire).unwrap();
        let mut expected = b"\x81\x05first".to_vec();
        for offset in 0..100 {
            expected.extend_from_slice(b"\x81\x66{");
            expected.extend(offset..offset + 100);
            expected.push(b'}');
        }
        assert_eq!(wire, expected);
    }
}
