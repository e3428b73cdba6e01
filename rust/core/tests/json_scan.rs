//! The JSON scanner: what it accepts, what it refuses and where, against serde_json as the oracle.
#![allow(clippy::unwrap_used, clippy::panic)]

use iii_fast_core::codec::json::{JsonErrorKind, JsonKind, NotNumber, kind, skip_value, skip_value_lenient, validate};
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

const DEPTH: usize = 120;

fn refused(text: &str) -> (JsonErrorKind, usize) {
    let error = validate(text, DEPTH).unwrap_err();
    (error.kind, error.offset)
}

#[test]
fn values_of_every_kind_and_their_spans() {
    let cases = [
        ("null", JsonKind::Null, "null"),
        ("true", JsonKind::Boolean, "boolean"),
        ("false", JsonKind::Boolean, "boolean"),
        ("0", JsonKind::Number, "number"),
        ("-12.50e-7", JsonKind::Number, "number"),
        ("1E400", JsonKind::Number, "number"),
        ("123456789012345678901234567890", JsonKind::Number, "number"),
        (r#""a\"b\\c\/\b\f\n\r\t\u00e9\ud83d\ude00é😀""#, JsonKind::String, "string"),
        ("[1, [2,[]] ,{}]", JsonKind::Array, "array"),
        (r#"{ "a" : 1 , "a" : {"":[]} }"#, JsonKind::Object, "object"),
    ];
    for (text, expected, name) in cases {
        assert_eq!(validate(text, DEPTH), Ok(0..text.len()), "{text}");
        let padded = format!(" \t\r\n{text}\n ");
        assert_eq!(validate(&padded, DEPTH), Ok(4..4 + text.len()), "{text}");
        assert_eq!(kind(text), expected);
        assert_eq!(kind(text).name(), name);
    }
}

#[test]
fn a_value_ends_where_its_follower_begins() {
    assert_eq!(skip_value("[1] ]x", 0, 1), Ok(0..3));
    assert_eq!(skip_value("12,3", 0, 0), Ok(0..2));
    assert_eq!(skip_value(r#"{"a": "b"}"#, 5, 0), Ok(6..9));
    assert_eq!(skip_value("1", 1, 0).unwrap_err().kind, JsonErrorKind::UnexpectedEnd);
    assert_eq!(skip_value("1", 7, 0).unwrap_err().kind, JsonErrorKind::UnexpectedEnd);
}

#[test]
fn refusals_name_kind_and_offset() {
    use JsonErrorKind as K;
    let cases = [
        ("", K::UnexpectedEnd, 0),
        ("  ", K::UnexpectedEnd, 2),
        ("[1,", K::UnexpectedEnd, 3),
        (r#"{"a"#, K::UnexpectedEnd, 3),
        (r#"{"a":1"#, K::UnexpectedEnd, 6),
        (r#""\u12"#, K::UnexpectedEnd, 5),
        (r#""\u123"#, K::UnexpectedEnd, 6),
        (r#""\"#, K::UnexpectedEnd, 2),
        ("tru", K::UnexpectedEnd, 3),
        ("-", K::UnexpectedEnd, 1),
        ("1.", K::UnexpectedEnd, 2),
        ("trux", K::ExpectedValue, 0),
        ("[1,]", K::ExpectedValue, 3),
        ("[,1]", K::ExpectedValue, 1),
        ("\u{feff}1", K::ExpectedValue, 0),
        ("\u{a0}1", K::ExpectedValue, 0),
        ("'a'", K::ExpectedValue, 0),
        (r#"{"a":1,}"#, K::ExpectedString, 7),
        ("{a:1}", K::ExpectedString, 1),
        (r#"{"a" 1}"#, K::ExpectedColon, 5),
        (r#"{"a":1]"#, K::ExpectedMemberEnd, 6),
        (r#"{"a":1 "b":2}"#, K::ExpectedMemberEnd, 7),
        ("[1}", K::ExpectedElementEnd, 2),
        ("[1 2]", K::ExpectedElementEnd, 3),
        ("\"a\u{1}\"", K::ControlCharacter, 2),
        ("\"a\nb\"", K::ControlCharacter, 2),
        (r#""ab\x""#, K::BadEscape, 3),
        (r#""\u12g4""#, K::BadEscape, 1),
        (r#""\u+123""#, K::BadEscape, 1),
        ("[01]", K::BadNumber, 1),
        ("-01", K::BadNumber, 0),
        ("[1.]", K::BadNumber, 3),
        ("[.5]", K::ExpectedValue, 1),
        ("[1e+]", K::BadNumber, 4),
        ("[+1]", K::ExpectedValue, 1),
        ("[-]", K::BadNumber, 2),
        ("1 2", K::TrailingCharacters, 2),
        ("null}", K::TrailingCharacters, 4),
        ("[NaN]", K::NotJson(NotNumber::NaN), 1),
        ("[1, Infinity]", K::NotJson(NotNumber::Infinity), 4),
        ("[1, -Infinity]", K::NotJson(NotNumber::NegativeInfinity), 4),
        (r#""abc\ud800""#, K::LoneSurrogate, 4),
        (r#""\udc00""#, K::LoneSurrogate, 1),
        (r#""\ud800\ud800""#, K::LoneSurrogate, 1),
        (r#""\ud83d\u0041""#, K::LoneSurrogate, 1),
        (r#""\udc00\udc00""#, K::LoneSurrogate, 1),
        (r#""\ud83d\n""#, K::LoneSurrogate, 1),
    ];
    for (text, expected, offset) in cases {
        assert_eq!(refused(text), (expected, offset), "{text}");
    }
}

#[test]
fn error_texts_are_those_of_the_wire() {
    let text = |json: &str| validate(json, DEPTH).unwrap_err().to_string();
    assert_eq!(text("[NaN]"), "at byte 1: NaN is not a JSON value");
    assert_eq!(text("[0,-Infinity]"), "at byte 3: -Infinity is not a JSON value");
    assert_eq!(text(r#"["\ud800"]"#), "at byte 2: lone surrogate in a string");
    assert_eq!(text(&"[".repeat(121)), "at byte 120: more than 120 nested levels");
    assert_eq!(text("[1,"), "at byte 3: unexpected end of the text");
    let moved = validate("[NaN]", DEPTH).unwrap_err().moved(56);
    assert_eq!(moved.to_string(), "at byte 57: NaN is not a JSON value");
}

#[test]
fn depth_is_counted_in_brackets() {
    let nested = |levels: usize| format!("{}{}", r#"[{"a":"#.repeat(levels), "}]".repeat(levels)).replace(":}", ":1}");
    assert_eq!(validate("1", 0), Ok(0..1));
    assert_eq!(validate("[]", 0).unwrap_err().kind, JsonErrorKind::TooDeep);
    for levels in [1, 30, 60, 64, 65, 200, 1000] {
        let text = nested(levels);
        assert_eq!(validate(&text, 2 * levels), Ok(0..text.len()));
        let error = validate(&text, 2 * levels - 1).unwrap_err();
        assert_eq!((error.kind, error.offset), (JsonErrorKind::TooDeep, 6 * (levels - 1) + 1));
    }
}

#[test]
fn deep_texts_cost_no_stack() {
    let deep = "[".repeat(5_000_000);
    assert_eq!(skip_value_lenient(&deep, 0, usize::MAX).unwrap_err().kind, JsonErrorKind::UnexpectedEnd);
    let closed = format!("{deep}{}", "]".repeat(5_000_000));
    assert_eq!(skip_value_lenient(&closed, 0, usize::MAX), Ok(0..closed.len()));
    let mixed = format!("{deep}{}", "]".repeat(4_999_999) + "}");
    assert_eq!(skip_value_lenient(&mixed, 0, usize::MAX).unwrap_err().kind, JsonErrorKind::ExpectedElementEnd);
}

#[test]
fn lenient_takes_what_encoders_write_wrongly_and_nothing_else() {
    for text in ["NaN", "Infinity", "-Infinity", r#""\ud800""#, r#"{"a":[NaN,-Infinity,Infinity],"\udfff":1}"#] {
        assert_eq!(skip_value_lenient(text, 0, DEPTH), Ok(0..text.len()), "{text}");
        assert!(validate(text, DEPTH).is_err());
    }
    for text in ["[nan]", "[-NaN]", "[+Infinity]", "[Infinit]", "[NaN", "[01]", "\"\u{1}\"", r#""\x""#, "[NaN 1]"] {
        assert!(skip_value_lenient(text, 0, DEPTH).is_err(), "{text}");
    }
}

#[test]
fn every_byte_is_seen_at_every_place_of_a_string() {
    let special = ["\"", "\\", "\u{0}", "\u{1f}", "\n"];
    for length in 0..200 {
        for at in 0..=length {
            for stop in special {
                let text = format!("\"{}{stop}{}\"", "x".repeat(at), "é".repeat(length - at));
                let accepted = serde_json::from_str::<Value>(&text).is_ok();
                assert_eq!(validate(&text, 0).is_ok(), accepted, "{text:?}");
            }
        }
        let plain = format!("\"{}\"", "\u{7f}".repeat(length));
        assert_eq!(validate(&plain, 0), Ok(0..plain.len()));
    }
}

/// serde_json's verdict: `Value` refuses lone surrogates, `RawValue` gives the span.
fn oracle(text: &str) -> Option<(usize, usize)> {
    serde_json::from_str::<Value>(text).ok()?;
    let raw = serde_json::from_str::<&RawValue>(text).ok()?.get();
    let begin = raw.as_ptr() as usize - text.as_ptr() as usize;
    Some((begin, begin + raw.len()))
}

fn agrees(text: &str) {
    let ours = validate(text, DEPTH).map(|span| (span.start, span.end));
    assert_eq!(ours.ok(), oracle(text), "{text:?}: {ours:?}");
    if let Err(error) = ours {
        assert!(error.offset <= text.len());
    }
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![6 => Just(String::new()), 1 => "[ \t\r\n]{1,3}"]
}

fn string_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[ -!#-\\[\\]-~]{0,12}",
        2 => "\\PC{0,4}".prop_map(|s| s.replace(['"', '\\'], "")),
        1 => "[x]{60,140}",
        2 => "\\\\[\"\\\\/bfnrt]",
        1 => "\\\\u[0-9a-fA-F]{4}",
        1 => "\\\\u[dD][89abAB][0-9a-f]{2}\\\\u[dD][c-fC-F][0-9a-f]{2}",
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn scalar_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,6})?([eE][+-]?[0-9]{1,3})?",
        string_text(),
    ]
}

fn json_text() -> impl Strategy<Value = String> {
    let leaf = (space(), scalar_text(), space()).prop_map(|(a, v, b)| a + &v + &b);
    leaf.prop_recursive(5, 40, 6, |inner| {
        let member = (space(), string_text(), space(), inner.clone()).prop_map(|(a, k, b, v)| format!("{a}{k}{b}:{v}"));
        prop_oneof![
            (space(), prop::collection::vec(inner, 1..6), space())
                .prop_map(|(a, items, b)| format!("{a}[{}]{b}", items.join(","))),
            (space(), prop::collection::vec(member, 1..6), space())
                .prop_map(|(a, items, b)| format!("{a}{{{}}}{b}", items.join(","))),
            (space(), prop_oneof![Just("[]"), Just("{}"), Just("[ ]"), Just("{\n}")], space())
                .prop_map(|(a, empty, b)| a + empty + &b),
        ]
    })
}

fn soup() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => prop::sample::select(vec!["{", "}", "[", "]", ",", ":", "\"", "\"a\"", "\\", " ", "\n", "\t"]),
        2 => prop::sample::select(vec!["0", "1", "-", "+", ".", "e", "E", "12", "-0", "0.5", "1e9", "00"]),
        2 => prop::sample::select(vec!["null", "true", "false", "nul", "NaN", "Infinity", "-Infinity", "nan"]),
        1 => prop::sample::select(vec!["\\u", "\\ud800", "\\udc00", "\\u00e9", "\\n", "\\x", "\u{1}", "é", "\u{feff}", "\u{7f}"]),
    ];
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// Replaces, removes or doubles a piece of a text, at character boundaries.
fn mutated(text: &str, at: usize, length: usize, with: &str) -> String {
    let floor = |index: usize| (0..=index.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap();
    let begin = floor(at % (text.len() + 1));
    let end = floor(begin + length).max(begin);
    format!("{}{with}{}", &text[..begin], &text[end..])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn agrees_on_json(text in json_text()) {
        agrees(&text);
    }

    #[test]
    fn agrees_on_mutations(text in json_text(), at: usize, length in 0usize..4, with in soup()) {
        agrees(&mutated(&text, at, length, &with));
        agrees(&mutated(&text, at, length, ""));
        agrees(&mutated(&text, at, text.len(), ""));
    }

    #[test]
    fn agrees_on_token_soup(text in soup()) {
        agrees(&text);
    }

    #[test]
    fn agrees_on_any_text(text: String) {
        agrees(&text);
        agrees(&format!("\"{text}\""));
    }

    #[test]
    fn lenient_accepts_whatever_strict_accepts(text in prop_oneof![json_text(), soup()]) {
        if let Ok(span) = skip_value(&text, 0, DEPTH) {
            prop_assert_eq!(skip_value_lenient(&text, 0, DEPTH), Ok(span));
        }
    }
}
