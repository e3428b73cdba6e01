//! One call of `state::*` on Redis: what it sends, and what it makes of each reply. Single commands and scripts answer most calls; what has to
//! be worked out on values here (`update`, `compare-and-set`, what names several keys) reads, works out and commits if nothing it has
//! seen was changed meanwhile, and if so, again.

use super::commit::{self, Committing, Seen};
use super::layout::{ENTRIES, Raw};
use super::resp::{Command, Reply};
use super::scripts::{Loaded, Script};
use super::{Caller, page};
use crate::codec::{Kept, Value};
use crate::error::{WireError, code};
use crate::state::plan::Plan;
use crate::state::{
    Answer, Change, ChangeKind, Expiry, Quotas, Request, Rules, SetOf, State, StateCall, Stored, Swap, Swapped, Texts,
    TransactAction, Transacted, Transaction, Updated,
};

/// How often a call is worked out anew because others were faster. In every round of those that compete one gets through.
pub const ATTEMPTS_MAX: u32 = 1000;

/// What a task may ask.
pub(super) struct Context<'c> {
    pub(super) state: &'c State,
    pub(super) quotas: &'c Quotas,
    pub(super) loaded: &'c Loaded,
}

impl Rules for Context<'_> {
    fn now_ms(&self) -> u64 {
        self.state.now_ms()
    }

    fn check_write(&self, durable: bool) -> Result<(), WireError> {
        check_write(durable)
    }
}

/// Redis does not tell when a write is on its disk.
pub(super) fn check_write(durable: bool) -> Result<(), WireError> {
    if !durable {
        return Ok(());
    }
    const TEXT: &str = "field `durable`: this engine keeps state in Redis, whose own persistence (appendonly, \
                        appendfsync) decides what is on a disk";
    Err(WireError::new(code::DURABILITY_UNAVAILABLE, TEXT))
}

/// What a call came to.
pub(super) struct Done {
    pub(super) answer: Answer,
    /// Whether something was written.
    pub(super) written: bool,
    /// What state triggers may want to know.
    pub(super) changes: Vec<Change>,
}

impl Done {
    fn read(answer: Answer) -> Option<Self> {
        Some(Done { answer, written: false, changes: Vec::new() })
    }
}

/// A call that waits for a reply.
pub(super) struct Task {
    pub(super) caller: Caller,
    pub(super) call: StateCall,
    data: Kept,
    attempts: u32,
    committing: Option<Committing>,
}

/// What is told of a reply that no script of ours gives.
pub(super) fn not_ours() -> WireError {
    WireError::new(code::STORAGE_UNAVAILABLE, "what Redis holds was not written by this engine: it is not understood")
}

/// Refuses what may not be written, before anything is looked at.
pub(super) fn check(request: &Request<'_>, quotas: &Quotas) -> Result<(), WireError> {
    match request {
        Request::Set(SetOf { scope, key, value, .. }) | Request::CompareAndSet(Swap { scope, key, value, .. }) => {
            quotas.check_names(scope, key)?;
            quotas.check_value(value.bytes().len())
        }
        Request::Update { scope, key, .. } => quotas.check_names(scope, key),
        Request::SetMany { transaction, .. } | Request::Transact { transaction, .. } => {
            let writes = transaction.ops.iter().filter(|op| !matches!(op.action, TransactAction::Delete));
            writes.into_iter().try_for_each(|op| quotas.check_names(&op.scope, &op.key))
        }
        _ => Ok(()),
    }
}

impl Task {
    pub(super) fn new(caller: Caller, call: StateCall, data: Value<'_>) -> Self {
        Task { caller, call, data: data.kept(), attempts: 0, committing: None }
    }

    /// Bytes of its input, which is kept.
    pub(super) fn kept_bytes(&self) -> usize {
        self.data.size()
    }

    /// Whether the write may have happened although no reply has come.
    pub(super) fn may_have_written(&self) -> bool {
        self.committing.is_some() || matches!(self.call, StateCall::Set | StateCall::Delete | StateCall::DeleteScope)
    }

