//! Whether two values are the same (docs/state.md, 9).
//!
//! Each text is read once to find where its arrays and objects end. With that no part is looked at again for every
//! level around it: the work grows with the size of the texts (and sorting their members), however they are nested.

use std::borrow::Cow;

use super::stored::Stored;
use crate::codec::Value;
use crate::codec::json::unescape;

/// Whether a stored value and another one are the same: as JSON. What JSON does not have is the same only byte by byte.
pub(super) fn equal(stored: &Stored, other: Value<'_>) -> bool {
    if stored.codec() == other.codec() && stored.bytes() == other.bytes() {
        return true;
    }
    match (stored.value().map(Value::to_json), other.to_json()) {
        (Some(Ok(stored)), Ok(other)) => json_equal(stored.as_bytes(), other.as_bytes()),
        _ => false,
    }
}

/// Whether two valid JSON texts mean the same value: numbers by value without bound, strings by their characters,
/// arrays in order, objects by name in any order; of duplicate names the last counts.
pub fn json_equal(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let (Ok(a), Ok(b)) = (simdutf8::basic::from_utf8(a), simdutf8::basic::from_utf8(b)) else { return false };
    let (a, b) = (Spans::of(a), Spans::of(b));
    equal_at(a.root(), b.root())
}

fn equal_at(a: Place<'_>, b: Place<'_>) -> bool {
    match (a.first(), b.first()) {
        (Some(b'['), Some(b'[')) => equal_arrays(a, b),
        (Some(b'{'), Some(b'{')) => equal_objects(a, b),
        (Some(b'"'), Some(b'"')) => match (characters(a.text()), characters(b.text())) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        },
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => equal_numbers(a.text(), b.text()),
        _ => a.text() == b.text(),
    }
}

fn equal_arrays(a: Place<'_>, b: Place<'_>) -> bool {
    let (mut a, mut b) = (a.inside(), b.inside());
    loop {
        match (a.item(), b.item()) {
            (Some(one), Some(other)) if equal_at(one, other) => (a, b) = (one.behind(), other.behind()),
            (None, None) => return true,
            _ => return false,
        }
    }
}

fn equal_objects(a: Place<'_>, b: Place<'_>) -> bool {
    match (members(a), members(b)) {
        (Some(a), Some(b)) => {
            a.len() == b.len()
                && a.iter().zip(&b).all(|((name, _), (other, _))| name == other)
                && a.iter().zip(&b).all(|((_, value), (_, other))| equal_at(*value, *other))
        }
        _ => false,
    }
}

/// The members of an object by name, each once.
fn members(object: Place<'_>) -> Option<Vec<(Cow<'_, str>, Place<'_>)>> {
    let mut members = Vec::new();
    let mut at = object.inside();
    while let Some(name) = at.item() {
        let value = name.behind().item()?;
        members.push((characters(name.text())?, value));
        at = value.behind();
    }
    members.sort_by(|(name, _), (other, _)| name.cmp(other));
    // The sort is stable, so of equal names the last one is last.
    members.reverse();
    members.dedup_by(|(name, _), (last, _)| name == last);
    Some(members)
}

fn characters(string: &str) -> Option<Cow<'_, str>> {
    unescape(string).ok()
}

/// A text with the ends of its arrays and objects.
struct Spans<'a> {
    text: &'a str,
    /// In the order in which they begin.
    nested: Vec<Nested>,
}

struct Nested {
    /// Offset behind the closing bracket.
    end: usize,
    /// How many arrays and objects begin before that.
    after: usize,
}

impl<'a> Spans<'a> {
    fn of(text: &'a str) -> Self {
        let bytes = text.as_bytes();
        let mut nested: Vec<Nested> = Vec::new();
        let mut open = Vec::new();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at += 1;
            match byte {
                b'"' => at = string_end(bytes, at),
                b'[' | b'{' => {
                    open.push(nested.len());
                    nested.push(Nested { end: bytes.len(), after: usize::MAX });
                }
                b']' | b'}' => {
                    let after = nested.len();
                    if let Some(closed) = open.pop().and_then(|index| nested.get_mut(index)) {
                        *closed = Nested { end: at, after };
                    }
                }
                _ => {}
            }
        }
        Spans { text, nested }
    }

    fn root(&self) -> Place<'_> {
        Place { spans: self, at: 0, nested: 0 }.skip(b" \t\n\r")
    }
}

/// Offset behind the string whose opening quote is just before `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if bytes[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    bytes.len()
}

/// A place in a text.
#[derive(Clone, Copy)]
struct Place<'a> {
    spans: &'a Spans<'a>,
    at: usize,
    /// The next array or object that begins here or later.
    nested: usize,
}

impl<'a> Place<'a> {
    fn first(self) -> Option<u8> {
        self.spans.text.as_bytes().get(self.at).copied()
    }

    /// Behind any of `bytes`.
    fn skip(mut self, bytes: &[u8]) -> Self {
        while self.first().is_some_and(|byte| bytes.contains(&byte)) {
            self.at += 1;
        }
        self
    }

