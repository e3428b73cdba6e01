//! Redis: commands and replies of RESP 2. Replies come in the order of the commands.

use std::net::TcpStream;

use crate::failure::Failure;
use crate::store::{self, Next, Request, Store};

/// Keys are `SCOPE:KEY`.
pub struct Redis {
    prefix: String,
}

impl Redis {
    /// Keys of one scope.
    pub fn new(scope: &str) -> Self {
        Self { prefix: format!("{scope}:") }
    }
}

impl Store for Redis {
    fn greet(&self, stream: &mut TcpStream, _peer: usize) -> Result<Vec<u8>, Failure> {
        const PONG: &[u8] = b"+PONG\r\n";
        store::converse(stream, b"*1\r\n$4\r\nPING\r\n", |bytes| match bytes.len() {
            len if len >= PONG.len() && !bytes.starts_with(PONG) => Err(String::from_utf8_lossy(bytes).into_owned()),
            len => Ok(len >= PONG.len()),
        })
        .map(|bytes| bytes[PONG.len()..].to_vec())
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>, request: &Request<'_>) {
        out.extend_from_slice(match request.value {
            Some(_) => b"*3\r\n$3\r\nSET\r\n$",
            None => b"*2\r\n$3\r\nGET\r\n$",
        });
        store::write_decimal(out, self.prefix.len() + request.key.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(request.key);
        if let Some(value) = request.value {
            out.extend_from_slice(b"\r\n$");
            store::write_decimal(out, value.len());
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(value);
        }
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn next<'a>(&self, bytes: &'a [u8]) -> Result<Next<'a>, String> {
        let Some((line, head)) = store::line(bytes) else { return Ok(Next::More) };
        let len = match line.split_first() {
            Some((b'$', b"-1")) | Some((b'+' | b'-' | b':', _)) => head,
            Some((b'$', digits)) => {
                let len = store::read_decimal(digits).ok_or_else(|| unexpected(line))?;
                head + len + END.len()
            }
            _ => return Err(unexpected(line)),
        };
        Ok(if bytes.len() < len { Next::More } else { Next::Reply { len, id: None } })
    }

    #[inline]
    fn value<'a>(&self, reply: &'a [u8]) -> Option<&'a [u8]> {
        let (line, head) = store::line(reply)?;
        let len = store::read_decimal(line.strip_prefix(b"$")?)?;
        reply.get(head..head + len).filter(|_| reply[head + len..] == *END)
    }

    #[inline]
    fn is_stored(&self, reply: &[u8]) -> bool {
        reply == b"+OK\r\n"
    }

    fn is_ordered(&self) -> bool {
        true
    }
}

const END: &[u8] = b"\r\n";

#[cold]
fn unexpected(line: &[u8]) -> String {
    format!("unexpected reply: {}", String::from_utf8_lossy(line))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn writes_commands() {
        let mut out = Vec::new();
        let (redis, id) = (Redis::new("s"), &[0; 36]);
        redis.write(&mut out, &Request { peer: 0, id, key: b"key", value: None });
        redis.write(&mut out, &Request { peer: 0, id, key: b"key", value: Some(b"value") });
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "*2\r\n$3\r\nGET\r\n$5\r\ns:key\r\n*3\r\n$3\r\nSET\r\n$5\r\ns:key\r\n$5\r\nvalue\r\n");
    }

    #[test]
    fn finds_the_end_of_every_reply() {
        let redis = Redis::new("s");
        for reply in [b"+OK\r\n".as_slice(), b"-ERR no\r\n", b"$-1\r\n", b"$0\r\n\r\n", b"$5\r\na\r\nb \r\n"] {
            for cut in 0..reply.len() {
                assert_eq!(redis.next(&reply[..cut]), Ok(Next::More), "{cut}");
            }
            let more = [reply, b"+"].concat();
            assert_eq!(redis.next(&more), Ok(Next::Reply { len: reply.len(), id: None }));
        }
        assert!(redis.next(b"*1\r\n").is_err() && redis.next(b"$x\r\n").is_err() && redis.next(b"\r\n").is_err());
    }

    #[test]
    fn takes_errors_and_nothing_for_no_value() {
        let redis = Redis::new("s");
        assert_eq!(redis.value(b"$5\r\na\r\nb \r\n"), Some(b"a\r\nb ".as_slice()));
        assert_eq!(redis.value(b"$-1\r\n"), None);
        assert_eq!(redis.value(b"-ERR no\r\n"), None);
        assert!(redis.is_stored(b"+OK\r\n") && !redis.is_stored(b"-ERR no\r\n"));
    }
}
