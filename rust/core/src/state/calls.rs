//! `state::*` from its input to an [`Answer`] (docs/wire.md 17 to 21, docs/state.md).

use super::answer::{Answer, Served};
use super::input::{Field, Fields, Known, Refusal, Texts};
use super::request::{self, PageOf, Request, Rules, SetOf, Swap};
use super::{OpResult, PageRequest, State, Stored, Transacted, Transaction, Written};
use crate::codec::{Opened, Value};
use crate::error::WireError;
use crate::log::Receipt;

macro_rules! calls {
    ($($call:ident $name:literal [$($field:ident)*])*) => {
        /// One of the state functions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum StateCall {
            $(
                #[doc = concat!("`state::", $name, "`")]
                $call,
            )*
        }

        impl StateCall {
            /// Every state function.
            pub const ALL: [StateCall; [$($name),*].len()] = [$(StateCall::$call),*];

            /// The state function with this id.
            #[inline]
            pub fn from_function_id(function_id: &str) -> Option<Self> {
                Self::from_bytes(function_id.as_bytes())
            }

            #[inline]
            fn from_bytes(function_id: &[u8]) -> Option<Self> {
                Some(match function_id.strip_prefix(b"state::")? {
                    $(name if name == $name.as_bytes() => StateCall::$call,)*
                    _ => return None,
                })
            }

            /// The state function that a string names which is written as most write it: without escapes, short; none for any other.
            #[inline]
            pub fn plain(function_id: Value<'_>) -> Option<Self> {
                match function_id {
                    Value::Json(text) => Self::from_bytes(text.as_bytes().strip_prefix(b"\"")?.strip_suffix(b"\"")?),
                    Value::Msgpack([head @ 0xa0..=0xbf, name @ ..]) if usize::from(head & 0x1f) == name.len() => {
                        Self::from_bytes(name)
                    }
                    Value::Msgpack(_) => None,
                }
            }

            /// Its id on the wire.
            pub fn function_id(self) -> &'static str {
                match self {
                    $(StateCall::$call => concat!("state::", $name),)*
                }
            }

            /// The members of its input.
            #[inline]
            pub(super) fn known(self) -> Known {
                match self {
                    $(StateCall::$call => const { Known::of(&[$(Field::$field),*]) },)*
                }
            }
        }
    };
}

calls! {
    Get "get" [Scope Key Meta]
    Set "set" [Scope Key Value Data TtlMs ExpiresAt Durable]
    Delete "delete" [Scope Key Durable]
    List "list" [Scope]
    ListGroups "list_groups" []
    Update "update" [Scope Key Ops TtlMs ExpiresAt Durable]
    GetMany "get_many" [Scope Keys Meta]
    ListKeys "list_keys" [Scope Prefix]
    ListEntries "list_entries" [Scope Prefix Cursor Limit MaxBytes]
    CompareAndSet "compare-and-set" [Scope Key Value Expected Version TtlMs ExpiresAt Durable]
    SetMany "set_many" [Scope Entries Durable]
    DeleteMany "delete_many" [Scope Keys Durable]
    DeleteScope "delete_scope" [Scope Durable]
    Transact "transact" [Checks Ops Durable]
}

impl Rules for State {
    #[inline]
    fn now_ms(&self) -> u64 {
        State::now_ms(self)
    }

    #[inline]
    fn check_write(&self, durable: bool) -> Result<(), WireError> {
        if durable {
            self.log().check_durable()?;
        }
        self.log().check_writable()
    }
}

/// Serves one call. `data` is its input, `null` when there was none; it has been validated.
///
/// # Errors
/// `deserialization_error` (the wire's rule 17), `VALUE_TOO_LARGE` (rule 21), and those of docs/state.md. Then nothing
/// is written.
#[inline]
pub fn serve(state: &State, call: StateCall, data: Value<'_>) -> Result<Served, WireError> {
    serve_opened(state, call, data, &Opened::default())
}

/// As [`serve`], with what is known of the members of `data`.
///
/// # Errors
/// As [`serve`].
#[inline]
pub(crate) fn serve_opened<'a>(
    state: &State,
    call: StateCall,
    data: Value<'a>,
    opened: &Opened<'a>,
) -> Result<Served, WireError> {
    match call {
        // Most calls: not by way of a request, which is large to hand around.
        StateCall::Get | StateCall::Set => {
            get_or_set(state, call, data, opened).map_err(|refusal| refusal.in_call(call))
        }
        _ => serve_request(state, Request::read(call, data, &Texts::default(), state)?, None),
    }
}

#[inline(always)] // of every other call
fn get_or_set<'a>(state: &State, call: StateCall, data: Value<'a>, opened: &Opened<'a>) -> Result<Served, Refusal> {
    let mut input = Fields::new(call.known());
    match opened.members() {
        Some(members) => input.take(members)?,
        None => input.read_input(data, false)?,
    }
    if call == StateCall::Get {
        let (scope, key, meta) = request::get(&input)?;
        return Ok(get(state, &scope, &key, meta));
    }
    let of = request::set(&input, state)?;
    Ok(set(state, &of, Stored::of(of.value))?)
}

