//! The JSON scanner accepts what serde_json accepts, with the same span; the walks agree with it; nothing panics.
#![no_main]

use iii_fast_core::codec::json::{
    Elements, JsonError, JsonKind, Members, kind, skip_value, skip_value_lenient, unescape, validate, write_string,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use serde_json::value::RawValue;

/// serde_json gives up at 128 levels: stay below.
const DEPTH: usize = 120;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let ours = validate(text, DEPTH);
    let too_deep = matches!(ours, Err(error) if error.to_string().ends_with("nested levels"));
    if !too_deep {
        assert_eq!(ours.clone().ok().map(|span| &text[span]), oracle(text), "{ours:?}");
    }
    let lenient = skip_value_lenient(text, 0, DEPTH);
    match ours {
        Ok(span) => {
            assert_eq!(skip_value(text, 0, DEPTH), Ok(span.clone()));
            assert_eq!(lenient, Ok(span.clone()));
            walk(&text[span]);
        }
        Err(error) => {
            assert!(error.offset <= text.len());
            refuse(text, error);
        }
    }
    let _ = unescape(text).map(|text| text.len());
});

/// `Value` refuses lone surrogates, `RawValue` gives the span.
fn oracle(text: &str) -> Option<&str> {
    serde_json::from_str::<Value>(text).ok()?;
    serde_json::from_str::<&RawValue>(text).ok().map(RawValue::get)
}

/// Every part of a valid value is valid by itself.
fn walk(value: &str) {
    match kind(value) {
        JsonKind::Object => {
            let mut members = Members::new(value, DEPTH).expect("an object");
            while let Some(member) = members.next().expect("a member") {
                string(member.key);
                assert!(member.key_is(&unescape(member.key).expect("a name")));
                assert_eq!(validate(member.value, DEPTH), Ok(0..member.value.len()));
            }
            assert_eq!(members.end(), value.len());
        }
        JsonKind::Array => {
            let mut elements = Elements::new(value, DEPTH).expect("an array");
            while let Some(element) = elements.next().expect("an element") {
                assert_eq!(validate(element, DEPTH), Ok(0..element.len()));
            }
            assert_eq!(elements.end(), value.len());
        }
        JsonKind::String => string(value),
        JsonKind::Null | JsonKind::Boolean | JsonKind::Number => {}
    }
}

fn string(raw: &str) {
    let text = unescape(raw).expect("a string");
    assert_eq!(serde_json::from_str::<String>(raw).expect("a string"), text);
    let mut written = Vec::new();
    write_string(&mut written, &text);
    assert_eq!(serde_json::from_slice::<String>(&written).expect("a string"), text);
}

/// A walk finds the same first error as the scanner.
fn refuse(text: &str, expected: JsonError) {
    let Ok(mut members) = Members::new(text, DEPTH) else { return };
    let error = loop {
        match members.next() {
            Ok(Some(_)) => {}
            Ok(None) => break members.finish().expect_err("refused"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, expected);
}
