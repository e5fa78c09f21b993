//! What a family promises about its rows: derivatives, densities, expectations, weights and dispersions.

use super::support::Support;
use super::{Failure, Promise, Subject};
use crate::likelihood::{Family, Local, draw_target};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Predictors at which derivatives are compared with differences, those far out among them.
const PREDICTORS: [f64; 7] = [-30.0, -24.9, -3.0, 0.0, 0.7, 4.0, 26.0];

/// Those at which densities are summed.
const CENTRAL: [f64; 3] = [-2.0, 0.3, 1.5];

/// Means and standard deviations of normal predictors; those of more than 1 are for logits and logarithms only.
const NORMAL: [(f64, f64); 4] = [(0.4, 0.8), (-1.0, 0.0), (2.5, 0.3), (-0.5, 2.0)];

/// Step of a difference.
const STEP: f64 = 1e-4;

/// What differences lack, of the size of what is compared.
const DIFFERENCE: f64 = 1e-6;

/// What sums and quadrature lack.
const SUM: f64 = 1e-6;

/// What multiplying by a weight lacks.
const WEIGHT: f64 = 1e-9;

type Checked = Result<(), Failure>;

/// Whether a family keeps what [`Family`] promises, at its dispersion and for some targets (y, weight) that it can have: slope and curvature are derivatives
/// (differences of step 1e-4, to 1e-6 of their size, at predictors from -30 to 26); densities sum to 1 over whatever it does not refuse, with its mean,
/// variance and cumulative probabilities (to 1e-6); draws, where cognate has them, follow it; expectations over a normal predictor are those of a
/// trapezoid rule of 4,800 steps (to 1e-6; of standard deviations up to 2, or .8 of a target's where predictors are in its unit); a weight repeats a row or divides the first number of the dispersion; a deviance is what is lost in log density;
/// the slope by the dispersion is a difference; what it cannot have is refused. What there is follows from `is_whole`, `has_ends` and `refuses_later`: whole
/// numbers, shares of trials, all numbers, positive ones or those between 0 and 1. O(10^5) log densities, well below a second.
///
/// ```
/// use cognate::testing::check_family;
/// use cognate::{Gamma, Poisson};
/// check_family(&Poisson, &[(0.0, 1.0), (4.0, 1.0), (2.0, 3.0)])?;
/// // Positive numbers only.
/// let failure = check_family(&Gamma::default(), &[(-1.0, 1.0)]).unwrap_err();
/// assert!(failure.to_string().contains("at target -1 of weight 1"));
/// # Ok::<(), cognate::testing::Failure>(())
/// ```
///
/// # Errors
/// The first promise that is not kept, with the target, its weight and the predictor at which it is not.
pub fn check_family(family: &dyn Family, targets: &[(f64, f64)]) -> Checked {
    let check = Check { subject: Subject(family.name().to_string()), family, targets, support: Support::of(family) };
    check.refusals()?;
    check.derivatives()?;
    check.distributions()?;
    check.weights()?;
    check.expectations()?;
    check.deviance()?;
    check.dispersion()
}

struct Check<'a> {
    subject: Subject,
    family: &'a dyn Family,
    targets: &'a [(f64, f64)],
    support: Support,
}

/// Where a row is.
fn row(y: f64, weight: f64, eta: f64) -> String {
    format!("at target {y} of weight {weight} and predictor {eta}")
}

/// The size of what is compared.
fn size(local: &Local) -> f64 {
    1.0 + local.slope.abs() + local.curvature.abs()
}

fn is_finite(local: &Local) -> bool {
    local.value.is_finite() && local.slope.is_finite() && local.curvature.is_finite()
}

