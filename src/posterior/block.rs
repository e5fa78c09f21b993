//! The engine of unrelated tasks: one r x r block a task, in parallel, O(T d^3).
//!
//! No factor of a block is kept: to read it again costs more than to make it.

use super::lanes::{FirstPass, SecondPass};
use super::{CHUNK, Engine, MeanEstimate, Outcome};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, multiply_add, product};
use crate::prior::{Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use pulp::Arch;
use rayon::prelude::*;
use std::ops::Range;

pub(crate) struct Block {
    quadratics: Quadratics,
    prior: Prior,
    /// Square roots of the tasks' prior scales.
    scales: Option<Vec<f64>>,
    slope: DMatrix<f64>,
    residuals: Vec<f64>,
}

/// The prior's factor in the form the inner loop reads.
pub(super) struct Design<'a> {
    pub quadratics: &'a Quadratics,
    pub varying: &'a [usize],
    pub factor: &'a DMatrix<f64>,
    pub diagonal: Option<Vec<f64>>,
    scales: Option<&'a [f64]>,
}

/// Buffers of one worker.
struct Workspace {
    /// L' J_v,: (r x p).
    cross: Vec<f64>,
    /// R^-1 L' J_v,: (r x p).
    half: Vec<f64>,
    /// Gathered rows or columns.
    gathered: Vec<f64>,
    /// M_t, then its factor (r x r).
    block: Vec<f64>,
}

impl<'a> Design<'a> {
    pub(super) fn new(quadratics: &'a Quadratics, prior: &'a Prior, scales: Option<&'a [f64]>) -> Self {
        let factor = &prior.factor;
        let diagonal = prior.diagonal();
        Design { quadratics, varying: &prior.varying, factor, diagonal, scales }
    }

    /// How many features there are, how many of them vary, and in how many directions.
    pub(super) fn sizes(&self) -> (usize, usize, usize) {
        (self.quadratics.features(), self.factor.nrows(), self.factor.ncols())
    }

    /// Whether tasks are worth taking side by side.
    pub(super) fn is_narrow(&self) -> bool {
        self.quadratics.features() <= linalg::lanes::LARGEST
    }

    fn workspace(&self) -> Workspace {
        let (p, q, r) = self.sizes();
        Workspace { cross: vec![0.0; r * p], half: vec![0.0; r * p], gathered: vec![0.0; q * p], block: vec![0.0; r * r] }
    }

    pub(super) fn scale(&self, task: usize) -> f64 {
        self.scales.map_or(1.0, |scales| scales[task])
    }

    /// Fills `cross` = L' J_v,: of a task.
    fn cross(&self, task: usize, work: &mut Workspace) {
        let (p, q, r) = (self.quadratics.features(), self.factor.nrows(), self.factor.ncols());
        let weight = self.quadratics.precision(task) * self.scale(task);
        let curvature = self.quadratics.curvature(task);
        if let Some(diagonal) = &self.diagonal {
            for j in 0..p {
                let column = &curvature[j * p..(j + 1) * p];
                for (cell, (feature, l)) in work.cross[j * r..(j + 1) * r].iter_mut().zip(self.varying.iter().zip(diagonal)) {
                    *cell = weight * l * column[*feature];
                }
            }
        } else {
            for j in 0..p {
                let column = &curvature[j * p..(j + 1) * p];
                for (cell, feature) in work.gathered[j * q..(j + 1) * q].iter_mut().zip(self.varying) {
                    *cell = weight * column[*feature];
                }
            }
            work.cross.fill(0.0);
            let factor = Operand::new(self.factor.as_slice(), q, r).transpose();
            multiply_add(&mut work.cross, 1.0, factor, Operand::new(&work.gathered[..q * p], q, p));
        }
    }