    /// As [`Self::begin`], once more: Redis has not done anything.
    pub(super) fn begin_again(&mut self, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<(), WireError> {
        self.count_attempt()?;
        self.committing = None;
        self.with_request(cx, |task, request| {
            task.begin(request, cx, out);
            Ok(())
        })
    }

    /// Sends the first command.
    pub(super) fn begin(&mut self, request: &Request<'_>, cx: &Context<'_>, out: &mut Vec<u8>) {
        let now = cx.now_ms();
        let loaded = cx.loaded;
        let told = |told: bool| if told { "1" } else { "0" };
        match request {
            Request::Set(SetOf { scope, key, value, expires_at, .. }) if expires_at.is_none_or(|at| at > now) => {
                let mut command = loaded.call(out, Script::Set, 5);
                command.arg(&**scope).arg(&**key).number(now).number(expires_at.unwrap_or(0));
                command.join(&Stored::pieces(*value));
            }
            Request::Delete { scope, key, .. } => {
                loaded.call(out, Script::Delete, 3).arg(&**scope).arg(&**key).number(now);
            }
            Request::DeleteScope { scope, .. } => {
                let told = told(cx.state.is_watched(scope));
                loaded.call(out, Script::DeleteScope, 3).arg(&**scope).number(now).arg(told);
            }
            Request::List { scope } => {
                Command::new(out, 2).arg("HGETALL").join(&[ENTRIES, scope.as_bytes()]);
            }
            Request::ListGroups => {
                loaded.call(out, Script::Groups, 1).number(now);
            }
            Request::ListKeys { scope, prefix } => {
                let prefix = prefix.as_deref().unwrap_or_default();
                loaded.call(out, Script::Keys, 3).arg(&**scope).number(now).arg(prefix);
            }
            Request::ListEntries(of) => page::ask(of, now, loaded, out),
            Request::GetMany { keys, .. } => read(keys.iter().map(|(scope, key)| (&**scope, &**key)), loaded, out),
            Request::Get { scope, key, .. }
            | Request::Set(SetOf { scope, key, .. })
            | Request::Update { scope, key, .. }
            | Request::CompareAndSet(Swap { scope, key, .. }) => get(scope, key, out),
            Request::SetMany { transaction, .. }
            | Request::DeleteMany { transaction, .. }
            | Request::Transact { transaction, .. } => read(commit::keys(transaction).into_iter(), loaded, out),
        }
    }

    /// Takes a reply in. None: another command was sent and its reply is waited for.
    pub(super) fn advance(
        &mut self,
        reply: Reply<'_>,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Done>, WireError> {
        let Some(committing) = self.committing.take() else { return self.replied(reply, cx, out) };
        let Reply::Array(mut items) = reply else { return Err(not_ours()) };
        if let [Reply::Int(1), Reply::Bulk(base)] = items.as_slice() {
            return Ok(Some(committing.done(number(base)?)));
        }
        if items.first() != Some(&Reply::Int(0)) {
            return Err(not_ours());
        }
        self.count_attempt()?;
        items.remove(0);
        self.replied(Reply::Array(items), cx, out)
    }

    fn count_attempt(&mut self) -> Result<(), WireError> {
        self.attempts += 1;
        if self.attempts < ATTEMPTS_MAX {
            return Ok(());
        }
        let text =
            format!("others changed the same keys {ATTEMPTS_MAX} times before this call could; nothing was written");
        Err(WireError::new(code::STORAGE_UNAVAILABLE, text))
    }

    fn replied(&mut self, reply: Reply<'_>, cx: &Context<'_>, out: &mut Vec<u8>) -> Result<Option<Done>, WireError> {
        self.with_request(cx, |task, request| task.work(request, reply, cx, out))
    }

    /// Reads the call once more.
    fn with_request<T>(
        &mut self,
        cx: &Context<'_>,
        then: impl FnOnce(&mut Self, &Request<'_>) -> Result<T, WireError>,
    ) -> Result<T, WireError> {
        let data = std::mem::replace(&mut self.data, Value::NULL.kept());
        let texts = Texts::default();
        let request = Request::read(self.call, data.value(), &texts, cx);
        let done = request.and_then(|request| then(self, &request));
        self.data = data;
        done
    }

    fn work(
        &mut self,
        request: &Request<'_>,
        reply: Reply<'_>,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Done>, WireError> {
        let now = cx.now_ms();
        Ok(match (request, reply) {
            (Request::Set(SetOf { scope, key, value, .. }), Reply::Array(items)) if items.len() == 3 => {
                Some(was_set(scope, key, *value, &items, cx)?)
            }
            (Request::Delete { scope, key, .. }, Reply::Array(items)) => Some(was_deleted(scope, key, &items, cx)?),
            (Request::DeleteScope { scope, .. }, Reply::Array(items)) => Some(scope_deleted(scope, &items, now)?),
            (Request::List { .. }, Reply::Array(items)) => Done::read(Answer::Values(values(&items, now)?)),
            (Request::ListGroups, Reply::Array(items)) => {
                let mut groups = names(&items)?;
                groups.sort_unstable();
                Done::read(Answer::Groups(groups))
            }
            (Request::ListKeys { .. }, Reply::Array(items)) => Done::read(Answer::Keys(names(&items)?)),
            (Request::ListEntries(of), Reply::Array(items)) => Done::read(Answer::Page(page::read(of, &items)?)),
            (Request::GetMany { meta, .. }, Reply::Array(items)) => {
                let live = |item| Ok(entry(item)?.filter(|raw| raw.is_live(now)).map(|raw| raw.entry()));
                let entries = items.iter().map(live).collect::<Result<_, WireError>>()?;
                Done::read(if *meta { Answer::Entries(entries) } else { Answer::ValuesOrNull(entries) })
            }
            (Request::Set(_) | Request::Update { .. } | Request::CompareAndSet(_), Reply::Array(items)) => {
                self.one(request, items.first().unwrap_or(&Reply::Nil), cx, out)?
            }
            (Request::Set(_) | Request::Update { .. } | Request::CompareAndSet(_), item) => {
                self.one(request, &item, cx, out)?
            }
            (
                Request::SetMany { transaction, .. }
                | Request::DeleteMany { transaction, .. }
                | Request::Transact { transaction, .. },
                Reply::Array(items),
            ) => self.many(transaction, &items, cx, out)?,
            _ => return Err(not_ours()),
        })
    }

    /// Works out a call on one key that has been read.
    fn one(
        &mut self,
        request: &Request<'_>,
        item: &Reply<'_>,
        cx: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Done>, WireError> {
        let now = cx.now_ms();
        let raw = entry(item)?;
        let version = raw.map_or(0, |raw| raw.version);
        let live = raw.filter(|raw| raw.is_live(now)).map(|raw| (raw.stored(), raw.version));
        let old = live.as_ref().map(|(stored, _)| stored.clone());
        let (scope, key, new, answer) = match request {
            Request::Set(SetOf { scope, key, value, expires_at, .. }) => {
                let new = Stored::of(*value);
                let answer = Answer::Set { old, new: new.clone() };
                (scope, key, Some((new, Expiry::new(*expires_at))), answer)
            }
            Request::Update { scope, key, update, expiry, .. } => {
                let applied = update.apply(old.as_ref())?;
                if let Some(new) = &applied.new {
                    cx.quotas.check_value(new.len())?;
                }
                let new = applied.new.clone().map(|new| (new, *expiry));
                let now = applied.new.or_else(|| old.clone());
                let updated = Updated { old, new: now, wrote: new.is_some(), errors: applied.errors };
                (scope, key, new, Answer::Updated(updated))
            }
            Request::CompareAndSet(swap) => {
                let current = live.as_ref().map(|(stored, version)| (stored, *version));
                let holds = swap.condition.holds(current);
                let new = Stored::of(swap.value);
                let is_past = swap.expires_at.is_some_and(|at| at <= now);
                // The version is filled in when it is known.
                let current = if holds { (!is_past).then(|| (new.clone(), 0)) } else { live };
                let answer = Answer::Swapped(Swapped { swapped: holds, current });
                (&swap.scope, &swap.key, holds.then(|| (new, Expiry::new(swap.expires_at))), answer)
            }
            _ => return Err(not_ours()),
        };
        let Some((new, expiry)) = new else { return Ok(Done::read(answer)) };
        let mut plan = Plan::new();
        let staged = plan.stage(scope, key, || Seen::found(raw, now));
        plan.put(staged, new, expiry)?;
        self.committing = Some(commit::send(&plan, &[(scope, key, version)], answer, cx, out));
        Ok(None)
    }

    /// Works out a call on several keys that have been read.
    fn many(
        &mut self,
        transaction: &Transaction<'_>,
        items: &[Reply<'_>],
        cx: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Done>, WireError> {
        let now = cx.now_ms();
        let answered = |outcome, version| match self.call {
            StateCall::SetMany => Answer::Written { written: transaction.ops.len() as u64, version },
            StateCall::DeleteMany => Answer::of_deletions(&outcome, version),
            _ => Answer::of_transaction(transaction, outcome, version),
        };
        let seen = commit::seen(transaction, items)?;
        for (index, check) in transaction.checks.iter().enumerate() {
            let raw = seen.get(&(&*check.scope, &*check.key)).copied().flatten();
            let version = raw.filter(|raw| raw.is_live(now)).map(|raw| raw.version);
            if version != check.version {
                return Ok(Done::read(answered(Transacted::CheckFailed { index, version }, None)));
            }
        }
        let mut plan = Plan::new();
        let mut results = Vec::with_capacity(transaction.ops.len());
        for (index, op) in transaction.ops.iter().enumerate() {
            let raw = seen.get(&(&*op.scope, &*op.key)).copied().flatten();
            let staged = plan.stage(&op.scope, &op.key, || Seen::found(raw, now));
            match plan.step(staged, op, |value| cx.quotas.check_value(value.len()))? {
                Ok(result) => results.push(result),
                Err(errors) => return Ok(Done::read(answered(Transacted::OpFailed { index, errors }, None))),
            }
        }
        let answer = answered(Transacted::Committed(results), None);
        if plan.steps.is_empty() {
            return Ok(Done::read(answer));
        }
        let keys = commit::keys(transaction).into_iter();
        let version = |at: &(&str, &str)| seen.get(at).copied().flatten().map_or(0, |raw| raw.version);
        let versions: Vec<_> = keys.map(|at| (at.0, at.1, version(&at))).collect();
        self.committing = Some(commit::send(&plan, &versions, answer, cx, out));
        Ok(None)
    }
}

// --- commands ------------------------------------------------------------------------------------------------------

/// Asks for one entry.
fn get(scope: &str, key: &str, out: &mut Vec<u8>) {
    Command::new(out, 3).arg("HGET").join(&[ENTRIES, scope.as_bytes()]).arg(key);
}

/// Asks for several at one instant.
fn read<'k>(keys: impl ExactSizeIterator<Item = (&'k str, &'k str)>, loaded: &Loaded, out: &mut Vec<u8>) {
    let mut command = loaded.call(out, Script::Read, 2 * keys.len());
    for (scope, key) in keys {
        command.arg(scope).arg(key);
    }
}

// --- replies -------------------------------------------------------------------------------------------------------

pub(super) fn text<'r>(item: &Reply<'r>) -> Result<&'r str, WireError> {
    let Reply::Bulk(bytes) = item else { return Err(not_ours()) };
    simdutf8::basic::from_utf8(bytes).map_err(|_| not_ours())
}

pub(super) fn number(digits: &[u8]) -> Result<u64, WireError> {
    std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok()).ok_or_else(not_ours)
}

/// An entry, live or not; none when it is absent.
pub(super) fn entry<'r>(item: &Reply<'r>) -> Result<Option<Raw<'r>>, WireError> {
    match item {
        Reply::Nil => Ok(None),
        Reply::Bulk(bytes) => Raw::read(bytes).map(Some).ok_or_else(not_ours),
        _ => Err(not_ours()),
    }
}

