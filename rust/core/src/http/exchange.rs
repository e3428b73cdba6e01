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
use crate::registry::{Function, Provider};
use crate::reply::IdText;
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
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
    pub(super) began_ms: u64,
    pub(super) deadline_ms: u64,
    pub(super) stage: Stage,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// Has come, and looks for a place.
    Arrived,
    /// Waits for a place, with its request object.
    Queued(Arc<Route>, String),
    /// A worker is asked.
    Called(InvocationId),
    /// The control plane decides; it looks after the time.
    Decided(Arc<Route>, String),
}

impl Exchange {
    /// It waits for a place no longer.
    pub(super) fn granted<R: Router>(&mut self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.stage, Stage::Arrived) {
            Stage::Queued(route, request) => self.begin(&route, request, turn),
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    /// It has a place: the function is called, or the control plane asked.
    pub(super) fn begin<R: Router>(
        &mut self,
        route: &Arc<Route>,
        request: String,
        turn: &mut Turn<'_, R>,
    ) -> Result<(), Refusal> {
        if route.is_direct {
            return self.call(route, &request, turn);
        }
        if turn.core.calls.is_full() {
            return Err(Refusal::new(503, "too much waits for the engine's control plane"));
        }
        let left_ms = self.deadline_ms.saturating_sub(turn.clock.now_ms);
        let requested = Requested { exchange: self.id, route: route.id, request: request.as_str().into(), left_ms };
        turn.core.calls.push(Call::Requested(Box::new(requested)));
        self.stage = Stage::Decided(route.clone(), request);
        Ok(())
    }

    /// The control plane lets it pass.
    pub(super) fn proceed<R: Router>(&mut self, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        match std::mem::replace(&mut self.stage, Stage::Arrived) {
            Stage::Decided(route, request) => self.call(&route, &request, turn),
            other => {
                self.stage = other;
                Ok(())
            }
        }
    }

    fn call<R: Router>(&mut self, route: &Route, request: &str, turn: &mut Turn<'_, R>) -> Result<(), Refusal> {
        match self.try_call(route, request, turn) {
            Ok(invocation) => {
                self.stage = Stage::Called(invocation);
                Ok(())
            }
            Err(error) => Err(failed(&error)),
        }
    }

    fn try_call<R: Router>(
        &self,
        route: &Route,
        data: &str,
        turn: &mut Turn<'_, R>,
    ) -> Result<InvocationId, WireError> {
        turn.core.registry.with(&route.function_id, |provider| match provider {
            Some(Provider::Worker(function)) => self.ask(route, function, data, turn),
            Some(Provider::Control) | None => Err(dispatch::not_found(&route.function_id)),
        })
    }

    fn ask<R: Router>(
        &self,
        route: &Route,
        function: &Arc<Function>,
        data: &str,
        turn: &mut Turn<'_, R>,
    ) -> Result<InvocationId, WireError> {
        let callee = &*function.peer;
        let members = [Some(Value::Json(data)), route.metadata.as_deref().map(Value::Json), None, None];
        let request = Request::new(callee.codec(), function, members)?;
        request::check_size(&request, callee)?;
        let caller = CallerRef::Http(self.id);
        let begun = turn.core.invocations.begin(None, "", &caller, function.clone());
        let id = begun.map_err(|_| WireError::new(code::INVOCATION_STOPPED, "Invocation stopped"))?;
        if let Err(error) = request::send(turn.core, turn.router, callee, &request, &IdText::new(&id)) {
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
            Stage::Queued(..) => return turn.core.http.slots.leave(self.id),
            Stage::Arrived => {}
            Stage::Called(invocation) => {
                turn.core.invocations.withdraw(&invocation);
            }
            Stage::Decided(..) => {
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
