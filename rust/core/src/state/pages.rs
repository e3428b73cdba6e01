//! A growing array that never moves or over-allocates what it holds.

use std::ops::{Index, IndexMut};

const PAGE: usize = 64;

/// A dense array in pages of 64: growing allocates one page (no copy of the rest while a stripe is locked, no spare half),
/// and shrinking gives pages back. Indexes are `u32` to keep the links between entries small.
pub(super) struct Pages<T>(Vec<Vec<T>>);

impl<T> Pages<T> {
    pub(super) fn new() -> Self {
        Pages(Vec::new())
    }

    pub(super) fn len(&self) -> u32 {
        self.0.last().map_or(0, |last| (self.0.len() - 1) * PAGE + last.len()) as u32
    }

    /// Adds `item` at index `len()`.
    pub(super) fn push(&mut self, item: T) {
        match self.0.last_mut() {
            Some(last) if last.len() < PAGE => last.push(item),
            // The first page grows by doubling: most stripes of a small store hold a few entries.
            None => self.0.push(vec![item]),
            Some(_) => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(item);
                self.0.push(page);
            }
        }
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let last = self.0.last_mut()?;
        let item = last.pop();
        if last.is_empty() {
            self.0.pop();
        }
        item
    }

    /// Takes out the item at `at`; the last one takes its place.
    pub(super) fn swap_remove(&mut self, at: u32) -> Option<T> {
        let last = self.pop()?;
        if at == self.len() { Some(last) } else { Some(std::mem::replace(&mut self[at], last)) }
    }
}

impl<T> Index<u32> for Pages<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: u32) -> &T {
        &self.0[at as usize / PAGE][at as usize % PAGE]
    }
}

impl<T> IndexMut<u32> for Pages<T> {
    #[inline]
    fn index_mut(&mut self, at: u32) -> &mut T {
        &mut self.0[at as usize / PAGE][at as usize % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vector_across_page_borders() {
        let (mut pages, mut vector) = (Pages::new(), Vec::new());
        for i in 0..300_u32 {
            pages.push(i);
            vector.push(i);
        }
        for step in [0, 64, 63, 128, 7, 290, 1, 1, 1] {
            assert_eq!(pages.swap_remove(step), Some(vector.swap_remove(step as usize)));
            assert_eq!(pages.len() as usize, vector.len());
        }
        for (i, item) in vector.iter().enumerate() {
            assert_eq!(pages[i as u32], *item);
        }
        while let Some(item) = pages.pop() {
            assert_eq!(Some(item), vector.pop());
        }
        assert!(vector.is_empty() && pages.0.is_empty());
        assert_eq!(pages.swap_remove(0), None);
    }
}
