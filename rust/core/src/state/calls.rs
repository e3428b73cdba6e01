//! `state::*` from JSON text to an [`Answer`] (docs/wire.md 17 to 21, docs/state.md).

use super::answer::{Answer, Served};
use super::cursor;
use super::input::{Field, Fields, Items, Known, Refusal};
use super::update::Update;
use super::{Condition, Expiry, OpResult, PageRequest, State, Stored, Transacted, Transaction, Written};
use crate::codec::json::write_string;
use crate::error::{WireError, code};
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
                Some(match function_id.strip_prefix("state::")? {
                    $($name => StateCall::$call,)*
                    _ => return None,
                })
            }

            /// Its id on the wire.
            pub fn function_id(self) -> &'static str {
                match self {
                    $(StateCall::$call => concat!("state::", $name),)*
                }
            }

            /// The members of its input.
            #[inline]
            fn known(self) -> Known {
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

/// Serves one call. `data` is the JSON text of its input, `null` when there was none; it has been validated.
///
/// # Errors
/// `deserialization_error` (the wire's rule 17), `VALUE_TOO_LARGE` (rule 21), and those of docs/state.md. Then nothing
/// is written.
#[inline]
pub fn serve(state: &State, call: StateCall, data: &str) -> Result<Served, WireError> {
    answer(state, call, data).map_err(|refusal| refusal.in_call(call))
}

#[inline]
fn answer(state: &State, call: StateCall, data: &str) -> Result<Served, Refusal> {
    let mut input = Fields::new(call.known());
    input.read_input(data, call == StateCall::ListGroups)?;
    match call {
        StateCall::Get => get(state, &input),
        StateCall::Set => set(state, &input),
        StateCall::Delete => {
            let (scope, key) = input.scope_and_key()?;
            let durable = durable(state, &input)?;
            Ok(served(state.delete(&scope, &key)?, durable, |old, _| value(old)))
        }
        StateCall::List => Ok(Served::read(Answer::Values(state.list(&input.string(Field::Scope)?)))),
        StateCall::ListGroups => Ok(Served::read(Answer::Groups(state.list_groups()))),
        StateCall::Update => update(state, &input),
        StateCall::GetMany => get_many(state, &input),
        StateCall::ListKeys => {
            let scope = input.string(Field::Scope)?;
            let prefix = input.optional_string(Field::Prefix)?;
            Ok(Served::read(Answer::Keys(state.list_keys(&scope, prefix.as_deref()))))
        }
        StateCall::ListEntries => list_entries(state, &input),
        StateCall::CompareAndSet => compare_and_set(state, &input),
        StateCall::SetMany => set_many(state, &input),
        StateCall::DeleteMany => delete_many(state, &input),
        StateCall::DeleteScope => {
            let scope = input.string(Field::Scope)?;
            let durable = durable(state, &input)?;
            let written = state.delete_scope(&scope)?;
            Ok(served(written, durable, |deleted, version| Answer::Deleted { deleted, version }))
        }
        StateCall::Transact => transact(state, &input),
    }
}

// --- what they have in common --------------------------------------------------------------------------------------

fn value(stored: Option<Stored>) -> Answer {
    stored.map_or(Answer::Absent, Answer::Value)
}

/// Reads `durable`, which is the last member of a function that writes, and checks whether it may write.
#[inline]
fn durable(state: &State, input: &Fields<'_>) -> Result<bool, Refusal> {
    let durable = input.flag(Field::Durable)?;
    if durable {
        state.log().check_durable()?;
    }
    state.log().check_writable()?;
    Ok(durable)
}

/// `answer` is made of the outcome and of the position of the write, if something was written.
#[inline]
fn served<T>(written: Written<T>, durable: bool, answer: impl FnOnce(T, Option<u64>) -> Answer) -> Served {
    let Written { outcome, position, noted } = written;
    let receipt = position.map(|position| Receipt { position, durable });
    Served { answer: answer(outcome, position), receipt, noted }
}

// --- one key -------------------------------------------------------------------------------------------------------

#[inline]
fn get(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    Ok(Served::read(if input.flag(Field::Meta)? {
        state.entry(&scope, &key).map_or(Answer::Absent, Answer::Entry)
    } else {
        value(state.get(&scope, &key))
    }))
}

#[inline]
fn set(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    let value = input.required(Field::Value)?;
    let expires_at = input.expires_at(state)?;
    let durable = durable(state, input)?;
    let new = Stored::new(value);
    let written = state.set(&scope, &key, new.clone(), expires_at)?;
    Ok(served(written, durable, |old, _| Answer::Set { old, new }))
}

#[inline]
fn update(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    let update = Update::read(input.array(Field::Ops)?, "ops")?;
    let expiry = input.expires_at(state)?.map_or(Expiry::Keep, Expiry::At);
    let durable = durable(state, input)?;
    let written = state.update(&scope, &key, &update, expiry)?;
    Ok(served(written, durable, |updated, _| Answer::Updated(updated)))
}

fn compare_and_set(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    let value = input.required(Field::Value)?;
    let condition = match (input.any(Field::Expected), input.version()?) {
        (Some(_), Some(_)) => return Err(input.one_of(Field::Expected, Field::Version).into()),
        (Some(expected), None) => Condition::Equals(expected),
        (None, Some(version)) => Condition::Version(version),
        (None, None) => Condition::Absent,
    };
    let expires_at = input.expires_at(state)?;
    let durable = durable(state, input)?;
    let written = state.compare_and_set(&scope, &key, Stored::new(value), &condition, expires_at)?;
    Ok(served(written, durable, |swapped, _| Answer::Swapped(swapped)))
}

// --- many keys -----------------------------------------------------------------------------------------------------

fn get_many(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let own = input.optional_string(Field::Scope)?;
    let keys = Items::required(input, Field::Keys)?.keys(own.as_deref())?;
    let meta = input.flag(Field::Meta)?;
    let keys: Vec<(&str, &str)> = keys.iter().map(|(scope, key)| (&**scope, &**key)).collect();
    let entries = state.entries(&keys);
    Ok(Served::read(if meta { Answer::Entries(entries) } else { Answer::ValuesOrNull(entries) }))
}

fn list_entries(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let scope = input.string(Field::Scope)?;
    let prefix = input.optional_string(Field::Prefix)?;
    let after = match input.optional_string(Field::Cursor)? {
        Some(text) => Some(cursor::parse(&text).ok_or_else(|| invalid_cursor(input.any(Field::Cursor)))?),
        None => None,
    };
    let limit = input.integer(Field::Limit, 1..=1000)?.unwrap_or(100) as usize;
    let bytes_max = input.integer(Field::MaxBytes, 1..=16_000_000)?.unwrap_or(1_000_000) as usize;
    let request = PageRequest { scope: &scope, prefix: prefix.as_deref(), after, limit, bytes_max };
    match state.page(request) {
        Ok(page) => Ok(Served::read(Answer::Page(page))),
        Err(row) => Err(row_too_large(&row.key, row.bytes, bytes_max).into()),
    }
}

#[cold]
fn invalid_cursor(raw: Option<&str>) -> WireError {
    let text = format!("field `cursor`: {} is not a cursor of state::list_entries", raw.unwrap_or_default());
    WireError::new(code::INVALID_CURSOR, text)
}

#[cold]
fn row_too_large(key: &str, bytes: usize, bytes_max: usize) -> WireError {
    let mut name = Vec::new();
    write_string(&mut name, key);
    let name = String::from_utf8_lossy(&name);
    WireError::new(code::ROW_TOO_LARGE, format!("entry {name} has {bytes} bytes, field `max_bytes` is {bytes_max}"))
}

fn set_many(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let own = input.optional_string(Field::Scope)?;
    let ops = Items::required(input, Field::Entries)?.entries(own.as_deref(), state)?;
    let durable = durable(state, input)?;
    let written = ops.len() as u64;
    let transacted = state.transact(&Transaction { checks: Vec::new(), ops })?;
    Ok(served(transacted, durable, |_, version| Answer::Written { written, version }))
}

fn delete_many(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let own = input.optional_string(Field::Scope)?;
    let ops = Items::required(input, Field::Keys)?.deletions(own.as_deref())?;
    let durable = durable(state, input)?;
    let transacted = state.transact(&Transaction { checks: Vec::new(), ops })?;
    Ok(served(transacted, durable, |outcome, version| {
        let results = if let Transacted::Committed(results) = outcome { results } else { Vec::new() };
        let deleted = results.iter().filter(|result| matches!(result, OpResult::Deleted(Some(_)))).count() as u64;
        Answer::Deleted { deleted, version }
    }))
}

fn transact(state: &State, input: &Fields<'_>) -> Result<Served, Refusal> {
    let transaction = Transaction::read(input, state)?;
    let durable = durable(state, input)?;
    let written = state.transact(&transaction)?;
    Ok(served(written, durable, |outcome, version| match outcome {
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
    }))
}

fn name(scope: &str, key: &str) -> (Box<str>, Box<str>) {
    (scope.into(), key.into())
}
