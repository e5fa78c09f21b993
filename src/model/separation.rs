//! Common coefficients whose likeliest values are infinite (separation), and the prior that keeps them finite.

use super::total_curvature;
use crate::error::Result;
use crate::likelihood::{Likelihood, Observations};
use crate::linalg;
use crate::prior::{Groups, Mean, Prior, Relatedness};
use nalgebra::{DMatrix, DVector};

/// Standard deviation of the predictor by which directions are told apart: that of the predictor at the mean row, and of what a standard deviation of a
/// feature adds to it.
const WEAK: f64 = 100.0;

/// Share of that prior, beside the pooled rows, from which on they leave a direction undecided.
const UNDECIDED: f64 = 0.01;

/// Standard deviation of what an undecided direction adds to the predictor of the row that it moves most. A hundredth of it decides nothing on a logit or
/// log scale, and three times it covers odds of 1e13; with a larger one the curvature of a row has nothing to do with the width of the posterior.
const REACH: f64 = 10.0;

/// Precision of the prior of the common mean: empty, so that the mean is flat, unless the rows of all tasks together leave directions of it undecided, as they
/// do where a combination of features is not 0 only where all targets are at one end of their range (Albert and Anderson 1984). The
/// likelihood given any deviations rises along such a direction for ever, so that this is one whatever the deviations. There it is normal about 0. One pooled fit.
pub(super) fn mean_precision(
    likelihood: &dyn Likelihood,
    data: &Observations,
    features: &[usize],
    intercept: Option<usize>,
) -> Result<DMatrix<f64>> {
    let flat = DMatrix::zeros(0, 0);
    let has_ends = likelihood.families().iter().any(|family| family.has_ends());
    let Some(rows) = data.each.as_ref().filter(|_| has_ends && !features.is_empty()) else { return Ok(flat) };
    let (count, size) = (data.groups(), features.len());
    let mut weak = DMatrix::zeros(count * size, count * size);
    (0..count).for_each(|g| weak.view_mut((g * size, g * size), (size, size)).copy_from(&weak_precision(data, features, intercept, g)));
    let Some(root) = linalg::cholesky(weak.clone()) else { return Ok(flat) };
    let prior = Prior {
        mean_features: features.to_vec(),
        mean_precision: weak,
        groups: Groups { of_task: data.group.clone(), scales: vec![1.0; if count > 1 { count } else { 0 }] },
        ..Prior::new(Mean::Profiled, Relatedness::Zero, DMatrix::zeros(0, 0))
    };
    let found = likelihood.posterior(data, &likelihood.start(data, features), &prior, (None, 1e-3))?;
    let (shares, vectors) = linalg::symmetric_eigen(&(root.transpose() * found.posterior.mean_covariance() * &root));
    let mut precision = flat;
    for k in (0..shares.len()).filter(|k| shares[*k] > UNDECIDED) {
        let mut direction: Vec<f64> = vectors.column(k).iter().copied().collect();
        linalg::solve_lower_transpose(root.as_slice(), count * size, &mut direction);
        let effect = |t: usize, x: &[f64]| {
            let own = &direction[data.group_of(t) * size..][..size];
            features.iter().zip(own).map(|(feature, along)| x[*feature] * along).sum::<f64>().abs()
        };
        let of_task = |t: usize| rows.of(t).map(|row| effect(t, row.x)).fold(0.0, f64::max);
        let most = (0..rows.tasks()).map(of_task).fold(0.0, f64::max);
        let along = &root * vectors.column(k) * (most / REACH);
        if precision.is_empty() {
            precision = DMatrix::zeros(count * size, count * size);
        }
        precision += &along * along.transpose();
    }
    Ok(precision)
}

/// Of the means of a group: the same in any coordinates, and positive definite.
fn weak_precision(data: &Observations, features: &[usize], intercept: Option<usize>, group: usize) -> DMatrix<f64> {
    let total = total_curvature(data, features, group);
    let one = features.iter().position(|feature| Some(*feature) == intercept);
    let rows = || (0..data.rows.len()).filter(|t| data.group_of(*t) == group).map(|t| data.rows[t]).sum();
    let weight = one.map_or_else(rows, |one| total[(one, one)]);
    let at_mean = one.map_or(DVector::zeros(features.len()), |one| total.column(one) / weight);
    let mut precision = &at_mean * at_mean.transpose();
    for k in (0..features.len()).filter(|k| Some(*k) != one) {
        precision[(k, k)] += (total[(k, k)] / weight - at_mean[k].powi(2)).max(0.0);
    }
    precision / WEAK.powi(2)
}
