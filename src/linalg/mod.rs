//! Decompositions and products, so that the rest of cognate names what it needs and not how it is computed.
//!
//! nalgebra types are the public face; faer does the work where matrices are large.

mod inverses;
mod kernels;
pub(crate) mod lanes;
mod lbfgs;
mod normal;
mod quadrature;
pub(crate) mod record;
mod vectors;

pub use inverses::invert_each;
pub(crate) use kernels::{
    Operand, cholesky_in_place, multiply_add, product, solve_cholesky_vector, solve_lower, solve_lower_transpose, subtract_gram,
    trace_of_inverse,
};
pub(crate) use lbfgs::Lbfgs;
pub(crate) use normal::normal;
pub(crate) use quadrature::{doubling_rules, interval_rule, normal_rule, normal_rule_of, scale_free_rule, sum_rule};
pub(crate) use vectors::{add_times, transpose_times_both};

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::{Mat, MatMut, MatRef, Par, Side};
use nalgebra::{DMatrix, DVector};

/// Below this size the kernels here beat the set-up of a blocked factorisation.
const BLOCKED: usize = 48;

pub(crate) fn as_faer(matrix: &DMatrix<f64>) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(matrix.as_slice(), matrix.nrows(), matrix.ncols())
}

fn from_faer(matrix: MatRef<'_, f64>) -> DMatrix<f64> {
    DMatrix::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)])
}

/// The lower Cholesky factor of a symmetric matrix (only its lower triangle is read), or `None` where it is not
/// positive definite. O(n^3 / 3).
pub(crate) fn cholesky(mut matrix: DMatrix<f64>) -> Option<DMatrix<f64>> {
    let n = matrix.nrows();
    if !cholesky_in_place(matrix.as_mut_slice(), n) {
        return None;
    }
    matrix.fill_upper_triangle(0.0, 1);
    Some(matrix)
}

/// Solves L L' x = b in place for every column of `right`.
pub(crate) fn solve_cholesky(factor: &DMatrix<f64>, right: &mut DMatrix<f64>) {
    solve_lower_matrix(factor, right);
    let n = factor.nrows();
    if n < BLOCKED {
        solve_lower_transpose(factor.as_slice(), n, right.as_mut_slice());
    } else {
        let columns = right.ncols();
        let view = MatMut::from_column_major_slice_mut(right.as_mut_slice(), n, columns);
        faer::linalg::triangular_solve::solve_upper_triangular_in_place(as_faer(factor).transpose(), view, Par::Seq);
    }
}

/// Solves L x = b in place for every column of `right`.
pub(crate) fn solve_lower_matrix(factor: &DMatrix<f64>, right: &mut DMatrix<f64>) {
    let (n, columns) = (factor.nrows(), right.ncols());
    if n < BLOCKED {
        solve_lower(factor.as_slice(), n, right.as_mut_slice());
    } else {
        let view = MatMut::from_column_major_slice_mut(right.as_mut_slice(), n, columns);
        faer::linalg::triangular_solve::solve_lower_triangular_in_place(as_faer(factor), view, Par::Seq);
    }
}

/// (L L')^-1 from the lower factor L.
pub(crate) fn inverse_of_cholesky(factor: &DMatrix<f64>) -> DMatrix<f64> {
    let n = factor.nrows();
    if n < BLOCKED {
        let mut inverse = DMatrix::identity(n, n);
        solve_cholesky(factor, &mut inverse);
        symmetrise(&mut inverse);
        return inverse;
    }
    let mut inverse = DMatrix::zeros(n, n);
    let mut scratch = MemBuffer::new(llt::inverse::inverse_scratch::<f64>(n, Par::Seq));
    let view = MatMut::from_column_major_slice_mut(inverse.as_mut_slice(), n, n);
    llt::inverse::inverse(view, as_faer(factor), Par::Seq, MemStack::new(&mut scratch));
    inverse.fill_upper_triangle_with_lower_triangle();
    inverse
}