#[inline(always)] // of every other call
fn get(state: &State, scope: &str, key: &str, meta: bool) -> Served {
    Served::read(if meta {
        state.entry(scope, key).map_or(Answer::Absent, Answer::Entry)
    } else {
        value(state.get(scope, key))
    })
}

#[inline(always)] // of every other call
fn set(state: &State, of: &SetOf<'_>, new: Stored) -> Result<Served, WireError> {
    let written = state.set(&of.scope, &of.key, new.clone(), of.expires_at)?;
    Ok(served(written, of.durable, |old, _| Answer::Set { old, new }))
}

/// Serves a call that has been read. `copy`: of the value that it writes, if one was made ([`Request::copy`]).
pub(crate) fn serve_request(state: &State, request: Request<'_>, copy: Option<Stored>) -> Result<Served, WireError> {
    let stored = |value| copy.unwrap_or_else(|| Stored::of(value));
    match request {
        Request::Get { scope, key, meta } => Ok(get(state, &scope, &key, meta)),
        Request::Set(of) => set(state, &of, stored(of.value)),
        Request::Delete { scope, key, durable } => {
            Ok(served(state.delete(&scope, &key)?, durable, |old, _| value(old)))
        }
        Request::Update { scope, key, update, expiry, durable } => {
            let written = state.update(&scope, &key, &update, expiry)?;
            Ok(served(written, durable, |updated, _| Answer::Updated(updated)))
        }
        Request::List { scope } => Ok(Served::read(Answer::Values(state.list(&scope)))),
        Request::ListKeys { scope, prefix } => {
            Ok(Served::read(Answer::Keys(state.list_keys(&scope, prefix.as_deref()))))
        }
        Request::ListEntries(PageOf { scope, prefix, after, limit, bytes_max }) => {
            let request = PageRequest { scope: &scope, prefix: prefix.as_deref(), after, limit, bytes_max };
            let page = state.page(request).map_err(|row| row.into_error(bytes_max))?;
            Ok(Served::read(Answer::Page(page)))
        }
        Request::GetMany { keys, meta } => {
            let keys: Vec<(&str, &str)> = keys.iter().map(|(scope, key)| (&**scope, &**key)).collect();
            let entries = state.entries(&keys);
            Ok(Served::read(if meta { Answer::Entries(entries) } else { Answer::ValuesOrNull(entries) }))
        }
        Request::CompareAndSet(Swap { scope, key, value, condition, expires_at, durable }) => {
            let written = state.compare_and_set(&scope, &key, stored(value), &condition, expires_at)?;
            Ok(served(written, durable, |swapped, _| Answer::Swapped(swapped)))
        }
        Request::SetMany { transaction, durable } => {
            let count = transaction.ops.len() as u64;
            let written = state.transact(&transaction)?;
            Ok(served(written, durable, |_, version| Answer::Written { written: count, version }))
        }
        Request::DeleteMany { transaction, durable } => {
            let written = state.transact(&transaction)?;
            Ok(served(written, durable, |outcome, version| Answer::of_deletions(&outcome, version)))
        }
        Request::DeleteScope { scope, durable } => {
            let written = state.delete_scope(&scope)?;
            Ok(served(written, durable, |deleted, version| Answer::Deleted { deleted, version }))
        }
        Request::Transact { transaction, durable } => {
            let written = state.transact(&transaction)?;
            Ok(served(written, durable, |outcome, version| Answer::of_transaction(&transaction, outcome, version)))
        }
        Request::ListGroups => Ok(Served::read(Answer::Groups(state.list_groups()))),
    }
}

fn value(stored: Option<Stored>) -> Answer {
    stored.map_or(Answer::Absent, Answer::Value)
}

/// `answer` is made of the outcome and of the position of the write, if something was written.
#[inline]
fn served<T>(written: Written<T>, durable: bool, answer: impl FnOnce(T, Option<u64>) -> Answer) -> Served {
    let Written { outcome, position, noted } = written;
    let receipt = position.map(|position| Receipt { position, durable });
    Served { answer: answer(outcome, position), receipt, noted }
}

impl Answer {
    /// Of `state::delete_many`.
    pub(crate) fn of_deletions(outcome: &Transacted, version: Option<u64>) -> Self {
        let results = if let Transacted::Committed(results) = outcome { results.as_slice() } else { &[] };
        let deleted = results.iter().filter(|result| matches!(result, OpResult::Deleted(Some(_)))).count() as u64;
        Answer::Deleted { deleted, version }
    }

    /// Of `state::transact`.
    pub(crate) fn of_transaction(transaction: &Transaction<'_>, outcome: Transacted, version: Option<u64>) -> Self {
        match outcome {
            Transacted::Committed(results) => Answer::Committed { results, version },
            Transacted::CheckFailed { index, version } => {
                let name = transaction.checks.get(index).map(|check| name(&check.scope, &check.key));
                let (scope, key) = name.unwrap_or_default();
                Answer::CheckFailed { index, scope, key, version }
            }
            Transacted::OpFailed { index, errors } => {
                let (scope, key) = transaction.ops.get(index).map(|op| name(&op.scope, &op.key)).unwrap_or_default();
                Answer::OpFailed { index, scope, key, errors }
            }
        }
    }
}

fn name(scope: &str, key: &str) -> (Box<str>, Box<str>) {
    (scope.into(), key.into())
}
