//! Counts: Poisson, and negative binomial where they spread more than that.

use super::family::{Family, Local, log_ratio, weighted_moments};
use crate::linalg::normal_rule_of;
use statrs::function::beta::beta_reg;
use statrs::function::gamma::{digamma, gamma_ur, ln_gamma};
use std::sync::Arc;

/// Counts with E y = exp(eta); a row of weight v counts v times.
///
/// ```
/// use cognate::{Family, Poisson};
/// assert_eq!(Poisson.mean(0.0), 1.0);
/// assert!((Poisson.at(0.0, 1.0, 0.0).value + 1.0).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Poisson;

impl Family for Poisson {
    fn name(&self) -> &'static str {
        "poisson"
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        self.expected(y, weight, eta, 0.0)
    }

    fn mean(&self, eta: f64) -> f64 {
        eta.exp()
    }

    fn variance(&self, weight: f64, eta: f64) -> f64 {
        eta.exp() / weight
    }

    fn cumulative(&self, y: f64, _: f64, eta: f64) -> Option<f64> {
        Some(match eta.exp() {
            rate if y <= -1.0 || rate == f64::INFINITY => 0.0,
            0.0 => 1.0,
            rate => gamma_ur(y + 1.0, rate),
        })
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        Some(2.0 * (log_ratio(y, mean) - (y - mean)))
    }

    fn start(&self, y: f64, _: f64) -> f64 {
        (y + 0.5).ln()
    }

    fn refuses(&self, y: f64, _: f64) -> Option<&'static str> {
        (y < 0.0 || y != y.round()).then_some("is no count; give a whole number from 0 on")
    }

    /// E exp(eta) = exp(mean + sd^2 / 2).
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        let rate = (mean + 0.5 * sd * sd).exp();
        Local { value: weight * (y * mean - rate - ln_gamma(y + 1.0)), slope: weight * (y - rate), curvature: weight * rate }
    }
}

/// Counts with E y = exp(eta) and Var y = E y + dispersion E(y)^2: Poisson counts whose rates spread by a gamma distribution. A row of
/// weight v counts v times.
///
/// ```
/// use cognate::{Family, NegativeBinomial};
/// assert_eq!(NegativeBinomial { dispersion: 0.5 }.variance(1.0, 2f64.ln()), 2.0 + 0.5 * 4.0);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct NegativeBinomial {
    /// Squared coefficient of variation of the rates; 1 / dispersion is called the size.
    pub dispersion: f64,
}

impl Default for NegativeBinomial {
    fn default() -> Self {
        NegativeBinomial { dispersion: 0.5 }
    }
}

/// Size from which on Stirling's series is exact to double precision.
const LARGE: f64 = 30.0;

/// ln Gamma(size + y) - ln Gamma(size) - y ln(size).
fn log_rising(size: f64, y: f64) -> f64 {
    if size < LARGE {
        return ln_gamma(size + y) - ln_gamma(size) - y * size.ln();
    }
    let rest = |x: f64| (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * x * x)) / (x * x)) / x;
    (size + y - 0.5) * (y / size).ln_1p() - y + rest(size + y) - rest(size)
}

/// Its derivative by size.
fn log_rising_slope(size: f64, y: f64) -> f64 {
    if size < LARGE {
        return digamma(size + y) - digamma(size) - y / size;
    }
    let rest = |x: f64| -(1.0 / 12.0 - (1.0 / 120.0 - 1.0 / (252.0 * x * x)) / (x * x)) / (x * x);
    (y / size).ln_1p() - y / size + 0.5 * y / (size * (size + y)) + rest(size + y) - rest(size)
}

impl Family for NegativeBinomial {
    fn name(&self) -> &'static str {
        "negative-binomial"
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let (size, rate) = (self.dispersion.recip(), eta.exp());
        // rate / size may be beyond double precision where the count is far below.
        let log_ratio = eta + self.dispersion.ln();
        let log_sum = if log_ratio > 30.0 { log_ratio } else { log_ratio.exp().ln_1p() };
        let share = if rate.is_finite() { rate / (size + rate) } else { 1.0 };
        Local {
            value: weight * (log_rising(size, y) - ln_gamma(y + 1.0) + y * eta - (y + size) * log_sum),
            slope: weight * (y - (y + size) * share),
            curvature: weight * (y + size) * share * (1.0 - share),
        }
    }

    fn mean(&self, eta: f64) -> f64 {
        eta.exp()
    }

    fn variance(&self, weight: f64, eta: f64) -> f64 {
        (eta.exp() + self.dispersion * (2.0 * eta).exp()) / weight
    }

    fn cumulative(&self, y: f64, _: f64, eta: f64) -> Option<f64> {
        let (size, rate) = (self.dispersion.recip(), eta.exp());
        Some(if y > -1.0 { beta_reg(size, y + 1.0, size / (size + rate)) } else { 0.0 })
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        // (y + size) ln((y + size) / (mean + size)), also where the size is far above both.
        let size = self.dispersion.recip();
        Some(2.0 * (log_ratio(y, mean) - (y + size) * ((y - mean) / (mean + size)).ln_1p()))
    }

    fn start(&self, y: f64, _: f64) -> f64 {
        (y + 0.5).ln()
    }

    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str> {
        Poisson.refuses(y, weight)
    }

    fn dispersion(&self) -> Vec<f64> {
        vec![self.dispersion]
    }

    fn dispersion_names(&self) -> Vec<String> {
        vec!["dispersion (variance = mean + dispersion mean^2)".into()]
    }

    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        Some(Arc::new(NegativeBinomial { dispersion: values[0].clamp(1e-9, 1e6) }))
    }

    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        let (mean, variance) = weighted_moments(targets, weights);
        self.with_dispersion(&[(0.5 * (variance - mean) / (mean * mean).max(1e-300)).clamp(0.01, 10.0)])
    }

    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let size = self.dispersion.recip();
        let rising = log_rising_slope(size, y);
        for (z, v) in normal_rule_of(sd).iter() {
            let rate = (mean + sd * z).exp();
            let rest = if rate.is_finite() { (y + size) * rate / (size * (size + rate)) } else { (y + size) / size };
            sum[0] -= v * weight * size * (rising - (rate / size).ln_1p() + rest);
        }
    }
}
