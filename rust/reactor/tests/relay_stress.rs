//! No call ever hangs: workers come and go on three reactors while others call them, and every call gets exactly one answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::Limits;
use iii_fast_core::ws;
use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use support::{Client, Engine, masked, member};

const LOOPS: usize = 3;
const CALLERS: usize = 4;
const CALLS_PER_CALLER: usize = 4_000;
const IN_FLIGHT: usize = 32;

/// Registers `f`, answers some calls, and goes in the middle of others.
fn serve_for_a_while(client: &mut Client, answers: usize) {
    client.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
    for _ in 0..answers {
        let Some((_, payload)) = client.frame() else { return };
        let message = String::from_utf8(payload).unwrap();
        if message.contains("registrationrejected") {
            return;
        }
        let id = member(&message, "invocation_id");
        let result = format!(
            "{{\"type\":\"invocationresult\",\"invocation_id\":\"{id}\",\"function_id\":\"f\",\"result\":\"{id}\"}}"
        );
        if !client.try_send(&result) {
            return;
        }
    }
}

fn call_many(client: &mut Client, caller: usize) -> (u64, u64) {
    let (mut results, mut errors) = (0, 0);
    let mut waiting = HashSet::new();
    let mut next = 0;
    while next < CALLS_PER_CALLER || !waiting.is_empty() {
        while next < CALLS_PER_CALLER && waiting.len() < IN_FLIGHT {
            let id = format!("00000000-0000-4000-8000-{caller:04}{next:08}");
            client.send(&format!(
                "{{\"type\":\"invokefunction\",\"invocation_id\":\"{id}\",\"function_id\":\"f\",\"data\":{{\"n\":{next}}}}}"
            ));
            waiting.insert(id);
            next += 1;
        }
        let message = client.read();
        let id = member(&message, "invocation_id");
        assert!(waiting.remove(id), "answered twice or never asked: {message}");
        if message.contains("\"error\"") {
            let code = member(&message, "code");
            assert!(matches!(code, "function_not_found" | "invocation_stopped"), "{message}");
            errors += 1;
        } else {
            assert_eq!(member(&message, "result"), id, "{message}");
            results += 1;
        }
    }
    (results, errors)
}

#[test]
fn every_call_is_answered_while_workers_come_and_go() {
    let engine = Engine::start(Limits::default(), LOOPS);
    let done = AtomicBool::new(false);
    let (results, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let (engine, results, errors) = (&engine, &results, &errors);
                scope.spawn(move || {
                    let (ok, failed) = call_many(&mut engine.connect(caller), caller);
                    results.fetch_add(ok, Ordering::Relaxed);
                    errors.fetch_add(failed, Ordering::Relaxed);
                })
            })
            .collect();
        for worker in 0..2 {
            let (engine, done) = (&engine, &done);
            scope.spawn(move || {
                let mut round = worker;
                while !done.load(Ordering::Relaxed) {
                    let mut client = engine.connect(round);
                    client.socket.set_read_timeout(Some(std::time::Duration::from_millis(200))).unwrap();
                    let serve = std::panic::AssertUnwindSafe(|| serve_for_a_while(&mut client, 50 + round * 7 % 100));
                    // A worker whose function the other one holds gets no calls and gives up after its read timeout.
                    let _ = std::panic::catch_unwind(serve);
                    round += 1;
                }
            });
        }
        for caller in callers {
            caller.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let (results, errors) = (results.into_inner(), errors.into_inner());
    assert_eq!(results + errors, (CALLERS * CALLS_PER_CALLER) as u64);
    assert!(results > 0 && errors > 0, "both outcomes were to be met: {results} results, {errors} errors");
    assert_eq!(engine.core.invocations.in_flight(), 0);
}

#[test]
fn messages_to_a_session_of_another_reactor_keep_their_order() {
    let engine = Engine::start(Limits::default(), LOOPS);
    let mut worker = engine.connect(1);
    worker.send("{\"type\":\"registerfunction\",\"id\":\"g\"}");
    worker.settle();
    let mut caller = engine.connect(2);
    const COUNT: usize = 20_000;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..COUNT {
                caller.send(&format!(
                    "{{\"type\":\"invokefunction\",\"function_id\":\"g\",\"data\":{{\"n\":\"{n}\"}},\"action\":{{\"type\":\"void\"}}}}"
                ));
            }
        });
        for n in 0..COUNT {
            assert_eq!(member(&worker.read(), "n"), n.to_string());
        }
    });
}

#[test]
fn messages_from_every_reactor_to_every_other_keep_the_order_of_each_sender() {
    const PEERS: usize = 2 * (LOOPS + 1);
    const COUNT: usize = 2_000;
    let engine = Engine::start(Limits::default(), LOOPS + 1);
    let mut clients: Vec<Client> = (0..PEERS).map(|n| engine.connect(n)).collect();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(&format!("{{\"type\":\"registerfunction\",\"id\":\"f{n}\"}}"));
        client.settle();
    }
    std::thread::scope(|scope| {
        for (from, client) in clients.into_iter().enumerate() {
            let mut writer = client.socket.try_clone().unwrap();
            scope.spawn(move || {
                for n in 0..COUNT {
                    let call = |to| {
                        format!(
                            "{{\"type\":\"invokefunction\",\"function_id\":\"f{to}\",\"data\":{{\"from\":\"{from}\",\"n\":\"{n}\"}},\"action\":{{\"type\":\"void\"}}}}"
                        )
                    };
                    let calls = (0..PEERS).flat_map(|to| masked(ws::OPCODE_TEXT, call(to).as_bytes()));
                    writer.write_all(&calls.collect::<Vec<u8>>()).unwrap();
                }
            });
            scope.spawn(move || receive_in_order(client, PEERS, COUNT));
        }
    });
}

/// `count` messages of each of `peers`, those of one peer by number.
fn receive_in_order(mut client: Client, peers: usize, count: usize) {
    let mut next = vec![0; peers];
    for _ in 0..peers * count {
        let message = client.read();
        let from: usize = member(&message, "from").parse().unwrap();
        assert_eq!(member(&message, "n"), next[from].to_string(), "from {from}");
        next[from] += 1;
    }
    assert!(next.iter().all(|next| *next == count));
}
