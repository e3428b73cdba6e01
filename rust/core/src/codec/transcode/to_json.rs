//! msgpack to JSON text.

use super::{Inexpressible, What, path};
use crate::codec::json;
use crate::codec::msgpack::{Head, MsgpackError, Scanner};
use crate::limits::JSON_DEPTH_MAX;

/// Why a value could not be turned, and where.
struct Stop {
    what: What,
    offset: usize,
}

impl From<MsgpackError> for Stop {
    fn from(error: MsgpackError) -> Self {
        Stop { what: What::Malformed, offset: error.offset }
    }
}

/// The JSON text of a valid msgpack value, in the shortest layout: integers in decimal, floats in the shortest form that reads back
/// as the same float of 64 bits, strings escaped as little as possible, members in their order, duplicates included.
///
/// # Errors
/// The first thing that JSON does not have: binary, extensions, NaN, infinities, names that are no strings.
pub fn to_json(value: &[u8]) -> Result<String, Inexpressible> {
    let mut out = Vec::with_capacity(value.len() + value.len() / 2);
    let written = write(&mut Scanner::new(value, 0), &mut out, JSON_DEPTH_MAX);
    // Only strings were copied into it, and those were checked.
    let text = written.and_then(|()| String::from_utf8(out).map_err(|_| Stop { what: What::Malformed, offset: 0 }));
    text.map_err(|Stop { what, offset }| match what {
        What::Malformed => Inexpressible { path: String::new(), what },
        _ => Inexpressible { path: path::in_msgpack(value, offset), what },
    })
}

fn write(scanner: &mut Scanner<'_>, out: &mut Vec<u8>, depth_left: usize) -> Result<(), Stop> {
    let offset = scanner.at();
    let stop = |what| Err(Stop { what, offset });
    let deeper = || depth_left.checked_sub(1).ok_or(Stop { what: What::Malformed, offset });
    match scanner.head()? {
        Head::Nil => out.extend_from_slice(b"null"),
        Head::Boolean(true) => out.extend_from_slice(b"true"),
        Head::Boolean(false) => out.extend_from_slice(b"false"),
        Head::Unsigned(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Head::Negative(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Head::Float(number) if number.is_nan() => return stop(What::NaN),
        Head::Float(number) if number.is_infinite() => return stop(What::Infinite),
        Head::Float(number) => json::write_number_f64(out, number),
        Head::String(len) => json::write_string(out, scanner.text(offset, len)?),
        Head::Binary(_) => return stop(What::Binary),
        Head::Extension(kind, _) => return stop(What::Extension(kind)),
        Head::Array(len) => {
            let depth_left = deeper()?;
            out.push(b'[');
            for index in 0..len {
                if index > 0 {
                    out.push(b',');
                }
                write(scanner, out, depth_left)?;
            }
            out.push(b']');
        }
        Head::Map(len) => {
            let depth_left = deeper()?;
            out.push(b'{');
            for index in 0..len {
                if index > 0 {
                    out.push(b',');
                }
                write_name(scanner, out)?;
                write(scanner, out, depth_left)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn write_name(scanner: &mut Scanner<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
    let offset = scanner.at();
    let Head::String(len) = scanner.head()? else { return Err(Stop { what: What::Name, offset }) };
    json::write_string(out, scanner.text(offset, len)?);
    out.push(b':');
    Ok(())
}
