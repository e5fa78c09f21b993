//! The waist of the house: a task's rows become one quadratic, and quadratics add.

mod joint;
mod rows;

pub(crate) use joint::{Complete, Joint, Partial, Sums};
pub(crate) use rows::RowBlock;

use crate::error::{Error, Result};
use crate::linalg;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use std::ops::{Add, AddAssign, Sub};
use std::sync::Arc;

/// Sufficient statistics of a task's rows for a Gaussian likelihood: row count and the weighted cross-products of
/// (1, features, target) about a shift. They add and subtract, so streams, folds and shards are sums.
///
/// Memory (d + 2)(d + 3) / 2 numbers; adding a row costs O(d^2).
///
/// ```
/// use cognate::Statistics;
/// let mut a = Statistics::new(1);
/// a.add_row(&[2.0], 5.0, 1.0);
/// let mut b = Statistics::new(1);
/// b.add_row(&[3.0], 1.0, 1.0);
/// let both = &a + &b;
/// assert_eq!(both.rows(), 2);
/// assert_eq!((&both - &b), a);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Statistics {
    rows: u64,
    log_weights: f64,
    features: usize,
    /// Lower triangle by rows of the cross-products of (1, x_1..x_d, y).
    cross: Vec<f64>,
}

impl Statistics {
    /// No rows yet, of `features` features.
    pub fn new(features: usize) -> Self {
        let size = features + 2;
        Statistics { rows: 0, log_weights: 0.0, features, cross: vec![0.0; size * (size + 1) / 2] }
    }

    /// Adds one row with features `x` and target `y` (both about the shift) and precision weight `weight`.
    ///
    /// # Panics
    /// If `x` has another length than the features.
    #[inline]
    pub fn add_row(&mut self, x: &[f64], y: f64, weight: f64) {
        assert_eq!(x.len(), self.features, "a row has as many values as the statistics have features");
        self.rows += 1;
        self.log_weights += weight.ln();
        self.cross[0] += weight;
        let add = |cells: &mut [f64], scaled: f64, others: &[f64]| {
            cells[0] += scaled;
            cells[1..].iter_mut().zip(others).for_each(|(cell, other)| *cell += scaled * other);
        };
        let mut start = 1;
        for (i, value) in x.iter().enumerate() {
            add(&mut self.cross[start..start + i + 2], weight * value, &x[..=i]);
            start += i + 2;
        }
        add(&mut self.cross[start..], weight * y, x);
        self.cross[start + x.len() + 1] += weight * y * y;
    }

    /// What an estimate b with sampling covariance C says of parameters w, about a zero shift: l(w) = ln N(b; w, C) over the k
    /// entries that are there. That is what k rows of unit noise say, R b = R w + e with R'R = C^-1, so that their cross-products are
    /// C^-1, C^-1 b and b'C^-1 b, the sum of their log weights ln |C^-1|, and there is no constant column.
    ///
    /// An entry that is `None` says nothing: its row and column of the covariance (d x d) are not looked at, and the rest is inverted.
    /// O(d^2 + k^3).
    ///
    /// ```
    /// use cognate::Statistics;
    /// use nalgebra::dmatrix;
    /// let one = Statistics::of_estimate(&[Some(2.0), None], &dmatrix![0.25, 0.0; 0.0, f64::NAN])?;
    /// assert_eq!((one.rows(), one.features()), (1, 2));
    /// assert!(Statistics::of_estimate(&[Some(2.0), Some(1.0)], &dmatrix![1.0, 1.0; 1.0, 1.0]).is_err());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for a covariance of another size, [`Error::Arguments`] for numbers that are not finite, variances that are not
    /// positive and a covariance that is not symmetric, [`Error::NotPositiveDefinite`] (to twelve digits of a variance).
    pub fn of_estimate(estimate: &[Option<f64>], covariance: &DMatrix<f64>) -> Result<Self> {
        Statistics::of_named_estimate(estimate, covariance, "the estimate", |entry| format!("entry {}", entry + 1))
    }