    /// Fills `block` with the Cholesky factor of M_t = I + L' J L; `cross` must be filled.
    fn factorise(&self, task: usize, work: &mut Workspace) -> bool {
        let (q, r) = (self.factor.nrows(), self.factor.ncols());
        let scale = self.scale(task);
        work.block.fill(0.0);
        if let Some(diagonal) = &self.diagonal {
            for (j, (feature, l)) in self.varying.iter().zip(diagonal).enumerate() {
                let column = &work.cross[feature * r..(feature + 1) * r];
                for (cell, value) in work.block[j * r..(j + 1) * r].iter_mut().zip(column) {
                    *cell = scale * l * value;
                }
            }
        } else {
            for (j, feature) in self.varying.iter().enumerate() {
                work.gathered[j * r..(j + 1) * r].copy_from_slice(&work.cross[feature * r..(feature + 1) * r]);
            }
            let factor = Operand::new(self.factor.as_slice(), q, r);
            multiply_add(&mut work.block, scale, Operand::new(&work.gathered[..r * q], r, q), factor);
        }
        (0..r).for_each(|k| work.block[k * r + k] += 1.0);
        linalg::cholesky_in_place(&mut work.block, r)
    }

    /// Fills `cross` and `block` of a task whose block is known to be positive definite.
    fn factorised(&self, task: usize, work: &mut Workspace) {
        self.cross(task, work);
        self.factorise(task, work);
    }
}

/// Sums over a chunk of tasks.
pub(super) struct First {
    pub explained: Vec<f64>,
    pub information: Vec<f64>,
    pub score: Vec<f64>,
    pub log_determinant: f64,
    pub defined: bool,
}

pub(super) struct Second {
    pub log_likelihood: f64,
    pub outer: Vec<f64>,
    pub restricted: Vec<f64>,
}

