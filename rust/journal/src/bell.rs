//! How writers wake the thread that writes: one atomic exchange while it is awake, a system call only when it sleeps.

use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicU8, Ordering};

const AWAKE: u8 = 0;
const RUNG: u8 = 1;
const ASLEEP: u8 = 2;

/// Rung by anyone, heard by one.
#[derive(Default)]
pub(crate) struct Bell {
    state: AtomicU8,
    sleeping: Mutex<()>,
    heard: Condvar,
}

impl Bell {
    /// Whatever was done before this call is seen by the listener after its [`Bell::wait`].
    pub(crate) fn ring(&self) {
        // An exchange, not a load: it reads the newest state, whatever this thread has seen so far.
        if self.state.swap(RUNG, Ordering::AcqRel) == ASLEEP {
            drop(self.sleeping.lock());
            self.heard.notify_one();
        }
    }

    /// Sleeps until the bell has been rung since this returned last.
    pub(crate) fn wait(&self) {
        let mut sleeping = self.sleeping.lock();
        if self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            while self.state.load(Ordering::Acquire) == ASLEEP {
                self.heard.wait(&mut sleeping);
            }
        }
        self.state.swap(AWAKE, Ordering::AcqRel);
    }
}
