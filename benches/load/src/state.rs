//! Load of `state::get` and `state::set`: every connection owns its keys, so it knows each value that must come back.

use crate::drive::{self, Common, Load, Until};
use crate::failure::Failure;
use crate::flight::{Flights, read_hex, write_hex};
use crate::message::{self, Message};
use crate::meter::{Meter, Report};
use crate::net::{Handler, Outbox};
use crate::options::Options;
use crate::random::Random;
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
    /// The version stored when the engine comes to this invocation.
    before: u32,
    after: u32,
}

struct Connection {
    flights: Flights<Asked>,
    random: Random,
    /// Versions of the keys `first_key + index * connections + own number`.
    versions: Vec<u32>,
    /// How many of them had their turn, while each has one.
    visited: usize,
}

struct StateLoad {
    scope: String,
    first_key: u32,
    values: Values,
    get_percent: u32,
    /// The other side is the echo: it returns the request and filler.
    echo: bool,
    measures: Measures,
    /// Every key has one turn, in their order.
    each_once: bool,
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
    options.finish()?;

    let mut net = common.connect(connections)?;
    let own_keys = |connection: usize| (keys - connection).div_ceil(connections);
    let mut load = StateLoad {
        scope,
        first_key: first_key as u32,
        values: Values::new(value_bytes, common.seed),
        get_percent,
        echo,
        measures: defaults.measures,
        each_once: true,
        connections: (0..connections)
            .map(|index| Connection {
                flights: Flights::new(in_flight, index, common.seed, Asked::default()),
                random: Random::new(common.seed, index as u64 + 1),
                versions: vec![u32::from(defaults.measures == Measures::Check); own_keys(index)],
                visited: 0,
            })
            .collect(),
        meter: Meter::default(),
        request: Vec::new(),
    };
    if echo {
        for peer in 0..connections {
            net.send(peer, |outbox, _| outbox.text(&load.echo_sizes()))?;
        }
    }
    let mut report = Report::default();
    report
        .text("command", defaults.command)
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
            let index = connection.random.below(connection.versions.len() as u32) as usize;
            (index, connection.random.below(100) >= self.get_percent)
        };
        if !self.meter.start_one() {
            return;
        }
        let version = &mut connection.versions[index];
        let before = *version;
        *version += u32::from(set);
        let key = self.first_key + (index * stride + caller) as u32;
        let asked = Asked { key, set, before, after: *version };
        let id = connection.flights.launch(slot, asked, now);
        write_request(&mut self.request, &self.scope, &self.values, &asked, id);
        outbox.text(&self.request);
    }

    /// The result must be what this connection's own writes have made of the key.
    #[inline]
    fn is_right(&self, answer: &[u8], asked: &Asked) -> bool {
        if self.echo {
            return self.is_echo(answer, asked);
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
        drive::answered(self, peer, text, outbox, now);
    }
}

impl StateLoad {
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

    /// The echo returns the request itself, then filler up to the size of the engine's answer.
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

    /// Tells the echo which sizes the engine's answers have.
    fn echo_sizes(&self) -> Vec<u8> {
        let [get_request, get_reply, set_reply] = self.sizes();
        format!("{{\"type\":\"echo\",\"short\":{get_request},\"reply\":{get_reply},\"long_reply\":{set_reply}}}")
            .into_bytes()
    }
}

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
