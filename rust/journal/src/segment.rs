//! Segments of the journal: their names and headers.

use crate::reader::{Fault, Reason};
use crc32c::crc32c;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"IIIFASTJ";
/// The only version of the format that is known.
pub(crate) const VERSION: u32 = 2;

/// The file whose first record is at `first`.
pub fn name(first: u64) -> String {
    format!("journal-{first:020}.log")
}

/// The first position of a segment by its name.
pub fn parse_name(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("journal-")?.strip_suffix(".log")?;
    digits_of(digits, 20).filter(|&first| first > 0)
}

/// A number of exactly `len` digits.
pub(crate) fn digits_of(text: &str, len: usize) -> Option<u64> {
    (text.len() == len && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The header of the segment that begins at `first`.
pub fn header(first: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32c(&header[..24]);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Checks the header of the segment that begins at `first`.
///
/// # Errors
/// At offset 0: what is wrong with it.
pub fn check_header(bytes: &[u8], first: u64) -> Result<(), Fault> {
    let fault = |reason| Err(Fault { offset: 0, reason });
    let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else { return fault(Reason::ShortHeader) };
    if *found == header(first) {
        return Ok(());
    }
    let [_, _, _, _, _, _, _, _, v0, v1, v2, v3, _, _, _, _, position @ .., _, _, _, _, _, _, _, _] = *found;
    if !found.starts_with(MAGIC) || found[24..28] != crc32c(&found[..24]).to_le_bytes() {
        return fault(Reason::Header);
    }
    match u32::from_le_bytes([v0, v1, v2, v3]) {
        VERSION => match u64::from_le_bytes(position) {
            position if position != first => fault(Reason::OtherFile),
            _ => fault(Reason::Header),
        },
        version => fault(Reason::NewerFormat(version)),
    }
}
