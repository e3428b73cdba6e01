//! Load of `state::get` and `state::set`: every connection owns its keys, so it knows each value that must come back.

use std::collections::VecDeque;

use crate::drive::{self, Common, Load, Until};
use crate::failure::Failure;
use crate::flight::{Flights, ID_BYTES};
use crate::frame::opcode;
use crate::hex::{read_hex, write_hex};
use crate::message::{self, Message};
use crate::meter::{Meter, Report};
use crate::msgpack;
use crate::net::{Handler, Net};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::random::{Chooser, Draw, Random};
use crate::store::{self, Next, Request, Store};
use crate::value::{VALUE_BYTES_MIN, Values};

const CONNECTIONS_MAX: usize = 4096;
const IN_FLIGHT_MAX: usize = 65_536;

/// What distinguishes the subcommands that all are this load.
pub struct Defaults {
    /// `command` of the report.
    pub command: &'static str,
    connections: usize,
    in_flight: usize,
    keys: usize,
    value_bytes: usize,
    measures: Measures,
}

/// What the measured phase does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Measures {
    /// Gets and sets of random keys, after every key was stored once.
    Mix,
    /// Stores every key once.
    Fill,
    /// Gets every key once; it must have what `fill` stored.
    Check,
}

/// 90/10 get/set of small values.
pub const STATE: Defaults = Defaults {
    command: "state",
    connections: 16,
    in_flight: 16,
    keys: 10_000,
    value_bytes: 100,
    measures: Measures::Mix,
};
/// The same with values of 16 KiB (or what `--value-bytes` says).
pub const LARGE: Defaults = Defaults {
    command: "large",
    connections: 16,
    in_flight: 4,
    keys: 256,
    value_bytes: 16_384,
    measures: Measures::Mix,
};
/// A million keys.
pub const FILL: Defaults = Defaults { command: "fill", keys: 1_000_000, measures: Measures::Fill, ..STATE };
/// Whether they are (still) there.
pub const CHECK: Defaults = Defaults { command: "check", measures: Measures::Check, ..FILL };

/// What an answer is compared with. Versions: 0 is "not there".
#[derive(Clone, Copy, Default)]
struct Asked {
    key: u32,
    set: bool,
    /// The version stored when the engine comes to this invocation; for gets that overtake sets the oldest it may be.
    before: u32,
    after: u32,
}

struct Connection {
    flights: Flights<Asked>,
    random: Random,
    /// Versions of the keys `first_key + index * connections + own number`.
    versions: Vec<u32>,
    /// The newest version of each that was acknowledged, where gets may overtake sets; otherwise empty.
    settled: Vec<u32>,
    /// What was asked of a store that answers in order.
    order: VecDeque<[u8; ID_BYTES]>,
    /// How many of them had their turn, while each has one.
    visited: usize,
}

impl Connection {
    fn new(index: usize, own_keys: usize, in_flight: usize, seed: u64) -> Self {
        Self {
            flights: Flights::new(in_flight, index, seed, Asked::default()),
            random: Random::new(seed, index as u64 + 1),
            versions: vec![0; own_keys],
            settled: Vec::new(),
            order: VecDeque::new(),
            visited: 0,
        }
    }
}

struct StateLoad {
    scope: String,
    first_key: u32,
    values: Values,
    get_percent: u32,
    /// The other side is the echo: it returns the request and filler.
    echo: bool,
    /// Calls are made in msgpack.
    msgpack: bool,
    /// The other side is no engine.
    store: Option<Box<dyn Store>>,
    measures: Measures,
    /// Every key has one turn, in their order.
    each_once: bool,
    /// For connections that own the smaller and the larger number of keys; those differ by one.
    choosers: [Chooser; 2],
    /// The smaller number.
    keys_least: usize,
    connections: Vec<Connection>,
    meter: Meter,
    request: Vec<u8>,
}

