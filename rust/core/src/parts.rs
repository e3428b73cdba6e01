//! Where outgoing bytes are put: small ones copied, large ones shared.

use std::sync::Arc;

/// Receives the pieces of one message in order.
pub trait Parts {
    /// Bytes to copy.
    fn bytes(&mut self, bytes: &[u8]);
    /// Bytes that may be shared instead of copied, all behind the first `from`.
    fn shared(&mut self, bytes: &Arc<[u8]>, from: usize);
}

impl Parts for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
    fn shared(&mut self, bytes: &Arc<[u8]>, from: usize) {
        self.extend_from_slice(&bytes[from..]);
    }
}
