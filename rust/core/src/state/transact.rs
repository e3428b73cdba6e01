//! Several keys at one instant: the stripes of all of them are locked in ascending order, everything is worked out, and then it is
//! committed as a whole or not at all.

use super::change::ChangeKind;
use super::plan::{Plan, Staged, Step};
use super::quotas::Charge;
use super::stored::Stored;
use super::stripe::{Address, Entry, Found, Stripe};
use super::striped_map::{Expiry, StripedMap, Written, charge};
use super::update::{OpError, Update, Updated};
use crate::error::WireError;
use crate::log::record::Op;
use parking_lot::RwLockWriteGuard;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// What has to hold, and what is done then.
#[derive(Debug, Default)]
pub struct Transaction<'a> {
    /// All of them have to hold.
    pub checks: Vec<Check<'a>>,
    /// Done in this order, each on what those before it have left.
    pub ops: Vec<TransactOp<'a>>,
}

/// One condition.
#[derive(Debug)]
pub struct Check<'a> {
    /// Scope.
    pub scope: Cow<'a, str>,
    /// Key.
    pub key: Cow<'a, str>,
    /// The version that the entry must have; none: it must not be there.
    pub version: Option<u64>,
}

/// One operation.
#[derive(Debug)]
pub struct TransactOp<'a> {
    /// Scope.
    pub scope: Cow<'a, str>,
    /// Key.
    pub key: Cow<'a, str>,
    /// What is done.
    pub action: TransactAction<'a>,
}

/// What an operation does.
#[derive(Debug)]
pub enum TransactAction<'a> {
    /// Stores a value.
    Set {
        /// The value.
        value: Stored,
        /// When it expires, Unix ms.
        expires_at: Option<u64>,
    },
    /// Edits the value.
    Update {
        /// How.
        update: Update<'a>,
        /// When it expires.
        expiry: Expiry,
    },
    /// Removes the key.
    Delete,
}

/// What a transaction came to.
#[derive(Debug, Clone)]
pub enum Transacted {
    /// Everything was done.
    Committed(Vec<OpResult>),
    /// Nothing was done, because of this check.
    CheckFailed {
        /// Which one.
        index: usize,
        /// The version that is there.
        version: Option<u64>,
    },
    /// Nothing was done, because of this operation.
    OpFailed {
        /// Which one.
        index: usize,
        /// Why.
        errors: Vec<OpError>,
    },
}

/// What one operation came to.
#[derive(Debug, Clone)]
pub enum OpResult {
    /// A value was stored.
    Set {
        /// The one before.
        old: Option<Stored>,
        /// The one now.
        new: Stored,
    },
    /// A value was edited.
    Updated(Updated),
    /// A key was removed, if it was there.
    Deleted(Option<Stored>),
}

/// Where a staged key is in the map.
#[derive(Clone, Copy)]
struct Spot<'a> {
    at: Address<'a>,
    stripe: usize,
    /// Time and insertion number of a former entry that has expired and is still there.
    due: Option<(u64, u64)>,
}

type Guards<'m> = BTreeMap<usize, RwLockWriteGuard<'m, Stripe>>;

struct Work<'a, 'm> {
    map: &'m StripedMap,
    guards: Guards<'m>,
    plan: Plan<'a, Spot<'a>>,
    now_ms: u64,
}

impl StripedMap {
    /// Several entries at one instant.
    pub(super) fn entries(&self, keys: &[(&str, &str)]) -> Vec<Option<Entry>> {
        let now_ms = self.now_ms();
        let places: Vec<_> = keys.iter().map(|(scope, key)| self.address(scope, key)).collect();
        let numbers = ascending(places.iter().map(|&(_, stripe)| stripe));
        let guards: BTreeMap<_, _> =
            numbers.into_iter().map(|number| (number, self.locked(number).stripe.read())).collect();
        let entry = |(at, number): (Address<'_>, usize)| {
            let stripe = guards.get(&number)?;
            stripe.find_live(at, now_ms).map(|found| stripe.entry(found))
        };
        places.into_iter().map(entry).collect()
    }

