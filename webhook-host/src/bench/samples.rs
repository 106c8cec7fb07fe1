//! Steady figures on a machine that does other things, too.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The passes of each figure.
pub(super) const PASSES: u32 = 3;

/// The samples of one pass, whatever they take, and the most that are of use.
const MIN_SAMPLES: usize = 10;
const MAX_SAMPLES: usize = 20_000;

/// The part of a figure's time (one in this many) that passes before its samples count, so that
/// caches fill and the processor leaves its sleep.
const WARM_UP: u32 = 4;

/// The time of one pass of the reference.
const REFERENCE_TIME: Duration = Duration::from_millis(20);

/// The bytes that the reference hashes: as long as the evaluation of a large Service.
const HASHED: usize = 64 << 10;

/// The deviation of the reference beyond which the machine counts as noisy.
const NOISY: f64 = 0.15;

/// The deviation of a figure's passes beyond which it is unsteady, and the part of all figures that
/// may be so on a quiet machine.
const UNSTEADY: f64 = 0.1;
const MAX_UNSTEADY: f64 = 0.2;

/// A measured time.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// The median of the passes' medians, in microseconds.
    pub microseconds: f64,
    /// The lowest and the highest of the passes' medians.
    pub passes: [f64; 2],
    /// The tenth and the ninetieth percentile of all samples.
    pub percentiles: [f64; 2],
    /// The number of samples.
    pub samples: usize,
}

impl Figure {
    /// Returns the deviation of the passes from the figure, as a part of it.
    pub fn deviation(&self) -> f64 {
        let [low, high] = self.passes;
        ((high - low) / 2.0 / self.microseconds).max(0.0)
    }
}

/// The steadiness of the machine, by a computation that is always the same.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Noise {
    /// The deviation of its passes' medians, as a part of their median.
    pub drift: f64,
    /// The part of its time by which its ninetieth percentile is longer than its median.
    pub tail: f64,
    /// The part of the policy's figures whose passes lie far apart.
    pub unsteady: f64,
}

impl Noise {
    /// Returns true if figures may be off by more than they say.
    pub fn is_noisy(&self) -> bool {
        self.drift > NOISY || self.tail > NOISY || self.unsteady > MAX_UNSTEADY
    }
}

/// Runs a measurement for a time. Returns the samples, without those of the warm-up.
///
/// # Errors
///
/// The first error of a run.
pub(super) fn of<E>(
    time: Duration,
    mut run: impl FnMut() -> Result<Duration, E>,
) -> Result<Vec<Duration>, E> {
    let began = Instant::now();
    let mut samples = vec![];
    let mut is_warm = false;
    loop {
        let sample = run()?;
        let elapsed = began.elapsed();
        if is_warm {
            samples.push(sample);
        }
        is_warm |= elapsed * WARM_UP >= time;
        let is_over = elapsed >= time && samples.len() >= MIN_SAMPLES;
        if is_over || samples.len() >= MAX_SAMPLES {
            return Ok(samples);
        }
    }
}

/// The samples of a figure, a sorted list for each pass.
#[derive(Debug, Default)]
pub(super) struct Passes(Vec<Vec<Duration>>);

impl Passes {
    pub(super) fn add(&mut self, mut samples: Vec<Duration>) {
        samples.sort_unstable();
        self.0.push(samples);
    }

    /// Summarizes the passes.
    pub(super) fn figure(&self) -> Figure {
        let mut medians: Vec<_> = self.0.iter().map(|pass| at(pass, 50)).collect();
        medians.sort_unstable();
        let mut all: Vec<_> = self.0.concat();
        all.sort_unstable();
        Figure {
            microseconds: micros(at(&medians, 50)),
            passes: [micros(at(&medians, 0)), micros(at(&medians, 100))],
            percentiles: [micros(at(&all, 10)), micros(at(&all, 90))],
            samples: all.len(),
        }
    }
}

/// Returns a percentile of sorted samples; zero when there are none.
fn at(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len().saturating_sub(1) * percent).div_ceil(100);
    sorted.get(index).copied().unwrap_or_default()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The computation that never changes.
#[derive(Debug, Default)]
pub(super) struct Reference(Passes);

impl Reference {
    pub(super) fn pass(&mut self) {
        let block = [7; HASHED];
        let samples = of(REFERENCE_TIME, || {
            let began = Instant::now();
            black_box(Sha256::digest(black_box(block)));
            Ok::<_, std::convert::Infallible>(began.elapsed())
        });
        let Ok(samples) = samples;
        self.0.add(samples);
    }

    /// Judges the machine by this computation and by the policy's figures.
    pub(super) fn noise(&self, figures: impl Iterator<Item = Figure>) -> Noise {
        let own = self.0.figure();
        let (mut all, mut unsteady) = (0_u32, 0_u32);
        for figure in figures {
            all += 1;
            unsteady += u32::from(figure.deviation() > UNSTEADY);
        }
        Noise {
            drift: own.deviation(),
            tail: own.percentiles[1] / own.microseconds - 1.0,
            unsteady: f64::from(unsteady) / f64::from(all.max(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(samples: &[u64]) -> Vec<Duration> {
        samples.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_disturbed_pass_does_not_change_a_figure() {
        let mut passes = Passes::default();
        for samples in [[5, 1, 3], [3, 2, 4], [90, 80, 70]] {
            passes.add(millis(&samples));
        }
        let figure = passes.figure();
        assert!((figure.microseconds - 3000.0).abs() < 1e-6, "{figure:?}");
        assert!(figure.deviation() > 10.0, "{figure:?}");
        assert_eq!(figure.samples, 9);
    }

    #[test]
    fn samples_of_the_warm_up_do_not_count() {
        let mut calls = 0;
        let samples = of(Duration::from_millis(8), || {
            calls += 1;
            std::thread::sleep(Duration::from_millis(1));
            Ok::<_, String>(Duration::from_millis(calls))
        });
        let samples = samples.expect("no error");
        assert!(samples.len() >= MIN_SAMPLES);
        assert!(samples[0] > Duration::from_millis(1), "{samples:?}");
    }

    #[test]
    fn an_error_ends_a_measurement() {
        let failed = of(Duration::from_secs(9), || Err::<Duration, _>("deadline"));
        assert_eq!(failed, Err("deadline"));
    }

    #[test]
    fn noise_is_what_changes_in_a_computation_that_never_does() {
        let noise = |passes: [[u64; 3]; 3]| {
            let mut reference = Reference::default();
            passes
                .iter()
                .for_each(|samples| reference.0.add(millis(samples)));
            reference.noise(std::iter::once(reference.0.figure()))
        };
        assert!(!noise([[10, 10, 11], [10, 10, 11], [10, 11, 10]]).is_noisy());
        assert!(noise([[10, 10, 10], [10, 10, 10], [20, 20, 20]]).is_noisy());
        assert!(noise([[10, 10, 30], [10, 10, 30], [10, 10, 30]]).is_noisy());
    }
}