/// Inverts a column-major symmetric positive definite matrix in place (its lower triangle is read) and returns its log-determinant, or
/// leaves one that is not positive definite as it was.
fn invert_in_place(matrix: &mut [f64], n: usize) -> Option<f64> {
    let factor = cholesky(DMatrix::from_column_slice(n, n, matrix))?;
    matrix.copy_from_slice(inverse_of_cholesky(&factor).as_slice());
    Some(log_determinant(&factor))
}

/// log |L L'|.
pub(crate) fn log_determinant(factor: &DMatrix<f64>) -> f64 {
    2.0 * factor.diagonal().iter().map(|value| value.ln()).sum::<f64>()
}

/// Eigenvalues (ascending) and eigenvectors (columns) of a symmetric matrix.
pub(crate) fn symmetric_eigen(matrix: &DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let n = matrix.nrows();
    if n == 0 {
        return (DVector::zeros(0), DMatrix::zeros(0, 0));
    }
    let view: Mat<f64> = as_faer(matrix).to_owned();
    match view.self_adjoint_eigen(Side::Lower) {
        Ok(eigen) => {
            let values = DVector::from_fn(n, |i, _| eigen.S()[i]);
            (values, from_faer(eigen.U()))
        }
        Err(_) => {
            let eigen = matrix.clone().symmetric_eigen();
            let mut order: Vec<usize> = (0..n).collect();
            order.sort_by(|a, b| eigen.eigenvalues[*a].total_cmp(&eigen.eigenvalues[*b]));
            let values = DVector::from_fn(n, |i, _| eigen.eigenvalues[order[i]]);
            (values, DMatrix::from_fn(n, n, |i, j| eigen.eigenvectors[(i, order[j])]))
        }
    }
}

/// Lower-triangular L with L L' = `matrix` for a positive *semi*definite matrix; columns whose pivot is below
/// `1e-14` of the diagonal become 0.
pub(crate) fn semidefinite_factor(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    let n = matrix.nrows();
    let mut factor = matrix.clone();
    for k in 0..n {
        let original = matrix[(k, k)];
        let pivot = factor[(k, k)];
        if pivot <= 1e-14 * original || pivot <= 0.0 {
            for i in k..n {
                factor[(i, k)] = 0.0;
            }
        } else {
            let root = pivot.sqrt();
            for i in k..n {
                factor[(i, k)] /= root;
            }
        }
        for j in k + 1..n {
            let scale = factor[(j, k)];
            if scale != 0.0 {
                for i in j..n {
                    let value = factor[(i, k)];
                    factor[(i, j)] -= value * scale;
                }
            }
        }
    }
    factor.fill_upper_triangle(0.0, 1);
    factor
}

/// R (n x k) with R R' = `matrix` for a positive semidefinite matrix of rank k, and the row of each column's pivot, above which in that
/// order it is 0. The largest diagonal element left of the matrix scaled to a correlation is the pivot (Higham 1990), so that two rows
/// that are nearly alike do not leave rounding behind that looks like a further dimension, as it may in [`semidefinite_factor`].
pub(crate) fn pivoted_root(matrix: &DMatrix<f64>) -> (DMatrix<f64>, Vec<usize>) {
    let n = matrix.nrows();
    let scale: Vec<f64> = matrix.diagonal().iter().map(|value| value.max(0.0).sqrt()).collect();
    let mut left: Vec<f64> = scale.iter().map(|scale| f64::from(*scale > 0.0)).collect();
    let (mut columns, mut pivots): (Vec<DVector<f64>>, Vec<usize>) = (Vec::new(), Vec::new());
    while let Some(pivot) = (0..n).filter(|k| left[*k] > 1e-14 * n as f64).max_by(|a, b| left[*a].total_cmp(&left[*b]).then(b.cmp(a))) {
        let mut column = DVector::from_fn(n, |i, _| if scale[i] > 0.0 { matrix[(i, pivot)] / (scale[i] * scale[pivot]) } else { 0.0 });
        columns.iter().for_each(|before| column.axpy(-before[pivot], before, 1.0));
        column /= left[pivot].sqrt();
        column[pivot] = left[pivot].sqrt();
        pivots.iter().for_each(|before| column[*before] = 0.0);
        left.iter_mut().zip(column.iter()).for_each(|(left, value)| *left -= value * value);
        left[pivot] = 0.0;
        pivots.push(pivot);
        columns.push(column);
    }
    (DMatrix::from_fn(n, columns.len(), |i, k| scale[i] * columns[k][i]), pivots)
}

