//! What state may hold at most (docs/state.md, 14).

use crate::codec::json::write_string;
use crate::error::{WireError, code};
use crate::limits::COMMIT_BYTES_MAX;
use parking_lot::Mutex;
use std::collections::HashMap;

/// Bounds in bytes; none is unlimited.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quotas {
    /// Of a key, and of a scope's name.
    pub key_bytes_max: Option<usize>,
    /// Of one value's JSON text.
    pub value_bytes_max: Option<usize>,
    /// Of the keys and values of one scope.
    pub scope_bytes_max: Option<usize>,
    /// Of all scope names, keys and values.
    pub total_bytes_max: Option<usize>,
}

impl Quotas {
    /// Whether the names may be written.
    pub(crate) fn check_names(&self, scope: &str, key: &str) -> Result<(), WireError> {
        let Some(max) = self.key_bytes_max else { return Ok(()) };
        for (what, name) in [("scope", scope), ("key", key)] {
            if name.len() > max {
                let text =
                    format!("{what} of {} bytes exceeds the configured max_key_bytes limit of {max}", name.len());
                return Err(WireError::new(code::KEY_TOO_LARGE, text));
            }
        }
        Ok(())
    }

    /// Whether a value may be written.
    pub(crate) fn check_value(&self, bytes: usize) -> Result<(), WireError> {
        match self.value_bytes_max {
            Some(max) if bytes > max => {
                let text = format!("value of {bytes} bytes exceeds the configured max_value_bytes limit of {max}");
                Err(WireError::new(code::VALUE_TOO_LARGE, text))
            }
            _ => Ok(()),
        }
    }
}

/// Whether one call may set as much: `bytes` of scopes, keys and values so far.
#[inline]
pub(super) fn check_commit(bytes: usize) -> Result<(), WireError> {
    if bytes <= COMMIT_BYTES_MAX { Ok(()) } else { Err(commit_too_large(bytes)) }
}

#[cold]
fn commit_too_large(bytes: usize) -> WireError {
    let text =
        format!("scopes, keys and values of one write have {bytes} bytes or more, the limit is {COMMIT_BYTES_MAX}");
    WireError::new(code::PAYLOAD_TOO_LARGE, text)
}

/// How much is there, where a quota asks for it. Its lock is taken while stripes are locked, and nothing inside it.
#[derive(Default)]
pub(super) struct Usage {
    scope_bytes_max: Option<usize>,
    total_bytes_max: Option<usize>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: i64,
    scopes: HashMap<Box<str>, i64>,
}

/// How a write changes the bytes of one scope.
#[derive(Debug, Clone, Copy)]
pub(super) struct Charge<'a> {
    pub(super) scope: &'a str,
    /// Keys and values.
    pub(super) scope_delta: i64,
    /// Scope names, keys and values.
    pub(super) total_delta: i64,
}

impl Usage {
    pub(super) fn new(quotas: &Quotas) -> Self {
        Usage {
            scope_bytes_max: quotas.scope_bytes_max,
            total_bytes_max: quotas.total_bytes_max,
            counts: Mutex::default(),
        }
    }

    /// Whether anything has to be counted.
    #[inline]
    pub(super) fn counts(&self) -> bool {
        self.scope_bytes_max.is_some() || self.total_bytes_max.is_some()
    }

    /// Counts a write, whose charges are of different scopes, or refuses it as a whole.
    pub(super) fn charge(&self, charges: &[Charge<'_>]) -> Result<(), WireError> {
        let mut counts = self.counts.lock();
        if let Some(max) = self.scope_bytes_max {
            for charge in charges {
                let bytes = counts.scopes.get(charge.scope).copied().unwrap_or(0) + charge.scope_delta;
                if charge.scope_delta > 0 && bytes > max as i64 {
                    return Err(scope_full(charge.scope, bytes, max));
                }
            }
        }
        let delta: i64 = charges.iter().map(|charge| charge.total_delta).sum();
        if let Some(max) = self.total_bytes_max {
            let bytes = counts.total + delta;
            if delta > 0 && bytes > max as i64 {
                let text = format!("state would have {bytes} bytes, the configured max_total_bytes limit is {max}");
                return Err(WireError::new(code::STATE_FULL, text));
            }
        }
        counts.apply(charges);
        Ok(())
    }

    /// Counts what must not be refused.
    pub(super) fn note(&self, charge: Charge<'_>) {
        self.counts.lock().apply(&[charge]);
    }
}

#[cold]
fn scope_full(scope: &str, bytes: i64, max: usize) -> WireError {
    let mut name = Vec::new();
    write_string(&mut name, scope);
    let name = String::from_utf8_lossy(&name);
    let text = format!("scope {name} would have {bytes} bytes, the configured max_scope_bytes limit is {max}");
    WireError::new(code::SCOPE_FULL, text)
}

impl Counts {
    fn apply(&mut self, charges: &[Charge<'_>]) {
        for charge in charges {
            self.total += charge.total_delta;
            if charge.scope_delta == 0 {
                continue;
            }
            let bytes = match self.scopes.get_mut(charge.scope) {
                Some(bytes) => bytes,
                None => self.scopes.entry(charge.scope.into()).or_default(),
            };
            *bytes += charge.scope_delta;
            if *bytes == 0 {
                self.scopes.remove(charge.scope);
            }
        }
    }
}
