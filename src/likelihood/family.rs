//! Families of targets that are not Gaussian: how likely a row is at a linear predictor.

use crate::linalg::normal_rule;
use statrs::function::erf::erfc;
use statrs::function::gamma::ln_gamma;
use std::f64::consts::FRAC_1_SQRT_2;

const LOG_ROOT_2_PI: f64 = 0.918_938_533_204_672_7;

/// A row's log density as a function of its linear predictor, with its first and second derivative there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Local {
    /// Log density, all constants included.
    pub value: f64,
    /// Its derivative.
    pub slope: f64,
    /// Its second derivative with the sign changed.
    pub curvature: f64,
}

/// The distribution of a target y of weight v given its linear predictor eta = x' w, concave in eta.
///
/// ```
/// use cognate::{Family, Poisson};
/// let at = Poisson.at(3.0, 1.0, 0.5);
/// assert!((at.slope - (3.0 - 0.5f64.exp())).abs() < 1e-15);
/// ```
pub trait Family: std::fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// ln p(y | eta) and its derivatives.
    fn at(&self, y: f64, weight: f64, eta: f64) -> Local;

    /// E(y | eta).
    fn mean(&self, eta: f64) -> f64;

    /// Var(y | eta) of a target of that weight.
    fn variance(&self, weight: f64, eta: f64) -> f64;

    /// A predictor at which y is not unlikely.
    fn start(&self, y: f64, weight: f64) -> f64;

    /// What is wrong with a target of that weight, if anything.
    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str>;

    /// The expectations of value, slope and curvature over eta ~ N(mean, sd^2), by Gauss-Hermite quadrature unless they are known.
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        if sd == 0.0 {
            return self.at(y, weight, mean);
        }
        normal_rule().iter().fold(Local { value: 0.0, slope: 0.0, curvature: 0.0 }, |sum, (z, v)| {
            let own = self.at(y, weight, mean + sd * z);
            Local { value: sum.value + v * own.value, slope: sum.slope + v * own.slope, curvature: sum.curvature + v * own.curvature }
        })
    }
}

/// What is known of a new target whose linear predictor is N(mean, sd^2), by Gauss-Hermite quadrature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    pub family: &'static dyn Family,
    pub weight: f64,
    pub mean: f64,
    pub sd: f64,
}

impl Outlook {
    fn average(&self, f: impl Fn(f64) -> f64) -> f64 {
        normal_rule().iter().map(|(z, v)| v * f(self.mean + self.sd * z)).sum()
    }

    /// E y and its standard deviation.
    pub(crate) fn moments(&self) -> (f64, f64) {
        let mean = self.average(|eta| self.family.mean(eta));
        let between = self.average(|eta| (self.family.mean(eta) - mean).powi(2));
        (mean, (between + self.average(|eta| self.family.variance(self.weight, eta))).sqrt())
    }

    /// E(y | eta) at the ends of eta's central interval, which reaches so many standard deviations.
    pub(crate) fn interval(&self, reach: f64) -> (f64, f64) {
        (self.family.mean(self.mean - reach * self.sd), self.family.mean(self.mean + reach * self.sd))
    }

    /// ln E p(y | eta), by nodes about the peak of the integrand, which may be far narrower than eta's distribution.
    pub(crate) fn log_density(&self, y: f64) -> f64 {
        let square = self.sd * self.sd;
        if square == 0.0 {
            return self.family.at(y, self.weight, self.mean).value;
        }
        let log_integrand = |eta: f64| self.family.at(y, self.weight, eta).value - 0.5 * (eta - self.mean).powi(2) / square;
        let (mut peak, mut height) = (self.mean, log_integrand(self.mean));
        let mut own = self.family.at(y, self.weight, peak);
        for _ in 0..50 {
            let mut step = (own.slope - (peak - self.mean) / square) / (own.curvature + square.recip());
            while step.abs() > 1e-9 && log_integrand(peak + step).partial_cmp(&height) != Some(std::cmp::Ordering::Greater) {
                step *= 0.5;
            }
            if step.abs() <= 1e-9 {
                break;
            }
            peak += step;
            (own, height) = (self.family.at(y, self.weight, peak), log_integrand(peak));
        }
        let width = (own.curvature + square.recip()).sqrt().recip();
        let sum: f64 = normal_rule().iter().map(|(z, v)| v * (log_integrand(peak + width * z) - height + 0.5 * z * z).exp()).sum();
        height + (width / self.sd).ln() + sum.ln()
    }
}

/// The families that a model file may name.
pub(crate) fn family(name: &str) -> Option<&'static dyn Family> {
    const FAMILIES: [&dyn Family; 3] = [&Binomial { link: Link::Logit }, &Binomial { link: Link::Probit }, &Poisson];
    FAMILIES.into_iter().find(|family| family.name() == name)
}

