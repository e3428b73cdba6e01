//! One frame: its header, its mask, and how the engine's own frames are written (RFC 6455 section 5).

use super::close::ProtocolError;

/// Opcode of a further fragment of a message.
pub const OPCODE_CONTINUATION: u8 = 0;
/// Opcode of a text message, or its first fragment.
pub const OPCODE_TEXT: u8 = 1;
/// Opcode of a binary message, or its first fragment.
pub const OPCODE_BINARY: u8 = 2;
/// Opcode of a close frame.
pub const OPCODE_CLOSE: u8 = 8;
/// Opcode of a ping.
pub const OPCODE_PING: u8 = 9;
/// Opcode of a pong.
pub const OPCODE_PONG: u8 = 10;

/// Bytes of the longest header that [`write_frame_header`] writes: a server does not mask.
pub const HEADER_BYTES_MAX: usize = 10;
/// Payload bytes of a control frame (RFC 6455 section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// The header of a frame from a client.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub fin: bool,
    pub opcode: u8,
    /// Payload bytes.
    pub len: u64,
    pub mask: Mask,
    /// Bytes of the header itself.
    pub size: usize,
}

/// What the bytes at hand are enough for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Parsed {
    Header(Header),
    /// Nothing more can be told before so many bytes are there.
    Needs(usize),
}

impl Header {
    pub(super) fn is_control(&self) -> bool {
        self.opcode & 8 != 0
    }

    /// Unmasks the whole payload in place.
    #[inline]
    pub(super) fn unmask(&self, payload: &mut [u8]) {
        let mut mask = self.mask;
        mask.apply(payload);
    }

    /// Reads the header at the start of `bytes`; what is wrong in the first two bytes is found as soon as they are there.
    pub(super) fn parse(bytes: &[u8]) -> Result<Parsed, ProtocolError> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(Parsed::Needs(2)) };
        check_start(first, second)?;
        let (len, length_size) = match second & !MASKED {
            LENGTH_16 => match rest.first_chunk::<2>() {
                Some(len) => (u64::from(u16::from_be_bytes(*len)), 2),
                None => return Ok(Parsed::Needs(4)),
            },
            LENGTH_64 => match rest.first_chunk::<8>() {
                Some(len) => (u64::from_be_bytes(*len), 8),
                None => return Ok(Parsed::Needs(10)),
            },
            len => (u64::from(len), 0),
        };
        if (length_size == 2 && len < 126) || (length_size == 8 && (len < 1 << 16 || len >> 63 != 0)) {
            return Err(ProtocolError::LengthEncoding);
        }
        let size = 2 + length_size + 4;
        let Some(key) = rest.get(length_size..).and_then(|rest| rest.first_chunk::<4>()) else {
            return Ok(Parsed::Needs(size));
        };
        Ok(Parsed::Header(Header { fin: first & FIN != 0, opcode: first & 15, len, mask: Mask(*key), size }))
    }
}

fn check_start(first: u8, second: u8) -> Result<(), ProtocolError> {
    if first & RESERVED != 0 {
        return Err(ProtocolError::ReservedBits);
    }
    let opcode = first & 15;
    match opcode {
        OPCODE_CONTINUATION..=OPCODE_BINARY => {}
        OPCODE_CLOSE..=OPCODE_PONG if first & FIN == 0 => return Err(ProtocolError::FragmentedControl),
        OPCODE_CLOSE..=OPCODE_PONG if usize::from(second & !MASKED) > CONTROL_BYTES_MAX => {
            return Err(ProtocolError::LongControl);
        }
        OPCODE_CLOSE..=OPCODE_PONG => {}
        _ => return Err(ProtocolError::UnknownOpcode(opcode)),
    }
    if second & MASKED == 0 { Err(ProtocolError::Unmasked) } else { Ok(()) }
}

/// A masking key, turned so that its first byte is the next one to use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mask([u8; 4]);

impl Mask {
    /// Unmasks the next bytes of a payload in place.
    #[inline]
    pub(super) fn apply(&mut self, bytes: &mut [u8]) {
        let Mask(key) = *self;
        let wide = u64::from_ne_bytes([key[0], key[1], key[2], key[3], key[0], key[1], key[2], key[3]]);
        let count = bytes.len();
        let (words, tail) = bytes.as_chunks_mut::<8>();
        for word in words {
            *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
        }
        for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
            *byte ^= key;
        }
        self.0.rotate_left(count % 4);
    }
}

/// Appends the header of an unfragmented, unmasked frame whose payload of `len` bytes follows: at most
/// [`HEADER_BYTES_MAX`] bytes.
#[inline]
pub fn write_frame_header(out: &mut Vec<u8>, opcode: u8, len: usize) {
    let first = FIN | opcode;
    match len {
        0..126 => out.extend_from_slice(&[first, len as u8]),
        126..0x1_0000 => {
            let [high, low] = (len as u16).to_be_bytes();
            out.extend_from_slice(&[first, LENGTH_16, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, LENGTH_64]);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a whole frame.
pub fn write_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.reserve(HEADER_BYTES_MAX + payload.len());
    write_frame_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// The payload of the frame that [`write_frame`] put at the start of `bytes`, and what is behind it.
pub fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let &[_, length, ref rest @ ..] = bytes else { return None };
    let (len, rest) = match length {
        LENGTH_16 => rest.split_first_chunk().map(|(len, rest)| (usize::from(u16::from_be_bytes(*len)), rest))?,
        LENGTH_64 => rest.split_first_chunk().map(|(len, rest)| (u64::from_be_bytes(*len) as usize, rest))?,
        len => (usize::from(len), rest),
    };
    rest.split_at_checked(len)
}

/// The payload of a close frame with this code; the reason is cut to the 123 bytes that fit, between characters.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    let longest = reason.len().min(CONTROL_BYTES_MAX - 2);
    let fits = (0..=longest).rev().find(|&end| reason.is_char_boundary(end)).unwrap_or_default();
    [&code.to_be_bytes(), &reason.as_bytes()[..fits]].concat()
}

/// Appends a close frame; see [`close_payload`].
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    write_frame(out, OPCODE_CLOSE, &close_payload(code, reason));
}
