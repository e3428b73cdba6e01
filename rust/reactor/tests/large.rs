//! A large message is read beside its reactor. The thread that reads is held up here, so that what happens meanwhile can be seen without a clock.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::{LARGE_BYTES_MIN, Limits};
use iii_fast_core::ws;
use iii_fast_reactor::inbox::Command;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Sender};
use support::{Client, Engine, TurnedEngine, masked, member};

/// More than it takes to read the messages of these tests, 64 KiB each.
const TURNS: usize = 100;

/// `state::set` as a message of `len` bytes.
fn set(len: usize) -> Vec<u8> {
    let message = |value: &str| {
        format!(
            "{{\"type\":\"invokefunction\",\"invocation_id\":\"set\",\"function_id\":\"state::set\",\"data\":{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}}}"
        )
    };
    let text = message(&"x".repeat(len - message("").len()));
    assert_eq!(text.len(), len);
    masked(ws::OPCODE_TEXT, text.as_bytes())
}

fn get(id: &str) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"{id}\",\"function_id\":\"state::get\",\"data\":{{\"scope\":\"s\",\"key\":\"k\"}}}}"
    );
    masked(ws::OPCODE_TEXT, text.as_bytes())
}

/// Holds up what reads large messages, until the sender goes.
fn hold(engine: &TurnedEngine) -> Sender<()> {
    let (gate, held) = mpsc::channel::<()>();
    engine.reactor.aside().run(move || {
        let _ = held.recv();
    });
    gate
}

/// Sends `bytes`, and turns until all of it has been read.
fn deliver(engine: &mut TurnedEngine, client: &mut Client, bytes: &[u8]) {
    client.socket.set_nonblocking(true).unwrap();
    let mut sent = 0;
    while sent < bytes.len() {
        sent += client.socket.write(&bytes[sent..]).unwrap_or(0);
        engine.turn();
    }
    (0..TURNS).for_each(|_| engine.turn());
    client.socket.set_nonblocking(false).unwrap();
}

fn is_silent(client: &Client) -> bool {
    client.socket.set_nonblocking(true).unwrap();
    let silent = client.socket.peek(&mut [0]).is_err();
    client.socket.set_nonblocking(false).unwrap();
    silent
}

fn messages_in(engine: &TurnedEngine) -> u64 {
    engine.core.counters.messages_in.load(Ordering::Relaxed)
}

#[test]
fn others_are_served_while_a_large_message_is_read_and_a_smaller_one_is_served_at_once() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut light, mut large, mut small) = (engine.connect(), engine.connect(), engine.connect());
    let gate = hold(&engine);
    deliver(&mut engine, &mut large, &set(LARGE_BYTES_MIN));
    assert!(is_silent(&large));
    assert_eq!(messages_in(&engine), 0);
    for _ in 0..10 {
        light.send("{\"type\":\"ping\"}");
        assert_eq!(engine.await_message(&mut light), "{\"type\":\"pong\"}");
    }
    deliver(&mut engine, &mut small, &set(LARGE_BYTES_MIN - 1));
    assert_eq!(member(&engine.await_message(&mut small), "invocation_id"), "set");
    assert!(is_silent(&large));
    drop(gate);
    assert!(engine.await_message(&mut large).contains("\"result\":{\"old_value\":\"xxx"));
}

#[test]
fn what_comes_behind_it_is_served_behind_it() {
    let mut engine = TurnedEngine::start(Limits::default());
    let mut large = engine.connect();
    let gate = hold(&engine);
    let ping = b"\x89\x81\0\0\0\0p";
    let all = [set(LARGE_BYTES_MIN), get("first"), set(LARGE_BYTES_MIN + 7), ping.to_vec(), get("second")].concat();
    large.socket.set_nonblocking(true).unwrap();
    let mut sent = 0;
    // Not more of it is taken than what the kernel holds.
    for _ in 0..TURNS {
        sent += large.socket.write(&all[sent..]).unwrap_or(0);
        engine.turn();
    }
    large.socket.set_nonblocking(false).unwrap();
    assert!(is_silent(&large));
    drop(gate);
    deliver(&mut engine, &mut large, &all[sent..]);
    let mut frame = || {
        let (opcode, text) = engine.await_frame(&mut large);
        let text = String::from_utf8(text).unwrap();
        (opcode, if opcode == ws::OPCODE_PONG { text } else { member(&text, "invocation_id").to_owned() })
    };
    let frames: Vec<(u8, String)> = (0..5).map(|_| frame()).collect();
    let expected = [(1, "set"), (1, "first"), (1, "set"), (10, "p"), (1, "second")];
    assert_eq!(frames, expected.map(|(opcode, text)| (opcode, text.to_owned())));
}

