//! A turn: a few passes, as the event loop asks for them.

use crate::reactor::Reactor;
use std::io;
use std::time::{Duration, Instant};

/// After this a turn ends, though more is ready: the event loop has other things to do.
const TURN_MAX: Duration = Duration::from_millis(5);

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everything that was ready has been served.
    Idle,
    /// More may be ready already.
    More,
    /// [`Command::Stop`](crate::inbox::Command::Stop) came.
    Stopped,
}

impl Reactor {
    /// Serves whatever is ready, and what becomes ready meanwhile or soon: coming back through the event loop costs more than a
    /// short wait. Calls for Python end the turn, and [`TURN_MAX`] does.
    pub fn turn(&mut self) -> io::Result<Turn> {
        let begin = Instant::now();
        let mut patience = Duration::ZERO;
        loop {
            let turn = self.pass(Some(patience))?;
            self.linger.waited(patience, self.served > 0);
            let is_idle = self.served == 0 && turn == Turn::Idle;
            if turn == Turn::Stopped || is_idle || self.core.calls.is_announced() {
                return Ok(turn);
            }
            if begin.elapsed() >= TURN_MAX {
                return Ok(Turn::More);
            }
            patience = if self.has_more() || self.look()? { Duration::ZERO } else { self.linger.next() };
        }
    }

    /// Looks again and again for a while whether something is ready, if that has been worth it; whether something is.
    fn look(&mut self) -> io::Result<bool> {
        let most = self.linger.next_look();
        if !most.is_zero() {
            let begin = Instant::now();
            while self.ready.is_empty() && begin.elapsed() < most {
                self.poller.poll(Some(Duration::ZERO), &mut self.ready)?;
            }
            self.linger.looked(!self.ready.is_empty());
        }
        Ok(!self.ready.is_empty())
    }
}
