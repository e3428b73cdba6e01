//! Http clients: their sockets, how they are accepted, and how they come to an end. What they say is read in `iii_fast_core::http`.

use crate::http_link::HttpLink;
use crate::inbox::Command;
use crate::link::Links;
use crate::plain;
use crate::poller::{Interest, Ready};
use crate::reactor::Reactor;
use crate::tls::{TlsConnection, TlsIdentity};
use iii_fast_core::calls::{Call, Outcome};
use iii_fast_core::core::Core;
use iii_fast_core::http::{Answer, Clock, Connection, ExchangeId, Turn};
use iii_fast_core::outbox::Outbox;
use iii_fast_core::outcome::{Settlement, owned};
use iii_fast_core::peer::SessionId;
use slab::Slab;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering;

/// Tokens of listeners in the poller, from here on.
pub(crate) const LISTENER_TOKEN: u64 = u64::MAX - 64;
/// Connections accepted at once before others get their turn.
const ACCEPTED_AT_ONCE_MAX: usize = 64;
/// Connections beyond the limit that may wait for their 503; more are closed at once.
const TURNED_AWAY_MAX: usize = 256;

/// One thing to do about http.
pub enum HttpCommand {
    /// Accept on this one, encrypted if we have an identity.
    Listen(TcpListener, Option<TlsIdentity>),
    /// Accept nobody any more.
    Unlisten,
    /// Take over a client that another reactor has accepted.
    Adopt(TcpStream, Option<Box<TlsConnection>>),
    /// Begin no further request.
    Stop,
    /// A function has come to an end on another reactor.
    Respond(ExchangeId, Outcome),
    /// A request has got its place.
    Grant(ExchangeId),
    /// The control plane lets a request pass.
    Proceed(ExchangeId),
    /// The control plane answers a request.
    Answer(ExchangeId, Answer),
}

struct Listener {
    socket: TcpListener,
    identity: Option<TlsIdentity>,
}

/// A place is empty while its link is being served.
type Place = Option<Box<HttpLink>>;

/// All http clients of one reactor.
pub(crate) struct HttpLinks {
    slab: Slab<Place>,
    /// Links to go on with and to write.
    dirty: Vec<usize>,
    granted: Vec<ExchangeId>,
    pub(crate) clock: Clock,
    listeners: Vec<Listener>,
    /// Listeners that are not looked at until the next tick: no descriptor was left.
    is_exhausted: bool,
    generation: u32,
    next_reactor: usize,
}

impl HttpLinks {
    pub(crate) fn new() -> Self {
        HttpLinks {
            slab: Slab::new(),
            dirty: Vec::new(),
            granted: Vec::new(),
            clock: Clock::new(),
            listeners: Vec::new(),
            is_exhausted: false,
            generation: 0,
            next_reactor: 0,
        }
    }

    /// Whether there is something to do that no descriptor tells of.
    pub(crate) fn has_more(&self) -> bool {
        !self.dirty.is_empty() || !self.granted.is_empty()
    }

    fn take(&mut self, id: SessionId) -> Place {
        let place = self.slab.get_mut(id.slot())?;
        if place.as_ref().is_none_or(|link| link.id != id) { None } else { place.take() }
    }

    /// Puts a link back that has been served; it is looked at before the pass ends.
    fn put_back(&mut self, mut link: Box<HttpLink>) {
        let slot = link.id.slot();
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(slot);
        }
        self.keep(link);
    }

    /// Puts a link back that there is nothing more to do about.
    fn keep(&mut self, link: Box<HttpLink>) {
        if let Some(place) = self.slab.get_mut(link.id.slot()) {
            *place = Some(link);
        }
    }
}

/// [`iii_fast_core::dispatch::Router`] for http.
impl Links {
    pub(crate) fn respond_http(&mut self, core: &Core, to: ExchangeId, outcome: Settlement<'_>) {
        if to.connection.reactor() != self.reactor {
            return self.stage_http(to, HttpCommand::Respond(to, owned(outcome)));
        }
        if let Some(mut link) = self.http.take(to.connection) {
            // A panic here is ours; the request's time will be up.
            let _ = link.serve(core, self, |connection, turn| connection.settled(to, outcome, turn));
            self.http.put_back(link);
        }
    }

    pub(crate) fn grant_http(&mut self, to: ExchangeId) {
        if to.connection.reactor() == self.reactor {
            self.http.granted.push(to);
        } else {
            self.stage_http(to, HttpCommand::Grant(to));
        }
    }

    fn stage_http(&mut self, to: ExchangeId, command: HttpCommand) {
        if let Some(staged) = self.staged.get_mut(to.connection.reactor()) {
            staged.push(Command::Http(command));
        }
    }
}

