//! Intervals of the variance components by their profile likelihood, whose lower end is 0 where the likelihood allows that.

use super::hyperparameters::Hyperparameters;
use crate::linalg;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// A standard deviation between tasks, that of the noise, or a number of a family's dispersion, in the table's units.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarianceComponent {
    /// The feature, or what a number of the dispersion is called; `noise` for a Gaussian.
    pub name: String,
    /// Its estimate.
    pub estimate: f64,
    /// Ends of the 95 % interval.
    pub low: f64,
    /// The upper one.
    pub high: f64,
}

/// A number that a profile holds: its value and derivatives by the coordinates at a point.
pub(super) enum Held {
    /// |a' L|, the standard deviation of a'u over the varying features.
    Deviation(DVector<f64>),
    /// A coordinate.
    Coordinate(usize),
}

/// Normal quantile of 95 % intervals; its square is chi-squared's with one degree of freedom.
const DROP: f64 = 1.959_963_984_540_054;

/// Precision of the root of twice the fall of the log-likelihood at an end.
const CLOSE: f64 = 2e-3;

/// Profiles of the log posterior of the hyperparameters about its maximum.
pub(super) struct Profiles<'a> {
    target: &'a Hyperparameters<'a>,
    top: Vec<f64>,
    height: f64,
    curvature: DMatrix<f64>,
}

/// A maximum given a number held.
struct Ridge {
    point: Vec<f64>,
    height: f64,
}

impl<'a> Profiles<'a> {
    /// About the fit; 2 E-steps a coordinate.
    pub(super) fn about(target: &'a Hyperparameters<'a>) -> Option<Self> {
        /// Least curvature along an axis, for the first step.
        const LEAST: f64 = 0.1;
        let top = target.point();
        let height = target.place(&top)?.log_posterior;
        let (values, axes) = linalg::symmetric_eigen(&target.curvature(&top)?);
        let curvature = &axes * DMatrix::from_diagonal(&values.map(|value| value.max(LEAST))) * axes.transpose();
        Some(Profiles { target, top, height, curvature })
    }

    /// Where the root of twice the fall of the profile is the normal quantile: both ends about the estimate; the lower one is 0 where the fall to 0 is
    /// less. None where a profile is lost.
    pub(super) fn interval(&self, held: &Held) -> Option<(f64, f64)> {
        let (estimate, slope) = self.value(held, &self.top)?;
        let mut along = DMatrix::from_column_slice(slope.len(), 1, slope.as_slice());
        linalg::solve_cholesky(&linalg::cholesky(self.curvature.clone())?, &mut along);
        let reach = DROP * along.column(0).dot(&slope).sqrt();
        let high = self.end(held, estimate, estimate + reach, None)?;
        if matches!(held, Held::Coordinate(_)) {
            return Some((self.end(held, estimate, estimate - reach, None)?, high));
        }
        // The profile is even in a standard deviation, so next to 0 it is what it is at 0.
        let least = 1e-2 * estimate;
        let low = if estimate <= 1e-3 * high || self.fall(held, least, &self.top)?.0 <= DROP {
            0.0
        } else {
            self.end(held, estimate, (estimate - reach).max(2.0 * least), Some(least))?
        };
        Some((low, high))
    }

    /// The number held and its gradient at a point.
    fn value(&self, held: &Held, point: &[f64]) -> Option<(f64, DVector<f64>)> {
        let mut slope = DVector::zeros(point.len());
        let row = match held {
            Held::Coordinate(k) => {
                slope[*k] = 1.0;
                return Some((point[*k], slope));
            }
            Held::Deviation(row) => row,
        };
        let factor = self.target.prior_at(point)?.factor;
        let along = factor.transpose() * row;
        let size = along.norm();
        // At 0 any direction is as good: that of the feature's own element.
        let main = row.iamax();
        let direction = if size > 0.0 { &along / size } else { DVector::from_fn(row.len(), |k, _| f64::from(k == main)) };
        let by_factor = row * direction.transpose();
        // Coordinates are linear in L.
        let mut there = point.to_vec();
        for k in 0..self.target.own() {
            there[k] = point[k] + 1.0;
            let change = self.target.prior_at(&there)?.factor - &factor;
            there[k] = point[k];
            slope[k] = change.dot(&by_factor);
        }
        Some((size, slope))
    }

