//! Reads wire messages: a quick way for the layout both backends write, and a tolerant one for any JSON layout.

/// What a benchmark needs of an `invocationresult` or `invokefunction`; all borrowed from the message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// `type` without quotes.
    pub kind: &'a [u8],
    /// `invocation_id` without quotes.
    pub id: &'a [u8],
    /// `function_id` without quotes.
    pub function: &'a [u8],
    /// Text of `result` (of an `invocationresult`) or `data` (of an `invokefunction`).
    pub payload: Option<&'a [u8]>,
    /// Text of `error`.
    pub error: Option<&'a [u8]>,
}

const RESULT: &[u8] = br#"{"type":"invocationresult","invocation_id":""#;
const INVOKE: &[u8] = br#"{"type":"invokefunction","invocation_id":""#;
const FUNCTION: &[u8] = br#","function_id":""#;

/// Reads the usual layout: type, id, function, then one payload member up to the end.
///
/// It does not look inside the payload, so a message with more members yields a payload that is too long: who expects
/// certain payload bytes must ask `parse` before calling the message wrong.
#[inline]
pub fn quick(text: &[u8]) -> Option<Message<'_>> {
    let (kind, rest, name): (&[u8], _, &[u8]) = if let Some(rest) = text.strip_prefix(RESULT) {
        (b"invocationresult", rest, br#","result":"#)
    } else {
        (b"invokefunction", text.strip_prefix(INVOKE)?, br#","data":"#)
    };
    let (id, rest) = string(rest)?;
    let (function, rest) = string(rest.strip_prefix(FUNCTION)?)?;
    let payload = rest.strip_prefix(name)?.strip_suffix(b"}")?;
    Some(Message { kind, id, function, payload: Some(payload), error: None })
}

/// Splits behind a string without escapes whose opening quote is already gone.
#[inline]
fn string(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'"', text)?;
    Some((&text[..end], &text[end + 1..]))
}

/// Reads any layout. `None`: not a JSON object.
pub fn parse(text: &[u8]) -> Option<Message<'_>> {
    let mut message = Message::default();
    let mut walk = Members::of(text)?;
    while let Some((name, value)) = walk.next()? {
        match name {
            b"type" => message.kind = unquoted(value)?,
            b"invocation_id" => message.id = unquoted(value)?,
            b"function_id" => message.function = unquoted(value)?,
            b"result" | b"data" => message.payload = Some(value),
            b"error" => message.error = Some(value),
            _ => {}
        }
    }
    Some(message)
}

/// The text of one top-level member, quotes and all.
pub fn member<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut walk = Members::of(text)?;
    while let Some((name, value)) = walk.next()? {
        if name == wanted {
            return Some(value);
        }
    }
    None
}

fn unquoted(value: &[u8]) -> Option<&[u8]> {
    value.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// The members of a JSON object, in order. It finds where values end and does not judge what is in them.
struct Members<'a> {
    text: &'a [u8],
    at: usize,
    first: bool,
}

impl<'a> Members<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        let mut members = Self { text, at: 0, first: true };
        members.expect(b'{')?;
        Some(members)
    }

    /// Outer `None`: broken. Inner `None`: the object ended properly.
    fn next(&mut self) -> Option<Option<(&'a [u8], &'a [u8])>> {
        self.space();
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            self.space();
            return (self.at == self.text.len()).then_some(None);
        }
        if !self.first {
            self.expect(b',')?;
        }
        self.first = false;
        self.space();
        let name = unquoted(self.value()?)?;
        self.expect(b':')?;
        self.space();
        Some(Some((name, self.value()?)))
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.space();
        (self.text.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let mut depth = 0usize;
        loop {
            match *self.text.get(self.at)? {
                b'"' => self.string_end()?,
                b'{' | b'[' => depth += 1,
                b'}' | b']' if depth > 0 => depth -= 1,
                b',' | b'}' | b']' | b':' if depth == 0 => break,
                byte if depth == 0 && byte.is_ascii_whitespace() => break,
                _ => {}
            }
            let closed = matches!(self.text[self.at], b'"' | b'}' | b']');
            self.at += 1;
            if depth == 0 && closed {
                break;
            }
        }
        (self.at > start).then(|| &self.text[start..self.at])
    }

    /// Moves from an opening quote to the closing one.
    fn string_end(&mut self) -> Option<()> {
        loop {
            self.at += 1;
            self.at += memchr::memchr2(b'"', b'\\', self.text.get(self.at..)?)?;
            if self.text[self.at] == b'"' {
                return Some(());
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    #[test]
    fn quick_and_tolerant_agree_on_the_usual_layout() {
        let text = br#"{"type":"invocationresult","invocation_id":"i","function_id":"f","result":{"a":["}\"",1]}}"#;
        let message = quick(text).unwrap();
        assert_eq!(message.payload, Some(br#"{"a":["}\"",1]}"#.as_slice()));
        assert_eq!(parse(text), Some(message));
        let text = br#"{"type":"invokefunction","invocation_id":"i","function_id":"f","data":7}"#;
        assert_eq!(parse(text), quick(text));
        assert!(quick(br#"{"type":"pong"}"#).is_none());
    }

    #[test]
    fn any_layout_is_read() {
        let text =
            br#" { "result" : null , "x":[{"y":"]"}], "invocation_id":"i", "type":"invocationresult","error":{"code":"c"} } "#;
        let message = parse(text).unwrap();
        assert_eq!((message.kind, message.id), (b"invocationresult".as_slice(), b"i".as_slice()));
        assert_eq!(message.payload, Some(b"null".as_slice()));
        assert_eq!(message.error, Some(br#"{"code":"c"}"#.as_slice()));
        assert_eq!(member(text, b"x"), Some(br#"[{"y":"]"}]"#.as_slice()));
        assert_eq!(member(text, b"y"), None);
    }

    #[test]
    fn broken_text_is_refused() {
        for text in ["", "[]", "{", r#"{"a""#, r#"{"a":}"#, r#"{"a":1"#, r#"{"a":"\"}"#, r#"{"a":1}x"#, r#"{"a":1 2}"#]
        {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
