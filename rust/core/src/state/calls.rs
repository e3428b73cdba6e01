//! `state::*` from JSON text to an [`Answer`].

use super::answer::{Answer, Served};
use super::payload::Payload;
use super::update::Update;
use super::{Expiry, State, Stored};
use crate::error::WireError;

/// One of the state functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateCall {
    /// `state::get`
    Get,
    /// `state::set`
    Set,
    /// `state::delete`
    Delete,
    /// `state::list`
    List,
    /// `state::list_groups`
    ListGroups,
    /// `state::update`
    Update,
}

impl StateCall {
    /// Every state function.
    pub const ALL: [StateCall; 6] =
        [StateCall::Get, StateCall::Set, StateCall::Delete, StateCall::List, StateCall::ListGroups, StateCall::Update];

    /// The state function with this id.
    #[inline]
    pub fn from_function_id(function_id: &str) -> Option<Self> {
        Some(match function_id.strip_prefix("state::")? {
            "get" => StateCall::Get,
            "set" => StateCall::Set,
            "delete" => StateCall::Delete,
            "list" => StateCall::List,
            "list_groups" => StateCall::ListGroups,
            "update" => StateCall::Update,
            _ => return None,
        })
    }

    /// Its id on the wire.
    pub fn function_id(self) -> &'static str {
        match self {
            StateCall::Get => "state::get",
            StateCall::Set => "state::set",
            StateCall::Delete => "state::delete",
            StateCall::List => "state::list",
            StateCall::ListGroups => "state::list_groups",
            StateCall::Update => "state::update",
        }
    }
}

/// Serves one call. `data` is the JSON text of its input, `null` when there was none; it has been validated at the door.
///
/// # Errors
/// `deserialization_error` (the wire's rule 17), `VALUE_TOO_LARGE` (rule 21). Nothing is written then.
pub fn serve(state: &State, call: StateCall, data: &str) -> Result<Served, WireError> {
    let payload = Payload::read(call, data)?;
    Ok(match call {
        StateCall::Get => {
            let (scope, key) = payload.scope_and_key()?;
            Served::read(value(state.get(&scope, &key)))
        }
        StateCall::Set => {
            let (scope, key) = payload.scope_and_key()?;
            let new = Stored::new(payload.value()?);
            let written = state.set(&scope, &key, new.clone(), None)?;
            Served::written(written, |old| Answer::Set { old, new })
        }
        StateCall::Delete => {
            let (scope, key) = payload.scope_and_key()?;
            Served::written(state.delete(&scope, &key)?, value)
        }
        StateCall::List => Served::read(Answer::Values(state.list(&payload.scope()?))),
        StateCall::ListGroups => Served::read(Answer::Groups(state.list_groups())),
        StateCall::Update => {
            let (scope, key) = payload.scope_and_key()?;
            let update = Update::parse(payload.ops()?)?;
            Served::written(state.update(&scope, &key, &update, Expiry::Keep)?, Answer::Updated)
        }
    })
}

fn value(stored: Option<Stored>) -> Answer {
    stored.map_or(Answer::Absent, Answer::Value)
}
