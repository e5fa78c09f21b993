//! One task in full: what every other gives it, what is left without each, and what more rows of each would be worth to it.

use super::value::More;
use super::{Audit, Donors, Explanation};
use crate::error::Result;
use nalgebra::DVector;
use rayon::prelude::*;
use serde::Serialize;

/// Most donors, the strongest first, of which more than the weight is found; and where the system of related tasks is not factored, so that each takes a solution.
const DETAILED: usize = 1_000;
const SOLVED: usize = 15;

/// What an audit says of one task. Predictions are at the mean of the features over its rows, in the target's units (of a family on the scale of its linear
/// predictor).
#[derive(Clone, Debug, Serialize)]
pub struct Lesson {
    /// The task.
    pub task: String,
    /// Its rows.
    pub rows: u64,
    /// The weight of its own rows.
    pub own: f64,
    /// How much goes through the common mean.
    pub mean: f64,
    /// The weight of what was believed before the rows.
    pub prior: f64,
    /// How many donors there are in effect.
    pub effective_donors: f64,
    /// What the prediction is made of; none without rows, and where tasks share some of their rows and not others.
    pub prediction: Option<Explanation>,
    /// Its standard deviation, without noise.
    pub sd: Option<f64>,
    /// The variance of predictions as [`Value`](super::Value) has it.
    pub variance: Option<f64>,
    /// How many more rows of each task are thought of.
    pub more_rows: f64,
    /// What its own rows give it.
    pub itself: Given,
    /// What the others do, the largest weight by size first.
    pub donors: Vec<Given>,
}

/// What the rows of one task give another (or itself). None where nobody knows: without rows, where tasks share rows, where nothing else decides the parameters,
/// and of the weakest of very many donors.
#[derive(Clone, Debug, Serialize)]
pub struct Given {
    /// The donor.
    pub task: String,
    /// Its rows.
    pub rows: u64,
    /// Its weight.
    pub weight: f64,
    /// The part of the weight that does not go through the common mean.
    pub direct: f64,
    /// What its rows say of the prediction by themselves, by least squares ([`Audit::estimate`]); none where they do not decide all parameters, and of targets in
    /// units of their own.
    pub by_itself: Option<f64>,
    /// What would be predicted without its rows.
    pub prediction_without: Option<f64>,
    /// The standard deviation of that.
    pub sd_without: Option<f64>,
    /// By how much more rows of it would lower the variance of predictions.
    pub reduction: Option<f64>,
}

impl Audit<'_> {
    /// Everything about one task, with `rows` more rows of each in mind: [`Audit::donors`], [`Audit::without`] and [`Audit::value`] of up to 1,000 donors, and
    /// [`Audit::explain_average`].
    ///
    /// # Errors
    /// [`Error::Arguments`](crate::Error::Arguments) for rows that are not a positive number, and as [`Audit::donors`].
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, audit::Audit};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (if i < 4 { 0 } else { 1 + i % 5 }, f64::from(i % 9) / 4.0);
    /// #     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
    /// #     rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let lesson = Audit::of(&fit)?.lesson(0, 10.0)?;
    /// // Nothing is surer without its rows, and its own are the ones that it needs.
    /// assert!(lesson.donors.iter().all(|donor| donor.sd_without > lesson.sd && donor.reduction < lesson.itself.reduction));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn lesson(&self, task: usize, rows: f64) -> Result<Lesson> {
        let moment = if self.fit.tasks().are_estimates() { None } else { Some(self.check_rows(rows)?(task)) };
        let Donors { task: name, rows: own_rows, own, own_direct, mean, prior, effective_donors, donors } = self.donors(task)?;
        let influence = self.posterior.influence(task)?;
        let whole = influence.with(task);
        let tasks = self.fit.tasks();
        let row = tasks.average_row(task).map(|x| self.fitted_row(task, &x));
        let lead = tasks.design().has_intercept().then_some(1.0);
        let average = tasks.average_row(task).map(|x| DVector::from_iterator(tasks.design().len(), lead.into_iter().chain(x)));
        let (centre, scale) = (self.centre(task), self.scale(task));
        let level = self.level_variance(task).unwrap_or(0.0);
        let shares_rows = self.shares_rows();
        let detailed = if self.posterior.is_factored() { DETAILED } else { SOLVED };
        let given = |(place, number, weight, direct): (usize, usize, f64, f64)| -> Result<Given> {
            let (task_name, rows_there) = (self.name(number), tasks.statistics(number).rows());
            let mut given = Given {
                task: task_name,
                rows: rows_there,
                weight,
                direct,
                by_itself: None,
                prediction_without: None,
                sd_without: None,
                reduction: None,
            };
            if place > detailed {
                return Ok(given);
            }
            let (between, covariance) = (influence.with(number), self.posterior.exact_covariance(number)?);
            let table_row = average.as_ref().filter(|_| !tasks.has_own_units());
            given.by_itself = table_row.and_then(|row| Some(self.estimate(number)?.dot(row)));
            let left = row.as_ref().filter(|_| !shares_rows).map(|z| (z, self.less((task, number), (&whole, &between), &covariance)));
            if let Some((z, Ok((mean, covariance)))) = left {
                given.prediction_without = Some(centre + scale * z.dot(&mean));
                given.sd_without = Some((scale * scale * z.dot(&(covariance * z)) + level).max(0.0).sqrt());
            }
            let more = moment.as_ref().map(|moment| More::of(&self.information(number, rows), &covariance).lowers(&between, moment));
            given.reduction = more.map(|less| scale * scale * less);
            Ok(given)
        };
        let listed: Vec<(usize, usize, f64, f64)> =
            donors.iter().enumerate().map(|(k, donor)| (k + 1, donor.number, donor.weight, donor.direct)).collect();
        Ok(Lesson {
            task: name,
            rows: own_rows,
            own,
            mean,
            prior,
            effective_donors,
            prediction: self.explain_average(task).ok().flatten(),
            sd: row.as_ref().map(|z| (scale * scale * z.dot(&(&whole * z)) + level).max(0.0).sqrt()),
            variance: moment.as_ref().map(|moment| scale * scale * moment.dot(&whole)),
            more_rows: rows,
            itself: given((0, task, own, own_direct))?,
            donors: listed.into_par_iter().map(given).collect::<Result<_>>()?,
        })
    }
}
