//! RFC 6455 frames, both directions, without any I/O.

use crate::random::Random;

/// Opcodes (RFC 6455, section 5.2).
pub mod opcode {
    /// The next frame of a message.
    pub const CONTINUATION: u8 = 0;
    /// A message of text, or its first frame.
    pub const TEXT: u8 = 1;
    /// A message of bytes, or its first frame.
    pub const BINARY: u8 = 2;
    /// The end of a connection.
    pub const CLOSE: u8 = 8;
    /// Asks whether somebody is there.
    pub const PING: u8 = 9;
    /// The answer to a ping.
    pub const PONG: u8 = 10;
}

/// One complete frame inside a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// Last frame of its message.
    pub last: bool,
    /// See `opcode`.
    pub opcode: u8,
    /// The payload was masked (it is already unmasked in the buffer).
    pub masked: bool,
    /// Where the payload begins, in bytes from the start of the frame.
    pub start: usize,
    /// Where the payload and the frame end.
    pub end: usize,
}

/// Applies a masking key (RFC 6455, section 5.3).
#[inline]
pub fn mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip([a, b, c, d, a, b, c]) {
        *byte ^= key;
    }
}

/// Finds the frame at the start of `buffer` and unmasks it in place. `None`: it is not complete yet.
#[inline]
pub fn decode(buffer: &mut [u8]) -> Result<Option<Frame>, &'static str> {
    let &[first, second, ..] = &*buffer else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a reserved bit is set");
    }
    let masked = second & 0x80 != 0;
    let (length, mut start) = match second & 0x7f {
        126 => match buffer.get(2..4) {
            Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            _ => return Ok(None),
        },
        127 => match buffer.get(2..10).and_then(<[u8]>::first_chunk) {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        length => (u64::from(length), 2),
    };
    let mut key = [0; 4];
    if masked {
        let Some(given) = buffer.get(start..start + 4).and_then(<[u8]>::first_chunk) else { return Ok(None) };
        key = *given;
        start += 4;
    }
    let length = usize::try_from(length).map_err(|_| "a frame does not fit into memory")?;
    let end = start.checked_add(length).ok_or("a frame does not fit into memory")?;
    let Some(payload) = buffer.get_mut(start..end) else { return Ok(None) };
    if masked {
        mask(payload, key);
    }
    Ok(Some(Frame { last: first & 0x80 != 0, opcode: first & 0x0f, masked, start, end }))
}

/// Appends the head of one unfragmented frame of a server; `length` bytes must follow.
pub fn encode_head(out: &mut Vec<u8>, opcode: u8, length: usize) {
    encode_length(out, opcode, length, 0);
}

#[inline]
fn encode_length(out: &mut Vec<u8>, opcode: u8, length: usize, bit: u8) {
    out.push(0x80 | opcode);
    match length {
        0..=125 => out.push(bit | length as u8),
        126..=0xffff => {
            out.push(bit | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(bit | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends one unfragmented frame to `out`; a client (`masks` given) must mask, a server must not.
#[inline]
pub fn encode(out: &mut Vec<u8>, opcode: u8, payload: &[u8], masks: Option<&mut Random>) {
    encode_length(out, opcode, payload.len(), if masks.is_some() { 0x80 } else { 0 });
    let Some(masks) = masks else {
        out.extend_from_slice(payload);
        return;
    };
    let key = (masks.next() as u32).to_ne_bytes();
    out.extend_from_slice(&key);
    let start = out.len();
    out.extend_from_slice(payload);
    mask(&mut out[start..], key);
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_masked_and_unmasked() {
        let mut masks = Random::new(1, 1);
        for length in [0, 1, 7, 8, 9, 125, 126, 127, 65_535, 65_536, 70_003] {
            let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
            for masked in [false, true] {
                let mut bytes = Vec::new();
                encode(&mut bytes, opcode::TEXT, &payload, masked.then_some(&mut masks));
                let whole = bytes.len();
                bytes.extend_from_slice(b"next");
                for cut in [0, 1, 2, 5, whole - 1].into_iter().filter(|cut| *cut < whole) {
                    assert_eq!(decode(&mut bytes[..cut]), Ok(None));
                }
                let frame = decode(&mut bytes).unwrap().unwrap();
                assert_eq!((frame.last, frame.opcode, frame.masked, frame.end), (true, opcode::TEXT, masked, whole));
                assert!(bytes[frame.start..frame.end] == payload);
            }
        }
    }

    #[test]
    fn reads_the_examples_of_the_rfc() {
        let mut hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let frame = decode(&mut hello).unwrap().unwrap();
        assert_eq!(&hello[frame.start..frame.end], b"Hello");
        assert!(decode(&mut [0xc1, 0x00]).is_err());
    }
}