    /// As [`Statistics::of_estimate`], with names for what is refused.
    pub(crate) fn of_named_estimate(
        estimate: &[Option<f64>],
        covariance: &DMatrix<f64>,
        owner: &str,
        name: impl Fn(usize) -> String,
    ) -> Result<Self> {
        const LARGEST: f64 = 1e100;
        let d = estimate.len();
        if covariance.shape() != (d, d) {
            return Err(Error::Shape { what: format!("the covariance of {owner}"), found: covariance.nrows(), expected: d });
        }
        let (kept, values): (Vec<usize>, Vec<f64>) = estimate.iter().enumerate().filter_map(|(k, b)| b.map(|b| (k, b))).unzip();
        let own = covariance.select_rows(&kept).select_columns(&kept);
        let refused = |k: usize, problem: String| Error::Arguments(format!("{owner}, {}: {problem}", name(kept[k])));
        for (k, value) in values.iter().enumerate() {
            let variance = own[(k, k)];
            if value.is_nan() || value.abs() > LARGEST {
                return Err(refused(k, format!("{value:?} is not a number of usual size; correct it or leave it out")));
            }
            if !(variance > 1.0 / LARGEST && variance < LARGEST) {
                return Err(refused(
                    k,
                    format!("the variance {variance:?} is not a positive number of usual size; correct it or leave the estimate out"),
                ));
            }
            for j in 0..k {
                let (here, there, size) = (own[(k, j)], own[(j, k)], (variance * own[(j, j)]).sqrt());
                if here.is_nan() || there.is_nan() || (here - there).abs() > 1e-6 * size {
                    let other = name(kept[j]);
                    return Err(refused(
                        k,
                        format!("its covariance with {other} is {here:?} and that of {other} with it {there:?}; give one number"),
                    ));
                }
            }
        }
        let mut precision = inverse_of_covariance(&own).map_err(|k| Error::NotPositiveDefinite {
            matrix: format!("the covariance of {owner}, at {},", name(kept[k])),
            remedy: "correct it, or leave that estimate out".into(),
        })?;
        linalg::symmetrise(&mut precision.0);
        let b = DVector::from_vec(values);
        let linear = &precision.0 * &b;
        let mut statistics = Statistics { rows: kept.len() as u64, log_weights: precision.1, ..Statistics::new(d) };
        let mut set = |i: usize, j: usize, value: f64| statistics.cross[i * (i + 1) / 2 + j] = value;
        set(0, 0, kept.len() as f64);
        for (i, a) in kept.iter().enumerate() {
            kept[..=i].iter().enumerate().for_each(|(j, other)| set(a + 1, other + 1, precision.0[(i, j)]));
            set(d + 1, a + 1, linear[i]);
        }
        set(d + 1, d + 1, b.dot(&linear));
        Ok(statistics)
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// How many features a row has.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Sum over rows of the logarithm of the weight.
    pub(crate) fn log_weights(&self) -> f64 {
        self.log_weights
    }

    /// Weighted cross-product of columns `i` and `j` of (1, x_1..x_d, y).
    pub(crate) fn cross(&self, i: usize, j: usize) -> f64 {
        let (i, j) = if i >= j { (i, j) } else { (j, i) };
        self.cross[i * (i + 1) / 2 + j]
    }

    /// The same rows about a shift that lies `by` (features, then target) from theirs: exact to rounding, so that statistics about
    /// different shifts add too. O(d^2).
    ///
    /// ```
    /// use cognate::Statistics;
    /// // Rows at 1e8, each task about its own first row.
    /// let (mut a, mut b) = (Statistics::new(1), Statistics::new(1));
    /// a.add_row(&[0.0], 0.0, 1.0);
    /// a.add_row(&[1.0], 2.0, 1.0);
    /// b.add_row(&[0.0], 0.0, 1.0);
    /// let both = &a + &b.moved(&[-3.0, -1.0]);
    /// let mut direct = a.clone();
    /// direct.add_row(&[3.0], 1.0, 1.0);
    /// assert_eq!(both, direct);
    /// ```
    ///
    /// # Panics
    /// If `by` has not one value a feature and one for the target.
    pub fn moved(&self, by: &[f64]) -> Statistics {
        assert_eq!(by.len(), self.features + 1, "a shift has a value for every feature and the target");
        let mut moved = self.clone();
        if by.iter().all(|by| *by == 0.0) {
            return moved;
        }
        let weight = self.cross(0, 0);
        for (i, own) in by.iter().enumerate() {
            let start = (i + 1) * (i + 2) / 2;
            moved.cross[start] -= own * weight;
            for (j, other) in by[..=i].iter().enumerate() {
                moved.cross[start + j + 1] += own * other * weight - own * self.cross(0, j + 1) - other * self.cross(0, i + 1);
            }
        }
        moved
    }

    /// Whether there are as many sums as of so many features, all finite.
    pub(crate) fn is_consistent(&self, features: usize) -> bool {
        self.features == features
            && self.cross.len() == (features + 2) * (features + 3) / 2
            && self.cross.iter().chain([&self.log_weights]).all(|value| value.is_finite())
    }

    /// Whether they could be sums of rows: no square is negative beyond rounding, and without rows nothing is left.
    pub(crate) fn are_sums_of(&self, before: &Statistics) -> bool {
        (0..self.features + 2).all(|k| self.cross(k, k) >= -1e-9 * before.cross(k, k))
            && (self.rows > 0 || self.cross(0, 0) < 0.5 * before.cross(0, 0))
    }

    fn combine(&self, other: &Statistics, sign: f64) -> Statistics {
        assert_eq!(self.features, other.features, "statistics of the same features combine");
        Statistics {
            rows: if sign > 0.0 { self.rows + other.rows } else { self.rows - other.rows },
            log_weights: self.log_weights + sign * other.log_weights,
            features: self.features,
            cross: self.cross.iter().zip(&other.cross).map(|(a, b)| a + sign * b).collect(),
        }
    }
}

impl Add for &Statistics {
    type Output = Statistics;
    fn add(self, other: &Statistics) -> Statistics {
        self.combine(other, 1.0)
    }
}

impl Sub for &Statistics {
    type Output = Statistics;
    fn sub(self, other: &Statistics) -> Statistics {
        self.combine(other, -1.0)
    }
}

/// C^-1 and its log-determinant, by the Cholesky factor of the correlations; where C is not positive definite, the first entry whose
/// variance given those before it is 0.
fn inverse_of_covariance(covariance: &DMatrix<f64>) -> std::result::Result<(DMatrix<f64>, f64), usize> {
    /// Smallest share of a variance that the entries before may leave.
    const SHARE: f64 = 1e-12;
    let scale: Vec<f64> = covariance.diagonal().iter().map(|variance| 1.0 / variance.sqrt()).collect();
    let correlation = linalg::correlation(covariance);
    let sound = |n: usize| {
        let leading = correlation.view((0, 0), (n, n)).into_owned();
        linalg::cholesky(leading).filter(|factor| factor.diagonal().iter().all(|pivot| pivot * pivot > SHARE))
    };
    let size = covariance.nrows();
    let Some(factor) = sound(size) else { return Err((1..=size).find(|n| sound(*n).is_none()).unwrap_or(size) - 1) };
    let mut inverse = linalg::inverse_of_cholesky(&factor);
    (0..size).for_each(|j| (0..size).for_each(|i| inverse[(i, j)] *= scale[i] * scale[j]));
    let log_scales: f64 = scale.iter().map(|scale| scale.ln()).sum();
    Ok((inverse, 2.0 * log_scales - linalg::log_determinant(&factor)))
}

/// One task's log-likelihood as a function of its parameters: l(w) = constant + linear' w - 1/2 w' curvature w.
///
/// ```
/// use cognate::Quadratic;
/// use nalgebra::{dmatrix, dvector};
/// let a = Quadratic { constant: 0.0, linear: dvector![2.0], curvature: dmatrix![4.0] };
/// assert_eq!(a.maximiser().unwrap()[0], 0.5);
/// assert_eq!((a.clone() + &a).value(&dvector![0.5]), 1.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Quadratic {
    /// Value at w = 0.
    pub constant: f64,
    /// Gradient at w = 0, length d.
    pub linear: DVector<f64>,
    /// Negative Hessian, d x d, positive semidefinite.
    pub curvature: DMatrix<f64>,
}

