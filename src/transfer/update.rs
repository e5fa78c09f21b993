//! More rows of known tasks, without the rows that the fit was made of.

use super::drift::{self, Drift};
use crate::error::{Error, Result};
use crate::model::{Fit, Renewed};
use crate::quadratic::Quadratics;
use crate::tasks::Tasks;
use nalgebra::DVector;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::HashMap;

/// A fit with more rows, and whether they go with what it had learned.
#[derive(Clone, Debug)]
pub struct Update {
    fit: Fit,
    rows: u64,
    drift: std::result::Result<Drift, String>,
    changes: Vec<TaskChange>,
    repeated: Vec<String>,
}

/// Whether the new rows of a task go with what was known of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskChange {
    /// Its name.
    pub task: String,
    /// Its new rows.
    pub rows: u64,
    /// How far they pull away from the posterior before them, chi-squared if nothing has changed.
    pub statistic: f64,
    /// Degrees of freedom: the parameters that the new rows say something of.
    pub freedom: usize,
    /// Probability of being as far by chance.
    pub p_value: f64,
}

/// Rows of a task below which the same sums may be chance.
const LEAST_REPEATED: u64 = 3;

/// Probability at which drift and changes are told of where there are none.
pub(crate) const ALARM: f64 = 0.01;

impl Fit {
    /// This fit with more rows of its tasks: statistics are added and one E-step made at the same hyperparameters, so that with Gaussian
    /// targets parameters, covariances, own shares and log-likelihood are those of all rows together, and two updates are one. Neither K,
    /// Sigma, the noise nor edges are learned anew.
    ///
    /// Old rows of families other than the Gaussian speak through the quadratics that the fit kept of them, and new ones are approximated
    /// around the posterior of both (assumed density filtering, Maybeck 1982): near a fit of all rows where the new rows do not move the
    /// parameters far. The averages over hyperparameters that [`Intervals::Full`](crate::Intervals::Full) carries are not made anew
    /// ([`Fit::intervals_reason`]); neither are edge probabilities, nor the places of tasks without rows among the others ([`Fit::place`]
    /// them again).
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut parts = [Rows::new("y", &["x"]), Rows::new("y", &["x"])];
    /// for i in 0..120 {
    ///     let (t, x) = (i % 8, f64::from(i / 8) / 5.0);
    ///     let y = f64::from(t % 4) + 0.5 * x + f64::from(i * 7 % 11) * 0.1;
    ///     parts[usize::from(i % 3 == 0)].push(&format!("task {t}"), &[x], y, 1.0)?;
    /// }
    /// let [first, more] = parts.map(|rows| rows.tasks(&Design::varying(&["x"])));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&first)?;
    /// let update = fit.update(&more)?;
    /// assert_eq!(update.fit().tasks().rows(), 120);
    /// assert!(update.fit().covariance(0)[(0, 0)] < fit.covariance(0)[(0, 0)]);
    /// // Rows of the same kind as before are no news.
    /// assert!(update.drift().unwrap().p_value > 0.01 && update.changed(0.01).is_empty());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for tasks that the fit has not ([`Fit::transfer`] knows of these), other features, no rows at all, rows that
    /// tasks share, targets in units of their own, and clusters of a family; [`Error::BadTarget`] for a target that the family cannot have.
    pub fn update(&self, more: &Tasks) -> Result<Update> {
        let more = &self.alike(more)?;
        if self.shares_rows() || self.tasks().has_own_units() {
            let problem = "errors are correlated between the tasks of this fit, so that new rows of some speak of all; fit all rows anew";
            return Err(Error::Arguments(problem.into()));
        }
        if more.rows() == 0 {
            let problem =
                format!("no row has a target in column '{}', so there is nothing to add; check the column", self.tasks().target());
            return Err(Error::Arguments(problem));
        }
        let known: HashMap<&str, usize> = self.tasks().names().iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
        let number = |t: usize| {
            let name = &more.names()[t];
            self.check_attached(name)?;
            let number = *known.get(name.as_str()).ok_or_else(|| {
                let problem =
                    "is not of the fit; 'cognate transfer' tells of it without changing the fit, and a fit of all rows takes it in";
                Error::Arguments(format!("task '{name}' {problem}"))
            })?;
            let (own, named) = (self.tasks().group(number), self.group_of_new(more, t)?);
            if own != named {
                let [own, named] = [own, named].map(|group| &self.tasks().groups()[group]);
                return Err(Error::Arguments(format!(
                    "task '{name}' is of the group (family) '{own}' and is now said to be of '{named}'; correct it"
                )));
            }
            Ok(number)
        };
        let numbers = (0..more.len()).map(number).collect::<Result<Vec<_>>>()?;
        let is_repeated = |t: &usize| more.statistics(*t).rows() >= LEAST_REPEATED && self.tasks().has_rows_of(numbers[*t], more, *t);
        let repeated = (0..more.len()).filter(is_repeated).map(|t| more.names()[t].clone()).collect();
        let Renewed { fit, added } = self.renewed(more, &numbers)?;
        let changes = added.as_ref().map_or_else(Vec::new, |added| {
            let with_rows: Vec<usize> = (0..more.len()).filter(|t| more.statistics(*t).rows() > 0).collect();
            let of = |t: &usize| self.change(numbers[*t], more.statistics(*t).rows(), added);
            with_rows.par_iter().filter_map(of).collect()
        });
        let drift = if added.is_some() {
            drift::of(self, fit.tasks())
        } else {
            Err("the hyperparameters of families other than the Gaussian are not tested, for what old rows say of them was not kept".into())
        };
        let fit = match &drift {
            Ok(found) if found.freedom > 0 && found.p_value < ALARM => fit.with_warning(format!(
                "rows were added at hyperparameters that no longer fit (p {:.1e}; a refit would gain about {:.1} in log-likelihood): fit all rows anew",
                found.p_value, found.gain
            )),
            _ => fit,
        };
        Ok(Update { fit, rows: more.rows(), drift, changes, repeated })
    }