impl Check<'_> {
    fn refusals(&self) -> Checked {
        let (subject, family) = (&self.subject, self.family);
        for (y, v) in self.targets {
            if let Some(problem) = family.refuses(*y, *v).or_else(|| family.refuses_later(*y, *v)) {
                return subject.fails(Promise::Accepts, format!("at target {y} of weight {v}, which {problem}"), None);
            }
            let start = family.start(*y, *v);
            subject.holds(Promise::Start, start.is_finite() && is_finite(&family.at(*y, *v, start)), || row(*y, *v, start))?;
        }
        for (y, v) in self.support.others() {
            subject.holds(Promise::Refuses, family.refuses(*y, *v).is_some(), || format!("at target {y} of weight {v}"))?;
        }
        // Whatever the support is taken for.
        for y in [-1000.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 1000.0] {
            let has = family.refuses_later(y, 1.0).is_none();
            subject.holds(Promise::Refuses, !has || is_finite(&family.at(y, 1.0, 0.1)), || row(y, 1.0, 0.1))?;
        }
        Ok(())
    }

    /// The unit of predictors: a target's standard deviation where they are in its unit.
    fn unit(&self, weight: f64, eta: f64) -> f64 {
        let own = self.family.variance(weight, eta).sqrt();
        if self.family.has_unit() && own > 0.0 && own.is_finite() { own } else { 1.0 }
    }

    /// Means and standard deviations of normal predictors of a target of that weight. Where functions change over a target's standard deviation, few nodes are exact
    /// up to about that only.
    fn normal(&self, weight: f64) -> impl Iterator<Item = (f64, f64)> {
        let few = NORMAL.into_iter().filter(|(_, sd)| *sd <= 1.0 || !self.family.has_unit());
        few.map(move |(mean, sd)| (mean, sd * self.unit(weight, mean)))
    }

    fn derivatives(&self) -> Checked {
        for (y, v) in self.targets {
            let start = self.family.start(*y, *v);
            for eta in PREDICTORS.into_iter().chain([start]) {
                let at = |eta: f64| self.family.at(*y, *v, eta);
                let step = STEP * self.unit(*v, eta);
                let (low, own, high) = (at(eta - step), at(eta), at(eta + step));
                let (tolerance, place) = (DIFFERENCE * size(&own), || row(*y, *v, eta));
                let slope = (high.value - low.value) / (2.0 * step);
                self.subject.equals(Promise::Slope, (own.slope, slope), tolerance, place)?;
                let curvature = (low.slope - high.slope) / (2.0 * step);
                self.subject.equals(Promise::Curvature, (own.curvature, curvature), tolerance, place)?;
                self.subject.holds(Promise::Concave, !self.family.is_concave() || own.curvature >= 0.0, place)?;
            }
        }
        Ok(())
    }

    fn distributions(&self) -> Checked {
        let divides = self.targets.iter().all(|(y, v)| CENTRAL.iter().all(|eta| self.divides(*y, *v, *eta)));
        let mut random = ChaCha8Rng::seed_from_u64(5);
        for weight in self.support.weights(divides) {
            CENTRAL.iter().try_for_each(|eta| self.distribution(*weight, *eta, &mut random))?;
        }
        Ok(())
    }

    /// Of the targets of a weight at a predictor.
    fn distribution(&self, weight: f64, eta: f64, random: &mut ChaCha8Rng) -> Checked {
        const DRAWS: usize = 20_000;
        let (subject, family) = (&self.subject, self.family);
        let all = self.support.distribution(family, weight, eta);
        let place = || format!("of targets of weight {weight} at predictor {eta}");
        subject.equals(Promise::Mass, (all.mass(), 1.0), SUM, place)?;
        let (mean, variance) = (all.mean(), all.variance());
        subject.equals(Promise::Mean, (family.mean(eta), mean), SUM * (1.0 + mean.abs() + variance.sqrt()), place)?;
        subject.equals(Promise::Variance, (family.variance(weight, eta), variance), 2.0 * SUM * (1e-3 + variance), place)?;
        let draws: Vec<f64> = (0..DRAWS).map(|_| draw_target(family, weight, eta, random)).collect();
        // Those of families that are not cognate's are not drawn.
        let are_drawn = draws.iter().all(|y| !y.is_nan());
        for (y, below) in all.cumulative(9) {
            let place = || format!("up to target {y} of weight {weight} at predictor {eta}");
            if let Some(found) = family.cumulative(y, weight, eta) {
                subject.equals(Promise::Cumulative, (found, below), SUM, place)?;
            }
            if are_drawn {
                let share = draws.iter().filter(|own| **own <= y + 1e-9 * y.abs()).count() as f64 / DRAWS as f64;
                let error = (below * (1.0 - below) / DRAWS as f64).sqrt();
                subject.equals(Promise::Draws, (share, below), 5.0 * error, place)?;
            }
        }
        // Nothing is below all targets, and everything far above.
        let far = 1e4 * (1.0 + variance.sqrt());
        for (y, expected) in [(mean - far, 0.0), (mean + far, 1.0)] {
            if let Some(found) = family.cumulative(y, weight, eta) {
                subject.equals(Promise::Cumulative, (found, expected), SUM, || format!("up to target {y}, {}", place()))?;
            }
        }
        Ok(())
    }

    /// Whether twice the weight is half the first number of the dispersion.
    fn divides(&self, y: f64, weight: f64, eta: f64) -> bool {
        let dispersion = self.family.dispersion();
        let Some((first, rest)) = dispersion.split_first() else { return false };
        let halved = self.family.with_dispersion(&[&[0.5 * first], rest].concat());
        let twice = self.family.at(y, 2.0 * weight, eta);
        halved.is_some_and(|own| {
            let own = own.at(y, weight, eta);
            let tolerance = WEIGHT * (size(&twice) + twice.value.abs());
            [(own.value, twice.value), (own.slope, twice.slope), (own.curvature, twice.curvature)]
                .into_iter()
                .all(|(own, twice)| (own - twice).abs() <= tolerance)
        })
    }

    fn weights(&self) -> Checked {
        for (y, v) in self.targets {
            for eta in CENTRAL {
                let (once, twice) = (self.family.at(*y, *v, eta), self.family.at(*y, 2.0 * v, eta));
                let near = |a: f64, b: f64| (a - b).abs() <= WEIGHT * size(&twice);
                let repeats = near(twice.slope, 2.0 * once.slope) && near(twice.curvature, 2.0 * once.curvature);
                if !(repeats || self.divides(*y, *v, eta)) {
                    let place = format!("{}, doubled", row(*y, *v, eta));
                    return self.subject.fails(Promise::Weight, place, Some((twice.slope, 2.0 * once.slope)));
                }
                let (one, half) = (self.family.variance(*v, eta), self.family.variance(2.0 * v, eta));
                let place = || format!("at weight {v}, doubled, and predictor {eta}");
                self.subject.equals(Promise::Variance, (half, 0.5 * one), WEIGHT * one.abs(), place)?;
            }
        }
        Ok(())
    }

    fn expectations(&self) -> Checked {
        const REACH: f64 = 12.0;
        const STEPS: i32 = 2400;
        for (y, v) in self.targets {
            for (mean, sd) in self.normal(*v) {
                let found = self.family.expected(*y, *v, mean, sd);
                let (mut sum, mut largest) = ([0.0; 3], 1.0);
                let half = if sd == 0.0 { 0 } else { STEPS };
                for k in -half..=half {
                    let z = f64::from(k) * REACH / f64::from(STEPS);
                    let weight =
                        if sd == 0.0 { 1.0 } else { (-0.5 * z * z).exp() * REACH / f64::from(STEPS) / (2.0 * std::f64::consts::PI).sqrt() };
                    let own = self.family.at(*y, *v, mean + sd * z);
                    sum.iter_mut().zip([own.value, own.slope, own.curvature]).for_each(|(sum, own)| *sum += weight * own);
                    largest += weight * (own.slope.abs() + own.curvature.abs());
                }
                let place = || format!("at target {y} of weight {v} and a predictor of mean {mean} and standard deviation {sd}");
                for (found, expected) in [found.value, found.slope, found.curvature].into_iter().zip(sum) {
                    self.subject.equals(Promise::Expected, (found, expected), SUM * (largest + expected.abs()), place)?;
                }
                self.derivatives_of_expectations((*y, *v), (mean, sd))?;
            }
        }
        Ok(())
    }

    /// Which are derivatives of the expected value by mean and variance of the predictor: what the climb to an approximation rests on.
    fn derivatives_of_expectations(&self, (y, v): (f64, f64), (mean, sd): (f64, f64)) -> Checked {
        if sd == 0.0 {
            return Ok(());
        }
        let own = self.family.expected(y, v, mean, sd);
        let at = |mean: f64, square: f64| self.family.expected(y, v, mean, square.sqrt()).value;
        let (square, step) = (sd * sd, STEP * self.unit(v, mean));
        let by_mean = (at(mean + step, square) - at(mean - step, square)) / (2.0 * step);
        let by_square = (at(mean, square * (1.0 + STEP)) - at(mean, square * (1.0 - STEP))) / (2.0 * STEP * square);
        let place =
            || format!("as the derivative of the expected value at target {y} of weight {v}, mean {mean} and standard deviation {sd}");
        self.subject.equals(Promise::Expected, (own.slope, by_mean), DIFFERENCE * size(&own), place)?;
        self.subject.equals(Promise::Expected, (own.curvature, -2.0 * by_square), 2.0 * DIFFERENCE * size(&own), place)
    }

    fn deviance(&self) -> Checked {
        let family = self.family;
        let mut factor = None;
        for (y, _) in self.targets.iter().filter(|(_, v)| *v == 1.0) {
            for eta in [CENTRAL[0], CENTRAL[2]] {
                let at = |eta: f64| Some((family.deviance(*y, family.mean(eta))?, -2.0 * family.at(*y, 1.0, eta).value));
                let (Some(here), Some(there)) = (at(eta), at(CENTRAL[1])) else { return Ok(()) };
                let (found, lost) = (here.0 - there.0, here.1 - there.1);
                // Of what the dispersion only scales it, in its units.
                let factor = *factor.get_or_insert(found / lost);
                let place = || format!("at target {y}, between predictors {eta} and {}", CENTRAL[1]);
                self.subject.equals(Promise::Deviance, (found, factor * lost), SUM * (1.0 + found.abs()), place)?;
                self.subject.holds(Promise::Deviance, factor > 0.0 && here.0 >= 0.0, place)?;
            }
        }
        Ok(())
    }

    fn dispersion(&self) -> Checked {
        let (subject, family, values) = (&self.subject, self.family, self.family.dispersion());
        let names = family.dispersion_names();
        subject
            .holds(Promise::Dispersion, names.len() == values.len(), || format!("{} numbers have {} names", values.len(), names.len()))?;
        let positive = |values: &[f64]| values.iter().all(|own| *own > 0.0 && own.is_finite());
        subject.holds(Promise::Dispersion, positive(&values), || format!("its numbers are {values:?}, which are not all positive"))?;
        if values.is_empty() {
            return Ok(());
        }
        let (targets, weights): (Vec<f64>, Vec<f64>) = self.targets.iter().copied().unzip();
        if let Some(begun) = family.begin(&targets, &weights) {
            let begun = begun.dispersion();
            subject.holds(Promise::Dispersion, positive(&begun), || format!("it begins with {begun:?}, which are not all positive"))?;
        }
        let Some(same) = family.with_dispersion(&values) else {
            return subject.fails(Promise::Dispersion, "with_dispersion makes nothing of its own numbers", None);
        };
        for (y, v) in self.targets {
            for (mean, sd) in self.normal(*v) {
                let (own, other) = (family.at(*y, *v, mean), same.at(*y, *v, mean));
                subject.equals(Promise::Dispersion, (other.value, own.value), 1e-9 * (1.0 + own.value.abs()), || row(*y, *v, mean))?;
                let mut slope = vec![0.0; values.len()];
                family.add_dispersion_slope(*y, *v, mean, sd, &mut slope);
                for k in 0..values.len() {
                    let at = |step: f64| {
                        let mut moved = values.clone();
                        moved[k] *= step.exp();
                        family.with_dispersion(&moved).map(|own| own.expected(*y, *v, mean, sd).value)
                    };
                    let (Some(high), Some(low)) = (at(STEP), at(-STEP)) else {
                        return subject.fails(
                            Promise::Dispersion,
                            format!("with_dispersion makes nothing of numbers near {values:?}"),
                            None,
                        );
                    };
                    let difference = (high - low) / (2.0 * STEP);
                    let place =
                        || format!("'{}' at target {y} of weight {v} and a predictor of mean {mean} and standard deviation {sd}", names[k]);
                    subject.equals(Promise::DispersionSlope, (slope[k], difference), 1e-5 * (1.0 + difference.abs()), place)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::{Binomial, Gamma, Link, NegativeBinomial, Normal, Ordinal, Poisson, StudentT};

    /// A family and targets with their weights.
    type Case = (Box<dyn Family>, [(f64, f64); 3]);

    /// cognate's own.
    #[test]
    fn every_family_keeps_its_promises() {
        let shares = [(0.0, 1.0), (1.0, 1.0), (0.25, 8.0)];
        let counts = [(0.0, 1.0), (4.0, 1.0), (2.0, 3.0)];
        let cases: [Case; 9] = [
            (Box::new(Binomial { link: Link::Logit }), shares),
            (Box::new(Binomial { link: Link::Probit }), shares),
            (Box::new(Poisson), counts),
            (Box::new(NegativeBinomial { dispersion: 0.4 }), counts),
            (Box::new(NegativeBinomial { dispersion: 0.01 }), counts),
            (Box::new(Gamma { dispersion: 0.3 }), [(0.1, 1.0), (4.0, 1.0), (2.0, 3.0)]),
            (Box::new(StudentT { scale2: 1.5, freedom: 4.0 }), [(0.0, 1.0), (40.0, 1.0), (-2.0, 3.0)]),
            (Box::new(Ordinal { gaps: vec![0.7, 1.8] }), [(1.0, 1.0), (4.0, 2.0), (2.0, 1.0)]),
            (Box::new(Normal { variance: 2.0 }), [(0.0, 1.0), (4.0, 1.0), (-2.0, 3.0)]),
        ];
        let failures: Vec<String> = cases
            .iter()
            .filter_map(|(family, targets)| Some(format!("{family:?}: {}", check_family(family.as_ref(), targets).err()?)))
            .collect();
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
