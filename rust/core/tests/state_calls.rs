//! `state::*` from JSON text to JSON text: results, validation, limits, events.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use iii_fast_core::codec::{Codec, Value};
use iii_fast_core::error::WireError;
use iii_fast_core::limits::SHARE_BYTES_MIN;
use iii_fast_core::log::Log;
use iii_fast_core::parts::Parts;
use iii_fast_core::state::{Quotas, State, StateCall, Stored, serve};

fn state() -> State {
    State::in_memory(4)
}

/// The JSON of `result`, or none.
fn call(state: &State, function_id: &str, data: &str) -> Result<Option<String>, WireError> {
    let call = StateCall::from_function_id(function_id).unwrap();
    let served = serve(state, call, Value::Json(data))?;
    let mut result = Vec::new();
    served.answer.write_to(Codec::Json, &mut result);
    assert_eq!(served.answer.len(Codec::Json), result.len());
    assert_eq!(served.answer.is_absent(), result.is_empty());
    Ok(Some(String::from_utf8(result).unwrap()).filter(|_| !served.answer.is_absent()))
}

#[track_caller]
fn gives(state: &State, function_id: &str, data: &str, expected: Option<&str>) {
    assert_eq!(call(state, function_id, data).unwrap().as_deref(), expected, "{function_id} {data}");
}

#[track_caller]
fn refuses(function_id: &str, data: &str, reason: &str) {
    let state = state();
    let error = call(&state, function_id, data).unwrap_err();
    assert_eq!(error.code, "deserialization_error");
    assert_eq!(error.message, format!("Failed to deserialize input for {function_id}: {reason}"), "{data}");
    assert_eq!(state.key_count(), 0);
}

#[test]
fn every_function_has_its_id_and_no_other() {
    for call in StateCall::ALL {
        assert_eq!(StateCall::from_function_id(call.function_id()), Some(call));
        let id = call.function_id();
        let [plain, escaped] = [format!("\"{id}\""), format!("\"\\u0073{}\"", &id[1..])];
        assert_eq!(StateCall::plain(Value::Json(&plain)), Some(call));
        assert_eq!(StateCall::plain(Value::Json(&escaped)), None);
        let (short, long, cut) = (vec![0xa0 | id.len() as u8], vec![0xd9, id.len() as u8], vec![0xa1 + id.len() as u8]);
        assert_eq!(StateCall::plain(Value::Msgpack(&[&short, id.as_bytes()].concat())), Some(call));
        for head in [long, cut] {
            assert_eq!(StateCall::plain(Value::Msgpack(&[&head, id.as_bytes()].concat())), None);
        }
    }
    for other in ["", "state::", "state::gets", "state:get", "get", "State::get", "state::list_group", "stream::get"] {
        assert_eq!(StateCall::from_function_id(other), None);
    }
}

