//! The members of an object that were seen when the message around it was read: so that they need not be read twice.

use super::Value;
use crate::limits::OPENED_MEMBERS_MAX;

/// Who gets the members of an object that is read at once.
pub(crate) trait Collect<'a> {
    /// A member: its name in UTF-8, with the escapes that may be in it, and its value.
    fn put(&mut self, name: &'a [u8], name_escaped: bool, value: Value<'a>);
    /// Where the members of the one that is opened are noted.
    fn opened(&mut self) -> &mut Opened<'a>;
}

/// The members of one object in their order, duplicates included; or nothing, when it has to be read by itself: it has more than
/// [`OPENED_MEMBERS_MAX`], or a name with an escape in it.
#[derive(Debug, Clone, Copy)]
pub struct Opened<'a> {
    members: [(&'a [u8], Value<'a>); OPENED_MEMBERS_MAX],
    len: usize,
    is_complete: bool,
}

impl Default for Opened<'_> {
    fn default() -> Self {
        Opened { members: [(b"", Value::NULL); OPENED_MEMBERS_MAX], len: 0, is_complete: false }
    }
}

impl<'a> Opened<'a> {
    /// Begins with an object.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.len = 0;
        self.is_complete = true;
    }

    /// Forgets what was seen.
    #[inline]
    pub(crate) fn close(&mut self) {
        self.is_complete = false;
    }

    /// A member, its name as it is meant, in UTF-8.
    #[inline]
    pub(crate) fn note(&mut self, name: &'a [u8], value: Value<'a>) {
        match self.members.get_mut(self.len) {
            Some(place) => {
                *place = (name, value);
                self.len += 1;
            }
            None => self.close(),
        }
    }

    /// All members of the object, if they are known.
    #[inline]
    pub(crate) fn members(&self) -> Option<&[(&'a [u8], Value<'a>)]> {
        self.members.get(..self.len).filter(|_| self.is_complete)
    }
}
