//! The striped map against a plain list of entries: any program of calls gives the same answers, whatever the stripes.
#![allow(clippy::unwrap_used)]

use iii_fast_core::state::{Change, ChangeKind, State, Stored};
use proptest::prelude::*;

/// What state is, said in the simplest way: entries in insertion order.
#[derive(Default)]
struct Model {
    entries: Vec<(String, String, String)>,
    watches: Vec<Option<String>>,
    position: u64,
    changes: Vec<Change>,
}

impl Model {
    fn at(&self, scope: &str, key: &str) -> Option<usize> {
        self.entries.iter().position(|(s, k, _)| s == scope && k == key)
    }

    fn get(&self, scope: &str, key: &str) -> Option<String> {
        self.at(scope, key).map(|at| self.entries[at].2.clone())
    }

    fn set(&mut self, scope: &str, key: &str, value: &str) -> Option<String> {
        let old = self.get(scope, key);
        match self.at(scope, key) {
            Some(at) => self.entries[at].2 = value.to_owned(),
            None => self.entries.push((scope.to_owned(), key.to_owned(), value.to_owned())),
        }
        self.position += 1;
        self.note(scope, key, old.as_deref(), Some(value));
        old
    }

    fn delete(&mut self, scope: &str, key: &str) -> Option<String> {
        let (_, _, old) = self.entries.remove(self.at(scope, key)?);
        self.position += 1;
        self.note(scope, key, Some(&old), None);
        Some(old)
    }

    fn list(&self, scope: &str) -> Vec<String> {
        self.entries.iter().filter(|(s, _, _)| s == scope).map(|(_, _, value)| value.clone()).collect()
    }

    fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = self.entries.iter().map(|(scope, _, _)| scope.clone()).collect();
        groups.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        groups.dedup();
        groups
    }

    fn note(&mut self, scope: &str, key: &str, old: Option<&str>, new: Option<&str>) {
        if !self.watches.iter().any(|watch| watch.as_deref().is_none_or(|watched| watched == scope)) {
            return;
        }
        let kind = match (old, new) {
            (_, None) => ChangeKind::Deleted,
            (None, _) => ChangeKind::Created,
            _ => ChangeKind::Updated,
        };
        let (old, new) = (old.map(Stored::new), new.map(Stored::new));
        self.changes.push(Change { scope: scope.into(), key: key.into(), kind, order: (self.position, 0), old, new });
    }
}

#[derive(Debug, Clone)]
enum Step {
    Get(String, String),
    Set(String, String, u32),
    Delete(String, String),
    List(String),
    Groups,
    Watch(Option<String>),
    Unwatch(Option<String>),
    TakeChanges,
}

/// Few names, so that programs meet the same key again; awkward ones, and both sides of the length that lies in place.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-c]",
        1 => Just(String::new()),
        1 => Just("\u{0}".to_owned()),
        1 => Just("ключ 🗝 \"\\\n".to_owned()),
        1 => Just("k".repeat(22)),
        1 => Just("k".repeat(23)),
        1 => Just("k".repeat(5000)),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![3 => (0..200_u32).prop_map(|i| format!("key-{i}")), 1 => name()]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (name(), key()).prop_map(|(scope, key)| Step::Get(scope, key)),
        8 => (name(), key(), any::<u32>()).prop_map(|(scope, key, value)| Step::Set(scope, key, value)),
        5 => (name(), key()).prop_map(|(scope, key)| Step::Delete(scope, key)),
        2 => name().prop_map(Step::List),
        1 => Just(Step::Groups),
        1 => proptest::option::of(name()).prop_map(Step::Watch),
        1 => proptest::option::of(name()).prop_map(Step::Unwatch),
        1 => Just(Step::TakeChanges),
    ]
}

fn text(stored: &Stored) -> String {
    String::from_utf8(stored.bytes().to_vec()).unwrap()
}

fn run(state: &State, model: &mut Model, step: &Step) {
    let waiting = model.changes.len();
    match step {
        Step::Get(scope, key) => assert_eq!(state.get(scope, key).as_ref().map(text), model.get(scope, key)),
        Step::Set(scope, key, value) => {
            let value = value.to_string();
            let written = state.set(scope, key, Stored::new(&value), None).unwrap();
            assert_eq!(written.outcome.as_ref().map(text), model.set(scope, key, &value));
            assert_eq!(written.noted, model.changes.len() > waiting);
        }
        Step::Delete(scope, key) => {
            let written = state.delete(scope, key).unwrap();
            assert_eq!(written.outcome.as_ref().map(text), model.delete(scope, key));
            assert_eq!(written.noted, model.changes.len() > waiting);
        }
        Step::List(scope) => {
            assert_eq!(state.list(scope).iter().map(text).collect::<Vec<_>>(), model.list(scope));
        }
        Step::Groups => {
            let groups: Vec<String> = state.list_groups().into_iter().map(String::from).collect();
            assert_eq!(groups, model.groups());
        }
        Step::Watch(scope) => {
            state.watch(scope.as_deref());
            model.watches.push(scope.clone());
        }
        Step::Unwatch(scope) => {
            state.unwatch(scope.as_deref());
            if let Some(at) = model.watches.iter().position(|watch| watch == scope) {
                model.watches.remove(at);
            }
        }
        Step::TakeChanges => {
            let mut taken = Vec::new();
            state.take_changes(&mut taken);
            assert_eq!(taken, std::mem::take(&mut model.changes));
        }
    }
    assert_eq!(state.changes_waiting(), model.changes.len());
    assert_eq!(state.key_count(), model.entries.len());
}

