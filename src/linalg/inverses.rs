//! Inverses of many small matrices at once.

use super::lanes::{
    Cells, LARGEST, MOST_LANES, add_gram, are_factors, cholesky, gather, invert_lower, log_determinants, scatter, triangle,
};
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;
use std::array::from_fn;

/// Inverts symmetric positive definite matrices of n rows that stand one after another, in place, and returns the log-determinant of
/// each: `None` for one that is not positive definite, which is left as it was. Only upper triangles (by columns) are read, both are
/// written.
///
/// As many as the processor's vectors have lanes are inverted side by side, up to 48 rows; larger ones one at a time. The numbers do not
/// depend on the thread count; between kinds of processors they differ by rounding. O(n^3) each.
///
/// ```
/// let mut two = vec![4.0, 0.0, 0.0, 1.0, /* and */ 1.0, 2.0, 2.0, 1.0];
/// let found = cognate::invert_each(&mut two, 2);
/// assert_eq!(two[..4], [0.25, 0.0, 0.0, 1.0]);
/// assert!((found[0].unwrap() - 4.0f64.ln()).abs() < 1e-15 && found[1].is_none());
/// ```
///
/// # Panics
/// If the length is no multiple of n^2.
pub fn invert_each(matrices: &mut [f64], n: usize) -> Vec<Option<f64>> {
    /// Matrices of one unit of parallel work.
    const CHUNK: usize = 64;
    if n == 0 {
        assert!(matrices.is_empty(), "matrices of no rows have no elements");
        return Vec::new();
    }
    assert_eq!(matrices.len() % (n * n), 0, "whole matrices of {n} rows");
    let each: Vec<Vec<Option<f64>>> = matrices
        .par_chunks_mut(CHUNK * n * n)
        .map(|matrices| {
            if n > LARGEST {
                return matrices.chunks_exact_mut(n * n).map(|one| super::invert_in_place(one, n)).collect();
            }
            Arch::new().dispatch(Invert { matrices, n })
        })
        .collect();
    each.concat()
}

struct Invert<'a> {
    matrices: &'a mut [f64],
    n: usize,
}

