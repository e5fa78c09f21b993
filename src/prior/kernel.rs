//! The task covariance that descriptors of tasks make: alike tasks are related, and a task without rows is placed among the others.

use super::Relatedness;
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg;
use crate::tasks::Points;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// How the relatedness of two tasks depends on their descriptors; r is their distance, r^2 = sum_k (x_k - x'_k)^2 / length_k^2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum KernelShape {
    /// exp(-r^2 / 2): parameters are very smooth functions of the descriptors.
    #[default]
    SquaredExponential,
    /// exp(-r), Matern of 1/2: continuous functions.
    Exponential,
    /// (1 + sqrt(3) r) exp(-sqrt(3) r): functions that have a derivative.
    Matern32,
    /// (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r): that have two.
    Matern52,
    /// sum_k a_k x_k x'_k: linear functions of the descriptors, each with a share a_k of the variance.
    Linear,
}

/// Names on the command line, and what they stand for.
const SHAPES: [(&str, KernelShape); 5] = [
    ("squared-exponential", KernelShape::SquaredExponential),
    ("exponential", KernelShape::Exponential),
    ("matern32", KernelShape::Matern32),
    ("matern52", KernelShape::Matern52),
    ("linear", KernelShape::Linear),
];

impl KernelShape {
    /// All names.
    pub const NAMES: [&'static str; 5] = [SHAPES[0].0, SHAPES[1].0, SHAPES[2].0, SHAPES[3].0, SHAPES[4].0];

    /// The shape of that name.
    ///
    /// ```
    /// assert_eq!(cognate::KernelShape::by_name("matern32"), Some(cognate::KernelShape::Matern32));
    /// ```
    pub fn by_name(name: &str) -> Option<Self> {
        SHAPES.iter().find(|(own, _)| *own == name).map(|(_, shape)| *shape)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        SHAPES.iter().find(|(_, shape)| *shape == self).map_or("", |(name, _)| name)
    }

    /// Its value at a squared distance, and the derivative by that.
    fn at(self, square: f64) -> (f64, f64) {
        let r = square.sqrt();
        match self {
            KernelShape::SquaredExponential => {
                let value = (-0.5 * square).exp();
                (value, -0.5 * value)
            }
            KernelShape::Exponential => {
                let value = (-r).exp();
                // Of descriptors it is multiplied by squared differences, which are 0 where r is.
                (value, if r > 0.0 { -0.5 * value / r } else { 0.0 })
            }
            KernelShape::Matern32 => {
                let (r, decay) = (3f64.sqrt() * r, (-3f64.sqrt() * r).exp());
                ((1.0 + r) * decay, -1.5 * decay)
            }
            KernelShape::Matern52 => {
                let (r, decay) = (5f64.sqrt() * r, (-5f64.sqrt() * r).exp());
                ((1.0 + r + r * r / 3.0) * decay, -5.0 / 6.0 * (1.0 + r) * decay)
            }
            KernelShape::Linear => unreachable!("it is no function of a distance"),
        }
    }
}

/// Sigma = (1 - nugget) C + nugget I with C the kernel between the tasks' descriptors, 1 on (the average of) its diagonal: what of the variance
/// between tasks their descriptors tell, and what each has for itself.
///
/// Up to some thousand tasks Sigma is dense; beyond, a task given those before it depends on its nearest ones only (Vecchia 1988), so that
/// Sigma^-1 is sparse; a linear kernel has as many factors as descriptors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskKernel {
    /// How relatedness depends on descriptors.
    pub shape: KernelShape,
    /// 1 / length of each descriptor, in standard deviations of the tasks; of a linear kernel the root of its weight.
    pub rates: Vec<f64>,
    /// The share of the variance that descriptors do not tell, in [0, 1].
    pub nugget: f64,
    /// What Sigma is multiplied by, so that its trace is T.
    pub(crate) scale: f64,
    pub(crate) points: Arc<Points>,
    pub(crate) nearest: Option<Arc<Nearest>>,
}

