//! msgpack as bytes: what is valid, where it ends, what is wrong with the rest.
#![allow(clippy::unwrap_used)]

use iii_fast_core::codec::msgpack::{
    Head, Members, head, is_map, skip_value, string, validate, write_array, write_float, write_map, write_signed,
    write_string, write_unsigned,
};
use iii_fast_core::limits::JSON_DEPTH_MAX;

fn refused(bytes: &[u8]) -> String {
    validate(bytes, JSON_DEPTH_MAX).unwrap_err().to_string()
}

/// An array in an array and so on; one at the innermost.
fn nested(levels: usize) -> Vec<u8> {
    let mut bytes = vec![0x91; levels];
    bytes.push(1);
    bytes
}

#[test]
fn every_form_of_a_value_is_read_to_its_end() {
    let with = |head: &[u8], len: usize| [head, &vec![b'a'; len]].concat();
    let forms: Vec<(Vec<u8>, Head)> = vec![
        (vec![0x00], Head::Unsigned(0)),
        (vec![0x7f], Head::Unsigned(127)),
        (vec![0xe0], Head::Negative(-32)),
        (vec![0xff], Head::Negative(-1)),
        (vec![0xc0], Head::Nil),
        (vec![0xc2], Head::Boolean(false)),
        (vec![0xc3], Head::Boolean(true)),
        (with(&[0xc4, 2], 2), Head::Binary(2)),
        (with(&[0xc5, 0, 2], 2), Head::Binary(2)),
        (with(&[0xc6, 0, 0, 0, 2], 2), Head::Binary(2)),
        (with(&[0xc7, 3, 0xff], 3), Head::Extension(-1, 3)),
        (with(&[0xc8, 0, 3, 5], 3), Head::Extension(5, 3)),
        (with(&[0xc9, 0, 0, 0, 3, 5], 3), Head::Extension(5, 3)),
        (vec![0xca, 0x3f, 0x80, 0, 0], Head::Float(1.0)),
        (vec![0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0], Head::Float(1.0)),
        (vec![0xcc, 200], Head::Unsigned(200)),
        (vec![0xcd, 1, 0], Head::Unsigned(256)),
        (vec![0xce, 0, 0, 0, 9], Head::Unsigned(9)),
        (vec![0xcf, 255, 255, 255, 255, 255, 255, 255, 255], Head::Unsigned(u64::MAX)),
        (vec![0xd0, 0x80], Head::Negative(-128)),
        (vec![0xd0, 5], Head::Unsigned(5)),
        (vec![0xd1, 0x80, 0], Head::Negative(-32768)),
        (vec![0xd2, 0xff, 0xff, 0xff, 0xff], Head::Negative(-1)),
        (vec![0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], Head::Negative(i64::MIN)),
        (with(&[0xd4, 1], 1), Head::Extension(1, 1)),
        (with(&[0xd8, 1], 16), Head::Extension(1, 16)),
        (with(&[0xa3], 3), Head::String(3)),
        (with(&[0xd9, 3], 3), Head::String(3)),
        (with(&[0xda, 0, 70], 70), Head::String(70)),
        (with(&[0xdb, 0, 0, 0, 3], 3), Head::String(3)),
        (vec![0x92, 1, 2], Head::Array(2)),
        (vec![0xdc, 0, 1, 1], Head::Array(1)),
        (vec![0xdd, 0, 0, 0, 1, 1], Head::Array(1)),
        (vec![0x81, 1, 2], Head::Map(1)),
        (vec![0xde, 0, 1, 0x91, 1, 2], Head::Map(1)),
        (vec![0xdf, 0, 0, 0, 1, 0xa0, 2], Head::Map(1)),
    ];
    for (bytes, expected) in forms {
        assert_eq!(head(&bytes), Some(expected), "{bytes:x?}");
        assert_eq!(validate(&bytes, 2), Ok(()), "{bytes:x?}");
        for end in 0..bytes.len() {
            assert_eq!(
                validate(&bytes[..end], 2).unwrap_err().to_string(),
                format!("at byte {end}: unexpected end of the message"),
                "{bytes:x?}"
            );
        }
        let more = [&[0xc0], bytes.as_slice(), &[0xc0]].concat();
        assert_eq!(skip_value(&more, 1, 2), Ok(1..1 + bytes.len()), "{bytes:x?}");
        assert_eq!(refused(&more[1..]), format!("at byte {}: bytes after the value", bytes.len()), "{bytes:x?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    assert_eq!(refused(&[0x92, 0, 0xc1]), "at byte 2: 0xc1 begins no value");
    assert_eq!(refused(&[0x91, 0xa2, 0xc3, 0x28]), "at byte 1: a string is not UTF-8");
    // A surrogate half, as UTF-8 would spell it if it could.
    assert_eq!(refused(&[0xa3, 0xed, 0xa0, 0x80]), "at byte 0: a string is not UTF-8");
    let long = [&[0xd9, 80][..], &[b'a'; 79], &[0xff]].concat();
    assert_eq!(refused(&long), "at byte 0: a string is not UTF-8");
    assert_eq!(refused(&[]), "at byte 0: unexpected end of the message");
    // Billions of items that are not there cost nothing.
    assert_eq!(refused(&[0xdf, 0xff, 0xff, 0xff, 0xff, 0]), "at byte 6: unexpected end of the message");
    assert_eq!(refused(&[0xdb, 0xff, 0xff, 0xff, 0xff, 0]), "at byte 6: unexpected end of the message");
}

#[test]
fn depth_has_a_limit_with_two_sides() {
    assert_eq!(validate(&nested(120), JSON_DEPTH_MAX), Ok(()));
    assert_eq!(refused(&nested(121)), "at byte 120: more than 120 nested levels");
    let mut keys = vec![0x81; 121];
    keys.push(1);
    assert_eq!(refused(&keys), "at byte 120: more than 120 nested levels", "names count, too");
}

#[test]
fn a_walk_gives_members_in_their_order() {
    let map = [0x84, 0xa1, b'a', 1, 7, 0xa1, b'x', 0xa1, b'b', 0x91, 2, 0xa1, b'a', 0xc0];
    let mut members = Members::new(&map, 2).unwrap();
    let mut found = Vec::new();
    while let Some(member) = members.next().unwrap() {
        found.push((member.name.map(|name| name.into_owned()), member.value.to_vec()));
    }
    let name = |name: &str| Some(name.to_owned());
    assert_eq!(
        found,
        [(name("a"), vec![1]), (None, vec![0xa1, b'x']), (name("b"), vec![0x91, 2]), (name("a"), vec![0xc0])]
    );
    assert_eq!(members.next(), Ok(None));
    assert!(members.finish().is_ok());
    assert_eq!(Members::new(&map, 0).unwrap_err().to_string(), "at byte 0: more than 120 nested levels");
    assert_eq!(Members::new(&[0x90], 1).unwrap_err().to_string(), "at byte 0: expected a map");
    let mut members = Members::new(&map, 1).unwrap();
    members.next().unwrap();
    members.next().unwrap();
    let error = members.next().unwrap_err();
    assert_eq!(error.to_string(), "at byte 9: more than 120 nested levels");
    assert_eq!(members.next(), Err(error));
    let mut trailing = map.to_vec();
    trailing.push(0);
    let mut members = Members::new(&trailing, 2).unwrap();
    while members.next().unwrap().is_some() {}
    assert_eq!(members.finish().unwrap_err().to_string(), "at byte 14: bytes after the value");
}

#[test]
fn a_lenient_walk_takes_any_depth_and_any_bytes_in_strings() {
    let mut map = vec![0x82, 0xa1, b'd'];
    map.extend(nested(1_000_000));
    map.extend([0xa2, b'i', 0xff, 0xa1, 0xff]);
    let mut members = Members::new_lenient(&map).unwrap();
    assert_eq!(members.next().unwrap().unwrap().value.len(), 1_000_001);
    let last = members.next().unwrap().unwrap();
    assert_eq!((last.name.as_deref(), last.value), (Some("i\u{fffd}"), &[0xa1, 0xff][..]));
    assert_eq!(members.next(), Ok(None));
    assert!(Members::new_lenient(&[0x81, 0xa1, b'a', 0xc1]).unwrap().next().is_err());
}

#[test]
fn what_is_written_is_short_and_reads_back() {
    for number in [0, 127, 128, 255, 256, 65535, 65536, u64::from(u32::MAX), 1 << 32, u64::MAX] {
        let mut out = Vec::new();
        write_unsigned(&mut out, number);
        assert_eq!(head(&out), Some(Head::Unsigned(number)));
        let len = match number {
            0..0x80 => 1,
            0x80..0x100 => 2,
            0x100..0x1_0000 => 3,
            0x1_0000..0x1_0000_0000 => 5,
            _ => 9,
        };
        assert_eq!(out.len(), len, "{number}");
    }
    for (number, len) in [(-1, 1), (-32, 1), (-33, 2), (-128, 2), (-129, 3), (-32769, 5), (i64::MIN, 9)] {
        let mut out = Vec::new();
        write_signed(&mut out, number);
        assert_eq!((head(&out), out.len()), (Some(Head::Negative(number)), len));
    }
    let mut out = Vec::new();
    write_float(&mut out, -0.5);
    assert_eq!(head(&out), Some(Head::Float(-0.5)));
    for len in [0, 31, 32, 255, 256, 65535, 65536] {
        let text = "a".repeat(len);
        let mut out = Vec::new();
        write_string(&mut out, &text);
        assert_eq!(string(&out), Some(text.as_str()));
        assert_eq!(validate(&out, 0), Ok(()));
        let mut heads = Vec::new();
        write_array(&mut heads, len as u32);
        assert_eq!(head(&heads), Some(Head::Array(len)));
        heads.clear();
        write_map(&mut heads, len as u32);
        assert_eq!(head(&heads), Some(Head::Map(len)));
    }
}

#[test]
fn a_message_is_told_by_its_first_byte() {
    for first in 0..=255u8 {
        let map = matches!(head(&[first, 0, 0, 0, 0]), Some(Head::Map(_)));
        assert_eq!(is_map(&[first]), map, "{first:x}");
    }
    assert!(!is_map(b""));
}
