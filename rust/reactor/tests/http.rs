//! Http through real sockets and reactors: slow clients, cut and pipelined requests, and ends in the middle.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::limits::HttpLimits;
use rustix::net::sockopt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Instant;
use support::http::{Site, get, read_response, read_rest};
use support::{DEADLINE, member};

#[test]
fn slow_heads_and_bodies_end_with_408_and_cost_others_nothing() {
    let mut site = Site::start(HttpLimits { head_ms: 700, body_ms: 700, ..HttpLimits::default() }, 1);
    let mut heads: Vec<TcpStream> = (0..50).map(|_| site.connect()).collect();
    let mut bodies: Vec<TcpStream> = (0..50).map(|_| site.connect()).collect();
    heads.iter_mut().for_each(|stream| stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap());
    let begun = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nx";
    bodies.iter_mut().for_each(|stream| stream.write_all(begun).unwrap());
    let mut quick = site.connect();
    for n in 0..20 {
        quick.write_all(get(&format!("/a/{n}")).as_bytes()).unwrap();
        site.answer_parameter();
        assert_eq!(read_response(&mut quick), (200, format!("\"{n}\"")));
    }
    for stream in heads.iter_mut().chain(&mut bodies) {
        assert_eq!(read_response(stream).0, 408);
        assert_eq!(read_rest(stream), 0);
    }
}

#[test]
fn dripping_buys_no_time() {
    let site = Site::start(HttpLimits { head_ms: 700, ..HttpLimits::default() }, 1);
    let mut stream = site.connect();
    stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let (begin, mut byte) = (Instant::now(), [0]);
    stream.write_all(b"GET / HTTP/1.1\r\nX: ").unwrap();
    // A byte every 50 ms, for as long as nothing comes back.
    while stream.read(&mut byte).is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
        assert!(begin.elapsed() < DEADLINE, "a head of many drops is never refused");
        stream.write_all(b"x").unwrap();
    }
    let mut rest = vec![0; 11];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!((byte[0], &rest[..]), (b'H', &b"TTP/1.1 408"[..]));
}

