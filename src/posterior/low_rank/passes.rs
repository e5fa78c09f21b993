//! The two looks at every task: what it says of the factors and the mean, and what these say of it.

use super::super::coupled::whitened;
use super::LowRank;
use crate::linalg::{self, Operand, multiply_add, product};
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DMatrixView, DVector};
use std::ops::Range;

/// Quadratics, a prior and the diagonal of its L where it has no more.
pub(super) type Given<'a> = (&'a Quadratics, &'a Prior, Option<&'a [f64]>);

/// The mean, and how far a standard normal draw of it moves vec Z back and itself.
pub(super) struct Known<'a> {
    pub(super) mean: &'a DVector<f64>,
    pub(super) moved: (DMatrix<f64>, DMatrix<f64>),
}

/// Sums over some tasks.
pub(super) struct First {
    pub(super) factors: Vec<f64>,
    pub(super) system: DMatrix<f64>,
    pub(super) right: DMatrix<f64>,
    pub(super) information: DMatrix<f64>,
    pub(super) score: DVector<f64>,
    pub(super) log_determinant: f64,
    pub(super) defined: bool,
}

/// What a second look at some tasks gives, the mean and the factors known.
pub(super) struct Second {
    pub(super) deviations: Vec<f64>,
    pub(super) residuals: Vec<f64>,
    pub(super) seen: Vec<f64>,
    pub(super) cross: Vec<f64>,
    pub(super) squares: Vec<f64>,
    pub(super) rise: DMatrix<f64>,
    pub(super) log_likelihood: f64,
}

/// L' h_t.
fn pull(quadratics: &Quadratics, prior: &Prior, task: usize) -> DVector<f64> {
    let linear = quadratics.linear(task);
    let own = DVector::from_fn(prior.varying.len(), |a, _| linear[prior.varying[a]]);
    prior.factor.tr_mul(&own) * quadratics.precision(task)
}

/// The blocks of a stacked (k r) x n matrix, weighted and summed: sum_j lambda_j X_j, r x n.
pub(super) fn gathered(stacked: &DMatrix<f64>, loading: &[f64], r: usize) -> DMatrix<f64> {
    let mut sum = DMatrix::zeros(r, stacked.ncols());
    for (j, value) in loading.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        sum += stacked.rows(j * r, r) * *value;
    }
    sum
}

/// Adds lambda (x) part to a stacked matrix.
pub(super) fn scatter(stacked: &mut DMatrix<f64>, loading: &[f64], part: &DMatrix<f64>) {
    let r = part.nrows();
    for (j, value) in loading.iter().enumerate().filter(|(_, value)| **value != 0.0) {
        let mut block = stacked.rows_mut(j * r, r);
        block.zip_apply(part, |cell, own| *cell += value * own);
    }
}

impl LowRank {
    pub(super) fn first_pass(&self, (quadratics, prior, diagonal): Given, range: Range<usize>) -> First {
        let (r, k, features) = (self.rank, self.loadings.nrows(), &prior.mean_features);
        let m = features.len();
        let mut sum = First {
            factors: Vec::with_capacity(range.len() * r * r),
            system: DMatrix::zeros(k * r, k * r),
            right: DMatrix::zeros(k * r, m + 1),
            information: DMatrix::zeros(m, m),
            score: DVector::zeros(m),
            log_determinant: 0.0,
            defined: true,
        };
        let p = quadratics.features();
        for t in range {
            let (precision, own) = (quadratics.precision(t), self.uniquenesses[t]);
            let (cross, inner) = whitened(quadratics, prior, diagonal, t);
            let mut factor = &inner * own;
            (0..r).for_each(|a| factor[(a, a)] += 1.0);
            if !linalg::cholesky_in_place(factor.as_mut_slice(), r) {
                sum.defined = false;
                return sum;
            }
            // M^-1 of L' J over the mean features, of L' h and of N, side by side.
            let lead = cross.select_columns(features);
            let pull = pull(quadratics, prior, t);
            let mut solved = DMatrix::zeros(r, m + 1 + r);
            solved.columns_mut(0, m).copy_from(&lead);
            solved.set_column(m, &pull);
            solved.columns_mut(m + 1, r).copy_from(&inner);
            self.solve_own(factor.as_slice(), &mut solved);
            let linear = quadratics.linear(t);
            let curvature = quadratics.curvature(t);
            let explained = lead.tr_mul(&solved.columns(0, m + 1)) * own;
            for (j, b) in features.iter().enumerate() {
                sum.score[j] += precision * linear[*b] - explained[(j, m)];
                features
                    .iter()
                    .enumerate()
                    .for_each(|(i, a)| sum.information[(i, j)] += precision * curvature[b * p + a] - explained[(i, j)]);
            }
            let loading = self.loading(t);
            scatter(&mut sum.right, loading, &solved.columns(0, m + 1).into_owned());
            let mut seen = solved.columns(m + 1, r).into_owned();
            linalg::symmetrise(&mut seen);
            for (j, value) in loading.iter().enumerate() {
                let mut columns = sum.system.columns_mut(j * r, r);
                for (i, other) in loading.iter().enumerate().skip(j) {
                    let share = value * other;
                    if share != 0.0 {
                        columns.rows_mut(i * r, r).zip_apply(&seen, |cell, own| *cell += share * own);
                    }
                }
            }
            sum.log_determinant += 2.0 * (0..r).map(|a| factor[(a, a)].ln()).sum::<f64>();
            sum.factors.extend_from_slice(factor.as_slice());
        }
        sum
    }

