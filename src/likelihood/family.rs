//! Families of targets, row by row: how likely a row is at a linear predictor.

use super::{Binomial, Gamma, Link, NegativeBinomial, Normal, Ordinal, Poisson, StudentT};
use crate::linalg::{normal_rule_of, scale_free_rule};
use std::fmt::Debug;
use std::sync::Arc;

pub(super) const LOG_ROOT_2_PI: f64 = 0.918_938_533_204_672_7;

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

/// The distribution of a target y of weight v given its linear predictor eta = x' w + offset.
///
/// A value of such a type is the family at one dispersion; [`Family::with_dispersion`] gives it at another.
///
/// ```
/// use cognate::{Family, Poisson};
/// let at = Poisson.at(3.0, 1.0, 0.5);
/// assert!((at.slope - (3.0 - 0.5f64.exp())).abs() < 1e-15);
/// assert!(Poisson.dispersion().is_empty());
/// ```
pub trait Family: Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// ln p(y | eta) and its derivatives.
    fn at(&self, y: f64, weight: f64, eta: f64) -> Local;

    /// E(y | eta).
    fn mean(&self, eta: f64) -> f64;

    /// Var(y | eta) of a target of that weight.
    fn variance(&self, weight: f64, eta: f64) -> f64;

    /// P(Y <= y | eta) of a target of that weight, between whole numbers interpolated; none where an interval of targets means
    /// little, as for shares and levels.
    fn cumulative(&self, y: f64, weight: f64, eta: f64) -> Option<f64>;

    /// Whether targets are whole numbers.
    fn is_whole(&self) -> bool {
        false
    }

    /// Whether a target may lie at an end of its range, where the likeliest predictor is infinite.
    fn has_ends(&self) -> bool {
        self.is_whole()
    }

    /// Whether the predictor is in the unit of the target, so that nothing is known of its size; logits and logarithms have a scale of their own.
    fn has_unit(&self) -> bool {
        false
    }

    /// Unit deviance of a target where its mean was expected, twice the log density lost against the best mean (of weight 1, and in units of
    /// the dispersion where that only scales it); none where that means little.
    fn deviance(&self, _y: f64, _mean: f64) -> Option<f64> {
        None
    }

    /// A predictor at which y is not unlikely.
    fn start(&self, y: f64, weight: f64) -> f64;

    /// What is wrong with a target of that weight, if anything.
    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str>;

    /// What is wrong with a target of that weight once the dispersion is learned, if anything: as [`Family::refuses`] where the dispersion does not say which targets there are.
    fn refuses_later(&self, y: f64, weight: f64) -> Option<&'static str> {
        self.refuses(y, weight)
    }

    /// The expectations of value, slope and curvature over eta ~ N(mean, sd^2), by Gauss-Hermite quadrature unless they are known.
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        expected_by_rule(self, y, weight, mean, sd)
    }

    /// The positive numbers beside the mean that decide its spread or shape; empty where there are none.
    fn dispersion(&self) -> Vec<f64> {
        Vec::new()
    }

    /// What they are called.
    fn dispersion_names(&self) -> Vec<String> {
        Vec::new()
    }

    /// The family at other such numbers (as many as [`Family::dispersion`] has); none where there are none.
    fn with_dispersion(&self, _values: &[f64]) -> Option<Arc<dyn Family>> {
        None
    }

    /// The family at a dispersion to start from, given all targets and their weights; none where there is none.
    fn begin(&self, _targets: &[f64], _weights: &[f64]) -> Option<Arc<dyn Family>> {
        None
    }

    /// Adds the derivative of [`Family::expected`]'s value by the logarithm of each number of the dispersion.
    fn add_dispersion_slope(&self, _y: f64, _weight: f64, _mean: f64, _sd: f64, _sum: &mut [f64]) {}

    /// Whether its log density is concave in the predictor.
    fn is_concave(&self) -> bool {
        true
    }
}

