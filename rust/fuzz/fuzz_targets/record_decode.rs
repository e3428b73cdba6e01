//! A segment of the journal from any bytes: nothing panics, and every commit that is accepted is what it would be written as.
#![no_main]

use iii_fast_core::log::record::{self, Broken, Op};
use iii_fast_core::state::Stored;
use iii_fast_journal::reader::SegmentReader;
use iii_fast_journal::segment;
use libfuzzer_sys::fuzz_target;

/// That of the segment.
const NUMBER: u64 = 0;

fuzz_target!(|data: &[u8]| {
    let _ = record::decode(data);
    read(data);
    let Some((&how, rest)) = data.split_first() else { return };
    let mut bytes = segment::header(1, NUMBER).to_vec();
    // Checksums that are right let the bytes through to what reads bodies.
    if how % 2 == 0 {
        records(&mut bytes, rest)
    } else {
        bytes.extend_from_slice(rest)
    }
    read(&bytes);
});

/// Pieces of `data` as records: kind, version, position, length of the body, body.
fn records(out: &mut Vec<u8>, mut data: &[u8]) {
    while let [kind, version, position, len, rest @ ..] = data {
        let (body, rest) = rest.split_at((*len as usize).min(rest.len()));
        let start = out.len();
        record::encode(out, *kind, u64::from(*position), |out| out.extend_from_slice(body));
        if *version == 0 {
            out[start + 4] ^= 1;
        }
        data = rest;
    }
}

fn read(bytes: &[u8]) {
    let Ok(mut reader) = SegmentReader::new(bytes, 1) else { return };
    let mut last = 0;
    loop {
        let commit = match reader.next() {
            Ok(Some(commit)) => commit,
            Ok(None) => break,
            Err(fault) => {
                assert_eq!(fault.offset, reader.offset() as u64);
                assert!(!(reader.is_torn(&fault) && fault.reason.is_other_version()));
                break;
            }
        };
        assert_eq!(commit.position, last + commit.count);
        last = commit.position;
        let mut values = Vec::new();
        each_op(commit.body, |op| {
            if let Op::Set { value, .. } = op {
                values.push(Stored::from(value.to_vec()));
            }
        });
        let (mut next, mut ops) = (values.iter(), Vec::new());
        each_op(commit.body, |op| {
            ops.push(match op {
                Op::Set { scope, key, created, expires_at, .. } => {
                    Op::Set { scope, key, value: next.next().expect("as many"), created, expires_at }
                }
                Op::Delete { scope, key } => Op::Delete { scope, key },
                Op::Expire { scope, key } => Op::Expire { scope, key },
                Op::DeleteScope { scope } => Op::DeleteScope { scope },
            });
        });
        assert_eq!(ops.len() as u64, commit.count);
        let mut written = Vec::new();
        record::encode_commit(&mut written, commit.position, &ops);
        assert!(bytes[..commit.end].ends_with(&written));
    }
    assert!(reader.offset() <= bytes.len());
    assert_eq!(reader.last(), last);
}

fn each_op<'a>(body: &'a [u8], mut each: impl FnMut(Op<'a>)) {
    record::ops(body, |op| {
        each(op);
        Ok::<_, Broken>(())
    })
    .expect("a body that was accepted");
}
