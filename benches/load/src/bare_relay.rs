//! The bare relay: passes the bytes of one connection on to another one, both ways, without looking into them. What an
//! engine that relays calls could reach at best.

use std::io::{self, Write};
use std::net::TcpListener;

use crate::failure::{During, Failure};
use crate::handshake;
use crate::net::{Handler, Net, Side};
use crate::options::Options;
use crate::outbox::Outbox;

const PAIRS_MAX: usize = 4096;

/// The first `pairs` connections are the callers, each with the worker that is as many connections behind it.
struct Relay {
    pairs: usize,
    open: usize,
}

impl Handler for Relay {
    fn message(&mut self, _peer: usize, _text: &[u8], _outbox: &mut Outbox, _now: u64) {}

    #[inline]
    fn partner(&self, peer: usize) -> Option<usize> {
        Some(if peer < self.pairs { peer + self.pairs } else { peer - self.pairs })
    }

    fn closed(&mut self, _peer: usize, _reason: String) -> Result<(), Failure> {
        self.open -= 1;
        Ok(())
    }
}

/// Serves until the process is ended, one run of `--pairs` callers and as many workers after the other.
pub fn run(mut options: Options) -> Result<(), Failure> {
    let port = options.take("port", 0u16)?;
    let pairs = options.number("pairs", 16, 1, PAIRS_MAX)?;
    options.finish()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).during("bind")?;
    let address = listener.local_addr().during("bind")?;
    writeln!(io::stdout(), "listening worker=ws://{address}").during("announce")?;
    loop {
        let mut net = Net::new(Side::Plain, 0)?;
        for _ in 0..2 * pairs {
            let (mut stream, _) = listener.accept().during("accept")?;
            let leftover = handshake::accept(&mut stream)?;
            net.add(stream, leftover)?;
        }
        let mut relay = Relay { pairs, open: 2 * pairs };
        while relay.open > 0 {
            net.step(1000, &mut relay)?;
        }
    }
}