/// How a probability follows from the linear predictor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Link {
    /// 1 / (1 + exp(-eta)).
    #[default]
    Logit,
    /// Phi(eta), the normal distribution function.
    Probit,
}

/// Successes among `weight` trials, of which y is the share (as R's glm has it); 0 or 1 of weight 1 is a Bernoulli target.
///
/// ```
/// use cognate::{Binomial, Family, Link};
/// let logit = Binomial { link: Link::Logit };
/// assert_eq!(logit.mean(0.0), 0.5);
/// // Two of three: ln(3 (1/2)^3).
/// assert!((logit.at(2.0 / 3.0, 3.0, 0.0).value - (3.0f64 / 8.0).ln()).abs() < 1e-14);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Binomial {
    /// How the probability of a success follows from eta.
    pub link: Link,
}

/// Counts with E y = exp(eta); a row of weight v counts v times.
///
/// ```
/// use cognate::{Family, Poisson};
/// assert_eq!(Poisson.mean(0.0), 1.0);
/// assert!((Poisson.at(0.0, 1.0, 0.0).value + 1.0).abs() < 1e-15);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Poisson;

impl Family for Binomial {
    fn name(&self) -> &'static str {
        match self.link {
            Link::Logit => "binomial",
            Link::Probit => "probit",
        }
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let ways =
            if weight == 1.0 { 0.0 } else { ln_gamma(weight + 1.0) - ln_gamma(weight * y + 1.0) - ln_gamma(weight * (1.0 - y) + 1.0) };
        let (won, lost) = (weight * y, weight * (1.0 - y));
        match self.link {
            Link::Logit => {
                let small = (-eta.abs()).exp();
                let p = if eta >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
                let log_sum = eta.max(0.0) + small.ln_1p();
                let curvature = weight * small / (1.0 + small).powi(2);
                Local { value: ways + won * eta - weight * log_sum, slope: won - weight * p, curvature }
            }
            Link::Probit => {
                let (log_p, up) = log_normal_tail(eta);
                let (log_q, down) = log_normal_tail(-eta);
                Local {
                    value: ways + won * log_p + lost * log_q,
                    slope: won * up - lost * down,
                    curvature: won * up * (eta + up) + lost * down * (down - eta),
                }
            }
        }
    }

    fn mean(&self, eta: f64) -> f64 {
        match self.link {
            Link::Logit => 1.0 / (1.0 + (-eta).exp()),
            Link::Probit => 0.5 * erfc(-eta * FRAC_1_SQRT_2),
        }
    }

    fn variance(&self, weight: f64, eta: f64) -> f64 {
        self.mean(eta) * self.mean(-eta) / weight
    }

    fn start(&self, y: f64, weight: f64) -> f64 {
        let share = (weight * y + 0.5) / (weight + 1.0);
        (share / (1.0 - share)).ln() * if self.link == Link::Probit { 0.6 } else { 1.0 }
    }

    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str> {
        let successes = weight * y;
        match () {
            _ if !(0.0..=1.0).contains(&y) => Some("is no share of successes; give 0 or 1, or a share with the number of trials as weight"),
            _ if (successes - successes.round()).abs() > 1e-6 * weight.max(1.0) => {
                Some("times its weight is no whole number of successes; give the number of trials as weight")
            }
            _ => None,
        }
    }
}

