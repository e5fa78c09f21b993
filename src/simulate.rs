//! Tables drawn from a prior with the truth beside them, for studies and tests.

use crate::error::{Error, Result};
use crate::linalg;
use crate::prior::{Mean, Prior};
use crate::tasks::Rows;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Rows and the parameters they were drawn from.
#[derive(Clone, Debug)]
pub struct Simulated {
    /// `rows` rows a task, features x1..xd standard normal; there is no intercept.
    pub rows: Rows,
    /// The true parameters, T x d.
    pub parameters: DMatrix<f64>,
}

/// Draws parameters of `tasks` tasks from `prior` (its mean must be given) and `rows` rows of each with Gaussian noise;
/// the same for the same seed.
///
/// ```
/// use cognate::{Mean, Prior, Relatedness, simulate};
/// use nalgebra::{DMatrix, DVector};
/// let prior = Prior {
///     mean: Mean::Given(DVector::zeros(2)), mean_features: vec![0, 1], varying: vec![0, 1], free: vec![],
///     relatedness: Relatedness::Identity, factor: DMatrix::identity(2, 2),
/// };
/// let drawn = simulate::gaussian(&prior, 3, 10, 1.0, 7)?;
/// assert_eq!((drawn.rows.len(), drawn.parameters.nrows()), (30, 3));
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] without a given mean, [`Error::NotPositiveDefinite`] for a relatedness that is no covariance.
pub fn gaussian(prior: &Prior, tasks: usize, rows: usize, noise_sd: f64, seed: u64) -> Result<Simulated> {
    let Mean::Given(mean) = &prior.mean else {
        return Err(Error::Arguments("to simulate, give the prior a mean".into()));
    };
    let d = prior.mean_features.iter().chain(&prior.varying).copied().max().map_or(0, |last| last + 1);
    let sigma = prior
        .relatedness
        .covariance(tasks)
        .ok_or_else(|| Error::NotPositiveDefinite { matrix: "the task precision".into(), remedy: "make its edges weaker".into() })?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let z = DMatrix::from_fn(tasks, prior.factor.ncols(), |_, _| normal());
    let deviations = linalg::semidefinite_factor(&sigma) * z * prior.factor.transpose();
    let mut parameters = DMatrix::zeros(tasks, d);
    for t in 0..tasks {
        prior.mean_features.iter().zip(mean.iter()).for_each(|(f, value)| parameters[(t, *f)] += value);
        prior.varying.iter().enumerate().for_each(|(k, f)| parameters[(t, *f)] += deviations[(t, k)]);
    }
    let features: Vec<String> = (1..=d).map(|k| format!("x{k}")).collect();
    let mut table = Rows::new("y", &features);
    for t in 0..tasks {
        let w: DVector<f64> = parameters.row(t).transpose();
        let name = format!("t{}", t + 1);
        for _ in 0..rows {
            let x = DVector::from_fn(d, |_, _| normal());
            let y = x.dot(&w) + noise_sd * normal();
            table.push(&name, x.as_slice(), y, 1.0)?;
        }
    }
    Ok(Simulated { rows: table, parameters })
}
