//! Responses as bytes: what a function's result means, walked and never parsed into a tree.

use super::clock::Clock;
use super::head::is_token;
use super::refusal::Refusal;
use crate::codec::json::{self, Elements, JsonKind, Member, Members};
use crate::outbox::Outbox;
use crate::parts::Parts;

/// What a web page of another origin needs to read a response; on every one for it that has no such headers of its own.
const FOR_PAGES: [&str; 2] = ["access-control-allow-origin", "access-control-expose-headers"];
/// All lines of [`FOR_PAGES`] for pages of every origin, and the beginning of the one that follows.
const FOR_EVERY_PAGE_AND_DATE: &[u8] = b"access-control-allow-origin: *\r\naccess-control-expose-headers: *\r\ndate: ";
/// Every header of a request; the asterisk alone leaves out the one (Fetch standard, section 4.10).
const ANY_HEADER: &[u8] = b"*, authorization";
/// The line of a response that is JSON.
const JSON_TYPE: &[u8] = b"content-type: application/json\r\n";
/// Headers that the engine alone writes: they belong to the connection, not to the function.
const OWNED: [&str; 8] =
    ["connection", "content-length", "date", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"];

/// How a response goes out.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'c> {
    /// The request was a HEAD.
    pub is_head: bool,
    /// The connection ends behind it.
    pub closes: bool,
    /// Whose pages may read it: every one's (`*`), those of one origin, or no other one's.
    pub allow_origin: Option<&'c str>,
    /// That depends on the request.
    pub is_by_origin: bool,
    /// Now.
    pub clock: Clock,
}

/// Writes what a function's result means (valid JSON text, or none): a response object, or any other value as a JSON body. Notes
/// what was left out. `is_document`: the body is sent as JSON whatever its type says.
pub fn write_result(
    out: &mut Outbox,
    result: Option<&str>,
    is_document: bool,
    how: Delivery<'_>,
    notes: &mut Vec<String>,
) {
    let result = result.map(str::trim_ascii);
    let Some(result) = result.filter(|result| json::kind(result) != JsonKind::Null || is_document) else {
        return Writer::begin(out, 204, how).end(b"");
    };
    let fields = Fields::read(result);
    if !fields.any && !is_document {
        let writer = Writer::begin(out, 200, how);
        writer.out.bytes(JSON_TYPE);
        return writer.end(result.as_bytes());
    }
    let mut writer = Writer::begin(out, status(fields.status_code), how);
    write_headers(&mut writer, fields.headers, notes);
    let body = fields.body.unwrap_or("{}");
    let is_typed = writer.is_typed;
    if !is_typed {
        writer.out.bytes(JSON_TYPE);
    }
    match json::kind(body) {
        JsonKind::String if is_typed && !is_document => writer.end(json::unescape(body).unwrap_or_default().as_bytes()),
        JsonKind::Null if is_typed && !is_document => writer.end(b""),
        _ => writer.end(body.as_bytes()),
    }
}

/// Writes an error envelope; what it says for the log, if it is to be logged. `allow`: methods, for 405.
pub fn write_refusal(out: &mut Outbox, refusal: &Refusal, allow: &[&str], how: Delivery<'_>) -> Option<String> {
    let (body, error_id) = refusal.envelope();
    let mut writer = Writer::begin(out, refusal.status, how);
    writer.out.bytes(JSON_TYPE);
    writer.allow(allow);
    writer.end(&body);
    let Refusal { status, code, message } = refusal;
    error_id.map(|error_id| format!("HTTP {status} {code}: {message} (error_id {error_id})"))
}

/// Writes the answer to an OPTIONS request that no function serves.
pub fn write_options(out: &mut Outbox, allow: &[&str], how: Delivery<'_>) {
    let mut writer = Writer::begin(out, 200, how);
    writer.allow(allow);
    writer.end(b"");
}

/// Writes the answer to a browser that asks whether a page may send a request; `methods`: those that it may use.
pub fn write_preflight(out: &mut Outbox, methods: &str, how: Delivery<'_>) {
    let mut writer = Writer::begin(out, 200, how);
    if how.allow_origin.is_some() {
        writer.header("access-control-allow-methods", methods.as_bytes());
        writer.header("access-control-allow-headers", ANY_HEADER);
    }
    writer.end(b"");
}

/// The members of a response object, and whether there is any. Of duplicates the last counts.
#[derive(Default)]
struct Fields<'a> {
    status_code: Option<&'a str>,
    headers: Option<&'a str>,
    body: Option<&'a str>,
    any: bool,
}

impl<'a> Fields<'a> {
    fn read(result: &'a str) -> Self {
        let mut fields = Fields::default();
        each_member(result, |member| {
            let field = match () {
                () if member.key_is("status_code") => &mut fields.status_code,
                () if member.key_is("headers") => &mut fields.headers,
                () if member.key_is("body") => &mut fields.body,
                () => return,
            };
            *field = Some(member.value);
            fields.any = true;
        });
        fields
    }
}

/// The members of a valid object; none of anything else.
fn each_member<'a>(object: &'a str, mut see: impl FnMut(&Member<'a>)) {
    let Ok(mut members) = Members::new(object, usize::MAX) else { return };
    while let Ok(Some(member)) = members.next() {
        see(&member);
    }
}

