//! A snapshot that is taken while everything changes, with the log behind its start, is the state.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use iii_fast_core::calls::Wake;
use iii_fast_core::log::Log;
use iii_fast_core::log::record::{self, Broken, kind};
use iii_fast_core::state::{Captured, Update};
use iii_fast_core::state::{
    Check, Expiry, PageRequest, Quotas, State, Stored, TransactAction, TransactOp, Transaction,
};

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn recorded(stripes: usize) -> State {
    let log = Arc::new(Log::new(0));
    log.attach(0, Box::new(Nobody));
    State::new(stripes, Quotas::default(), log)
}

const SCOPES: [&str; 3] = ["a", "b", "a scope with a name that is not kept in place"];

fn write(state: &State, random: &mut Random, round: u64) {
    let scope = SCOPES[random.below(3) as usize];
    let key = format!("key {}", random.below(400));
    let value = Stored::new(&format!("{round}"));
    let expires_at = (random.below(4) == 0).then(|| 1000 + random.below(2000));
    match random.below(20) {
        0..10 => drop(state.set(scope, &key, value, expires_at).unwrap()),
        10..14 => drop(state.delete(scope, &key).unwrap()),
        14..17 => {
            let update = Update::parse(r#"[{"type":"append","path":"all","value":1}]"#).unwrap();
            drop(state.update(scope, &key, &update, Expiry::Keep).unwrap());
        }
        17 => {
            let other = SCOPES[random.below(3) as usize];
            let op = |scope: &'static str, key: &str, action| TransactOp {
                scope: scope.into(),
                key: key.to_owned().into(),
                action,
            };
            let transaction = Transaction {
                checks: Vec::<Check<'_>>::new(),
                ops: vec![
                    op(scope, &key, TransactAction::Set { value: value.clone(), expires_at }),
                    op(other, &key, TransactAction::Delete),
                    op(other, "both", TransactAction::Set { value, expires_at: None }),
                ],
            };
            drop(state.transact(&transaction).unwrap());
        }
        18 => drop(state.expire_due(3)),
        _ if random.below(30) == 0 => drop(state.delete_scope(scope).unwrap()),
        _ => state.advance_clock(1000 + round / 20),
    }
}

/// Everything there is, in order, with all that is known of it.
fn everything(state: &State) -> Vec<(String, String, String, u64, u64, Option<u64>)> {
    let mut all = Vec::new();
    for scope in state.list_groups() {
        for key in state.list_keys(&scope, None) {
            let entry = state.entry(&scope, &key).unwrap();
            let value = String::from_utf8(entry.stored.bytes().to_vec()).unwrap();
            all.push((scope.to_string(), key.to_string(), value, entry.version, entry.seq, entry.expires_at));
        }
        let request = PageRequest { scope: &scope, prefix: None, after: None, limit: 1000, bytes_max: 1 << 20 };
        let paged = state.page(request).unwrap().entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(paged, state.list_keys(&scope, None));
    }
    all
}

fn same(again: &State, state: &State, seed: u64) {
    let (again, state) = (everything(again), everything(state));
    let first = again.iter().zip(&state).find(|(a, b)| a != b);
    assert!(
        first.is_none() && again.len() == state.len(),
        "seed {seed}: {first:?}, {} of {}",
        again.len(),
        state.len()
    );
}

fn restored(stripes: usize, image: &[Captured], start: u64, log: &[u8], now_ms: u64) -> State {
    let state = State::in_memory(stripes);
    for entry in image {
        let mut bytes = Vec::new();
        record::encode(&mut bytes, kind::ENTRIES, start, |out| record::put_entry(out, &entry.as_entry()));
        record::entries(record::decode(&bytes).unwrap().body, |entry| {
            state.load(&entry);
            Ok::<_, Broken>(())
        })
        .unwrap();
    }
    let mut rest = log;
    let mut last = 0;
    while !rest.is_empty() {
        let record = record::decode(rest).unwrap();
        rest = &rest[record.size()..];
        let count = record::count_ops(record.body).unwrap();
        assert_eq!(record.position, last + count, "positions follow each other");
        last = record.position;
        let mut index = 0;
        record::ops(record.body, |op| {
            if record.position > start {
                state.replay(record.position, index, count, &op);
            }
            index += 1;
            Ok::<_, Broken>(())
        })
        .unwrap();
    }
    state.finish_loading();
    state.advance_clock(now_ms);
    state
}

#[test]
fn an_image_taken_between_writes_and_the_log_behind_it_are_the_state() {
    for seed in 1..40 {
        let stripes = if seed % 2 == 0 { 1 } else { 8 };
        let state = recorded(stripes);
        let mut random = Random(seed);
        for round in 0..1500 {
            write(&state, &mut random, round);
        }
        let start = state.log().last();
        let mut image = Vec::new();
        for stripe in 0..state.stripe_count() {
            let mut before = None;
            loop {
                before = state.capture(stripe, before, 7, &mut image);
                for round in 0..random.below(6) {
                    write(&state, &mut random, 1500 + round);
                }
                if before.is_none() {
                    break;
                }
            }
        }
        for round in 0..100 {
            write(&state, &mut random, 2000 + round);
        }
        let mut log = Vec::new();
        state.log().take(&mut log);
        let again = restored(8, &image, start, &log, state.now_ms());
        same(&again, &state, seed);
        assert_eq!(again.live_bytes(), bytes_of(&again));
        // What has expired and is still there goes the same way in both.
        state.advance_clock(10_000);
        again.advance_clock(10_000);
        while state.has_due() {
            state.expire_due(100);
        }
        same(&again, &state, seed);
        assert_eq!(state.live_bytes(), bytes_of(&state));
    }
}

fn bytes_of(state: &State) -> u64 {
    // Entries that have expired and are still there count, and cannot be seen: they go first.
    while state.has_due() {
        state.expire_due(100);
    }
    everything(state).iter().map(|(scope, key, value, ..)| (scope.len() + key.len() + value.len()) as u64).sum()
}

#[test]
fn an_image_taken_while_threads_write_and_the_log_behind_it_are_the_state() {
    for seed in 1..6 {
        let state = recorded(4);
        for round in 0..3000 {
            write(&state, &mut Random(seed * 1_000_003 + round), round);
        }
        let (mut image, done) = (Vec::new(), AtomicBool::new(false));
        let start = state.log().last();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let (state, done) = (&state, &done);
                scope.spawn(move || {
                    let mut random = Random(seed * 100 + thread + 7);
                    let mut round = 0;
                    while !done.load(Ordering::Relaxed) || round < 500 {
                        write(state, &mut random, 3000 + round);
                        round += 1;
                    }
                });
            }
            for stripe in 0..state.stripe_count() {
                let mut before = None;
                loop {
                    before = state.capture(stripe, before, 16, &mut image);
                    if before.is_none() {
                        break;
                    }
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut log = Vec::new();
        state.log().take(&mut log);
        let again = restored(16, &image, start, &log, state.now_ms());
        same(&again, &state, seed);
    }
}
