//! Http clients of an engine with one worker, over real sockets.

use super::{Client, DEADLINE, Engine, member};
use iii_fast_core::http::Route;
use iii_fast_core::limits::{HttpLimits, Limits};
use iii_fast_reactor::http::HttpCommand;
use iii_fast_reactor::inbox::Command;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// An engine with a worker that has the routes `GET a/:n` and `POST b`, and an http port.
pub struct Site {
    engine: Engine,
    pub worker: Client,
    address: SocketAddr,
}

impl Site {
    pub fn start(http: HttpLimits, loops: usize) -> Self {
        // No pings among what the worker is asked.
        let engine = Engine::start(Limits { http, ping_interval_ms: 3_600_000, ..Limits::default() }, loops);
        let mut worker = engine.connect(0);
        worker.send(r#"{"type":"registerfunction","id":"f"}"#);
        worker.settle();
        for (id, method, path) in [(1, "GET", "a/:n"), (2, "POST", "b")] {
            let route = Route::new(id, method, path, "f", None, true).unwrap();
            engine.core.http.routes.write().add(route).unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // As the engine's own listeners: a crowd that connects at once must not wait for the kernel to ask again.
        rustix::net::listen(&listener, 4096).unwrap();
        let address = listener.local_addr().unwrap();
        engine.tell(0, Command::Http(HttpCommand::Listen(listener, None)));
        Site { engine, worker, address }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// Lets the worker answer one request with what `body` makes of it; returns what it was asked.
    pub fn answer(&mut self, body: impl Fn(&str) -> String) -> String {
        let asked = self.worker.read();
        let reply = format!(
            r#"{{"type":"invocationresult","invocation_id":"{}","function_id":"f","result":{{"body":{}}}}}"#,
            member(&asked, "invocation_id"),
            body(&asked)
        );
        self.worker.send(&reply);
        asked
    }

    pub fn answer_parameter(&mut self) {
        self.answer(|asked| format!("\"{}\"", member(asked, "n")));
    }

    fn open(&self) -> usize {
        self.engine.core.http.connections.load(Ordering::SeqCst)
    }

    pub fn await_open(&self, count: usize) {
        let begin = Instant::now();
        while self.open() != count {
            assert!(begin.elapsed() < DEADLINE, "{} connections are open, not {count}", self.open());
            std::thread::yield_now();
        }
    }
}

pub fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

/// One whole response with a length: its status and body.
pub fn read_response(stream: &mut TcpStream) -> (u16, String) {
    let mut received = Vec::new();
    while !received.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a response");
        received.push(byte[0]);
    }
    let head = String::from_utf8(received).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    (head[9..12].parse().unwrap(), String::from_utf8(body).unwrap())
}

/// What comes until the engine ends the connection.
pub fn read_rest(stream: &mut TcpStream) -> usize {
    let (mut total, mut chunk) = (0, vec![0; 64 << 10]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return total,
            Ok(n) => total += n,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return total,
            Err(error) => panic!("the connection did not end: {error}"),
        }
    }
}
