//! What others ask of a reactor, from any thread, in order.

use crate::http::HttpCommand;
use crate::mailbox::{Mailbox, Signal};
use crate::poller::Waker;
use crate::tls::TlsConnection;
use iii_fast_core::calls::Wake;
use iii_fast_core::control::{Answered, ControlInvocation};
use iii_fast_core::core::{Core, Counters};
use iii_fast_core::invocation::InvocationId;
use iii_fast_core::large::Read;
use iii_fast_core::outbox::Outbox;
use iii_fast_core::peer::SessionId;
use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Weak};

/// What a new connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The wire protocol.
    Worker,
    /// Telemetry.
    Telemetry,
    /// Conformance tests of the framing.
    Echo,
}

/// A connection that has been upgraded to WebSocket.
pub struct Adoption {
    /// The socket.
    pub socket: TcpStream,
    /// Its encryption, if it has one.
    pub tls: Option<Box<TlsConnection>>,
    /// Bytes that came glued to the upgrade request.
    pub leftover: Vec<u8>,
    /// What it is for.
    pub purpose: Purpose,
    /// Remote address, for people.
    pub address: String,
    /// Unix time.
    pub connected_at_ms: u64,
}

/// One thing to do.
pub enum Command {
    /// Take over a connection; see [`Inbox::adopt`].
    Adopt(Adoption),
    /// Messages for a session here, from another reactor.
    Deliver {
        /// Which session.
        to: SessionId,
        /// Its messages, framed.
        messages: Outbox,
        /// What to fail when the session is gone.
        invocation: Option<InvocationId>,
    },
    /// One message from the control plane.
    Push(SessionId, Vec<u8>),
    /// The control plane's answer to a call.
    Settle {
        /// Who called.
        session: SessionId,
        /// The caller's id.
        invocation_id: Box<str>,
        /// What was called.
        function_id: Box<str>,
        /// The answer.
        answered: Answered,
    },
    /// The control plane invokes a function.
    Invoke(ControlInvocation),
    /// The control plane waits for a ticket no longer.
    Forget(u64),
    /// Begin the close handshake.
    Close {
        /// With whom.
        session: SessionId,
        /// Close code.
        code: u16,
        /// Close reason.
        reason: Box<str>,
    },
    /// Begin the close handshake with everybody.
    CloseAll {
        /// Close code.
        code: u16,
        /// Close reason.
        reason: Box<str>,
    },
    /// Calls were fetched: paused sessions may go on.
    Resume,
    /// More is acknowledged by the journal, or it has failed.
    Acknowledged,
    /// A session's large message has been read; none: reading it panicked.
    Read {
        /// Whose.
        session: SessionId,
        /// What came of it.
        read: Option<Read>,
    },
    /// About http.
    Http(HttpCommand),
    /// An attempt to connect to the server that keeps state has come to its end.
    Upstream(Result<TcpStream, String>),
    /// Return from `run`.
    Stop,
}

/// The queue of one reactor.
pub struct Inbox {
    commands: Mailbox<Command, Waker>,
    /// Whether the reactor wants [`Command::Acknowledged`].
    awaits_journal: AtomicBool,
}

/// Tells one reactor that more is acknowledged, if it waits for that.
pub(crate) struct JournalListener {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) core: Weak<Core>,
    /// Whether it also looks after what the control plane waits for.
    pub(crate) for_control: bool,
}

impl Wake for JournalListener {
    fn wake(&self) {
        // Either this sees who waits, or who waits sees what is acknowledged: see `Inbox::await_journal`.
        fence(Ordering::SeqCst);
        let for_control = self.for_control && self.core.upgrade().is_some_and(|core| core.wants_acknowledged());
        if self.inbox.awaits_journal.swap(false, Ordering::SeqCst) || for_control {
            self.inbox.push(Command::Acknowledged);
        }
    }
}

impl Signal for Waker {
    fn raise(&self) {
        self.wake();
    }
    fn lower(&self) {
        self.clear();
    }
}

impl Inbox {
    /// An empty queue.
    pub fn new() -> io::Result<Self> {
        Ok(Inbox { commands: Mailbox::new(Waker::new()?), awaits_journal: AtomicBool::new(false) })
    }

    /// Hands a connection over. It counts from now on, so that a limit on connections cannot be overtaken by a burst.
    pub fn adopt(&self, core: &Core, adoption: Adoption) {
        Counters::add(&core.counters.connections, 1);
        self.push(Command::Adopt(adoption));
    }

    /// Adds one command.
    pub fn push(&self, command: Command) {
        self.commands.push(command);
    }

    /// Adds several; `commands` is empty afterwards.
    pub fn push_all(&self, commands: &mut Vec<Command>) {
        self.commands.push_all(commands);
    }

    /// Asks for [`Command::Acknowledged`], once. What is acknowledged already is not told: look again after this.
    pub(crate) fn await_journal(&self) {
        self.awaits_journal.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Readable when commands wait.
    pub(crate) fn waker(&self) -> &Waker {
        self.commands.signal()
    }

    /// Takes all commands.
    pub(crate) fn take(&self) -> Vec<Command> {
        self.commands.take()
    }
}
