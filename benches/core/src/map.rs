//! Gets and sets of the map, without a message around them.

use iii_fast_core::limits::Limits;
use iii_fast_core::state::{State, Stored};
use iii_fast_load::random::{Chooser, Draw, Random};
use iii_fast_load::value::Values;

use crate::{SEED, Work, Wrong, measured};

const KEYS: u32 = 1_000;
const STEPS: usize = 10_000;
const GET_PERCENT: u32 = 90;
const VALUE_BYTES: usize = 100;

struct Step {
    key: u32,
    /// The version that must be found.
    before: u32,
    set: Option<String>,
}

/// 90 gets to 10 sets of values of 100 bytes.
pub struct Map {
    state: State,
    keys: Vec<String>,
    values: Values,
    steps: Vec<Step>,
    found: Vec<Option<Stored>>,
}

impl Map {
    /// Every key is there.
    pub fn new(draw: Draw) -> Self {
        let values = Values::new(VALUE_BYTES, SEED);
        let state = State::in_memory(Limits::default().stripes);
        let keys: Vec<String> = (0..KEYS).map(|key| format!("key-{key:08x}")).collect();
        for (number, key) in keys.iter().enumerate() {
            // Without quotas and files nothing is refused, and the check would find what is not there.
            let _ = state.set("bench", key, Stored::new(&text(&values, number as u32, 1)), None);
        }
        let (chooser, mut random) = (Chooser::new(draw, KEYS), Random::new(SEED, 1));
        let mut versions = vec![1; KEYS as usize];
        let steps = std::iter::repeat_with(|| {
            let key = chooser.choose(&mut random);
            let version = &mut versions[key as usize];
            let before = *version;
            let set = (random.below(100) >= GET_PERCENT).then(|| {
                *version += 1;
                text(&values, key, *version)
            });
            Step { key, before, set }
        });
        let steps = steps.take(STEPS).collect();
        Map { state, keys, values, steps, found: Vec::with_capacity(STEPS) }
    }
}

fn text(values: &Values, key: u32, version: u32) -> String {
    let mut text = Vec::new();
    values.write(&mut text, key, version);
    String::from_utf8(text).unwrap_or_default()
}

impl Work for Map {
    fn run(&mut self) {
        let Self { state, keys, steps, found, .. } = self;
        measured(|| {
            for step in steps.iter() {
                let key = &keys[step.key as usize];
                found.push(match &step.set {
                    None => state.get("bench", key),
                    Some(text) => match state.set("bench", key, Stored::new(text), None) {
                        Ok(written) => written.outcome,
                        Err(_) => None,
                    },
                });
            }
        });
    }

    fn check(&self) -> Result<(), Wrong> {
        for (number, step) in self.steps.iter().enumerate() {
            let found = self.found.get(number).and_then(Option::as_ref);
            if !found.is_some_and(|found| self.values.is(found.bytes(), step.key, step.before)) {
                return Err(Wrong { what: "map", number });
            }
        }
        Ok(())
    }
}