/// Of every task the earlier ones on which it depends, in an order of the tasks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Nearest {
    of: Vec<Vec<usize>>,
    /// Omega's pattern: tasks that depend on each other or are depended on together.
    pattern: TaskGraph,
}

/// What ties a task without rows to those that have some: b = sum_t weight_t b_t + sqrt(rest) e over the whitened deviations, or a loading for each factor and
/// the same rest.
pub(crate) enum Tie {
    Tasks { weights: Vec<(usize, f64)>, rest: f64 },
    Factors { loadings: DVector<f64>, rest: f64 },
}

/// How many nearest tasks one depends on where not all are taken.
const NEAREST: usize = 10;

impl TaskKernel {
    /// At those points, every task depending on all others.
    pub(crate) fn new(shape: KernelShape, points: Arc<Points>, rates: Vec<f64>, nugget: f64) -> Self {
        TaskKernel { shape, rates, nugget, scale: 1.0, points, nearest: None }
    }

    /// Where every task depends on those nearest ones only.
    pub(crate) fn with_nearest(self, nearest: Option<Arc<Nearest>>) -> Self {
        TaskKernel { nearest, ..self }
    }

    /// The nearest ones of every task at these rates. O(T^2 descriptors).
    pub(crate) fn nearest(&self, names: &[String]) -> Arc<Nearest> {
        Arc::new(Nearest::of(&self.scaled(), names))
    }

    /// The descriptors and where they put the tasks.
    pub fn points(&self) -> &Points {
        &self.points
    }

    /// How many nearest tasks a task depends on; none where it is all.
    pub fn neighbours(&self) -> Option<usize> {
        self.nearest.is_some().then_some(NEAREST)
    }

    /// Length scales in the descriptors' own units (levels are 1 apart), or of a linear kernel the share of C's variance of each descriptor.
    pub fn lengths(&self) -> Vec<f64> {
        match self.shape {
            KernelShape::Linear => self.shares(),
            _ => self.rates.iter().zip(self.points.units()).map(|(rate, unit)| unit / rate).collect(),
        }
    }

    /// The descriptors' shares of the variance of a linear kernel.
    fn shares(&self) -> Vec<f64> {
        let own = self.weighted_squares();
        let all: f64 = own.iter().sum();
        own.iter().map(|value| if all > 0.0 { value / all } else { 0.0 }).collect()
    }

    /// Mean squared coordinates of each descriptor, times its squared rate.
    fn weighted_squares(&self) -> Vec<f64> {
        let at = self.points.coordinates();
        let mut squares = vec![0.0; self.rates.len()];
        for (c, k) in self.points.descriptor_of().iter().enumerate() {
            squares[*k] += at.row(c).norm_squared() / at.ncols().max(1) as f64;
        }
        squares.iter_mut().zip(&self.rates).for_each(|(square, rate)| *square *= rate * rate);
        squares
    }

    /// Coordinates over the lengths, a column a task; of a linear kernel such that C is their products.
    fn scaled(&self) -> DMatrix<f64> {
        let mut scaled = self.points.coordinates().clone();
        let unit = self.unit();
        scaled.row_iter_mut().zip(self.points.descriptor_of()).for_each(|(mut row, k)| row *= self.rates[*k] * unit);
        scaled
    }

    /// What coordinates of a linear kernel are multiplied by, beside the rates, so that the mean diagonal of C is 1.
    fn unit(&self) -> f64 {
        match self.shape {
            KernelShape::Linear => {
                let mean: f64 = self.weighted_squares().iter().sum();
                if mean > 0.0 { mean.sqrt().recip() } else { 1.0 }
            }
            _ => 1.0,
        }
    }

