//! A request body as it comes in, by its length or in chunks (RFC 9112, section 7.1). Chunk extensions and trailers are read and
//! dropped.

use super::head::is_token;
use super::refusal::Refusal;

/// Bytes of a chunk's first line without its end: a size and what clients put behind it.
pub const CHUNK_LINE_BYTES_MAX: usize = 256;
/// Digits of a chunk's size.
const SIZE_DIGITS_MAX: usize = 16;

#[derive(Debug)]
enum State {
    /// So many bytes follow; then the body has ended.
    Length(usize),
    /// The line that says how long the next chunk is.
    Size,
    /// So many bytes of the chunk follow.
    Chunk(usize),
    /// The CR LF behind a chunk.
    ChunkEnd,
    /// Lines behind the last chunk; so many bytes of them are read.
    Trailers(usize),
    Ended,
}

/// A body that is being read.
#[derive(Debug)]
pub struct Reader {
    state: State,
    /// The beginning of a line whose end has not come yet.
    line: Vec<u8>,
    /// What has come of the body.
    pub bytes: Vec<u8>,
    bytes_max: usize,
    trailer_bytes_max: usize,
}

fn too_large(bytes_max: usize) -> Refusal {
    Refusal::new(413, format!("the body exceeds the limit of {bytes_max} bytes"))
}

/// Whether a body of this length may come.
///
/// # Errors
/// 413.
pub fn check_length(length: usize, bytes_max: usize) -> Result<(), Refusal> {
    if length > bytes_max { Err(too_large(bytes_max)) } else { Ok(()) }
}

impl Reader {
    /// A body of `length` bytes.
    pub fn of_length(length: usize) -> Self {
        Reader::new(if length == 0 { State::Ended } else { State::Length(length) }, length, 0)
    }

    /// A body in chunks, of at most `bytes_max` bytes.
    pub fn of_chunks(bytes_max: usize, trailer_bytes_max: usize) -> Self {
        Reader::new(State::Size, bytes_max, trailer_bytes_max)
    }

    fn new(state: State, bytes_max: usize, trailer_bytes_max: usize) -> Self {
        Reader { state, line: Vec::new(), bytes: Vec::new(), bytes_max, trailer_bytes_max }
    }

    /// Whether all of it is there.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Takes what belongs to the body from the beginning of `data`; returns how much that is.
    ///
    /// # Errors
    /// 400 for chunks that are not well-formed, 413, 431 for trailers.
    pub fn feed(&mut self, data: &[u8]) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < data.len() {
            let rest = &data[at..];
            at += match self.state {
                State::Ended => break,
                State::Length(left) => self.take(rest, left, State::Length, State::Ended),
                State::Chunk(left) => self.take(rest, left, State::Chunk, State::ChunkEnd),
                State::Size => self.size(rest)?,
                State::ChunkEnd => self.chunk_end(rest)?,
                State::Trailers(read) => self.trailer(rest, read)?,
            };
        }
        Ok(at)
    }

    fn take(&mut self, data: &[u8], left: usize, more: fn(usize) -> State, then: State) -> usize {
        let n = left.min(data.len());
        self.bytes.extend_from_slice(&data[..n]);
        self.state = if n == left { then } else { more(left - n) };
        n
    }

    /// Collects one line; returns how much of `data` was used. It is complete when `line` ends with a line feed.
    fn collect(&mut self, data: &[u8]) -> usize {
        let n = memchr::memchr(b'\n', data).map_or(data.len(), |at| at + 1);
        self.line.extend_from_slice(&data[..n]);
        n
    }

    fn size(&mut self, data: &[u8]) -> Result<usize, Refusal> {
        let n = self.collect(&data[..data.len().min(CHUNK_LINE_BYTES_MAX + 2 - self.line.len())]);
        if !self.line.ends_with(b"\n") {
            return if self.line.len() < CHUNK_LINE_BYTES_MAX + 2 { Ok(n) } else { Err(malformed()) };
        }
        let size = chunk_size(&self.line).ok_or_else(malformed)?;
        self.line.clear();
        if size == 0 {
            self.state = State::Trailers(0);
            return Ok(n);
        }
        if size > self.bytes_max - self.bytes.len() {
            return Err(too_large(self.bytes_max));
        }
        self.state = State::Chunk(size);
        Ok(n)
    }

    fn chunk_end(&mut self, data: &[u8]) -> Result<usize, Refusal> {
        let n = data.len().min(2 - self.line.len());
        self.line.extend_from_slice(&data[..n]);
        if !b"\r\n".starts_with(&self.line) {
            return Err(malformed());
        }
        if self.line.len() == 2 {
            self.line.clear();
            self.state = State::Size;
        }
        Ok(n)
    }

    fn trailer(&mut self, data: &[u8], read: usize) -> Result<usize, Refusal> {
        let room = self.trailer_bytes_max.saturating_sub(read);
        let n = self.collect(&data[..data.len().min(room)]);
        self.state = State::Trailers(read + n);
        if !self.line.ends_with(b"\n") {
            let max = self.trailer_bytes_max;
            return if n < room {
                Ok(n)
            } else {
                Err(Refusal::new(431, format!("the trailers exceed the limit of {max} bytes")))
            };
        }
        if self.line == b"\r\n" {
            self.state = State::Ended;
        } else if !is_header_line(&self.line) {
            return Err(malformed());
        }
        self.line.clear();
        Ok(n)
    }
}

fn malformed() -> Refusal {
    Refusal::new(400, "the chunks of the body are malformed")
}

/// The size in a chunk's first line. Nothing but an extension may follow the digits: other readers would skip other things.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"\r\n")?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, extension) = line.split_at(digits);
    let is_extension = extension.is_empty() || (extension[0] == b';' && extension.iter().all(|&byte| is_text(byte)));
    if !(1..=SIZE_DIGITS_MAX).contains(&digits) || !is_extension {
        return None;
    }
    usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

fn is_header_line(line: &[u8]) -> bool {
    let Some(line) = line.strip_suffix(b"\r\n") else { return false };
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    colon > 0 && line[..colon].iter().all(|&byte| is_token(byte)) && line[colon..].iter().all(|&byte| is_text(byte))
}

/// What a header's value may have in it (RFC 9110, section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}
