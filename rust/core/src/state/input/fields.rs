//! The known members of one object, each by its name, and what their values may be.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::Reason;
use crate::codec::json::{JsonKind, Members, unescape};
use crate::codec::{Kind, Value, msgpack};
use crate::limits::JSON_DEPTH_MAX;
use crate::state::Rules;

/// A hundred years.
const TTL_MS: RangeInclusive<u64> = 1..=3_153_600_000_000;
/// Up to the largest number that is exact everywhere.
const EXPIRES_AT: RangeInclusive<u64> = 0..=9_007_199_254_740_991;
const VERSION: RangeInclusive<u64> = 1..=9_007_199_254_740_991;

macro_rules! fields {
    ($($field:ident $name:literal $slot:literal)*) => {
        /// A member that some function knows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(in crate::state) enum Field {
            $($field,)*
        }

        impl Field {
            pub(super) fn name(self) -> &'static str {
                match self {
                    $(Field::$field => $name,)*
                }
            }

            #[inline]
            fn named(name: &[u8]) -> Option<Self> {
                Some(match name {
                    $(name if name == $name.as_bytes() => Field::$field,)*
                    _ => return None,
                })
            }

            /// Where its value is kept: fields that no object has together may share a place.
            #[inline]
            const fn slot(self) -> usize {
                match self {
                    $(Field::$field => $slot,)*
                }
            }
        }
    };
}

fields! {
    Scope "scope" 0
    Key "key" 1
    Value "value" 2
    Ops "ops" 3
    Data "data" 2
    Keys "keys" 2
    Entries "entries" 2
    Prefix "prefix" 2
    Checks "checks" 2
    Expected "expected" 3
    Cursor "cursor" 3
    Version "version" 4
    Limit "limit" 4
    Type "type" 4
    MaxBytes "max_bytes" 5
    Absent "absent" 5
    TtlMs "ttl_ms" 5
    ExpiresAt "expires_at" 6
    Meta "meta" 7
    Durable "durable" 7
}

const SLOTS: usize = 8;

/// The members that an object may have; others are ignored.
#[derive(Debug, Clone, Copy)]
pub(in crate::state) struct Known(u32);

impl Known {
    /// Does not compile when two of `fields` share a place.
    pub(in crate::state) const fn of(fields: &[Field]) -> Self {
        let (mut bits, mut slots) = (0, 0);
        let mut at = 0;
        while at < fields.len() {
            let slot = 1 << fields[at].slot();
            assert!(slots & slot == 0 || matches!(fields[at], Field::Data));
            bits |= 1 << fields[at] as u32;
            slots |= slot;
            at += 1;
        }
        Known(bits)
    }

    #[inline]
    fn has(self, field: Field) -> bool {
        self.0 & 1 << field as u32 != 0
    }
}

/// Where an object stands, for error texts: the input itself, or an item of one of its arrays.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Input,
    Item { array: &'static str, index: usize },
}

impl Place {
    /// How texts name a member.
    #[cold]
    fn name(self, field: Field) -> Cow<'static, str> {
        match self {
            Place::Input => field.name().into(),
            Place::Item { array, index } => format!("{array}[{index}].{}", field.name()).into(),
        }
    }
}

/// The members of an object that are known, in the codec it came in.
pub(in crate::state) struct Fields<'a> {
    known: Known,
    place: Place,
    values: [Option<Value<'a>>; SLOTS],
}

impl<'a> Fields<'a> {
    /// For the whole input of a function; nothing is read yet.
    #[inline]
    pub(in crate::state) fn new(known: Known) -> Self {
        Fields { known, place: Place::Input, values: [None; SLOTS] }
    }

    /// Reads `data`, the whole input of a function. `null` is as `{}` when `or_null`.
    #[inline(always)] // of every call
    pub(in crate::state) fn read_input(&mut self, data: Value<'a>, or_null: bool) -> Result<(), Reason> {
        let data = match data {
            Value::Json(text) => Value::Json(text.trim_start_matches([' ', '\t', '\n', '\r'])),
            Value::Msgpack(_) => data,
        };
        match data.kind() {
            Kind::Common(JsonKind::Object) => self.read(data),
            Kind::Common(JsonKind::Null) if or_null => Ok(()),
            other => Err(Reason::new(format!("invalid type: {}, expected an object", other.name()))),
        }
    }

    /// Takes the members of the whole input of a function, which are known already.
    #[inline]
    pub(in crate::state) fn take(&mut self, members: &[(&'a [u8], Value<'a>)]) -> Result<(), Reason> {
        for &(name, value) in members {
            self.put(name, value)?;
        }
        Ok(())
    }

    /// Reads item `index` of the array `array`.
    pub(super) fn item(item: Value<'a>, array: &'static str, index: usize, known: Known) -> Result<Self, Reason> {
        if !item.is(JsonKind::Object) {
            return Err(Reason::field_type(&format!("{array}[{index}]"), item, "an object"));
        }
        let place = Place::Item { array, index };
        let mut fields = Fields { known, place, values: [None; SLOTS] };
        fields.read(item)?;
        Ok(fields)
    }

    #[inline]
    fn read(&mut self, object: Value<'a>) -> Result<(), Reason> {
        match object {
            Value::Json(object) => self.read_json(object),
            Value::Msgpack(map) => self.read_msgpack(map),
        }
    }

    #[inline]
    fn read_json(&mut self, object: &'a str) -> Result<(), Reason> {
        let mut members = Members::new(object, JSON_DEPTH_MAX)?;
        while let Some(member) = members.next()? {
            // Written plainly, as all encoders do; a name with an escape in it costs a second look.
            let plain = &member.key[1..member.key.len() - 1];
            let value = Value::Json(member.value);
            if !self.put(plain.as_bytes(), value)?
                && let Cow::Owned(name) = unescape(member.key)?
            {
                self.put(name.as_bytes(), value)?;
            }
        }
        Ok(members.finish()?)
    }