/// Runs the subcommand; returns its report and whether every answer was right.
pub fn run(mut options: Options, defaults: &Defaults) -> Result<(Report, bool), Failure> {
    let common = Common::take(&mut options)?;
    let connections = options.number("connections", defaults.connections, 1, CONNECTIONS_MAX)?;
    let in_flight = options.number("in-flight", defaults.in_flight, 1, IN_FLIGHT_MAX)?;
    let keys = options.number("keys", defaults.keys, connections, u32::MAX as usize)?;
    let first_key = options.number("first-key", 0, 0, u32::MAX as usize - keys)?;
    let value_bytes = options.number("value-bytes", defaults.value_bytes, VALUE_BYTES_MIN, 32 << 20)?;
    let get_percent = options.number("get-percent", 90, 0, 100)? as u32;
    let scope = options.take("scope", "bench".to_owned())?;
    let echo = options.take("echo", false)?;
    let codec = options.take("codec", "json".to_owned())?;
    if !matches!(codec.as_str(), "json" | "msgpack") || codec == "msgpack" && (echo || common.scheme != "ws") {
        return Err(Failure::Usage(format!("--codec: expected json, or msgpack for an engine, got `{codec}`")));
    }
    let draw = options.take("draw", Draw::Uniform)?;
    let store = store::of(&common, &scope, &mut options)?;
    options.finish()?;

    let mut net = match &store {
        Some(store) => store::connect(store.as_ref(), &common, connections)?,
        None => common.connect(connections)?,
    };
    let mut load = StateLoad {
        scope,
        first_key: first_key as u32,
        values: Values::new(value_bytes, common.seed),
        get_percent,
        echo,
        msgpack: codec == "msgpack",
        store,
        measures: defaults.measures,
        each_once: true,
        keys_least: keys / connections,
        choosers: [0, 1].map(|more| Chooser::new(draw, (keys / connections + more) as u32)),
        connections: (0..connections)
            .map(|index| Connection::new(index, (keys - index).div_ceil(connections), in_flight, common.seed))
            .collect(),
        meter: Meter::default(),
        request: Vec::new(),
    };
    load.prepare(&mut net)?;
    let mut report = Report::default();
    report
        .text("command", defaults.command)
        .text("codec", &codec)
        .number("connections", connections as f64)
        .number("in_flight", in_flight as f64)
        .number("keys", keys as f64)
        .number("value_bytes", value_bytes as f64);
    load.meter.recording = defaults.measures != Measures::Mix;
    let first = drive::drive(&mut net, &mut load, &common, Until::Ops(keys as u64))?;
    let good = if defaults.measures == Measures::Mix {
        load.each_once = false;
        drive::measure(&mut net, &mut load, &common, &mut report)?
    } else {
        drive::complete(&mut report, &load.meter, &first)
    };
    Ok((report, good))
}

impl Load for StateLoad {
    type Asked = Asked;

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn flights(&mut self) -> impl Iterator<Item = &mut Flights<Asked>> {
        self.connections.iter_mut().map(|connection| &mut connection.flights)
    }

    #[inline]
    fn flights_of(&mut self, caller: usize) -> &mut Flights<Asked> {
        &mut self.connections[caller].flights
    }

    #[inline]
    fn ask(&mut self, caller: usize, slot: usize, outbox: &mut Outbox, now: u64) {
        let stride = self.connections.len();
        let connection = &mut self.connections[caller];
        let (index, set) = if self.each_once {
            if connection.visited == connection.versions.len() {
                return;
            }
            connection.visited += 1;
            (connection.visited - 1, self.measures != Measures::Check)
        } else {
            let chooser = &self.choosers[connection.versions.len() - self.keys_least];
            let index = chooser.choose(&mut connection.random) as usize;
            (index, connection.random.below(100) >= self.get_percent)
        };
        if !self.meter.start_one() {
            return;
        }
        let version = &mut connection.versions[index];
        let before = connection.settled.get(index).copied().unwrap_or(*version);
        *version += u32::from(set);
        let key = self.first_key + (index * stride + caller) as u32;
        let asked = Asked { key, set, before, after: *version };
        let id = connection.flights.launch(slot, asked, now);
        if let Some(store) = &self.store {
            if store.is_ordered() {
                connection.order.push_back(*id);
            }
            return write_to_store(
                store.as_ref(),
                outbox.plain(),
                (caller, id),
                &self.values,
                &asked,
                &mut self.request,
            );
        }
        if self.msgpack {
            let set = set.then_some(asked.after);
            msgpack::write_request(&mut self.request, &self.scope, &self.values, key, set, id);
            return outbox.frame(opcode::BINARY, &self.request);
        }
        write_request(&mut self.request, &self.scope, &self.values, &asked, id);
        outbox.text(&self.request);
    }

    /// The result must be what this connection's own writes have made of the key.
    #[inline]
    fn is_right(&self, answer: &[u8], asked: &Asked) -> bool {
        if let Some(store) = &self.store {
            return self.is_of_store(store.as_ref(), answer, asked);
        }
        if self.echo {
            return self.is_echo(answer, asked);
        }
        if self.msgpack {
            let set = asked.set.then_some(asked.after);
            return msgpack::is_right(answer, &self.values, asked.key, asked.before, set);
        }
        message::quick(answer).is_some_and(|answer| self.fits(&answer, asked))
            || message::parse(answer).is_some_and(|answer| self.fits(&answer, asked))
    }

