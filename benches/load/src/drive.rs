//! Runs the phases of a load: fill every slot, keep them full until the budget or the time is used up, wait for the rest.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use crate::failure::{During, Failure};
use crate::flight::{Flights, Landed, Stray};
use crate::handshake;
use crate::message;
use crate::meter::{Histogram, Meter, Report, processor_us};
use crate::net::{Handler, Net, Side};
use crate::options::Options;
use crate::outbox::Outbox;
use crate::random::Random;

/// A closed loop of invocations over some connections; the first ones make them.
pub trait Load: Handler {
    /// What an answer is compared with.
    type Asked: Copy;

    /// Its counts.
    fn meter(&mut self) -> &mut Meter;
    /// What is in flight, for each connection that makes invocations.
    fn flights(&mut self) -> impl Iterator<Item = &mut Flights<Self::Asked>>;
    /// The same of one of them.
    fn flights_of(&mut self, caller: usize) -> &mut Flights<Self::Asked>;
    /// Queues the next invocation of a caller in a free slot, if there is one to be made.
    fn ask(&mut self, caller: usize, slot: usize, outbox: &mut Outbox, now: u64);
    /// Whether `answer` is what `asked` must come to.
    fn is_right(&self, answer: &[u8], asked: &Self::Asked) -> bool;
    /// What was asked, in words: for the report of a wrong answer.
    fn describe(asked: &Self::Asked) -> String;
}

/// Matches an answer with what was asked, checks it, and asks the next thing.
#[inline]
pub fn answered<L: Load>(load: &mut L, caller: usize, text: &[u8], outbox: &mut Outbox, now: u64) {
    let quick = message::quick(text).map(|answer| load.flights_of(caller).land(answer.id, now));
    let landed = match quick {
        Some(Ok(landed)) => Some(landed),
        _ => land_slowly(load, caller, text, now),
    };
    if let Some(landed) = landed {
        settle(load, caller, landed, text, outbox, now);
    }
}

/// Checks an answer to something that was in flight, and asks the next thing.
#[inline]
pub fn settle<L: Load>(
    load: &mut L,
    caller: usize,
    landed: Landed<L::Asked>,
    text: &[u8],
    outbox: &mut Outbox,
    now: u64,
) {
    let Landed { slot, took, what } = landed;
    if !load.is_right(text, &what) {
        load.meter().errors.add(|| format!("connection {caller}, {}: {}", L::describe(&what), beginning(text)));
    }
    load.meter().finish_one(took);
    load.ask(caller, slot, outbox, now);
}

#[cold]
fn land_slowly<L: Load>(load: &mut L, caller: usize, text: &[u8], now: u64) -> Option<Landed<L::Asked>> {
    let id = message::parse(text).map(|answer| answer.id).unwrap_or_default();
    land(load, caller, id, text, now)
}

/// Finds what was asked under an id; late answers are counted, and those to nothing are errors.
pub fn land<L: Load>(load: &mut L, caller: usize, id: &[u8], text: &[u8], now: u64) -> Option<Landed<L::Asked>> {
    match load.flights_of(caller).land(id, now) {
        Ok(landed) => return Some(landed),
        Err(Stray::Late) => load.meter().late += 1,
        Err(Stray::Unknown) => {
            load.meter().errors.add(|| format!("connection {caller}: answer to nothing: {}", beginning(text)));
        }
    }
    None
}

/// As much of a message as is good to read.
pub fn beginning(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(300)]).into_owned()
}

/// When a phase ends. What is in flight then is still awaited and checked, but not counted.
#[derive(Clone, Copy)]
pub enum Until {
    /// After so many invocations.
    Ops(u64),
    /// After so many milliseconds.
    Milliseconds(u64),
    /// With the next line on standard input, or its end.
    Line,
}

