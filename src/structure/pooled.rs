//! Pooled tasks: all share their parameters, the limit K -> 0; optionally with an intercept of their own.

use super::{FeatureCovariance, Setting, Sharing, Smooth, Structure};
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use nalgebra::DMatrix;

/// One parameter vector for all tasks, by least squares.
///
/// ```
/// use cognate::{Pooled, Structure};
/// assert_eq!(Pooled { task_intercepts: true }.name(), "pooled-intercepts");
/// ```
#[derive(Clone, Debug)]
pub struct Pooled {
    /// Whether every task has a free intercept.
    pub task_intercepts: bool,
}

impl Structure for Pooled {
    fn name(&self) -> &'static str {
        if self.task_intercepts { "pooled-intercepts" } else { "pooled" }
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        None
    }

    fn fewest_tasks(&self) -> usize {
        1
    }

    fn sharing(&self) -> Sharing {
        Sharing::Parameters
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let free = match (self.task_intercepts, setting.intercept) {
            (false, _) => Vec::new(),
            (true, Some(intercept)) => vec![intercept],
            (true, None) => {
                return Err(Error::Arguments(
                    "pooled-intercepts needs an intercept; take '0 +' out of the formula, or add an '(Intercept)' to the summaries".into(),
                ));
            }
        };
        let mean_features = identified(setting, &free);
        let has_mean = |k: &usize| mean_features.contains(&setting.mean_features[k % setting.mean_features.len()]);
        let kept: Vec<usize> = (0..setting.mean_precision.nrows()).filter(has_mean).collect();
        let prior = Prior {
            mean: match setting.mean {
                Mean::Given(mean) => Mean::Given(mean.clone()),
                _ => Mean::Profiled,
            },
            mean_precision: setting.mean_precision.select_rows(&kept).select_columns(&kept),
            mean_features,
            varying: Vec::new(),
            free,
            unrelated: Vec::new(),
            relatedness: Relatedness::Zero,
            factor: DMatrix::zeros(0, 0),
            groups: setting.groups.clone(),
            mixture: None,
            task_scales: None,
            kernel: None,
        };
        Ok((prior, None))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        Ok(posterior.prior().clone())
    }

    fn frees_intercepts(&self) -> bool {
        self.task_intercepts
    }

    fn parameters(&self, _prior: &Prior) -> usize {
        0
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }

    fn has_marginal(&self) -> bool {
        false
    }
}

/// Nothing but the noise is left to climb in.
impl Smooth for Pooled {
    fn coordinates(&self, _prior: &Prior) -> Vec<f64> {
        Vec::new()
    }

    fn at(&self, _point: &[f64], like: &Prior) -> Option<Prior> {
        Some(like.clone())
    }

    fn slope(&self, _posterior: &Posterior) -> Vec<f64> {
        Vec::new()
    }
}

/// The mean features that still differ within tasks once the free ones are fitted.
fn identified(setting: &Setting, free: &[usize]) -> Vec<usize> {
    let data = &setting.data.quadratics;
    let p = data.features();
    let features: Vec<usize> = setting.mean_features.iter().copied().filter(|f| !free.contains(f)).collect();
    let mut within = DMatrix::zeros(p, p);
    for t in 0..data.len() {
        let mut curvature = DMatrix::from_column_slice(p, p, data.curvature(t));
        for one in free.iter().filter(|one| data.curvature(t)[**one * p + **one] > 0.0) {
            let column = curvature.column(*one).into_owned();
            curvature -= &column * column.transpose() / column[*one];
        }
        within += curvature;
    }
    let kept = linalg::independent_columns(&within.select_rows(&features).select_columns(&features));
    kept.into_iter().map(|k| features[k]).collect()
}
