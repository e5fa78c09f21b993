//! The weight of every task in the parameters of one.

use super::{Audit, Said};
use crate::error::Result;
use crate::linalg;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::Serialize;

/// Whose rows decide the parameters of a task.
///
/// The weight of a task is tr(W_ts) / d: the mean over the d features (those that are combinations of others not counted) of the weight of its own estimate of
/// the feature in that of the task. It does not depend on how features are centred and scaled, and over all tasks it adds to 1 where all features have a flat
/// mean or are free (what is missing is [`Donors::prior`]). The sum over tasks of d times [`Donors::own`] is the effective number of parameters of the fit (Spiegelhalter and others 2002). A weight
/// below 0 says that the parameters go up where the donor's estimate goes down, as with an anticorrelated task, where another donor says the same, and on shared
/// rows, where the error of one target tells of that of another.
#[derive(Clone, Debug, Serialize)]
pub struct Donors {
    /// The task that is taught.
    pub task: String,
    /// Its rows.
    pub rows: u64,
    /// The weight of its own rows, also through the mean: the own share of all that decides its parameters. ([`Fit::own_share`](crate::Fit::own_share) is
    /// that of its deviation from the mean.)
    pub own: f64,
    /// The part of that which does not go through the mean.
    pub own_direct: f64,
    /// How much of all weights goes through the common mean, which all tasks make.
    pub mean: f64,
    /// The weight of what was believed before the rows: of a mean of 0, a given one, or a proper prior of the mean. 0 where the mean is flat.
    pub prior: f64,
    /// (sum |a_s|)^2 / sum a_s^2 over the weights a of other tasks: as many equal donors would be as evenly spread (the inverse Simpson index); 0 without any.
    pub effective_donors: f64,
    /// The other tasks, the largest weight by size first.
    pub donors: Vec<Donor>,
}

/// A task as the teacher of another.
#[derive(Clone, Debug, Serialize)]
pub struct Donor {
    /// Its name.
    pub task: String,
    /// Its number.
    #[serde(skip)]
    pub number: usize,
    /// Its weight.
    pub weight: f64,
    /// The part of the weight that does not go through the common mean: what it has as a neighbour.
    pub direct: f64,
}

/// Weight of a task in another, and the part of it that does not go through the mean.
#[derive(Clone, Copy, Debug, Default)]
struct Weight {
    all: f64,
    direct: f64,
}

/// A weight below which nothing but rounding is left.
const NOTHING: f64 = 1e-12;

