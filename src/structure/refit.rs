//! The precision matrix of highest likelihood with its zeros given (Dempster 1972).

use super::moments::{MOST_DENSE, TaskMoments};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg;
use nalgebra::{DMatrix, DVector};

/// Maximises log |Omega| - tr(S Omega), S = (M + nu I) / (r + nu), over positive definite Omega that are zero off the edges of
/// `pattern`, of which all else that is known is kept. By cyclic regressions of each task on its neighbours (Hastie, Tibshirani and Friedman 2009,
/// algorithm 17.1), component by component, until Sigma moves by less than `tolerance` of the largest variance.
///
/// Cost of a sweep: sum over tasks of degree^3 + (component size) degree.
pub(crate) fn refit(pattern: &TaskGraph, moments: &TaskMoments, (r, strength): (f64, f64), tolerance: f64) -> Result<TaskGraph> {
    const SWEEPS: usize = 2_000;
    let mut fitted = pattern.clone();
    for component in pattern.components() {
        let n = component.len();
        if n > MOST_DENSE {
            return Err(Error::TooLarge {
                what: format!("the covariance of {n} tasks that hang together, '{}' among them,", pattern.node(component[0]).task),
                needed_mb: (2 * n * n * 8) as u64 / 1_000_000,
                limit_mb: (2 * MOST_DENSE * MOST_DENSE * 8) as u64 / 1_000_000,
                remedy: "give fewer candidates with --candidates, or use --structure exchangeable".into(),
            });
        }
        let position = |t: usize| component.binary_search(&t).expect("neighbours share a component");
        let near: Vec<Vec<usize>> = component.iter().map(|t| pattern.neighbours(*t).into_iter().map(position).collect()).collect();
        let s = (moments.among(&component) + DMatrix::identity(n, n) * strength) / (r + strength);
        // S itself satisfies the constraints; every step raises log |Sigma| among the matrices that do.
        let mut sigma = s.clone();
        let mut coefficients: Vec<Vec<f64>> = near.iter().map(|list| vec![0.0; list.len()]).collect();
        let mut next = DVector::zeros(n);
        let mut settled = false;
        for sweep in 0..SWEEPS {
            let mut moved: f64 = 0.0;
            for j in 0..n {
                let list = &near[j];
                let k = list.len();
                if k == 0 {
                    continue;
                }
                let block = DMatrix::from_fn(k, k, |a, b| sigma[(list[a], list[b])]);
                let factor = linalg::cholesky(block).ok_or_else(|| refused(pattern, component[j]))?;
                let mut beta = DMatrix::from_fn(k, 1, |a, _| s[(list[a], j)]);
                linalg::solve_cholesky(&factor, &mut beta);
                next.fill(0.0);
                for (a, b) in list.iter().zip(beta.iter()) {
                    next.axpy(*b, &sigma.column(*a), 1.0);
                }
                next[j] = sigma[(j, j)];
                moved = next.iter().zip(sigma.column(j).iter()).fold(moved, |most, (new, old)| most.max((new - old).abs()));
                sigma.set_column(j, &next);
                next.iter().enumerate().for_each(|(i, value)| sigma[(j, i)] = *value);
                coefficients[j].copy_from_slice(beta.as_slice());
            }
            if moved < tolerance * s.diagonal().max() || (n <= 2 && sweep > 0) {
                settled = true;
                break;
            }
        }
        if !settled {
            return Err(refused(pattern, component[0]));
        }
        for j in 0..n {
            let explained: f64 = near[j].iter().zip(&coefficients[j]).map(|(a, b)| s[(*a, j)] * b).sum();
            let rest = s[(j, j)] - explained;
            if rest.is_nan() || rest <= 0.0 {
                return Err(refused(pattern, component[j]));
            }
            fitted.set_diagonal(component[j], 1.0 / rest);
        }
        for j in 0..n {
            for (slot, i) in near[j].iter().enumerate().filter(|(_, i)| **i > j) {
                let back = near[*i].iter().position(|k| *k == j).expect("edges join both ends");
                let (a, b) = (component[j], component[*i]);
                let precision =
                    -0.5 * (coefficients[j][slot] * fitted.node(a).precision + coefficients[*i][back] * fitted.node(b).precision);
                fitted.set_precision(a, b, precision);
            }
        }
    }
    Ok(fitted)
}

fn refused(pattern: &TaskGraph, task: usize) -> Error {
    Error::NotPositiveDefinite {
        matrix: format!("the moment matrix around task '{}'", pattern.node(task).task),
        remedy: "raise --prior-strength".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(n: usize) -> DMatrix<f64> {
        let x = DMatrix::from_fn(3 * n, n, |i, j| ((i * 31 + j * 17 + i * j) % 23) as f64 / 7.0 - 1.5);
        x.transpose() * &x / (3 * n) as f64 + DMatrix::identity(n, n) * 0.1
    }

    #[test]
    fn sigma_matches_on_edges_and_omega_vanishes_off_them() {
        let n = 7;
        let names: Vec<String> = (0..n).map(|t| t.to_string()).collect();
        let mut pattern = TaskGraph::empty(&names);
        let edges = [(0, 1), (1, 2), (2, 3), (3, 0), (3, 4), (5, 6)];
        edges.iter().for_each(|(s, t)| pattern.connect(*s, *t, 0.0, Some(0.7)));
        let s = moment(n);
        let fitted = refit(&pattern, &TaskMoments::Matrix(s.clone()), (1.0, 0.0), 1e-11).unwrap();
        let sigma = fitted.precision().try_inverse().unwrap();
        for (a, b) in edges.iter().copied().chain((0..n).map(|t| (t, t))) {
            assert!((sigma[(a, b)] - s[(a, b)]).abs() < 1e-9);
        }
        assert_eq!(fitted.edges().count(), edges.len());
        assert_eq!(fitted.edge(0, 1).unwrap().probability, Some(0.7));
    }

    #[test]
    fn complete_graph_is_the_inverse() {
        let s = moment(4);
        let pattern = TaskGraph::of_precision(&["a", "b", "c", "d"], &DMatrix::from_element(4, 4, 1.0));
        let fitted = refit(&pattern, &TaskMoments::Matrix(s.clone()), (1.0, 0.0), 1e-11).unwrap();
        assert!((fitted.precision() - s.try_inverse().unwrap()).amax() < 1e-8);
    }
}
