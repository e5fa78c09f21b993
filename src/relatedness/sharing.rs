//! Sharing by magnitude: in which share of the features two tasks have parameters of the same sign and within a factor of two.

use super::pair::SURE;
use crate::error::{Error, Result};
use crate::model::Fit;
use crate::posterior::Posterior;
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// Largest ratio of two parameters that count as alike.
const FACTOR: f32 = 2.0;

/// Numbers that drawn parameters may take in memory, and the fewest draws.
const MOST_NUMBERS: usize = 200_000_000;
const FEWEST: usize = 40;

/// How much of their parameters two tasks share (Urbut, Wang, Carbonetto and Stephens 2019): over the features whose sign is sure (local false sign rate below .05) in at
/// least one of the two, the mean posterior probability that both have the same sign and neither is more than twice the other.
#[derive(Clone, Debug, Serialize)]
pub struct Sharing {
    /// How many features it is about.
    pub features: usize,
    /// Expected share of them.
    pub share: f64,
    /// Lower end of the central interval of the share.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Joint posterior draws of the parameters that may be shared, given the hyperparameters.
pub(super) struct Parameters {
    names: Vec<String>,
    /// Of every task its draws, one after another.
    values: Vec<Vec<f32>>,
    /// Of every task, whether the sign of each parameter is sure.
    sure: Vec<Vec<bool>>,
    /// The group of every task, between which parameters are of different kinds.
    groups: Vec<usize>,
    draws: usize,
    /// How many directions the rows of an average task decide.
    effective_directions: f64,
}

impl Parameters {
    /// Draws from the joint posterior in fitted coordinates, in which slopes have the ratios that they have in the table (of targets in units of their own, in
    /// standard deviations of each). O(draws T d^2), and the posterior's own draws.
    pub(super) fn drawn(fit: &Fit, draws: usize, seed: u64) -> Result<Self> {
        let (tasks, prior, design) = (fit.tasks().len(), fit.prior(), fit.tasks().design());
        let differs = |f: &usize| prior.varying.contains(f) || prior.free.contains(f);
        let features: Vec<usize> = (usize::from(design.has_intercept())..design.len()).filter(differs).collect();
        let size = features.len();
        let most = MOST_NUMBERS / (tasks * size).max(1);
        if most < FEWEST {
            let (needed_mb, limit_mb) = ((4 * FEWEST * tasks * size / 1_000_000) as u64, (4 * MOST_NUMBERS / 1_000_000) as u64);
            let what = format!("drawing the parameters of {tasks} tasks in {size} features");
            return Err(Error::TooLarge { what, needed_mb, limit_mb, remedy: "let fewer features vary".into() });
        }
        let draws = if size == 0 { 0 } else { draws.min(most) };
        let (all, effective_directions): (Vec<DMatrix<f64>>, f64) = fit.with_posterior(|posterior| {
            let each = (0..draws as u64).into_par_iter().map(|k| {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                random.set_stream(k + 1);
                posterior.sample(&mut random).map(|own| own.select_columns(&features))
            });
            Ok::<_, Error>((each.collect::<Result<Vec<_>>>()?, effective_directions(posterior)))
        })??;
        let of_task = |t: usize| all.iter().flat_map(|own| own.row(t).iter().map(|value| *value as f32).collect::<Vec<_>>()).collect();
        let values: Vec<Vec<f32>> = (0..tasks).into_par_iter().map(of_task).collect();
        let is_sure = |own: &Vec<f32>, j: usize| {
            let positive = own.iter().skip(j).step_by(size).filter(|value| **value > 0.0).count() as f64 / draws as f64;
            positive.min(1.0 - positive) < SURE
        };
        let sure = values.iter().map(|own| (0..size).map(|j| is_sure(own, j)).collect()).collect();
        let names = features.iter().map(|f| design.features()[*f].clone()).collect();
        Ok(Parameters { names, values, sure, groups: (0..tasks).map(|t| prior.groups.of(t)).collect(), draws, effective_directions })
    }

    pub(super) fn effective_directions(&self) -> f64 {
        self.effective_directions
    }

    pub(super) fn draws(&self) -> usize {
        self.draws
    }

    pub(super) fn features(&self) -> Vec<String> {
        self.names.clone()
    }

    /// What two tasks share; nothing is said across groups, whose targets are of different kinds.
    pub(super) fn shared(&self, (s, t): (usize, usize), level: f64) -> Option<Sharing> {
        let size = self.names.len();
        let asked: Vec<usize> = (0..size).filter(|j| self.sure[s][*j] || self.sure[t][*j]).collect();
        if asked.is_empty() || self.groups[s] != self.groups[t] {
            return None;
        }
        // How many draws have so many features alike.
        let mut counts = vec![0usize; asked.len() + 1];
        for (own, other) in self.values[s].chunks_exact(size).zip(self.values[t].chunks_exact(size)) {
            counts[asked.iter().filter(|j| are_alike(own[**j], other[**j])).count()] += 1;
        }
        let (n, draws) = (asked.len() as f64, self.draws as f64);
        let share = counts.iter().enumerate().map(|(k, count)| k as f64 * *count as f64).sum::<f64>() / (n * draws);
        let end = |at: f64| {
            let mut below = 0;
            let reaches = |count: &usize| {
                below += count;
                below as f64 >= at * draws
            };
            counts.iter().position(reaches).unwrap_or(asked.len()) as f64 / n
        };
        let tail = 0.5 * (1.0 - level);
        Some(Sharing { features: asked.len(), share, low: end(tail), high: end(1.0 - tail) })
    }
}

fn effective_directions(posterior: &Posterior) -> f64 {
    if posterior.prior().mixture.is_some() { f64::NAN } else { posterior.related().effective_directions() }
}

/// Whether two parameters have the same sign and neither is more than twice the other.
fn are_alike(a: f32, b: f32) -> bool {
    a * b > 0.0 && a.abs() <= FACTOR * b.abs() && b.abs() <= FACTOR * a.abs()
}
