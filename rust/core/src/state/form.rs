//! How an answer is written in either codec: one description of each answer serves both.

use super::stored::Stored;
use crate::codec::{json, msgpack};
use crate::parts::Parts;

/// Writes one value, piece by piece.
pub(super) trait Form {
    /// Begins a map of `len` members; each is a name and a value.
    fn map(&mut self, len: u32);
    /// After its last member.
    fn end_map(&mut self);
    /// Begins an array of `len` elements.
    fn array(&mut self, len: usize);
    /// After its last element.
    fn end_array(&mut self);
    /// A member's name, as JSON has it: `"name":`, without anything to escape.
    fn name(&mut self, name: &'static str);
    /// A string.
    fn text(&mut self, text: &str);
    /// An integer.
    fn number(&mut self, number: u64);
    /// true, false, null.
    fn boolean(&mut self, boolean: Option<bool>);
    /// A value that is kept in the codec of this form.
    fn stored(&mut self, stored: &Stored);

    /// An integer, or null.
    fn number_or_null(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.number(number),
            None => self.boolean(None),
        }
    }

    /// A value, or null.
    fn stored_or_null(&mut self, stored: Option<&Stored>) {
        match stored {
            Some(stored) => self.stored(stored),
            None => self.boolean(None),
        }
    }

    /// An array.
    fn all<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T))
    where
        Self: Sized,
    {
        self.array(items.len());
        for item in items {
            write(self, item);
        }
        self.end_array();
    }
}

/// JSON text.
pub(super) struct JsonForm<'o, P> {
    out: &'o mut P,
    /// Whether what comes next stands behind another one.
    is_behind: bool,
}

impl<'o, P: Parts> JsonForm<'o, P> {
    pub(super) fn new(out: &'o mut P) -> Self {
        JsonForm { out, is_behind: false }
    }

    #[inline]
    fn put(&mut self, bytes: &[u8], is_behind: bool) {
        self.separate();
        self.out.bytes(bytes);
        self.is_behind = is_behind;
    }

    #[inline]
    fn separate(&mut self) {
        if self.is_behind {
            self.out.bytes(b",");
        }
    }

    fn close(&mut self, bracket: &[u8]) {
        self.out.bytes(bracket);
        self.is_behind = true;
    }
}

impl<P: Parts> Form for JsonForm<'_, P> {
    fn map(&mut self, _: u32) {
        self.put(b"{", false);
    }
    fn end_map(&mut self) {
        self.close(b"}");
    }
    fn array(&mut self, _: usize) {
        self.put(b"[", false);
    }
    fn end_array(&mut self) {
        self.close(b"]");
    }
    fn name(&mut self, name: &'static str) {
        self.put(name.as_bytes(), false);
    }
    fn text(&mut self, text: &str) {
        let mut quoted = Vec::with_capacity(text.len() + 2);
        json::write_string(&mut quoted, text);
        self.put(&quoted, true);
    }
    fn number(&mut self, number: u64) {
        self.put(number.to_string().as_bytes(), true);
    }
    fn boolean(&mut self, boolean: Option<bool>) {
        let text: &[u8] = match boolean {
            Some(true) => b"true",
            Some(false) => b"false",
            None => b"null",
        };
        self.put(text, true);
    }
    fn stored(&mut self, stored: &Stored) {
        self.separate();
        stored.write_to(self.out);
        self.is_behind = true;
    }
}

/// msgpack, each value in its shortest form.
pub(super) struct MsgpackForm<'o, P>(pub(super) &'o mut P);

impl<P: Parts> MsgpackForm<'_, P> {
    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::with_capacity(9);
        write(&mut bytes);
        self.0.bytes(&bytes);
    }
}

impl<P: Parts> Form for MsgpackForm<'_, P> {
    fn map(&mut self, len: u32) {
        match len {
            ..0x10 => self.0.bytes(&[0x80 | len as u8]),
            _ => self.write(|out| msgpack::write_map(out, len)),
        }
    }
    fn end_map(&mut self) {}
    fn array(&mut self, len: usize) {
        // More cannot be in memory.
        self.write(|out| msgpack::write_array(out, u32::try_from(len).unwrap_or(u32::MAX)));
    }
    fn end_array(&mut self) {}
    fn name(&mut self, name: &'static str) {
        self.text(name.trim_matches(['"', ':']));
    }
    fn text(&mut self, text: &str) {
        let (head, len) = msgpack::string_head(text.len());
        self.0.bytes(&head[..len]);
        self.0.bytes(text.as_bytes());
    }
    fn number(&mut self, number: u64) {
        self.write(|out| msgpack::write_unsigned(out, number));
    }
    fn boolean(&mut self, boolean: Option<bool>) {
        self.0.bytes(match boolean {
            Some(true) => &[0xc3],
            Some(false) => &[0xc2],
            None => &[0xc0],
        });
    }
    fn stored(&mut self, stored: &Stored) {
        stored.write_to(self.0);
    }
}
