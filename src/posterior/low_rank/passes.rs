//! The two looks at every task, one task at a time: what it says of the factors and the mean, and what these say of it.

use super::super::block::Design;
use crate::linalg::lanes::{Cells, triangle};
use crate::linalg::{self, Operand, multiply_add, product};
use nalgebra::{DMatrix, DMatrixView, DVector};
use std::ops::Range;

/// The tasks' quadratics beside K and sqrt(D_t), and Lambda' (a column a task). With the mean as the zeroth factor, whose loading is 1, what a task says of
/// its place a_t = sum_i lambda_ti c_i, c_0 the mean and c_j = L Z_j, is the quadratic of curvature P_t = J_t - J_t L D_t M_t^-1 L' J_t, which its own e_t left.
pub(super) struct Given<'a> {
    pub(super) design: &'a Design<'a>,
    pub(super) loadings: &'a DMatrix<f64>,
}

impl Given<'_> {
    pub(super) fn rank(&self) -> usize {
        self.loadings.nrows()
    }

    pub(super) fn loading(&self, task: usize, factor: usize) -> f64 {
        if factor == 0 { 1.0 } else { self.loadings[(factor - 1, task)] }
    }
}

/// Sums over some tasks.
pub(super) struct First {
    /// P_t of every task, where it is kept.
    pub(super) kept: Option<Cells>,
    /// sum_t lambda_ti lambda_tj P_t as lower triangles, for j <= i.
    pub(super) curvatures: Vec<f64>,
    /// sum_t lambda_ti (h_t - J_t L D_t M_t^-1 L' h_t).
    pub(super) linears: Vec<f64>,
    /// sum_t log |M_t|.
    pub(super) log_determinant: f64,
    pub(super) defined: bool,
}

/// The posterior of the mean and the factors.
pub(super) struct Known {
    /// E[c_i], a column each.
    pub(super) centres: DMatrix<f64>,
    /// E[Z], r x k.
    pub(super) scores: DMatrix<f64>,
    /// (i, j, (Cov(c_i, c_j) + Cov(c_j, c_i)) / 2) for j <= i, none where that is 0.
    pub(super) covariances: Vec<(usize, usize, DMatrix<f64>)>,
    /// tr Cov(Z_i, Z_j).
    pub(super) traces: DMatrix<f64>,
    /// K between all features.
    pub(super) spread: DMatrix<f64>,
}

/// What a second look at some tasks gives, the posterior of the mean and the factors known.
pub(super) struct Second {
    pub(super) deviations: Vec<f64>,
    pub(super) residuals: Vec<f64>,
    /// E[Z' b_t] and E[b_t' b_t].
    pub(super) cross: Vec<f64>,
    pub(super) squares: Vec<f64>,
    /// E[Z' L' P_t L Z] as lower triangles.
    pub(super) information: Vec<f64>,
    /// sum_t lambda_tj s_t for every factor, s_t = E[h_t - J_t w_t].
    pub(super) scores: Vec<f64>,
    /// sum_t D_t (s_t s_t' + P_t Cov(a_t) P_t - P_t) over what varies.
    pub(super) within: Vec<f64>,
    pub(super) log_likelihood: f64,
}

impl Second {
    pub(super) fn begun(given: &Given, tasks: usize) -> Self {
        let ((p, q, r), k) = (given.design.sizes(), given.rank());
        Second {
            deviations: Vec::with_capacity(tasks * r),
            residuals: Vec::with_capacity(tasks),
            cross: Vec::with_capacity(tasks * k),
            squares: Vec::with_capacity(tasks),
            information: Vec::with_capacity(tasks * triangle(k)),
            scores: vec![0.0; k * p],
            within: vec![0.0; q * q],
            log_likelihood: 0.0,
        }
    }
}

/// P_t, and h_t without what e_t explains.
struct Own {
    /// Cholesky factor of M_t.
    factor: DMatrix<f64>,
    curvature: DMatrix<f64>,
    linear: DVector<f64>,
    log_determinant: f64,
}

impl Own {
    /// None where M_t is not positive definite.
    fn of(design: &Design, task: usize) -> Option<Own> {
        let (quadratics, (p, q, r)) = (design.quadratics, design.sizes());
        let (precision, scale) = (quadratics.precision(task), design.scale(task));
        let mut curvature = DMatrix::from_column_slice(p, p, quadratics.curvature(task)) * precision;
        let linear = DVector::from_column_slice(quadratics.linear(task)) * precision;
        if r == 0 {
            return Some(Own { factor: DMatrix::zeros(0, 0), curvature, linear, log_determinant: 0.0 });
        }
        let factor = Operand::new(design.factor.as_slice(), q, r);
        let mut lead = DMatrix::zeros(r, p + 1);
        let rows = curvature.select_rows(design.varying);
        multiply_add(&mut lead.as_mut_slice()[..r * p], scale, factor.transpose(), Operand::of(&rows));
        lead.set_column(p, &(design.factor.tr_mul(&linear.select_rows(design.varying)) * scale));
        let mut block = product(Operand::of(&lead.select_columns(design.varying)), factor) * scale;
        (0..r).for_each(|a| block[(a, a)] += 1.0);
        if !linalg::cholesky_in_place(block.as_mut_slice(), r) {
            return None;
        }
        linalg::solve_lower(block.as_slice(), r, lead.as_mut_slice());
        let half = Operand::new(&lead.as_slice()[..r * p], r, p);
        multiply_add(curvature.as_mut_slice(), -1.0, half.transpose(), half);
        linalg::symmetrise(&mut curvature);
        let linear = linear - lead.columns(0, p).tr_mul(&lead.column(p));
        let log_determinant = 2.0 * (0..r).map(|a| block[(a, a)].ln()).sum::<f64>();
        Some(Own { factor: block, curvature, linear, log_determinant })
    }
}

