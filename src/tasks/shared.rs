//! Rows that several tasks share, unit by unit: what was measured on one patient, day or city has errors in common.

use super::{Coordinates, Design, Rows};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, product};
use crate::quadratic::Sums;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::Arc;

/// The rows in fitted coordinates, times the square root of their weights.
pub(crate) struct SharedRows {
    features: usize,
    tasks: usize,
    /// Features, as many numbers a row; one row for all tasks of a unit where they agree.
    x: Vec<f64>,
    /// Task by task, where its rows are.
    entries: Vec<Vec<Entry>>,
    patterns: Vec<Pattern>,
    /// Of every unit.
    pattern: Vec<usize>,
    log_weights: f64,
    complete: Option<Arc<Sums>>,
    /// Means of the features of each task, the intercept's 1, where its intercept is what is left at them.
    centres: Vec<Option<DVector<f64>>>,
}

struct Entry {
    unit: u32,
    x: u32,
    y: f64,
}

/// What two tasks add to the sums over units on which both were measured: X_s' Q X_t, X_s' Q y_t, X_t' Q y_s and y_s' Q y_t.
struct Pair {
    block: DMatrix<f64>,
    forth: DVector<f64>,
    back: DVector<f64>,
    squares: f64,
}

/// Which tasks were measured on some of the units.
pub(crate) struct Pattern {
    /// In ascending order.
    pub tasks: Vec<usize>,
    /// How many units.
    pub units: usize,
}

