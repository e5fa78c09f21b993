//! Rows grouped into tasks: what was measured, on which features, and in which coordinates it is fitted.

mod alike;
mod coordinates;
mod descriptors;
mod design;
mod rows;
mod shared;
mod summaries;
mod sums;

pub(crate) use alike::Alike;
pub use coordinates::{Coordinates, TargetUnit};
pub(crate) use descriptors::Points;
pub use descriptors::{DescriptorValues, Descriptors};
pub use design::Design;
pub use rows::Rows;
pub(crate) use shared::SharedRows;
pub use summaries::Summaries;
pub(crate) use sums::{HeldRows, TaskSums};

use crate::error::{Error, Result};
use crate::quadratic::{Quadratics, Statistics};
use nalgebra::DVector;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Largest size of a value: squares and their sums stay finite.
pub(crate) const LARGEST: f64 = 1e100;

/// Name of the constant feature.
pub const INTERCEPT: &str = "(Intercept)";

/// Named tasks with the statistics of their rows: all that a Gaussian fit needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tasks {
    target: String,
    names: Vec<String>,
    design: Design,
    /// What was subtracted from the features and the target of every task, one task after another, before they were multiplied: those of
    /// a row of its own, so that digits are not lost to where tasks lie.
    shift: Vec<f64>,
    statistics: Vec<Statistics>,
    /// Whether the statistics are of estimates from elsewhere ([`Summaries`]), not of rows.
    #[serde(default)]
    estimates: bool,
    /// Names of the tasks most of whose rows have the same features as rows of others.
    #[serde(default)]
    alike: Vec<String>,
    /// Names of the groups of tasks, and the group of every task; nothing for one group.
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    group: Vec<usize>,
    /// The rows themselves, where they were given; no part of a model file.
    #[serde(skip)]
    rows: Option<Arc<Rows>>,
}

impl Tasks {
    /// Name of the target.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Task names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Names of the groups of tasks that have a mean and a scale of their own; none for one group.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The number of a task's group.
    pub fn group(&self, task: usize) -> usize {
        self.group.get(task).copied().unwrap_or(0)
    }

    /// The tasks of a group.
    pub(crate) fn members(&self, group: usize) -> impl Iterator<Item = usize> {
        (0..self.len()).filter(move |t| self.group(*t) == group)
    }

