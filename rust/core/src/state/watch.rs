//! Which scopes somebody wants changes of.

use hashbrown::HashTable;

/// The watches, counted. Each stripe has its own copy behind its own lock, so that a write needs no second lock to ask.
#[derive(Default)]
pub(super) struct Watches {
    all: u32,
    scopes: HashTable<Watch>,
}

struct Watch {
    scope: Box<str>,
    hash: u64,
    count: u32,
}

impl Watches {
    pub(super) fn add(&mut self, hash: u64, scope: Option<&str>) {
        let Some(scope) = scope else {
            self.all += 1;
            return;
        };
        match self.scopes.find_mut(hash, |watch| *watch.scope == *scope) {
            Some(watch) => watch.count += 1,
            None => {
                let watch = Watch { scope: scope.into(), hash, count: 1 };
                self.scopes.insert_unique(hash, watch, |watch| watch.hash);
            }
        }
    }

    /// Takes one watch back; one that was never added is ignored.
    pub(super) fn remove(&mut self, hash: u64, scope: Option<&str>) {
        let Some(scope) = scope else {
            self.all = self.all.saturating_sub(1);
            return;
        };
        if let Ok(mut watch) = self.scopes.find_entry(hash, |watch| *watch.scope == *scope) {
            watch.get_mut().count -= 1;
            if watch.get().count == 0 {
                watch.remove();
            }
        }
    }

    /// Whether a change in any scope is wanted.
    pub(super) fn any(&self) -> bool {
        self.all > 0 || !self.scopes.is_empty()
    }

    /// Whether a change in `scope` is wanted. Costs two comparisons when nothing is watched.
    #[inline]
    pub(super) fn want(&self, hash: u64, scope: &str) -> bool {
        self.all > 0 || (!self.scopes.is_empty() && self.scopes.find(hash, |watch| *watch.scope == *scope).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_scopes_and_all_apart() {
        let mut watches = Watches::default();
        assert!(!watches.want(1, "a"));
        watches.add(1, Some("a"));
        watches.add(1, Some("a"));
        watches.add(1, Some("same hash"));
        watches.remove(1, Some("a"));
        assert!(watches.want(1, "a") && watches.want(1, "same hash") && !watches.want(1, "b"));
        watches.remove(1, Some("a"));
        watches.remove(1, Some("a"));
        assert!(!watches.want(1, "a"));
        watches.add(0, None);
        assert!(watches.want(1, "b"));
        watches.remove(0, None);
        watches.remove(0, None);
        assert!(!watches.want(1, "b") && watches.want(1, "same hash"));
    }
}
