//! RESP2, the protocol of Redis: commands to bytes, bytes to replies. A reply is looked for with a [`Scanner`], which remembers how
//! far it has come, and read once it is complete; nothing is copied.

use memchr::memchr;
use std::io::Write;

/// Bytes of one reply: two values of the largest message, many times over. A server that sends more is not understood.
pub const REPLY_BYTES_MAX: usize = 1 << 30;
/// Bytes of a line that is not a bulk string: errors are long at most.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Arrays inside arrays.
const DEPTH_MAX: usize = 4;

/// A command being written; exactly as many arguments must follow as were announced.
pub struct Command<'o>(&'o mut Vec<u8>);

impl<'o> Command<'o> {
    /// Begins a command of `count` arguments, its name included.
    pub fn new(out: &'o mut Vec<u8>, count: usize) -> Self {
        header(out, b'*', count);
        Command(out)
    }

    /// One argument.
    pub fn arg(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        self.join(&[arg.as_ref()])
    }

    /// One argument in pieces.
    pub fn join(&mut self, pieces: &[&[u8]]) -> &mut Self {
        argument(self.0, pieces);
        self
    }

    /// Arguments that were encoded before, with [`argument`].
    pub fn encoded(&mut self, arguments: &[u8]) -> &mut Self {
        self.0.extend_from_slice(arguments);
        self
    }

    /// One argument, decimal.
    pub fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = Vec::with_capacity(20);
        // Writing to a vector does not fail.
        let _ = write!(digits, "{number}");
        self.arg(digits)
    }
}

/// One argument of a command that is yet to be begun, in pieces.
pub fn argument(out: &mut Vec<u8>, pieces: &[&[u8]]) {
    header(out, b'$', pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        out.extend_from_slice(piece);
    }
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    if number < 10 {
        out.push(b'0' + number as u8);
    } else {
        let _ = write!(out, "{number}");
    }
    out.extend_from_slice(b"\r\n");
}

/// What the server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply<'a> {
    /// Nothing there.
    Nil,
    /// An integer.
    Int(i64),
    /// A short text, as `OK`.
    Simple(&'a [u8]),
    /// The command failed.
    Error(&'a [u8]),
    /// A string of bytes.
    Bulk(&'a [u8]),
    /// Several.
    Array(Vec<Reply<'a>>),
}

/// Bytes that are not RESP2, or too many.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("its answer is not understood: {0}")]
pub struct ProtocolError(pub &'static str);

const BAD_LINE: ProtocolError = ProtocolError("a line is malformed");
const TOO_LARGE: ProtocolError = ProtocolError("it is larger than 1 GiB");

/// Finds the end of the next reply in bytes that come piece by piece.
#[derive(Debug, Default)]
pub struct Scanner {
    at: usize,
    /// Elements that are missing of each array that is open.
    open: Vec<usize>,
}

impl Scanner {
    /// Looks on in `bytes`, which begin with the same reply as before. Its length, when it is complete.
    ///
    /// # Errors
    /// When this cannot become a reply.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, ProtocolError> {
        loop {
            let Some((kind, number, after)) = line(bytes, self.at)? else { return Ok(None) };
            let mut end = after;
            match kind {
                b'$' if number >= 0 => end = after.saturating_add(number as usize).saturating_add(2),
                b'*' if number > 0 => {
                    if self.open.len() == DEPTH_MAX {
                        return Err(ProtocolError("arrays are nested too deep"));
                    }
                    self.open.push(number as usize);
                    self.at = after;
                    continue;
                }
                _ => {}
            }
            if end > REPLY_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            if end > bytes.len() {
                return Ok(None);
            }
            if kind == b'$' && number >= 0 && &bytes[end - 2..end] != b"\r\n" {
                return Err(ProtocolError("a string does not end where it should"));
            }
            self.at = end;
            while let Some(missing) = self.open.last_mut() {
                *missing -= 1;
                if *missing > 0 {
                    break;
                }
                self.open.pop();
            }
            if self.open.is_empty() {
                self.at = 0;
                return Ok(Some(end));
            }
        }
    }
}

/// The line at `at`: its kind, its number if it has one, and where it ends.
fn line(bytes: &[u8], at: usize) -> Result<Option<(u8, i64, usize)>, ProtocolError> {
    let rest = bytes.get(at..).unwrap_or_default();
    let Some(&kind) = rest.first() else { return Ok(None) };
    if !matches!(kind, b'+' | b'-' | b':' | b'$' | b'*') {
        return Err(ProtocolError("a reply of an unknown kind"));
    }
    let Some(feed) = memchr(b'\n', &rest[..rest.len().min(LINE_BYTES_MAX)]) else {
        return if rest.len() < LINE_BYTES_MAX { Ok(None) } else { Err(BAD_LINE) };
    };
    if feed < 2 || rest[feed - 1] != b'\r' {
        return Err(BAD_LINE);
    }
    let number = match kind {
        b'+' | b'-' => 0,
        _ => integer(&rest[1..feed - 1]).ok_or(BAD_LINE)?,
    };
    if matches!(kind, b'$' | b'*') && number < -1 {
        return Err(BAD_LINE);
    }
    Ok(Some((kind, number, at + feed + 1)))
}

fn integer(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a> Reply<'a> {
    /// Reads a reply whose end was found by a [`Scanner`].
    ///
    /// # Errors
    /// Never for bytes that were scanned.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ProtocolError> {
        Ok(Self::read_at(bytes, 0)?.0)
    }

    fn read_at(bytes: &'a [u8], at: usize) -> Result<(Self, usize), ProtocolError> {
        let (kind, number, after) = line(bytes, at)?.ok_or(BAD_LINE)?;
        let text = &bytes[at + 1..after - 2];
        Ok(match kind {
            b'+' => (Reply::Simple(text), after),
            b'-' => (Reply::Error(text), after),
            b':' => (Reply::Int(number), after),
            _ if number < 0 => (Reply::Nil, after),
            b'$' => {
                let end = after + number as usize;
                (Reply::Bulk(bytes.get(after..end).ok_or(BAD_LINE)?), end + 2)
            }
            _ => {
                let mut items = Vec::with_capacity((number as usize).min(bytes.len() / 4));
                let mut at = after;
                for _ in 0..number {
                    let (item, end) = Self::read_at(bytes, at)?;
                    items.push(item);
                    at = end;
                }
                (Reply::Array(items), at)
            }
        })
    }
}