impl WithSimd for Invert<'_> {
    type Output = Vec<Option<f64>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let n = self.n;
        let (mut matrix, mut reciprocals) = (Cells::new::<S>(triangle(n)), Cells::new::<S>(n));
        let mut inverse = Cells::new::<S>(n * n);
        let (matrix, reciprocals, inverse) = (matrix.get::<S>(), reciprocals.get::<S>(), inverse.get::<S>());
        let mut near = vec![0.0; S::F64_LANES * n * n];
        let mut found = Vec::with_capacity(self.matrices.len() / (n * n));
        for group in self.matrices.chunks_mut(S::F64_LANES * n * n) {
            let count = group.len() / (n * n);
            // In one sweep: columns of several matrices in turn would wait for memory. Lanes without a matrix have a copy of the last.
            near[..group.len()].copy_from_slice(group);
            let sources: [&[f64]; MOST_LANES] = from_fn(|lane| &near[lane.min(count - 1) * n * n..]);
            gather(simd, matrix, &sources[..S::F64_LANES], n);
            cholesky(simd, matrix, reciprocals);
            let sound: Vec<bool> = are_factors::<S>(matrix, n).collect();
            found.extend(log_determinants(simd, matrix, n).zip(&sound).take(count).map(|(value, sound)| sound.then_some(value)));
            invert_lower(simd, matrix, reciprocals, inverse);
            matrix.fill(simd.splat_f64s(0.0));
            add_gram(simd, matrix, inverse, n, true);
            for i in 0..n {
                let row = &matrix[triangle(i)..triangle(i + 1)];
                inverse[i * n..=i * n + i].copy_from_slice(row);
                inverse[i..].iter_mut().step_by(n).zip(row).for_each(|(cell, value)| *cell = *value);
            }
            let mut nowhere: Vec<Vec<f64>> = sound.iter().filter(|sound| !**sound).map(|_| vec![0.0; n * n]).collect();
            let mut unwanted = nowhere.iter_mut();
            let targets = group.chunks_exact_mut(n * n).zip(&sound);
            let targets = targets.map(|(own, sound)| if *sound { own } else { unwanted.next().expect("as many as are not sound") });
            scatter(simd, inverse, targets.collect());
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DMatrix;

    /// Column-major positive definite matrices, the first of every three indefinite where asked.
    fn matrices(n: usize, count: usize, some_indefinite: bool) -> Vec<f64> {
        let one = |m: usize| {
            let root = DMatrix::from_fn(n, n, |i, j| ((i * 7 + j * 13 + m * 5) % 11) as f64 / 11.0 + if i == j { 4.0 } else { 0.0 });
            let mut matrix = &root * root.transpose();
            if some_indefinite && m.is_multiple_of(3) {
                matrix[(n - 1, n - 1)] = [-1.0, 0.0, f64::NAN, f64::INFINITY][m / 3 % 4];
            }
            matrix.as_slice().to_vec()
        };
        (0..count).flat_map(one).collect()
    }

    #[test]
    fn inverses_agree_with_nalgebra_also_beside_matrices_that_are_not_positive_definite() {
        for n in [0, 1, 2, 3, 4, 5, 8, 21, 28, 47, 48, 49, 70] {
            for count in [1, 3, 8, 13].into_iter().filter(|_| n > 0) {
                let before = matrices(n, count, true);
                let mut all = before.clone();
                let found = invert_each(&mut all, n);
                assert_eq!(found.len(), count);
                for (m, (own, before)) in all.chunks_exact(n * n).zip(before.chunks_exact(n * n)).enumerate() {
                    let Some(factor) = DMatrix::from_column_slice(n, n, before).cholesky().filter(|_| !m.is_multiple_of(3)) else {
                        assert!(found[m].is_none() && own.iter().zip(before).all(|(a, b)| a.to_bits() == b.to_bits()));
                        continue;
                    };
                    let (expected, log_determinant) = (factor.inverse(), factor.l().diagonal().iter().map(|v| 2.0 * v.ln()).sum::<f64>());
                    assert!((DMatrix::from_column_slice(n, n, own) - &expected).amax() < 1e-12 * expected.amax(), "{m} of {n} rows");
                    assert!((found[m].unwrap() - log_determinant).abs() < 1e-12 * log_determinant.abs());
                }
            }
            assert!(n > 0 || invert_each(&mut [], n).is_empty());
        }
        // The product of the pivots overflows where their logarithms do not.
        let mut large = (DMatrix::identity(20, 20) * 1e60).as_slice().to_vec();
        assert!((invert_each(&mut large, 20)[0].unwrap() - 20.0 * 1e60f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn without_vector_instructions_the_numbers_differ_by_rounding_only() {
        let (mut vectors, mut plain) = (matrices(21, 10, false), matrices(21, 10, false));
        let found = Arch::new().dispatch(Invert { matrices: &mut vectors, n: 21 });
        let expected = Invert { matrices: &mut plain, n: 21 }.with_simd(pulp::Scalar::new());
        assert!(vectors.iter().zip(&plain).all(|(a, b)| (a - b).abs() < 1e-14));
        assert!(found.iter().zip(&expected).all(|(a, b)| (a.unwrap() - b.unwrap()).abs() < 1e-12));
    }

    #[test]
    fn results_do_not_depend_on_neighbours_or_threads() {
        let start = matrices(9, 150, false);
        let on = |threads: usize| {
            let mut all = start.clone();
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| invert_each(&mut all, 9));
            all
        };
        let all = on(1);
        assert_eq!(all, on(3));
        let mut alone = start[81 * 77..81 * 78].to_vec();
        invert_each(&mut alone, 9);
        assert_eq!(alone, all[81 * 77..81 * 78]);
    }
}
