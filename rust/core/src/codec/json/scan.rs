//! The scanner: decides in one pass, without recursion or allocation, whether a value is JSON and where it ends.
//!
//! It is most of what a message costs. Positions and outcomes travel in registers, what is wrong is kept aside; strings are
//! searched sixteen bytes at a time.

use super::error::{JsonError, JsonErrorKind, NotNumber};
use super::escape::{self, Escaped};
use wide::u8x16;

/// Whether what common encoders write wrongly is taken as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Strict,
    /// Takes `NaN`, `Infinity`, `-Infinity` as values and lone surrogate escapes as characters.
    Lenient,
}

/// The text is not JSON: [`Scanner::error`] knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrong;

/// What a step comes to: mostly the position behind what was read.
pub(super) type Scan<T> = Result<T, Wrong>;

/// Reads one text, from positions that its caller keeps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    mode: Mode,
    error: Option<JsonError>,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, mode: Mode) -> Self {
        Scanner { bytes: text.as_bytes(), mode, error: None }
    }

    /// What was wrong.
    #[cold]
    pub(super) fn error(&self) -> JsonError {
        self.error.unwrap_or(JsonError::new(JsonErrorKind::UnexpectedEnd, self.bytes.len()))
    }

    /// `kind` at `at`, whatever is there.
    #[cold]
    #[inline(never)]
    pub(super) fn wrong(&mut self, kind: JsonErrorKind, at: usize) -> Wrong {
        self.error = Some(JsonError::new(kind, at));
        Wrong
    }

    /// `kind` at `at`, or that the text has ended.
    #[cold]
    #[inline(never)]
    pub(super) fn unexpected(&mut self, kind: JsonErrorKind, at: usize) -> Wrong {
        self.wrong(if at < self.bytes.len() { kind } else { JsonErrorKind::UnexpectedEnd }, at)
    }

    /// The byte at `at`; behind the end 0, which nothing begins with.
    #[inline(always)] // a load
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or_default()
    }

    /// Where white space that begins at `at` ends; there may be none.
    #[inline(always)] // mostly a comparison
    pub(super) fn space(&self, at: usize) -> usize {
        if self.byte(at) > b' ' { at } else { self.some_space(at) }
    }

    #[inline(never)]
    fn some_space(&self, mut at: usize) -> usize {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.bytes.get(at) {
            at += 1;
        }
        at
    }

    /// Skips the value at `at`, which nests at most `depth_left` levels.
    #[inline(always)] // of every message
    pub(super) fn value(&mut self, at: usize, depth_left: usize) -> Scan<usize> {
        match self.byte(at) {
            b'"' => Ok(self.string(at)?.0),
            b'{' | b'[' => self.nested(at, depth_left),
            b'-' | b'0'..=b'9' => self.number(at),
            _ => self.word(at),
        }
    }

    /// Goes through the members of the object at `open`. `read` is told where a name begins, and skips name and value.
    #[inline(always)] // of every message
    pub(super) fn members(
        &mut self,
        open: usize,
        mut read: impl FnMut(&mut Self, usize) -> Scan<usize>,
    ) -> Scan<usize> {
        let mut at = self.space(open + 1);
        if self.byte(at) == b'}' {
            return Ok(at + 1);
        }
        loop {
            at = read(self, at)?;
            at = self.space(at);
            match self.byte(at) {
                b',' => at = self.space(at + 1),
                b'}' => return Ok(at + 1),
                _ => return Err(self.unexpected(JsonErrorKind::ExpectedMemberEnd, at)),
            }
        }
    }

    /// Skips an array or object and all that is in it.
    #[inline(never)]
    fn nested(&mut self, mut at: usize, depth_left: usize) -> Scan<usize> {
        let mut nesting = Nesting::default();
        loop {
            at = match self.byte(at) {
                open @ (b'{' | b'[') => {
                    if nesting.depth == depth_left {
                        return Err(self.wrong(JsonErrorKind::TooDeep, at));
                    }
                    let inside = self.space(at + 1);
                    // Its closing bracket is two behind its opening one in ASCII.
                    if self.byte(inside) == open + 2 {
                        inside + 1
                    } else {
                        nesting.push(open == b'{');
                        at = if open == b'{' { self.name(inside)?.1 } else { inside };
                        continue;
                    }
                }
                _ => self.value(at, 0)?,
            };
            match self.close(at, &mut nesting)? {
                (at, false) => return Ok(at),
                (next, true) => at = next,
            }
        }
    }

    /// After a value: skips closing brackets, then a comma and the name that follows it; false when nothing is open any more.
    #[inline]
    fn close(&mut self, mut at: usize, nesting: &mut Nesting) -> Scan<(usize, bool)> {
        while let Some(in_object) = nesting.top() {
            at = self.space(at);
            match (self.byte(at), in_object) {
                (b',', true) => {
                    let begin = self.space(at + 1);
                    return Ok((self.name(begin)?.1, true));
                }
                (b',', false) => return Ok((self.space(at + 1), true)),
                (b'}', true) | (b']', false) => {
                    at += 1;
                    nesting.pop();
                }
                (_, true) => return Err(self.unexpected(JsonErrorKind::ExpectedMemberEnd, at)),
                (_, false) => return Err(self.unexpected(JsonErrorKind::ExpectedElementEnd, at)),
            }
        }
        Ok((at, false))
    }

    /// Skips a member's name and the colon behind it: the name, and where the value begins.
    #[inline(always)] // of every message
    pub(super) fn name(&mut self, at: usize) -> Scan<((usize, bool), usize)> {
        if self.byte(at) != b'"' {
            return Err(self.unexpected(JsonErrorKind::ExpectedString, at));
        }
        let name = self.string(at)?;
        let colon = self.space(name.0);
        if self.byte(colon) != b':' {
            return Err(self.unexpected(JsonErrorKind::ExpectedColon, colon));
        }
        Ok((name, self.space(colon + 1)))
    }

    /// Skips the string whose opening quote is at `quote`; where it ends, and whether there are escapes in it.
    #[inline(always)] // of every message
    pub(super) fn string(&mut self, quote: usize) -> Scan<(usize, bool)> {
        let end = self.plain_end(quote + 1);
        if self.byte(end) == b'"' { Ok((end + 1, false)) } else { self.unusual_string(end) }
    }

    /// Skips the rest, from `at` on, of a string that has escapes, ends with the text, or is wrong.
    #[inline(never)]
    fn unusual_string(&mut self, mut at: usize) -> Scan<(usize, bool)> {
        let mut escaped = false;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => return Ok((at + 1, escaped)),
                Some(b'\\') => {
                    at = self.escape(at)?;
                    escaped = true;
                }
                Some(_) => return Err(self.wrong(JsonErrorKind::ControlCharacter, at)),
                None => return Err(self.wrong(JsonErrorKind::UnexpectedEnd, at)),
            }
            at = self.plain_end(at);
        }
    }

    /// Where the ordinary string bytes that begin at `at` end: at a quote, a backslash, a control character, or with the text.
    #[inline]
    fn plain_end(&self, at: usize) -> usize {
        let mut rest = self.rest(at);
        while let Some((block, more)) = rest.split_first_chunk() {
            let special = special_bytes(block);
            if special != 0 {
                return self.bytes.len() - rest.len() + special.trailing_zeros() as usize;
            }
            rest = more;
        }
        self.plain_end_in_last(rest)
    }

    /// The same of the last bytes of the text, fewer than a block.
    #[inline(never)]
    fn plain_end_in_last(&self, last: &[u8]) -> usize {
        let begin = self.bytes.len() - last.len();
        let Some(block) = self.bytes.last_chunk() else {
            return begin + last.iter().position(|&byte| matches!(byte, ..b' ' | b'"' | b'\\')).unwrap_or(last.len());
        };
        // A whole block again: what was looked at already is shifted out.
        let special = special_bytes(block) >> (BLOCK - last.len());
        if special == 0 { self.bytes.len() } else { begin + special.trailing_zeros() as usize }
    }

    fn escape(&mut self, at: usize) -> Scan<usize> {
        match escape::read(self.bytes, at) {
            Ok((Escaped::LoneSurrogate, _)) if self.mode == Mode::Strict => {
                Err(self.wrong(JsonErrorKind::LoneSurrogate, at))
            }
            Ok((_, end)) => Ok(end),
            Err(error) => Err(self.wrong(error.kind, error.offset)),
        }
    }

    #[inline(never)]
    fn number(&mut self, begin: usize) -> Scan<usize> {
        let mut at = begin;
        if self.byte(at) == b'-' {
            at += 1;
            if self.rest(at).starts_with(b"Infinity") {
                return self.not_json(NotNumber::NegativeInfinity, begin);
            }
        }
        let leading_zero = self.byte(at) == b'0';
        let whole = at;
        at = self.digits(at)?;
        if leading_zero && at - whole > 1 {
            return Err(self.wrong(JsonErrorKind::BadNumber, begin));
        }
        if self.byte(at) == b'.' {
            at = self.digits(at + 1)?;
        }
        if let b'e' | b'E' = self.byte(at) {
            at += 1;
            if let b'+' | b'-' = self.byte(at) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        Ok(at)
    }

    /// Skips digits: at least one.
    #[inline]
    fn digits(&mut self, begin: usize) -> Scan<usize> {
        let mut at = begin;
        while self.byte(at).is_ascii_digit() {
            at += 1;
        }
        if at == begin { Err(self.unexpected(JsonErrorKind::BadNumber, at)) } else { Ok(at) }
    }

    /// Skips `true`, `false`, `null`; knows the words that are not JSON.
    #[inline(never)]
    fn word(&mut self, at: usize) -> Scan<usize> {
        let rest = self.rest(at);
        for word in ["null", "true", "false"] {
            if rest.starts_with(word.as_bytes()) {
                return Ok(at + word.len());
            }
        }
        for number in [NotNumber::NaN, NotNumber::Infinity] {
            if rest.starts_with(number.token().as_bytes()) {
                return self.not_json(number, at);
            }
        }
        // Tells a word that is cut off by the end of the text from a wrong one.
        let cut = ["null", "true", "false"].iter().any(|word| word.as_bytes().starts_with(rest));
        Err(if cut {
            self.wrong(JsonErrorKind::UnexpectedEnd, self.bytes.len())
        } else {
            self.wrong(JsonErrorKind::ExpectedValue, at)
        })
    }

    #[cold]
    fn not_json(&mut self, number: NotNumber, begin: usize) -> Scan<usize> {
        match self.mode {
            Mode::Strict => Err(self.wrong(JsonErrorKind::NotJson(number), begin)),
            Mode::Lenient => Ok(begin + number.token().len()),
        }
    }

    #[inline(always)] // of every message
    pub(super) fn rest(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..).unwrap_or_default()
    }
}

