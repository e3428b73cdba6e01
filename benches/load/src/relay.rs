//! Load of calls from worker to worker: this process is the callers and the workers, the engine only passes on.

use crate::drive::{self, Common, Load, beginning};
use crate::failure::Failure;
use crate::flight::{Flights, ID_BYTES};
use crate::hex::{read_hex, write_hex};
use crate::message::{self, Message};
use crate::meter::{Meter, Report};
use crate::net::{Handler, Net, Side};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::random::{Random, mix};
use crate::value::Values;

const CONNECTIONS_MAX: usize = 4096;
const IN_FLIGHT_MAX: usize = 65_536;
/// `{"n":"0123456789abcdef","text":""}`
const DATA_BYTES_MIN: usize = DATA_HEAD.len() + DIGITS + TEXT.len() + END.len();

const DIGITS: usize = 16;
const DATA_HEAD: &[u8] = br#"{"n":""#;
const RESULT_HEAD: &[u8] = br#"{"r":""#;
const TEXT: &[u8] = br#"","text":""#;
const END: &[u8] = br#""}"#;

/// One call: its number, and the function it went to.
#[derive(Clone, Copy, Default)]
struct Asked {
    number: u64,
    worker: u32,
}

/// The connections before `callers.len()` call, those behind it serve one function each.
struct RelayLoad {
    prefix: String,
    letters: Values,
    text_bytes: usize,
    callers: Vec<Caller>,
    workers: usize,
    /// The other side is the bare relay: it ties each caller to the worker of the same number.
    bare: bool,
    served: u64,
    meter: Meter,
    message: Vec<u8>,
}

struct Caller {
    flights: Flights<Asked>,
    random: Random,
    next_worker: u32,
}

/// Runs the subcommand; returns its report and whether every call was answered, and rightly.
pub fn run(mut options: Options) -> Result<(Report, bool), Failure> {
    let common = Common::take(&mut options)?;
    let callers = options.number("connections", 16, 1, CONNECTIONS_MAX)?;
    let in_flight = options.number("in-flight", 16, 1, IN_FLIGHT_MAX)?;
    let workers = options.number("workers", callers, 1, CONNECTIONS_MAX)?;
    let data_bytes = options.number("value-bytes", 100, DATA_BYTES_MIN, 32 << 20)?;
    let prefix = options.take("prefix", "bench".to_owned())?;
    let bare = options.take("bare", false)?;
    options.finish()?;
    if bare && workers != callers {
        return Err(Failure::Usage(format!(
            "--workers: {workers} for {callers} callers; expected as many with --bare"
        )));
    }

    let mut net = common.connect_as(if bare { Side::Relayed } else { Side::Client }, callers + workers)?;
    let text_bytes = data_bytes - DATA_BYTES_MIN;
    let mut load = RelayLoad {
        prefix,
        letters: Values::new(data_bytes, common.seed),
        text_bytes,
        callers: (0..callers)
            .map(|index| Caller {
                flights: Flights::new(in_flight, index, common.seed, Asked::default()),
                random: Random::new(common.seed, index as u64 + 1),
                next_worker: index as u32 % workers as u32,
            })
            .collect(),
        workers,
        bare,
        served: 0,
        meter: Meter::default(),
        message: Vec::new(),
    };
    if !bare {
        register(&mut net, &mut load, &common)?;
    }
    let mut report = Report::default();
    report
        .text("command", "relay")
        .number("connections", callers as f64)
        .number("in_flight", in_flight as f64)
        .number("workers", workers as f64)
        .number("value_bytes", data_bytes as f64);
    let good = drive::measure(&mut net, &mut load, &common, &mut report)?;
    report.number("served", load.served as f64);
    Ok((report, good))
}

/// Registers every function, then lets each worker call its own: messages of one connection are served in order, so the
/// answer proves that the registration is done.
fn register(net: &mut Net, load: &mut RelayLoad, common: &Common) -> Result<(), Failure> {
    let callers = load.callers.len();
    for worker in 0..load.workers {
        let function = load.function(worker as u32);
        net.send(callers + worker, |outbox, _| {
            outbox.text(format!(r#"{{"type":"registerfunction","id":"{function}"}}"#).as_bytes());
        })?;
    }
    let flights = |worker| Flights::new(1, callers + worker, common.seed, Asked::default());
    let mut probe = Probe { waiting: (0..load.workers).map(flights).collect(), answered: 0, load };
    for worker in 0..probe.waiting.len() {
        net.send(callers + worker, |outbox, now| {
            let asked = Asked { number: worker as u64, worker: worker as u32 };
            let id = *probe.waiting[worker].launch(0, asked, now);
            probe.load.write_call(&asked, &id);
            outbox.text(&probe.load.message);
        })?;
    }
    let start = net.now();
    while probe.answered < probe.waiting.len() {
        if net.now() - start > common.deadline_ms * 1_000_000 {
            return Err(Failure::Peer {
                peer: callers,
                reason: format!("{} of {} functions answer", probe.answered, probe.waiting.len()),
            });
        }
        net.step(100, &mut probe)?;
    }
    Ok(())
}

/// The workers calling themselves, before the load begins.
struct Probe<'a> {
    load: &'a mut RelayLoad,
    waiting: Vec<Flights<Asked>>,
    answered: usize,
}

impl Handler for Probe<'_> {
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
        let Some(worker) = peer.checked_sub(self.load.callers.len()) else { return };
        let answer = message::parse(text).filter(|message| message.kind == b"invocationresult");
        let Some(answer) = answer else { return self.load.serve(worker as u32, text, outbox) };
        match self.waiting[worker].land(answer.id, now) {
            Ok(landed) if self.load.is_right(text, &landed.what) => self.answered += 1,
            _ => self.load.meter.errors.add(|| format!("worker {worker}: {}", String::from_utf8_lossy(text))),
        }
    }
}

