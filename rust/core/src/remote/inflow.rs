//! Bytes from Redis on their way to whole replies.

use super::resp::{ProtocolError, Scanner};

/// A buffer that has grown beyond this is freed when it is empty.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// Room for one read, at least.
const READ_BYTES: usize = 64 << 10;

/// What was read and not yet taken.
#[derive(Default)]
pub(super) struct Inflow {
    bytes: Vec<u8>,
    from: usize,
    filled: usize,
    scanner: Scanner,
}

impl Inflow {
    /// Where to read to; then call [`Self::add`].
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.from == self.filled {
            self.from = 0;
            self.filled = 0;
            if self.bytes.len() > KEPT_BYTES_MAX {
                self.bytes = Vec::new();
            }
        }
        if self.bytes.len() - self.filled < READ_BYTES {
            self.bytes.copy_within(self.from..self.filled, 0);
            self.filled -= self.from;
            self.from = 0;
            // Doubled while one large reply comes in.
            let len = (self.filled + READ_BYTES).max(if self.filled > READ_BYTES { 2 * self.filled } else { 0 });
            self.bytes.resize(len.max(self.bytes.len()), 0);
        }
        &mut self.bytes[self.filled..]
    }

    /// `n` bytes were read to [`Self::space`].
    pub(super) fn add(&mut self, n: usize) {
        self.filled += n;
    }

    /// The next whole reply, if it is there.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, ProtocolError> {
        let Some(len) = self.scanner.scan(&self.bytes[self.from..self.filled])? else { return Ok(None) };
        let from = self.from;
        self.from += len;
        Ok(Some(&self.bytes[from..self.from]))
    }
}
