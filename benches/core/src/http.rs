//! Http bytes to bytes: a GET with one parameter, answered by a worker.

use iii_fast_core::http::Route;
use iii_fast_core::limits::Limits;
use iii_fast_core::loopback::Loopback;
use iii_fast_core::peer::SessionId;
use iii_fast_core::ws;
use iii_fast_load::frame;
use iii_fast_load::random::Random;

use crate::{SEED, Work, Wrong, measured};

/// Requests that come in one pass, each of a connection of its own.
const BATCH: usize = 16;
const TEXT: u8 = 1;
const ID: &[u8] = b"\"invocation_id\":\"";
const ID_BYTES: usize = 36;

/// GETs over kept connections.
pub struct Gets {
    core: Loopback,
    clients: Vec<SessionId>,
    worker: SessionId,
    random: Random,
    requests: Vec<String>,
    answered: Vec<Vec<u8>>,
    expected: Vec<String>,
}

fn body(number: usize) -> String {
    format!("{{\"n\":\"{number:016x}\"}}")
}

impl Gets {
    /// So many requests to one route.
    ///
    pub fn new(count: usize) -> Self {
        let mut core = Loopback::new(Limits::default());
        let worker = core.connect();
        core.receive(worker, TEXT, br#"{"type":"registerfunction","id":"bench::f"}"#);
        core.take(worker);
        // Refused it would be missed by the first request.
        if let Ok(route) = Route::new(1, "GET", "bench/0/:n", "bench::f", None, true) {
            let _ = core.core.http.routes.write().add(route);
        }
        let clients = (0..BATCH).map(|_| core.http_connect()).collect();
        let request = |n| format!("GET /bench/0/{n:016x} HTTP/1.1\r\nHost: 127.0.0.1:3111\r\nAccept: */*\r\n\r\n");
        let response = |n| {
            let (body, date) = (body(n), "Thu, 01 Jan 1970 00:00:00 GMT");
            format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\naccess-control-allow-origin: *\r\n\
                 access-control-expose-headers: *\r\ndate: {date}\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let requests = (0..count).map(request).collect();
        let expected = (0..count).map(response).collect();
        Gets { core, clients, worker, random: Random::new(SEED, 5), requests, answered: Vec::new(), expected }
    }

    /// The worker's results for the requests in its frames, the first of which has that number.
    fn results(&mut self, frames: &[u8], first: usize) -> Vec<u8> {
        let mut results = Vec::new();
        let (mut rest, mut number) = (frames, first);
        while let Some((message, behind)) = ws::split_frame(rest) {
            let at = message.windows(ID.len()).position(|bytes| bytes == ID).map_or(0, |at| at + ID.len());
            let id = String::from_utf8_lossy(message.get(at..at + ID_BYTES).unwrap_or_default());
            let result = format!(
                r#"{{"type":"invocationresult","invocation_id":"{id}","function_id":"bench::f","result":{{"status_code":200,"body":{}}}}}"#,
                body(number)
            );
            frame::encode(&mut results, TEXT, result.as_bytes(), Some(&mut self.random));
            (rest, number) = (behind, number + 1);
        }
        results
    }
}

impl Work for Gets {
    fn run(&mut self) {
        for first in (0..self.requests.len()).step_by(BATCH) {
            let asked = measured(|| {
                for (client, request) in self.clients.iter().zip(&self.requests[first..]) {
                    self.core.http_feed(*client, request.as_bytes());
                }
                self.core.take(self.worker)
            });
            let mut results = self.results(&asked, first);
            let clients = self.requests.len().min(first + BATCH) - first;
            measured(|| {
                self.core.feed(self.worker, &mut results);
                for client in &self.clients[..clients] {
                    self.answered.push(self.core.http_take(*client).0);
                }
            });
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        let wrong = |number| Wrong { what: "dispatch-http", number };
        if self.answered.len() != self.expected.len() {
            return Err(wrong(self.answered.len()));
        }
        let found = self.answered.iter().zip(&self.expected).position(|(found, expected)| found != expected.as_bytes());
        found.map_or(Ok(()), |number| Err(wrong(number)))
    }
}
