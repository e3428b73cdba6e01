//! The input of a state call is understood alike whether it was looked into when its message was read or is read by itself.
#![allow(clippy::unwrap_used)]

mod calls_support;

use calls_support::Api;
use iii_fast_core::codec::{Codec, Value};
use iii_fast_core::limits::Limits;
use iii_fast_core::loopback::Loopback;
use iii_fast_core::reply::error_json;
use iii_fast_core::state::{StateCall, serve};
use iii_fast_core::ws;
use proptest::prelude::*;

const ID: &str = "6b5e0000-0000-4000-8000-000000000001";

fn ids(function: &str) -> String {
    format!(r#""invocation_id":"{ID}","function_id":"{function}""#)
}

fn answer(opcode: u8, message: &[u8]) -> Vec<u8> {
    let mut core = Loopback::new(Limits::default());
    let session = core.connect();
    core.take(session);
    core.receive(session, opcode, message);
    let bytes = core.take(session);
    let (payload, rest) = ws::split_frame(&bytes).unwrap();
    assert!(rest.is_empty());
    payload.to_vec()
}

/// What follows the ids in the reply to a message with these members.
fn in_message(function: &str, members: &str) -> String {
    let ids = ids(function);
    let message = format!(r#"{{"type":"invokefunction",{members},{ids}}}"#);
    let reply = String::from_utf8(answer(ws::OPCODE_TEXT, message.as_bytes())).unwrap();
    let in_msgpack = answer(ws::OPCODE_BINARY, &Value::Json(&message).to_msgpack().unwrap());
    let in_msgpack = Value::Msgpack(&in_msgpack).to_json().unwrap();
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(value(&reply), value(&in_msgpack), "{message}");
    reply.strip_prefix(&format!(r#"{{"type":"invocationresult",{ids}"#)).unwrap().to_owned()
}

/// The same of that input alone.
fn alone(function: &str, data: &str) -> String {
    let api = Api::new();
    let call = StateCall::from_function_id(function).unwrap();
    match serve(&api.0, call, Value::Json(data)) {
        Ok(served) if served.answer.is_absent() => "}".to_owned(),
        Ok(served) => {
            let mut result = Vec::new();
            served.answer.write_to(Codec::Json, &mut result);
            format!(r#","result":{}}}"#, String::from_utf8(result).unwrap())
        }
        Err(error) => format!(r#","error":{}}}"#, String::from_utf8(error_json(&error)).unwrap()),
    }
}

#[track_caller]
fn same(function: &str, members: &str, data: &str) {
    assert_eq!(in_message(function, members), alone(function, data), "{function} {members}");
}

#[test]
fn any_input_means_the_same_in_its_message() {
    for data in [
        r#"{"scope":"s","key":"k","value":1}"#,
        "{ \"scope\" : \"s\" ,\t\"key\":\"k\",\n\"value\" : [ 1 , {} ] }",
        r#"{}"#,
        r#"{"scope":"s"}"#,
        r#"{"scope":"s","scope":"s","key":"k","value":1}"#,
        r#"{"sc\u006fpe":"s","key":"k","value":1}"#,
        r#"{"scope":"s","sc\u006fpe":"s","key":"k","value":1}"#,
        r#"{"scope":"\u0073","key":"k\"\\","value":"\n"}"#,
        r#"{"scope":"s","key":"k","value":1,"ttl_ms":5,"durable":false,"more":{"scope":2}}"#,
        r#"{"a":1,"b":2,"c":3,"d":4,"scope":"s","key":"k","value":1}"#,
        r#"{"scope":1,"key":"k","value":1}"#,
        r#"{"scope":null,"key":"k","value":1}"#,
        r#"{"":0,"é":0,"scope":"é","key":"","value":null}"#,
        "null",
        "[]",
        "7",
    ] {
        for function in ["state::set", "state::get", "state::delete", "state::list"] {
            same(function, &format!(r#""data":{data}"#), data);
        }
    }
}

#[test]
fn of_several_inputs_the_last_counts_however_its_name_is_written() {
    let (one, other) = (r#"{"scope":"s","key":"k","value":1}"#, r#"{"scope":"t","key":"k","value":2}"#);
    for (members, data) in [
        (format!(r#""data":{one},"data":{other}"#), other),
        (format!(r#""data":{one},"data":null"#), "null"),
        (format!(r#""data":{one},"data":[1]"#), "[1]"),
        (format!(r#""data":{one},"d\u0061ta":{other}"#), other),
        (format!(r#""data":{one},"d\u0061ta":null"#), "null"),
        (format!(r#""d\u0061ta":{one},"data":{other}"#), other),
        (format!(r#""d\u0061ta":{one}"#), one),
        (format!(r#""metadata":{other},"data":{one},"metadata":{other}"#), one),
        (format!(r#""data":{one},"m\u0065tadata":{other}"#), one),
    ] {
        for function in ["state::set", "state::get"] {
            same(function, &members, data);
        }
    }
}

fn member() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("scope"),
        Just("key"),
        Just("value"),
        Just("data"),
        Just("meta"),
        Just("ttl_ms"),
        Just(r"k\u0065y"),
        Just("other"),
    ];
    let value = prop_oneof![
        4 => Just(r#""text""#),
        1 => Just(r#""\u0074ext""#),
        1 => Just("true"),
        1 => Just("5"),
        1 => Just("null"),
        1 => Just(r#"{"scope":"s"}"#)
    ];
    (name, value).prop_map(|(name, value)| format!(r#""{name}":{value}"#))
}

proptest! {
    #[test]
    fn members_of_any_kind_and_number_are_understood_alike(members in prop::collection::vec(member(), 0..7)) {
        let data = format!("{{{}}}", members.join(","));
        for function in ["state::set", "state::get"] {
            prop_assert_eq!(in_message(function, &format!(r#""data":{data}"#)), alone(function, &data), "{}", data);
        }
    }
}
