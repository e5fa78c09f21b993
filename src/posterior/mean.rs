//! The common mean and its prior: what is believed of it beside the rows.

use super::Posterior;
use crate::linalg;
use crate::prior::Mean;
use nalgebra::{DMatrix, DVector};

impl Posterior<'_> {
    /// The mean over the mean features, of several groups one after another.
    pub(crate) fn mean_values(&self) -> DVector<f64> {
        self.mean.select_rows(&self.inner.mean_features)
    }

    /// Log prior density of the mean, up to a constant; 0 where it is given.
    pub(crate) fn log_density_of_mean(&self) -> f64 {
        match self.inner.mean {
            Mean::Given(_) => 0.0,
            _ => self.inner.log_mean_density(&self.mean_values()),
        }
    }

    /// That of an estimated mean; 0 for an integrated one, of which it is in the log-likelihood.
    pub(crate) fn log_mean_density(&self) -> f64 {
        if matches!(self.inner.mean, Mean::Integrated) { 0.0 } else { self.log_density_of_mean() }
    }

    /// How much the prior, and not the rows, decides each coefficient of the mean: the diagonal of (J + P)^-1 P; empty for a flat mean.
    pub(crate) fn mean_prior_shares(&self) -> Vec<f64> {
        let precision = &self.inner.mean_precision;
        if precision.is_empty() {
            return Vec::new();
        }
        let covariance = self.mean_covariance();
        (0..precision.nrows()).map(|k| covariance.row(k).dot(&precision.row(k))).collect()
    }

    /// A root of the covariance of the mean, none of its columns where it is given.
    pub(crate) fn mean_root(&self) -> DMatrix<f64> {
        match self.inner.mean {
            Mean::Given(_) => DMatrix::zeros(self.inner.mean_features.len(), 0),
            _ => linalg::semidefinite_factor(self.mean_covariance()),
        }
    }
}
