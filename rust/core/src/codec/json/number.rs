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
    let scientific = shortest(x.abs());
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

/// The shortest digits that read back, as `d.ddde-7`: only the layout differs from Python's.
fn shortest(x: f64) -> String {
    let shortest = format!("{x:e}");
    // Of two equally short and equally near texts Python takes the even one and Rust the larger one; rounding to that
    // many digits is half to even in both.
    let decimals = shortest.find('e').unwrap_or_default().saturating_sub(2);
    let rounded = format!("{x:.decimals$e}");
    if rounded.parse() == Ok(x) { rounded } else { shortest }
}

/// Writes digits with `whole` of them before the point, filled up with zeros, and at least one behind it.
fn write_positional(out: &mut Vec<u8>, digits: &[u8], whole: usize) {
    let (before, after) = digits.split_at(whole.min(digits.len()));
    out.extend_from_slice(before);
    out.extend(std::iter::repeat_n(b'0', whole - before.len()));
    out.push(b'.');
    out.extend_from_slice(if after.is_empty() { b"0" } else { after });
}
