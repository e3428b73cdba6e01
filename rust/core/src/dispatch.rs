//! One message of one worker: what it means, and where it goes.
//!
//! State calls are answered here, invocations of workers are relayed, registrations are entered; what the control
//! plane decides is queued for it. Never blocks, never fails: what is wrong with a message is told to its sender or counted.

use crate::calls::{Call, Invoked};
use crate::codec::{Value, json};
use crate::core::{Core, Counters};
use crate::error::{WireError, code};
use crate::http::ExchangeId;
use crate::invocation::{BeginError, CallerRef, InvocationId};
use crate::large::{ReadCall, Reading};
use crate::log::{Progress, Receipt};
use crate::message::{self, Action, Broken, Envelope, Kind, string};
use crate::msgpack_message::read_unusable;
use crate::outbox::Outbox;
use crate::outcome::{Copied, Settlement, complete_error, deliver, push};
use crate::peer::{Peer, SessionId};
use crate::registry::{Function, Provider, Refusal};
use crate::remote::{Caller, Pipeline, Remote};
use crate::reply::{Id, IdText, Reply, not_expressible};
use crate::request::{Request, check_size, send};
use crate::state::{self, Served, StateCall};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// How a session reaches the outboxes, its own and others'.
pub trait Router {
    /// The outbox of a peer, to write one message into; none when it is gone. `invocation`: what to fail if it turns out later that the
    /// peer is gone.
    fn outbox(&mut self, to: SessionId, invocation: Option<InvocationId>) -> Option<&mut Outbox>;

    /// The outbox of a peer of this reactor for the reply to a write that is not acknowledged yet: what is put in leaves when it is.
    fn outbox_after(&mut self, to: SessionId, receipt: Receipt) -> Option<&mut Outbox>;

    /// Whether replies of this reactor's peer wait that one to such a write must not overtake.
    fn holds(&self, to: SessionId, receipt: Receipt) -> bool;

    /// Keeps a call for the control plane until a write is acknowledged.
    fn hold(&mut self, receipt: Receipt, call: Call);

    /// A session pauses until the journal has caught up.
    fn await_journal(&mut self);

    /// The connection to the server that keeps state, if one does.
    fn pipeline(&mut self) -> Option<&mut Pipeline>;

    /// Whether so much waits for that server that sessions have to pause.
    fn is_pipeline_full(&self) -> bool;

    /// Bytes that wait for a peer of this reactor.
    fn waiting(&self, session: SessionId) -> usize;

    /// Whether anything else waits for its turn while this session is served.
    fn is_another_ready(&self, session: SessionId) -> bool;

    /// Gives an http client the outcome of its request; here or on another reactor.
    fn respond(&mut self, core: &Core, to: ExchangeId, outcome: Settlement<'_>);

    /// An http request that waited for its place has got it.
    fn grant(&mut self, to: ExchangeId);

    /// Begins the close handshake with a peer.
    fn close(&mut self, session: SessionId, code: u16, reason: &'static str);
}

/// One worker's messages, with all that serving them needs.
pub struct Dispatch<'a, R: Router> {
    /// What is shared.
    pub core: &'a Core,
    /// Where replies go.
    pub router: &'a mut R,
    /// Who is speaking.
    pub peer: &'a Arc<Peer>,
}

impl<R: Router> Dispatch<'_, R> {
    /// Serves one message, which may have been read already. Returns the number of the call that must be handled before the next message, if
    /// there is one: a registration takes effect before what follows it.
    pub fn message(&mut self, message: Value<'_>, read: Option<Box<Envelope<'_>>>) -> Option<u64> {
        let mut envelope = Envelope::default();
        if let Some(read) = read {
            envelope = *read;
        } else if let Err(error) = envelope.fill(message) {
            self.broken(message, &error);
            return None;
        }
        match envelope.kind() {
            Some(Kind::InvokeFunction) => self.invoke(&envelope),
            Some(Kind::InvocationResult) => self.result(&envelope),
            Some(Kind::RegisterFunction) => self.register(&envelope, message),
            Some(Kind::UnregisterFunction) => {
                if let Some(id) = string(envelope.id) {
                    self.core.registry.unregister(&id, self.peer);
                }
            }
            Some(Kind::Reattach) => self.reattach(&envelope),
            Some(Kind::Ping) => {
                if let Some(outbox) = self.router.outbox(self.peer.session, None) {
                    push(outbox, self.peer.codec(), b"{\"type\":\"pong\"}");
                }
            }
            Some(Kind::RegisterService) => {}
            Some(Kind::Control(kind)) => {
                // The control plane reads JSON.
                let Ok(text) = message.to_json() else {
                    self.ignored();
                    return None;
                };
                self.core.calls.note_pause();
                let call = Call::Message { session: self.peer.session, kind, text: text.into() };
                return Some(self.core.calls.push(call));
            }
            None => self.ignored(),
        }
        None
    }

