//! However the bytes of a connection are cut, paused and read, the same messages come out.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ws_support;

use iii_fast_core::ws::{Assembler, Flow, SPARE_BYTES_MAX, SPARE_BYTES_MIN, Status};
use proptest::prelude::*;
use ws_support::{Event, LIMIT, Recorder, binary, close, frame, in_pieces, one_shot, text};

/// One of everything, with lengths of all three encodings, and what must come of it.
fn mixed() -> (Vec<u8>, Vec<Event>) {
    let long = "é😀x".repeat(30);
    let wire = [
        text("hi"),
        frame(0x01, b"h\xc3"),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x00, b"\xa9ll"),
        frame(0x8A, b"pong"),
        frame(0x80, b"o"),
        text(""),
        frame(0x02, b""),
        frame(0x80, b""),
        text(&long),
        binary(&[0xff; 126]),
        frame(0x89, &[b'p'; 125]),
        close(1001, "away é".as_bytes()),
    ];
    let events = vec![
        Event::Text("hi".to_owned()),
        Event::Ping(b"ping".to_vec()),
        Event::Pong,
        Event::Text("héllo".to_owned()),
        Event::Text(String::new()),
        Event::Binary(Vec::new()),
        Event::Text(long),
        Event::Binary(vec![0xff; 126]),
        Event::Ping(vec![b'p'; 125]),
        Event::Close(Some(1001), "away é".to_owned()),
    ];
    (wire.concat(), events)
}

#[test]
fn every_cut_in_two_and_every_size_of_pieces() {
    let (wire, events) = mixed();
    let whole = one_shot(&wire, LIMIT);
    assert_eq!(whole.0, events);
    for cut in 1..wire.len() {
        assert_eq!(in_pieces(&wire, LIMIT, [cut, usize::MAX].into_iter()), whole, "cut at {cut}");
    }
    for size in 1..200 {
        assert_eq!(in_pieces(&wire, LIMIT, std::iter::repeat(size)), whole, "pieces of {size}");
    }
}

#[test]
fn long_frames_in_pieces() {
    let letters = "añ😀".repeat(20_000);
    let wire = [text(&letters), frame(0x01, letters.as_bytes()), frame(0x80, letters.as_bytes())].concat();
    let expected = vec![Event::Text(letters.clone()), Event::Text(letters.clone() + &letters)];
    for size in [1, 7, 1000, 65_536, usize::MAX] {
        assert_eq!(in_pieces(&wire, LIMIT, std::iter::repeat(size)), (expected.clone(), Status::Open), "{size}");
    }
}

#[test]
fn a_message_that_lies_whole_in_a_piece_is_lent_from_it() {
    for message in [text("lent"), binary(b"lent")] {
        let mut chunk = [message, frame(0x89, b""), text("a"), frame(0x01, b"part")].concat();
        let mut recorder = Recorder::new(Flow::Pause);
        Assembler::new(LIMIT).feed(&mut chunk, &mut recorder);
        assert_eq!(recorder.place, chunk.as_ptr() as usize + 6);
    }
}

/// Feeds in pieces to a receiver that pauses after every message, and goes on when told.
fn paused_everywhere(wire: &[u8], size: usize, feed_while_paused: bool) -> (Vec<Event>, Status) {
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Pause));
    let mut wire = wire.to_vec();
    let mut status = Status::Open;
    let mut pieces = wire.chunks_mut(size);
    loop {
        let before = recorder.events.len();
        status = match status {
            Status::Paused if !feed_while_paused => assembler.resume(&mut recorder),
            Status::Paused | Status::Open => match pieces.next() {
                Some(piece) => assembler.feed(piece, &mut recorder),
                None if status == Status::Open => return (recorder.events, status),
                None => assembler.resume(&mut recorder),
            },
            Status::Closed(_) | Status::Ended => return (recorder.events, status),
        };
        let messages =
            |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Text(_) | Event::Binary(_))).count();
        assert!(messages(&recorder.events[before..]) <= 1);
    }
}

#[test]
fn a_pause_at_every_message_loses_and_repeats_nothing() {
    let (wire, _) = mixed();
    let whole = one_shot(&wire, LIMIT);
    for size in (1..60).chain([100, 500, wire.len()]) {
        assert_eq!(paused_everywhere(&wire, size, false), whole, "pieces of {size}");
        assert_eq!(paused_everywhere(&wire, size, true), whole, "pieces of {size}, fed while paused");
    }
}

#[test]
fn while_paused_bytes_are_only_kept() {
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Pause));
    assert_eq!(assembler.feed(&mut [text("a"), text("b")].concat(), &mut recorder), Status::Paused);
    assert_eq!(assembler.buffered(), 7);
    assert_eq!(assembler.feed(&mut text("c"), &mut recorder), Status::Paused);
    assert_eq!((assembler.buffered(), recorder.events.len()), (14, 1));
    assert!(assembler.spare().is_none());
    assert_eq!(assembler.resume(&mut recorder), Status::Paused);
    assert_eq!((assembler.buffered(), recorder.events.len()), (7, 2));
    assert_eq!(assembler.resume(&mut recorder), Status::Paused);
    assert_eq!((assembler.buffered(), recorder.events.len()), (0, 3));
    assert_eq!(assembler.resume(&mut recorder), Status::Open);
    assert_eq!(assembler.resume(&mut recorder), Status::Open);
    assert_eq!(recorder.events.len(), 3);
}

