//! When the entries of one stripe expire: a heap that knows each entry's place in it, so that an expiry can be moved or taken back.

use super::pages::Pages;
use super::scope_part::NONE;
use super::stripe::Slot;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// One entry's end. Ordered by time, then by insertion.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer {
    /// Unix ms.
    pub(super) at: u64,
    pub(super) seq: u64,
    pub(super) slot: u32,
}

/// A binary min-heap; `Slot::timer` is an entry's index in it.
#[derive(Default)]
pub(super) struct Timers(Vec<Timer>);

impl Timers {
    /// The first entry to expire.
    pub(super) fn first(&self) -> Option<Timer> {
        self.0.first().copied()
    }

    pub(super) fn at(&self, index: u32) -> Option<u64> {
        self.0.get(index as usize).map(|timer| timer.at)
    }

    /// The first `count_max` that expire up to `now_ms`, in their order.
    pub(super) fn due(&self, now_ms: u64, count_max: usize) -> Vec<Timer> {
        let candidate =
            |index: usize| self.0.get(index).filter(|timer| timer.at <= now_ms).map(|timer| Reverse((*timer, index)));
        let mut due = Vec::new();
        let mut candidates: BinaryHeap<_> = candidate(0).into_iter().collect();
        while due.len() < count_max
            && let Some(Reverse((timer, index))) = candidates.pop()
        {
            due.push(timer);
            candidates.extend([2 * index + 1, 2 * index + 2].into_iter().filter_map(candidate));
        }
        due
    }

    /// Sets, moves or (with `None`) takes back the expiry of `slot`.
    pub(super) fn set(&mut self, slots: &mut Pages<Slot>, slot: u32, at: Option<u64>) {
        let index = slots[slot].timer;
        match at {
            None if index == NONE => {}
            None => self.remove(slots, index),
            Some(at) => {
                let timer = Timer { at, seq: slots[slot].seq, slot };
                let index = if index == NONE {
                    self.0.push(timer);
                    self.0.len() - 1
                } else {
                    self.0[index as usize] = timer;
                    index as usize
                };
                self.settle(slots, index);
            }
        }
    }

    /// The entry at `index` lies in another slot now.
    pub(super) fn moved(&mut self, index: u32, slot: u32) {
        if let Some(timer) = self.0.get_mut(index as usize) {
            timer.slot = slot;
        }
    }

    fn remove(&mut self, slots: &mut Pages<Slot>, index: u32) {
        let removed = self.0.swap_remove(index as usize);
        slots[removed.slot].timer = NONE;
        if (index as usize) < self.0.len() {
            self.settle(slots, index as usize);
        }
    }

    /// Moves the timer at `index` up or down to where it belongs.
    fn settle(&mut self, slots: &mut Pages<Slot>, mut index: usize) {
        while index > 0 && self.0[index] < self.0[(index - 1) / 2] {
            self.swap(slots, index, (index - 1) / 2);
            index = (index - 1) / 2;
        }
        loop {
            let children = [2 * index + 1, 2 * index + 2];
            let smallest =
                children.into_iter().filter(|&child| child < self.0.len()).min_by_key(|&child| self.0[child]);
            match smallest {
                Some(child) if self.0[child] < self.0[index] => {
                    self.swap(slots, index, child);
                    index = child;
                }
                _ => break,
            }
        }
        slots[self.0[index].slot].timer = index as u32;
    }

    fn swap(&mut self, slots: &mut Pages<Slot>, a: usize, b: usize) {
        self.0.swap(a, b);
        slots[self.0[a].slot].timer = a as u32;
        slots[self.0[b].slot].timer = b as u32;
    }
}