#[test]
fn results_have_the_shapes_of_the_protocol() {
    let state = state();
    let key = r#"{"scope":"s","key":"k"}"#;
    gives(&state, "state::get", key, None);
    gives(&state, "state::delete", key, None);
    gives(&state, "state::list", r#"{"scope":"s"}"#, Some("[]"));
    gives(&state, "state::list_groups", "{}", Some(r#"{"groups":[]}"#));
    let set = r#"{"scope":"s","key":"k","value":{"b":1, "a":[1e2]}}"#;
    gives(&state, "state::set", set, Some(r#"{"old_value":null,"new_value":{"b":1, "a":[1e2]}}"#));
    gives(&state, "state::get", key, Some(r#"{"b":1, "a":[1e2]}"#));
    let data = r#"{"scope":"s","key":"k","data":null}"#;
    gives(&state, "state::set", data, Some(r#"{"old_value":{"b":1, "a":[1e2]},"new_value":null}"#));
    gives(&state, "state::get", key, Some("null"));
    gives(&state, "state::set", r#"{"value":2,"key":"j","scope":"s"}"#, Some(r#"{"old_value":null,"new_value":2}"#));
    gives(&state, "state::list", r#"{"scope":"s"}"#, Some("[null,2]"));
    gives(&state, "state::delete", key, Some("null"));
    gives(&state, "state::delete", key, None);
    gives(&state, "state::list", r#"{"scope":"s"}"#, Some("[2]"));
}

#[test]
fn groups_are_sorted_by_bytes_and_escaped() {
    let state = state();
    for scope in [r#""b""#, r#""""#, r#""\ud83d\ude00""#, r#""\uffee""#, r#""a\n""#, r#""B""#] {
        gives(
            &state,
            "state::set",
            &format!(r#"{{"scope":{scope},"key":"","value":1}}"#),
            Some(r#"{"old_value":null,"new_value":1}"#),
        );
    }
    let groups = "{\"groups\":[\"\",\"B\",\"a\\n\",\"b\",\"\u{ffee}\",\"😀\"]}";
    for data in ["{}", "null", r#"{"scope":1,"scope":2}"#] {
        gives(&state, "state::list_groups", data, Some(groups));
    }
    gives(&state, "state::get", "{\"scope\":\"😀\",\"key\":\"\"}", Some("1"));
}

#[test]
fn names_are_compared_unescaped() {
    let state = state();
    let set = r#"{"\u0073cope":"\u0061","k\u0065y":"\"","valu\u0065":1,"unknown":[{}],"unknown":2}"#;
    gives(&state, "state::set", set, Some(r#"{"old_value":null,"new_value":1}"#));
    gives(&state, "state::get", r#" {"scope":"a","key":"\u0022"}"#, Some("1"));
    refuses("state::get", r#"{"scope":"a","\u0073cope":"b"}"#, "duplicate field `scope`");
}

#[test]
fn fields_are_checked_in_order_with_duplicates_first() {
    for function_id in ["state::get", "state::set", "state::delete", "state::update"] {
        refuses(function_id, "{}", "missing field `scope`");
        refuses(function_id, r#"{"key":1}"#, "missing field `scope`");
        refuses(function_id, r#"{"scope":"s"}"#, "missing field `key`");
        refuses(function_id, r#"{"scope":"s","key":null}"#, "field `key`: invalid type: null, expected a string");
        refuses(function_id, r#"{"scope":1,"key":"k","key":"k"}"#, "duplicate field `key`");
    }
    for (value, kind) in
        [("null", "null"), ("true", "boolean"), ("-1.5", "number"), ("[]", "array"), (r#"{"a":1}"#, "object")]
    {
        let reason = format!("field `scope`: invalid type: {kind}, expected a string");
        refuses("state::list", &format!(r#"{{"scope":{value}}}"#), &reason);
    }
    refuses("state::list", "{}", "missing field `scope`");
    refuses("state::set", r#"{"scope":"s","key":"k"}"#, "missing field `value`");
    for both in [r#""value":1,"data":2"#, r#""data":1,"value":2"#, r#""data":1,"data":2"#] {
        refuses("state::set", &format!(r#"{{"scope":"s","key":"k",{both}}}"#), "duplicate field `value`");
    }
    refuses("state::update", r#"{"scope":"s","key":"k"}"#, "missing field `ops`");
    let ops_null = r#"{"scope":"s","key":"k","ops":null}"#;
    refuses("state::update", ops_null, "field `ops`: invalid type: null, expected an array");
    let get = r#"{"scope":"s","key":"k","value":1,"value":2,"data":3,"ops":1,"ops":2}"#;
    gives(&state(), "state::get", get, None);
}

#[test]
fn the_input_must_be_one_object() {
    for call in StateCall::ALL {
        for (data, kind) in
            [("null", "null"), ("true", "boolean"), ("1", "number"), ("\"s\"", "string"), ("[]", "array")]
        {
            if call == StateCall::ListGroups && data == "null" {
                continue;
            }
            refuses(call.function_id(), data, &format!("invalid type: {kind}, expected an object"));
        }
    }
    refuses("state::get", r#"{"scope":"s","key":NaN}"#, "Invalid JSON at byte 19: NaN is not a JSON value");
    refuses("state::get", r#"{"scope":"s","key":"k"} x"#, "Invalid JSON at byte 24: characters after the value");
}

#[test]
fn a_value_over_the_limit_is_not_written() {
    let quotas = Quotas { value_bytes_max: Some(6), ..Quotas::default() };
    let state = State::new(1, quotas, Arc::new(Log::new(0)));
    let set = |value: &str| call(&state, "state::set", &format!(r#"{{"scope":"s","key":"k","value":{value}}}"#));
    assert!(set("\"1234\"").is_ok());
    let error = set("\"12345\"").unwrap_err();
    assert_eq!(error.code, "VALUE_TOO_LARGE");
    assert_eq!(error.message, "value of 7 bytes exceeds the configured max_value_bytes limit of 6");
    let push = r#"{"scope":"s","key":"k","ops":[{"type":"set","path":"","value":"12345"}]}"#;
    assert_eq!(call(&state, "state::update", push).unwrap_err(), error);
    assert_eq!(state.get("s", "k").unwrap().bytes(), b"\"1234\"");
    assert_eq!(state.entry("s", "k").unwrap().version, 1);
}

#[test]
fn a_served_call_says_what_it_did() {
    let state = state();
    state.watch(Some("s"));
    let did = |function_id: &str, data: &str| {
        let served = serve(&state, StateCall::from_function_id(function_id).unwrap(), Value::Json(data)).unwrap();
        (served.receipt.is_some(), served.noted)
    };
    let key = r#"{"scope":"s","key":"k"}"#;
    let update = |ops: &str| did("state::update", &format!(r#"{{"scope":"s","key":"k","ops":{ops}}}"#));
    assert_eq!(did("state::get", key), (false, false));
    assert_eq!(did("state::delete", key), (false, false));
    assert_eq!(update("[]"), (false, false));
    assert_eq!(update(r#"[{"type":"remove","path":"a"}]"#), (false, false));
    assert_eq!(update(r#"[{"type":"set","path":"a"}]"#), (true, true));
    assert_eq!(did("state::set", r#"{"scope":"s","key":"k","value":1}"#), (true, true));
    assert_eq!(did("state::set", r#"{"scope":"other","key":"k","value":1}"#), (true, false));
    assert_eq!(did("state::list", r#"{"scope":"s"}"#), (false, false));
    assert_eq!(did("state::list_groups", "{}"), (false, false));
    assert_eq!(did("state::delete", key), (true, true));
    assert_eq!(did("state::delete", key), (false, false));
    assert_eq!(state.changes_waiting(), 3);
}

#[test]
fn changes_become_events() {
    let state = state();
    state.watch(None);
    let scope = "a\"\u{1}";
    for value in ["1", "null"] {
        state.set(scope, "kéy", Stored::new(value), None).unwrap();
    }
    state.set(scope, "kéy", Stored::new("[2]"), None).unwrap();
    state.delete(scope, "kéy").unwrap();
    state.delete(scope, "kéy").unwrap();
    let mut changes = Vec::new();
    state.take_changes(&mut changes);
    let event = |event_type: &str, old: &str, new: &str| {
        let name = r#""scope":"a\"\u0001","key":"kéy""#;
        format!(r#"{{"type":"state","event_type":"state:{event_type}",{name},"old_value":{old},"new_value":{new}}}"#)
    };
    let expected = [
        event("created", "null", "1"),
        event("updated", "1", "null"),
        event("updated", "null", "[2]"),
        event("deleted", "[2]", "null"),
    ];
    let written = changes.iter().map(|change| {
        let mut out = Vec::new();
        change.write_event(&mut out);
        String::from_utf8(out).unwrap()
    });
    assert_eq!(written.collect::<Vec<_>>(), expected);
}

/// Tells apart what is copied and what is shared.
#[derive(Default)]
struct Record(Vec<(bool, usize)>);

impl Parts for Record {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0.push((false, bytes.len()));
    }
    fn shared(&mut self, bytes: &Arc<[u8]>, from: usize) {
        self.0.push((true, bytes.len() - from));
    }
}

#[test]
fn large_values_are_shared_with_the_reply() {
    let state = state();
    for (len, shared) in [(SHARE_BYTES_MIN - 1, false), (SHARE_BYTES_MIN, true)] {
        state.set("s", "k", Stored::new(&"1".repeat(len)), None).unwrap();
        let mut record = Record::default();
        serve(&state, StateCall::Get, Value::Json(r#"{"scope":"s","key":"k"}"#))
            .unwrap()
            .answer
            .write_to(Codec::Json, &mut record);
        assert_eq!(record.0, [(shared, len)]);
    }
}
