//! Replies to writes wait for the journal, which is played by hand here; everything else goes on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::calls::{Call, Outcome, Wake};
use iii_fast_core::control::ControlInvocation;
use iii_fast_core::limits::Limits;
use iii_fast_reactor::inbox::Command;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::{Client, Engine, member};

/// Below the reactor's tick of 500 ms, far above what anything here takes.
const LATE: Duration = Duration::from_millis(300);

#[derive(Clone, Default)]
struct Bell(Arc<AtomicUsize>);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn journaled(limits: Limits, loops: usize) -> (Engine, Bell) {
    let engine = Engine::start(limits, loops);
    let bell = Bell::default();
    engine.core.state.log().attach(0, Box::new(bell.clone()));
    (engine, bell)
}

fn call(id: &str, function_id: &str, data: &str) -> String {
    format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"{id}\",\"function_id\":\"state::{function_id}\",\"data\":{data}}}"
    )
}

fn set(id: &str, key: &str) -> String {
    call(id, "set", &format!("{{\"scope\":\"s\",\"key\":\"{key}\",\"value\":1}}"))
}

fn get(id: &str, key: &str) -> String {
    call(id, "get", &format!("{{\"scope\":\"s\",\"key\":\"{key}\"}}"))
}

/// Reads replies until there are `count`; their ids.
fn ids(client: &mut Client, count: usize) -> HashSet<String> {
    (0..count).map(|_| member(&client.read(), "invocation_id").to_owned()).collect()
}

fn set_of(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn replies_to_writes_wait_and_replies_to_reads_overtake_them() {
    for loops in [1, 2] {
        let (engine, bell) = journaled(Limits::default(), loops);
        let mut client = engine.connect(0);
        let mut other = engine.connect(1);
        client.send(&set("w1", "a"));
        client.send(&get("r1", "a"));
        assert_eq!(ids(&mut client, 1), set_of(&["r1"]), "the reader sees what is not acknowledged yet");
        client.settle();
        assert!(bell.0.load(Ordering::SeqCst) > 0, "the journal was woken");
        other.send(&set("w2", "b"));
        other.settle();
        let log = engine.core.state.log();
        assert_eq!((log.last(), log.acknowledged()), (2, 0));
        log.acknowledge(1, 0);
        assert_eq!(ids(&mut client, 1), set_of(&["w1"]));
        other.settle();
        log.acknowledge(2, 0);
        assert_eq!(ids(&mut other, 1), set_of(&["w2"]));
    }
}

#[test]
fn what_writes_nothing_does_not_wait() {
    let (engine, _) = journaled(Limits::default(), 1);
    let mut client = engine.connect(0);
    client.send(&call("d", "delete", "{\"scope\":\"s\",\"key\":\"absent\"}"));
    client.send(&call("u", "update", "{\"scope\":\"s\",\"key\":\"absent\",\"ops\":[]}"));
    assert_eq!(ids(&mut client, 2), set_of(&["d", "u"]));
}

#[test]
fn after_a_failure_waiting_replies_become_errors_and_writes_are_refused() {
    let (engine, _) = journaled(Limits::default(), 2);
    let mut clients = [engine.connect(0), engine.connect(1)];
    for client in &mut clients {
        for n in 0..50 {
            client.send(&set(&format!("w{n}"), &format!("k{n}")));
        }
        client.settle();
    }
    engine.core.state.log().fail("No space left on device");
    for client in &mut clients {
        let mut failed = HashSet::new();
        for _ in 0..50 {
            let reply = client.read();
            assert!(reply.contains("\"error\":{\"code\":\"STORAGE_FAILED\""), "{reply}");
            assert!(reply.contains("No space left on device"), "{reply}");
            assert_eq!(member(&reply, "function_id"), "state::set");
            failed.insert(member(&reply, "invocation_id").to_owned());
        }
        assert_eq!(failed.len(), 50);
        client.send(&set("later", "k"));
        let reply = client.read();
        assert!(reply.contains("STORAGE_FAILED") && member(&reply, "invocation_id") == "later", "{reply}");
        client.send(&get("read", "k1"));
        assert!(client.read().ends_with("\"result\":1}"), "reads go on");
    }
}

#[test]
fn an_invocation_of_the_control_plane_waits_too() {
    let (engine, _) = journaled(Limits::default(), 1);
    let mut client = engine.connect(0);
    let invocation = |ticket, value: &str| {
        Command::Invoke(ControlInvocation {
            ticket,
            function_id: "state::set".into(),
            data: format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":{value}}}").into(),
            metadata: None,
            traceparent: None,
            baggage: None,
        })
    };
    engine.tell(0, invocation(7, "1"));
    client.settle();
    assert!(engine.core.calls.take(10).is_empty());
    engine.core.state.log().acknowledge(1, 0);
    let call = engine.await_call(|call| matches!(call, Call::Settled { .. }));
    assert!(matches!(call, Call::Settled { ticket: 7, outcome: Outcome::Result(Some(_)) }));
    engine.tell(0, invocation(8, "2"));
    client.settle();
    engine.core.state.log().fail("broken");
    let call = engine.await_call(|call| matches!(call, Call::Settled { .. }));
    assert!(matches!(call, Call::Settled { ticket: 8, outcome: Outcome::Error(_) }));
}

