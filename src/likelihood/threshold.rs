//! The random threshold behind a distribution function, by which that function is averaged over a normal linear predictor.

use super::Link;
use super::binomial::log_normal_tail;
use super::family::{Family, LOG_ROOT_2_PI};
use crate::linalg::interval_rule;
use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::beta_reg;
use statrs::function::gamma::{gamma_lr, gamma_ur, ln_gamma};

/// V with P(Y <= y | eta) = P(V >= eta), as of tolerances in bioassay: `shift` + ln(G_first / first) - ln(G_second / second) with independent
/// gamma variables of these shapes and scale 1, where an infinite shape has a quotient of 1. A count is at most n as long as the (n + 1)th
/// arrival of a Poisson process comes later than its rate, and the others follow alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    pub first: f64,
    pub second: f64,
    /// Infinite where the target is surely above or surely not.
    pub shift: f64,
    pub link: Link,
}

/// Where densities are cut off: at exp(-this) of their largest value.
const REACH: f64 = 38.0;

/// From this shape on (of both) the own integral takes the place of incomplete gamma and beta functions, whose error grows with the shape.
const LARGE: f64 = 20.0;

/// Shapes of which one is as large and the other not too small to be integrated either.
const APART: (f64, f64) = (2000.0, 0.02);

/// Standard deviations of a normal density that are looked at.
const DEVIATIONS: f64 = 8.5;

/// Most steps on a side of the mode: shapes at which more would count are beyond double precision.
const MOST: u32 = 100_000;

/// 1 + v - exp(v), also for v next to nothing.
fn below_exponential(v: f64) -> f64 {
    if v.abs() < 1e-5 { -0.5 * v * v * (1.0 + v / 3.0) } else { v - v.exp_m1() }
}

impl Threshold {
    /// For P(Y <= y); of shares y is the count among the trials. None for families that are not of this kind.
    pub(super) fn of(family: &dyn Family, y: f64, weight: f64) -> Option<Self> {
        let numbers = family.dispersion();
        let count = |second: f64| (y + 1.0, second, if y > -1.0 { (y + 1.0).ln() } else { f64::NEG_INFINITY });
        let share = || match () {
            _ if y <= -1.0 => (1.0, 1.0, f64::NEG_INFINITY),
            _ if y >= weight => (1.0, 1.0, f64::INFINITY),
            _ => (y + 1.0, weight - y, ((y + 1.0) / (weight - y)).ln()),
        };
        let (first, second, shift) = match family.name() {
            "poisson" => count(f64::INFINITY),
            "negative-binomial" => count(numbers.first()?.recip()),
            "gamma" => (f64::INFINITY, weight / numbers.first()?, if y > 0.0 { y.ln() } else { f64::NEG_INFINITY }),
            "binomial" | "probit" => share(),
            "ordinal" => match y.floor() {
                level if level < 1.0 => (1.0, 1.0, f64::NEG_INFINITY),
                level if level > numbers.len() as f64 + 1.0 => (1.0, 1.0, f64::INFINITY),
                level => (1.0, 1.0, numbers[..level as usize - 1].iter().sum()),
            },
            _ => return None,
        };
        let link = if family.name() == "probit" { Link::Probit } else { Link::Logit };
        Some(Threshold { first, second, shift, link })
    }

    /// P(V >= eta) for eta ~ N(mean, sd^2), by equal steps of whichever of V and eta takes fewer of them, fine enough for both.
    pub(super) fn probability(&self, mean: f64, sd: f64) -> f64 {
        if self.shift.is_infinite() {
            return f64::from(u8::from(self.shift > 0.0));
        }
        if sd == 0.0 {
            return self.tail(self.scale_of(mean) - self.shift);
        }
        let spread = sd * self.slope(mean);
        let step = self.step_with(spread);
        if self.deviation() > spread {
            let fine = step / spread;
            let ends = (DEVIATIONS / fine).ceil() as i64;
            let (mut sum, mut total) = (0.0, 0.0);
            for z in (-ends..=ends).map(|j| j as f64 * fine) {
                let density = (-0.5 * z * z).exp();
                total += density;
                sum += density * self.tail(self.scale_of(mean + sd * z) - self.shift);
            }
            return sum / total;
        }
        let normal = Normal::standard();
        self.average(step, |v| normal.cdf((self.predictor_of(self.shift + v) - mean) / sd))
    }

