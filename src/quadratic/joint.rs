//! What rows that several tasks share say of the parameters of all of them together, where errors are correlated between tasks.

use crate::linalg;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// sum over units of ln N(y_i; eta_i, R_i) as a function of w = (w_1, .., w_T): constant + h'w - 1/2 w'Jw, y_i the targets of the tasks
/// measured on unit i and R_i their part of the residual covariance R.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Joint {
    /// Every task was measured on every unit, on the same features.
    Complete(Complete),
    /// Some were not.
    Partial(Partial),
}

/// J = R^-1 (x) G and h = vec(X'Y R^-1).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Complete {
    pub constant: f64,
    /// R, T x T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub noise: DMatrix<f64>,
    /// Whatever R is.
    pub sums: Arc<Sums>,
}

/// Cross-products of units on which every task was measured on the same features.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// G = X'X, p x p.
    #[serde(with = "crate::linalg::record::matrix")]
    pub curvature: DMatrix<f64>,
    /// X'Y, p x T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub cross: DMatrix<f64>,
    /// Y'Y, T x T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub squares: DMatrix<f64>,
    #[serde(skip)]
    eigen: OnceLock<(DVector<f64>, DMatrix<f64>)>,
}

impl Sums {
    pub(crate) fn new(curvature: DMatrix<f64>, cross: DMatrix<f64>, squares: DMatrix<f64>) -> Self {
        Sums { curvature, cross, squares, eigen: OnceLock::new() }
    }

    /// Eigenvalues and eigenvectors of G over these features, found once: they must be the same each time.
    pub(crate) fn eigen(&self, features: &[usize]) -> &(DVector<f64>, DMatrix<f64>) {
        self.eigen.get_or_init(|| linalg::symmetric_eigen(&self.curvature.select_rows(features).select_columns(features)))
    }
}

/// Task by task: blocks J_st = sum_i (R_i^-1)_st x_is x_it'.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Partial {
    pub constant: f64,
    /// h, T p long.
    #[serde(with = "crate::linalg::record::vector")]
    pub linear: DVector<f64>,
    /// J, T p x T p.
    #[serde(with = "crate::linalg::record::matrix")]
    pub curvature: DMatrix<f64>,
}

impl Joint {
    /// Whether shapes are those of so many tasks over so many features, and every number is finite.
    pub(crate) fn is_consistent(&self, features: usize, tasks: usize) -> bool {
        let (constant, parts, fits) = match self {
            Joint::Complete(own) => {
                let Sums { curvature, cross, squares, .. } = own.sums.as_ref();
                let shapes = [own.noise.shape(), curvature.shape(), cross.shape(), squares.shape()];
                let fits = shapes == [(tasks, tasks), (features, features), (features, tasks), (tasks, tasks)];
                (own.constant, vec![own.noise.as_slice(), curvature.as_slice(), cross.as_slice(), squares.as_slice()], fits)
            }
            Joint::Partial(own) => {
                let size = features * tasks;
                let fits = own.linear.len() == size && own.curvature.shape() == (size, size);
                (own.constant, vec![own.linear.as_slice(), own.curvature.as_slice()], fits)
            }
        };
        fits && constant.is_finite() && parts.iter().all(|part| part.iter().all(|value| value.is_finite()))
    }
}
