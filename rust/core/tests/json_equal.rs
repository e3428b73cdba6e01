//! Equality of JSON texts (docs/state.md, 9), against an oracle that builds trees and writes numbers out.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use iii_fast_core::state::json_equal;
use proptest::prelude::*;
use serde_json::Value;

#[track_caller]
fn same(a: &str, b: &str, expected: bool) {
    assert_eq!(json_equal(a.as_bytes(), b.as_bytes()), expected, "{a} {b}");
    assert_eq!(json_equal(b.as_bytes(), a.as_bytes()), expected, "{b} {a}");
    assert!(json_equal(format!(" {a}\n").as_bytes(), a.as_bytes()), "{a}");
}

#[test]
fn numbers_are_equal_by_value() {
    let nines = "9".repeat(400);
    let tenth = format!("{nines}0");
    for (a, b) in [
        ("1", "1.0"),
        ("1", "1e0"),
        ("1", "1E+00"),
        ("100", "1e2"),
        ("100", "0.01e4"),
        ("-0.0012", "-12e-4"),
        ("0", "-0"),
        ("0", "0.000e999999999999999999999999999999999999999999"),
        ("0.1", "0.10"),
        ("120", "1.2E2"),
        (&format!("{nines}.0"), &nines),
        (&format!("{nines}e1"), &tenth),
        ("1e340282366920938463463374607431768211456", "10e340282366920938463463374607431768211455"),
        ("1e-340282366920938463463374607431768211456", "0.1e-340282366920938463463374607431768211455"),
        ("1e-340282366920938463463374607431768211456", "10e-340282366920938463463374607431768211457"),
        ("1e1000000000000000000000000000000", "10e999999999999999999999999999999"),
        ("1e-1000000000000000000000000000000", "0.1e-999999999999999999999999999999"),
        ("1e0000000000000000000000000000000000000000000", "1"),
        ("10e-0000000000000000000000000000000000000000001", "1"),
        ("1e0000000000000000000000000000000000000000007", "0.001e+00000000000000000000000000000000000000010"),
    ] {
        same(a, b, true);
    }
}

#[test]
fn different_numbers_are_different() {
    let nines = "9".repeat(400);
    for (a, b) in [
        ("1", "-1"),
        ("1", "2"),
        ("1", "10"),
        ("0", "1e-400"),
        ("9007199254740993", "9007199254740992"),
        ("9007199254740993", "9007199254740992.0"),
        ("1e400", "1e401"),
        ("0.1", "0.1000000000000000000000000000001"),
        ("1e340282366920938463463374607431768211456", "1e340282366920938463463374607431768211457"),
        ("1e340282366920938463463374607431768211456", "1e-340282366920938463463374607431768211456"),
        ("1e340282366920938463463374607431768211456", "1"),
        ("1e0000000000000000000000000000000000000000001", "1e-000000000000000000000000000000000000000001"),
        (&nines, &format!("{}8", "9".repeat(399))),
        (&nines, &format!("{nines}9")),
    ] {
        same(a, b, false);
    }
}

