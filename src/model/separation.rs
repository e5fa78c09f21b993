//! Common coefficients whose likeliest values are infinite (separation), and the prior that keeps them finite.

use super::total_curvature;
use crate::error::Result;
use crate::likelihood::{Dispersion, Likelihood, Observations};
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
/// do where a combination of features is not 0 only where all targets are at one end of their range (Albert and Anderson 1984), and in one of several groups of tasks
/// where it is 0 in all rows. The likelihood given any deviations rises along such a direction for ever, or stays, so that this is one whatever the deviations. There
/// it is normal about 0. One pooled fit.
pub(super) fn mean_precision(
    (likelihood, begun): (&dyn Likelihood, &Dispersion),
    data: &Observations,
    features: &[usize],
    intercept: Option<usize>,
) -> Result<DMatrix<f64>> {
    let flat = DMatrix::zeros(0, 0);
    let families = likelihood.families();
    let (count, size) = (data.groups(), features.len());
    let any = count > 1 || families.iter().any(|family| family.has_ends());
    let Some(rows) = data.each.as_ref().filter(|_| any && size > 0) else { return Ok(flat) };
    let weak = weak_precision(data, features, intercept);
    let units: Vec<f64> = (0..count).map(|g| if families[g].has_unit() { unit(data, g) } else { 1.0 }).collect();
    let Some(root) = linalg::cholesky(weak.clone()) else { return Ok(flat) };
    let block = |g: usize| ((g * size, g * size), (size, size));
    let mut all_weak = DMatrix::zeros(count * size, count * size);
    (0..count).for_each(|g| all_weak.view_mut(block(g).0, block(g).1).copy_from(&(&weak / units[g].powi(2))));
    let groups = if count > 1 { Groups::new(data.group.clone(), vec![1.0; count]) } else { Groups::default() };
    let prior = Prior {
        mean_features: features.to_vec(),
        mean_precision: all_weak,
        groups,
        ..Prior::new(Mean::Profiled, Relatedness::Zero, DMatrix::zeros(0, 0))
    };
    let found = likelihood.posterior(data, begun, &prior, (None, 1e-3))?;
    let mut precision = flat;
    for g in 0..count {
        let own = found.posterior.mean_covariance().view(block(g).0, block(g).1) / units[g].powi(2);
        let (shares, vectors) = linalg::symmetric_eigen(&(root.transpose() * own * &root));
        for k in (0..size).filter(|k| shares[*k] > UNDECIDED) {
            let mut direction: Vec<f64> = vectors.column(k).iter().copied().collect();
            linalg::solve_lower_transpose(root.as_slice(), size, &mut direction);
            let effect = |x: &[f64]| features.iter().zip(&direction).map(|(feature, along)| x[*feature] * along).sum::<f64>().abs();
            // The rows of other groups too: it may move none of its own.
            let most = (0..rows.tasks()).flat_map(|t| rows.of(t)).fold(0.0, |most: f64, row| most.max(effect(row.x)));
            let along = &root * vectors.column(k) * (most / (REACH * units[g]));
            if precision.is_empty() {
                precision = DMatrix::zeros(count * size, count * size);
            }
            let mut part = precision.view_mut(block(g).0, block(g).1);
            part += &along * along.transpose();
        }
    }
    Ok(precision)
}

/// Standard deviation of the targets of a group; of a single one its size.
fn unit(data: &Observations, group: usize) -> f64 {
    match data.target_moments(group) {
        Some((_, sd)) if sd > 0.0 => sd,
        Some((mean, _)) if mean != 0.0 => mean.abs(),
        _ => 1.0,
    }
}

/// The same in any coordinates, and positive definite.
fn weak_precision(data: &Observations, features: &[usize], intercept: Option<usize>) -> DMatrix<f64> {
    let each = (0..data.groups()).map(|g| total_curvature(data, features, g));
    let total = each.fold(DMatrix::zeros(features.len(), features.len()), |all, own| all + own);
    let one = features.iter().position(|feature| Some(*feature) == intercept);
    let weight = one.map_or(data.total_rows(), |one| total[(one, one)]);
    let at_mean = one.map_or(DVector::zeros(features.len()), |one| total.column(one) / weight);
    let mut precision = &at_mean * at_mean.transpose();
    for k in (0..features.len()).filter(|k| Some(*k) != one) {
        precision[(k, k)] += (total[(k, k)] / weight - at_mean[k].powi(2)).max(0.0);
    }
    precision / WEAK.powi(2)
}
