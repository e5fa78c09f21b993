//! How rows speak about parameters: a likelihood turns a task's rows into a quadratic and learns its own dispersion.

mod approximation;
mod family;
mod gaussian;

pub use approximation::{Approximation, FamilyRows, Inference};
pub use family::{Binomial, Family, Link, Local, Poisson};
pub use gaussian::{Gaussian, Noise};

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
}

impl Observations {
    /// The tasks in `coordinates`.
    pub fn new(tasks: &Tasks, coordinates: &Coordinates) -> Self {
        let each = 0..tasks.len();
        Observations {
            quadratics: tasks.quadratics(coordinates),
            rows: each.clone().map(|t| tasks.statistics(t).rows() as f64).collect(),
            log_weights: each.map(|t| tasks.statistics(t).log_weights()).collect(),
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

    /// The variance of a task.
    pub fn variance(&self, task: usize) -> f64 {
        if self.variances.len() == 1 { self.variances[0] } else { self.variances[task] }
    }
}

/// A family of targets.
///
/// To add one, put a file beside `gaussian.rs` that implements this trait; nothing below the quadratics changes.
pub trait Likelihood: std::fmt::Debug + Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// A dispersion to start from.
    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion;

    /// The quadratics of all tasks at a dispersion.
    fn quadratics(&self, data: &Observations, dispersion: &Dispersion) -> Quadratics;

    /// The M-step, given each task's expected residual sum of squares.
    fn update(&self, data: &Observations, residuals: &[f64], dispersion: &Dispersion) -> Dispersion;

    /// d (log-likelihood + log prior) / d log variance, one for each variance.
    fn slope(&self, data: &Observations, residuals: &[f64], dispersion: &Dispersion) -> Vec<f64>;

    /// The dispersion with other variances, its common variance at their best.
    fn with_variances(&self, variances: Vec<f64>, dispersion: &Dispersion) -> Dispersion;

    /// Log prior density of the dispersion (0 without one).
    fn log_prior(&self, dispersion: &Dispersion) -> f64;
}
