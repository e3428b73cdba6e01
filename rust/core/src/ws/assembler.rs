//! The assembler: bytes of one connection in, messages and control frames out.

use super::close::{CloseFrame, ProtocolError, parse_close};
use super::frame::{Header, OPCODE_CLOSE, OPCODE_CONTINUATION, OPCODE_PING, OPCODE_TEXT, Parsed};
use super::partial::{Partial, Whole};

/// From so many missing bytes on, [`Assembler::spare`] offers a buffer.
pub const SPARE_BYTES_MIN: usize = 64 << 10;
/// Bytes that [`Assembler::spare`] offers at most: enough to make system calls few, little enough to stay in the cache and to
/// be done in a tenth of a millisecond, which is what others wait meanwhile.
pub const SPARE_BYTES_MAX: usize = 128 << 10;

/// A complete message; its bytes are lent for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Of text frames.
    Text(&'a str),
    /// Of binary frames.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// Its payload.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        }
    }
}

/// What the assembler does after a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Goes on.
    Continue,
    /// Keeps the rest for [`Assembler::resume`].
    Pause,
    /// Drops the rest and whatever comes: the receiver ends the connection by its own means.
    Stop,
}

/// Takes what the assembler finds, in the order of the wire.
pub trait Receiver {
    /// A complete message.
    fn message(&mut self, message: Message<'_>) -> Flow;
    /// A complete message that came in pieces: may be kept.
    fn whole(&mut self, whole: Whole) -> Flow {
        self.message(whole.message())
    }
    /// A ping: a pong with the same payload must be sent.
    fn ping(&mut self, payload: &[u8]);
    /// A pong.
    fn pong(&mut self);
    /// The peer's close frame; nothing comes after it. The answer to send is in [`Status::Closed`].
    fn close(&mut self, code: Option<u16>, reason: &str);
}

/// What has become of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Waits for more bytes.
    Open,
    /// The receiver said [`Flow::Pause`]: call [`Assembler::resume`]; until then bytes are only kept.
    Paused,
    /// The connection ends now: send this close frame. Returned once.
    Closed(CloseFrame),
    /// The connection has ended before or the receiver said [`Flow::Stop`]: there is nothing to send.
    Ended,
}

/// Puts one connection's messages together. Behind its own few words it owns memory only for what is incomplete or paused.
#[derive(Debug)]
pub struct Assembler {
    message_bytes_max: usize,
    phase: Phase,
    /// The beginning of a frame: an incomplete header, or an incomplete control frame.
    begun: Vec<u8>,
    /// The message under way.
    partial: Option<Box<Partial>>,
    /// What came behind the message that paused, from `rest_at` on.
    rest: Vec<u8>,
    rest_at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Paused,
    Ended,
}

/// Bytes that a step has used, and how to go on.
type Step = Result<(usize, Flow), CloseFrame>;

impl From<ProtocolError> for CloseFrame {
    fn from(error: ProtocolError) -> Self {
        CloseFrame::Failure(error)
    }
}

