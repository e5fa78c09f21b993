//! The engine of tasks that share factors: given these, one block a task as for unrelated tasks, and one system of the factors.

mod moments;
mod passes;
#[cfg(test)]
mod tests;

use super::coupled::{LIMIT_MB, whitened};
use super::{CHUNK, Engine, Outcome, Solved};
use crate::error::{Error, Result};
use crate::linalg;
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use moments::FactorMoments;
use nalgebra::{DMatrix, DVector};
use passes::{First, Known, Second, gathered};
use rayon::prelude::*;

/// Most units of parallel work, each with sums of the size of the factors' system.
const UNITS: usize = 64;

/// With Sigma = Lambda Lambda' + diag(D) the whitened deviations are b_t = Z lambda_t + sqrt(D_t) e_t, Z (r x k) and e_t standard normal. Integrating
/// over e_t leaves of a task the curvature M_t^-1 N_t in its Z lambda_t, with N_t = L' J_t L and M_t = I + D_t N_t, and all tasks together
/// A = I + sum_t lambda_t lambda_t' (x) M_t^-1 N_t for vec Z. No inverse of D is needed. O(T (r^3 + k^2 r^2) + (k r)^3).
pub(crate) struct LowRank {
    rank: usize,
    /// Lambda', a column a task.
    loadings: DMatrix<f64>,
    uniquenesses: DVector<f64>,
    /// Cholesky factors of M_t, one after another.
    factors: Vec<f64>,
    /// Cholesky factor of A, and A^-1, the covariance of vec Z given the mean.
    root: DMatrix<f64>,
    inverse: DMatrix<f64>,
    /// How a unit of the mean moves vec Z back: (k r) x m.
    answer: DMatrix<f64>,
    /// The posterior mean of vec Z.
    scores: DMatrix<f64>,
    feature_moment: DMatrix<f64>,
    residuals: Vec<f64>,
    /// tr(N_t Cov(b_t)) given the mean.
    seen: Vec<f64>,
    moments: FactorMoments,
}

