//! NATS JetStream as a key-value store: a put is a publication to the bucket's stream, a get asks for the last message
//! of a subject (`allow_direct`). Replies come to a subject that carries the id, in no certain order.

use std::net::TcpStream;

use crate::failure::Failure;
use crate::message;
use crate::store::{self, Next, Request, Store};

const INBOX: &str = "_INBOX.";

/// One bucket.
pub struct Nats {
    bucket: String,
    in_files: bool,
}

impl Nats {
    /// The bucket is called like the scope, and kept in memory or in files.
    pub fn new(scope: &str, in_files: bool) -> Self {
        Self { bucket: scope.to_owned(), in_files }
    }

    /// The stream behind the bucket, as client libraries make it, with a history of one value.
    fn configuration(&self) -> String {
        let Self { bucket, in_files } = self;
        let storage = if *in_files { "file" } else { "memory" };
        format!(
            r#"{{"name":"KV_{bucket}","subjects":["$KV.{bucket}.>"],"storage":"{storage}","max_msgs_per_subject":1,"discard":"new","allow_direct":true,"allow_rollup_hdrs":true,"deny_delete":true,"num_replicas":1}}"#
        )
    }
}

impl Store for Nats {
    fn greet(&self, stream: &mut TcpStream, peer: usize) -> Result<Vec<u8>, Failure> {
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";
        let mut words = format!("{hello}SUB {INBOX}{peer}.* 1\r\n");
        let awaited: &[u8] = if peer == 0 {
            let content = self.configuration();
            let length = content.len();
            words += &format!("PUB $JS.API.STREAM.CREATE.KV_{} {INBOX}0.create {length}\r\n{content}\r\n", self.bucket);
            b"MSG "
        } else {
            words += "PING\r\n";
            b"PONG"
        };
        store::converse(stream, words.as_bytes(), |bytes| {
            loop {
                let len = match self.next(bytes)? {
                    Next::More => return Ok(false),
                    Next::Aside(len, _) | Next::Reply { len, .. } => len,
                };
                let came: Vec<u8> = bytes.drain(..len).collect();
                if came.starts_with(b"MSG ") && message::member(payload(&came), b"error").is_some() {
                    return Err(String::from_utf8_lossy(&came).into_owned());
                }
                if came.starts_with(awaited) {
                    return Ok(true);
                }
            }
        })
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>, request: &Request<'_>) {
        out.extend_from_slice(b"PUB ");
        if request.value.is_none() {
            out.extend_from_slice(b"$JS.API.DIRECT.GET.KV_");
            out.extend_from_slice(self.bucket.as_bytes());
            out.push(b'.');
        }
        out.extend_from_slice(b"$KV.");
        out.extend_from_slice(self.bucket.as_bytes());
        out.push(b'.');
        out.extend_from_slice(request.key);
        out.push(b' ');
        out.extend_from_slice(INBOX.as_bytes());
        store::write_decimal(out, request.peer);
        out.push(b'.');
        out.extend_from_slice(request.id);
        out.push(b' ');
        let value = request.value.unwrap_or_default();
        store::write_decimal(out, value.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn next<'a>(&self, bytes: &'a [u8]) -> Result<Next<'a>, String> {
        let Some((line, head)) = store::line(bytes) else { return Ok(Next::More) };
        let mut words = line.split(|byte| *byte == b' ');
        let id = match words.next() {
            Some(b"MSG" | b"HMSG") => words.next().and_then(|subject| subject.rsplit(|byte| *byte == b'.').next()),
            Some(b"PING") => return Ok(Next::Aside(head, b"PONG\r\n")),
            Some(b"PONG" | b"INFO" | b"+OK") => return Ok(Next::Aside(head, b"")),
            _ => return Err(format!("unexpected line: {}", String::from_utf8_lossy(line))),
        };
        let total = words.next_back().and_then(store::read_decimal);
        let (Some(id), Some(total)) = (id, total) else {
            return Err(format!("unexpected line: {}", String::from_utf8_lossy(line)));
        };
        let len = head + total + END.len();
        Ok(if bytes.len() < len { Next::More } else { Next::Reply { len, id: Some(id) } })
    }