/// What [`Family::expected`] is unless it is known.
pub(super) fn expected_by_rule<F: Family + ?Sized>(family: &F, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
    if sd == 0.0 {
        return family.at(y, weight, mean);
    }
    let rule = if family.has_unit() { normal_rule_of(sd) } else { scale_free_rule(sd) };
    rule.iter().fold(Local { value: 0.0, slope: 0.0, curvature: 0.0 }, |sum, (z, v)| {
        let own = family.at(y, weight, mean + sd * z);
        Local { value: sum.value + v * own.value, slope: sum.slope + v * own.slope, curvature: sum.curvature + v * own.curvature }
    })
}

/// Names of the families that the command line knows; `bernoulli` is `binomial` of single trials.
pub(crate) const NAMES: [&str; 8] = ["bernoulli", "binomial", "probit", "poisson", "negative-binomial", "gamma", "student", "ordinal"];

/// The family of that name (`normal` among them), at a dispersion (its own first one where `dispersion` is empty).
pub(crate) fn by_name(name: &str, dispersion: &[f64]) -> Option<Arc<dyn Family>> {
    let family: Arc<dyn Family> = match name {
        "bernoulli" | "binomial" => Arc::new(Binomial { link: Link::Logit }),
        "probit" => Arc::new(Binomial { link: Link::Probit }),
        "poisson" => Arc::new(Poisson),
        "negative-binomial" => Arc::new(NegativeBinomial::default()),
        "gamma" => Arc::new(Gamma::default()),
        "student" => Arc::new(StudentT::default()),
        "ordinal" => Arc::new(Ordinal::default()),
        "normal" => Arc::new(Normal::default()),
        _ => return None,
    };
    Some(if dispersion.is_empty() { family } else { family.with_dispersion(dispersion).unwrap_or(family) })
}

/// All families that the command line knows, the Gaussian row by row among them, by name.
pub(crate) fn all() -> Vec<(&'static str, Arc<dyn Family>)> {
    let gaussian: Arc<dyn Family> = Arc::new(Normal::default());
    std::iter::once(("gaussian", gaussian)).chain(NAMES.iter().filter_map(|name| Some((*name, by_name(name, &[])?)))).collect()
}

/// y ln(y / mean), 0 for y = 0.
pub(super) fn log_ratio(y: f64, mean: f64) -> f64 {
    if y == 0.0 { 0.0 } else { y * (y / mean).ln() }
}

/// Mean and variance of numbers with weights.
pub(super) fn weighted_moments(values: &[f64], weights: &[f64]) -> (f64, f64) {
    let total: f64 = weights.iter().sum();
    let mean = values.iter().zip(weights).map(|(y, v)| y * v).sum::<f64>() / total;
    let variance = values.iter().zip(weights).map(|(y, v)| v * (y - mean).powi(2)).sum::<f64>() / total;
    (mean, variance)
}

#[cfg(test)]
mod tests {
    use super::super::Outlook;
    use super::*;

    /// A family and targets with their weights.
    type Case = (Box<dyn Family>, [(f64, f64); 3]);

    /// Counts of next to no dispersion are Poisson, t of many degrees of freedom is normal.
    #[test]
    fn families_have_their_limits() {
        for y in [0.0, 3.0, 500.0] {
            let own = NegativeBinomial { dispersion: 1e-9 }.at(y, 1.0, 1.1);
            let limit = Poisson.at(y, 1.0, 1.1);
            assert!((own.value - limit.value).abs() < 1e-3 && (own.slope - limit.slope).abs() < 1e-5 && own.slope.is_finite());
        }
        let (own, limit) = (StudentT { scale2: 2.0, freedom: 1e6 }.at(1.7, 1.0, 0.2), Normal { variance: 2.0 }.at(1.7, 1.0, 0.2));
        assert!((own.value - limit.value).abs() < 1e-5 && (own.slope - limit.slope).abs() < 1e-5);
    }