/// Which of the open brackets are objects: one bit per level, so that depth costs no call stack.
#[derive(Default)]
struct Nesting {
    depth: usize,
    /// The innermost levels, the innermost in the lowest bit.
    bits: u64,
    /// Full groups of outer levels: used only by callers that allow more depth than the wire does.
    outer: Vec<u64>,
}

impl Nesting {
    fn push(&mut self, is_object: bool) {
        if self.depth != 0 && self.depth.is_multiple_of(u64::BITS as usize) {
            self.outer.push(self.bits);
        }
        self.bits = self.bits << 1 | u64::from(is_object);
        self.depth += 1;
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(u64::BITS as usize) {
            self.bits = self.outer.pop().unwrap_or_default();
        }
    }

    /// Whether the innermost level is an object; nothing when all are closed.
    fn top(&self) -> Option<bool> {
        (self.depth != 0).then_some(self.bits & 1 == 1)
    }
}

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// One bit, from the lowest on, for each byte that ends a run: a backslash, a control character or a quote (0x22), and nothing else,
/// is below 0x21 once bit 1 is flipped.
#[inline(always)] // a few instructions
fn special_bytes(block: &[u8; BLOCK]) -> u32 {
    let bytes = u8x16::new(*block);
    let flipped = bytes ^ u8x16::splat(2);
    let control_or_quote = flipped.min(u8x16::splat(0x20)).simd_eq(flipped);
    (control_or_quote | bytes.simd_eq(u8x16::splat(b'\\'))).to_bitmask()
}
