//! Calibration over all rows: the histogram of probability integral transforms, and whether it is flat.

use super::Judged;
use crate::scores::clustered;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, FisherSnedecor, Normal};
use std::collections::BTreeMap;

/// Bins of the histogram.
const BINS: usize = 10;

/// Probabilities of the central intervals whose coverage is counted.
const LEVELS: [f64; 3] = [0.5, 0.8, 0.95];

/// How many targets lay in central intervals of their forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Coverage {
    /// Probability of the interval.
    pub level: f64,
    /// Share of the targets in it, where one that may lie on its end counts in part.
    pub covered: f64,
    /// Its standard error, clustered by task; none of a single task.
    pub covered_se: Option<f64>,
}

/// Whether P(Y <= y) of targets that came is uniform on (0, 1), as it is where forecasts are calibrated.
#[derive(Clone, Debug, Serialize)]
pub struct Pit {
    /// Share of the rows in each tenth.
    pub shares: Vec<f64>,
    /// Statistic of the test that all are .1: d'd / tr V with d the numbers in the bins less a tenth of the rows and V their covariance by how tasks differ.
    pub statistic: f64,
    /// Its degrees of freedom, (tr V)^2 / tr V^2, and those of V.
    pub freedom: (f64, f64),
    /// Probability of a statistic as large by chance where the rows of a task may be alike: an F distribution (Rao and Scott 1984, second order; Thomas and Rao 1987).
    pub p_value: f64,
    /// Mean of the normal scores, 0 where forecasts are calibrated: how many standard deviations targets lie above their forecasts.
    pub bias: f64,
    /// Its standard error, clustered by task; none of a single task.
    pub bias_se: Option<f64>,
    /// Standard deviation of the normal scores, 1 where forecasts are calibrated, larger where they are too sure.
    pub spread: f64,
    /// Of central intervals.
    pub coverage: Vec<Coverage>,
    /// The verdict in words; empty where nothing is wrong.
    pub findings: Vec<String>,
}

/// F = d'd / tr V and its degrees of freedom and probability, for the numbers of rows of each task in each bin.
fn uniformity(counts: &[[f64; BINS]]) -> (f64, (f64, f64), f64) {
    let clusters = counts.len() as f64;
    let apart: Vec<[f64; BINS]> = counts
        .iter()
        .map(|own| {
            let rows: f64 = own.iter().sum();
            own.map(|count| count - rows / BINS as f64)
        })
        .collect();
    let total: [f64; BINS] = std::array::from_fn(|k| apart.iter().map(|own| own[k]).sum());
    let rows: f64 = counts.iter().flatten().sum();
    let element = |i: usize, j: usize| {
        if counts.len() == 1 {
            // Rows that are independent.
            return rows / BINS as f64 * (f64::from(u8::from(i == j)) - 1.0 / BINS as f64);
        }
        let products = apart.iter().map(|own| (own[i] - total[i] / clusters) * (own[j] - total[j] / clusters)).sum::<f64>();
        products * clusters / (clusters - 1.0)
    };
    let trace: f64 = (0..BINS).map(|k| element(k, k)).sum();
    let square: f64 = (0..BINS).flat_map(|i| (0..BINS).map(move |j| (i, j))).map(|(i, j)| element(i, j).powi(2)).sum();
    let statistic = total.iter().map(|own| own * own).sum::<f64>() / trace;
    let freedom = trace * trace / square;
    let second = if counts.len() == 1 { 1e6 } else { freedom * (clusters - 1.0) };
    let p_value = FisherSnedecor::new(freedom, second).map_or(1.0, |f| f.sf(statistic));
    (statistic, (freedom, second), p_value)
}

/// How many rows of each task are in each bin.
fn counts(rows: impl Iterator<Item = (usize, f64)>) -> Vec<[f64; BINS]> {
    let mut counts: BTreeMap<usize, [f64; BINS]> = BTreeMap::new();
    for (task, pit) in rows {
        counts.entry(task).or_default()[((pit * BINS as f64) as usize).min(BINS - 1)] += 1.0;
    }
    counts.into_values().collect()
}

impl Pit {
    pub(super) fn of(rows: &[(usize, Judged)]) -> Self {
        let counts = counts(rows.iter().map(|(task, row)| (*task, row.pit)));
        let (statistic, freedom, p_value) = uniformity(&counts);
        let shares = (0..BINS).map(|k| counts.iter().map(|own| own[k]).sum::<f64>() / rows.len() as f64).collect();
        let tasks: Vec<usize> = rows.iter().map(|(task, _)| *task).collect();
        let mean = |of: &dyn Fn(&Judged) -> f64| clustered(&rows.iter().map(|(_, row)| of(row)).collect::<Vec<_>>(), None, &tasks);
        let (bias, bias_se) = mean(&|row| row.z);
        let (square, square_se) = mean(&|row| row.z * row.z);
        let covered = |level: f64| {
            let outside = 0.5 - 0.5 * level;
            let (covered, covered_se) = mean(&|row| f64::from(u8::from((outside..1.0 - outside).contains(&row.pit))));
            Coverage { level, covered, covered_se }
        };
        let mut pit = Pit {
            shares,
            statistic,
            freedom,
            p_value,
            bias,
            bias_se,
            spread: (square - bias * bias).max(0.0).sqrt(),
            coverage: LEVELS.map(covered).to_vec(),
            findings: Vec::new(),
        };
        // With the mean and the spread of the normal scores as they are, what is left is the shape.
        let normal = Normal::standard();
        let of_shape = |row: &Judged| normal.cdf((row.z - pit.bias) / pit.spread.max(f64::MIN_POSITIVE));
        let (_, _, shape) = uniformity(&self::counts(rows.iter().map(|(task, row)| (*task, of_shape(row)))));
        pit.findings = pit.found((square, square_se), shape);
        pit
    }

