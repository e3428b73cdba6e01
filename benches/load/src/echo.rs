//! The bare echo server: what framing, system calls and one thread allow when nobody looks into a message.

use std::io::{self, Write};
use std::net::TcpListener;

use crate::failure::{During, Failure};
use crate::handshake;
use crate::message;
use crate::net::{Handler, Net, Outbox, Side};
use crate::options::Options;

/// Sizes of the answers; all zero: answers are as long as requests.
#[derive(Clone, Copy, Default)]
struct Sizes {
    short: usize,
    reply: usize,
    long_reply: usize,
}

#[derive(Default)]
struct Echo {
    sizes: Sizes,
    answer: Vec<u8>,
}

impl Handler for Echo {
    #[inline]
    fn message(&mut self, _peer: usize, text: &[u8], outbox: &mut Outbox, _now: u64) {
        if text.starts_with(br#"{"type":"echo""#) {
            self.sizes = sizes(text);
            return;
        }
        let size = if text.len() <= self.sizes.short { self.sizes.reply } else { self.sizes.long_reply };
        self.answer.clear();
        self.answer.extend_from_slice(text);
        self.answer.resize(size.max(text.len()), b' ');
        outbox.text(&self.answer);
    }

    fn closed(&mut self, _peer: usize, _reason: String) -> Result<(), Failure> {
        Ok(())
    }
}

fn sizes(text: &[u8]) -> Sizes {
    let number = |name: &str| {
        let digits = message::member(text, name.as_bytes()).map(String::from_utf8_lossy);
        digits.and_then(|digits| digits.parse().ok()).unwrap_or_default()
    };
    Sizes { short: number("short"), reply: number("reply"), long_reply: number("long_reply") }
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
    let mut echo = Echo::default();
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
