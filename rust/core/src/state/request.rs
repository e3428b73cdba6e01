//! A call of `state::*` as it was understood, whichever store is to serve it.

use super::calls::StateCall;
use super::cursor;
use super::input::{Field, Fields, Items, Keys, Refusal, Texts};
use super::update::Update;
use super::{Condition, Expiry, Stored, Transaction};
use crate::codec::Value;
use crate::error::{WireError, code};
use std::borrow::Cow;

/// What reading a request asks of the store that is to serve it.
pub trait Rules {
    /// The time by which entries expire, Unix ms.
    fn now_ms(&self) -> u64;

    /// Whether a write may be asked for, `durable` or not.
    ///
    /// # Errors
    /// `DURABILITY_UNAVAILABLE`, and `STORAGE_FAILED` when nothing can be written.
    fn check_write(&self, durable: bool) -> Result<(), WireError>;
}

/// One call; texts are borrowed from its input.
#[allow(missing_docs)] // the members have the names of the wire (docs/state.md)
#[derive(Debug)]
pub enum Request<'a> {
    Get { scope: Cow<'a, str>, key: Cow<'a, str>, meta: bool },
    Set(SetOf<'a>),
    Delete { scope: Cow<'a, str>, key: Cow<'a, str>, durable: bool },
    List { scope: Cow<'a, str> },
    ListGroups,
    Update { scope: Cow<'a, str>, key: Cow<'a, str>, update: Update<'a>, expiry: Expiry, durable: bool },
    GetMany { keys: Keys<'a>, meta: bool },
    ListKeys { scope: Cow<'a, str>, prefix: Option<Cow<'a, str>> },
    ListEntries(PageOf<'a>),
    CompareAndSet(Swap<'a>),
    SetMany { transaction: Transaction<'a>, durable: bool },
    DeleteMany { transaction: Transaction<'a>, durable: bool },
    DeleteScope { scope: Cow<'a, str>, durable: bool },
    Transact { transaction: Transaction<'a>, durable: bool },
}

/// `state::set`.
#[derive(Debug)]
pub struct SetOf<'a> {
    /// Scope.
    pub scope: Cow<'a, str>,
    /// Key.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Value<'a>,
    /// When it expires, Unix ms.
    pub expires_at: Option<u64>,
    /// Whether it must be on the disk before the reply leaves.
    pub durable: bool,
}

/// `state::list_entries`.
#[derive(Debug)]
pub struct PageOf<'a> {
    /// Of which scope.
    pub scope: Cow<'a, str>,
    /// Only keys that begin so.
    pub prefix: Option<Cow<'a, str>>,
    /// Only entries with a greater insertion number.
    pub after: Option<u64>,
    /// Entries.
    pub limit: usize,
    /// Bytes of their texts and the commas between them.
    pub bytes_max: usize,
}

/// `state::compare-and-set`.
#[derive(Debug)]
pub struct Swap<'a> {
    /// Scope.
    pub scope: Cow<'a, str>,
    /// Key.
    pub key: Cow<'a, str>,
    /// The value to write.
    pub value: Value<'a>,
    /// When it is written.
    pub condition: Condition<'a>,
    /// When it expires then, Unix ms.
    pub expires_at: Option<u64>,
    /// Whether it must be on the disk before the reply leaves.
    pub durable: bool,
}

impl<'a> Request<'a> {
    /// Reads one call. `data` is its input, `null` when there was none; it has been validated.
    ///
    /// # Errors
    /// `deserialization_error` (the wire's rule 17), `INVALID_CURSOR`, `not_expressible` and those of [`Rules::check_write`].
    #[inline]
    pub fn read(call: StateCall, data: Value<'a>, texts: &'a Texts, rules: &impl Rules) -> Result<Self, WireError> {
        Self::read_fields(call, data, texts, rules).map_err(|refusal| refusal.in_call(call))
    }

    /// A copy of the one value that it writes; none when it writes none, or several, which are copied when it is read.
    pub(crate) fn copy(&self) -> Option<Stored> {
        match self {
            Request::Set(SetOf { value, .. }) | Request::CompareAndSet(Swap { value, .. }) => Some(Stored::of(*value)),
            _ => None,
        }
    }

    #[inline]
    fn read_fields(call: StateCall, data: Value<'a>, texts: &'a Texts, rules: &impl Rules) -> Result<Self, Refusal> {
        let mut input = Fields::new(call.known());
        input.read_input(data, call == StateCall::ListGroups)?;
        match call {
            StateCall::Get => {
                let (scope, key, meta) = get(&input)?;
                Ok(Request::Get { scope, key, meta })
            }
            StateCall::Set => Ok(Request::Set(set(&input, rules)?)),
            StateCall::Delete => {
                let (scope, key) = input.scope_and_key()?;
                Ok(Request::Delete { scope, key, durable: durable(&input, rules)? })
            }
            StateCall::Update => {
                let (scope, key) = input.scope_and_key()?;
                let update = Update::read(texts.ops(&input, "ops")?, "ops")?;
                let expiry = input.expires_at(rules)?.map_or(Expiry::Keep, Expiry::At);
                Ok(Request::Update { scope, key, update, expiry, durable: durable(&input, rules)? })
            }
            _ => Self::read_more(call, &input, texts, rules),
        }
    }

    fn read_more(call: StateCall, input: &Fields<'a>, texts: &'a Texts, rules: &impl Rules) -> Result<Self, Refusal> {
        Ok(match call {
            StateCall::List => Request::List { scope: input.string(Field::Scope)? },
            StateCall::ListKeys => {
                Request::ListKeys { scope: input.string(Field::Scope)?, prefix: input.optional_string(Field::Prefix)? }
            }
            StateCall::ListEntries => Request::ListEntries(page_of(input)?),
            StateCall::GetMany => {
                let own = input.optional_string(Field::Scope)?;
                let keys = Items::required(input, Field::Keys)?.keys(own.as_ref())?;
                Request::GetMany { keys, meta: input.flag(Field::Meta)? }
            }
            StateCall::CompareAndSet => Request::CompareAndSet(swap(input, rules)?),
            StateCall::SetMany => {
                let own = input.optional_string(Field::Scope)?;
                let ops = Items::required(input, Field::Entries)?.entries(own.as_ref(), rules)?;
                let transaction = Transaction { checks: Vec::new(), ops };
                Request::SetMany { transaction, durable: durable(input, rules)? }
            }
            StateCall::DeleteMany => {
                let own = input.optional_string(Field::Scope)?;
                let ops = Items::required(input, Field::Keys)?.deletions(own.as_ref())?;
                let transaction = Transaction { checks: Vec::new(), ops };
                Request::DeleteMany { transaction, durable: durable(input, rules)? }
            }
            StateCall::DeleteScope => {
                let scope = input.string(Field::Scope)?;
                Request::DeleteScope { scope, durable: durable(input, rules)? }
            }
            StateCall::Transact => {
                let transaction = Transaction::read(input, texts, rules)?;
                Request::Transact { transaction, durable: durable(input, rules)? }
            }
            StateCall::ListGroups | StateCall::Get | StateCall::Set | StateCall::Delete | StateCall::Update => {
                Request::ListGroups
            }
        })
    }
}

/// Scope, key and `meta` of `state::get`.
#[inline(always)] // of every other call
pub(super) fn get<'a>(input: &Fields<'a>) -> Result<(Cow<'a, str>, Cow<'a, str>, bool), Refusal> {
    let (scope, key) = input.scope_and_key()?;
    Ok((scope, key, input.flag(Field::Meta)?))
}

/// Reads the input of `state::set`.
#[inline(always)] // of every other call
pub(super) fn set<'a>(input: &Fields<'a>, rules: &impl Rules) -> Result<SetOf<'a>, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    let value = input.required(Field::Value)?;
    let expires_at = input.expires_at(rules)?;
    Ok(SetOf { scope, key, value, expires_at, durable: durable(input, rules)? })
}

/// Reads `durable`, which is the last member of a function that writes, and checks whether it may write.
#[inline]
fn durable(input: &Fields<'_>, rules: &impl Rules) -> Result<bool, Refusal> {
    let durable = input.flag(Field::Durable)?;
    rules.check_write(durable)?;
    Ok(durable)
}

fn swap<'a>(input: &Fields<'a>, rules: &impl Rules) -> Result<Swap<'a>, Refusal> {
    let (scope, key) = input.scope_and_key()?;
    let value = input.required(Field::Value)?;
    let condition = match (input.any(Field::Expected), input.version()?) {
        (Some(_), Some(_)) => return Err(input.one_of(Field::Expected, Field::Version).into()),
        (Some(expected), None) => Condition::Equals(expected),
        (None, Some(version)) => Condition::Version(version),
        (None, None) => Condition::Absent,
    };
    let expires_at = input.expires_at(rules)?;
    Ok(Swap { scope, key, value, condition, expires_at, durable: durable(input, rules)? })
}

fn page_of<'a>(input: &Fields<'a>) -> Result<PageOf<'a>, Refusal> {
    let scope = input.string(Field::Scope)?;
    let prefix = input.optional_string(Field::Prefix)?;
    let after = match input.optional_string(Field::Cursor)? {
        Some(text) => Some(cursor::parse(&text).ok_or_else(|| invalid_cursor(input.any(Field::Cursor)))?),
        None => None,
    };
    let limit = input.integer(Field::Limit, 1..=1000)?.unwrap_or(100) as usize;
    let bytes_max = input.integer(Field::MaxBytes, 1..=16_000_000)?.unwrap_or(1_000_000) as usize;
    Ok(PageOf { scope, prefix, after, limit, bytes_max })
}

#[cold]
fn invalid_cursor(raw: Option<Value<'_>>) -> WireError {
    let shown = raw.unwrap_or(Value::NULL).shown();
    let text = format!("field `cursor`: {shown} is not a cursor of state::list_entries");
    WireError::new(code::INVALID_CURSOR, text)
}
