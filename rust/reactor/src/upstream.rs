//! This reactor's connection to the server that keeps state: the socket under a [`Pipeline`], and how it comes back when it is lost.
//!
//! Names are looked up and connections made in a thread that lives only for that, so that nothing here waits for either.

use crate::inbox::{Command, Inbox};
use crate::link::Links;
use crate::poller::{Interest, Poller, Ready};
use crate::reactor::Reactor;
use iii_fast_core::core::Core;
use iii_fast_core::dispatch::Router;
use iii_fast_core::remote::{Pipeline, Progress, Remote};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The token of the connection in the poller.
pub(crate) const UPSTREAM_TOKEN: u64 = u64::MAX - 2;
/// How long one address may take to accept a connection.
const CONNECT_MS: u64 = 2_000;
/// How long replies may make no progress; scripts of the largest scopes take some 100 ms.
const REPLY_MS: u64 = 5_000;
/// The first pause before connecting again; it doubles up to the longest.
const PAUSE_MS: u64 = 50;
const PAUSE_MS_MAX: u64 = 2_000;
/// Bytes read in one pass before others get their turn.
const READ_BUDGET_BYTES: usize = 1 << 20;

/// The connection, or the attempt to have one.
pub(crate) struct Upstream {
    inbox: Arc<Inbox>,
    socket: Option<TcpStream>,
    interest: Interest,
    pause_ms: u64,
    /// Since when replies have made no progress.
    stalled_since_ms: u64,
    /// Whether sessions are paused until there is room.
    pub(crate) is_awaited: bool,
}

impl Upstream {
    /// Begins to connect, if state is kept by a server.
    pub(crate) fn begin(core: &Core, reactor: u8, inbox: &Arc<Inbox>, links: &mut Links) -> io::Result<Option<Self>> {
        let Some(remote) = &core.remote else { return Ok(None) };
        links.pipeline = Some(Box::new(Pipeline::new(usize::from(reactor))));
        let upstream = Upstream {
            inbox: inbox.clone(),
            socket: None,
            interest: Interest { read: true, write: false },
            pause_ms: 0,
            stalled_since_ms: 0,
            is_awaited: false,
        };
        upstream.connect(remote)?;
        Ok(Some(upstream))
    }

    /// Connects in a thread, after the pause; the outcome comes through the inbox.
    fn connect(&self, remote: &Remote) -> io::Result<()> {
        let (host, port) = (remote.address.host.clone(), remote.address.port);
        let (inbox, pause) = (self.inbox.clone(), Duration::from_millis(self.pause_ms));
        let work = move || {
            thread::sleep(pause);
            inbox.push(Command::Upstream(connect(&host, port).map_err(|error| error.to_string())));
        };
        thread::Builder::new().name("iii-fast-connect".to_owned()).spawn(work).map(|_| ())
    }

    /// The outcome of an attempt.
    pub(crate) fn connected(
        &mut self,
        outcome: Result<TcpStream, String>,
        core: &Core,
        remote: &Remote,
        links: &mut Links,
        poller: &Poller,
    ) {
        let prepared = outcome.and_then(|socket| {
            let interest = Interest { read: true, write: false };
            let prepared = socket
                .set_nonblocking(true)
                .and_then(|()| socket.set_nodelay(true))
                .and_then(|()| poller.add(&socket, UPSTREAM_TOKEN, interest));
            self.interest = interest;
            prepared.map(|()| socket).map_err(|error| error.to_string())
        });
        match prepared {
            Ok(socket) => {
                self.socket = Some(socket);
                self.stalled_since_ms = links.now_ms;
                if let Some(pipeline) = &mut links.pipeline {
                    pipeline.connected(remote);
                }
            }
            Err(reason) => self.lose(&reason, core, remote, links, poller),
        }
    }

    /// Reads what has come and tells who waited for it.
    pub(crate) fn ready(&mut self, event: Ready, core: &Core, remote: &Remote, links: &mut Links, poller: &Poller) {
        if !event.read {
            return;
        }
        // Out of the links while it tells: it writes into them.
        let Some(mut pipeline) = links.pipeline.take() else { return };
        let read = self.read(&mut pipeline, core, remote, links);
        links.pipeline = Some(pipeline);
        if let Err(reason) = read {
            self.lose(&reason, core, remote, links, poller);
        }
    }

