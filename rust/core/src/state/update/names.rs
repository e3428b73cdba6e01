//! The member names that an update mentions, each under a small id.

use std::borrow::Cow;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use crate::codec::json::{JsonError, unescape};

/// A name in [`Names`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NameId(u32);

/// All names of one update. Opening an object of a million members remembers only the members with one of these.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    names: Vec<Cow<'a, str>>,
    index: HashTable<NameId>,
    hasher: RandomState,
}

impl<'a> Names<'a> {
    pub(super) fn add(&mut self, name: Cow<'a, str>) -> NameId {
        let hash = self.hasher.hash_one(&*name);
        if let Some(id) = self.index.find(hash, |id| self.names[id.0 as usize] == name) {
            return *id;
        }
        let id = NameId(self.names.len() as u32);
        self.names.push(name);
        self.index.insert_unique(hash, id, |id| self.hasher.hash_one(&*self.names[id.0 as usize]));
        id
    }

    pub(super) fn text(&self, id: NameId) -> &str {
        &self.names[id.0 as usize]
    }

    /// The id of a member's name as it stands in a text, if the update mentions it.
    pub(super) fn find(&self, raw: &str) -> Result<Option<NameId>, JsonError> {
        let name = unescape(raw)?;
        Ok(self.index.find(self.hasher.hash_one(&*name), |id| self.names[id.0 as usize] == name).copied())
    }
}
