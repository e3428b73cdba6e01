//! Where to begin in a long chain: every so many entries of a scope, a mark of its place.

use std::collections::HashMap;

/// Entries between two marks: how far a page may have to walk in each stripe.
const MARK_EVERY: u32 = 256;

/// One entry of a chain.
#[derive(Clone, Copy)]
struct Mark {
    seq: u64,
    slot: u32,
}

#[derive(Default)]
struct List {
    marks: Vec<Mark>,
    /// Entries appended behind the last mark.
    behind: u32,
}

/// The marks of one stripe, by part. Short chains have none.
#[derive(Default)]
pub(super) struct Marks(HashMap<u32, List>);

impl Marks {
    /// An entry was appended to the chain of `part`, which has `len` entries now.
    #[inline]
    pub(super) fn appended(&mut self, part: u32, len: u32, seq: u64, slot: u32) {
        if len >= MARK_EVERY {
            self.append(part, seq, slot);
        }
    }

    fn append(&mut self, part: u32, seq: u64, slot: u32) {
        let list = self.0.entry(part).or_default();
        list.behind += 1;
        if list.behind >= MARK_EVERY || list.marks.is_empty() {
            list.behind = 0;
            list.marks.push(Mark { seq, slot });
        }
    }

    /// An entry was taken out of the chain of `part`; `after` follows it.
    #[inline]
    pub(super) fn removed(&mut self, part: u32, seq: u64, after: Option<(u64, u32)>) {
        let Some(list) = self.0.get_mut(&part) else { return };
        let Ok(at) = list.marks.binary_search_by_key(&seq, |mark| mark.seq) else { return };
        let follows = list.marks.get(at + 1).map(|mark| mark.seq);
        match after {
            Some((seq, slot)) if follows != Some(seq) => list.marks[at] = Mark { seq, slot },
            _ => {
                list.marks.remove(at);
            }
        }
    }

    /// An entry lies in another slot now.
    #[inline]
    pub(super) fn moved(&mut self, part: u32, seq: u64, slot: u32) {
        let Some(list) = self.0.get_mut(&part) else { return };
        if let Ok(at) = list.marks.binary_search_by_key(&seq, |mark| mark.seq) {
            list.marks[at].slot = slot;
        }
    }

    /// The scope is gone.
    pub(super) fn forget(&mut self, part: u32) {
        if !self.0.is_empty() {
            self.0.remove(&part);
        }
    }

    /// The marked slot that is the last one not behind `seq`.
    pub(super) fn before(&self, part: u32, seq: u64) -> Option<u32> {
        let marks = &self.0.get(&part)?.marks;
        let behind = marks.partition_point(|mark| mark.seq <= seq);
        Some(marks[behind.checked_sub(1)?].slot)
    }
}
