//! The log posterior of the hyperparameters about a fit: what K, the noise or dispersion and the strength of a known graph may also be.

use crate::error::Result;
use crate::likelihood::{Approximation, Dispersion, Likelihood, Observations};
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use crate::structure::{Smooth, Structure};
use nalgebra::DMatrix;

/// Step of the differences of slopes, for coordinates of size 1.
const STEP: f64 = 0.02;

/// A function of a point: the coordinates of K that a structure does not hold (L over typical sizes, and the strength of a known graph), then those of
/// the dispersion.
pub(super) struct Hyperparameters<'a> {
    pub likelihood: &'a dyn Likelihood,
    pub structure: &'a dyn Structure,
    pub data: &'a Observations,
    pub prior: Prior,
    pub dispersion: &'a Dispersion,
    pub quadratics: Option<&'a Quadratics>,
    /// Change of a coefficient below which a Gaussian in the place of the posterior stands.
    pub still: f64,
}

/// What is known at a point.
pub(super) struct Place {
    pub log_posterior: f64,
    pub prior: Prior,
    pub dispersion: Dispersion,
    pub found: Approximation,
}

impl Hyperparameters<'_> {
    fn smooth(&self) -> Option<&dyn Smooth> {
        self.structure.smooth()
    }

    /// How many coordinates are of the prior.
    pub(super) fn own(&self) -> usize {
        self.smooth().map_or(0, |smooth| smooth.carried(&self.prior))
    }

    /// How many coordinates all tasks share; those after them are blocks of one task's.
    pub(super) fn shared(&self) -> usize {
        self.own() + if self.dispersion.is_each() { 0 } else { self.dispersion.values.len() }
    }

    /// Where the fit is.
    pub(super) fn point(&self) -> Vec<f64> {
        let own = self.smooth().map_or(Vec::new(), |smooth| smooth.coordinates(&self.prior));
        own.into_iter().take(self.own()).chain(self.likelihood.coordinates(self.dispersion)).collect()
    }

    fn at(&self, point: &[f64]) -> Option<(Prior, Dispersion)> {
        let smooth = self.smooth()?;
        let (own, noise) = point.split_at(self.own());
        let rest = smooth.coordinates(&self.prior).into_iter().skip(own.len());
        let prior = smooth.at(&own.iter().copied().chain(rest).collect::<Vec<_>>(), &self.prior)?;
        Some((prior, self.likelihood.at(noise, self.dispersion)))
    }

    /// The E-step there; none where there is no such prior or no posterior.
    pub(super) fn place(&self, point: &[f64]) -> Option<Place> {
        let (prior, dispersion) = self.at(point)?;
        let found = self.likelihood.posterior(self.data, &dispersion, &prior, (self.quadratics, self.still)).ok()?;
        let log_prior = found.posterior.log_mean_density() + self.structure.log_prior(&prior) + self.likelihood.log_prior(&dispersion);
        let log_posterior = found.log_likelihood + log_prior;
        log_posterior.is_finite().then_some(Place { log_posterior, prior, dispersion, found })
    }

    pub(super) fn prior_at(&self, point: &[f64]) -> Option<Prior> {
        Some(self.at(point)?.0)
    }

    /// Log density of the reference prior there; none for mirror images of other priors.
    pub(super) fn reference(&self, prior: &Prior) -> Option<f64> {
        self.smooth()?.reference(prior)
    }

    /// d log posterior / d coordinates.
    pub(super) fn slope(&self, place: &Place) -> Result<Vec<f64>> {
        let Some(smooth) = self.smooth() else { return Ok(Vec::new()) };
        let along = |posterior: &Posterior| smooth.slope(posterior)[..self.own()].to_vec();
        let mut slope = self.likelihood.slope_along(self.data, &place.found, &place.dispersion, &along)?;
        slope.extend(self.likelihood.slope(self.data, &place.found, &place.dispersion)?);
        Ok(slope)
    }

    /// -d slope / d coordinate over all coordinates at a point, by central differences of slopes: 2 E-steps for each that tasks share, and 2 for each number of
    /// a task's block, moved in all tasks at once, for a task's own dispersion has next to no effect on the slope of another's. None where a step
    /// leads nowhere.
    pub(super) fn curvature(&self, point: &[f64]) -> Option<DMatrix<f64>> {
        let (size, shared) = (point.len(), self.shared());
        let block = if self.dispersion.is_each() { self.dispersion.common.len() } else { 0 };
        let mut curvature = DMatrix::zeros(size, size);
        let moved = |which: &dyn Fn(usize) -> bool, step: f64| {
            let there: Vec<f64> = point.iter().enumerate().map(|(k, x)| if which(k) { x + step } else { *x }).collect();
            self.slope(&self.place(&there)?).ok()
        };
        let change = |which: &dyn Fn(usize) -> bool, step: f64| {
            let (up, down) = (moved(which, step)?, moved(which, -step)?);
            Some(up.iter().zip(&down).map(|(up, down)| (down - up) / (2.0 * step)).collect::<Vec<f64>>())
        };
        for k in 0..shared {
            let own = change(&|j| j == k, STEP * (1.0 + point[k].abs()))?;
            own.iter().enumerate().for_each(|(j, value)| {
                curvature[(j, k)] = *value;
                if j >= shared {
                    curvature[(k, j)] = *value;
                }
            });
        }
        for first in 0..block {
            let own = change(&|j| j >= shared && (j - shared) % block == first, STEP)?;
            for k in (shared..size).filter(|k| (k - shared) % block == first) {
                let start = k - first;
                (start..start + block).for_each(|j| curvature[(j, k)] = own[j]);
            }
        }
        crate::linalg::symmetrise(&mut curvature);
        curvature.iter().all(|value| value.is_finite()).then_some(curvature)
    }
}
