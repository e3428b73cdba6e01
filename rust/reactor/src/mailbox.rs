//! A queue that any thread adds to and one empties, which is woken once for all that waits.
//!
//! `make test-loom` tries every order in which the threads can meet here.

#[cfg(loom)]
use loom::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};
#[cfg(not(loom))]
use parking_lot::Mutex;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// What wakes the one who empties.
pub trait Signal {
    /// Wakes it; again while it is awake is allowed.
    fn raise(&self);
    /// It is awake.
    fn lower(&self);
}

/// See the module.
pub struct Mailbox<T, S> {
    waiting: Mutex<Vec<T>>,
    /// Whether the signal was raised for what waits.
    woken: AtomicBool,
    signal: S,
}

impl<T, S: Signal> Mailbox<T, S> {
    /// Empty.
    pub fn new(signal: S) -> Self {
        Mailbox { waiting: Mutex::new(Vec::new()), woken: AtomicBool::new(false), signal }
    }

    /// What tells that something waits.
    pub fn signal(&self) -> &S {
        &self.signal
    }

    /// Adds one.
    pub fn push(&self, one: T) {
        self.with(|waiting| waiting.push(one));
        self.wake();
    }

    /// Adds several; `several` is empty afterwards.
    pub fn push_all(&self, several: &mut Vec<T>) {
        self.with(|waiting| waiting.append(several));
        self.wake();
    }

    /// Takes all. What is added from now on raises the signal again: it is lowered before, so that nothing is missed.
    pub fn take(&self) -> Vec<T> {
        self.signal.lower();
        // An exchange, not a store: the order of exchanges is one that the model can follow.
        self.woken.swap(false, Ordering::AcqRel);
        self.with(std::mem::take)
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            self.signal.raise();
        }
    }

    #[cfg(not(loom))]
    fn with<R>(&self, work: impl FnOnce(&mut Vec<T>) -> R) -> R {
        work(&mut self.waiting.lock())
    }

    #[cfg(loom)]
    fn with<R>(&self, work: impl FnOnce(&mut Vec<T>) -> R) -> R {
        work(&mut self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

#[cfg(all(test, loom))]
mod model {
    use super::{Mailbox, Signal};
    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    /// As an eventfd and a poll of it.
    struct Flag(Mutex<bool>, Condvar);

    impl Flag {
        fn set(&self, raised: bool) {
            if let Ok(mut flag) = self.0.lock() {
                *flag = raised;
            }
            self.1.notify_all();
        }

        fn wait(&self) {
            let Ok(mut flag) = self.0.lock() else { return };
            while !*flag {
                let Ok(woken) = self.1.wait(flag) else { return };
                flag = woken;
            }
        }
    }

    impl Signal for Flag {
        fn raise(&self) {
            self.set(true);
        }
        fn lower(&self) {
            self.set(false);
        }
    }

    /// Sleeps while the flag is down: a wake that is lost is a deadlock, which loom reports.
    fn receive(mailbox: &Mailbox<(u8, u8), Flag>, count: usize) -> Vec<(u8, u8)> {
        let mut received = Vec::new();
        while received.len() < count {
            mailbox.signal().wait();
            received.extend(mailbox.take());
        }
        received
    }

    fn in_order(received: &[(u8, u8)], sender: u8) -> bool {
        received.iter().filter(|(from, _)| *from == sender).map(|(_, number)| *number).eq([0, 1])
    }

    #[test]
    fn nothing_is_lost_and_the_order_of_each_sender_is_kept() {
        let mut builder = loom::model::Builder::new();
        // With more forced switches in one run it takes hours.
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let mailbox = Arc::new(Mailbox::new(Flag(Mutex::new(false), Condvar::new())));
            let (one, all) = (mailbox.clone(), mailbox.clone());
            let first = thread::spawn(move || {
                one.push((1, 0));
                one.push((1, 1));
            });
            let second = thread::spawn(move || all.push_all(&mut vec![(2, 0), (2, 1)]));
            let received = receive(&mailbox, 4);
            assert!(in_order(&received, 1) && in_order(&received, 2), "{received:?}");
            assert!(first.join().is_ok() && second.join().is_ok());
        });
    }
}