impl Reactor {
    pub(crate) fn http_command(&mut self, command: HttpCommand) {
        match command {
            HttpCommand::Listen(socket, identity) => self.listen_http(Listener { socket, identity }),
            HttpCommand::Unlisten => {
                for listener in std::mem::take(&mut self.links.http.listeners) {
                    // Closing the descriptor removes it from the poller as well.
                    let _ = self.poller.remove(&listener.socket);
                }
            }
            HttpCommand::Adopt(socket, tls) => self.adopt_http(socket, tls),
            HttpCommand::Stop => self.each_http(|connection, _| connection.stop()),
            HttpCommand::Respond(to, outcome) => {
                let (core, links) = (&self.core, &mut self.links);
                links.respond_http(core, to, outcome.settlement());
            }
            HttpCommand::Grant(to) => self.links.http.granted.push(to),
            HttpCommand::Proceed(to) => self.serve_http(to.connection, |connection, turn| connection.proceed(to, turn)),
            HttpCommand::Answer(to, answer) => {
                self.serve_http(to.connection, |connection, turn| connection.answer(to, &answer, turn));
            }
        }
    }

    // --- coming ------------------------------------------------------------------------------------------------

    fn listen_http(&mut self, listener: Listener) {
        let token = LISTENER_TOKEN + self.links.http.listeners.len() as u64;
        let readable = Interest { read: true, write: false };
        let socket = &listener.socket;
        if socket.set_nonblocking(true).and_then(|()| self.poller.add(socket, token, readable)).is_ok() {
            self.links.http.listeners.push(listener);
        }
    }

