//! Gaussian targets of tasks that share rows: errors of one unit are correlated between its tasks, and the correlations are learned.

use super::{Approximation, Dispersion, Gaussian, Likelihood, Observations, units_are_missing};
use crate::error::{Error, Result};
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::quadratic::{Complete, Joint, Partial, Quadratics};
use crate::tasks::SharedRows;
use nalgebra::{DMatrix, DVector};
use std::sync::Arc;

/// y_i | W ~ N(eta_i, R_i / weight_i) for every unit i, eta_it = x_it' w_t for the tasks t measured on it and R_i their part of the residual
/// covariance R between tasks: seemingly unrelated regressions (Zellner 1962) with a prior on W. The tasks keep their rows
/// ([`Tasks::with_rows`](crate::Tasks::with_rows)), which name their units ([`Rows::push_of_unit`](crate::Rows::push_of_unit)).
///
/// R has the prior -nu/2 (log |R| + sum_t log (R^-1)_tt), an inverse Wishart about the diagonal matrix most likely under it: 0 where errors
/// are independent, and the same whatever the targets' units. Its weight nu, in units, is learned in the first steps unless given: such that
/// correlations keep the share 1 - sum var(r) / sum r^2 of what they are (Schaefer and Strimmer 2005), and is then held.
///
/// Without R the same noise in two tasks looks like a relation of theirs. Where every task was measured on every unit, on the same features, an
/// E-step costs O(T^3 + d^3 + T d (T + d)), otherwise O((T d)^3).
///
/// ```
/// use cognate::{CorrelatedGaussian, Design, Exchangeable, FeatureCovariance, Model, Rows};
/// let mut rows = Rows::new("level", &["x"]);
/// for i in 0..60 {
///     let (x, noise) = (f64::from(i % 11) / 5.0 - 1.0, f64::from(i * 7 % 13) / 6.0 - 1.0);
///     rows.push_of_unit(&i.to_string(), "a", &[x], x + noise, 1.0)?;
///     rows.push_of_unit(&i.to_string(), "b", &[x], 2.0 * x + noise + f64::from(i % 3) / 5.0, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
/// let fit = Model::new(CorrelatedGaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
/// assert!(fit.residual_correlation().unwrap()[(0, 1)] > 0.8);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct CorrelatedGaussian {
    /// nu, how many uncorrelated units the prior on the correlations weighs (`None`: learned).
    pub strength: Option<f64>,
}

/// Lowest variance of an error given those of the tasks before, of a target of unit variance.
const FLOOR: f64 = 1e-10;

const LOG_2_PI: f64 = 1.837_877_066_409_345_3;

impl CorrelatedGaussian {
    /// What the own rows of each task say, and what they say together.
    fn quadratics(&self, data: &Observations, dispersion: &Dispersion) -> Result<Quadratics> {
        let own = Gaussian::default().quadratics(data, dispersion);
        match residual_covariance(dispersion) {
            Some(noise) => Ok(own.with_joint(joint(shared(data)?, noise)?)),
            None => Ok(own),
        }
    }

    /// sum E[e e'] over the units of each pattern.
    fn products(&self, shared: &SharedRows, posterior: &Posterior) -> Vec<DMatrix<f64>> {
        if let Some(products) = posterior.residual_products() {
            return vec![products.clone()];
        }
        let means: Vec<DVector<f64>> = (0..posterior.tasks()).map(|t| posterior.coefficients(t)).collect();
        shared.residual_products(&DMatrix::from_columns(&means), Some(&|s, t| posterior.moment_covariance_between(s, t)))
    }

    /// The dispersion of a residual covariance.
    fn dispersion(noise: &DMatrix<f64>, strength: f64) -> Dispersion {
        let values: Vec<f64> = noise.diagonal().iter().map(|variance| variance.max(FLOOR)).collect();
        let below = (0..values.len()).flat_map(|t| (0..t).map(move |s| (s, t)));
        let correlations = below.map(|(s, t)| noise[(s, t)] / (values[s] * values[t]).sqrt()).collect();
        let common = values.iter().sum::<f64>() / values.len() as f64;
        Dispersion { values, strength, correlations, ..Dispersion::shared(common) }
    }
}

