//! Many threads on one map: what `state` promises about order, cuts and atomic updates.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use iii_fast_core::state::{Change, ChangeKind, Expiry, State, Stored, Update};

const THREADS: usize = 4;
const ROUNDS: usize = 3000;

fn number(stored: &Stored) -> u64 {
    std::str::from_utf8(stored.bytes()).unwrap().parse().unwrap()
}

fn set(state: &State, scope: &str, key: &str, value: u64) -> Option<u64> {
    state.set(scope, key, Stored::new(&value.to_string()), None).unwrap().outcome.as_ref().map(number)
}

/// Runs `work` in several threads that start together.
fn together(work: impl Fn(usize) + Sync) {
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, work) = (&start, &work);
            scope.spawn(move || {
                start.wait();
                work(thread);
            });
        }
    });
}

#[test]
fn updates_lose_nothing() {
    for stripes in [1, 64] {
        let state = State::in_memory(stripes);
        let ops = r#"[{"type":"increment","path":"n","by":1},{"type":"append","path":"all","value":7}]"#;
        together(|_| {
            let update = Update::parse(ops).unwrap();
            for _ in 0..200 {
                state.update("s", "counter", &update, Expiry::Keep).unwrap();
            }
        });
        let all = vec!["7"; 200 * THREADS].join(",");
        let expected = format!("{{\"n\":{},\"all\":[{all}]}}", 200 * THREADS);
        assert_eq!(state.get("s", "counter").unwrap().bytes(), expected.as_bytes());
    }
}

