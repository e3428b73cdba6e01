//! A plan on its way into Redis: everything it has seen must still be so, then all of it is written at once. Positions are counted
//! here from the one before, which only Redis knows.

use super::layout::Raw;
use super::resp::Reply;
use super::scripts::Script;
use super::task::{Context, Done, entry, not_ours, number, text};
use crate::error::WireError;
use crate::state::plan::{Found, Plan, Staged, Step};
use crate::state::{Answer, Change, ChangeKind, Rules, Stored, Transaction};
use std::collections::{HashMap, HashSet};

/// What Redis holds of a staged key.
pub(super) struct Seen {
    /// Insertion number, whether or not the entry has expired.
    seq: Option<u64>,
    /// An entry that has expired and is still there: time, insertion number, value.
    due: Option<(u64, u64, Stored)>,
}

impl Seen {
    /// A key for a plan, from the entry that was read.
    pub(super) fn found(raw: Option<Raw<'_>>, now_ms: u64) -> Found<Seen> {
        let seq = raw.map(|raw| raw.seq);
        match raw {
            Some(raw) if raw.is_live(now_ms) => (Seen { seq, due: None }, Some((raw.stored(), raw.expiry()))),
            Some(raw) => (Seen { seq, due: Some((raw.expires_at, raw.seq, raw.stored())) }, None),
            None => (Seen { seq, due: None }, None),
        }
    }
}

/// A commit that was sent.
pub(super) struct Committing {
    answer: Answer,
    /// The commit's position, counted from the one before everything.
    position: u64,
    /// Positions counted in the same way.
    changes: Vec<Change>,
}

impl Committing {
    /// It has happened; `base` is the position before.
    pub(super) fn done(self, base: u64) -> Done {
        let Committing { mut answer, position, mut changes } = self;
        for change in &mut changes {
            change.order.0 += base;
        }
        let at = base + position;
        match &mut answer {
            Answer::Swapped(swapped) => {
                if let Some((_, version)) = &mut swapped.current {
                    *version = at;
                }
            }
            Answer::Written { version, .. } | Answer::Deleted { version, .. } | Answer::Committed { version, .. } => {
                *version = Some(at);
            }
            _ => {}
        }
        Done { answer, written: true, changes }
    }
}

/// The keys that a transaction names, each once, in their order.
pub(super) fn keys<'t>(transaction: &'t Transaction<'_>) -> Vec<(&'t str, &'t str)> {
    let checked = transaction.checks.iter().map(|check| (&*check.scope, &*check.key));
    let changed = transaction.ops.iter().map(|op| (&*op.scope, &*op.key));
    let mut known = HashSet::new();
    checked.chain(changed).filter(|at| known.insert(*at)).collect()
}

/// What was read of a transaction's keys.
pub(super) type SeenKeys<'t, 'r> = HashMap<(&'t str, &'t str), Option<Raw<'r>>>;

