//! The engine of tasks that share factors: given these, one block a task as for unrelated tasks, and one system of the factors.

mod lanes;
mod moments;
mod passes;
mod system;
#[cfg(test)]
mod tests;

use super::block::Design;
use super::coupled::{LIMIT_MB, whitened};
use super::{CHUNK, Engine, Outcome, Solved};
use crate::error::{Error, Result};
use crate::linalg;
use crate::linalg::lanes::triangle;
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use lanes::{Constants, FirstPass, SecondPass};
use moments::FactorMoments;
use nalgebra::{DMatrix, DVector};
use passes::{First, Given, Second};
use pulp::Arch;
use rayon::prelude::*;
use std::ops::Range;
use system::{Joint, System};

/// Most units of parallel work, each with sums of the size of the factors' system.
const UNITS: usize = 64;

/// With Sigma = Lambda Lambda' + diag(D) the whitened deviations are b_t = Z lambda_t + sqrt(D_t) e_t, Z (r x k) and e_t standard normal. Integrating
/// over e_t leaves of a task the curvature P_t = J_t - J_t L D_t M_t^-1 L' J_t in its mean + L Z lambda_t, with M_t = I + D_t L' J_t L, and all tasks together
/// A = I + sum_t lambda_t lambda_t' (x) L' P_t L for vec Z. No inverse of D is needed, and all that the mean and the factors ask of the tasks are sums of
/// P_t times products of loadings. O(T (d^3 + k^2 d^2) + (k r)^3).
pub(crate) struct LowRank {
    quadratics: Quadratics,
    prior: Prior,
    rank: usize,
    /// Lambda', a column a task.
    loadings: DMatrix<f64>,
    uniquenesses: DVector<f64>,
    /// Cholesky factor of A, and A^-1, the covariance of vec Z given the mean.
    root: DMatrix<f64>,
    inverse: DMatrix<f64>,
    /// How a unit of the mean moves vec Z back: (k r) x m.
    answer: DMatrix<f64>,
    /// The posterior mean of Z, r x k.
    scores: DMatrix<f64>,
    slope: DMatrix<f64>,
    residuals: Vec<f64>,
    moments: FactorMoments,
}

