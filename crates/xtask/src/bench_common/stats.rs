//! Medians of interleaved rounds: what slows the machine down for a while slows both sides of a comparison.

use std::time::{Duration, Instant};

/// Two ways to do a thing, each timed in every round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Comparison {
    /// Median over the rounds, per operation.
    pub(crate) ours: Duration,
    /// The same for the bare thing.
    pub(crate) bare: Duration,
    /// Median of the rounds' ratios.
    pub(crate) ratio: f64,
}

/// Times `times` operations of each side in every round, the sides taking turns operation by operation.
pub(crate) fn compare<E>(
    rounds: u32,
    times: u32,
    mut ours: impl FnMut() -> Result<(), E>,
    mut bare: impl FnMut() -> Result<(), E>,
) -> Result<Comparison, E> {
    compare_timed(rounds, times, || timed(&mut ours), || timed(&mut bare))
}

/// The same for operations that say themselves how long the part took that counts.
pub(crate) fn compare_timed<E>(
    rounds: u32,
    times: u32,
    mut ours: impl FnMut() -> Result<Duration, E>,
    mut bare: impl FnMut() -> Result<Duration, E>,
) -> Result<Comparison, E> {
    let mut seen = Vec::new();
    for _ in 0..rounds {
        let (mut of_ours, mut of_bare) = (Vec::new(), Vec::new());
        for _ in 0..times {
            of_ours.push(ours()?);
            of_bare.push(bare()?);
        }
        seen.push((percentile(&mut of_ours, 50), percentile(&mut of_bare, 50)));
    }
    Ok(Comparison::of_rounds(seen))
}

impl Comparison {
    /// Of what each round saw: ours, and the bare thing.
    pub(crate) fn of_rounds(seen: Vec<(Duration, Duration)>) -> Self {
        let mut ratios: Vec<f64> =
            seen.iter().map(|(ours, bare)| ours.as_secs_f64() / bare.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let (mut ours, mut bare): (Vec<_>, Vec<_>) = seen.into_iter().unzip();
        Self {
            ours: percentile(&mut ours, 50),
            bare: percentile(&mut bare, 50),
            ratio: ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN),
        }
    }
}

/// The value below which so many percent of the others lie; zero of nothing.
pub(crate) fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    let last = times.len().saturating_sub(1);
    times.get(last * percent / 100).copied().unwrap_or_default()
}

fn timed<E>(work: &mut impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let mut times: Vec<Duration> = (1..=101).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut times, 50), Duration::from_millis(51));
        assert_eq!(percentile(&mut times, 99), Duration::from_millis(100));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
