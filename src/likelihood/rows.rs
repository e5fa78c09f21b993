//! What a family whose quadratics depend on the parameters keeps of a table: its rows, task by task.

use super::family::{Family, Local};
use super::level::Level;
use crate::error::{Error, Result};
use crate::linalg;
use crate::posterior::Posterior;
use crate::quadratic::{Quadratic, Quadratics};
use crate::tasks::{Coordinates, Design, Rows};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows of a family in the coordinates of a fit, task by task. d + 3 numbers a row.
#[derive(Clone, Debug)]
pub struct FamilyRows {
    features: usize,
    /// Where the rows of each task begin, and the number of all.
    begins: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    weight: Vec<f64>,
    offset: Vec<f64>,
    /// What is believed of each task's level; none where nothing is.
    levels: Vec<Level>,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct FamilyRow<'a> {
    /// Its features.
    pub x: &'a [f64],
    /// Its target.
    pub y: f64,
    /// Its weight.
    pub weight: f64,
    /// What its linear predictor has beside x' w.
    pub offset: f64,
}

impl FamilyRow<'_> {
    /// x' w.
    pub(super) fn predictor(&self, w: &DVector<f64>) -> f64 {
        self.x.iter().zip(w.iter()).map(|(a, b)| a * b).sum()
    }

    /// (x' C x)^(1/2), 0 for an empty C.
    pub(super) fn deviation(&self, covariance: &DMatrix<f64>) -> f64 {
        // Several sums side by side, which need not wait for each other.
        const LANES: usize = 4;
        let (mut lanes, mut rest) = ([0.0; LANES], 0.0);
        let (features, tail) = self.x.as_chunks::<LANES>();
        for (b, column) in self.x.iter().zip(covariance.column_iter()) {
            let (cells, last) = column.as_slice().as_chunks::<LANES>();
            for (cells, features) in cells.iter().zip(features) {
                for k in 0..LANES {
                    lanes[k] += b * cells[k] * features[k];
                }
            }
            rest += b * last.iter().zip(tail).map(|(c, a)| c * a).sum::<f64>();
        }
        let square = lanes.iter().sum::<f64>() + rest;
        f64::max(square, 0.0).sqrt()
    }
}

/// One family for all tasks, one a task, or one a group of tasks.
pub(super) struct Families<'a> {
    each: Vec<Held<'a>>,
    /// Which of them a task has; nothing where there is one.
    of_task: Vec<usize>,
}

enum Held<'a> {
    Lent(&'a dyn Family),
    Shared(Arc<dyn Family>),
}

impl<'a> Families<'a> {
    /// One for all tasks.
    pub(super) fn one(family: &'a dyn Family) -> Self {
        Families { each: vec![Held::Lent(family)], of_task: Vec::new() }
    }

    /// Of each task the one of its number; the first for all where there are no numbers.
    pub(super) fn each(families: Vec<Arc<dyn Family>>, of_task: Vec<usize>) -> Self {
        Families { each: families.into_iter().map(Held::Shared).collect(), of_task }
    }

    pub(super) fn of(&self, task: usize) -> &dyn Family {
        match &self.each[self.of_task.get(task).copied().unwrap_or(0)] {
            Held::Lent(family) => *family,
            Held::Shared(family) => family.as_ref(),
        }
    }
}

/// Means and covariances of all tasks' parameters, where rows are looked at.
pub(super) struct Where {
    pub means: Vec<DVector<f64>>,
    /// Empty matrices where there is no spread.
    pub covariances: Vec<DMatrix<f64>>,
    /// How likely each task is to be there; nothing where all are.
    shares: Vec<f64>,
}

impl Where {
    /// Over the posterior, or with `spread` unset at its means.
    pub(super) fn of(posterior: &Posterior, spread: bool) -> Self {
        let each = (0..posterior.tasks()).into_par_iter().map(|t| {
            let covariance = if spread { posterior.approximating_covariance(t) } else { DMatrix::zeros(0, 0) };
            (posterior.coefficients(t), covariance)
        });
        let (means, covariances) = each.unzip();
        Where { means, covariances, shares: Vec::new() }
    }