impl LowRank {
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        let Relatedness::LowRank { loadings, uniquenesses } = &prior.relatedness else { unreachable!("chosen by its form") };
        let (tasks, r, k, p) = (quadratics.len(), prior.factor.ncols(), loadings.ncols(), quadratics.features());
        check(quadratics, prior)?;
        let scales: Vec<f64> = uniquenesses.iter().map(|own| own.sqrt()).collect();
        let design = Design::new(quadratics, prior, Some(&scales));
        let loadings = loadings.transpose();
        let given = Given { design: &design, loadings: &loadings };
        let width = tasks.div_ceil(UNITS).max(CHUNK);
        let units: Vec<Range<usize>> = (0..tasks.div_ceil(width)).map(|unit| unit * width..((unit + 1) * width).min(tasks)).collect();
        let first = |range: &Range<usize>| match design.is_narrow() {
            true => Arch::new().dispatch(FirstPass { given: &given, range: range.clone() }),
            false => passes::first_pass(&given, range.clone()),
        };
        let mut firsts: Vec<First> = units.par_iter().map(first).collect();
        let (mut curvatures, mut linears) = (vec![0.0; triangle(k + 1) * triangle(p)], DMatrix::zeros(p, k + 1));
        let mut log_determinant = 0.0;
        for sum in &firsts {
            if !sum.defined {
                return Err(Error::NotPositiveDefinite {
                    matrix: "the posterior precision of a task".into(),
                    remedy: "its features are too large for double precision; use --standardise both".into(),
                });
            }
            curvatures.iter_mut().zip(&sum.curvatures).for_each(|(cell, own)| *cell += own);
            linears.iter_mut().zip(&sum.linears).for_each(|(cell, own)| *cell += own);
            log_determinant += sum.log_determinant;
        }
        let system = System { prior, curvatures, linears, rank: k };
        let root = linalg::cholesky(system.of_factors()).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the posterior precision of the factors".into(),
            remedy: "standardise the features with --standardise both".into(),
        })?;
        let (features, right) = (&prior.mean_features, system.right());
        let mut solved = right.clone();
        linalg::solve_cholesky(&root, &mut solved);
        let information = system.between(0, 0).select_rows(features).select_columns(features);
        let score = system.linears.column(0).select_rows(features);
        let Solved { mean, deviations: z, sensitivity: answer, .. } = Solved::new(prior, p, (&right, &solved), (information, score))?;
        let inverse = linalg::inverse_of_cholesky(&root);
        log_determinant += linalg::log_determinant(&root);
        let mut log_likelihood = -0.5 * (z.norm_squared() + log_determinant);

        let scores = DMatrix::from_column_slice(r, k, z.as_slice());
        let joint = match prior.mean {
            Mean::Integrated => Joint { inverse: &inverse, answer: &answer, of_mean: Some(&mean.covariance) },
            _ => Joint { inverse: &inverse, answer: &answer, of_mean: None },
        };
        let known = joint.known(prior, &mean.mean, scores);
        let constants = design.is_narrow().then(|| Constants::of(&known));
        let second = |(range, first): (&Range<usize>, First)| match (first.kept, &constants) {
            (Some(kept), Some(constants)) => {
                Arch::new().dispatch(SecondPass { given: &given, known: &known, constants, kept, range: range.clone() })
            }
            _ => passes::second_pass(&given, &known, range.clone()),
        };
        let sums: Vec<Second> = units.par_iter().zip(std::mem::take(&mut firsts)).map(second).collect();
        let (mut deviations, mut residuals) = (Vec::with_capacity(tasks * r), Vec::with_capacity(tasks));
        let (mut cross, mut squares) = (Vec::with_capacity(tasks * k), Vec::with_capacity(tasks));
        let mut information = Vec::with_capacity(tasks * triangle(k));
        let q = prior.varying.len();
        let (mut slope, mut pulls) = (DMatrix::zeros(q, q), DMatrix::zeros(p, k));
        for sum in sums {
            deviations.extend(sum.deviations);
            residuals.extend(sum.residuals);
            cross.extend(sum.cross);
            squares.extend(sum.squares);
            information.extend(sum.information);
            slope += DMatrix::from_vec(q, q, sum.within);
            pulls += DMatrix::from_vec(p, k, sum.scores);
            log_likelihood += sum.log_likelihood;
        }
        slope += system.slope(&joint, &pulls);
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        let moments = FactorMoments {
            factors: known.scores.tr_mul(&known.scores) + &known.traces,
            cross: DMatrix::from_vec(k, tasks, cross),
            squares: DVector::from_vec(squares),
            information: Some(DMatrix::from_vec(triangle(k), tasks, information)),
        };
        let engine = LowRank {
            quadratics: quadratics.clone(),
            prior: prior.clone(),
            rank: r,
            loadings,
            uniquenesses: uniquenesses.clone(),
            root,
            inverse,
            answer,
            scores: known.scores.clone(),
            slope,
            residuals,
            moments,
        };
        let deviations = DMatrix::from_vec(r, tasks, deviations);
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.0, engine: Engine::LowRank(Box::new(engine)) })
    }

    fn loading(&self, task: usize) -> &[f64] {
        let k = self.loadings.nrows();
        &self.loadings.as_slice()[task * k..(task + 1) * k]
    }

    /// Cholesky factor of M_t: to make it again costs less than to have kept it.
    fn factor(&self, task: usize) -> DMatrix<f64> {
        let (_, mut block) = whitened(&self.quadratics, &self.prior, self.prior.diagonal().as_deref(), task);
        block *= self.uniquenesses[task];
        (0..self.rank).for_each(|a| block[(a, a)] += 1.0);
        linalg::cholesky_in_place(block.as_mut_slice(), self.rank);
        block
    }

    /// Replaces `right` by M_t^-1 of it.
    fn solve_own(&self, factor: &DMatrix<f64>, right: &mut DMatrix<f64>) {
        linalg::solve_lower(factor.as_slice(), self.rank, right.as_mut_slice());
        linalg::solve_lower_transpose(factor.as_slice(), self.rank, right.as_mut_slice());
    }

    /// Cov(Z lambda, Z other) given the mean.
    fn of_factors(&self, loading: &[f64], other: &[f64]) -> DMatrix<f64> {
        let r = self.rank;
        let mut sum = DMatrix::zeros(r, r);
        for (i, value) in loading.iter().enumerate() {
            for (j, second) in other.iter().enumerate() {
                let share = value * second;
                if share != 0.0 {
                    sum.zip_apply(&self.inverse.view((i * r, j * r), (r, r)), |cell, own| *cell += share * own);
                }
            }
        }
        sum
    }

    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let mut shared = self.of_factors(self.loading(s), self.loading(t));
        let factor = self.factor(s);
        self.solve_own(&factor, &mut shared);
        let mut turned = shared.transpose();
        self.solve_own(&if s == t { factor.clone() } else { self.factor(t) }, &mut turned);
        let mut covariance = turned.transpose();
        if s == t {
            let mut own = DMatrix::identity(self.rank, self.rank) * self.uniquenesses[t];
            self.solve_own(&factor, &mut own);
            covariance += own;
            linalg::symmetrise(&mut covariance);
        }
        covariance
    }

    /// Cov(vec Z) given the mean.
    pub(crate) fn shared(&self) -> &DMatrix<f64> {
        &self.inverse
    }

    /// d E[b_t | mean, Z] / d vec Z = M_t^-1 (lambda_t' (x) I).
    pub(crate) fn shared_map(&self, task: usize) -> DMatrix<f64> {
        let (r, loading) = (self.rank, self.loading(task));
        let mut own = DMatrix::identity(r, r);
        self.solve_own(&self.factor(task), &mut own);
        DMatrix::from_fn(r, r * loading.len(), |i, j| loading[j / r] * own[(i, j % r)])
    }

    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        self.loadings.column(s).dot(&self.loadings.column(t)) + if s == t { self.uniquenesses[t] } else { 0.0 }
    }

    pub(crate) fn sensitivity(&self, quadratics: &Quadratics, prior: &Prior, task: usize) -> DMatrix<f64> {
        let (cross, _) = whitened(quadratics, prior, prior.diagonal().as_deref(), task);
        let mut moved =
            cross.select_columns(&prior.mean_features) * self.uniquenesses[task] + gathered(&self.answer, self.loading(task), self.rank);
        self.solve_own(&self.factor(task), &mut moved);
        moved
    }

    /// Of Z lambda with the loadings lambda of a task without rows: mean, covariance given the mean, and how a unit of the mean moves it back.
    pub(crate) fn newcomer(&self, loadings: &DVector<f64>) -> (DVector<f64>, DMatrix<f64>, DMatrix<f64>) {
        let own = loadings.as_slice();
        (&self.scores * loadings, self.of_factors(own, own), gathered(&self.answer, own, self.rank))
    }

    /// How many standard normal numbers a draw takes.
    pub(crate) fn normals(&self) -> usize {
        self.rank * (self.loadings.nrows() + self.loadings.ncols())
    }

    /// First of the factors, then of each task given these.
    pub(crate) fn draw(&self, normal: DVector<f64>) -> DMatrix<f64> {
        let (r, k, tasks) = (self.rank, self.loadings.nrows(), self.loadings.ncols());
        let mut factors = DMatrix::from_column_slice(k * r, 1, &normal.as_slice()[..k * r]);
        factors = self.root.transpose().solve_upper_triangular(&factors).expect("a Cholesky factor has no zero pivot");
        let mut draw = DMatrix::from_column_slice(r, tasks, &normal.as_slice()[k * r..]);
        for t in 0..tasks {
            let factor = self.factor(t);
            let mut own = draw.column(t) * self.uniquenesses[t].sqrt();
            linalg::solve_lower_transpose(factor.as_slice(), r, own.as_mut_slice());
            let mut shared = gathered(&factors, self.loading(t), r);
            self.solve_own(&factor, &mut shared);
            draw.set_column(t, &(own + shared.column(0)));
        }
        draw
    }

    pub(crate) fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// tr(N_t Cov(b_t)) given the mean, N_t = L' J_t L.
    pub(crate) fn seen(&self, task: usize) -> f64 {
        whitened(&self.quadratics, &self.prior, self.prior.diagonal().as_deref(), task).1.dot(&self.covariance(task, task))
    }

    pub(crate) fn slope(&self) -> &DMatrix<f64> {
        &self.slope
    }

    pub(crate) fn moments(&self) -> &FactorMoments {
        &self.moments
    }
}

