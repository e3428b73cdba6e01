//! However a client's bytes are cut, the same requests reach functions and the same responses come back; nothing panics.
#![no_main]

use iii_fast_core::http::Route;
use iii_fast_core::limits::{HttpLimits, Limits};
use iii_fast_core::loopback::Loopback;
use iii_fast_core::ws;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&[mode, step], data)) = data.split_first_chunk::<2>() else { return };
    let whole = serve(data, usize::MAX, mode);
    assert_eq!(serve(data, 1 + usize::from(step), mode), whole);
});

/// Bytes that a client gets for `data`, and what the worker was asked, without what differs by chance.
fn serve(data: &[u8], step: usize, mode: u8) -> (Vec<u8>, Vec<String>) {
    let http = HttpLimits { head_bytes_max: 600, body_bytes_max: 300, ..HttpLimits::default() };
    let mut plane = Loopback::new(Limits { http, ..Limits::default() });
    let worker = plane.connect();
    plane.receive(worker, ws::OPCODE_TEXT, br#"{"type":"registerfunction","id":"f"}"#);
    plane.take(worker);
    for (id, (method, path)) in [("GET", "a/:x"), ("POST", "a/*rest"), ("PUT", "*"), ("GET", "")].iter().enumerate() {
        let route = Route::new(id as u64, method, path, "f", None, true).expect("a good path");
        plane.core.http.routes.write().add(route).expect("no conflict");
    }
    let client = plane.http_connect();
    let (mut received, mut asked) = (Vec::new(), Vec::new());
    for part in data.chunks(step.max(1)) {
        plane.http_feed(client, part);
        answer(&mut plane, worker, mode, &mut asked);
    }
    plane.http_end(client);
    answer(&mut plane, worker, mode, &mut asked);
    loop {
        let (bytes, is_closed) = plane.http_take(client);
        received.extend_from_slice(&bytes);
        let before = asked.len();
        answer(&mut plane, worker, mode, &mut asked);
        if is_closed || (bytes.is_empty() && asked.len() == before) {
            return (without_ids(received), asked);
        }
    }
}

/// The worker answers everything that it is asked.
fn answer(plane: &mut Loopback, worker: iii_fast_core::peer::SessionId, mode: u8, asked: &mut Vec<String>) {
    const RESULTS: [&str; 4] =
        [r#"{"body":"x"}"#, r#"{"status_code":204}"#, r#"{"headers":["a: b"],"body":null}"#, "[1]"];
    loop {
        let frames = plane.take(worker);
        let mut rest = frames.as_slice();
        if rest.is_empty() {
            return;
        }
        while let Some((message, after)) = ws::split_frame(rest) {
            rest = after;
            let message: serde_json::Value = serde_json::from_slice(message).expect("the engine sends JSON");
            asked.push(message["data"].to_string());
            let (id, result) = (&message["invocation_id"], RESULTS[usize::from(mode) % RESULTS.len()]);
            let reply =
                format!(r#"{{"type":"invocationresult","invocation_id":{id},"function_id":"f","result":{result}}}"#);
            plane.receive(worker, ws::OPCODE_TEXT, reply.as_bytes());
        }
    }
}

/// The ids of errors are made up anew each time.
fn without_ids(mut bytes: Vec<u8>) -> Vec<u8> {
    const MARK: &[u8] = b"\"error_id\":\"";
    let places: Vec<usize> = bytes.windows(MARK.len()).enumerate().filter(|(_, w)| *w == MARK).map(|(at, _)| at).collect();
    for at in places {
        bytes[at + MARK.len()..].iter_mut().take(12).for_each(|byte| *byte = b'?');
    }
    bytes
}
