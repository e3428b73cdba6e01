//! The scanner: decides in one pass, without recursion or allocation, whether a value is JSON and where it ends.
//!
//! It is most of what a message costs, so strings are searched eight bytes at a time, long ones in blocks.

use super::error::{JsonError, JsonErrorKind, NotNumber};
use super::escape::{self, Escaped};

/// Whether what common encoders write wrongly is taken as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Strict,
    /// Takes `NaN`, `Infinity`, `-Infinity` as values and lone surrogate escapes as characters.
    Lenient,
}

/// A position in a text. After an error the position means nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    mode: Mode,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, at: usize, mode: Mode) -> Self {
        Scanner { bytes: text.as_bytes(), at, mode }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Skips white space and returns the byte behind it, which stays unread.
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    /// `kind` here, or that the text has ended.
    pub(super) fn unexpected(&self, kind: JsonErrorKind) -> JsonError {
        let kind = if self.at < self.bytes.len() { kind } else { JsonErrorKind::UnexpectedEnd };
        JsonError::new(kind, self.at)
    }

    /// Skips one value that begins here, after white space, and nests at most `depth_left` levels.
    #[inline]
    pub(super) fn value(&mut self, depth_left: usize) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'{' | b'[') => self.nested(depth_left),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    /// Skips an array or object and all that is in it.
    fn nested(&mut self, depth_left: usize) -> Result<(), JsonError> {
        let mut nesting = Nesting::default();
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.string()?;
                }
                Some(open @ (b'{' | b'[')) => {
                    if nesting.depth == depth_left {
                        return Err(JsonError::new(JsonErrorKind::TooDeep, self.at));
                    }
                    if self.open(open)? {
                        nesting.push(open == b'{');
                        continue;
                    }
                }
                _ => self.value(0)?,
            }
            if !self.close(&mut nesting)? {
                return Ok(());
            }
        }
    }

    /// Skips an opening bracket up to the first value in it; false when there is none, then the closing one is skipped too.
    fn open(&mut self, open: u8) -> Result<bool, JsonError> {
        self.advance();
        match (open, self.peek()) {
            (b'{', Some(b'}')) | (b'[', Some(b']')) => {
                self.advance();
                Ok(false)
            }
            (b'{', _) => {
                self.key()?;
                Ok(true)
            }
            _ => Ok(true),
        }
    }

    /// After a value: skips closing brackets, then a comma and the name that follows it; false when nothing is open any more.
    fn close(&mut self, nesting: &mut Nesting) -> Result<bool, JsonError> {
        while let Some(in_object) = nesting.top() {
            match (self.peek(), in_object) {
                (Some(b','), true) => {
                    self.advance();
                    self.key()?;
                    return Ok(true);
                }
                (Some(b','), false) => {
                    self.advance();
                    return Ok(true);
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    self.advance();
                    nesting.pop();
                }
                (_, true) => return Err(self.unexpected(JsonErrorKind::ExpectedMemberEnd)),
                (_, false) => return Err(self.unexpected(JsonErrorKind::ExpectedElementEnd)),
            }
        }
        Ok(false)
    }

    /// Skips a member's name and colon.
    fn key(&mut self) -> Result<(), JsonError> {
        self.name()?;
        self.colon()
    }

    /// Skips a member's name; whether there are escapes in it.
    #[inline]
    pub(super) fn name(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string(),
            _ => Err(self.unexpected(JsonErrorKind::ExpectedString)),
        }
    }

    /// Skips the colon behind a name.
    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b':') {
            return Err(self.unexpected(JsonErrorKind::ExpectedColon));
        }
        self.advance();
        Ok(())
    }

    /// Skips a string whose opening quote is here; whether there are escapes in it.
    #[inline]
    fn string(&mut self) -> Result<bool, JsonError> {
        /// Longer strings are found faster by [`plain_bytes`].
        const SHORT_WORDS: usize = 4;
        let body = self.bytes.get(self.at + 1..).unwrap_or_default();
        for (index, word) in body.as_chunks::<8>().0.iter().take(SHORT_WORDS).enumerate() {
            let found = special_bytes(u64::from_le_bytes(*word));
            if found != 0 {
                let plain = index * 8 + found.trailing_zeros() as usize / 8;
                if body.get(plain) != Some(&b'"') {
                    break;
                }
                self.at += plain + 2;
                return Ok(false);
            }
        }
        self.unusual_string()
    }

    /// Skips a string that is long, has escapes, ends with the text, or is wrong.
    #[inline(never)]
    fn unusual_string(&mut self) -> Result<bool, JsonError> {
        let mut at = self.at + 1;
        let mut escaped = false;
        loop {
            at += plain_bytes(self.bytes.get(at..).unwrap_or_default());
            match self.bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    at = self.escape(at)?;
                    escaped = true;
                }
                Some(_) => return Err(JsonError::new(JsonErrorKind::ControlCharacter, at)),
                None => return Err(JsonError::new(JsonErrorKind::UnexpectedEnd, at)),
            }
        }
    }

    fn escape(&self, at: usize) -> Result<usize, JsonError> {
        match escape::read(self.bytes, at)? {
            (Escaped::LoneSurrogate, _) if self.mode == Mode::Strict => {
                Err(JsonError::new(JsonErrorKind::LoneSurrogate, at))
            }
            (_, end) => Ok(end),
        }
    }

    fn number(&mut self) -> Result<(), JsonError> {
        let begin = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
            if self.rest().starts_with(b"Infinity") {
                return self.not_json(NotNumber::NegativeInfinity, begin);
            }
        }
        let leading_zero = self.bytes.get(self.at) == Some(&b'0');
        if self.digits()? > 1 && leading_zero {
            return Err(JsonError::new(JsonErrorKind::BadNumber, begin));
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// Skips digits and counts them: at least one.
    fn digits(&mut self) -> Result<usize, JsonError> {
        let begin = self.at;
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
        match self.at - begin {
            0 => Err(self.unexpected(JsonErrorKind::BadNumber)),
            count => Ok(count),
        }
    }

    /// Skips `true`, `false`, `null`; knows the words that are not JSON.
    fn word(&mut self) -> Result<(), JsonError> {
        for word in ["null", "true", "false"] {
            if self.rest().starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        for number in [NotNumber::NaN, NotNumber::Infinity] {
            if self.rest().starts_with(number.token().as_bytes()) {
                return self.not_json(number, self.at);
            }
        }
        Err(self.broken_word())
    }

    /// Tells a word that is cut off by the end of the text from a wrong one.
    fn broken_word(&self) -> JsonError {
        let rest = self.rest();
        let cut = ["null", "true", "false"].iter().any(|word| word.as_bytes().starts_with(rest));
        if cut {
            JsonError::new(JsonErrorKind::UnexpectedEnd, self.bytes.len())
        } else {
            JsonError::new(JsonErrorKind::ExpectedValue, self.at)
        }
    }

    fn not_json(&mut self, number: NotNumber, begin: usize) -> Result<(), JsonError> {
        match self.mode {
            Mode::Strict => Err(JsonError::new(JsonErrorKind::NotJson(number), begin)),
            Mode::Lenient => {
                self.at = begin + number.token().len();
                Ok(())
            }
        }
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
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

/// How many ordinary string bytes `bytes` begins with: up to a quote, a backslash, a control character, or its end.
fn plain_bytes(bytes: &[u8]) -> usize {
    const BLOCK: usize = 32;
    // Without early exit and in bytes, not booleans, so that it is vectorised.
    let ordinary = |block: &&[u8; BLOCK]| block.iter().fold(0, |found, &byte| found | u8::from(is_special(byte))) == 0;
    let blocks = bytes.as_chunks::<BLOCK>().0.iter().take_while(ordinary).count();
    let rest = bytes.get(blocks * BLOCK..).unwrap_or_default();
    let (words, tail) = rest.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special_bytes(u64::from_le_bytes(*word));
        if found != 0 {
            return blocks * BLOCK + index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let tail_plain = tail.iter().position(|&byte| is_special(byte)).unwrap_or(tail.len());
    blocks * BLOCK + words.len() * 8 + tail_plain
}

/// Whether a byte ends a run: a control character or a quote (0x22), and nothing else, is below 0x21 once bit 1 is
/// flipped.
fn is_special(byte: u8) -> bool {
    (byte ^ 2 < 0x21) | (byte == b'\\')
}

/// The high bit of each byte of `word` that [`is_special`]; exact for the lowest one, those above it may be false alarms.
#[inline]
fn special_bytes(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let control_or_quote = (word ^ (ONES * 2)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    (control_or_quote | backslash) & !word & (ONES << 7)
}
