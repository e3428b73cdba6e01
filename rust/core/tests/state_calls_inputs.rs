//! Inputs of `state::*`: what is checked, in which order, with which texts, on both sides of every bound.
#![allow(clippy::unwrap_used)]

mod calls_support;

use calls_support::Api;

const PLACE: &str = r#""scope":"s","key":"k""#;

/// So many of an item, in brackets.
fn items(item: &str, count: usize) -> String {
    format!("[{}]", vec![item; count].join(","))
}

#[test]
fn booleans_are_true_false_or_absent() {
    let api = Api::new();
    let field = |function: &str| match function {
        "get" | "get_many" => "meta",
        _ => "durable",
    };
    for (function, data) in [
        ("get", PLACE),
        ("get_many", r#""keys":[{"scope":"s","key":"k"}]"#),
        ("delete", PLACE),
        ("update", r#""scope":"s","key":"k","ops":[]"#),
        ("delete_many", r#""keys":[{"scope":"s","key":"k"}]"#),
        ("delete_scope", r#""scope":"s""#),
        ("transact", r#""ops":[{"type":"delete","scope":"s","key":"k"}]"#),
    ] {
        let name = field(function);
        let plain = api.call(function, &format!("{{{data}}}"));
        assert!(!plain.contains("error"), "{plain}");
        for nothing in ["null", "false"] {
            api.gives(function, &format!(r#"{{{data},"{name}":{nothing}}}"#), &plain);
        }
        for (value, kind) in [("1", "number"), (r#""true""#, "string"), ("[]", "array"), ("{}", "object")] {
            let reason = format!("field `{name}`: invalid type: {kind}, expected a boolean");
            api.refuses(function, &format!(r#"{{{data},"{name}":{value}}}"#), &reason);
        }
        api.refuses(
            function,
            &format!(r#"{{{data},"{name}":true,"{name}":true}}"#),
            &format!("duplicate field `{name}`"),
        );
    }
}

#[test]
fn integers_are_digits_in_their_range() {
    for (function, data, name, least, most) in [
        ("set", r#""scope":"s","key":"k","value":1"#, "ttl_ms", 1_u64, 3_153_600_000_000_u64),
        ("set", r#""scope":"s","key":"k","value":1"#, "expires_at", 0, 9_007_199_254_740_991),
        ("update", r#""scope":"s","key":"k","ops":[]"#, "ttl_ms", 1, 3_153_600_000_000),
        ("update", r#""scope":"s","key":"k","ops":[]"#, "expires_at", 0, 9_007_199_254_740_991),
        ("compare-and-set", r#""scope":"s","key":"k","value":1"#, "ttl_ms", 1, 3_153_600_000_000),
        ("compare-and-set", r#""scope":"s","key":"k","value":1"#, "expires_at", 0, 9_007_199_254_740_991),
        ("compare-and-set", r#""scope":"s","key":"k","value":1"#, "version", 1, 9_007_199_254_740_991),
        ("list_entries", r#""scope":"s""#, "limit", 1, 1000),
        ("list_entries", r#""scope":"s""#, "max_bytes", 1, 16_000_000),
    ] {
        let with = |value: &str| format!(r#"{{{data},"{name}":{value}}}"#);
        for good in [&*least.to_string(), &*most.to_string(), "null"] {
            let answer = Api::new().call(function, &with(good));
            assert!(!answer.contains("error"), "{answer}");
        }
        let reason = format!("field `{name}`: expected an integer from {least} to {most}");
        let beyond = (most + 1).to_string();
        let below = if least == 0 { "-1" } else { "0" };
        for bad in [below, &beyond, "-0", "1.0", "1e0", "1E2", r#""1""#, "true", "[]", "{}", &"9".repeat(400)] {
            Api::new().refuses(function, &with(bad), &reason);
        }
    }
}

#[test]
fn of_two_members_that_say_the_same_one_is_given() {
    let api = Api::new();
    for (function, more) in [("set", r#""value":1"#), ("update", r#""ops":[]"#), ("compare-and-set", r#""value":1"#)] {
        let both = format!(r#"{{{PLACE},{more},"expires_at":1,"ttl_ms":1}}"#);
        api.refuses(function, &both, "fields `ttl_ms` and `expires_at`: give one of them");
        let wrong = format!(r#"{{{PLACE},{more},"expires_at":-1,"ttl_ms":1}}"#);
        api.refuses(function, &wrong, "field `expires_at`: expected an integer from 0 to 9007199254740991");
    }
    let entry = r#"{"scope":"s","entries":[{"key":"k","value":1,"ttl_ms":1,"expires_at":1}]}"#;
    api.refuses("set_many", entry, "fields `entries[0].ttl_ms` and `entries[0].expires_at`: give one of them");
    let both = format!(r#"{{{PLACE},"value":1,"version":1,"expected":null}}"#);
    api.refuses("compare-and-set", &both, "fields `expected` and `version`: give one of them");
    let ttl_later = format!(r#"{{{PLACE},"value":1,"version":1,"expected":null,"ttl_ms":0}}"#);
    api.refuses("compare-and-set", &ttl_later, "fields `expected` and `version`: give one of them");
    let version_first = format!(r#"{{{PLACE},"value":1,"version":0,"expected":null}}"#);
    api.refuses("compare-and-set", &version_first, "field `version`: expected an integer from 1 to 9007199254740991");
}

#[test]
fn arrays_of_items_have_1_to_1000() {
    for (function, array, item) in [
        ("get_many", "keys", r#"{"key":"k"}"#),
        ("delete_many", "keys", r#"{"key":"k"}"#),
        ("set_many", "entries", r#"{"key":"k","value":1}"#),
    ] {
        let api = Api::new();
        let with = |value: &str| format!(r#"{{"scope":"s","{array}":{value}}}"#);
        for good in [items(item, 1), items(item, 1000)] {
            let answer = api.call(function, &with(&good));
            assert!(!answer.contains("error"), "{answer}");
        }
        api.refuses(function, &with("[]"), &format!("field `{array}`: expected 1 to 1000 items, got 0"));
        let many = with(&items("1", 1001));
        api.refuses(function, &many, &format!("field `{array}`: expected 1 to 1000 items, got 1001"));
        api.refuses(function, r#"{"scope":"s"}"#, &format!("missing field `{array}`"));
        for (value, kind) in [("null", "null"), ("{}", "object"), (r#""[]""#, "string")] {
            api.refuses(function, &with(value), &format!("field `{array}`: invalid type: {kind}, expected an array"));
        }
    }
}

#[test]
fn items_are_read_one_after_the_other() {
    let api = Api::new();
    for (item, reason) in [
        ("1", "field `keys[1]`: invalid type: number, expected an object"),
        (r#""k""#, "field `keys[1]`: invalid type: string, expected an object"),
        ("{}", "missing field `keys[1].scope`"),
        (r#"{"scope":null,"key":"k"}"#, "missing field `keys[1].scope`"),
        (r#"{"scope":1}"#, "field `keys[1].scope`: invalid type: number, expected a string"),
        (r#"{"scope":"s"}"#, "missing field `keys[1].key`"),
        (r#"{"scope":"s","key":null}"#, "field `keys[1].key`: invalid type: null, expected a string"),
        (r#"{"scope":1,"key":"k","k\u0065y":"k"}"#, "field `keys[1].key`: duplicate"),
    ] {
        for function in ["get_many", "delete_many"] {
            let last = if function == "get_many" { "meta" } else { "durable" };
            let data = format!(r#"{{"keys":[{{"scope":"s","key":"k","x":1,"x":2}},{item},7],"{last}":1}}"#);
            api.refuses(function, &data, reason);
        }
    }
    for (item, reason) in [
        ("null", "field `entries[0]`: invalid type: null, expected an object"),
        (r#"{"value":1}"#, "missing field `entries[0].key`"),
        (r#"{"key":"k"}"#, "missing field `entries[0].value`"),
        (r#"{"key":"k","data":1}"#, "missing field `entries[0].value`"),
        (r#"{"key":"k","value":1,"value":1}"#, "field `entries[0].value`: duplicate"),
        (
            r#"{"key":"k","value":1,"ttl_ms":0,"expires_at":-1}"#,
            "field `entries[0].ttl_ms`: expected an integer from 1 to 3153600000000",
        ),
    ] {
        api.refuses("set_many", &format!(r#"{{"scope":"s","entries":[{item},7],"durable":1}}"#), reason);
    }
    api.refuses("set_many", r#"{"scope":1,"entries":7}"#, "field `scope`: invalid type: number, expected a string");
    api.refuses("get_many", r#"{"keys":1,"meta":1,"meta":2}"#, "duplicate field `meta`");
}

#[test]
fn fields_have_their_order_and_durable_is_last() {
    let api = Api::new();
    let bool_text = "field `durable`: invalid type: number, expected a boolean";
    for (function, data, reason) in [
        ("set", r#"{"durable":1}"#, "missing field `scope`"),
        ("set", r#"{"scope":"s","key":"k","ttl_ms":0,"durable":1}"#, "missing field `value`"),
        ("set", r#"{"scope":"s","key":"k","value":1,"ttl_ms":null,"durable":1}"#, bool_text),
        (
            "update",
            r#"{"scope":"s","key":"k","ops":[1],"ttl_ms":0}"#,
            "field `ops[0]`: invalid type: number, expected an object",
        ),
        ("update", r#"{"scope":"s","key":"k","ops":[],"durable":1}"#, bool_text),
        ("delete_scope", r#"{"durable":1}"#, "missing field `scope`"),
        ("list_keys", r#"{"scope":"s","prefix":1}"#, "field `prefix`: invalid type: number, expected a string"),
        ("list_entries", r#"{"prefix":1}"#, "missing field `scope`"),
        (
            "list_entries",
            r#"{"scope":"s","prefix":1,"cursor":1}"#,
            "field `prefix`: invalid type: number, expected a string",
        ),
        (
            "list_entries",
            r#"{"scope":"s","cursor":1,"limit":0}"#,
            "field `cursor`: invalid type: number, expected a string",
        ),
        (
            "list_entries",
            r#"{"scope":"s","limit":0,"max_bytes":0}"#,
            "field `limit`: expected an integer from 1 to 1000",
        ),
    ] {
        api.refuses(function, data, reason);
    }
    let ignored = r#"{"scope":"s","key":"k","durable":1,"durable":2,"ttl_ms":0,"ttl_ms":0}"#;
    api.gives("get", ignored, "nothing");
}

#[test]
fn cursors_are_those_that_were_given() {
    let api = Api::new();
    let with = |cursor: &str| format!(r#"{{"scope":"s","cursor":{cursor},"limit":0}}"#);
    for bad in [r#""""#, r#""c""#, r#""c0""#, r#""c01""#, r#""x\n""#, r#""\u0063-1""#, r#""c18446744073709551616""#] {
        let text = format!("INVALID_CURSOR: field `cursor`: {bad} is not a cursor of state::list_entries");
        api.gives("list_entries", &with(bad), &text);
    }
    for good in [r#""c1""#, r#""\u0063\u0031""#, r#""c18446744073709551615""#, "null"] {
        api.refuses("list_entries", &with(good), "field `limit`: expected an integer from 1 to 1000");
    }
}

#[test]
fn transactions_are_counted_and_read_in_order() {
    let api = Api::new();
    let (check, op) = (format!(r#"{{{PLACE},"absent":true}}"#), format!(r#"{{{PLACE},"type":"delete"}}"#));
    let with = |checks: &str, ops: &str| format!(r#"{{"checks":{checks},"ops":{ops},"durable":1}}"#);
    for (checks, ops, reason) in [
        ("1", "1", "field `checks`: invalid type: number, expected an array"),
        ("[1]", "null", "field `ops`: invalid type: null, expected an array"),
        ("[1]", "[]", "field `ops`: expected 1 to 1000 items, got 0"),
        ("[1]", "[2]", "field `checks[0]`: invalid type: number, expected an object"),
        ("null", "[2]", "field `ops[0]`: invalid type: number, expected an object"),
    ] {
        api.refuses("transact", &with(checks, ops), reason);
    }
    api.refuses("transact", r#"{"checks":[1]}"#, "missing field `ops`");
    let too_many = |count: usize| format!("fields `checks` and `ops`: expected at most 1000 items, got {count}");
    api.refuses("transact", &with(&items("1", 1), &items("1", 1000)), &too_many(1001));
    api.refuses("transact", &with(&items("1", 1001), &items("1", 1)), &too_many(1002));
    api.refuses("transact", &with("[]", &items("1", 1001)), &too_many(1001));
    let durable = "field `durable`: invalid type: number, expected a boolean";
    api.refuses("transact", &with(&items(&check, 1), &items(&op, 999)), durable);
    api.refuses("transact", &with(&items(&check, 999), &items(&op, 1)), durable);
}

#[test]
fn checks_name_a_version_or_absence() {
    let api = Api::new();
    for (item, reason) in [
        (r#"{"version":1}"#, "missing field `checks[0].scope`"),
        (r#"{"scope":"s"}"#, "missing field `checks[0].key`"),
        (r#"{"scope":"s","key":"k"}"#, "field `checks[0]`: give `version` or `absent`"),
        (r#"{"scope":"s","key":"k","absent":false}"#, "field `checks[0]`: give `version` or `absent`"),
        (r#"{"scope":"s","key":"k","absent":null,"version":null}"#, "field `checks[0]`: give `version` or `absent`"),
        (r#"{"scope":"s","key":"k","absent":true,"version":1}"#, "field `checks[0]`: give `version` or `absent`"),
        (
            r#"{"scope":"s","key":"k","absent":1,"version":0}"#,
            "field `checks[0].version`: expected an integer from 1 to 9007199254740991",
        ),
        (
            r#"{"scope":"s","key":"k","absent":1,"version":1}"#,
            "field `checks[0].absent`: invalid type: number, expected a boolean",
        ),
        (r#"{"scope":"s","key":"k","absent":true,"absent":true}"#, "field `checks[0].absent`: duplicate"),
    ] {
        api.refuses("transact", &format!(r#"{{"checks":[{item}],"ops":[1]}}"#), reason);
    }
    let good = r#"{"checks":[{"scope":"s","key":"k","absent":false,"version":1}],"ops":[1]}"#;
    api.refuses("transact", good, "field `ops[0]`: invalid type: number, expected an object");
}

#[test]
fn operations_are_read_by_their_type() {
    let api = Api::new();
    for (item, reason) in [
        (r#"{"scope":"s"}"#, "missing field `ops[1].type`"),
        (r#"{"type":1}"#, "field `ops[1].type`: invalid type: number, expected a string"),
        (r#"{"type":"\u0078"}"#, r#"field `ops[1].type`: unknown type "\u0078", expected one of set, update, delete"#),
        (r#"{"type":"set"}"#, "missing field `ops[1].scope`"),
        (r#"{"type":"set","scope":"s","key":"k","ops":[]}"#, "missing field `ops[1].value`"),
        (
            r#"{"type":"set","scope":"s","key":"k","value":1,"ttl_ms":1,"expires_at":1}"#,
            "fields `ops[1].ttl_ms` and `ops[1].expires_at`: give one of them",
        ),
        (r#"{"type":"delete","scope":"s"}"#, "missing field `ops[1].key`"),
        (r#"{"type":"delete","scope":"s","key":"k","value":1,"value":1}"#, "field `ops[1].value`: duplicate"),
        (r#"{"type":"update","scope":"s","key":"k"}"#, "missing field `ops[1].ops`"),
        (
            r#"{"type":"update","scope":"s","key":"k","ops":{}}"#,
            "field `ops[1].ops`: invalid type: object, expected an array",
        ),
        (
            r#"{"type":"update","scope":"s","key":"k","ops":[{"type":"remove","path":""},{"type":"remove"}],"ttl_ms":0}"#,
            "field `ops[1].ops[1].path`: missing",
        ),
        (
            r#"{"type":"update","scope":"s","key":"k","ops":[{"increment":{"field":"a"}}]}"#,
            "field `ops[1].ops[0].increment.by`: missing",
        ),
        (
            r#"{"type":"update","scope":"s","key":"k","ops":[],"ttl_ms":0}"#,
            "field `ops[1].ttl_ms`: expected an integer from 1 to 3153600000000",
        ),
    ] {
        let good = r#"{"type":"s\u0065t","scope":"s","key":"k","value":1}"#;
        api.refuses("transact", &format!(r#"{{"ops":[{good},{item},7]}}"#), reason);
    }
    // What another type of operation has is known, and only looked at for duplicates.
    let ops = r#"{"ops":[{"type":"delete","scope":"s","key":"k","value":1,"ops":2,"ttl_ms":0,"expires_at":"x"}]}"#;
    api.gives("transact", ops, r#"{"committed":true,"version":null,"results":[null]}"#);
}