    fn read(&mut self, pipeline: &mut Pipeline, core: &Core, remote: &Remote, links: &mut Links) -> Result<(), String> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        let mut budget = READ_BUDGET_BYTES;
        while budget > 0 {
            let space = pipeline.space();
            let room = space.len();
            let n = match socket.read(space) {
                Ok(0) => return Err("it closed the connection".to_owned()),
                Ok(n) => n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.to_string()),
            };
            self.stalled_since_ms = links.now_ms;
            if pipeline.received(n, core, remote, links)? == Progress::Opened {
                self.pause_ms = 0;
            }
            if n < room {
                return Ok(());
            }
            budget = budget.saturating_sub(n);
        }
        Ok(())
    }

    /// Writes what a pass has left.
    pub(crate) fn write(&mut self, core: &Core, remote: &Remote, links: &mut Links, poller: &Poller) {
        let Some(mut pipeline) = links.pipeline.take() else { return };
        pipeline.prepare(core, remote);
        let written = self.flush(&mut pipeline, links.now_ms, poller);
        links.pipeline = Some(pipeline);
        if let Err(error) = written {
            self.lose(&error.to_string(), core, remote, links, poller);
        }
    }

    fn flush(&mut self, pipeline: &mut Pipeline, now_ms: u64, poller: &Poller) -> io::Result<()> {
        let Some(socket) = &mut self.socket else { return Ok(()) };
        if pipeline.outgoing().is_empty() && !self.interest.write {
            return Ok(());
        }
        if pipeline.pending() == 0 {
            self.stalled_since_ms = now_ms;
        }
        while !pipeline.outgoing().is_empty() {
            match socket.write(pipeline.outgoing()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => pipeline.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let interest = Interest { read: true, write: !pipeline.outgoing().is_empty() };
        if interest != self.interest {
            poller.modify(&*socket, UPSTREAM_TOKEN, interest)?;
            self.interest = interest;
        }
        Ok(())
    }

    /// Looks whether Redis still answers.
    pub(crate) fn tick(&mut self, core: &Core, remote: &Remote, links: &mut Links, poller: &Poller) {
        let now_ms = links.now_ms;
        let Some(pipeline) = links.pipeline.as_mut().filter(|_| self.socket.is_some()) else { return };
        if pipeline.pending() == 0 {
            self.stalled_since_ms = now_ms;
        }
        if now_ms.saturating_sub(self.stalled_since_ms) > REPLY_MS {
            let reason = format!("no answer within {REPLY_MS} ms");
            return self.lose(&reason, core, remote, links, poller);
        }
        pipeline.tick();
    }

    /// The connection is gone: everybody who waits is told, and the next attempt begins.
    fn lose(&mut self, reason: &str, core: &Core, remote: &Remote, links: &mut Links, poller: &Poller) {
        if let Some(socket) = self.socket.take() {
            // Closing the descriptor removes it from the poller as well.
            let _ = poller.remove(&socket);
        }
        if let Some(mut pipeline) = links.pipeline.take() {
            pipeline.lost(core, remote, links, reason);
            links.pipeline = Some(pipeline);
        }
        self.pause_ms = (self.pause_ms * 2).clamp(PAUSE_MS, PAUSE_MS_MAX);
        if self.connect(remote).is_err() {
            // No thread can be had now: the inbox brings it back here.
            self.inbox.push(Command::Upstream(Err("no thread to connect with".to_owned())));
        }
    }
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, Duration::from_millis(CONNECT_MS)) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Reactor {
    pub(crate) fn upstream_ready(&mut self, event: Ready) {
        self.with_upstream(|upstream, core, remote, links, poller| upstream.ready(event, core, remote, links, poller));
    }

    pub(crate) fn upstream_connected(&mut self, outcome: Result<TcpStream, String>) {
        self.with_upstream(|upstream, core, remote, links, poller| {
            upstream.connected(outcome, core, remote, links, poller);
        });
    }

    /// Does something with the connection to the server that keeps state, if one does.
    pub(crate) fn with_upstream(&mut self, work: impl FnOnce(&mut Upstream, &Core, &Remote, &mut Links, &Poller)) {
        if let (Some(upstream), Some(remote)) = (&mut self.upstream, &self.core.remote) {
            work(upstream, &self.core, remote, &mut self.links, &self.poller);
        }
    }

    /// Gives that server what this pass has left for it, and lets sessions go on that waited for room.
    pub(crate) fn write_upstream(&mut self) {
        if self.upstream.is_none() {
            return;
        }
        self.with_upstream(Upstream::write);
        let has_room = self.links.pipeline.as_ref().is_some_and(|pipeline| pipeline.has_room());
        if has_room && self.upstream.as_mut().is_some_and(|upstream| std::mem::take(&mut upstream.is_awaited)) {
            self.resume_all();
            self.with_upstream(Upstream::write);
        }
    }

    /// A session has paused: perhaps for want of room here.
    pub(crate) fn note_full_upstream(&mut self) {
        if let Some(upstream) = &mut self.upstream {
            upstream.is_awaited |= self.links.is_pipeline_full();
        }
    }
}