    /// C between two scaled points.
    fn between(&self, x: &[f64], y: &[f64]) -> f64 {
        match self.shape {
            KernelShape::Linear => x.iter().zip(y).map(|(a, b)| a * b).sum(),
            shape => shape.at(square(x, y)).0,
        }
    }

    /// Sigma between two tasks at scaled points, or of one and itself.
    fn covariance(&self, scaled: &DMatrix<f64>, s: usize, t: usize) -> f64 {
        let own = if s == t { self.nugget } else { 0.0 };
        self.scale * ((1.0 - self.nugget) * self.between(point(scaled, s), point(scaled, t)) + own)
    }

    /// The mean variance between two tasks over that of one, of at most so many tasks evenly among all.
    pub(crate) fn variance_between(&self, most: usize) -> f64 {
        let scaled = self.scaled();
        let step = scaled.ncols().div_ceil(most).max(1);
        let some: Vec<usize> = (0..scaled.ncols()).step_by(step).collect();
        let sigma = DMatrix::from_fn(some.len(), some.len(), |i, j| self.covariance(&scaled, some[i], some[j]));
        (linalg::variance_between(&sigma) * some.len() as f64 / sigma.trace()).max(1e-12)
    }

    /// Sigma in the form that its engine takes. Dense: O(T^2 descriptors); by nearest tasks: O(T m^3).
    pub(crate) fn relatedness(&self) -> Option<Relatedness> {
        let scaled = self.scaled();
        let tasks = scaled.ncols();
        match (&self.nearest, self.shape) {
            (Some(nearest), _) => nearest.precision(|s, t| self.covariance(&scaled, s, t)).map(Relatedness::Graph),
            (None, KernelShape::Linear) => Some(Relatedness::LowRank {
                loadings: scaled.transpose() * (self.scale * (1.0 - self.nugget)).sqrt(),
                uniquenesses: DVector::from_element(tasks, self.scale * self.nugget),
            }),
            (None, _) => {
                let mut sigma = DMatrix::zeros(tasks, tasks);
                sigma.as_mut_slice().par_chunks_mut(tasks.max(1)).enumerate().for_each(|(t, column)| {
                    column.iter_mut().enumerate().for_each(|(s, value)| *value = self.covariance(&scaled, s, t));
                });
                Some(Relatedness::Dense(sigma))
            }
        }
    }

    /// d / d (log rates, nugget) of sum_st W_st Sigma_st over the elements (s, t, W_st) given, pairs of different tasks once with the weights of both.
    fn pulled_back(&self, scaled: &DMatrix<f64>, elements: impl Iterator<Item = (usize, usize, f64)>) -> Vec<f64> {
        let of = self.points.descriptor_of();
        let mut along = vec![0.0; self.rates.len()];
        let mut of_nugget = 0.0;
        for (s, t, weight) in elements {
            let (x, y) = (point(scaled, s), point(scaled, t));
            let (value, slope) = self.shape.at(square(x, y));
            of_nugget += weight * (f64::from(u8::from(s == t)) - value);
            let scale = 2.0 * weight * slope;
            of.iter().zip(x.iter().zip(y)).for_each(|(k, (a, b))| along[*k] += scale * (a - b) * (a - b));
        }
        along.iter_mut().for_each(|value| *value *= self.scale * (1.0 - self.nugget));
        along.push(self.scale * of_nugget);
        along
    }

    /// The slope in log rates and in the nugget of what has the slope W (T x T, symmetric) in Sigma. O(T^2 descriptors).
    pub(crate) fn slope_of_dense(&self, weights: &DMatrix<f64>) -> Vec<f64> {
        let (tasks, scaled) = (weights.ncols(), self.scaled());
        let each = (0..tasks)
            .into_par_iter()
            .map(|t| self.pulled_back(&scaled, (0..=t).map(|s| (s, t, if s == t { weights[(t, t)] } else { 2.0 * weights[(s, t)] }))));
        summed(each.collect())
    }