    fn describe(asked: &Asked) -> String {
        let Asked { key, set, before, after } = asked;
        format!("key {key}, set {set}, versions {before} -> {after}")
    }
}

impl Handler for StateLoad {
    #[inline]
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
        if !self.msgpack {
            return drive::answered(self, peer, text, outbox, now);
        }
        if let Some(landed) = drive::land(self, peer, msgpack::id(text), text, now) {
            drive::settle(self, peer, landed, text, outbox, now);
        }
    }

    fn bytes(&mut self, peer: usize, bytes: &[u8], outbox: &mut Outbox, now: u64) -> Result<usize, String> {
        let mut used = 0;
        while let Some(store) = &self.store {
            let ordered = store.is_ordered();
            let (len, id) = match store.next(&bytes[used..])? {
                Next::More => break,
                Next::Aside(len, answer) => {
                    outbox.plain().extend_from_slice(answer);
                    used += len;
                    continue;
                }
                Next::Reply { len, id } => (len, id),
            };
            let reply = &bytes[used..used + len];
            used += len;
            let oldest = if ordered { self.connections[peer].order.pop_front() } else { None };
            let id = id.or(oldest.as_ref().map(<[u8; ID_BYTES]>::as_slice)).unwrap_or_default();
            if let Some(landed) = drive::land(self, peer, id, reply, now) {
                self.note_acknowledged(peer, &landed.what);
                drive::settle(self, peer, landed, reply, outbox, now);
            }
        }
        Ok(used)
    }
}

impl StateLoad {
    /// Before anything is asked.
    fn prepare(&mut self, net: &mut Net) -> Result<(), Failure> {
        for connection in &mut self.connections {
            connection.versions.fill(u32::from(self.measures == Measures::Check));
            if self.store.as_ref().is_some_and(|store| !store.is_ordered()) {
                connection.settled = connection.versions.clone();
            }
        }
        if self.echo {
            for peer in 0..self.connections.len() {
                net.send(peer, |outbox, _| outbox.text(&self.echo_sizes()))?;
            }
        }
        Ok(())
    }

    fn index_of(&self, asked: &Asked) -> usize {
        (asked.key - self.first_key) as usize / self.connections.len()
    }

    /// Gets that are sent from now on must find this version or a newer one.
    fn note_acknowledged(&mut self, peer: usize, asked: &Asked) {
        let index = self.index_of(asked);
        if let Some(settled) = self.connections[peer].settled.get_mut(index).filter(|_| asked.set) {
            *settled = (*settled).max(asked.after);
        }
    }

    fn is_of_store(&self, store: &dyn Store, reply: &[u8], asked: &Asked) -> bool {
        if asked.set {
            return store.is_stored(reply);
        }
        let Some(value) = store.value(reply) else { return false };
        if store.is_ordered() {
            return self.values.is(value, asked.key, asked.before);
        }
        let owner = (asked.key - self.first_key) as usize % self.connections.len();
        let newest = self.connections[owner].versions[self.index_of(asked)];
        self.values.version(value).is_some_and(|version| {
            (asked.before.max(1)..=newest).contains(&version) && self.values.is(value, asked.key, version)
        })
    }

    #[inline]
    fn fits(&self, answer: &Message<'_>, asked: &Asked) -> bool {
        let function: &[u8] = if asked.set { b"state::set" } else { b"state::get" };
        if answer.kind != b"invocationresult" || answer.function != function || answer.error.is_some() {
            return false;
        }
        let Some(result) = answer.payload else { return false };
        if !asked.set {
            return self.values.is(result, asked.key, asked.before);
        }
        let usual = self.split_set_result(result, asked);
        let (old, new) = match usual {
            Some(parts) => parts,
            None => match (message::member(result, b"old_value"), message::member(result, b"new_value")) {
                (Some(old), Some(new)) => (old, new),
                _ => return false,
            },
        };
        self.values.is(old, asked.key, asked.before) && self.values.is(new, asked.key, asked.after)
    }

