//! Predictions with their uncertainty, for tasks of the fit and for unseen ones.

use super::Fit;
use crate::error::{Error, Result};
use crate::likelihood::Outlook;
use nalgebra::DMatrix;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, Normal};

/// One new observation in short.
#[derive(Clone, Debug, Serialize)]
pub struct Prediction {
    /// Its expectation.
    pub mean: f64,
    /// Its standard deviation, noise included where there is any.
    pub sd: f64,
    /// Lower end of the central interval: of the observation, or for shares and levels of its expectation given the parameters (a
    /// probability, a mean level).
    pub lower: f64,
    /// Upper end of the central interval.
    pub upper: f64,
    #[serde(skip)]
    forecast: Forecast,
}

impl Prediction {
    /// Log predictive density of an observed target.
    pub fn log_density(&self, target: f64) -> f64 {
        self.forecast.log_density(target)
    }

    /// The whole distribution.
    pub fn forecast(&self) -> &Forecast {
        &self.forecast
    }
}

/// The predictive distribution of one new observation, averaged over the parameters: normal for Gaussian targets, by quadrature
/// otherwise.
#[derive(Clone, Debug)]
pub struct Forecast(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Normal { mean: f64, sd: f64 },
    Family(Outlook),
}

impl Forecast {
    /// Its expectation and standard deviation.
    pub fn moments(&self) -> (f64, f64) {
        match &self.0 {
            Kind::Normal { mean, sd } => (*mean, *sd),
            Kind::Family(outlook) => outlook.moments(),
        }
    }

    /// Log density (for counts and shares the log probability) of a target.
    pub fn log_density(&self, target: f64) -> f64 {
        match &self.0 {
            Kind::Normal { mean, sd } => -0.5 * ((target - mean) / sd).powi(2) - sd.ln() - 0.5 * (2.0 * std::f64::consts::PI).ln(),
            Kind::Family(outlook) => outlook.log_density(target),
        }
    }

    /// P(Y <= target); none for shares and levels.
    pub fn cumulative(&self, target: f64) -> Option<f64> {
        match &self.0 {
            Kind::Normal { mean, sd } => Some(Normal::standard().cdf((target - mean) / sd)),
            Kind::Family(outlook) => outlook.cumulative(target),
        }
    }

    /// In short, with the central interval of that probability.
    pub fn prediction(self, level: f64) -> Prediction {
        let ((mean, sd), (lower, upper)) = (self.moments(), self.interval(level));
        Prediction { mean, sd, lower, upper, forecast: self }
    }

    /// The central interval of that probability, in (0, 1): as the ends of [`Prediction`].
    pub fn interval(&self, level: f64) -> (f64, f64) {
        match &self.0 {
            Kind::Normal { mean, sd } => {
                let reach = Normal::standard().inverse_cdf(0.5 + 0.5 * level) * sd;
                (mean - reach, mean + reach)
            }
            Kind::Family(outlook) => outlook.interval(level),
        }
    }
}

impl Fit {
    /// Predicts an observation of weight 1 and offset 0 at features `x` (the intercept left out). A task that the fit has not seen is
    /// predicted from the prior: the mean, with the variance between tasks.
    ///
    /// Of a fit to [`Summaries`](crate::Summaries) it is x'w_t without noise, for nothing is known of observations; `x` has a value for every
    /// feature then, 1 for one named `(Intercept)`.
    ///
    /// The interval has probability `level`, and the uncertainty that [`Fit::intervals`] says (of the dispersion of a family its estimate).
    ///
    /// # Errors
    /// [`Error::UnknownTask`] for an unseen task where the structure has no prior for it, [`Error::Shape`] for another number
    /// of features, [`Error::Arguments`] for a level outside (0, 1).
    pub fn predict(&self, task: &str, x: &[f64], level: f64) -> Result<Prediction> {
        if !(level > 0.0 && level < 1.0) {
            return Err(Error::Arguments(format!("the interval {level} is not a probability; give one between 0 and 1, such as 0.95")));
        }
        Ok(self.forecast(self.task_number(task), task, x, 1.0, 0.0)?.prediction(level))
    }

    /// The number of a task of the fit.
    pub fn task_number(&self, task: &str) -> Option<usize> {
        self.tasks.names().iter().position(|name| name == task)
    }