impl LowRank {
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        let Relatedness::LowRank { loadings, uniquenesses } = &prior.relatedness else { unreachable!("chosen by its form") };
        let (tasks, r, k) = (quadratics.len(), prior.factor.ncols(), loadings.ncols());
        if let Some(found) = [loadings.nrows(), uniquenesses.len()].into_iter().find(|found| *found != tasks) {
            return Err(Error::Shape { what: "the relatedness".into(), found, expected: tasks });
        }
        if uniquenesses.iter().any(|own| !(*own >= 0.0 && own.is_finite())) {
            return Err(Error::NotPositiveDefinite {
                matrix: "the task covariance Sigma".into(),
                remedy: "give uniquenesses that are not negative".into(),
            });
        }
        let needed_mb = ((k * r).pow(2) * 8 * (tasks.div_ceil(CHUNK).min(UNITS) + 4) / 1_000_000) as u64;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("the system of {k} factors x {r} varying directions"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "ask for fewer factors, or let fewer features vary".into(),
            });
        }
        let mut engine = LowRank {
            rank: r,
            loadings: loadings.transpose(),
            uniquenesses: uniquenesses.clone(),
            factors: Vec::with_capacity(tasks * r * r),
            root: DMatrix::zeros(0, 0),
            inverse: DMatrix::zeros(0, 0),
            answer: DMatrix::zeros(0, 0),
            scores: DMatrix::zeros(0, 0),
            feature_moment: DMatrix::zeros(r, r),
            residuals: Vec::with_capacity(tasks),
            seen: Vec::with_capacity(tasks),
            moments: FactorMoments { factors: DMatrix::zeros(k, k), cross: DMatrix::zeros(k, tasks), squares: DVector::zeros(tasks) },
        };
        let diagonal = prior.diagonal();
        let width = tasks.div_ceil(UNITS).max(CHUNK);
        let units: Vec<std::ops::Range<usize>> =
            (0..tasks.div_ceil(width)).map(|unit| unit * width..((unit + 1) * width).min(tasks)).collect();
        let sums: Vec<First> =
            units.par_iter().map(|range| engine.first_pass((quadratics, prior, diagonal.as_deref()), range.clone())).collect();
        let m = prior.mean_features.len();
        let (mut system, mut right) = (DMatrix::identity(k * r, k * r), DMatrix::zeros(k * r, m + 1));
        let (mut information, mut score, mut log_determinant) = (DMatrix::zeros(m, m), DVector::zeros(m), 0.0);
        for sum in sums {
            if !sum.defined {
                return Err(Error::NotPositiveDefinite {
                    matrix: "the posterior precision of a task".into(),
                    remedy: "its features are too large for double precision; use --standardise both".into(),
                });
            }
            engine.factors.extend(sum.factors);
            system += sum.system;
            right += sum.right;
            information += sum.information;
            score += sum.score;
            log_determinant += sum.log_determinant;
        }
        engine.root = linalg::cholesky(system).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the posterior precision of the factors".into(),
            remedy: "standardise the features with --standardise both".into(),
        })?;
        let mut solved = right.clone();
        linalg::solve_cholesky(&engine.root, &mut solved);
        let Solved { mean, deviations: z, gradient, sensitivity } =
            Solved::new(prior, quadratics.features(), (&right, &solved), (information, score))?;
        engine.inverse = linalg::inverse_of_cholesky(&engine.root);
        engine.answer = sensitivity;
        log_determinant += linalg::log_determinant(&engine.root);
        let mut log_likelihood = 0.5 * (gradient.dot(&z) - log_determinant);

        engine.scores = DMatrix::from_column_slice(k * r, 1, z.as_slice());
        let known = Known { mean: &mean.mean, moved: engine.moved(prior, &mean.covariance) };
        let sums: Vec<Second> =
            units.par_iter().map(|range| engine.second_pass((quadratics, prior, diagonal.as_deref()), &known, range.clone())).collect();
        let mut deviations = Vec::with_capacity(tasks * r);
        let (mut cross, mut squares, mut rise) = (Vec::with_capacity(tasks * k), Vec::with_capacity(tasks), DMatrix::zeros(r, r));
        for sum in sums {
            deviations.extend(sum.deviations);
            engine.residuals.extend(sum.residuals);
            engine.seen.extend(sum.seen);
            cross.extend(sum.cross);
            squares.extend(sum.squares);
            rise += sum.rise;
            log_likelihood += sum.log_likelihood;
        }
        linalg::symmetrise(&mut rise);
        engine.feature_moment = DMatrix::identity(r, r) + rise / tasks as f64;
        let of_factors = DMatrix::from_fn(k, k, |i, j| {
            let both = [&engine.scores, &known.moved.0].map(|own| own.rows(i * r, r).dot(&own.rows(j * r, r)));
            both.iter().sum::<f64>() + (0..r).map(|a| engine.inverse[(i * r + a, j * r + a)]).sum::<f64>()
        });
        engine.moments =
            FactorMoments { factors: of_factors, cross: DMatrix::from_vec(k, tasks, cross), squares: DVector::from_vec(squares) };
        let deviations = DMatrix::from_vec(r, tasks, deviations);
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.0, engine: Engine::LowRank(engine) })
    }

    fn loading(&self, task: usize) -> &[f64] {
        let k = self.loadings.nrows();
        &self.loadings.as_slice()[task * k..(task + 1) * k]
    }

    fn factor(&self, task: usize) -> &[f64] {
        let size = self.rank * self.rank;
        &self.factors[task * size..(task + 1) * size]
    }

    /// Replaces `right` by M_t^-1 of it.
    fn solve_own(&self, factor: &[f64], right: &mut DMatrix<f64>) {
        linalg::solve_lower(factor, self.rank, right.as_mut_slice());
        linalg::solve_lower_transpose(factor, self.rank, right.as_mut_slice());
    }

    /// M_t^-1.
    fn own_inverse(&self, task: usize) -> DMatrix<f64> {
        let mut inverse = DMatrix::identity(self.rank, self.rank);
        self.solve_own(self.factor(task), &mut inverse);
        inverse
    }

    /// How a standard normal draw of the mean moves vec Z back and the mean itself, no columns where the mean is not integrated.
    fn moved(&self, prior: &Prior, mean_covariance: &DMatrix<f64>) -> (DMatrix<f64>, DMatrix<f64>) {
        let m = prior.mean_features.len();
        let root = match prior.mean {
            Mean::Integrated => linalg::semidefinite_factor(mean_covariance),
            _ => DMatrix::zeros(m, 0),
        };
        (&self.answer * &root, root)
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
        self.solve_own(self.factor(s), &mut shared);
        let mut turned = shared.transpose();
        self.solve_own(self.factor(t), &mut turned);
        let mut covariance = turned.transpose();
        if s == t {
            covariance += self.own_inverse(t) * self.uniquenesses[t];
            linalg::symmetrise(&mut covariance);
        }
        covariance
    }

    pub(crate) fn sigma(&self, s: usize, t: usize) -> f64 {
        self.loadings.column(s).dot(&self.loadings.column(t)) + if s == t { self.uniquenesses[t] } else { 0.0 }
    }

    pub(crate) fn sensitivity(&self, quadratics: &Quadratics, prior: &Prior, task: usize) -> DMatrix<f64> {
        let (cross, _) = whitened(quadratics, prior, prior.diagonal().as_deref(), task);
        let mut moved =
            cross.select_columns(&prior.mean_features) * self.uniquenesses[task] + gathered(&self.answer, self.loading(task), self.rank);
        self.solve_own(self.factor(task), &mut moved);
        moved
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
            let mut own = draw.column(t) * self.uniquenesses[t].sqrt();
            linalg::solve_lower_transpose(self.factor(t), r, own.as_mut_slice());
            let mut shared = gathered(&factors, self.loading(t), r);
            self.solve_own(self.factor(t), &mut shared);
            draw.set_column(t, &(own + shared.column(0)));
        }
        draw
    }

    pub(crate) fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    pub(crate) fn seen(&self, task: usize) -> f64 {
        self.seen[task]
    }

    pub(crate) fn feature_moment(&self) -> &DMatrix<f64> {
        &self.feature_moment
    }

    pub(crate) fn moments(&self) -> &FactorMoments {
        &self.moments
    }
}