impl SharedRows {
    /// The rows of tasks that name their units. O(n p), and O(n p (p + T)) for complete ones.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a task measured twice on a unit, and for rows of one unit of different weights.
    pub(crate) fn new(rows: &Rows, design: &Design, coordinates: &Coordinates) -> Result<Self> {
        let (tasks, features) = (rows.names().len(), design.len());
        let mut shared = SharedRows {
            features,
            tasks,
            x: Vec::new(),
            entries: (0..tasks).map(|_| Vec::new()).collect(),
            patterns: Vec::new(),
            pattern: Vec::new(),
            log_weights: 0.0,
            complete: None,
            centres: vec![None; tasks],
        };
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); rows.units().len()];
        (0..rows.len()).for_each(|i| members[rows.unit(i)].push(i));
        let mut numbers: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut agree = true;
        let kept = members.iter_mut().enumerate().filter(|(_, own)| !own.is_empty());
        for (place, (unit, own)) in kept.enumerate() {
            own.sort_by_key(|i| rows.task(*i));
            let name = || &rows.units()[unit];
            if let Some(twice) = own.windows(2).find(|pair| rows.task(pair[0]) == rows.task(pair[1])) {
                return Err(Error::Arguments(format!(
                    "task '{}' was measured twice on '{}'; keep one of the two rows, or give them different names",
                    rows.names()[rows.task(twice[0])],
                    name()
                )));
            }
            let weight = rows.weight(own[0]);
            if let Some(other) = own.iter().map(|i| rows.weight(*i)).find(|other| *other != weight) {
                return Err(Error::Arguments(format!(
                    "rows of '{}' have the weights {weight} and {other}; give rows that share a unit the same weight",
                    name()
                )));
            }
            shared.log_weights += own.len() as f64 * weight.ln();
            let measured: Vec<usize> = own.iter().map(|i| rows.task(*i)).collect();
            let number = *numbers.entry(measured.clone()).or_insert_with(|| {
                shared.patterns.push(Pattern { tasks: measured, units: 0 });
                shared.patterns.len() - 1
            });
            shared.patterns[number].units += 1;
            shared.pattern.push(number);
            let root = weight.sqrt();
            let mut before: Option<(usize, u32)> = None;
            for i in own.iter() {
                let task = rows.task(*i);
                let x = match before {
                    Some((other, x)) if rows.x(other) == rows.x(*i) => x,
                    _ => {
                        agree &= before.is_none();
                        shared.x.extend(coordinates.features(rows.x(*i)).iter().map(|value| root * value));
                        (shared.x.len() / features.max(1)) as u32 - 1
                    }
                };
                before = Some((*i, x));
                let y = root * coordinates.fitted_target(task, rows.y(*i) - rows.offset(*i));
                shared.entries[task].push(Entry { unit: place as u32, x, y });
            }
        }
        if design.leaves_intercepts() {
            for (own, centre) in shared.entries.iter().zip(&mut shared.centres) {
                let mut sum: DVector<f64> = DVector::zeros(features);
                own.iter().for_each(|entry| {
                    let row = &shared.x[entry.x as usize * features..(entry.x as usize + 1) * features];
                    sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += row[0] * value);
                });
                *centre = (sum[0] > 0.0).then(|| &sum / sum[0]);
            }
        }
        if agree && features > 0 && shared.patterns.len() == 1 && shared.patterns[0].tasks.len() == tasks {
            let units = shared.patterns[0].units;
            let x = shared.features_of(0, 0..units);
            let y = DMatrix::from_fn(units, tasks, |i, t| shared.entries[t][i].y);
            let mut curvature = product(Operand::of(&x), Operand::of(&x).transpose());
            linalg::symmetrise(&mut curvature);
            shared.complete = Some(Arc::new(Sums::new(curvature, product(Operand::of(&x), Operand::of(&y)), linalg::gram(&y))));
        }
        Ok(shared)
    }

    /// The sets of tasks that were measured together.
    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// How many units there are.
    pub(crate) fn units(&self) -> usize {
        self.pattern.len()
    }

    /// Sum of the logarithms of the weights of all rows.
    pub(crate) fn log_weights(&self) -> f64 {
        self.log_weights
    }

    /// Their sums, where every task was measured on every unit, on the same features.
    pub(crate) fn complete(&self) -> Option<&Arc<Sums>> {
        self.complete.as_ref()
    }

    /// The units on which both tasks were measured, as places among the entries of each.
    fn both(&self, s: usize, t: usize) -> Vec<(usize, usize)> {
        let (a, b) = (&self.entries[s], &self.entries[t]);
        let (mut i, mut j, mut both) = (0, 0, Vec::new());
        while i < a.len() && j < b.len() {
            match a[i].unit.cmp(&b[j].unit) {
                std::cmp::Ordering::Less => i += 1,
                std::cmp::Ordering::Greater => j += 1,
                std::cmp::Ordering::Equal => {
                    both.push((i, j));
                    (i, j) = (i + 1, j + 1);
                }
            }
        }
        both
    }

    /// Features of these entries of a task, p x n.
    fn features_of(&self, task: usize, places: impl Iterator<Item = usize>) -> DMatrix<f64> {
        let p = self.features;
        let mut values = Vec::new();
        places.for_each(|k| {
            let row = self.entries[task][k].x as usize;
            let own = &self.x[row * p..(row + 1) * p];
            match &self.centres[task] {
                Some(centre) => values.extend(own.iter().zip(centre.iter()).map(|(value, centre)| value - own[0] * centre)),
                None => values.extend_from_slice(own),
            }
        });
        DMatrix::from_vec(p, values.len() / p.max(1), values)
    }

    /// With a precision matrix between the tasks of each pattern, the blocks sum_i (Q_i)_st x_is x_it' (T p x T p) and
    /// sum_i sum_t (Q_i)_st x_is y_it (T p long), and sum_i y_i' Q_i y_i. O(T^2 n p^2).
    pub(crate) fn weighted(&self, precisions: &[DMatrix<f64>]) -> (DMatrix<f64>, DVector<f64>, f64) {
        let (p, tasks) = (self.features, self.tasks);
        let places = self.places();
        let pairs: Vec<(usize, usize)> = (0..tasks).flat_map(|t| (0..=t).map(move |s| (s, t))).collect();
        let each: Vec<Pair> = pairs
            .par_iter()
            .map(|(s, t)| {
                let both = self.both(*s, *t);
                let weight = |k: usize| {
                    let pattern = self.pattern[self.entries[*s][both[k].0].unit as usize];
                    precisions[pattern][(places[pattern][s], places[pattern][t])]
                };
                let (left, right) =
                    (self.features_of(*s, both.iter().map(|own| own.0)), self.features_of(*t, both.iter().map(|own| own.1)));
                let y = |task: usize, k: usize| self.entries[task][if task == *s { both[k].0 } else { both[k].1 }].y;
                let mut scaled = left.clone();
                scaled.column_iter_mut().enumerate().for_each(|(k, mut column)| column *= weight(k));
                let block = product(Operand::of(&scaled), Operand::of(&right).transpose());
                let forth = &scaled * DVector::from_fn(both.len(), |k, _| y(*t, k));
                let back = &right * DVector::from_fn(both.len(), |k, _| weight(k) * y(*s, k));
                let squares = (0..both.len()).map(|k| weight(k) * y(*s, k) * y(*t, k)).sum();
                Pair { block, forth, back, squares }
            })
            .collect();
        let (mut curvature, mut linear, mut sum) = (DMatrix::zeros(tasks * p, tasks * p), DVector::zeros(tasks * p), 0.0);
        for ((s, t), Pair { block, forth, back, squares }) in pairs.into_iter().zip(each) {
            curvature.view_mut((s * p, t * p), (p, p)).copy_from(&block);
            let mut own = linear.rows_mut(s * p, p);
            own += forth;
            sum += squares;
            if s != t {
                curvature.view_mut((t * p, s * p), (p, p)).copy_from(&block.transpose());
                let mut other = linear.rows_mut(t * p, p);
                other += back;
                sum += squares;
            }
        }
        (curvature, linear, sum)
    }

    /// Where each task stands in each pattern.
    fn places(&self) -> Vec<HashMap<usize, usize>> {
        self.patterns.iter().map(|pattern| pattern.tasks.iter().enumerate().map(|(k, t)| (*t, k)).collect()).collect()
    }

    /// sum_i E[e_i e_i'] over the units of each pattern, with parameters of those means (p x T) and covariances between two tasks.
    /// O(T^2 n p^2).
    pub(crate) fn residual_products(
        &self,
        means: &DMatrix<f64>,
        covariance: Option<&(dyn Fn(usize, usize) -> DMatrix<f64> + Sync)>,
    ) -> Vec<DMatrix<f64>> {
        let places = self.places();
        let residuals: Vec<DVector<f64>> = (0..self.tasks)
            .map(|t| {
                let x = self.features_of(t, 0..self.entries[t].len());
                let fitted = x.tr_mul(&means.column(t));
                DVector::from_fn(fitted.len(), |k, _| self.entries[t][k].y - fitted[k])
            })
            .collect();
        let pairs: Vec<(usize, usize)> = (0..self.tasks).flat_map(|t| (0..=t).map(move |s| (s, t))).collect();
        let each: Vec<Vec<(usize, f64)>> = pairs
            .par_iter()
            .map(|(s, t)| {
                let both = self.both(*s, *t);
                let spread = covariance.map(|covariance| {
                    let left = self.features_of(*s, both.iter().map(|own| own.0));
                    let right = self.features_of(*t, both.iter().map(|own| own.1));
                    let seen = product(Operand::of(&covariance(*s, *t)), Operand::of(&right));
                    (0..both.len()).map(|k| left.column(k).dot(&seen.column(k))).collect::<Vec<f64>>()
                });
                let own = both.iter().enumerate().map(|(k, (i, j))| {
                    let uncertain = spread.as_ref().map_or(0.0, |spread| spread[k]);
                    (self.pattern[self.entries[*s][*i].unit as usize], residuals[*s][*i] * residuals[*t][*j] + uncertain)
                });
                own.collect()
            })
            .collect();
        let mut products: Vec<DMatrix<f64>> = self.patterns.iter().map(|own| DMatrix::zeros(own.tasks.len(), own.tasks.len())).collect();
        for ((s, t), own) in pairs.into_iter().zip(each) {
            for (pattern, value) in own {
                let (a, b) = (places[pattern][&s], places[pattern][&t]);
                products[pattern][(a, b)] += value;
                if a != b {
                    products[pattern][(b, a)] += value;
                }
            }
        }
        products
    }
}
