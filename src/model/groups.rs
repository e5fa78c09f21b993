//! What a fit says of each group of tasks: its mean, and its family with what that learned.

use super::Fit;
use crate::error::{Error, Result};
use crate::likelihood::{Family, family};
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::Prior;
use nalgebra::{DMatrix, DVector};
use std::sync::Arc;

impl Fit {
    /// The family of a group of tasks at a block of its dispersion; none for the Gaussian and families of a user's own.
    pub(super) fn family_at(&self, group: usize, block: &[f64]) -> Option<Arc<dyn Family>> {
        let family = self.plain_family(group)?;
        // A block of no numbers says something too: two levels have no gap.
        Some(if family.dispersion().is_empty() { family } else { family.with_dispersion(block).unwrap_or(family) })
    }

    /// The family of a group at no dispersion of the fit's.
    pub(super) fn plain_family(&self, group: usize) -> Option<Arc<dyn Family>> {
        family(self.families.get(group).unwrap_or(&self.family), &[]).filter(|_| self.inference.is_some())
    }

    /// The family of a row of a task, or of a new task of a group, at its dispersion; none for the Gaussian.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a family of a user's own.
    pub(crate) fn family_of_row(&self, (number, group): (Option<usize>, usize)) -> Result<Option<Arc<dyn Family>>> {
        if self.inference.is_none() {
            return Ok(None);
        }
        let block = number.map_or_else(|| self.dispersion.common_block(group), |t| self.dispersion.block(t));
        self.family_at(group, block).map(Some).ok_or_else(|| {
            let name = self.families.get(group).unwrap_or(&self.family);
            Error::Arguments(format!("'{name}' is no family of cognate's; make predictions from Fit::coefficients and Fit::covariance"))
        })
    }

    /// Noise variance of a Gaussian row of weight 1 of a task, or of a new one, in fitted units.
    pub(crate) fn noise_of_row(&self, number: Option<usize>) -> f64 {
        number.map_or_else(|| self.dispersion.common_variance(), |t| self.dispersion.variance(t))
    }

    /// Name of the family of a task.
    pub fn family_of(&self, task: usize) -> &str {
        match self.families.get(self.tasks.group(task)).unwrap_or(&self.family).as_str() {
            // Row by row it has a name of its own, for model files.
            "normal" => "gaussian",
            other => other,
        }
    }

    /// The dispersion of the family of a task, with the names of its numbers; empty for the Gaussian (see [`Fit::noise_variance`]) and
    /// families without one.
    pub fn family_dispersion(&self, task: usize) -> Vec<(String, f64)> {
        let block = self.dispersion.block(task);
        let Some(family) = self.family_at(self.tasks.group(task), block) else { return Vec::new() };
        family.dispersion_names().into_iter().zip(block.iter().copied()).collect()
    }

    /// The numbers of the dispersion that tasks share, in their order, of several families with the name of the group.
    pub(super) fn dispersion_names(&self) -> Vec<String> {
        let groups = self.tasks.groups();
        let of_group = |g: usize| {
            let names = self.tasks.members(g).next().map_or_else(Vec::new, |t| self.family_dispersion(t));
            names.into_iter().map(move |(name, _)| groups.get(g).map_or_else(|| name.clone(), |group| format!("{group} {name}")))
        };
        (0..groups.len().max(1)).flat_map(of_group).collect()
    }

    /// Common mean of every feature, 0 for those without one; of several groups of tasks that of the first.
    pub fn mean(&self) -> DVector<f64> {
        self.mean_of_group(0)
    }

    /// Mean of every feature in a group of tasks ([`Tasks::groups`](crate::Tasks::groups)).
    ///
    /// # Panics
    /// For a group that there is not.
    pub fn mean_of_group(&self, group: usize) -> DVector<f64> {
        if self.prior.mean_features.is_empty() {
            return DVector::zeros(self.tasks.design().len());
        }
        self.coordinates.parameters(&self.fitted_mean(group))
    }

    /// Mean of a group in fitted coordinates; 0 for features without one.
    pub(crate) fn fitted_mean(&self, group: usize) -> DVector<f64> {
        let p = self.tasks.design().len();
        self.mean.rows(group * p, p).into_owned()
    }

    /// Covariance of [`Fit::mean`], with [`Intervals::Full`](crate::Intervals) that of the hyperparameters included.
    pub fn mean_covariance(&self) -> DMatrix<f64> {
        self.mean_covariance_of_group(0)
    }

    /// Covariance of [`Fit::mean_of_group`].
    ///
    /// # Panics
    /// For a group that there is not.
    pub fn mean_covariance_of_group(&self, group: usize) -> DMatrix<f64> {
        let map = self.coordinates.to_original();
        &map * self.fitted_mean_covariance(group) * map.transpose()
    }

    pub(super) fn fitted_mean_covariance(&self, group: usize) -> DMatrix<f64> {
        let p = self.tasks.design().len();
        self.mean_covariance.view((group * p, group * p), (p, p)).into_owned()
    }
}

/// The means of all groups and their covariance over all features (the posterior numbers them without the free ones).
pub(super) fn expand_mean(posterior: &Posterior, prior: &Prior, p: usize) -> (DVector<f64>, DMatrix<f64>) {
    let kept: Vec<usize> = (0..p).filter(|f| !prior.free.contains(f)).collect();
    let groups = prior.groups.len();
    let mut mean = DVector::zeros(p * groups);
    for g in 0..groups {
        kept.iter().zip(posterior.mean_of_group(g).iter()).for_each(|(f, value)| mean[g * p + f] = *value);
    }
    let places: Vec<usize> = (0..groups).flat_map(|g| prior.mean_features.iter().map(move |f| g * p + f)).collect();
    let mut covariance = DMatrix::zeros(p * groups, p * groups);
    linalg::place(&mut covariance, (&places, &places), posterior.mean_covariance());
    (mean, covariance)
}
