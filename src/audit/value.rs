//! What more rows of a task would be worth to another and to all, before they are collected.

use super::Audit;
use crate::error::{Error, Result};
use crate::linalg;
use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::Serialize;

/// Most related tasks of which every pair is looked at.
const MOST_RELATED: usize = 5_000;

/// How much less uncertain the predictions of a task would be with more rows of another. Variances are of x' w_t, without noise, in the square of the target's
/// unit (of a family on the scale of its linear predictor), the mean over the task's own rows.
#[derive(Clone, Debug, Serialize)]
pub struct Value {
    /// The variance as it is.
    pub variance: f64,
    /// By how much the rows would lower it.
    pub reduction: f64,
}

/// Where more rows would help most.
#[derive(Clone, Debug, Serialize)]
pub struct Allocation {
    /// How many rows each task is thought to have more.
    pub rows: f64,
    /// The mean over tasks of the variance of their predictions ([`Value`]), as it is; of targets in units of their own in those of each task.
    pub variance: f64,
    /// Every task, the one whose rows would lower that mean most first.
    pub tasks: Vec<Gain>,
}

/// What more rows of one task would take from the mean over all tasks of the variance of their predictions.
#[derive(Clone, Debug, Serialize)]
pub struct Gain {
    /// Its name.
    pub task: String,
    /// Its number.
    #[serde(skip)]
    pub number: usize,
    /// The rows that it has.
    pub rows: u64,
    /// By its own predictions' becoming surer.
    pub own: f64,
    /// By those of all others.
    pub others: f64,
}

impl Gain {
    /// By both.
    pub fn total(&self) -> f64 {
        self.own + self.others
    }
}

/// H with H' H = Delta (I + C_ss Delta)^-1, so that the covariance of t falls by C_ts H' H C_st.
pub(super) struct More(DMatrix<f64>);

impl More {
    /// B B' = Delta added to the information of a task whose covariance is C: H = R^-1 B' with R R' = I + B' C B.
    pub(super) fn of(information: &DMatrix<f64>, covariance: &DMatrix<f64>) -> Self {
        let (root, _) = linalg::pivoted_root(information);
        let mut outer = root.tr_mul(&(covariance * &root));
        (0..outer.nrows()).for_each(|k| outer[(k, k)] += 1.0);
        linalg::symmetrise(&mut outer);
        let mut right = root.transpose();
        linalg::solve_lower_matrix(&linalg::cholesky(outer).expect("I + B' C B is positive definite"), &mut right);
        More(right)
    }

    /// tr(S C_ts H' H C_st).
    pub(super) fn lowers(&self, between: &DMatrix<f64>, moment: &DMatrix<f64>) -> f64 {
        let moved = between * self.0.transpose();
        (moment * &moved).dot(&moved)
    }
}