impl Quadratic {
    /// The log-likelihood at `w`. O(d^2).
    pub fn value(&self, w: &DVector<f64>) -> f64 {
        self.constant + self.linear.dot(w) - 0.5 * w.dot(&(&self.curvature * w))
    }

    /// The parameters of highest likelihood.
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the rows do not determine them.
    pub fn maximiser(&self) -> Result<DVector<f64>> {
        let factor = linalg::cholesky(self.curvature.clone()).ok_or_else(|| Error::NotPositiveDefinite {
            matrix: "the curvature of a task".to_string(),
            remedy: "add rows, leave features out, or share strength with a prior".to_string(),
        })?;
        let mut solution = DMatrix::from_column_slice(self.linear.len(), 1, self.linear.as_slice());
        linalg::solve_cholesky(&factor, &mut solution);
        Ok(solution.column(0).into_owned())
    }
}

impl AddAssign<&Quadratic> for Quadratic {
    fn add_assign(&mut self, other: &Quadratic) {
        self.constant += other.constant;
        self.linear += &other.linear;
        self.curvature += &other.curvature;
    }
}

impl Add<&Quadratic> for Quadratic {
    type Output = Quadratic;
    fn add(mut self, other: &Quadratic) -> Quadratic {
        self += other;
        self
    }
}