    /// Serves one large message; as [`Self::message`].
    pub(crate) fn large(&mut self, reading: &mut Reading<'_>) -> Option<u64> {
        match reading {
            Reading::Message(message, envelope) => return self.message(*message, envelope.take()),
            Reading::StateCall(call) => self.read_state_call(call),
            Reading::Broken(envelope, problem) => self.unusable(envelope, problem.to_string()),
            Reading::Nothing(_) => self.ignored(),
        }
        None
    }

    fn ignored(&self) {
        Counters::add(&self.core.counters.messages_ignored, 1);
    }

    /// Neither JSON nor msgpack as they should be.
    #[cold]
    fn broken(&mut self, message: Value<'_>, error: &Broken) {
        let text;
        let envelope = match message {
            Value::Json(text) => Envelope::read_lenient(text),
            Value::Msgpack(bytes) => {
                text = read_unusable(bytes);
                text.as_deref().and_then(Envelope::read_lenient)
            }
        };
        match envelope {
            Some(envelope) => self.unusable(&envelope, error.to_string()),
            None => self.ignored(),
        }
    }

    /// A message that cannot be used: whoever waits for it is told, if that can be found out.
    fn unusable(&mut self, envelope: &Envelope<'_>, problem: String) {
        match envelope.kind() {
            Some(Kind::InvokeFunction) => {
                self.refuse(envelope, &WireError::new(code::INVALID_MESSAGE, problem));
            }
            Some(Kind::InvocationResult) => {
                let problem = format!("Worker's result is not usable: {problem}");
                self.settle(envelope, Settlement::Error(&WireError::new(code::INVALID_MESSAGE, problem)));
            }
            _ => self.ignored(),
        }
    }

    // --- invocations -------------------------------------------------------------------------------------------

    fn invoke(&mut self, envelope: &Envelope<'_>) {
        if let Err(error) = self.try_invoke(envelope) {
            self.refuse(envelope, &error);
        }
    }

    fn try_invoke(&mut self, envelope: &Envelope<'_>) -> Result<(), WireError> {
        let call = envelope.function_id.and_then(StateCall::plain);
        let function_id = match call {
            Some(call) => Cow::Borrowed(call.function_id()),
            None => message::required_string("function_id", envelope.function_id)?,
        };
        let action = Action::read(envelope.action)?;
        if let Some(namespace) = message::check_namespace(envelope.namespace)? {
            return Err(self.not_in_namespace(&function_id, &namespace));
        }
        let invocation_id = envelope.invocation_id().filter(|_| action != Action::Void);
        if let Action::Enqueue(queue) = action {
            return self.hand_up(envelope, invocation_id, &function_id, Some(&queue));
        }
        if let Some(call) = call.or_else(|| StateCall::from_function_id(&function_id)) {
            return self.state_call(envelope, invocation_id, call);
        }
        match self.core.registry.find(&function_id) {
            Some(Provider::Worker(function)) => self.relay(envelope, invocation_id, function),
            Some(Provider::Control) => self.hand_up(envelope, invocation_id, &function_id, None),
            None => Err(not_found(&function_id)),
        }
    }

    /// Tells the caller, if it waits.
    #[cold]
    fn refuse(&mut self, envelope: &Envelope<'_>, error: &WireError) {
        let Some(invocation_id) = envelope.invocation_id() else {
            return;
        };
        if Action::read(envelope.action) == Ok(Action::Void) {
            return;
        }
        let function_id = Envelope::string_or_absent(envelope.function_id).unwrap_or(Value::Json("\"\""));
        self.reply(invocation_id, function_id, |reply, outbox| reply.error(outbox, error));
    }