fn shared(data: &Observations) -> Result<&SharedRows> {
    data.shared.as_ref().ok_or_else(units_are_missing)
}

/// R, where errors are correlated.
fn residual_covariance(dispersion: &Dispersion) -> Option<DMatrix<f64>> {
    let mut noise = dispersion.correlation()?;
    let sd: Vec<f64> = dispersion.values.iter().map(|variance| variance.sqrt()).collect();
    (0..sd.len()).for_each(|t| (0..sd.len()).for_each(|s| noise[(s, t)] *= sd[s] * sd[t]));
    Some(noise)
}

/// What shared rows say at a residual covariance.
fn joint(shared: &SharedRows, noise: DMatrix<f64>) -> Result<Joint> {
    let mut precisions = Vec::with_capacity(shared.patterns().len());
    let mut normal = -shared.log_weights();
    for pattern in shared.patterns() {
        let (inverse, log_determinant) = inverted(&noise, &pattern.tasks)?;
        normal += pattern.units as f64 * (pattern.tasks.len() as f64 * LOG_2_PI + log_determinant);
        precisions.push(inverse);
    }
    if let Some(sums) = shared.complete() {
        return Ok(Joint::Complete(Complete {
            constant: -0.5 * (normal + sums.squares.dot(&precisions[0])),
            noise,
            sums: Arc::clone(sums),
        }));
    }
    let (curvature, linear, squares) = shared.weighted(&precisions);
    Ok(Joint::Partial(Partial { constant: -0.5 * (normal + squares), linear, curvature }))
}

/// The inverse of the part of R between these tasks and its log-determinant.
fn inverted(noise: &DMatrix<f64>, tasks: &[usize]) -> Result<(DMatrix<f64>, f64)> {
    let root = linalg::cholesky(noise.select_rows(tasks).select_columns(tasks)).ok_or_else(|| Error::NotPositiveDefinite {
        matrix: "the residual covariance R".into(),
        remedy: "leave out targets that are combinations of others".into(),
    })?;
    Ok((linalg::inverse_of_cholesky(&root), linalg::log_determinant(&root)))
}

/// U and d of R = U diag(d) U', U unit lower triangular.
fn regressions(noise: &DMatrix<f64>) -> (DMatrix<f64>, DVector<f64>) {
    let mut root = linalg::semidefinite_factor(noise);
    let diagonal = root.diagonal();
    root.column_iter_mut().zip(diagonal.iter()).for_each(|(mut column, pivot)| column /= pivot.max(FLOOR.sqrt()));
    root.fill_diagonal(1.0);
    (root, diagonal.map(|pivot| pivot.powi(2).max(FLOOR)))
}

/// The weight of the prior by which correlations r of `units` units shrink by the share sum var(r) / sum r^2.
fn learned_strength(correlation: &DMatrix<f64>, units: f64) -> f64 {
    const MOST: f64 = 0.99;
    let below = || (0..correlation.nrows()).flat_map(|t| (0..t).map(move |s| correlation[(s, t)].powi(2)));
    let (variance, size): (f64, f64) = (below().map(|square| (1.0 - square).powi(2) / units).sum(), below().sum());
    let share = if variance < MOST * size { variance / size } else { MOST };
    units * share / (1.0 - share)
}