/// Puts `part` where these rows and columns meet.
pub(crate) fn place(all: &mut DMatrix<f64>, (rows, columns): (&[usize], &[usize]), part: &DMatrix<f64>) {
    for (j, b) in columns.iter().enumerate() {
        rows.iter().enumerate().for_each(|(i, a)| all[(*a, *b)] = part[(i, j)]);
    }
}

/// C' C, exactly symmetric.
pub(crate) fn gram(columns: &DMatrix<f64>) -> DMatrix<f64> {
    let mut gram = columns.tr_mul(columns);
    symmetrise(&mut gram);
    gram
}

/// Copies the mean of both triangles into both.
pub(crate) fn symmetrise(matrix: &mut DMatrix<f64>) {
    for j in 0..matrix.ncols() {
        for i in 0..j {
            let mean = 0.5 * (matrix[(i, j)] + matrix[(j, i)]);
            matrix[(i, j)] = mean;
            matrix[(j, i)] = mean;
        }
    }
}

/// (tr Sigma - 1'Sigma 1 / T) / (T - 1) of a T x T covariance: the expected variance of its variables about their mean.
pub(crate) fn variance_between(covariance: &DMatrix<f64>) -> f64 {
    let count = covariance.nrows() as f64;
    (covariance.trace() - covariance.sum() / count) / (count - 1.0).max(1.0)
}

/// Where a function of one hill has its top, by the golden section: the middle of what so many steps leave of an interval.
pub(crate) fn golden_section(value: impl Fn(f64) -> f64, (mut low, mut high): (f64, f64), steps: usize) -> f64 {
    const SECTION: f64 = 0.618_033_988_749_895;
    for _ in 0..steps {
        let (left, right) = (high - SECTION * (high - low), low + SECTION * (high - low));
        if value(left) >= value(right) { high = right } else { low = left }
    }
    0.5 * (low + high)
}

/// Central differences of a function at a point, for tests of slopes.
#[cfg(test)]
pub(crate) fn differences(value: impl Fn(&[f64]) -> f64, point: &[f64], step: f64) -> Vec<f64> {
    let moved = |k: usize, step: f64| {
        let mut there = point.to_vec();
        there[k] += step;
        value(&there)
    };
    (0..point.len()).map(|k| (moved(k, step) - moved(k, -step)) / (2.0 * step)).collect()
}

/// The covariance as a correlation matrix; a zero variance gives zero correlations and a unit diagonal.
pub(crate) fn correlation(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let scale: Vec<f64> = covariance.diagonal().iter().map(|v| if *v > 0.0 { 1.0 / v.sqrt() } else { 0.0 }).collect();
    DMatrix::from_fn(covariance.nrows(), covariance.ncols(), |i, j| if i == j { 1.0 } else { covariance[(i, j)] * scale[i] * scale[j] })
}

