//! What a likelihood promises about tasks: its families row by row, quadratics, M-steps, coordinates and slopes of the dispersion.

use super::{Failure, Promise, Subject, check_family, differences};
use crate::likelihood::{Approximation, Dispersion, Inference, Likelihood, Observations, STILL};
use crate::prior::{Groups, Mean, Prior};
use crate::quadratic::Quadratics;
use crate::structure::{Exchangeable, FeatureCovariance, Setting, Structure};
use crate::tasks::{Coordinates, SharedRows, Tasks};
use nalgebra::DMatrix;

/// M-steps taken.
const UPDATES: usize = 5;

/// What may be lost of a log posterior by rounding and by what is left of the search for quadratics, of its size.
const ROUNDING: f64 = 1e-9;

/// What differences lack, of the size of what is compared.
const DIFFERENCE: f64 = 1e-4;

/// Targets at which a family is checked.
const TARGETS: usize = 12;

type Checked = Result<(), Failure>;

/// Whether a likelihood keeps what [`Likelihood`] promises of some tasks, under the prior of exchangeable ones: its families, each begun at the targets
/// of its group, keep theirs ([`check_family`], at up to 12 targets of the tasks); there is a posterior; quadratics of tasks are symmetric and have no
/// negative curvature; coordinates of the dispersion lead back to it; its slope is a difference of log-likelihood and log prior (step 1e-4, to 1e-4 of its
/// size); an M-step does not lower these (but under [`Inference::Laplace`], whose steps need not). Tasks keep their rows where it is one of families
/// ([`Tasks::with_rows`]). Some tens of E-steps.
///
/// ```
/// use cognate::testing::check_likelihood;
/// use cognate::{Design, Generalised, NegativeBinomial, Rows};
/// let mut rows = Rows::new("calls", &["hour"]);
/// for i in 0..48 {
///     rows.push(&format!("line {}", i % 6), &[f64::from(i / 6) / 4.0 - 1.0], f64::from(i * 7 % 11), 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
/// check_likelihood(Generalised::new(NegativeBinomial::default()), &tasks)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// The first promise that is not kept, with the target, the task or the number of the dispersion; [`Promise::Works`] for what the library refuses.
pub fn check_likelihood(mut likelihood: impl Likelihood, tasks: &Tasks) -> Checked {
    let subject = Subject(likelihood.name().to_string());
    subject.made(tasks.check())?;
    subject.made(likelihood.arrange(tasks.groups()))?;
    families(&likelihood, tasks)?;
    let data = subject.made(observations(&likelihood, tasks))?;
    let prior = subject.made(prior(&likelihood, tasks, &data))?;
    let check = Check { subject, likelihood: &likelihood, data: &data, prior };
    let dispersion = likelihood.start(&data, &check.prior.mean_features);
    let found = check.posterior(&dispersion)?;
    check.quadratics(&found.quadratics)?;
    check.coordinates(&found, &dispersion)?;
    check.updates(dispersion, found)
}

/// Those of the groups, as they begin at their targets.
fn families(likelihood: &dyn Likelihood, tasks: &Tasks) -> Checked {
    for (g, family) in likelihood.families().iter().enumerate() {
        let Some(rows) = tasks.kept_rows() else { continue };
        let mut all: Vec<(f64, f64)> =
            (0..rows.len()).filter(|i| tasks.group(rows.task(*i)) == g).map(|i| (rows.y(i), rows.weight(i))).collect();
        let (targets, weights): (Vec<f64>, Vec<f64>) = all.iter().copied().unzip();
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        all.dedup();
        // From the least to the largest.
        let some: Vec<(f64, f64)> = match all.len() {
            0..=TARGETS => all,
            n => (0..TARGETS).map(|k| all[k * (n - 1) / (TARGETS - 1)]).collect(),
        };
        let refused = some.iter().find(|(y, v)| family.refuses(*y, *v).is_some());
        let begun = if refused.is_none() { family.begin(&targets, &weights) } else { None };
        check_family(begun.as_deref().unwrap_or(family.as_ref()), &some)?;
    }
    Ok(())
}

