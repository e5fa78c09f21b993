//! Gaussian targets: the quadratic is exact, and the noise variance only scales it.

use super::{Approximation, Dispersion, Likelihood, Observations};
use crate::error::Result;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use statrs::function::gamma::digamma;

/// Whether tasks share their noise variance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Noise {
    /// One variance for all tasks.
    #[default]
    Shared,
    /// One variance a task, shrunk to a common one.
    Task,
    /// Known to be 1 in the target's units: the weights are precisions, and nothing is learned. For [`Summaries`](crate::Summaries), and rows
    /// whose sampling variances are known.
    Known,
}

/// y_i | w_t ~ N(x_i' w_t, variance_t / weight_i).
///
/// With [`Noise::Task`] each variance has a scaled inverse chi-squared prior about a common variance; its degrees of freedom
/// are estimated from the spread of the tasks' log residual variances (Smyth 2004). With [`Noise::Known`] it is 1.
///
/// ```
/// use cognate::{Gaussian, Noise};
/// assert_eq!(Gaussian::default().noise, Noise::Shared);
/// assert_eq!(Gaussian { noise: Noise::Known }.noise, Noise::Known);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Gaussian {
    /// Shared, per task or known.
    pub noise: Noise,
}

/// Lowest noise variance, of a target of unit variance: without it exactly fitted rows have no most likely one.
const FLOOR: f64 = 1e-10;

const LOG_2_PI: f64 = 1.837_877_066_409_345_3;

impl Gaussian {
    /// The quadratics of all tasks at a dispersion: the same whatever the parameters.
    pub fn quadratics(&self, data: &Observations, dispersion: &Dispersion) -> Quadratics {
        let q = &data.quadratics;
        let (precision, constant) = (0..q.len())
            .map(|t| {
                let precision = 1.0 / dispersion.variance(t);
                let normal = data.rows[t] * (LOG_2_PI + dispersion.variance(t).ln()) - data.log_weights[t];
                (precision, -0.5 * (normal + q.squares(t) * precision))
            })
            .unzip();
        q.with(precision, constant)
    }

    /// The variances of highest expected log posterior given each task's expected residual sum of squares.
    fn shrunk(&self, data: &Observations, residuals: &[f64], dispersion: &Dispersion) -> Dispersion {
        if !dispersion.is_each() {
            let variance = residuals.iter().sum::<f64>() / data.total_rows();
            return Dispersion::shared(variance.max(FLOOR));
        }
        let prior = dispersion.strength * dispersion.common_variance();
        let variances = residuals
            .iter()
            .zip(&data.rows)
            .map(|(residual, rows)| ((residual + prior) / (rows + dispersion.strength)).max(FLOOR))
            .collect();
        self.with_values(variances, dispersion)
    }

    /// The dispersion with other values, its common block at its best.
    fn with_values(&self, variances: Vec<f64>, dispersion: &Dispersion) -> Dispersion {
        if self.noise_is_known() {
            return dispersion.clone();
        }
        let variances: Vec<f64> = variances.into_iter().map(|variance| variance.max(FLOOR)).collect();
        // The prior is highest where the common variance is the harmonic mean.
        let common = variances.len() as f64 / variances.iter().map(|v| 1.0 / v).sum::<f64>();
        Dispersion { values: variances, common: vec![common], ..dispersion.clone() }
    }
}

