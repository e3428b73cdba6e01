//! Updates as tests see them: what is stored before, operations, what is stored after.
#![allow(clippy::unwrap_used, dead_code)]

use iii_fast_core::codec::{Codec, Value};
use iii_fast_core::state::{State, StateCall, Stored, serve};

/// Stands for a key that is not there.
pub const NOTHING: &str = "";

/// What an update came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The new text, if something was written.
    pub wrote: Option<String>,
    /// (`op_index`, code, message).
    pub errors: Vec<(usize, String, String)>,
}

impl Outcome {
    /// The same with one more error.
    pub fn with_error(mut self, op_index: usize, code: &str, message: &str) -> Self {
        self.errors.push((op_index, code.to_owned(), message.to_owned()));
        self
    }
}

/// Written, without errors.
pub fn wrote(text: &str) -> Outcome {
    Outcome { wrote: Some(text.to_owned()), errors: Vec::new() }
}

/// Nothing written, without errors.
pub fn unchanged() -> Outcome {
    Outcome { wrote: None, errors: Vec::new() }
}

/// Nothing written, because the only operation failed.
pub fn error(code: &str, message: &str) -> Outcome {
    unchanged().with_error(0, code, message)
}

fn input(ops: &str) -> String {
    format!(r#"{{"scope":"s","key":"k","ops":{ops}}}"#)
}

/// Serves `state::update` and checks everything about the answer that does not depend on the operations.
#[track_caller]
pub fn apply(stored: &str, ops: &str) -> Outcome {
    let state = State::in_memory(1);
    state.watch(None);
    if stored != NOTHING {
        state.set("s", "k", Stored::new(stored), None).unwrap();
    }
    let before = state.changes_waiting();
    let served = serve(&state, StateCall::Update, Value::Json(&input(ops))).unwrap();
    let mut answer = Vec::new();
    served.answer.write_to(Codec::Json, &mut answer);
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let now = state.get("s", "k").map(|stored| String::from_utf8(stored.bytes().to_vec()).unwrap());
    let value =
        |text: &str| serde_json::from_str::<serde_json::Value>(if text == NOTHING { "null" } else { text }).unwrap();
    assert_eq!(answer["old_value"], value(stored));
    assert_eq!(answer["new_value"], value(now.as_deref().unwrap_or(NOTHING)));
    let wrote = served.receipt.is_some();
    assert_eq!((wrote, state.changes_waiting() > before), (served.noted, served.noted));
    assert_eq!(answer.get("errors").is_some(), answer["errors"][0].is_object());
    if !wrote {
        assert_eq!(now.as_deref().unwrap_or(NOTHING), stored);
    }
    let errors = answer.get("errors").and_then(|errors| errors.as_array()).cloned().unwrap_or_default();
    let errors = errors.iter().map(|entry| {
        assert_eq!(entry["doc_url"], "https://iii.dev/docs/workers/iii-state#error-codes");
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        (entry["op_index"].as_u64().unwrap() as usize, text("code"), text("message"))
    });
    Outcome { wrote: now.filter(|_| wrote), errors: errors.collect() }
}

/// Checks that the call as a whole fails with this reason, and writes nothing.
#[track_caller]
pub fn refused(ops: &str, reason: &str) {
    let state = State::in_memory(1);
    let error = serve(&state, StateCall::Update, Value::Json(&input(ops))).unwrap_err();
    assert_eq!(error.code, "deserialization_error");
    assert_eq!(error.message, format!("Failed to deserialize input for state::update: {reason}"), "{ops}");
    assert_eq!(state.key_count(), 0);
}
