//! Sessions bytes to bytes: state calls, and calls from one worker to another one.

use iii_fast_core::codec::Codec;
use iii_fast_core::codec::transcode::to_msgpack;
use iii_fast_core::limits::Limits;
use iii_fast_core::loopback::Loopback;
use iii_fast_core::peer::SessionId;
use iii_fast_load::frame::{self, opcode};
use iii_fast_load::random::Random;
use iii_fast_load::value::Values;

use crate::{SEED, Work, Wrong, measured};

/// Frames that come in one read: a connection with as many invocations in flight.
const BATCH: usize = 16;
const KEYS: u32 = 100;
const GET_PERCENT: u32 = 90;

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Appends a message, given as JSON text, in a codec.
fn encode(out: &mut Vec<u8>, codec: Codec, message: &str, mask: Option<&mut Random>) {
    match codec {
        Codec::Json => frame::encode(out, opcode::TEXT, message.as_bytes(), mask),
        // All of it is in both codecs; what is missing is found by the check.
        Codec::Msgpack => frame::encode(out, opcode::BINARY, &to_msgpack(message).unwrap_or_default(), mask),
    }
}

fn masked(codec: Codec, messages: &[String], random: &mut Random) -> Vec<Vec<u8>> {
    let read = |batch: &[String]| {
        let mut read = Vec::new();
        for message in batch {
            encode(&mut read, codec, message, Some(random));
        }
        read
    };
    messages.chunks(BATCH).map(read).collect()
}

fn framed(codec: Codec, messages: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    for message in messages {
        encode(&mut out, codec, message, None);
    }
    out
}

fn compare(what: &'static str, found: &[u8], expected: &[u8]) -> Result<(), Wrong> {
    if found == expected { Ok(()) } else { Err(Wrong { what, number: found.len() }) }
}

/// `state::get` and `state::set`.
pub struct States {
    core: Loopback,
    session: SessionId,
    reads: Vec<Vec<u8>>,
    out: Vec<u8>,
    expected: Vec<u8>,
}

impl States {
    /// So many calls in a codec, nine of ten a get of values of so many bytes.
    pub fn new(count: usize, value_bytes: usize, codec: Codec) -> Self {
        let values = Values::new(value_bytes, SEED);
        let mut random = Random::new(SEED, 3);
        let mut versions = vec![0; KEYS as usize];
        let text = |key: u32, version: u32| {
            let mut text = Vec::new();
            values.write(&mut text, key, version);
            if version == 0 { "null".to_owned() } else { String::from_utf8(text).unwrap_or_default() }
        };
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for number in 0..KEYS as usize + count {
            let filling = number < KEYS as usize;
            let key = if filling { number as u32 } else { random.below(KEYS) };
            let before = versions[key as usize];
            let id = id(number);
            let request = |function: &str, value: String| {
                format!(
                    r#"{{"type":"invokefunction","invocation_id":"{id}","function_id":"{function}","data":{{"scope":"bench","key":"key-{key:08x}"{value}}}}}"#
                )
            };
            let answer = |function: &str, result: String| {
                format!(
                    r#"{{"type":"invocationresult","invocation_id":"{id}","function_id":"{function}","result":{result}}}"#
                )
            };
            if filling || random.below(100) >= GET_PERCENT {
                versions[key as usize] += 1;
                let (old, new) = (text(key, before), text(key, before + 1));
                requests.push(request("state::set", format!(r#","value":{new}"#)));
                answers.push(answer("state::set", format!(r#"{{"old_value":{old},"new_value":{new}}}"#)));
            } else {
                requests.push(request("state::get", String::new()));
                answers.push(answer("state::get", text(key, before)));
            }
        }
        let mut core = Loopback::new(Limits::default());
        let session = core.connect();
        core.take(session);
        for mut read in masked(codec, &requests[..KEYS as usize], &mut random) {
            core.feed(session, &mut read);
            core.take(session);
        }
        let reads = masked(codec, &requests[KEYS as usize..], &mut random);
        let expected = framed(codec, &answers[KEYS as usize..]);
        States { core, session, reads, out: Vec::with_capacity(expected.len()), expected }
    }
}

impl Work for States {
    fn run(&mut self) {
        for read in &mut self.reads {
            let written = measured(|| {
                self.core.feed(self.session, read);
                self.core.take(self.session)
            });
            self.out.extend_from_slice(&written);
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        compare("dispatch-state", &self.out, &self.expected)
    }
}

/// Calls from worker to worker, and their results.
pub struct Calls {
    core: Loopback,
    caller: SessionId,
    worker: SessionId,
    calls: Vec<Vec<u8>>,
    results: Vec<Vec<u8>>,
    asked: Vec<u8>,
    answered: Vec<u8>,
    expected: [Vec<u8>; 2],
}

impl Calls {
    /// So many calls of one function.
    pub fn new(count: usize) -> Self {
        let mut random = Random::new(SEED, 4);
        let mut core = Loopback::new(Limits::default());
        let (caller, worker) = (core.connect(), core.connect());
        core.receive(worker, opcode::TEXT, br#"{"type":"registerfunction","id":"bench::f"}"#);
        for session in [caller, worker] {
            core.take(session);
        }
        let envelope = |kind: &str, member: &str, number: usize| {
            let letters = "x".repeat(64);
            format!(
                r#"{{"type":"{kind}","invocation_id":"{}","function_id":"bench::f","{member}":{{"n":{number},"text":"{letters}"}}}}"#,
                id(number)
            )
        };
        let calls: Vec<String> = (0..count).map(|number| envelope("invokefunction", "data", number)).collect();
        let results: Vec<String> = (0..count).map(|number| envelope("invocationresult", "result", number)).collect();
        let expected = [&calls, &results].map(|messages| framed(Codec::Json, messages));
        let calls = masked(Codec::Json, &calls, &mut random);
        let results = masked(Codec::Json, &results, &mut random);
        Calls { core, caller, worker, calls, results, asked: Vec::new(), answered: Vec::new(), expected }
    }
}

impl Work for Calls {
    fn run(&mut self) {
        for (calls, results) in self.calls.iter_mut().zip(&mut self.results) {
            let (asked, answered) = measured(|| {
                self.core.feed(self.caller, calls);
                let asked = self.core.take(self.worker);
                self.core.feed(self.worker, results);
                (asked, self.core.take(self.caller))
            });
            self.asked.extend_from_slice(&asked);
            self.answered.extend_from_slice(&answered);
        }
    }

    fn check(&self) -> Result<(), Wrong> {
        compare("dispatch-calls, asked", &self.asked, &self.expected[0])?;
        compare("dispatch-calls, answered", &self.answered, &self.expected[1])
    }
}