fn observations(likelihood: &dyn Likelihood, tasks: &Tasks) -> crate::Result<Observations> {
    let coordinates = Coordinates::identity(tasks.design());
    let mut data = Observations::new(tasks, &coordinates);
    if !likelihood.families().is_empty() {
        data = data.with_families(tasks, &coordinates, likelihood.families())?;
    }
    if likelihood.needs_units() {
        let rows = tasks.kept_rows().ok_or_else(crate::likelihood::units_are_missing)?;
        data.shared = Some(SharedRows::new(rows, tasks.design(), &coordinates)?);
    }
    Ok(data)
}

/// That of exchangeable tasks, where a fit begins.
fn prior(likelihood: &dyn Likelihood, tasks: &Tasks, data: &Observations) -> crate::Result<Prior> {
    let design = tasks.design();
    let features = design.mean_features();
    let begun = likelihood.start(data, &features);
    let noise = likelihood.noise(data, &begun);
    let groups = Groups::new(data.group.clone(), vec![1.0; data.groups()]);
    let setting = Setting {
        data,
        names: tasks.names(),
        mean_features: &features,
        varying: &design.varying_features(),
        unrelated: &[],
        intercept: None,
        mean: &Mean::Profiled,
        mean_precision: &DMatrix::zeros(0, 0),
        noise: noise[0],
        groups: &groups,
        likelihood,
    };
    Ok(Exchangeable::new(FeatureCovariance::Diagonal).start(&setting)?.0)
}

struct Check<'a> {
    subject: Subject,
    likelihood: &'a dyn Likelihood,
    data: &'a Observations,
    prior: Prior,
}