    /// Takes whoever waits, and gives every reactor its share.
    pub(crate) fn accept_http(&mut self, token: u64) {
        for _ in 0..ACCEPTED_AT_ONCE_MAX {
            let Some(listener) = self.links.http.listeners.get((token - LISTENER_TOKEN) as usize) else { return };
            match listener.socket.accept() {
                Ok((socket, _)) => match listener.identity.as_ref().map(TlsIdentity::connection).transpose() {
                    Ok(tls) => self.share_out(socket, tls.map(Box::new)),
                    // One client less; what is wrong is ours, and told.
                    Err(error) => {
                        self.core.calls.push(Call::Warned(format!("http: {error}").into()));
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_client(&error) => {}
                Err(_) => {
                    // No descriptor is left: asking again at once would keep the loop busy.
                    let _ = self.poller.modify(&listener.socket, token, Interest { read: false, write: false });
                    self.links.http.is_exhausted = true;
                    return;
                }
            }
        }
    }

    fn share_out(&mut self, socket: TcpStream, tls: Option<Box<TlsConnection>>) {
        let open = self.core.http.connections.fetch_add(1, Ordering::SeqCst);
        if open >= self.core.limits.http.connections_max + TURNED_AWAY_MAX {
            self.core.http.connections.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let http = &mut self.links.http;
        let reactor = http.next_reactor;
        http.next_reactor = (reactor + 1) % self.links.staged.len();
        if reactor == self.links.reactor {
            self.adopt_http(socket, tls);
        } else {
            self.links.staged[reactor].push(Command::Http(HttpCommand::Adopt(socket, tls)));
        }
    }

    fn adopt_http(&mut self, socket: TcpStream, tls: Option<Box<TlsConnection>>) {
        let prepared = socket.set_nonblocking(true).and_then(|()| socket.set_nodelay(true));
        let (core, http) = (&self.core, &mut self.links.http);
        http.generation = http.generation.wrapping_add(1);
        let entry = http.slab.vacant_entry();
        let id = SessionId::of_http(self.links.reactor as u8, http.generation, entry.key());
        let interest = Interest { read: true, write: false };
        if prepared.and_then(|()| self.poller.add(&socket, id.number(), interest)).is_err() {
            core.http.connections.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        entry.insert(Some(Box::new(HttpLink {
            id,
            socket,
            tls,
            connection: Connection::new(id, core, http.clock),
            outbox: Outbox::default(),
            interest,
            is_dirty: false,
            has_ended: false,
            stalled_since_ms: http.clock.now_ms,
            lingers: None,
        })));
        let has_room = core.http.connections.load(Ordering::SeqCst) <= core.limits.http.connections_max;
        if !has_room || core.http.is_stopping() {
            self.serve_http(id, |connection, turn| connection.turn_away(turn));
        }
    }

    // --- being served ------------------------------------------------------------------------------------------

    fn serve_http<T>(&mut self, id: SessionId, work: impl FnOnce(&mut Connection, &mut Turn<'_, Links>) -> T) {
        let Some(mut link) = self.links.http.take(id) else { return };
        match link.serve(&self.core, &mut self.links, work) {
            Some(_) => self.links.http.put_back(link),
            None => self.drop_http(link),
        }
    }

    fn each_http(&mut self, work: impl Fn(&mut Connection, &mut Turn<'_, Links>)) {
        let ids: Vec<SessionId> =
            self.links.http.slab.iter().filter_map(|(_, place)| Some(place.as_ref()?.id)).collect();
        for id in ids {
            self.serve_http(id, &work);
        }
    }

    pub(crate) fn http_ready(&mut self, id: SessionId, event: Ready) {
        let Some(mut link) = self.links.http.take(id) else { return };
        if event.hung_up && !link.interest.read {
            return self.drop_http(link);
        }
        let is_there = !event.read || !link.interest.read || self.read_http(&mut link);
        match is_there {
            true if link.only_waits(&self.core) => self.links.http.keep(link),
            true => self.links.http.put_back(link),
            false => self.drop_http(link),
        }
    }

    /// Reads once; false when the connection is to be given up.
    fn read_http(&mut self, link: &mut HttpLink) -> bool {
        let (mut scratch, mut plain) = (std::mem::take(&mut self.scratch), std::mem::take(&mut self.plain));
        let is_there = match plain::read(&link.socket, &mut scratch) {
            Ok(0) => link.end(&self.core, &mut self.links),
            Ok(n) => link.feed(&scratch[..n], &mut plain, &self.core, &mut self.links),
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        (self.scratch, self.plain) = (scratch, plain);
        is_there
    }

    /// Goes on with everyone whom something has happened to, and writes.
    pub(crate) fn flush_http(&mut self) {
        while let Some(exchange) = self.links.http.granted.pop() {
            let mut was_there = false;
            self.serve_http(exchange.connection, |connection, turn| was_there = connection.begin(exchange, turn));
            if !was_there && let Some(next) = self.core.http.slots.give_back() {
                self.links.grant_http(next);
            }
        }
        for slot in std::mem::take(&mut self.links.http.dirty) {
            if let Some(mut link) = self.links.http.slab.get_mut(slot).and_then(Option::take) {
                link.is_dirty = false;
                self.flush_one(link);
            }
        }
    }

    fn flush_one(&mut self, mut link: Box<HttpLink>) {
        let now_ms = self.links.http.clock.now_ms;
        let mut is_there = !link.connection.may_go_on()
            || link.serve(&self.core, &mut self.links, |connection, turn| connection.go_on(turn)).is_some();
        // Asked after it went on: what it was answered at once may have held it up only now.
        let was_held_up = link.is_held_up(&self.core);
        is_there = is_there && link.write(now_ms).is_ok() && link.finish(now_ms);
        if !is_there || link.update_interest(&self.core, &self.poller).is_err() {
            return self.drop_http(link);
        }
        if let Some(buffer) = link.outbox.reclaim() {
            self.links.keep(buffer);
        }
        match was_held_up && !link.is_held_up(&self.core) && link.connection.may_go_on() {
            // There is room for the next response; no descriptor will tell.
            true => self.links.http.put_back(link),
            false => self.links.http.keep(link),
        }
    }

    // --- going -------------------------------------------------------------------------------------------------

    #[allow(clippy::boxed_local)] // as it stands in the table
    fn drop_http(&mut self, mut link: Box<HttpLink>) {
        self.links.http.slab.try_remove(link.id.slot());
        // Closing the descriptor removes it from the poller as well.
        let _ = self.poller.remove(&link.socket);
        self.core.http.connections.fetch_sub(1, Ordering::SeqCst);
        let _ = link.serve(&self.core, &mut self.links, |connection, turn| connection.lost(turn));
    }

    pub(crate) fn look_after_http(&mut self) {
        if std::mem::take(&mut self.links.http.is_exhausted) {
            for (at, listener) in self.links.http.listeners.iter().enumerate() {
                let readable = Interest { read: true, write: false };
                let _ = self.poller.modify(&listener.socket, LISTENER_TOKEN + at as u64, readable);
            }
        }
        let now_ms = self.links.http.clock.now_ms;
        let over: Vec<usize> = self
            .links
            .http
            .slab
            .iter()
            .filter(|(_, place)| place.as_ref().is_some_and(|link| link.is_over(now_ms, &self.core)))
            .map(|(slot, _)| slot)
            .collect();
        for slot in over {
            if let Some(link) = self.links.http.slab.get_mut(slot).and_then(Option::take) {
                self.drop_http(link);
            }
        }
        self.each_http(|connection, turn| connection.tick(turn));
    }
}

/// Errors that say nothing about the next client.
fn is_of_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}
