//! How rows speak about parameters: a likelihood turns a task's rows into a quadratic and learns its own dispersion.

mod approximation;
mod family;
mod gaussian;

pub use approximation::{Approximation, FamilyRows, Inference};
pub use family::{Binomial, Family, Link, Local, Poisson};
pub(crate) use family::{Outlook, family};
pub use gaussian::{Gaussian, Noise};

use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use crate::tasks::{Coordinates, Tasks};
use serde::{Deserialize, Serialize};

/// Tasks in the coordinates of the fit.
pub struct Observations {
    /// Unit-precision quadratics, one a task.
    pub quadratics: Quadratics,
    /// Rows of each task.
    pub rows: Vec<f64>,
    /// Sum of the logarithms of each task's row weights.
    pub log_weights: Vec<f64>,
    /// The rows themselves, for a family whose quadratics depend on the parameters.
    pub each: Option<FamilyRows>,
}

impl Observations {
    /// The tasks in `coordinates`.
    pub fn new(tasks: &Tasks, coordinates: &Coordinates) -> Self {
        let each = 0..tasks.len();
        Observations {
            quadratics: tasks.quadratics(coordinates),
            rows: each.clone().map(|t| tasks.statistics(t).rows() as f64).collect(),
            log_weights: each.map(|t| tasks.statistics(t).log_weights()).collect(),
            each: None,
        }
    }

    /// Rows over all tasks.
    pub fn total_rows(&self) -> f64 {
        self.rows.iter().sum()
    }
}

/// The learned spread of the targets about their expectation, in fitted units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// One variance for all tasks, or one a task.
    pub variances: Vec<f64>,
    /// The common variance to which tasks are shrunk (equal to the only one where it is shared).
    pub common: f64,
    /// How many rows' worth the common variance weighs in each task (0: no shrinkage).
    pub strength: f64,
}

impl Dispersion {
    /// One variance for all tasks.
    pub fn shared(variance: f64) -> Self {
        Dispersion { variances: vec![variance], common: variance, strength: 0.0 }
    }

    /// Of a family whose spread follows from its mean: no variance, and 1 where one is asked for.
    pub fn none() -> Self {
        Dispersion { variances: Vec::new(), common: 1.0, strength: 0.0 }
    }

    /// The variance of a task.
    pub fn variance(&self, task: usize) -> f64 {
        match self.variances.as_slice() {
            [] => 1.0,
            [shared] => *shared,
            each => each[task],
        }
    }
}

/// How targets speak about parameters: Gaussian, or a [`Family`].
///
/// To add one, put a file beside `gaussian.rs` that implements this trait; nothing below the quadratics changes.
pub trait Likelihood: std::fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The family, where quadratics depend on the parameters.
    fn family(&self) -> Option<&dyn Family> {
        None
    }

    /// A dispersion to start from.
    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion;

    /// The E-step at a dispersion, where quadratics have to be looked for beginning with `from`.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses.
    fn posterior(&self, data: &Observations, dispersion: &Dispersion, prior: &Prior, from: Option<&Quadratics>) -> Result<Approximation>;

    /// The M-step.
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion;

    /// d (log-likelihood + log prior) / d log variance, one for each variance.
    fn slope(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Vec<f64>;

    /// The dispersion with other variances, its common variance at their best.
    fn with_variances(&self, variances: Vec<f64>, dispersion: &Dispersion) -> Dispersion;

    /// Log prior density of the dispersion (0 without one).
    fn log_prior(&self, dispersion: &Dispersion) -> f64;
}

/// Every family is a likelihood without a dispersion, its posterior approximated by variational inference.
impl<F: Family> Likelihood for F {
    fn name(&self) -> &'static str {
        Family::name(self)
    }

    fn family(&self) -> Option<&dyn Family> {
        Some(self)
    }

    fn start(&self, _: &Observations, _: &[usize]) -> Dispersion {
        Dispersion::none()
    }

    fn posterior(&self, data: &Observations, _: &Dispersion, prior: &Prior, from: Option<&Quadratics>) -> Result<Approximation> {
        let rows = data.each.as_ref().ok_or_else(|| rows_are_missing(Family::name(self)))?;
        if !prior.free.is_empty() || matches!(prior.relatedness, Relatedness::Diagonal(_)) {
            let problem =
                "this structure leaves parameters without a common prior, which needs Gaussian targets; use pooled or exchangeable";
            return Err(Error::Arguments(problem.into()));
        }
        Approximation::beginning(from, rows, self, prior, Inference::Variational)
    }

    fn update(&self, _: &Observations, _: &Posterior, dispersion: &Dispersion) -> Dispersion {
        dispersion.clone()
    }

    fn slope(&self, _: &Observations, _: &Posterior, _: &Dispersion) -> Vec<f64> {
        Vec::new()
    }

    fn with_variances(&self, _: Vec<f64>, dispersion: &Dispersion) -> Dispersion {
        dispersion.clone()
    }

    fn log_prior(&self, _: &Dispersion) -> f64 {
        0.0
    }
}

/// What a family without its rows is refused with.
pub(crate) fn rows_are_missing(family: &str) -> Error {
    Error::Arguments(format!("the family '{family}' needs the rows themselves, which sums do not hold; give them to Tasks::with_rows"))
}
