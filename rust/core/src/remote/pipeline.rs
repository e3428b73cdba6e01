//! One connection to Redis without its socket: commands that wait to be written, calls that wait for replies, and what is done
//! with each reply. Every command has one entry in the queue, in the same order.

use super::inflow::Inflow;
use super::layout::{ENTRIES, Raw};
use super::resp::{self, Command, Reply};
use super::scripts::{self, Loaded, Script};
use super::task::{self, Context, Task};
use super::{Caller, Remote, Told, commit, note, tell};
use crate::codec::{Kept, Value};
use crate::core::Core;
use crate::dispatch::Router;
use crate::error::WireError;
use crate::state::{Answer, Request, StateCall, Texts};
use std::collections::{HashSet, VecDeque};

/// Calls that wait for one connection before sessions pause: about 20 ms of Redis' work.
pub const PENDING_MAX: usize = 16_384;
/// Bytes of commands and of calls that wait for it: the largest message fits.
pub const PENDING_BYTES_MAX: usize = 64 << 20;
/// Gets that are sent as one command: Redis does nothing else meanwhile.
const GATHERED_MAX: usize = 128;
/// Entries that are removed in one go because their time has come.
const EXPIRED_AT_ONCE_MAX: u64 = 500;
/// A buffer for commands that has grown beyond this is freed when it is empty.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// What has no reply yet. A command has one entry; the gets that it asks for stand behind `Gets`.
enum Awaiting {
    Gets(usize),
    Get { caller: Caller, meta: bool },
    Call(Box<Task>),
    Setup(Setup),
    Expire,
    Ping,
}

/// What a connection begins with.
enum Setup {
    Hello(&'static str),
    Load(usize),
}

enum Phase {
    /// The first attempt to connect is under way, or the scripts are being loaded: calls wait.
    Opening(Vec<(Caller, StateCall, Kept)>),
    Open,
    Away,
}

/// Gets of one scope that came one after the other: they go out as one command, for which Redis needs far less time.
#[derive(Default)]
struct Gathered {
    scope: String,
    /// Encoded.
    keys: Vec<u8>,
    count: usize,
}

/// How far a connection is after some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It has just become usable.
    Opened,
    /// As before.
    Same,
}

/// One connection's commands and replies.
pub struct Pipeline {
    reactor: usize,
    phase: Phase,
    out: Vec<u8>,
    written: usize,
    awaiting: VecDeque<Awaiting>,
    gathered: Gathered,
    /// Bytes of the calls that are kept whole while they wait.
    kept_bytes: usize,
    inflow: Inflow,
    loaded: Loaded,
    /// Of the control plane; those that it has forgotten are not here any more.
    tickets: HashSet<u64>,
    reloading: usize,
    is_expiring: bool,
}

impl Pipeline {
    /// Of one reactor; nothing is connected yet.
    pub fn new(reactor: usize) -> Self {
        Pipeline {
            reactor,
            phase: Phase::Opening(Vec::new()),
            out: Vec::new(),
            written: 0,
            awaiting: VecDeque::new(),
            gathered: Gathered::default(),
            kept_bytes: 0,
            inflow: Inflow::default(),
            loaded: Loaded::default(),
            tickets: HashSet::new(),
            reloading: 0,
            is_expiring: false,
        }
    }

    // --- calls -----------------------------------------------------------------------------------------------------

    /// Takes a call; its caller is told later. `data` is valid.
    ///
    /// # Errors
    /// What is wrong with the input, `STORAGE_UNAVAILABLE` while Redis is away, and those of quotas: then the caller is to be
    /// told by whoever asked.
    pub fn submit(
        &mut self,
        core: &Core,
        remote: &Remote,
        caller: impl FnOnce() -> Caller,
        call: StateCall,
        data: Value<'_>,
    ) -> Result<(), WireError> {
        let cx = Context { state: &core.state, quotas: &core.limits.quotas, loaded: &self.loaded };
        let texts = Texts::default();
        let request = Request::read(call, data, &texts, &cx)?;
        if matches!(self.phase, Phase::Away) {
            return Err(remote.refused());
        }
        task::check(&request, cx.quotas)?;
        let caller = caller();
        if let Caller::Control(ticket) = caller {
            self.tickets.insert(ticket);
        }
        if let Phase::Opening(waiting) = &mut self.phase {
            self.kept_bytes += data.bytes().len();
            waiting.push((caller, call, data.kept()));
        } else if let Request::Get { scope, key, meta } = &request {
            self.gather(scope, key);
            self.awaiting.push_back(Awaiting::Get { caller, meta: *meta });
        } else {
            self.send_gathered();
            let cx = Context { state: &core.state, quotas: &core.limits.quotas, loaded: &self.loaded };
            let mut task = Task::new(caller, call, data);
            task.begin(&request, &cx, &mut self.out);
            self.kept_bytes += data.bytes().len();
            self.awaiting.push_back(Awaiting::Call(Box::new(task)));
        }
        Ok(())
    }

