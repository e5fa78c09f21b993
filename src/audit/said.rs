//! What the rows say, by the task whose they are.

use crate::linalg;
use crate::posterior::Posterior;
use crate::quadratic::{Complete, Joint, Partial, Quadratics};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// The information J of all rows about all tasks, and what they say, J b.
pub(super) enum Said<'q> {
    /// The rows of a task are about its own parameters only.
    Each(&'q Quadratics),
    /// Every task was measured on the same rows: J_rs = (R^-1)_rs G.
    Complete(&'q Complete, DMatrix<f64>),
    /// Some were.
    Partial(&'q Partial),
}

/// A block of p x p for a task.
pub(super) type Blocks<'b> = &'b (dyn Fn(usize) -> DMatrix<f64> + Sync);

impl<'q> Said<'q> {
    pub(super) fn of(posterior: &'q Posterior) -> Self {
        let all = posterior.quadratics();
        match all.joint().filter(|_| posterior.prior().free.is_empty()) {
            None => Said::Each(all),
            Some(Joint::Partial(partial)) => Said::Partial(partial),
            Some(Joint::Complete(complete)) => {
                let root = linalg::cholesky(complete.noise.clone()).expect("the E-step has factored it");
                Said::Complete(complete, linalg::inverse_of_cholesky(&root))
            }
        }
    }

    /// `reduce` of sum_r C_r J_rs and, where it is asked for and known by task, of what task s says of it, sum_r C_r (J_rs b_s), for every task s. C_r is
    /// `block(r)`; O(T d^3) and `block`, over shared rows O(T^2 d^2).
    pub(super) fn each<R: Send>(
        &self,
        tasks: usize,
        block: Blocks,
        reduce: &(dyn Fn(usize, DMatrix<f64>, Option<DVector<f64>>) -> R + Sync),
    ) -> Vec<R> {
        match self {
            Said::Each(all) => {
                let own = |s: usize| {
                    let (task, block) = (all.task(s), block(s));
                    let pull = &block * task.linear;
                    reduce(s, block * task.curvature, Some(pull))
                };
                (0..tasks).into_par_iter().map(own).collect()
            }
            Said::Complete(complete, inverse) => {
                let blocks: Vec<DMatrix<f64>> = (0..tasks).into_par_iter().map(block).collect();
                let own = |s: usize| {
                    let zero = DMatrix::zeros(blocks[s].nrows(), blocks[s].ncols());
                    let mixed = blocks.iter().enumerate().fold(zero, |sum, (r, block)| sum + block * inverse[(r, s)]);
                    let pull = &mixed * complete.sums.cross.column(s);
                    reduce(s, mixed * &complete.sums.curvature, Some(pull))
                };
                (0..tasks).into_par_iter().map(own).collect()
            }
            Said::Partial(partial) => {
                let blocks: Vec<DMatrix<f64>> = (0..tasks).into_par_iter().map(block).collect();
                let own = |s: usize| {
                    let p = blocks[s].ncols();
                    let zero = DMatrix::zeros(blocks[s].nrows(), p);
                    let of = |(r, block): (usize, &DMatrix<f64>)| block * partial.curvature.view((r * p, s * p), (p, p));
                    reduce(s, blocks.iter().enumerate().map(of).fold(zero, |sum, own| sum + own), None)
                };
                (0..tasks).into_par_iter().map(own).collect()
            }
        }
    }
}