    pub(super) fn second_pass(&self, (quadratics, prior, diagonal): Given, known: &Known, range: Range<usize>) -> Second {
        let (r, k, features) = (self.rank, self.loadings.nrows(), &prior.mean_features);
        let p = quadratics.features();
        let mut sum = Second {
            deviations: Vec::with_capacity(range.len() * r),
            residuals: Vec::with_capacity(range.len()),
            seen: Vec::with_capacity(range.len()),
            cross: Vec::with_capacity(range.len() * k),
            squares: Vec::with_capacity(range.len()),
            rise: DMatrix::zeros(r, r),
            log_likelihood: 0.0,
        };
        let (moved, root) = &known.moved;
        for t in range {
            let (precision, own, loading) = (quadratics.precision(t), self.uniquenesses[t], self.loading(t));
            let (cross, inner) = whitened(quadratics, prior, diagonal, t);
            let inverse = self.own_inverse(t);
            // At the mean: what pulls at b_t, and b_t given the factors.
            let gradient = pull(quadratics, prior, t) - &cross * known.mean;
            let from_factors = gathered(&self.scores, loading, r).column(0).into_owned();
            // By solves: where the noise is next to nothing the explicit inverse has no digits left for what pulls that hard.
            let mut solved = DMatrix::from_columns(&[gradient.clone(), from_factors]);
            self.solve_own(self.factor(t), &mut solved);
            let within = solved.column(0);
            let deviation = within * own + solved.column(1);
            sum.log_likelihood += quadratics.value(t, known.mean) + 0.5 * own * gradient.dot(&within);
            let left = &gradient - &inner * &deviation;
            // Cov(b_t) = D_t M^-1 + M^-1 C M^-1 with C the covariance of Z lambda_t.
            let shared = product(Operand::of(&inverse), Operand::of(&self.of_factors(loading, loading)));
            let mut covariance = &inverse * own;
            multiply_add(covariance.as_mut_slice(), 1.0, Operand::of(&shared), Operand::of(&inverse));
            let seen = product(Operand::of(&inner), Operand::of(&covariance));
            sum.rise -= &seen;
            sum.rise.ger(1.0, &left, &deviation, 1.0);
            let mut spread = seen.trace();
            sum.seen.push(spread);
            let mut square = deviation.norm_squared() + covariance.trace();
            let mut products: Vec<f64> = (0..k)
                .map(|j| {
                    let with: f64 = self.scores.rows(j * r, r).dot(&deviation);
                    // tr(Cov(Z_j, Z lambda_t) M^-1).
                    let traces = loading.iter().enumerate().filter(|(_, value)| **value != 0.0);
                    with + traces.map(|(l, value)| value * self.inverse.view((l * r, j * r), (r, r)).dot(&inverse)).sum::<f64>()
                })
                .collect();
            if root.ncols() > 0 {
                let lead = cross.select_columns(features) * root;
                let mut back = &lead * own + gathered(moved, loading, r);
                self.solve_own(self.factor(t), &mut back);
                let rest = &lead - &inner * &back;
                sum.rise += &rest * back.transpose();
                let curvature = DMatrixView::from_slice(quadratics.curvature(t), p, p);
                let of_mean = curvature.select_rows(features).select_columns(features) * root * precision;
                spread += of_mean.dot(root) - lead.dot(&back) - rest.dot(&back);
                square += back.norm_squared();
                (0..k).for_each(|j| products[j] += moved.rows(j * r, r).dot(&back));
            }
            let mut w = known.mean.clone();
            let u = &prior.factor * &deviation;
            prior.varying.iter().zip(u.iter()).for_each(|(feature, value)| w[*feature] += value);
            sum.residuals.push(quadratics.residual(t, w.as_slice()) + if precision > 0.0 { spread.max(0.0) / precision } else { 0.0 });
            sum.deviations.extend_from_slice(deviation.as_slice());
            sum.cross.extend(products);
            sum.squares.push(square);
        }
        sum
    }
}
