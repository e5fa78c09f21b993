//! Checks for likelihoods, families and structures that are not cognate's own, and strategies that draw valid input: what its own are held to.

mod family;
mod likelihood;
#[cfg(feature = "proptest")]
pub mod strategies;
mod structure;
mod support;

pub use family::check_family;
pub use likelihood::check_likelihood;
pub use structure::check_structure;

use crate::error::{Error, Result};
use std::fmt;

/// What a family, a likelihood or a structure promises.
///
/// ```
/// use cognate::testing::Promise;
/// assert_eq!(Promise::Slope.to_string(), "the slope is the derivative of the log density by the predictor");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Promise {
    /// Rows that its caller says it can have are not refused.
    Accepts,
    /// Targets that it cannot have are refused: whatever is not refused has a finite log density.
    Refuses,
    /// A predictor to start from is finite.
    Start,
    /// [`Local::slope`](crate::Local) is the derivative of the value.
    Slope,
    /// [`Local::curvature`](crate::Local) is the derivative of the slope with the sign changed.
    Curvature,
    /// The curvature of a family that says that it is concave is not negative.
    Concave,
    /// Densities sum or integrate to one.
    Mass,
    /// The mean is that of the density.
    Mean,
    /// The variance is that of the density, and a weight divides it.
    Variance,
    /// P(Y <= y) is that of the density.
    Cumulative,
    /// Draws follow the density.
    Draws,
    /// A weight repeats a row, or divides the first number of the dispersion.
    Weight,
    /// Expectations over a normal predictor are those of a quadrature of many nodes.
    Expected,
    /// The deviance is twice the log density lost, up to a factor.
    Deviance,
    /// The dispersion has a name for each number, and the family at its own numbers is the family.
    Dispersion,
    /// What is added for the slope by the logarithms of the dispersion is the derivative.
    DispersionSlope,
    /// Quadratics of tasks are symmetric and their curvature has no negative eigenvalue.
    Quadratics,
    /// Coordinates lead back to what has them.
    RoundTrip,
    /// A slope in coordinates is the derivative of the log-likelihood with the log priors.
    CoordinateSlope,
    /// An M-step does not lower the log-likelihood with the log priors.
    Update,
    /// A start is a prior under which there is a posterior.
    Prior,
    /// A fit does not depend on how tasks are named.
    Names,
    /// A fit does not depend on the order of rows and tasks.
    Order,
    /// The library can work with it at all.
    Works,
}

impl fmt::Display for Promise {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Promise::Accepts => "rows that it is said to have are not refused",
            Promise::Refuses => "what it cannot have is refused",
            Promise::Start => "a start is finite",
            Promise::Slope => "the slope is the derivative of the log density by the predictor",
            Promise::Curvature => "the curvature is the derivative of the slope with the sign changed",
            Promise::Concave => "a log density that is said to be concave has no negative curvature",
            Promise::Mass => "densities sum to 1",
            Promise::Mean => "the mean is that of the density",
            Promise::Variance => "the variance is that of the density, divided by the weight",
            Promise::Cumulative => "the cumulative probability is that of the density",
            Promise::Draws => "draws follow the density",
            Promise::Weight => "a weight repeats a row, or divides the first number of the dispersion",
            Promise::Expected => "expectations are those over a normal predictor",
            Promise::Deviance => "the deviance is twice the log density lost, up to a factor",
            Promise::Dispersion => "the dispersion can be read and set",
            Promise::DispersionSlope => "the slope by the dispersion is the derivative by its logarithm",
            Promise::Quadratics => "quadratics are symmetric and have no negative curvature",
            Promise::RoundTrip => "coordinates lead back to where they were taken",
            Promise::CoordinateSlope => "the slope is the derivative of the log posterior by the coordinates",
            Promise::Update => "an M-step does not lower the log posterior",
            Promise::Prior => "a start is a valid prior",
            Promise::Names => "a fit does not depend on the names of tasks",
            Promise::Order => "a fit does not depend on the order of rows and tasks",
            Promise::Works => "the library can work with it",
        })
    }
}

/// A promise that is not kept, where and by how much.
///
/// ```
/// use cognate::testing::{Failure, Promise};
/// let failure = Failure { subject: "laplace".into(), promise: Promise::Mass, place: "at predictor 0.3".into(), numbers: Some((0.5, 1.0)) };
/// assert_eq!(failure.to_string(), "laplace does not keep that densities sum to 1: at predictor 0.3, 0.5 where 1 was expected");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// Of which family, likelihood or structure, by its name.
    pub subject: String,
    /// What was promised.
    pub promise: Promise,
    /// Where: the target, its weight, the predictor, the coordinate or the task.
    pub place: String,
    /// The number that was found and the one that was expected, where there are two.
    pub numbers: Option<(f64, f64)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} does not keep that {}: {}", self.subject, self.promise, self.place)?;
        self.numbers.map_or(Ok(()), |(found, expected)| write!(out, ", {found} where {expected} was expected"))
    }
}

impl std::error::Error for Failure {}

/// Who is checked, by name.
struct Subject(String);

impl Subject {
    fn fails<T>(&self, promise: Promise, place: impl Into<String>, numbers: Option<(f64, f64)>) -> std::result::Result<T, Failure> {
        Err(Failure { subject: self.0.clone(), promise, place: place.into(), numbers })
    }

    /// That a promise holds.
    fn holds(&self, promise: Promise, kept: bool, place: impl Fn() -> String) -> std::result::Result<(), Failure> {
        if kept { Ok(()) } else { self.fails(promise, place(), None) }
    }

    /// That a number is another to a tolerance.
    fn equals(
        &self,
        promise: Promise,
        (found, expected): (f64, f64),
        tolerance: f64,
        place: impl Fn() -> String,
    ) -> std::result::Result<(), Failure> {
        // Not a number is not near either.
        let near = (found - expected).abs() <= tolerance;
        if near { Ok(()) } else { self.fails(promise, place(), Some((found, expected))) }
    }

    /// What the library made, or why it did not.
    fn made<T>(&self, made: Result<T>) -> std::result::Result<T, Failure> {
        made.or_else(|error: Error| self.fails(Promise::Works, error.to_string(), None))
    }
}

/// Central differences of a function at a point, none where it has no value.
fn differences(value: impl Fn(&[f64]) -> Option<f64>, point: &[f64], step: f64) -> Vec<Option<f64>> {
    let moved = |k: usize, step: f64| {
        let mut there = point.to_vec();
        there[k] += step;
        value(&there)
    };
    (0..point.len()).map(|k| Some((moved(k, step)? - moved(k, -step)?) / (2.0 * step))).collect()
}
