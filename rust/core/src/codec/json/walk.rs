//! Walks over the members of an object or the elements of an array, validating on the way.

use super::error::{JsonError, JsonErrorKind};
use super::scan::{Mode, Scan, Scanner, Wrong};
use super::string::unescape;
use crate::codec::{Codec, Collect, Opened, Value};

/// One member of an object, as it stands in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name with its quotes and escapes.
    pub key: &'a str,
    /// The value without the white space around it.
    pub value: &'a str,
    key_escaped: bool,
}

impl Member<'_> {
    /// Whether the name is `name`, however it is escaped.
    #[inline]
    pub fn key_is(&self, name: &str) -> bool {
        if self.key_escaped {
            return unescape(self.key).is_ok_and(|key| key == name);
        }
        self.key.as_bytes().get(1..self.key.len() - 1) == Some(name.as_bytes())
    }
}

/// Walks the members of an object in their order, duplicates included. What has been passed is valid JSON; so is the
/// whole object once [`Members::next`] has returned none.
#[derive(Debug)]
pub struct Members<'a>(Walk<'a>);

impl<'a> Members<'a> {
    /// Begins at the object at the start of `object`, after white space; it may nest `depth_left` levels, itself included.
    ///
    /// # Errors
    /// It is not an object, or no level is left.
    pub fn new(object: &'a str, depth_left: usize) -> Result<Self, JsonError> {
        Self::with_mode(object, depth_left, Mode::Strict)
    }

    /// As [`Members::new`], with the values that [`super::skip_value_lenient`] takes.
    ///
    /// # Errors
    /// As [`Members::new`].
    pub fn new_lenient(object: &'a str, depth_left: usize) -> Result<Self, JsonError> {
        Self::with_mode(object, depth_left, Mode::Lenient)
    }

    fn with_mode(object: &'a str, depth_left: usize, mode: Mode) -> Result<Self, JsonError> {
        Walk::new(object, depth_left, mode, Brackets::OBJECT).map(Members)
    }

    /// The next member; none after the closing brace.
    ///
    /// # Errors
    /// The first thing that is not JSON, with its offset in the text given to [`Members::new`]; again at each further call.
    #[allow(clippy::should_implement_trait)] // an iterator of results would go on after an error
    #[inline]
    pub fn next(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        self.0.step(|walk, begin| {
            let ((end, key_escaped), value) = walk.scanner.name(begin)?;
            let key = &walk.text[begin..end];
            Ok(Member { key, value: walk.value(value)?, key_escaped })
        })
    }

    /// Offset behind what has been read: behind the closing brace once [`Members::next`] has returned none.
    pub fn end(&self) -> usize {
        self.0.at
    }

    /// Checks that nothing but white space follows the object.
    ///
    /// # Errors
    /// [`JsonErrorKind::TrailingCharacters`].
    pub fn finish(self) -> Result<(), JsonError> {
        finish(self.0.text, self.0.at)
    }
}

/// Reads a whole object at once, which may nest `depth_left` levels and stands alone but for white space.
///
/// # Errors
/// As [`Members::next`] and [`Members::finish`].
#[inline(always)] // of every message
pub(crate) fn read_members<'a>(
    object: &'a str,
    depth_left: usize,
    into: &mut impl Collect<'a>,
) -> Result<(), JsonError> {
    let Walk { text, mut scanner, at, depth_left, .. } = Walk::new(object, depth_left, Mode::Strict, Brackets::OBJECT)?;
    let end = scanner.members(at - 1, |scanner, begin| {
        let (member, value) = match into.guess(Codec::Json, scanner.rest(begin)) {
            Some((member, len)) => (Some(member), scanner.space(begin + len)),
            None => {
                let ((end, escaped), value) = scanner.name(begin)?;
                (into.named(between_quotes(text, begin, end), escaped), value)
            }
        };
        let inside = member.and_then(|member| into.opened(member));
        let end = match (inside, depth_left.checked_sub(1)) {
            (Some(inside), Some(depth_left)) if scanner.byte(value) == b'{' => {
                open(text, scanner, value, depth_left, inside)?
            }
            (inside, _) => {
                inside.map(Opened::close);
                scanner.value(value, depth_left)?
            }
        };
        if let Some(member) = member {
            into.put(member, Value::Json(&text[value..end]));
        }
        Ok(end)
    });
    match end {
        Ok(end) => finish(text, end),
        Err(Wrong) => Err(scanner.error()),
    }
}

/// Reads the object at `begin`, whose values may nest `depth_left` levels, and notes its members.
fn open<'a>(
    text: &'a str,
    scanner: &mut Scanner<'a>,
    begin: usize,
    depth_left: usize,
    inside: &mut Opened<'a>,
) -> Scan<usize> {
    inside.begin();
    scanner.members(begin, |scanner, name| {
        let ((name_end, escaped), value) = scanner.name(name)?;
        let value_end = scanner.value(value, depth_left)?;
        if escaped {
            inside.close();
        } else {
            inside.note(between_quotes(text, name, name_end), Value::Json(&text[value..value_end]));
        }
        Ok(value_end)
    })
}

