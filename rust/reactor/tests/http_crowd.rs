//! Many http connections at once, and what an idle one costs. Alone in its process: it looks at the memory of all of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::HttpLimits;
use std::io::Write;
use std::net::TcpStream;
use support::http::{Site, get, read_response};

/// What an idle http connection may cost, without what the kernel keeps.
const IDLE_BYTES_MAX: usize = 4 << 10;
const CROWD: usize = 1_500;

#[test]
fn many_connections_are_served_and_cost_little_when_idle() {
    let mut site = Site::start(HttpLimits::default(), 2);
    let round = |site: &mut Site, streams: &mut [TcpStream]| {
        for (n, stream) in streams.iter_mut().enumerate() {
            stream.write_all(get(&format!("/a/{n}")).as_bytes()).unwrap();
        }
        streams.iter().for_each(|_| site.answer_parameter());
        for (n, stream) in streams.iter_mut().enumerate() {
            assert_eq!(read_response(stream), (200, format!("\"{n}\"")));
        }
    };
    // What the first ones leave behind is for all: buffers, tables, the allocator's own.
    let mut warm: Vec<TcpStream> = (0..200).map(|_| site.connect()).collect();
    round(&mut site, &mut warm);
    drop(warm);
    site.await_open(0);
    let before = resident_bytes();
    let mut streams: Vec<TcpStream> = (0..CROWD).map(|_| site.connect()).collect();
    site.await_open(CROWD);
    for _ in 0..2 {
        round(&mut site, &mut streams);
    }
    let each = resident_bytes().saturating_sub(before) / CROWD;
    assert!(each <= IDLE_BYTES_MAX, "{each} bytes for each idle connection, {IDLE_BYTES_MAX} are allowed");
    drop(streams);
    site.await_open(0);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
