//! Pages: every entry once, in insertion order, whatever is written meanwhile; and how scopes of any size are walked.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use iii_fast_core::state::{PageRequest, RowTooLarge, State, Stored};
use proptest::prelude::*;

fn request(scope: &str) -> PageRequest<'_> {
    PageRequest { scope, prefix: None, after: None, limit: 100, bytes_max: 1 << 20 }
}

fn walk(state: &State, scope: &str, prefix: Option<&str>, limit: usize, mut between: impl FnMut()) -> Vec<String> {
    let (mut keys, mut after) = (Vec::new(), None);
    loop {
        let page = state.page(PageRequest { prefix, after, limit, ..request(scope) }).unwrap();
        assert!(page.entries.len() <= limit);
        keys.extend(page.entries.into_iter().map(|(key, _)| key.to_string()));
        after = page.next;
        if after.is_none() {
            return keys;
        }
        between();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Set(u16),
    Delete(u16),
    DeleteFirst(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3000_u16).prop_map(Step::Set),
        3 => (0..3000_u16).prop_map(Step::Delete),
        1 => (0..40_u8).prop_map(Step::DeleteFirst),
    ]
}

fn run(state: &State, step: &Step) {
    match step {
        Step::Set(key) => drop(state.set("s", &format!("k{key}"), Stored::new("1"), None).unwrap()),
        Step::Delete(key) => drop(state.delete("s", &format!("k{key}")).unwrap()),
        Step::DeleteFirst(count) => {
            for key in state.list_keys("s", None).into_iter().take(usize::from(*count)) {
                state.delete("s", &key).unwrap();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pages_of_any_size_are_the_list(steps in proptest::collection::vec(step(), 1..4000), limit in 1..400_usize) {
        for stripes in [1, 4] {
            let state = State::in_memory(stripes);
            for step in &steps {
                run(&state, step);
            }
            let keys: Vec<String> = state.list_keys("s", None).into_iter().map(String::from).collect();
            prop_assert_eq!(&walk(&state, "s", None, limit, || {}), &keys);
            let matching: Vec<String> = keys.iter().filter(|key| key.starts_with("k1")).cloned().collect();
            prop_assert_eq!(&walk(&state, "s", Some("k1"), limit, || {}), &matching);
            // From anywhere: what follows.
            for (place, key) in keys.iter().enumerate().step_by(37) {
                let after = Some(state.entry("s", key).unwrap().seq);
                let page = state.page(PageRequest { after, limit: 3, ..request("s") }).unwrap();
                let found: Vec<&str> = page.entries.iter().map(|(key, _)| &**key).collect();
                let expected: Vec<&str> = keys[place + 1..].iter().take(3).map(String::as_str).collect();
                prop_assert_eq!(found, expected);
                prop_assert_eq!(page.total, keys.len() as u64);
            }
        }
    }
}

#[test]
fn what_stays_is_neither_missed_nor_repeated_while_threads_write() {
    let state = State::in_memory(8);
    for i in 0..6000 {
        state.set("s", &format!("{}{i}", if i % 3 == 0 { "stays" } else { "goes" }), Stored::new("1"), None).unwrap();
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (state, done) = (&state, &done);
            scope.spawn(move || {
                let mut i = thread;
                while !done.load(Ordering::Relaxed) {
                    i += 7;
                    let key = i % 6000;
                    if key % 3 == 0 {
                        state.set("s", &format!("stays{key}"), Stored::new(&i.to_string()), None).unwrap();
                    } else {
                        state.delete("s", &format!("goes{key}")).unwrap();
                        state.set("s", &format!("goes{key}"), Stored::new("2"), None).unwrap();
                    }
                }
            });
        }
        for _ in 0..10 {
            let mut pages = 0;
            let mut stayed = Vec::new();
            let mut after = None;
            // Whoever comes again stands behind, so the walk may go on for ever: it ends with the last that stays.
            while pages < 2000 && stayed.len() < 2000 {
                let page = state.page(PageRequest { after, limit: 50, ..request("s") }).unwrap();
                stayed.extend(page.entries.into_iter().map(|(key, _)| key).filter(|key| key.starts_with("stays")));
                after = page.next;
                pages += 1;
            }
            assert_eq!(stayed.len(), 2000);
            assert_eq!(stayed.iter().collect::<HashSet<_>>().len(), 2000, "one was repeated");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_page_ends_before_the_entry_that_does_not_fit() {
    let state = State::in_memory(4);
    for key in ["a", "b", "c"] {
        state.set("s", key, Stored::new("12345"), None).unwrap();
    }
    // ["a",12345] has 11 bytes.
    let keys = |bytes_max| {
        let page = state.page(PageRequest { bytes_max, ..request("s") })?;
        Ok::<_, RowTooLarge>((page.entries.len(), page.next.is_none(), page.total))
    };
    assert_eq!(keys(10), Err(RowTooLarge { key: "a".into(), bytes: 11 }));
    assert_eq!(keys(11), Ok((1, false, 3)));
    assert_eq!(keys(22), Ok((1, false, 3)), "a comma is between them");
    assert_eq!(keys(23), Ok((2, false, 3)));
    assert_eq!(keys(35), Ok((3, true, 3)));
    assert_eq!(state.page(PageRequest { limit: 3, ..request("s") }).unwrap().next, None);
    assert_eq!(state.page(request("nothing")).unwrap().total, 0);
}

#[test]
fn a_page_looks_at_so_many_entries_and_no_more() {
    let state = State::in_memory(16);
    for i in 0..10_001 {
        state.set("s", &format!("k{i}"), Stored::new("1"), None).unwrap();
    }
    let page = state.page(PageRequest { prefix: Some("k10000"), ..request("s") }).unwrap();
    assert_eq!((page.entries.len(), page.next.is_some()), (0, true));
    let page = state.page(PageRequest { prefix: Some("k10000"), after: page.next, ..request("s") }).unwrap();
    assert_eq!((page.entries.len(), page.next), (1, None));
}

#[test]
fn expired_entries_are_in_no_list_and_go_in_the_order_of_their_times() {
    for stripes in [1, 8] {
        let state = State::in_memory(stripes);
        state.watch(None);
        state.advance_clock(1000);
        for (key, expires_at) in [("c", 1030), ("a", 1010), ("b", 1020), ("a2", 1010), ("stays", 0)] {
            state.set("s", key, Stored::new("1"), (expires_at > 0).then_some(expires_at)).unwrap();
        }
        state.set("gone", "k", Stored::new("1"), Some(1001)).unwrap();
        state.advance_clock(1020);
        let keys: Vec<String> = state.list_keys("s", None).into_iter().map(String::from).collect();
        assert_eq!(keys, ["c", "stays"]);
        assert_eq!(state.list("s").len(), 2);
        assert_eq!(state.list_groups(), ["s".into()]);
        let page = state.page(request("s")).unwrap();
        assert_eq!((page.entries.len(), page.total), (2, 2));
        assert!(state.get("s", "b").is_none() && state.entry("s", "a").is_none());
        assert_eq!(
            state.entries(&[("s", "a"), ("s", "c")]).iter().map(Option::is_some).collect::<Vec<_>>(),
            [false, true]
        );
        state.take_changes(&mut Vec::new());
        assert!(state.has_due());
        assert_eq!(state.expire_due(100).outcome, 4);
        assert!(!state.has_due());
        let mut changes = Vec::new();
        state.take_changes(&mut changes);
        let expired: Vec<(&str, &str)> = changes.iter().map(|c| (&*c.key, c.kind.event_type())).collect();
        assert_eq!(expired, ["k", "a", "a2", "b"].map(|key| (key, "state:expired")));
        assert_eq!(state.key_count(), 2);
    }
}

#[test]
fn many_expiries_at_once_go_in_portions_and_in_order() {
    let state = State::in_memory(4);
    for i in 0..3000_u64 {
        state.set("s", &format!("k{i}"), Stored::new("1"), Some(1 + (i * 7919) % 1000)).unwrap();
    }
    state.watch(None);
    state.advance_clock(900);
    let mut times = Vec::new();
    while state.has_due() {
        assert!(state.expire_due(64).outcome <= 64);
        let mut changes = Vec::new();
        state.take_changes(&mut changes);
        times.extend(changes.iter().map(|c| 1 + (c.key[1..].parse::<u64>().unwrap() * 7919) % 1000));
    }
    assert!(times.is_sorted());
    assert_eq!(times.len(), 2700);
    assert_eq!(state.key_count(), 300);
    // Moved, taken back and overwritten, an expiry is the last one that was said.
    state.set("s", "k1", Stored::new("1"), Some(5000)).unwrap();
    state.set("s", "k1", Stored::new("1"), None).unwrap();
    state.advance_clock(u64::MAX - 1);
    while state.has_due() {
        state.expire_due(64);
    }
    assert_eq!(state.list_keys("s", None), ["k1".into()]);
}
