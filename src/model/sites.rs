//! What the rows of a family, or those that tasks share, said at the fit: kept so that the posterior can be made again without them.

use crate::error::Result;
use crate::quadratic::{Joint, Quadratic, Quadratics};
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// The quadratics of all tasks as a plain record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Sites {
    constants: Vec<f64>,
    /// d x T.
    #[serde(with = "crate::linalg::record::matrix")]
    linear: DMatrix<f64>,
    /// d^2 x T.
    #[serde(with = "crate::linalg::record::matrix")]
    curvatures: DMatrix<f64>,
    /// What they say together, where errors are correlated.
    #[serde(default)]
    joint: Option<Joint>,
    /// As each component of a mixture saw the rows.
    #[serde(default)]
    components: Vec<Sites>,
}

impl Sites {
    pub(super) fn of(quadratics: &Quadratics) -> Self {
        let each: Vec<Quadratic> = (0..quadratics.len()).map(|t| quadratics.task(t)).collect();
        let d = quadratics.features();
        Sites {
            constants: each.iter().map(|own| own.constant).collect(),
            linear: DMatrix::from_fn(d, each.len(), |k, t| each[t].linear[k]),
            curvatures: DMatrix::from_fn(d * d, each.len(), |k, t| each[t].curvature[k]),
            joint: quadratics.joint().cloned(),
            components: quadratics.components().iter().map(Sites::of).collect(),
        }
    }

    pub(super) fn quadratics(&self) -> Result<Quadratics> {
        if !self.components.is_empty() {
            return Ok(Quadratics::of_components(self.components.iter().map(Sites::quadratics).collect::<Result<_>>()?));
        }
        let d = self.linear.nrows();
        let task = |(t, constant): (usize, &f64)| Quadratic {
            constant: *constant,
            linear: self.linear.column(t).into_owned(),
            curvature: DMatrix::from_column_slice(d, d, self.curvatures.column(t).as_slice()),
        };
        let all = Quadratics::new(&self.constants.iter().enumerate().map(task).collect::<Vec<_>>())?;
        Ok(match &self.joint {
            Some(joint) => all.with_joint(joint.clone()),
            None => all,
        })
    }

    /// Whether there is something that they say together only.
    pub(super) fn are_joint(&self) -> bool {
        self.joint.is_some()
    }

    /// Whether there is one for each of so many tasks over so many features, and every number is finite.
    pub(super) fn are_consistent(&self, features: usize, tasks: usize) -> bool {
        let numbers = [&self.constants[..], self.linear.as_slice(), self.curvatures.as_slice()];
        self.constants.len() == tasks
            && self.linear.shape() == (features, tasks)
            && self.curvatures.shape() == (features * features, tasks)
            && self.components.iter().all(|own| own.are_consistent(features, tasks))
            && self.joint.as_ref().is_none_or(|joint| joint.is_consistent(features, tasks))
            && numbers.iter().all(|list| list.iter().all(|value| value.is_finite()))
    }
}