fn check_everything(state: &State, model: &Model) {
    let groups = model.groups();
    assert_eq!(state.list_groups().into_iter().map(String::from).collect::<Vec<_>>(), groups);
    for scope in &groups {
        assert_eq!(state.list(scope).iter().map(text).collect::<Vec<_>>(), model.list(scope));
    }
    let mut last_seq = 0;
    for (scope, key, value) in &model.entries {
        let entry = state.entry(scope, key).unwrap();
        assert_eq!(&text(&entry.stored), value);
        assert!(entry.seq > last_seq && entry.version >= entry.seq);
        last_seq = entry.seq;
    }
}

proptest! {
    #[test]
    fn every_program_gives_what_the_model_gives(
        stripes in prop_oneof![Just(1_usize), Just(2), Just(64)],
        steps in proptest::collection::vec(step(), 1..600),
    ) {
        let state = State::in_memory(stripes);
        let mut model = Model::default();
        for step in &steps {
            run(&state, &mut model, step);
        }
        check_everything(&state, &model);
    }
}

/// Large enough that pages, tables and parts grow and shrink again, many times.
#[test]
fn growing_and_shrinking_keeps_everything_in_place() {
    for stripes in [1, 2, 64] {
        let state = State::in_memory(stripes);
        let mut model = Model::default();
        let mut random = 12345_u64;
        for round in 0..6 {
            for _ in 0..4000 {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let n = random >> 33;
                let (scope, key) = (format!("scope-{}", n % 7), format!("key-{}", n / 7 % 300));
                // Even rounds mostly fill, odd ones mostly empty.
                let fill = (n / 2100 % 10 < 8) == (round % 2 == 0);
                let step = if fill { Step::Set(scope, key, n as u32) } else { Step::Delete(scope, key) };
                run(&state, &mut model, &step);
            }
            check_everything(&state, &model);
        }
        let entries: Vec<_> = model.entries.iter().map(|(scope, key, _)| (scope.clone(), key.clone())).collect();
        for (scope, key) in entries {
            run(&state, &mut model, &Step::Delete(scope, key));
        }
        assert!(state.list_groups().is_empty() && state.key_count() == 0);
    }
}

#[test]
fn scopes_come_and_go_in_thousands() {
    for stripes in [1, 64] {
        let state = State::in_memory(stripes);
        let mut model = Model::default();
        let key = |i: u32| (format!("scope-{i}"), format!("key-{i}"));
        for round in 0..2 {
            for i in 0..3000 {
                let (scope, key) = key(i);
                run(&state, &mut model, &Step::Set(scope, key, round));
            }
            for i in (0..3000).filter(|i| i % 100 != round) {
                let (scope, key) = key(i);
                run(&state, &mut model, &Step::Delete(scope, key));
            }
            check_everything(&state, &model);
        }
    }
}

#[test]
fn an_overwrite_keeps_its_place_and_a_key_set_again_is_last() {
    let state = State::in_memory(64);
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3"), ("a", "4")] {
        state.set("s", key, Stored::new(value), None).unwrap();
    }
    assert_eq!(state.list("s").iter().map(text).collect::<Vec<_>>(), ["4", "2", "3"]);
    assert_eq!(state.entry("s", "a").unwrap().version, 4);
    state.delete("s", "a").unwrap();
    state.set("s", "a", Stored::new("5"), None).unwrap();
    assert_eq!(state.list("s").iter().map(text).collect::<Vec<_>>(), ["2", "3", "5"]);
    assert_eq!(state.entry("s", "a").unwrap().version, 6);
}

#[test]
fn reads_share_the_stored_text() {
    let state = State::in_memory(2);
    let value = Stored::new("{\"a\":1}");
    state.set("s", "k", value.clone(), None).unwrap();
    assert!(state.get("s", "k").unwrap().shares(&value));
    assert!(state.list("s")[0].shares(&value));
}

#[test]
fn every_number_of_stripes_works() {
    for stripes in [0, 1, 3, 5, 100, 1000] {
        let state = State::in_memory(stripes);
        for i in 0..2000 {
            state.set("s", &format!("k{i}"), Stored::new(&i.to_string()), None).unwrap();
        }
        let listed: Vec<String> = state.list("s").iter().map(text).collect();
        assert_eq!(listed, (0..2000).map(|i| i.to_string()).collect::<Vec<_>>());
    }
}
