//! Load of `state::list`: one scope whose values stay as they are, so every answer must be the same array.

use crate::drive::{self, Common, Load, Until};
use crate::failure::Failure;
use crate::flight::Flights;
use crate::hex::write_hex;
use crate::message;
use crate::meter::{Meter, Report};
use crate::net::{Handler, Net};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::value::{VALUE_BYTES_MIN, Values};

const CONNECTIONS_MAX: usize = 4096;
const IN_FLIGHT_MAX: usize = 65_536;
const KEY_DIGITS: usize = 8;
/// The version that is stored of every key.
const VERSION: u32 = 1;

struct ListLoad {
    scope: String,
    callers: Vec<Flights<()>>,
    values: Values,
    keys: u32,
    /// How many of them are there.
    stored: u32,
    /// What every list must be.
    expected: Vec<u8>,
    meter: Meter,
    request: Vec<u8>,
}

/// Runs the subcommand; returns its report and whether every answer was right.
pub fn run(mut options: Options) -> Result<(Report, bool), Failure> {
    let common = Common::take(&mut options)?;
    let connections = options.number("connections", 16, 1, CONNECTIONS_MAX)?;
    let in_flight = options.number("in-flight", 16, 1, IN_FLIGHT_MAX)?;
    let keys = options.number("keys", 100, 1, 1_000_000)?;
    let value_bytes = options.number("value-bytes", 100, VALUE_BYTES_MIN, 1 << 20)?;
    let scope = options.take("scope", "bench".to_owned())?;
    options.finish()?;

    let mut net = common.connect(connections)?;
    let values = Values::new(value_bytes, common.seed);
    let mut load = ListLoad {
        scope,
        callers: (0..connections).map(|index| Flights::new(in_flight, index, common.seed, ())).collect(),
        expected: array(&values, keys as u32),
        values,
        keys: keys as u32,
        stored: 0,
        meter: Meter::default(),
        request: Vec::new(),
    };
    load.store(&mut net, &common)?;
    let mut report = Report::default();
    report
        .text("command", "list")
        .number("connections", connections as f64)
        .number("in_flight", in_flight as f64)
        .number("keys", keys as f64)
        .number("value_bytes", value_bytes as f64);
    let good = drive::measure(&mut net, &mut load, &common, &mut report)?;
    Ok((report, good))
}

fn array(values: &Values, keys: u32) -> Vec<u8> {
    let mut array = vec![b'['];
    for key in 0..keys {
        if key > 0 {
            array.push(b',');
        }
        values.write(&mut array, key, VERSION);
    }
    array.push(b']');
    array
}

impl ListLoad {
    /// Sets every key, one after the other: what is set first is listed first.
    fn store(&mut self, net: &mut Net, common: &Common) -> Result<(), Failure> {
        while self.stored < self.keys {
            drive::drive(net, self, common, Until::Ops(1))?;
            if self.meter.unanswered.count > 0 {
                return Err(Failure::Peer { peer: 0, reason: "a key was not stored".into() });
            }
            self.stored += 1;
        }
        Ok(())
    }

    fn write_request(&mut self, id: &[u8]) {
        let out = &mut self.request;
        out.clear();
        out.extend_from_slice(br#"{"type":"invokefunction","invocation_id":""#);
        out.extend_from_slice(id);
        let sets = self.stored < self.keys;
        out.extend_from_slice(br#"","function_id":"state::"#);
        out.extend_from_slice(if sets { b"set" } else { b"list" });
        out.extend_from_slice(br#"","data":{"scope":""#);
        out.extend_from_slice(self.scope.as_bytes());
        if sets {
            let mut key = [0; KEY_DIGITS];
            write_hex(&mut key, self.stored.into());
            out.extend_from_slice(br#"","key":"key-"#);
            out.extend_from_slice(&key);
            out.extend_from_slice(br#"","value":"#);
            self.values.write(out, self.stored, VERSION);
            out.extend_from_slice(b"}}");
        } else {
            out.extend_from_slice(br#""}}"#);
        }
    }
}

impl Load for ListLoad {
    type Asked = ();

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn flights(&mut self) -> impl Iterator<Item = &mut Flights<()>> {
        self.callers.iter_mut()
    }

    fn flights_of(&mut self, caller: usize) -> &mut Flights<()> {
        &mut self.callers[caller]
    }

    fn ask(&mut self, caller: usize, slot: usize, outbox: &mut Outbox, now: u64) {
        if self.meter.start_one() {
            let id = *self.callers[caller].launch(slot, (), now);
            self.write_request(&id);
            outbox.text(&self.request);
        }
    }

    fn is_right(&self, answer: &[u8], (): &()) -> bool {
        let Some(answer) = message::quick(answer).or_else(|| message::parse(answer)) else { return false };
        let function: &[u8] = if self.stored < self.keys { b"state::set" } else { b"state::list" };
        if answer.kind != b"invocationresult" || answer.function != function || answer.error.is_some() {
            return false;
        }
        let Some(result) = answer.payload else { return false };
        if self.stored == self.keys {
            return result == self.expected;
        }
        message::member(result, b"new_value").is_some_and(|new| self.values.is(new, self.stored, VERSION))
    }

    fn describe((): &()) -> String {
        "state::list".into()
    }
}

impl Handler for ListLoad {
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
        drive::answered(self, peer, text, outbox, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expected_list_has_every_value_in_order() {
        let values = Values::new(VALUE_BYTES_MIN, 1);
        let array = array(&values, 3);
        assert_eq!(array.len(), 3 * VALUE_BYTES_MIN + 4);
        let second = &array[VALUE_BYTES_MIN + 2..][..VALUE_BYTES_MIN];
        assert!(values.is(second, 1, VERSION));
    }
}
