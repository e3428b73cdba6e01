//! Random writes, crashes and restarts, against a map of the standard library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use iii_fast_core::log::Progress;
use iii_fast_core::state::{Stored, TransactAction, TransactOp, Transaction};
use iii_fast_journal::{Options, SyncLevel};
use proptest::prelude::*;
use std::collections::BTreeMap;
use support::disk::{Disk, Loss};
use support::{Engine, options};

type Model = BTreeMap<(u8, u8), u32>;

#[derive(Debug, Clone)]
enum Step {
    Set {
        scope: u8,
        key: u8,
        value: u32,
    },
    Delete {
        scope: u8,
        key: u8,
    },
    DeleteScope {
        scope: u8,
    },
    Together {
        scope: u8,
        sets: Vec<(u8, u32)>,
        deletes: Vec<u8>,
    },
    /// Waits for everything so far, on the disk or as the level has it.
    Wait {
        durable: bool,
    },
    Restart,
    Crash {
        loss: Option<u64>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (scope, key) = (0..3u8, 0..12u8);
    prop_oneof![
        12 => (scope.clone(), key.clone(), any::<u32>()).prop_map(|(scope, key, value)| Step::Set { scope, key, value }),
        4 => (scope.clone(), key.clone()).prop_map(|(scope, key)| Step::Delete { scope, key }),
        1 => scope.clone().prop_map(|scope| Step::DeleteScope { scope }),
        3 => (scope, prop::collection::vec((key.clone(), any::<u32>()), 0..4), prop::collection::vec(key, 0..3))
            .prop_map(|(scope, sets, deletes)| Step::Together { scope, sets, deletes }),
        3 => any::<bool>().prop_map(|durable| Step::Wait { durable }),
        1 => Just(Step::Restart),
        1 => prop_oneof![Just(None), any::<u64>().prop_map(Some)].prop_map(|loss| Step::Crash { loss }),
    ]
}

/// Applies a step to both; the position, when it wrote something.
fn write(engine: &Engine, model: &mut Model, step: &Step) -> Option<u64> {
    let name = |number: &u8| format!("n{number}");
    let stored = |value: &u32| Stored::new(&value.to_string());
    let state = &engine.state;
    match step {
        Step::Set { scope, key, value } => {
            model.insert((*scope, *key), *value);
            state.set(&name(scope), &name(key), stored(value), None).unwrap().position
        }
        Step::Delete { scope, key } => {
            model.remove(&(*scope, *key));
            state.delete(&name(scope), &name(key)).unwrap().position
        }
        Step::DeleteScope { scope } => {
            model.retain(|(other, _), _| other != scope);
            state.delete_scope(&name(scope)).unwrap().position
        }
        Step::Together { scope, sets, deletes } => {
            model.extend(sets.iter().map(|(key, value)| ((*scope, *key), *value)));
            model.retain(|(other, key), _| other != scope || !deletes.contains(key));
            let op = |key: &u8, action| TransactOp { scope: name(scope).into(), key: name(key).into(), action };
            let sets =
                sets.iter().map(|(key, value)| op(key, TransactAction::Set { value: stored(value), expires_at: None }));
            let deletes = deletes.iter().map(|key| op(key, TransactAction::Delete));
            let ops = sets.chain(deletes).collect();
            state.transact(&Transaction { checks: Vec::new(), ops }).unwrap().position
        }
        Step::Wait { .. } | Step::Restart | Step::Crash { .. } => None,
    }
}

fn found(engine: &Engine) -> Model {
    let number = |name: &str| name[1..].parse::<u8>().unwrap();
    let all = engine.contents();
    all.into_iter()
        .map(|((scope, key), (value, ..))| ((number(&scope), number(&key)), value.parse().unwrap()))
        .collect()
}

fn run(level: SyncLevel, segment_bytes: u64, steps: &[Step]) {
    let options = Options { segment_bytes, sync_interval: support::DEADLINE * 60, ..options(level) };
    let mut disk = Disk::default();
    let mut engine = Engine::start(disk.clone(), options.clone()).unwrap();
    let mut model = Model::new();
    // What there was after each position.
    let mut models = BTreeMap::from([(0, model.clone())]);
    for step in steps {
        match step {
            Step::Wait { durable } => {
                let last = *models.last_key_value().unwrap().0;
                assert_eq!(engine.wait(last, *durable), Progress::Acknowledged);
                assert!(!durable || engine.log.synced() >= last);
            }
            Step::Restart => {
                engine.stop();
                engine = Engine::start(disk.clone(), options.clone()).unwrap();
                assert!(engine.recovered.clean && engine.recovered.torn.is_none());
                assert_eq!(found(&engine), model);
            }
            Step::Crash { loss } => {
                let promised = if loss.is_some() { engine.log.synced() } else { engine.log.acknowledged() };
                let crashed = disk.crash(loss.map_or(Loss::Nothing, Loss::Some));
                drop(std::mem::replace(&mut disk, crashed));
                engine = Engine::start(disk.clone(), options.clone()).unwrap();
                let last = engine.recovered.last;
                assert!(last >= promised, "up to {last} of {promised}");
                models.split_off(&(last + 1));
                model = models[&last].clone();
                assert_eq!(found(&engine), model, "after {loss:?} at {last}");
            }
            _ => {
                if let Some(position) = write(&engine, &mut model, step) {
                    engine.log.hand_over();
                    models.insert(position, model.clone());
                }
            }
        }
        assert_eq!(found(&engine), model);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn restarts_and_crashes_keep_what_was_promised(
        level in prop_oneof![Just(SyncLevel::Always), Just(SyncLevel::Interval), Just(SyncLevel::Never)],
        segment_bytes in 60..800u64,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(level, segment_bytes, &steps);
    }
}
