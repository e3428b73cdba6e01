//! What one stripe knows of a scope: the chain of its entries in insertion order.

use std::ops::{Index, IndexMut};

use super::name::Name;
use super::pages::Pages;

/// Ends a chain; no entry or part has this index.
pub(super) const NONE: u32 = u32::MAX;

/// The entries of one scope in one stripe, linked in insertion order. It exists while it has entries.
pub(super) struct ScopePart {
    pub(super) scope: Name,
    pub(super) first: u32,
    pub(super) last: u32,
    /// Entries; 0 in a vacant cell, whose `first` and `last` then link the list of vacant cells.
    pub(super) len: u32,
}

/// All parts of one stripe under stable ids: entries refer to them.
pub(super) struct ScopeParts {
    cells: Pages<ScopePart>,
    /// Head of a doubly linked list, so that vacant cells at the end can be given back at once.
    vacant: u32,
}

impl ScopeParts {
    pub(super) fn new() -> Self {
        ScopeParts { cells: Pages::new(), vacant: NONE }
    }

    /// Adds a part with one entry and returns its id.
    pub(super) fn add(&mut self, scope: &str, entry: u32) -> u32 {
        let part = ScopePart { scope: Name::new(scope), first: entry, last: entry, len: 1 };
        let id = self.vacant;
        if id == NONE {
            self.cells.push(part);
            return self.cells.len() - 1;
        }
        self.unlink_vacant(id);
        self.cells[id] = part;
        id
    }

    /// Gives up a part whose last entry is gone.
    pub(super) fn remove(&mut self, id: u32) {
        let head = self.vacant;
        self.cells[id] = ScopePart { scope: Name::new(""), first: NONE, last: head, len: 0 };
        if head != NONE {
            self.cells[head].first = id;
        }
        self.vacant = id;
        while let Some(last) = self.cells.len().checked_sub(1).filter(|&last| self.cells[last].len == 0) {
            self.unlink_vacant(last);
            self.cells.pop();
        }
    }

    /// All parts, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &ScopePart> {
        (0..self.cells.len()).map(|id| &self.cells[id]).filter(|part| part.len > 0)
    }

    /// Cells in memory, live and vacant.
    #[cfg(test)]
    pub(super) fn cells(&self) -> u32 {
        self.cells.len()
    }

    fn unlink_vacant(&mut self, id: u32) {
        let ScopePart { first: before, last: after, .. } = self.cells[id];
        if after != NONE {
            self.cells[after].first = before;
        }
        if before == NONE { self.vacant = after } else { self.cells[before].last = after }
    }
}

impl Index<u32> for ScopeParts {
    type Output = ScopePart;

    #[inline]
    fn index(&self, id: u32) -> &ScopePart {
        &self.cells[id]
    }
}

impl IndexMut<u32> for ScopeParts {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut ScopePart {
        &mut self.cells[id]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_as_small_as_the_memory_target_needs() {
        assert_eq!(size_of::<ScopePart>(), 40);
    }

    #[test]
    fn ids_stay_and_vacant_cells_are_used_again_or_given_back() {
        let mut parts = ScopeParts::new();
        let ids: Vec<u32> = (0..10).map(|i| parts.add(&i.to_string(), i)).collect();
        for i in [3, 7, 5] {
            parts.remove(ids[i]);
        }
        assert_eq!(parts.iter().count(), 7);
        assert!(parts[ids[9]].scope.is("9"));
        let again: Vec<u32> = (0..3).map(|i| parts.add("x", i)).collect();
        assert_eq!(parts.cells(), 10);
        for id in again {
            assert!([3, 7, 5].contains(&id));
            parts.remove(id);
        }
        for i in [9, 8, 6] {
            parts.remove(ids[i]);
        }
        assert_eq!(parts.cells(), 5);
        for i in [0, 1, 2] {
            parts.remove(ids[i]);
        }
        assert_eq!(parts.cells(), 5);
        parts.remove(ids[4]);
        assert_eq!(parts.cells(), 0);
        assert_eq!(parts.add("new", 0), 0);
    }
}
