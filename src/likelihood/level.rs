//! What is believed of the level of a task whose intercept no prior of all tasks keeps finite.

use super::family::{Family, LOG_ROOT_2_PI};
use super::rows::FamilyRow;
use crate::quadratic::Quadratic;
use nalgebra::DVector;

/// Standard deviation of a task's level on a logit or log scale. One-class tasks have none but this: 10 covers odds of 1e8 within two standard deviations,
/// where a task of n rows without a success speaks of odds of 1 / n, and of tasks with both classes it decides nothing (a standard error of .3 is a thousandth of
/// it). For predictors in the unit of the target it is as many standard deviations of the task's targets.
const WIDTH: f64 = 10.0;

/// The predictor at a task's mean row, offsets left out, is N(start, width^2): one row more, in whatever coordinates.
#[derive(Clone, Debug)]
pub(crate) struct Level {
    quadratic: Quadratic,
    largest_variance: f64,
}

impl Level {
    /// By the rows of a task; without an `intercept` nothing is believed.
    pub(super) fn of(rows: &[FamilyRow], features: usize, family: &dyn Family, intercept: bool) -> Self {
        let begin = |row: &FamilyRow| family.start(row.y, row.weight) - row.offset;
        let count = rows.len().max(1) as f64;
        let start = rows.iter().map(begin).sum::<f64>() / count;
        let variance = rows.iter().map(|row| (begin(row) - start).powi(2)).sum::<f64>() / count;
        let unit = match (family.has_unit(), variance.sqrt()) {
            (false, _) => 1.0,
            // A task of one value says nothing of its unit but its size.
            (true, sd) if sd <= 1e-9 * start.abs() || sd == 0.0 => start.abs().max(1.0),
            (true, sd) => sd,
        };
        let mut mean_row: DVector<f64> = DVector::zeros(features);
        if intercept {
            rows.iter().for_each(|row| mean_row.iter_mut().zip(row.x).for_each(|(mean, x)| *mean += x / count));
        }
        let square = |row: &FamilyRow| row.x.iter().zip(mean_row.iter()).map(|(x, mean)| (x - mean).powi(2)).sum::<f64>();
        let spread = rows.iter().map(square).sum::<f64>() / count;
        let (width, precision) = (WIDTH * unit, f64::from(u8::from(intercept)) / (WIDTH * unit).powi(2));
        let constant = if intercept { -width.ln() - LOG_ROOT_2_PI - 0.5 * precision * start * start } else { 0.0 };
        let quadratic =
            Quadratic { constant, linear: &mean_row * (precision * start), curvature: &mean_row * mean_row.transpose() * precision };
        Level { quadratic, largest_variance: if spread > 0.0 { width * width / spread } else { 0.0 } }
    }

    /// What was said of a task before, whatever it was, in the place of a level.
    pub(super) fn held(quadratic: Quadratic) -> Self {
        Level { quadratic, largest_variance: 0.0 }
    }

    /// Its log density as a function of the task's parameters.
    pub(super) fn quadratic(&self) -> &Quadratic {
        &self.quadratic
    }

    /// The prior variance of slopes with which these make the predictor differ between rows by the width of the level; 0 where no feature does.
    pub(crate) fn largest_variance(&self) -> f64 {
        self.largest_variance
    }
}
