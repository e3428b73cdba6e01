//! The assembler against the rules of RFC 6455: each violation with its close code, close frames, limits, UTF-8.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ws_support;

use iii_fast_core::ws::{
    Assembler, CloseFrame, Flow, OPCODE_TEXT, ProtocolError, Status, close_payload, write_close, write_frame,
    write_frame_header,
};
use ws_support::{Event, LIMIT, Recorder, binary, close, frame, in_pieces, one_shot, text};

/// The violation that ends a connection, the same in one piece and byte by byte.
fn violation(wire: &[u8]) -> ProtocolError {
    let (events, status) = one_shot(wire, LIMIT);
    assert_eq!(in_pieces(wire, LIMIT, std::iter::repeat(1)), (events, status.clone()));
    match status {
        Status::Closed(CloseFrame::Failure(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn violations_of_the_framing_are_protocol_errors() {
    use ProtocolError as E;
    let unmasked = [0x81, 1, b'a'];
    let long_16 = [0x82, 0xFE, 0, 125, 1, 2, 3, 4];
    let long_64 = [0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4];
    let negative = [0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let cases: Vec<(Vec<u8>, E)> = vec![
        (frame(0xC1, b"x"), E::ReservedBits),
        (frame(0xA1, b"x"), E::ReservedBits),
        (frame(0x99, b"x"), E::ReservedBits),
        (frame(0x83, b""), E::UnknownOpcode(3)),
        (frame(0x87, b""), E::UnknownOpcode(7)),
        (frame(0x8B, b""), E::UnknownOpcode(11)),
        (frame(0x8F, b""), E::UnknownOpcode(15)),
        (unmasked.to_vec(), E::Unmasked),
        (frame(0x09, b""), E::FragmentedControl),
        (frame(0x08, b""), E::FragmentedControl),
        (frame(0x89, &[0; 126]), E::LongControl),
        (frame(0x88, &[0; 70_000]), E::LongControl),
        (long_16.to_vec(), E::LengthEncoding),
        (long_64.to_vec(), E::LengthEncoding),
        (negative.to_vec(), E::LengthEncoding),
        (frame(0x80, b"x"), E::StrayContinuation),
        (frame(0x00, b"x"), E::StrayContinuation),
        ([text("a"), frame(0x80, b"x")].concat(), E::StrayContinuation),
        ([frame(0x01, b"a"), text("b")].concat(), E::InterleavedMessage),
        ([frame(0x02, b"a"), frame(0x89, b""), frame(0x01, b"b")].concat(), E::InterleavedMessage),
    ];
    for (wire, expected) in cases {
        let error = violation(&wire);
        assert_eq!(error, expected);
        assert_eq!(error.code(), 1002);
    }
}

#[test]
fn two_bytes_are_enough_to_refuse() {
    for start in [[0xC1, 0x81], [0x83, 0x80], [0x81, 0x01], [0x09, 0x80], [0x89, 0xFE]] {
        let (_, status) = one_shot(&start, LIMIT);
        assert!(matches!(status, Status::Closed(CloseFrame::Failure(_))), "{start:x?}");
    }
}

#[test]
fn close_codes_that_must_not_be_sent_are_protocol_errors() {
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535] {
        let error = violation(&close(code, b""));
        assert_eq!((error, error.code()), (ProtocolError::CloseCode(code), 1002));
    }
    assert_eq!(violation(&frame(0x88, b"\x03")), ProtocolError::CloseTooShort);
    let error = violation(&close(1000, b"\xff"));
    assert_eq!((error, error.code()), (ProtocolError::NotUtf8, 1007));
}

#[test]
fn a_close_frame_is_echoed_with_its_code() {
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999] {
        let (events, status) = one_shot(&close(code, "bye é".as_bytes()), LIMIT);
        assert_eq!(events, [Event::Close(Some(code), "bye é".to_owned())]);
        let Status::Closed(answer) = status else { panic!() };
        assert_eq!(answer.payload(), code.to_be_bytes());
        assert_eq!(answer.describe(), format!("closed by the peer with code {code}: bye é"));
    }
    let (events, status) = one_shot(&frame(0x88, b""), LIMIT);
    assert_eq!(events, [Event::Close(None, String::new())]);
    let Status::Closed(answer) = status else { panic!() };
    assert_eq!(answer.payload(), b"");
}

#[test]
fn nothing_counts_after_the_end() {
    let echo = CloseFrame::Echo { code: Some(1000), reason: String::new() };
    let failure = CloseFrame::Failure(ProtocolError::Unmasked);
    for (end, expected) in [(close(1000, b""), echo), (vec![0x81, 0x01], failure)] {
        let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Continue));
        let status = assembler.feed(&mut [frame(0x01, b"part"), end, text("late")].concat(), &mut recorder);
        assert_eq!(status, Status::Closed(expected));
        recorder.events.clear();
        assert_eq!(assembler.feed(&mut text("later"), &mut recorder), Status::Ended);
        assert_eq!(assembler.resume(&mut recorder), Status::Ended);
        assert!(assembler.spare().is_none());
        assert_eq!((recorder.events.as_slice(), assembler.buffered()), ([].as_slice(), 0));
    }
}

#[test]
fn a_receiver_that_stops_gets_nothing_more() {
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Stop));
    let status = assembler.feed(&mut [text("a"), text("b"), close(1000, b"")].concat(), &mut recorder);
    assert_eq!((status, recorder.events.as_slice()), (Status::Ended, [Event::Text("a".to_owned())].as_slice()));
    assert_eq!(assembler.feed(&mut text("c"), &mut recorder), Status::Ended);
    assert_eq!(recorder.events.len(), 1);
}

