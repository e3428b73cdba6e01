//! Runs one phase of a load: fill every slot, keep them full until the budget or the time is used up, wait for the rest.

use std::io::{self, Write};

use crate::failure::Failure;
use crate::handshake;
use crate::meter::{Meter, Report, processor_us};
use crate::net::{Handler, Net, Outbox, Side};
use crate::options::Options;
use crate::random::Random;

/// A closed loop of invocations over some connections.
pub trait Load: Handler {
    /// Its counts.
    fn meter(&mut self) -> &mut Meter;
    /// How many of the connections (the first ones) make invocations.
    fn callers(&self) -> usize;
    /// Uses every free slot of one connection.
    fn fill(&mut self, peer: usize, outbox: &mut Outbox, now: u64);
    /// Gives up on what was sent before `oldest`, all connections; returns the ids.
    fn overdue(&mut self, oldest: u64) -> Vec<String>;
}

/// When a phase ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After so many invocations.
    Ops(u64),
    /// After so many milliseconds; what is in flight then is still awaited and checked, but not counted.
    Milliseconds(u64),
}

/// Options that every load has.
pub struct Common {
    /// `HOST:PORT` of the engine.
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
        let address = url.strip_prefix("ws://").map(|rest| rest.trim_end_matches('/').to_owned());
        let seconds: Option<f64> = options.optional("seconds")?;
        let until = match (options.optional("ops")?, seconds) {
            (Some(_), Some(_)) => return Err(Failure::Usage("give --ops or --seconds, not both".into())),
            (Some(ops), None) => Until::Ops(ops),
            (None, seconds) => Until::Milliseconds((seconds.unwrap_or(3.0) * 1000.0) as u64),
        };
        Ok(Self {
            address: address.ok_or_else(|| Failure::Usage(format!("--url: expected ws://HOST:PORT, got `{url}`")))?,
            seed: options.take("seed", 1)?,
            pid: options.optional("pid")?,
            until,
            warmup_ms: options.take("warmup-ms", 200)?,
            deadline_ms: options.take("deadline-ms", 30_000)?,
            progress_ms: options.take("progress-ms", 0)?,
        })
    }

    /// Opens `count` connections, all upgraded and registered.
    pub fn connect(&self, count: usize) -> Result<Net, Failure> {
        let mut net = Net::new(Side::Client, self.seed)?;
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
}

const CHECK_EVERY_NS: u64 = 100_000_000;

/// Runs one phase to its end; no invocation is in flight afterwards, except lost ones.
pub fn drive(net: &mut Net, load: &mut impl Load, common: &Common, until: Until) -> Result<Measured, Failure> {
    let usage = || -> Result<(Option<u64>, u64), Failure> {
        Ok((common.pid.map(processor_us).transpose()?, processor_us(std::process::id())?))
    };
    let before = usage()?;
    let (start, done) = (net.now(), load.meter().done);
    let (budget, end) = match until {
        Until::Ops(ops) => (ops, u64::MAX),
        Until::Milliseconds(length) => (u64::MAX, start + length * 1_000_000),
    };
    load.meter().budget = budget;
    for peer in 0..load.callers() {
        net.send(peer, |outbox, now| load.fill(peer, outbox, now))?;
    }
    let (mut next_check, mut next_progress) = (start + CHECK_EVERY_NS, start + common.progress_ms * 1_000_000);
    let mut measured = None;
    while load.meter().outstanding > 0 {
        let patience = end.saturating_sub(net.now()).div_ceil(1_000_000).clamp(1, 100) as u32;
        net.step(patience, load)?;
        let now = net.now();
        if now >= end && measured.is_none() {
            measured = Some((load.meter().done, now, usage()?));
            load.meter().budget = 0;
            load.meter().recording = false;
        }
        if now >= next_check {
            next_check = now + CHECK_EVERY_NS;
            let ids = load.overdue(now.saturating_sub(common.deadline_ms * 1_000_000));
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

/// The members that every load reports.
pub fn report(report: &mut Report, meter: &Meter, measured: &Measured) {
    let ops = measured.ops as f64;
    report
        .number("ops", ops)
        .number("seconds", measured.seconds)
        .number("ops_per_second", ops / measured.seconds)
        .number("p50_us", meter.latencies.quantile_us(0.5))
        .number("p99_us", meter.latencies.quantile_us(0.99))
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
}
