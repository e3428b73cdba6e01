//! A request head: parsed with `httparse`, then judged. What two readers could understand differently is refused (RFC 9112).

use super::refusal::Refusal;
use std::mem::MaybeUninit;

/// Header lines of one request.
pub const HEADERS_MAX: usize = 100;

/// Digits of a body's length: as many as a number of this machine surely has.
const LENGTH_DIGITS_MAX: usize = 19;

/// How the end of the body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(usize),
    /// Chunks.
    Chunked,
}

/// One header: its name as it came, its value without the white space around it.
pub type Header<'a> = httparse::Header<'a>;

/// A request head that can be served.
#[derive(Debug)]
pub struct Head<'a, 'h> {
    /// As it came.
    pub method: &'a str,
    /// As it came, without the query.
    pub path: &'a str,
    /// Without the `?`.
    pub query: &'a str,
    /// In order.
    pub headers: &'h [Header<'a>],
    /// Of the body.
    pub framing: Framing,
    /// Whether the connection may go on after the response.
    pub keeps_alive: bool,
    /// Whether the client waits for word before it sends the body.
    pub expects_continue: bool,
}

/// Room for the headers of one request.
pub type Room<'a> = [MaybeUninit<Header<'a>>; HEADERS_MAX];

/// An empty room.
pub fn room<'a>() -> Room<'a> {
    [const { MaybeUninit::uninit() }; HEADERS_MAX]
}

/// Where the head that begins `data` ends, behind its empty line; none while it is not there. The first `from` bytes were looked at
/// before. Every line must end with CR LF: a reader that also takes LF alone sees other lines.
///
/// # Errors
/// 400 for a bare LF or a first byte that begins no request, 431 when the head does not end within `bytes_max`.
pub fn find_end(data: &[u8], from: usize, bytes_max: usize) -> Result<Option<usize>, Refusal> {
    if data.first().is_some_and(|&byte| byte <= b' ') {
        return Err(Refusal::new(400, "illegal request line"));
    }
    for at in memchr::memchr_iter(b'\n', &data[from..]).map(|at| at + from) {
        if at >= bytes_max {
            break;
        }
        if at == 0 || data[at - 1] != b'\r' {
            return Err(Refusal::new(400, "a line of the request head ends with a bare line feed"));
        }
        if at >= 2 && data[at - 2] == b'\n' {
            return Ok(Some(at + 1));
        }
    }
    if data.len() >= bytes_max {
        return Err(Refusal::new(431, format!("the request head exceeds the limit of {bytes_max} bytes")));
    }
    Ok(None)
}

/// Reads a head that [`find_end`] has found the end of.
///
/// # Errors
/// 400, 431, 501 or 505.
pub fn parse<'a, 'h>(data: &'a [u8], room: &'h mut Room<'a>) -> Result<Head<'a, 'h>, Refusal> {
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(data, room);
    match parsed {
        Ok(httparse::Status::Complete(end)) if end == data.len() => {}
        Ok(_) => return Err(Refusal::new(400, "illegal header line")),
        Err(error) => return Err(not_http(data, error)),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(Refusal::new(400, "illegal request line"));
    };
    // All of it, so that the compiler takes many at once.
    if target.bytes().fold(false, |found, byte| found | !(0x21..=0x7e).contains(&byte)) {
        return Err(Refusal::new(400, "illegal request line"));
    }
    judge(method, target, version, request.headers)
}

#[cold]
fn not_http(data: &[u8], error: httparse::Error) -> Refusal {
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_line = words.next().is_none()
        && method.is_some_and(|method| !method.is_empty() && method.iter().all(|&byte| is_token(byte)))
        && target.is_some_and(|target| !target.is_empty() && target.iter().all(|byte| (0x21..=0x7e).contains(byte)));
    let version = version.and_then(|version| version.strip_prefix(b"HTTP/"));
    match version {
        Some([b'1', b'.', b'0' | b'1']) if is_line && error == httparse::Error::TooManyHeaders => {
            Refusal::new(431, format!("the request has more than {HEADERS_MAX} header lines"))
        }
        Some([b'1', b'.', b'0' | b'1']) if is_line => Refusal::new(400, "illegal header line"),
        Some([major, b'.', minor]) if is_line && major.is_ascii_digit() && minor.is_ascii_digit() => {
            Refusal::new(505, "only HTTP/1.1 and HTTP/1.0 are served")
        }
        _ => Refusal::new(400, "illegal request line"),
    }
}

