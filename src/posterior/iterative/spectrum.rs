//! What Lanczos tells of the spectrum of X: a tridiagonal matrix a probe, its Gauss quadrature, and log |I + X| from all of them.

use super::{DRAWN, not_positive_definite};
use crate::error::Result;
use nalgebra::{DMatrix, Matrix3, Vector3};

/// Nodes and weights of a column's spectral measure: z' f(X) z = sum of weight f(node).
pub(super) type Measure = Vec<(f64, f64)>;

/// log |I + X| and its standard error from the spectral measures of standard normal probes.
///
/// tr log(I + X) is that of a quadratic c_0 + c_1 X + c_2 X^2, known since tr X = 0, and the mean of what the quadratic leaves of
/// the probes. The variance of that is 2 sum over the spectrum of (log(1 + x) - quadratic)^2, so least squares over the measures
/// finds the quadratic (errors 1.6 to 4 times smaller than with that of Taylor); they stand for T r eigenvalues, so three
/// coefficients do not fit the noise of the probes.
pub(super) fn log_determinant(measures: &[Measure], size: usize, square_trace: f64) -> (f64, f64) {
    // Beside the terms of Taylor, towards which the ridge draws.
    let remainder = |x: f64| x.ln_1p() - x + 0.5 * x * x;
    let powers = |x: f64| Vector3::new(1.0, x, x * x);
    let (mut information, mut score) = (Matrix3::zeros(), Vector3::zeros());
    for (node, weight) in measures.iter().flatten() {
        let powers = powers(*node);
        information += powers * powers.transpose() * *weight;
        score += powers * (remainder(*node) * weight);
    }
    information += Matrix3::identity() * (1e-10 * information.trace());
    let fit = information.cholesky().map_or(Vector3::zeros(), |factor| factor.solve(&score));
    let known = fit[0] * size as f64 + (fit[2] - 0.5) * square_trace;
    let left = |measure: &Measure| -> f64 { measure.iter().map(|(x, weight)| weight * (remainder(*x) - fit.dot(&powers(*x)))).sum() };
    let values: Vec<f64> = measures.iter().map(left).collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    (known + mean, (variance / n).sqrt())
}

/// The tridiagonal matrix of one column's Lanczos.
#[derive(Clone, Default)]
pub(super) struct Run {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
    /// The last pivot of I + the matrix.
    pivot: f64,
    /// Relative residual of conjugate gradients after as many steps.
    residual: f64,
    pub(super) finished: bool,
}

impl Run {
    /// Finished once conjugate gradients would be: |residual| / sqrt(least eigenvalue) bounds the error of the inverse square root,
    /// which is an integral of (I + X + s)^-1 z / (pi sqrt(s)) over s > 0, all with smaller residuals.
    pub(super) fn extend(&mut self, diagonal: f64, beside: f64) -> Result<()> {
        let (before, residual) = match self.beside.last() {
            Some(last) => (last * last / self.pivot, self.residual),
            None => (0.0, 1.0),
        };
        self.pivot = 1.0 + diagonal - before;
        if self.pivot.is_nan() || self.pivot <= 0.0 {
            return Err(not_positive_definite("the joint posterior precision".into()));
        }
        self.residual = residual * beside / self.pivot;
        self.finished = self.residual <= DRAWN;
        self.diagonal.push(diagonal);
        self.beside.push(beside);
        Ok(())
    }

    pub(super) fn matrix(&self) -> DMatrix<f64> {
        let n = self.diagonal.len();
        DMatrix::from_fn(n, n, |i, j| match i.abs_diff(j) {
            0 => self.diagonal[i],
            1 => self.beside[i.min(j)],
            _ => 0.0,
        })
    }
}