impl Block {
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior) -> Result<Outcome> {
        let tasks = quadratics.len();
        let (p, r) = (quadratics.features(), prior.factor.ncols());
        let scales: Option<Vec<f64>> = match &prior.relatedness {
            Relatedness::Zero => Some(vec![0.0; tasks]),
            Relatedness::Diagonal(v) if v.len() != tasks => {
                return Err(Error::Shape { what: "the relatedness".into(), found: v.len(), expected: tasks });
            }
            Relatedness::Diagonal(v) => Some(v.iter().map(|v| v.sqrt()).collect()),
            _ => None,
        };
        let design = Design::new(quadratics, prior, scales.as_deref());

        // Pass 1: the information on the mean, sum_t J_t - B_t' B_t, B_t = R_t^-1 L' J_t with R_t R_t' = M_t = I + L' J_t L.
        let chunks = (0..tasks.div_ceil(CHUNK)).into_par_iter().map(|chunk| chunk * CHUNK..((chunk + 1) * CHUNK).min(tasks));
        let sums: Vec<First> = chunks
            .map(|range| match design.is_narrow() {
                true => Arch::new().dispatch(FirstPass { design: &design, range }),
                false => Self::first_pass(&design, range),
            })
            .collect();
        let (mut information, mut score) = (DMatrix::zeros(p, p), DVector::zeros(p));
        let mut explained = DMatrix::zeros(p, p);
        let mut log_determinant = 0.0;
        for sum in &sums {
            if !sum.defined {
                return Err(Error::NotPositiveDefinite {
                    matrix: "the posterior precision of a task".into(),
                    remedy: "its features are too large for double precision; use --standardise both".into(),
                });
            }
            information += DMatrix::from_column_slice(p, p, &sum.information);
            explained += DMatrix::from_column_slice(p, p, &sum.explained);
            score += DVector::from_column_slice(&sum.score);
            log_determinant += sum.log_determinant;
        }
        information -= explained;
        linalg::symmetrise(&mut information);
        let features = &prior.mean_features;
        let mean = MeanEstimate::solve(prior, p, information.select_rows(features).select_columns(features), score.select_rows(features))?;

        // Pass 2: the posterior means, and the slope 1/2 sum_t (s_t s_t' - P_t) with s_t = h_t - J_t E[w_t].
        let mut deviations = DMatrix::zeros(r, tasks);
        let mut residuals = vec![0.0; tasks];
        let chunks: Vec<(usize, &mut [f64], &mut [f64])> = if r == 0 {
            residuals.chunks_mut(CHUNK).enumerate().map(|(chunk, rest)| (chunk, Default::default(), rest)).collect()
        } else {
            let rest = residuals.chunks_mut(CHUNK);
            deviations.as_mut_slice().chunks_mut(CHUNK * r).zip(rest).enumerate().map(|(c, (b, e))| (c, b, e)).collect()
        };
        let sums: Vec<Second> = chunks
            .into_par_iter()
            .map(|(chunk, deviations, residuals)| {
                let range = chunk * CHUNK..((chunk + 1) * CHUNK).min(tasks);
                let pass = SecondPass { design: &design, prior, mean: &mean, range, deviations, residuals };
                if design.is_narrow() { Arch::new().dispatch(pass) } else { Self::second_pass(pass) }
            })
            .collect();
        let q = prior.varying.len();
        let mut slope = -information.select_rows(&prior.varying).select_columns(&prior.varying);
        let mut log_likelihood = -0.5 * log_determinant;
        for sum in &sums {
            slope += DMatrix::from_column_slice(q, q, &sum.outer);
            slope += DMatrix::from_column_slice(q, q, &sum.restricted);
            log_likelihood += sum.log_likelihood;
        }
        slope *= 0.5;
        linalg::symmetrise(&mut slope);
        let engine = Engine::Block(Box::new(Block { quadratics: quadratics.clone(), prior: prior.clone(), scales, slope, residuals }));
        Ok(Outcome { mean, deviations, log_likelihood, log_likelihood_error: 0.0, engine })
    }

    pub(super) fn first_pass(design: &Design, range: Range<usize>) -> First {
        let quadratics = design.quadratics;
        let (p, r) = (quadratics.features(), design.factor.ncols());
        let mut work = design.workspace();
        let mut sum =
            First { explained: vec![0.0; p * p], information: vec![0.0; p * p], score: vec![0.0; p], log_determinant: 0.0, defined: true };
        let mut half = vec![0.0; r];
        for t in range {
            let precision = quadratics.precision(t);
            sum.information.iter_mut().zip(quadratics.curvature(t)).for_each(|(a, b)| *a += precision * b);
            sum.score.iter_mut().zip(quadratics.linear(t)).for_each(|(a, b)| *a += precision * b);
            if r == 0 {
                continue;
            }
            design.cross(t, &mut work);
            if !design.factorise(t, &mut work) {
                sum.defined = false;
                return sum;
            }
            sum.log_determinant += 2.0 * (0..r).map(|k| work.block[k * r + k].ln()).sum::<f64>();
            work.half.copy_from_slice(&work.cross);
            linalg::solve_lower(&work.block, r, &mut work.half);
            let b = Operand::new(&work.half, r, p);
            multiply_add(&mut sum.explained, 1.0, b.transpose(), b);
            let weight = precision * design.scale(t);
            design.factor_transpose_times(quadratics.linear(t), weight, &mut half);
            linalg::solve_lower(&work.block, r, &mut half);
            for (j, cell) in sum.score.iter_mut().enumerate() {
                *cell -= work.half[j * r..(j + 1) * r].iter().zip(&half).map(|(a, b)| a * b).sum::<f64>();
            }
        }
        sum
    }

    pub(super) fn second_pass(pass: SecondPass) -> Second {
        let SecondPass { design, prior, mean, range, deviations, residuals } = pass;
        let quadratics = design.quadratics;
        let (p, q, r) = (quadratics.features(), design.varying.len(), design.factor.ncols());
        let mut sum = Second { log_likelihood: 0.0, outer: vec![0.0; q * q], restricted: vec![0.0; q * q] };
        let (mut rest, mut b, mut u, mut w) = (vec![0.0; p], vec![0.0; r], vec![0.0; q], vec![0.0; p]);
        let mut inverse = vec![0.0; r * r];
        let mut work = design.workspace();
        for (slot, t) in range.enumerate() {
            let precision = quadratics.precision(t);
            let (linear, curvature) = (quadratics.linear(t), quadratics.curvature(t));
            // Score of the mean: h - J mean.
            rest.copy_from_slice(linear);
            for (j, value) in mean.mean.iter().enumerate().filter(|(_, value)| **value != 0.0) {
                rest.iter_mut().zip(&curvature[j * p..(j + 1) * p]).for_each(|(a, c)| *a -= value * c);
            }
            let fit: f64 = mean.mean.iter().zip(linear.iter().zip(&rest)).map(|(m, (h, s))| m * (h + s)).sum();
            sum.log_likelihood += quadratics.constant(t) + 0.5 * precision * fit;
            w.copy_from_slice(mean.mean.as_slice());
            let mut spread = 0.0;
            if r > 0 {
                design.factorised(t, &mut work);
                let factor = &work.block;
                design.factor_transpose_times(&rest, precision * design.scale(t), &mut b);
                linalg::solve_lower(factor, r, &mut b);
                sum.log_likelihood += 0.5 * b.iter().map(|v| v * v).sum::<f64>();
                linalg::solve_lower_transpose(factor, r, &mut b);
                deviations[slot * r..(slot + 1) * r].copy_from_slice(&b);
                if design.scale(t) != 1.0 {
                    deviations[slot * r..(slot + 1) * r].iter_mut().for_each(|v| *v *= design.scale(t));
                }
                u.fill(0.0);
                for (k, value) in b.iter().enumerate() {
                    let value = value * design.scale(t);
                    u.iter_mut().zip(&design.factor.as_slice()[k * q..(k + 1) * q]).for_each(|(u, l)| *u += value * l);
                }
                for (feature, value) in design.varying.iter().zip(&u) {
                    w[*feature] += value;
                    rest.iter_mut().zip(&curvature[feature * p..(feature + 1) * p]).for_each(|(a, c)| *a -= value * c);
                }
                // tr(J C) = r - tr(M^-1).
                spread = r as f64 - linalg::trace_of_inverse(factor, r, &mut inverse);
            }
            for (j, feature) in design.varying.iter().enumerate() {
                let value = precision * rest[*feature];
                for (i, other) in design.varying.iter().enumerate() {
                    sum.outer[j * q + i] += value * precision * rest[*other];
                }
            }
            if matches!(prior.mean, Mean::Integrated) {
                spread += Self::restrict(design, prior, mean, t, &work, &mut sum.restricted);
            }
            // y'y - 2 h'w + w'Jw = y'y - h'w - (h - Jw)'w.
            let explained: f64 = w.iter().zip(linear.iter().zip(&rest)).map(|(w, (h, s))| w * (h + s)).sum();
            residuals[slot] = quadratics.squares(t) - explained + if precision > 0.0 { spread / precision } else { 0.0 };
        }
        sum
    }

    /// What integrating over the mean adds: P_v,m V P_m,v to the slope, and tr(V T' J T) to the residuals.
    fn restrict(design: &Design, prior: &Prior, mean: &MeanEstimate, task: usize, work: &Workspace, slope: &mut [f64]) -> f64 {
        let quadratics = design.quadratics;
        let (p, r) = (quadratics.features(), design.factor.ncols());
        let features = &prior.mean_features;
        let mut map = DMatrix::zeros(p, features.len());
        features.iter().enumerate().for_each(|(j, feature)| map[(*feature, j)] = 1.0);
        if r > 0 {
            let mut moved = DMatrix::from_column_slice(r, p, &work.cross).select_columns(features);
            linalg::solve_lower(&work.block, r, moved.as_mut_slice());
            linalg::solve_lower_transpose(&work.block, r, moved.as_mut_slice());
            if let Some(diagonal) = &design.diagonal {
                moved.row_iter_mut().zip(diagonal).for_each(|(mut row, l)| row *= *l);
            } else {
                moved = product(Operand::of(design.factor), Operand::of(&moved));
            }
            moved *= design.scale(task);
            for (i, feature) in design.varying.iter().enumerate() {
                (0..features.len()).for_each(|j| map[(*feature, j)] -= moved[(i, j)]);
            }
        }
        let curvature = Operand::new(quadratics.curvature(task), p, p);
        let projected = product(curvature, Operand::of(&map)) * quadratics.precision(task);
        let spread = product(Operand::of(&projected), Operand::of(&mean.covariance));
        let (left, right) = (spread.select_rows(design.varying), projected.select_rows(design.varying));
        multiply_add(slope, 1.0, Operand::of(&left), Operand::of(&right).transpose());
        spread.dot(&map)
    }

    /// log |M_t| of every task.
    pub(crate) fn log_determinants(&self) -> Vec<f64> {
        let (design, r) = (self.design(), self.prior.factor.ncols());
        let mut all = vec![0.0; self.quadratics.len()];
        all.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, own)| {
            let mut work = design.workspace();
            for (slot, value) in own.iter_mut().enumerate().filter(|_| r > 0) {
                design.factorised(chunk * CHUNK + slot, &mut work);
                *value = 2.0 * (0..r).map(|k| work.block[k * r + k].ln()).sum::<f64>();
            }
        });
        all
    }

    pub(crate) fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    pub(crate) fn slope(&self) -> &DMatrix<f64> {
        &self.slope
    }

    fn design(&self) -> Design<'_> {
        Design::new(&self.quadratics, &self.prior, self.scales.as_deref())
    }

    /// In how many directions tasks vary.
    pub(crate) fn directions(&self) -> usize {
        self.prior.factor.ncols()
    }

    /// Cov(b_s, b_t) given the mean.
    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let r = self.prior.factor.ncols();
        if s != t {
            return DMatrix::zeros(r, r);
        }
        let design = self.design();
        let mut work = design.workspace();
        design.factorised(t, &mut work);
        linalg::inverse_of_cholesky(&DMatrix::from_vec(r, r, work.block)) * design.scale(t).powi(2)
    }

    pub(crate) fn sensitivity(&self, data: &Quadratics, prior: &Prior, task: usize) -> DMatrix<f64> {
        let r = prior.factor.ncols();
        let design = Design::new(data, prior, self.scales.as_deref());
        let mut work = design.workspace();
        design.factorised(task, &mut work);
        let mut moved = DMatrix::from_column_slice(r, data.features(), &work.cross).select_columns(&prior.mean_features);
        linalg::solve_lower(&work.block, r, moved.as_mut_slice());
        linalg::solve_lower_transpose(&work.block, r, moved.as_mut_slice());
        moved * design.scale(task)
    }

    pub(crate) fn draw(&self, normal: DVector<f64>, tasks: usize) -> DMatrix<f64> {
        let r = self.prior.factor.ncols();
        let design = self.design();
        let mut draw = DMatrix::from_column_slice(r, tasks, normal.as_slice());
        let columns = draw.as_mut_slice().par_chunks_mut((CHUNK * r).max(1)).enumerate();
        columns.for_each(|(chunk, columns)| {
            let mut work = design.workspace();
            for (slot, column) in columns.chunks_exact_mut(r).enumerate() {
                let t = chunk * CHUNK + slot;
                design.factorised(t, &mut work);
                linalg::solve_lower_transpose(&work.block, r, column);
                column.iter_mut().for_each(|v| *v *= design.scale(t));
            }
        });
        draw
    }
}

impl Design<'_> {
    /// L' x_v times `weight`.
    fn factor_transpose_times(&self, x: &[f64], weight: f64, target: &mut [f64]) {
        let q = self.varying.len();
        for (k, cell) in target.iter_mut().enumerate() {
            let column = &self.factor.as_slice()[k * q..(k + 1) * q];
            *cell = weight * column.iter().zip(self.varying).map(|(l, feature)| l * x[*feature]).sum::<f64>();
        }
    }
}
