//! Who provides a function: a worker, or the control plane. (`state::*` never gets here: it is served before the look-up.)
//!
//! Ids of the control plane and of state are reserved: a worker cannot take or remove them.

use crate::codec::json;
use crate::peer::Peer;
use crate::state::StateCall;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;

/// One function of a worker.
#[derive(Debug)]
pub struct Function {
    /// As registered.
    pub id: Box<str>,
    /// The same as JSON text, for messages.
    pub id_json: Box<str>,
    /// Who executes it.
    pub peer: Arc<Peer>,
    /// The `registerfunction` message as it came.
    pub registration: Box<str>,
}

/// Where an invocation goes.
#[derive(Debug, Clone)]
pub enum Provider {
    /// To a worker.
    Worker(Arc<Function>),
    /// Up to Python.
    Control,
}

/// Why a registration was refused.
#[derive(Debug)]
pub enum Refusal {
    /// The id is built in.
    BuiltIn,
    /// Another worker has it.
    Owned(Arc<Peer>),
    /// The worker has as many functions as one may have.
    TooMany,
}

fn json_text(id: &str) -> Box<str> {
    let mut text = Vec::with_capacity(id.len() + 2);
    json::write_string(&mut text, id);
    String::from_utf8_lossy(&text).into()
}

/// All functions but the state API's.
#[derive(Default)]
pub struct Registry {
    functions: RwLock<HashMap<Box<str>, Provider, RandomState>>,
}

impl Registry {
    /// Reserves ids that the control plane provides.
    pub fn define<'a>(&self, ids: impl IntoIterator<Item = &'a str>) {
        let mut functions = self.functions.write();
        for id in ids {
            functions.insert(id.into(), Provider::Control);
        }
    }

    /// Where an invocation of `id` goes.
    pub fn find(&self, id: &str) -> Option<Provider> {
        self.functions.read().get(id).cloned()
    }

    /// As [`Self::find`], for as long as `look` takes; no function is registered or removed meanwhile.
    pub(crate) fn with<T>(&self, id: &str, look: impl FnOnce(Option<&Provider>) -> T) -> T {
        look(self.functions.read().get(id))
    }

    /// Whether `id` can be invoked.
    pub fn contains(&self, id: &str) -> bool {
        StateCall::from_function_id(id).is_some() || self.functions.read().contains_key(id)
    }

    /// Registers or replaces a function of `peer`, which may have `functions_max`. Does nothing for a worker that is already gone.
    pub fn register(
        &self,
        id: &str,
        peer: &Arc<Peer>,
        registration: &str,
        functions_max: usize,
    ) -> Result<(), Refusal> {
        if StateCall::from_function_id(id).is_some() {
            return Err(Refusal::BuiltIn);
        }
        let mut functions = self.functions.write();
        // Judged under the lock: clean-up marks the worker gone first and then takes this lock.
        if peer.is_gone() {
            return Ok(());
        }
        match functions.get(id) {
            Some(Provider::Control) => return Err(Refusal::BuiltIn),
            Some(Provider::Worker(owner)) if owner.peer.session != peer.session => {
                return Err(Refusal::Owned(owner.peer.clone()));
            }
            Some(Provider::Worker(_)) => {}
            None => {
                let mut own = peer.functions.lock();
                if own.len() >= functions_max {
                    return Err(Refusal::TooMany);
                }
                own.insert(id.into());
            }
        }
        let function =
            Function { id: id.into(), id_json: json_text(id), peer: peer.clone(), registration: registration.into() };
        functions.insert(id.into(), Provider::Worker(Arc::new(function)));
        Ok(())
    }

    /// Removes a function if `peer` owns it.
    pub fn unregister(&self, id: &str, peer: &Peer) {
        let mut functions = self.functions.write();
        if matches!(functions.get(id), Some(Provider::Worker(owner)) if owner.peer.session == peer.session) {
            functions.remove(id);
            peer.functions.lock().remove(id);
        }
    }

    /// Removes everything that a leaving worker registered.
    pub fn remove_worker(&self, peer: &Peer) {
        let mut functions = self.functions.write();
        for id in std::mem::take(&mut *peer.functions.lock()) {
            functions.remove(&id);
        }
    }

    /// All functions of workers, sorted by id.
    pub fn workers_functions(&self) -> Vec<Arc<Function>> {
        let functions = self.functions.read();
        let mut all: Vec<_> = functions
            .values()
            .filter_map(|provider| match provider {
                Provider::Worker(function) => Some(function.clone()),
                Provider::Control => None,
            })
            .collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }
}
