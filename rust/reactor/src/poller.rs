//! The only file that knows how readiness is learned: level-triggered epoll, an eventfd to be woken by, a timerfd to tick.

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Events fetched by one poll.
pub const EVENTS_MAX: usize = 256;

/// What is wanted of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interest {
    /// Tell when it can be read.
    pub read: bool,
    /// Tell when it can be written.
    pub write: bool,
}

/// What a socket is ready for.
#[derive(Debug, Clone, Copy)]
pub struct Ready {
    /// The number given with [`Poller::add`].
    pub token: u64,
    /// Can be read, or has ended.
    pub read: bool,
    /// Can be written.
    pub write: bool,
    /// Both directions have ended, or an error waits.
    pub hung_up: bool,
}

/// A set of descriptors with their interests.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// Whether waits for fractions of a millisecond are to be had: before Linux 5.11, and in some sandboxes, they are not.
    pub fn waits_finely(&self) -> bool {
        let moment = Timespec { tv_sec: 0, tv_nsec: 1 };
        let mut buffer = [const { MaybeUninit::<epoll::Event>::uninit() }; 1];
        epoll::wait(&self.epoll, &mut buffer, Some(&moment)).is_ok()
    }

    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Poller { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    /// Readable whenever any of the set is ready: what Trio waits for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Adds a descriptor.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Changes what is wanted.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags(interest))?)
    }

    /// Removes a descriptor.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.epoll, fd)?)
    }

    /// Whether anything but `own` is ready now. An error is left to the next [`Self::poll`].
    pub fn is_another_ready(&self, own: u64) -> bool {
        let mut buffer = [const { MaybeUninit::<epoll::Event>::uninit() }; 2];
        let events = epoll::wait(&self.epoll, &mut buffer, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        events.is_ok_and(|(events, _)| events.iter().any(|event| event.data.u64() != own))
    }

    /// Appends what is ready to `ready`; waits for something, at most for `patience` if that is given.
    pub fn poll(&self, patience: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        let patience =
            patience.map(|most| Timespec { tv_sec: most.as_secs() as i64, tv_nsec: i64::from(most.subsec_nanos()) });
        let mut buffer = [const { MaybeUninit::<epoll::Event>::uninit() }; EVENTS_MAX];
        let events = match epoll::wait(&self.epoll, &mut buffer, patience.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().map(|event| {
            let flags = event.flags;
            let hung_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
            Ready {
                token: event.data.u64(),
                read: hung_up || flags.contains(epoll::EventFlags::IN),
                write: flags.contains(epoll::EventFlags::OUT),
                hung_up,
            }
        }));
        Ok(())
    }
}

fn flags(interest: Interest) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::empty();
    flags.set(epoll::EventFlags::IN, interest.read);
    flags.set(epoll::EventFlags::OUT, interest.write);
    flags
}

/// Wakes a poller, or Python, from any thread.
pub struct Waker(OwnedFd);

impl Waker {
    /// A fresh eventfd.
    pub fn new() -> io::Result<Self> {
        Ok(Waker(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Makes it readable.
    pub fn wake(&self) {
        // Fails only when the counter is at its maximum, and then it is readable already.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Makes it unreadable until the next wake.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Becomes readable at a fixed pace.
pub struct Ticker(OwnedFd);

impl Ticker {
    /// Ticks every `period_ms`.
    pub fn new(period_ms: u64) -> io::Result<Self> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let period = Timespec { tv_sec: (period_ms / 1000) as i64, tv_nsec: (period_ms % 1000 * 1_000_000) as i64 };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: period, it_value: period })?;
        Ok(Ticker(timer))
    }

    /// Makes it unreadable until the next tick.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

impl AsFd for Ticker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