    /// The slope in log rates and in the nugget of what rises by 1/2 tr(G dOmega), G given on the diagonal and then on the edges of Omega's pattern.
    pub(crate) fn slope_along_nearest(&self, nearest: &Nearest, rise: &[f64]) -> Vec<f64> {
        let scaled = self.scaled();
        let place = nearest.places();
        let each = nearest.of.par_iter().enumerate().map(|(t, before)| {
            let Some((root, weights, rest)) = nearest.regression(t, &|s, t| self.covariance(&scaled, s, t)) else { return Vec::new() };
            let all: Vec<usize> = std::iter::once(t).chain(before.iter().copied()).collect();
            let e = DVector::from_fn(all.len(), |i, _| if i == 0 { 1.0 } else { -weights[i - 1] });
            let own = DMatrix::from_fn(all.len(), all.len(), |i, j| rise[place.of(all[i], all[j])]);
            let along = &own * &e;
            // Omega = sum_t e e' / rest, d rest = e' dSigma e, d e = (0, -Sigma_nn^-1 (dSigma e)_n).
            let mut back = along.rows(1, before.len()).into_owned();
            linalg::solve_cholesky_vector(&root, &mut back);
            let size = e.dot(&along) / (rest * rest);
            let weight = |i: usize, j: usize| {
                let v = |i: usize| if i == 0 { 0.0 } else { back[i - 1] };
                -0.5 * (size * e[i] * e[j] + (v(i) * e[j] + e[i] * v(j)) / rest)
            };
            let pairs = (0..all.len()).flat_map(|j| (0..=j).map(move |i| (i, j)));
            self.pulled_back(&scaled, pairs.map(|(i, j)| (all[i], all[j], if i == j { weight(i, i) } else { 2.0 * weight(i, j) })))
        });
        summed(each.collect())
    }

    /// The slope in log rates and in the nugget of what has those slopes in the loadings (k x T) and in the uniquenesses of a linear kernel.
    pub(crate) fn slope_of_factors(&self, loadings: &DMatrix<f64>, rise: &DMatrix<f64>, of_uniquenesses: f64) -> Vec<f64> {
        let shares = self.shares();
        let mut each = vec![0.0; self.rates.len()];
        for (c, k) in self.points.descriptor_of().iter().enumerate() {
            each[*k] += rise.row(c).dot(&loadings.row(c));
        }
        let all: f64 = each.iter().sum();
        let mut slope: Vec<f64> = each.iter().zip(shares).map(|(own, share)| own - share * all).collect();
        slope.push(self.scale * of_uniquenesses - 0.5 * all / (1.0 - self.nugget));
        slope
    }

    /// What ties tasks at those points (unscaled) to the tasks of the kernel. O(T^3) once and O(T^2) for each where Sigma is dense, else O(T descriptors +
    /// m^3) for each.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where tasks are too alike.
    pub(crate) fn ties(&self, points: &[DVector<f64>]) -> Result<Vec<Tie>> {
        let refused = || Error::NotPositiveDefinite {
            matrix: "the task covariance Sigma".into(),
            remedy: "tasks of the same descriptors have no parameters of their own; leave one descriptor out, or add one".into(),
        };
        let (scaled, unit) = (self.scaled(), self.unit());
        let of = self.points.descriptor_of();
        let tasks: Vec<usize> = (0..scaled.ncols()).collect();
        let placed = |point: &DVector<f64>| DVector::from_fn(point.len(), |c, _| point[c] * self.rates[of[c]] * unit);
        let part = self.scale * (1.0 - self.nugget);
        let tied = |root: &DMatrix<f64>, near: &[usize], at: &DVector<f64>| {
            let cross = DVector::from_fn(near.len(), |i, _| part * self.between(point(&scaled, near[i]), at.as_slice()));
            let own = part * self.between(at.as_slice(), at.as_slice()) + self.scale * self.nugget;
            let (weights, rest) = regressed(root, cross, own);
            Tie::Tasks { weights: near.iter().copied().zip(weights.iter().copied()).collect(), rest: rest.max(0.0) }
        };
        match (&self.nearest, self.shape) {
            (Some(_), _) => {
                let each = points.par_iter().map(|point| {
                    let at = placed(point);
                    let near = nearest_to(&scaled, at.as_slice(), &tasks);
                    let own = DMatrix::from_fn(near.len(), near.len(), |i, j| self.covariance(&scaled, near[i], near[j]));
                    Ok(tied(&linalg::cholesky(own).ok_or_else(refused)?, &near, &at))
                });
                each.collect()
            }
            (None, KernelShape::Linear) => {
                let with = |point| Tie::Factors { loadings: placed(point) * part.sqrt(), rest: self.scale * self.nugget };
                Ok(points.iter().map(with).collect())
            }
            (None, _) => {
                let Some(Relatedness::Dense(sigma)) = self.relatedness() else { return Err(refused()) };
                let root = linalg::cholesky(sigma).ok_or_else(refused)?;
                Ok(points.par_iter().map(|point| tied(&root, &tasks, &placed(point))).collect())
            }
        }
    }