/// Flat storage behind [`Quadratics`], shared between precisions.
#[derive(Debug)]
struct Base {
    features: usize,
    linear: Vec<f64>,
    curvature: Vec<f64>,
    /// Sum of squares of the target, for the residual sum of squares.
    squares: Vec<f64>,
}

/// The quadratics of all tasks, stored flat: task t contributes
/// constant_t + precision_t (linear_t' w - 1/2 w' curvature_t w). A new noise variance replaces only the precisions.
///
/// Where rows are shared and their errors correlated, this is what the own rows of each task say by themselves, and what they say together
/// stands beside it.
#[derive(Clone, Debug)]
pub struct Quadratics {
    base: Arc<Base>,
    precision: Vec<f64>,
    constant: Vec<f64>,
    joint: Option<Arc<Joint>>,
    /// Of the components of a mixture, where each sees the rows in its own way.
    components: Arc<Vec<Quadratics>>,
}

impl Quadratics {
    /// Room for the quadratics of `tasks` tasks over `features` parameters, filled by `fill(task, linear, curvature)`
    /// which returns the target's sum of squares; precisions 1, constants 0.
    pub(crate) fn build(tasks: usize, features: usize, mut fill: impl FnMut(usize, &mut [f64], &mut [f64]) -> f64) -> Self {
        let mut linear = vec![0.0; tasks * features];
        let mut curvature = vec![0.0; tasks * features * features];
        let mut squares = Vec::with_capacity(tasks);
        for t in 0..tasks {
            let size = features * features;
            squares.push(fill(t, &mut linear[t * features..(t + 1) * features], &mut curvature[t * size..(t + 1) * size]));
        }
        let base = Arc::new(Base { features, linear, curvature, squares });
        Quadratics { base, precision: vec![1.0; tasks], constant: vec![0.0; tasks], joint: None, components: Arc::default() }
    }

    /// From one [`Quadratic`] a task, all over the same parameters.
    ///
    /// # Errors
    /// [`Error::Shape`] where their lengths differ.
    pub fn new(quadratics: &[Quadratic]) -> Result<Self> {
        let features = quadratics.first().map_or(0, |q| q.linear.len());
        if let Some(odd) = quadratics.iter().find(|q| q.linear.len() != features || q.curvature.shape() != (features, features)) {
            return Err(Error::Shape { what: "a task's quadratic".into(), found: odd.linear.len(), expected: features });
        }
        let mut all = Self::build(quadratics.len(), features, |t, linear, curvature| {
            linear.copy_from_slice(quadratics[t].linear.as_slice());
            curvature.copy_from_slice(quadratics[t].curvature.as_slice());
            0.0
        });
        all.constant = quadratics.iter().map(|q| q.constant).collect();
        Ok(all)
    }

