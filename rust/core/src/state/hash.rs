//! One pass over scope and key gives every hash an operation needs.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::RandomState;

/// Seeded at random for each map: keys come from outside and must not be chosen to collide.
#[derive(Default)]
pub(super) struct Seed(RandomState);

/// The hashes of one (scope, key).
#[derive(Clone, Copy)]
pub(super) struct Hashes {
    pub(super) scope: u64,
    pub(super) entry: u64,
}

impl Seed {
    #[inline]
    pub(super) fn entry(&self, scope: &[u8], key: &[u8]) -> Hashes {
        let mut hasher = self.0.build_hasher();
        hasher.write(scope);
        let scope = hasher.finish();
        hasher.write(key);
        Hashes { scope, entry: hasher.finish() }
    }

    #[inline]
    pub(super) fn scope(&self, scope: &[u8]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(scope);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn separates_scope_from_key_and_processes_from_each_other() {
        let seed = Seed::default();
        let pairs: [(&str, &str); 5] = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("bc", "a")];
        let hashes: HashSet<u64> = pairs.iter().map(|(s, k)| seed.entry(s.as_bytes(), k.as_bytes()).entry).collect();
        assert_eq!(hashes.len(), pairs.len());
        assert_eq!(seed.entry(b"abc", b"k").scope, seed.scope(b"abc"));
        assert_ne!(seed.scope(b"abc"), Seed::default().scope(b"abc"));
    }
}
