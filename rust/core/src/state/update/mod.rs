//! `state::update`: operations on JSON text. Only what an operation names is read further than one scan and rewritten; no
//! tree is built, and work and memory grow with the size of value and operations, not with their product.

mod check;
mod document;
mod names;
mod node;
mod number;
mod object;
mod op;
mod parse;

pub use op::OpError;

use super::calls::StateCall;
use super::input::Reason;
use super::stored::Stored;
use crate::codec::transcode::Inexpressible;
use crate::error::{WireError, code};
use document::Document;
use names::Names;
use parse::ParsedOp;
use std::borrow::Cow;

/// The operations of one `state::update`, read and checked before any lock is taken.
#[derive(Debug)]
pub struct Update<'a> {
    ops: Vec<ParsedOp<'a>>,
    names: Names<'a>,
}

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Updated {
    /// The value before.
    pub old: Option<Stored>,
    /// The value now: the old one when nothing was written.
    pub new: Option<Stored>,
    /// Whether an operation changed something, so that the value was written.
    pub wrote: bool,
    /// Operations that were skipped, in their order.
    pub errors: Vec<OpError>,
}

/// What the operations make of a value.
pub(crate) struct Applied {
    /// None when no operation changed anything.
    pub(crate) new: Option<Stored>,
    pub(crate) errors: Vec<OpError>,
}

impl<'a> Update<'a> {
    /// Reads the JSON text of `ops`, an array of operations.
    ///
    /// # Errors
    /// `deserialization_error` for the first operation that is malformed (the wire's rule 17). One that only exceeds a bound is
    /// no error here: it is skipped and reported when the update is applied.
    pub fn parse(ops: &'a str) -> Result<Self, WireError> {
        Self::read(ops, "ops").map_err(|reason| reason.in_call(StateCall::Update))
    }

    /// As [`Update::parse`]; `name` is how error texts name the array.
    pub(super) fn read(ops: &'a str, name: &str) -> Result<Self, Reason> {
        let mut names = Names::default();
        Ok(Update { ops: parse::ops(ops, name, &mut names)?, names })
    }

    pub(crate) fn apply(&self, old: Option<&Stored>) -> Result<Applied, WireError> {
        let text = old.map(json_text).transpose()?;
        let mut document = Document::new(text.as_deref(), &self.names);
        let mut errors = Vec::new();
        let mut changed = false;
        for (index, op) in self.ops.iter().enumerate() {
            match op {
                Err(error) => errors.push(error.clone()),
                Ok(op) => match document.apply(op).map_err(broken)? {
                    Ok(effect) => changed |= effect,
                    Err(problem) => errors.push(problem.of(index, op.kind)),
                },
            }
        }
        let new = if changed { document.text().map(Stored::from) } else { None };
        Ok(Applied { new, errors })
    }
}

/// The stored value as JSON text, on which updates work.
fn json_text(old: &Stored) -> Result<Cow<'_, str>, WireError> {
    let value = old.value().ok_or_else(|| broken("it is not UTF-8"))?;
    let place = |error: Inexpressible| error.within("old_value").to_string();
    value.to_json().map_err(|error| WireError::new(code::NOT_EXPRESSIBLE, place(error)))
}

/// Only for values that were stored past the validation at the door.
fn broken(error: impl std::fmt::Display) -> WireError {
    let text = format!("Failed to deserialize the stored value for state::update: Invalid JSON {error}");
    WireError::new(code::DESERIALIZATION_ERROR, text)
}
