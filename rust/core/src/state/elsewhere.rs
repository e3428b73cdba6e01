//! What a map that stays empty does when state is kept elsewhere: it knows who watches, and passes changes on.

use super::State;
use super::change::Change;

impl State {
    /// Whether changes of a scope are watched.
    pub(crate) fn is_watched(&self, scope: &str) -> bool {
        let hash = self.map.seed.scope(scope.as_bytes());
        self.map.locked(0).stripe.read().watches.want(hash, scope)
    }

    /// Whether changes of any scope are watched.
    pub(crate) fn is_any_watched(&self) -> bool {
        self.map.locked(0).stripe.read().watches.any()
    }

    /// Notes a change that happened elsewhere, if it is watched; whether it was.
    pub(crate) fn tell(&self, change: Change) -> bool {
        self.log().observe(change.order.0);
        let (at, number) = self.map.address(&change.scope, &change.key);
        let locked = self.map.locked(number);
        let mut stripe = locked.stripe.write();
        let watched = stripe.wants(at);
        if watched {
            self.map.note(&mut stripe, locked, change);
        }
        watched
    }
}
