//! Features with a flat prior in every task, eliminated from the quadratics before the engines see them.

use crate::error::{Error, Result};
use crate::linalg;
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};

/// Quadratics profiled over the free features, and the way back to all features.
pub(crate) struct Eliminated {
    quadratics: Quadratics,
    free: Vec<usize>,
    kept: Vec<usize>,
    /// Per task: E[free | kept] = base - slope * kept, and its covariance.
    back: Vec<(DVector<f64>, DMatrix<f64>, DMatrix<f64>)>,
}

impl Eliminated {
    /// Eliminates `prior.free` and renumbers the prior's features.
    pub(crate) fn new(all: &Quadratics, prior: &mut Prior) -> Result<Self> {
        let p = all.features();
        let free = std::mem::take(&mut prior.free);
        let kept: Vec<usize> = (0..p).filter(|f| !free.contains(f)).collect();
        let renumber = |features: &mut Vec<usize>| {
            features.iter_mut().for_each(|f| *f = kept.iter().position(|k| k == f).expect("a free feature is in no other part"));
        };
        renumber(&mut prior.mean_features);
        renumber(&mut prior.varying);
        renumber(&mut prior.unrelated);
        let mut back = Vec::with_capacity(all.len());
        for t in 0..all.len() {
            let j = DMatrix::from_column_slice(p, p, all.curvature(t));
            let h = DVector::from_column_slice(all.linear(t));
            let own = j.select_rows(&free).select_columns(&free);
            let factor = linalg::cholesky(own).ok_or_else(|| Error::NotPositiveDefinite {
                matrix: format!("the free coefficients of task number {}", t + 1),
                remedy: "a task needs at least one row; leave it out, or use --structure exchangeable".into(),
            })?;
            let inverse = linalg::inverse_of_cholesky(&factor);
            let base = &inverse * h.select_rows(&free);
            let slope = &inverse * j.select_rows(&free).select_columns(&kept);
            back.push((base, slope, inverse / all.precision(t)));
        }
        let quadratics = Quadratics::build(all.len(), kept.len(), |t, linear, curvature| {
            let j = DMatrix::from_column_slice(p, p, all.curvature(t));
            let h = DVector::from_column_slice(all.linear(t));
            let (base, slope, _) = &back[t];
            let coupling = j.select_rows(&kept).select_columns(&free);
            let rest = h.select_rows(&kept) - &coupling * base;
            let mut left = j.select_rows(&kept).select_columns(&kept) - &coupling * slope;
            linalg::symmetrise(&mut left);
            linear.copy_from_slice(rest.as_slice());
            curvature.copy_from_slice(left.as_slice());
            all.squares(t) - h.select_rows(&free).dot(base)
        });
        let precision: Vec<f64> = (0..all.len()).map(|t| all.precision(t)).collect();
        let constant = (0..all.len())
            .map(|t| {
                let h = DVector::from_column_slice(all.linear(t)).select_rows(&free);
                all.constant(t) + 0.5 * precision[t] * h.dot(&back[t].0)
            })
            .collect();
        Ok(Eliminated { quadratics: quadratics.with(precision, constant), free, kept, back })
    }

    pub(crate) fn quadratics(&self) -> &Quadratics {
        &self.quadratics
    }

    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn features(&self) -> usize {
        self.free.len() + self.kept.len()
    }

    /// All coefficients of a task from those kept.
    pub(crate) fn coefficients(&self, task: usize, kept: &DVector<f64>) -> DVector<f64> {
        self.draw(task, kept, &DVector::zeros(self.free.len()))
    }

    /// As [`Eliminated::coefficients`] with standard normal `noise` on the free ones.
    pub(crate) fn draw(&self, task: usize, kept: &DVector<f64>, noise: &DVector<f64>) -> DVector<f64> {
        let (base, slope, covariance) = &self.back[task];
        let own = base - slope * kept + linalg::semidefinite_factor(covariance) * noise;
        let mut all = DVector::zeros(self.features());
        self.kept.iter().zip(kept.iter()).for_each(|(feature, value)| all[*feature] = *value);
        self.free.iter().zip(own.iter()).for_each(|(feature, value)| all[*feature] = *value);
        all
    }

    /// How all coefficients of a task move with those kept: [kept; -slope] times the columns.
    pub(crate) fn moved(&self, task: usize, columns: &DMatrix<f64>) -> DMatrix<f64> {
        let free = -(&self.back[task].1 * columns);
        let mut all = self.spread(columns);
        self.free.iter().enumerate().for_each(|(i, feature)| all.row_mut(*feature).copy_from(&free.row(i)));
        all
    }

    /// Rows for all coefficients from those kept, 0 for the free ones.
    pub(crate) fn spread(&self, columns: &DMatrix<f64>) -> DMatrix<f64> {
        let mut all = DMatrix::zeros(self.features(), columns.ncols());
        self.kept.iter().enumerate().for_each(|(i, feature)| all.row_mut(*feature).copy_from(&columns.row(i)));
        all
    }

    /// Covariance between all coefficients of two tasks from that between those kept.
    pub(crate) fn between(&self, (t, s): (usize, usize), kept: &DMatrix<f64>) -> DMatrix<f64> {
        let half = self.moved(s, &kept.transpose()).transpose();
        let mut all = self.moved(t, &half);
        if s == t {
            let own = &self.back[t].2;
            for (j, b) in self.free.iter().enumerate() {
                self.free.iter().enumerate().for_each(|(i, a)| all[(*a, *b)] += own[(i, j)]);
            }
        }
        all
    }
}
