//! Walks over the members of a map, validating on the way.

use super::error::{MsgpackError, MsgpackErrorKind};
use super::scan::{Head, Scanner};
use crate::codec::{Codec, Collect, Opened, Value};
use std::borrow::Cow;

/// One member of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member<'a> {
    /// The name; none when it is no string.
    pub name: Option<Cow<'a, str>>,
    /// The encoded value.
    pub value: &'a [u8],
}

/// Walks the members of a map in their order, duplicates included. What has been passed is valid; so is the whole map once
/// [`Members::next`] has returned none.
#[derive(Debug)]
pub struct Members<'a> {
    bytes: &'a [u8],
    scanner: Scanner<'a>,
    left: usize,
    /// Levels that each value may nest; none: any depth, and any bytes in strings.
    depth_left: Option<usize>,
    failed: Option<MsgpackError>,
}

impl<'a> Members<'a> {
    /// Begins at the map at the start of `map`; it may nest `depth_left` levels, itself included.
    ///
    /// # Errors
    /// It is no map, or no level is left.
    pub fn new(map: &'a [u8], depth_left: usize) -> Result<Self, MsgpackError> {
        let too_deep = MsgpackError::new(MsgpackErrorKind::TooDeep, 0);
        Self::with_depth(map, Some(depth_left.checked_sub(1).ok_or(too_deep)?))
    }

    /// As [`Members::new`], at any depth, with what is no UTF-8 in a name replaced: only to find the invocation id in a
    /// message that is refused.
    ///
    /// # Errors
    /// It is no map.
    pub fn new_lenient(map: &'a [u8]) -> Result<Self, MsgpackError> {
        Self::with_depth(map, None)
    }

    fn with_depth(map: &'a [u8], depth_left: Option<usize>) -> Result<Self, MsgpackError> {
        let mut scanner = Scanner::new(map, 0);
        let Head::Map(left) = scanner.head()? else {
            return Err(MsgpackError::new(MsgpackErrorKind::ExpectedMap, 0));
        };
        Ok(Members { bytes: map, scanner, left, depth_left, failed: None })
    }

    /// The next member; none behind the last.
    ///
    /// # Errors
    /// The first thing that is wrong, with its offset in the bytes given to [`Members::new`]; again at each further call.
    #[allow(clippy::should_implement_trait)] // an iterator of results would go on after an error
    #[inline]
    pub fn next(&mut self) -> Result<Option<Member<'a>>, MsgpackError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let member = self.member();
        self.failed = member.as_ref().err().copied();
        member.map(Some)
    }

    #[inline]
    fn member(&mut self) -> Result<Member<'a>, MsgpackError> {
        let begin = self.scanner.at();
        let mut ahead = self.scanner;
        let name = match (ahead.head()?, self.depth_left) {
            (Head::String(len), Some(_)) => Some(Cow::Borrowed(ahead.text(begin, len)?)),
            (Head::String(len), None) => Some(String::from_utf8_lossy(ahead.payload(len)?)),
            _ => {
                ahead = self.scanner;
                skip(&mut ahead, self.depth_left)?;
                None
            }
        };
        self.scanner = ahead;
        let begin = self.scanner.at();
        skip(&mut self.scanner, self.depth_left)?;
        Ok(Member { name, value: &self.bytes[begin..self.scanner.at()] })
    }

    /// Checks that nothing follows the map.
    ///
    /// # Errors
    /// [`MsgpackErrorKind::TrailingBytes`].
    pub fn finish(self) -> Result<(), MsgpackError> {
        self.scanner.finish()
    }
}

/// Reads a whole map at once, which may nest `depth_left` levels and stands alone. Names that are no strings are passed over.
///
/// # Errors
/// As [`Members::next`] and [`Members::finish`].
pub(crate) fn read_members<'a>(
    map: &'a [u8],
    depth_left: usize,
    into: &mut impl Collect<'a>,
) -> Result<(), MsgpackError> {
    let mut scanner = Scanner::new(map, 0);
    let depth_left = depth_left.checked_sub(1).ok_or(MsgpackError::new(MsgpackErrorKind::TooDeep, 0))?;
    let Head::Map(len) = scanner.head()? else {
        return Err(MsgpackError::new(MsgpackErrorKind::ExpectedMap, 0));
    };
    for _ in 0..len {
        let member = match into.guess(Codec::Msgpack, scanner.rest()) {
            Some((member, len)) => {
                scanner.payload(len)?;
                Some(member)
            }
            None => scanner.name(depth_left)?.and_then(|name| into.named(name, false)),
        };
        let begin = scanner.at();
        match (member.and_then(|member| into.opened(member)), depth_left.checked_sub(1)) {
            (Some(inside), Some(depth_left)) => open(map, &mut scanner, depth_left, inside)?,
            _ => scanner.value(depth_left)?,
        }
        if let Some(member) = member {
            into.put(member, Value::Msgpack(&map[begin..scanner.at()]));
        }
    }
    scanner.finish()
}

/// Skips a value whose items may nest `depth_left` levels; of a map it notes the members.
fn open<'a>(
    bytes: &'a [u8],
    scanner: &mut Scanner<'a>,
    depth_left: usize,
    inside: &mut Opened<'a>,
) -> Result<(), MsgpackError> {
    let begin = *scanner;
    let Head::Map(len) = scanner.head()? else {
        inside.close();
        *scanner = begin;
        return scanner.value(depth_left + 1);
    };
    inside.begin();
    for _ in 0..len {
        let name = scanner.name(depth_left)?;
        let begin = scanner.at();
        scanner.value(depth_left)?;
        if let Some(name) = name {
            inside.note(name, Value::Msgpack(&bytes[begin..scanner.at()]));
        }
    }
    Ok(())
}

/// The elements of a valid array, in their order; of what is none, or broken, those before that.
pub fn elements<'a>(array: &'a [u8], mut each: impl FnMut(&'a [u8])) {
    let mut scanner = Scanner::new(array, 0);
    let Ok(Head::Array(count)) = scanner.head() else { return };
    for _ in 0..count {
        let begin = scanner.at();
        if scanner.value_lenient().is_err() {
            return;
        }
        each(&array[begin..scanner.at()]);
    }
}

fn skip(scanner: &mut Scanner<'_>, depth_left: Option<usize>) -> Result<(), MsgpackError> {
    match depth_left {
        Some(depth_left) => scanner.value(depth_left),
        None => scanner.value_lenient(),
    }
}
