//! A task without rows that is tied to the others: what theirs say of its parameters.

use super::{Engine, Posterior};
use crate::linalg;
use crate::prior::{Mean, Tie};
use nalgebra::{DMatrix, DVector};

impl Posterior<'_> {
    /// Posterior mean and covariance of the parameters of a task without rows, over all features, of a group and with a scale of its deviation. For priors
    /// without free features. As much as a column of the joint system takes for each direction that varies.
    pub(crate) fn newcomer(&self, tie: &Tie, group: usize, scale: f64) -> (DVector<f64>, DMatrix<f64>) {
        let related = self.related();
        let (deviation, within, sensitivity) = related.tied(tie);
        let (factor, varying) = (&related.inner.factor, &related.inner.varying);
        let p = self.data().features();
        let mut parameters = self.mean.clone();
        let moved = factor * deviation;
        varying.iter().zip(moved.iter()).for_each(|(feature, value)| parameters[*feature] += value);
        let mut covariance = DMatrix::zeros(p, p);
        linalg::place(&mut covariance, (varying, varying), &(factor * within * factor.transpose()));
        let own = self.inner.unrelated_positions();
        let apart: Vec<usize> = own.iter().map(|k| self.inner.varying[*k]).collect();
        let of_own = self.inner.feature_covariance().select_rows(&own).select_columns(&own);
        linalg::place(&mut covariance, (&apart, &apart), &of_own);
        if !matches!(self.inner.mean, Mean::Given(_)) && !self.inner.mean_features.is_empty() {
            let mut map = DMatrix::zeros(p, self.inner.mean_features.len());
            self.inner.mean_features.iter().enumerate().for_each(|(j, feature)| map[(*feature, j)] = 1.0);
            let moved = factor * sensitivity;
            for (i, feature) in varying.iter().enumerate() {
                (0..map.ncols()).for_each(|j| map[(*feature, j)] -= moved[(i, j)]);
            }
            covariance += &map * &self.mean_covariance * map.transpose();
        }
        linalg::symmetrise(&mut covariance);
        self.seen.newcomer((group, scale), parameters, covariance)
    }

    /// Mean and covariance given the common mean of its whitened deviation, and how a unit of the mean moves it back (r x m).
    fn tied(&self, tie: &Tie) -> (DVector<f64>, DMatrix<f64>, DMatrix<f64>) {
        let r = self.inner.factor.ncols();
        let (mut own, rest) = match (tie, &self.engine) {
            (Tie::Factors { loadings, rest }, Engine::LowRank(factors)) => (factors.newcomer(loadings), *rest),
            (Tie::Factors { .. }, _) => unreachable!("factors are tied to by their engine"),
            (Tie::Tasks { weights, rest }, engine) => {
                let mut deviation = DVector::zeros(r);
                let mut sensitivity = DMatrix::zeros(r, self.inner.mean_features.len());
                for (t, weight) in weights {
                    deviation.axpy(*weight, &self.deviations.column(*t), 1.0);
                    sensitivity += self.sensitivity(*t) * *weight;
                }
                ((deviation, engine.combined(weights), sensitivity), *rest)
            }
        };
        (0..r).for_each(|k| own.1[(k, k)] += rest);
        own
    }
}