    /// Does all of `transaction` at one instant, or nothing. `check_value` refuses values that are too large.
    pub(super) fn transact(
        &self,
        transaction: &Transaction<'_>,
        check_value: impl Fn(&Stored) -> Result<(), WireError>,
    ) -> Result<Written<Transacted>, WireError> {
        let mut work = Work::new(self, transaction);
        let nothing = |outcome| Ok(Written { outcome, position: None, noted: false });
        for (index, check) in transaction.checks.iter().enumerate() {
            let version = work.version(&check.scope, &check.key);
            if version != check.version {
                return nothing(Transacted::CheckFailed { index, version });
            }
        }
        let mut results = Vec::with_capacity(transaction.ops.len());
        for (index, op) in transaction.ops.iter().enumerate() {
            let staged = work.stage(&op.scope, &op.key);
            match work.plan.step(staged, op, &check_value)? {
                Ok(result) => results.push(result),
                Err(errors) => return nothing(Transacted::OpFailed { index, errors }),
            }
        }
        if work.plan.steps.is_empty() {
            return nothing(Transacted::Committed(results));
        }
        work.charge()?;
        let (position, noted) = work.commit();
        let noted = noted | self.feed_noted();
        Ok(Written { outcome: Transacted::Committed(results), position: Some(position), noted })
    }

    /// Removes all keys of a scope at one instant; how many there were.
    pub(super) fn delete_scope(&self, scope: &str) -> Written<u64> {
        let hash = self.seed.scope(scope.as_bytes());
        let mut guards: Guards<'_> = self.write_all().into_iter().enumerate().collect();
        let now_ms = self.now_ms();
        let (mut live, mut due) = (Vec::new(), Vec::new());
        for (&number, stripe) in &guards {
            let Some(part) = stripe.part(hash, scope) else { continue };
            for (id, slot) in stripe.chain(stripe.parts[part].first) {
                if stripe.is_live(id, now_ms) {
                    live.push((slot.seq, number, slot.key.text()));
                } else {
                    due.push((stripe.expires_at(id), slot.seq, number, slot.key.text()));
                }
            }
        }
        if live.is_empty() {
            return Written { outcome: 0, position: None, noted: false };
        }
        due.sort_unstable();
        live.sort_unstable();
        let mut noted = false;
        for (_, _, number, key) in &due {
            let (at, _) = self.address(scope, key);
            if let Some(stripe) = guards.get_mut(number) {
                noted |= self.expire(stripe, self.locked(*number), at, now_ms).is_some_and(|(_, noted)| noted);
            }
        }
        let commit = self.log.commit(&[Op::DeleteScope { scope }]);
        for (index, (_, number, key)) in live.iter().enumerate() {
            let (at, _) = self.address(scope, key);
            let Some(stripe) = guards.get_mut(number) else { continue };
            let Some(found) = stripe.find(at) else { continue };
            let order = (commit.position, index as u64);
            let (old, watched) = self.take_out(stripe, self.locked(*number), at, found, ChangeKind::Deleted, order);
            self.uncharge(at, old.as_ref());
            noted |= watched;
        }
        Written { outcome: live.len() as u64, position: Some(commit.position), noted: noted | self.feed_noted() }
    }
}

impl<'a, 'm> Work<'a, 'm> {
    /// Locks everything that the transaction names.
    fn new(map: &'m StripedMap, transaction: &'a Transaction<'_>) -> Self {
        let checked = transaction.checks.iter().map(|check| (&check.scope, &check.key));
        let changed = transaction.ops.iter().map(|op| (&op.scope, &op.key));
        let numbers = ascending(checked.chain(changed).map(|(scope, key)| map.address(scope, key).1));
        let guards = numbers.into_iter().map(|number| (number, map.locked(number).stripe.write())).collect();
        let now_ms = map.now_ms();
        Work { map, guards, plan: Plan::new(), now_ms }
    }

    fn version(&self, scope: &str, key: &str) -> Option<u64> {
        let (at, number) = self.map.address(scope, key);
        let stripe = self.guards.get(&number)?;
        stripe.find_live(at, self.now_ms).map(|found| stripe.slots[found.0].version)
    }

