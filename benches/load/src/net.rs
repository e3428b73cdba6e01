//! Many non-blocking connections on one thread, of WebSocket or of plain bytes. Only this file polls, reads and writes sockets.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use rustix::event::{Timespec, epoll};

use crate::failure::{During, Failure};
use crate::frame::{self, opcode};
use crate::outbox::Outbox;
use crate::random::Random;

/// Read at most this much of one connection per turn: several full batches of small frames, a quarter of a large one.
const READ_BYTES: usize = 256 << 10;
const EVENTS_PER_WAIT: usize = 512;
const WAKER: u64 = u64::MAX;

/// What is done with the messages of the connections.
pub trait Handler {
    /// One complete message of connection `peer` came at `now` (nanoseconds of `Net::now`).
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64);

    /// Bytes of connection `peer` of a plain protocol. Returns how many are used up; the others come again with more.
    fn bytes(&mut self, _peer: usize, _bytes: &[u8], _outbox: &mut Outbox, _now: u64) -> Result<usize, String> {
        Err("no plain protocol is spoken here".into())
    }

    /// The connection that gets all bytes of `peer` as they are, in a relay.
    fn partner(&self, _peer: usize) -> Option<usize> {
        None
    }

    /// Connection `peer` ended. Whoever still needs it returns the failure.
    fn closed(&mut self, peer: usize, reason: String) -> Result<(), Failure> {
        Err(Failure::Peer { peer, reason })
    }
}

struct Peer {
    stream: TcpStream,
    leftover: Vec<u8>,
    fragments: Option<Vec<u8>>,
    outbox: Outbox,
    waits_to_write: bool,
}

/// Which side of its connections this process is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Opened them; masks what it sends.
    Client,
    /// Accepted them; receives masked frames.
    Server,
    /// A client of a relay that passes on the frames of other clients, masked as they are.
    Relayed,
    /// Either side of a protocol that is not WebSocket.
    Plain,
}

impl Side {
    const fn masks(self) -> bool {
        matches!(self, Self::Client | Self::Relayed)
    }
}

/// One turn of one connection.
#[derive(Clone, Copy)]
struct Turn {
    peer: usize,
    side: Side,
    now: u64,
}

/// All connections of the process.
pub struct Net {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    peers: Vec<Option<Peer>>,
    scratch: Vec<u8>,
    side: Side,
    seed: u64,
    start: Instant,
}

impl Net {
    /// No connections yet; `seed` makes the masks.
    pub fn new(side: Side, seed: u64) -> Result<Self, Failure> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).during("create epoll")?,
            events: Vec::with_capacity(EVENTS_PER_WAIT),
            peers: Vec::new(),
            scratch: vec![0; READ_BYTES],
            side,
            seed,
            start: Instant::now(),
        })
    }

    /// Nanoseconds since this object was made.
    pub fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Takes over an upgraded stream with the bytes that were already read from it; returns its index.
    pub fn add(&mut self, stream: TcpStream, leftover: Vec<u8>) -> Result<usize, Failure> {
        let index = self.peers.iter().position(Option::is_none).unwrap_or(self.peers.len());
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN).during("watch a connection")?;
        let masks = self.side.masks().then(|| Random::new(self.seed, u64::MAX - index as u64));
        let outbox = Outbox::new(masks);
        let peer = Some(Peer { stream, leftover, fragments: None, outbox, waits_to_write: false });
        match self.peers.get_mut(index) {
            Some(free) => *free = peer,
            None => self.peers.push(peer),
        }
        Ok(index)
    }

    /// Watches one more descriptor: `step` says when it is readable.
    pub fn watch(&mut self, waker: impl AsFd) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, waker, epoll::EventData::new_u64(WAKER), epoll::EventFlags::IN)?)
    }

    /// Queues messages for one connection and sends what the socket takes.
    pub fn send(&mut self, peer: usize, fill: impl FnOnce(&mut Outbox, u64)) -> Result<(), Failure> {
        let now = self.now();
        let epoll = self.epoll.as_fd();
        match self.peers.get_mut(peer) {
            Some(Some(entry)) => {
                fill(&mut entry.outbox, now);
                entry.flush(epoll, peer).during("write")
            }
            _ => Err(Failure::Peer { peer, reason: "it is not open".into() }),
        }
    }

    /// Waits at most `patience_ms` for something to happen and serves it. Returns whether the watched descriptor is readable.
    pub fn step(&mut self, patience_ms: u32, handler: &mut impl Handler) -> Result<bool, Failure> {
        let patience =
            Timespec { tv_sec: i64::from(patience_ms / 1000), tv_nsec: i64::from(patience_ms % 1000) * 1_000_000 };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&patience)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => return Err(error).during("wait for events"),
        }
        let mut woken = false;
        for position in 0..self.events.len() {
            let event = self.events[position];
            if event.data.u64() == WAKER {
                woken = true;
            } else {
                self.serve(event.data.u64() as usize, handler)?;
            }
        }
        Ok(woken)
    }

    fn serve(&mut self, index: usize, handler: &mut impl Handler) -> Result<(), Failure> {
        let turn = Turn { peer: index, side: self.side, now: self.now() };
        if let Some(partner) = handler.partner(index) {
            return self.pass_on(index, partner, handler);
        }
        let Some(Some(peer)) = self.peers.get_mut(index) else { return Ok(()) };
        let ended = match peer.receive(&mut self.scratch, turn, handler) {
            Ok(None) => peer.flush(self.epoll.as_fd(), index).err().map(|error| error.to_string()),
            Ok(ended) => ended,
            Err(error) => Some(error.to_string()),
        };
        let Some(reason) = ended else { return Ok(()) };
        self.peers[index] = None;
        handler.closed(index, reason)
    }

    /// One read of one connection, written to another one.
    fn pass_on(&mut self, from: usize, to: usize, handler: &mut impl Handler) -> Result<(), Failure> {
        let Some(Some(peer)) = self.peers.get_mut(from) else { return Ok(()) };
        let ended = match peer.read(&mut self.scratch) {
            Ok(Read::Bytes(count)) => match self.peers.get_mut(to) {
                Some(Some(partner)) => {
                    partner.outbox.plain().extend_from_slice(&self.scratch[..count]);
                    partner.flush(self.epoll.as_fd(), to).err().map(|error| error.to_string())
                }
                _ => Some("its partner is not there".into()),
            },
            Ok(Read::Nothing) => peer.flush(self.epoll.as_fd(), from).err().map(|error| error.to_string()),
            Ok(Read::End) => Some(ENDED.into()),
            Err(error) => Some(error.to_string()),
        };
        let Some(reason) = ended else { return Ok(()) };
        self.peers[from] = None;
        handler.closed(from, reason)
    }
}