    /// As [`Where::of`], of unknown clusters where the tasks would be in each.
    pub(super) fn each(posterior: &Posterior, spread: bool) -> Vec<Self> {
        let Some(memberships) = posterior.memberships() else { return vec![Where::of(posterior, spread)] };
        let component =
            |(c, own): (usize, &Posterior)| Where { shares: memberships.row(c).iter().copied().collect(), ..Where::of(own, spread) };
        posterior.components().iter().map(|own| own as &Posterior).enumerate().map(component).collect()
    }

    /// How likely a task is to be there.
    pub(super) fn share(&self, task: usize) -> f64 {
        self.shares.get(task).copied().unwrap_or(1.0)
    }
}

impl FamilyRows {
    /// The rows, with features in `coordinates` and targets as they are. O(n d).
    ///
    /// # Errors
    /// [`Error::BadTarget`] for a target that the family cannot have.
    pub fn new(rows: &Rows, design: &Design, coordinates: &Coordinates, family: &dyn Family) -> Result<Self> {
        Self::of_families(rows, design, coordinates, &Families::one(family))
    }

    /// As [`FamilyRows::new`] with a family for every task.
    pub(super) fn of_families(rows: &Rows, design: &Design, coordinates: &Coordinates, families: &Families) -> Result<Self> {
        let refused = |i: usize| families.of(rows.task(i)).refuses(rows.y(i), rows.weight(i)).map(|problem| (i, problem));
        if let Some((i, problem)) = (0..rows.len()).find_map(refused) {
            let (row, column) = (i as u64 + 1, rows.target().to_string());
            return Err(Error::BadTarget { row, column, value: rows.y(i), problem: problem.into() });
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|i| rows.task(*i));
        let begins = (0..=rows.names().len()).map(|t| order.partition_point(|i| rows.task(*i) < t)).collect();
        let features = design.len();
        let mut x = Vec::with_capacity(rows.len() * features);
        order.iter().for_each(|i| x.extend_from_slice(coordinates.features(rows.x(*i)).as_slice()));
        let (y, weight) = order.iter().map(|i| (rows.y(*i), rows.weight(*i))).unzip();
        let offset = order.iter().map(|i| rows.offset(*i)).collect();
        Ok(FamilyRows { features, begins, x, y, weight, offset, levels: Vec::new() })
    }

    /// With a proper prior of each task's level by its own rows alone ([`Level`]), for intercepts that are free in every task.
    pub(super) fn with_levels(mut self, families: &Families, intercept: bool) -> Self {
        let level = |t: usize| Level::of(&self.of(t).collect::<Vec<_>>(), self.features, families.of(t), intercept);
        self.levels = (0..self.tasks()).map(level).collect();
        self
    }

    /// Beside what rows that are no longer there said of each task.
    pub(crate) fn with_held(self, held: &Quadratics) -> Self {
        FamilyRows { levels: (0..held.len()).map(|t| Level::held(held.task(t))).collect(), ..self }
    }

    /// The rows of one task as a table of their own.
    pub(crate) fn alone(&self, task: usize) -> Self {
        let (first, end, p) = (self.begins[task], self.begins[task + 1], self.features);
        FamilyRows {
            features: p,
            begins: vec![0, end - first],
            x: self.x[first * p..end * p].to_vec(),
            y: self.y[first..end].to_vec(),
            weight: self.weight[first..end].to_vec(),
            offset: self.offset[first..end].to_vec(),
            levels: self.levels.get(task).cloned().into_iter().collect(),
        }
    }

