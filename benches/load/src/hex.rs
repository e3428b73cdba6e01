//! Hexadecimal digits, as ids, keys and versions have them.

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes `number` as hexadecimal digits, as many as `out` takes.
#[inline]
pub fn write_hex(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = HEX[(number & 15) as usize];
        number >>= 4;
    }
}

/// Reads lower-case hexadecimal digits.
#[inline]
pub fn read_hex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}
