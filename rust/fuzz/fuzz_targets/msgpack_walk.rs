//! The msgpack walker never panics, its walks agree with it, and what both codecs have comes back as it was.
#![no_main]

use iii_fast_core::codec::{json, msgpack, transcode};
use libfuzzer_sys::fuzz_target;

const DEPTH: usize = 120;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(span) = json::validate(text, DEPTH)
    {
        from_json(&text[span]);
    }
    match msgpack::validate(data, DEPTH) {
        Ok(()) => {
            assert_eq!(msgpack::skip_value(data, 0, DEPTH), Ok(0..data.len()));
            if msgpack::is_map(data) {
                let mut members = msgpack::Members::new(data, DEPTH).expect("a map");
                let mut lenient = msgpack::Members::new_lenient(data).expect("a map");
                while let Some(member) = members.next().expect("a member") {
                    assert_eq!(lenient.next(), Ok(Some(member.clone())));
                    assert_eq!(msgpack::validate(member.value, DEPTH), Ok(()));
                }
                assert!(members.finish().is_ok());
            }
            from_msgpack(data);
        }
        Err(error) => {
            assert!(error.offset <= data.len());
            if let Ok(mut members) = msgpack::Members::new(data, DEPTH) {
                let found = loop {
                    match members.next() {
                        Ok(Some(_)) => {}
                        Ok(None) => break members.finish().expect_err("refused"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(found, error);
            }
            // Refused here as well, or cut where the value ends.
            let _ = transcode::to_json(data);
        }
    }
});

/// Once in JSON, a value goes to and fro without a change.
fn from_msgpack(value: &[u8]) {
    let Ok(text) = transcode::to_json(value) else { return };
    assert_eq!(json::validate(&text, DEPTH), Ok(0..text.len()));
    let packed = transcode::to_msgpack(&text).expect("came from there");
    assert_eq!(msgpack::validate(&packed, DEPTH), Ok(()));
    assert_eq!(transcode::to_json(&packed).expect("came from there"), text);
}

fn from_json(text: &str) {
    match transcode::to_msgpack(text) {
        Ok(packed) => {
            assert_eq!(msgpack::validate(&packed, DEPTH), Ok(()));
            let short = transcode::to_json(&packed).expect("came from there");
            assert_eq!(transcode::to_msgpack(&short).expect("came from there"), packed);
        }
        Err(error) => assert!(!error.to_string().contains("malformed"), "{error}"),
    }
}