impl Assembler {
    /// For a new connection, behind its handshake. A message may have `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        Assembler {
            message_bytes_max,
            phase: Phase::Open,
            begun: Vec::new(),
            partial: None,
            rest: Vec::new(),
            rest_at: 0,
        }
    }

    /// Takes the next bytes of the connection, in any pieces; they are unmasked in place.
    pub fn feed(&mut self, chunk: &mut [u8], receiver: &mut impl Receiver) -> Status {
        match self.phase {
            Phase::Ended => Status::Ended,
            Phase::Paused => {
                self.rest.extend_from_slice(chunk);
                Status::Paused
            }
            Phase::Open => {
                let (used, status) = self.run(chunk, receiver);
                if status == Status::Paused {
                    self.rest = chunk[used..].to_vec();
                    self.rest_at = 0;
                }
                status
            }
        }
    }

    /// Goes on behind the message that paused; without a pause it does nothing.
    pub fn resume(&mut self, receiver: &mut impl Receiver) -> Status {
        if self.phase != Phase::Paused {
            return self.feed(&mut [], receiver);
        }
        self.phase = Phase::Open;
        let mut rest = std::mem::take(&mut self.rest);
        let begin = std::mem::take(&mut self.rest_at);
        let (used, status) = self.run(&mut rest[begin..], receiver);
        if status == Status::Paused && begin + used < rest.len() {
            // An offset instead of moving the bytes: a pause at every message must not be quadratic.
            self.rest = rest;
            self.rest_at = begin + used;
        }
        status
    }

    /// While more than [`SPARE_BYTES_MIN`] bytes of a frame are missing: where to read the next of them to, at most
    /// [`SPARE_BYTES_MAX`] and none behind the frame. Then call [`Assembler::filled`]. Needs fewer system calls than reading
    /// to a small buffer and [`Assembler::feed`], and is otherwise the same.
    pub fn spare(&mut self) -> Option<&mut [u8]> {
        let partial = self.partial.as_deref_mut().filter(|partial| partial.remaining > SPARE_BYTES_MIN)?;
        let size = partial.remaining.min(SPARE_BYTES_MAX);
        if partial.spare.len() < size {
            partial.spare = vec![0; size];
        }
        Some(&mut partial.spare[..size])
    }

    /// Takes the first `n` bytes of what [`Assembler::spare`] has lent.
    pub fn filled(&mut self, n: usize, receiver: &mut impl Receiver) -> Status {
        let Some(partial) = self.partial.as_deref_mut() else { return self.feed(&mut [], receiver) };
        let mut spare = std::mem::take(&mut partial.spare);
        let n = n.min(spare.len());
        let status = self.feed(&mut spare[..n], receiver);
        if let Some(partial) = self.partial.as_deref_mut().filter(|partial| partial.remaining > SPARE_BYTES_MIN) {
            partial.spare = spare;
        }
        status
    }

    /// Bytes that are kept: of an incomplete message or frame, or behind a pause.
    pub fn buffered(&self) -> usize {
        let partial = self.partial.as_ref().map_or(0, |partial| partial.len());
        self.begun.len() + partial + self.rest.len() - self.rest_at
    }

    /// Steps through `input`; returns how many bytes were used.
    fn run(&mut self, input: &mut [u8], receiver: &mut impl Receiver) -> (usize, Status) {
        let mut used = 0;
        while used < input.len() {
            match self.step(&mut input[used..], receiver) {
                Ok((count, Flow::Continue)) => used += count,
                Ok((count, Flow::Pause)) => {
                    self.phase = Phase::Paused;
                    return (used + count, Status::Paused);
                }
                Ok((count, Flow::Stop)) => {
                    self.end();
                    return (used + count, Status::Ended);
                }
                Err(close) => {
                    self.end();
                    return (input.len(), Status::Closed(close));
                }
            }
        }
        (used, Status::Open)
    }

    fn end(&mut self) {
        *self = Assembler { phase: Phase::Ended, ..Assembler::new(self.message_bytes_max) };
    }

    /// Uses some of `input`, at least one byte.
    fn step(&mut self, input: &mut [u8], receiver: &mut impl Receiver) -> Step {
        if self.partial.as_ref().is_some_and(|partial| partial.remaining > 0) {
            return self.payload(input, receiver);
        }
        if !self.begun.is_empty() {
            return self.complete_begun(input, receiver);
        }
        match Header::parse(input)? {
            Parsed::Needs(_) => {
                self.begun = input.to_vec();
                Ok((input.len(), Flow::Continue))
            }
            Parsed::Header(header) if header.is_control() => {
                let size = header.size + header.len as usize;
                let whole = size.min(input.len());
                if whole < size {
                    self.begun = input.to_vec();
                } else {
                    control(&header, &mut input[header.size..size], receiver)?;
                }
                Ok((whole, Flow::Continue))
            }
            Parsed::Header(header) => {
                let (used, flow) = self.data(&header, &mut input[header.size..], receiver)?;
                Ok((header.size + used, flow))
            }
        }
    }

    /// Adds to the frame that has been begun as much of `input` as it takes to get further with it.
    fn complete_begun(&mut self, input: &mut [u8], receiver: &mut impl Receiver) -> Step {
        let needed = match Header::parse(&self.begun)? {
            Parsed::Needs(needed) => needed,
            Parsed::Header(header) => header.size + header.len as usize,
        };
        let count = needed.saturating_sub(self.begun.len()).min(input.len());
        let (added, input) = input.split_at_mut(count);
        self.begun.extend_from_slice(added);
        let Parsed::Header(header) = Header::parse(&self.begun)? else { return Ok((count, Flow::Continue)) };
        if !header.is_control() {
            self.begun = Vec::new();
            let (used, flow) = self.data(&header, input, receiver)?;
            return Ok((count + used, flow));
        }
        if self.begun.len() == header.size + header.len as usize {
            let mut frame = std::mem::take(&mut self.begun);
            control(&header, &mut frame[header.size..], receiver)?;
        }
        Ok((count, Flow::Continue))
    }

    /// A frame of a message whose payload begins at the start of `input`.
    fn data(&mut self, header: &Header, input: &mut [u8], receiver: &mut impl Receiver) -> Step {
        let len = self.admit(header)?;
        match &mut self.partial {
            Some(partial) => partial.continue_with(header, len),
            None if header.fin && len <= input.len() => {
                let payload = &mut input[..len];
                header.unmask(payload);
                let message = if header.opcode == OPCODE_TEXT {
                    Message::Text(simdutf8::basic::from_utf8(payload).map_err(|_| ProtocolError::NotUtf8)?)
                } else {
                    Message::Binary(payload)
                };
                return Ok((len, receiver.message(message)));
            }
            None => self.partial = Some(Box::new(Partial::new(header, len))),
        }
        self.payload(input, receiver)
    }

    /// Checks that a frame may come now and how long it is: its payload bytes.
    fn admit(&self, header: &Header) -> Result<usize, ProtocolError> {
        match (&self.partial, header.opcode) {
            (None, OPCODE_CONTINUATION) => return Err(ProtocolError::StrayContinuation),
            (None, _) | (Some(_), OPCODE_CONTINUATION) => {}
            (Some(_), _) => return Err(ProtocolError::InterleavedMessage),
        }
        let before = self.partial.as_ref().map_or(0, |partial| partial.len());
        let (len, max) = (header.len.saturating_add(before as u64), self.message_bytes_max);
        if len > max as u64 { Err(ProtocolError::MessageTooLong { len, max }) } else { Ok(header.len as usize) }
    }

    /// More of the frame under way; delivers the message when that completes it.
    fn payload(&mut self, input: &mut [u8], receiver: &mut impl Receiver) -> Step {
        let Some(mut partial) = self.partial.take() else { return Ok((0, Flow::Continue)) };
        let used = partial.append(input)?;
        if partial.remaining > 0 || !partial.fin {
            self.partial = Some(partial);
            return Ok((used, Flow::Continue));
        }
        Ok((used, receiver.whole(partial.finish()?)))
    }
}

