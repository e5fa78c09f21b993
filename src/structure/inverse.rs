//! The inverse of Omega while its columns change one after another: rank-one changes are kept and added to the matrix many at once.

use crate::linalg::{self, Operand, multiply_add};
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Changed columns that are kept before the matrix is brought up to date.
const KEPT: usize = 16;

/// Columns of the matrix that one worker brings up to date at once.
const CHUNK: usize = 48;

/// Sigma = Omega^-1 = base + sum of plus plus' - sum of minus minus'. A change costs O(c^2) with c the size of a component, done by
/// matrix products.
#[derive(Clone, Debug)]
pub(super) struct Inverse {
    /// Its lower triangle counts.
    base: DMatrix<f64>,
    diagonal: Vec<f64>,
    plus: Vec<Vec<f64>>,
    minus: Vec<Vec<f64>>,
}

impl Inverse {
    pub(super) fn new(sigma: DMatrix<f64>) -> Self {
        Inverse { diagonal: sigma.diagonal().iter().copied().collect(), base: sigma, plus: Vec::new(), minus: Vec::new() }
    }

    /// Sigma_ss.
    pub(super) fn diagonal(&self, s: usize) -> f64 {
        self.diagonal[s]
    }

    /// Column t. O(T), and O(T) for every change kept in which t takes part.
    pub(super) fn column(&self, t: usize) -> Vec<f64> {
        let tasks = self.diagonal.len();
        let mut column = Vec::with_capacity(tasks);
        column.extend((0..t).map(|s| self.base[(t, s)]));
        column.extend_from_slice(&self.base.as_slice()[t * tasks + t..(t + 1) * tasks]);
        for (sign, changes) in [(1.0, &self.plus), (-1.0, &self.minus)] {
            for change in changes.iter().filter(|change| change[t] != 0.0) {
                let scale = sign * change[t];
                column.iter_mut().zip(change).for_each(|(value, change)| *value += scale * change);
            }
        }
        column
    }

    /// Adds plus plus' - minus minus'.
    pub(super) fn change(&mut self, plus: Vec<f64>, minus: Vec<f64>) {
        for (own, (up, down)) in self.diagonal.iter_mut().zip(plus.iter().zip(&minus)) {
            *own += up * up - down * down;
        }
        self.plus.push(plus);
        self.minus.push(minus);
        if self.plus.len() == KEPT {
            self.settle();
        }
    }

    /// Brings the matrix up to date among the tasks that took part.
    fn settle(&mut self) {
        let tasks = self.diagonal.len();
        let took_part = |s: &usize| self.plus.iter().chain(&self.minus).any(|change| change[*s] != 0.0);
        let part: Vec<usize> = (0..tasks).filter(took_part).collect();
        let n = part.len();
        let gathered = |changes: &[Vec<f64>]| DMatrix::from_fn(n, changes.len(), |i, k| changes[k][part[i]]);
        let (plus, minus) = (gathered(&self.plus), gathered(&self.minus));
        let blocks: Vec<DMatrix<f64>> = (0..n.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let (first, last) = (chunk * CHUNK, ((chunk + 1) * CHUNK).min(n));
                let mut block = DMatrix::zeros(n - first, last - first);
                for (sign, changes) in [(1.0, &plus), (-1.0, &minus)] {
                    let (rows, columns) = (changes.rows(first, n - first).into_owned(), changes.rows(first, last - first).into_owned());
                    let (left, right) = (Operand::of(&rows), Operand::of(&columns));
                    multiply_add(block.as_mut_slice(), sign, left, right.transpose());
                }
                block
            })
            .collect();
        for (chunk, block) in blocks.iter().enumerate() {
            let first = chunk * CHUNK;
            for j in 0..block.ncols() {
                let column = &mut self.base.as_mut_slice()[part[first + j] * tasks..(part[first + j] + 1) * tasks];
                for i in j..block.nrows() {
                    column[part[first + i]] += block[(i, j)];
                }
            }
        }
        part.iter().for_each(|t| self.base[(*t, *t)] = self.diagonal[*t]);
        self.plus.clear();
        self.minus.clear();
    }

    /// Makes it anew from Omega, against the growth of rounding.
    pub(super) fn refresh(&mut self, omega: &DMatrix<f64>) {
        if let Some(factor) = linalg::cholesky(omega.clone()) {
            *self = Inverse::new(linalg::inverse_of_cholesky(&factor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_added_whether_settled_or_not() {
        let n = 120;
        let mut sigma = DMatrix::<f64>::identity(n, n) * 50.0;
        let mut inverse = Inverse::new(sigma.clone());
        for step in 0..KEPT + 7 {
            let vector = |shift: usize| -> Vec<f64> {
                (0..n).map(|s| if (s + step) % 3 == 0 { ((s * 7 + shift * 5 + step) % 11) as f64 / 10.0 - 0.4 } else { 0.0 }).collect()
            };
            let (plus, minus) = (vector(1), vector(2));
            for i in 0..n {
                (0..n).for_each(|j| sigma[(i, j)] += plus[i] * plus[j] - minus[i] * minus[j]);
            }
            inverse.change(plus, minus);
            for t in [0, 47, 48, n - 1] {
                let column = inverse.column(t);
                assert!(sigma.column(t).iter().zip(&column).all(|(a, b)| (a - b).abs() < 1e-11));
                assert!((inverse.diagonal(t) - sigma[(t, t)]).abs() < 1e-11);
            }
        }
    }
}
