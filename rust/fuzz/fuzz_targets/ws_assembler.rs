//! However a client's bytes are cut, paused and read, the assembler finds the same; nothing panics.
#![no_main]

#[path = "../../core/tests/ws_support/mod.rs"]
mod ws_support;

use iii_fast_core::ws::{Assembler, Flow, Status};
use libfuzzer_sys::fuzz_target;
use ws_support::{Event, Recorder, frame, in_pieces, one_shot};

const LIMIT: usize = 300_000;

fuzz_target!(|data: &[u8]| {
    let Some((&[mode, count], data)) = data.split_first_chunk::<2>() else { return };
    let (sizes, data) = data.split_at(usize::from(count % 16).min(data.len()));
    let sizes: Vec<usize> = sizes.iter().map(|&size| 1 + usize::from(size)).chain([1 + usize::from(mode)]).collect();
    let wire = if mode & 1 == 0 { frames(data) } else { data.to_vec() };
    let whole = one_shot(&wire, LIMIT);
    assert_eq!(in_pieces(&wire, LIMIT, sizes.iter().copied().cycle()), whole);
    assert_eq!(paused(&wire, &sizes), whole);
});

/// Masked frames as the input describes them: first byte, length, payload; a high length is stretched beyond the input.
fn frames(mut data: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some((&[first, len], rest)) = data.split_first_chunk::<2>() {
        let (payload, rest) = rest.split_at(usize::from(len & 0x7f).min(rest.len()));
        data = rest;
        if len & 0x80 == 0 || payload.is_empty() {
            wire.extend(frame(first, payload));
        } else {
            wire.extend(frame(first, &payload.repeat(1000)));
        }
    }
    wire
}

/// Pauses at every message and reads to the spare buffer whenever there is one.
fn paused(wire: &[u8], sizes: &[usize]) -> (Vec<Event>, Status) {
    let (mut assembler, mut recorder) = (Assembler::new(LIMIT), Recorder::new(Flow::Pause));
    let (mut wire, mut sizes) = (wire.to_vec(), sizes.iter().cycle());
    let mut rest = wire.as_mut_slice();
    let mut status = Status::Open;
    while !matches!(status, Status::Closed(_) | Status::Ended) {
        if status == Status::Paused {
            status = assembler.resume(&mut recorder);
            continue;
        }
        if rest.is_empty() {
            break;
        }
        let size = sizes.next().map_or(1, |&size| size);
        if let Some(spare) = assembler.spare() {
            let (piece, behind) = rest.split_at_mut(spare.len().min(size * 100).min(rest.len()));
            spare[..piece.len()].copy_from_slice(piece);
            status = assembler.filled(piece.len(), &mut recorder);
            rest = behind;
        } else {
            let (piece, behind) = rest.split_at_mut(size.min(rest.len()));
            status = assembler.feed(piece, &mut recorder);
            rest = behind;
        }
    }
    (recorder.events, status)
}
