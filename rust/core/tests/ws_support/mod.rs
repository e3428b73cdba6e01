//! What the framing tests share: a client's frames, and a receiver that writes down what it gets.
#![allow(dead_code)] // each test program uses a part of it

use iii_fast_core::ws::{Assembler, Flow, Message, Receiver, Status};

pub const LIMIT: usize = 1 << 20;

/// A frame as a client sends it. `first` is the first byte: FIN, reserved bits, opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | len as u8),
        126..0x1_0000 => {
            bytes.push(0x80 | 126);
            bytes.extend((len as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((len as u64).to_be_bytes());
        }
    }
    let key = [0x37, 0xfa, len as u8 ^ 0x21, first ^ 0x5d];
    bytes.extend(key);
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

pub fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

pub fn binary(payload: &[u8]) -> Vec<u8> {
    frame(0x82, payload)
}

pub fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(0x88, &[&code.to_be_bytes(), reason].concat())
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
}

/// Writes down what comes; says `flow` after each message.
#[derive(Debug)]
pub struct Recorder {
    pub events: Vec<Event>,
    pub flow: Flow,
    /// Where the last message was.
    pub place: usize,
}

impl Recorder {
    pub fn new(flow: Flow) -> Self {
        Recorder { events: Vec::new(), flow, place: 0 }
    }
}

impl Receiver for Recorder {
    fn message(&mut self, message: Message<'_>) -> Flow {
        let (event, place) = match message {
            Message::Text(text) => (Event::Text(text.to_owned()), text.as_ptr()),
            Message::Binary(bytes) => (Event::Binary(bytes.to_vec()), bytes.as_ptr()),
        };
        self.events.push(event);
        self.place = place as usize;
        self.flow
    }
    fn ping(&mut self, payload: &[u8]) {
        self.events.push(Event::Ping(payload.to_vec()));
    }
    fn pong(&mut self) {
        self.events.push(Event::Pong);
    }
    fn close(&mut self, code: Option<u16>, reason: &str) {
        self.events.push(Event::Close(code, reason.to_owned()));
    }
}

/// Feeds `wire` in one piece.
pub fn one_shot(wire: &[u8], limit: usize) -> (Vec<Event>, Status) {
    in_pieces(wire, limit, std::iter::repeat(usize::MAX))
}

/// Feeds `wire` in pieces of these sizes, as long as the connection is open; returns the last status.
pub fn in_pieces(wire: &[u8], limit: usize, sizes: impl Iterator<Item = usize>) -> (Vec<Event>, Status) {
    let (mut assembler, mut recorder) = (Assembler::new(limit), Recorder::new(Flow::Continue));
    let mut status = Status::Open;
    let mut rest = wire.to_vec();
    let mut rest = rest.as_mut_slice();
    for size in sizes {
        if rest.is_empty() || status != Status::Open {
            break;
        }
        let (piece, behind) = rest.split_at_mut(size.clamp(1, rest.len()));
        status = assembler.feed(piece, &mut recorder);
        rest = behind;
    }
    (recorder.events, status)
}
