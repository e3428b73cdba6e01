//! Walks over the members of an object or the elements of an array, validating on the way.

use super::error::{JsonError, JsonErrorKind};
use super::scan::{Mode, Scanner};
use super::string::unescape;

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
        self.0.step(|walk| {
            walk.scanner.peek();
            let begin = walk.scanner.at();
            let key_escaped = walk.scanner.name()?;
            let key = &walk.text[begin..walk.scanner.at()];
            walk.scanner.colon()?;
            Ok(Member { key, value: walk.value()?, key_escaped })
        })
    }

    /// Offset behind what has been read: behind the closing brace once [`Members::next`] has returned none.
    pub fn end(&self) -> usize {
        self.0.scanner.at()
    }

    /// Checks that nothing but white space follows the object.
    ///
    /// # Errors
    /// [`JsonErrorKind::TrailingCharacters`].
    pub fn finish(self) -> Result<(), JsonError> {
        finish(self.0.scanner)
    }
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
        self.0.scanner.at()
    }

    /// Checks that nothing but white space follows the array.
    ///
    /// # Errors
    /// [`JsonErrorKind::TrailingCharacters`].
    pub fn finish(self) -> Result<(), JsonError> {
        finish(self.0.scanner)
    }
}

/// Checks that only white space is left.
pub(super) fn finish(mut scanner: Scanner<'_>) -> Result<(), JsonError> {
    match scanner.peek() {
        None => Ok(()),
        Some(_) => Err(JsonError::new(JsonErrorKind::TrailingCharacters, scanner.at())),
    }
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

#[derive(Debug, Clone, Copy)]
enum Progress {
    First,
    Further,
    Ended,
    Failed(JsonError),
}

#[derive(Debug)]
struct Walk<'a> {
    text: &'a str,
    scanner: Scanner<'a>,
    brackets: Brackets,
    progress: Progress,
    /// Levels that each item may nest.
    depth_left: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, depth_left: usize, mode: Mode, brackets: Brackets) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text, 0, mode);
        if scanner.peek() != Some(brackets.open) {
            return Err(scanner.unexpected(brackets.not_open));
        }
        let Some(depth_left) = depth_left.checked_sub(1) else {
            return Err(JsonError::new(JsonErrorKind::TooDeep, scanner.at()));
        };
        scanner.advance();
        Ok(Walk { text, scanner, brackets, progress: Progress::First, depth_left })
    }

    /// Goes to the next item and reads it with `read`; none at the closing bracket.
    #[inline]
    fn step<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, JsonError>) -> Result<Option<T>, JsonError> {
        let result = self.go_on().and_then(|more| if more { read(self).map(Some) } else { Ok(None) });
        if let Err(error) = result {
            self.progress = Progress::Failed(error);
        }
        result
    }

    fn go_on(&mut self) -> Result<bool, JsonError> {
        match self.progress {
            Progress::Ended => return Ok(false),
            Progress::Failed(error) => return Err(error),
            Progress::First | Progress::Further => {}
        }
        let first = matches!(self.progress, Progress::First);
        self.progress = Progress::Further;
        match self.scanner.peek() {
            Some(byte) if byte == self.brackets.close => {
                self.scanner.advance();
                self.progress = Progress::Ended;
                Ok(false)
            }
            _ if first => Ok(true),
            Some(b',') => {
                self.scanner.advance();
                Ok(true)
            }
            _ => Err(self.scanner.unexpected(self.brackets.not_close)),
        }
    }

    fn value(&mut self) -> Result<&'a str, JsonError> {
        self.scanner.peek();
        let begin = self.scanner.at();
        self.scanner.value(self.depth_left)?;
        Ok(&self.text[begin..self.scanner.at()])
    }
}
