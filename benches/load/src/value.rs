//! Values that can be checked byte by byte without being stored: key and version make them.

use crate::hex::{read_hex, write_hex};
use crate::random::{Random, mix};

const HEAD: &[u8] = br#"{"id":"00000000","version":"00000000","data":""#;
const TAIL: &[u8] = br#""}"#;
const OFFSETS: u64 = 4096;

/// The smallest value that can be made.
pub const VALUE_BYTES_MIN: usize = HEAD.len() + TAIL.len();

/// Maker and checker of JSON texts of one length.
pub struct Values {
    letters: Vec<u8>,
    length: usize,
}

impl Values {
    /// Texts of `length` bytes, at least `VALUE_BYTES_MIN`.
    pub fn new(length: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, u64::from(u32::MAX));
        let letters =
            std::iter::repeat_with(|| b'a' + random.below(26) as u8).take(length + OFFSETS as usize).collect();
        Self { letters, length: length.max(VALUE_BYTES_MIN) }
    }

    /// How many bytes each text has.
    #[expect(clippy::len_without_is_empty, reason = "a length of each, and never zero")]
    pub const fn len(&self) -> usize {
        self.length
    }

    #[inline]
    fn head(key: u32, version: u32) -> [u8; HEAD.len()] {
        let mut head = [0; HEAD.len()];
        head.copy_from_slice(HEAD);
        write_hex(&mut head[7..15], key.into());
        write_hex(&mut head[28..36], version.into());
        head
    }

    /// `count` letters that depend on `number`.
    #[inline]
    pub fn letters(&self, number: u64, count: usize) -> &[u8] {
        let start = (mix(number) % OFFSETS) as usize;
        &self.letters[start..start + count]
    }

    /// The letters in a value.
    #[inline]
    pub fn body(&self, key: u32, version: u32) -> &[u8] {
        self.letters(u64::from(key) << 32 | u64::from(version), self.length - VALUE_BYTES_MIN)
    }

    /// Appends the text of one version of one key.
    #[inline]
    pub fn write(&self, out: &mut Vec<u8>, key: u32, version: u32) {
        out.extend_from_slice(&Self::head(key, version));
        out.extend_from_slice(self.body(key, version));
        out.extend_from_slice(TAIL);
    }

    /// The version that a text says it is.
    #[inline]
    pub fn version(&self, text: &[u8]) -> Option<u32> {
        read_hex(text.get(28..36)?).map(|version| version as u32)
    }

    /// Whether `text` is exactly that version of that key; version 0 is `null`.
    #[inline]
    pub fn is(&self, text: &[u8], key: u32, version: u32) -> bool {
        if version == 0 {
            return text == b"null";
        }
        text.len() == self.length
            && text.starts_with(&Self::head(key, version))
            && text[HEAD.len()..self.length - TAIL.len()] == *self.body(key, version)
            && text.ends_with(TAIL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_its_own_texts_and_no_others() {
        let values = Values::new(100, 1);
        let mut text = Vec::new();
        values.write(&mut text, 42, 7);
        assert_eq!(text.len(), 100);
        assert!(text.starts_with(br#"{"id":"0000002a","version":"00000007","data":""#));
        assert!(values.is(&text, 42, 7));
        assert_eq!(values.version(&text), Some(7));
        assert!(!values.is(&text, 42, 8) && !values.is(&text, 43, 7) && !values.is(&text[..99], 42, 7));
        for position in 0..text.len() {
            let mut wrong = text.clone();
            wrong[position] ^= 1;
            assert!(!values.is(&wrong, 42, 7), "{position}");
        }
        assert!(values.is(b"null", 42, 0) && !values.is(&text, 42, 0));
    }
}