#[test]
fn whoever_fills_the_log_is_not_read_until_the_journal_has_caught_up() {
    let limits = Limits { log_bytes_max: 64 << 10, ..Limits::default() };
    let (engine, _) = journaled(limits, 1);
    let mut client = engine.connect(0);
    let value = "x".repeat(8 << 10);
    let burst: String = call("", "set", &format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}"));
    let burst = burst.replace("\"invocation_id\":\"\",", "");
    let frames: Vec<u8> =
        (0..1000).flat_map(|_| support::masked(iii_fast_core::ws::OPCODE_TEXT, burst.as_bytes())).collect();
    let log = engine.core.state.log();
    let most = std::thread::scope(|scope| {
        let writer = client.socket.try_clone().unwrap();
        scope.spawn(move || std::io::Write::write_all(&mut { writer }, &frames).unwrap());
        let (mut most, mut bytes) = (0, Vec::new());
        while log.acknowledged() < 1000 {
            most = most.max(log.waiting_bytes());
            bytes.clear();
            if let Some(last) = log.take(&mut bytes) {
                log.acknowledge(last, last);
            }
            std::thread::yield_now();
        }
        most
    });
    client.settle();
    assert!(most < 2 * (64 << 10), "{most} bytes waited");
}

#[test]
fn changes_are_told_when_they_are_acknowledged() {
    let (engine, _) = journaled(Limits::default(), 1);
    engine.core.state.watch(None);
    let mut client = engine.connect(0);
    // One by one: replies to what is read together wait together.
    for write in [set("w1", "a"), set("w2", "b")] {
        client.send(&write);
        client.settle();
    }
    let mut changes = Vec::new();
    engine.core.state.take_changes(&mut changes);
    assert_eq!(changes.len(), 0);
    engine.core.state.log().acknowledge(1, 1);
    assert_eq!(ids(&mut client, 1).len(), 1);
    engine.core.state.take_changes(&mut changes);
    assert_eq!(changes.iter().map(|change| &*change.key).collect::<Vec<_>>(), ["a"]);
    assert_eq!(engine.core.state.changes_waiting(), 1);
}

/// They would count against everybody who is still served.
#[test]
fn changes_that_will_never_be_acknowledged_are_forgotten_after_a_failure() {
    let (engine, _) = journaled(Limits::default(), 1);
    engine.core.state.watch(None);
    let mut client = engine.connect(0);
    let many = iii_fast_core::calls::CALLS_WAITING_MAX + 1;
    for key in 0..many {
        engine.core.state.set("s", &key.to_string(), iii_fast_core::state::Stored::new("1"), None).unwrap();
    }
    assert!(engine.core.is_control_full(), "whoever writes on waits");
    let log = engine.core.state.log();
    log.acknowledge(1, 1);
    log.fail("No space left on device");
    let mut changes = Vec::new();
    engine.core.state.take_changes(&mut changes);
    assert_eq!(changes.iter().map(|change| &*change.key).collect::<Vec<_>>(), ["0"]);
    assert_eq!(engine.core.state.changes_waiting(), 0);
    for reader in ["r1", "r2"] {
        client.send(&get(reader, "7"));
        assert!(client.read().ends_with("\"result\":1}"), "reads go on");
    }
}

/// A journal that takes and acknowledges everything at once, before it is even told about: in the middle of the pass that writes.
struct Hasty(std::sync::Weak<iii_fast_core::core::Core>);

impl Wake for Hasty {
    fn wake(&self) {
        let Some(core) = self.0.upgrade() else { return };
        let log = core.state.log();
        let mut bytes = Vec::new();
        if let Some(last) = log.take(&mut bytes) {
            log.acknowledge(last, last);
        }
    }
}

#[test]
fn what_is_written_when_the_journal_has_caught_up_is_handed_over_too() {
    let limits = Limits { log_bytes_max: 1, ..Limits::default() };
    let engine = Engine::start(limits, 1);
    engine.core.state.log().attach(0, Box::new(Hasty(Arc::downgrade(&engine.core))));
    let mut client = engine.connect(0);
    let log = engine.core.state.log();
    let begun = std::time::Instant::now();
    for round in 0..12 {
        let ids_of_round = [format!("{round}a"), format!("{round}b")];
        let frames: Vec<u8> = ids_of_round
            .iter()
            .flat_map(|id| support::masked(iii_fast_core::ws::OPCODE_TEXT, set(id, "k").as_bytes()))
            .collect();
        std::io::Write::write_all(&mut client.socket, &frames).unwrap();
        assert_eq!(ids(&mut client, 2), HashSet::from(ids_of_round));
        // The reactor waits for nothing any more.
        log.acknowledge(log.last(), log.last());
        client.settle();
    }
    assert!(begun.elapsed() < 6 * LATE, "{:?}: rounds were left to the tick", begun.elapsed());
}

