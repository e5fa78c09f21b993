//! Standardising and its undoing: the map between the units of the table and those of the fit.

use super::Design;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The affine map between the units of the table and those of the fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coordinates {
    pub(super) intercept: bool,
    /// Subtracted from each feature (the intercept is not among them).
    pub centre: Vec<f64>,
    /// Then divides each feature.
    pub scale: Vec<f64>,
    /// Subtracted from the target.
    pub target_centre: f64,
    /// Then divides the target.
    pub target_scale: f64,
    /// Centre and scale of the target of each task, where they are in units of their own; the common ones are 0 and 1 then.
    #[serde(default)]
    pub targets: Vec<TargetUnit>,
}

/// What is subtracted from a target, and then divides it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetUnit {
    /// Subtracted from the target.
    pub centre: f64,
    /// Then divides it.
    pub scale: f64,
}

impl Coordinates {
    /// The table's own units.
    pub fn identity(design: &Design) -> Self {
        let columns = design.columns();
        Coordinates {
            intercept: design.intercept,
            centre: vec![0.0; columns],
            scale: vec![1.0; columns],
            target_centre: 0.0,
            target_scale: 1.0,
            targets: Vec::new(),
        }
    }

    /// The unit of a task's target; that of a task unknown is the common one.
    pub(crate) fn target_unit(&self, task: Option<usize>) -> TargetUnit {
        let common = TargetUnit { centre: self.target_centre, scale: self.target_scale };
        task.and_then(|t| self.targets.get(t)).copied().unwrap_or(common)
    }

    /// The map of one task.
    pub fn of_task(&self, task: usize) -> Cow<'_, Coordinates> {
        match self.targets.get(task) {
            Some(unit) => {
                Cow::Owned(Coordinates { target_centre: unit.centre, target_scale: unit.scale, targets: Vec::new(), ..self.clone() })
            }
            None => Cow::Borrowed(self),
        }
    }

    /// A target in fitted units.
    pub(crate) fn fitted_target(&self, task: usize, y: f64) -> f64 {
        let unit = self.target_unit(Some(task));
        (y - unit.centre) / unit.scale
    }

    /// With the target as it stands in the table.
    pub(crate) fn of_plain_target(self) -> Self {
        Coordinates { target_centre: 0.0, target_scale: 1.0, ..self }
    }

    /// With the target in its own units.
    pub(crate) fn of_target_units(self) -> Self {
        Coordinates { target_scale: 1.0, ..self }
    }

    /// The fitted features of a row, the intercept first.
    pub fn features(&self, x: &[f64]) -> DVector<f64> {
        let lead = usize::from(self.intercept);
        DVector::from_fn(x.len() + lead, |i, _| if i < lead { 1.0 } else { (x[i - lead] - self.centre[i - lead]) / self.scale[i - lead] })
    }

    /// A fitted target in the table's units.
    pub fn target(&self, fitted: f64) -> f64 {
        self.target_centre + self.target_scale * fitted
    }

    /// The matrix A with w (table's units) = A w (fitted) + `target_centre` on the intercept.
    pub fn to_original(&self) -> DMatrix<f64> {
        let lead = usize::from(self.intercept);
        let p = self.centre.len() + lead;
        let mut map = DMatrix::zeros(p, p);
        if self.intercept {
            map[(0, 0)] = self.target_scale;
        }
        for k in 0..self.centre.len() {
            let slope = self.target_scale / self.scale[k];
            map[(k + lead, k + lead)] = slope;
            if self.intercept {
                map[(0, k + lead)] = -slope * self.centre[k];
            }
        }
        map
    }

    /// Parameters in the table's units.
    pub fn parameters(&self, fitted: &DVector<f64>) -> DVector<f64> {
        let mut original = self.to_original() * fitted;
        if self.intercept {
            original[0] += self.target_centre;
        }
        original
    }

    /// A scale for every feature, the intercept included.
    pub(crate) fn scales(&self) -> Vec<f64> {
        self.intercept.then_some(1.0).into_iter().chain(self.scale.iter().copied()).collect()
    }
}