    /// Behind the bracket that is here.
    fn inside(self) -> Self {
        Place { at: self.at + 1, nested: self.nested + 1, ..self }
    }

    /// The next value or name in an array or object; none at its end.
    fn item(self) -> Option<Self> {
        let item = self.skip(b" \t\n\r,:");
        item.first().filter(|byte| !matches!(byte, b']' | b'}')).map(|_| item)
    }

    /// Behind the value that is here.
    fn behind(self) -> Self {
        let bytes = self.spans.text.as_bytes();
        match self.first() {
            Some(b'[' | b'{') => {
                let nested = self.spans.nested.get(self.nested);
                let (at, nested) = nested.map_or((bytes.len(), self.nested), |nested| (nested.end, nested.after));
                Place { at, nested, ..self }
            }
            Some(b'"') => Place { at: string_end(bytes, self.at + 1), ..self },
            _ => {
                let rest = bytes.get(self.at..).unwrap_or_default();
                let is_end = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b']' | b'}');
                Place { at: self.at + rest.iter().position(is_end).unwrap_or(rest.len()), ..self }
            }
        }
    }

    /// The text of the value that is here.
    fn text(self) -> &'a str {
        self.spans.text.get(self.at..self.behind().at).unwrap_or_default()
    }
}

/// A number as `0.DIGITS` times ten to the power of an exponent.
struct Number<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    /// Leading and trailing zeros of all digits.
    zeros: (usize, usize),
    exponent: &'a str,
}

fn equal_numbers(a: &str, b: &str) -> bool {
    let (a, b) = (Number::of(a), Number::of(b));
    if a.is_zero() || b.is_zero() {
        return a.is_zero() && b.is_zero();
    }
    a.negative == b.negative && a.digits().eq(b.digits()) && a.equals_in_exponent(&b)
}

impl<'a> Number<'a> {
    fn of(text: &'a str) -> Self {
        let negative = text.starts_with('-');
        let (digits, exponent) = text.trim_start_matches('-').split_once(['e', 'E']).unwrap_or((text, "0"));
        let digits = digits.trim_start_matches('-');
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let mut number =
            Number { negative, whole: whole.as_bytes(), fraction: fraction.as_bytes(), zeros: (0, 0), exponent };
        let zero = |digit: &&u8| **digit == b'0';
        number.zeros = (number.all().take_while(zero).count(), number.all().rev().take_while(zero).count());
        number
    }

    fn all(&self) -> impl DoubleEndedIterator<Item = &'a u8> {
        self.whole.iter().chain(self.fraction)
    }

    fn len(&self) -> usize {
        self.whole.len() + self.fraction.len()
    }

    fn is_zero(&self) -> bool {
        self.zeros.0 == self.len()
    }

    /// Without zeros at the ends.
    fn digits(&self) -> impl Iterator<Item = &'a u8> {
        let (leading, trailing) = self.zeros;
        self.all().skip(leading).take(self.len().saturating_sub(leading + trailing))
    }

    /// How far the first digit stands before the point, without the exponent.
    fn place(&self) -> i128 {
        self.whole.len() as i128 - self.zeros.0 as i128
    }

    fn equals_in_exponent(&self, other: &Self) -> bool {
        match (self.short_exponent(), other.short_exponent()) {
            (Some(one), Some(two)) => one == two,
            _ => self.long_exponent() == other.long_exponent(),
        }
    }

    /// The exponent of `0.DIGITS`; none when it could be too long for this.
    fn short_exponent(&self) -> Option<i128> {
        (self.exponent.len() <= SHORT_DIGITS).then(|| self.exponent.parse::<i128>().ok())?.map(|sum| sum + self.place())
    }

    /// The exponent of `0.DIGITS` in decimal: whether it is negative, and its digits from the last to the first.
    fn long_exponent(&self) -> (bool, Vec<u8>) {
        let (negative, text) = match self.exponent.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, self.exponent.trim_start_matches('+')),
        };
        let text = text.trim_start_matches('0');
        let mut digits = Vec::with_capacity(text.len() + 1);
        let mut carried = if negative { -self.place() } else { self.place() };
        if text.len() <= SHORT_DIGITS {
            let size = text.parse::<i128>().unwrap_or_default() + carried;
            push_digits(&mut digits, size.unsigned_abs());
            return (negative != (size < 0) && size != 0, digits);
        }
        // So many digits are more than can be carried into them: the sign stays.
        for digit in text.bytes().rev() {
            carried += i128::from(digit) - i128::from(b'0');
            digits.push(carried.rem_euclid(10) as u8);
            carried = carried.div_euclid(10);
        }
        push_digits(&mut digits, carried.unsigned_abs());
        while digits.last() == Some(&0) {
            digits.pop();
        }
        (negative, digits)
    }
}

/// Exponents of so many digits are counted in 128 bits, with any number of digits added.
const SHORT_DIGITS: usize = 30;

fn push_digits(digits: &mut Vec<u8>, mut number: u128) {
    while number > 0 {
        digits.push((number % 10) as u8);
        number /= 10;
    }
}
