//! Frames to messages and messages to frames, whatever is in them.

use iii_fast_core::limits::Limits;
use iii_fast_core::ws::{self, Assembler, Flow, Message, Receiver};
use iii_fast_load::frame;
use iii_fast_load::random::Random;

use crate::{SEED, Work, Wrong, measured};

/// Frames that come in one read.
const BATCH: usize = 16;
const TEXT: u8 = 1;

#[derive(Default)]
struct Echo {
    out: Vec<u8>,
}

impl Receiver for Echo {
    fn message(&mut self, message: Message<'_>) -> Flow {
        if let Message::Text(text) = message {
            ws::write_frame(&mut self.out, ws::OPCODE_TEXT, text.as_bytes());
        }
        Flow::Continue
    }
    fn ping(&mut self, _payload: &[u8]) {}
    fn pong(&mut self) {}
    fn close(&mut self, _code: Option<u16>, _reason: &str) {}
}

/// Masked frames in, the same messages out.
pub struct Framing {
    reads: Vec<Vec<u8>>,
    echo: Echo,
    expected: Vec<u8>,
}

impl Framing {
    /// So many messages of so many bytes.
    pub fn new(count: usize, bytes: usize) -> Self {
        let mut random = Random::new(SEED, 2);
        let payload: Vec<u8> = (0..bytes).map(|_| b'a' + random.below(26) as u8).collect();
        let (mut reads, mut expected) = (Vec::new(), Vec::new());
        for start in (0..count).step_by(BATCH) {
            let mut read = Vec::new();
            for _ in start..count.min(start + BATCH) {
                frame::encode(&mut read, TEXT, &payload, Some(&mut random));
                frame::encode(&mut expected, TEXT, &payload, None);
            }
            reads.push(read);
        }
        let echo = Echo { out: Vec::with_capacity(expected.len()) };
        Framing { reads, echo, expected }
    }
}

impl Work for Framing {
    fn run(&mut self) {
        let mut assembler = Assembler::new(Limits::default().message_bytes_max);
        measured(|| {
            for read in &mut self.reads {
                assembler.feed(read, &mut self.echo);
            }
        });
    }

    fn check(&self) -> Result<(), Wrong> {
        if self.echo.out == self.expected { Ok(()) } else { Err(Wrong { what: "framing", number: 0 }) }
    }
}