/// Refuses what cannot be, and what would not fit in memory.
fn check(quadratics: &Quadratics, prior: &Prior) -> Result<()> {
    let Relatedness::LowRank { loadings, uniquenesses } = &prior.relatedness else { unreachable!("chosen by its form") };
    let (tasks, r, k, p) = (quadratics.len(), prior.factor.ncols(), loadings.ncols(), quadratics.features());
    if let Some(found) = [loadings.nrows(), uniquenesses.len()].into_iter().find(|found| *found != tasks) {
        return Err(Error::Shape { what: "the relatedness".into(), found, expected: tasks });
    }
    if uniquenesses.iter().any(|own| !(*own >= 0.0 && own.is_finite())) {
        return Err(Error::NotPositiveDefinite {
            matrix: "the task covariance Sigma".into(),
            remedy: "give uniquenesses that are not negative".into(),
        });
    }
    let sums = triangle(k + 1) * triangle(p) * tasks.div_ceil(CHUNK).min(UNITS);
    let needed_mb = (((k * r).pow(2) * 4 + sums) * 8 / 1_000_000) as u64;
    if needed_mb > LIMIT_MB {
        return Err(Error::TooLarge {
            what: format!("the system of {k} factors x {r} varying directions"),
            needed_mb,
            limit_mb: LIMIT_MB,
            remedy: "ask for fewer factors, or let fewer features vary".into(),
        });
    }
    Ok(())
}

/// The blocks of a stacked (k r) x n matrix, weighted and summed: sum_j lambda_j X_j, r x n.
fn gathered(stacked: &DMatrix<f64>, loading: &[f64], r: usize) -> DMatrix<f64> {
    let mut sum = DMatrix::zeros(r, stacked.ncols());
    for (j, value) in loading.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        sum += stacked.rows(j * r, r) * *value;
    }
    sum
}