/// As bytes: what is looked for is ASCII, and where characters begin need not be found out again.
#[inline(always)] // of every message
fn between_quotes(text: &str, begin: usize, end: usize) -> &[u8] {
    text.as_bytes().get(begin + 1..end - 1).unwrap_or_default()
}

/// Walks the elements of an array; like [`Members`].
#[derive(Debug)]
pub struct Elements<'a>(Walk<'a>);

impl<'a> Elements<'a> {
    /// Begins at the array at the start of `array`, after white space; it may nest `depth_left` levels, itself included.
    ///
    /// # Errors
    /// It is not an array, or no level is left.
    pub fn new(array: &'a str, depth_left: usize) -> Result<Self, JsonError> {
        Walk::new(array, depth_left, Mode::Strict, Brackets::ARRAY).map(Elements)
    }

    /// The next element without the white space around it; none after the closing bracket.
    ///
    /// # Errors
    /// As [`Members::next`].
    #[allow(clippy::should_implement_trait)] // an iterator of results would go on after an error
    pub fn next(&mut self) -> Result<Option<&'a str>, JsonError> {
        self.0.step(Walk::value)
    }

    /// Offset behind what has been read: behind the closing bracket once [`Elements::next`] has returned none.
    pub fn end(&self) -> usize {
        self.0.at
    }

    /// Checks that nothing but white space follows the array.
    ///
    /// # Errors
    /// [`JsonErrorKind::TrailingCharacters`].
    pub fn finish(self) -> Result<(), JsonError> {
        finish(self.0.text, self.0.at)
    }
}

/// Checks that only white space is left from `at` on.
pub(super) fn finish(text: &str, at: usize) -> Result<(), JsonError> {
    let at = Scanner::new(text, Mode::Strict).space(at);
    if at == text.len() { Ok(()) } else { Err(JsonError::new(JsonErrorKind::TrailingCharacters, at)) }
}

/// What differs between the two walks in brackets and errors.
#[derive(Debug, Clone, Copy)]
struct Brackets {
    open: u8,
    close: u8,
    not_open: JsonErrorKind,
    not_close: JsonErrorKind,
}

impl Brackets {
    const OBJECT: Brackets = Brackets {
        open: b'{',
        close: b'}',
        not_open: JsonErrorKind::ExpectedObject,
        not_close: JsonErrorKind::ExpectedMemberEnd,
    };
    const ARRAY: Brackets = Brackets {
        open: b'[',
        close: b']',
        not_open: JsonErrorKind::ExpectedArray,
        not_close: JsonErrorKind::ExpectedElementEnd,
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    First,
    Further,
    Ended,
    Failed,
}

#[derive(Debug)]
struct Walk<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    /// Behind what has been read.
    at: usize,
    brackets: Brackets,
    progress: Progress,
    /// Levels that each item may nest.
    depth_left: usize,
}

impl<'a> Walk<'a> {
    #[inline]
    fn new(text: &'a str, depth_left: usize, mode: Mode, brackets: Brackets) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text, mode);
        let at = scanner.space(0);
        let depth_left = match depth_left.checked_sub(1) {
            _ if scanner.byte(at) != brackets.open => Err(scanner.unexpected(brackets.not_open, at)),
            None => Err(scanner.wrong(JsonErrorKind::TooDeep, at)),
            Some(depth_left) => Ok(depth_left),
        };
        match depth_left {
            Ok(depth_left) => Ok(Walk { text, scanner, at: at + 1, brackets, progress: Progress::First, depth_left }),
            Err(Wrong) => Err(scanner.error()),
        }
    }

    /// Goes to the next item and reads it with `read`, which is told where it begins; none at the closing bracket.
    #[inline]
    fn step<T>(&mut self, read: impl FnOnce(&mut Self, usize) -> Scan<T>) -> Result<Option<T>, JsonError> {
        let item = match self.go_on() {
            Ok(Some(begin)) => read(self, begin),
            Ok(None) => return Ok(None),
            Err(Wrong) => Err(Wrong),
        };
        match item {
            Ok(item) => Ok(Some(item)),
            Err(Wrong) => {
                self.progress = Progress::Failed;
                Err(self.scanner.error())
            }
        }
    }

    /// Where the next item begins.
    #[inline]
    fn go_on(&mut self) -> Scan<Option<usize>> {
        let at = self.scanner.space(self.at);
        let byte = self.scanner.byte(at);
        match self.progress {
            Progress::Further if byte == b',' => return Ok(Some(self.scanner.space(at + 1))),
            Progress::First if byte != self.brackets.close => {
                self.progress = Progress::Further;
                return Ok(Some(at));
            }
            Progress::First | Progress::Further if byte == self.brackets.close => {
                self.progress = Progress::Ended;
                self.at = at + 1;
            }
            Progress::First | Progress::Further => return Err(self.scanner.unexpected(self.brackets.not_close, at)),
            Progress::Ended => {}
            Progress::Failed => return Err(Wrong),
        }
        Ok(None)
    }

    /// Reads the value at `begin`.
    #[inline]
    fn value(&mut self, begin: usize) -> Scan<&'a str> {
        self.at = self.scanner.value(begin, self.depth_left)?;
        Ok(&self.text[begin..self.at])
    }
}