fn too_long(wire: &[u8], limit: usize) -> Option<u64> {
    match one_shot(wire, limit).1 {
        Status::Closed(CloseFrame::Failure(error @ ProtocolError::MessageTooLong { len, max })) => {
            assert_eq!((error.code(), max), (1009, limit));
            Some(len)
        }
        Status::Open => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_limit_holds_for_frames_and_for_sums_of_fragments() {
    for limit in [0, 1, 125, 126, 127, 300, 65535, 65536, 70_000] {
        assert_eq!(too_long(&binary(&vec![1; limit]), limit), None);
        assert_eq!(too_long(&binary(&vec![1; limit + 1]), limit), Some(limit as u64 + 1));
        assert_eq!(too_long(&text(&"x".repeat(limit + 1)), limit), Some(limit as u64 + 1));
        let halves = |extra: usize| {
            [frame(0x01, &vec![b'x'; limit / 2]), frame(0x80, &vec![b'x'; limit - limit / 2 + extra])].concat()
        };
        assert_eq!(too_long(&halves(0), limit), None);
        assert_eq!(too_long(&halves(1), limit), Some(limit as u64 + 1));
    }
    // Half a character counts too.
    let halves = [frame(0x01, b"a\xc3"), frame(0x80, b"\xa9")].concat();
    assert_eq!((too_long(&halves, 3), too_long(&halves, 2)), (None, Some(3)));
    // Each message counts for itself.
    assert_eq!(too_long(&[text("aaaa"), text("bbbb")].concat(), 5), None);
}

#[test]
fn the_limit_is_judged_before_the_body_is_there() {
    let mut header = frame(0x82, &vec![0; LIMIT + 1]);
    header.truncate(14);
    assert_eq!(too_long(&header, LIMIT), Some(LIMIT as u64 + 1));
    let mut fragment = frame(0x80, &vec![0; LIMIT]);
    fragment.truncate(14);
    assert_eq!(too_long(&[frame(0x02, b"x"), fragment].concat(), LIMIT), Some(LIMIT as u64 + 1));
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3, 4];
    assert_eq!(too_long(&[frame(0x02, b"x"), [&[0x80], &huge[1..]].concat()].concat(), LIMIT), Some(1 << 63));
    let reason = CloseFrame::Failure(ProtocolError::MessageTooLong { len: 9, max: 8 });
    assert_eq!(reason.payload(), [&1009u16.to_be_bytes(), "message of 9 bytes, the limit is 8".as_bytes()].concat());
}

#[test]
fn text_that_is_not_utf8_is_refused_in_any_pieces() {
    let bad: [&[u8]; 12] = [
        b"\xff",
        b"ok \x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"caf\xc3",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"\xf0\x9f\x98a",
        b"\xe2\x28\xa1",
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",
    ];
    for payload in bad {
        let error = violation(&frame(0x81, payload));
        assert_eq!((error, error.code()), (ProtocolError::NotUtf8, 1007));
        for split in 0..payload.len() {
            let wire = [frame(0x01, &payload[..split]), frame(0x80, &payload[split..])].concat();
            assert_eq!(violation(&wire), ProtocolError::NotUtf8, "{payload:x?} at {split}");
        }
    }
    // In a binary message it is none of our business.
    assert_eq!(one_shot(&binary(b"\xff"), LIMIT), (vec![Event::Binary(vec![0xff])], Status::Open));
}

/// How many of these payload bytes of an unfinished message have to arrive before it is refused.
fn refused_after(payload: &[u8]) -> Option<usize> {
    let mut wire = frame(0x81, &[payload, b"and a rest that never comes"].concat());
    let header = wire.len() - payload.len() - 27;
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Continue));
    assert_eq!(assembler.feed(&mut wire[..header], &mut recorder), Status::Open);
    (0..payload.len()).find(|at| {
        assembler.feed(&mut wire[header + at..header + at + 1], &mut recorder)
            == Status::Closed(CloseFrame::Failure(ProtocolError::NotUtf8))
    })
}

#[test]
fn text_is_refused_at_the_first_byte_that_cannot_be_right() {
    assert_eq!(refused_after("κόσμε 😀 \u{10ffff}".as_bytes()), None);
    assert_eq!(refused_after(b"abc\xffdef"), Some(3));
    assert_eq!(refused_after(b"\xed\xa0\x80"), Some(1));
    assert_eq!(refused_after(b"\xf4\x90\x80\x80"), Some(1));
    assert_eq!(refused_after(b"\xf0\x80\x80\x80"), Some(1));
    assert_eq!(refused_after(b"\xf0\x9f\x98a"), Some(3));
    assert_eq!(refused_after(b"\xc1"), Some(0));
}

#[test]
fn own_frames_have_the_shortest_header() {
    for (len, header) in [
        (0, vec![0x81, 0]),
        (125, vec![0x81, 125]),
        (126, vec![0x81, 126, 0, 126]),
        (65535, vec![0x81, 126, 0xFF, 0xFF]),
        (65536, vec![0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
    ] {
        let mut out = Vec::new();
        write_frame_header(&mut out, OPCODE_TEXT, len);
        assert_eq!(out, header);
        let payload = vec![7; len];
        write_frame(&mut out, OPCODE_TEXT, &payload);
        assert_eq!(out, [header.clone(), header, payload].concat());
    }
}

#[test]
fn close_reasons_are_cut_between_characters() {
    assert_eq!(close_payload(1000, ""), [3, 232]);
    assert_eq!(close_payload(1000, &"x".repeat(123)).len(), 125);
    assert_eq!(close_payload(1000, &"x".repeat(500)).len(), 125);
    assert_eq!(close_payload(1000, &"é".repeat(100)).len(), 2 + 122);
    let mut out = Vec::new();
    write_close(&mut out, 1001, "bye");
    assert_eq!(out, b"\x88\x05\x03\xe9bye");
}
