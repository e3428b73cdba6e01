//! Reads the input of `state::*`: borrowed fields, and the error texts of the wire's rule 17.

use std::borrow::Cow;

use super::calls::StateCall;
use crate::codec::json::{JsonError, JsonKind, Members, kind, unescape};
use crate::error::{WireError, code};
use crate::limits::JSON_DEPTH_MAX;

/// What is wrong with an input; with the name of the function it becomes a [`WireError`].
pub(super) struct Reason(Cow<'static, str>);

impl Reason {
    pub(super) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Reason(text.into())
    }

    /// `field` has a value of the wrong type.
    pub(super) fn field_type(field: &str, value: &str, expected: &str) -> Self {
        Reason::new(format!("field `{field}`: invalid type: {}, expected {expected}", kind(value).name()))
    }

    pub(super) fn in_call(self, call: StateCall) -> WireError {
        let text = format!("Failed to deserialize input for {}: {}", call.function_id(), self.0);
        WireError::new(code::DESERIALIZATION_ERROR, text)
    }
}

impl From<JsonError> for Reason {
    fn from(error: JsonError) -> Self {
        Reason::new(format!("Invalid JSON {error}"))
    }
}

/// The members of an input that its function knows, as JSON text.
pub(super) struct Payload<'a> {
    call: StateCall,
    scope: Option<&'a str>,
    key: Option<&'a str>,
    value: Option<&'a str>,
    ops: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// Reads `data`, the JSON text of the whole input of `call`.
    pub(super) fn read(call: StateCall, data: &'a str) -> Result<Self, WireError> {
        let mut payload = Payload { call, scope: None, key: None, value: None, ops: None };
        payload.read_members(data).map_err(|reason| reason.in_call(call))?;
        Ok(payload)
    }

    fn read_members(&mut self, data: &'a str) -> Result<(), Reason> {
        let data = data.trim_start_matches([' ', '\t', '\n', '\r']);
        match kind(data) {
            JsonKind::Object => {}
            JsonKind::Null if self.call == StateCall::ListGroups => return Ok(()),
            other => return Err(Reason::new(format!("invalid type: {}, expected an object", other.name()))),
        }
        let mut members = Members::new(data, JSON_DEPTH_MAX)?;
        while let Some(member) = members.next()? {
            // Written plainly, as all encoders do; a name with an escape in it costs a second look.
            let plain = &member.key[1..member.key.len() - 1];
            if !self.put(plain, member.value)?
                && let Cow::Owned(name) = unescape(member.key)?
            {
                self.put(&name, member.value)?;
            }
        }
        Ok(members.finish()?)
    }

    /// Takes a member that the function knows; false for others.
    #[inline]
    fn put(&mut self, name: &str, value: &'a str) -> Result<bool, Reason> {
        let Some((field, name)) = self.field(name) else { return Ok(false) };
        if field.replace(value).is_some() {
            return Err(Reason::new(format!("duplicate field `{name}`")));
        }
        Ok(true)
    }

    /// The field with this name, if the function has it.
    #[inline]
    fn field(&mut self, name: &str) -> Option<(&mut Option<&'a str>, &'static str)> {
        match (name, self.call) {
            (_, StateCall::ListGroups) => None,
            ("scope", _) => Some((&mut self.scope, "scope")),
            ("key", StateCall::Get | StateCall::Set | StateCall::Delete | StateCall::Update) => {
                Some((&mut self.key, "key"))
            }
            ("value" | "data", StateCall::Set) => Some((&mut self.value, "value")),
            ("ops", StateCall::Update) => Some((&mut self.ops, "ops")),
            _ => None,
        }
    }

    pub(super) fn scope(&self) -> Result<Cow<'a, str>, WireError> {
        self.string(self.scope, "scope")
    }

    pub(super) fn scope_and_key(&self) -> Result<(Cow<'a, str>, Cow<'a, str>), WireError> {
        Ok((self.scope()?, self.string(self.key, "key")?))
    }

    /// The text of the value to be set.
    pub(super) fn value(&self) -> Result<&'a str, WireError> {
        self.required(self.value, "value")
    }

    /// The text of the array of operations.
    pub(super) fn ops(&self) -> Result<&'a str, WireError> {
        let ops = self.required(self.ops, "ops")?;
        if kind(ops) == JsonKind::Array {
            return Ok(ops);
        }
        Err(Reason::field_type("ops", ops, "an array").in_call(self.call))
    }

    fn required(&self, value: Option<&'a str>, name: &str) -> Result<&'a str, WireError> {
        value.ok_or_else(|| Reason::new(format!("missing field `{name}`")).in_call(self.call))
    }

    fn string(&self, value: Option<&'a str>, name: &str) -> Result<Cow<'a, str>, WireError> {
        let value = self.required(value, name)?;
        if kind(value) != JsonKind::String {
            return Err(Reason::field_type(name, value, "a string").in_call(self.call));
        }
        unescape(value).map_err(|error| Reason::from(error).in_call(self.call))
    }
}
