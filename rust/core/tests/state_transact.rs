//! Several keys at one instant, while threads do the same: nothing is seen half done, nothing is lost, bounds hold.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use iii_fast_core::codec::Value;
use iii_fast_core::log::Log;
use iii_fast_core::state::{
    Check, Condition, Expiry, OpResult, Quotas, State, Stored, TransactAction, TransactOp, Transacted, Transaction,
    Update,
};

const THREADS: u64 = 4;
const ACCOUNTS: u64 = 6;

fn account(number: u64) -> String {
    format!("account {number}")
}

fn number(stored: &Stored) -> i64 {
    std::str::from_utf8(stored.bytes()).unwrap().parse().unwrap()
}

fn set<'a>(scope: &'a str, key: &'a str, value: &str, expires_at: Option<u64>) -> TransactOp<'a> {
    let action = TransactAction::Set { value: Stored::new(value), expires_at };
    TransactOp { scope: scope.into(), key: key.into(), action }
}

fn delete<'a>(scope: &'a str, key: &'a str) -> TransactOp<'a> {
    TransactOp { scope: scope.into(), key: key.into(), action: TransactAction::Delete }
}

fn update<'a>(scope: &'a str, key: &'a str, ops: &'a str) -> TransactOp<'a> {
    let action = TransactAction::Update { update: Update::parse(ops).unwrap(), expiry: Expiry::Keep };
    TransactOp { scope: scope.into(), key: key.into(), action }
}

fn limited(quotas: Quotas) -> State {
    State::new(8, quotas, Arc::new(Log::new(0)))
}

