//! Gaussian targets row by row, beside tasks of other families.

use super::family::{Family, LOG_ROOT_2_PI, Local, weighted_moments};
use statrs::function::erf::erfc;
use std::f64::consts::FRAC_1_SQRT_2;
use std::sync::Arc;

/// y ~ N(eta, variance / weight). [`Gaussian`](crate::Gaussian) is the same from sums of rows, which is much faster.
///
/// ```
/// use cognate::{Family, Normal};
/// assert_eq!(Normal { variance: 4.0 }.at(1.0, 1.0, 0.0).slope, 0.25);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Normal {
    /// Variance of a target of weight 1.
    pub variance: f64,
}

impl Default for Normal {
    fn default() -> Self {
        Normal { variance: 1.0 }
    }
}

impl Family for Normal {
    fn name(&self) -> &'static str {
        "normal"
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        self.expected(y, weight, eta, 0.0)
    }

    fn mean(&self, eta: f64) -> f64 {
        eta
    }

    fn variance(&self, weight: f64, _: f64) -> f64 {
        self.variance / weight
    }

    fn cumulative(&self, y: f64, weight: f64, eta: f64) -> Option<f64> {
        Some(0.5 * erfc((eta - y) * (weight / self.variance).sqrt() * FRAC_1_SQRT_2))
    }

    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        Some((y - mean).powi(2))
    }

    fn start(&self, y: f64, _: f64) -> f64 {
        y
    }

    fn has_unit(&self) -> bool {
        true
    }

    fn refuses(&self, _: f64, _: f64) -> Option<&'static str> {
        None
    }

    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        let (precision, rest) = (weight / self.variance, y - mean);
        let value = 0.5 * precision.ln() - LOG_ROOT_2_PI - 0.5 * precision * (rest * rest + sd * sd);
        Local { value, slope: precision * rest, curvature: precision }
    }

    fn dispersion(&self) -> Vec<f64> {
        vec![self.variance]
    }

    fn dispersion_names(&self) -> Vec<String> {
        vec!["noise variance".into()]
    }

    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        Some(Arc::new(Normal { variance: values[0].max(1e-200) }))
    }

    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        self.with_dispersion(&[0.5 * weighted_moments(targets, weights).1])
    }

    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let rest = y - mean;
        sum[0] += 0.5 * (weight / self.variance * (rest * rest + sd * sd) - 1.0);
    }
}