    /// Adds a get to those that are sent together.
    fn gather(&mut self, scope: &str, key: &str) {
        if self.gathered.count == GATHERED_MAX || self.gathered.scope != scope {
            self.send_gathered();
        }
        if self.gathered.count == 0 {
            self.gathered.scope.clear();
            self.gathered.scope.push_str(scope);
            self.awaiting.push_back(Awaiting::Gets(0));
        }
        self.gathered.count += 1;
        resp::argument(&mut self.gathered.keys, &[key.as_bytes()]);
    }

    /// Before any other command, and before writing.
    fn send_gathered(&mut self) {
        let count = std::mem::take(&mut self.gathered.count);
        if count == 0 {
            return;
        }
        let place = self.awaiting.len() - count - 1;
        self.awaiting[place] = Awaiting::Gets(count);
        let mut command = Command::new(&mut self.out, count + 2);
        command.arg("HMGET").join(&[ENTRIES, self.gathered.scope.as_bytes()]).encoded(&self.gathered.keys);
        self.gathered.keys.clear();
    }

    /// The control plane waits for a ticket no longer.
    pub fn forget(&mut self, ticket: u64) {
        self.tickets.remove(&ticket);
    }

    /// Calls that wait.
    pub fn pending(&self) -> usize {
        let waiting = if let Phase::Opening(waiting) = &self.phase { waiting.len() } else { 0 };
        self.awaiting.len() + waiting
    }

