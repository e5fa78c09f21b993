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

#[cfg(test)]
mod tests {
    use super::super::family::by_name;
    use super::*;
    use rand::SeedableRng;

    /// Mean and variance are those of the family, and so is the chance to be at most near the mean.
    #[test]
    fn draws_have_the_moments_of_their_family() {
        const DRAWS: usize = 40_000;
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let cases: [(&str, &[f64], f64); 8] = [
            ("binomial", &[], 7.0),
            ("probit", &[], 1.0),
            ("poisson", &[], 1.0),
            ("negative-binomial", &[0.6], 1.0),
            ("gamma", &[0.4], 2.0),
            ("student", &[1.3, 7.0], 2.0),
            ("normal", &[1.7], 3.0),
            ("ordinal", &[0.7, 1.8], 1.0),
        ];
        for (name, numbers, weight) in cases {
            let family = by_name(name, numbers).unwrap();
            let draws: Vec<f64> = (0..DRAWS).map(|_| draw_target(family.as_ref(), weight, 0.8, &mut random)).collect();
            let mean = draws.iter().sum::<f64>() / DRAWS as f64;
            let variance = draws.iter().map(|y| (y - mean).powi(2)).sum::<f64>() / DRAWS as f64;
            let (expected, spread) = (family.mean(0.8), family.variance(weight, 0.8));
            assert!((mean - expected).abs() < 4.5 * (spread / DRAWS as f64).sqrt(), "{name}: {mean} {expected}");
            assert!((variance / spread - 1.0).abs() < 0.06, "{name}: {variance} {spread}");
            if let Some(p) = family.cumulative(expected.round(), weight, 0.8) {
                let share = draws.iter().filter(|y| **y <= expected.round()).count() as f64 / DRAWS as f64;
                assert!((share - p).abs() < 0.012, "{name}: {share} {p}");
            }
        }
    }
}