    /// The usual layout: `{"old_value":V,"new_value":V}`, both lengths known.
    #[inline]
    fn split_set_result<'a>(&self, result: &'a [u8], asked: &Asked) -> Option<(&'a [u8], &'a [u8])> {
        let rest = result.strip_prefix(br#"{"old_value":"#)?;
        let (old, rest) = rest.split_at_checked(if asked.before == 0 { 4 } else { self.values.len() })?;
        Some((old, rest.strip_prefix(br#","new_value":"#)?.strip_suffix(b"}")?))
    }

    /// The echo returns the request itself, with filler in front of its last byte up to the size of the engine's answer.
    #[inline]
    fn is_echo(&self, text: &[u8], asked: &Asked) -> bool {
        let [get_request, get_reply, set_reply] = self.sizes();
        let (request, reply) = match asked.set {
            true => (get_request + SET_EXTRA + self.values.len(), set_reply),
            false => (get_request, get_reply),
        };
        let name: &[u8] = if asked.set { b"state::set" } else { b"state::get" };
        let key = &text[get_request.min(text.len()) - END.len() - KEY_DIGITS..];
        text.len() == reply.max(request)
            && text[request - 1..text.len() - 1].chunks(FILLER.len()).all(|chunk| *chunk == FILLER[..chunk.len()])
            && text[FUNCTION_AT..].starts_with(name)
            && read_hex(&key[..KEY_DIGITS]) == Some(asked.key.into())
            && (!asked.set
                || self.values.is(&text[request - 2 - self.values.len()..request - 2], asked.key, asked.after))
    }

    /// Bytes of a get request, of the engine's answer to it, and of its answer to a set.
    fn sizes(&self) -> [usize; 3] {
        let request = GET_HEAD.len() + 36 + GET_MIDDLE.len() + self.scope.len() + KEY.len() + KEY_DIGITS + END.len();
        let value = self.values.len();
        [request, RESULT_BYTES + value, RESULT_BYTES + SET_RESULT_BYTES + 2 * value]
    }

    /// Tells the echo which sizes the engine's answers have, and how much it stores.
    fn echo_sizes(&self) -> Vec<u8> {
        let [short, reply, long_reply] = self.sizes();
        let stored = self.connections.iter().map(|one| one.versions.len()).sum::<usize>() * self.values.len();
        format!(
            "{{\"type\":\"echo\",\"short\":{short},\"reply\":{reply},\"long_reply\":{long_reply},\"stored\":{stored}}}"
        )
        .into_bytes()
    }
}

const FILLER: &[u8] = &[b' '; 4 << 10];
const GET_HEAD: &[u8] = br#"{"type":"invokefunction","invocation_id":""#;
const GET_MIDDLE: &[u8] = br#"","function_id":"state::get","data":{"scope":""#;
const SET_MIDDLE: &[u8] = br#"","function_id":"state::set","data":{"scope":""#;
const KEY_DIGITS: usize = 8;
const KEY: &[u8] = br#"","key":"key-"#;
const VALUE: &[u8] = br#"","value":"#;
const END: &[u8] = br#""}}"#;
const FUNCTION_AT: usize = GET_HEAD.len() + 36 + br#"","function_id":""#.len();
/// What a set request has more than a get request, besides the value: `,"value":`.
const SET_EXTRA: usize = VALUE.len() - 1;
const RESULT_BYTES: usize =
    br#"{"type":"invocationresult","invocation_id":"","function_id":"state::get","result":}"#.len() + 36;
const SET_RESULT_BYTES: usize = br#"{"old_value":,"new_value":}"#.len();

/// `scratch` is for the value.
fn write_to_store(
    store: &dyn Store,
    out: &mut Vec<u8>,
    (peer, id): (usize, &[u8; ID_BYTES]),
    values: &Values,
    asked: &Asked,
    scratch: &mut Vec<u8>,
) {
    let mut key = *b"key-00000000";
    write_hex(&mut key[4..], asked.key.into());
    scratch.clear();
    if asked.set {
        values.write(scratch, asked.key, asked.after);
    }
    store.write(out, &Request { peer, id, key: &key, value: asked.set.then_some(scratch.as_slice()) });
}

#[inline]
fn write_request(out: &mut Vec<u8>, scope: &str, values: &Values, asked: &Asked, id: &[u8; 36]) {
    out.clear();
    out.extend_from_slice(GET_HEAD);
    out.extend_from_slice(id);
    out.extend_from_slice(if asked.set { SET_MIDDLE } else { GET_MIDDLE });
    out.extend_from_slice(scope.as_bytes());
    out.extend_from_slice(KEY);
    let mut digits = [0; KEY_DIGITS];
    write_hex(&mut digits, asked.key.into());
    out.extend_from_slice(&digits);
    if asked.set {
        out.extend_from_slice(VALUE);
        values.write(out, asked.key, asked.after);
        out.extend_from_slice(b"}}");
    } else {
        out.extend_from_slice(END);
    }
}
