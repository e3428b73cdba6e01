//! Idle connections: opened, registered, and held until standard input ends.

use std::io::{self, Write};
use std::os::fd::AsFd;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::drive::Common;
use crate::failure::{During, Failure};
use crate::meter::Report;
use crate::net::Handler;
use crate::options::Options;
use crate::outbox::Outbox;

/// Of one process.
pub const CONNECTIONS_MAX: usize = 60_000;
/// Descriptors beside the connections.
const SPARE_DESCRIPTORS: u64 = 64;

struct Idle;

impl Handler for Idle {
    /// Nobody asked anything; whatever the engine says (pings are answered below) is let pass.
    fn message(&mut self, _peer: usize, _text: &[u8], _outbox: &mut Outbox, _now: u64) {}
}

/// Runs the subcommand. Its report is printed when all connections stand; it ends with standard input.
pub fn run(mut options: Options) -> Result<(), Failure> {
    let connections = options.number("connections", 2000, 0, CONNECTIONS_MAX)?;
    let common = Common::take(&mut options)?;
    options.finish()?;
    raise_descriptor_limit(connections)?;
    let mut net = common.connect(connections)?;
    let mut report = Report::default();
    report.text("command", "memory").number("connections", connections as f64);
    writeln!(io::stdout(), "{}", report.line()).during("print")?;
    net.watch(io::stdin().as_fd()).during("watch standard input (it must be a pipe or a terminal)")?;
    loop {
        if net.step(1000, &mut Idle)?
            && io::Read::read(&mut io::stdin(), &mut [0; 256]).during("read standard input")? == 0
        {
            return Ok(());
        }
    }
}

/// Allows so many connections.
pub fn raise_descriptor_limit(connections: usize) -> Result<(), Failure> {
    let needed = connections as u64 + SPARE_DESCRIPTORS;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum }).during("raise the limit of open files")
}
