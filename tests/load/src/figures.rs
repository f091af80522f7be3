//! Times gathered in several runs, and the few numbers that are said of them.

use std::time::Duration;

/// How many operations of one kind follow one another before the other kind has its turn. What disturbs the machine then disturbs both.
const BLOCK: usize = 20;

/// Times of one run, in microseconds.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one.
    pub fn push(&mut self, time: Duration) {
        self.0.push(micros(time));
    }

    /// The time that so many per cent of all do not exceed; 0 without any.
    pub fn percentile(&self, per_cent: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (per_cent / 100.0 * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.max(1) - 1).copied().unwrap_or_default()
    }

    /// How many a second all of them together make.
    pub fn per_second(&self) -> f64 {
        self.0.len() as f64 / (self.0.iter().sum::<f64>() / 1e6)
    }
}

/// One figure of every run: the product's, and the limit's in the same run.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    value: Vec<f64>,
    limit: Vec<f64>,
}

impl Runs {
    /// Adds a run.
    pub fn push(&mut self, value: f64, limit: f64) {
        self.value.push(value);
        self.limit.push(limit);
    }

    /// Adds a run of something that has no limit beside it.
    pub fn push_alone(&mut self, value: f64) {
        self.value.push(value);
    }

    /// How many there were.
    pub fn count(&self) -> usize {
        self.value.len()
    }

    /// The product's figure: the median of the runs.
    pub fn value(&self) -> f64 {
        median(&self.value)
    }

    /// The limit: the median of the runs.
    pub fn limit(&self) -> f64 {
        median(&self.limit)
    }
}

/// The one in the middle; of an even number the mean of the two, and 0 of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// Does `subject` and `limit` so many times each, in blocks that take turns, and answers the times that both report.
///
/// # Errors
/// The first error of either.
pub fn interleaved<E>(
    times: usize,
    mut subject: impl FnMut(usize) -> Result<Duration, E>,
    mut limit: impl FnMut() -> Result<Duration, E>,
) -> Result<(Times, Times), E> {
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for from in (0..times).step_by(BLOCK) {
        let block = from..(from + BLOCK).min(times);
        for at in block.clone() {
            ours.push(subject(at)?);
        }
        for _ in block {
            theirs.push(limit()?);
        }
    }
    Ok((ours, theirs))
}

/// A time in microseconds.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// How many a second.
pub fn per_second(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut times = Times::default();
        assert_eq!(times.percentile(50.0), 0.0);
        (1..=200).rev().for_each(|n| times.push(Duration::from_micros(n)));
        assert_eq!([50.0, 99.0, 100.0, 0.0].map(|p| times.percentile(p).round()), [100.0, 198.0, 200.0, 1.0]);
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn both_kinds_take_turns() {
        let order = std::cell::RefCell::new(String::new());
        let say = |c: char| {
            order.borrow_mut().push(c);
            Ok::<_, ()>(Duration::ZERO)
        };
        interleaved(BLOCK + 1, |_| say('s'), || say('l')).expect("nothing fails");
        let expected = [("s", BLOCK), ("l", BLOCK), ("s", 1), ("l", 1)].map(|(kind, n)| kind.repeat(n)).concat();
        assert_eq!(*order.borrow(), expected);
    }
}
