//! Whether a pass reads once more before it writes. Each write wakes a peer and costs as much as ten calls: where messages go from many to
//! many, those of the next round leave with the same writes.

use crate::reactor::Reactor;
use std::io;
use std::time::Duration;

/// How often a pass reads before it writes.
pub(crate) const ROUNDS_MAX: usize = 3;

impl Reactor {
    /// Whether more has become ready, and what was read from `count` descriptors has been for more peers than these. Not while anybody floods
    /// or Python is waited for: others would wait as well.
    pub(crate) fn joins_more(&mut self, count: usize) -> io::Result<bool> {
        if count > 1 && self.links.dirty.len() > count && !self.has_more() && !self.core.calls.is_announced() {
            self.poller.poll(Some(Duration::ZERO), &mut self.ready)?;
        }
        Ok(!self.ready.is_empty())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::inbox::{Adoption, Purpose};
    use crate::poller::EVENTS_MAX;
    use crate::reactor::reactors;
    use iii_fast_core::calls::Wake;
    use iii_fast_core::core::Core;
    use iii_fast_core::limits::Limits;
    use iii_fast_core::ws;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    struct Quiet;
    impl Wake for Quiet {
        fn wake(&self) {}
    }

    fn connect(listener: &TcpListener, core: &Core, reactor: &mut Reactor) -> TcpStream {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, address) = listener.accept().unwrap();
        let (leftover, address) = (Vec::new(), address.to_string());
        let (purpose, tls) = (Purpose::Worker, None);
        reactor.inbox().adopt(core, Adoption { socket, tls, leftover, purpose, address, connected_at_ms: 0 });
        reactor.pass(Some(Duration::ZERO)).unwrap();
        client
    }

    fn send(mut client: &TcpStream, message: &str) {
        let mut frame = Vec::new();
        ws::write_frame_header(&mut frame, ws::OPCODE_TEXT, message.len());
        frame[1] |= 0x80;
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(message.as_bytes());
        client.write_all(&frame).unwrap();
    }

    /// How many messages of workers a pass serves.
    fn pass(reactor: &mut Reactor) -> usize {
        let served = |reactor: &Reactor| reactor.core.counters.messages_in.load(Ordering::Relaxed) as usize;
        let before = served(reactor);
        reactor.pass(Some(Duration::ZERO)).unwrap();
        served(reactor) - before
    }

    #[test]
    fn messages_of_many_for_others_are_served_in_three_rounds_before_they_leave_and_other_ones_in_one() {
        let core = Arc::new(Core::new(Limits::default(), Box::new(Quiet)));
        let mut reactor = reactors(&core, 1).unwrap().pop().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let worker = connect(&listener, &core, &mut reactor);
        send(&worker, r#"{"type":"registerfunction","id":"f"}"#);
        assert_eq!(pass(&mut reactor), 1);
        // One poll tells of so many at most; the reactor's tick may be among them.
        let callers: Vec<TcpStream> =
            (0..ROUNDS_MAX * EVENTS_MAX + 9).map(|_| connect(&listener, &core, &mut reactor)).collect();
        let mut served = |message: &str| {
            callers.iter().for_each(|caller| send(caller, message));
            let first = pass(&mut reactor);
            while pass(&mut reactor) > 0 {}
            first
        };
        let to_a_worker = served(r#"{"type":"invokefunction","function_id":"f","action":{"type":"void"}}"#);
        let to_the_engine = served(r#"{"type":"ping"}"#);
        let rounds = |count: usize| count * EVENTS_MAX - 1..=count * EVENTS_MAX;
        assert!(rounds(ROUNDS_MAX).contains(&to_a_worker), "{to_a_worker}");
        assert!(rounds(1).contains(&to_the_engine), "{to_the_engine}");
    }
}
