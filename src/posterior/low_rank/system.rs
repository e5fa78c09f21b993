//! What the mean and the factors are told by the sums over all tasks, and what is known of them afterwards.

use super::passes::Known;
use crate::linalg::{self, Operand, lanes::triangle, product};
use crate::prior::Prior;
use nalgebra::{DMatrix, DVector};

/// Sums over all tasks, the mean counted as the zeroth factor.
pub(super) struct System<'a> {
    pub(super) prior: &'a Prior,
    /// sum_t lambda_ti lambda_tj P_t as lower triangles, for j <= i.
    pub(super) curvatures: Vec<f64>,
    /// A column of p numbers for the mean and every factor.
    pub(super) linears: DMatrix<f64>,
    pub(super) rank: usize,
}

impl System<'_> {
    /// sum_t lambda_ti lambda_tj P_t, p x p.
    pub(super) fn between(&self, i: usize, j: usize) -> DMatrix<f64> {
        let (p, (i, j)) = (self.linears.nrows(), (i.max(j), i.min(j)));
        let cells = &self.curvatures[(triangle(i) + j) * triangle(p)..];
        DMatrix::from_fn(p, p, |a, b| cells[triangle(a.max(b)) + a.min(b)])
    }

    fn between_varying(&self, i: usize, j: usize) -> DMatrix<f64> {
        self.between(i, j).select_rows(&self.prior.varying).select_columns(&self.prior.varying)
    }

    /// A = I + sum_t lambda_t lambda_t' (x) L' P_t L.
    pub(super) fn of_factors(&self) -> DMatrix<f64> {
        let (factor, k) = (&self.prior.factor, self.rank);
        let r = factor.ncols();
        let mut all = DMatrix::identity(k * r, k * r);
        for i in 0..k {
            for j in 0..=i {
                let block = factor.tr_mul(&self.between_varying(i + 1, j + 1)) * factor;
                let mut here = all.view_mut((i * r, j * r), (r, r));
                here += &block;
                if i != j {
                    all.view_mut((j * r, i * r), (r, r)).copy_from(&block.transpose());
                }
            }
        }
        all
    }

    /// How vec Z is pulled at by a unit of every mean feature (against it), and by the rows: (k r) x (m + 1).
    pub(super) fn right(&self) -> DMatrix<f64> {
        let (prior, k) = (self.prior, self.rank);
        let (r, m) = (prior.factor.ncols(), prior.mean_features.len());
        let mut right = DMatrix::zeros(k * r, m + 1);
        for i in 0..k {
            let lead = self.between(i + 1, 0).select_rows(&prior.varying).select_columns(&prior.mean_features);
            right.view_mut((i * r, 0), (r, m)).copy_from(&prior.factor.tr_mul(&lead));
            let pull = prior.factor.tr_mul(&self.linears.column(i + 1).select_rows(&prior.varying));
            right.view_mut((i * r, m), (r, 1)).copy_from(&pull);
        }
        right
    }

    /// What the factors share of 2 G: sum_j (S_j S_j' + Cov(S_j) - sum_t lambda_tj^2 P_t), S_j = sum_t lambda_tj s_t the `pulls`.
    pub(super) fn slope(&self, joint: &Joint, pulls: &DMatrix<f64>) -> DMatrix<f64> {
        let (varying, k) = (&self.prior.varying, self.rank);
        let q = varying.len();
        let mut slope = DMatrix::zeros(q, q);
        if q == 0 {
            return slope;
        }
        for j in 1..=k {
            let pull = pulls.column(j - 1).select_rows(varying);
            slope += &pull * pull.transpose() - self.between_varying(j, j);
            let rows: Vec<DMatrix<f64>> = (0..=k).map(|i| self.between(i, j).select_rows(varying)).collect();
            for (i, left) in rows.iter().enumerate() {
                for (l, right) in rows.iter().enumerate() {
                    let Some(covariance) = joint.between(self.prior, self.linears.nrows(), i, l) else { continue };
                    let half = product(Operand::of(left), Operand::of(&covariance));
                    slope += product(Operand::of(&half), Operand::of(right).transpose());
                }
            }
        }
        slope
    }
}

/// The posterior covariance of the mean and the factors.
pub(super) struct Joint<'a> {
    /// Of vec Z given the mean.
    pub(super) inverse: &'a DMatrix<f64>,
    /// How a unit of the mean moves vec Z back.
    pub(super) answer: &'a DMatrix<f64>,
    /// Of the mean, where it is integrated.
    pub(super) of_mean: Option<&'a DMatrix<f64>>,
}

impl Joint<'_> {
    /// Cov(Z_i, Z_j).
    fn of_scores(&self, r: usize, i: usize, j: usize) -> DMatrix<f64> {
        let mut own = self.inverse.view((i * r, j * r), (r, r)).into_owned();
        if let Some(of_mean) = self.of_mean {
            own += self.answer.rows(i * r, r) * of_mean * self.answer.rows(j * r, r).transpose();
        }
        own
    }

    /// Cov(c_i, c_j) with c_0 the mean and c_j = L Z_j, p x p; none where it is 0.
    fn between(&self, prior: &Prior, p: usize, i: usize, j: usize) -> Option<DMatrix<f64>> {
        let (factor, r) = (&prior.factor, prior.factor.ncols());
        let (means, varying) = (&prior.mean_features, &prior.varying);
        let mut all = DMatrix::zeros(p, p);
        match (i.checked_sub(1), j.checked_sub(1)) {
            (None, None) => linalg::place(&mut all, (means, means), self.of_mean?),
            (None, Some(j)) => {
                linalg::place(&mut all, (means, varying), &-(self.of_mean? * self.answer.rows(j * r, r).transpose() * factor.transpose()));
            }
            (Some(_), None) => return self.between(prior, p, j, i).map(|other| other.transpose()),
            (Some(i), Some(j)) => linalg::place(&mut all, (varying, varying), &(factor * self.of_scores(r, i, j) * factor.transpose())),
        }
        Some(all)
    }

    pub(super) fn known(&self, prior: &Prior, mean: &DVector<f64>, scores: DMatrix<f64>) -> Known {
        let (p, (r, k)) = (mean.len(), scores.shape());
        let mut centres = DMatrix::zeros(p, k + 1);
        centres.set_column(0, mean);
        let moved = &prior.factor * &scores;
        prior.varying.iter().enumerate().for_each(|(a, feature)| (0..k).for_each(|j| centres[(*feature, j + 1)] = moved[(a, j)]));
        let pairs = (0..=k).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let covariances = pairs.filter_map(|(i, j)| {
            let mut own = self.between(prior, p, i, j)?;
            linalg::symmetrise(&mut own);
            Some((i, j, own))
        });
        let covariances = covariances.collect();
        let traces = DMatrix::from_fn(k, k, |i, j| self.of_scores(r, i, j).trace());
        let mut spread = DMatrix::zeros(p, p);
        linalg::place(&mut spread, (&prior.varying, &prior.varying), &prior.feature_covariance());
        Known { centres, scores, covariances, traces, spread }
    }
}
