//! Products of a matrix with a vector or two, in one pass over the matrix and at the vector width of the processor.

use pulp::{Arch, NullaryFnOnce};

/// Numbers that are summed side by side.
const LANES: usize = 8;

/// `target += scale * matrix * x`; the column-major `matrix` has as many rows as `target`.
pub(crate) fn add_times(target: &mut [f64], scale: f64, matrix: &[f64], x: &[f64]) {
    Arch::new().dispatch(AddTimes { target, scale, matrix, x });
}

/// (matrix' a, matrix' b) for a column-major matrix with as many rows as `a` and `b`.
pub(crate) fn transpose_times_both(matrix: &[f64], a: &[f64], b: &[f64]) -> (Vec<f64>, Vec<f64>) {
    Arch::new().dispatch(TransposeTimesBoth { matrix, a, b })
}

struct AddTimes<'a> {
    target: &'a mut [f64],
    scale: f64,
    matrix: &'a [f64],
    x: &'a [f64],
}

impl NullaryFnOnce for AddTimes<'_> {
    type Output = ();

    /// Four columns at a time, so that the target is read and written once for them.
    #[inline(always)]
    fn call(self) {
        let rows = self.target.len();
        if rows == 0 {
            return;
        }
        for (columns, x) in self.matrix.chunks(4 * rows).zip(self.x.chunks(4)) {
            if let [x0, x1, x2, x3] = x {
                let (c0, rest) = columns.split_at(rows);
                let (c1, rest) = rest.split_at(rows);
                let (c2, c3) = rest.split_at(rows);
                let (x0, x1, x2, x3) = (self.scale * x0, self.scale * x1, self.scale * x2, self.scale * x3);
                for (value, (((c0, c1), c2), c3)) in self.target.iter_mut().zip(c0.iter().zip(c1).zip(c2).zip(c3)) {
                    *value += (c0 * x0 + c1 * x1) + (c2 * x2 + c3 * x3);
                }
            } else {
                for (column, x) in columns.chunks_exact(rows).zip(x) {
                    let scale = self.scale * x;
                    self.target.iter_mut().zip(column).for_each(|(value, c)| *value += c * scale);
                }
            }
        }
    }
}

struct TransposeTimesBoth<'a> {
    matrix: &'a [f64],
    a: &'a [f64],
    b: &'a [f64],
}

impl NullaryFnOnce for TransposeTimesBoth<'_> {
    type Output = (Vec<f64>, Vec<f64>);

    #[inline(always)]
    fn call(self) -> Self::Output {
        let rows = self.a.len();
        if rows == 0 {
            return (Vec::new(), Vec::new());
        }
        let whole = rows - rows % LANES;
        let each = self.matrix.chunks_exact(rows).map(|column| {
            let (mut with_a, mut with_b) = ([0.0; LANES], [0.0; LANES]);
            for start in (0..whole).step_by(LANES) {
                let (c, a, b) = (&column[start..start + LANES], &self.a[start..start + LANES], &self.b[start..start + LANES]);
                for k in 0..LANES {
                    with_a[k] += c[k] * a[k];
                    with_b[k] += c[k] * b[k];
                }
            }
            let (mut sum_a, mut sum_b) = (with_a.iter().sum::<f64>(), with_b.iter().sum::<f64>());
            for k in whole..rows {
                sum_a += column[k] * self.a[k];
                sum_b += column[k] * self.b[k];
            }
            (sum_a, sum_b)
        });
        each.unzip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::{DMatrix, DVector};

    #[test]
    fn products_with_vectors_agree_with_nalgebra() {
        for (rows, columns) in [(0, 3), (1, 1), (7, 5), (8, 4), (19, 11), (3, 0)] {
            let matrix = DMatrix::from_fn(rows, columns, |i, j| ((i * 7 + j * 5) % 11) as f64 - 4.0);
            let x = DVector::from_fn(columns, |j, _| j as f64 - 2.5);
            let (a, b) = (DVector::from_fn(rows, |i, _| i as f64 - 1.5), DVector::from_fn(rows, |i, _| (i * i) as f64));
            let mut sum = a.clone();
            add_times(sum.as_mut_slice(), -0.5, matrix.as_slice(), x.as_slice());
            assert!((sum - (&a - &matrix * &x * 0.5)).amax() < 1e-10 || rows == 0);
            let (with_a, with_b) = transpose_times_both(matrix.as_slice(), a.as_slice(), b.as_slice());
            if rows > 0 {
                assert_eq!(with_a.len(), columns);
                assert!(with_a.iter().zip(matrix.tr_mul(&a).iter()).all(|(x, y)| (x - y).abs() < 1e-10));
                assert!(with_b.iter().zip(matrix.tr_mul(&b).iter()).all(|(x, y)| (x - y).abs() < 1e-10));
            }
        }
    }
}