impl Audit<'_> {
    /// What `rows` more rows of a donor, like those it has, would take from the uncertainty of a task's predictions, at the same hyperparameters: Delta = J_s rows /
    /// n_s more information about the donor lowers C_tt by C_ts Delta (I + C_ss Delta)^-1 C_st. Of a task without rows, rows like an average task's; where
    /// tasks share rows, new ones on which no other task is measured. As much as [`Audit::donors`].
    ///
    /// # Errors
    /// [`Error::Arguments`] for rows that are not a positive number, and of estimates from elsewhere, of whose rows nobody knows.
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
    /// let audit = Audit::of(&fit)?;
    /// let (own, other) = (audit.value(0, 0, 10.0)?, audit.value(0, 3, 10.0)?);
    /// assert!(0.0 < other.reduction && other.reduction < own.reduction && own.reduction < own.variance);
    /// // Field 0 has the fewest rows.
    /// assert_eq!(audit.allocation(10.0)?.tasks[0].task, "field 0");
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn value(&self, task: usize, donor: usize, rows: f64) -> Result<Value> {
        let moment = self.check_rows(rows)?(task);
        let influence = self.posterior.influence(task)?;
        let more = More::of(&self.information(donor, rows), &self.posterior.exact_covariance(donor)?);
        let unit = self.scale(task).powi(2);
        Ok(Value { variance: unit * moment.dot(&influence.with(task)), reduction: unit * more.lowers(&influence.with(donor), &moment) })
    }

    /// For every task what `rows` more rows of it would be worth to all, the best first: [`Audit::value`] summed over all tasks and divided by their number. Where
    /// tasks are unrelated given what they share, O(T d^3) by sums over tasks; O(T^2 d^3) where they are related.
    ///
    /// # Errors
    /// As [`Audit::value`]; [`Error::Arguments`] for more than 5,000 related tasks, or a system too large to factor.
    pub fn allocation(&self, rows: f64) -> Result<Allocation> {
        let moment = self.check_rows(rows)?;
        let (posterior, tasks) = (&self.posterior, self.tasks());
        let own_units = self.fit.tasks().has_own_units();
        let unit = |t: usize| if own_units { 1.0 } else { self.scale(t).powi(2) };
        let more = |s: usize, covariance: &DMatrix<f64>| More::of(&self.information(s, rows), covariance);
        // Of each task its own variance, its own gain and that of all others.
        let each: Vec<(f64, f64, f64)> = if let Some(covariance) = posterior.shared_covariance() {
            let size = covariance.nrows();
            let chunks: Vec<usize> = (0..tasks).step_by(super::CHUNK).collect();
            let said = |t: usize| {
                let map = posterior.shared_map_by(t, &covariance).map;
                map.tr_mul(&(moment(t) * &map)) * unit(t)
            };
            let sums = chunks.par_iter().map(|first| {
                let mine = *first..(first + super::CHUNK).min(tasks);
                mine.fold(DMatrix::zeros(size, size), |sum, t| sum + said(t))
            });
            let all = sums.collect::<Vec<_>>().into_iter().fold(DMatrix::zeros(size, size), |sum, own| sum + own);
            let own = |s: usize| {
                let (whole, moment) = (posterior.cross_covariance(s, s), moment(s));
                let more = more(s, &whole);
                let shared = posterior.shared_map_by(s, &covariance);
                let (spread, mine) = (shared.spread.tr_mul(&more.0.transpose()), shared.map.tr_mul(&(&moment * &shared.map)) * unit(s));
                let others = ((&all - mine) * &spread).dot(&spread).max(0.0);
                (unit(s) * moment.dot(&whole), unit(s) * more.lowers(&whole, &moment), others)
            };
            (0..tasks).into_par_iter().map(own).collect()
        } else {
            if !self.pairs_are_few() {
                let problem = format!(
                    "where among {tasks} related tasks more rows would help most is not looked for: beyond {MOST_RELATED} tasks, or along a graph too large to \
                     factor, that takes too long; ask for one task"
                );
                return Err(Error::Arguments(problem));
            }
            let moments: Vec<DMatrix<f64>> = (0..tasks).into_par_iter().map(|t| moment(t) * unit(t)).collect();
            let own = |s: usize| {
                let influence = posterior.influence(s)?;
                let whole = influence.with(s);
                let more = more(s, &whole);
                let lowers = |t: usize| more.lowers(&influence.with(t).transpose(), &moments[t]);
                let others = (0..tasks).filter(|t| *t != s).map(lowers).sum();
                Ok((moments[s].dot(&whole), lowers(s), others))
            };
            (0..tasks).into_par_iter().map(own).collect::<Result<_>>()?
        };
        let count = tasks as f64;
        let gain = |(number, (_, own, others)): (usize, &(f64, f64, f64))| {
            let rows = self.fit.tasks().statistics(number).rows();
            Gain { task: self.name(number), number, rows, own: own / count, others: others / count }
        };
        let mut gains: Vec<Gain> = each.iter().enumerate().map(gain).collect();
        gains.sort_by(|a, b| b.total().total_cmp(&a.total()));
        Ok(Allocation { rows, variance: each.iter().map(|own| own.0).sum::<f64>() / count, tasks: gains })
    }

    /// Whether what more rows are worth can be found for all tasks.
    pub(super) fn pairs_are_few(&self) -> bool {
        self.posterior.shared_covariance().is_some() || (self.tasks() <= MOST_RELATED && self.posterior.is_factored())
    }

    /// The moments of the tasks' rows, where rows are something that a task can have more of.
    pub(super) fn check_rows(&self, rows: f64) -> Result<impl Fn(usize) -> DMatrix<f64> + Sync> {
        if !(rows.is_finite() && rows > 0.0) {
            return Err(Error::Arguments(format!("{rows} more rows tell nothing; give a positive number")));
        }
        if self.fit.tasks().are_estimates() {
            let problem = "the model is of estimates from elsewhere, of whose rows nobody knows, so that what more of them would be worth is not known either; \
                           fit the rows to ask for it";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(|t: usize| self.moment(t).expect("there are rows"))
    }

    /// What so many rows more of a task, like those it has, would say.
    pub(super) fn information(&self, task: usize, rows: f64) -> DMatrix<f64> {
        let (all, tasks) = (self.posterior.quadratics(), self.fit.tasks());
        let own = tasks.statistics(task).rows() as f64;
        if own > 0.0 {
            return all.task(task).curvature * (rows / own);
        }
        let zero = DMatrix::zeros(all.features(), all.features());
        let total = (0..all.len()).fold(zero, |sum, s| sum + all.task(s).curvature);
        total * (rows / tasks.rows() as f64)
    }
}