    /// A fifth of probability below the interval's lower end, for a count at most.
    #[test]
    fn intervals_hold_their_probability() {
        let families: [Box<dyn Family>; 6] = [
            Box::new(Poisson),
            Box::new(NegativeBinomial { dispersion: 0.4 }),
            Box::new(NegativeBinomial { dispersion: 0.01 }),
            Box::new(Gamma { dispersion: 0.3 }),
            Box::new(StudentT { scale2: 1.5, freedom: 4.0 }),
            Box::new(Normal { variance: 2.0 }),
        ];
        for family in families {
            let outlook = Outlook {
                family: family.with_dispersion(&family.dispersion()).unwrap_or(Arc::new(Poisson)),
                weight: 1.0,
                mean: 1.3,
                sd: 0.6,
            };
            let (low, high) = outlook.interval(0.6);
            let at = |y: f64| outlook.cumulative(y).unwrap();
            if family.is_whole() {
                assert!(at(low) >= 0.2 && at(low - 1.0) < 0.2 && at(high) >= 0.8 && at(high - 1.0) < 0.8, "{family:?} {low} {high}");
            } else {
                assert!((at(low) - 0.2).abs() < 1e-3 && (at(high) - 0.8).abs() < 1e-3, "{family:?} {low} {high}");
            }
        }
    }

    /// Against sums over the support with 4,000 equal steps of the predictor.
    #[test]
    fn outlooks_average_over_the_predictor() {
        let outlook = Outlook { family: Arc::new(Poisson), weight: 1.0, mean: 0.4, sd: 0.7 };
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
        assert!(by_name("gaussian", &[]).is_none());
        // A count that is far more certain of its rate than what is known of it.
        let wide = Outlook { mean: 2.0, sd: 1.5, ..outlook.clone() };
        let step = 1e-4;
        let density = |eta: f64| (Poisson.at(1000.0, 1.0, eta).value - 0.5 * ((eta - 2.0) / 1.5).powi(2)).exp();
        let sum: f64 = (0..40_000).map(|k| step * density(5.0 + step * f64::from(k))).sum();
        let expected = sum.ln() - LOG_ROOT_2_PI - 1.5f64.ln();
        assert!((wide.log_density(1000.0) - expected).abs() < 1e-6, "{} {expected}", wide.log_density(1000.0));
    }

    /// R's poisson()$dev.resids and the like, of the negative binomial twice the difference of dnbinom's logarithms.
    #[test]
    fn deviances_are_those_of_r() {
        let cases: Vec<(Case, f64)> = vec![
            ((Box::new(Poisson), [(0.0, 5.0), (3.0, 0.093_929_340_763_727_61), (9.0, 10.056_809_218_317_156)]), 2.5),
            ((Box::new(Gamma::default()), [(0.1, 4.517_751_649_736_401), (2.5, 0.0), (9.0, 2.638_132_309_075_871_7)]), 2.5),
            (
                (
                    Box::new(Binomial::default()),
                    [(0.0, 0.713_349_887_877_464_8), (0.25, 0.012_328_528_833_449_828), (1.0, 2.407_945_608_651_872)],
                ),
                0.3,
            ),
            (
                (
                    Box::new(NegativeBinomial { dispersion: 0.4 }),
                    [(0.0, 3.465_735_902_799_726_5), (3.0, 0.045_517_362_916_154_27), (9.0, 3.899_899_390_809_765_4)],
                ),
                2.5,
            ),
        ];
        for ((family, targets), mean) in cases {
            for (y, expected) in targets {
                let found = family.deviance(y, mean).unwrap();
                assert!((found - expected).abs() < 1e-14 * (1.0 + expected), "{family:?} {y}: {found} {expected}");
            }
        }
        assert_eq!(Normal::default().deviance(3.0, 1.0), Some(4.0));
        let (near, limit) = (NegativeBinomial { dispersion: 1e-9 }.deviance(3.0, 2.5).unwrap(), Poisson.deviance(3.0, 2.5).unwrap());
        assert!((near - limit).abs() < 1e-8, "{near} {limit}");
        assert!(StudentT::default().deviance(3.0, 1.0).is_none() && Ordinal::default().deviance(3.0, 1.0).is_none());
    }

    #[test]
    fn targets_outside_a_family_are_refused() {
        assert!(Binomial::default().refuses(1.5, 1.0).is_some());
        assert!(Binomial::default().refuses(0.3, 1.0).is_some());
        assert!(Poisson.refuses(-1.0, 1.0).is_some());
        assert!(Poisson.refuses(0.5, 1.0).is_some());
        assert!(Gamma::default().refuses(0.0, 1.0).is_some());
        assert!(Ordinal::default().refuses(0.0, 1.0).is_some());
    }
}
