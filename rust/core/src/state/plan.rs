//! What a transaction makes of its keys, worked out on values that were read before anything is written. Knows no store: the
//! striped map commits a plan under its locks, another store as its own means allow.

use super::quotas::check_commit;
use super::stored::Stored;
use super::striped_map::Expiry;
use super::transact::{OpResult, TransactAction, TransactOp};
use super::update::{OpError, Updated};
use crate::error::WireError;
use std::collections::HashMap;

/// One key while a transaction is worked out; `place` is what its store knows of it.
pub(crate) struct Staged<'a, P> {
    pub(crate) scope: &'a str,
    pub(crate) key: &'a str,
    pub(crate) place: P,
    pub(crate) before: Option<Stored>,
    pub(crate) now: Option<Stored>,
    pub(crate) expires_at: Option<u64>,
}

/// A key as it was read: what its store knows of it, and value and expiry unless it is absent.
pub(crate) type Found<P> = (P, Option<(Stored, Option<u64>)>);

/// One thing to do, on a staged key.
pub(crate) enum Step {
    Set { staged: usize, new: Stored, created: bool, expires_at: Option<u64> },
    Delete { staged: usize },
}

impl Step {
    pub(crate) fn staged(&self) -> usize {
        match self {
            Step::Set { staged, .. } | Step::Delete { staged } => *staged,
        }
    }
}

/// Keys and steps in the order in which they came up.
pub(crate) struct Plan<'a, P> {
    pub(crate) staged: Vec<Staged<'a, P>>,
    pub(crate) steps: Vec<Step>,
    by_key: HashMap<(&'a str, &'a str), usize>,
    /// Scopes, keys and values that are set so far.
    bytes: usize,
}

impl<'a, P> Plan<'a, P> {
    pub(crate) fn new() -> Self {
        Plan { staged: Vec::new(), steps: Vec::new(), by_key: HashMap::new(), bytes: 0 }
    }

    /// The staged key; `find` reads it the first time.
    pub(crate) fn stage(&mut self, scope: &'a str, key: &'a str, find: impl FnOnce() -> Found<P>) -> usize {
        if let Some(&staged) = self.by_key.get(&(scope, key)) {
            return staged;
        }
        let (place, found) = find();
        let (before, expires_at) = found.map_or((None, None), |(stored, expires_at)| (Some(stored), expires_at));
        self.staged.push(Staged { scope, key, place, now: before.clone(), before, expires_at });
        self.by_key.insert((scope, key), self.staged.len() - 1);
        self.staged.len() - 1
    }

    /// Works out one operation on its staged key; the inner error is one of its own, which ends the transaction.
    pub(crate) fn step(
        &mut self,
        staged: usize,
        op: &TransactOp<'_>,
        check_value: impl Fn(&Stored) -> Result<(), WireError>,
    ) -> Result<Result<OpResult, Vec<OpError>>, WireError> {
        let old = self.staged[staged].now.clone();
        let (new, expiry, result) = match &op.action {
            TransactAction::Set { value, expires_at } => {
                let result = OpResult::Set { old, new: value.clone() };
                (Some(value.clone()), Expiry::new(*expires_at), result)
            }
            TransactAction::Update { update, expiry } => {
                let applied = update.apply(old.as_ref())?;
                if !applied.errors.is_empty() {
                    return Ok(Err(applied.errors));
                }
                let new = applied.new.clone();
                let wrote = new.is_some();
                let updated = Updated { new: new.clone().or_else(|| old.clone()), old, wrote, errors: Vec::new() };
                (new, *expiry, OpResult::Updated(updated))
            }
            TransactAction::Delete => {
                let result = OpResult::Deleted(self.staged[staged].now.take());
                if old.is_some() {
                    self.staged[staged].expires_at = None;
                    self.steps.push(Step::Delete { staged });
                }
                return Ok(Ok(result));
            }
        };
        if let Some(new) = new {
            check_value(&new)?;
            self.put(staged, new, expiry)?;
        }
        Ok(Ok(result))
    }

    /// A staged key is to have this value, unless all that is set becomes too much by it.
    pub(crate) fn put(&mut self, staged: usize, new: Stored, expiry: Expiry) -> Result<(), WireError> {
        let key = &mut self.staged[staged];
        self.bytes += key.scope.len() + key.key.len() + new.len();
        check_commit(self.bytes)?;
        let expires_at = expiry.after(key.expires_at);
        let created = key.now.replace(new.clone()).is_none();
        key.expires_at = expires_at;
        self.steps.push(Step::Set { staged, new, created, expires_at });
        Ok(())
    }
}