    fn reply(&mut self, invocation_id: Value<'_>, function_id: Value<'_>, write: impl FnOnce(&Reply<'_>, &mut Outbox)) {
        let reply = self.address(invocation_id, function_id);
        if let Some(outbox) = self.router.outbox(self.peer.session, None) {
            write(&reply, outbox);
        }
    }

    fn address<'i>(&self, invocation_id: Value<'i>, function_id: Value<'i>) -> Reply<'i> {
        let codec = self.peer.codec();
        Reply {
            invocation_id: Id::new(invocation_id, codec),
            function_id: Id::new(function_id, codec),
            message_bytes_max: self.peer.message_bytes_max.load(Ordering::Relaxed),
            codec,
        }
    }

    fn state_call(
        &mut self,
        envelope: &Envelope<'_>,
        invocation_id: Option<Value<'_>>,
        call: StateCall,
    ) -> Result<(), WireError> {
        if let Some(remote) = &self.core.remote {
            return self.remote_call(remote, envelope, invocation_id, call);
        }
        let mut served = state::serve_opened(&self.core.state, call, envelope.data(), &envelope.opened)?;
        self.state_served(envelope, invocation_id, &mut served)
    }

    /// A state call that was read before.
    fn read_state_call(&mut self, call: &mut ReadCall<'_>) {
        let Some(request) = call.request.take() else { return };
        let envelope = &call.envelope;
        let invocation_id = envelope.invocation_id().filter(|_| Action::read(envelope.action) != Ok(Action::Void));
        let told = state::serve_request(&self.core.state, request, call.copy.take())
            .and_then(|served| self.state_served(envelope, invocation_id, call.served.insert(served)));
        if let Err(error) = told {
            self.refuse(envelope, &error);
        }
    }

    #[inline(always)] // of every state call
    fn state_served(
        &mut self,
        envelope: &Envelope<'_>,
        invocation_id: Option<Value<'_>>,
        served: &mut Served,
    ) -> Result<(), WireError> {
        if served.noted {
            self.core.calls.announce();
        }
        let log = self.core.state.log();
        let waits = served.receipt.map(|receipt| (receipt, log.progress(receipt)));
        let (Some(invocation_id), Some(function_id)) = (invocation_id, envelope.function_id) else { return Ok(()) };
        let reply = self.address(invocation_id, function_id);
        let session = self.peer.session;
        let outbox = match waits {
            Some((_, Progress::Failed)) => return Err(log.failed_error()),
            Some((receipt, progress)) if progress == Progress::Waiting || self.router.holds(session, receipt) => {
                self.router.outbox_after(session, receipt)
            }
            _ => self.router.outbox(session, None),
        };
        let Some(outbox) = outbox else { return Ok(()) };
        reply.answer(outbox, &mut served.answer, served.receipt.is_some());
        Ok(())
    }

    /// A state call that another server answers.
    #[inline(never)] // what is served here stays as short as it was
    fn remote_call(
        &mut self,
        remote: &Remote,
        envelope: &Envelope<'_>,
        invocation_id: Option<Value<'_>>,
        call: StateCall,
    ) -> Result<(), WireError> {
        let peer = self.peer;
        let caller = || match (invocation_id, envelope.function_id) {
            (Some(invocation_id), Some(function_id)) => Caller::worker(peer, invocation_id, function_id),
            _ => Caller::Void,
        };
        let pipeline = self.router.pipeline().ok_or_else(|| remote.refused())?;
        pipeline.submit(self.core, remote, caller, call, envelope.data())
    }

    fn relay(
        &mut self,
        envelope: &Envelope<'_>,
        invocation_id: Option<Value<'_>>,
        function: Arc<Function>,
    ) -> Result<(), WireError> {
        let callee = &*function.peer;
        let request = Request::of(callee.codec(), envelope, &function)?;
        check_size(&request, callee)?;
        let Some(own_id) = invocation_id else {
            // Nobody waits, so there is no entry: a worker that never answers void calls costs nothing.
            return send(self.core, self.router, callee, &request, &IdText::new(&Uuid::new_v4()));
        };
        let caller = CallerRef::Worker(self.peer);
        let wanted = IdText::canonical(own_id);
        let own_id = own_id.to_json().unwrap_or_default();
        let id = self
            .core
            .invocations
            .begin(wanted.as_ref().map(IdText::id), &own_id, &caller, function.clone())
            .map_err(|error| refused(&error, &own_id, self.core.limits.invocations_in_flight_max))?;
        // Looked at after the entry was made, as for the callee in `send`: clean-up marks a peer gone before it looks for entries.
        if self.peer.is_gone() {
            self.core.invocations.withdraw(&id);
            return Ok(());
        }
        let text = wanted.filter(|wanted| wanted.id() == id).unwrap_or_else(|| IdText::new(&id));
        let sent = send(self.core, self.router, callee, &request, &text);
        if sent.is_err() {
            // The entry may be gone already: whoever took it out has told the caller.
            return if self.core.invocations.withdraw(&id).is_some() { sent } else { Ok(()) };
        }
        Ok(())
    }

    fn result(&mut self, envelope: &Envelope<'_>) {
        if let Some(error) = Envelope::non_null(envelope.error) {
            return match complete_error(error) {
                Ok(object) => self.settle(envelope, Settlement::ErrorObject(object.value())),
                Err(error) => self.unusable(envelope, error.within("error").to_string()),
            };
        }
        let result = Envelope::non_null(envelope.result);
        let copied = result.zip(envelope.copy).map(|(result, copy)| Copied { result, copy });
        self.settle(envelope, copied.as_ref().map_or(Settlement::Result(result), Settlement::Copied));
    }

    fn settle(&mut self, envelope: &Envelope<'_>, outcome: Settlement<'_>) {
        let Some(raw) = envelope.invocation_id() else { return self.ignored() };
        let id = IdText::canonical(raw).or_else(|| Some(IdText::new(&Uuid::try_parse(&raw.string()?).ok()?)));
        let Some(id) = id else { return self.ignored() };
        if let Some(pending) = self.core.invocations.settle(&id.id(), self.peer) {
            deliver(self.core, self.router, &id, pending, outcome);
        }
    }

    /// Queues an invocation for the control plane, which reads JSON.
    fn hand_up(
        &mut self,
        envelope: &Envelope<'_>,
        invocation_id: Option<Value<'_>>,
        function_id: &str,
        queue: Option<&str>,
    ) -> Result<(), WireError> {
        let text = |member: Option<Value<'_>>| string(member).map(Cow::into_owned).map(String::into_boxed_str);
        let json = |value: Value<'_>, name| match value.to_json() {
            Ok(text) => Ok(Box::from(text)),
            Err(error) => Err(not_expressible(&error.within(name), false)),
        };
        let data = json(envelope.data(), "data")?;
        let metadata = Envelope::non_null(envelope.metadata).map(|metadata| json(metadata, "metadata")).transpose()?;
        self.core.calls.push(Call::Invoked(Box::new(Invoked {
            session: self.peer.session,
            invocation_id: text(invocation_id),
            function_id: function_id.into(),
            data,
            metadata,
            queue: queue.map(Into::into),
            traceparent: text(envelope.traceparent),
            baggage: text(envelope.baggage),
        })));
        Ok(())
    }