    /// The new rows of a task against its posterior before: their score there, g = h - J m, has variance J + J C J about 0.
    fn change(&self, number: usize, rows: u64, added: &Quadratics) -> Option<TaskChange> {
        let own = added.task(number);
        let (root, pivots) = crate::linalg::pivoted_root(&own.curvature);
        let freedom = pivots.len();
        let mean = self.fitted_coefficients(number);
        let score = &own.linear - &own.curvature * &mean;
        // g = B e over the columns of a root J = B B', so that e has variance I + B'CB.
        let mut products = crate::linalg::cholesky(root.tr_mul(&root))?;
        let mut along: DVector<f64> = root.tr_mul(&score);
        crate::linalg::solve_cholesky_vector(&products, &mut along);
        products = root.tr_mul(&(self.fitted_covariance(number) * &root));
        (0..freedom).for_each(|k| products[(k, k)] += 1.0);
        let factor = crate::linalg::cholesky(products)?;
        let mut solved = along.clone();
        crate::linalg::solve_cholesky_vector(&factor, &mut solved);
        let statistic = along.dot(&solved);
        Some(TaskChange {
            task: self.tasks().names()[number].clone(),
            rows,
            statistic,
            freedom,
            p_value: drift::p_value(statistic, freedom),
        })
    }
}

impl Update {
    /// The fit with all rows.
    pub fn fit(&self) -> &Fit {
        &self.fit
    }

    /// The same, for keeps.
    pub fn into_fit(self) -> Fit {
        self.fit
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether the hyperparameters still fit.
    ///
    /// # Errors
    /// Why that is not known, in words.
    pub fn drift(&self) -> std::result::Result<&Drift, &str> {
        self.drift.as_ref().map_err(String::as_str)
    }

    /// Tasks whose new rows have the sums of those that the fit had: they are as good as certainly the same rows, which now count twice.
    pub fn repeated(&self) -> &[String] {
        &self.repeated
    }

    /// Every task with new rows beside what was known of it, in the order of the new rows; empty for families other than the Gaussian.
    pub fn changes(&self) -> &[TaskChange] {
        &self.changes
    }

    /// The tasks that have changed, the surest first: with the probability `level` at most any of them by chance (Bonferroni).
    pub fn changed(&self, level: f64) -> Vec<&TaskChange> {
        let least = level / self.changes.len().max(1) as f64;
        let mut changed: Vec<&TaskChange> = self.changes.iter().filter(|own| own.p_value < least).collect();
        changed.sort_by(|a, b| a.p_value.total_cmp(&b.p_value));
        changed
    }
}
