//! Load of http requests with one parameter; with `--url` this process is also the worker that answers them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};

use crate::drive::{Measured, beginning, complete};
use crate::failure::{During, Failure};
use crate::handshake;
use crate::message;
use crate::meter::{Histogram, Meter, Report, processor_us};
use crate::net::{Handler, Net, Side};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::random::Random;

const CONNECTIONS_MAX: usize = 20_000;
const ROUTES_MAX: usize = 100_000;
const READ_BYTES: usize = 64 << 10;
const EVENTS_PER_WAIT: usize = 512;
const PATIENCE_NS: u64 = 30_000_000_000;
const BODY_HEAD: &[u8] = b"{\"n\":\"";
const BODY_END: &[u8] = b"\"}";
/// Where the parameter stands in a request object.
const PARAMETER: &[u8] = b"\"path_params\":{\"n\":\"";

/// One connection: a request under way, and what has come of its response.
struct Client {
    stream: TcpStream,
    number: u64,
    sent: u64,
    received: Vec<u8>,
}

/// The requesting half.
struct Clients {
    epoll: OwnedFd,
    clients: Vec<Client>,
    random: Random,
    path: String,
    host: String,
    meter: Meter,
    scratch: Vec<u8>,
}

/// The answering half.
struct Worker {
    registered: bool,
    out: Vec<u8>,
}

impl Handler for Worker {
    fn message(&mut self, _peer: usize, text: &[u8], outbox: &mut Outbox, _now: u64) {
        let Some(call) = message::quick(text).or_else(|| message::parse(text)) else { return };
        if call.kind == b"invocationresult" {
            self.registered = true;
            return;
        }
        if call.kind != b"invokefunction" {
            return;
        }
        let payload = call.payload.unwrap_or_default();
        let rest = memchr::memmem::find(payload, PARAMETER).map_or(&[][..], |at| &payload[at + PARAMETER.len()..]);
        let number = &rest[..memchr::memchr(b'"', rest).unwrap_or(0)];
        let out = &mut self.out;
        out.clear();
        out.extend_from_slice(b"{\"type\":\"invocationresult\",\"invocation_id\":\"");
        out.extend_from_slice(call.id);
        out.extend_from_slice(b"\",\"function_id\":\"");
        out.extend_from_slice(call.function);
        out.extend_from_slice(b"\",\"result\":{\"status_code\":200,\"body\":");
        out.extend_from_slice(BODY_HEAD);
        out.extend_from_slice(number);
        out.extend_from_slice(BODY_END);
        out.extend_from_slice(b"}}");
        outbox.text(out);
    }
}

/// Runs the subcommand; returns its report and whether every response was right.
pub fn run(mut options: Options) -> Result<(Report, bool), Failure> {
    let address: String = options.required("http")?;
    let url: Option<String> = options.optional("url")?;
    let connections = options.number("connections", 128, 1, CONNECTIONS_MAX)?;
    let routes = options.number("routes", 1, 1, ROUTES_MAX)?;
    let seed = options.take("seed", 1)?;
    let (ops, seconds) = match (options.optional("ops")?, options.optional("seconds")?) {
        (Some(ops), None) => (ops, f64::INFINITY),
        (None, seconds) => (u64::MAX, seconds.unwrap_or(3.0)),
        _ => return Err(Failure::Usage("give one of --ops, --seconds".into())),
    };
    let warmup_ms: f64 = options.take("warmup-ms", 200.0)?;
    let pid: Option<u32> = options.optional("pid")?;
    let prefix = options.take("path", "bench".to_owned())?;
    options.finish()?;

    let mut net = Net::new(Side::Client, seed)?;
    let mut worker = Worker { registered: false, out: Vec::new() };
    if let Some(url) = &url {
        register(&mut net, &mut worker, url, &prefix, routes, seed)?;
    }
    let path = if routes > 1 { format!("/{prefix}/{}/", routes / 2) } else { format!("/{prefix}/0/") };
    let mut clients = Clients::connect(&address, connections, path, seed)?;
    net.watch(clients.epoll.as_fd()).during("watch the http connections")?;
    let mut report = Report::default();
    report.text("command", "http").number("connections", connections as f64).number("routes", routes as f64);
    clients.drive(&mut net, &mut worker, (u64::MAX, warmup_ms / 1000.0), pid)?;
    clients.meter.recording = true;
    clients.meter.latencies = Histogram::default();
    let measured = clients.drive(&mut net, &mut worker, (ops, seconds), pid)?;
    let good = complete(&mut report, &clients.meter, &measured);
    Ok((report, good))
}

