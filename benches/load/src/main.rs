//! Load generator, echo bound and checker for the benchmarks. See `benches/README.md`.

mod bare_relay;
mod drive;
mod echo;
mod events;
mod failure;
mod flight;
mod handshake;
mod http;
mod http_memory;
mod list;
mod memory;
mod message;
mod meter;
mod msgpack;
mod nats;
mod net;
mod options;
mod outbox;
mod redis;
mod relay;
mod state;
mod store;

use std::io::{self, Write};
use std::process::ExitCode;

use failure::{During, Failure};
use iii_fast_load::{frame, hex, random, value};
use options::Options;

const USAGE: &str = "usage: iii-fast-load echo|bare-relay|state|large|fill|check|list|relay|events|http|memory|http-memory [--option value ...]";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(io::stderr(), "iii-fast-load: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether every answer was right and came.
fn run() -> Result<bool, Failure> {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().ok_or_else(|| Failure::Usage(USAGE.into()))?;
    let options = Options::parse(arguments)?;
    let (report, good) = match command.as_str() {
        "echo" => return echo::run(options).map(|()| true),
        "bare-relay" => return bare_relay::run(options).map(|()| true),
        "memory" => return memory::run(options).map(|()| true),
        "http-memory" => return http_memory::run(options).map(|()| true),
        "relay" => relay::run(options)?,
        "events" => events::run(options)?,
        "http" => http::run(options)?,
        "list" => list::run(options)?,
        "state" => state::run(options, &state::STATE)?,
        "large" => state::run(options, &state::LARGE)?,
        "fill" => state::run(options, &state::FILL)?,
        "check" => state::run(options, &state::CHECK)?,
        _ => return Err(Failure::Usage(USAGE.into())),
    };
    writeln!(io::stdout(), "{}", report.line()).during("print")?;
    Ok(good)
}