    /// Steps of V and eta together, eta of that spread on the scale of V.
    fn step_with(&self, spread: f64) -> f64 {
        (self.step().powi(-2) + (0.65 * spread).powi(-2)).sqrt().recip()
    }

    /// Steps of (eta - mean) / sd at which sums of a normal density times that of V are exact.
    pub(super) fn fineness(&self, mean: f64, sd: f64) -> f64 {
        let spread = sd * self.slope(mean);
        self.step_with(spread) / spread
    }

    /// E f(V - shift) by equal steps, exact only where f is as smooth as the step is small.
    fn average(&self, step: f64, f: impl Fn(f64) -> f64) -> f64 {
        let (mut sum, mut total) = (0.0, 0.0);
        for (v, density) in self.nodes(step, 0.0) {
            total += density;
            sum += density * f(v);
        }
        sum / total
    }

    /// V - shift in equal steps with its density relative to the largest, as far as that times exp(-`tilt` v) counts.
    pub(super) fn nodes(&self, step: f64, tilt: f64) -> Vec<(f64, f64)> {
        let own = |j: f64| (j * step, self.log_density(j * step));
        let counts = |(v, log_density): &(f64, f64)| log_density - (tilt * v).min(0.0) > -REACH;
        let mut nodes: Vec<(f64, f64)> = (0..MOST).map(|j| own(f64::from(j))).take_while(counts).collect();
        nodes.extend((1..MOST).map(|j| own(-f64::from(j))).take_while(counts));
        nodes.iter_mut().for_each(|(_, value)| *value = value.exp());
        nodes
    }

    /// Log density of V - shift, less its largest value, which is at 0.
    fn log_density(&self, v: f64) -> f64 {
        let (first, second) = (self.first, self.second);
        match (first.is_finite(), second.is_finite()) {
            (true, false) => first * below_exponential(v),
            (false, _) => second * below_exponential(-v),
            _ if v > 0.0 => -second * v - (first + second) * (second / (first + second) * (-v).exp_m1()).ln_1p(),
            _ => first * v - (first + second) * (first / (first + second) * v.exp_m1()).ln_1p(),
        }
    }

    /// About the standard deviation of V.
    fn deviation(&self) -> f64 {
        let own = |shape: f64| if shape.is_finite() { (1.0 + 0.5 / shape) / shape } else { 0.0 };
        (own(self.first) + own(self.second)).sqrt()
    }

    /// Steps of V at which sums of its density are exact to about 1e-13: its Fourier transform |Gamma(a + it) / Gamma(a)| is that small
    /// at t = 2 pi / step.
    pub(super) fn step(&self) -> f64 {
        let own = |shape: f64| if shape.is_finite() { (1.6 * shape + 12.0).recip() } else { 0.0 };
        (own(self.first) + own(self.second)).sqrt()
    }

    /// P(V - shift >= c).
    fn tail(&self, c: f64) -> f64 {
        let (first, second) = (self.first, self.second);
        let apart = first.is_finite() && second.is_finite() && first.max(second) > APART.0 && first.min(second) > APART.1;
        if first.min(second) >= LARGE || apart {
            return self.integral(c);
        }
        let rising = |shape: f64, v: f64| match shape * v.exp() {
            // Too small or too large for the incomplete functions.
            x if x < 1e-300 => None,
            x if x > 1e300 => Some(f64::INFINITY),
            x => Some(x),
        };
        match (first.is_finite(), second.is_finite()) {
            (true, false) => rising(first, c).map_or(1.0, |x| if x.is_finite() { gamma_ur(first, x) } else { 0.0 }),
            (false, _) => rising(second, -c).map_or(0.0, |x| if x.is_finite() { gamma_lr(second, x) } else { 1.0 }),
            _ => beta_reg(second, first, (1.0 + first / second * c.exp()).recip()),
        }
    }

    /// P(V - shift >= c) as the density's integral from c outwards over the whole.
    fn integral(&self, c: f64) -> f64 {
        let rest = |shape: f64| if shape.is_finite() { stirling_rest(shape) } else { 0.0 };
        let variance = self.first.recip() + self.second.recip();
        let whole =
            (2.0 * std::f64::consts::PI * variance).sqrt() * (rest(self.first) + rest(self.second) - rest(self.first + self.second)).exp();
        let (width, mut end, mut sum) = (1.5 * variance.sqrt().min(1.0) * if c > 0.0 { 1.0 } else { -1.0 }, c, 0.0);
        while self.log_density(end) > -REACH {
            let centre = end + 0.5 * width;
            sum += interval_rule().iter().map(|(x, v)| v * self.log_density(centre + width * x).exp()).sum::<f64>() * width.abs();
            end += width;
        }
        if c > 0.0 { sum / whole } else { 1.0 - sum / whole }
    }

