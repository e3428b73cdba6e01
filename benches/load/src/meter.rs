//! What a run measured: counts, latencies, processor time, and every answer that was wrong; as one line of JSON.

use std::fmt::Write;
use std::fs;

use crate::failure::{During, Failure};

/// Latencies in buckets of at most 1/32 of their value.
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

const STEPS_BITS: u32 = 5;
/// Steps of the histogram that are one in the report.
const REPORTED_TOGETHER: usize = 4;

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 << STEPS_BITS) as usize], total: 0 }
    }
}

impl Histogram {
    /// Adds one latency.
    #[inline]
    pub fn add(&mut self, nanoseconds: u64) {
        self.counts[Self::bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    #[inline]
    fn bucket(nanoseconds: u64) -> usize {
        let shift = (64 - STEPS_BITS - 1).saturating_sub(nanoseconds.leading_zeros());
        (((shift as usize) << STEPS_BITS) + (nanoseconds >> shift) as usize).min((64 << STEPS_BITS) - 1)
    }

    /// The latency in µs below which `share` of all lie (lower bound of its bucket).
    pub fn quantile_us(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Self::lower_us(bucket);
            }
        }
        0.0
    }

    /// The latency in µs at which a bucket begins.
    fn lower_us(bucket: usize) -> f64 {
        let shift = (bucket >> STEPS_BITS).saturating_sub(1);
        ((bucket - (shift << STEPS_BITS)) << shift) as f64 / 1000.0
    }

    /// Where something is, as latency in µs and count, in buckets of 1/8: enough for a picture.
    fn filled(&self) -> impl Iterator<Item = (f64, u64)> {
        let wide = self.counts.chunks(REPORTED_TOGETHER).map(|counts| counts.iter().sum::<u64>()).enumerate();
        wide.filter(|(_, count)| *count > 0).map(|(number, count)| (Self::lower_us(number * REPORTED_TOGETHER), count))
    }
}

const SAMPLES_MAX: usize = 10;

/// Wrong answers, counted; the first few in words.
#[derive(Default)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub samples: Vec<String>,
}

impl Findings {
    /// Notes one.
    #[cold]
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        self.count += 1;
        if self.samples.len() < SAMPLES_MAX {
            self.samples.push(what());
        }
    }
}

/// Counts of one phase of a run.
#[derive(Default)]
pub struct Meter {
    /// Invocations that may still be made.
    pub budget: u64,
    /// Invocations made and not yet answered.
    pub outstanding: u64,
    /// Invocations answered, right or wrong.
    pub done: u64,
    /// Whether latencies are kept.
    pub recording: bool,
    /// How long answers took.
    pub latencies: Histogram,
    /// Wrong answers of the whole run.
    pub errors: Findings,
    /// Ids of invocations that were not answered within the deadline.
    pub unanswered: Findings,
    /// Answers that came after their deadline.
    pub late: u64,
}

impl Meter {
    /// Asks to make one more invocation.
    #[inline]
    pub const fn start_one(&mut self) -> bool {
        if self.budget == 0 {
            return false;
        }
        self.budget -= 1;
        self.outstanding += 1;
        true
    }

    /// Notes that an answer came.
    #[inline]
    pub fn finish_one(&mut self, took: u64) {
        self.outstanding -= 1;
        self.done += 1;
        if self.recording {
            self.latencies.add(took);
        }
    }

    /// Notes that nobody waits any more for these.
    pub fn give_up(&mut self, ids: Vec<String>) {
        for id in ids {
            self.outstanding -= 1;
            self.unanswered.add(|| id);
        }
    }
}

/// Processor time used so far by all threads of a process, in µs, with the resolution of the kernel's clock tick.
pub fn processor_us(pid: u32) -> Result<u64, Failure> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).during("read the processor time of the server")?;
    let ticks = stat.rsplit_once(')').map(|(_, rest)| {
        // proc(5): the fields 14 and 15 are utime and stime; the first behind the name is field 3.
        rest.split_ascii_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>()
    });
    Ok(ticks.unwrap_or_default() * 1_000_000 / rustix::param::clock_ticks_per_second())
}

/// One line of JSON, member by member.
#[derive(Clone, Default)]
pub struct Report(String);

impl Report {
    /// Adds a number.
    pub fn number(&mut self, name: &str, number: f64) -> &mut Self {
        let number = if number.is_finite() { number } else { 0.0 };
        self.member(name, format_args!("{}", (number * 1000.0).round() / 1000.0))
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        let text = quoted(text);
        self.member(name, format_args!("{text}"))
    }

    /// Adds a list of texts.
    pub fn texts(&mut self, name: &str, texts: &[String]) -> &mut Self {
        let texts: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        self.member(name, format_args!("[{}]", texts.join(",")))
    }

    /// Adds what lies in the buckets of a histogram: `[[us, count], ...]`.
    pub fn histogram(&mut self, name: &str, histogram: &Histogram) -> &mut Self {
        let buckets: Vec<String> = histogram.filled().map(|(us, count)| format!("[{us},{count}]")).collect();
        self.member(name, format_args!("[{}]", buckets.join(",")))
    }

    fn member(&mut self, name: &str, value: std::fmt::Arguments<'_>) -> &mut Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        // Writing into a String cannot fail.
        let _ = write!(self.0, "{comma}\"{name}\":{value}");
        self
    }

    /// The line, without its end.
    pub fn line(&self) -> String {
        format!("{{{}}}", self.0)
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", letter as u32);
            }
            _ => out.push(letter),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_one_bucket() {
        let mut histogram = Histogram::default();
        for number in 1..=100_000 {
            histogram.add(number * 10);
        }
        for (share, expected) in [(0.5, 500.0), (0.99, 990.0), (0.001, 1.0)] {
            let found = histogram.quantile_us(share);
            assert!((expected * 0.96..=expected * 1.001).contains(&found), "{share}: {found}");
        }
        let mut one = Histogram::default();
        one.add(u64::MAX);
        assert!(one.quantile_us(0.5) > 1e12);
        assert_eq!(Histogram::default().quantile_us(0.5), 0.0);
    }

    #[test]
    fn small_latencies_have_buckets_of_their_own() {
        for number in 0..64 {
            let mut histogram = Histogram::default();
            histogram.add(number);
            assert_eq!(histogram.quantile_us(1.0), number as f64 / 1000.0);
        }
    }

    #[test]
    fn reports_are_json() {
        let mut report = Report::default();
        report.number("a", 1.5).number("b", f64::NAN).text("c", "\"\\\n").texts("d", &["x".into(), "y".into()]);
        assert_eq!(report.line(), r#"{"a":1.5,"b":0,"c":"\"\\\u000a","d":["x","y"]}"#);
    }

    #[test]
    fn a_histogram_is_reported_by_its_filled_buckets() {
        let mut histogram = Histogram::default();
        for number in [8, 1_000, 9] {
            histogram.add(number);
        }
        let mut report = Report::default();
        report.histogram("h", &histogram);
        assert_eq!(report.line(), r#"{"h":[[0.008,2],[0.96,1]]}"#);
    }

    #[test]
    fn reads_its_own_processor_time() {
        assert!(processor_us(std::process::id()).is_ok());
        assert!(processor_us(u32::MAX).is_err());
    }
}
