//! Scopes and keys at rest.

const INLINE_BYTES_MAX: usize = 22;

/// A scope or key at rest. Short ones lie in place: an allocation would cost 32 bytes and a cache miss per lookup.
#[derive(Clone)]
pub(super) enum Name {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Heap(Box<[u8]>),
}

impl Name {
    pub(super) fn new(name: &str) -> Self {
        let name = name.as_bytes();
        if name.len() > INLINE_BYTES_MAX {
            return Name::Heap(name.into());
        }
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes[..name.len()].copy_from_slice(name);
        Name::Inline { len: name.len() as u8, bytes }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Name::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Name::Heap(bytes) => bytes,
        }
    }

    pub(super) fn text(&self) -> Box<str> {
        // Came in as `str`: there is nothing to be lost.
        String::from_utf8_lossy(self.bytes()).into()
    }

    #[inline]
    pub(super) fn is(&self, name: &str) -> bool {
        self.bytes() == name.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_whether_it_lies_in_place_or_not() {
        for len in [0, 1, 21, 22, 23, 300] {
            let text = "k".repeat(len);
            let name = Name::new(&text);
            assert_eq!(name.bytes(), text.as_bytes());
            assert_eq!(*name.text(), *text);
            assert!(name.is(&text));
            assert!(!name.is(&format!("{text}\0")));
            assert_eq!(matches!(name, Name::Inline { .. }), len <= 22);
        }
    }

    #[test]
    fn is_as_small_as_the_memory_target_needs() {
        assert_eq!(size_of::<Name>(), 24);
    }
}