/// ln Phi(x) and phi(x) / Phi(x), also far below 0, where Phi is 0 to double precision.
fn log_normal_tail(x: f64) -> (f64, f64) {
    let log_density = -0.5 * x * x - LOG_ROOT_2_PI;
    if x < -25.0 {
        // Phi(x) = phi(x) / |x| (1 - 1 / x^2 + 3 / x^4 - ..).
        let y = 1.0 / (x * x);
        let series = 1.0 - y * (1.0 - y * (3.0 - y * (15.0 - 105.0 * y)));
        return (log_density + (series / -x).ln(), -x / series);
    }
    let p = 0.5 * erfc(-x * FRAC_1_SQRT_2);
    (p.ln(), (log_density - p.ln()).exp())
}

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A family and targets with their weights.
    type Case = (&'static dyn Family, [(f64, f64); 3]);

    const FAMILIES: [Case; 3] = [
        (&Binomial { link: Link::Logit }, [(0.0, 1.0), (1.0, 1.0), (0.25, 8.0)]),
        (&Binomial { link: Link::Probit }, [(0.0, 1.0), (1.0, 1.0), (0.25, 8.0)]),
        (&Poisson, [(0.0, 1.0), (4.0, 1.0), (2.0, 3.0)]),
    ];

    /// Shares and counts that may occur, with their weight, sum to probability one; the mean is theirs.
    #[test]
    fn densities_sum_to_one_and_have_the_mean() {
        for eta in [-2.0, 0.3, 1.5] {
            for (family, _) in FAMILIES {
                let support: Vec<(f64, f64)> = match family.name() {
                    "poisson" => (0..60).map(|y| (y as f64, 1.0)).collect(),
                    _ => (0..=7).map(|won| (won as f64 / 7.0, 7.0)).collect(),
                };
                let p: Vec<f64> = support.iter().map(|(y, v)| family.at(*y, *v, eta).value.exp()).collect();
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{family:?} at {eta}");
                let mean: f64 = p.iter().zip(&support).map(|(p, (y, _))| p * y).sum();
                let variance: f64 = p.iter().zip(&support).map(|(p, (y, _))| p * (y - mean).powi(2)).sum();
                assert!((mean - family.mean(eta)).abs() < 1e-12);
                assert!((variance - family.variance(support[0].1, eta)).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn slopes_and_curvatures_are_derivatives_and_expectations_those_of_the_rule() {
        for (family, targets) in FAMILIES {
            for (y, v) in targets {
                assert!(family.refuses(y, v).is_none());
                for eta in [-30.0, -24.9, -3.0, 0.0, 0.7, 4.0, 26.0] {
                    let step = 1e-4;
                    let (low, own, high) = (family.at(y, v, eta - step), family.at(y, v, eta), family.at(y, v, eta + step));
                    let scale = 1.0 + own.slope.abs() + own.curvature.abs();
                    assert!(((high.value - low.value) / (2.0 * step) - own.slope).abs() < 1e-6 * scale, "{family:?} {y} at {eta}");
                    assert!(((low.slope - high.slope) / (2.0 * step) - own.curvature).abs() < 1e-6 * scale, "{family:?} {y} at {eta}");
                    assert!(own.curvature >= 0.0);
                }
                let expected = family.expected(y, v, 0.4, 0.8);
                let by_rule =
                    |part: fn(Local) -> f64| normal_rule().iter().map(|(z, w)| w * part(family.at(y, v, 0.4 + 0.8 * z))).sum::<f64>();
                assert!((expected.value - by_rule(|own| own.value)).abs() < 1e-9);
                assert!((expected.slope - by_rule(|own| own.slope)).abs() < 1e-9);
                assert!((expected.curvature - by_rule(|own| own.curvature)).abs() < 1e-9);
            }
        }
    }

    /// Against sums over the support with 4,000 equal steps of the predictor.
    #[test]
    fn outlooks_average_over_the_predictor() {
        let outlook = Outlook { family: family("poisson").unwrap(), weight: 1.0, mean: 0.4, sd: 0.7 };
        let steps: Vec<(f64, f64)> = (0..4000)
            .map(|k| {
                let z = (f64::from(k) + 0.5) / 250.0 - 8.0;
                (outlook.mean + outlook.sd * z, (-0.5 * z * z - LOG_ROOT_2_PI).exp() / 250.0)
            })
            .collect();
        let p = |y: f64| steps.iter().map(|(eta, v)| v * Poisson.at(y, 1.0, *eta).value.exp()).sum::<f64>();
        let all: Vec<f64> = (0..400).map(|y| p(f64::from(y))).collect();
        let mean: f64 = all.iter().enumerate().map(|(y, p)| y as f64 * p).sum();
        let variance: f64 = all.iter().enumerate().map(|(y, p)| (y as f64 - mean).powi(2) * p).sum();
        let (found, sd) = outlook.moments();
        assert!((found - mean).abs() < 1e-8 && (sd - variance.sqrt()).abs() < 1e-6, "{found} {sd}");
        assert!((outlook.log_density(3.0) - all[3].ln()).abs() < 1e-8);
        assert!(family("gaussian").is_none());
        // A count that is far more certain of its rate than what is known of it.
        let wide = Outlook { mean: 2.0, sd: 1.5, ..outlook };
        let step = 1e-4;
        let density = |eta: f64| (Poisson.at(1000.0, 1.0, eta).value - 0.5 * ((eta - 2.0) / 1.5).powi(2)).exp();
        let sum: f64 = (0..40_000).map(|k| step * density(5.0 + step * f64::from(k))).sum();
        let expected = sum.ln() - LOG_ROOT_2_PI - 1.5f64.ln();
        assert!((wide.log_density(1000.0) - expected).abs() < 1e-6, "{} {expected}", wide.log_density(1000.0));
    }

    #[test]
    fn targets_outside_a_family_are_refused() {
        assert!(Binomial::default().refuses(1.5, 1.0).is_some());
        assert!(Binomial::default().refuses(0.3, 1.0).is_some());
        assert!(Poisson.refuses(-1.0, 1.0).is_some());
        assert!(Poisson.refuses(0.5, 1.0).is_some());
    }
}