fn names(items: &[Reply<'_>]) -> Result<Vec<Box<str>>, WireError> {
    items.iter().map(|item| text(item).map(Into::into)).collect()
}

/// Live values in the order of insertion, from keys and entries in any order.
fn values(items: &[Reply<'_>], now_ms: u64) -> Result<Vec<Stored>, WireError> {
    let mut values = Vec::with_capacity(items.len() / 2);
    for item in items.iter().skip(1).step_by(2) {
        let raw = entry(item)?.ok_or_else(not_ours)?;
        if raw.is_live(now_ms) {
            values.push((raw.seq, raw.value));
        }
    }
    values.sort_unstable_by_key(|&(seq, _)| seq);
    Ok(values.into_iter().map(|(_, value)| Stored::restored(value)).collect())
}

fn was_set(scope: &str, key: &str, value: Value<'_>, items: &[Reply<'_>], cx: &Context<'_>) -> Result<Done, WireError> {
    let [Reply::Bulk(position), old, Reply::Int(due)] = items else { return Err(not_ours()) };
    let (position, before) = (number(position)?, entry(old)?.map(|raw| raw.stored()));
    let (old, due) = if *due == 0 { (before, None) } else { (None, before) };
    let new = Stored::of(value);
    let mut changes = Vec::new();
    if cx.state.is_watched(scope) {
        let change = |kind, order, old, new| Change { scope: scope.into(), key: key.into(), kind, order, old, new };
        if let Some(due) = due {
            changes.push(change(ChangeKind::Expired, (position - 1, 0), Some(due), None));
        }
        let kind = if old.is_some() { ChangeKind::Updated } else { ChangeKind::Created };
        changes.push(change(kind, (position, 0), old.clone(), Some(new.clone())));
    }
    Ok(Done { answer: Answer::Set { old, new }, written: true, changes })
}

fn was_deleted(scope: &str, key: &str, items: &[Reply<'_>], cx: &Context<'_>) -> Result<Done, WireError> {
    let [Reply::Bulk(position), rest @ ..] = items else { return Err(not_ours()) };
    let order = (number(position)?, 0);
    let old = rest.first().map(entry).transpose()?.flatten().map(|raw| raw.stored());
    let Some(old) = old else { return Ok(Done { answer: Answer::Absent, written: false, changes: Vec::new() }) };
    let mut changes = Vec::new();
    if cx.state.is_watched(scope) {
        let (scope, key, kind) = (scope.into(), key.into(), ChangeKind::Deleted);
        changes.push(Change { scope, key, kind, order, old: Some(old.clone()), new: None });
    }
    Ok(Done { answer: Answer::Value(old), written: true, changes })
}

fn scope_deleted(scope: &str, items: &[Reply<'_>], now_ms: u64) -> Result<Done, WireError> {
    let [Reply::Bulk(position), Reply::Int(live), Reply::Int(due), Reply::Array(told)] = items else {
        return Err(not_ours());
    };
    let position = number(position)?;
    let deleted = u64::try_from(*live).map_err(|_| not_ours())?;
    if deleted == 0 {
        return Ok(Done { answer: Answer::Deleted { deleted, version: None }, written: false, changes: Vec::new() });
    }
    let (mut expired, mut gone) = (Vec::new(), Vec::new());
    for pair in told.chunks_exact(2) {
        let (key, raw) = (text(&pair[0])?, entry(&pair[1])?.ok_or_else(not_ours)?);
        if raw.is_live(now_ms) {
            gone.push((raw.seq, key, raw))
        } else {
            expired.push((raw.expires_at, raw.seq, key, raw))
        }
    }
    expired.sort_unstable_by_key(|&(at, seq, ..)| (at, seq));
    gone.sort_unstable_by_key(|&(seq, ..)| seq);
    let first = position.saturating_sub(due.unsigned_abs());
    let change = |key: &str, raw: Raw<'_>, kind, order| Change {
        scope: scope.into(),
        key: key.into(),
        kind,
        order,
        old: Some(raw.stored()),
        new: None,
    };
    let expired = expired.into_iter().zip(first..);
    let mut changes: Vec<Change> =
        expired.map(|((_, _, key, raw), at)| change(key, raw, ChangeKind::Expired, (at, 0))).collect();
    let gone = gone.into_iter().zip(0..);
    changes.extend(gone.map(|((_, key, raw), index)| change(key, raw, ChangeKind::Deleted, (position, index))));
    Ok(Done { answer: Answer::Deleted { deleted, version: Some(position) }, written: true, changes })
}
