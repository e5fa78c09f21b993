//! How strong the prior on a full task covariance should be: as its directions predict each other.

use crate::linalg;
use crate::posterior::Posterior;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Least strength, and the largest for each task.
const LEAST: f64 = 0.5;
const MOST: f64 = 100.0;

/// Steps of the search between them.
const STEPS: usize = 18;

/// nu by the moments of an exchangeable posterior, one direction left out at a time. O(r T^3) for each of some 20 values.
pub(super) fn learned(posterior: &Posterior) -> f64 {
    let (tasks, means) = (posterior.tasks(), posterior.whitened_deviations());
    let varying: Vec<usize> = (0..means.nrows()).filter(|k| posterior.prior().factor.column(*k).norm() > 0.0).collect();
    let r = varying.len();
    let effective = posterior.effective_directions();
    // A moment of the posterior is what rows say as far as they say it of both tasks, and else the prior's guess.
    let least = if effective * effective < (r * tasks) as f64 { tasks as f64 + 1.0 } else { LEAST };
    if r < 2 {
        return least;
    }
    let spreads: Vec<DVector<f64>> = (0..tasks).into_par_iter().map(|t| posterior.whitened_variances(t)).collect();
    let moment = |k: usize| {
        let own = means.row(k).transpose();
        let mut moment = &own * own.transpose();
        (0..tasks).for_each(|t| moment[(t, t)] += spreads[t][k]);
        moment
    };
    let all = varying.iter().fold(DMatrix::zeros(tasks, tasks), |sum, k| sum + moment(*k));
    let score = |log: f64| {
        let nu = log.exp();
        let each = varying.par_iter().map(|k| {
            let own = moment(*k);
            let sigma = (&all - &own + DMatrix::identity(tasks, tasks) * nu) / (r as f64 - 1.0 + nu);
            linalg::cholesky(sigma).map_or(f64::NEG_INFINITY, |root| {
                let omega = linalg::inverse_of_cholesky(&root);
                -0.5 * (linalg::log_determinant(&root) + omega.dot(&own))
            })
        });
        each.collect::<Vec<f64>>().into_iter().sum::<f64>()
    };
    let ends = [least.ln(), (MOST * tasks as f64).ln()];
    let inside = linalg::golden_section(score, (ends[0], ends[1]), STEPS);
    let best = ends.into_iter().chain([inside]).map(|log| (score(log), log)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or(least, |(_, log)| log.exp())
}