impl Likelihood for CorrelatedGaussian {
    fn name(&self) -> &'static str {
        "gaussian"
    }

    fn needs_units(&self) -> bool {
        true
    }

    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion {
        let each = Gaussian { noise: super::Noise::Task }.start(data, mean_features);
        let tasks = each.values.len();
        let strength = self.strength.unwrap_or(tasks as f64 + 1.0);
        CorrelatedGaussian::dispersion(&DMatrix::from_diagonal(&DVector::from_vec(each.values)), strength)
    }

    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> Vec<f64> {
        vec![dispersion.common_variance(); data.groups()]
    }

    fn posterior(
        &self,
        data: &Observations,
        dispersion: &Dispersion,
        prior: &Prior,
        _: (Option<&Quadratics>, f64),
    ) -> Result<Approximation> {
        Approximation::exact(self.quadratics(data, dispersion)?, prior)
    }

    /// The expected products of the errors, those of tasks without a target given the others of their unit.
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion {
        let (Some(shared), Some(noise)) = (&data.shared, residual_covariance(dispersion)) else { return dispersion.clone() };
        let tasks = noise.nrows();
        let mut total = DMatrix::zeros(tasks, tasks);
        for (pattern, products) in shared.patterns().iter().zip(self.products(shared, posterior)) {
            let Ok((inverse, _)) = inverted(&noise, &pattern.tasks) else { return dispersion.clone() };
            // Regression of all errors on those measured, and what it leaves.
            let map = noise.select_columns(&pattern.tasks) * inverse;
            let left = &noise - &map * noise.select_rows(&pattern.tasks);
            total += &map * products * map.transpose() + left * pattern.units as f64;
        }
        linalg::symmetrise(&mut total);
        let units = shared.units() as f64;
        let strength = self.strength.unwrap_or_else(|| learned_strength(&linalg::correlation(&total), units));
        let Ok((inverse, _)) = inverted(&noise, &(0..tasks).collect::<Vec<_>>()) else { return dispersion.clone() };
        let alone = DMatrix::from_diagonal(&inverse.diagonal().map(|precision| 1.0 / precision));
        CorrelatedGaussian::dispersion(&((total + alone * strength) / (units + strength)), strength)
    }

    fn coordinates(&self, dispersion: &Dispersion) -> Vec<f64> {
        let Some(noise) = residual_covariance(dispersion) else { return Vec::new() };
        let (lower, pivots) = regressions(&noise);
        let below = (0..pivots.len()).flat_map(|t| (0..t).map(move |s| (t, s)));
        pivots.iter().map(|pivot| pivot.ln()).chain(below.map(|place| lower[place])).collect()
    }

    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion {
        let tasks = like.values.len();
        let (logs, below) = point.split_at(tasks);
        let mut lower = DMatrix::identity(tasks, tasks);
        (0..tasks).flat_map(|t| (0..t).map(move |s| (t, s))).zip(below).for_each(|(place, value)| lower[place] = *value);
        let pivots = DVector::from_iterator(tasks, logs.iter().map(|log| log.exp().max(FLOOR)));
        CorrelatedGaussian::dispersion(&(&lower * DMatrix::from_diagonal(&pivots) * lower.transpose()), like.strength)
    }

    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>> {
        let Some(noise) = residual_covariance(dispersion) else { return Ok(Vec::new()) };
        let shared = shared(data)?;
        let tasks = noise.nrows();
        let mut rise = DMatrix::zeros(tasks, tasks);
        for (pattern, products) in shared.patterns().iter().zip(self.products(shared, &found.posterior)) {
            let (inverse, _) = inverted(&noise, &pattern.tasks)?;
            let own = (&inverse * products * &inverse - &inverse * pattern.units as f64) * 0.5;
            for (j, t) in pattern.tasks.iter().enumerate() {
                pattern.tasks.iter().enumerate().for_each(|(i, s)| rise[(*s, *t)] += own[(i, j)]);
            }
        }
        let (inverse, _) = inverted(&noise, &(0..tasks).collect::<Vec<_>>())?;
        let alone = DMatrix::from_diagonal(&inverse.diagonal().map(|precision| 1.0 / precision));
        rise -= (&inverse - &inverse * alone * &inverse) * (0.5 * dispersion.strength);
        let (lower, pivots) = regressions(&noise);
        let along = &rise * &lower;
        let held = |pivot: f64, slope: f64| if pivot <= FLOOR && slope < 0.0 { 0.0 } else { slope };
        let of_pivots = (0..tasks).map(|t| held(pivots[t], pivots[t] * lower.column(t).dot(&along.column(t))));
        let below = (0..tasks).flat_map(|t| (0..t).map(move |s| (t, s)));
        Ok(of_pivots.chain(below.map(|(t, s)| 2.0 * along[(t, s)] * pivots[s])).collect())
    }

    /// n / 2 of the logarithms of U diag(d) U' = R, and (n + nu) d_s (R^-1)_tt of U_ts: that of n units measured in every task, and of the prior where it is largest.
    fn information(&self, data: &Observations, dispersion: &Dispersion) -> Option<Vec<f64>> {
        let Some(noise) = residual_covariance(dispersion) else { return Some(Vec::new()) };
        let (units, tasks) = (data.shared.as_ref()?.units() as f64, noise.nrows());
        let (inverse, _) = inverted(&noise, &(0..tasks).collect::<Vec<_>>()).ok()?;
        let pivots = regressions(&noise).1;
        let below = (0..tasks).flat_map(|t| (0..t).map(move |s| (t, s)));
        let below = below.map(|(t, s)| (units + dispersion.strength) * pivots[s] * inverse[(t, t)]);
        Some(std::iter::repeat_n(0.5 * units, tasks).chain(below).collect())
    }

    fn log_prior(&self, dispersion: &Dispersion) -> f64 {
        let Some(root) = dispersion.correlation().and_then(linalg::cholesky) else { return 0.0 };
        let precisions = linalg::inverse_of_cholesky(&root).diagonal();
        -0.5 * dispersion.strength * (linalg::log_determinant(&root) + precisions.map(f64::ln).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::{Mean, Relatedness};
    use crate::tasks::{Coordinates, Design, Rows};

    fn uneven(i: usize) -> f64 {
        ((i * 37 + i * i * 11) % 97) as f64 / 48.0 - 1.0
    }

    /// Three tasks on thirty units, on which task 2 was measured every other time where `gaps`, on features of its own where `own`.
    fn observations(gaps: bool, own: bool) -> Observations {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..30 {
            for t in 0..3 {
                if gaps && t == 2 && i % 2 == 0 {
                    continue;
                }
                let x = uneven(3 * i + if own { 5 * t } else { 0 });
                let y = x * t as f64 + uneven(i) + 0.5 * uneven(11 * i + t);
                rows.push_of_unit(&i.to_string(), &t.to_string(), &[x], y, 1.0 + (i % 3) as f64).unwrap();
            }
        }
        let design = Design::varying(rows.features());
        let coordinates = Coordinates::identity(&design);
        let tasks = rows.tasks(&design);
        Observations { shared: Some(SharedRows::new(&rows, &design, &coordinates).unwrap()), ..Observations::new(&tasks, &coordinates) }
    }

    fn prior(mean: Mean) -> Prior {
        let sigma = DMatrix::from_row_slice(3, 3, &[1.0, 0.3, -0.2, 0.3, 1.2, 0.1, -0.2, 0.1, 0.8]);
        Prior::new(mean, Relatedness::Dense(sigma), DMatrix::from_row_slice(2, 2, &[0.6, 0.0, 0.2, 0.9]))
    }

    fn height(likelihood: &CorrelatedGaussian, data: &Observations, dispersion: &Dispersion, prior: &Prior) -> f64 {
        likelihood.posterior(data, dispersion, prior, (None, 0.0)).unwrap().log_likelihood + likelihood.log_prior(dispersion)
    }

    #[test]
    fn slopes_of_the_residual_covariance_are_differences() {
        let likelihood = CorrelatedGaussian { strength: Some(3.0) };
        for (gaps, own) in [(false, false), (true, false), (false, true), (true, true)] {
            let data = observations(gaps, own);
            assert_eq!(data.shared.as_ref().unwrap().complete().is_some(), !gaps && !own);
            for mean in [Mean::Profiled, Mean::Integrated] {
                let prior = prior(mean);
                let start = likelihood.start(&data, &[0, 1]);
                let mut point = likelihood.coordinates(&start);
                point.iter_mut().enumerate().for_each(|(k, value)| *value += 0.3 * uneven(k + 1));
                let dispersion = likelihood.at(&point, &start);
                let back = likelihood.coordinates(&dispersion);
                assert!(point.iter().zip(&back).all(|(a, b)| (a - b).abs() < 1e-9));
                let found = likelihood.posterior(&data, &dispersion, &prior, (None, 0.0)).unwrap();
                let slope = likelihood.slope(&data, &found, &dispersion).unwrap();
                let at = |there: &[f64]| height(&likelihood, &data, &likelihood.at(there, &start), &prior);
                for (k, difference) in linalg::differences(at, &point, 1e-5).into_iter().enumerate() {
                    assert!((difference - slope[k]).abs() < 1e-5 * (1.0 + slope[k].abs()), "{k}: {difference} for {}", slope[k]);
                }
            }
        }
    }

    /// Where the covariance of the errors is that of the residuals, the log-likelihood bends as it is expected to, but for what the parameters take up: there is next to none here.
    #[test]
    fn the_information_is_how_slopes_bend() {
        let likelihood = CorrelatedGaussian { strength: Some(0.0) };
        let data = observations(false, false);
        let still = Prior::new(Mean::Given(DVector::zeros(2)), Relatedness::Dense(DMatrix::identity(3, 3)), DMatrix::identity(2, 2) * 1e-4);
        let mut best = likelihood.start(&data, &[0, 1]);
        for _ in 0..50 {
            let found = likelihood.posterior(&data, &best, &still, (None, 0.0)).unwrap();
            best = likelihood.update(&data, &found.posterior, &best);
        }
        let (point, information) = (likelihood.coordinates(&best), likelihood.information(&data, &best).unwrap());
        let slope = |there: &[f64], k: usize| {
            let dispersion = likelihood.at(there, &best);
            let found = likelihood.posterior(&data, &dispersion, &still, (None, 0.0)).unwrap();
            likelihood.slope(&data, &found, &dispersion).unwrap()[k]
        };
        assert_eq!(information.len(), point.len());
        for k in 0..point.len() {
            let bend = linalg::differences(|there: &[f64]| slope(there, k), &point, 1e-5)[k];
            assert!((bend / information[k] + 1.0).abs() < 1e-3, "{k}: {bend} for {}", information[k]);
        }
    }

    #[test]
    fn rows_whose_errors_are_independent_say_what_their_sums_do() {
        for (gaps, own) in [(false, false), (true, false), (false, true)] {
            let (data, prior) = (observations(gaps, own), prior(Mean::Profiled));
            let likelihood = CorrelatedGaussian::default();
            let start = likelihood.start(&data, &[0, 1]);
            let found = likelihood.posterior(&data, &start, &prior, (None, 0.0)).unwrap();
            let plain = Dispersion { correlations: Vec::new(), ..start };
            let sums = Gaussian::default().posterior(&data, &plain, &prior, (None, 0.0)).unwrap();
            assert!((found.log_likelihood - sums.log_likelihood).abs() < 1e-9 * sums.log_likelihood.abs());
            assert!((found.posterior.coefficients(1) - sums.posterior.coefficients(1)).amax() < 1e-9);
        }
    }

    /// At a given strength the M-step is that of EM, with the prior's diagonal matrix at its best.
    #[test]
    fn the_log_posterior_never_falls_with_the_residual_covariance() {
        for (gaps, own, strength) in [(false, false, 0.0), (true, false, 5.0), (true, true, 40.0)] {
            let likelihood = CorrelatedGaussian { strength: Some(strength) };
            let (data, prior) = (observations(gaps, own), prior(Mean::Integrated));
            let mut dispersion = likelihood.start(&data, &[0, 1]);
            let mut before = f64::NEG_INFINITY;
            for _ in 0..20 {
                let found = likelihood.posterior(&data, &dispersion, &prior, (None, 0.0)).unwrap();
                let height = found.log_likelihood + likelihood.log_prior(&dispersion);
                assert!(height >= before - 1e-9, "{height} after {before}");
                before = height;
                dispersion = likelihood.update(&data, &found.posterior, &dispersion);
            }
        }
    }

    #[test]
    fn what_units_cannot_be_is_refused() {
        let design = Design::varying(&["x"]);
        let mut twice = Rows::new("y", &["x"]);
        twice.push_of_unit("i", "a", &[1.0], 1.0, 1.0).unwrap();
        twice.push_of_unit("i", "a", &[2.0], 1.0, 1.0).unwrap();
        let refused = |rows: &Rows| SharedRows::new(rows, &design, &Coordinates::identity(&design)).err().unwrap().to_string();
        assert!(refused(&twice).contains("task 'a' was measured twice on 'i'"));
        let mut uneven = Rows::new("y", &["x"]);
        uneven.push_of_unit("i", "a", &[1.0], 1.0, 1.0).unwrap();
        uneven.push_of_unit("i", "b", &[1.0], 1.0, 2.0).unwrap();
        assert!(refused(&uneven).contains("the weights 1 and 2"));
    }
}
