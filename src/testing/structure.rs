//! What a structure promises about its priors: starts, M-steps, coordinates and slopes, and that tasks are names in no order.

use super::{Failure, Promise, Subject, differences};
use crate::em;
use crate::likelihood::{Dispersion, Gaussian, Likelihood, Observations};
use crate::model::{Fit, Intervals, Model};
use crate::posterior::Posterior;
use crate::prior::{Groups, Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use crate::simulate::{NoiseLevel, targets};
use crate::structure::{Setting, Structure};
use crate::tasks::{Coordinates, Design, Rows, Tasks};
use nalgebra::{DMatrix, DVector, dvector};

/// Tasks that are simulated, and the features of their rows.
const TASKS: usize = 9;
const FEATURES: [&str; 2] = ["x1", "x2"];

/// M-steps taken.
const UPDATES: usize = 6;

/// What may be lost of a log posterior by rounding, of its size.
const ROUNDING: f64 = 1e-9;

/// What differences lack, of the size of what is compared.
const DIFFERENCE: f64 = 1e-5;

/// How far two fits' log posteriors may be apart, of their size, and their parameters, in standard deviations of these.
const FITS: (f64, f64) = (1e-6, 1e-2);

type Checked = Result<(), Failure>;

/// Whether a structure keeps what [`Structure`] and [`Smooth`](crate::Smooth) promise, on 9 simulated tasks of 5 to 17 Gaussian rows with an intercept and two
/// features, whose parameters are related along a chain: its start is a prior under which there is a posterior; coordinates lead back to the prior;
/// slopes are differences of the log posterior (step 1e-5, to 1e-5 of their size); an M-step does not lower the log posterior (but the first from the optimum of a `base`, which may begin what that had not); a fit is the same to
/// the last bit whatever tasks are called, and whatever their order to 1e-6 of the log posterior and a hundredth of the standard deviations of parameters. `make` is handed the names of the
/// tasks, which are others in each of three fits, but the same tasks at the same places; it makes the structure, for one that is told something of tasks with
/// these names. Slopes, steps and the order mean nothing where edges are sampled (`edge_probabilities`), for draws depend on it; a structure whose start gives
/// the dispersion takes no steps. Takes as long as its fits.
///
/// ```
/// use cognate::testing::check_structure;
/// use cognate::{Exchangeable, FeatureCovariance, Known, KnownRelation};
/// check_structure(|_| Box::new(Exchangeable::new(FeatureCovariance::Full)))?;
/// check_structure(|names| {
///     let chain = names.windows(2).map(|pair| (pair[0].clone(), pair[1].clone(), 1.0)).collect();
///     Box::new(Known::new(FeatureCovariance::Diagonal, KnownRelation::Graph(chain)))
/// })?;
/// # Ok::<(), cognate::testing::Failure>(())
/// ```
///
/// # Errors
/// The first promise that is not kept, with the coordinate, the M-step or the task.
pub fn check_structure(make: impl Fn(&[String]) -> Box<dyn Structure>) -> Checked {
    let names: Vec<String> = (0..TASKS).map(|t| format!("task {t}")).collect();
    let subject = Subject(make(&names).name().to_string());
    let drawn = subject.made(simulated(&names))?;
    climbs(&subject, make(&names), &drawn.tasks(&design()))?;
    // Last becomes first, and no name is a task's of before.
    let others: Vec<String> = (0..TASKS).map(|t| format!("unit {}", TASKS - t)).collect();
    let fit = |rows: &Rows, names: &[String]| {
        subject.made(Model::of(Box::new(Gaussian::default()), make(names)).intervals(Intervals::PlugIn).fit(&rows.tasks(&design())))
    };
    let own = fit(&drawn, &names)?;
    let renamed = fit(&subject.made(called(&drawn, &others))?, &others)?;
    same(&subject, Promise::Names, (&own, &names), (&renamed, &others), (0.0, 0.0))?;
    if own.edge_probabilities().is_some() {
        return Ok(());
    }
    let turned = fit(&subject.made(reversed(&drawn))?, &names)?;
    same(&subject, Promise::Order, (&own, &names), (&turned, &names), FITS)
}

fn design() -> Design {
    Design::varying(&FEATURES)
}

/// Rows of tasks related along a chain, ragged and weighted.
fn simulated(names: &[String]) -> crate::Result<Rows> {
    let mut bare = Rows::new("y", &FEATURES);
    // A sequence of low discrepancy (Weyl), so that no table of draws has to be kept.
    let mut number = 0.0;
    let mut uniform = |step: f64| {
        number += 1.0;
        (number * step).fract() - 0.5
    };
    for (t, name) in names.iter().enumerate() {
        for _ in 0..5 + 7 * t % 13 {
            let x = [4.0 * uniform(2f64.sqrt()), 3.0 * uniform(3f64.sqrt())];
            bare.push(name, &x, 0.0, 1.0 + uniform(5f64.sqrt()))?;
        }
    }
    let sigma = DMatrix::from_fn(names.len(), names.len(), |s, t| 0.6f64.powi(s.abs_diff(t) as i32));
    let factor = DMatrix::from_row_slice(3, 3, &[1.0, 0.0, 0.0, 0.3, 0.8, 0.0, -0.2, 0.1, 0.5]);
    let prior = Prior::new(Mean::Given(dvector![2.0, 1.0, -0.5]), Relatedness::Dense(sigma), factor);
    let coordinates = Coordinates::identity(&design());
    Ok(targets(&prior, &bare, &design(), &coordinates, NoiseLevel::Sd(0.7), 11)?.rows)
}

/// The same rows of tasks of other names.
fn called(rows: &Rows, names: &[String]) -> crate::Result<Rows> {
    let mut other = Rows::new(rows.target(), rows.features());
    for i in 0..rows.len() {
        other.push(&names[rows.task(i)], rows.x(i), rows.y(i), rows.weight(i))?;
    }
    Ok(other)
}

/// The same rows from the last to the first.
fn reversed(rows: &Rows) -> crate::Result<Rows> {
    let mut other = Rows::new(rows.target(), rows.features());
    for i in (0..rows.len()).rev() {
        other.push(&rows.names()[rows.task(i)], rows.x(i), rows.y(i), rows.weight(i))?;
    }
    Ok(other)
}

/// That two fits are, task by task at the same place of their names.
fn same(
    subject: &Subject,
    promise: Promise,
    (own, names): (&Fit, &[String]),
    (other, others): (&Fit, &[String]),
    (of_height, of_parameters): (f64, f64),
) -> Checked {
    let numbers = (other.log_posterior(), own.log_posterior());
    subject.equals(promise, numbers, of_height * (1.0 + numbers.1.abs()), || "in the log posterior".into())?;
    for (name, other_name) in names.iter().zip(others) {
        let (Some(s), Some(t)) = (own.task_number(name), other.task_number(other_name)) else {
            return subject.fails(promise, format!("'{name}' or '{other_name}' is no task of its fit"), None);
        };
        let covariance = own.covariance(s);
        for (k, (own, other)) in own.coefficients(s).iter().zip(other.coefficients(t).iter()).enumerate() {
            let tolerance = of_parameters * covariance[(k, k)].sqrt();
            subject.equals(promise, (*other, *own), tolerance, || format!("in parameter {k} of '{name}'"))?;
        }
    }
    Ok(())
}

/// A start of the structure, M-steps from there, and coordinates and slopes where these lead.
fn climbs(subject: &Subject, mut structure: Box<dyn Structure>, tasks: &Tasks) -> Checked {
    let data = Observations::new(tasks, &Coordinates::identity(tasks.design()));
    let likelihood = Gaussian::default();
    let features = tasks.design().mean_features();
    let noise = likelihood.start(&data, &features);
    let (mean, mean_precision, groups) = (Mean::Profiled, DMatrix::zeros(0, 0), Groups::default());
    let setting = Setting {
        data: &data,
        names: tasks.names(),
        mean_features: &features,
        varying: &tasks.design().varying_features(),
        unrelated: &[],
        intercept: Some(0),
        mean: &mean,
        mean_precision: &mean_precision,
        noise: noise.common_variance(),
        groups: &groups,
        likelihood: &likelihood,
    };
    let (start, fixed) = subject.made(structure.start(&setting))?;
    if let Some(own) = fixed {
        return is_prior(subject, structure.as_ref(), &likelihood.quadratics(&data, &own), &start, "the start");
    }
    let (prior, dispersion) = subject.made(begun(structure.as_mut(), &likelihood, &setting, (start, noise)))?;
    let quadratics = likelihood.quadratics(&data, &dispersion);
    is_prior(subject, structure.as_ref(), &quadratics, &prior, "the start")?;
    let prior = updates(subject, structure.as_mut(), &quadratics, prior)?;
    is_prior(subject, structure.as_ref(), &quadratics, &prior, "what M-steps lead to")?;
    coordinates(subject, structure.as_ref(), &quadratics, &prior)
}

/// Where a fit begins: at the start, or at one of those from the optimum of the base.
fn begun(
    structure: &mut dyn Structure,
    likelihood: &Gaussian,
    setting: &Setting,
    (start, noise): (Prior, Dispersion),
) -> crate::Result<(Prior, Dispersion)> {
    let Some(mut base) = structure.base() else { return Ok((start, noise)) };
    let of_base = Setting { mean: &start.mean, ..*setting };
    let climbed = em::climb(likelihood, base.as_mut(), &of_base, &em::Options::default(), &|_| {})?;
    let quadratics = likelihood.quadratics(setting.data, &climbed.dispersion);
    let mut starts = structure.starts(&|| Posterior::owning(quadratics.clone(), &climbed.prior))?;
    Ok((if starts.is_empty() { climbed.prior } else { starts.swap_remove(0) }, climbed.dispersion))
}

/// The log posterior of a prior, none where it is none.
fn height(structure: &dyn Structure, quadratics: &Quadratics, prior: &Prior) -> Option<f64> {
    let posterior = Posterior::given(quadratics, prior).ok()?;
    Some(posterior.log_likelihood() + posterior.log_mean_density() + structure.log_prior(prior))
}

fn is_prior(subject: &Subject, structure: &dyn Structure, quadratics: &Quadratics, prior: &Prior, place: &str) -> Checked {
    let (rows, varying) = (prior.factor.nrows(), prior.varying.len());
    subject.holds(Promise::Prior, rows == varying, || format!("{place} has a factor of {rows} rows for {varying} varying features"))?;
    let finite = prior.factor.iter().all(|own| own.is_finite());
    subject.holds(Promise::Prior, finite, || format!("{place} has a factor that is not finite"))?;
    let posterior = match Posterior::given(quadratics, prior) {
        Ok(posterior) => posterior,
        Err(error) => return subject.fails(Promise::Prior, format!("{place}: {error}"), None),
    };
    let numbers = [posterior.log_likelihood(), structure.log_prior(prior)];
    let names = ["log-likelihood", "log prior"];
    for (number, name) in numbers.into_iter().zip(names) {
        subject.holds(Promise::Prior, number.is_finite(), || format!("{place} has a {name} of {number}"))?;
    }
    if let Some(sigma) = prior.relatedness.covariance(quadratics.len()) {
        let uneven = (&sigma - sigma.transpose()).amax();
        subject.holds(Promise::Prior, uneven <= 1e-9 * sigma.amax(), || format!("{place} has a task covariance that is not symmetric"))?;
        let least = sigma.clone().symmetric_eigenvalues().min();
        subject
            .holds(Promise::Prior, least >= -1e-9 * sigma.amax(), || format!("{place} has a task covariance with eigenvalue {least}"))?;
    }
    Ok(())
}

/// M-steps from a prior; where they lead.
fn updates(subject: &Subject, structure: &mut dyn Structure, quadratics: &Quadratics, mut prior: Prior) -> Result<Prior, Failure> {
    for step in 1..=UPDATES {
        let is_smooth = structure.smooth().is_some();
        let before = height(structure, quadratics, &prior);
        let posterior = subject.made(Posterior::given(quadratics, &prior))?;
        let next = subject.made(structure.update(&posterior))?;
        let after = height(structure, quadratics, &next);
        // Before a discrete choice is made there is nothing to climb, and what is climbed may change with it.
        let begins = step == 1 && structure.base().is_some();
        if let (true, Some(before)) = (is_smooth && !begins && structure.edge_probabilities().is_none(), before) {
            let kept = after.is_some_and(|after| after >= before - ROUNDING * (1.0 + before.abs()));
            if !kept {
                return subject.fails(Promise::Update, format!("in step {step}"), after.map(|after| (after, before)));
            }
        }
        prior = next;
    }
    Ok(prior)
}

fn coordinates(subject: &Subject, structure: &dyn Structure, quadratics: &Quadratics, prior: &Prior) -> Checked {
    let Some(smooth) = structure.smooth().filter(|_| structure.edge_probabilities().is_none()) else { return Ok(()) };
    let point = smooth.coordinates(prior);
    let Some(back) = smooth.at(&point, prior) else {
        return subject.fails(Promise::RoundTrip, format!("there is no prior at the coordinates {point:?} of one"), None);
    };
    for (k, (found, own)) in smooth.coordinates(&back).iter().zip(&point).enumerate() {
        subject.equals(Promise::RoundTrip, (*found, *own), 1e-8 * (1.0 + own.abs()), || format!("in coordinate {k}"))?;
    }
    let heights = (height(structure, quadratics, &back), height(structure, quadratics, prior));
    if let (Some(found), Some(own)) = heights {
        subject.equals(Promise::RoundTrip, (found, own), 1e-8 * (1.0 + own.abs()), || "in the log posterior".into())?;
    }
    let posterior = subject.made(Posterior::given(quadratics, &back))?;
    let slope = smooth.slope(&posterior);
    let counts = (slope.len() as f64, point.len() as f64);
    subject.equals(Promise::CoordinateSlope, counts, 0.0, || "in the number of coordinates".into())?;
    let value = |point: &[f64]| height(structure, quadratics, &smooth.at(point, &back)?);
    let scale = DVector::from_column_slice(&slope).amax();
    for (k, difference) in differences(value, &point, 1e-5).into_iter().enumerate() {
        let Some(difference) = difference else {
            return subject.fails(Promise::CoordinateSlope, format!("there is no prior beside coordinate {k}"), None);
        };
        let tolerance = DIFFERENCE * (1.0 + difference.abs() + scale);
        subject.equals(Promise::CoordinateSlope, (slope[k], difference), tolerance, || format!("in coordinate {k}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::KernelShape;
    use crate::structure::{FeatureCovariance, KnownRelation, NAMES, Options, by_name};
    use crate::tasks::{DescriptorValues, Descriptors};
    use std::sync::Arc;

    fn options(names: &[String]) -> Options {
        let places = DescriptorValues::Numbers((0..names.len()).map(|t| t as f64).collect());
        Options {
            relation: Some(KnownRelation::Graph(names.windows(2).map(|pair| (pair[0].clone(), pair[1].clone(), 1.0)).collect())),
            descriptors: Some(Arc::new(Descriptors::new(names.to_vec(), vec![("place".into(), places)]).unwrap())),
            kernel: KernelShape::default(),
            ..Options::default()
        }
    }

    /// cognate's own, with every shape of K and with scales of tasks.
    #[test]
    fn every_structure_keeps_its_promises() {
        let mut failures = Vec::new();
        for name in NAMES {
            for kind in [FeatureCovariance::Scalar, FeatureCovariance::Diagonal, FeatureCovariance::Full] {
                // Clusters of nine tasks with any K have so flat an optimum that fits end more than a hundredth of a standard deviation from each other.
                if name == "clusters" && kind == FeatureCovariance::Full {
                    continue;
                }
                for robust in [false, true] {
                    let make =
                        |names: &[String]| by_name(name, &Options { feature_covariance: Some(kind), robust, ..options(names) }).unwrap();
                    failures.extend(check_structure(make).err().map(|failure| format!("{kind:?} robust {robust}: {failure}")));
                }
            }
        }
        assert!(failures.is_empty(), "{failures:#?}");
    }
}
