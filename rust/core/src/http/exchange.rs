//! One request under way: how it reaches the function that serves it, and how far it has come.

use super::connection::Turn;
use super::refusal::Refusal;
use super::routes::Route;
use super::service::ExchangeId;
use crate::calls::{Call, Requested};
use crate::codec::Value;
use crate::dispatch::{self, Router};
use crate::error::{WireError, code};
use crate::invocation::{CallerRef, InvocationId};
use crate::registry::Provider;
use crate::request::{self, Request};
use std::sync::Arc;

/// What the control plane answers a request with.
#[derive(Debug)]
pub enum Answer {
    /// A function's result: JSON text, or none.
    Result(Option<Box<str>>),
    /// A response object whose body is sent as JSON whatever its type says.
    Document(Box<str>),
    /// An error.
    Refused(Refusal),
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) id: ExchangeId,
    pub(super) route: Arc<Route>,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
    pub(super) began_ms: u64,
    pub(super) deadline_ms: u64,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Waits for a place, with its request object.
    Queued(Box<str>),
    /// A worker is asked.
    Called(InvocationId),
    /// The control plane decides; it looks after the time.
    Decided(Box<str>),
}

impl Exchange {
    /// It has a place: the function is called, or the control plane asked.
    pub(super) fn begin<R: Router>(&mut self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        let Stage::Queued(request) = &mut self.stage else { return Ok(()) };
        let request = std::mem::take(request);
        if self.route.is_direct {
            return self.call(&request, turn);
        }
        if turn.core.calls.is_full() {
            return Err(Refusal::new(503, "too much waits for the engine's control plane"));
        }
        let left_ms = self.deadline_ms.saturating_sub(turn.clock.now_ms);
        let requested = Requested { exchange: self.id, route: self.route.id, request: request.clone(), left_ms };
        turn.core.calls.push(Call::Requested(Box::new(requested)));
        self.stage = Stage::Decided(request);
        Ok(())
    }

    /// The control plane lets it pass.
    pub(super) fn proceed<R: Router>(&mut self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        let Stage::Decided(request) = &mut self.stage else { return Ok(()) };
        let request = std::mem::take(request);
        self.call(&request, turn)
    }

    fn call<R: Router>(&mut self, request: &str, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        match self.try_call(request, turn) {
            Ok(invocation) => {
                self.stage = Stage::Called(invocation);
                Ok(())
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn try_call<R: Router>(&self, data: &str, turn: &mut Turn<'_, R>) -> Result<InvocationId, WireError> {
        let Route { function_id, metadata, .. } = &*self.route;
        let Some(Provider::Worker(function)) = turn.core.registry.find(function_id) else {
            return Err(dispatch::not_found(function_id));
        };
        let callee = function.peer.clone();
        let members = [Some(Value::Json(data)), metadata.as_deref().map(Value::Json), None, None];
        let request = Request::new(callee.codec(), &function, members)?;
        request::check_size(&request, &callee)?;
        let caller = CallerRef::Http(self.id);
        let begun = turn.core.invocations.begin(None, "", &caller, function.clone());
        let id = begun.map_err(|_| WireError::new(code::INVOCATION_STOPPED, "Invocation stopped"))?;
        if let Err(error) = request::send(turn.core, turn.router, &callee, &request, &id) {
            // Whoever took the entry out first settles it; then the outcome is on its way here.
            if turn.core.invocations.withdraw(&id).is_some() {
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Nobody waits for it any more: its place goes to the next one.
    pub(super) fn end<R: Router>(self, turn: &mut Turn<'_, R>) {
        match self.stage {
            // A place that was granted meanwhile is given back by whoever brings the word and finds nobody.
            Stage::Queued(_) => return turn.core.http.slots.leave(self.id),
            Stage::Called(invocation) => {
                turn.core.invocations.withdraw(&invocation);
            }
            Stage::Decided(_) => {
                turn.core.calls.push(Call::Left(self.id));
            }
        }
        self.give_back(turn);
    }

    /// It is answered.
    pub(super) fn give_back<R: Router>(self, turn: &mut Turn<'_, R>) {
        if let Some(next) = turn.core.http.slots.give_back() {
            turn.router.grant(next);
        }
    }
}

/// A function that failed.
pub(super) fn failed(error: &WireError) -> Refusal {
    Refusal::with_code(500, error.code, error.message.clone())
}