impl Check<'_> {
    fn posterior(&self, dispersion: &Dispersion) -> Result<Approximation, Failure> {
        self.subject.made(self.likelihood.posterior(self.data, dispersion, &self.prior, (None, STILL)))
    }

    /// Log-likelihood and log priors.
    fn height(&self, found: &Approximation, dispersion: &Dispersion) -> f64 {
        found.log_likelihood + found.posterior.log_mean_density() + self.likelihood.log_prior(dispersion)
    }

    fn quadratics(&self, quadratics: &Quadratics) -> Checked {
        for t in 0..quadratics.len() {
            let curvature = quadratics.task(t).curvature;
            let place = || format!("in task {}", t + 1);
            let uneven = (&curvature - curvature.transpose()).amax();
            self.subject.equals(Promise::Quadratics, (uneven, 0.0), 1e-12 * (1.0 + curvature.amax()), place)?;
            let values = curvature.symmetric_eigenvalues();
            self.subject.holds(Promise::Quadratics, values.min() >= -1e-9 * values.max().max(0.0), || {
                format!("{}, whose curvature has the eigenvalue {}", place(), values.min())
            })?;
        }
        Ok(())
    }

    fn coordinates(&self, found: &Approximation, dispersion: &Dispersion) -> Checked {
        let (subject, likelihood) = (&self.subject, self.likelihood);
        let point = likelihood.coordinates(dispersion);
        let back = likelihood.at(&point, dispersion);
        for (k, (found, own)) in back.values.iter().zip(&dispersion.values).enumerate() {
            subject.equals(Promise::RoundTrip, (*found, *own), 1e-9 * own.abs(), || format!("in number {k} of the dispersion"))?;
        }
        if found.posterior.log_likelihood_error() > 0.0 || self.likelihood.inference() == Some(Inference::Laplace) && back.is_each() {
            return Ok(());
        }
        let slope = subject.made(likelihood.slope(self.data, found, dispersion))?;
        let counts = (slope.len() as f64, point.len() as f64);
        subject.equals(Promise::CoordinateSlope, counts, 0.0, || "in the number of coordinates of the dispersion".into())?;
        let value = |point: &[f64]| {
            let there = likelihood.at(point, dispersion);
            let found = likelihood.posterior(self.data, &there, &self.prior, (Some(&found.quadratics), STILL)).ok()?;
            Some(self.height(&found, &there))
        };
        for (k, difference) in differences(value, &point, 1e-4).into_iter().enumerate() {
            let place = || format!("in coordinate {k} of the dispersion");
            let Some(difference) = difference else {
                return subject.fails(Promise::CoordinateSlope, format!("no posterior {}", place()), None);
            };
            subject.equals(Promise::CoordinateSlope, (slope[k], difference), DIFFERENCE * (1.0 + difference.abs()), place)?;
        }
        Ok(())
    }

    fn updates(&self, mut dispersion: Dispersion, mut found: Approximation) -> Checked {
        if self.likelihood.inference() == Some(Inference::Laplace) {
            return Ok(());
        }
        for step in 1..=UPDATES {
            let next = self.likelihood.update(self.data, &found.posterior, &dispersion);
            // The strength of a prior is not climbed in: a step has it before and after.
            let held = Dispersion { strength: dispersion.strength, ..next.clone() };
            let there = self.posterior(&held)?;
            let (after, before) = (self.height(&there, &held), self.height(&found, &dispersion));
            let kept = after >= before - ROUNDING * (1.0 + before.abs());
            if !kept {
                return self.subject.fails(Promise::Update, format!("in step {step}"), Some((after, before)));
            }
            found = if next.strength == dispersion.strength { there } else { self.posterior(&next)? };
            dispersion = next;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::{
        Binomial, CorrelatedGaussian, Gamma, Gaussian, Generalised, NegativeBinomial, Noise, Normal, Ordinal, Poisson, StudentT,
    };
    use crate::tasks::{Design, Rows};

    /// Uneven rows of six tasks with these targets, the numbers of rows in their place.
    fn tasks(target: impl Fn(usize) -> (f64, f64)) -> Tasks {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..72 {
            let (y, weight) = target(i);
            rows.push_of_unit(&format!("unit {}", i / 6), &format!("task {}", i % 6), &[(i * 37 % 23) as f64 / 10.0 - 1.0], y, weight)
                .unwrap();
        }
        rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap()
    }

    /// cognate's own.
    #[test]
    fn every_likelihood_keeps_its_promises() {
        let number = |i: usize| ((i * 29 % 31) as f64 / 8.0 - 1.0 + (i % 6) as f64 / 3.0, 1.0 + (i % 3) as f64 / 2.0);
        let count = |i: usize| ((i * i * 5 % 13 + i % 6) as f64, 1.0 + (i % 2) as f64);
        let positive = |i: usize| (0.3 + (i * 29 % 31) as f64 / 8.0, 1.0);
        let share = |i: usize| ((i * 7 % 5) as f64 / 4.0, 4.0);
        let level = |i: usize| ((1 + i * 11 % 7 % 4) as f64, 1.0);
        let mut failures = Vec::new();
        let mut check = |name: &str, checked: Checked| failures.extend(checked.err().map(|failure| format!("{name}: {failure}")));
        check("shared", check_likelihood(Gaussian::default(), &tasks(number)));
        check("task", check_likelihood(Gaussian { noise: Noise::Task }, &tasks(number)));
        check("known", check_likelihood(Gaussian { noise: Noise::Known }, &tasks(number)));
        check("correlated", check_likelihood(CorrelatedGaussian::default(), &tasks(|i| (number(i).0, 1.0))));
        for noise in [Noise::Shared, Noise::Task] {
            check("normal", check_likelihood(Generalised::new(Normal::default()).with_noise(noise), &tasks(number)));
            check("gamma", check_likelihood(Generalised::new(Gamma::default()).with_noise(noise), &tasks(positive)));
            check("negative", check_likelihood(Generalised::new(NegativeBinomial::default()).with_noise(noise), &tasks(count)));
            check("ordinal", check_likelihood(Generalised::new(Ordinal::default()).with_noise(noise), &tasks(level)));
        }
        // The M-step of t by variational inference moves both its numbers at once and may go too far; what else it promises it keeps.
        check("student", check_likelihood(Generalised::new(StudentT::default()).with_inference(Inference::Laplace), &tasks(number)));
        for inference in [Inference::Variational, Inference::Laplace] {
            check("poisson", check_likelihood(Generalised::new(Poisson).with_inference(inference), &tasks(count)));
            check("binomial", check_likelihood(Generalised::new(Binomial::default()).with_inference(inference), &tasks(share)));
            check("gamma", check_likelihood(Generalised::new(Gamma::default()).with_inference(inference), &tasks(positive)));
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
