//! Answers of `state::*` beyond get and set: shapes, versions, pages, expiry, transactions, quotas, failures.
#![allow(clippy::unwrap_used)]

mod calls_support;

use std::sync::Arc;

use calls_support::{Api, NOW};
use iii_fast_core::codec::{Codec, Value};
use iii_fast_core::limits::SHARE_BYTES_MIN;
use iii_fast_core::parts::Parts;
use iii_fast_core::state::{Quotas, StateCall, serve};

const KEY: &str = r#"{"scope":"s","key":"k"}"#;

fn set(api: &Api, scope: &str, key: &str, value: &str) {
    let answer = api.call("set", &format!(r#"{{"scope":"{scope}","key":"{key}","value":{value}}}"#));
    assert!(answer.starts_with(r#"{"old_value""#), "{answer}");
}

#[test]
fn get_with_meta_tells_version_and_expiry() {
    let api = Api::new();
    let meta = r#"{"scope":"s","key":"k","meta":true}"#;
    api.gives("get", meta, "nothing");
    set(&api, "s", "k", "null");
    api.gives("get", meta, r#"{"value":null,"version":1,"expires_at":null}"#);
    api.call("set", r#"{"scope":"s","key":"k","value":[1 ],"expires_at":1001}"#);
    api.gives("get", meta, r#"{"value":[1 ],"version":2,"expires_at":1001}"#);
    api.0.advance_clock(NOW + 1);
    api.gives("get", meta, "nothing");
    api.gives("get", KEY, "nothing");
}

#[test]
fn times_to_live_become_instants() {
    let api = Api::new();
    let meta = r#"{"scope":"s","key":"k","meta":true}"#;
    let call = |function: &str, more: &str| api.call(function, &format!(r#"{{"scope":"s","key":"k",{more}}}"#));
    call("set", r#""value":1,"ttl_ms":3153600000000"#);
    api.gives("get", meta, r#"{"value":1,"version":1,"expires_at":3153600001000}"#);
    call("update", r#""ops":[{"type":"increment","path":"","by":1}]"#);
    api.gives("get", meta, r#"{"value":2,"version":2,"expires_at":3153600001000}"#);
    call("update", r#""ops":[{"type":"increment","path":"","by":1}],"expires_at":1010"#);
    api.gives("get", meta, r#"{"value":3,"version":3,"expires_at":1010}"#);
    call("update", r#""ops":[],"ttl_ms":500"#);
    api.gives("get", meta, r#"{"value":3,"version":3,"expires_at":1010}"#);
    call("compare-and-set", r#""value":4,"version":3,"ttl_ms":1"#);
    api.gives("get", meta, r#"{"value":4,"version":4,"expires_at":1001}"#);
    call("set", r#""value":5"#);
    api.gives("get", meta, r#"{"value":5,"version":5,"expires_at":null}"#);
    // The time has passed: written, and gone.
    assert_eq!(call("set", r#""value":6,"expires_at":1000"#), r#"{"old_value":5,"new_value":6}"#);
    api.gives("get", meta, "nothing");
    assert_eq!(call("set", r#""value":7"#), r#"{"old_value":null,"new_value":7}"#);
    api.gives("get", meta, r#"{"value":7,"version":8,"expires_at":null}"#);
}

#[test]
fn many_keys_are_read_at_once() {
    let api = Api::new();
    set(&api, "s", "k", "null");
    set(&api, "t", "l", r#"{"a":1}"#);
    let keys = r#""keys":[{"key":"k"},{"scope":"t","key":"l"},{"key":"l"},{"key":"k","scope":null}]"#;
    api.gives("get_many", &format!(r#"{{"scope":"s",{keys}}}"#), r#"{"values":[null,{"a":1},null,null]}"#);
    let one = r#"{"value":null,"version":1,"expires_at":null}"#;
    let expected = format!(r#"{{"entries":[{one},{{"value":{{"a":1}},"version":2,"expires_at":null}},null,{one}]}}"#);
    api.gives("get_many", &format!(r#"{{"scope":"s","meta":true,{keys}}}"#), &expected);
    api.gives("get_many", r#"{"keys":[{"scope":"t","key":"l"}]}"#, r#"{"values":[{"a":1}]}"#);
}

#[test]
fn keys_come_in_insertion_order() {
    let api = Api::new();
    for key in ["b", "a\\n", "ab", "é", "a"] {
        set(&api, "s", key, "1");
    }
    set(&api, "s", "b", "2");
    api.gives("list_keys", r#"{"scope":"s"}"#, r#"{"keys":["b","a\n","ab","é","a"]}"#);
    api.gives("list_keys", r#"{"scope":"s","prefix":"\u0061"}"#, r#"{"keys":["a\n","ab","a"]}"#);
    api.gives("list_keys", r#"{"scope":"s","prefix":"\u00e9"}"#, r#"{"keys":["é"]}"#);
    api.gives("list_keys", r#"{"scope":"s","prefix":null}"#, r#"{"keys":["b","a\n","ab","é","a"]}"#);
    api.gives("list_keys", r#"{"scope":"s","prefix":"x"}"#, r#"{"keys":[]}"#);
    api.gives("list_keys", r#"{"scope":"none"}"#, r#"{"keys":[]}"#);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let api = Api::new();
    for key in ["a", "b", "\\\"", "c"] {
        set(&api, "s", key, "1");
    }
    let all = r#"{"entries":[["a",1],["b",1],["\"",1],["c",1]],"next_cursor":null,"done":true,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s"}"#, all);
    api.gives("list_entries", r#"{"scope":"s","limit":4}"#, all);
    let two = r#"{"entries":[["a",1],["b",1]],"next_cursor":"c2","done":false,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s","limit":2}"#, two);
    let rest = r#"{"entries":[["\"",1],["c",1]],"next_cursor":null,"done":true,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s","cursor":"c2"}"#, rest);
    let behind = r#"{"entries":[],"next_cursor":null,"done":true,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s","cursor":"c4"}"#, behind);
    let none = r#"{"entries":[],"next_cursor":null,"done":true,"total":0}"#;
    api.gives("list_entries", r#"{"scope":"none","cursor":"c18446744073709551615"}"#, none);
    let prefixed = r#"{"entries":[["b",1]],"next_cursor":null,"done":true,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s","prefix":"b"}"#, prefixed);
    // Two rows of 7 bytes and a comma.
    api.gives("list_entries", r#"{"scope":"s","max_bytes":15}"#, two);
    let one = r#"{"entries":[["a",1]],"next_cursor":"c1","done":false,"total":4}"#;
    api.gives("list_entries", r#"{"scope":"s","max_bytes":14}"#, one);
    api.gives("list_entries", r#"{"scope":"s","max_bytes":7}"#, one);
    let too_large = r#"ROW_TOO_LARGE: entry "a" has 7 bytes, field `max_bytes` is 6"#;
    api.gives("list_entries", r#"{"scope":"s","max_bytes":6}"#, too_large);
    let escaped = r#"ROW_TOO_LARGE: entry "\"" has 8 bytes, field `max_bytes` is 7"#;
    api.gives("list_entries", r#"{"scope":"s","cursor":"c2","max_bytes":7}"#, escaped);
}

#[test]
fn a_page_has_100_entries_and_a_million_bytes_if_nothing_is_said() {
    let api = Api::new();
    for key in 0..101 {
        set(&api, "s", &format!("k{key:03}"), "1");
    }
    assert!(
        api.call("list_entries", r#"{"scope":"s"}"#).ends_with(r#""next_cursor":"c100","done":false,"total":101}"#)
    );
    set(&api, "t", "a", &format!("\"{}\"", "x".repeat(499_990)));
    set(&api, "t", "b", &format!("\"{}\"", "x".repeat(499_993)));
    assert!(api.call("list_entries", r#"{"scope":"t"}"#).ends_with(r#""done":true,"total":2}"#));
    set(&api, "t", "b", &format!("\"{}\"", "x".repeat(499_994)));
    assert!(api.call("list_entries", r#"{"scope":"t"}"#).ends_with(r#""done":false,"total":2}"#));
}

/// The lengths of what is shared.
#[derive(Default)]
struct Shared(Vec<usize>);

impl Parts for Shared {
    fn bytes(&mut self, _: &[u8]) {}
    fn shared(&mut self, bytes: &Arc<[u8]>, from: usize) {
        self.0.push(bytes.len() - from);
    }
}

#[test]
fn large_values_are_shared_with_every_answer() {
    let api = Api::new();
    let large = "1".repeat(SHARE_BYTES_MIN);
    set(&api, "s", "k", &large);
    let ops = format!(r#"{{"ops":[{{"type":"set","scope":"s","key":"k","value":{large}}}]}}"#);
    let swap = format!(r#"{{"scope":"s","key":"k","value":1,"expected":{large}1}}"#);
    for (function, data, times) in [
        ("list_entries", r#"{"scope":"s"}"#, 1),
        ("get", r#"{"scope":"s","key":"k","meta":true}"#, 1),
        ("get_many", r#"{"keys":[{"scope":"s","key":"k"}]}"#, 1),
        ("get_many", r#"{"keys":[{"scope":"s","key":"k"}],"meta":true}"#, 1),
        ("compare-and-set", &swap, 1),
        ("transact", &ops, 2),
    ] {
        let mut shared = Shared::default();
        api.serve(function, data).unwrap().answer.write_to(Codec::Json, &mut shared);
        assert_eq!(shared.0, vec![large.len(); times], "{function}");
    }
}

#[test]
fn large_values_in_msgpack_are_shared_without_what_marks_them() {
    let api = Api::new();
    let large = [b"\xc5\xff\xff".as_slice(), &vec![7; 0xffff]].concat();
    let data = [b"\x83\xa5scope\xa1s\xa3key\xa1k\xa5value".as_slice(), &large].concat();
    serve(&api.0, StateCall::Set, Value::Msgpack(&data)).unwrap();
    let place = Value::Msgpack(b"\x82\xa5scope\xa1s\xa3key\xa1k");
    let answer = serve(&api.0, StateCall::Get, place).unwrap().answer;
    let (mut shared, mut bytes) = (Shared::default(), Vec::new());
    answer.write_to(Codec::Msgpack, &mut shared);
    answer.write_to(Codec::Msgpack, &mut bytes);
    assert_eq!((shared.0, bytes.len()), (vec![large.len()], answer.len(Codec::Msgpack)));
    assert!(bytes == large);
}

#[test]
fn compare_and_set_writes_when_it_finds_what_is_expected() {
    let api = Api::new();
    let swap = |more: &str, expected: &str| {
        api.gives("compare-and-set", &format!(r#"{{"scope":"s","key":"k",{more}}}"#), expected);
    };
    swap(r#""value":0,"expected":null"#, r#"{"swapped":false,"current":null,"version":null}"#);
    swap(r#""value":0,"version":1"#, r#"{"swapped":false,"current":null,"version":null}"#);
    swap(r#""value":{"a":1}"#, r#"{"swapped":true,"current":{"a":1},"version":1}"#);
    swap(r#""value":2,"version":null"#, r#"{"swapped":false,"current":{"a":1},"version":1}"#);
    swap(r#""value":2,"version":2"#, r#"{"swapped":false,"current":{"a":1},"version":1}"#);
    swap(r#""value":null,"version":1"#, r#"{"swapped":true,"current":null,"version":2}"#);
    swap(r#""value":[1,{"x":2}],"expected":null"#, r#"{"swapped":true,"current":[1,{"x":2}],"version":3}"#);
    swap(r#""value":4,"expected":[1.0,{"\u0078":20e-1}]"#, r#"{"swapped":true,"current":4,"version":4}"#);
    swap(r#""value":5,"expected":4,"expires_at":1000"#, r#"{"swapped":true,"current":null,"version":null}"#);
    swap(r#""value":6,"ttl_ms":1"#, r#"{"swapped":true,"current":6,"version":7}"#);
    api.0.advance_clock(NOW + 1);
    swap(r#""value":7,"version":7"#, r#"{"swapped":false,"current":null,"version":null}"#);
    swap(r#""value":7"#, r#"{"swapped":true,"current":7,"version":9}"#);
}

#[test]
fn many_are_written_and_removed_together() {
    let api = Api::new();
    let entries =
        r#"{"scope":"s","entries":[{"key":"a","value":1},{"scope":"t","key":"a","value":2},{"key":"a","value":3}]}"#;
    api.gives("set_many", entries, r#"{"written":3,"version":3}"#);
    api.gives("get", r#"{"scope":"s","key":"a","meta":true}"#, r#"{"value":3,"version":3,"expires_at":null}"#);
    api.gives("get", r#"{"scope":"t","key":"a","meta":true}"#, r#"{"value":2,"version":3,"expires_at":null}"#);
    let keys = r#"{"keys":[{"scope":"s","key":"a"},{"scope":"s","key":"a"},{"scope":"t","key":"b"}]}"#;
    api.gives("delete_many", keys, r#"{"deleted":1,"version":4}"#);
    api.gives("delete_many", keys, r#"{"deleted":0,"version":null}"#);
    set(&api, "t", "b", "1");
    api.gives("delete_scope", r#"{"scope":"t"}"#, r#"{"deleted":2,"version":6}"#);
    api.gives("delete_scope", r#"{"scope":"t"}"#, r#"{"deleted":0,"version":null}"#);
    api.gives("list_groups", "{}", r#"{"groups":[]}"#);
}

#[test]
fn transactions_do_everything_or_nothing() {
    let api = Api::new();
    set(&api, "s", "k", r#"{"n":1}"#);
    let ops = r#""ops":[{"type":"set","scope":"s","key":"l","value":[1]},{"type":"update","scope":"s","key":"k",
        "ops":[{"type":"increment","path":"n","by":1}]},{"type":"delete","scope":"s","key":"l"},
        {"type":"delete","scope":"s","key":"l"},{"type":"update","scope":"s","key":"x","ops":[]}]"#;
    let with = |checks: &str| format!(r#"{{"checks":{checks},{ops}}}"#);
    let failed = r#"{"committed":false,"failed_check":{"index":1,"scope":"s\n","key":"k","version":null}}"#;
    let checks = r#"[{"scope":"s","key":"k","version":1},{"scope":"s\n","key":"\u006b","version":1}]"#;
    api.gives("transact", &with(checks), failed);
    let failed = r#"{"committed":false,"failed_check":{"index":0,"scope":"s","key":"k","version":1}}"#;
    api.gives("transact", &with(r#"[{"scope":"s","key":"k","absent":true}]"#), failed);
    let results = concat!(
        r#"[{"old_value":null,"new_value":[1]},{"old_value":{"n":1},"new_value":{"n":2}},[1],null,"#,
        r#"{"old_value":null,"new_value":null}]"#,
    );
    let done = &format!(r#"{{"committed":true,"version":4,"results":{results}}}"#);
    api.gives(
        "transact",
        &with(r#"[{"scope":"s","key":"k","version":1},{"scope":"s","key":"l","absent":true}]"#),
        done,
    );
    api.gives("get", r#"{"scope":"s","key":"k","meta":true}"#, r#"{"value":{"n":2},"version":4,"expires_at":null}"#);
    let nothing = r#"{"ops":[{"type":"delete","scope":"s","key":"l"}]}"#;
    api.gives("transact", nothing, r#"{"committed":true,"version":null,"results":[null]}"#);
    let failing = r#"[{"type":"remove","path":"a"},{"type":"increment","path":"","by":1},{"type":"set","path":"\""}]"#;
    let update = format!(r#"{{"type":"update","scope":"s","key":"k","ops":{failing}}}"#);
    let fails = format!(r#"{{"ops":[{{"type":"set","scope":"s","key":"k","value":1}},{update}]}}"#);
    let error = |index: usize, op: &str, path: &str| {
        let message = format!("Cannot {op} at path '{path}': target is number, expected object.");
        let url = "https://iii.dev/docs/workers/iii-state#error-codes";
        let code = format!("{op}.target_not_object");
        format!(r#"{{"op_index":{index},"code":"{code}","message":"{message}","doc_url":"{url}"}}"#)
    };
    let errors = format!("[{},{}]", error(0, "remove", "a"), error(2, "set", "\\\""));
    let failed = format!(r#"{{"committed":false,"failed_op":{{"index":1,"scope":"s","key":"k","errors":{errors}}}}}"#);
    api.gives("transact", &fails, &failed);
    api.gives("get", KEY, r#"{"n":2}"#);
}

#[test]
fn receipts_name_the_write_and_whether_it_must_be_durable() {
    let api = Api::journaled();
    let receipt = |function: &str, data: &str| {
        api.serve(function, data).unwrap().receipt.map(|receipt| (receipt.position, receipt.durable))
    };
    assert_eq!(receipt("set", r#"{"scope":"s","key":"k","value":1}"#), Some((1, false)));
    assert_eq!(receipt("set", r#"{"scope":"s","key":"k","value":1,"durable":true}"#), Some((2, true)));
    let ops = r#"[{"type":"increment","path":"","by":1}]"#;
    let update = format!(r#"{{"scope":"s","key":"k","ops":{ops},"durable":true}}"#);
    assert_eq!(receipt("update", &update), Some((3, true)));
    assert_eq!(receipt("update", r#"{"scope":"s","key":"k","ops":[],"durable":true}"#), None);
    assert_eq!(receipt("compare-and-set", r#"{"scope":"s","key":"k","value":1,"durable":true}"#), None);
    let swap = r#"{"scope":"s","key":"k","value":1,"version":3,"durable":true}"#;
    assert_eq!(receipt("compare-and-set", swap), Some((4, true)));
    let many = r#"{"scope":"s","entries":[{"key":"a","value":1},{"key":"b","value":1}],"durable":true}"#;
    assert_eq!(receipt("set_many", many), Some((6, true)));
    assert_eq!(receipt("delete_many", r#"{"scope":"s","keys":[{"key":"a"}],"durable":true}"#), Some((7, true)));
    let transact = r#"{"ops":[{"type":"delete","scope":"s","key":"b"}],"durable":true}"#;
    assert_eq!(receipt("transact", transact), Some((8, true)));
    assert_eq!(receipt("transact", transact), None);
    assert_eq!(receipt("delete", r#"{"scope":"s","key":"k","durable":true}"#), Some((9, true)));
    assert_eq!(receipt("delete", r#"{"scope":"s","key":"k","durable":true}"#), None);
    assert_eq!(receipt("delete_scope", r#"{"scope":"s","durable":true}"#), None);
    assert_eq!(receipt("get", KEY), None);
}

/// Every function that writes, with an input that changes something.
const WRITES: [(&str, &str); 8] = [
    ("set", r#""scope":"s","key":"n","value":1"#),
    ("delete", r#""scope":"s","key":"k""#),
    ("update", r#""scope":"s","key":"k","ops":[{"type":"set","path":"","value":2}]"#),
    ("compare-and-set", r#""scope":"s","key":"n","value":2"#),
    ("set_many", r#""scope":"s","entries":[{"key":"n","value":1}]"#),
    ("delete_many", r#""scope":"s","keys":[{"key":"k"}]"#),
    ("delete_scope", r#""scope":"s""#),
    ("transact", r#""ops":[{"type":"delete","scope":"s","key":"k"}]"#),
];

#[test]
fn durability_is_not_promised_without_files() {
    let text = concat!(
        "DURABILITY_UNAVAILABLE: field `durable`: this engine keeps state in memory only; ",
        "configure store_method file_based",
    );
    for (function, data) in WRITES {
        let api = Api::new();
        set(&api, "s", "k", "1");
        api.gives(function, &format!(r#"{{{data},"durable":true}}"#), text);
        assert_eq!(api.0.log().last(), 1, "{function}");
        assert!(
            api.serve(function, &format!(r#"{{{data},"durable":false}}"#)).unwrap().receipt.is_some(),
            "{function}"
        );
    }
}

#[test]
fn nothing_is_written_after_a_failure_of_the_disk() {
    let text = concat!(
        "STORAGE_FAILED: state is read-only since a write to its files failed: no space; ",
        "free the disk or replace it, then restart the engine",
    );
    for (function, data) in WRITES {
        let api = Api::journaled();
        set(&api, "s", "k", "1");
        api.0.log().fail("no space");
        api.gives(function, &format!("{{{data}}}"), text);
        api.gives(function, &format!(r#"{{{data},"durable":true}}"#), text);
        assert_eq!(api.0.log().last(), 1, "{function}");
        api.gives("get", KEY, "1");
    }
    let api = Api::journaled();
    api.0.log().fail("no space");
    for (function, data) in [("delete", KEY), ("update", r#"{"scope":"s","key":"k","ops":[]}"#)] {
        api.gives(function, data, text); // also when there would be nothing to write
    }
}

#[test]
fn quotas_refuse_on_both_sides_of_their_bounds() {
    let bytes = |key, scope, total| Quotas {
        key_bytes_max: key,
        value_bytes_max: None,
        scope_bytes_max: scope,
        total_bytes_max: total,
    };
    let write = |quotas: Quotas, scope: &str, key: &str, value: &str| {
        let api = Api::with(quotas);
        let transact = format!(r#"{{"ops":[{{"type":"set","scope":"{scope}","key":"{key}","value":{value}}}]}}"#);
        let transacted = api.call("transact", &transact);
        let set = Api::with(quotas).call("set", &format!(r#"{{"scope":"{scope}","key":"{key}","value":{value}}}"#));
        assert_eq!(transacted.starts_with('{'), set.starts_with('{'));
        if set.starts_with('{') {
            "written".to_owned()
        } else {
            assert_eq!(transacted, set);
            set
        }
    };
    let keys = bytes(Some(3), None, None);
    assert_eq!(write(keys, "abc", "é1", "1"), "written");
    let text = "KEY_TOO_LARGE: scope of 4 bytes exceeds the configured max_key_bytes limit of 3";
    assert_eq!(write(keys, "abcd", "long", "1"), text);
    let text = "KEY_TOO_LARGE: key of 4 bytes exceeds the configured max_key_bytes limit of 3";
    assert_eq!(write(keys, "abc", "éé", "1"), text);
    let scope = bytes(None, Some(5), None);
    assert_eq!(write(scope, "long name", "k", "1234"), "written");
    let text = "SCOPE_FULL: scope \"\\n\" would have 6 bytes, the configured max_scope_bytes limit is 5";
    assert_eq!(write(scope, "\\n", "k", "12345"), text);
    let total = bytes(None, None, Some(6));
    assert_eq!(write(total, "s", "k", "1234"), "written");
    let text = "STATE_FULL: state would have 7 bytes, the configured max_total_bytes limit is 6";
    assert_eq!(write(total, "s", "k", "12345"), text);
}