impl Load for RelayLoad {
    type Asked = Asked;

    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }

    fn flights(&mut self) -> impl Iterator<Item = &mut Flights<Asked>> {
        self.callers.iter_mut().map(|caller| &mut caller.flights)
    }

    #[inline]
    fn flights_of(&mut self, caller: usize) -> &mut Flights<Asked> {
        &mut self.callers[caller].flights
    }

    /// The functions take turns.
    #[inline]
    fn ask(&mut self, caller: usize, slot: usize, outbox: &mut Outbox, now: u64) {
        if !self.meter.start_one() {
            return;
        }
        let bare = self.bare;
        let caller = &mut self.callers[caller];
        let asked = Asked { number: caller.random.next(), worker: caller.next_worker };
        caller.next_worker = if bare { asked.worker } else { (caller.next_worker + 1) % self.workers as u32 };
        let id = *caller.flights.launch(slot, asked, now);
        self.write_call(&asked, &id);
        outbox.text(&self.message);
    }

    #[inline]
    fn is_right(&self, answer: &[u8], asked: &Asked) -> bool {
        message::quick(answer).is_some_and(|answer| self.fits(&answer, asked))
            || message::parse(answer).is_some_and(|answer| self.fits(&answer, asked))
    }

    fn describe(asked: &Asked) -> String {
        format!("number {:016x}", asked.number)
    }
}

impl Handler for RelayLoad {
    #[inline]
    fn message(&mut self, peer: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
        match peer.checked_sub(self.callers.len()) {
            Some(worker) => self.serve(worker as u32, text, outbox),
            None => drive::answered(self, peer, text, outbox, now),
        }
    }
}

impl RelayLoad {
    fn function(&self, worker: u32) -> String {
        format!("{}::f{worker:04x}", self.prefix)
    }

    /// Compares a function id with the one of `worker` without making it.
    #[inline]
    fn is_function(&self, name: &[u8], worker: u32) -> bool {
        let rest = name.strip_prefix(self.prefix.as_bytes()).and_then(|rest| rest.strip_prefix(b"::f"));
        rest.is_some_and(|digits| digits.len() == 4 && read_hex(digits) == Some(worker.into()))
    }

    #[inline]
    fn write_call(&mut self, asked: &Asked, id: &[u8; ID_BYTES]) {
        let mut worker = [0; 4];
        write_hex(&mut worker, asked.worker.into());
        let out = &mut self.message;
        out.clear();
        out.extend_from_slice(br#"{"type":"invokefunction","invocation_id":""#);
        out.extend_from_slice(id);
        out.extend_from_slice(br#"","function_id":""#);
        out.extend_from_slice(self.prefix.as_bytes());
        out.extend_from_slice(b"::f");
        out.extend_from_slice(&worker);
        out.extend_from_slice(br#"","data":"#);
        write_payload(out, DATA_HEAD, asked.number, self.letters.letters(asked.number, self.text_bytes));
        out.push(b'}');
    }

    /// The function: `r` is `mix(n)`, the text goes back as it came.
    #[inline]
    fn serve(&mut self, worker: u32, text: &[u8], outbox: &mut Outbox) {
        let invocation = match message::quick(text).filter(|message| split(message, DATA_HEAD).is_some()) {
            Some(message) => Some(message),
            None => message::parse(text),
        };
        let Some(invocation) = invocation.filter(|message| message.kind == b"invokefunction") else {
            return self.meter.errors.add(|| format!("worker {worker}: not an invocation: {}", beginning(text)));
        };
        let parts = split(&invocation, DATA_HEAD).filter(|_| self.is_function(invocation.function, worker));
        let Some((number, letters)) = parts else {
            return self.meter.errors.add(|| format!("worker {worker}: not its function or data: {}", beginning(text)));
        };
        self.served += 1;
        let out = &mut self.message;
        out.clear();
        out.extend_from_slice(br#"{"type":"invocationresult","invocation_id":""#);
        out.extend_from_slice(invocation.id);
        out.extend_from_slice(br#"","function_id":""#);
        out.extend_from_slice(invocation.function);
        out.extend_from_slice(br#"","result":"#);
        write_payload(out, RESULT_HEAD, mix(number), letters);
        out.push(b'}');
        outbox.text(out);
    }

    #[inline]
    fn fits(&self, answer: &Message<'_>, asked: &Asked) -> bool {
        answer.kind == b"invocationresult"
            && answer.error.is_none()
            && self.is_function(answer.function, asked.worker)
            && split(answer, RESULT_HEAD).is_some_and(|(number, letters)| {
                number == mix(asked.number) && letters == self.letters.letters(asked.number, self.text_bytes)
            })
    }
}

#[inline]
fn write_payload(out: &mut Vec<u8>, head: &[u8], number: u64, letters: &[u8]) {
    let mut digits = [0; DIGITS];
    write_hex(&mut digits, number);
    out.extend_from_slice(head);
    out.extend_from_slice(&digits);
    out.extend_from_slice(TEXT);
    out.extend_from_slice(letters);
    out.extend_from_slice(END);
}

/// Number and letters of a payload that `write_payload` made.
#[inline]
fn split<'a>(message: &Message<'a>, head: &[u8]) -> Option<(u64, &'a [u8])> {
    let (digits, rest) = message.payload?.strip_prefix(head)?.split_at_checked(DIGITS)?;
    let letters = rest.strip_prefix(TEXT)?.strip_suffix(END)?;
    memchr::memchr(b'"', letters).is_none().then_some(())?;
    Some((read_hex(digits)?, letters))
}