/// A whole control frame. An error ends the connection; for a close frame that is its echo.
fn control(header: &Header, payload: &mut [u8], receiver: &mut impl Receiver) -> Result<(), CloseFrame> {
    header.unmask(payload);
    match header.opcode {
        OPCODE_CLOSE => {
            let (code, reason) = parse_close(payload)?;
            receiver.close(code, reason);
            Err(CloseFrame::Echo { code, reason: reason.to_owned() })
        }
        OPCODE_PING => {
            receiver.ping(payload);
            Ok(())
        }
        _ => {
            receiver.pong();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(usize, Flow);

    impl Receiver for Counter {
        fn message(&mut self, _: Message<'_>) -> Flow {
            self.0 += 1;
            self.1
        }
        fn ping(&mut self, _: &[u8]) {}
        fn pong(&mut self) {}
        fn close(&mut self, _: Option<u16>, _: &str) {}
    }

    fn heap_bytes(assembler: &Assembler) -> usize {
        let partial = assembler.partial.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.capacity());
        assembler.begun.capacity() + assembler.rest.capacity() + partial
    }

    /// A masked frame of zeros whose mask is zero.
    fn frame(first: u8, len: u16) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | 126];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.resize(8 + usize::from(len), 0);
        bytes
    }

    #[test]
    fn between_messages_it_owns_no_heap_memory() {
        assert!(size_of::<Assembler>() <= 96);
        let wire = [frame(0x81, 60_000), frame(0x02, 300), vec![0x89, 0x81, 0, 0, 0, 0, 1], frame(0x80, 300)].concat();
        for size in [1, 5, 64, 4096, wire.len()] {
            for flow in [Flow::Continue, Flow::Pause] {
                let (mut assembler, mut counter) = (Assembler::new(1 << 20), Counter(0, flow));
                for piece in wire.clone().chunks_mut(size) {
                    assembler.feed(piece, &mut counter);
                    while assembler.resume(&mut counter) == Status::Paused {}
                }
                assert_eq!((counter.0, heap_bytes(&assembler)), (2, 0), "pieces of {size}, {flow:?}");
            }
        }
    }

    #[test]
    fn memory_is_taken_for_what_has_come() {
        let (mut assembler, mut counter) = (Assembler::new(64 << 20), Counter(0, Flow::Continue));
        // Announces 48 MiB and sends 100 bytes of them.
        let mut wire = vec![0x82, 0x80 | 127, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
        wire.resize(wire.len() + 100, 0);
        assembler.feed(&mut wire, &mut counter);
        assert_eq!(assembler.buffered(), 100);
        assert!(heap_bytes(&assembler) < 1000);
        // Never more than twice what has come, and in the end just the message.
        for _ in 0..1000 {
            assembler.feed(&mut vec![0; 40_000], &mut counter);
            assert!(heap_bytes(&assembler) < 2 * assembler.buffered() + 41_000);
        }
        assembler.spare();
        assembler.filled(0, &mut counter);
        assembler.feed(&mut vec![0; (48 << 20) - 100 - 40_000_000 - 1], &mut counter);
        assert!(heap_bytes(&assembler) < (48 << 20) + 1000 + SPARE_BYTES_MAX);
        assembler.feed(&mut [0], &mut counter);
        assert_eq!((counter.0, heap_bytes(&assembler)), (1, 0));
    }
}
