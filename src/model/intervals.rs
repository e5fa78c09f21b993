//! What intervals carry: the uncertainty of the hyperparameters too, or that of the parameters alone.

use super::Fit;
use super::hyperparameters::Hyperparameters;
use super::mixture::{Estimates, Mixture, integrate, upright};
use crate::likelihood::{Approximation, Likelihood, Observations};
use crate::prior::{Mean, Prior};
use crate::structure::Structure;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// What intervals carry beside the uncertainty of the parameters given the hyperparameters (K, the noise or dispersion).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intervals {
    /// That of the hyperparameters too: posteriors are averaged over them.
    #[default]
    Full,
    /// Nothing: hyperparameters are taken as known, as lme4 does.
    PlugIn,
}

/// What the intervals of a fit carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    pub intervals: Intervals,
    /// Why not more, where more was asked for.
    pub reason: Option<String>,
    pub average: Option<Average>,
}

impl Default for Carried {
    fn default() -> Self {
        Carried { intervals: Intervals::PlugIn, reason: None, average: None }
    }
}

/// Averages over the hyperparameters, in fitted coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Average {
    /// Points that the average is worth.
    pub effective_points: f64,
    /// Covariances of the deviations u_t about their estimates, d^2 x T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub deviations: DMatrix<f64>,
    /// K, of a Sigma of trace T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub feature_covariance: DMatrix<f64>,
    /// Each value of the dispersion.
    pub dispersion: Vec<f64>,
}

/// What a fit was made by and from.
pub(super) struct Origin<'a> {
    pub likelihood: &'a dyn Likelihood,
    pub structure: &'a dyn Structure,
    pub data: &'a Observations,
    /// As it was climbed.
    pub prior: Prior,
    pub found: &'a Approximation,
}

impl Fit {
    /// Widens the covariances of a fit by the uncertainty of its hyperparameters.
    pub(super) fn carry(&mut self, intervals: Intervals, origin: Origin) {
        let reason = match intervals {
            Intervals::PlugIn => None,
            Intervals::Full => match self.averaged(&origin) {
                Ok(mixture) => {
                    self.covariances = mixture.covariances;
                    self.mean_covariance = mixture.mean_covariance;
                    self.carried = Carried { intervals, reason: None, average: Some(mixture.average) };
                    return;
                }
                Err(reason) => Some(reason),
            },
        };
        self.carried = Carried { intervals: Intervals::PlugIn, reason, average: None };
    }

    fn averaged(&self, origin: &Origin) -> Result<Mixture, String> {
        let target = Hyperparameters {
            likelihood: origin.likelihood,
            structure: origin.structure,
            data: origin.data,
            prior: upright(with_integrated_mean(origin.prior.clone())),
            dispersion: &self.dispersion,
            quadratics: self.sites.is_some().then_some(&origin.found.quadratics),
        };
        let (p, tasks) = self.coefficients.shape();
        let mut deviations = DMatrix::zeros(p, tasks);
        (0..tasks).for_each(|t| deviations.set_column(t, &origin.found.posterior.deviation(t).0));
        let estimates = Estimates { coefficients: &self.coefficients, deviations, mean: &self.mean };
        integrate(&target, &estimates).ok_or_else(|| "their log posterior has no maximum near the estimates".into())
    }

    /// What intervals carry.
    pub fn intervals(&self) -> Intervals {
        self.carried.intervals
    }
}

/// The prior with the mean integrated instead of estimated.
fn with_integrated_mean(prior: Prior) -> Prior {
    match prior.mean {
        Mean::Profiled | Mean::Estimated(_) if !prior.mean_features.is_empty() => Prior { mean: Mean::Integrated, ..prior },
        _ => prior,
    }
}
