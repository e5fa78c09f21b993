//! Gauss-Hermite quadrature: expectations over a normal variable as short weighted sums.

use super::symmetric_eigen;
use nalgebra::DMatrix;
use std::sync::LazyLock;

/// Nodes of the rule that [`normal_rule`] gives.
const NODES: usize = 20;

static RULE: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| rule(NODES));

/// Nodes z and weights v with E f(Z) = sum v f(z) for Z ~ N(0, 1), exact for polynomials up to degree 39.
pub(crate) fn normal_rule() -> &'static [(f64, f64)] {
    &RULE
}

/// By the eigenvalues of the recurrence of the Hermite polynomials (Golub and Welsch 1969), made exactly symmetric.
fn rule(nodes: usize) -> Vec<(f64, f64)> {
    let recurrence = DMatrix::from_fn(nodes, nodes, |i, j| if i.abs_diff(j) == 1 { (i.max(j) as f64).sqrt() } else { 0.0 });
    let (values, vectors) = symmetric_eigen(&recurrence);
    (0..nodes)
        .map(|k| {
            let other = nodes - 1 - k;
            (0.5 * (values[k] - values[other]), 0.5 * (vectors[(0, k)].powi(2) + vectors[(0, other)].powi(2)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_exponentials_of_a_normal_variable_are_exact() {
        let expected = |f: &dyn Fn(f64) -> f64| normal_rule().iter().map(|(z, v)| v * f(*z)).sum::<f64>();
        assert!((expected(&|_| 1.0) - 1.0).abs() < 1e-14);
        assert!((expected(&|z| z.powi(6)) - 15.0).abs() < 1e-11);
        assert!((expected(&|z| (0.8 * z).exp()) - 0.32f64.exp()).abs() < 1e-13);
        assert!(expected(&|z| z.powi(7)).abs() < 1e-11);
    }
}
