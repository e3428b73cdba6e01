//! Peers that do not read, say nothing, or are told to go; others must not feel it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::calls::Call;
use iii_fast_core::limits::Limits;
use iii_fast_core::ws;
use iii_fast_reactor::inbox::Command;
use support::{Client, Engine, member};

const MIB: usize = 1 << 20;

fn set_large(client: &mut Client, bytes: usize) {
    let value = "x".repeat(bytes);
    client.send(&format!(
        "{{\"type\":\"invokefunction\",\"function_id\":\"state::set\",\"data\":{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}}}"
    ));
    client.settle();
}

fn get(n: usize) -> String {
    format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"{n}\",\"function_id\":\"state::get\",\"data\":{{\"scope\":\"s\",\"key\":\"k\"}}}}"
    )
}

fn closed_reason(engine: &Engine) -> String {
    match engine.await_call(|call| matches!(call, Call::Closed { .. })) {
        Call::Closed { reason, .. } => reason.into(),
        _ => unreachable!(),
    }
}

#[test]
fn a_peer_that_does_not_read_is_throttled_and_gets_everything_once_it_reads() {
    let limits = Limits { outbox_throttle_bytes: MIB, ..Limits::default() };
    let engine = Engine::start(limits, 1);
    let mut slow = engine.connect(0);
    let mut light = engine.connect(0);
    set_large(&mut light, MIB / 2);
    const COUNT: usize = 200;
    // One small burst asks for 100 MiB.
    let burst: Vec<u8> = (0..COUNT).flat_map(|n| support::masked(ws::OPCODE_TEXT, get(n).as_bytes())).collect();
    std::io::Write::write_all(&mut slow.socket, &burst).unwrap();
    for _ in 0..100 {
        light.settle();
    }
    for peer in engine.core.directory.all() {
        let waiting = peer.outbox_bytes.load(std::sync::atomic::Ordering::Relaxed);
        assert!(waiting <= 3 * MIB, "{waiting} bytes wait for a peer that does not read");
    }
    for n in 0..COUNT {
        let message = slow.read();
        assert_eq!(member(&message, "invocation_id"), n.to_string());
        assert!(message.len() > MIB / 2);
    }
}

#[test]
fn a_peer_that_never_reads_is_closed_with_a_reason() {
    let limits = Limits { outbox_throttle_bytes: MIB, stall_ms: 100, ..Limits::default() };
    let engine = Engine::start(limits, 1);
    let mut stuck = engine.connect(0);
    let mut light = engine.connect(0);
    set_large(&mut light, MIB);
    for n in 0..64 {
        stuck.send(&get(n));
    }
    let reason = closed_reason(&engine);
    assert!(reason.contains("does not read") && reason.contains("stall_ms"), "{reason}");
    light.settle();
}

#[test]
fn a_peer_that_pings_without_reading_is_throttled() {
    let limits = Limits { outbox_throttle_bytes: MIB, stall_ms: 200, ..Limits::default() };
    let engine = Engine::start(limits, 1);
    let mut pinging = engine.connect(0);
    let pings: Vec<u8> = (0..1000).flat_map(|_| support::masked(ws::OPCODE_PING, &[7; 125])).collect();
    // Far more than the kernel buffers hold on both sides: writing has to fail when the engine gives the peer up.
    let refused = (0..2000).any(|_| std::io::Write::write_all(&mut pinging.socket, &pings).is_err());
    assert!(refused, "250 MB of pings were taken from a peer that reads no pong");
    assert!(closed_reason(&engine).contains("does not read"));
}

#[test]
fn a_silent_peer_is_pinged_and_then_dropped() {
    let limits = Limits { ping_interval_ms: 50, silence_ms: 600, ..Limits::default() };
    let engine = Engine::start(limits, 1);
    let mut silent = engine.connect(0);
    let (opcode, _) = silent.frame().unwrap();
    assert_eq!(opcode, ws::OPCODE_PING);
    let reason = closed_reason(&engine);
    assert!(reason.contains("silent") && reason.contains("silence_ms"), "{reason}");
    while let Some((opcode, _)) = silent.frame() {
        assert_eq!(opcode, ws::OPCODE_PING);
    }
}

#[test]
fn a_worker_that_does_not_read_refuses_further_calls_and_their_callers_are_told() {
    let limits = Limits { outbox_bytes_max: 2 * MIB, ..Limits::default() };
    let engine = Engine::start(limits, 2);
    let mut stuck = engine.connect(0);
    stuck.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
    stuck.settle();
    let mut caller = engine.connect(1);
    let data = "x".repeat(MIB);
    let mut refused = None;
    for n in 0..64 {
        caller.send(&format!(
            "{{\"type\":\"invokefunction\",\"invocation_id\":\"{n}\",\"function_id\":\"f\",\"data\":\"{data}\"}}"
        ));
        caller.send("{\"type\":\"ping\"}");
        let message = caller.read();
        if message.contains("worker_overloaded") {
            refused = Some(message);
            break;
        }
    }
    assert!(refused.expect("the outbox is bounded").contains("the limit is 2097152 bytes"));
}

#[test]
fn a_caller_that_does_not_read_its_results_is_closed_with_a_reason() {
    let limits = Limits { outbox_bytes_max: 4 * MIB, ..Limits::default() };
    for loops in [1, 2] {
        let engine = Engine::start(limits.clone(), loops);
        let mut worker = engine.connect(0);
        worker.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
        worker.settle();
        let mut stuck = engine.connect(1);
        let calls: String = (0..64)
            .map(|n| format!("{{\"type\":\"invokefunction\",\"invocation_id\":\"{n}\",\"function_id\":\"f\"}}\n"))
            .collect();
        for call in calls.lines() {
            stuck.send(call);
        }
        let result = "x".repeat(MIB);
        for _ in 0..64 {
            let request = worker.read();
            let id = member(&request, "invocation_id");
            worker
                .send(&format!("{{\"type\":\"invocationresult\",\"invocation_id\":\"{id}\",\"result\":\"{result}\"}}"));
        }
        let reason = closed_reason(&engine);
        assert!(reason.contains("outbox_bytes_max"), "{reason}");
        worker.settle();
    }
}

#[test]
fn closing_all_says_goodbye_and_waits_for_the_peers_end() {
    let engine = Engine::start(Limits::default(), 2);
    let mut clients = [engine.connect(0), engine.connect(1)];
    for index in 0..2 {
        engine.tell(index, Command::CloseAll { code: 1012, reason: "engine restart".into() });
    }
    for client in &mut clients {
        let (opcode, payload) = client.frame().unwrap();
        assert_eq!(opcode, ws::OPCODE_CLOSE);
        assert_eq!(payload, ws::close_payload(1012, "engine restart"));
        assert!(client.frame().is_none());
    }
}

#[test]
fn a_close_frame_is_echoed() {
    let engine = Engine::start(Limits::default(), 1);
    let mut client = engine.connect(0);
    std::io::Write::write_all(&mut client.socket, &support::masked(ws::OPCODE_CLOSE, &ws::close_payload(1000, "bye")))
        .unwrap();
    let (opcode, payload) = client.frame().unwrap();
    assert_eq!((opcode, payload), (ws::OPCODE_CLOSE, ws::close_payload(1000, "")));
    assert!(closed_reason(&engine).contains("bye"));
}