/// Options that every load has.
pub struct Common {
    /// The protocol: `ws` is an engine, others are those of what it is compared with.
    pub scheme: String,
    /// `HOST:PORT` of the server.
    pub address: String,
    /// Makes everything random.
    pub seed: u64,
    /// Process whose processor time is measured.
    pub pid: Option<u32>,
    /// When the measured phase ends.
    pub until: Until,
    /// Length of the unmeasured phase before.
    pub warmup_ms: u64,
    /// An invocation without an answer for so long counts as unanswered.
    pub deadline_ms: u64,
    /// Milliseconds between progress lines on standard error, 0 for none.
    pub progress_ms: u64,
}

impl Common {
    /// Takes them from the command line.
    pub fn take(options: &mut Options) -> Result<Self, Failure> {
        let url: String = options.required("url")?;
        let (scheme, address) = url
            .split_once("://")
            .ok_or_else(|| Failure::Usage(format!("--url: expected SCHEME://HOST:PORT, got `{url}`")))?;
        let seconds: Option<f64> = options.optional("seconds")?;
        let until = match (options.optional("ops")?, seconds, options.take("phases", false)?) {
            (Some(ops), None, false) => Until::Ops(ops),
            (None, seconds, false) => Until::Milliseconds((seconds.unwrap_or(3.0) * 1000.0) as u64),
            (None, None, true) => Until::Line,
            _ => return Err(Failure::Usage("give one of --ops, --seconds, --phases".into())),
        };
        Ok(Self {
            scheme: scheme.to_owned(),
            address: address.trim_end_matches('/').to_owned(),
            seed: options.take("seed", 1)?,
            pid: options.optional("pid")?,
            until,
            warmup_ms: options.take("warmup-ms", 200)?,
            deadline_ms: options.take("deadline-ms", 30_000)?,
            progress_ms: options.take("progress-ms", 0)?,
        })
    }

    /// Refuses another protocol than that of engines.
    pub fn expect_engine(&self) -> Result<(), Failure> {
        match self.scheme.as_str() {
            "ws" => Ok(()),
            other => Err(Failure::Usage(format!("--url: expected ws://HOST:PORT, got {other}://"))),
        }
    }

    /// Opens `count` connections, all upgraded and registered.
    pub fn connect(&self, count: usize) -> Result<Net, Failure> {
        self.connect_as(Side::Client, count)
    }

    /// The same on a certain side.
    pub fn connect_as(&self, side: Side, count: usize) -> Result<Net, Failure> {
        self.expect_engine()?;
        let mut net = Net::new(side, self.seed)?;
        let mut keys = Random::new(self.seed, 0);
        for _ in 0..count {
            let (stream, leftover) = handshake::connect(&self.address, &mut keys)?;
            net.add(stream, leftover)?;
        }
        Ok(net)
    }
}

/// What a phase came to.
#[derive(Default)]
pub struct Measured {
    /// Invocations answered within the phase.
    pub ops: u64,
    /// Its length.
    pub seconds: f64,
    /// Processor time of the server in it, if its process is known.
    pub server_us: Option<u64>,
    /// Processor time of this process in it.
    pub own_us: u64,
    /// Standard input has ended, where the phase was waiting for it.
    pub input_ended: bool,
}

const CHECK_EVERY_NS: u64 = 100_000_000;

/// Warms up and measures what the command line asks for, then completes the report. With `--phases` there are several:
/// a line says when the first begins, and the reports of all but the last are printed here.
/// Returns whether every answer was right and came.
pub fn measure(net: &mut Net, load: &mut impl Load, common: &Common, report: &mut Report) -> Result<bool, Failure> {
    drive(net, load, common, Until::Milliseconds(common.warmup_ms))?;
    if matches!(common.until, Until::Line) {
        net.watch(io::stdin().as_fd()).during("watch standard input (it must be a pipe or a terminal)")?;
        writeln!(io::stdout(), "measuring").during("print")?;
    }
    let about = report.clone();
    loop {
        load.meter().recording = true;
        load.meter().latencies = Histogram::default();
        let measured = drive(net, load, common, common.until)?;
        *report = about.clone();
        let good = complete(report, load.meter(), &measured);
        if !matches!(common.until, Until::Line) || measured.input_ended {
            return Ok(good);
        }
        writeln!(io::stdout(), "{}", report.line()).during("print")?;
    }
}

