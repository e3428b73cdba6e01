//! Does one piece of work once and checks it, for a tool that counts its instructions: `iii-fast-counts NAME`. Without a
//! name it lists them.

use std::io::{self, Write};
use std::process::ExitCode;

use iii_fast_core_benches::{NAMES, prepare};

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        return say(&mut io::stdout(), &NAMES.join("\n"), 0);
    };
    let Some(mut work) = prepare(&name) else {
        return say(&mut io::stderr(), &format!("no work is called `{name}`, but {}", NAMES.join(", ")), 2);
    };
    work.run();
    match work.check() {
        Ok(()) => ExitCode::SUCCESS,
        Err(wrong) => say(&mut io::stderr(), &wrong.to_string(), 1),
    }
}

fn say(out: &mut impl Write, text: &str, status: u8) -> ExitCode {
    match writeln!(out, "{text}") {
        Ok(()) => ExitCode::from(status),
        Err(_) => ExitCode::FAILURE,
    }
}
