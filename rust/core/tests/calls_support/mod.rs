//! One state and its functions, JSON text to JSON text.
#![allow(clippy::unwrap_used, dead_code)]

use std::sync::Arc;

use iii_fast_core::calls::Wake;
use iii_fast_core::codec::{Codec, Value};
use iii_fast_core::error::WireError;
use iii_fast_core::log::Log;
use iii_fast_core::state::{Quotas, Served, State, StateCall, serve};

/// When tests begin, Unix ms.
pub const NOW: u64 = 1000;

/// A state in memory, or one whose journal never writes.
pub struct Api(pub State);

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

impl Api {
    pub fn new() -> Self {
        Self::with(Quotas::default())
    }

    pub fn with(quotas: Quotas) -> Self {
        let state = State::new(4, quotas, Arc::new(Log::new(0)));
        state.advance_clock(NOW);
        Api(state)
    }

    pub fn journaled() -> Self {
        let api = Self::new();
        api.0.log().attach(0, Box::new(Nobody));
        api
    }

    pub fn serve(&self, function: &str, data: &str) -> Result<Served, WireError> {
        let call = StateCall::from_function_id(&format!("state::{function}")).unwrap();
        serve(&self.0, call, Value::Json(data))
    }

    /// The JSON of `result`, `nothing`, or code and text of an error.
    pub fn call(&self, function: &str, data: &str) -> String {
        match self.serve(function, data) {
            Ok(served) => {
                let mut result = Vec::new();
                served.answer.write_to(Codec::Json, &mut result);
                assert_eq!(served.answer.len(Codec::Json), result.len(), "{function} {data}");
                assert_eq!(served.answer.is_absent(), result.is_empty(), "{function} {data}");
                if result.is_empty() { "nothing".to_owned() } else { String::from_utf8(result).unwrap() }
            }
            Err(error) => error.to_string(),
        }
    }

    #[track_caller]
    pub fn gives(&self, function: &str, data: &str, expected: &str) {
        assert_eq!(self.call(function, data), expected, "{function} {data}");
    }

    /// The input cannot be used, for this reason, and nothing is written.
    #[track_caller]
    pub fn refuses(&self, function: &str, data: &str, reason: &str) {
        let before = self.0.log().last();
        let expected = format!("deserialization_error: Failed to deserialize input for state::{function}: {reason}");
        assert_eq!(self.call(function, data), expected, "{function} {data}");
        assert_eq!(self.0.log().last(), before, "{function} {data}");
    }
}
