//! A part of a snapshot from any bytes: nothing panics, and a file that is accepted is what it would be written as.
#![no_main]

use iii_fast_core::log::record::{self, SnapshotEntry, kind};
use iii_fast_core::state::Stored;
use iii_fast_journal::part::{self, PartHeader, PartId};
use iii_fast_journal::reader::PartReader;
use libfuzzer_sys::fuzz_target;

const ID: PartId = PartId { generation: 1, part: 0 };
const START: u64 = 5;

fuzz_target!(|data: &[u8]| {
    read(data);
    let Some((&how, rest)) = data.split_first() else { return };
    let mut bytes = part::header(&PartHeader { id: ID, parts: 1, start: START }).to_vec();
    match how % 3 {
        0 => bytes.extend_from_slice(rest),
        how => records(&mut bytes, rest, how == 1),
    }
    read(&bytes);
});

/// Pieces of `data` as records of entries with right checksums: length of the body, body; with the end that belongs to them, or none.
fn records(out: &mut Vec<u8>, mut data: &[u8], with_end: bool) {
    let mut entries = 0u64;
    while let [len, rest @ ..] = data {
        let (body, rest) = rest.split_at((*len as usize).min(rest.len()));
        record::encode(out, kind::ENTRIES, START, |out| out.extend_from_slice(body));
        let _ = record::entries(body, |_| {
            entries += 1;
            Ok::<_, record::Broken>(())
        });
        data = rest;
    }
    if with_end {
        record::encode(out, kind::END, START, |out| out.extend_from_slice(&entries.to_le_bytes()));
    }
}

fn read(bytes: &[u8]) {
    let Ok(mut reader) = PartReader::new(bytes, ID) else { return };
    let header = reader.header();
    let mut written = part::header(&header).to_vec();
    loop {
        let mut body = Vec::new();
        let next = reader.next(|entry| {
            let SnapshotEntry { scope, key, value, version, seq, expires_at } = entry;
            let value = Stored::from(value.to_vec());
            record::put_entry(&mut body, &SnapshotEntry { scope, key, value: &value, version, seq, expires_at });
        });
        match next {
            Ok(true) => record::encode(&mut written, kind::ENTRIES, header.start, |out| out.extend_from_slice(&body)),
            Ok(false) => break,
            Err(fault) => {
                assert!(fault.offset <= bytes.len() as u64);
                return;
            }
        }
    }
    let entries = reader.entries();
    record::encode(&mut written, kind::END, header.start, |out| out.extend_from_slice(&entries.to_le_bytes()));
    assert_eq!(written, bytes);
}