    /// The same rows at other precisions and constants.
    pub(crate) fn with(&self, precision: Vec<f64>, constant: Vec<f64>) -> Self {
        Quadratics { base: Arc::clone(&self.base), precision, constant, joint: None, components: Arc::default() }
    }

    /// The same with what the rows say together.
    pub(crate) fn with_joint(self, joint: Joint) -> Self {
        Quadratics { joint: Some(Arc::new(joint)), ..self }
    }

    /// Of the components of a mixture, of which each sees the rows in its own way; those of the first in the place of all.
    pub(crate) fn of_components(components: Vec<Quadratics>) -> Self {
        Quadratics { components: Arc::new(components.clone()), ..components[0].clone() }
    }

    /// As a component of a mixture sees them.
    pub(crate) fn of_component(&self, component: usize) -> &Quadratics {
        self.components.get(component).unwrap_or(self)
    }

    /// Those of the components, where they differ.
    pub(crate) fn components(&self) -> &[Quadratics] {
        &self.components
    }

    /// The same with `more` added to the constant of every task.
    pub(crate) fn raised(&self, more: &[f64]) -> Self {
        let constant = self.constant.iter().zip(more).map(|(own, more)| own + more).collect();
        Quadratics { constant, ..self.clone() }
    }

    /// What the rows say together, where their errors are correlated between tasks.
    pub(crate) fn joint(&self) -> Option<&Joint> {
        self.joint.as_deref()
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.precision.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.precision.is_empty()
    }

    /// How many parameters a task has.
    pub fn features(&self) -> usize {
        self.base.features
    }

    pub(crate) fn precision(&self, task: usize) -> f64 {
        self.precision[task]
    }

    pub(crate) fn constant(&self, task: usize) -> f64 {
        self.constant[task]
    }

    pub(crate) fn squares(&self, task: usize) -> f64 {
        self.base.squares[task]
    }

    pub(crate) fn linear(&self, task: usize) -> &[f64] {
        let d = self.base.features;
        &self.base.linear[task * d..(task + 1) * d]
    }

    pub(crate) fn curvature(&self, task: usize) -> &[f64] {
        let size = self.base.features * self.base.features;
        &self.base.curvature[task * size..(task + 1) * size]
    }

    /// Those of some tasks, without what the rows of all say together.
    pub(crate) fn of_tasks(&self, tasks: &[usize]) -> Self {
        let own = Self::build(tasks.len(), self.features(), |place, linear, curvature| {
            linear.copy_from_slice(self.linear(tasks[place]));
            curvature.copy_from_slice(self.curvature(tasks[place]));
            self.squares(tasks[place])
        });
        own.with(tasks.iter().map(|t| self.precision[*t]).collect(), tasks.iter().map(|t| self.constant[*t]).collect())
    }

    /// The quadratic of one task.
    pub fn task(&self, task: usize) -> Quadratic {
        let (d, precision) = (self.base.features, self.precision[task]);
        Quadratic {
            constant: self.constant[task],
            linear: DVector::from_column_slice(self.linear(task)) * precision,
            curvature: DMatrix::from_column_slice(d, d, self.curvature(task)) * precision,
        }
    }

    /// Residual sum of squares of one task at `w` (unit precision): y'y - 2 linear' w + w' curvature w.
    pub(crate) fn residual(&self, task: usize, w: &[f64]) -> f64 {
        let (d, linear, curvature) = (self.base.features, self.linear(task), self.curvature(task));
        let mut sum = self.base.squares[task];
        for j in 0..d {
            let column = &curvature[j * d..(j + 1) * d];
            let dot: f64 = column.iter().zip(w).map(|(a, b)| a * b).sum();
            sum += w[j] * (dot - 2.0 * linear[j]);
        }
        sum
    }
}