const ENDED: &str = "ended by the other side";

enum Read {
    Bytes(usize),
    Nothing,
    End,
}

impl Peer {
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Read> {
        match self.stream.read(scratch) {
            Ok(0) => Ok(Read::End),
            Ok(count) => Ok(Read::Bytes(count)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                Ok(Read::Nothing)
            }
            Err(error) => Err(error),
        }
    }

    /// One read, then every complete message. `Some(reason)`: the connection is over.
    fn receive(&mut self, scratch: &mut [u8], turn: Turn, handler: &mut impl Handler) -> io::Result<Option<String>> {
        let count = match self.read(scratch)? {
            Read::Bytes(count) => count,
            Read::Nothing => return Ok(None),
            Read::End => return Ok(Some(ENDED.into())),
        };
        let fresh = &mut scratch[..count];
        if self.leftover.is_empty() {
            let (used, ended) = self.take(fresh, turn, handler)?;
            self.leftover.extend_from_slice(&fresh[used..]);
            return Ok(ended);
        }
        let mut bytes = std::mem::take(&mut self.leftover);
        bytes.extend_from_slice(fresh);
        let (used, ended) = self.take(&mut bytes, turn, handler)?;
        bytes.drain(..used);
        self.leftover = bytes;
        Ok(ended)
    }

    #[inline]
    fn take(
        &mut self,
        bytes: &mut [u8],
        turn: Turn,
        handler: &mut impl Handler,
    ) -> io::Result<(usize, Option<String>)> {
        if turn.side == Side::Plain {
            let used = handler.bytes(turn.peer, bytes, &mut self.outbox, turn.now).map_err(io::Error::other)?;
            return Ok((used, None));
        }
        self.frames(bytes, turn, handler)
    }

    fn frames(
        &mut self,
        bytes: &mut [u8],
        turn: Turn,
        handler: &mut impl Handler,
    ) -> io::Result<(usize, Option<String>)> {
        let Turn { peer, side, now } = turn;
        let mut used = 0;
        while let Some(frame) = frame::decode(&mut bytes[used..]).map_err(io::Error::other)? {
            if frame.masked != (side == Side::Server) && side != Side::Relayed {
                return Err(io::Error::other("masking is not that of its side"));
            }
            let payload = &bytes[used + frame.start..used + frame.end];
            used += frame.end;
            match frame.opcode {
                opcode::TEXT | opcode::BINARY if frame.last && self.fragments.is_none() => {
                    handler.message(peer, payload, &mut self.outbox, now);
                }
                opcode::TEXT | opcode::BINARY if self.fragments.is_none() => self.fragments = Some(payload.to_vec()),
                opcode::CONTINUATION => self.continuation(payload, frame.last, turn, handler)?,
                opcode::PING => self.outbox.frame(opcode::PONG, payload),
                opcode::PONG => {}
                opcode::CLOSE => return Ok((used, Some(close_reason(payload)))),
                other => return Err(io::Error::other(format!("unexpected frame with opcode {other}"))),
            }
        }
        Ok((used, None))
    }

