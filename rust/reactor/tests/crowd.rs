//! Thousands of connections, half of which do not read: nobody else waits, and memory stays within the bounds of the limits.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::Limits;
use iii_fast_core::ws;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::Write;
use std::sync::atomic::Ordering;
use std::time::Instant;
use support::{Client, DEADLINE, Engine, masked};

const CONNECTIONS: usize = 5_000;
/// For everything that is not one of these connections.
const OTHER_DESCRIPTORS: usize = 200;
const SOCKET_BUFFER_BYTES: usize = 4 << 10;
const THROTTLE_BYTES: usize = 16 << 10;
/// Copied into outboxes, not shared.
const VALUE_BYTES: usize = 2 << 10;
const GETS: usize = 64;
/// What a read may leave behind while its session is paused.
const REST_BYTES: usize = 64 << 10;

/// As many connections as the system lets one process have both ends of.
fn connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let descriptors = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| most as usize);
    CONNECTIONS.min(descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn get(n: usize) -> Vec<u8> {
    let text = format!(
        "{{\"type\":\"invokefunction\",\"invocation_id\":\"{n}\",\"function_id\":\"state::get\",\"data\":{{\"scope\":\"s\",\"key\":\"k\"}}}}"
    );
    masked(ws::OPCODE_TEXT, text.as_bytes())
}

/// Outbox of every peer that has something in it.
fn waiting(engine: &Engine) -> Vec<usize> {
    let peers = engine.core.directory.all();
    peers.iter().map(|peer| peer.outbox_bytes.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0).collect()
}

#[test]
fn half_of_many_connections_do_not_read() {
    let count = connections();
    // Nobody is given up here, however slow the machine is.
    let limits = Limits {
        outbox_throttle_bytes: THROTTLE_BYTES,
        stall_ms: 3_600_000,
        silence_ms: 3_600_000,
        ping_interval_ms: 3_600_000,
        ..Limits::default()
    };
    let engine = Engine::start(limits, 2);
    let mut light: Vec<Client> = (0..count / 2).map(|n| engine.connect(n)).collect();
    let mut slow: Vec<Client> = (0..count / 2).map(|n| engine.connect_narrow(n, SOCKET_BUFFER_BYTES)).collect();
    let value = "x".repeat(VALUE_BYTES);
    light[0].send(&format!(
        "{{\"type\":\"invokefunction\",\"function_id\":\"state::set\",\"data\":{{\"scope\":\"s\",\"key\":\"k\",\"value\":\"{value}\"}}}}"
    ));
    light[0].settle();
    let before = resident_bytes();
    let gets: Vec<u8> = (0..GETS).flat_map(get).collect();
    for one in &mut slow {
        one.socket.write_all(&gets).unwrap();
    }
    // What is served to the slow ones has been when these are answered, twice over.
    for _ in 0..2 {
        light.iter_mut().for_each(Client::settle);
    }
    let begin = Instant::now();
    while waiting(&engine).len() < slow.len() {
        assert!(
            begin.elapsed() < DEADLINE,
            "{} of {} outboxes have something in them",
            waiting(&engine).len(),
            slow.len()
        );
        std::thread::yield_now();
    }
    let most = THROTTLE_BYTES + VALUE_BYTES + 200;
    let largest = waiting(&engine).into_iter().max().unwrap();
    assert!(largest <= most, "{largest} bytes wait for one peer, {most} are allowed");
    // A buffer may be twice as large as what is in it.
    let allowed = slow.len() * (2 * most + REST_BYTES) + (32 << 20);
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown <= allowed, "{grown} bytes more for {} slow peers, {allowed} are allowed", slow.len());
}
