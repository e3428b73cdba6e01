//! Segments of the journal: their names and headers.

use crate::reader::{Fault, Reason};
use crc32c::crc32c;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 40;

const MAGIC: &[u8; 8] = b"IIIFASTJ";
/// The only version of the format that is known.
pub(crate) const VERSION: u32 = 3;

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

/// The header of the segment that begins at `first`. `number` was drawn for it: its marks and closes repeat it, so that nothing that is
/// stored can be taken for one.
pub fn header(first: u64, number: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    let checksum = crc32c(&header[..24]);
    header[24..28].copy_from_slice(&checksum.to_le_bytes());
    header[28..36].copy_from_slice(&number.to_le_bytes());
    let checksum = crc32c(&header[..36]);
    header[36..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The number in the header of the segment that begins at `first`.
///
/// # Errors
/// At offset 0: what is wrong with it.
pub fn read_header(bytes: &[u8], first: u64) -> Result<u64, Fault> {
    let fault = |reason| Err(Fault { offset: 0, reason });
    if let Some(version) = version(bytes).filter(|&version| version != VERSION) {
        return fault(Reason::OtherFormat(version));
    }
    let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else { return fault(Reason::ShortHeader) };
    let number = number(found, 28);
    if *found == header(first, number) {
        return Ok(number);
    }
    let is_one = *found == header(self::number(found, 16), number);
    fault(if is_one { Reason::OtherFile } else { Reason::Header })
}

/// The version of the format, by what is the same in every version of a header; none if it is none.
fn version(bytes: &[u8]) -> Option<u32> {
    let found = bytes.first_chunk::<28>()?;
    let is_whole = found.starts_with(MAGIC) && found[24..] == crc32c(&found[..24]).to_le_bytes();
    is_whole.then(|| number(found, 8) as u32)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}
