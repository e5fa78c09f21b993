//! What sharing gains or costs each task against being learned alone, shrunk across tasks.

use super::Rung;
use super::rung::Scores;
use crate::model::Gain;
use crate::structure::Sharing;
use crate::tasks::Rows;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::BTreeMap;

/// The gains of all tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Gains {
    /// The rung that shares: the best, or where that shares nothing the best of those that do. None where no such rung or none of tasks alone was fitted.
    pub gains_of: Option<String>,
    /// Every task that has held-out rows.
    pub tasks: Vec<Gain>,
}

impl Gains {
    /// The tasks that lose, the surest first.
    pub fn losers(&self) -> Vec<&Gain> {
        let mut losers: Vec<&Gain> = self.tasks.iter().filter(|own| own.is_loss()).collect();
        losers.sort_by(|a, b| a.high.total_cmp(&b.high));
        losers
    }

    pub(super) fn of(
        (rungs, best): (&[Rung], Option<usize>),
        sharing: &[Sharing],
        scored: &[Scores],
        rows: &Rows,
        tasks: &[usize],
    ) -> Self {
        let shares = |i: &usize| sharing[*i] != Sharing::Nothing;
        let alone = super::verdict::highest(rungs, |i| !shares(&i));
        let highest = || super::verdict::highest(rungs, |i| sharing[i] != Sharing::Nothing);
        let Some((alone, together)) = alone.zip(best.filter(|i| shares(i)).or_else(highest)) else { return Gains::default() };
        let (Some(own), Some(other)) = (scored[together].log_densities(), scored[alone].log_densities()) else { return Gains::default() };
        let mut of_task: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for ((own, other), task) in own.iter().zip(other).zip(tasks) {
            of_task.entry(*task).or_default().push(own - other);
        }
        let (numbers, differences): (Vec<usize>, Vec<Vec<f64>>) = of_task.into_iter().unzip();
        let tasks = gains(&differences);
        let named = tasks.into_iter().zip(numbers).map(|(gain, task)| Gain { task: rows.names()[task].clone(), ..gain });
        Gains { gains_of: Some(rungs[together].name.clone()), tasks: named.collect() }
    }
}

/// Rows of all tasks that a task's own spread is drawn towards.
const SHARED_ROWS: f64 = 4.0;

/// The gains of tasks, without names, from the differences of each one's rows. O(n).
pub(crate) fn gains(differences: &[Vec<f64>]) -> Vec<Gain> {
    let mean = |own: &[f64]| own.iter().sum::<f64>() / own.len() as f64;
    let squares = |own: &Vec<f64>| own.iter().map(|v| (v - mean(own)).powi(2)).sum::<f64>();
    let freedom: f64 = differences.iter().map(|own| own.len() as f64 - 1.0).sum();
    let common = differences.iter().map(squares).sum::<f64>() / freedom.max(1.0);
    let each: Vec<(f64, f64)> = differences
        .iter()
        .map(|own| {
            let n = own.len() as f64;
            (mean(own), (SHARED_ROWS * common + squares(own)) / (SHARED_ROWS + n - 1.0) / n)
        })
        .collect();
    let shrunk = shrink(&each);
    let reach = Normal::standard().inverse_cdf(0.975);
    let of = |t: usize| {
        let ((gain, variance), (expected, sd)) = (each[t], shrunk[t]);
        let (low, high) = (expected - reach * sd, expected + reach * sd);
        Gain { task: String::new(), rows: differences[t].len(), gain, gain_se: variance.sqrt(), expected, low, high }
    };
    (0..differences.len()).map(of).collect()
}

