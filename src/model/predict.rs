//! Predictions with their uncertainty, for tasks of the fit and for unseen ones.

use super::Fit;
use crate::error::{Error, Result};
use crate::likelihood::{Outlook, family};
use nalgebra::DMatrix;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// The predictive distribution of one new observation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Prediction {
    /// Its expectation.
    pub mean: f64,
    /// Its standard deviation, noise included.
    pub sd: f64,
    /// Lower end of the central interval: of the observation, or for a family other than the Gaussian of its expectation given the
    /// parameters (a probability, a rate).
    pub lower: f64,
    /// Upper end of the central interval.
    pub upper: f64,
    /// For such a family.
    #[serde(skip)]
    outlook: Option<Outlook>,
}

impl Prediction {
    /// Log predictive density of an observed target.
    pub fn log_density(&self, target: f64) -> f64 {
        if let Some(outlook) = &self.outlook {
            return outlook.log_density(target);
        }
        -0.5 * ((target - self.mean) / self.sd).powi(2) - self.sd.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln()
    }
}

impl Fit {
    /// Predicts an observation of weight 1 at features `x` (the intercept left out). A task that the fit has not seen is
    /// predicted from the prior: the mean, with the variance between tasks.
    ///
    /// The interval is Gaussian at probability `level` and takes the hyperparameters as known.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] for an unseen task where the structure has no prior for it, [`Error::Shape`] for another number
    /// of features, [`Error::Arguments`] for a level outside (0, 1).
    pub fn predict(&self, task: &str, x: &[f64], level: f64) -> Result<Prediction> {
        self.predict_task(self.task_number(task), task, x, level, 1.0)
    }

    /// The number of a task of the fit.
    pub fn task_number(&self, task: &str) -> Option<usize> {
        self.tasks.names().iter().position(|name| name == task)
    }

    /// As [`Fit::predict`] for a task already looked up and an observation of precision weight `weight`.
    pub fn predict_task(&self, number: Option<usize>, task: &str, x: &[f64], level: f64, weight: f64) -> Result<Prediction> {
        let columns = self.coordinates.centre.len();
        if x.len() != columns {
            return Err(Error::Shape { what: format!("a row of task '{task}'"), found: x.len(), expected: columns });
        }
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::Arguments(format!("the interval {level} is not a probability; give one between 0 and 1, such as 0.95")));
        }
        let z = self.coordinates.features(x);
        let (centre, spread, noise) = match number {
            Some(t) => {
                let covariance = nalgebra::DMatrixView::from_slice(self.covariances.column(t).data.into_slice(), z.len(), z.len());
                (z.dot(&self.coefficients.column(t)), z.dot(&(covariance * &z)), self.dispersion.variance(t))
            }
            None => {
                if !self.prior.free.is_empty() || self.structure == "independent" {
                    return Err(Error::UnknownTask { task: task.into(), structure: self.structure.clone() });
                }
                let mut between = DMatrix::zeros(z.len(), z.len());
                let k = self.prior.feature_covariance();
                for (i, a) in self.prior.varying.iter().enumerate() {
                    for (j, b) in self.prior.varying.iter().enumerate() {
                        between[(*a, *b)] = k[(i, j)];
                    }
                }
                let covariance = between + &self.mean_covariance;
                (z.dot(&self.mean), z.dot(&(covariance * &z)), self.dispersion.common)
            }
        };
        let reach = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
        if self.family != "gaussian" {
            let family = family(&self.family).ok_or_else(|| {
                Error::Arguments(format!(
                    "'{}' is no family of cognate's; make predictions from Fit::coefficients and Fit::covariance",
                    self.family
                ))
            })?;
            let outlook = Outlook { family, weight, mean: centre, sd: spread.max(0.0).sqrt() };
            let ((mean, sd), (lower, upper)) = (outlook.moments(), outlook.interval(reach));
            return Ok(Prediction { mean, sd, lower, upper, outlook: Some(outlook) });
        }
        let mean = self.coordinates.target(centre);
        let sd = (spread.max(0.0) + noise / weight).sqrt() * self.coordinates.target_scale;
        Ok(Prediction { mean, sd, lower: mean - reach * sd, upper: mean + reach * sd, outlook: None })
    }
}
