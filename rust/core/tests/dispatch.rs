//! Messages of several workers through the whole core, without sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use iii_fast_core::calls::Call;
use iii_fast_core::control::{Answered, ControlInvocation};
use iii_fast_core::limits::Limits;
use iii_fast_core::loopback::Loopback;
use iii_fast_core::peer::SessionId;
use iii_fast_core::ws;

const ID: &str = "6b5e0000-0000-4000-8000-000000000001";

struct Engine(Loopback);

impl Engine {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let engine = Engine(Loopback::new(limits));
        engine.0.core.registry.define(["engine::x"]);
        engine
    }

    fn connect(&mut self) -> (SessionId, String) {
        let id = self.0.connect();
        let greeting = self.take(id).remove(0);
        (id, greeting)
    }

    fn worker(&mut self) -> SessionId {
        self.connect().0
    }

    fn send(&mut self, from: SessionId, message: &str) {
        assert!(self.0.receive(from, ws::OPCODE_TEXT, message.as_bytes()));
    }

    /// The messages that wait for a session, close frames as `close CODE`.
    fn take(&mut self, id: SessionId) -> Vec<String> {
        let bytes = self.0.take(id);
        let mut messages = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let (begin, len) = match bytes[at + 1] {
                126 => (at + 4, usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))),
                127 => (at + 10, u64::from_be_bytes(bytes[at + 2..at + 10].try_into().unwrap()) as usize),
                len => (at + 2, usize::from(len)),
            };
            let payload = &bytes[begin..begin + len];
            messages.push(match bytes[at] & 15 {
                ws::OPCODE_CLOSE => format!("close {}", u16::from_be_bytes([payload[0], payload[1]])),
                _ => String::from_utf8(payload.to_vec()).unwrap(),
            });
            at = begin + len;
        }
        messages
    }

    fn register(&mut self, worker: SessionId, id: &str) {
        self.send(worker, &format!("{{\"type\":\"registerfunction\",\"id\":\"{id}\"}}"));
    }

    fn call(&mut self, from: SessionId, invocation_id: &str, function_id: &str) {
        self.send(
            from,
            &format!(
                "{{\"type\":\"invokefunction\",\"invocation_id\":\"{invocation_id}\",\"function_id\":\"{function_id}\"}}"
            ),
        );
    }

    fn answer(&mut self, from: SessionId, invocation_id: &str, outcome: &str) {
        self.send(from, &format!("{{\"type\":\"invocationresult\",\"invocation_id\":\"{invocation_id}\",{outcome}}}"));
    }
}

fn member<'a>(message: &'a str, name: &str) -> &'a str {
    let begin = message.find(&format!("\"{name}\":\"")).expect(name) + name.len() + 4;
    &message[begin..begin + message[begin..].find('"').unwrap()]
}

fn error(function_id: &str, code: &str, message: &str) -> String {
    format!(
        "{{\"type\":\"invocationresult\",\"invocation_id\":\"{ID}\",\"function_id\":\"{function_id}\",\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}"
    )
}

#[test]
fn a_call_travels_to_the_worker_and_its_result_back() {
    let mut engine = Engine::new();
    let (caller, worker) = (engine.worker(), engine.worker());
    engine.register(worker, "f");
    engine.call(caller, ID, "f");
    let request =
        format!("{{\"type\":\"invokefunction\",\"invocation_id\":\"{ID}\",\"function_id\":\"f\",\"data\":null}}");
    assert_eq!(engine.take(worker), [request]);
    engine.answer(worker, ID, "\"result\":{ \"a\":1 },\"matched\":[]");
    let result = format!(
        "{{\"type\":\"invocationresult\",\"invocation_id\":\"{ID}\",\"function_id\":\"f\",\"result\":{{ \"a\":1 }}}}"
    );
    assert_eq!(engine.take(caller), [result]);
    engine.answer(worker, ID, "\"result\":2");
    assert!(engine.take(caller).is_empty());
    assert_eq!(engine.0.core.invocations.in_flight(), 0);
}

