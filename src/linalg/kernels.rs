//! Small dense kernels on column-major slices, so that the per-task inner loops allocate nothing.

use super::{BLOCKED, as_faer};
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt::factor::{cholesky_in_place as blocked_cholesky, cholesky_in_place_scratch};
use faer::linalg::matmul::matmul;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::linalg::triangular_solve::{solve_lower_triangular_in_place, solve_upper_triangular_in_place};
use faer::{Accum, MatMut, MatRef, Par};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Replaces the lower triangle of the n x n matrix `a` by its Cholesky factor; false where it is not positive
/// definite. The strict upper triangle is left as it was.
pub(crate) fn cholesky_in_place(a: &mut [f64], n: usize) -> bool {
    if n >= BLOCKED {
        let mut scratch = MemBuffer::new(cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default()));
        let view = MatMut::from_column_major_slice_mut(&mut *a, n, n);
        let done = blocked_cholesky(view, Default::default(), Par::Seq, MemStack::new(&mut scratch), Default::default());
        return done.is_ok() && (0..n).all(|k| a[k * n + k].is_finite());
    }
    for k in 0..n {
        let (left, right) = a.split_at_mut((k + 1) * n);
        let column = &mut left[k * n..];
        let pivot = column[k];
        if pivot.is_nan() || pivot <= 0.0 || pivot.is_infinite() {
            return false;
        }
        let root = pivot.sqrt();
        let scale = 1.0 / root;
        column[k] = root;
        column[k + 1..].iter_mut().for_each(|value| *value *= scale);
        for j in k + 1..n {
            let factor = column[j];
            let target = &mut right[(j - k - 1) * n + j..(j - k) * n];
            for (t, s) in target.iter_mut().zip(&column[j..]) {
                *t -= factor * s;
            }
        }
    }
    true
}

/// Solves L x = b in place for each length-n column of `right`.
pub(crate) fn solve_lower(l: &[f64], n: usize, right: &mut [f64]) {
    if n == 0 {
        return;
    }
    if n >= 12 && right.len() >= 8 * n {
        let columns = right.len() / n;
        let factor = MatRef::from_column_major_slice(l, n, n);
        solve_lower_triangular_in_place(factor, MatMut::from_column_major_slice_mut(right, n, columns), Par::Seq);
        return;
    }
    for b in right.chunks_exact_mut(n) {
        for k in 0..n {
            let value = b[k] / l[k * n + k];
            b[k] = value;
            for (t, s) in b[k + 1..].iter_mut().zip(&l[k * n + k + 1..(k + 1) * n]) {
                *t -= value * s;
            }
        }
    }
}

/// Solves L' x = b in place for each length-n column of `right`.
pub(crate) fn solve_lower_transpose(l: &[f64], n: usize, right: &mut [f64]) {
    if n == 0 {
        return;
    }
    if n >= 12 && right.len() >= 8 * n {
        let columns = right.len() / n;
        let factor = MatRef::from_column_major_slice(l, n, n).transpose();
        solve_upper_triangular_in_place(factor, MatMut::from_column_major_slice_mut(right, n, columns), Par::Seq);
        return;
    }
    for b in right.chunks_exact_mut(n) {
        for k in (0..n).rev() {
            let dot: f64 = b[k + 1..].iter().zip(&l[k * n + k + 1..(k + 1) * n]).map(|(x, y)| x * y).sum();
            b[k] = (b[k] - dot) / l[k * n + k];
        }
    }
}

/// The solution of L L' x = right in its place.
pub(crate) fn solve_cholesky_vector(factor: &DMatrix<f64>, right: &mut DVector<f64>) {
    let n = factor.nrows();
    solve_lower(factor.as_slice(), n, right.as_mut_slice());
    solve_lower_transpose(factor.as_slice(), n, right.as_mut_slice());
}

/// tr (L L')^-1, the sum of squares of L^-1; `inverse` is n x n and lost. O(n^3 / 3).
pub(crate) fn trace_of_inverse(l: &[f64], n: usize, inverse: &mut [f64]) -> f64 {
    inverse.fill(0.0);
    if n >= BLOCKED {
        let target = MatMut::from_column_major_slice_mut(&mut *inverse, n, n);
        invert_lower_triangular(target, MatRef::from_column_major_slice(l, n, n), Par::Seq);
        return inverse.iter().map(|value| value * value).sum();
    }
    let mut trace = 0.0;
    for k in 0..n {
        let column = &mut inverse[k * n..(k + 1) * n];
        column[k] = 1.0;
        for i in k..n {
            let value = column[i] / l[i * n + i];
            column[i] = value;
            trace += value * value;
            column[i + 1..].iter_mut().zip(&l[i * n + i + 1..(i + 1) * n]).for_each(|(c, l)| *c -= value * l);
        }
    }
    trace
}

