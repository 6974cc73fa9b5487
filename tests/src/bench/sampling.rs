//! How rates are measured: equal slices of time, and the median of them, so that a moment in which the machine did something
//! else does not count.

use std::time::{Duration, Instant};

/// How long and how often to measure.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// Time of one slice.
    pub slice: Duration,
    /// Slices; an odd number has a middle.
    pub slices: usize,
    /// Operations between two looks at the clock.
    pub batch: u32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { slice: Duration::from_millis(100), slices: 31, batch: 1000 }
    }
}

/// Operations a second, the median of the slices; the first slice only warms up.
pub fn rate(sampling: Sampling, mut operation: impl FnMut()) -> f64 {
    let mut slice = || {
        let (began, mut done) = (Instant::now(), 0u64);
        while began.elapsed() < sampling.slice {
            for _ in 0..sampling.batch {
                operation();
            }
            done += u64::from(sampling.batch);
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of operations is far below 2^52")]
        let done = done as f64;
        done / began.elapsed().as_secs_f64()
    };
    slice();
    let mut rates: Vec<f64> = (0..sampling.slices.max(1)).map(|_| slice()).collect();
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}