/// Which columns of a Gram matrix are linearly independent of the columns before them (as R's `lm` pivots): a column
/// stays when its squared distance to the span of those kept exceeds `1e-10` of its squared length. O(n^3 / 3).
pub(crate) fn independent_columns(gram: &DMatrix<f64>) -> Vec<usize> {
    let n = gram.nrows();
    let mut kept: Vec<usize> = Vec::new();
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for j in 0..n {
        let length = gram[(j, j)];
        if length <= 1e-12 * gram.diagonal().amax() {
            continue;
        }
        let mut row: Vec<f64> = Vec::with_capacity(kept.len() + 1);
        for (i, other) in kept.iter().enumerate() {
            let dot: f64 = row.iter().zip(&rows[i]).map(|(a, b)| a * b).sum();
            row.push((gram[(j, *other)] - dot) / rows[i][i]);
        }
        let rest = length - row.iter().map(|v| v * v).sum::<f64>();
        if rest > 1e-10 * length {
            row.push(rest.sqrt());
            rows.push(row);
            kept.push(j);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(n: usize) -> DMatrix<f64> {
        let root = DMatrix::from_fn(n, n, |i, j| ((i * 7 + j * 13) % 11) as f64 - 5.0 + if i == j { 9.0 } else { 0.0 });
        &root * root.transpose()
    }

    #[test]
    fn cholesky_and_solves_agree_with_nalgebra_below_and_above_the_blocked_size() {
        for n in [1, 5, 30, 90] {
            let a = matrix(n);
            let factor = cholesky(a.clone()).unwrap();
            assert!((&factor * factor.transpose() - &a).amax() < 1e-9 * a.amax());
            let inverse = inverse_of_cholesky(&factor);
            assert!((&inverse * &a - DMatrix::identity(n, n)).amax() < 1e-7);
            let expected = a.clone().cholesky().unwrap().determinant().ln();
            assert!((log_determinant(&factor) - expected).abs() < 1e-8 * expected.abs());
        }
    }

    #[test]
    fn indefinite_is_refused_and_semidefinite_is_factored() {
        assert!(cholesky(DMatrix::from_row_slice(2, 2, &[1.0, 2.0, 2.0, 1.0])).is_none());
        let mut big = -DMatrix::<f64>::identity(60, 60);
        big[(0, 0)] = 1.0;
        assert!(cholesky(big).is_none());
        let column = DVector::from_vec(vec![1.0, -2.0, 3.0]);
        let a = &column * column.transpose();
        let factor = semidefinite_factor(&a);
        assert!((&factor * factor.transpose() - &a).amax() < 1e-12);
    }

    #[test]
    fn a_pivoted_root_has_the_rank_of_the_matrix_also_of_rows_nearly_alike() {
        let rows = DMatrix::from_row_slice(2, 4, &[1.0, 0.99850, 2.4e5, -0.51, 1.0, 0.99883, 8.0e5, 0.43]);
        let matrix = rows.transpose() * &rows * 1e8;
        let (root, pivots) = pivoted_root(&matrix);
        assert_eq!(pivots.len(), 2);
        for i in 0..4 {
            for j in 0..4 {
                let rebuilt = root.row(i).dot(&root.row(j));
                assert!((rebuilt - matrix[(i, j)]).abs() < 1e-13 * (matrix[(i, i)] * matrix[(j, j)]).sqrt());
            }
        }
        assert_eq!(root[(pivots[0], 1)], 0.0);
        assert_eq!(pivoted_root(&DMatrix::zeros(3, 3)).0.ncols(), 0);
    }

    #[test]
    fn eigenvalues_ascend_and_rebuild_the_matrix() {
        let a = matrix(20);
        let (values, vectors) = symmetric_eigen(&a);
        assert!(values.as_slice().windows(2).all(|pair| pair[0] <= pair[1]));
        let rebuilt = &vectors * DMatrix::from_diagonal(&values) * vectors.transpose();
        assert!((rebuilt - &a).amax() < 1e-9 * a.amax());
    }

    #[test]
    fn dependent_columns_are_dropped_in_order() {
        let x = DMatrix::from_row_slice(4, 4, &[1., 1., 0., 2., 1., 0., 1., 3., 1., 1., 0., 5., 1., 0., 1., 7.]);
        assert_eq!(independent_columns(&(x.transpose() * &x)), vec![0, 1, 3]);
    }
}