/// A column-major matrix operand, as it stands or transposed.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    data: &'a [f64],
    rows: usize,
    columns: usize,
    transposed: bool,
}

impl<'a> Operand<'a> {
    pub(crate) fn new(data: &'a [f64], rows: usize, columns: usize) -> Self {
        Operand { data, rows, columns, transposed: false }
    }

    /// A whole matrix.
    pub(crate) fn of(matrix: &'a DMatrix<f64>) -> Self {
        Operand::new(matrix.as_slice(), matrix.nrows(), matrix.ncols())
    }

    pub(crate) fn transpose(self) -> Self {
        Operand { transposed: !self.transposed, ..self }
    }

    fn view(&self) -> MatRef<'a, f64> {
        let view = MatRef::from_column_major_slice(self.data, self.rows, self.columns);
        if self.transposed { view.transpose() } else { view }
    }
}

/// The product of two matrices.
pub(crate) fn product(left: Operand, right: Operand) -> DMatrix<f64> {
    let mut product = DMatrix::zeros(left.view().nrows(), right.view().ncols());
    multiply_add(product.as_mut_slice(), 1.0, left, right);
    product
}

/// `target += scale * left * right`; `target` is column-major with as many rows as `left`.
pub(crate) fn multiply_add(target: &mut [f64], scale: f64, left: Operand, right: Operand) {
    let (left, right) = (left.view(), right.view());
    add_product(MatMut::from_column_major_slice_mut(target, left.nrows(), right.ncols()), scale, left, right);
}

fn add_product(mut target: MatMut<f64>, scale: f64, left: MatRef<f64>, right: MatRef<f64>) {
    let (rows, inner, columns) = (left.nrows(), left.ncols(), right.ncols());
    if rows * columns * inner <= 64 {
        for j in 0..columns {
            for i in 0..rows {
                let mut sum = 0.0;
                for k in 0..inner {
                    sum += left[(i, k)] * right[(k, j)];
                }
                target[(i, j)] += scale * sum;
            }
        }
    } else {
        matmul(target, Accum::Add, left, right, scale, Par::Seq);
    }
}

/// `target -= right' right` in the upper triangle, and in some of what is below.
pub(crate) fn subtract_gram(target: &mut DMatrix<f64>, right: &DMatrix<f64>) {
    /// Columns of one unit of parallel work.
    const CHUNK: usize = 64;
    let rows = target.nrows();
    let view = as_faer(right);
    target.as_mut_slice().par_chunks_mut((rows * CHUNK).max(1)).enumerate().for_each(|(number, columns)| {
        let (before, width) = (number * CHUNK, columns.len() / rows);
        let target = MatMut::from_column_major_slice_mut(columns, rows, width).subrows_mut(0, before + width);
        add_product(target, -1.0, view.subcols(0, before + width).transpose(), view.subcols(before, width));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_of_inverses_agree_with_nalgebra_below_and_above_the_blocked_size() {
        for n in [1, 7, 47, 48, 90] {
            let root = DMatrix::from_fn(n, n, |i, j| ((i * 7 + j * 13) % 11) as f64 / 11.0 + if i == j { 4.0 } else { 0.0 });
            let matrix = &root * root.transpose();
            let expected = matrix.clone().try_inverse().unwrap().trace();
            let mut factor = matrix.clone();
            assert!(cholesky_in_place(factor.as_mut_slice(), n));
            let mut scratch = vec![7.0; n * n];
            let trace = trace_of_inverse(factor.as_slice(), n, &mut scratch);
            assert!((trace - expected).abs() < 1e-10 * expected, "{trace} against {expected} at {n}");
        }
    }

    #[test]
    fn products_agree_with_nalgebra() {
        for (m, k, n) in [(1, 1, 1), (3, 2, 4), (9, 28, 12)] {
            let a = DMatrix::from_fn(k, m, |i, j| (i * 3 + j) as f64 - 4.0);
            let b = DMatrix::from_fn(k, n, |i, j| (i + 2 * j) as f64 - 3.0);
            let mut c = DMatrix::from_element(m, n, 1.0);
            multiply_add(c.as_mut_slice(), -0.5, Operand::of(&a).transpose(), Operand::of(&b));
            assert!((c - (DMatrix::from_element(m, n, 1.0) - a.transpose() * b * 0.5)).amax() < 1e-10);
        }
    }
}