#[test]
fn money_moves_and_its_sum_stays_whoever_looks() {
    for stripes in [1, 8] {
        let state = State::in_memory(stripes);
        for i in 0..ACCOUNTS {
            state.set("bank", &account(i), Stored::new("100"), None).unwrap();
        }
        let (done, moved) = (AtomicBool::new(false), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (state, moved) = (&state, &moved);
                scope.spawn(move || {
                    for round in 0..2000 {
                        let (from, to) =
                            (account((thread + round) % ACCOUNTS), account((thread + round * 3 + 1) % ACCOUNTS));
                        if from != to && transfer(state, &from, &to) {
                            moved.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let (state, done) = (&state, &done);
            let reader = scope.spawn(move || {
                let keys: Vec<String> = (0..ACCOUNTS).map(account).collect();
                let keys: Vec<(&str, &str)> = keys.iter().map(|key| ("bank", key.as_str())).collect();
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) || looks < 100 {
                    let sum: i64 =
                        state.entries(&keys).iter().map(|entry| number(&entry.as_ref().unwrap().stored)).sum();
                    assert_eq!(sum, 100 * ACCOUNTS as i64);
                    let list: i64 = state.list("bank").iter().map(number).sum();
                    assert_eq!(list, 100 * ACCOUNTS as i64);
                    looks += 1;
                }
            });
            while moved.load(Ordering::Relaxed) < 1000 {
                std::thread::yield_now();
            }
            done.store(true, Ordering::Relaxed);
            reader.join().unwrap();
        });
    }
}

/// Moves 1 if nobody was faster.
fn transfer(state: &State, from: &str, to: &str) -> bool {
    let entries = state.entries(&[("bank", from), ("bank", to)]);
    let [Some(source), Some(target)] = &entries[..] else { panic!("an account is gone") };
    let check = |key: &str, version| Check { scope: "bank".into(), key: key.to_owned().into(), version: Some(version) };
    let (less, more) = ((number(&source.stored) - 1).to_string(), (number(&target.stored) + 1).to_string());
    let transaction = Transaction {
        checks: vec![check(from, source.version), check(to, target.version)],
        ops: vec![set("bank", from, &less, None), set("bank", to, &more, None)],
    };
    let written = state.transact(&transaction).unwrap();
    assert_eq!(written.position.is_some(), matches!(written.outcome, Transacted::Committed(_)));
    written.position.is_some()
}

#[test]
fn compare_and_set_is_won_by_one() {
    let state = State::in_memory(4);
    state.set("s", "k", Stored::new("0"), None).unwrap();
    let won = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for value in 0..500_u64 {
                    loop {
                        let current = state.get("s", "k").unwrap();
                        if number(&current) as u64 > value {
                            break;
                        }
                        let (expected, new) = (value.to_string(), Stored::new(&(value + 1).to_string()));
                        let condition = Condition::Equals(Value::Json(&expected));
                        if state.compare_and_set("s", "k", new, &condition, None).unwrap().outcome.swapped {
                            won.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    assert_eq!((won.load(Ordering::Relaxed), number(&state.get("s", "k").unwrap())), (500, 500));
}

#[test]
fn operations_see_what_those_before_them_have_left() {
    let state = State::in_memory(4);
    let transaction = Transaction {
        checks: Vec::new(),
        ops: vec![
            set("s", "k", "\"text\"", None),
            update("s", "k", r#"[{"type":"increment","path":"","by":41}]"#),
            delete("s", "k"),
            delete("s", "k"),
            set("s", "other", "[]", None),
            update("s", "other", r#"[{"type":"append","path":"","value":7}]"#),
        ],
    };
    let error = state.transact(&transaction).unwrap();
    // An increment of a text fails: then nothing is done.
    let Transacted::OpFailed { index: 1, errors } = error.outcome else { panic!("{:?}", error.outcome) };
    assert_eq!((errors.len(), error.position, state.key_count()), (1, None, 0));
    let transaction = Transaction {
        ops: transaction.ops.into_iter().enumerate().filter(|(index, _)| *index != 1).map(|(_, op)| op).collect(),
        ..transaction
    };
    let written = state.transact(&transaction).unwrap();
    // Five operations, of which one changed nothing.
    assert_eq!(written.position, Some(4));
    let Transacted::Committed(results) = written.outcome else { panic!() };
    assert!(matches!(&results[0], OpResult::Set { old: None, .. }));
    assert!(matches!(&results[1], OpResult::Deleted(Some(_))) && matches!(&results[2], OpResult::Deleted(None)));
    assert_eq!(state.get("s", "other").unwrap().bytes(), b"[7]");
    assert_eq!(state.entry("s", "other").map(|entry| (entry.version, entry.seq)), Some((4, 3)));
    assert!(state.get("s", "k").is_none());
}

#[test]
fn what_has_expired_goes_before_what_is_written_and_has_a_position_of_its_own() {
    let state = State::in_memory(4);
    state.watch(None);
    state.advance_clock(100);
    for (key, at) in [("late", 120), ("early", 110), ("live", 900)] {
        state.set("s", key, Stored::new("1"), Some(at)).unwrap();
    }
    state.advance_clock(200);
    let ops = vec![set("s", "late", "2", None), set("s", "early", "2", None), set("s", "live", "2", Some(150))];
    let written = state.transact(&Transaction { checks: Vec::new(), ops }).unwrap();
    assert_eq!(written.position, Some(8));
    let mut changes = Vec::new();
    state.take_changes(&mut changes);
    let told: Vec<(u64, &str, &str)> =
        changes.iter().map(|c| (c.order.0, &c.kind.event_type()[6..], &*c.key)).collect();
    let expected = [
        (1, "created", "late"),
        (2, "created", "early"),
        (3, "created", "live"),
        (4, "expired", "early"),
        (5, "expired", "late"),
        (8, "created", "late"),
        (8, "created", "early"),
        (8, "updated", "live"),
        (9, "expired", "live"),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_scope_goes_at_one_instant() {
    let state = State::in_memory(8);
    state.advance_clock(10);
    for i in 0..50 {
        state.set("s", &format!("k{i}"), Stored::new("1"), (i == 7).then_some(20)).unwrap();
        state.set("other", &format!("k{i}"), Stored::new("1"), None).unwrap();
    }
    state.advance_clock(30);
    state.watch(Some("s"));
    let written = state.delete_scope("s").unwrap();
    assert_eq!((written.outcome, written.position), (49, Some(102)), "one has expired first");
    assert_eq!(state.delete_scope("s").unwrap().position, None);
    assert_eq!((state.key_count(), state.list_groups().len()), (50, 1));
    let mut changes = Vec::new();
    state.take_changes(&mut changes);
    let keys: Vec<String> = changes.iter().map(|change| change.key.to_string()).collect();
    let order: Vec<String> = std::iter::once(7).chain((0..50).filter(|i| *i != 7)).map(|i| format!("k{i}")).collect();
    assert_eq!(keys, order);
}

#[test]
fn quotas_hold_on_both_sides_and_count_transactions_as_a_whole() {
    let state = limited(Quotas { scope_bytes_max: Some(10), total_bytes_max: Some(20), ..Quotas::default() });
    let write = |scope: &str, key: &str, value: &str| state.set(scope, key, Stored::new(value), None);
    // "a": 1 + 9 bytes in the scope, 11 in all.
    write("a", "k", "123456789").unwrap();
    let error = write("a", "k", "1234567890").unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        ("SCOPE_FULL", "scope \"a\" would have 11 bytes, the configured max_scope_bytes limit is 10")
    );
    write("a", "k", "12345678").unwrap();
    let error = write("b", "k", "123456789").unwrap_err();
    assert_eq!(
        (error.code, &*error.message),
        ("STATE_FULL", "state would have 21 bytes, the configured max_total_bytes limit is 20")
    );
    write("b", "k", "12345678").unwrap();
    // Full; what makes nothing larger is written all the same, and room that a transaction makes is there for it.
    write("b", "k", "87654321").unwrap();
    assert_eq!(write("c", "k", "1").unwrap_err().code, "STATE_FULL");
    let ops = vec![set("c", "k", "12345678", None), delete("a", "k")];
    state.transact(&Transaction { checks: Vec::new(), ops }).unwrap();
    state.delete("b", "k").unwrap();
    state.delete_scope("c").unwrap();
    write("d", "k", "123456789").unwrap();
    assert_eq!(state.live_bytes(), 11);
}

#[test]
fn quotas_are_not_overtaken_by_threads() {
    let state = limited(Quotas { total_bytes_max: Some(1000), ..Quotas::default() });
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let state = &state;
            scope.spawn(move || {
                for i in 0..3000 {
                    let key = format!("{thread}-{}", i % 40);
                    if i % 3 == 0 {
                        drop(state.delete("s", &key).unwrap());
                    } else {
                        let _ = state.set("s", &key, Stored::new("1234567890"), (i % 5 == 0).then_some(1));
                    }
                    assert!(state.live_bytes() <= 1000 + THREADS * 20, "{}", state.live_bytes());
                }
            });
        }
    });
    for scope in state.list_groups() {
        state.delete_scope(&scope).unwrap();
    }
    state.advance_clock(5);
    state.expire_due(1000);
    assert_eq!(state.live_bytes(), 0);
    // Everything that was counted has been given back.
    let value = "1".repeat(998);
    state.set("s", "k", Stored::new(&value), None).unwrap();
}

/// `{"v":"xx…"}` with as many bytes.
fn large(bytes: usize) -> String {
    format!("{{\"v\":\"{}\"}}", "x".repeat(bytes - 8))
}

#[test]
fn what_one_transaction_sets_is_bounded() {
    let state = State::in_memory(4);
    // Four of them have 256 MiB with their scopes and keys; they share one text.
    let quarter = Stored::new(&large((64 << 20) - 2));
    let of = |value: &Stored, key| TransactOp {
        scope: "s".into(),
        key,
        action: TransactAction::Set { value: value.clone(), expires_at: None },
    };
    let ops = |last: &Stored| {
        let mut ops: Vec<_> = ["a", "b", "c"].into_iter().map(|key| of(&quarter, key.into())).collect();
        ops.extend([delete("s", "a"), of(last, "d".into())]);
        ops
    };
    let over = Stored::new(&large((64 << 20) - 1));
    let error = state.transact(&Transaction { checks: Vec::new(), ops: ops(&over) }).err().unwrap();
    assert_eq!(error.code, "payload_too_large");
    assert_eq!(
        &*error.message,
        "scopes, keys and values of one write have 268435457 bytes or more, the limit is 268435456"
    );
    assert_eq!((state.key_count(), state.log().last()), (0, 0));
    state.transact(&Transaction { checks: Vec::new(), ops: ops(&quarter) }).unwrap();
    assert_eq!(state.key_count(), 3);
}

#[test]
fn small_updates_of_a_large_value_do_not_add_up_without_end() {
    let state = State::in_memory(4);
    state.set("s", "k", Stored::new(&large(64 << 20)), None).unwrap();
    let ops = (0..8).map(|_| update("s", "k", r#"[{"type":"increment","path":"n","by":1}]"#)).collect();
    let error = state.transact(&Transaction { checks: Vec::new(), ops }).err().unwrap();
    assert_eq!(error.code, "payload_too_large");
    assert_eq!(state.entry("s", "k").unwrap().version, 1);
}

#[test]
fn a_value_does_not_grow_without_end() {
    let state = State::in_memory(4);
    let value = Stored::new(&large((256 << 20) - 2));
    assert!(state.set("s", "k", value, None).is_ok());
    let update = Update::parse(r#"[{"type":"set","path":"w","value":1}]"#).unwrap();
    let error = state.update("s", "k", &update, Expiry::Keep).err().unwrap();
    assert_eq!(error.code, "payload_too_large");
    assert!(error.message.contains("have 268435462 bytes or more"), "{}", error.message);
    assert_eq!(state.entry("s", "k").unwrap().version, 1);
}