#[test]
fn only_the_invoked_worker_may_answer() {
    let mut engine = Engine::new();
    let (caller, worker, other) = (engine.worker(), engine.worker(), engine.worker());
    engine.register(worker, "f");
    engine.call(caller, ID, "f");
    engine.answer(other, ID, "\"result\":\"forged\"");
    engine.answer(caller, ID, "\"result\":\"forged\"");
    assert!(engine.take(caller).is_empty());
    engine.answer(worker, ID, "\"result\":\"true\"");
    assert_eq!(engine.take(caller).len(), 1);
}

#[test]
fn an_id_in_flight_is_refused_on_the_same_connection_and_translated_on_another() {
    let mut engine = Engine::new();
    let (caller, other, worker) = (engine.worker(), engine.worker(), engine.worker());
    engine.register(worker, "f");
    engine.call(caller, ID, "f");
    engine.call(caller, ID, "f");
    let text = format!("Invocation id `{ID}` is already in flight on this connection.");
    assert_eq!(engine.take(caller), [error("f", "duplicate_invocation_id", &text)]);
    engine.call(other, ID, "f");
    let requests = engine.take(worker);
    assert_eq!(requests.len(), 2);
    let translated = member(&requests[1], "invocation_id").to_owned();
    assert_ne!(translated, ID);
    engine.answer(worker, &translated, "\"result\":2");
    let replies = engine.take(other);
    assert_eq!(member(&replies[0], "invocation_id"), ID);
    assert!(engine.take(caller).is_empty());
}

#[test]
fn a_leaving_worker_ends_what_it_executes_and_forgets_what_it_waits_for() {
    let mut engine = Engine::new();
    let (caller, worker) = (engine.worker(), engine.worker());
    engine.register(worker, "f");
    engine.register(caller, "g");
    engine.call(caller, ID, "f");
    engine.call(worker, "w1", "g");
    engine.0.disconnect(worker);
    assert_eq!(engine.take(caller)[1], error("f", "invocation_stopped", "Invocation stopped"));
    assert_eq!(engine.0.core.invocations.in_flight(), 0);
    engine.call(caller, ID, "f");
    assert_eq!(engine.take(caller), [error("f", "function_not_found", "Function f not found in namespace default.")]);
}

#[test]
fn built_in_functions_cannot_be_taken_or_removed() {
    let mut engine = Engine::new();
    let worker = engine.worker();
    for id in ["state::get", "engine::x"] {
        engine.register(worker, id);
        let refusal = format!(
            "{{\"type\":\"registrationrejected\",\"code\":\"FUNCTION_NAMESPACE_CONFLICT\",\"namespace\":\"default\",\"function_id\":\"{id}\",\"owner_worker_id\":\"\"}}"
        );
        assert_eq!(engine.take(worker), [refusal]);
        engine.send(worker, &format!("{{\"type\":\"unregisterfunction\",\"id\":\"{id}\"}}"));
        assert!(engine.0.core.registry.contains(id));
    }
}

#[test]
fn a_function_of_another_worker_is_refused_with_its_owner() {
    let mut engine = Engine::new();
    let ((owner, greeting), other) = (engine.connect(), engine.worker());
    engine.register(owner, "f");
    engine.register(owner, "f");
    assert!(engine.take(owner).is_empty());
    engine.register(other, "f");
    assert_eq!(member(&engine.take(other)[0], "owner_worker_id"), member(&greeting, "worker_id"));
    engine.send(other, "{\"type\":\"unregisterfunction\",\"id\":\"f\"}");
    assert!(engine.0.core.registry.contains("f"));
}

