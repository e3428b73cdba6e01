//! A thread beside a reactor, for what takes so long that its sockets would have to wait: reading large messages, and letting go of them.

use crate::inbox::Command;
use crate::reactor::Reactor;
use crate::shield::{BUG, shielded};
use iii_fast_core::large::{Large, Read};
use iii_fast_core::peer::SessionId;
use parking_lot::Mutex;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

type Task = Box<dyn FnOnce() + Send>;
/// What nobody needs any more.
type Finished = Arc<Mutex<Vec<Box<dyn Send>>>>;

/// The thread; it ends, with what it is doing, before the reactor does. What waits for it then is left.
pub struct Aside {
    tasks: Option<Sender<Task>>,
    thread: Option<JoinHandle<()>>,
    stopped: Arc<AtomicBool>,
    finished: Finished,
}

impl Aside {
    pub(crate) fn start() -> io::Result<Self> {
        let (tasks, waiting) = mpsc::channel::<Task>();
        let stopped = Arc::new(AtomicBool::new(false));
        let finished = Finished::default();
        let (is_stopped, is_finished) = (stopped.clone(), finished.clone());
        let work = move || {
            for task in waiting {
                // Before anything else is read: memory is for what is under way.
                let finished = std::mem::take(&mut *is_finished.lock());
                let _ = shielded(|| drop(finished));
                if !is_stopped.load(Ordering::Relaxed) {
                    // A panic is the task's alone; it tells nobody of its end then.
                    let _ = shielded(task);
                }
            }
        };
        let thread = thread::Builder::new().name("iii-fast-aside".to_owned()).spawn(work)?;
        Ok(Aside { tasks: Some(tasks), thread: Some(thread), stopped, finished })
    }

    /// Does `task` when all that came before it is done.
    pub fn run(&self, task: impl FnOnce() + Send + 'static) {
        if let Some(tasks) = &self.tasks {
            // It takes tasks as long as this lives.
            let _ = tasks.send(Box::new(task));
        }
    }

    /// Lets go of `finished`, before whatever waits to be done.
    fn let_go(&self, finished: impl Send + 'static) {
        self.finished.lock().push(Box::new(finished));
        self.run(|| {});
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // It shields itself from panics.
            let _ = thread.join();
        }
    }
}

impl Reactor {
    /// What works beside this reactor.
    pub fn aside(&self) -> &Aside {
        &self.aside
    }

    /// Has a session's large message read; the session comes back with [`Command::Read`].
    pub(crate) fn read_aside(&mut self, slot: usize, large: Large) {
        let Some(session) = self.links.slab.get(slot).map(|link| link.id) else { return };
        let (core, inbox) = (self.core.clone(), self.inbox.clone());
        self.aside.run(move || {
            let read = shielded(|| large.read(&core));
            inbox.push(Command::Read { session, read });
        });
    }

    /// A large message has been read: its session goes on, if it is still there.
    pub(crate) fn serve_read(&mut self, session: SessionId, mut read: Option<Read>) {
        let slot = session.slot();
        let end = self.ending.iter().position(|(ending, _)| *ending == session);
        let end = end.map(|at| self.ending.swap_remove(at).1);
        if self.links.find(session).is_some() {
            self.serve_message(slot, read.as_mut());
        }
        if let Some(reason) = end.filter(|_| self.links.find(session).is_some()) {
            self.end_secure(slot, &reason);
        }
        if let Some(read) = read {
            self.aside.let_go(read);
        }
    }

    fn serve_message(&mut self, slot: usize, read: Option<&mut Read>) {
        // None: our close frame has been sent.
        let Some(mut session) = self.sessions.get_mut(slot).and_then(Option::take) else { return };
        self.pause(slot, false);
        let status = read.and_then(|read| shielded(|| session.read(read, &self.core, &mut self.links)));
        self.sessions[slot] = Some(session);
        match status {
            Some(status) => self.after_serving(slot, status),
            None => self.drop_link(slot, BUG),
        }
    }

    /// Whether a session stands still until a large message is read.
    pub(crate) fn awaits_read(&self, slot: usize) -> bool {
        self.sessions.get(slot).and_then(Option::as_ref).is_some_and(|session| session.awaits_read())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    struct Kept(Sender<&'static str>);

    impl Drop for Kept {
        fn drop(&mut self) {
            let _ = self.0.send("let go");
        }
    }

    #[test]
    fn what_is_finished_goes_before_what_waits_is_begun() {
        let aside = Aside::start().unwrap();
        let (gate, held) = mpsc::channel::<()>();
        let (said, order) = mpsc::channel();
        aside.run(move || {
            let _ = held.recv();
        });
        let begun = said.clone();
        aside.run(move || begun.send("begun").unwrap());
        aside.let_go(Kept(said.clone()));
        drop(gate);
        assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["let go", "begun"]);
        // Nor does it wait for more to do.
        aside.let_go(Kept(said));
        assert_eq!(order.recv().unwrap(), "let go");
    }
}