/// A character of method and header names (RFC 9110, section 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What a host and port may have in them (RFC 3986, section 3.2, without what stands in front of an `@`).
static IS_HOST: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~%!$&'()*+,;=:[]";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// The values of a header that most requests do not have, or have once.
struct Once<'a> {
    value: Option<&'a [u8]>,
    count: usize,
}

impl<'a> Once<'a> {
    const NONE: Self = Once { value: None, count: 0 };

    fn put(&mut self, value: &'a [u8]) {
        self.value = Some(value);
        self.count += 1;
    }
}

fn judge<'a, 'h>(
    method: &'a str,
    target: &'a str,
    version: u8,
    headers: &'h mut [Header<'a>],
) -> Result<Head<'a, 'h>, Refusal> {
    let (mut host, mut length, mut coding) = (Once::NONE, Once::NONE, Once::NONE);
    let (mut closes, mut expects_continue) = (version == 0, false);
    for header in headers.iter_mut() {
        header.value = header.value.trim_ascii();
        // By length first: most headers are none of these.
        match header.name.len() {
            4 if header.name.eq_ignore_ascii_case("host") => host.put(header.value),
            6 if header.name.eq_ignore_ascii_case("expect") => {
                expects_continue |= header.value.eq_ignore_ascii_case(b"100-continue");
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                closes |=
                    header.value.split(|&byte| byte == b',').any(|one| one.trim_ascii().eq_ignore_ascii_case(b"close"));
            }
            14 if header.name.eq_ignore_ascii_case("content-length") => length.put(header.value),
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => coding.put(header.value),
            _ => {}
        }
    }
    match host.count {
        0 if version == 1 => return Err(Refusal::new(400, "Missing mandatory Host: header")),
        0 | 1 => {}
        _ => return Err(Refusal::new(400, "a request has one Host header, not several")),
    }
    if !host.value.unwrap_or_default().iter().all(|&byte| IS_HOST[usize::from(byte)]) {
        return Err(Refusal::new(400, "the Host header is no host and port"));
    }
    let framing = framing(&length, &coding, version)?;
    let (path, query) = split_target(method, target)?;
    Ok(Head {
        method,
        path,
        query,
        headers,
        framing,
        keeps_alive: !closes,
        expects_continue: expects_continue && version == 1,
    })
}

/// Refuses a body whose end two readers could find in different places (RFC 9112, section 6).
fn framing(length: &Once<'_>, coding: &Once<'_>, version: u8) -> Result<Framing, Refusal> {
    if let Some(value) = coding.value {
        if length.count > 0 {
            return Err(Refusal::new(400, "a request has either Transfer-Encoding or Content-Length, not both"));
        }
        if version == 0 {
            return Err(Refusal::new(400, "HTTP/1.0 has no Transfer-Encoding"));
        }
        if coding.count > 1 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::new(501, "Only Transfer-Encoding: chunked is supported"));
        }
        return Ok(Framing::Chunked);
    }
    let Some(value) = length.value else { return Ok(Framing::Length(0)) };
    if length.count > 1 {
        return Err(Refusal::new(400, "a request has one Content-Length header, not several"));
    }
    let digits = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    let bytes = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|value| value.parse().ok());
    let Some(bytes) = bytes else {
        return Err(Refusal::new(400, format!("Content-Length is not a number of at most {LENGTH_DIGITS_MAX} digits")));
    };
    Ok(Framing::Length(bytes))
}

/// Path and query of a target in origin, absolute or asterisk form (RFC 9112, section 3.2).
fn split_target<'a>(method: &str, target: &'a str) -> Result<(&'a str, &'a str), Refusal> {
    let illegal = || Refusal::new(400, "illegal request target");
    if memchr::memchr(b'#', target.as_bytes()).is_some() {
        return Err(illegal());
    }
    let origin = if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        target
    } else {
        let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
            let (head, rest) = target.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        });
        let rest = rest.ok_or_else(illegal)?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() || !authority.bytes().all(|byte| IS_HOST[usize::from(byte)]) {
            return Err(illegal());
        }
        rest
    };
    let (path, query) = match memchr::memchr(b'?', origin.as_bytes()) {
        Some(mark) => (&origin[..mark], &origin[mark + 1..]),
        None => (origin, ""),
    };
    Ok((if path.is_empty() { "/" } else { path }, query))
}
