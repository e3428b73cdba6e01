//! An update with many operations, which opens and edits the text in place, gives the text that one update per operation
//! gives, which reads and writes the whole text every time.
#![allow(clippy::unwrap_used)]

mod state_support;

use iii_fast_core::codec::json::validate;
use proptest::prelude::*;
use state_support::{NOTHING, Outcome, apply};

fn white() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\n\t")]
}

/// Names that meet each other, one of them in two spellings.
fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("\"a\""), Just("\"\\u0061\""), Just("\"b\""), Just("\"c\""), Just("\"d\\\"\""), Just("\"é\"")]
}

fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i8>().prop_map(|n| n.to_string()),
        Just("1.50".to_owned()),
        Just("18446744073709551615".to_owned()),
        Just("\"s\\n\"".to_owned()),
        Just("\"\"".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        let member = (white(), name(), white(), inner.clone(), white())
            .prop_map(|(a, name, b, value, c)| format!("{a}{name}{b}:{b}{value}{c}"));
        let element = (white(), inner, white()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let joined = |items: Vec<String>, open: &str, close: &str, empty: &str| {
            if items.is_empty() { format!("{open}{empty}{close}") } else { format!("{open}{}{close}", items.join(",")) }
        };
        prop_oneof![
            3 => (proptest::collection::vec(member, 0..5), white()).prop_map(move |(items, w)| joined(items, "{", "}", w)),
            1 => (proptest::collection::vec(element, 0..3), white()).prop_map(move |(items, w)| joined(items, "[", "]", w)),
        ]
    })
}

fn op() -> impl Strategy<Value = String> {
    let path = prop_oneof![6 => name().prop_map(str::to_owned), 1 => Just("\"\"".to_owned())];
    let nested = proptest::collection::vec(name(), 0..4).prop_map(|names| format!("[{}]", names.join(",")));
    let any_path = prop_oneof![path.clone(), nested];
    prop_oneof![
        3 => (path.clone(), value()).prop_map(|(p, v)| format!(r#"{{"type":"set","path":{p},"value":{v}}}"#)),
        4 => path.clone().prop_map(|p| format!(r#"{{"type":"remove","path":{p}}}"#)),
        2 => (path, scalar()).prop_map(|(p, v)| {
            let by = if v.parse::<f64>().is_ok() { v } else { "1".to_owned() };
            format!(r#"{{"type":"increment","path":{p},"by":{by}}}"#)
        }),
        3 => (any_path.clone(), value()).prop_map(|(p, v)| format!(r#"{{"type":"merge","path":{p},"value":{v}}}"#)),
        3 => (any_path, value()).prop_map(|(p, v)| format!(r#"{{"type":"append","path":{p},"value":{v}}}"#)),
    ]
}

fn one_by_one(stored: &str, ops: &[String]) -> Outcome {
    let mut all = Outcome { wrote: None, errors: Vec::new() };
    for (index, op) in ops.iter().enumerate() {
        let one = apply(all.wrote.as_deref().unwrap_or(stored), &format!("[{op}]"));
        all.errors.extend(one.errors.into_iter().map(|(_, code, message)| (index, code, message)));
        all.wrote = one.wrote.or(all.wrote);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn many_operations_give_what_one_after_the_other_gives(
        stored in prop_oneof![1 => Just(NOTHING.to_owned()), 8 => value()],
        ops in proptest::collection::vec(op(), 0..12),
    ) {
        let together = apply(&stored, &format!("[{}]", ops.join(",")));
        prop_assert_eq!(&together, &one_by_one(&stored, &ops));
        if let Some(text) = &together.wrote {
            prop_assert_eq!(validate(text, 120), Ok(0..text.len()));
        }
    }
}
