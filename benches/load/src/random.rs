//! Repeatable randomness: the same seed makes the same workload.

/// SplitMix64 (Steele, Lea, Flood 2014): one multiplication chain per number, good enough to choose keys and masks.
#[derive(Clone, Debug)]
pub struct Random(u64);

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads the bits of `number`; also what a benchmark function computes from its argument.
#[inline]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Random {
    /// A stream of its own for every `(seed, stream)`.
    pub const fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed).wrapping_add(mix(stream.wrapping_add(STEP))))
    }

    /// The next number.
    #[inline]
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// A number below `bound` (multiply and shift, Lemire 2016; the bias is below 2^-32 for the bounds used here).
    #[inline]
    pub const fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * bound as u64) >> 32) as u32
    }
}

const SHARES: usize = 1 << 16;
/// How much the first ones are preferred; the usual figure of key-value benchmarks (Gray et al. 1994, YCSB).
const SKEW: f64 = 0.99;

/// How one of several things is chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Draw {
    /// All alike.
    Uniform,
    /// The n-th of them with a frequency of 1 / n^0.99.
    Zipf,
}

impl std::str::FromStr for Draw {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "uniform" => Ok(Self::Uniform),
            "zipf" => Ok(Self::Zipf),
            _ => Err(()),
        }
    }
}

/// Chooses one of `count` things.
pub struct Chooser {
    count: u32,
    /// For each 65536th share of all draws the number that it draws; empty when all are alike.
    shares: Vec<u32>,
}

impl Chooser {
    /// Numbers below `count`, at least 1.
    pub fn new(draw: Draw, count: u32) -> Self {
        let mut shares = Vec::new();
        if draw == Draw::Zipf {
            let weight = |number: u32| f64::from(number + 1).powf(-SKEW);
            let total: f64 = (0..count).map(weight).sum();
            let (mut number, mut sum) = (0, weight(0));
            for share in 0..SHARES {
                while (share as f64 + 0.5) / SHARES as f64 * total > sum && number + 1 < count {
                    number += 1;
                    sum += weight(number);
                }
                shares.push(number);
            }
        }
        Self { count, shares }
    }

    /// The next number.
    #[inline]
    pub fn choose(&self, random: &mut Random) -> u32 {
        if self.shares.is_empty() {
            return random.below(self.count);
        }
        self.shares[random.below(SHARES as u32) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_for_a_seed_and_differs_between_streams() {
        let draw = |seed, stream| {
            let mut random = Random::new(seed, stream);
            [random.next(), random.next()]
        };
        assert_eq!(draw(1, 2), draw(1, 2));
        assert_ne!(draw(1, 2), draw(1, 3));
        assert_ne!(draw(1, 2), draw(2, 2));
    }

    #[test]
    fn stays_below_its_bound_and_reaches_it() {
        let mut random = Random::new(5, 0);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[random.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }

    #[test]
    fn zipf_prefers_the_first_as_much_as_it_says_and_reaches_the_last() {
        let chooser = Chooser::new(Draw::Zipf, 100);
        let mut random = Random::new(7, 1);
        let mut counts = [0u32; 100];
        for _ in 0..200_000 {
            counts[chooser.choose(&mut random) as usize] += 1;
        }
        let ratio = f64::from(counts[0]) / f64::from(counts[9]);
        assert!((9.0..10.6).contains(&ratio), "{ratio}");
        assert!(counts.iter().all(|count| *count > 0));
        assert_eq!(Chooser::new(Draw::Zipf, 1).choose(&mut random), 0);
    }
}
