//! Moments of the factors and the slope of K.

use super::super::{Engine, Posterior};
use super::LowRank;
use super::passes::scatter;
use crate::linalg;
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};

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

impl LowRank {
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
        let Relatedness::LowRank { loadings, uniquenesses } = &self.inner.relatedness else {
            unreachable!("asked by the structure of factors")
        };
        let (k, r) = (loadings.ncols(), self.inner.factor.ncols() as f64);
        // E[Z' | B] = (I + Lambda' D^-1 Lambda)^-1 Lambda' D^-1 B'.
        let mut weights = DMatrix::from_fn(k, self.tasks(), |j, t| loadings[(t, j)] / uniquenesses[t]);
        let inner = DMatrix::identity(k, k) + &weights * loadings;
        linalg::solve_cholesky(&linalg::cholesky(inner).expect("it is at least I"), &mut weights);
        let moment = self.task_moment();
        let cross = &weights * &moment;
        let mut factors = (DMatrix::identity(k, k) - &weights * loadings) * r + &cross * weights.transpose();
        linalg::symmetrise(&mut factors);
        FactorMoments { factors, cross, squares: moment.diagonal() }
    }
}