pub(super) fn first_pass(given: &Given, range: Range<usize>) -> First {
    let (p, k) = (given.design.quadratics.features(), given.rank());
    let mut sum = First {
        kept: None,
        curvatures: vec![0.0; triangle(k + 1) * triangle(p)],
        linears: vec![0.0; (k + 1) * p],
        log_determinant: 0.0,
        defined: true,
    };
    for t in range {
        let Some(own) = Own::of(given.design, t) else {
            sum.defined = false;
            return sum;
        };
        sum.log_determinant += own.log_determinant;
        let pairs = (0..=k).flat_map(|i| (0..=i).map(move |j| (i, j)));
        for ((i, j), cells) in pairs.zip(sum.curvatures.chunks_exact_mut(triangle(p).max(1))) {
            let share = given.loading(t, i) * given.loading(t, j);
            if share != 0.0 {
                (0..p).for_each(|a| (0..=a).for_each(|b| cells[triangle(a) + b] += share * own.curvature[(a, b)]));
            }
        }
        for (i, cells) in sum.linears.chunks_exact_mut(p.max(1)).enumerate() {
            cells.iter_mut().zip(own.linear.iter()).for_each(|(cell, value)| *cell += given.loading(t, i) * value);
        }
    }
    sum
}

/// E[b_t] = M_t^-1 (Z lambda_t + D_t L' (h_t - J_t mean)), by solves: where the noise is next to nothing P_t has too few digits for that.
pub(super) fn second_pass(given: &Given, known: &Known, range: Range<usize>) -> Second {
    let (design, k) = (given.design, given.rank());
    let (quadratics, varying, (p, q, r)) = (design.quadratics, design.varying, design.sizes());
    let mut sum = Second::begun(given, range.len());
    for t in range {
        let own = Own::of(design, t).expect("the first look has factored it");
        let (precision, unique) = (quadratics.precision(t), design.scale(t).powi(2));
        let curvature = DMatrixView::from_slice(quadratics.curvature(t), p, p);
        let linear = DVector::from_column_slice(quadratics.linear(t));
        let loading = DVector::from_fn(k + 1, |i, _| given.loading(t, i));
        let pulled = |rest: &DVector<f64>| design.factor.tr_mul(&rest.select_rows(varying));
        let mut w = known.centres.column(0).into_owned();
        let mut b = &known.scores * loading.rows(1, k) + pulled(&(&linear - curvature * &w)) * (precision * unique);
        linalg::solve_lower(own.factor.as_slice(), r, b.as_mut_slice());
        linalg::solve_lower_transpose(own.factor.as_slice(), r, b.as_mut_slice());
        varying.iter().zip((design.factor * &b).iter()).for_each(|(feature, value)| w[*feature] += value);
        let rest = &linear - curvature * &w;
        let score = &rest * precision;
        let pull = pulled(&score);
        sum.log_likelihood +=
            quadratics.constant(t) + 0.5 * precision * (w.dot(&linear) + w.dot(&rest)) - 0.5 * unique * pull.norm_squared();
        let mut covariance = DMatrix::zeros(p, p);
        let mut traces = DMatrix::zeros(k + 1, k + 1);
        for (i, j, part) in &known.covariances {
            let share = if i == j { 1.0 } else { 2.0 } * loading[*i] * loading[*j];
            covariance.zip_apply(part, |cell, own| *cell += share * own);
            let trace = part.dot(&own.curvature);
            (traces[(*i, *j)], traces[(*j, *i)]) = (trace, trace);
        }
        let half = if p > 0 { product(Operand::of(&covariance), Operand::of(&own.curvature)) } else { covariance };
        let known_scores = if p > 0 { product(Operand::of(&own.curvature), Operand::of(&half)) } else { half };
        let (of_own, of_scores) = (known.spread.dot(&own.curvature), known.spread.dot(&known_scores));
        for (column, b) in varying.iter().enumerate() {
            for (row, a) in varying.iter().enumerate() {
                sum.within[column * q + row] += unique * (score[*a] * score[*b] + known_scores[(*a, *b)] - own.curvature[(*a, *b)]);
            }
        }
        let given_factors = &traces * &loading;
        let of_factors = &known.traces * loading.rows(1, k);
        let spread = unique * (of_own - of_scores) + loading.dot(&given_factors);
        sum.residuals.push(quadratics.squares(t) - w.dot(&linear) - w.dot(&rest) + if precision > 0.0 { spread / precision } else { 0.0 });
        let turned = loading.rows(1, k).dot(&(&of_factors - given_factors.rows(1, k) * (2.0 * unique)));
        sum.squares.push(b.norm_squared() + unique * (r as f64 - unique * of_own) + turned + unique * unique * of_scores);
        sum.cross.extend((known.scores.tr_mul(&b) + of_factors - given_factors.rows(1, k) * unique).iter());
        let seen = known.centres.columns(1, k).tr_mul(&(&own.curvature * known.centres.columns(1, k)));
        (0..k).for_each(|i| sum.information.extend((0..=i).map(|j| seen[(i, j)] + traces[(i + 1, j + 1)])));
        for (j, cells) in sum.scores.chunks_exact_mut(p.max(1)).enumerate() {
            cells.iter_mut().zip(score.iter()).for_each(|(cell, value)| *cell += loading[j + 1] * value);
        }
        sum.deviations.extend_from_slice(b.as_slice());
    }
    sum
}