#[test]
fn a_deleted_value_goes_to_one_deleter() {
    let state = State::in_memory(64);
    let (set_count, deleted) = (AtomicUsize::new(0), AtomicUsize::new(0));
    together(|thread| {
        for round in 0..ROUNDS {
            if thread % 2 == 0 {
                let replaced = set(&state, "s", "k", round as u64).is_some();
                set_count.fetch_add(usize::from(!replaced), Ordering::Relaxed);
            } else if state.delete("s", "k").unwrap().outcome.is_some() {
                deleted.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let left = usize::from(state.delete("s", "k").unwrap().outcome.is_some());
    assert_eq!(set_count.into_inner(), deleted.into_inner() + left);
}

#[test]
fn a_value_read_was_written_and_never_goes_back() {
    let state = State::in_memory(64);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for reader in 0..2 {
            let (state, done) = (&state, &done);
            scope.spawn(move || {
                let mut seen = [0_u64; 8];
                while !done.load(Ordering::Relaxed) {
                    for (key, seen) in seen.iter_mut().enumerate() {
                        if let Some(stored) = state.get("s", &format!("k{key}")) {
                            let value = number(&stored);
                            assert!(value >= *seen, "reader {reader} saw {value} after {seen}");
                            *seen = value;
                        }
                    }
                }
            });
        }
        for round in 1..20_000 {
            set(&state, "s", &format!("k{}", round % 8), round);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// One writer sets all counters to the same number, from the first to the last, and moves a token from key to key by setting
/// the next before it deletes the last. A list that is no cut sees a later counter ahead, or the wrong number of tokens.
#[test]
fn a_list_is_a_cut_in_insertion_order() {
    for stripes in [2, 64] {
        let state = State::in_memory(stripes);
        let counters: Vec<String> = (0..16).map(|i| format!("c{i}")).collect();
        for counter in &counters {
            set(&state, "counters", counter, 0);
        }
        set(&state, "token", "t0", 0);
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            let read = || {
                for _ in 0..2000 {
                    let seen: Vec<u64> = state.list("counters").iter().map(number).collect();
                    assert!(seen.is_sorted_by(|a, b| a >= b) && seen[0] - seen[15] <= 1, "{seen:?}");
                    let token: Vec<u64> = state.list("token").iter().map(number).collect();
                    assert!(matches!(token.len(), 1 | 2), "{token:?}");
                    assert!(token.is_sorted_by(|a, b| a + 1 == *b), "{token:?}");
                    assert_eq!(state.list_groups().len(), 2);
                }
            };
            let readers = [scope.spawn(read), scope.spawn(read)];
            scope.spawn(|| {
                let mut round = 0;
                while !done.load(Ordering::Relaxed) {
                    round += 1;
                    for counter in &counters {
                        set(&state, "counters", counter, round);
                    }
                    set(&state, "token", &format!("t{round}"), round);
                    assert!(state.delete("token", &format!("t{}", round - 1)).unwrap().outcome.is_some());
                }
            });
            let read = readers.map(|reader| reader.join());
            done.store(true, Ordering::Relaxed);
            assert!(read.iter().all(Result::is_ok));
        });
    }
}

/// Each writer inserts its own keys in order: every list shows each writer's keys without a gap and in that order.
#[test]
fn lists_show_insertions_in_the_order_they_returned() {
    let state = State::in_memory(64);
    together(|thread| {
        for round in 0..ROUNDS as u64 {
            set(&state, "s", &format!("{thread}-{round}"), (thread as u64) << 32 | round);
            if round % 100 == 0 {
                let mut next = HashMap::new();
                for value in state.list("s").iter().map(number) {
                    let expected = next.entry(value >> 32).or_insert(0);
                    assert_eq!(value & 0xffff_ffff, *expected);
                    *expected += 1;
                }
                assert_eq!(next[&(thread as u64)], round + 1);
            }
        }
    });
    assert_eq!(state.list("s").len(), THREADS * ROUNDS);
}

/// Of each key, every change begins where the one before ended, from the first write to the last value.
#[test]
fn changes_of_a_key_chain() {
    for stripes in [1, 64] {
        let state = State::in_memory(stripes);
        state.watch(Some("watched"));
        let noted = AtomicUsize::new(0);
        let mut chains: HashMap<Box<str>, Option<Stored>> = HashMap::new();
        let mut taken = 0;
        thread::scope(|scope| {
            let writers: [_; THREADS] = std::array::from_fn(|thread| {
                let (state, noted) = (&state, &noted);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let key = format!("k{}", round % 5);
                        let written = if (round + thread) % 3 == 0 {
                            state.delete("watched", &key).unwrap().noted
                        } else {
                            let value = Stored::new(&format!("[{thread},{round}]"));
                            state.set("watched", &key, value, None).unwrap().noted
                        };
                        noted.fetch_add(usize::from(written), Ordering::Relaxed);
                        assert!(!state.set("other", &key, Stored::new("1"), None).unwrap().noted);
                    }
                })
            });
            loop {
                let last = writers.iter().all(|writer| writer.is_finished());
                let mut changes = Vec::new();
                state.take_changes(&mut changes);
                taken += changes.len();
                changes.into_iter().for_each(|change| follow(&mut chains, change));
                if last {
                    break;
                }
            }
        });
        assert_eq!(taken, noted.into_inner());
        assert_eq!(state.changes_waiting(), 0);
        for (key, value) in chains {
            assert_eq!(state.get("watched", &key), value);
        }
    }
}

fn follow(chains: &mut HashMap<Box<str>, Option<Stored>>, change: Change) {
    let at = chains.entry(change.key).or_default();
    assert_eq!(*at, change.old);
    let kind = match (&change.old, &change.new) {
        (None, Some(_)) => ChangeKind::Created,
        (Some(_), Some(_)) => ChangeKind::Updated,
        _ => ChangeKind::Deleted,
    };
    assert_eq!(change.kind, kind);
    *at = change.new;
}

/// A watch begins at one instant: a write that began after it returned is noted, whatever its stripe.
#[test]
fn no_write_after_a_watch_is_missed() {
    let state = State::in_memory(64);
    let written = AtomicUsize::new(0);
    together(|thread| {
        for round in 0..300 {
            let scope = format!("s{thread}");
            state.watch(Some(&scope));
            for key in 0..8 {
                assert!(state.set(&scope, &format!("{key}-{round}"), Stored::new("1"), None).unwrap().noted);
                written.fetch_add(1, Ordering::Relaxed);
            }
            state.unwatch(Some(&scope));
            assert!(!state.set(&scope, "unwatched", Stored::new("1"), None).unwrap().noted);
        }
    });
    let mut changes = Vec::new();
    state.take_changes(&mut changes);
    assert_eq!(changes.len(), written.into_inner());
}
