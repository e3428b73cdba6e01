//! The bare echo server: what framing, system calls and one thread allow when nobody looks into a message.
//!
//! The end of a long answer is written from memory as it lies there, from as much memory as the engine's values take.

use std::io::{self, Write};
use std::net::TcpListener;
use std::rc::Rc;

use crate::failure::{During, Failure};
use crate::handshake;
use crate::message;
use crate::net::{Handler, Net, Side};
use crate::options::Options;
use crate::outbox::{Outbox, Shared};

/// From here on the end of an answer is not copied.
const SHARED_BYTES_MIN: usize = 4 << 10;
/// More memory than any cache has.
const FILLER_BYTES_MAX: usize = 256 << 20;

/// Sizes of the answers; all zero: answers are as long as requests.
#[derive(Clone, Copy, Default)]
struct Sizes {
    short: usize,
    reply: usize,
    long_reply: usize,
    /// All values together.
    stored: usize,
}

struct Echo {
    sizes: Sizes,
    answer: Vec<u8>,
    filler: Rc<[u8]>,
    /// Where the next long answer takes its filler from.
    offset: usize,
}

impl Handler for Echo {
    #[inline]
    fn message(&mut self, _peer: usize, text: &[u8], outbox: &mut Outbox, _now: u64) {
        if text.starts_with(br#"{"type":"echo""#) {
            return self.prepare(sizes(text));
        }
        let size = if text.len() <= self.sizes.short { self.sizes.reply } else { self.sizes.long_reply };
        let missing = size.saturating_sub(text.len());
        // The filler goes in front of the last byte: an answer is JSON up to its end, as the engine's are.
        let (begin, end) = text.split_at(text.len().saturating_sub(1));
        if missing >= SHARED_BYTES_MIN {
            return outbox.text_around(begin, self.filler(missing), end);
        }
        self.answer.clear();
        self.answer.extend_from_slice(begin);
        self.answer.resize(begin.len() + missing, b' ');
        self.answer.extend_from_slice(end);
        outbox.text(&self.answer);
    }

    fn closed(&mut self, _peer: usize, _reason: String) -> Result<(), Failure> {
        Ok(())
    }
}

impl Echo {
    fn prepare(&mut self, sizes: Sizes) {
        self.sizes = sizes;
        let len = sizes.stored.max(sizes.reply).max(sizes.long_reply).min(FILLER_BYTES_MAX);
        if self.filler.len() != len {
            self.filler = vec![b' '; len].into();
            self.offset = 0;
        }
    }

    fn filler(&mut self, len: usize) -> Shared {
        let len = len.min(self.filler.len());
        if self.offset + len > self.filler.len() {
            self.offset = 0;
        }
        let shared = Shared::new(self.filler.clone(), self.offset, len);
        self.offset += len;
        shared
    }
}

fn sizes(text: &[u8]) -> Sizes {
    let number = |name: &str| {
        let digits = message::member(text, name.as_bytes()).map(String::from_utf8_lossy);
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    };
    Sizes { short: number("short"), reply: number("reply"), long_reply: number("long_reply"), stored: number("stored") }
}

/// Serves until the process is ended. Announces its address as the engine does.
pub fn run(mut options: Options) -> Result<(), Failure> {
    let port = options.take("port", 0u16)?;
    options.finish()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).during("bind")?;
    let address = listener.local_addr().during("bind")?;
    writeln!(io::stdout(), "listening worker=ws://{address}").during("announce")?;
    let mut net = Net::new(Side::Server, 0)?;
    net.watch(&listener).during("watch the listener")?;
    let mut echo = Echo { sizes: Sizes::default(), answer: Vec::new(), filler: Rc::default(), offset: 0 };
    loop {
        if net.step(1000, &mut echo)? {
            let (mut stream, _) = listener.accept().during("accept")?;
            match handshake::accept(&mut stream) {
                Ok(leftover) => {
                    net.add(stream, leftover)?;
                }
                // Somebody who does not speak WebSocket costs the others nothing but their own connection.
                Err(error) => writeln!(io::stderr(), "{error}").during("report")?,
            }
        }
    }
}