#[test]
fn a_session_that_could_go_on_but_for_the_journal_goes_on_when_it_has_caught_up() {
    let (engine, _) = journaled(Limits { log_bytes_max: 1, ..Limits::default() }, 2);
    let (mut writer, mut other) = (engine.connect(0), engine.connect(1));
    other.send("{\"type\":\"registertrigger\",\"id\":\"t\"}");
    while engine.core.counters.messages_in.load(Ordering::SeqCst) < 1 {
        std::thread::yield_now();
    }
    writer.send(&set("w", "k"));
    let log = engine.core.state.log();
    while log.last() < 1 {
        std::thread::yield_now();
    }
    // Now what the session waits for has come, and the log is full.
    engine.await_call(|call| matches!(call, Call::Message { .. }));
    other.send("{\"type\":\"ping\"}");
    engine.tell(1, Command::Resume);
    let mut third = engine.connect(1);
    let begun = std::time::Instant::now();
    assert_eq!(log.take(&mut Vec::new()), Some(1));
    log.acknowledge(1, 1);
    assert_eq!(ids(&mut writer, 1), set_of(&["w"]));
    third.settle();
    assert_eq!(other.read(), "{\"type\":\"pong\"}");
    assert!(begun.elapsed() < LATE, "{:?}: it was left to the tick", begun.elapsed());
}

#[test]
fn what_expires_while_the_disk_stands_still_does_not_fill_the_log_without_end() {
    let limits = Limits { log_bytes_max: 256 << 10, ..Limits::default() };
    let core = iii_fast_core::core::Core::new(limits, Box::new(Bell::default()));
    let count = 30_000;
    for key in 0..count {
        let value = iii_fast_core::state::Stored::new("1");
        core.state.set("s", &key.to_string(), value, Some(1)).unwrap();
    }
    let log = core.state.log();
    log.attach(log.last(), Box::new(Bell::default()));
    (0..20).for_each(|_| core.advance_clock(1));
    assert!(log.waiting_bytes() < 2 * (256 << 10), "{} bytes wait", log.waiting_bytes());
    assert!(core.state.key_count() > 0);
    // When it goes on, so does this.
    for _ in 0..20 {
        log.take(&mut Vec::new());
        core.advance_clock(1);
    }
    assert_eq!(core.state.key_count(), 0);
}

#[test]
fn replies_that_wait_leave_in_their_order_while_one_write_after_the_other_is_acknowledged() {
    const WRITES: u64 = 200;
    const STEP: u64 = 20;
    let (engine, _) = journaled(Limits::default(), 1);
    let log = engine.core.state.log();
    for round in 0..20 {
        let mut client = engine.connect(0);
        // Each in a pass of its own, so that they wait one by one.
        for n in 0..WRITES {
            client.send(&set(&n.to_string(), "k"));
            client.settle();
        }
        let first = round * WRITES;
        let reader = std::thread::spawn(move || {
            (0..WRITES).map(|_| member(&client.read(), "invocation_id").to_owned()).collect::<Vec<_>>()
        });
        (1..=WRITES / STEP).for_each(|step| log.acknowledge(first + step * STEP, first + step * STEP));
        let expected: Vec<String> = (0..WRITES).map(|n| n.to_string()).collect();
        assert_eq!(reader.join().unwrap(), expected);
    }
}

/// Replies that wait for the disk count as much as those that wait for the socket.
#[test]
fn whoever_has_too_many_replies_waiting_for_the_journal_is_not_read() {
    let (engine, _) = journaled(Limits { outbox_throttle_bytes: 64 << 10, ..Limits::default() }, 1);
    let mut client = engine.connect(0);
    let log = engine.core.state.log();
    let value = "x".repeat(16 << 10);
    let sets = 100;
    for n in 0..sets {
        client.send(&call(&n.to_string(), "set", &format!("{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}")));
    }
    // Another one is still served, pass after pass.
    let mut other = engine.connect(0);
    for n in 0..200 {
        other.send(&get(&n.to_string(), "absent"));
        other.read();
    }
    assert!(log.last() < 10, "{} writes were served", log.last());
    // It goes on when they have left: all of a pass when its last write is acknowledged.
    let reader = std::thread::spawn(move || {
        for n in 0..sets {
            assert_eq!(member(&client.read(), "invocation_id"), n.to_string());
        }
    });
    while !reader.is_finished() {
        log.acknowledge(log.last(), log.last());
        other.send(&get("r", "absent"));
        other.read();
    }
    reader.join().unwrap();
}