/// Registers the function and its routes; returns when they serve.
fn register(
    net: &mut Net,
    worker: &mut Worker,
    url: &str,
    prefix: &str,
    routes: usize,
    seed: u64,
) -> Result<(), Failure> {
    let address = url.strip_prefix("ws://").map(|rest| rest.trim_end_matches('/'));
    let address = address.ok_or_else(|| Failure::Usage(format!("--url: expected ws://HOST:PORT, got `{url}`")))?;
    let (stream, leftover) = handshake::connect(address, &mut Random::new(seed, 0))?;
    let peer = net.add(stream, leftover)?;
    net.send(peer, |outbox, _| {
        outbox.text(format!(r#"{{"type":"registerfunction","id":"{prefix}::echo"}}"#).as_bytes());
        for route in 0..routes {
            let trigger = format!(
                r#"{{"type":"registertrigger","id":"{prefix}-{route}","trigger_type":"http","function_id":"{prefix}::echo","config":{{"api_path":"{prefix}/{route}/:n"}}}}"#
            );
            outbox.text(trigger.as_bytes());
        }
        // Answered behind all registrations.
        outbox.text(br#"{"type":"invokefunction","invocation_id":"00000000-0000-4000-8000-000000000000","function_id":"engine::health::check","data":null}"#);
    })?;
    let start = net.now();
    while !worker.registered {
        if net.now() - start > PATIENCE_NS {
            return Err(Failure::Peer { peer, reason: "the routes are not registered within 30 s".into() });
        }
        net.step(100, worker)?;
    }
    Ok(())
}

impl Clients {
    fn connect(address: &str, count: usize, path: String, seed: u64) -> Result<Self, Failure> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).during("create epoll")?;
        let mut clients = Vec::with_capacity(count);
        for index in 0..count {
            let stream = TcpStream::connect(address).during("connect")?;
            stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).during("set up a connection")?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &stream, data, epoll::EventFlags::IN).during("watch a connection")?;
            clients.push(Client { stream, number: 0, sent: 0, received: Vec::new() });
        }
        Ok(Self {
            epoll,
            clients,
            random: Random::new(seed, 7),
            path,
            host: address.to_owned(),
            meter: Meter::default(),
            scratch: vec![0; READ_BYTES],
        })
    }

    /// Keeps every connection asking, for so many requests and so long; nothing is under way afterwards.
    fn drive(
        &mut self,
        net: &mut Net,
        worker: &mut Worker,
        (ops, seconds): (u64, f64),
        pid: Option<u32>,
    ) -> Result<Measured, Failure> {
        let usage = || -> Result<(Option<u64>, u64), Failure> {
            Ok((pid.map(processor_us).transpose()?, processor_us(std::process::id())?))
        };
        let (before, start, done) = (usage()?, net.now(), self.meter.done);
        let end = start.saturating_add((seconds * 1e9) as u64);
        self.meter.budget = ops;
        let (mut seen, mut heard) = (done, start);
        for index in 0..self.clients.len() {
            self.ask(index, net.now())?;
        }
        let mut measured = None;
        while self.meter.outstanding > 0 {
            if net.step(20, worker)? {
                self.serve(net)?;
            }
            let now = net.now();
            if now >= end && measured.is_none() {
                measured = Some((self.meter.done, now, usage()?));
                self.meter.budget = 0;
                self.meter.recording = false;
            }
            if self.meter.done > seen {
                (seen, heard) = (self.meter.done, now);
            } else if now >= heard + PATIENCE_NS {
                return Err(Failure::Peer { peer: 0, reason: "no response for 30 s".into() });
            }
        }
        let (done_at_end, finish, after) = match measured {
            Some(measured) => measured,
            None => (self.meter.done, net.now(), usage()?),
        };
        Ok(Measured {
            ops: done_at_end - done,
            seconds: (finish - start) as f64 / 1e9,
            server_us: before.0.zip(after.0).map(|(before, after)| after - before),
            own_us: after.1 - before.1,
            input_ended: false,
        })
    }

    fn ask(&mut self, index: usize, now: u64) -> Result<(), Failure> {
        if !self.meter.start_one() {
            return Ok(());
        }
        let client = &mut self.clients[index];
        client.number = self.random.next();
        client.sent = now;
        let mut request = Vec::with_capacity(128);
        let (path, host, number) = (&self.path, &self.host, client.number);
        let written = write!(request, "GET {path}{number:016x} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\n\r\n");
        written.and_then(|()| client.stream.write_all(&request)).during("write a request")
    }

    fn serve(&mut self, net: &Net) -> Result<(), Failure> {
        let mut events = Vec::with_capacity(EVENTS_PER_WAIT);
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&now)).during("wait for events")?;
        for event in &events {
            let index = event.data.u64() as usize;
            let count = match self.clients[index].stream.read(&mut self.scratch) {
                Ok(0) => return Err(Failure::Peer { peer: index, reason: "ended by the server".into() }),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error).during("read a response"),
            };
            let client = &mut self.clients[index];
            client.received.extend_from_slice(&self.scratch[..count]);
            let Some(length) = response_length(&client.received) else { continue };
            if !is_right(&client.received[..length], client.number) || client.received.len() > length {
                let shown = beginning(&client.received);
                self.meter.errors.add(|| format!("connection {index}: {shown}"));
            }
            client.received.clear();
            let (took, now) = (net.now() - client.sent, net.now());
            self.meter.finish_one(took);
            self.ask(index, now)?;
        }
        Ok(())
    }
}

/// Bytes of the response at the beginning, once all of it is there.
pub fn response_length(received: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(received, b"\r\n\r\n")? + 4;
    let mut lines = received[..head].split(|byte| *byte == b'\n');
    let length = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(15)?;
        name.eq_ignore_ascii_case(b"content-length:").then_some(value)
    })?;
    let length: usize = std::str::from_utf8(length).ok()?.trim().parse().ok()?;
    (received.len() >= head + length).then_some(head + length)
}

/// Whether it is 200 with the number that was asked for.
fn is_right(response: &[u8], number: u64) -> bool {
    let body = format!("{{\"n\":\"{number:016x}\"}}");
    response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(format!("\r\n\r\n{body}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_when_its_body_is_there_and_right_when_it_is_the_one_that_was_asked_for() {
        let response = b"HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"n\":\"00000000000000ff\"}";
        assert_eq!(response_length(response), Some(response.len()));
        assert_eq!(response_length(&response[..response.len() - 1]), None);
        assert_eq!(response_length(b"HTTP/1.1 200 OK\r\n"), None);
        assert!(is_right(response, 0xff));
        assert!(!is_right(response, 0xfe));
        assert!(!is_right(&[b"HTTP/1.1 500 X", &response[15..]].concat(), 0xff));
    }
}