    #[inline]
    fn value<'a>(&self, reply: &'a [u8]) -> Option<&'a [u8]> {
        let (line, head) = store::line(reply)?;
        // HMSG subject sid header-bytes total-bytes
        let mut sizes = line.strip_prefix(b"HMSG ")?.rsplit(|byte| *byte == b' ').skip(1);
        let headers = store::read_decimal(sizes.next()?)?;
        let content = payload(reply);
        (content.starts_with(b"NATS/1.0\r\n") && head + headers <= reply.len()).then_some(())?;
        content.get(headers..)
    }

    #[inline]
    fn is_stored(&self, reply: &[u8]) -> bool {
        let content = payload(reply);
        reply.starts_with(b"MSG ")
            && message::member(content, b"error").is_none()
            && message::member(content, b"seq").is_some()
            && message::member(content, b"stream").is_some_and(|stream| {
                stream.strip_prefix(b"\"KV_").and_then(|rest| rest.strip_suffix(b"\"")) == Some(self.bucket.as_bytes())
            })
    }

    fn is_ordered(&self) -> bool {
        false
    }
}

const END: &[u8] = b"\r\n";

/// What stands behind the first line of a complete message.
#[inline]
fn payload(reply: &[u8]) -> &[u8] {
    let head = store::line(reply).map_or(reply.len(), |(_, head)| head);
    reply[head..].strip_suffix(END).unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    const ID: &[u8; 36] = b"00000000-0000-4000-8000-000000000000";

    #[test]
    fn writes_puts_and_gets() {
        let mut out = Vec::new();
        let nats = Nats::new("b", false);
        nats.write(&mut out, &Request { peer: 7, id: ID, key: b"k", value: None });
        nats.write(&mut out, &Request { peer: 7, id: ID, key: b"k", value: Some(b"value") });
        let text = String::from_utf8(out).unwrap().replace(std::str::from_utf8(ID).unwrap(), "ID");
        assert_eq!(
            text,
            "PUB $JS.API.DIRECT.GET.KV_b.$KV.b.k _INBOX.7.ID 0\r\n\r\nPUB $KV.b.k _INBOX.7.ID 5\r\nvalue\r\n"
        );
    }

    #[test]
    fn finds_the_end_and_the_id_of_every_message() {
        let nats = Nats::new("b", false);
        let got = b"HMSG _INBOX.7.id 1 21 26\r\nNATS/1.0\r\nSeq: 12\r\n\r\nvalue\r\n".as_slice();
        let put = b"MSG _INBOX.7.id 1 25\r\n{\"stream\":\"KV_b\",\"seq\":7}\r\n";
        for reply in [got, put] {
            for cut in 0..reply.len() {
                assert_eq!(nats.next(&reply[..cut]), Ok(Next::More), "{cut}");
            }
            assert_eq!(nats.next(reply), Ok(Next::Reply { len: reply.len(), id: Some(b"id") }));
        }
        assert_eq!(nats.next(b"PING\r\n"), Ok(Next::Aside(6, b"PONG\r\n")));
        assert!(nats.next(b"-ERR 'no'\r\n").is_err() && nats.next(b"MSG x\r\n").is_err());
    }

    #[test]
    fn only_values_are_values_and_only_acknowledgements_are_stored() {
        let nats = Nats::new("b", false);
        let headers = "NATS/1.0\r\nNats-Sequence: 1\r\n\r\n";
        let reply = format!("HMSG i 1 {} {}\r\n{headers}value\r\n", headers.len(), headers.len() + 5);
        assert_eq!(nats.value(reply.as_bytes()), Some(b"value".as_slice()));
        assert_eq!(nats.value(b"HMSG i 1 32 32\r\nNATS/1.0 404 Message Not Found\r\n\r\n\r\n"), None);
        let is_stored =
            |content: &str| nats.is_stored(format!("MSG i 1 {}\r\n{content}\r\n", content.len()).as_bytes());
        assert!(is_stored(r#"{"stream":"KV_b", "seq":7}"#));
        assert!(!is_stored(r#"{"stream":"KV_c","seq":7}"#));
        assert!(!is_stored(r#"{"error":{"code":503},"stream":"KV_b","seq":0}"#));
    }
}
