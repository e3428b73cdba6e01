//! Walking objects and arrays, strings between text and meaning, numbers as text.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::borrow::Cow;

use iii_fast_core::codec::json::{
    Elements, JsonErrorKind, Members, NotNumber, unescape, validate, write_number_f64, write_string,
};
use proptest::prelude::*;

const DEPTH: usize = 120;

fn members(text: &str) -> Vec<(&str, &str)> {
    let mut walk = Members::new(text, DEPTH).unwrap();
    std::iter::from_fn(|| walk.next().unwrap()).map(|member| (member.key, member.value)).collect()
}

#[test]
fn members_come_in_order_with_duplicates_and_raw() {
    assert_eq!(members("{}"), []);
    assert_eq!(members(" { } "), []);
    assert_eq!(
        members(" {\"a\" : 1 ,\"a\":[ {} ]\n, \"\\u0062\":\"x\\\"y\" }"),
        [("\"a\"", "1"), ("\"a\"", "[ {} ]"), ("\"\\u0062\"", "\"x\\\"y\"")]
    );
}

#[test]
fn end_is_behind_the_closing_brace() {
    let text = r#" {"a":1} , 2"#;
    let mut walk = Members::new(text, DEPTH).unwrap();
    walk.next().unwrap().unwrap();
    assert_eq!(walk.next(), Ok(None));
    assert_eq!(walk.next(), Ok(None));
    assert_eq!(walk.end(), 8);
    assert_eq!(walk.finish().unwrap_err().kind, JsonErrorKind::TrailingCharacters);

    let mut walk = Members::new("{} \n", DEPTH).unwrap();
    assert_eq!(walk.next(), Ok(None));
    assert_eq!(walk.finish(), Ok(()));
}

