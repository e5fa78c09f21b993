//! The E-step: the posterior of every task's parameters given the quadratics and a prior.

mod apart;
mod block;
mod coupled;
mod elimination;
mod engine;
mod free;
mod gibbs;
mod grouped;
mod influence;
mod iterative;
mod kronecker;
mod lanes;
mod low_rank;
mod mean;
mod mixed;
mod moments;
mod newcomer;
mod scales;
mod seen;
mod sparse;
mod tied;

use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg;
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::{Joint, Quadratics};
use apart::Apart;
use block::Block;
use coupled::Coupled;
use engine::{Engine, Outcome};
pub(crate) use gibbs::{Gibbs, TaskPrecision};
use kronecker::Kronecker;
use low_rank::LowRank;
use mixed::Mixed;
use nalgebra::{DMatrix, DVector};
use rand::Rng;
use rayon::prelude::*;
use seen::Seen;
use sparse::Sparse;
use std::borrow::Cow;
use std::sync::OnceLock;
use tied::Tied;

/// Tasks handled by one unit of parallel work; fixed, so that sums do not depend on the thread count.
const CHUNK: usize = 64;

/// The Gaussian posterior of all task parameters.
///
/// With Sigma = I (or diagonal) tasks are independent given the mean and each costs O(d^3); with a dense Sigma the joint
/// system has T r unknowns, O((T r)^3); with a task graph it is factored along the graph's connected components; k factors cost O(T d^3 + (k r)^3).
/// Deviations are kept *whitened*: u_t = L b_t with K = L L', so a singular K needs no inverse.
pub struct Posterior<'a> {
    seen: Seen<'a>,
    prior: Prior,
    /// The prior with its features renumbered without the free ones.
    inner: Prior,
    mean: DVector<f64>,
    mean_covariance: DMatrix<f64>,
    deviations: DMatrix<f64>,
    log_likelihood: f64,
    log_likelihood_error: f64,
    engine: Engine,
    /// How far the mean moves every task, once asked for.
    moved: OnceLock<DMatrix<f64>>,
}

/// Mean of the common coefficients and what the engines share.
pub(crate) struct MeanEstimate {
    /// Over all features (0 where a feature has no mean).
    mean: DVector<f64>,
    /// Over the mean features.
    covariance: DMatrix<f64>,
    /// Contribution of integrating over it and its prior.
    log_volume: f64,
}

impl MeanEstimate {
    /// Solves (information + prior precision) * mean = score over the mean features.
    fn solve(prior: &Prior, features: usize, mut information: DMatrix<f64>, score: DVector<f64>) -> Result<Self> {
        let m = prior.mean_features.len();
        let spread = |values: &DVector<f64>| {
            let mut all = DVector::zeros(features);
            prior.mean_features.iter().zip(values.iter()).for_each(|(feature, value)| all[*feature] = *value);
            all
        };
        if let Mean::Given(values) = &prior.mean {
            return Ok(MeanEstimate { mean: spread(values), covariance: DMatrix::zeros(m, m), log_volume: 0.0 });
        }
        if !prior.mean_precision.is_empty() {
            information += &prior.mean_precision;
        }
        let factor = linalg::cholesky(information).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the information on the common mean".into(),
            remedy: "leave out features that are combinations of others, or standardise them".into(),
        })?;
        let mut solution = DMatrix::from_column_slice(m, 1, score.as_slice());
        linalg::solve_cholesky(&factor, &mut solution);
        if let Mean::Estimated(values) = &prior.mean {
            solution.set_column(0, values);
        }
        let values = solution.column(0).into_owned();
        let log_volume = match prior.mean {
            Mean::Integrated => {
                let volume = m as f64 * (2.0 * std::f64::consts::PI).ln() - linalg::log_determinant(&factor);
                prior.log_mean_density(&values) + 0.5 * volume
            }
            _ => 0.0,
        };
        Ok(MeanEstimate { mean: spread(&values), covariance: linalg::inverse_of_cholesky(&factor), log_volume })
    }
}

/// What a joint system of all whitened deviations gives once it is solved.
pub(crate) struct Solved {
    mean: MeanEstimate,
    /// At the mean, T r long.
    deviations: DVector<f64>,
    /// What pulls at them there.
    gradient: DVector<f64>,
    /// How a unit of the mean moves them back, (T r) x m.
    sensitivity: DMatrix<f64>,
}

