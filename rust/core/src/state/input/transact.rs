//! `checks` and `ops` of `state::transact`.

use super::fields::{Field, Fields, Known};
use super::items::{ITEMS_MAX, Items};
use super::{Reason, Refusal};
use crate::state::input::Texts;
use crate::state::{Check, Expiry, Rules, Stored, TransactAction, TransactOp, Transaction, Update};

const CHECK: Known = Known::of(&[Field::Scope, Field::Key, Field::Version, Field::Absent]);
/// The members of any type of operation.
const OP: Known =
    Known::of(&[Field::Type, Field::Scope, Field::Key, Field::Value, Field::Ops, Field::TtlMs, Field::ExpiresAt]);

impl<'a> Transaction<'a> {
    /// Reads the members of the input of `state::transact`, all but `durable`.
    pub(in crate::state) fn read(input: &Fields<'a>, texts: &'a Texts, rules: &impl Rules) -> Result<Self, Refusal> {
        let checks = input.optional_array(Field::Checks)?;
        let ops = input.array(Field::Ops)?;
        let checks = checks.map_or(Ok(Items::NONE), |checks| Items::of(checks, Field::Checks.name()))?;
        let ops = Items::of(ops, Field::Ops.name())?;
        if ops.len() == 0 {
            return Err(ops.wrong_number().into());
        }
        let count = checks.len() + ops.len();
        if count > ITEMS_MAX {
            let text = format!("fields `checks` and `ops`: expected at most {ITEMS_MAX} items, got {count}");
            return Err(Reason::new(text).into());
        }
        let checks = checks.read(CHECK, |index, item| check(index, item))?;
        Ok(Transaction { checks, ops: ops.read(OP, |_, item| op(item, texts, rules))? })
    }
}

fn check<'a>(index: usize, item: &Fields<'a>) -> Result<Check<'a>, Reason> {
    let (scope, key) = item.scope_and_key()?;
    let version = item.version()?;
    let absent = item.flag(Field::Absent)?;
    if version.is_some() == absent {
        return Err(Reason::new(format!("field `checks[{index}]`: give `version` or `absent`")));
    }
    Ok(Check { scope, key, version })
}

fn op<'a>(item: &Fields<'a>, texts: &'a Texts, rules: &impl Rules) -> Result<TransactOp<'a>, Refusal> {
    let kind = item.string(Field::Type)?;
    let scope_and_key = || item.scope_and_key();
    let ((scope, key), action) = match &*kind {
        "set" => {
            let place = scope_and_key()?;
            let value = Stored::of(item.required(Field::Value)?);
            (place, TransactAction::Set { value, expires_at: item.expires_at(rules)? })
        }
        "update" => {
            let place = scope_and_key()?;
            let name = item.place_of(Field::Ops);
            let update = Update::read(texts.ops(item, &name)?, &name)?;
            (place, TransactAction::Update { update, expiry: item.expires_at(rules)?.map_or(Expiry::Keep, Expiry::At) })
        }
        "delete" => (scope_and_key()?, TransactAction::Delete),
        _ => {
            let raw = item.required(Field::Type)?;
            let text = format!("unknown type {}, expected one of set, update, delete", raw.shown());
            return Err(item.wrong(Field::Type, &text).into());
        }
    };
    Ok(TransactOp { scope, key, action })
}