impl Likelihood for Gaussian {
    fn name(&self) -> &'static str {
        "gaussian"
    }

    fn noise_is_known(&self) -> bool {
        self.noise == Noise::Known
    }

    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion {
        if self.noise_is_known() {
            return Dispersion::of_block(Vec::new());
        }
        let q = &data.quadratics;
        let p = q.features();
        let (mut curvature, mut linear) = (DMatrix::zeros(p, p), DVector::zeros(p));
        for t in 0..q.len() {
            curvature += DMatrix::from_column_slice(p, p, q.curvature(t));
            linear += DVector::from_column_slice(q.linear(t));
        }
        let mut pooled = DVector::zeros(p);
        if let Some(factor) = linalg::cholesky(curvature.select_rows(mean_features).select_columns(mean_features)) {
            let mut solution = DMatrix::from_column_slice(mean_features.len(), 1, linear.select_rows(mean_features).as_slice());
            linalg::solve_cholesky(&factor, &mut solution);
            mean_features.iter().zip(solution.iter()).for_each(|(feature, value)| pooled[*feature] = *value);
        }
        let residuals: Vec<f64> = (0..q.len()).map(|t| q.residual(t, pooled.as_slice()).max(0.0)).collect();
        let rows = data.total_rows().max(1.0);
        let common = (residuals.iter().sum::<f64>() / rows).max(FLOOR);
        match self.noise {
            Noise::Shared | Noise::Known => Dispersion::shared(common),
            Noise::Task => {
                let strength = prior_rows(&within_tasks(data));
                let start = Dispersion { values: vec![common; q.len()], strength, ..Dispersion::shared(common) };
                self.shrunk(data, &residuals, &start)
            }
        }
    }

    fn posterior(
        &self,
        data: &Observations,
        dispersion: &Dispersion,
        prior: &Prior,
        _: (Option<&Quadratics>, f64),
    ) -> Result<Approximation> {
        Approximation::exact(self.quadratics(data, dispersion), prior)
    }

    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion {
        if self.noise_is_known() {
            return dispersion.clone();
        }
        self.shrunk(data, &posterior.residuals(), dispersion)
    }

    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> Vec<f64> {
        vec![dispersion.common_variance(); data.groups()]
    }

    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>> {
        if self.noise_is_known() {
            return Ok(Vec::new());
        }
        let residuals = found.posterior.residuals();
        let held = |variance: f64, slope: f64| if variance <= FLOOR && slope < 0.0 { 0.0 } else { slope };
        if !dispersion.is_each() {
            let variance = dispersion.values[0];
            return Ok(vec![held(variance, 0.5 * (residuals.iter().sum::<f64>() / variance - data.total_rows()))]);
        }
        let prior = dispersion.strength * dispersion.common_variance();
        let each = dispersion
            .values
            .iter()
            .zip(residuals.iter().zip(&data.rows))
            .map(|(variance, (residual, rows))| held(*variance, 0.5 * ((residual + prior) / variance - rows - dispersion.strength)));
        Ok(each.collect())
    }

    fn information(&self, data: &Observations, dispersion: &Dispersion) -> Option<Vec<f64>> {
        Some(match (self.noise_is_known(), dispersion.is_each()) {
            (true, _) => Vec::new(),
            (false, true) => data.rows.iter().map(|rows| 0.5 * (rows + dispersion.strength)).collect(),
            (false, false) => vec![0.5 * data.total_rows()],
        })
    }

    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion {
        self.with_values(point.iter().map(|value| value.exp()).collect(), like)
    }

    fn log_prior(&self, dispersion: &Dispersion) -> f64 {
        if dispersion.strength == 0.0 || !dispersion.is_each() {
            return 0.0;
        }
        let log_density = |v: &f64| (dispersion.common_variance() / v).ln() - dispersion.common_variance() / v + 1.0;
        0.5 * dispersion.strength * dispersion.values.iter().map(log_density).sum::<f64>()
    }
}

/// Residual sum of squares and degrees of freedom of every task about its own least-squares fit.
fn within_tasks(data: &Observations) -> Vec<(f64, f64)> {
    let q = &data.quadratics;
    let p = q.features();
    (0..q.len())
        .map(|t| {
            let curvature = DMatrix::from_column_slice(p, p, q.curvature(t));
            let kept = linalg::independent_columns(&curvature);
            let linear = DVector::from_column_slice(q.linear(t)).select_rows(&kept);
            let explained = match linalg::cholesky(curvature.select_rows(&kept).select_columns(&kept)) {
                Some(factor) => {
                    let mut half = DMatrix::from_column_slice(kept.len(), 1, linear.as_slice());
                    linalg::solve_lower_matrix(&factor, &mut half);
                    half.norm_squared()
                }
                None => 0.0,
            };
            (q.squares(t) - explained, data.rows[t] - kept.len() as f64)
        })
        .collect()
}

/// Degrees of freedom of the variances' prior from the spread of log residual variances beyond their sampling spread.
fn prior_rows(residuals: &[(f64, f64)]) -> f64 {
    const MOST: f64 = 1e4;
    let logs: Vec<(f64, f64)> = residuals
        .iter()
        .filter(|(residual, freedom)| *freedom >= 1.0 && *residual > 0.0)
        .map(|(residual, freedom)| {
            let half = 0.5 * freedom;
            ((residual / freedom).ln() - digamma(half) + half.ln(), trigamma(half))
        })
        .collect();
    let count = logs.len() as f64;
    if count < 2.0 {
        return MOST;
    }
    let mean = logs.iter().map(|l| l.0).sum::<f64>() / count;
    let spread = logs.iter().map(|l| (l.0 - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let excess = spread - logs.iter().map(|l| l.1).sum::<f64>() / count;
    if excess <= trigamma(0.5 * MOST) {
        return MOST;
    }
    let (mut low, mut high) = (0.5f64.ln(), (0.5 * MOST).ln());
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if trigamma(middle.exp()) > excess { low = middle } else { high = middle }
    }
    2.0 * low.exp()
}

/// psi'(x) by recurrence and its asymptotic series.
fn trigamma(mut x: f64) -> f64 {
    let mut sum = 0.0;
    while x < 10.0 {
        sum += 1.0 / (x * x);
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    sum + 1.0 / x + 0.5 * y + y / x * (1.0 / 6.0 - y * (1.0 / 30.0 - y * (1.0 / 42.0 - y / 30.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trigamma_is_known_at_one_and_a_half() {
        assert!((trigamma(1.0) - std::f64::consts::PI.powi(2) / 6.0).abs() < 1e-12);
        assert!((trigamma(0.5) - std::f64::consts::PI.powi(2) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn equal_variances_are_shrunk_hard_and_unequal_ones_are_not() {
        let even: Vec<(f64, f64)> = (0..40).map(|t| (49.0 * (1.0 + 0.01 * (t % 3) as f64), 49.0)).collect();
        let uneven: Vec<(f64, f64)> = (0..40).map(|t| (49.0 * (1.0 + t as f64), 49.0)).collect();
        assert!(prior_rows(&even) > 1000.0);
        assert!(prior_rows(&uneven) < 10.0);
    }
}
