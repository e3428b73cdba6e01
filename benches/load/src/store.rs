//! What an engine is compared with: other stores, each through its own protocol, under the same load (`state`).

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::drive::Common;
use crate::failure::{During, Failure};
use crate::flight::ID_BYTES;
use crate::nats::Nats;
use crate::net::{Net, Side};
use crate::options::Options;
use crate::redis::Redis;

const PATIENCE: Duration = Duration::from_secs(10);

/// What stands at the beginning of the bytes that a store sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// The rest of it is still on its way.
    More,
    /// So many bytes that answer nothing, and what must be sent back for them.
    Aside(usize, &'static [u8]),
    /// A reply of `len` bytes, to what was asked under `id`; without one to the oldest.
    Reply {
        /// Bytes of the whole reply.
        len: usize,
        /// The id, if the protocol carries one.
        id: Option<&'a [u8]>,
    },
}

/// One get or set on its way to a store.
pub struct Request<'a> {
    /// Index of the connection.
    pub peer: usize,
    /// Its id.
    pub id: &'a [u8; ID_BYTES],
    /// The key, as an engine has it.
    pub key: &'a [u8],
    /// What is set; `None` gets.
    pub value: Option<&'a [u8]>,
}

/// The client side of one store's protocol.
pub trait Store {
    /// Says hello on a new connection, and makes what must be there. May return bytes that came too early.
    fn greet(&self, stream: &mut TcpStream, peer: usize) -> Result<Vec<u8>, Failure>;
    /// Appends a request.
    fn write(&self, out: &mut Vec<u8>, request: &Request<'_>);
    /// Finds where the first reply ends.
    fn next<'a>(&self, bytes: &'a [u8]) -> Result<Next<'a>, String>;
    /// The value in a reply to a get.
    fn value<'a>(&self, reply: &'a [u8]) -> Option<&'a [u8]>;
    /// Whether a reply to a set says that it is done.
    fn is_stored(&self, reply: &[u8]) -> bool;
    /// Whether a get sees all sets that were sent before it, answered or not.
    fn is_ordered(&self) -> bool;
}

/// The store of the url, `None` for an engine.
pub fn of(common: &Common, scope: &str, options: &mut Options) -> Result<Option<Box<dyn Store>>, Failure> {
    match common.scheme.as_str() {
        "ws" => Ok(None),
        "redis" => Ok(Some(Box::new(Redis::new(scope)))),
        "nats" => Ok(Some(Box::new(Nats::new(scope, options.take("in-files", false)?)))),
        other => Err(Failure::Usage(format!("--url: expected ws, redis or nats, got {other}://"))),
    }
}

/// Opens `count` connections to a store.
pub fn connect(store: &dyn Store, common: &Common, count: usize) -> Result<Net, Failure> {
    let mut net = Net::new(Side::Plain, common.seed)?;
    for peer in 0..count {
        let mut stream = TcpStream::connect(&common.address).during("connect")?;
        stream.set_nodelay(true).during("set TCP_NODELAY")?;
        stream.set_read_timeout(Some(PATIENCE)).during("set a timeout")?;
        let leftover = store.greet(&mut stream, peer)?;
        stream.set_nonblocking(true).during("set non-blocking")?;
        net.add(stream, leftover)?;
    }
    Ok(net)
}

/// Sends `request`, then reads until `is_done` with what came.
pub fn converse(
    stream: &mut TcpStream,
    request: &[u8],
    mut is_done: impl FnMut(&mut Vec<u8>) -> Result<bool, String>,
) -> Result<Vec<u8>, Failure> {
    stream.write_all(request).during("send a greeting")?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while !is_done(&mut bytes).map_err(Failure::Handshake)? {
        match stream.read(&mut chunk).during("read a greeting")? {
            0 => return Err(Failure::Handshake("the connection ended".into())),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(bytes)
}

/// Appends a number in decimal digits.
#[inline]
pub fn write_decimal(out: &mut Vec<u8>, mut number: usize) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Reads a decimal number.
#[inline]
pub fn read_decimal(digits: &[u8]) -> Option<usize> {
    (1..=18).contains(&digits.len()).then_some(())?;
    digits.iter().try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + usize::from(digit - b'0')))
}

/// The first line and the length of it with its end; `None`: it has not ended yet.
#[inline]
pub fn line(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memchr::memchr(b'\n', bytes)?;
    let line = bytes[..end].strip_suffix(b"\r").unwrap_or(&bytes[..end]);
    Some((line, end + 1))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for number in [0, 1, 9, 10, 1_048_576] {
            let mut text = Vec::new();
            write_decimal(&mut text, number);
            assert_eq!(String::from_utf8(text.clone()).unwrap(), number.to_string());
            assert_eq!(read_decimal(&text), Some(number));
        }
        assert!([b"".as_slice(), b"-1", b"1x", b"9999999999999999999"].iter().all(|text| read_decimal(text).is_none()));
    }

    #[test]
    fn lines_end_with_their_end() {
        assert_eq!(line(b"ab\r\ncd"), Some((b"ab".as_slice(), 4)));
        assert_eq!(line(b"ab\r"), None);
    }
}