    /// The predictive distribution of an observation of that weight and offset, for a task already looked up. O(d^2).
    ///
    /// # Errors
    /// As [`Fit::predict`].
    pub fn forecast(&self, number: Option<usize>, task: &str, x: &[f64], weight: f64, offset: f64) -> Result<Forecast> {
        if number.is_none() && self.tasks.groups().len() > 1 {
            let groups = self.tasks.groups().join(", ");
            let problem = format!("task '{task}' is not of the fit, whose tasks are of the groups {groups}; name its group");
            return Err(Error::Arguments(problem));
        }
        let group = number.map_or(0, |t| self.tasks.group(t));
        self.forecast_in((number, group), task, x, (weight, offset))
    }

    /// As [`Fit::forecast`], for a task that the fit has not seen, of one of its groups.
    ///
    /// # Errors
    /// As [`Fit::predict`], and [`Error::Arguments`] for a group that it has not seen.
    pub fn forecast_new(&self, group: &str, task: &str, x: &[f64], weight: f64, offset: f64) -> Result<Forecast> {
        let groups = self.tasks.groups();
        let number = groups.iter().position(|own| own == group).ok_or_else(|| {
            let known = groups.join(", ");
            Error::Arguments(format!("task '{task}' is of the group '{group}', which the fit has not seen; its groups are {known}"))
        })?;
        self.forecast_in((None, number), task, x, (weight, offset))
    }

    fn forecast_in(
        &self,
        (number, group): (Option<usize>, usize),
        task: &str,
        x: &[f64],
        (weight, offset): (f64, f64),
    ) -> Result<Forecast> {
        let columns = self.coordinates.centre.len();
        if x.len() != columns {
            return Err(Error::Shape { what: format!("a row of task '{task}'"), found: x.len(), expected: columns });
        }
        let z = self.coordinates.features(x);
        let (centre, spread, block) = match number {
            Some(t) => {
                let covariance = nalgebra::DMatrixView::from_slice(self.covariances.column(t).data.into_slice(), z.len(), z.len());
                (z.dot(&self.coefficients.column(t)), z.dot(&(covariance * &z)), self.dispersion.block(t))
            }
            None => {
                if !self.prior.free.is_empty() || self.structure == "independent" || self.tasks.has_own_units() {
                    return Err(Error::UnknownTask { task: task.into(), structure: self.structure.clone() });
                }
                let mut between = DMatrix::zeros(z.len(), z.len());
                let k = self.carried.average.as_ref().map_or_else(|| self.prior.feature_covariance(), |all| all.feature_covariance.clone());
                for (i, a) in self.prior.varying.iter().enumerate() {
                    for (j, b) in self.prior.varying.iter().enumerate() {
                        between[(*a, *b)] = k[(i, j)];
                    }
                }
                let scale = self.prior.groups.scales.get(group).copied().unwrap_or(1.0);
                let covariance = between * scale.powi(2) + self.fitted_mean_covariance(group);
                let block =
                    &self.dispersion.common[self.dispersion.places()[if self.dispersion.sizes.is_empty() { 0 } else { group }].clone()];
                (z.dot(&self.fitted_mean(group)), z.dot(&(covariance * &z)), block)
            }
        };
        if self.inference.is_none() {
            let expected = self.carried.average.as_ref().filter(|_| number.is_some() || !self.dispersion.is_each()).and_then(|average| {
                let own = if self.dispersion.is_each() { number.unwrap_or(0) } else { 0 };
                average.dispersion.get(own).copied()
            });
            let noise = if self.tasks.are_estimates() { 0.0 } else { expected.or(block.first().copied()).unwrap_or(1.0) };
            let unit = self.coordinates.target_unit(number);
            let sd = (spread.max(0.0) + noise / weight).sqrt() * unit.scale;
            return Ok(Forecast(Kind::Normal { mean: unit.centre + unit.scale * centre + offset, sd }));
        }
        let family = self.family_at(group, block).ok_or_else(|| {
            let name = self.families.get(group).unwrap_or(&self.family);
            Error::Arguments(format!("'{name}' is no family of cognate's; make predictions from Fit::coefficients and Fit::covariance"))
        })?;
        Ok(Forecast(Kind::Family(Outlook { family, weight, mean: centre + offset, sd: spread.max(0.0).sqrt() })))
    }
}