#[test]
fn a_peer_that_has_sent_all_and_leaves_is_still_served() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut light, mut large) = (engine.connect(), engine.connect());
    let gate = hold(&engine);
    deliver(&mut engine, &mut large, &set(LARGE_BYTES_MIN));
    large.socket.shutdown(Shutdown::Write).unwrap();
    (0..TURNS).for_each(|_| engine.turn());
    assert_eq!(engine.core.directory.all().len(), 2);
    drop(gate);
    assert_eq!(member(&engine.await_message(&mut large), "invocation_id"), "set");
    deliver(&mut engine, &mut light, &get("1"));
    assert!(engine.await_message(&mut light).contains("\"result\":\"xxx"));
    assert_eq!(engine.core.directory.all().len(), 1);
}

#[test]
fn its_end_is_not_read_before_it_while_others_call_each_other() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut worker, mut large) = (engine.connect(), engine.connect());
    let mut callers = [engine.connect(), engine.connect()];
    worker.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
    engine.turn();
    let gate = hold(&engine);
    let message = set(LARGE_BYTES_MIN);
    let (first, last) = message.split_at(message.len() - 1000);
    deliver(&mut engine, &mut large, first);
    large.socket.write_all(last).unwrap();
    large.socket.shutdown(Shutdown::Write).unwrap();
    // With calls of several to another one a pass reads more than once.
    for caller in &mut callers {
        caller.send("{\"type\":\"invokefunction\",\"function_id\":\"f\",\"action\":{\"type\":\"void\"}}");
    }
    engine.turn();
    assert_eq!(engine.core.directory.all().len(), 4);
    drop(gate);
    assert_eq!(member(&engine.await_message(&mut large), "invocation_id"), "set");
}

#[test]
fn a_connection_that_breaks_or_is_closed_meanwhile_leaves_nothing_and_holds_nobody_up() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut light, mut broken, mut closed) = (engine.connect(), engine.connect(), engine.connect());
    let gate = hold(&engine);
    // With an answer that it has not read a peer that leaves breaks its connection.
    broken.send("{\"type\":\"ping\"}");
    for client in [&mut broken, &mut closed] {
        deliver(&mut engine, client, &set(LARGE_BYTES_MIN));
    }
    assert!(!is_silent(&broken));
    drop(broken);
    engine.reactor.inbox().push(Command::CloseAll { code: 1001, reason: "bye".into() });
    (0..TURNS).for_each(|_| engine.turn());
    assert_eq!(engine.core.directory.all().len(), 0);
    drop(gate);
    let mut later = engine.connect();
    deliver(&mut engine, &mut later, &set(2 * LARGE_BYTES_MIN));
    // Read in their order: the others' have been read as well by now.
    let answer = engine.await_message(&mut later);
    assert!(answer.contains("\"old_value\":null"), "{}", &answer[..200]);
    for client in [&mut light, &mut closed] {
        assert_eq!(client.frame().unwrap().0, ws::OPCODE_CLOSE);
    }
    assert_eq!(engine.core.directory.all().len(), 1);
}

#[test]
fn a_bug_in_reading_ends_that_connection_alone() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut light, mut large) = (engine.connect(), engine.connect());
    let gate = hold(&engine);
    let sessions: Vec<_> = engine.core.directory.all().iter().map(|peer| peer.session).collect();
    deliver(&mut engine, &mut large, &set(LARGE_BYTES_MIN));
    let session = *sessions.iter().max_by_key(|session| session.slot()).unwrap();
    engine.reactor.inbox().push(Command::Read { session, read: None });
    (0..TURNS).for_each(|_| engine.turn());
    assert_eq!(large.socket.read(&mut [0]).unwrap_or(0), 0);
    drop(gate);
    light.send("{\"type\":\"ping\"}");
    assert_eq!(engine.await_message(&mut light), "{\"type\":\"pong\"}");
}

#[test]
fn nothing_of_it_outlives_the_reactor() {
    let mut engine = TurnedEngine::start(Limits::default());
    let mut large = engine.connect();
    let gate = hold(&engine);
    deliver(&mut engine, &mut large, &set(LARGE_BYTES_MIN));
    let core = Arc::downgrade(&engine.core);
    let end = std::thread::spawn(move || drop(engine));
    drop(gate);
    end.join().unwrap();
    assert!(core.upgrade().is_none());
}

#[test]
fn large_calls_and_results_between_workers_of_several_reactors() {
    let engine = Engine::start(Limits::default(), 2);
    let (mut caller, mut worker) = (engine.connect(0), engine.connect(1));
    worker.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
    worker.settle();
    const ID: &str = "6b5e0000-0000-4000-8000-000000000001";
    let value = "y".repeat(2 * LARGE_BYTES_MIN);
    for _ in 0..5 {
        caller.send(&format!(
            "{{\"type\":\"invokefunction\",\"invocation_id\":\"{ID}\",\"function_id\":\"f\",\"data\":\"{value}\"}}"
        ));
        let request = worker.read();
        assert!(member(&request, "data") == value);
        let ids = format!("\"invocation_id\":\"{}\",\"function_id\":\"f\"", member(&request, "invocation_id"));
        worker.send(&format!("{{\"type\":\"invocationresult\",{ids},\"result\":\"{value}\"}}"));
        let result = caller.read();
        assert_eq!(member(&result, "invocation_id"), ID);
        assert!(member(&result, "result") == value);
    }
}