/// A whole number from 200 to 999, else 200.
fn status(raw: Option<&str>) -> u16 {
    let raw = raw.filter(|raw| json::kind(raw) == JsonKind::Number);
    // As almost everybody writes it.
    if let Some(number) = raw.and_then(|raw| raw.parse().ok()).filter(|number| (200..=999).contains(number)) {
        return number;
    }
    let number = raw.and_then(|raw| raw.parse::<f64>().ok());
    number
        .filter(|number| (200.0..=999.0).contains(number) && number.fract() == 0.0)
        .map_or(200, |number| number as u16)
}

/// Headers as an object or as a list of lines; a wrong one is left out rather than let it break up the response.
fn write_headers(writer: &mut Writer<'_>, headers: Option<&str>, notes: &mut Vec<String>) {
    let Some(headers) = headers else { return };
    each_member(headers, |member| {
        let name = json::unescape(member.key).unwrap_or_default();
        match text(member.value) {
            Some(value) => writer.header_of_function(&name, &value, notes),
            None => notes.push(left_out(&name)),
        }
    });
    let Ok(mut lines) = Elements::new(headers, usize::MAX) else { return };
    while let Ok(Some(line)) = lines.next() {
        let Some(line) = text(line) else { continue };
        match line.split_once(':') {
            Some((name, value)) => writer.header_of_function(name.trim_matches(BLANK), value, notes),
            None => notes.push(left_out(line.trim_matches(BLANK))),
        }
    }
}

const BLANK: [char; 2] = [' ', '\t'];

fn text(raw: &str) -> Option<std::borrow::Cow<'_, str>> {
    (json::kind(raw) == JsonKind::String).then(|| json::unescape(raw).ok())?
}

fn left_out(name: &str) -> String {
    format!("A handler's response header {name:?} is left out: it is no valid header")
}

/// One response on its way into an outbox.
struct Writer<'o> {
    out: &'o mut Outbox,
    how: Delivery<'o>,
    status: u16,
    is_typed: bool,
    /// Which of [`FOR_PAGES`] the function has sent itself.
    own: [bool; FOR_PAGES.len()],
}

impl<'o> Writer<'o> {
    fn begin(out: &'o mut Outbox, status: u16, how: Delivery<'o>) -> Self {
        if status == 200 {
            out.bytes(b"HTTP/1.1 200 OK\r\n");
            return Writer { out, how, status, is_typed: false, own: [false; FOR_PAGES.len()] };
        }
        let digits = [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8];
        out.bytes(b"HTTP/1.1 ");
        out.bytes(&digits);
        out.bytes(b" ");
        out.bytes(reason(status).as_bytes());
        out.bytes(b"\r\n");
        Writer { out, how, status, is_typed: false, own: [false; FOR_PAGES.len()] }
    }

    /// A header with a name in lower case and a value that is known to be good.
    fn header(&mut self, name: &str, value: &[u8]) {
        self.out.bytes(name.as_bytes());
        self.out.bytes(b": ");
        self.out.bytes(value);
        self.out.bytes(b"\r\n");
    }

    fn header_of_function(&mut self, name: &str, value: &str, notes: &mut Vec<String>) {
        let is_bad = |byte: u8| (byte < b' ' && byte != b'\t') || byte == 0x7f;
        if name.is_empty() || !name.bytes().all(is_token) || value.bytes().any(is_bad) {
            return notes.push(left_out(name));
        }
        let name = name.to_ascii_lowercase();
        self.is_typed |= name == "content-type";
        for (own, known) in self.own.iter_mut().zip(FOR_PAGES) {
            *own |= name == known;
        }
        if !OWNED.contains(&&*name) {
            self.header(&name, value.trim_matches(BLANK).as_bytes());
        }
    }

    fn allow(&mut self, methods: &[&str]) {
        if !methods.is_empty() {
            self.header("allow", methods.join(", ").as_bytes());
        }
    }

    /// Lets the pages that may read the response read it.
    fn for_pages(&mut self) {
        if let Some(origin) = self.how.allow_origin {
            for ((name, value), _) in FOR_PAGES.into_iter().zip([origin, "*"]).zip(self.own).filter(|(_, own)| !own) {
                self.header(name, value.as_bytes());
            }
        }
        if self.how.is_by_origin {
            self.header("vary", b"Origin");
        }
    }

    fn end(mut self, body: &[u8]) {
        if self.own == [false; FOR_PAGES.len()] && !self.how.is_by_origin {
            self.out.bytes(FOR_EVERY_PAGE_AND_DATE);
        } else {
            self.for_pages();
            self.out.bytes(b"date: ");
        }
        self.out.bytes(self.how.clock.date());
        self.out.bytes(b"\r\n");
        // These have no body whatever is said (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5), and only one says how long that is.
        let body = if matches!(self.status, 204 | 205 | 304) { b"" } else { body };
        if !matches!(self.status, 204 | 304) {
            self.out.bytes(b"content-length: ");
            let mut digits = [0u8; 20];
            self.out.bytes(decimal(body.len(), &mut digits));
            self.out.bytes(b"\r\n");
        }
        if self.how.closes {
            self.out.bytes(b"connection: close\r\n");
        }
        self.out.bytes(b"\r\n");
        if !self.how.is_head {
            self.out.bytes(body);
        }
    }
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

/// The phrases of RFC 9110 and its kin; none for other numbers.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        511 => "Network Authentication Required",
        _ => "",
    }
}
