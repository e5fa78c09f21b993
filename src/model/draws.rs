//! Draws of a fit's parameters from their posterior.

use super::Fit;
use crate::error::Result;
use crate::linalg;
use crate::posterior::Posterior;
use nalgebra::DMatrix;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

impl Fit {
    /// `draws` joint posterior draws of all parameters (each T x d) given the hyperparameters, the same for the same seed. Intercepts of targets in
    /// units of their own are what they are at the drawn slopes.
    ///
    /// # Errors
    /// What [`Posterior::given`](crate::Posterior::given) refuses.
    pub fn sample(&self, draws: usize, seed: u64) -> Result<Vec<DMatrix<f64>>> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        self.with_posterior(|posterior| {
            (0..draws)
                .map(|_| {
                    let mut draw = self.drawn_parameters(posterior, &mut random)?;
                    for t in 0..self.tasks.len() {
                        let own = self.coordinates.of_task(t).parameters(&draw.row(t).transpose());
                        draw.row_mut(t).copy_from(&own.transpose());
                    }
                    Ok(draw)
                })
                .collect()
        })?
    }

    /// One of them in fitted coordinates, from the posterior made again.
    pub(crate) fn drawn_parameters<R: Rng + ?Sized>(&self, posterior: &Posterior, random: &mut R) -> Result<DMatrix<f64>> {
        let mut draw = posterior.sample(random)?;
        for t in 0..self.tasks.len() {
            if let Some((means, _)) = self.tasks.left_intercept(t, &self.coordinates) {
                draw[(t, 0)] -= draw.row(t).transpose().dot(&means);
            }
        }
        Ok(draw)
    }

    /// A root of the covariance of the means of all groups, one after another, in fitted coordinates.
    pub(crate) fn root_of_means(&self) -> DMatrix<f64> {
        linalg::semidefinite_factor(&self.mean_covariance)
    }
}