    /// What is seen beyond chance (two-sided at .01) and is large enough to matter.
    fn found(&self, (square, square_se): (f64, Option<f64>), shape: f64) -> Vec<String> {
        let reach = Normal::standard().inverse_cdf(0.995);
        let beyond = |apart: f64, se: Option<f64>| se.is_some_and(|se| apart.abs() > reach * se);
        let mut found = Vec::new();
        let is_shifted = beyond(self.bias, self.bias_se) && self.bias.abs() > 0.02;
        if is_shifted {
            let side = if self.bias > 0.0 { "above" } else { "below" };
            found.push(format!("targets lie {side} their forecasts, by {:.2} standard deviations on average", self.bias.abs()));
        }
        let percent = |share: f64| format!("{:.0} %", 100.0 * share);
        let [_, middle, _] = self.coverage[..] else { return found };
        let counted = format!("{} within the {}", percent(middle.covered), percent(middle.level));
        let apart = middle.covered - middle.level;
        let is_seen = beyond(apart, middle.covered_se) && apart.abs() > 0.005;
        match (is_seen, beyond(square - 1.0, square_se)) {
            (true, true) if apart < 0.0 && square > 1.0 => found.push(format!("predictive intervals are too narrow: {counted}")),
            (true, true) if apart > 0.0 && square < 1.0 => found.push(format!("predictive intervals are too wide: {counted}")),
            (true, _) if apart > 0.0 => found.push(format!(
                "targets are nearer their forecasts than these say in the middle ({counted}) and as far in the tails: heavy tails, or noise that is not the same everywhere"
            )),
            (true, _) => found.push(format!("predictive intervals are too narrow in the middle: {counted}")),
            (false, true) if square > 1.0 => found.push(format!("more targets are far from their forecasts than these say: a standard deviation of {:.2}", self.spread)),
            (false, true) => found.push(format!("fewer targets are far from their forecasts than these say: a standard deviation of {:.2}", self.spread)),
            (false, false) => {}
        }
        if found.is_empty() && self.p_value < 0.01 {
            found.push("the shape of the predictive distributions is not that of the targets: the histogram is not flat".into());
        } else if is_shifted && shape < 0.01 {
            found.push(format!("beside that the shape of the predictive distributions is not that of the targets (p = {shape:.1e})"));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A shift does not hide a shape, and is none.
    #[test]
    fn a_shape_is_seen_beside_a_shift() {
        let findings = |of: &dyn Fn(f64) -> f64| {
            let mut random = ChaCha8Rng::seed_from_u64(5);
            let mut drawn = || of(random.sample(rand_distr::StandardNormal));
            let normal = Normal::standard();
            let row = |z: f64| Judged { pit: normal.cdf(z), z, pearson: z };
            let rows: Vec<(usize, Judged)> = (0..8000).map(|i| (i % 40, row(drawn()))).collect();
            Pit::of(&rows).findings
        };
        let shifted = findings(&|z| z + 0.3);
        assert!(shifted[0].contains("above their forecasts") && !shifted.iter().any(|own| own.contains("shape")), "{shifted:?}");
        // Of mean .3, variance 1 and skewness .6, with the middle as often where it is forecast.
        let skewed = findings(&|z| 0.3 + (z + 0.1 * (z * z - 1.0)) / 1.02_f64.sqrt());
        assert!(skewed.iter().any(|own| own.contains("beside that the shape")), "{skewed:?}");
    }

    /// Rows that are alike within tasks, half of them the same as the one before: the share of tests below .05 is that, where the test of independent rows has
    /// far more; and with rows all independent F is Pearson's statistic over its mean.
    #[test]
    fn uniformity_knows_that_rows_of_a_task_are_alike() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let (mut below, mut naive) = (0, 0);
        const TABLES: usize = 800;
        for _ in 0..TABLES {
            let mut counts = vec![[0.0; BINS]; 40];
            for own in &mut counts {
                let mut bin = random.random_range(0..BINS);
                for _ in 0..20 {
                    if random.random::<f64>() < 0.4 {
                        bin = random.random_range(0..BINS);
                    }
                    own[bin] += 1.0;
                }
            }
            below += usize::from(uniformity(&counts).2 < 0.05);
            let all: [f64; BINS] = std::array::from_fn(|k| counts.iter().map(|own| own[k]).sum());
            naive += usize::from(uniformity(&[all]).2 < 0.05);
        }
        let share = below as f64 / TABLES as f64;
        assert!((0.02..0.075).contains(&share), "{share}");
        assert!(naive as f64 / TABLES as f64 > 0.3, "{naive}");
        let one = [12.0, 8.0, 10.0, 9.0, 11.0, 7.0, 13.0, 10.0, 15.0, 5.0];
        let pearson: f64 = one.iter().map(|count: &f64| (count - 10.0).powi(2) / 10.0).sum();
        let (statistic, (freedom, _), _) = uniformity(&[one]);
        assert!((statistic - pearson / 9.0).abs() < 1e-12 && (freedom - 9.0).abs() < 1e-9);
    }
}
