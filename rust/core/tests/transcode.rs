//! From one codec to the other: what comes over, what cannot, and where that is.
#![allow(clippy::unwrap_used)]

use iii_fast_core::codec::transcode::{to_json, to_msgpack};

#[track_caller]
fn both(msgpack: &[u8], json: &str) {
    to_json_gives(msgpack, json);
    assert_eq!(to_msgpack(json).as_deref(), Ok(msgpack), "{json}");
}

#[track_caller]
fn to_json_gives(msgpack: &[u8], json: &str) {
    assert_eq!(to_json(msgpack).as_deref(), Ok(json), "{msgpack:x?}");
}

#[track_caller]
fn no_json(msgpack: &[u8], text: &str) {
    assert_eq!(to_json(msgpack).unwrap_err().within("data").to_string(), text, "{msgpack:x?}");
}

#[track_caller]
fn no_msgpack(json: &str, text: &str) {
    assert_eq!(to_msgpack(json).unwrap_err().within("result").to_string(), text, "{json}");
}

#[test]
fn what_both_have_goes_to_and_fro() {
    both(&[0xc0], "null");
    both(&[0xc2], "false");
    both(&[0xc3], "true");
    both(&[0x05], "5");
    both(&[0xff], "-1");
    both(&[0xcf, 255, 255, 255, 255, 255, 255, 255, 255], "18446744073709551615");
    both(&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808");
    both(&[0xcb, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5");
    both(&[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0], "-0.0");
    both(&[0xa3, b'"', b'\\', b'\n'], r#""\"\\\n""#);
    both(&[0xa2, 0xc3, 0xa9], "\"é\"");
    both(&[0x90], "[]");
    both(&[0x80], "{}");
    both(&[0x93, 1, 0x91, 0x80, 0xa0], r#"[1,[{}],""]"#);
    // Order and duplicates stay.
    both(&[0x83, 0xa1, b'b', 1, 0xa1, b'a', 2, 0xa1, b'b', 3], r#"{"b":1,"a":2,"b":3}"#);
    let long: Vec<u8> = [&[0xdc, 0, 16][..], &[7; 16]].concat();
    both(&long, "[7,7,7,7,7,7,7,7,7,7,7,7,7,7,7,7]");
}

#[test]
fn spellings_become_the_shortest() {
    for (json, msgpack) in [
        ("-0", &[0xcb, 0x80, 0, 0, 0, 0, 0, 0, 0][..]),
        ("1.0", &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("1e0", &[0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0]),
        ("1e-400", &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0]),
        (" [ 1 , { \"\\u0061\\ud83d\\ude00\" : [ ] } ] ", b"\x92\x01\x81\xa5a\xf0\x9f\x98\x80\x90"),
    ] {
        assert_eq!(to_msgpack(json).as_deref(), Ok(msgpack), "{json}");
    }
    to_json_gives(&[0xcc, 5], "5");
    to_json_gives(&[0xd0, 5], "5");
    to_json_gives(&[0xd3, 0, 0, 0, 0, 0, 0, 0, 5], "5");
    to_json_gives(&[0xca, 0x3d, 0xcc, 0xcc, 0xcd], "0.10000000149011612");
    to_json_gives(&[0xdd, 0, 0, 0, 1, 0xd9, 1, b'a'], "[\"a\"]");
}

#[test]
fn what_json_does_not_have_is_named() {
    no_json(&[0xc4, 1, 0], "`data` is binary, which JSON cannot express");
    no_json(&[0x81, 0xa1, b'a', 0x92, 1, 0xc4, 0], "`data.a[1]` is binary, which JSON cannot express");
    no_json(&[0xd4, 5, 0], "`data` is an extension of type 5, which JSON cannot express");
    no_json(&[0x91, 0xd6, 0xff, 0, 0, 0, 0], "`data[0]` is a timestamp, which JSON cannot express");
    no_json(&[0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0], "`data` is NaN, which JSON cannot express");
    no_json(&[0xca, 0xff, 0x80, 0, 0], "`data` is an infinite float, which JSON cannot express");
    no_json(
        &[0x81, 0xa1, b'm', 0x82, 0xa1, b'k', 1, 7, 2],
        "`data.m` is a member whose name is no string, which JSON cannot express",
    );
    no_json(&[0x81, 0xa3, b'a', b' ', b'b', 0xc4, 0], "`data[\"a b\"]` is binary, which JSON cannot express");
    no_json(&[0x81, 0xa0, 0xc4, 0], "`data[\"\"]` is binary, which JSON cannot express");
    // A member of a message itself, and a long name.
    let text = to_json(&[0x81, 0xa1, b'a', 0xc4, 0]).unwrap_err().within("").to_string();
    assert_eq!(text, "`a` is binary, which JSON cannot express");
    let long = [&[0x81, 0xd9, 65][..], "é".repeat(32).as_bytes(), b"a", &[0xc4, 0]].concat();
    no_json(&long, &format!("`data[\"{}a\"]` is binary, which JSON cannot express", "é".repeat(32)));
    let long = [&[0x81, 0xd9, 65][..], &[b'a'; 65], &[0xc4, 0]].concat();
    no_json(&long, &format!("`data.{}…` is binary, which JSON cannot express", "a".repeat(64)));
}

#[test]
fn what_msgpack_does_not_have_is_named() {
    no_msgpack("18446744073709551616", "`result` is an integer beyond 64 bits, which msgpack cannot express");
    no_msgpack(
        "{\"a\": [ 1, -9223372036854775809]}",
        "`result.a[1]` is an integer beyond 64 bits, which msgpack cannot express",
    );
    no_msgpack(
        "[{\"\\u00e9\":{\"b\":-1e400}}]",
        "`result[0][\"é\"].b` is a number beyond the range of a float, which msgpack cannot express",
    );
}

#[test]
fn bytes_that_nobody_validated_end_in_an_error() {
    let mut deep = vec![0x91; 5_000_000];
    deep.push(0xc0);
    for bytes in [&[][..], &[0x91], &[0xa1, 0xff], &deep] {
        assert!(to_json(bytes).unwrap_err().to_string().contains("malformed"));
    }
    assert!(to_msgpack("[\"\\x\",tru]").is_err());
}