#[test]
fn reattach_ends_the_former_connection_before_the_next_message() {
    let mut engine = Engine::new();
    let ((former, greeting), newcomer) = (engine.connect(), engine.worker());
    engine.register(former, "f");
    let (id, token) = (member(&greeting, "worker_id"), member(&greeting, "reattach_token"));
    engine.send(
        newcomer,
        &format!("{{\"type\":\"reattach\",\"previous_worker_id\":\"{id}\",\"reattach_token\":\"{ID}\"}}"),
    );
    engine.register(newcomer, "f");
    assert_eq!(engine.take(newcomer).len(), 1, "a wrong token changes nothing");
    engine.send(
        newcomer,
        &format!("{{\"type\":\"reattach\",\"previous_worker_id\":\"{id}\",\"reattach_token\":\"{token}\"}}"),
    );
    engine.register(newcomer, "f");
    assert!(engine.take(newcomer).is_empty());
    assert_eq!(engine.take(former), ["close 1000"]);
    let closed = |call: &Call| matches!(call, Call::Closed { session, .. } if *session == former);
    assert_eq!(engine.0.take_calls().iter().filter(|call| closed(call)).count(), 1);
    engine.0.disconnect(former);
    assert!(engine.0.core.registry.contains("f"));
}

#[test]
fn limits_hold_on_both_sides() {
    let limits = Limits { invocations_in_flight_max: 2, ..Limits::default() };
    let mut engine = Engine::with(limits);
    let (caller, worker) = (engine.worker(), engine.worker());
    engine.register(worker, "f");
    engine.call(caller, "a", "f");
    engine.call(caller, "b", "f");
    assert!(engine.take(caller).is_empty());
    engine.call(caller, ID, "f");
    let text = "This connection has 2 invocations in flight, the limit is 2.";
    assert_eq!(engine.take(caller), [error("f", "too_many_invocations", text)]);
    let first = member(&engine.take(worker)[0], "invocation_id").to_owned();
    engine.answer(worker, &first, "\"result\":1");
    assert_eq!(member(&engine.take(caller)[0], "invocation_id"), "a");
    engine.call(caller, ID, "f");
    assert!(engine.take(caller).is_empty());
}

#[test]
fn a_session_waits_until_its_registration_is_handled() {
    let mut engine = Engine::new();
    let worker = engine.worker();
    engine.send(worker, "{\"type\":\"registertrigger\",\"id\":\"t\"}");
    engine.send(worker, "{\"type\":\"ping\"}");
    assert!(engine.take(worker).is_empty());
    assert!(matches!(engine.0.take_calls()[..], [Call::Message { kind: "registertrigger", .. }]));
    engine.0.handled();
    assert_eq!(engine.take(worker), ["{\"type\":\"pong\"}"]);
}

#[test]
fn the_control_plane_invokes_and_answers() {
    let mut engine = Engine::new();
    let worker = engine.worker();
    engine.register(worker, "f");
    engine.0.invoke(&ControlInvocation {
        ticket: 7,
        function_id: "f".into(),
        data: "{\"n\":1}".into(),
        metadata: Some("[]".into()),
        traceparent: None,
        baggage: None,
    });
    let request = engine.take(worker).remove(0);
    assert!(request.ends_with("\"function_id\":\"f\",\"data\":{\"n\":1},\"metadata\":[]}"), "{request}");
    engine.answer(worker, member(&request, "invocation_id"), "\"error\":{\"code\":\"c\"}");
    let calls = engine.0.take_calls();
    assert!(matches!(&calls[..], [Call::Settled { ticket: 7, .. }]), "{calls:?}");

    engine.call(worker, ID, "engine::x");
    assert!(matches!(&engine.0.take_calls()[..], [Call::Invoked(_)]));
    let answered = Answered::Error { code: "c".into(), message: "m".into(), stacktrace: None };
    engine.0.settle(worker, ID, "engine::x", &answered);
    assert_eq!(engine.take(worker), [error("engine::x", "c", "m")]);
}

#[test]
fn void_calls_are_delivered_and_never_answered() {
    let mut engine = Engine::new();
    let (caller, worker) = (engine.worker(), engine.worker());
    engine.register(worker, "f");
    for function_id in ["f", "unknown", "state::set"] {
        engine.send(
            caller,
            &format!(
                "{{\"type\":\"invokefunction\",\"invocation_id\":\"{ID}\",\"function_id\":\"{function_id}\",\"action\":{{\"type\":\"void\"}}}}"
            ),
        );
    }
    let request = engine.take(worker).remove(0);
    let id = member(&request, "invocation_id").to_owned();
    assert_ne!(id, ID);
    engine.answer(worker, &id, "\"result\":1");
    assert!(engine.take(caller).is_empty());
}
