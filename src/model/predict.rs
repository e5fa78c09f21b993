//! Predictions with their uncertainty, for tasks of the fit and for unseen ones.

use super::Fit;
use crate::error::{Error, Result};
use crate::likelihood::{FAMILY_NAMES, Outlook, family, normal_crps};
use nalgebra::{DMatrix, DVector};
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
    /// The normal distribution, to score forecasts from elsewhere like those of a fit.
    ///
    /// # Errors
    /// [`Error::Arguments`] unless `mean` is finite and `sd` positive.
    pub fn normal(mean: f64, sd: f64) -> Result<Self> {
        if !(mean.is_finite() && sd.is_finite() && sd > 0.0) {
            return Err(Error::Arguments(format!(
                "N({mean}, {sd}^2) is no forecast; give a finite mean and a positive standard deviation"
            )));
        }
        Ok(Forecast(Kind::Normal { mean, sd }))
    }

    /// The distribution of a target of that weight in a family by its name on the command line, at these numbers beside the mean
    /// ([`Family::dispersion`](crate::Family::dispersion); none for its first ones), averaged over the linear predictor N(mean, sd^2).
    ///
    /// ```
    /// use cognate::Forecast;
    /// let sure = Forecast::family("poisson", &[], 1.0, (3f64.ln(), 0.0))?;
    /// assert!((sure.log_density(0.0) + 3.0).abs() < 1e-14);
    /// assert!(Forecast::family("gamma", &[0.5, 1.0], 1.0, (0.0, 0.1)).is_err());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for an unknown name, another number of numbers, or one that is not positive and finite (a standard deviation may
    /// be 0).
    pub fn family(name: &str, dispersion: &[f64], weight: f64, (mean, sd): (f64, f64)) -> Result<Self> {
        let refuse = |problem: String| Err(Error::Arguments(problem));
        let Some(first) = family(name, &[]) else {
            return refuse(format!("'{name}' is no family of cognate's; choose one of {}", FAMILY_NAMES.join(", ")));
        };
        let expected = first.dispersion().len();
        if !dispersion.is_empty() && dispersion.len() != expected && name != "ordinal" {
            return refuse(format!("the family '{name}' has {expected} numbers beside the mean, not {}; give as many", dispersion.len()));
        }
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !(dispersion.iter().all(|value| positive(*value)) && positive(weight) && mean.is_finite() && (sd == 0.0 || positive(sd))) {
            return refuse(format!("a forecast of the family '{name}' needs a finite predictor, and positive numbers beside it"));
        }
        let family = if dispersion.is_empty() { first } else { first.with_dispersion(dispersion).unwrap_or(first) };
        Ok(Forecast(Kind::Family(Outlook { family, weight, mean, sd })))
    }

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

    /// Continuous ranked probability score of what came: integral of (P(Y <= x) - 1{x >= y})^2 dx (Gneiting and Raftery 2007), in the target's units,
    /// lower is better; |y - mean| of a forecast that is sure. It equals E|Y - y| - E|Y - Y'| / 2. Of counts it is the sum over whole numbers, of
    /// levels that over levels and of shares that over numbers of successes divided by the trials, all ranked probability scores (Epstein
    /// 1969): for one trial the [Brier score](Forecast::brier).
    ///
    /// Gamma and t forecasts are as exact as their distribution functions, about 1e-9 of the score in the tests; so are counts, of which large ones
    /// are not added one by one. None where the expectation is infinite, the target cannot occur, or the weight of a share is no number of trials.
    ///
    /// ```
    /// use cognate::Forecast;
    /// // A fair coin is (1 - 1/2)^2 from either side.
    /// let coin = Forecast::family("bernoulli", &[], 1.0, (0.0, 0.0))?;
    /// assert!((coin.crps(1.0).unwrap() - 0.25).abs() < 1e-12);
    /// // (sqrt 2 - 1) / sqrt pi at the mean of N(0, 1).
    /// let normal = Forecast::normal(0.0, 1.0)?.crps(0.0).unwrap();
    /// assert!((normal - (2f64.sqrt() - 1.0) / std::f64::consts::PI.sqrt()).abs() < 1e-12);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn crps(&self, target: f64) -> Option<f64> {
        match &self.0 {
            Kind::Normal { mean, sd } => Some(normal_crps(*mean, *sd, target)),
            Kind::Family(outlook) => outlook.crps(target),
        }
    }

    /// Probability integral transform: P(Y < y) and P(Y <= y) of what came, of numbers the same twice. Of a calibrated forecast a point drawn
    /// evenly between the two is uniform on (0, 1), so that the distribution functions of these intervals average to a straight line (Czado,
    /// Gneiting and Held 2009). None where the target cannot occur.
    ///
    /// ```
    /// use cognate::Forecast;
    /// let sure = Forecast::family("poisson", &[], 1.0, (1f64.ln(), 0.0))?;
    /// let (below, at) = sure.pit(1.0).unwrap();
    /// assert!((below - (-1f64).exp()).abs() < 1e-12 && (at - 2.0 * (-1f64).exp()).abs() < 1e-12);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn pit(&self, target: f64) -> Option<(f64, f64)> {
        match &self.0 {
            Kind::Normal { .. } => self.cumulative(target).map(|p| (p, p)),
            Kind::Family(outlook) => outlook.pit(target),
        }
    }

    /// Brier score of a share y: the squared difference between the probability p of a success and what came, mean over trials: y (1 - p)^2 + (1 -
    /// y) p^2 (Brier 1950). None for other targets.
    ///
    /// ```
    /// use cognate::Forecast;
    /// let coin = Forecast::family("binomial", &[], 4.0, (0.0, 0.0))?;
    /// assert!((coin.brier(0.75).unwrap() - 0.25).abs() < 1e-12);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn brier(&self, target: f64) -> Option<f64> {
        self.is_share().then(|| {
            let p = self.moments().0;
            target * (1.0 - p).powi(2) + (1.0 - target) * p * p
        })
    }

    /// Unit deviance of the family at the expectation, twice the log density that is lost against the best mean (McCullagh and Nelder 1989):
    /// (y - mean)^2 of Gaussian targets; none of t and of levels. Of shares it is that of one trial.
    ///
    /// ```
    /// use cognate::Forecast;
    /// let rate = Forecast::family("poisson", &[], 1.0, (2f64.ln(), 0.0))?;
    /// assert!((rate.deviance(0.0).unwrap() - 4.0).abs() < 1e-13);
    /// assert_eq!(Forecast::normal(1.0, 3.0)?.deviance(3.0), Some(4.0));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn deviance(&self, target: f64) -> Option<f64> {
        match &self.0 {
            Kind::Normal { mean, .. } => Some((target - mean).powi(2)),
            Kind::Family(outlook) => outlook.family.deviance(target, outlook.moments().0),
        }
    }

    /// Whether targets are shares of trials.
    pub(crate) fn is_share(&self) -> bool {
        matches!(&self.0, Kind::Family(outlook) if outlook.is_share())
    }

    /// Whether [`Forecast::interval`] is of targets.
    pub(crate) fn has_interval(&self) -> bool {
        match &self.0 {
            Kind::Normal { .. } => true,
            Kind::Family(outlook) => outlook.family.cumulative(1.0, outlook.weight, outlook.mean).is_some(),
        }
    }

    /// What is wrong with a target, if anything.
    pub(crate) fn refuses(&self, target: f64) -> Option<&'static str> {
        match &self.0 {
            Kind::Normal { .. } => None,
            Kind::Family(outlook) => outlook.refuses(target),
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
        if let (None, Some((alone, own))) = (number, self.detached_task(task)) {
            return alone.forecast(Some(own), task, x, weight, offset);
        }
        if number.is_none() && self.tasks.groups().len() > 1 {
            let groups = self.tasks.groups().join(", ");
            let problem =
                format!("task '{task}' is not of the fit, whose tasks are of the groups (families) {groups}; name the one that it is of");
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
            Error::Arguments(format!("task '{task}' is of the group (family) '{group}', which the fit has not seen; it has {known}"))
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
        self.check_row(task, x)?;
        let z = self.coordinates.features(x);
        match number {
            Some(t) => {
                let covariance = nalgebra::DMatrixView::from_slice(self.covariances.column(t).data.into_slice(), z.len(), z.len());
                let predictor = (z.dot(&self.coefficients.column(t)), z.dot(&(covariance * &z)));
                self.forecast_at((number, group), predictor, (weight, offset))
            }
            None => self.forecast_of(group, &self.belief(task, group)?.moments(), task, x, (weight, offset)),
        }
    }

    /// As [`Fit::forecast_in`], for a task of a group that the fit has not seen, of these parameters and covariance in fitted coordinates.
    pub(crate) fn forecast_of(
        &self,
        group: usize,
        (parameters, covariance): &(DVector<f64>, DMatrix<f64>),
        task: &str,
        x: &[f64],
        sides: (f64, f64),
    ) -> Result<Forecast> {
        self.check_row(task, x)?;
        let z = self.coordinates.features(x);
        self.forecast_at((None, group), (z.dot(parameters), z.dot(&(covariance * &z))), sides)
    }

    fn check_row(&self, task: &str, x: &[f64]) -> Result<()> {
        let columns = self.coordinates.centre.len();
        if x.len() == columns {
            return Ok(());
        }
        Err(Error::Shape { what: format!("a row of task '{task}'"), found: x.len(), expected: columns })
    }

    /// At a linear predictor of that mean and variance, in fitted coordinates and without the offset.
    pub(crate) fn forecast_at(
        &self,
        (number, group): (Option<usize>, usize),
        (centre, spread): (f64, f64),
        (weight, offset): (f64, f64),
    ) -> Result<Forecast> {
        if self.inference.is_none() {
            let block = number.map_or_else(|| self.dispersion.common_block(group), |t| self.dispersion.block(t));
            let expected = self.carried.average.as_ref().filter(|_| number.is_some() || !self.dispersion.is_each()).and_then(|average| {
                let own = if self.dispersion.is_each() { number.unwrap_or(0) } else { 0 };
                average.dispersion.get(own).copied()
            });
            let noise = if self.tasks.are_estimates() { 0.0 } else { expected.or(block.first().copied()).unwrap_or(1.0) };
            let unit = self.coordinates.target_unit(number);
            let sd = (spread.max(0.0) + noise / weight).sqrt() * unit.scale;
            return Ok(Forecast(Kind::Normal { mean: unit.centre + unit.scale * centre + offset, sd }));
        }
        let family = self.family_of_row((number, group))?.expect("a fit with inference has families");
        Ok(Forecast(Kind::Family(Outlook { family, weight, mean: centre + offset, sd: spread.max(0.0).sqrt() })))
    }
}