    /// The root of twice the fall at a value, and the point of it.
    fn fall(&self, held: &Held, value: f64, start: &[f64]) -> Option<(f64, Vec<f64>)> {
        let ridge = self.ridge(held, value, start)?;
        Some(((2.0 * (self.height - ridge.height).max(0.0)).sqrt(), ridge.point))
    }

    /// The value on the side of `first` where the fall is enough: secants on its root, which is all but linear; not beyond `bound`.
    fn end(&self, held: &Held, estimate: f64, first: f64, bound: Option<f64>) -> Option<f64> {
        let (mut near, mut far) = ((estimate, 0.0), bound.map(|bound| (bound, f64::NAN)));
        let mut value = first;
        let mut point = self.top.clone();
        for _ in 0..12 {
            let (fall, there) = self.fall(held, value, &point)?;
            point = there;
            if (fall - DROP).abs() < CLOSE {
                return Some(value);
            }
            let step = (value - near.0) * (DROP - near.1) / (fall - near.1);
            let mut next = near.0 + step;
            if fall < DROP {
                // Twice as far at most, unless the other side is known.
                let most = value + 2.0 * (value - estimate);
                near = (value, fall);
                if !next.is_finite() || (next - value) * (value - estimate) <= 0.0 || (next - estimate).abs() > (most - estimate).abs() {
                    next = most;
                }
            } else {
                far = Some((value, fall));
            }
            if let Some((end, _)) = far
                && ((next - near.0) * (end - near.0) <= 0.0 || (next - near.0).abs() >= (end - near.0).abs())
            {
                next = 0.5 * (near.0 + end);
            }
            value = next;
        }
        None
    }

    /// The maximum at a value held, by Newton steps with the constraint, the curvature learned on the way (Powell's damped BFGS).
    fn ridge(&self, held: &Held, value: f64, start: &[f64]) -> Option<Ridge> {
        const STEPS: usize = 25;
        /// Gain of log-likelihood that a step must promise.
        const GAIN: f64 = 1e-4;
        let mut curvature = self.curvature.clone();
        let mut point = start.to_vec();
        let mut before: Option<(DVector<f64>, DVector<f64>, f64)> = None;
        for _ in 0..STEPS {
            let place = self.target.place(&point)?;
            let slope = DVector::from_vec(self.target.slope(&place).ok()?);
            let (own, normal) = self.value(held, &point)?;
            // Of the log posterior with what holds the number, whose slope bends too.
            if let Some((step, old, pull)) = &before {
                learn(&mut curvature, step, &(old - &slope - &normal * *pull));
            }
            let factor = linalg::cholesky(curvature.clone())?;
            let mut solved = DMatrix::from_columns(&[slope.clone(), normal.clone()]);
            linalg::solve_cholesky(&factor, &mut solved);
            let (by_slope, by_normal) = (solved.column(0), solved.column(1));
            let pull = (value - own - by_slope.dot(&normal)) / by_normal.dot(&normal).max(f64::MIN_POSITIVE);
            let mut step = by_slope + by_normal * pull;
            let promised = 0.5 * step.dot(&(&curvature * &step));
            if promised < GAIN {
                // What the rest of the step changes is known to first order.
                return Some(Ridge { height: place.log_posterior + slope.dot(&step), point });
            }
            let longest = step.iter().zip(&point).map(|(step, own)| step.abs() / (1.0 + own.abs())).fold(0.0, f64::max);
            step /= longest.max(1.0);
            point.iter_mut().zip(step.iter()).for_each(|(own, step)| *own += step);
            before = Some((step, slope + &normal * pull, pull));
        }
        None
    }
}

/// The curvature that also has the change of slope along a step.
fn learn(curvature: &mut DMatrix<f64>, step: &DVector<f64>, change: &DVector<f64>) {
    let expected = &*curvature * step;
    let (size, own) = (expected.dot(step), change.dot(step));
    let share = if own >= 0.2 * size { 1.0 } else { 0.8 * size / (size - own) };
    let change = change * share + &expected * (1.0 - share);
    let along = change.dot(step);
    if along > 0.0 && size > 0.0 {
        *curvature += &change * change.transpose() / along - &expected * expected.transpose() / size;
        linalg::symmetrise(curvature);
    }
}
