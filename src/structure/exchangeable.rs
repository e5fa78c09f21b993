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
        Some(self)
    }
}

impl Smooth for Exchangeable {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        self.space.coordinates(prior)
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        Some(self.space.at(point, like))
    }

    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        self.space.slope(posterior)
    }

    fn reference(&self, prior: &Prior) -> Option<f64> {
        self.space.reference(prior)
    }

    fn snap(&self, prior: &Prior) -> Option<Prior> {
        self.space.snap(prior)
    }

    fn release(&self, posterior: &Posterior) -> Option<Prior> {
        self.space.release(posterior)
    }
}