    fn continuation(&mut self, payload: &[u8], last: bool, turn: Turn, handler: &mut impl Handler) -> io::Result<()> {
        let mut message = self.fragments.take().ok_or_else(|| io::Error::other("a continuation of nothing"))?;
        message.extend_from_slice(payload);
        if last {
            handler.message(turn.peer, &message, &mut self.outbox, turn.now);
        } else {
            self.fragments = Some(message);
        }
        Ok(())
    }

    #[inline]
    fn flush(&mut self, epoll: impl AsFd, index: usize) -> io::Result<()> {
        match self.outbox.write_to(&mut self.stream) {
            Ok(()) => self.wait_to_write(epoll, index, false),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait_to_write(epoll, index, true),
            Err(error) => Err(error),
        }
    }

    #[inline]
    fn wait_to_write(&mut self, epoll: impl AsFd, index: usize, wanted: bool) -> io::Result<()> {
        if self.waits_to_write == wanted {
            return Ok(());
        }
        self.waits_to_write = wanted;
        let flags = if wanted { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
        Ok(epoll::modify(epoll, &self.stream, epoll::EventData::new_u64(index as u64), flags)?)
    }
}

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [a, b, reason @ ..] => {
            format!("closed with {} {}", u16::from_be_bytes([*a, *b]), String::from_utf8_lossy(reason))
        }
        _ => "closed without a code".into(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::TcpListener;

    #[derive(Default)]
    struct Collector(Vec<Vec<u8>>);

    impl Handler for Collector {
        fn message(&mut self, _peer: usize, text: &[u8], _outbox: &mut Outbox, _now: u64) {
            self.0.push(text.to_vec());
        }
    }

    /// A client connection in a `Net`, and the server's end of it.
    fn connected() -> (Net, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut net = Net::new(Side::Client, 1).unwrap();
        net.add(client, Vec::new()).unwrap();
        (net, listener.accept().unwrap().0)
    }

    #[test]
    fn fragments_are_joined_and_a_ping_between_them_is_answered_masked() {
        let (mut net, mut server) = connected();
        let mut collector = Collector::default();
        for bytes in [b"\x01\x02ab".as_slice(), b"\x89\x01!", b"\x00\x01c", b"\x80\x01d\x81\x01e\x81", b"\x01f"] {
            server.write_all(bytes).unwrap();
            net.step(1000, &mut collector).unwrap();
        }
        assert_eq!(collector.0, [b"abcd".to_vec(), b"e".to_vec(), b"f".to_vec()]);
        let mut pong = [0; 7];
        server.read_exact(&mut pong).unwrap();
        let frame = frame::decode(&mut pong).unwrap().unwrap();
        assert_eq!((frame.opcode, frame.masked, &pong[frame.start..frame.end]), (opcode::PONG, true, b"!".as_slice()));
    }

    #[test]
    fn what_the_socket_does_not_take_is_sent_when_it_can() {
        let (mut net, mut server) = connected();
        let payload = vec![b'x'; 16 << 20];
        net.send(0, |outbox, _| outbox.text(&payload)).unwrap();
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; (16 << 20) + 14];
            server.read_exact(&mut bytes).unwrap();
            let frame = frame::decode(&mut bytes).unwrap().unwrap();
            bytes[frame.start..frame.end].iter().all(|byte| *byte == b'x')
        });
        while !reader.is_finished() {
            // The server's end is closed when it has read everything.
            if net.step(100, &mut Collector::default()).is_err() {
                break;
            }
        }
        assert!(reader.join().unwrap());
    }

    #[test]
    fn the_end_of_a_connection_and_broken_frames_are_failures() {
        for (bytes, reason) in [
            (b"".as_slice(), "ended by the other side"),
            (b"\x88\x05\x03\xe9bye", "closed with 1001 bye"),
            (b"\x81\x81abcd!", "masking"),
            (b"\xf1\x00", "reserved"),
            (b"\x80\x00", "continuation"),
        ] {
            let (mut net, mut server) = connected();
            server.write_all(bytes).unwrap();
            drop(server);
            let failure = net.step(1000, &mut Collector::default()).err().unwrap().to_string();
            assert!(failure.contains(reason), "{failure}");
        }
    }
}