impl Solved {
    /// From the right-hand sides, one for each mean feature and then that of the rows, and A^-1 of them.
    fn new(
        prior: &Prior,
        features: usize,
        (right, solved): (&DMatrix<f64>, &DMatrix<f64>),
        (mut information, mut score): (DMatrix<f64>, DVector<f64>),
    ) -> Result<Self> {
        let m = prior.mean_features.len();
        let cross = right.columns(0, m).transpose() * solved;
        information -= cross.columns(0, m);
        score -= cross.column(m);
        linalg::symmetrise(&mut information);
        let mean = MeanEstimate::solve(prior, features, information, score)?;
        let own = mean.mean.select_rows(&prior.mean_features);
        let deviations = solved.column(m) - solved.columns(0, m) * &own;
        let gradient = right.column(m) - right.columns(0, m) * &own;
        Ok(Solved { mean, deviations, gradient, sensitivity: solved.columns(0, m).into_owned() })
    }
}

impl<'a> Posterior<'a> {
    /// The posterior given the tasks' quadratics and the prior.
    ///
    /// # Errors
    /// [`Error::Shape`] for a relatedness of another size, [`Error::NotPositiveDefinite`] where Sigma or the information on
    /// the mean is not, [`Error::TooLarge`] where the joint system would not fit in memory (said before the work).
    pub fn given(quadratics: &'a Quadratics, given: &Prior) -> Result<Self> {
        Self::of(Cow::Borrowed(quadratics), given)
    }

