//! The WebSocket upgrade (RFC 6455, section 4), both sides, on a blocking stream.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::failure::{During, Failure};
use crate::frame::{self, opcode};
use crate::message;
use crate::random::Random;

const HEAD_BYTES_MAX: usize = 16 << 10;
const PATIENCE: Duration = Duration::from_secs(10);
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Opens a connection to `address`, upgrades it and waits for `workerregistered`.
///
/// Returns the stream in non-blocking mode and the bytes that came behind that message.
pub fn connect(address: &str, keys: &mut Random) -> Result<(TcpStream, Vec<u8>), Failure> {
    let mut stream = TcpStream::connect(address).during("connect")?;
    stream.set_nodelay(true).during("set TCP_NODELAY")?;
    stream.set_read_timeout(Some(PATIENCE)).during("set a timeout")?;
    let mut nonce = [0; 16];
    for half in nonce.as_chunks_mut::<8>().0 {
        *half = keys.next().to_ne_bytes();
    }
    let key = base64(&nonce);
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).during("send the upgrade request")?;
    let (head, mut rest) = read_head(&mut stream)?;
    check_response(&head, &key)?;
    read_registered(&mut stream, &mut rest)?;
    stream.set_nonblocking(true).during("set non-blocking")?;
    Ok((stream, rest))
}

/// Answers an upgrade request and sends `workerregistered`, as the engine does.
pub fn accept(stream: &mut TcpStream) -> Result<Vec<u8>, Failure> {
    stream.set_nodelay(true).during("set TCP_NODELAY")?;
    stream.set_read_timeout(Some(PATIENCE)).during("set a timeout")?;
    let (head, rest) = read_head(stream)?;
    let key = header(&head, "sec-websocket-key").ok_or_else(|| Failure::Handshake("no key in the request".into()))?;
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        accept_key(key)
    );
    let mut bytes = response.into_bytes();
    let registered = br#"{"type":"workerregistered","worker_id":"00000000-0000-4000-8000-000000000000"}"#;
    frame::encode(&mut bytes, opcode::TEXT, registered, None);
    stream.write_all(&bytes).during("answer the upgrade request")?;
    stream.set_nonblocking(true).during("set non-blocking")?;
    Ok(rest)
}

fn read_head(stream: &mut TcpStream) -> Result<(String, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = memchr::memmem::find(&bytes, b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            let head = String::from_utf8(bytes).map_err(|_| Failure::Handshake("the head is not text".into()))?;
            return Ok((head, rest));
        }
        if bytes.len() > HEAD_BYTES_MAX {
            return Err(Failure::Handshake(format!("no end of the head within {HEAD_BYTES_MAX} bytes")));
        }
        read_more(stream, &mut bytes)?;
    }
}

fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    let mut chunk = [0; 4096];
    match stream.read(&mut chunk).during("read the handshake")? {
        0 => Err(Failure::Handshake("the connection ended".into())),
        count => {
            bytes.extend_from_slice(&chunk[..count]);
            Ok(())
        }
    }
}

fn check_response(head: &str, key: &str) -> Result<(), Failure> {
    let status = head.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101") {
        return Err(Failure::Handshake(format!("answer is `{status}`")));
    }
    let is = |name, value| header(head, name).is_some_and(|given| given.eq_ignore_ascii_case(value));
    if !is("upgrade", "websocket") || !is("connection", "upgrade") {
        return Err(Failure::Handshake("answer lacks Upgrade: websocket or Connection: Upgrade".into()));
    }
    if header(head, "sec-websocket-accept") != Some(accept_key(key).as_str()) {
        return Err(Failure::Handshake("Sec-WebSocket-Accept does not fit the key".into()));
    }
    Ok(())
}

fn read_registered(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    loop {
        if let Some(frame) = frame::decode(bytes).map_err(|reason| Failure::Handshake(reason.into()))? {
            let text = &bytes[frame.start..frame.end];
            let registered = message::member(text, b"type") == Some(br#""workerregistered""#)
                && message::member(text, b"worker_id").is_some();
            if frame.opcode != opcode::TEXT || !frame.last || !registered {
                let text = String::from_utf8_lossy(text);
                return Err(Failure::Handshake(format!("first message is not workerregistered: {text}")));
            }
            bytes.drain(..frame.end);
            return Ok(());
        }
        read_more(stream, bytes)?;
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (given, value) = line.split_once(':')?;
        given.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn accept_key(key: &str) -> String {
    let mut sha1 = sha1_smol::Sha1::new();
    sha1.update(key.as_bytes());
    sha1.update(GUID);
    base64(&sha1.digest().bytes())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let word = byte(0) << 16 | byte(1) << 8 | byte(2);
        for position in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * position)) as usize & 63];
            text.push(if position > chunk.len() { '=' } else { letter.into() });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_accept_key_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn refuses_a_response_that_is_no_upgrade() {
        let good = "HTTP/1.1 101 Switching Protocols\r\nupgrade: WebSocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert!(check_response(good, key).is_ok());
        assert!(check_response(&good.replace("101", "200"), key).is_err());
        assert!(check_response(&good.replace("s3pP", "xxxx"), key).is_err());
        assert!(check_response(&good.replace("WebSocket", "h2c"), key).is_err());
    }

    #[test]
    fn pads_base64() {
        assert_eq!(base64(b"a"), "YQ==");
        assert_eq!(base64(b"ab"), "YWI=");
        assert_eq!(base64(b"abc"), "YWJj");
    }
}
