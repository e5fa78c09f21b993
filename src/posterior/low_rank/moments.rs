//! Moments of the factors and the slope of K.

use super::super::coupled::whitened;
use super::super::{Engine, Posterior};
use super::LowRank;
use super::passes::{gathered, scatter};
use crate::linalg;
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Expected products of the factors and the deviations, summed over the r directions: what the M-step of Lambda and D needs.
#[derive(Clone, Debug)]
pub(crate) struct FactorMoments {
    /// E[Z'Z], k x k.
    pub(crate) factors: DMatrix<f64>,
    /// E[Z'b_t] of every task, k x T.
    pub(crate) cross: DMatrix<f64>,
    /// E[b_t'b_t] of every task.
    pub(crate) squares: DVector<f64>,
}

impl FactorMoments {
    /// From E[B'B] (T x T) over r directions, by E[Z' | B] = (I + Lambda' D^-1 Lambda)^-1 Lambda' D^-1 B'.
    pub(super) fn regressed(relatedness: &Relatedness, moment: DMatrix<f64>, r: usize) -> FactorMoments {
        let Relatedness::LowRank { loadings, uniquenesses } = relatedness else { unreachable!("asked by the structure of factors") };
        let (tasks, k) = loadings.shape();
        let mut weights = DMatrix::from_fn(k, tasks, |j, t| loadings[(t, j)] / uniquenesses[t]);
        let inner = DMatrix::identity(k, k) + &weights * loadings;
        linalg::solve_cholesky(&linalg::cholesky(inner).expect("it is at least I"), &mut weights);
        let cross = &weights * &moment;
        let mut factors = (DMatrix::identity(k, k) - &weights * loadings) * r as f64 + &cross * weights.transpose();
        linalg::symmetrise(&mut factors);
        FactorMoments { factors, cross, squares: moment.diagonal() }
    }
}

impl LowRank {
    /// Of Z lambda with the loadings lambda of a task without rows: mean, covariance given the mean, and how a unit of the mean moves it back.
    pub(crate) fn newcomer(&self, loadings: &[f64]) -> (DVector<f64>, DMatrix<f64>, DMatrix<f64>) {
        let mean = gathered(&self.scores, loadings, self.rank).column(0).into_owned();
        (mean, self.of_factors(loadings, loadings), gathered(&self.answer, loadings, self.rank))
    }

    /// G = 1/2 sum_st Sigma_st (s_s s_t' - P_st), the part of the factors by sums over tasks for each of them. O(T (q^3 + k^2 r q) + k (k r)^2 q).
    pub(crate) fn slope(
        &self,
        quadratics: &Quadratics,
        prior: &Prior,
        scores: &DMatrix<f64>,
        mean_covariance: &DMatrix<f64>,
    ) -> DMatrix<f64> {
        let (r, k, q) = (self.rank, self.loadings.nrows(), prior.varying.len());
        let (_, root) = self.moved(prior, mean_covariance);
        let mut slope = DMatrix::zeros(q, q);
        let mut along = vec![DMatrix::zeros(k * r, q); k];
        let mut moved = vec![DMatrix::zeros(q, root.ncols()); k];
        for t in 0..quadratics.len() {
            let (own, loading) = (self.uniquenesses[t], self.loading(t));
            let curvature = quadratics.task(t).curvature.select_rows(&prior.varying);
            let within = curvature.select_columns(&prior.varying);
            let lead = prior.factor.tr_mul(&within);
            let mut solved = lead.clone();
            self.solve_own(self.factor(t), &mut solved);
            slope += (lead.tr_mul(&solved) * own - &within) * self.sigma(t, t);
            slope += solved.tr_mul(&(self.of_factors(loading, loading) * &solved)) * own;
            slope += scores.column(t) * scores.column(t).transpose() * own;
            loading
                .iter()
                .zip(&mut along)
                .for_each(|(value, along)| scatter(along, &loading.iter().map(|l| l * value).collect::<Vec<_>>(), &solved));
            if root.ncols() > 0 {
                let sensitivity = self.sensitivity(quadratics, prior, t);
                let back = (curvature.select_columns(&prior.mean_features) - lead.tr_mul(&sensitivity)) * &root;
                slope += &back * back.transpose() * own;
                loading.iter().zip(&mut moved).for_each(|(value, sum)| *sum += &back * *value);
            }
        }
        let together = scores * self.loadings.transpose();
        slope += &together * together.transpose();
        along.iter().for_each(|own| slope += own.tr_mul(&(&self.inverse * own)));
        moved.iter().for_each(|own| slope += own * own.transpose());
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        slope
    }
}

impl Posterior<'_> {
    /// The moments of factors and deviations, where Sigma is low rank and diagonal. Free from the engine of factors; from others, which know of Sigma
    /// alone, by the regression of the factors on the deviations: O(T^2 k) beside the moments of all pairs.
    pub(crate) fn factor_moments(&self) -> FactorMoments {
        if let Engine::LowRank(engine) = &self.engine {
            return engine.moments().clone();
        }
        FactorMoments::regressed(&self.inner.relatedness, self.task_moment(), self.inner.factor.ncols())
    }

    /// How many directions decide each factor, r - tr Cov(Z_j), and what the rows of every task say of its loadings given the factors,
    /// E[Z' M_t^-1 N_t Z] (k x k); none where another engine knows nothing of factors. O(T (r^3 + k^2 r^2)).
    pub(crate) fn factor_knowledge(&self) -> Option<(Vec<f64>, Vec<DMatrix<f64>>)> {
        let Engine::LowRank(engine) = &self.engine else { return None };
        let (r, k) = (engine.rank, engine.loadings.nrows());
        let block = |i: usize, j: usize| engine.inverse.view((i * r, j * r), (r, r));
        let directions = (0..k).map(|j| r as f64 - block(j, j).trace()).collect();
        let diagonal = self.inner.diagonal();
        let of_task = |t: usize| {
            let (_, mut seen) = whitened(self.data(), &self.inner, diagonal.as_deref(), t);
            engine.solve_own(engine.factor(t), &mut seen);
            linalg::symmetrise(&mut seen);
            let scores = DMatrix::from_column_slice(r, k, engine.scores.as_slice());
            let mut information = scores.tr_mul(&(&seen * &scores)) + DMatrix::from_fn(k, k, |i, j| block(i, j).dot(&seen));
            linalg::symmetrise(&mut information);
            information
        };
        Some((directions, (0..self.tasks()).into_par_iter().map(of_task).collect()))
    }
}