/// Reads as a reactor does: to the spare buffer when there is one, at most `read` bytes at once.
fn through_spare(wire: &[u8], read: usize) -> (Vec<Event>, usize) {
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Continue));
    let mut scratch = vec![0; 4096];
    let (mut at, mut spared) = (0, 0);
    while at < wire.len() {
        let left = wire.len() - at;
        let n = if let Some(spare) = assembler.spare() {
            assert!(spare.len() > SPARE_BYTES_MIN && spare.len() <= SPARE_BYTES_MAX);
            let n = left.min(spare.len()).min(read);
            spare[..n].copy_from_slice(&wire[at..at + n]);
            assert_eq!(assembler.filled(n, &mut recorder), Status::Open);
            spared += n;
            n
        } else {
            let n = left.min(scratch.len()).min(read);
            scratch[..n].copy_from_slice(&wire[at..at + n]);
            assert_eq!(assembler.feed(&mut scratch[..n], &mut recorder), Status::Open);
            n
        };
        at += n;
    }
    assert_eq!(assembler.buffered(), 0);
    (recorder.events, spared)
}

#[test]
fn a_long_frame_is_read_to_the_spare_buffer() {
    let letters = "añ😀".repeat(100_000);
    let bytes: Vec<u8> = (0..600_000u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let wire =
        [text("a"), text(&letters), text("b"), frame(0x02, &bytes[..100]), frame(0x80, &bytes[100..]), text("c")];
    let expected = [
        Event::Text("a".to_owned()),
        Event::Text(letters),
        Event::Text("b".to_owned()),
        Event::Binary(bytes),
        Event::Text("c".to_owned()),
    ];
    for read in [4096, 65_537, usize::MAX] {
        let (events, spared) = through_spare(&wire.concat(), read);
        assert!(events == expected, "reads of {read}");
        // All but the first piece of each frame and the last SPARE_BYTES_MIN of it.
        assert!(spared >= 1_300_000 - 2 * (4096 + SPARE_BYTES_MIN), "{spared}");
    }
}

#[test]
fn a_frame_that_misses_little_has_no_spare_buffer() {
    let wire = frame(0x82, &vec![1; SPARE_BYTES_MIN + 1]);
    let mut assembler = Assembler::new(LIMIT);
    let mut recorder = Recorder::new(Flow::Continue);
    assert!(assembler.spare().is_none());
    assembler.feed(&mut wire.clone()[..14], &mut recorder);
    assert_eq!(assembler.spare().map(|spare| spare.len()), Some(SPARE_BYTES_MIN + 1));
    assembler.feed(&mut wire.clone()[14..15], &mut recorder);
    assert!(assembler.spare().is_none());
    assert_eq!(assembler.filled(0, &mut recorder), Status::Open);
    assert_eq!(assembler.feed(&mut wire.clone()[15..], &mut recorder), Status::Open);
    assert_eq!(recorder.events.len(), 1);
}

/// Something that a client may send: mostly right, sometimes not.
fn client_bytes() -> impl Strategy<Value = Vec<u8>> {
    let payload = prop_oneof![
        6 => "\\PC{0,40}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 0..40),
        2 => (100usize..300, "[é😀a]").prop_map(|(count, letter)| letter.repeat(count).into_bytes()),
        1 => (60_000usize..70_000).prop_map(|len| vec![b'x'; len]),
    ];
    let message = prop_oneof![
        8 => (Just(vec![0x81]), payload.clone()),
        3 => (Just(vec![0x82]), payload.clone()),
        6 => (prop::collection::vec(Just(0x00), 0..4).prop_map(|middle| [vec![0x01], middle, vec![0x80]].concat()), payload.clone()),
        2 => (Just(vec![0x89]), prop::collection::vec(any::<u8>(), 0..126)),
        1 => (Just(vec![0x8A]), prop::collection::vec(any::<u8>(), 0..126)),
        1 => (Just(vec![0x88]), prop_oneof![Just(vec![3, 232]), Just(vec![]), "\u{3}[\u{60}-\u{7f}].{0,9}".prop_map(String::into_bytes)]),
        1 => (prop::collection::vec(any::<u8>(), 1..3), payload),
    ];
    prop::collection::vec(message, 0..8).prop_map(|messages| {
        messages.iter().map(|(firsts, payload)| fragments(firsts, payload)).collect::<Vec<_>>().concat()
    })
}

/// The payload in as many frames as there are first bytes, cut anywhere, also in characters.
fn fragments(firsts: &[u8], payload: &[u8]) -> Vec<u8> {
    let size = payload.len().div_ceil(firsts.len()).max(1);
    let mut pieces = payload.chunks(size);
    firsts.iter().flat_map(|&first| frame(first, pieces.next().unwrap_or_default())).collect()
}

proptest! {
    #[test]
    fn any_pieces_are_as_good_as_one(wire in client_bytes(), sizes in prop::collection::vec(1usize..300, 1..20)) {
        let whole = one_shot(&wire, 100_000);
        prop_assert_eq!(&in_pieces(&wire, 100_000, sizes.iter().copied().cycle()), &whole);
        prop_assert_eq!(&in_pieces(&wire, 100_000, sizes.into_iter().chain([usize::MAX])), &whole);
    }

    #[test]
    fn any_bytes_end_the_same_way(wire in prop::collection::vec(any::<u8>(), 0..200), size in 1usize..20) {
        prop_assert_eq!(in_pieces(&wire, 1000, std::iter::repeat(size)), one_shot(&wire, 1000));
    }

    #[test]
    fn pauses_change_nothing(wire in client_bytes(), size in 1usize..5000) {
        prop_assert_eq!(paused_everywhere(&wire, size, false), one_shot(&wire, LIMIT));
        prop_assert_eq!(paused_everywhere(&wire, size, true), one_shot(&wire, LIMIT));
    }
}
