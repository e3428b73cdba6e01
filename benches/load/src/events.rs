//! Load of state events: every connection writes keys of a scope of its own and is called for each change of them. An
//! operation is done when both the answer to the write and the event have come.

use crate::drive::{self, Common, Load, beginning};
use crate::failure::Failure;
use crate::flight::{Flights, ID_BYTES};
use crate::hex::{read_hex, write_hex};
use crate::message::{self, Message};
use crate::meter::{Meter, Report};
use crate::net::{Handler, Net};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::value::{VALUE_BYTES_MIN, Values};

const CONNECTIONS_MAX: usize = 4096;
const IN_FLIGHT_MAX: usize = 65_536;
const KEY_DIGITS: usize = 8;

/// One write: its key (each slot has one), and the version it stores.
#[derive(Clone, Copy, Default)]
struct Asked {
    key: u32,
    version: u32,
}

/// What has come for the write of one slot.
#[derive(Clone, Copy, Default)]
struct Slot {
    id: Option<[u8; ID_BYTES]>,
    version: u32,
    answered: bool,
    told: bool,
}

struct Writer {
    flights: Flights<Asked>,
    slots: Vec<Slot>,
}

struct EventLoad {
    prefix: String,
    values: Values,
    in_flight: usize,
    writers: Vec<Writer>,
    meter: Meter,
    message: Vec<u8>,
}

/// Runs the subcommand; returns its report and whether every write was answered and told, and rightly.
pub fn run(mut options: Options) -> Result<(Report, bool), Failure> {
    let common = Common::take(&mut options)?;
    let connections = options.number("connections", 16, 1, CONNECTIONS_MAX)?;
    let in_flight = options.number("in-flight", 16, 1, IN_FLIGHT_MAX)?;
    let value_bytes = options.number("value-bytes", 100, VALUE_BYTES_MIN, 32 << 20)?;
    let prefix = options.take("prefix", "bench".to_owned())?;
    options.finish()?;

    let mut net = common.connect(connections)?;
    let mut load = EventLoad {
        prefix,
        values: Values::new(value_bytes, common.seed),
        in_flight,
        writers: (0..connections)
            .map(|index| Writer {
                flights: Flights::new(in_flight, index, common.seed, Asked::default()),
                slots: vec![Slot::default(); in_flight],
            })
            .collect(),
        meter: Meter::default(),
        message: Vec::new(),
    };
    register(&mut net, &load)?;
    let mut report = Report::default();
    report
        .text("command", "events")
        .number("connections", connections as f64)
        .number("in_flight", in_flight as f64)
        .number("value_bytes", value_bytes as f64);
    let good = drive::measure(&mut net, &mut load, &common, &mut report)?;
    Ok((report, good))
}

