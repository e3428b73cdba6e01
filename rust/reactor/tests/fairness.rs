//! Whoever asks little waits for a share of the others, however much they send. Turns are made by hand: messages are counted, no clock
//! is asked.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::{Limits, SHARE_MESSAGES_MAX};
use iii_fast_core::ws;
use iii_fast_reactor::poller::EVENTS_MAX;
use std::io::{Read, Write};
use std::sync::atomic::Ordering;
use support::{Client, TurnedEngine, masked, member};

const MIB: usize = 1 << 20;
const PROBES: usize = 50;

fn call(function: &str, data: &str) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"1\",\"function_id\":\"{function}\",\"data\":{data}}}"
    );
    masked(ws::OPCODE_TEXT, text.as_bytes())
}

/// A call that nobody waits for; the callee sees who made it.
fn note(from: &str) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"invokefunction\",\"function_id\":\"f\",\"data\":{{\"from\":\"{from}\"}},\"action\":{{\"type\":\"void\"}}}}"
    );
    masked(ws::OPCODE_TEXT, text.as_bytes())
}

/// A worker that receives every [`note`], in the order in which they were served.
fn witness(engine: &mut TurnedEngine) -> Client {
    let mut witness = engine.connect();
    witness.send("{\"type\":\"registerfunction\",\"id\":\"f\"}");
    engine.turn();
    witness
}

/// Of the next `count` notes, how many came from `from` before the first one of the light peer, and how many in all.
fn before_light(engine: &mut TurnedEngine, witness: &mut Client, count: usize, from: &str) -> (usize, usize) {
    let notes: Vec<String> = (0..count).map(|_| engine.await_message(witness)).collect();
    let senders: Vec<&str> = notes.iter().map(|note| member(note, "from")).collect();
    let light = senders.iter().position(|sender| *sender == "light").expect("the light peer's note");
    let of = |senders: &[&str]| senders.iter().filter(|sender| **sender == from).count();
    (of(&senders[..light]), of(&senders))
}

#[test]
fn a_share_of_a_flood_is_served_before_who_waits_and_not_a_message_more() {
    for sent in [SHARE_MESSAGES_MAX - 1, SHARE_MESSAGES_MAX, SHARE_MESSAGES_MAX + 1, 10 * SHARE_MESSAGES_MAX] {
        let mut engine = TurnedEngine::start(Limits::default());
        let (mut flood, mut light) = (engine.connect(), engine.connect());
        let mut witness = witness(&mut engine);
        // Both wait when the turn begins, the flood first, and one read takes all of it.
        flood.socket.write_all(&note("flood").repeat(sent)).unwrap();
        light.socket.write_all(&note("light")).unwrap();
        let (before, all) = before_light(&mut engine, &mut witness, sent + 1, "flood");
        assert_eq!((before, all), (sent.min(SHARE_MESSAGES_MAX), sent));
    }
}

#[test]
fn whoever_becomes_ready_later_waits_for_a_share_of_each() {
    let mut engine = TurnedEngine::start(Limits::default());
    let mut floods: Vec<Client> = (0..EVENTS_MAX).map(|_| engine.connect()).collect();
    let mut light = engine.connect();
    let mut witness = witness(&mut engine);
    let sent = 4 * SHARE_MESSAGES_MAX;
    for flood in &mut floods {
        flood.socket.write_all(&note("flood").repeat(sent)).unwrap();
    }
    // The first poll has no place for it.
    light.socket.write_all(&note("light")).unwrap();
    let (before, all) = before_light(&mut engine, &mut witness, EVENTS_MAX * sent + 1, "flood");
    assert_eq!(all, EVENTS_MAX * sent);
    assert!(before <= EVENTS_MAX * SHARE_MESSAGES_MAX, "{before} messages of {EVENTS_MAX} peers came before");
}

#[test]
fn who_is_alone_is_served_in_one_go_and_in_order() {
    let mut engine = TurnedEngine::start(Limits::default());
    let mut client = engine.connect();
    let calls: Vec<u8> = (0..300)
        .flat_map(|n| {
            let text = format!(
                "{{\"type\":\"invokefunction\",\"invocation_id\":\"{n}\",\"function_id\":\"state::get\",\"data\":{{\"scope\":\"s\",\"key\":\"k\"}}}}"
            );
            masked(ws::OPCODE_TEXT, text.as_bytes())
        })
        .collect();
    client.socket.write_all(&calls).unwrap();
    engine.turn();
    for n in 0..300 {
        assert_eq!(member(&engine.await_message(&mut client), "invocation_id"), n.to_string());
    }
}

#[test]
fn what_a_peer_sent_before_it_left_is_served() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut flood, mut light) = (engine.connect(), engine.connect());
    let mut witness = witness(&mut engine);
    let sent = 10 * SHARE_MESSAGES_MAX;
    flood.socket.write_all(&note("flood").repeat(sent)).unwrap();
    drop(flood);
    light.socket.write_all(&note("light")).unwrap();
    assert_eq!(before_light(&mut engine, &mut witness, sent + 1, "flood").1, sent);
}

/// Writes of `bytes`, over and over, what the kernel takes.
fn fill(client: &mut Client, bytes: &[u8], position: &mut usize) {
    while let Ok(n) = client.socket.write(&bytes[*position..]) {
        *position = (*position + n) % bytes.len();
    }
}

/// Whether one turn brings the answer.
fn is_answered_in_one_turn(engine: &mut TurnedEngine, light: &mut Client) -> bool {
    light.send("{\"type\":\"ping\"}");
    engine.turn();
    light.socket.set_nonblocking(true).unwrap();
    let answered = light.socket.read(&mut [0; 100]).is_ok_and(|n| n > 0);
    light.socket.set_nonblocking(false).unwrap();
    answered
}

#[test]
fn a_reader_that_stalls_costs_others_nothing() {
    let limits = Limits { outbox_throttle_bytes: MIB, ..Limits::default() };
    let mut engine = TurnedEngine::start(limits);
    let (mut light, mut stalled) = (engine.connect(), engine.connect());
    stalled.socket.set_nonblocking(true).unwrap();
    let value = "x".repeat(MIB / 2);
    let set = call("state::set", &format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}"));
    let mut position = 0;
    while position < set.len() {
        position += stalled.socket.write(&set[position..]).unwrap_or(0);
        engine.turn();
    }
    let gets = call("state::get", "{\"scope\":\"s\",\"key\":\"k\"}").repeat(100);
    let mut position = 0;
    for _ in 0..PROBES {
        fill(&mut stalled, &gets, &mut position);
        assert!(is_answered_in_one_turn(&mut engine, &mut light));
    }
    let peers = engine.core.directory.all();
    let waiting: Vec<usize> = peers.iter().map(|peer| peer.outbox_bytes.load(Ordering::Relaxed)).collect();
    assert!(waiting.iter().any(|waiting| (MIB / 2..2 * MIB).contains(waiting)), "nobody stalled: {waiting:?}");
}

#[test]
fn others_have_their_turn_while_the_largest_message_is_received() {
    let mut engine = TurnedEngine::start(Limits::default());
    let (mut light, mut large) = (engine.connect(), engine.connect());
    let value = "x".repeat(63 * MIB);
    let set = call("state::set", &format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}"));
    large.socket.set_nonblocking(true).unwrap();
    let (mut sent, mut answers) = (0, 0);
    while sent < set.len() {
        sent += large.socket.write(&set[sent..]).unwrap_or(0);
        assert!(is_answered_in_one_turn(&mut engine, &mut light));
        answers += 1;
    }
    assert!(answers >= 10, "the message came in {answers} turns");
}