#[test]
fn strings_are_equal_by_their_characters() {
    for (a, b) in [
        (r#""a""#, r#""\u0061""#),
        (r#""/""#, r#""\/""#),
        (r#""\n""#, r#""\u000a""#),
        (r#""😀""#, r#""\ud83d\ude00""#),
        (r#""😀""#, r#""\uD83D\uDE00""#),
        (r#""\"\\""#, r#""\u0022\u005c""#),
    ] {
        same(a, b, true);
    }
    for (a, b) in [
        (r#""a""#, r#""A""#),
        (r#""é""#, r#""e\u0301""#),
        (r#""""#, r#""\u0000""#),
        (r#""1""#, "1"),
        (r#""null""#, "null"),
    ] {
        same(a, b, false);
    }
}

#[test]
fn the_kinds_are_different() {
    let all = ["null", "true", "false", "0", r#""""#, "[]", "{}", "[[]]", "[{}]", r#"{"":[]}"#, r#"{"":{}}"#];
    for (i, a) in all.into_iter().enumerate() {
        for (j, b) in all.into_iter().enumerate() {
            same(a, b, i == j);
        }
    }
}

#[test]
fn arrays_are_equal_in_their_order() {
    same("[1,[2,3] , {}]", "[1.0, [ 2 ,3e0],{ }]", true);
    same("[1,2]", "[2,1]", false);
    same("[1,2]", "[1,2,3]", false);
    same("[[1],2]", "[[1,2]]", false);
    same(r#"["],[",1]"#, r#"[ "],[" , 1 ]"#, true);
}

#[test]
fn objects_are_equal_in_any_order_and_the_last_duplicate_counts() {
    same(r#"{"a":1,"b":[2]}"#, r#"{ "b" : [2.0] , "\u0061" : 1 }"#, true);
    same(r#"{"a":1}"#, r#"{"a":1,"b":1}"#, false);
    same(r#"{"a":1}"#, r#"{"b":1}"#, false);
    same(r#"{"a":1,"b":2}"#, r#"{"a":2,"b":1}"#, false);
    same(r#"{"a":[[3]],"b":2,"\u0061":1}"#, r#"{"a":1,"b":2}"#, true);
    same(r#"{"a":1,"a":2,"a":3}"#, r#"{"a":3}"#, true);
    same(r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, false);
    same(r#"{"a":"}","\"]":{"x":"\\"}}"#, r#"{"\u0022]":{"x":"\u005c"},"a":"}"}"#, true);
}

#[test]
fn nesting_costs_neither_stack_nor_time() {
    let nested = |inner: &str| format!("{}{inner}{}", r#"{"a":"#.repeat(119), "}".repeat(119));
    let many = format!("[{}1]", "1,".repeat(1_000_000));
    same(&nested(&many), &nested(&many.replace(",1,", ", 1.0,")), true);
    same(&nested(&many), &nested(&many.replace("1]", "2]")), false);
}

/// The number without exponent, point in the middle, no zeros at the ends.
fn written_out(number: &str) -> String {
    let (digits, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i64 = exponent.parse().unwrap();
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let zeros = "0".repeat(exponent.unsigned_abs() as usize);
    let all = format!("{zeros}{whole}{fraction}{zeros}");
    let point = zeros.len() as i64 + whole.len() as i64 + exponent;
    let (whole, fraction) = all.split_at(point as usize);
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if whole.is_empty() && fraction.is_empty() { "0".to_owned() } else { format!("{sign}{whole}.{fraction}") }
}

/// One text for all that are equal.
fn canonical(value: &Value) -> String {
    match value {
        Value::Number(number) => written_out(&number.to_string()),
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().map(|(name, value)| (name, canonical(value))).collect();
            format!("{sorted:?}")
        }
        other => format!("{other:?}"),
    }
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,2})(\\.[0-9]{1,3})?([eE][+-]?0{0,2}[0-4])?"
}

fn string() -> impl Strategy<Value = String> {
    let character = prop::sample::select(vec![
        "a",
        "\\u0061",
        "\\u0041",
        "A",
        "/",
        "\\/",
        "\\n",
        "\\u000a",
        "😀",
        "\\ud83d\\ude00",
        "]",
        "\\\"",
    ]);
    prop::collection::vec(character, 0..3).prop_map(|parts| format!("\"{}\"", parts.concat()))
}

fn value() -> impl Strategy<Value = String> {
    let leaf =
        prop_oneof![number(), string(), prop::sample::select(vec!["null", "true", "0", "1"]).prop_map(str::to_owned)];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let space = prop::sample::select(vec!["", " ", "\n\t"]);
        let array = (prop::collection::vec(inner.clone(), 0..4), space.clone())
            .prop_map(|(items, space)| format!("[{space}{}{space}]", items.join(&format!("{space},"))));
        let object = (prop::collection::vec((string(), inner), 0..4), space).prop_map(|(members, space)| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("{name}{space}:{space}{value}")).collect();
            format!("{{{space}{}{space}}}", members.join(&format!("{space},{space}")))
        });
        prop_oneof![array, object]
    })
}

/// Another text of the same value, or of one that differs in one place.
fn rewritten(text: &str, turn: usize) -> String {
    let spelled =
        |text: &str| text.replace('/', "\\u002f").replace('a', "\\u0061").replace(":1", ":1.0").replace("\\\\u", "\\u");
    match turn {
        0 => text.to_owned(),
        1 => spelled(text),
        2 => reversed(&serde_json::from_str(text).unwrap()),
        _ => spelled(&reversed(&serde_json::from_str(text).unwrap()).replacen('1', "2", 1)),
    }
}

/// With the members of all objects the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .rev()
                .map(|(name, value)| format!("{}: {}", Value::from(name.as_str()), reversed(value)))
                .collect();
            format!("{{{}}}", members.join(" ,"))
        }
        other => other.to_string(),
    }
}

fn any_bytes() -> impl Strategy<Value = String> {
    "[\\[\\]{}\",:0-9e.\\\\a +-]{0,12}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn numbers_agree_with_the_oracle(a in number(), b in number()) {
        let expected = written_out(&a) == written_out(&b);
        prop_assert_eq!(json_equal(a.as_bytes(), b.as_bytes()), expected);
    }

    #[test]
    fn values_agree_with_the_oracle(a in value(), b in value(), turn in 0_usize..4) {
        let rewritten = rewritten(&a, turn);
        for other in [b, rewritten] {
            let Ok(tree) = serde_json::from_str::<Value>(&other) else { continue };
            let expected = canonical(&serde_json::from_str(&a).unwrap()) == canonical(&tree);
            prop_assert_eq!(json_equal(a.as_bytes(), other.as_bytes()), expected, "{} {}", a, other);
        }
    }

    #[test]
    fn any_bytes_are_equal_to_themselves_and_never_panic(a in any_bytes(), b in any_bytes()) {
        prop_assert!(json_equal(a.as_bytes(), a.as_bytes()));
        prop_assert_eq!(json_equal(a.as_bytes(), b.as_bytes()), json_equal(b.as_bytes(), a.as_bytes()));
    }
}