/// A function and a trigger for each connection. A connection is not read further until a registration is done, so the
/// first write is told already.
fn register(net: &mut Net, load: &EventLoad) -> Result<(), Failure> {
    for writer in 0..load.writers.len() {
        let name = load.name(writer);
        net.send(writer, |outbox, _| {
            outbox.text(format!(r#"{{"type":"registerfunction","id":"{name}"}}"#).as_bytes());
            let trigger = format!(
                r#"{{"type":"registertrigger","id":"{name}","trigger_type":"state","function_id":"{name}","config":{{"scope":"{name}"}}}}"#
            );
            outbox.text(trigger.as_bytes());
        })?;
    }
    Ok(())
}

impl Load for EventLoad {
    type Asked = Asked;

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn flights(&mut self) -> impl Iterator<Item = &mut Flights<Asked>> {
        self.writers.iter_mut().map(|writer| &mut writer.flights)
    }

    fn flights_of(&mut self, caller: usize) -> &mut Flights<Asked> {
        &mut self.writers[caller].flights
    }

    fn ask(&mut self, caller: usize, slot: usize, outbox: &mut Outbox, now: u64) {
        if !self.meter.start_one() {
            return;
        }
        let name = self.name(caller);
        let writer = &mut self.writers[caller];
        let version = writer.slots[slot].version + 1;
        let asked = Asked { key: (caller * self.in_flight + slot) as u32, version };
        let id = *writer.flights.launch(slot, asked, now);
        writer.slots[slot] = Slot { id: Some(id), version, answered: false, told: false };
        let mut key = [0; KEY_DIGITS];
        write_hex(&mut key, asked.key.into());
        let out = &mut self.message;
        out.clear();
        out.extend_from_slice(br#"{"type":"invokefunction","invocation_id":""#);
        out.extend_from_slice(&id);
        out.extend_from_slice(br#"","function_id":"state::set","data":{"scope":""#);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(br#"","key":""#);
        out.extend_from_slice(&key);
        out.extend_from_slice(br#"","value":"#);
        self.values.write(out, asked.key, version);
        out.extend_from_slice(b"}}");
        outbox.text(out);
    }

    /// The answer was looked at when it came; this is the event.
    fn is_right(&self, event: &[u8], asked: &Asked) -> bool {
        let member = |name: &[u8]| message::member(event, name);
        let kind: &[u8] = if asked.version == 1 { br#""state:created""# } else { br#""state:updated""# };
        member(b"type") == Some(br#""state""#)
            && member(b"event_type") == Some(kind)
            && member(b"old_value").is_some_and(|old| self.values.is(old, asked.key, asked.version - 1))
            && member(b"new_value").is_some_and(|new| self.values.is(new, asked.key, asked.version))
    }

    fn describe(asked: &Asked) -> String {
        format!("key {}, version {}", asked.key, asked.version)
    }
}

impl Handler for EventLoad {
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
        let Some(message) = message::parse(text) else {
            return self.meter.errors.add(|| format!("connection {peer}: no message: {}", beginning(text)));
        };
        match message.kind {
            b"invocationresult" => self.answer(peer, &message, text, outbox, now),
            b"invokefunction" => self.event(peer, &message, text, outbox, now),
            b"triggerregistrationresult" if message.error.is_none() => {}
            _ => self.meter.errors.add(|| format!("connection {peer}: unexpected: {}", beginning(text))),
        }
    }
}

impl EventLoad {
    /// Function, trigger and scope of a connection.
    fn name(&self, writer: usize) -> String {
        format!("{}::e{writer:04x}", self.prefix)
    }

    fn answer(&mut self, peer: usize, message: &Message<'_>, text: &[u8], outbox: &mut Outbox, now: u64) {
        let slots = &self.writers[peer].slots;
        let Some(slot) = slots.iter().position(|slot| !slot.answered && slot.id.is_some_and(|id| id == message.id))
        else {
            return self.meter.errors.add(|| format!("connection {peer}: answer to nothing: {}", beginning(text)));
        };
        let Slot { version, told, .. } = self.writers[peer].slots[slot];
        let key = (peer * self.in_flight + slot) as u32;
        let is = |name: &[u8], version| {
            let part = message.payload.and_then(|result| message::member(result, name));
            part.is_some_and(|part| self.values.is(part, key, version))
        };
        if message.error.is_some() || !is(b"old_value", version - 1) || !is(b"new_value", version) {
            self.meter.errors.add(|| format!("connection {peer}, key {key}: {}", beginning(text)));
        }
        self.writers[peer].slots[slot].answered = true;
        if told {
            self.done(peer, slot, outbox, now);
        }
    }

    fn event(&mut self, peer: usize, message: &Message<'_>, text: &[u8], outbox: &mut Outbox, now: u64) {
        let event = message.payload.unwrap_or_default();
        let key = message::member(event, b"key").and_then(|key| read_hex(key.get(1..1 + KEY_DIGITS)?));
        let slot = key.and_then(|key| (key as usize).checked_sub(peer * self.in_flight));
        let asked = slot.filter(|slot| *slot < self.in_flight && !self.writers[peer].slots[*slot].told);
        let Some(slot) = asked.filter(|_| message.function == self.name(peer).as_bytes()) else {
            return self.meter.errors.add(|| format!("connection {peer}: event of nothing: {}", beginning(text)));
        };
        let entry = &mut self.writers[peer].slots[slot];
        entry.told = true;
        let (answered, version) = (entry.answered, entry.version);
        let asked = Asked { key: (peer * self.in_flight + slot) as u32, version };
        if !self.is_right(event, &asked) {
            self.meter.errors.add(|| format!("connection {peer}, {}: {}", Self::describe(&asked), beginning(text)));
        }
        if !message.id.is_empty() {
            self.message.clear();
            self.message.extend_from_slice(br#"{"type":"invocationresult","invocation_id":""#);
            self.message.extend_from_slice(message.id);
            self.message.extend_from_slice(br#"","function_id":""#);
            self.message.extend_from_slice(message.function);
            self.message.extend_from_slice(br#"","result":null}"#);
            outbox.text(&self.message);
        }
        if answered {
            self.done(peer, slot, outbox, now);
        }
    }

    /// Both have come and were checked.
    fn done(&mut self, peer: usize, slot: usize, outbox: &mut Outbox, now: u64) {
        let id = self.writers[peer].slots[slot].id.unwrap_or([0; ID_BYTES]);
        if let Some(landed) = drive::land(self, peer, &id, b"", now) {
            self.meter.finish_one(landed.took);
            self.ask(peer, slot, outbox, now);
        }
    }
}
