//! Positive targets whose standard deviation is a share of their mean.

use super::family::{Family, Local, weighted_moments};
use statrs::function::gamma::{digamma, gamma_lr, ln_gamma};
use std::sync::Arc;

/// Gamma targets with E y = exp(eta) and Var y = dispersion E(y)^2 / weight, as R's glm with a log link has them.
///
/// ```
/// use cognate::{Family, Gamma};
/// // Of dispersion 1 it is the exponential distribution.
/// let at = Gamma { dispersion: 1.0 }.at(2.0, 1.0, 0.0);
/// assert!((at.value + 2.0).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gamma {
    /// Squared coefficient of variation of a target of weight 1.
    pub dispersion: f64,
}

impl Default for Gamma {
    fn default() -> Self {
        Gamma { dispersion: 1.0 }
    }
}

impl Family for Gamma {
    fn name(&self) -> &'static str {
        "gamma"
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        self.expected(y, weight, eta, 0.0)
    }

    fn mean(&self, eta: f64) -> f64 {
        eta.exp()
    }

    fn variance(&self, weight: f64, eta: f64) -> f64 {
        self.dispersion * (2.0 * eta).exp() / weight
    }

    fn cumulative(&self, y: f64, weight: f64, eta: f64) -> Option<f64> {
        let shape = weight / self.dispersion;
        Some(match shape * y * (-eta).exp() {
            x if x > 0.0 && x.is_finite() => gamma_lr(shape, x),
            x if x == f64::INFINITY => 1.0,
            _ => 0.0,
        })
    }

    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        Some(2.0 * ((y - mean) / mean - (y / mean).ln()))
    }

    fn start(&self, y: f64, _: f64) -> f64 {
        y.ln()
    }

    fn refuses(&self, y: f64, _: f64) -> Option<&'static str> {
        (y <= 0.0).then_some("is not positive, as a gamma target must be; leave the row out, or choose another family")
    }

    /// E exp(-eta) = exp(-mean + sd^2 / 2).
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        let shape = weight / self.dispersion;
        let ratio = y * (0.5 * sd * sd - mean).exp();
        Local {
            value: shape * (shape.ln() - mean + y.ln() - ratio) - y.ln() - ln_gamma(shape),
            slope: shape * (ratio - 1.0),
            curvature: shape * ratio,
        }
    }

    fn dispersion(&self) -> Vec<f64> {
        vec![self.dispersion]
    }

    fn dispersion_names(&self) -> Vec<String> {
        vec!["squared coefficient of variation".into()]
    }

    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        Some(Arc::new(Gamma { dispersion: values[0].clamp(1e-9, 1e9) }))
    }

    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        let (mean, variance) = weighted_moments(targets, weights);
        self.with_dispersion(&[0.5 * variance / (mean * mean)])
    }

    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let shape = weight / self.dispersion;
        let ratio = y * (0.5 * sd * sd - mean).exp();
        sum[0] -= shape * (shape.ln() + 1.0 - mean + y.ln() - ratio - digamma(shape));
    }
}
