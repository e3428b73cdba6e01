//! Records as bytes (docs/storage.md, Format): encoding appends, decoding borrows. Knows no files.
//!
//! A record is broken when it is cut short, its checksum is wrong, or its body is not what its kind says. Reading never panics
//! and never reads past the end, whatever the bytes are.

use crate::state::Stored;

/// Bytes before the body.
pub const HEAD_BYTES: usize = 20;

/// The only version of every kind that is known: since it marks and closes name their segment.
pub const VERSION: u8 = 3;

/// What a record is.
pub mod kind {
    /// Operations on state.
    pub const COMMIT: u8 = 1;
    /// Everything up to a position is synced; first in each written batch.
    pub const MARK: u8 = 2;
    /// The engine ended in an orderly way.
    pub const CLOSE: u8 = 3;
    /// Entries of a snapshot.
    pub const ENTRIES: u8 = 16;
    /// The last record of a snapshot.
    pub const END: u8 = 17;
}

const CREATED: u8 = 1;
const EXPIRES: u8 = 2;

/// One operation of a commit. `V` is the value: shared while it is written, borrowed bytes when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op<'a, V = &'a [u8]> {
    /// The entry has this value now.
    Set {
        /// Scope.
        scope: &'a str,
        /// Key.
        key: &'a str,
        /// Value.
        value: V,
        /// Whether the key was not there.
        created: bool,
        /// Unix ms from which the entry is gone.
        expires_at: Option<u64>,
    },
    /// The entry is gone.
    Delete {
        /// Scope.
        scope: &'a str,
        /// Key.
        key: &'a str,
    },
    /// The entry is gone because its time had come.
    Expire {
        /// Scope.
        scope: &'a str,
        /// Key.
        key: &'a str,
    },
    /// All entries of the scope are gone.
    DeleteScope {
        /// Scope.
        scope: &'a str,
    },
}

/// One entry of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotEntry<'a, V = &'a [u8]> {
    /// Scope.
    pub scope: &'a str,
    /// Key.
    pub key: &'a str,
    /// Value.
    pub value: V,
    /// Position of the write it is from.
    pub version: u64,
    /// Insertion number.
    pub seq: u64,
    /// Unix ms from which the entry is gone.
    pub expires_at: Option<u64>,
}

/// A whole record with a right checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// One of [`kind`].
    pub kind: u8,
    /// Version of the kind.
    pub version: u8,
    /// Its position.
    pub position: u64,
    /// What it says.
    pub body: &'a [u8],
}

/// Why bytes are no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The bytes end before the record does.
    #[error("the record is cut short")]
    Short,
    /// The checksum is wrong.
    #[error("the checksum is wrong")]
    Checksum,
    /// The body is not what its kind says.
    #[error("the body is malformed")]
    Body,
}

impl Record<'_> {
    /// Bytes of the whole record.
    pub fn size(&self) -> usize {
        HEAD_BYTES + self.body.len()
    }
}

// --- writing ---------------------------------------------------------------------------------------------------------

/// Appends a record whose body `write` appends.
pub fn encode(out: &mut Vec<u8>, kind: u8, position: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&[kind, VERSION, 0, 0]);
    out.extend_from_slice(&position.to_le_bytes());
    write(out);
    // Messages are at most some GiB; a transaction of many large values stays below as well, since it comes in one message.
    let body_bytes = (out.len() - start - HEAD_BYTES) as u32;
    let checksum = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&body_bytes.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a commit.