    /// Whether so much waits that sessions have to pause.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.exceeds(PENDING_MAX, PENDING_BYTES_MAX)
    }

    /// Whether so little waits that they may go on.
    pub fn has_room(&self) -> bool {
        !self.exceeds(PENDING_MAX / 2, PENDING_BYTES_MAX / 2)
    }

    #[inline]
    fn exceeds(&self, count: usize, bytes: usize) -> bool {
        let bytes_waiting = self.out.len() - self.written + self.gathered.keys.len() + self.kept_bytes;
        self.pending() >= count || bytes_waiting >= bytes
    }

    // --- bytes out -------------------------------------------------------------------------------------------------

    /// What is to be written.
    pub fn outgoing(&self) -> &[u8] {
        &self.out[self.written..]
    }

    /// `n` bytes were written.
    pub fn advance(&mut self, n: usize) {
        self.written += n;
        if self.written == self.out.len() {
            self.written = 0;
            if self.out.capacity() > KEPT_BYTES_MAX { self.out = Vec::new() } else { self.out.clear() }
        } else if self.written >= KEPT_BYTES_MAX {
            self.out.drain(..self.written);
            self.written = 0;
        }
    }

    // --- life ------------------------------------------------------------------------------------------------------

    /// A socket is connected: says who we are and brings the scripts.
    pub fn connected(&mut self, remote: &Remote) {
        if matches!(self.phase, Phase::Away) {
            self.phase = Phase::Opening(Vec::new());
        }
        let super::Address { user, password, database, .. } = &remote.address;
        if let Some(password) = password {
            let user = user.as_deref().filter(|user| !user.is_empty());
            let mut command = Command::new(&mut self.out, if user.is_some() { 3 } else { 2 });
            command.arg("AUTH");
            user.into_iter().for_each(|user| {
                command.arg(user);
            });
            command.arg(password);
            self.awaiting.push_back(Awaiting::Setup(Setup::Hello("AUTH")));
        }
        if *database != 0 {
            Command::new(&mut self.out, 2).arg("SELECT").number(u64::from(*database));
            self.awaiting.push_back(Awaiting::Setup(Setup::Hello("SELECT")));
        }
        self.load_scripts();
    }

    fn load_scripts(&mut self) {
        self.send_gathered();
        for (index, script) in Script::ALL.into_iter().enumerate() {
            scripts::load(&mut self.out, script);
            self.awaiting.push_back(Awaiting::Setup(Setup::Load(index)));
        }
        self.reloading = Script::ALL.len();
    }

    /// The connection is lost, or was not made: everybody who waits is told. Returns whether it was usable before.
    pub fn lost(&mut self, core: &Core, remote: &Remote, router: &mut impl Router, reason: &str) -> bool {
        remote.went(self.reactor, reason, core.state.now_ms());
        let phase = std::mem::replace(&mut self.phase, Phase::Away);
        let awaiting = std::mem::take(&mut self.awaiting);
        let tickets = std::mem::take(&mut self.tickets);
        *self = Pipeline { phase: Phase::Away, tickets, ..Pipeline::new(self.reactor) };
        let was_open = matches!(phase, Phase::Open);
        if let Phase::Opening(waiting) = phase {
            for (caller, ..) in waiting {
                self.tell(core, router, &caller, Told::Error(remote.refused()));
            }
        }
        for one in awaiting {
            match one {
                Awaiting::Get { caller, .. } => {
                    self.tell(core, router, &caller, Told::Error(remote.cut_off(reason, false)));
                }
                Awaiting::Call(task) => {
                    let error = remote.cut_off(reason, task.may_have_written());
                    self.tell(core, router, &task.caller, Told::Error(error));
                }
                Awaiting::Gets(_) | Awaiting::Setup(_) | Awaiting::Expire | Awaiting::Ping => {}
            }
        }
        remote.set_pending(self.reactor, 0);
        was_open
    }

    /// Some time has passed: removes what has expired (one reactor does), and otherwise looks whether Redis still answers.
    pub fn tick(&mut self) {
        if !matches!(self.phase, Phase::Open) {
            return;
        }
        if self.reactor == 0 {
            self.is_expiring = true;
        } else if self.awaiting.is_empty() {
            Command::new(&mut self.out, 1).arg("PING");
            self.awaiting.push_back(Awaiting::Ping);
        }
    }

    /// Sends what is due of our own; call it before writing.
    pub fn prepare(&mut self, core: &Core, remote: &Remote) {
        self.send_gathered();
        if std::mem::take(&mut self.is_expiring) {
            let told = if core.state.is_any_watched() { "1" } else { "0" };
            let mut command = self.loaded.call(&mut self.out, Script::Expire, 3);
            command.number(core.state.now_ms()).number(EXPIRED_AT_ONCE_MAX).arg(told);
            self.awaiting.push_back(Awaiting::Expire);
        }
        remote.set_pending(self.reactor, self.pending());
    }

    // --- bytes in --------------------------------------------------------------------------------------------------

    /// Where to read to; then call [`Self::received`].
    pub fn space(&mut self) -> &mut [u8] {
        self.inflow.space()
    }

    /// `n` bytes were read to [`Self::space`]: whoever waited for them is told.
    ///
    /// # Errors
    /// Why the connection cannot go on.
    pub fn received(
        &mut self,
        n: usize,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) -> Result<Progress, String> {
        // Out of here while replies are looked at.
        let mut inflow = std::mem::take(&mut self.inflow);
        inflow.add(n);
        let progress = self.take_replies(&mut inflow, core, remote, router);
        self.inflow = inflow;
        progress
    }

    fn take_replies(
        &mut self,
        inflow: &mut Inflow,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) -> Result<Progress, String> {
        let mut progress = Progress::Same;
        while let Some(bytes) = inflow.next().map_err(|error| error.to_string())? {
            let reply = Reply::read(bytes).map_err(|error| error.to_string())?;
            if self.reply(reply, core, remote, router)? == Progress::Opened {
                progress = Progress::Opened;
            }
        }
        Ok(progress)
    }

    fn reply(
        &mut self,
        reply: Reply<'_>,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) -> Result<Progress, String> {
        match self.awaiting.pop_front() {
            Some(Awaiting::Gets(count)) => return self.got_all(count, &reply, core, remote, router),
            Some(Awaiting::Call(task)) => self.advance_task(task, reply, core, remote, router),
            Some(Awaiting::Setup(setup)) => return self.set_up(&setup, &reply, core, remote, router),
            Some(Awaiting::Expire) => self.expired(&reply, core)?,
            Some(Awaiting::Ping) => {}
            None | Some(Awaiting::Get { .. }) => return Err("it answers what nobody asked".to_owned()),
        }
        Ok(Progress::Same)
    }

    /// The gets of one command.
    fn got_all(
        &mut self,
        count: usize,
        reply: &Reply<'_>,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) -> Result<Progress, String> {
        let items = if let Reply::Array(items) = reply { items.as_slice() } else { &[] };
        for index in 0..count {
            let Some(Awaiting::Get { caller, meta }) = self.awaiting.pop_front() else { break };
            let told = got(items.get(index).unwrap_or(reply), meta, core, remote);
            self.tell(core, router, &caller, told);
        }
        Ok(Progress::Same)
    }

    fn advance_task(
        &mut self,
        mut task: Box<Task>,
        reply: Reply<'_>,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) {
        self.send_gathered();
        let bytes = task.kept_bytes();
        self.kept_bytes -= bytes;
        let lost_scripts = matches!(reply, Reply::Error(error) if error.starts_with(b"NOSCRIPT"));
        if lost_scripts && self.reloading == 0 {
            self.load_scripts();
        }
        let cx = Context { state: &core.state, quotas: &core.limits.quotas, loaded: &self.loaded };
        let done = match reply {
            // The scripts are on their way again, in front of this.
            Reply::Error(_) if lost_scripts => task.begin_again(&cx, &mut self.out).map(|()| None),
            Reply::Error(error) => Err(remote.answered(error)),
            reply => task.advance(reply, &cx, &mut self.out),
        };
        match done {
            Ok(None) => {
                self.kept_bytes += bytes;
                self.awaiting.push_back(Awaiting::Call(task));
            }
            Ok(Some(done)) => {
                note(core, done.changes);
                self.tell(core, router, &task.caller, Told::Answer(done.answer, done.written));
            }
            Err(error) => self.tell(core, router, &task.caller, Told::Error(error)),
        }
    }

    fn set_up(
        &mut self,
        setup: &Setup,
        reply: &Reply<'_>,
        core: &Core,
        remote: &Remote,
        router: &mut impl Router,
    ) -> Result<Progress, String> {
        if let Reply::Error(error) = reply {
            let what = if let Setup::Hello(command) = setup { command } else { "SCRIPT LOAD" };
            return Err(format!("it answered {what} with: {}", String::from_utf8_lossy(error)));
        }
        let Setup::Load(index) = setup else { return Ok(Progress::Same) };
        let name = task::text(reply).map_err(|error| error.to_string())?;
        self.loaded.set(*index, name);
        self.reloading -= 1;
        if self.reloading > 0 || matches!(self.phase, Phase::Open) {
            return Ok(Progress::Same);
        }
        let Phase::Opening(waiting) = std::mem::replace(&mut self.phase, Phase::Open) else {
            return Ok(Progress::Same);
        };
        remote.came(self.reactor);
        self.kept_bytes = 0;
        for (caller, call, data) in waiting {
            let mut held = Some(caller);
            let submitted = self.submit(core, remote, || held.take().unwrap_or(Caller::Void), call, data.value());
            if let (Err(error), Some(caller)) = (submitted, held) {
                self.tell(core, router, &caller, Told::Error(error));
            }
        }
        Ok(Progress::Opened)
    }

    /// Entries were removed because their time had come.
    fn expired(&mut self, reply: &Reply<'_>, core: &Core) -> Result<(), String> {
        // An error (Redis is loading, or full) leaves it to the next time.
        if let Reply::Array(items) = reply {
            let (count, changes) = commit::expired(items).map_err(|error| error.to_string())?;
            self.is_expiring = count >= EXPIRED_AT_ONCE_MAX;
            note(core, changes);
        }
        Ok(())
    }

    /// Tells the caller, unless it is the control plane and has forgotten.
    fn tell(&mut self, core: &Core, router: &mut impl Router, caller: &Caller, told: Told<'_>) {
        if let Caller::Control(ticket) = caller
            && !self.tickets.remove(ticket)
        {
            return;
        }
        tell(core, router, caller, told);
    }
}

/// What a get is answered with.
fn got<'r>(reply: &Reply<'r>, meta: bool, core: &Core, remote: &Remote) -> Told<'r> {
    let raw = match reply {
        Reply::Bulk(bytes) => Raw::read(bytes),
        Reply::Nil => return Told::Answer(Answer::Absent, false),
        Reply::Error(error) => return Told::Error(remote.answered(error)),
        _ => None,
    };
    match raw {
        None => Told::Error(task::not_ours()),
        Some(raw) if !raw.is_live(core.state.now_ms()) => Told::Answer(Answer::Absent, false),
        Some(raw) if meta => Told::Answer(Answer::Entry(raw.entry()), false),
        Some(raw) => raw.value().map_or_else(|| Told::Error(task::not_ours()), Told::Value),
    }
}
