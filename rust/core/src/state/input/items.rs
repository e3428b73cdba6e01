//! Arrays of items, each a span of the input that is read when its turn comes.

use std::borrow::Cow;

use super::Reason;
use super::fields::{Field, Fields, Known};
use crate::codec::Value;
use crate::state::{Rules, Stored, TransactAction, TransactOp};

/// How many items a call may have.
pub(super) const ITEMS_MAX: usize = 1000;

const KEY: Known = Known::of(&[Field::Scope, Field::Key]);
const ENTRY: Known = Known::of(&[Field::Scope, Field::Key, Field::Value, Field::TtlMs, Field::ExpiresAt]);

/// Scope and key of each item.
pub(in crate::state) type Keys<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The items of one array.
pub(in crate::state) struct Items<'a> {
    name: &'static str,
    values: Vec<Value<'a>>,
    /// All there are; beyond [`ITEMS_MAX`] they are only counted.
    count: usize,
}

impl<'a> Items<'a> {
    pub(super) const NONE: Items<'static> = Items { name: "", values: Vec::new(), count: 0 };

    /// Takes the array `name` apart.
    pub(super) fn of(array: Value<'a>, name: &'static str) -> Result<Self, Reason> {
        let mut items = Items { name, values: Vec::new(), count: 0 };
        array.elements(|value| {
            items.count += 1;
            if items.count <= ITEMS_MAX {
                items.values.push(value);
            }
        })?;
        Ok(items)
    }

    /// The items of a required array, as many as there may be.
    pub(in crate::state) fn required(fields: &Fields<'a>, field: Field) -> Result<Self, Reason> {
        let items = Items::of(fields.array(field)?, field.name())?;
        if (1..=ITEMS_MAX).contains(&items.count) { Ok(items) } else { Err(items.wrong_number()) }
    }

    #[cold]
    pub(super) fn wrong_number(&self) -> Reason {
        let Items { name, count, .. } = self;
        Reason::new(format!("field `{name}`: expected 1 to {ITEMS_MAX} items, got {count}"))
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// Reads each item in its turn.
    pub(super) fn read<T, E: From<Reason>>(
        &self,
        known: Known,
        mut read: impl FnMut(usize, &Fields<'a>) -> Result<T, E>,
    ) -> Result<Vec<T>, E> {
        let mut all = Vec::with_capacity(self.values.len());
        for (index, value) in self.values.iter().enumerate() {
            all.push(read(index, &Fields::item(*value, self.name, index, known)?)?);
        }
        Ok(all)
    }

    /// As keys, in `own` scope where they name none.
    pub(in crate::state) fn keys(&self, own: Option<&Cow<'a, str>>) -> Result<Keys<'a>, Reason> {
        self.read(KEY, |_, item| Ok((scope(item, own)?, item.string(Field::Key)?)))
    }

    /// As keys to be removed.
    pub(in crate::state) fn deletions(&self, own: Option<&Cow<'a, str>>) -> Result<Vec<TransactOp<'a>>, Reason> {
        let keys = self.keys(own)?.into_iter();
        Ok(keys.map(|(scope, key)| TransactOp { scope, key, action: TransactAction::Delete }).collect())
    }

    /// As entries to be set.
    pub(in crate::state) fn entries(
        &self,
        own: Option<&Cow<'a, str>>,
        rules: &impl Rules,
    ) -> Result<Vec<TransactOp<'a>>, Reason> {
        self.read(ENTRY, |_, item| {
            let (scope, key) = (scope(item, own)?, item.string(Field::Key)?);
            let value = item.required(Field::Value)?;
            let expires_at = item.expires_at(rules)?;
            Ok(TransactOp { scope, key, action: TransactAction::Set { value: Stored::of(value), expires_at } })
        })
    }
}

fn scope<'a>(item: &Fields<'a>, own: Option<&Cow<'a, str>>) -> Result<Cow<'a, str>, Reason> {
    match (item.optional_string(Field::Scope)?, own) {
        (Some(scope), _) => Ok(scope),
        (None, Some(own)) => Ok(own.clone()),
        (None, None) => Err(item.missing(Field::Scope)),
    }
}
