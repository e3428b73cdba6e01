//! The arithmetic of increment and decrement (the wire's rule 20).

use crate::codec::json::write_number_f64;

const MIN: i128 = i64::MIN as i128;
const MAX: i128 = u64::MAX as i128;

/// A JSON number that can be counted with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    /// Written without `.` and exponent; in -2^63 .. 2^64-1.
    Whole(i128),
    /// Any other: a 64-bit float, infinite when it was written too large for one.
    Float(f64),
}

impl Number {
    pub(super) const ZERO: Number = Number::Whole(0);

    /// Reads the text of a JSON number; none for a whole one outside the range.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
            return text.parse().ok().map(Number::Float);
        }
        // What does not even fit 128 bits is outside as well.
        text.parse().ok().and_then(Number::whole)
    }

    /// `self + by`, or `self - by` when `negative`; none when the result is out of range or not finite.
    pub(super) fn add(self, by: Number, negative: bool) -> Option<Number> {
        if let (Number::Whole(a), Number::Whole(b)) = (self, by) {
            return Number::whole(if negative { a - b } else { a + b });
        }
        let by = by.float();
        let sum = self.float() + if negative { -by } else { by };
        sum.is_finite().then_some(Number::Float(sum))
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Number::Whole(whole) => out.extend_from_slice(whole.to_string().as_bytes()),
            Number::Float(x) => write_number_f64(out, x),
        }
    }

    fn whole(n: i128) -> Option<Number> {
        (MIN..=MAX).contains(&n).then_some(Number::Whole(n))
    }

    fn float(self) -> f64 {
        match self {
            Number::Whole(whole) => whole as f64,
            Number::Float(x) => x,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, by: &str, negative: bool) -> Option<String> {
        let sum = Number::parse(a)?.add(Number::parse(by)?, negative)?;
        let mut text = Vec::new();
        sum.write(&mut text);
        String::from_utf8(text).ok()
    }

    #[test]
    fn whole_numbers_are_exact_up_to_the_edges() {
        for (a, by, negative, expected) in [
            ("1", "2", false, Some("3")),
            ("1", "2", true, Some("-1")),
            ("-0", "-0", false, Some("0")),
            ("18446744073709551614", "1", false, Some("18446744073709551615")),
            ("18446744073709551615", "1", false, None),
            ("-9223372036854775807", "1", true, Some("-9223372036854775808")),
            ("-9223372036854775808", "1", true, None),
            ("0", "-9223372036854775808", true, Some("9223372036854775808")),
            ("18446744073709551615", "-9223372036854775808", false, Some("9223372036854775807")),
            ("18446744073709551616", "-1", false, None),
            ("1", "-9223372036854775809", false, None),
            ("0.5", "18446744073709551616", false, None),
            ("1", &"9".repeat(400), false, None),
        ] {
            assert_eq!(sum(a, by, negative).as_deref(), expected, "{a} {by} {negative}");
        }
    }

    #[test]
    fn others_are_floats_written_as_short_as_they_read_back() {
        for (a, by, negative, expected) in [
            ("1.5", "1", false, Some("2.5")),
            ("1", "1.0", false, Some("2.0")),
            ("0", "1e2", true, Some("-100.0")),
            ("0", "0.0", true, Some("0.0")),
            ("0", "-0.0", false, Some("0.0")),
            ("0.1", "0.2", false, Some("0.30000000000000004")),
            ("9007199254740993", "0.0", false, Some("9007199254740992.0")),
            ("0e0", "1e100", false, Some("1e+100")),
            ("1e308", "1e308", false, None),
            ("1e400", "1", false, None),
            ("1e400", "1e400", true, None),
        ] {
            assert_eq!(sum(a, by, negative).as_deref(), expected, "{a} {by} {negative}");
        }
    }
}