pub fn encode_commit(out: &mut Vec<u8>, position: u64, ops: &[Op<'_, &Stored>]) {
    encode(out, kind::COMMIT, position, |out| ops.iter().for_each(|op| encode_op(out, op)));
}

/// Appends a mark: everything up to `synced` is on the disk. `number` is that of the segment.
pub fn encode_mark(out: &mut Vec<u8>, position: u64, synced: u64, number: u64) {
    encode(out, kind::MARK, position, |out| {
        out.extend_from_slice(&synced.to_le_bytes());
        out.extend_from_slice(&number.to_le_bytes());
    });
}

/// Appends a close: everything up to `position` is on the disk, and nothing follows. `number` is that of the segment.
pub fn encode_close(out: &mut Vec<u8>, position: u64, number: u64) {
    encode(out, kind::CLOSE, position, |out| out.extend_from_slice(&number.to_le_bytes()));
}

fn encode_op(out: &mut Vec<u8>, op: &Op<'_, &Stored>) {
    match *op {
        Op::Set { scope, key, value, created, expires_at } => {
            let flags = if created { CREATED } else { 0 } | if expires_at.is_some() { EXPIRES } else { 0 };
            out.extend_from_slice(&[1, flags]);
            put_bytes(out, scope.as_bytes());
            put_bytes(out, key.as_bytes());
            if let Some(expires_at) = expires_at {
                out.extend_from_slice(&expires_at.to_le_bytes());
            }
            put_bytes(out, value.raw());
        }
        Op::Delete { scope, key } => put_names(out, 2, scope, key),
        Op::Expire { scope, key } => put_names(out, 3, scope, key),
        Op::DeleteScope { scope } => {
            out.push(4);
            put_bytes(out, scope.as_bytes());
        }
    }
}

/// Appends one entry to the body of a record of entries.
pub fn put_entry(out: &mut Vec<u8>, entry: &SnapshotEntry<'_, &Stored>) {
    out.push(if entry.expires_at.is_some() { EXPIRES } else { 0 });
    put_bytes(out, entry.scope.as_bytes());
    put_bytes(out, entry.key.as_bytes());
    if let Some(expires_at) = entry.expires_at {
        out.extend_from_slice(&expires_at.to_le_bytes());
    }
    put_varint(out, entry.version);
    put_varint(out, entry.seq);
    put_bytes(out, entry.value.raw());
}

fn put_names(out: &mut Vec<u8>, tag: u8, scope: &str, key: &str) {
    out.push(tag);
    put_bytes(out, scope.as_bytes());
    put_bytes(out, key.as_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

// --- reading ---------------------------------------------------------------------------------------------------------

/// The record that `bytes` begin with.
///
/// # Errors
/// When it is broken.
pub fn decode(bytes: &[u8]) -> Result<Record<'_>, Broken> {
    let head = bytes.first_chunk::<HEAD_BYTES>().ok_or(Broken::Short)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3, kind, version, _, _, position @ ..] = *head;
    let end = HEAD_BYTES + u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let checked = bytes.get(8..end).ok_or(Broken::Short)?;
    if crc32c::crc32c(checked) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(Broken::Checksum);
    }
    Ok(Record { kind, version, position: u64::from_le_bytes(position), body: &bytes[HEAD_BYTES..end] })
}

/// The operations of a commit's body, in order.
///
/// # Errors
/// [`Broken::Body`] when the body is malformed; from `each` whatever it returns.
pub fn ops<'a, E: From<Broken>>(body: &'a [u8], mut each: impl FnMut(Op<'a>) -> Result<(), E>) -> Result<(), E> {
    let mut reader = Reader(body);
    while !reader.0.is_empty() {
        each(reader.op()?)?;
    }
    Ok(())
}

/// How many operations a commit's body has.
///
/// # Errors
/// [`Broken::Body`].
pub fn count_ops(body: &[u8]) -> Result<u64, Broken> {
    let mut count = 0;
    ops(body, |_| {
        count += 1;
        Ok::<_, Broken>(())
    })?;
    if count == 0 { Err(Broken::Body) } else { Ok(count) }
}

/// The entries of a snapshot record's body, in order.
///
/// # Errors
/// As [`ops`].
pub fn entries<'a, E: From<Broken>>(
    body: &'a [u8],
    mut each: impl FnMut(SnapshotEntry<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader(body);
    while !reader.0.is_empty() {
        each(reader.entry()?)?;
    }
    Ok(())
}

/// Up to where a mark says that everything is on the disk, and the number of the segment it was written for.
///
/// # Errors
/// [`Broken::Body`].
pub fn mark(body: &[u8]) -> Result<(u64, u64), Broken> {
    match body.split_at_checked(8) {
        Some((synced, segment)) => Ok((number(synced)?, number(segment)?)),
        None => Err(Broken::Body),
    }
}