impl Audit<'_> {
    /// The weight of every task in the parameters of one. O(T d^3), and a column of the joint system for each direction that varies.
    ///
    /// # Errors
    /// Where the system of related tasks is too large to factor and conjugate gradients do not reach the solution.
    pub fn donors(&self, task: usize) -> Result<Donors> {
        Ok(self.donors_of(&[task])?.pop().expect("one was asked for"))
    }

    /// As [`Audit::donors`] for several tasks, in one look at all others where these are unrelated given what they share (exchangeable tasks, factors).
    ///
    /// # Errors
    /// As [`Audit::donors`].
    pub fn donors_of(&self, tasks: &[usize]) -> Result<Vec<Donors>> {
        let weights = match (self.said(), self.posterior.shared_covariance()) {
            (Said::Each(_), Some(covariance)) => self.weights_by_shared(tasks, &covariance)?,
            _ => tasks.iter().map(|t| self.weights_of(*t)).collect::<Result<_>>()?,
        };
        Ok(tasks.iter().zip(weights).map(|(t, own)| self.described(*t, &own)).collect())
    }

    /// W_ts, d x d in the table's units: with a flat mean or one of 0 the parameters of a task are sum_s W_ts b_s, b_s the least-squares estimates of
    /// [`Audit::estimate`] (where tasks share some rows and not others, those by generalised least squares of all of them together). As much as
    /// [`Audit::donors`].
    ///
    /// # Errors
    /// As [`Audit::donors`].
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, audit::Audit};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
    /// #     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
    /// #     rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let audit = Audit::of(&fit)?;
    /// let mut taught = nalgebra::DVector::zeros(2);
    /// for donor in 0..6 {
    ///     taught += audit.weights(2, donor)? * audit.estimate(donor).unwrap();
    /// }
    /// assert!((taught - fit.coefficients(2)).amax() < 1e-9);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn weights(&self, task: usize, donor: usize) -> Result<DMatrix<f64>> {
        let influence = self.posterior.influence(task)?;
        let mut each = self.said().each(self.tasks(), &|s| influence.with(s), &|_, weights, _| weights);
        let (here, there) = (self.to_table(task), self.to_table(donor));
        let fitted = each.swap_remove(donor);
        Ok(here * fitted * there.try_inverse().expect("no scale is 0"))
    }

    /// What the rows of a task say of its parameters by themselves, by least squares and in the table's units (of a family at the fitted approximation); none
    /// where they do not decide all of them.
    pub fn estimate(&self, task: usize) -> Option<DVector<f64>> {
        let own = self.posterior.quadratics().task(task);
        let leaves = self.fit.tasks().left_intercept(task, self.fit.coordinates()).is_some();
        let features: Vec<usize> = (usize::from(leaves)..own.linear.len()).collect();
        let curvature = own.curvature.select_rows(&features).select_columns(&features);
        if linalg::independent_columns(&curvature).len() < features.len() {
            return None;
        }
        let mut values = own.linear.select_rows(&features);
        linalg::solve_cholesky_vector(&linalg::cholesky(curvature)?, &mut values);
        let mut fitted = DVector::zeros(own.linear.len());
        features.iter().zip(values.iter()).for_each(|(feature, value)| fitted[*feature] = *value);
        Some(self.coefficients(task, &fitted))
    }

    /// The tasks whose own rows have the smallest weights, that first; where each weight takes a solution, those that decide least of their deviations.
    pub(super) fn least_own(&self, most: usize) -> Result<Vec<usize>> {
        let own = |t: usize| match self.posterior.is_factored() {
            true => Ok(self.posterior.exact_covariance(t)?.dot(&self.posterior.quadratics().task(t).curvature)),
            false => Ok(self.fit.own_share(t).unwrap_or(0.0)),
        };
        let own: Vec<f64> = (0..self.tasks()).into_par_iter().map(own).collect::<Result<_>>()?;
        let mut order: Vec<usize> = (0..own.len()).collect();
        order.sort_by(|a, b| own[*a].total_cmp(&own[*b]));
        order.truncate(most);
        Ok(order)
    }

    fn weights_of(&self, task: usize) -> Result<Vec<Weight>> {
        let influence = self.posterior.influence(task)?;
        let (all, direct) = rayon::join(
            || self.said().each(self.tasks(), &|s| influence.with(s), &|_, weights, _| weights.trace()),
            || self.said().each(self.tasks(), &|s| influence.given_mean(s), &|_, weights, _| weights.trace()),
        );
        let d = self.features as f64;
        Ok(all.into_iter().zip(direct).map(|(all, direct)| Weight { all: all / d, direct: direct / d }).collect())
    }

    /// tr(G_t V G_s' J_s) of every s for several t.
    fn weights_by_shared(&self, tasks: &[usize], covariance: &DMatrix<f64>) -> Result<Vec<Vec<Weight>>> {
        let (posterior, d) = (&self.posterior, self.features as f64);
        let m = posterior.spread_of_mean().nrows();
        let spreads: Vec<DMatrix<f64>> = tasks.par_iter().map(|t| posterior.shared_map_by(*t, covariance).spread).collect();
        let by_donor = (0..self.tasks()).into_par_iter().map(|s| {
            let seen = posterior.quadratics().task(s).curvature * posterior.shared_map_by(s, covariance).map;
            let of = |spread: &DMatrix<f64>| {
                let direct = spread.columns_range(m..).dot(&seen.columns_range(m..));
                Weight { all: (direct + spread.columns_range(..m).dot(&seen.columns_range(..m))) / d, direct: direct / d }
            };
            spreads.iter().map(of).collect::<Vec<Weight>>()
        });
        let by_donor: Vec<Vec<Weight>> = by_donor.collect();
        let each = tasks.par_iter().enumerate().map(|(i, t)| {
            let mut own: Vec<Weight> = by_donor.iter().map(|of| of[i]).collect();
            let (influence, curvature) = (posterior.influence(*t)?, posterior.quadratics().task(*t).curvature);
            own[*t] = Weight { all: influence.with(*t).dot(&curvature) / d, direct: influence.given_mean(*t).dot(&curvature) / d };
            Ok(own)
        });
        each.collect()
    }

    fn described(&self, task: usize, weights: &[Weight]) -> Donors {
        let others = |t: &usize| *t != task && weights[*t].all.abs() > NOTHING;
        let donor = |number: usize| {
            let Weight { all, direct } = weights[number];
            Donor { task: self.name(number), number, weight: all, direct: if direct.abs() > NOTHING { direct } else { 0.0 } }
        };
        let mut donors: Vec<Donor> = (0..weights.len()).filter(others).map(donor).collect();
        donors.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
        let (sum, squares) = donors.iter().fold((0.0, 0.0), |(sum, squares), own| (sum + own.weight.abs(), squares + own.weight.powi(2)));
        let plain = |share: f64| if share.abs() > 1e-9 { share } else { 0.0 };
        let has_mean = !self.fit.prior().mean_features.is_empty();
        let through_mean: f64 = weights.iter().map(|own| own.all - own.direct).sum();
        Donors {
            task: self.name(task),
            rows: self.fit.tasks().statistics(task).rows(),
            own: weights[task].all,
            own_direct: weights[task].direct,
            mean: if has_mean { plain(through_mean) } else { 0.0 },
            prior: plain(1.0 - weights.iter().map(|own| own.all).sum::<f64>()),
            effective_donors: if squares > 0.0 { sum * sum / squares } else { 0.0 },
            donors,
        }
    }
}
