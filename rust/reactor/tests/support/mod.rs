//! Reactors in threads and blocking clients over real sockets, without HTTP: connections are adopted as if upgraded.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod http;

use iii_fast_core::calls::{Call, Wake};
use iii_fast_core::core::Core;
use iii_fast_core::limits::Limits;
use iii_fast_core::ws;
use iii_fast_reactor::inbox::{Adoption, Command, Inbox, Purpose};
use iii_fast_reactor::{Reactor, reactors};
use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(30);

struct Quiet;
impl Wake for Quiet {
    fn wake(&self) {}
}

/// Reactors that run in threads until dropped.
pub struct Engine {
    pub core: Arc<Core>,
    inboxes: Vec<Arc<Inbox>>,
    threads: Vec<JoinHandle<()>>,
    listener: TcpListener,
}

impl Engine {
    pub fn start(limits: Limits, loops: usize) -> Self {
        let core = Arc::new(Core::new(limits, Box::new(Quiet)));
        let reactors = reactors(&core, loops).unwrap();
        let inboxes = reactors.iter().map(Reactor::inbox).collect();
        let threads =
            reactors.into_iter().map(|mut reactor| std::thread::spawn(move || reactor.run().unwrap())).collect();
        Engine { core, inboxes, threads, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// A worker connected to reactor `index`; its greeting is read already.
    pub fn connect(&self, index: usize) -> Client {
        let mut client = self.connect_raw(index);
        let greeting = client.read();
        assert!(greeting.starts_with("{\"type\":\"workerregistered\""), "{greeting}");
        client
    }

    pub fn connect_raw(&self, index: usize) -> Client {
        connect(&self.listener, &self.core, &self.inboxes[index % self.inboxes.len()], None)
    }

    /// As [`Self::connect`], with `buffer_bytes` in the kernel on the way to the client.
    pub fn connect_narrow(&self, index: usize, buffer_bytes: usize) -> Client {
        let inbox = &self.inboxes[index % self.inboxes.len()];
        let mut client = connect(&self.listener, &self.core, inbox, Some(buffer_bytes));
        client.read();
        client
    }

    pub fn tell(&self, index: usize, command: Command) {
        self.inboxes[index].push(command);
    }

    /// Plays a control plane that needs `handling` for what it took, until `done`; then until nobody can wait any more.
    pub fn play_control(&self, done: &AtomicBool, handling: Duration) {
        let mut last_round = Instant::now();
        while !done.load(Ordering::Relaxed) || last_round.elapsed() < DEADLINE / 30 {
            if !done.load(Ordering::Relaxed) {
                last_round = Instant::now();
            }
            let calls = self.core.calls.take(usize::MAX);
            let until = Instant::now() + handling;
            while !calls.is_empty() && Instant::now() < until {
                std::thread::yield_now();
            }
            if self.core.calls.set_handled() {
                self.inboxes.iter().for_each(|inbox| inbox.push(Command::Resume));
            }
            std::thread::yield_now();
        }
    }

    /// Plays the control plane: takes calls until one satisfies `wanted`.
    pub fn await_call(&self, mut wanted: impl FnMut(&Call) -> bool) -> Call {
        let begin = Instant::now();
        loop {
            let calls = self.core.calls.take(usize::MAX);
            self.core.calls.set_handled();
            for inbox in &self.inboxes {
                inbox.push(Command::Resume);
            }
            if let Some(call) = calls.into_iter().find(&mut wanted) {
                return call;
            }
            assert!(begin.elapsed() < DEADLINE, "the call did not come");
            std::thread::yield_now();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for inbox in &self.inboxes {
            inbox.push(Command::Stop);
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn connect(listener: &TcpListener, core: &Core, inbox: &Inbox, buffer_bytes: Option<usize>) -> Client {
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    let (socket, address) = listener.accept().unwrap();
    if let Some(bytes) = buffer_bytes {
        sockopt::set_socket_recv_buffer_size(&client, bytes).unwrap();
        sockopt::set_socket_send_buffer_size(&socket, bytes).unwrap();
    }
    let adoption = Adoption {
        socket,
        tls: None,
        leftover: Vec::new(),
        purpose: Purpose::Worker,
        address: address.to_string(),
        connected_at_ms: 0,
    };
    inbox.adopt(core, adoption);
    Client { socket: client, buffer: Vec::new() }
}

/// One reactor whose turns the test makes itself.
pub struct TurnedEngine {
    pub core: Arc<Core>,
    pub reactor: Reactor,
    listener: TcpListener,
}

impl TurnedEngine {
    pub fn start(limits: Limits) -> Self {
        let core = Arc::new(Core::new(limits, Box::new(Quiet)));
        let reactor = reactors(&core, 1).unwrap().pop().unwrap();
        TurnedEngine { core, reactor, listener: TcpListener::bind("127.0.0.1:0").unwrap() }
    }

    /// A connected worker; its greeting is read already.
    pub fn connect(&mut self) -> Client {
        let mut client = connect(&self.listener, &self.core, &self.reactor.inbox(), None);
        self.turn();
        client.read();
        client
    }

    pub fn turn(&mut self) {
        self.reactor.turn().unwrap();
    }

    /// The next message of a client, after as many turns as it takes.
    pub fn await_message(&mut self, client: &mut Client) -> String {
        let (opcode, payload) = self.await_frame(client);
        assert_eq!(opcode, ws::OPCODE_TEXT);
        String::from_utf8(payload).unwrap()
    }

    /// The same of frames of any kind.
    pub fn await_frame(&mut self, client: &mut Client) -> (u8, Vec<u8>) {
        client.socket.set_nonblocking(true).unwrap();
        let begin = Instant::now();
        while !client.has_message() {
            assert!(begin.elapsed() < DEADLINE, "nothing came within the deadline");
            self.turn();
            client.fetch();
        }
        client.socket.set_nonblocking(false).unwrap();
        client.frame().expect("a frame")
    }
}

/// A blocking WebSocket client without handshake.
pub struct Client {
    pub socket: TcpStream,
    buffer: Vec<u8>,
}

pub fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    ws::write_frame_header(&mut frame, opcode, payload.len());
    frame[1] |= 0x80;
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

impl Client {
    pub fn send(&mut self, message: &str) {
        self.socket.write_all(&masked(ws::OPCODE_TEXT, message.as_bytes())).unwrap();
    }

    pub fn try_send(&mut self, message: &str) -> bool {
        self.socket.write_all(&masked(ws::OPCODE_TEXT, message.as_bytes())).is_ok()
    }

    /// The next frame: opcode and payload; none at the end of the connection.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some((opcode, begin, end)) = parse(&self.buffer) {
                let payload = self.buffer[begin..end].to_vec();
                self.buffer.drain(..end);
                return Some((opcode, payload));
            }
            let mut chunk = [0; 64 << 10];
            match self.socket.read(&mut chunk) {
                Ok(0) => return None,
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing came within the deadline: {error}"),
            }
        }
    }

    fn has_message(&self) -> bool {
        parse(&self.buffer).is_some()
    }

    /// Takes what has come, of a socket that does not block.
    fn fetch(&mut self) {
        let mut chunk = [0; 64 << 10];
        while let Ok(n @ 1..) = self.socket.read(&mut chunk) {
            self.buffer.extend_from_slice(&chunk[..n]);
        }
    }

    pub fn read(&mut self) -> String {
        let (opcode, payload) = self.frame().expect("a message");
        assert_eq!(opcode, ws::OPCODE_TEXT);
        String::from_utf8(payload).unwrap()
    }

    /// Everything sent before has been served when this returns.
    pub fn settle(&mut self) {
        self.send("{\"type\":\"ping\"}");
        assert_eq!(self.read(), "{\"type\":\"pong\"}");
    }
}

fn parse(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (&first, &second) = (buffer.first()?, buffer.get(1)?);
    let (begin, len) = match second {
        126 => (4, usize::from(u16::from_be_bytes(buffer.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().unwrap()) as usize),
        len => (2, usize::from(len)),
    };
    (buffer.len() >= begin + len).then_some((first & 15, begin, begin + len))
}

/// The value of a string member, for the simple messages of these tests.
pub fn member<'a>(message: &'a str, name: &str) -> &'a str {
    let begin = message.find(&format!("\"{name}\":\"")).expect(name) + name.len() + 4;
    let end = begin + message[begin..].find('"').unwrap();
    &message[begin..end]
}
