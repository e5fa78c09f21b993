//! Exchangeable tasks, Sigma = I: the random-effects model, between pooling and no sharing by as much as the data say.

use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::{Setting, Smooth, Structure};
use crate::error::Result;
use crate::likelihood::Dispersion;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};

/// u_t ~ N(0, K) independently; K by maximum (or restricted) likelihood.
///
/// ```
/// use cognate::{Exchangeable, FeatureCovariance, Structure};
/// assert_eq!(Exchangeable::new(FeatureCovariance::Full).name(), "exchangeable");
/// ```
#[derive(Clone, Debug)]
pub struct Exchangeable {
    space: FactorSpace,
}

impl Exchangeable {
    /// With K of that shape.
    pub fn new(covariance: FeatureCovariance) -> Self {
        Exchangeable { space: FactorSpace::new(covariance) }
    }
}

impl Structure for Exchangeable {
    fn name(&self) -> &'static str {
        "exchangeable"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let prior = setting.prior(setting.mean.clone(), Relatedness::Identity, self.space.start(setting));
        Ok((prior, None))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        Ok(self.space.step(posterior))
    }

    fn parameters(&self, prior: &Prior) -> usize {
        self.space.len(prior)
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}