pub(super) fn seen<'t, 'r>(
    transaction: &'t Transaction<'_>,
    items: &[Reply<'r>],
) -> Result<SeenKeys<'t, 'r>, WireError> {
    let keys = keys(transaction);
    if keys.len() != items.len() {
        return Err(not_ours());
    }
    keys.into_iter().zip(items).map(|(at, item)| Ok((at, entry(item)?))).collect()
}

/// Sends a plan that has steps. `versions`: scope, key and version (0: absent) of everything it rests on.
pub(super) fn send(
    plan: &Plan<'_, Seen>,
    versions: &[(&str, &str, u64)],
    answer: Answer,
    cx: &Context<'_>,
    out: &mut Vec<u8>,
) -> Committing {
    let now_ms = cx.now_ms();
    let mut touched: Vec<usize> = plan.steps.iter().map(Step::staged).collect();
    touched.sort_unstable();
    touched.dedup();
    let due_order = |staged: usize| plan.staged[staged].place.due.as_ref().map(|(at, seq, _)| (*at, *seq));
    let mut due: Vec<usize> = touched.iter().copied().filter(|staged| due_order(*staged).is_some()).collect();
    due.sort_unstable_by_key(|staged| due_order(*staged));
    let is_past = |staged: &Staged<'_, Seen>| staged.now.is_some() && staged.expires_at.is_some_and(|at| at <= now_ms);
    let past: Vec<usize> = touched.iter().copied().filter(|staged| is_past(&plan.staged[*staged])).collect();
    let position = (due.len() + plan.steps.len()) as u64;

    let seqs = insertions(plan, due.len() as u64);
    let writes = touched.iter().copied().filter_map(|staged| {
        let key = &plan.staged[staged];
        let stays = key.now.as_ref().filter(|_| !is_past(key));
        // What is neither there now nor was there needs nothing.
        (stays.is_some() || key.place.seq.is_some()).then_some((key, stays, seqs[staged]))
    });
    let writes: Vec<_> = writes.collect();
    let count: usize = writes.iter().map(|(_, stays, _)| if stays.is_some() { 8 } else { 3 }).sum();
    let mut command = cx.loaded.call(out, Script::Commit, 2 + 3 * versions.len() + count);
    command.number(position + past.len() as u64).number(versions.len() as u64);
    for (scope, key, version) in versions {
        command.arg(scope).arg(key).number(*version);
    }
    for (key, stays, created) in writes {
        let Some(value) = stays else {
            command.arg("D").arg(key.scope).arg(key.key);
            continue;
        };
        let seq = created.or(key.place.seq).unwrap_or_default();
        command.arg("S").arg(key.scope).arg(key.key).number(position).number(seq);
        command.number(key.expires_at.unwrap_or(0)).arg(if created.is_some() { "1" } else { "0" }).arg(value.raw());
    }
    Committing { answer, position, changes: changes(plan, &due, &past, position, cx) }
}

/// For each staged key the insertion number that it is given, counted from the position before, if it is created.
fn insertions(plan: &Plan<'_, Seen>, due: u64) -> Vec<Option<u64>> {
    let mut seqs = vec![None; plan.staged.len()];
    for (step, index) in plan.steps.iter().zip(1..) {
        if let Step::Set { staged, created: true, .. } = step {
            seqs[*staged] = Some(due + index);
        }
    }
    seqs
}

/// What state triggers may want to know.
fn changes(plan: &Plan<'_, Seen>, due: &[usize], past: &[usize], position: u64, cx: &Context<'_>) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut note = |staged: usize, kind, order, old: Option<Stored>, new| {
        let Staged { scope, key, .. } = plan.staged[staged];
        if cx.state.is_watched(scope) {
            changes.push(Change { scope: scope.into(), key: key.into(), kind, order, old, new });
        }
    };
    for (&staged, at) in due.iter().zip(1..) {
        let old = plan.staged[staged].place.due.as_ref().map(|(_, _, stored)| stored.clone());
        note(staged, ChangeKind::Expired, (at, 0), old, None);
    }
    let mut current: Vec<Option<Stored>> = plan.staged.iter().map(|staged| staged.before.clone()).collect();
    for (step, index) in plan.steps.iter().zip(0..) {
        let staged = step.staged();
        let new = if let Step::Set { new, .. } = step { Some(new.clone()) } else { None };
        let old = std::mem::replace(&mut current[staged], new.clone());
        let kind = match (&old, &new) {
            (None, _) => ChangeKind::Created,
            (Some(_), Some(_)) => ChangeKind::Updated,
            (Some(_), None) => ChangeKind::Deleted,
        };
        note(staged, kind, (position, index), old, new);
    }
    for (&staged, at) in past.iter().zip(position + 1..) {
        note(staged, ChangeKind::Expired, (at, 0), plan.staged[staged].now.clone(), None);
    }
    changes
}

/// What the script answers that removes entries because their time has come: how many, and those that were told.
pub(super) fn expired(items: &[Reply<'_>]) -> Result<(u64, Vec<Change>), WireError> {
    let [Reply::Int(count), Reply::Array(told)] = items else { return Err(not_ours()) };
    let change = |four: &[Reply<'_>]| {
        let Reply::Bulk(position) = &four[0] else { return Err(not_ours()) };
        Ok(Change {
            scope: text(&four[1])?.into(),
            key: text(&four[2])?.into(),
            kind: ChangeKind::Expired,
            order: (number(position)?, 0),
            old: Some(entry(&four[3])?.ok_or_else(not_ours)?.stored()),
            new: None,
        })
    };
    Ok((count.unsigned_abs(), told.chunks_exact(4).map(change).collect::<Result<_, _>>()?))
}