    #[cold]
    fn not_in_namespace(&self, function_id: &str, namespace: &str) -> WireError {
        let mut text = format!("Function {function_id} not found in namespace {namespace}.");
        if self.core.registry.contains(function_id) {
            text.push_str(" It is registered in namespace(s): default.");
        }
        WireError::new(code::FUNCTION_NOT_FOUND, text)
    }

    // --- registrations -----------------------------------------------------------------------------------------

    fn register(&mut self, envelope: &Envelope<'_>, message: Value<'_>) {
        let Some(id) = string(envelope.id).filter(|id| !id.is_empty()) else { return self.ignored() };
        let limits = &self.core.limits;
        // Kept as JSON, as discovery shows it.
        let Ok(text) = message.to_json() else { return self.ignored() };
        if text.len() > limits.registration_bytes_max {
            return self.ignored();
        }
        let registered = self.core.registry.register(&id, self.peer, &text, limits.functions_per_worker_max);
        let owner = match registered {
            Ok(()) => return,
            Err(Refusal::TooMany) => return self.ignored(),
            Err(Refusal::BuiltIn) => String::new(),
            Err(Refusal::Owned(owner)) => owner.worker_id.to_string(),
        };
        let mut message = b"{\"type\":\"registrationrejected\",\"code\":\"".to_vec();
        message.extend_from_slice(code::FUNCTION_NAMESPACE_CONFLICT.as_bytes());
        message.extend_from_slice(b"\",\"namespace\":\"default\",\"function_id\":");
        json::write_string(&mut message, &id);
        message.extend_from_slice(b",\"owner_worker_id\":");
        json::write_string(&mut message, &owner);
        message.push(b'}');
        if let Some(outbox) = self.router.outbox(self.peer.session, None) {
            push(outbox, self.peer.codec(), &message);
        }
    }

    fn reattach(&mut self, envelope: &Envelope<'_>) {
        let uuid = |member| Uuid::try_parse(&string(member)?).ok();
        let (Some(worker_id), Some(token)) = (uuid(envelope.previous_worker_id), uuid(envelope.reattach_token)) else {
            return;
        };
        let Some(former) = self.core.directory.find(&worker_id, &token) else { return };
        if former.session == self.peer.session {
            return;
        }
        const REASON: &str = "replaced by a new connection";
        self.core.disconnect(&former, REASON, self.router);
        self.router.close(former.session, 1000, REASON);
    }
}

pub(crate) fn not_found(function_id: &str) -> WireError {
    WireError::new(code::FUNCTION_NOT_FOUND, format!("Function {function_id} not found in namespace default."))
}

#[cold]
fn refused(error: &BeginError, own_id: &str, max: u32) -> WireError {
    match error {
        BeginError::Duplicate => WireError::new(
            code::DUPLICATE_INVOCATION_ID,
            format!("Invocation id `{}` is already in flight on this connection.", own_id.trim_matches('"')),
        ),
        BeginError::TooMany(count) => WireError::new(
            code::TOO_MANY_INVOCATIONS,
            format!("This connection has {count} invocations in flight, the limit is {max}."),
        ),
    }
}
