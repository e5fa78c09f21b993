//! Targets with outliers: Student's t.

use super::family::{Family, Local, weighted_moments};
use crate::linalg::normal_rule_of;
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::gamma::{digamma, ln_gamma};
use std::f64::consts::PI;
use std::sync::Arc;

/// y = eta + sqrt(scale2 / weight) times Student's t of `freedom` degrees of freedom, at least 2.1 so that it has a variance.
///
/// Far outliers pull the less the farther they are; the curvature of a row is negative where z^2 > freedom, that of a task's rows hardly
/// ever.
///
/// ```
/// use cognate::{Family, StudentT};
/// let t = StudentT { scale2: 1.0, freedom: 4.0 };
/// // The slope, which pulls the predictor, is less for an outlier.
/// assert!(t.at(10.0, 1.0, 0.0).slope < t.at(2.0, 1.0, 0.0).slope);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct StudentT {
    /// Square of the scale of a target of weight 1.
    pub scale2: f64,
    /// Degrees of freedom.
    pub freedom: f64,
}

/// Fewest degrees of freedom.
const LEAST: f64 = 2.1;

/// Most: Gaussian to all intents.
const MOST: f64 = 1e6;

impl Default for StudentT {
    fn default() -> Self {
        StudentT { scale2: 1.0, freedom: 8.0 }
    }
}

impl StudentT {
    fn distribution(&self) -> StudentsT {
        StudentsT::new(0.0, 1.0, self.freedom).expect("its degrees of freedom are positive")
    }
}

impl Family for StudentT {
    fn name(&self) -> &'static str {
        "student"
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let (nu, precision, rest) = (self.freedom, weight / self.scale2, y - eta);
        let square = precision * rest * rest;
        let normal = ln_gamma(0.5 * (nu + 1.0)) - ln_gamma(0.5 * nu) + 0.5 * (precision / (nu * PI)).ln();
        let lambda = (nu + 1.0) / (nu + square);
        Local {
            value: normal - 0.5 * (nu + 1.0) * (square / nu).ln_1p(),
            slope: lambda * precision * rest,
            curvature: lambda * precision * (nu - square) / (nu + square),
        }
    }

    fn mean(&self, eta: f64) -> f64 {
        eta
    }

    fn variance(&self, weight: f64, _: f64) -> f64 {
        self.scale2 / weight * self.freedom / (self.freedom - 2.0)
    }

    fn cumulative(&self, y: f64, weight: f64, eta: f64) -> Option<f64> {
        Some(self.distribution().cdf((y - eta) * (weight / self.scale2).sqrt()))
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

    fn dispersion(&self) -> Vec<f64> {
        vec![self.scale2, self.freedom]
    }

    fn dispersion_names(&self) -> Vec<String> {
        vec!["squared scale".into(), "degrees of freedom".into()]
    }

    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        Some(Arc::new(StudentT { scale2: values[0].max(1e-200), freedom: values[1].clamp(LEAST, MOST) }))
    }

    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        self.with_dispersion(&[0.4 * weighted_moments(targets, weights).1, 8.0])
    }

    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let nu = self.freedom;
        let normal = digamma(0.5 * (nu + 1.0)) - digamma(0.5 * nu) - 1.0 / nu;
        let (mut by_scale, mut by_freedom) = (0.0, 0.0);
        for (z, v) in normal_rule_of(sd).iter() {
            let square = weight * (y - mean - sd * z).powi(2) / self.scale2;
            let lambda = (nu + 1.0) / (nu + square);
            by_scale += v * 0.5 * (lambda * square - 1.0);
            by_freedom += v * 0.5 * (normal - (square / nu).ln_1p() + lambda * square / nu);
        }
        sum[0] += by_scale;
        sum[1] += nu * by_freedom;
    }

    fn is_concave(&self) -> bool {
        false
    }
}
