//! Numbers as JSON text.

/// Appends the shortest text that reads back as `x`, as Python's `repr` writes it: `2.0`, `0.5`, `-0.0`, `1e+16`, `1e-07`.
/// JSON has no infinities and no NaN: they become `null`.
pub fn write_number_f64(out: &mut Vec<u8>, x: f64) {
    if !x.is_finite() {
        out.extend_from_slice(b"null");
        return;
    }
    if x.is_sign_negative() {
        out.push(b'-');
    }
    // `d.ddde-7`: the digits are the shortest ones already, only their layout differs from Python's.
    let scientific = format!("{:e}", x.abs());
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let digits = mantissa.replace('.', "");
    match exponent.parse::<i32>().unwrap_or_default() {
        exponent @ -4..0 => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', exponent.unsigned_abs() as usize - 1));
            out.extend_from_slice(digits.as_bytes());
        }
        exponent @ 0..16 => write_positional(out, digits.as_bytes(), exponent.unsigned_abs() as usize + 1),
        exponent => {
            let sign = if exponent < 0 { '-' } else { '+' };
            out.extend_from_slice(format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs()).as_bytes());
        }
    }
}

/// Writes digits with `whole` of them before the point, filled up with zeros, and at least one behind it.
fn write_positional(out: &mut Vec<u8>, digits: &[u8], whole: usize) {
    let (before, after) = digits.split_at(whole.min(digits.len()));
    out.extend_from_slice(before);
    out.extend(std::iter::repeat_n(b'0', whole - before.len()));
    out.push(b'.');
    out.extend_from_slice(if after.is_empty() { b"0" } else { after });
}
