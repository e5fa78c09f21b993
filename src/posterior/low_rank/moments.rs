//! Moments of the factors.

use super::super::{Engine, Posterior};
use crate::linalg::{self, lanes::triangle};
use crate::prior::Relatedness;
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
    /// E[Z' L' P_t L Z] of every task, a lower triangle by rows in its column: what its rows say of its loadings given the factors, its own e_t
    /// integrated out. From the engine of factors only.
    pub(crate) information: Option<DMatrix<f64>>,
}

impl FactorMoments {
    /// By Fisher's identity with the factors: (E[Z'b_t] - E[Z'Z] lambda_t) / D_t of every task, k x T, at loadings Lambda' and uniquenesses D.
    pub(crate) fn slope_in_loadings(&self, loadings: &DMatrix<f64>, uniquenesses: &DVector<f64>) -> DMatrix<f64> {
        let mut slope = &self.cross - &self.factors * loadings;
        slope.column_iter_mut().zip(uniquenesses.iter()).for_each(|(mut own, variance)| own /= *variance);
        slope
    }

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
        FactorMoments { factors, cross, squares: moment.diagonal(), information: None }
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
    /// E[Z' M_t^-1 N_t Z] (k x k); none where another engine knows nothing of factors.
    pub(crate) fn factor_knowledge(&self) -> Option<(Vec<f64>, Vec<DMatrix<f64>>)> {
        let Engine::LowRank(engine) = &self.engine else { return None };
        let (r, k) = (engine.rank, engine.loadings.nrows());
        let directions = (0..k).map(|j| r as f64 - engine.inverse.view((j * r, j * r), (r, r)).trace()).collect();
        let information = engine.moments().information.as_ref()?;
        let of_task = |t: usize| DMatrix::from_fn(k, k, |i, j| information[(triangle(i.max(j)) + i.min(j), t)]);
        Some((directions, (0..self.tasks()).map(of_task).collect()))
    }
}
