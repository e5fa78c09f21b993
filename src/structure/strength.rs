//! How strong the prior on a full task covariance should be: as its directions predict each other.

use crate::linalg;
use crate::posterior::Posterior;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Least strength, and the largest for each task.
const LEAST: f64 = 0.5;
const MOST: f64 = 100.0;

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
    highest(score, (least.ln(), (MOST * tasks as f64).ln())).exp()
}

/// Where a function of one hill is highest, of ends included, by the golden section.
fn highest(value: impl Fn(f64) -> f64, (mut low, mut high): (f64, f64)) -> f64 {
    const SECTION: f64 = 0.618_033_988_749_895;
    const STEPS: usize = 18;
    let ends = [low, high].map(|end| (value(end), end));
    let (mut left, mut right) = (high - SECTION * (high - low), low + SECTION * (high - low));
    let (mut at_left, mut at_right) = (value(left), value(right));
    for _ in 0..STEPS {
        if at_left < at_right {
            (low, left, at_left) = (left, right, at_right);
            right = low + SECTION * (high - low);
            at_right = value(right);
        } else {
            (high, right, at_right) = (right, left, at_left);
            left = high - SECTION * (high - low);
            at_left = value(left);
        }
    }
    let inside = [(at_left, left), (at_right, right)];
    inside.into_iter().chain(ends).max_by(|a, b| a.0.total_cmp(&b.0)).map_or(low, |(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_of_a_hill_is_found_and_an_end_where_it_is_higher() {
        assert!((highest(|x| -(x - 1.3).powi(2), (-5.0, 9.0)) - 1.3).abs() < 1e-2);
        assert_eq!(highest(|x| x, (0.0, 2.0)), 2.0);
    }
}
