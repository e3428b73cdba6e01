//! Idle http connections: each has been answered once, and is held until standard input ends.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::http::response_length;
use crate::memory::{CONNECTIONS_MAX, raise_descriptor_limit};
use crate::meter::Report;
use crate::options::Options;

const PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 4096;

/// Runs the subcommand. Its report is printed when all connections stand; it ends with standard input, and fails when
/// the server has ended a connection meanwhile.
pub fn run(mut options: Options) -> Result<(), Failure> {
    let connections = options.number("connections", 2000, 0, CONNECTIONS_MAX)?;
    let address: String = options.required("http")?;
    options.finish()?;
    raise_descriptor_limit(connections)?;
    let held = (0..connections).map(|peer| answered(&address, peer)).collect::<Result<Vec<_>, _>>()?;
    let mut report = Report::default();
    report.text("command", "http-memory").number("connections", connections as f64);
    writeln!(io::stdout(), "{}", report.line()).during("print")?;
    while io::stdin().read(&mut [0; 256]).during("read standard input")? > 0 {}
    for (peer, stream) in held.iter().enumerate() {
        stream.set_nonblocking(true).during("set non-blocking")?;
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Err(Failure::Peer { peer, reason: "ended by the server while it was idle".into() }),
            Ok(_) => return Err(Failure::Peer { peer, reason: "got bytes that it did not ask for".into() }),
            Err(error) => return Err(error).during("look at an idle connection"),
        }
    }
    Ok(())
}

/// A connection whose request, for a route that nobody has, was answered with 404.
fn answered(address: &str, peer: usize) -> Result<TcpStream, Failure> {
    let mut stream = TcpStream::connect(address).during("connect")?;
    stream.set_read_timeout(Some(PATIENCE)).during("set a timeout")?;
    write!(stream, "GET /nobody/has/this HTTP/1.1\r\nHost: {address}\r\n\r\n").during("write a request")?;
    let mut received = Vec::new();
    let mut chunk = [0; READ_BYTES];
    while response_length(&received) != Some(received.len()) {
        match stream.read(&mut chunk).during("read a response")? {
            0 => return Err(Failure::Peer { peer, reason: "ended by the server".into() }),
            count => received.extend_from_slice(&chunk[..count]),
        }
    }
    if !received.starts_with(b"HTTP/1.1 404 ") {
        return Err(Failure::Peer { peer, reason: "expected the status 404".into() });
    }
    Ok(stream)
}