    #[inline]
    fn read_msgpack(&mut self, map: &'a [u8]) -> Result<(), Reason> {
        // Validated at the door: it is walked without looking into values again.
        let mut members = msgpack::Members::new_lenient(map)?;
        while let Some(member) = members.next()? {
            if let Some(name) = member.name {
                self.put(name.as_bytes(), Value::Msgpack(member.value))?;
            }
        }
        Ok(())
    }

    /// Takes a member that is known; false for others.
    #[inline]
    fn put(&mut self, name: &[u8], value: Value<'a>) -> Result<bool, Reason> {
        let Some(field) = Field::named(name).filter(|field| self.known.has(*field)) else { return Ok(false) };
        let field = if field == Field::Data { Field::Value } else { field };
        if self.values[field.slot()].replace(value).is_some() {
            return Err(self.duplicate(field));
        }
        Ok(true)
    }

    #[cold]
    fn duplicate(&self, field: Field) -> Reason {
        let name = self.place.name(field);
        Reason::new(match self.place {
            Place::Input => format!("duplicate field `{name}`"),
            Place::Item { .. } => format!("field `{name}`: duplicate"),
        })
    }

    /// A member of any type, null included.
    pub(in crate::state) fn any(&self, field: Field) -> Option<Value<'a>> {
        self.values[field.slot()]
    }

    /// A member whose null is as nothing.
    fn optional(&self, field: Field) -> Option<Value<'a>> {
        self.any(field).filter(|value| !value.is(JsonKind::Null))
    }

    pub(in crate::state) fn required(&self, field: Field) -> Result<Value<'a>, Reason> {
        self.any(field).ok_or_else(|| self.missing(field))
    }

    #[cold]
    pub(super) fn missing(&self, field: Field) -> Reason {
        Reason::new(format!("missing field `{}`", self.place.name(field)))
    }

    #[cold]
    fn wrong_type(&self, field: Field, value: Value<'_>, expected: &str) -> Reason {
        Reason::field_type(&self.place.name(field), value, expected)
    }

    /// Something is wrong with one member.
    #[cold]
    pub(super) fn wrong(&self, field: Field, text: &str) -> Reason {
        Reason::new(format!("field `{}`: {text}", self.place.name(field)))
    }

    #[inline]
    pub(in crate::state) fn string(&self, field: Field) -> Result<Cow<'a, str>, Reason> {
        let value = self.required(field)?;
        value.string().ok_or_else(|| self.wrong_type(field, value, "a string"))
    }

    pub(in crate::state) fn optional_string(&self, field: Field) -> Result<Option<Cow<'a, str>>, Reason> {
        self.optional(field).map(|_| self.string(field)).transpose()
    }

    #[inline]
    pub(in crate::state) fn scope_and_key(&self) -> Result<(Cow<'a, str>, Cow<'a, str>), Reason> {
        Ok((self.string(Field::Scope)?, self.string(Field::Key)?))
    }

    /// An array.
    pub(in crate::state) fn array(&self, field: Field) -> Result<Value<'a>, Reason> {
        let value = self.required(field)?;
        if !value.is(JsonKind::Array) {
            return Err(self.wrong_type(field, value, "an array"));
        }
        Ok(value)
    }

    pub(super) fn optional_array(&self, field: Field) -> Result<Option<Value<'a>>, Reason> {
        self.optional(field).map(|_| self.array(field)).transpose()
    }

    /// A boolean that is false when it is not there.
    #[inline]
    pub(in crate::state) fn flag(&self, field: Field) -> Result<bool, Reason> {
        let Some(value) = self.optional(field) else { return Ok(false) };
        value.boolean().ok_or_else(|| self.wrong_type(field, value, "a boolean"))
    }

    pub(in crate::state) fn integer(&self, field: Field, range: RangeInclusive<u64>) -> Result<Option<u64>, Reason> {
        let Some(value) = self.optional(field) else { return Ok(None) };
        match value.unsigned().filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let expected = format!("expected an integer from {} to {}", range.start(), range.end());
                Err(self.wrong(field, &expected))
            }
        }
    }

    pub(in crate::state) fn version(&self) -> Result<Option<u64>, Reason> {
        self.integer(Field::Version, VERSION)
    }

    /// The time from which the entry is gone, of `ttl_ms` or `expires_at`; Unix ms.
    #[inline]
    pub(in crate::state) fn expires_at(&self, rules: &impl Rules) -> Result<Option<u64>, Reason> {
        if self.any(Field::TtlMs).is_none() && self.any(Field::ExpiresAt).is_none() {
            return Ok(None);
        }
        let ttl_ms = self.integer(Field::TtlMs, TTL_MS)?;
        let expires_at = self.integer(Field::ExpiresAt, EXPIRES_AT)?;
        match (ttl_ms, expires_at) {
            (Some(_), Some(_)) => Err(self.one_of(Field::TtlMs, Field::ExpiresAt)),
            (Some(ttl_ms), None) => Ok(Some(rules.now_ms().saturating_add(ttl_ms))),
            (None, expires_at) => Ok(expires_at),
        }
    }

    /// Two members are there that say the same thing.
    #[cold]
    pub(in crate::state) fn one_of(&self, one: Field, other: Field) -> Reason {
        let (one, other) = (self.place.name(one), self.place.name(other));
        Reason::new(format!("fields `{one}` and `{other}`: give one of them"))
    }

    /// The place of an array in this object, for errors inside its items.
    #[cold]
    pub(super) fn place_of(&self, field: Field) -> Cow<'static, str> {
        self.place.name(field)
    }
}
