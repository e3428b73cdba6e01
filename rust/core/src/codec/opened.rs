//! The members of an object that were seen when the message around it was read: so that they need not be read twice.

use super::{Codec, Value};
use crate::limits::OPENED_MEMBERS_MAX;

/// Who gets the members of an object that is read at once.
pub(crate) trait Collect<'a> {
    /// A member by its name.
    type Member: Copy;
    /// The member whose name, as `codec` writes it (with the quotes and colon of JSON), `rest` begins with, and how long that is; none where that is
    /// not easily told: then the name is read.
    fn guess(&self, codec: Codec, rest: &[u8]) -> Option<(Self::Member, usize)>;
    /// The member of that name, which is UTF-8; `escaped`: with escapes in it.
    fn named(&self, name: &[u8], escaped: bool) -> Option<Self::Member>;
    /// A member's value.
    fn put(&mut self, member: Self::Member, value: Value<'a>);
    /// Where the members of this member are noted, if it is the one that is opened.
    fn opened(&mut self, member: Self::Member) -> Option<&mut Opened<'a>>;
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