    /// As [`Posterior::given`], the quadratics its own.
    pub(crate) fn owning(quadratics: Quadratics, given: &Prior) -> Result<Posterior<'static>> {
        Posterior::of(Cow::Owned(quadratics), given)
    }

    fn of(quadratics: Cow<'a, Quadratics>, given: &Prior) -> Result<Self> {
        let mut prior = given.clone();
        let seen = Seen::new(quadratics, &mut prior)?;
        let data = seen.quadratics();
        let outcome = match (&prior.mixture, data.joint(), &prior.relatedness) {
            (Some(mixture), _, _) => Mixed::solve(data, &prior, mixture)?,
            (None, Some(Joint::Complete(complete)), _) => Kronecker::solve(complete, &prior)?,
            (None, Some(Joint::Partial(partial)), _) => Tied::solve(partial, data, &prior)?,
            _ if !prior.unrelated.is_empty() => Apart::solve(data, &prior)?,
            (None, None, Relatedness::Zero | Relatedness::Identity | Relatedness::Diagonal(_)) => Block::solve(data, &prior)?,
            (None, None, Relatedness::Dense(_) | Relatedness::Graph(_)) => Coupled::solve(data, &prior)?,
            (None, None, Relatedness::LowRank { .. }) => LowRank::solve(data, &prior)?,
        };
        let Outcome { mean, deviations, log_likelihood, log_likelihood_error, engine } = outcome;
        Ok(Posterior {
            seen,
            prior: given.clone(),
            inner: prior,
            mean: mean.mean,
            mean_covariance: mean.covariance,
            deviations,
            log_likelihood: log_likelihood + mean.log_volume,
            log_likelihood_error,
            engine,
            moved: OnceLock::new(),
        })
    }

    /// Whether the log-likelihood of a posterior from this prior is an estimate.
    pub(crate) fn is_estimated_for(prior: &Prior) -> bool {
        matches!(&prior.relatedness, Relatedness::Graph(graph) if coupled::is_too_large(graph, prior.related_columns().len()))
    }

    fn data(&self) -> &Quadratics {
        self.seen.quadratics()
    }

    /// The prior it was made from.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// The posterior of the directions in which tasks may be related, the others integrated out.
    pub(crate) fn related(&self) -> &Posterior<'_> {
        match &self.engine {
            Engine::Apart(apart) => apart.related(),
            _ => self,
        }
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.deviations.ncols()
    }

    /// Log marginal likelihood (with a profiled mean at its estimate; with an integrated mean the restricted one).
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Its standard error, 0 where it is exact. Where the system of related tasks is too large to factor, its log-determinant is a
    /// stochastic estimate, and posterior covariances are averages over draws; the posterior means are exact there too.
    pub fn log_likelihood_error(&self) -> f64 {
        self.log_likelihood_error
    }

    /// The common mean over the features that are not free (0 where a feature has none); of several groups that of the first.
    pub fn mean(&self) -> DVector<f64> {
        self.mean_of_group(0)
    }

    /// The mean of a task's group over the features that are not free.
    pub fn mean_of(&self, task: usize) -> DVector<f64> {
        self.mean_of_group(self.prior.groups.of(task))
    }

    /// The mean of a group.
    pub(crate) fn mean_of_group(&self, group: usize) -> DVector<f64> {
        self.seen.mean_of_group(group, &self.mean)
    }

    /// d (log-likelihood + log prior) / d mean over the mean features, sum_t h_t - J_t E[w_t] - P mean: 0 at a profiled mean. O(T d^2).
    pub(crate) fn mean_score(&self) -> DVector<f64> {
        let (data, p) = (self.data(), self.data().features());
        let mut score = DVector::zeros(p);
        for t in 0..data.len() {
            let curvature = nalgebra::DMatrixView::from_slice(data.curvature(t), p, p);
            let rest = DVector::from_column_slice(data.linear(t)) - curvature * self.kept_coefficients(t);
            score.axpy(data.precision(t), &rest, 1.0);
        }
        let mut score = score.select_rows(&self.inner.mean_features);
        if !self.inner.mean_precision.is_empty() {
            score -= &self.inner.mean_precision * self.mean_values();
        }
        score
    }

    /// Covariance of the common mean over the mean features, of several groups one after another.
    pub fn mean_covariance(&self) -> &DMatrix<f64> {
        self.mixed().map_or(&self.mean_covariance, |mixed| mixed.mean_covariance(&self.prior))
    }

    /// Posterior mean of u_t and its covariance given the common mean and all hyperparameters (what lme4 calls the
    /// conditional mode and variance), over the varying features.
    pub fn conditional(&self, task: usize) -> (DVector<f64>, DMatrix<f64>) {
        if let Some(mixed) = self.mixed() {
            let varying = &self.inner.varying;
            let covariance = mixed.within(task).select_rows(varying).select_columns(varying);
            return (self.mean_deviation(task).select_rows(varying), covariance);
        }
        let scale = self.prior.scale(task);
        (&self.inner.factor * self.deviations.column(task) * scale, self.within(task) * scale.powi(2))
    }

    /// How much of a task's deviation its own rows decide: tr(J_t Cov(u_t | mean)) / r in [0, 1], 0 for a task without rows;
    /// none where nothing varies.
    pub fn own_share(&self, task: usize) -> Option<f64> {
        if let Some(mixed) = self.mixed() {
            return mixed.own_share(task);
        }
        self.own_share_of(task, &self.within(task))
    }

    fn own_share_of(&self, task: usize, within: &DMatrix<f64>) -> Option<f64> {
        let directions = self.inner.factor.column_iter().filter(|column| column.norm() > 0.0).count();
        let (data, varying) = (self.data(), &self.inner.varying);
        let (p, curvature) = (data.features(), data.curvature(task));
        let mut trace = 0.0;
        for (i, a) in varying.iter().enumerate() {
            for (j, b) in varying.iter().enumerate() {
                trace += curvature[b * p + a] * within[(i, j)];
            }
        }
        (directions > 0).then(|| (data.precision(task) * trace / directions as f64).clamp(0.0, 1.0))
    }

    /// Cov(u_t | mean) over the varying features.
    fn within(&self, task: usize) -> DMatrix<f64> {
        let (factor, mut own) = (&self.inner.factor, self.engine.covariance(task, task));
        match self.inner.diagonal() {
            Some(diagonal) => {
                for (j, b) in diagonal.iter().enumerate() {
                    diagonal.iter().enumerate().for_each(|(i, a)| own[(i, j)] *= a * b);
                }
                own
            }
            None => factor * own * factor.transpose(),
        }
    }

    /// How many of the r directions of K an average task's own rows decide: mean_t tr(N_t (I + N_t)^-1) with N_t = L' J_t L, or
    /// sum_k 1 / (1 + noise / signal of direction k). O(T r^3).
    pub(crate) fn effective_directions(&self) -> f64 {
        let (data, varying, factor) = (self.data(), &self.inner.varying, &self.inner.factor);
        let each: Vec<f64> = (0..data.len())
            .into_par_iter()
            .map(|t| {
                let own = data.task(t).curvature.select_rows(varying).select_columns(varying);
                let r = factor.ncols();
                let mut block = factor.transpose() * own * factor + DMatrix::identity(r, r);
                // tr(A M^-1) = r - tr(M^-1) with M = I + A, which is positive definite whatever the rounding of a finite A.
                linalg::cholesky_in_place(block.as_mut_slice(), r);
                r as f64 - linalg::trace_of_inverse(block.as_slice(), r, &mut vec![0.0; r * r])
            })
            .collect();
        each.iter().sum::<f64>() / data.len() as f64
    }

    /// Posterior mean of w_t over all features. O(d r).
    pub fn coefficients(&self, task: usize) -> DVector<f64> {
        self.seen.coefficients(task, self.kept_coefficients(task))
    }

    fn kept_coefficients(&self, task: usize) -> DVector<f64> {
        if let Some(mixed) = self.mixed() {
            return mixed.coefficients(task);
        }
        let mut w = self.mean.clone();
        let u = &self.inner.factor * self.deviations.column(task);
        self.inner.varying.iter().zip(u.iter()).for_each(|(feature, value)| w[*feature] += value);
        w
    }

    /// Posterior covariance of w_t over all features, the uncertainty of the mean included. O(d^3).
    pub fn covariance(&self, task: usize) -> DMatrix<f64> {
        if let Some(mixed) = self.mixed() {
            return mixed.within(task) + mixed.moved(&self.prior, task, false);
        }
        self.covariance_of(task, &self.within(task), !matches!(self.inner.mean, Mean::Given(_)))
    }

    /// That of the Gaussian whose log-likelihood this is: with the uncertainty of the mean where it is integrated.
    pub(crate) fn approximating_covariance(&self, task: usize) -> DMatrix<f64> {
        if let Some(mixed) = self.mixed() {
            return mixed.within(task);
        }
        self.covariance_of(task, &self.within(task), matches!(self.inner.mean, Mean::Integrated))
    }

    /// [`Posterior::covariance`] and [`Posterior::own_share`] of one task, the block of the inverse made once.
    pub(crate) fn covariance_and_own_share(&self, task: usize) -> (DMatrix<f64>, Option<f64>) {
        if self.mixed().is_some() {
            return (self.covariance(task), self.own_share(task));
        }
        let within = self.within(task);
        (self.covariance_of(task, &within, !matches!(self.inner.mean, Mean::Given(_))), self.own_share_of(task, &within))
    }

    fn covariance_of(&self, task: usize, within: &DMatrix<f64>, of_mean_too: bool) -> DMatrix<f64> {
        self.seen.covariance(task, self.kept_covariance(task, within, of_mean_too))
    }

    /// Over the features that are not free, with the uncertainty of the mean or without.
    fn kept_covariance(&self, task: usize, within: &DMatrix<f64>, of_mean_too: bool) -> DMatrix<f64> {
        let p = self.data().features();
        let mut all = DMatrix::zeros(p, p);
        for (i, a) in self.inner.varying.iter().enumerate() {
            for (j, b) in self.inner.varying.iter().enumerate() {
                all[(*a, *b)] = within[(i, j)];
            }
        }
        if of_mean_too && !self.inner.mean_features.is_empty() {
            let map = self.mean_map(task);
            all += &map * &self.mean_covariance * map.transpose();
        }
        linalg::symmetrise(&mut all);
        all
    }

    /// Posterior mean and covariance of u_t = w_t - mean over the features that are not free, the uncertainty of the mean
    /// included; 0 for features that do not vary.
    pub fn deviation(&self, task: usize) -> (DVector<f64>, DMatrix<f64>) {
        if let Some(mixed) = self.mixed() {
            return (self.mean_deviation(task), mixed.within(task) + mixed.moved(&self.prior, task, true));
        }
        let p = self.data().features();
        let mut covariance = DMatrix::zeros(p, p);
        let mut within = self.within(task);
        if !matches!(self.inner.mean, Mean::Given(_)) && !self.inner.mean_features.is_empty() {
            let moved = &self.inner.factor * self.sensitivity(task);
            within += &moved * &self.mean_covariance * moved.transpose();
        }
        linalg::place(&mut covariance, (&self.inner.varying, &self.inner.varying), &within);
        (self.mean_deviation(task), self.seen.deviation_covariance(task, covariance))
    }

    fn sensitivity(&self, task: usize) -> DMatrix<f64> {
        self.engine.sensitivity(self.data(), &self.inner, task)
    }

    /// d E[w_t | mean] / d mean: p x m.
    fn mean_map(&self, task: usize) -> DMatrix<f64> {
        let p = self.data().features();
        let moved = &self.inner.factor * self.engine.sensitivity(self.data(), &self.inner, task);
        let mut map = DMatrix::zeros(p, self.inner.mean_features.len());
        for (j, feature) in self.inner.mean_features.iter().enumerate() {
            map[(*feature, j)] = 1.0;
        }
        for (i, feature) in self.inner.varying.iter().enumerate() {
            for j in 0..map.ncols() {
                map[(*feature, j)] -= moved[(i, j)];
            }
        }
        map
    }

    /// A draw of all whitened deviations from the joint posterior, r x T.
    pub(crate) fn draw_deviations<R: Rng + ?Sized>(&self, random: &mut R) -> Result<DMatrix<f64>> {
        let mut normal = |n: usize| DVector::from_fn(n, |_, _| linalg::normal(random));
        let mut drawn = &self.deviations + self.engine.draw(normal(self.engine.normals(self.deviations.len())), self.tasks())?;
        if !matches!(self.inner.mean, Mean::Given(_)) && !self.inner.mean_features.is_empty() {
            let shift = linalg::semidefinite_factor(&self.mean_covariance) * normal(self.inner.mean_features.len());
            (0..self.tasks()).for_each(|t| {
                let mut own = drawn.column_mut(t);
                own -= self.sensitivity(t) * &shift;
            });
        }
        Ok(drawn)
    }

    /// A draw of all task parameters from the joint posterior: T x d.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the system of related tasks is too large to factor and too ill-conditioned to draw from.
    pub fn sample<R: Rng + ?Sized>(&self, random: &mut R) -> Result<DMatrix<f64>> {
        if let Some(mixed) = self.mixed() {
            return mixed.draw(&self.prior, random);
        }
        let (m, r, tasks) = (self.inner.mean_features.len(), self.inner.factor.ncols(), self.tasks());
        let mut normal = |n: usize| DVector::from_fn(n, |_, _| linalg::normal(random));
        let shift = match self.inner.mean {
            Mean::Given(_) => DVector::zeros(m),
            _ => linalg::semidefinite_factor(&self.mean_covariance) * normal(m),
        };
        let noise = self.engine.draw(normal(self.engine.normals(r * tasks)), tasks)?;
        let free: Vec<DVector<f64>> = match self.seen.free() {
            0 => Vec::new(),
            count => (0..tasks).map(|_| normal(count)).collect(),
        };
        let mut all = DMatrix::zeros(tasks, self.seen.features());
        for t in 0..tasks {
            let mut w = self.kept_coefficients(t);
            let moved = &self.inner.factor * noise.column(t);
            self.inner.varying.iter().zip(moved.iter()).for_each(|(feature, value)| w[*feature] += value);
            if m > 0 && !matches!(self.inner.mean, Mean::Given(_)) {
                w += self.mean_map(t) * &shift;
            }
            let w = self.seen.draw(t, w, free.get(t));
            all.row_mut(t).copy_from(&w.transpose());
        }
        Ok(all)
    }
}

/// Standard normal numbers, a row a task, turned into draws from N(0, Omega^-1) by columns, Omega the precision matrix of `graph`.
///
/// # Errors
/// [`Error::NotPositiveDefinite`] and [`Error::TooLarge`] as for a posterior along that graph.
pub(crate) fn draw_along(graph: &TaskGraph, mut normal: DMatrix<f64>) -> Result<DMatrix<f64>> {
    factored(graph)?.solve_transpose(&mut normal, 1);
    Ok(normal)
}

/// log |Omega|, none where Omega is not positive definite. No T x T matrix is made.
pub(crate) fn log_determinant_along(graph: &TaskGraph) -> Option<f64> {
    factored(graph).ok().map(|omega| omega.log_determinant())
}

/// tr Sigma, none where Omega is not positive definite. No T x T matrix is made.
pub(crate) fn trace_along(graph: &TaskGraph) -> Option<f64> {
    factored(graph).ok().map(|omega| (0..graph.len()).map(|t| omega.trace(t, t)).sum())
}

fn factored(graph: &TaskGraph) -> Result<Sparse> {
    let nothing = DMatrix::zeros(1, 1);
    Sparse::factorise(graph, &vec![&nothing; graph.len()])
}
