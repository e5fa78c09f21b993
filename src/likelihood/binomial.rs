//! Binomial targets: successes among trials, by logit or probit link.

use super::family::{Family, LOG_ROOT_2_PI, Local, expected_by_rule, log_ratio};
use crate::linalg::scale_free_rule;
use statrs::function::erf::erfc;
use statrs::function::gamma::ln_gamma;
use std::f64::consts::FRAC_1_SQRT_2;

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

impl Family for Binomial {
    fn name(&self) -> &'static str {
        match self.link {
            Link::Logit => "binomial",
            Link::Probit => "probit",
        }
    }

    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let ways = log_ways(y, weight);
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

    fn cumulative(&self, _: f64, _: f64, _: f64) -> Option<f64> {
        None
    }

    fn has_ends(&self) -> bool {
        true
    }

    fn deviance(&self, y: f64, mean: f64) -> Option<f64> {
        Some(2.0 * (log_ratio(y, mean) + log_ratio(1.0 - y, 1.0 - mean)))
    }

    fn start(&self, y: f64, weight: f64) -> f64 {
        let share = (weight * y + 0.5) / (weight + 1.0);
        (share / (1.0 - share)).ln() * if self.link == Link::Probit { 0.6 } else { 1.0 }
    }

    /// As the rule has it, but what does not depend on the predictor is found once.
    fn expected(&self, y: f64, weight: f64, mean: f64, sd: f64) -> Local {
        if sd == 0.0 || self.link == Link::Probit {
            return expected_by_rule(self, y, weight, mean, sd);
        }
        let (mut p, mut spread, mut log_sum) = (0.0, 0.0, 0.0);
        let mut at = |eta: f64, v: f64| {
            let small = (-eta.abs()).exp();
            let share = 1.0 / (1.0 + small);
            p += v * if eta >= 0.0 { share } else { small * share };
            spread += v * small * share * share;
            log_sum += v * eta.max(0.0);
            1.0 + small
        };
        // Nodes come in pairs of one weight, so that two logarithms are one.
        let rule = scale_free_rule(sd);
        let logs = rule[..rule.len() / 2].iter().map(|(z, v)| v * (at(mean + sd * z, *v) * at(mean - sd * z, *v)).ln()).sum::<f64>();
        log_sum += logs;
        Local { value: log_ways(y, weight) + weight * (y * mean - log_sum), slope: weight * (y - p), curvature: weight * spread }
    }

    fn refuses(&self, y: f64, weight: f64) -> Option<&'static str> {
        let successes = weight * y;
        match () {
            _ if !(0.0..=1.0).contains(&y) => {
                Some("is no share of successes; give 0 or 1, a share with the number of trials as weight, or successes with their --trials")
            }
            _ if (successes - successes.round()).abs() > 1e-6 * weight.max(1.0) => {
                Some("times its weight is no whole number of successes; give the number of trials as weight")
            }
            _ => None,
        }
    }
}

/// ln of the number of ways to distribute the successes.
fn log_ways(y: f64, weight: f64) -> f64 {
    if weight == 1.0 { 0.0 } else { ln_gamma(weight + 1.0) - ln_gamma(weight * y + 1.0) - ln_gamma(weight * (1.0 - y) + 1.0) }
}

/// ln Phi(x) and phi(x) / Phi(x), also far below 0, where Phi is 0 to double precision.
pub(super) fn log_normal_tail(x: f64) -> (f64, f64) {
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
