//! Draws of targets, for replicated data.

use super::family::Family;
use crate::linalg::normal;
use rand::{Rng, RngExt};
use rand_distr::{Binomial, Distribution, Gamma, Poisson, StudentT};

/// A target of that weight at a linear predictor; NaN where the family is not cognate's, or its rate is beyond what can be counted.
pub(crate) fn draw_target<R: Rng + ?Sized>(family: &dyn Family, weight: f64, eta: f64, random: &mut R) -> f64 {
    let (mean, numbers) = (family.mean(eta), family.dispersion());
    let count = |rate: f64, random: &mut R| if rate > 0.0 { Poisson::new(rate).map_or(f64::NAN, |own| own.sample(random)) } else { rate };
    let gamma = |shape: f64, random: &mut R| Gamma::new(shape, shape.recip()).map_or(f64::NAN, |own| own.sample(random));
    match family.name() {
        "binomial" | "probit" => {
            Binomial::new(weight.round() as u64, mean).map_or(f64::NAN, |own| own.sample(random) as f64 / weight.round())
        }
        "poisson" => count(mean, random),
        "negative-binomial" => {
            let rate = mean * gamma(numbers[0].recip(), random);
            count(rate, random)
        }
        "gamma" => mean * gamma(weight / numbers[0], random),
        "student" => eta + (numbers[0] / weight).sqrt() * StudentT::new(numbers[1]).map_or(f64::NAN, |own| own.sample(random)),
        "normal" => eta + (numbers[0] / weight).sqrt() * normal(random),
        "ordinal" => {
            let (levels, mut left) = (numbers.len() + 2, random.random::<f64>());
            for level in 1..levels {
                left -= family.at(level as f64, 1.0, eta).value.exp();
                if left < 0.0 {
                    return level as f64;
                }
            }
            levels as f64
        }
        _ => f64::NAN,
    }
}