/// The number in the body of a close or of a snapshot's end.
///
/// # Errors
/// [`Broken::Body`].
pub fn number(body: &[u8]) -> Result<u64, Broken> {
    body.try_into().map(u64::from_le_bytes).map_err(|_| Broken::Body)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn op(&mut self) -> Result<Op<'a>, Broken> {
        Ok(match self.byte()? {
            1 => {
                let flags = self.flags(CREATED | EXPIRES)?;
                let (scope, key) = (self.text()?, self.text()?);
                let expires_at = self.expiry(flags)?;
                let value = self.bytes()?;
                Op::Set { scope, key, value, created: flags & CREATED != 0, expires_at }
            }
            2 => Op::Delete { scope: self.text()?, key: self.text()? },
            3 => Op::Expire { scope: self.text()?, key: self.text()? },
            4 => Op::DeleteScope { scope: self.text()? },
            _ => return Err(Broken::Body),
        })
    }

    fn entry(&mut self) -> Result<SnapshotEntry<'a>, Broken> {
        let flags = self.flags(EXPIRES)?;
        let (scope, key) = (self.text()?, self.text()?);
        let expires_at = self.expiry(flags)?;
        let (version, seq) = (self.varint()?, self.varint()?);
        Ok(SnapshotEntry { scope, key, value: self.bytes()?, version, seq, expires_at })
    }

    fn byte(&mut self) -> Result<u8, Broken> {
        let (&first, rest) = self.0.split_first().ok_or(Broken::Body)?;
        self.0 = rest;
        Ok(first)
    }

    fn flags(&mut self, known: u8) -> Result<u8, Broken> {
        let flags = self.byte()?;
        if flags & !known == 0 { Ok(flags) } else { Err(Broken::Body) }
    }

    fn expiry(&mut self, flags: u8) -> Result<Option<u64>, Broken> {
        if flags & EXPIRES == 0 {
            return Ok(None);
        }
        let (bytes, rest) = self.0.split_first_chunk::<8>().ok_or(Broken::Body)?;
        self.0 = rest;
        Ok(Some(u64::from_le_bytes(*bytes)))
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            // Too large, or longer than it has to be.
            if shift == 63 && bits > 1 || shift > 0 && byte == 0 {
                return Err(Broken::Body);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Broken::Body)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Broken> {
        let len = usize::try_from(self.varint()?).map_err(|_| Broken::Body)?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Broken::Body)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn text(&mut self) -> Result<&'a str, Broken> {
        simdutf8::basic::from_utf8(self.bytes()?).map_err(|_| Broken::Body)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn commit() -> Vec<u8> {
        let value = Stored::new("{\"a\":1}");
        let mut out = Vec::new();
        let ops = [
            Op::Set { scope: "s", key: "k", value: &value, created: true, expires_at: None },
            Op::Set { scope: "", key: "ключ", value: &value, created: false, expires_at: Some(u64::MAX) },
            Op::Delete { scope: "s", key: "k" },
            Op::Expire { scope: "s", key: "" },
            Op::DeleteScope { scope: "s" },
        ];
        encode_commit(&mut out, 7, &ops);
        out
    }

    #[test]
    fn a_commit_comes_back_as_it_was() {
        let bytes = commit();
        let record = decode(&bytes).unwrap();
        assert_eq!((record.kind, record.version, record.position), (kind::COMMIT, VERSION, 7));
        assert_eq!(record.size(), bytes.len());
        let mut found = Vec::new();
        ops(record.body, |op| {
            found.push(op);
            Ok::<_, Broken>(())
        })
        .unwrap();
        let value: &[u8] = b"{\"a\":1}";
        assert_eq!(
            found,
            [
                Op::Set { scope: "s", key: "k", value, created: true, expires_at: None },
                Op::Set { scope: "", key: "ключ", value, created: false, expires_at: Some(u64::MAX) },
                Op::Delete { scope: "s", key: "k" },
                Op::Expire { scope: "s", key: "" },
                Op::DeleteScope { scope: "s" },
            ]
        );
        assert_eq!(count_ops(record.body), Ok(5));
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let value = Stored::new(&"7".repeat(300));
        let entry =
            SnapshotEntry { scope: "s", key: "k", value: &value, version: u64::MAX, seq: 128, expires_at: Some(9) };
        let mut out = Vec::new();
        encode(&mut out, kind::ENTRIES, 3, |out| {
            put_entry(out, &entry);
            put_entry(out, &SnapshotEntry { expires_at: None, ..entry });
        });
        let mut found = Vec::new();
        entries(decode(&out).unwrap().body, |entry| {
            found.push((entry.version, entry.seq, entry.expires_at, entry.value.len()));
            Ok::<_, Broken>(())
        })
        .unwrap();
        assert_eq!(found, [(u64::MAX, 128, Some(9), 300), (u64::MAX, 128, None, 300)]);
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = commit();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(Broken::Short), "cut at {end}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_body_is_read_to_its_end_or_refused() {
        let bytes = commit();
        let body = decode(&bytes).unwrap().body;
        let mut whole = 0;
        for end in 1..body.len() {
            whole += usize::from(count_ops(&body[..end]).is_ok());
        }
        assert_eq!(whole, 4, "only at the borders of operations");
        assert_eq!(count_ops(b""), Err(Broken::Body));
        assert_eq!(count_ops(&[9]), Err(Broken::Body));
        assert_eq!(count_ops(&[4, 1, 0xff]), Err(Broken::Body), "not UTF-8");
        assert_eq!(count_ops(&[4, 0x81, 0, b's']), Err(Broken::Body), "a length of two bytes that needs one");
        assert_eq!(count_ops(&[4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), Err(Broken::Body));
    }
}