    /// Whether its numbers belong together as those of so many tasks do.
    pub(crate) fn is_consistent(&self, tasks: usize) -> bool {
        let positive = |value: &f64| value.is_finite() && *value > 0.0;
        self.points.are_consistent(tasks)
            && self.rates.len() == self.points.names().len()
            && self.rates.iter().chain([&self.scale]).all(positive)
            && (0.0..=1.0).contains(&self.nugget)
            && self
                .nearest
                .as_ref()
                .is_none_or(|own| own.of.len() == tasks && own.pattern.len() == tasks && own.of.iter().flatten().all(|t| *t < tasks))
    }
}

/// The sums of lists, in their order.
fn summed(each: Vec<Vec<f64>>) -> Vec<f64> {
    let longest = each.iter().map(Vec::len).max().unwrap_or(0);
    let mut sum = vec![0.0; longest];
    each.iter().for_each(|own| sum.iter_mut().zip(own).for_each(|(sum, value)| *sum += value));
    sum
}

/// A column.
fn point(points: &DMatrix<f64>, t: usize) -> &[f64] {
    &points.as_slice()[t * points.nrows()..(t + 1) * points.nrows()]
}

/// Squared distance.
fn square(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// Of a task of that variance given others, by the Cholesky factor of their covariance and the covariances with them: their weights, and the variance that is left.
fn regressed(root: &DMatrix<f64>, cross: DVector<f64>, own: f64) -> (DVector<f64>, f64) {
    let mut weights = cross.clone();
    linalg::solve_cholesky_vector(root, &mut weights);
    let rest = own - cross.dot(&weights);
    (weights, rest)
}

/// The nearest of `among` (columns of `points`) to a point, at most [`NEAREST`], the nearest first.
fn nearest_to(points: &DMatrix<f64>, at: &[f64], among: &[usize]) -> Vec<usize> {
    let mut near: Vec<(f64, usize)> = Vec::with_capacity(NEAREST + 1);
    for t in among {
        let square = square(point(points, *t), at);
        if near.len() < NEAREST || near.last().is_some_and(|(far, _)| square < *far) {
            let place = near.partition_point(|(other, _)| *other <= square);
            near.insert(place, (square, *t));
            near.truncate(NEAREST);
        }
    }
    near.into_iter().map(|(_, t)| t).collect()
}

/// The place of every element of a pattern among its diagonal and then its edges.
struct Places {
    tasks: usize,
    edges: std::collections::HashMap<(usize, usize), usize>,
}

impl Places {
    fn of(&self, s: usize, t: usize) -> usize {
        if s == t { s } else { self.tasks + self.edges[&(s.min(t), s.max(t))] }
    }
}

impl Nearest {
    fn of(scaled: &DMatrix<f64>, names: &[String]) -> Self {
        let tasks = scaled.ncols();
        let order = ordered(scaled);
        let mut of = vec![Vec::new(); tasks];
        let each: Vec<Vec<usize>> =
            (0..tasks).into_par_iter().map(|place| nearest_to(scaled, point(scaled, order[place]), &order[..place])).collect();
        each.into_iter().zip(&order).for_each(|(near, t)| of[*t] = near);
        let mut pairs: Vec<(usize, usize)> = of
            .iter()
            .enumerate()
            .flat_map(|(t, near)| {
                let all: Vec<usize> = std::iter::once(t).chain(near.iter().copied()).collect();
                let joined = (0..all.len()).flat_map(|j| (0..j).map(move |i| (i, j)));
                joined.map(|(i, j)| (all[i].min(all[j]), all[i].max(all[j]))).collect::<Vec<_>>()
            })
            .collect();
        pairs.sort_unstable();
        pairs.dedup();
        let mut pattern = TaskGraph::empty(names);
        pairs.into_iter().for_each(|(s, t)| pattern.connect(s, t, 0.0, None));
        Nearest { of, pattern }
    }

    fn places(&self) -> Places {
        let edges = self.pattern.edges().enumerate().map(|(i, (s, t, _))| ((s, t), i)).collect();
        Places { tasks: self.of.len(), edges }
    }

    /// Of a task given those it depends on: the Cholesky factor of their covariance, their weights, and the variance that is left.
    fn regression(&self, t: usize, sigma: &impl Fn(usize, usize) -> f64) -> Option<(DMatrix<f64>, DVector<f64>, f64)> {
        let near = &self.of[t];
        let root = linalg::cholesky(DMatrix::from_fn(near.len(), near.len(), |i, j| sigma(near[i], near[j])))?;
        let (weights, rest) = regressed(&root, DVector::from_fn(near.len(), |i, _| sigma(near[i], t)), sigma(t, t));
        (rest > 0.0).then_some((root, weights, rest))
    }

    /// Omega = sum_t e_t e_t' / rest_t; none where tasks are too alike.
    fn precision(&self, sigma: impl Fn(usize, usize) -> f64 + Sync) -> Option<TaskGraph> {
        let tasks = self.of.len();
        let each: Vec<_> = (0..tasks).into_par_iter().map(|t| self.regression(t, &sigma)).collect();
        let place = self.places();
        let mut values = vec![0.0; tasks + place.edges.len()];
        for (t, own) in each.into_iter().enumerate() {
            let (_, weights, rest) = own?;
            values[t] += 1.0 / rest;
            let near = &self.of[t];
            let mut add = |s: usize, t: usize, value: f64| values[place.of(s, t)] += value;
            for (i, s) in near.iter().enumerate() {
                add(*s, t, -weights[i] / rest);
                (0..=i).for_each(|j| add(*s, near[j], weights[i] * weights[j] / rest));
            }
        }
        Some(self.pattern.with_precisions(&values))
    }
}

/// The order in which tasks depend on earlier ones: from the middle on always the farthest from all before it (Guinness 2018). O(T^2 descriptors).
fn ordered(scaled: &DMatrix<f64>) -> Vec<usize> {
    let middle = scaled.column_mean();
    let mut left: Vec<(usize, f64)> = (0..scaled.ncols()).map(|t| (t, -square(point(scaled, t), middle.as_slice()))).collect();
    let mut order = Vec::with_capacity(left.len());
    while let Some(place) = (0..left.len()).max_by(|i, j| left[*i].1.total_cmp(&left[*j].1)) {
        let (next, _) = left.swap_remove(place);
        let first = order.is_empty();
        order.push(next);
        left.iter_mut().for_each(|(t, far)| {
            let away = square(point(scaled, *t), point(scaled, next));
            *far = if first { away } else { far.min(away) };
        });
    }
    order
}
