//! Parts of a snapshot as files: their names and headers. Which entries a part has is known only to the process that wrote it.

use crate::reader::{Fault, Reason};
use crate::segment::{VERSION, digits_of};
use crc32c::crc32c;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 48;

const MAGIC: &[u8; 8] = b"IIIFASTS";

/// What names a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartId {
    /// One generation is what one process writes.
    pub generation: u32,
    /// Which part, from 0.
    pub part: u32,
}

/// What the header of a part says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartHeader {
    /// Which part it is.
    pub id: PartId,
    /// How many parts the generation has.
    pub parts: u32,
    /// Changes up to this position are in it; later ones may be.
    pub start: u64,
}

/// The file of a part.
pub fn name(id: PartId) -> String {
    format!("snapshot-{:08}-{:05}.snap", id.generation, id.part)
}

/// The part by the name of its file.
pub fn parse_name(name: &str) -> Option<PartId> {
    let (generation, part) = name.strip_prefix("snapshot-")?.strip_suffix(".snap")?.split_once('-')?;
    let number = |text, len| digits_of(text, len).and_then(|number| u32::try_from(number).ok());
    Some(PartId { generation: number(generation, 8)?, part: number(part, 5)? })
}

/// The bytes of a header.
pub fn header(of: &PartHeader) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[12..16].copy_from_slice(&of.id.generation.to_le_bytes());
    header[16..20].copy_from_slice(&of.id.part.to_le_bytes());
    header[20..24].copy_from_slice(&of.parts.to_le_bytes());
    header[24..32].copy_from_slice(&of.start.to_le_bytes());
    let checksum = crc32c(&header[..32]);
    header[32..36].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// Reads the header of the part `id`.
///
/// # Errors
/// At offset 0: what is wrong with it.
pub fn read_header(bytes: &[u8], id: PartId) -> Result<PartHeader, Fault> {
    let fault = |reason| Err(Fault { offset: 0, reason });
    let Some(found) = bytes.first_chunk::<HEADER_BYTES>() else { return fault(Reason::ShortHeader) };
    if !found.starts_with(MAGIC) || found[32..36] != crc32c(&found[..32]).to_le_bytes() {
        return fault(Reason::Header);
    }
    let number = |at: usize| u32::from_le_bytes([found[at], found[at + 1], found[at + 2], found[at + 3]]);
    if number(8) != VERSION {
        return fault(Reason::OtherFormat(number(8)));
    }
    let start = u64::from(number(24)) | u64::from(number(28)) << 32;
    let read = PartHeader { id: PartId { generation: number(12), part: number(16) }, parts: number(20), start };
    if read.id != id || id.part >= read.parts {
        return fault(Reason::OtherFile);
    }
    if *found != header(&read) {
        return fault(Reason::Header);
    }
    Ok(read)
}