/// Posterior mean and standard deviation of every value, given estimates with their variances, values being N(m, s^2), m and s of flat priors (Gelman
/// 2006); a value's own estimate where there are fewer than three.
fn shrink(each: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const POINTS: usize = 100;
    let smallest = each.iter().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    if each.len() < 3 || smallest <= 0.0 {
        return each.iter().map(|(value, v)| (*value, v.max(0.0).sqrt())).collect();
    }
    let centre = |between: f64| {
        let weight: f64 = each.iter().map(|(_, v)| 1.0 / (v + between)).sum();
        (each.iter().map(|(value, v)| value / (v + between)).sum::<f64>() / weight, 1.0 / weight)
    };
    let log_density = |between: f64| {
        let (m, of_m) = centre(between);
        0.5 * of_m.ln() - each.iter().map(|(value, v)| 0.5 * ((v + between).ln() + (value - m).powi(2) / (v + between))).sum::<f64>()
    };
    // Beyond three times the plain spread there is next to nothing.
    let mean = each.iter().map(|(value, _)| value).sum::<f64>() / each.len() as f64;
    let widest = 3.0 * (each.iter().map(|(value, v)| (value - mean).powi(2) + v).sum::<f64>() / (each.len() as f64 - 1.0)).sqrt();
    let spreads: Vec<f64> = (0..POINTS).map(|k| (widest * (k as f64 + 0.5) / POINTS as f64).powi(2)).collect();
    let logs: Vec<f64> = spreads.iter().map(|own| log_density(*own)).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logs.iter().map(|own| (own - top).exp()).sum();
    let mut moments = vec![(0.0, 0.0); each.len()];
    for (between, log) in spreads.iter().zip(&logs) {
        let (share, (m, of_m)) = ((log - top).exp() / total, centre(*between));
        for ((value, v), (first, second)) in each.iter().zip(&mut moments) {
            let own = between / (v + between);
            let expected = own * value + (1.0 - own) * m;
            *first += share * expected;
            *second += share * (expected.powi(2) + own * v + (1.0 - own).powi(2) * of_m);
        }
    }
    moments.into_iter().map(|(first, second)| (first, (second - first * first).max(0.0).sqrt())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    /// Gains drawn from N(.05, .1^2): the shrunk ones are nearer to the truth, and their intervals hold it as often as they say.
    #[test]
    fn shrunk_gains_are_nearer_and_their_intervals_hold() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut normal = || random.sample::<f64, _>(StandardNormal);
        let (mut plain, mut shrunk, mut held, mut count) = (0.0, 0.0, 0, 0);
        for _ in 0..40 {
            let truth: Vec<f64> = (0..50).map(|_| 0.05 + 0.1 * normal()).collect();
            let differences: Vec<Vec<f64>> =
                truth.iter().enumerate().map(|(t, own)| (0..5 + t % 20).map(|_| own + 0.5 * normal()).collect()).collect();
            for (own, truth) in gains(&differences).iter().zip(&truth) {
                plain += (own.gain - truth).powi(2);
                shrunk += (own.expected - truth).powi(2);
                held += usize::from(own.low < *truth && *truth < own.high);
                count += 1;
            }
        }
        assert!(shrunk < 0.6 * plain, "{shrunk} {plain}");
        let share = held as f64 / count as f64;
        // Standard error .005 were all independent; s is estimated from 50 tasks.
        assert!((share - 0.95).abs() < 0.025, "{share}");
    }

    /// What is the same in all tasks has no spread, and one row is enough for a standard error.
    #[test]
    fn edges() {
        let same = gains(&[vec![0.1, 0.1], vec![0.1, 0.1]]);
        assert!(same.iter().all(|own| (own.expected - 0.1).abs() < 1e-12 && own.gain_se == 0.0));
        let lone = gains(&[vec![0.3], vec![0.1, 0.5, 0.2]]);
        assert!(lone[0].gain_se > 0.0 && lone[0].expected.is_finite());
        assert!(gains(&[]).is_empty());
        let all = gains(&[vec![-1.0, -1.1, -0.9, -1.0], vec![0.2, 0.1, 0.3, 0.2], vec![0.1, 0.2, 0.1, 0.3]]);
        assert!(all[0].is_loss() && !all[1].is_loss());
    }
}