    /// What is believed of each task's level.
    pub(crate) fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.begins.len() - 1
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.y.len()
    }

    /// Targets and their weights of the tasks for which `among(task)` holds, task by task.
    pub(super) fn targets(&self, among: impl Fn(usize) -> bool) -> (Vec<f64>, Vec<f64>) {
        (0..self.tasks()).filter(|t| among(*t)).flat_map(|t| self.of(t)).map(|row| (row.y, row.weight)).unzip()
    }

    /// The tasks of those for which `among(task)` holds whose targets are all the least of theirs, or all the largest.
    pub(crate) fn one_sided(&self, among: impl Fn(usize) -> bool) -> Vec<usize> {
        let tasks: Vec<usize> = (0..self.tasks()).filter(|t| among(*t) && self.begins[*t] < self.begins[t + 1]).collect();
        let ends = tasks
            .iter()
            .flat_map(|t| self.of(*t))
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), row| (f64::min(least, row.y), f64::max(most, row.y)));
        let all = |t: usize, end: f64| self.of(t).all(|row| row.y == end);
        tasks.into_iter().filter(|t| all(*t, ends.0) || all(*t, ends.1)).collect()
    }

    /// The rows of a task.
    pub fn of(&self, task: usize) -> impl Iterator<Item = FamilyRow<'_>> {
        let p = self.features;
        (self.begins[task]..self.begins[task + 1]).map(move |i| FamilyRow {
            x: &self.x[i * p..(i + 1) * p],
            y: self.y[i],
            weight: self.weight[i],
            offset: self.offset[i],
        })
    }

    /// What `local(task, row)` says of each row about the predictor x' w that it returns too, added up over each task's rows: there the
    /// quadratic's value is the sum of the rows' values. Where log densities are not concave and a task's sum is not either, rows of
    /// negative curvature have none. With what is believed of levels. O(n d^2).
    pub(super) fn quadratics(&self, families: &Families, local: impl Fn(usize, FamilyRow) -> (f64, Local) + Sync) -> Vec<Quadratic> {
        let concave = |t: usize| families.of(t).is_concave();
        let of_task = |t| {
            let mut own = self.quadratic(t, |row| local(t, row));
            if !(own.curvature.is_empty() || concave(t) || is_semidefinite(&own.curvature)) {
                own = self.quadratic(t, |row| {
                    let (eta, own) = local(t, row);
                    (eta, Local { curvature: own.curvature.max(0.0), ..own })
                });
            }
            self.levels.get(t).into_iter().for_each(|level| own += level.quadratic());
            own
        };
        (0..self.tasks()).into_par_iter().map(of_task).collect()
    }

    fn quadratic(&self, task: usize, local: impl Fn(FamilyRow) -> (f64, Local)) -> Quadratic {
        let p = self.features;
        let mut sum = Quadratic { constant: 0.0, linear: DVector::zeros(p), curvature: DMatrix::zeros(p, p) };
        for row in self.of(task) {
            let (eta, own) = local(row);
            let pull = own.slope + own.curvature * eta;
            sum.constant += own.value - pull * eta + 0.5 * own.curvature * eta * eta;
            sum.linear.iter_mut().zip(row.x).for_each(|(cell, value)| *cell += pull * value);
            for (j, value) in row.x.iter().enumerate() {
                let scaled = own.curvature * value;
                let below = &mut sum.curvature.as_mut_slice()[j * p + j..(j + 1) * p];
                below.iter_mut().zip(&row.x[j..]).for_each(|(cell, other)| *cell += scaled * other);
            }
        }
        sum.curvature.fill_upper_triangle_with_lower_triangle();
        sum
    }

    /// Sum over each task's rows of what `add(task, row, sum)` adds to as many numbers. O(n) times its cost.
    pub(super) fn sums(&self, numbers: usize, add: impl Fn(usize, FamilyRow, &mut [f64]) + Sync) -> Vec<Vec<f64>> {
        let each = (0..self.tasks()).into_par_iter().map(|t| {
            let mut sum = vec![0.0; numbers];
            self.of(t).for_each(|row| add(t, row, &mut sum));
            sum
        });
        each.collect()
    }
}

fn is_semidefinite(matrix: &DMatrix<f64>) -> bool {
    let values = linalg::symmetric_eigen(matrix).0;
    values.min() >= -1e-10 * values.max()
}
