//! Replies of Redis, whole and cut at every place, and commands to it.
#![allow(clippy::panic)]

use iii_fast_core::remote::resp::{Command, ProtocolError, REPLY_BYTES_MAX, Reply, Scanner};

fn complete(bytes: &[u8]) -> usize {
    match Scanner::default().scan(bytes) {
        Ok(Some(end)) => end,
        other => panic!("{other:?} of {:?}", String::from_utf8_lossy(bytes)),
    }
}

fn cases() -> Vec<(&'static [u8], Reply<'static>)> {
    vec![
        (b"+OK\r\n", Reply::Simple(b"OK")),
        (b"+\r\n", Reply::Simple(b"")),
        (b"-ERR no such thing\r\n", Reply::Error(b"ERR no such thing")),
        (b":-9223372036854775808\r\n", Reply::Int(i64::MIN)),
        (b"$-1\r\n", Reply::Nil),
        (b"*-1\r\n", Reply::Nil),
        (b"$0\r\n\r\n", Reply::Bulk(b"")),
        (b"$4\r\n\r\n\r\n\r\n", Reply::Bulk(b"\r\n\r\n")),
        (b"*0\r\n", Reply::Array(vec![])),
        (
            b"*4\r\n$-1\r\n*2\r\n:1\r\n*0\r\n$3\r\n$1\r\r\n-NO\r\n",
            Reply::Array(vec![
                Reply::Nil,
                Reply::Array(vec![Reply::Int(1), Reply::Array(vec![])]),
                Reply::Bulk(b"$1\r"),
                Reply::Error(b"NO"),
            ]),
        ),
    ]
}

#[test]
fn replies_are_read_whatever_follows_them() {
    for (bytes, reply) in cases() {
        let followed = [bytes, b"$5\r\nwhatever"].concat();
        assert_eq!(complete(&followed), bytes.len());
        assert_eq!(Reply::read(bytes), Ok(reply));
    }
}

#[test]
fn a_reply_that_is_cut_anywhere_is_waited_for() {
    for (bytes, _) in cases() {
        for cut in 0..bytes.len() {
            let mut scanner = Scanner::default();
            assert_eq!(scanner.scan(&bytes[..cut]), Ok(None), "{cut} of {:?}", String::from_utf8_lossy(bytes));
            assert_eq!(scanner.scan(bytes), Ok(Some(bytes.len())));
        }
        let mut scanner = Scanner::default();
        let ends = (1..=bytes.len()).map(|end| scanner.scan(&bytes[..end]));
        let found: Vec<_> = ends.collect();
        assert!(found[..found.len() - 1].iter().all(|end| *end == Ok(None)));
        assert_eq!(found.last(), Some(&Ok(Some(bytes.len()))));
    }
}

#[test]
fn many_replies_in_one_stream_are_found_one_after_the_other() {
    let stream: Vec<u8> = cases().iter().flat_map(|(bytes, _)| bytes.iter().copied()).collect();
    for step in 1..9 {
        let (mut scanner, mut from, mut seen) = (Scanner::default(), 0, 0);
        for end in (step..stream.len() + step).step_by(step) {
            let end = end.min(stream.len());
            while let Ok(Some(len)) = scanner.scan(&stream[from..end]) {
                assert_eq!(Reply::read(&stream[from..from + len]), Ok(cases()[seen].1.clone()));
                from += len;
                seen += 1;
            }
        }
        assert_eq!((from, seen), (stream.len(), cases().len()), "step {step}");
    }
}

#[test]
fn what_is_no_reply_is_refused() {
    let too_long = [b"+".as_slice(), &[b'x'; 70_000]].concat();
    let too_large = format!("${REPLY_BYTES_MAX}\r\n");
    for bytes in [
        b"HTTP/1.1 400".as_slice(),
        b"$x\r\n",
        b"$-2\r\n",
        b"*-2\r\n",
        b":\r\n",
        b":1.5\r\n",
        b"+OK\n",
        b"\r\n",
        b"$1\r\nab\r\n",
        b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n",
        too_long.as_slice(),
        too_large.as_bytes(),
    ] {
        let scanned: Result<_, ProtocolError> = Scanner::default().scan(bytes);
        assert!(scanned.is_err(), "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(40)]));
    }
}

#[test]
fn commands_are_arrays_of_strings() {
    let mut out = Vec::new();
    Command::new(&mut out, 4).arg("SET").join(&[b"a:", b"", b"\r\n"]).number(18_446_744_073_709_551_615).arg("");
    assert_eq!(out, b"*4\r\n$3\r\nSET\r\n$4\r\na:\r\n\r\n$20\r\n18446744073709551615\r\n$0\r\n\r\n");
    let mut out = Vec::new();
    Command::new(&mut out, 12).arg([b'x'; 100]);
    assert!(out.starts_with(b"*12\r\n$100\r\nx"));
}