#[test]
fn pipelined_requests_are_answered_in_order_however_they_are_cut() {
    let mut site = Site::start(HttpLimits::default(), 2);
    let post = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    let raw: String = (0..10).map(|n| get(&format!("/a/{n}")) + post + &get("/none")).collect();
    for step in [1, 13, raw.len()] {
        let mut stream = site.connect();
        for part in raw.as_bytes().chunks(step) {
            stream.write_all(part).unwrap();
        }
        for n in 0..10 {
            site.answer_parameter();
            let asked = site.answer(|_| "[]".to_owned());
            assert!(asked.contains(r#""body":"abc""#), "{asked}");
            assert_eq!(read_response(&mut stream), (200, format!("\"{n}\"")));
            assert_eq!(read_response(&mut stream), (200, "[]".to_owned()));
            assert_eq!(read_response(&mut stream).0, 404);
        }
    }
}

#[test]
fn a_response_that_the_socket_takes_in_many_pieces_comes_whole() {
    // More than the kernel keeps of it.
    const BYTES: usize = 16 << 20;
    let mut site = Site::start(HttpLimits::default(), 1);
    let mut stream = site.connect();
    sockopt::set_socket_recv_buffer_size(&stream, 64 << 10).unwrap();
    stream.write_all((get("/a/1") + &get("/a/2")).as_bytes()).unwrap();
    let text: String = ('a'..='z').cycle().take(BYTES).collect();
    site.answer(|_| format!("\"{text}\""));
    // The second is begun only when the first is nearly out.
    let mut other = site.connect();
    other.write_all(get("/a/3").as_bytes()).unwrap();
    site.answer_parameter();
    assert_eq!(read_response(&mut other), (200, "\"3\"".to_owned()));
    let (status, body) = read_response(&mut stream);
    assert!(status == 200 && body[1..=BYTES] == text, "{} bytes came with status {status}", body.len());
    site.answer_parameter();
    assert_eq!(read_response(&mut stream), (200, "\"2\"".to_owned()));
}

#[test]
fn large_responses_to_pipelined_requests_follow_each_other_at_once() {
    const COUNT: usize = 20;
    let mut site = Site::start(HttpLimits::default(), 1);
    let limit = HttpLimits::default().outbox_bytes_max;
    let mut stream = site.connect();
    stream.write_all(get("/a/1").repeat(COUNT).as_bytes()).unwrap();
    let (begin, text) = (Instant::now(), "x".repeat(limit + 1));
    for _ in 0..COUNT {
        site.answer(|_| format!("\"{text}\""));
        assert_eq!(read_response(&mut stream).1.len(), text.len() + 2);
    }
    // One that waits for the next tick waits half a second.
    assert!(begin.elapsed() < std::time::Duration::from_secs(COUNT as u64 / 4), "{:?}", begin.elapsed());
}

#[test]
fn pipelined_requests_that_are_answered_at_once_do_not_wait_either() {
    const REQUEST: &str = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    // As many as one read takes in: their answers are more than may wait.
    const COUNT: usize = 2400;
    const BURSTS: usize = 10;
    let site = Site::start(HttpLimits::default(), 1);
    let mut stream = site.connect();
    stream.write_all(REQUEST.as_bytes()).unwrap();
    let mut response = vec![0; 4096];
    let len = stream.read(&mut response).unwrap();
    assert!(response.starts_with(b"HTTP/1.1 404 "));
    let begin = Instant::now();
    for _ in 0..BURSTS {
        stream.write_all(REQUEST.repeat(COUNT).as_bytes()).unwrap();
        let mut responses = vec![0; COUNT * len];
        stream.read_exact(&mut responses).unwrap();
        assert!(responses.chunks(len).all(|one| one.starts_with(b"HTTP/1.1 404 ")));
    }
    // A burst that waits for the next tick waits up to half a second.
    assert!(begin.elapsed() < std::time::Duration::from_secs(BURSTS as u64 / 4), "{:?}", begin.elapsed());
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_body_leaves_nothing_behind() {
    let mut site = Site::start(HttpLimits::default(), 2);
    let mut quick = site.connect();
    let head = "POST /b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n";
    for begun in
        [format!("{head}Content-Length: 9\r\n\r\nab"), format!("{head}Transfer-Encoding: chunked\r\n\r\n9\r\nab")]
    {
        for how in [Some(Shutdown::Write), None] {
            let mut stream = site.connect();
            stream.write_all(begun.as_bytes()).unwrap();
            site.await_open(2);
            match how {
                Some(half) => {
                    stream.shutdown(half).unwrap();
                    assert_eq!(read_rest(&mut stream), 0);
                }
                // With something unread the kernel resets the connection.
                None => sockopt::set_socket_linger(&stream, Some(std::time::Duration::ZERO)).unwrap(),
            }
            drop(stream);
            site.await_open(1);
        }
    }
    quick.write_all(get("/a/1").as_bytes()).unwrap();
    // Had half a body been served, this would be its invocation.
    site.answer_parameter();
    assert_eq!(read_response(&mut quick), (200, "\"1\"".to_owned()));
}

#[test]
fn a_client_that_goes_while_its_function_runs_gives_its_place_back() {
    let mut site = Site::start(HttpLimits { requests_max: 1, ..HttpLimits::default() }, 2);
    let mut first = site.connect();
    first.write_all(get("/a/1").as_bytes()).unwrap();
    let asked = site.worker.read();
    let mut second = site.connect();
    second.write_all(get("/a/2").as_bytes()).unwrap();
    sockopt::set_socket_linger(&first, Some(std::time::Duration::ZERO)).unwrap();
    drop(first);
    site.answer_parameter();
    assert_eq!(read_response(&mut second), (200, "\"2\"".to_owned()));
    // The late answer finds nobody.
    let id = member(&asked, "invocation_id");
    site.worker.send(&format!(r#"{{"type":"invocationresult","invocation_id":"{id}","function_id":"f","result":1}}"#));
    site.worker.settle();
    site.await_open(1);
}

#[test]
fn the_body_limit_from_both_sides() {
    let mut site = Site::start(HttpLimits { body_bytes_max: 1000, ..HttpLimits::default() }, 1);
    let post = |length: usize, body: usize| {
        let body = "x".repeat(body);
        format!("POST /b HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n{body}")
    };
    let mut stream = site.connect();
    stream.write_all(post(1000, 1000).as_bytes()).unwrap();
    let asked = site.answer(|_| "1".to_owned());
    assert!(asked.contains(&format!("\"body\":\"{}\"", "x".repeat(1000))));
    assert_eq!(read_response(&mut stream).0, 200);
    // One that still sends reads why it is refused.
    stream.write_all(post(1001, 0).as_bytes()).unwrap();
    let _ = stream.write_all(&vec![b'x'; 300_000]);
    assert_eq!(read_response(&mut stream).0, 413);
    assert_eq!(read_rest(&mut stream), 0);
    drop(stream);
    site.await_open(0);
}