    /// The group of every task; nothing for one group.
    pub(crate) fn group_of_tasks(&self) -> &[usize] {
        &self.group
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The features and their parts.
    pub fn design(&self) -> &Design {
        &self.design
    }

    /// The statistics of one task, about its own shift.
    pub fn statistics(&self, task: usize) -> &Statistics {
        &self.statistics[task]
    }

    /// Rows over all tasks; of [`Summaries`] the estimates that are there.
    pub fn rows(&self) -> u64 {
        self.statistics.iter().map(Statistics::rows).sum()
    }

    /// These tasks without the rows of `fold` (tasks of the same rows, in the same order).
    ///
    /// # Errors
    /// [`Error::Shape`] where the tasks are not the same.
    pub fn without(&self, fold: &Tasks) -> Result<Tasks> {
        if fold.names != self.names || fold.design.columns() != self.design.columns() {
            return Err(Error::Shape { what: "a fold's tasks".into(), found: fold.len(), expected: self.len() });
        }
        let statistics = (0..self.len()).map(|t| &self.statistics[t] - &fold.about(t, self.shift(t))).collect();
        Ok(Tasks { statistics, rows: None, ..self.clone() })
    }

    /// What was subtracted from the features and the target of a task.
    fn shift(&self, task: usize) -> &[f64] {
        let width = self.design.columns() + 1;
        &self.shift[task * width..(task + 1) * width]
    }

    /// The statistics of a task about another shift.
    fn about(&self, task: usize, shift: &[f64]) -> Statistics {
        let by: Vec<f64> = shift.iter().zip(self.shift(task)).map(|(to, from)| to - from).collect();
        self.statistics[task].moved(&by)
    }

    /// With the rows from which they were made, which families other than the Gaussian need.
    ///
    /// ```
    /// use cognate::{Binomial, Design, Exchangeable, FeatureCovariance, Generalised, Model, Rows};
    /// let mut rows = Rows::new("well", &["dose"]);
    /// for i in 0..60 {
    ///     let (ward, dose) = (i % 6, f64::from(i / 6) / 5.0 - 1.0);
    ///     let well = f64::from(u8::from(dose + f64::from(ward) / 3.0 + f64::from(i * 7 % 11) / 5.0 > 1.5));
    ///     rows.push(&format!("ward {ward}"), &[dose], well, 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
    /// let fit = Model::new(Generalised::new(Binomial::default()), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let chance = fit.predict("ward 5", &[0.5], 0.95)?;
    /// assert!(0.5 < chance.mean && chance.mean < 1.0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for rows of other tasks.
    pub fn with_rows(mut self, rows: Rows) -> Result<Tasks> {
        if rows.names() != self.names || rows.len() as u64 != self.rows() {
            return Err(Error::Shape { what: "the rows of the tasks".into(), found: rows.len(), expected: self.rows() as usize });
        }
        self.rows = Some(Arc::new(rows));
        Ok(self)
    }

    /// The rows, where they were given.
    pub(crate) fn kept_rows(&self) -> Option<&Rows> {
        self.rows.as_deref()
    }

    /// The same rows under another design of the same columns.
    pub fn with_design(mut self, design: Design) -> Tasks {
        self.design = design;
        self
    }

    /// Whether the target of each task is in a unit of its own ([`Design::with_own_units`]).
    pub fn has_own_units(&self) -> bool {
        self.design.own_units
    }

    /// Means of the features of a task in `coordinates`, the intercept's 0, where its intercept is what is left at them; and the sum of the
    /// weights of its rows.
    pub(crate) fn left_intercept(&self, task: usize, coordinates: &Coordinates) -> Option<(DVector<f64>, f64)> {
        let (sums, weight) = (&self.statistics[task], self.statistics[task].cross(0, 0));
        let shift = self.shift(task);
        let mean = |k: usize| ((shift[k] - coordinates.centre[k]) + sums.cross(k + 1, 0) / weight) / coordinates.scale[k];
        let left = self.design.leaves_intercepts() && weight > 0.0;
        left.then(|| (DVector::from_fn(self.design.len(), |k, _| if k == 0 { 0.0 } else { mean(k - 1) }), weight))
    }

    /// Weighted mean of the features over the rows of a task; none without rows.
    pub(crate) fn average_row(&self, task: usize) -> Option<Vec<f64>> {
        let (sums, shift) = (&self.statistics[task], self.shift(task));
        let there = !self.estimates && sums.cross(0, 0) > 0.0;
        there.then(|| (0..self.design.columns()).map(|k| value((sums, shift), k)).collect())
    }

    /// Weighted mean of the targets of a task, less their offsets; NaN without rows.
    pub(crate) fn target_mean(&self, task: usize) -> f64 {
        value((&self.statistics[task], self.shift(task)), self.design.columns())
    }

    /// Names of the tasks most of whose rows have the same features as rows of others, though no row names a unit: they may have been
    /// measured on the same ones.
    pub fn alike(&self) -> &[String] {
        &self.alike
    }

    /// The statistics of all rows, about their mean, and where that is.
    fn total(&self) -> (Statistics, Vec<f64>) {
        let width = self.design.columns() + 1;
        let (mut total, mut shift, mut weight) = (Statistics::new(width - 1), vec![0.0; width], 0.0);
        for (t, own) in self.statistics.iter().enumerate().filter(|(_, own)| own.cross(0, 0) > 0.0) {
            weight += own.cross(0, 0);
            for ((k, mean), from) in shift.iter_mut().enumerate().zip(self.shift(t)) {
                *mean += (own.cross(0, 0) * (from - *mean) + own.cross(k + 1, 0)) / weight;
            }
        }
        for t in 0..self.len() {
            total = &total + &self.about(t, &shift);
        }
        (total, shift)
    }

    /// Refuses what cannot be fitted: no rows, a constant target, a constant feature beside an intercept.
    pub fn check(&self) -> Result<()> {
        let (total, shift) = self.total();
        let in_all = |k: usize| value((&total, &shift), k);
        if self.estimates {
            return self.check_estimates(&total);
        }
        if total.rows() == 0 {
            return Err(Error::NoRows { source_name: "the table".into(), remedy: "add rows with a target".into() });
        }
        let d = self.design.columns();
        let constant_in = |sums: &Statistics, k: usize| {
            let spread = sums.cross(k, k) - sums.cross(k, 0).powi(2) / sums.cross(0, 0);
            spread <= 1e-14 * sums.cross(k, k).abs()
        };
        // About their mean rows have a spread that rounding may have left; a value cannot be told from one nearer than its last digits.
        let digits = |k: usize| total.cross(0, 0) * (4.0 * f64::EPSILON * shift[k - 1]).powi(2);
        let constant = |k: usize| constant_in(&total, k) || total.cross(k, k) <= digits(k);
        if self.design.own_units
            && let Some(t) = (0..self.len()).find(|t| constant_in(&self.statistics[*t], d + 1) || self.statistics[*t].rows() == 0)
        {
            return Err(Error::ConstantTarget { column: self.names[t].clone(), value: self.target_mean(t) });
        }
        if total.rows() > 1 && !self.design.own_units && constant(d + 1) {
            return Err(Error::ConstantTarget { column: self.target.clone(), value: in_all(d) });
        }
        // Where each target is centred by itself, a feature that says nothing does no harm.
        if self.design.intercept && total.rows() > 1 && !self.design.own_units {
            for k in 0..d {
                if constant(k + 1) {
                    let column = self.design.features[k + 1].clone();
                    return Err(Error::ConstantFeature { column, value: in_all(k) });
                }
            }
        }
        Ok(())
    }

    /// The coordinates in which the model is fitted: centre and scale of each feature and of the target.
    pub(crate) fn coordinates(&self, centred: bool, scaled: bool) -> Coordinates {
        let (total, shift) = self.total();
        let d = self.design.columns();
        // Mean about the shift and standard deviation of column k of (x, y).
        let moments = |sums: &Statistics, k: usize| {
            let weight = sums.cross(0, 0).max(f64::MIN_POSITIVE);
            let (mean, square) = (sums.cross(k + 1, 0) / weight, sums.cross(k + 1, k + 1) / weight);
            let spread = square - mean.powi(2);
            (mean, if spread > 1e-14 * square { spread.sqrt() } else { 1.0 })
        };
        let centred = (centred || self.design.own_units) && self.design.intercept;
        let centre = (0..d).map(|k| if centred { shift[k] + moments(&total, k).0 } else { 0.0 }).collect();
        let scale = (0..d).map(|k| if scaled { moments(&total, k).1 } else { 1.0 }).collect();
        let intercept = self.design.intercept;
        if self.design.own_units {
            let own = |t: usize| {
                let (mean, scale) = moments(&self.statistics[t], d);
                TargetUnit { centre: if intercept { self.shift(t)[d] + mean } else { 0.0 }, scale }
            };
            let targets = (0..self.len()).map(own).collect();
            return Coordinates { intercept, centre, scale, target_centre: 0.0, target_scale: 1.0, targets };
        }
        let (mean, target_scale) = moments(&total, d);
        let target_centre = if intercept && self.design.mean[0] { shift[d] + mean } else { 0.0 };
        Coordinates { intercept, centre, scale, target_centre, target_scale, targets: Vec::new() }
    }

    /// The quadratics of unit precision in `coordinates`, one a task. O(T d^2).
    pub(crate) fn quadratics(&self, coordinates: &Coordinates) -> Quadratics {
        let d = self.design.columns();
        let offset = usize::from(!self.design.intercept);
        // Column k of (1, x, y) becomes (z - move_k * 1) / scale_k.
        let mut moves = vec![0.0; d + 2];
        let mut scales: Vec<f64> = std::iter::once(1.0).chain(coordinates.scale.iter().copied()).chain(std::iter::once(1.0)).collect();
        let p = self.design.len();
        Quadratics::build(self.len(), p, |t, linear, curvature| {
            let s = &self.statistics[t];
            let unit = coordinates.target_unit(Some(t));
            let shift = self.shift(t);
            (0..d).for_each(|k| moves[k + 1] = coordinates.centre[k] - shift[k]);
            (moves[d + 1], scales[d + 1]) = (unit.centre - shift[d], unit.scale);
            let weight = s.cross(0, 0);
            let product = |i: usize, j: usize| {
                let moved = match (i, j) {
                    (0, 0) => weight,
                    (0, j) => s.cross(0, j) - moves[j] * weight,
                    (i, j) => s.cross(i, j) - moves[i] * s.cross(0, j) - moves[j] * s.cross(0, i) + moves[i] * moves[j] * weight,
                };
                moved / (scales[i] * scales[j])
            };
            for a in 0..p {
                linear[a] = product(a + offset, d + 1);
                for b in 0..=a {
                    let value = product(b + offset, a + offset);
                    curvature[a * p + b] = value;
                    curvature[b * p + a] = value;
                }
            }
            if self.design.leaves_intercepts() && weight > 0.0 {
                // About the means of the task's own rows, in which its intercept is 0.
                let sums: Vec<f64> = curvature[..p].to_vec();
                for a in 1..p {
                    linear[a] -= sums[a] * linear[0] / weight;
                    (1..p).for_each(|b| curvature[a * p + b] -= sums[a] * sums[b] / weight);
                    (curvature[a], curvature[a * p]) = (0.0, 0.0);
                }
                linear[0] = 0.0;
            }
            product(d + 1, d + 1)
        })
    }
}

/// The mean of a column of sums about a shift; NaN without rows.
fn value((sums, shift): (&Statistics, &[f64]), column: usize) -> f64 {
    shift[column] + sums.cross(column + 1, 0) / sums.cross(0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DMatrix;

    fn rows() -> Rows {
        let mut rows = Rows::new("y", &["a", "b"]);
        for i in 0..12 {
            let (a, b) = (i as f64 * 0.7 + 3.0, ((i * i) % 7) as f64);
            rows.push(["s", "t", "u"][i % 3], &[a, b], 2.0 * a - b + (i % 2) as f64, 1.0 + (i % 4) as f64).unwrap();
        }
        rows
    }

    #[test]
    fn quadratics_in_coordinates_equal_direct_sums() {
        let rows = rows();
        let tasks = rows.tasks(&Design::varying(rows.features()));
        for (centred, scaled) in [(true, true), (false, true), (false, false)] {
            let coordinates = tasks.coordinates(centred, scaled);
            let quadratics = tasks.quadratics(&coordinates);
            for t in 0..3 {
                let (mut j, mut h, mut yy) = (DMatrix::zeros(3, 3), DVector::zeros(3), 0.0);
                for i in (0..rows.len()).filter(|i| rows.task(*i) == t) {
                    let x = coordinates.features(rows.x(i));
                    let y = (rows.y(i) - coordinates.target_centre) / coordinates.target_scale;
                    j += rows.weight(i) * &x * x.transpose();
                    h += rows.weight(i) * y * &x;
                    yy += rows.weight(i) * y * y;
                }
                let q = quadratics.task(t);
                assert!((q.curvature - j).amax() < 1e-10 && (q.linear - h).amax() < 1e-10);
                assert!((quadratics.squares(t) - yy).abs() < 1e-10);
            }
        }
    }

    #[test]
    fn parameters_in_original_units_predict_the_same() {
        let rows = rows();
        let coordinates = rows.tasks(&Design::varying(rows.features())).coordinates(true, true);
        let w = DVector::from_vec(vec![0.3, -0.2, 1.1]);
        let original = coordinates.parameters(&w);
        let x = rows.x(5);
        let fitted = coordinates.target(coordinates.features(x).dot(&w));
        assert!((original[0] + original[1] * x[0] + original[2] * x[1] - fitted).abs() < 1e-10);
    }

    #[test]
    fn folds_subtract_exactly_what_they_hold() {
        let rows = rows();
        let design = Design::varying(rows.features());
        let part = rows.tasks_of(&design, |i| i % 4 == 0);
        let rest = rows.tasks(&design).without(&part).unwrap();
        let direct = rows.tasks_of(&design, |i| i % 4 != 0);
        for t in 0..3 {
            assert_eq!(rest.statistics(t).rows(), direct.statistics(t).rows());
            assert!((rest.statistics(t).cross(2, 3) - direct.statistics(t).cross(2, 3)).abs() < 1e-10);
        }
    }
}
