//! How far the journal has come: what is written, what is on the disk, and who waits for that.

use crate::error::JournalError;
use crate::files::Output;
use iii_fast_core::log::Log;
use parking_lot::{Condvar, Mutex};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The segment that is written.
#[derive(Clone)]
pub(crate) struct Current {
    pub(crate) output: Arc<dyn Output>,
    /// To sync through while another sync is under way.
    pub(crate) twin: Arc<dyn Output>,
    pub(crate) path: PathBuf,
    /// In its header, its marks and its close.
    pub(crate) number: u64,
}

struct Inner {
    current: Current,
    written: u64,
    synced: u64,
    /// Somebody waits for this to be on the disk.
    wanted: u64,
    ended: bool,
    failed: bool,
}

/// Shared by the threads of one journal. Tells the log what may be acknowledged.
pub(crate) struct Progress {
    log: Arc<Log>,
    /// Whether only what is on the disk is acknowledged.
    always: bool,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Held while a sync is under way through one handle: after one that failed, another would say that all is well.
    syncing: Mutex<()>,
    syncing_beside: Mutex<()>,
}

impl Progress {
    /// Everything up to `last` is on the disk.
    pub(crate) fn new(log: Arc<Log>, always: bool, current: Current, last: u64) -> Self {
        let inner = Inner { current, written: last, synced: last, wanted: 0, ended: false, failed: false };
        let (inner, syncing, syncing_beside) = (Mutex::new(inner), Mutex::default(), Mutex::default());
        Progress { log, always, inner, changed: Condvar::new(), syncing, syncing_beside }
    }

    pub(crate) fn written(&self) -> u64 {
        self.inner.lock().written
    }

    pub(crate) fn synced(&self) -> u64 {
        self.inner.lock().synced
    }

    pub(crate) fn current(&self) -> Current {
        self.inner.lock().current.clone()
    }

    /// Records go to another file from now on.
    pub(crate) fn set_current(&self, current: Current) {
        self.inner.lock().current = current;
    }

    /// Everything up to `last` has been given to the operating system.
    pub(crate) fn wrote(&self, last: u64) {
        let mut inner = self.inner.lock();
        inner.written = last;
        if !self.always && !inner.failed {
            self.log.acknowledge(last, inner.synced);
        }
        if inner.wanted > inner.synced {
            self.changed.notify_all();
        }
    }

    /// Brings everything that is written to the disk. Callable from any thread.
    pub(crate) fn sync(&self) -> Result<(), JournalError> {
        let _one_at_a_time = self.syncing.lock();
        self.sync_through(|current| &*current.output)
    }

    /// As [`Progress::sync`], also while that is under way.
    pub(crate) fn sync_beside(&self) -> Result<(), JournalError> {
        let _one_at_a_time = self.syncing_beside.lock();
        self.sync_through(|current| &*current.twin)
    }

    /// A sync waits for all that was written before it, whoever else is bringing it to the disk: it speaks for all of that.
    fn sync_through(&self, handle: impl Fn(&Current) -> &dyn Output) -> Result<(), JournalError> {
        let (current, written) = {
            let inner = self.inner.lock();
            if inner.failed || inner.synced == inner.written {
                return Ok(());
            }
            (inner.current.clone(), inner.written)
        };
        if let Err(source) = handle(&current).sync() {
            let error = JournalError::Io { path: current.path, action: "sync", source };
            self.fail(&error.to_string());
            return Err(error);
        }
        let mut inner = self.inner.lock();
        if inner.failed || inner.synced >= written {
            return Ok(()); // by another thread meanwhile
        }
        inner.synced = written;
        self.log.acknowledge(if self.always { written } else { inner.written }, written);
        self.changed.notify_all();
        Ok(())
    }

    /// Nothing is acknowledged any more.
    pub(crate) fn fail(&self, reason: &str) {
        let mut inner = self.inner.lock();
        inner.failed = true;
        self.log.fail(reason);
        self.changed.notify_all();
    }

    /// Nobody waits for anything any more.
    pub(crate) fn end(&self) {
        self.inner.lock().ended = true;
        self.changed.notify_all();
    }

    /// Whether [`Progress::fail`] or [`Progress::end`] has been called.
    pub(crate) fn is_over(&self) -> bool {
        let inner = self.inner.lock();
        inner.ended || inner.failed
    }

    /// Whether [`Progress::fail`] has been called.
    pub(crate) fn has_failed(&self) -> bool {
        self.inner.lock().failed
    }

    /// Asks for everything up to `position` to be on the disk.
    pub(crate) fn want(&self, position: u64) {
        let mut inner = self.inner.lock();
        if position > inner.wanted {
            inner.wanted = position;
            self.changed.notify_all();
        }
    }

    /// Waits until everything up to `position` is on the disk; false when that will not come.
    pub(crate) fn wait_synced(&self, position: u64) -> bool {
        let mut inner = self.inner.lock();
        while inner.synced < position {
            if inner.ended || inner.failed {
                return false;
            }
            self.changed.wait(&mut inner);
        }
        true
    }

    /// Syncs when somebody wants it, and every `interval`; until the end or a failure.
    pub(crate) fn keep_synced(&self, interval: Option<Duration>) {
        let next = || interval.and_then(|interval| Instant::now().checked_add(interval));
        let mut due = next();
        while self.wait_due(due) {
            due = next();
            if self.sync().is_err() {
                return;
            }
        }
    }

    /// Waits until `due`, or until a sync is wanted; false at the end.
    fn wait_due(&self, due: Option<Instant>) -> bool {
        let mut inner = self.inner.lock();
        loop {
            if inner.ended || inner.failed {
                return false;
            }
            if inner.wanted > inner.synced && inner.written > inner.synced {
                return true;
            }
            match due {
                Some(due) if self.changed.wait_until(&mut inner, due).timed_out() => return true,
                Some(_) => {}
                None => self.changed.wait(&mut inner),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use iii_fast_core::log::Log;
    use std::io;

    struct Nowhere;

    impl Output for Nowhere {
        fn append(&self, _: &[&[u8]]) -> io::Result<()> {
            Ok(())
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
        fn spill(&self) {}

        fn twin(&self) -> io::Result<Box<dyn Output>> {
            Ok(Box::new(Nowhere))
        }
    }

    struct Nobody;

    impl iii_fast_core::calls::Wake for Nobody {
        fn wake(&self) {}
    }

    fn progress(always: bool) -> (Arc<Log>, Progress) {
        let log = Arc::new(Log::new(0));
        log.attach(0, Box::new(Nobody));
        let state = iii_fast_core::state::State::new(1, iii_fast_core::state::Quotas::default(), log.clone());
        for key in ["a", "b"] {
            state.set("s", key, iii_fast_core::state::Stored::new("1"), None).unwrap();
        }
        let current = Current { output: Arc::new(Nowhere), twin: Arc::new(Nowhere), path: PathBuf::new(), number: 0 };
        (log.clone(), Progress::new(log, always, current, 0))
    }

    /// The writer may be on its way when the thread that syncs finds that the disk has failed.
    #[test]
    fn nothing_is_acknowledged_after_a_failure() {
        for always in [false, true] {
            let (log, progress) = progress(always);
            progress.wrote(1);
            progress.sync().unwrap();
            assert_eq!((log.acknowledged(), log.synced()), (1, 1));
            progress.fail("the disk is gone");
            progress.wrote(2);
            progress.sync().unwrap();
            assert_eq!((log.acknowledged(), log.synced()), (1, 1), "always: {always}");
        }
    }
}