    /// The predictor on the scale of V: log odds of what it says.
    fn scale_of(&self, eta: f64) -> f64 {
        match self.link {
            Link::Logit => eta,
            Link::Probit => log_normal_tail(eta).0 - log_normal_tail(-eta).0,
        }
    }

    fn slope(&self, eta: f64) -> f64 {
        match self.link {
            Link::Logit => 1.0,
            Link::Probit => log_normal_tail(eta).1 + log_normal_tail(-eta).1,
        }
    }

    fn predictor_of(&self, log_odds: f64) -> f64 {
        match self.link {
            Link::Logit => log_odds,
            Link::Probit => Normal::standard().inverse_cdf((1.0 + log_odds.abs().exp()).recip()) * -log_odds.signum(),
        }
    }
}

/// ln Gamma(x) less (x - 1/2) ln x - x + ln(2 pi) / 2.
fn stirling_rest(x: f64) -> f64 {
    if x < LARGE {
        return ln_gamma(x) - (x - 0.5) * x.ln() + x - LOG_ROOT_2_PI;
    }
    let square = x * x;
    (1.0 / 12.0 - (1.0 / 360.0 - (1.0 / 1260.0 - 1.0 / (1680.0 * square)) / square) / square) / x
}

#[cfg(test)]
mod tests {
    use super::super::family;
    use super::*;

    fn threshold(name: &str, dispersion: &[f64], y: f64, weight: f64) -> Threshold {
        Threshold::of(family(name, dispersion).unwrap().as_ref(), y, weight).unwrap()
    }

    /// R's ppois, pnbinom, pbinom and pgamma, all digits, where incomplete functions of large shapes lose some.
    #[test]
    fn probabilities_of_large_counts_are_those_of_r() {
        let log = |x: f64| x.ln();
        for (name, dispersion, y, weight, mean, expected) in [
            ("poisson", &[] as &[f64], 1e6 - 500.0, 1.0, log(1e6), 0.308_757_645_104_821_73),
            ("negative-binomial", &[0.5], 60_000.0, 1.0, log(1e5), 0.337_379_239_506_690_4),
            ("negative-binomial", &[0.3f64.recip()], 60_000.0, 1.0, log(1e5), 0.639_815_872_879_515_7),
            ("negative-binomial", &[20.0], 60_000.0, 1.0, log(1e5), 0.860_800_004_490_020_8),
            ("negative-binomial", &[0.5], 5e5, 1.0, log(1e6), 0.264_241_853_415_138_8),
            ("binomial", &[], 3e5, 1e6, log(3.0 / 7.0), 0.500_493_319_066_679_6),
            ("gamma", &[1e-6], 1.0 + 3e-4, 1.0, 0.0, 0.618_027_103_388_008_1),
        ] {
            let found = threshold(name, dispersion, y, weight).probability(mean, 0.0);
            assert!((found - expected).abs() < 1e-11, "{name} {dispersion:?}: {found}, {:e}", found - expected);
        }
    }

    /// Of parameters beyond use, too: between 0 and 1, and the more the larger the target.
    #[test]
    fn probabilities_are_probabilities_everywhere() {
        for (name, dispersions) in [
            ("poisson", vec![]),
            ("negative-binomial", vec![1e-9, 1e-3, 1.0, 40.0]),
            ("gamma", vec![1e-9, 1e-3, 1.0, 40.0]),
            ("probit", vec![]),
        ] {
            for dispersion in if dispersions.is_empty() { vec![vec![]] } else { dispersions.iter().map(|v| vec![*v]).collect() } {
                for mean in [-700.0, -30.0, 0.0, 9.0, 700.0] {
                    for sd in [0.0, 1e-8, 0.3, 5.0, 30.0] {
                        let at = |y: &f64| threshold(name, &dispersion, *y, 1e5).probability(mean, sd);
                        let all: Vec<f64> = [0.0, 1.0, 40.0, 9000.0, 1e5, 1e9].iter().map(at).collect();
                        let what = format!("{name} {dispersion:?} {mean} {sd}: {all:?}");
                        assert!(all.iter().all(|p| (-1e-12..=1.0 + 1e-12).contains(p)), "{what}");
                        assert!(all.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{what}");
                    }
                }
            }
        }
    }
}
