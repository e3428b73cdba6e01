//! Values as msgpack, each in its shortest form.

/// Appends an integer that is not negative.
pub fn write_unsigned(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(number as u8);
    } else if let Ok(number) = u8::try_from(number) {
        out.extend_from_slice(&[0xcc, number]);
    } else if let Ok(number) = u16::try_from(number) {
        put(out, 0xcd, number.to_be_bytes());
    } else if let Ok(number) = u32::try_from(number) {
        put(out, 0xce, number.to_be_bytes());
    } else {
        put(out, 0xcf, number.to_be_bytes());
    }
}

/// Appends an integer.
pub fn write_signed(out: &mut Vec<u8>, number: i64) {
    if let Ok(number) = u64::try_from(number) {
        write_unsigned(out, number);
    } else if number >= -0x20 {
        out.push(number as i8 as u8);
    } else if let Ok(number) = i8::try_from(number) {
        put(out, 0xd0, number.to_be_bytes());
    } else if let Ok(number) = i16::try_from(number) {
        put(out, 0xd1, number.to_be_bytes());
    } else if let Ok(number) = i32::try_from(number) {
        put(out, 0xd2, number.to_be_bytes());
    } else {
        put(out, 0xd3, number.to_be_bytes());
    }
}

/// Appends a float of 64 bits.
pub fn write_float(out: &mut Vec<u8>, number: f64) {
    put(out, 0xcb, number.to_be_bytes());
}

/// Appends a string.
#[inline]
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    let (head, len) = string_head(text.len());
    out.extend_from_slice(&head[..len]);
    out.extend_from_slice(text.as_bytes());
}

/// What begins a string of `len` bytes; so many bytes of it count.
#[inline]
pub fn string_head(len: usize) -> ([u8; 5], usize) {
    let [high, mid, low, last] = (len as u32).to_be_bytes();
    match len {
        ..0x20 => ([0xa0 | last, 0, 0, 0, 0], 1),
        0x20..=0xff => ([0xd9, last, 0, 0, 0], 2),
        0x100..=0xffff => ([0xda, low, last, 0, 0], 3),
        _ => ([0xdb, high, mid, low, last], 5),
    }
}

/// Appends what begins an array of `len` elements.
pub fn write_array(out: &mut Vec<u8>, len: u32) {
    write_items(out, len, 0x90, 0xdc);
}

/// Appends what begins a map of `len` members.
pub fn write_map(out: &mut Vec<u8>, len: u32) {
    write_items(out, len, 0x80, 0xde);
}

fn write_items(out: &mut Vec<u8>, len: u32, short: u8, long: u8) {
    match len {
        0..0x10 => out.push(short | len as u8),
        0x10..=0xffff => put(out, long, (len as u16).to_be_bytes()),
        _ => put(out, long + 1, len.to_be_bytes()),
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, first: u8, rest: [u8; N]) {
    out.push(first);
    out.extend_from_slice(&rest);
}
