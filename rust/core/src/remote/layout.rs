//! How state lies in Redis (docs/state.md, With Redis). The scripts use the same names.

use crate::codec::Value;
use crate::state::{Entry, Stored};

/// Before a scope: the hash of its entries.
pub const ENTRIES: &[u8] = b"iii-fast:state:";

/// An entry as it is kept: `VERSION INSERTION EXPIRES VALUE`, numbers decimal, an expiry of 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a> {
    /// Position of the write that it is from.
    pub version: u64,
    /// Insertion number.
    pub seq: u64,
    /// Unix ms; 0: never.
    pub expires_at: u64,
    /// What [`Stored::raw`] is.
    pub value: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Takes an entry apart; none when it is none of ours.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = number(bytes)?;
        let (seq, rest) = number(rest)?;
        let (expires_at, value) = number(rest)?;
        (!value.is_empty()).then_some(Raw { version, seq, expires_at, value })
    }

    /// Whether its time has not come.
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at == 0 || self.expires_at > now_ms
    }

    /// When it expires.
    pub fn expiry(&self) -> Option<u64> {
        (self.expires_at != 0).then_some(self.expires_at)
    }

    /// The value, to be looked at; none when it is not UTF-8.
    pub fn value(&self) -> Option<Value<'a>> {
        Stored::view(self.value)
    }

    /// The value on its own.
    pub fn stored(&self) -> Stored {
        Stored::restored(self.value)
    }

    /// All of it on its own.
    pub fn entry(&self) -> Entry {
        Entry { stored: self.stored(), version: self.version, seq: self.seq, expires_at: self.expiry() }
    }
}

/// The number at the beginning, and what follows the space behind it.
fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number.checked_mul(10)?.checked_add(u64::from(byte - b'0'))?,
            b' ' if at > 0 => return Some((number, &bytes[at + 1..])),
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_and_anything_else_is_not() {
        let raw = Raw::read(b"12 3 0 {\"a\": 1}");
        assert_eq!(raw, Some(Raw { version: 12, seq: 3, expires_at: 0, value: b"{\"a\": 1}" }));
        assert!(raw.is_some_and(|raw| raw.is_live(u64::MAX) && raw.expiry().is_none()));
        assert!(Raw::read(b"1 1 5 0").is_some_and(|raw| raw.is_live(4) && !raw.is_live(5)));
        for other in ["", "1", "1 2", "1 2 3", "1 2 3 ", "a 2 3 4", " 1 2 3", "1  2 3", "99999999999999999999 1 1 1"] {
            assert_eq!(Raw::read(other.as_bytes()), None, "{other}");
        }
    }
}