#[test]
fn a_walk_that_failed_stays_failed() {
    let mut walk = Members::new(r#"{"a":1,"b":NaN,"c":2}"#, DEPTH).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().value, "1");
    for _ in 0..3 {
        let error = walk.next().unwrap_err();
        assert_eq!((error.kind, error.offset), (JsonErrorKind::NotJson(NotNumber::NaN), 11));
    }
    let mut walk = Members::new_lenient(r#"{"a":1,"b":NaN,"c":2}"#, DEPTH).unwrap();
    let values: Vec<_> = std::iter::from_fn(|| walk.next().unwrap()).map(|member| member.value).collect();
    assert_eq!(values, ["1", "NaN", "2"]);
}

#[test]
fn walks_refuse_what_the_scanner_refuses_at_the_same_place() {
    for text in [
        "",
        "[",
        "{",
        "{,}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{"a":1;}"#,
        r#"{"a":1"#,
        r#"{"a":[1,}"#,
        "{1:1}",
        r#"{"a":1,"#,
        r#"{"a":1,,"b":1}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":01}"#,
    ] {
        let walked = Members::new(text, DEPTH).and_then(|mut walk| {
            while walk.next()?.is_some() {}
            walk.finish()
        });
        let mut expected = validate(text, DEPTH).unwrap_err();
        if text == "[" {
            expected.kind = JsonErrorKind::ExpectedObject;
            expected.offset = 0;
        }
        assert_eq!(walked, Err(expected), "{text}");
    }
    for text in ["[,]", "[1,]", "[1", "[1}", "[1 2]", "[01]", "[NaN]"] {
        let mut walk = Elements::new(text, DEPTH).unwrap();
        let error = loop {
            if let Err(error) = walk.next() {
                break error;
            }
        };
        assert_eq!(Err(error), validate(text, DEPTH), "{text}");
    }
}

#[test]
fn depth_counts_the_walked_value_too() {
    assert_eq!(Members::new("{}", 0).unwrap_err().kind, JsonErrorKind::TooDeep);
    assert_eq!(Elements::new("[]", 0).unwrap_err().kind, JsonErrorKind::TooDeep);
    let mut walk = Members::new(r#"{"a":1,"b":[]}"#, 1).unwrap();
    assert!(walk.next().unwrap().is_some());
    assert_eq!(walk.next().unwrap_err().kind, JsonErrorKind::TooDeep);
    let mut walk = Members::new(r#"{"b":[]}"#, 2).unwrap();
    assert_eq!(walk.next().unwrap().unwrap().value, "[]");
}

#[test]
fn elements_come_in_order() {
    let mut walk = Elements::new("[1 , \"a\",[2] ] x", DEPTH).unwrap();
    let values: Vec<_> = std::iter::from_fn(|| walk.next().unwrap()).collect();
    assert_eq!(values, ["1", "\"a\"", "[2]"]);
    assert_eq!(walk.end(), 14);
    assert_eq!(walk.finish().unwrap_err().offset, 15);
    assert_eq!(Elements::new("{}", DEPTH).unwrap_err().kind, JsonErrorKind::ExpectedArray);
}

#[test]
fn key_is_sees_through_escapes() {
    let is = |key: &str, name: &str| {
        let object = format!("{{{key}:1}}");
        let mut walk = Members::new_lenient(&object, 1).unwrap();
        walk.next().unwrap().unwrap().key_is(name)
    };
    assert!(is(r#""type""#, "type"));
    assert!(is(r#""\u0074ype""#, "type"));
    assert!(is(r#""\"""#, "\""));
    assert!(is(r#""é""#, "é"));
    assert!(is(r#""\u00e9""#, "é"));
    assert!(is(r#""""#, ""));
    assert!(!is(r#""typ""#, "type"));
    assert!(!is(r#""types""#, "type"));
    assert!(!is(r#""a\n""#, "a\\n"));
    assert!(!is(r#""\ud800aaaa""#, "aaaa"));
}

#[test]
fn unescape_borrows_when_it_can() {
    assert!(matches!(unescape(r#""plain é""#), Ok(Cow::Borrowed("plain é"))));
    assert!(matches!(unescape(r#""""#), Ok(Cow::Borrowed(""))));
    assert_eq!(unescape(r#""\"\\\/\b\f\n\r\t\u0000\u00e9\ud83d\ude00x""#).unwrap(), "\"\\/\u{8}\u{c}\n\r\t\0é😀x");
    for (raw, kind, offset) in [
        ("", JsonErrorKind::ExpectedString, 0),
        ("\"", JsonErrorKind::ExpectedString, 0),
        ("abc", JsonErrorKind::ExpectedString, 0),
        (r#""ab\ud800""#, JsonErrorKind::LoneSurrogate, 3),
        (r#""ab\q""#, JsonErrorKind::BadEscape, 3),
    ] {
        let error = unescape(raw).unwrap_err();
        assert_eq!((error.kind, error.offset), (kind, offset), "{raw}");
    }
}

fn written(s: &str) -> String {
    let mut out = Vec::new();
    write_string(&mut out, s);
    String::from_utf8(out).unwrap()
}

#[test]
fn strings_are_escaped_as_little_as_possible() {
    assert_eq!(written("a \"\\/é\u{7f}\u{2028}😀"), "\"a \\\"\\\\/é\u{7f}\u{2028}😀\"");
    assert_eq!(written("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}"), r#""\u0000\b\t\n\u000b\f\r\u001f""#);
}

/// A string in which every UTF-16 unit is an escape.
fn escaped(s: &str) -> String {
    let units: String = s.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    format!("\"{units}\"")
}

fn number(x: f64) -> String {
    let mut out = Vec::new();
    write_number_f64(&mut out, x);
    String::from_utf8(out).unwrap()
}

#[test]
fn floats_look_as_in_python() {
    // Left: what CPython's `repr(float)` prints.
    for (text, x) in [
        ("0.0", 0.0),
        ("-0.0", -0.0),
        ("2.0", 2.0),
        ("-2.5", -2.5),
        ("0.5", 0.5),
        ("0.1", 0.1),
        ("100.0", 100.0),
        ("120.5", 120.5),
        ("0.0001", 1e-4),
        ("0.00012345", 1.2345e-4),
        ("1e-05", 1e-5),
        ("1.5e-07", 1.5e-7),
        ("1234567890123456.0", 1_234_567_890_123_456.0),
        ("9007199254740992.0", 9_007_199_254_740_993.0),
        ("1097718834198879.2", 1_097_718_834_198_879.0 + 0.25),
        ("-904169666483526.2", -904_169_666_483_526.0 - 0.25),
        ("904169666483526.8", 904_169_666_483_526.0 + 0.75),
        ("5.684341886080802e-14", 2f64.powi(-44)),
        ("1e+16", 1e16),
        ("1.2345678901234568e+16", 12_345_678_901_234_567.0),
        ("1e+100", 1e100),
        ("1.7976931348623157e+308", f64::MAX),
        ("2.2250738585072014e-308", f64::MIN_POSITIVE),
        ("5e-324", f64::from_bits(1)),
        ("0.30000000000000004", 0.1 + 0.2),
        ("1e+23", 1e23),
    ] {
        assert_eq!(number(x), text);
    }
    assert_eq!(number(f64::NAN), "null");
    assert_eq!(number(f64::INFINITY), "null");
}

proptest! {
    #[test]
    fn members_are_the_pieces_of_the_text(pairs in prop::collection::vec((any::<String>(), any::<String>(), any::<u8>()), 0..6)) {
        let pieces: Vec<_> = pairs
            .iter()
            .map(|(key, value, pick)| match pick % 4 {
                0 => (written(key), written(value)),
                1 => (written(key), format!("[{} ,{pick}]", written(value))),
                2 => (serde_json::to_string(key).unwrap(), format!("{{{}: null }}", written(value))),
                _ => (escaped(key), format!("-{pick}.5e-{pick}")),
            })
            .collect();
        let spaces = ["", " ", "\n\t", ""];
        let space = |at: usize| spaces[(at + pairs.len()) % 4];
        let texts: Vec<_> = pieces
            .iter()
            .enumerate()
            .map(|(at, (key, value))| format!("{}{key}{}:{}{value}{0}", space(at), space(at + 1), space(at + 2)))
            .collect();
        let text = format!("{{{}}}", texts.join(","));
        prop_assert_eq!(validate(&text, DEPTH), Ok(0..text.len()));
        let expected: Vec<_> = pieces.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        prop_assert_eq!(members(&text), expected);
        let mut walk = Members::new(&text, DEPTH).unwrap();
        for (name, ..) in &pairs {
            let member = walk.next().unwrap().unwrap();
            prop_assert_eq!(unescape(member.key).unwrap(), name.as_str());
            prop_assert!(member.key_is(name));
            let longer = format!("{name}x");
            prop_assert!(!member.key_is(&longer));
        }
    }

    #[test]
    fn strings_survive_writing_and_reading(s: String) {
        let text = written(&s);
        prop_assert_eq!(validate(&text, 0), Ok(0..text.len()));
        prop_assert_eq!(unescape(&text).unwrap(), s.as_str());
        prop_assert_eq!(serde_json::from_str::<String>(&text).unwrap(), s);
    }

    #[test]
    fn floats_survive_writing_and_reading(bits: u64) {
        let x = f64::from_bits(bits);
        prop_assume!(x.is_finite());
        let text = number(x);
        prop_assert_eq!(validate(&text, 0), Ok(0..text.len()));
        prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
    }
}
