//! The parameters of all tasks with their standard deviations, and in which features tasks differ most.

use crate::model::Fit;
use rayon::prelude::*;

/// Estimates and standard deviations of every task and feature.
pub(crate) struct Parameters<'f> {
    fit: &'f Fit,
    /// Of a task.
    each: Vec<(Vec<f64>, Vec<f64>)>,
}

impl<'f> Parameters<'f> {
    /// O(T d^3).
    pub(crate) fn of(fit: &'f Fit) -> Self {
        let each = (0..fit.tasks().len())
            .into_par_iter()
            .map(|t| {
                let sds = fit.covariance(t).diagonal().iter().map(|v| v.max(0.0).sqrt()).collect();
                (fit.coefficients(t).iter().copied().collect(), sds)
            })
            .collect();
        Parameters { fit, each }
    }

    pub(crate) fn estimate(&self, task: usize, feature: usize) -> f64 {
        self.each[task].0[feature]
    }

    pub(crate) fn sd(&self, task: usize, feature: usize) -> f64 {
        self.each[task].1[feature]
    }

    /// The common mean; none where tasks have several or none.
    pub(crate) fn mean(&self, feature: usize) -> Option<f64> {
        let prior = self.fit.prior();
        let has_one_mean = !prior.groups.are_several() && prior.mixture.is_none();
        (has_one_mean && prior.mean_features.contains(&feature)).then(|| self.fit.mean()[feature])
    }

    /// So many features, in their order: those in which tasks differ most against their uncertainty, of these (of all where these are none).
    pub(crate) fn differing(&self, count: usize, among: &dyn Fn(&usize) -> bool) -> Vec<usize> {
        let (tasks, all) = (self.each.len(), self.fit.tasks().design().len());
        let mut features: Vec<usize> = (0..all).filter(among).collect();
        if features.is_empty() {
            features = (0..all).collect();
        }
        if count < features.len() {
            let spread = |f: &usize| {
                let mean = self.each.iter().map(|own| own.0[*f]).sum::<f64>() / tasks as f64;
                let terms = self.each.iter().filter(|own| own.1[*f] > 0.0).map(|own| ((own.0[*f] - mean) / own.1[*f]).powi(2));
                terms.sum::<f64>()
            };
            let spreads: Vec<f64> = features.iter().map(spread).collect();
            features.sort_by(|a, b| spreads[*b].total_cmp(&spreads[*a]).then(a.cmp(b)));
            features.truncate(count);
            features.sort_unstable();
        }
        features
    }
}
