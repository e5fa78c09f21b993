//! What is known of a new target: its distribution averaged over that of its linear predictor.

use super::family::Family;
use crate::linalg::{normal_rule, normal_rule_of};
use statrs::distribution::{ContinuousCDF, Normal};
use std::sync::Arc;

/// What is known of a new target whose linear predictor is N(mean, sd^2), by Gauss-Hermite quadrature.
#[derive(Clone, Debug)]
pub(crate) struct Outlook {
    pub family: Arc<dyn Family>,
    pub weight: f64,
    pub mean: f64,
    pub sd: f64,
}

impl Outlook {
    fn average(&self, f: impl Fn(f64) -> f64) -> f64 {
        normal_rule_of(self.sd).iter().map(|(z, v)| v * f(self.mean + self.sd * z)).sum()
    }

    /// E y and its standard deviation.
    pub(crate) fn moments(&self) -> (f64, f64) {
        // The chance of one success is that of a threshold, also where the rule is too coarse for it.
        let one = Outlook { weight: 1.0, ..self.clone() };
        let success = if self.is_share() { one.at_most(0.0).map(|failure| 1.0 - failure) } else { None };
        let mean = success.unwrap_or_else(|| self.average(|eta| self.family.mean(eta)));
        if !mean.is_finite() {
            return (mean, f64::INFINITY);
        }
        let between = self.average(|eta| (self.family.mean(eta) - mean).powi(2));
        (mean, (between + self.average(|eta| self.family.variance(self.weight, eta))).sqrt())
    }

    /// What is wrong with a target, if anything.
    pub(crate) fn refuses(&self, y: f64) -> Option<&'static str> {
        self.family.refuses_later(y, self.weight)
    }

    /// The central interval of that probability: of the target, or where that means little of E(y | eta).
    pub(crate) fn interval(&self, level: f64) -> (f64, f64) {
        let ends = self.quantile(0.5 - 0.5 * level).zip(self.quantile(0.5 + 0.5 * level));
        // Beyond 1e15 there are no whole numbers, and distribution functions of double precision may fall.
        ends.filter(|(low, high)| low <= high).unwrap_or_else(|| {
            let reach = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
            (self.family.mean(self.mean - reach * self.sd), self.family.mean(self.mean + reach * self.sd))
        })
    }

    /// Whether targets are shares of trials.
    pub(crate) fn is_share(&self) -> bool {
        self.family.has_ends() && !self.family.is_whole()
    }

    /// P(Y <= y); none where the family has none.
    pub(crate) fn cumulative(&self, y: f64) -> Option<f64> {
        self.family.cumulative(y, self.weight, self.mean)?;
        self.at_most(y)
    }

    /// The smallest y with P(Y <= y) >= p, to a thousandth of the standard deviation or nine digits.
    fn quantile(&self, p: f64) -> Option<f64> {
        const STEPS: usize = 100;
        let side = |y: f64| self.cumulative(y).map(|own| own - p);
        let (mut low, mut high) = self.bracket(p, &side)?;
        let sd = self.moments().1;
        let tolerance = (1e-3 * if self.family.is_whole() { sd.min(1.0) } else { sd }).min(1e-3 * (high - low)).max(1e-9 * high.abs());
        // False position, halving the weight of an end that stays (Illinois).
        let (mut below, mut above) = (side(low)?, side(high)?);
        for step in 0..STEPS {
            if high - low <= tolerance {
                break;
            }
            let mut middle = (low * above - high * below) / (above - below);
            if !(middle > low && middle < high) || step % 3 == 2 {
                middle = 0.5 * (low + high);
            }
            let own = side(middle)?;
            if own < 0.0 {
                (low, below, above) = (middle, own, 0.5 * above);
            } else {
                (high, above, below) = (middle, own, 0.5 * below);
            }
        }
        if !self.family.is_whole() {
            return Some(0.5 * (low + high));
        }
        let whole = low.ceil();
        Some(if side(whole)? < 0.0 { whole + 1.0 } else { whole + 0.0 })
    }

    /// Two targets between which that quantile is, given by how much the distribution function there is above p.
    fn bracket(&self, p: f64, side: &dyn Fn(f64) -> Option<f64>) -> Option<(f64, f64)> {
        const FAR: f64 = 1e300;
        // On a log scale targets are positive, and moments may be far beyond any quantile.
        if self.family.mean(-800.0) == 0.0 {
            let typical = self.family.mean(self.mean + Normal::standard().inverse_cdf(p) * self.sd).clamp(1.0 / FAR, FAR);
            let (mut low, mut high) =
                (if self.family.is_whole() { -1.0 } else { 0.0 }, 2.0 * if self.family.is_whole() { typical.max(1.0) } else { typical });
            while side(high)? < 0.0 {
                low = high;
                high *= 4.0;
                if high > FAR {
                    return None;
                }
            }
            let mut below = 0.25 * high;
            while below > 1.0 / FAR && below > low {
                if side(below)? < 0.0 {
                    low = below;
                    break;
                }
                high = below;
                below *= 0.25;
                if self.family.is_whole() && below < 1.0 {
                    break;
                }
            }
            return Some((low, high));
        }
        let (mean, sd) = self.moments();
        if !(mean.is_finite() && sd.is_finite() && sd > 0.0) {
            return None;
        }
        let (mut low, mut high) = (mean - sd, mean + sd);
        let mut width = sd;
        while side(low)? >= 0.0 && width < 1e9 * sd {
            width *= 2.0;
            (low, high) = (low - width, low);
        }
        width = sd;
        while side(high)? < 0.0 && width < 1e9 * sd {
            width *= 2.0;
            (low, high) = (high, high + width);
        }
        Some((low, high))
    }

    /// ln E p(y | eta), by nodes about the peak of the integrand, which may be far narrower than eta's distribution.
    pub(crate) fn log_density(&self, y: f64) -> f64 {
        let square = self.sd * self.sd;
        if square == 0.0 {
            return self.family.at(y, self.weight, self.mean).value;
        }
        let log_integrand = |eta: f64| self.family.at(y, self.weight, eta).value - 0.5 * (eta - self.mean).powi(2) / square;
        // Far out Newton's steps from the mean are of length 1.
        let start = self.family.start(y, self.weight);
        let begin = if log_integrand(self.mean) >= log_integrand(start) { self.mean } else { start };
        let (mut peak, mut height) = (begin, log_integrand(begin));
        let mut own = self.family.at(y, self.weight, peak);
        for _ in 0..50 {
            let mut step = (own.slope - (peak - self.mean) / square) / (own.curvature.max(0.0) + square.recip());
            while step.abs() > 1e-9 && log_integrand(peak + step).partial_cmp(&height) != Some(std::cmp::Ordering::Greater) {
                step *= 0.5;
            }
            if step.abs() <= 1e-9 {
                break;
            }
            peak += step;
            (own, height) = (self.family.at(y, self.weight, peak), log_integrand(peak));
        }
        let width = (own.curvature.max(0.0) + square.recip()).sqrt().recip();
        let sum: f64 = normal_rule().iter().map(|(z, v)| v * (log_integrand(peak + width * z) - height + 0.5 * z * z).exp()).sum();
        height + (width / self.sd).ln() + sum.ln()
    }
}