    /// The staged key, with what is there now.
    fn stage(&mut self, scope: &'a str, key: &'a str) -> usize {
        let (map, guards, now_ms) = (self.map, &self.guards, self.now_ms);
        self.plan.stage(scope, key, || {
            let (at, stripe) = map.address(scope, key);
            let mut spot = Spot { at, stripe, due: None };
            let found = guards.get(&stripe).and_then(|guard| guard.find(at).map(|found| (guard, found)));
            let Some((guard, found)) = found else { return (spot, None) };
            if guard.is_live(found.0, now_ms) {
                return (spot, Some((guard.stored(found).clone(), guard.expires_at(found.0))));
            }
            spot.due = guard.expires_at(found.0).map(|at| (at, guard.slots[found.0].seq));
            (spot, None)
        })
    }

    /// Counts what all steps together change, or refuses them.
    fn charge(&self) -> Result<(), WireError> {
        if !self.map.usage.counts() {
            return Ok(());
        }
        let mut charges: Vec<Charge<'a>> = Vec::new();
        let mut by_scope: HashMap<&'a str, usize> = HashMap::new();
        for key in &self.plan.staged {
            let one = charge(key.place.at, key.before.as_ref().map(Stored::len), key.now.as_ref().map(Stored::len));
            let index = *by_scope.entry(one.scope).or_insert(charges.len());
            match charges.get_mut(index) {
                Some(charge) => {
                    charge.scope_delta += one.scope_delta;
                    charge.total_delta += one.total_delta;
                }
                None => charges.push(one),
            }
        }
        self.map.usage.charge(&charges)
    }

    /// Commits all steps as one; its position, and whether a watch wants to know.
    fn commit(mut self) -> (u64, bool) {
        let mut noted = false;
        let plan = &self.plan;
        let touched = plan.steps.iter().map(Step::staged);
        let mut due: Vec<_> = touched.filter_map(|staged| Some((plan.staged[staged].place.due?, staged))).collect();
        due.sort_unstable();
        for (_, staged) in due {
            noted |= self.expire(staged);
        }
        let plan = &self.plan;
        let ops: Vec<Op<'_, &Stored>> = plan.steps.iter().map(|step| op(step, &plan.staged)).collect();
        let commit = self.map.log.commit(&ops);
        for (index, step) in plan.steps.iter().enumerate() {
            let index = index as u64;
            let commit = (commit.position, commit.first + index, index);
            noted |= apply(step, self.map, &plan.staged, &mut self.guards, commit);
        }
        for staged in 0..self.plan.staged.len() {
            if let Some(at_ms) = self.plan.staged[staged].expires_at {
                self.map.note_expiry(at_ms);
                noted |= self.expire(staged);
            }
        }
        (commit.position, noted)
    }

    /// Removes a staged key if its time has come.
    fn expire(&mut self, staged: usize) -> bool {
        let Spot { at, stripe, .. } = self.plan.staged[staged].place;
        let Some(guard) = self.guards.get_mut(&stripe) else { return false };
        let expired = self.map.expire(guard, self.map.locked(stripe), at, self.now_ms);
        expired.is_some_and(|(_, noted)| noted)
    }
}

/// Stripes in the order in which they are locked, each once.
fn ascending(stripes: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut numbers: Vec<usize> = stripes.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn op<'s>(step: &'s Step, staged: &'s [Staged<'_, Spot<'_>>]) -> Op<'s, &'s Stored> {
    let Staged { scope, key, .. } = &staged[step.staged()];
    match step {
        Step::Set { new, created, expires_at, .. } => {
            Op::Set { scope, key, value: new, created: *created, expires_at: *expires_at }
        }
        Step::Delete { .. } => Op::Delete { scope, key },
    }
}

/// Does a step; `commit` is its position, the insertion number of what it creates, and its place in the commit.
fn apply(
    step: &Step,
    map: &StripedMap,
    staged: &[Staged<'_, Spot<'_>>],
    guards: &mut Guards<'_>,
    commit: (u64, u64, u64),
) -> bool {
    let Spot { at, stripe: number, .. } = staged[step.staged()].place;
    let Some(stripe) = guards.get_mut(&number) else { return false };
    let locked = map.locked(number);
    let found: Option<Found> = stripe.find(at);
    match (step, found) {
        (Step::Set { new, expires_at, .. }, found) => {
            map.place(stripe, locked, at, found, new.clone(), *expires_at, commit).1
        }
        (Step::Delete { .. }, Some(found)) => {
            map.take_out(stripe, locked, at, found, ChangeKind::Deleted, (commit.0, commit.2)).1
        }
        (Step::Delete { .. }, None) => false,
    }
}