/// Runs one phase to its end; no invocation is in flight afterwards, except lost ones.
pub fn drive(net: &mut Net, load: &mut impl Load, common: &Common, until: Until) -> Result<Measured, Failure> {
    let usage = || -> Result<(Option<u64>, u64), Failure> {
        Ok((common.pid.map(processor_us).transpose()?, processor_us(std::process::id())?))
    };
    let before = usage()?;
    let (start, done) = (net.now(), load.meter().done);
    let (budget, mut end) = match until {
        Until::Ops(ops) => (ops, u64::MAX),
        Until::Milliseconds(length) => (u64::MAX, start + length * 1_000_000),
        Until::Line => (u64::MAX, u64::MAX),
    };
    load.meter().budget = budget;
    for caller in 0..load.flights().count() {
        net.send(caller, |outbox, now| {
            for slot in load.flights_of(caller).free_slots() {
                load.ask(caller, slot, outbox, now);
            }
        })?;
    }
    let (mut next_check, mut next_progress) = (start + CHECK_EVERY_NS, start + common.progress_ms * 1_000_000);
    let (mut measured, mut input_ended) = (None, false);
    while load.meter().outstanding > 0 {
        let patience = end.saturating_sub(net.now()).div_ceil(1_000_000).clamp(1, 100) as u32;
        let woken = net.step(patience, load)?;
        let now = net.now();
        if woken && end > now {
            input_ended = io::stdin().read(&mut [0; 256]).during("read standard input")? == 0;
            end = now;
        }
        if now >= end && measured.is_none() {
            measured = Some((load.meter().done, now, usage()?));
            load.meter().budget = 0;
            load.meter().recording = false;
        }
        if now >= next_check {
            next_check = now + CHECK_EVERY_NS;
            let oldest = now.saturating_sub(common.deadline_ms * 1_000_000);
            let ids = load.flights().flat_map(|flights| flights.give_up_before(oldest)).collect();
            load.meter().give_up(ids);
        }
        if common.progress_ms > 0 && now >= next_progress {
            next_progress = now + common.progress_ms * 1_000_000;
            progress(load.meter(), done, now - start);
        }
    }
    let (done_at_end, finish, after) = match measured {
        Some(measured) => measured,
        None => (load.meter().done, net.now(), usage()?),
    };
    Ok(Measured {
        ops: done_at_end - done,
        seconds: (finish - start) as f64 / 1e9,
        server_us: before.0.zip(after.0).map(|(before, after)| after - before),
        own_us: after.1 - before.1,
        input_ended,
    })
}

fn progress(meter: &Meter, done_before: u64, elapsed: u64) {
    let done = meter.done - done_before;
    let rate = done as f64 / (elapsed as f64 / 1e9);
    // Progress is a courtesy: a closed standard error does not end the run.
    let _ = writeln!(
        io::stderr(),
        "  {done} done, {rate:.0}/s, {} errors, {} unanswered",
        meter.errors.count,
        meter.unanswered.count
    );
}

/// Adds the members that every load reports. Returns whether every answer was right and came.
pub fn complete(report: &mut Report, meter: &Meter, measured: &Measured) -> bool {
    let ops = measured.ops as f64;
    report
        .number("ops", ops)
        .number("seconds", measured.seconds)
        .number("ops_per_second", ops / measured.seconds)
        .number("p50_us", meter.latencies.quantile_us(0.5))
        .number("p99_us", meter.latencies.quantile_us(0.99))
        .histogram("latencies", &meter.latencies)
        .number("generator_busy", measured.own_us as f64 / 1e6 / measured.seconds)
        .number("generator_cpu_us_per_op", measured.own_us as f64 / ops);
    if let Some(server_us) = measured.server_us {
        report.number("server_cpu_us_per_op", server_us as f64 / ops);
    }
    report
        .number("errors", meter.errors.count as f64)
        .texts("error_samples", &meter.errors.samples)
        .number("unanswered", meter.unanswered.count as f64)
        .texts("unanswered_ids", &meter.unanswered.samples)
        .number("late", meter.late as f64);
    meter.errors.count == 0 && meter.unanswered.count == 0
}
