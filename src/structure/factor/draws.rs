//! Draws of loadings, uniquenesses and the parameters in turn: how sure the correlations are that factors make.

use super::{Parts, STRENGTH};
use crate::error::{Error, Result};
use crate::linalg::{self, normal};
use crate::posterior::{Gibbs, TaskPrecision};
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use crate::structure::correlations::{CorrelationDraws, Sweep, in_chains};
use crate::structure::wishart::{inverse_wishart, unrelated};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

/// Draws by which the prior is known.
const OF_PRIOR: usize = 4_000;

/// `draws` draws of the correlations of Sigma = Lambda Lambda' + D given K up to its scale, the noise and the number of factors of the fit.
///
/// With h_t = lambda_t / sqrt(D_t), the loadings in units of a task's own part, h_t ~ N(0, V), V ~ inverse-Wishart(I, k), long-tailed, and D_t / kappa ~ inverse gamma(2, 2), as the
/// fit has uniquenesses; kappa, the scale that K shares, is flat as a standard deviation. The size prior of the fit stands for directions that are integrated out, which
/// here are drawn. Given the whitened parameters B (r x T, drawn by [`Gibbs`] with the factors integrated out) factors are normal, (lambda_t, D_t) normal-inverse-gamma,
/// V inverse-Wishart and kappa gamma. A sweep is O(T^2 (r + k)).
///
/// # Errors
/// What [`Posterior::given`](crate::Posterior::given) and [`Gibbs::new`] refuse.
pub(crate) fn factor_draws(quadratics: &Quadratics, prior: &Prior, only: Option<usize>, work: (usize, u64)) -> Result<CorrelationDraws> {
    let tasks = quadratics.len();
    let refused =
        || Error::NotPositiveDefinite { matrix: "the drawn covariance of the factors".into(), remedy: "fit with a smaller --rank".into() };
    let first = Parts::of(prior).ok_or_else(refused)?;
    let k = first.loadings.nrows();
    let start = unrelated(quadratics, prior)?;
    let posterior = start.related();
    let shape = 0.5 * STRENGTH;
    let chain = || -> Result<Box<Sweep>> {
        let mut sampler = Gibbs::new(posterior)?;
        let (mut loadings, mut own) = (first.loadings.clone(), first.uniquenesses.clone());
        let mut scale = 1.0;
        Ok(Box::new(move |random: &mut ChaCha8Rng| {
            // Omega = D^-1 - D^-1 Lambda P^-1 Lambda' D^-1 with P = I + Lambda' D^-1 Lambda.
            let weighted = DMatrix::from_fn(k, tasks, |j, t| loadings[(j, t)] / own[t]);
            let mut inner = &weighted * loadings.transpose();
            (0..k).for_each(|j| inner[(j, j)] += 1.0);
            let root = linalg::cholesky(inner).ok_or_else(refused)?;
            let mut half = weighted.clone();
            linalg::solve_lower_matrix(&root, &mut half);
            let mut omega = -linalg::gram(&half);
            (0..tasks).for_each(|t| omega[(t, t)] += own[t].recip());
            sampler.sweep(TaskPrecision::Dense(&omega), random)?;
            sampler.check()?;
            let deviations = sampler.deviations();
            let r = deviations.nrows();
            // Z', k x r.
            let mut factors = &weighted * deviations.transpose();
            linalg::solve_lower_matrix(&root, &mut factors);
            factors.iter_mut().for_each(|value| *value += normal(random));
            let factors = solve_upper(&root, &factors);
            // V given the loadings.
            let scaled = DMatrix::from_fn(k, tasks, |j, t| loadings[(j, t)] / own[t].sqrt());
            let about = &scaled * scaled.transpose() + DMatrix::identity(k, k);
            let (_, precision) = inverse_wishart(&about, (k + tasks) as f64, random).ok_or_else(refused)?;
            // Loadings and uniquenesses of each task, then the scale of these.
            let root = linalg::cholesky(&factors * factors.transpose() + precision).ok_or_else(refused)?;
            let mut pulls = &factors * deviations;
            linalg::solve_lower_matrix(&root, &mut pulls);
            let mut rates = 0.0;
            for t in 0..tasks {
                let rest = 0.5 * (deviations.column(t).norm_squared() - pulls.column(t).norm_squared()).max(0.0);
                let gamma = Gamma::new(shape + 0.5 * r as f64, 1.0 / (scale * shape + rest)).map_err(|_| refused())?;
                own[t] = 1.0 / gamma.sample(random);
                rates += shape / own[t];
                let sd = own[t].sqrt();
                pulls.column_mut(t).iter_mut().for_each(|value| *value += sd * normal(random));
            }
            loadings = solve_upper(&root, &pulls);
            scale = Gamma::new(shape * tasks as f64 + 0.5, 1.0 / rates).map_err(|_| refused())?.sample(random);
            let mut sigma = linalg::gram(&loadings);
            (0..tasks).for_each(|t| sigma[(t, t)] += own[t]);
            Ok(sigma)
        }))
    };
    Ok(in_chains(tasks, only, work, &chain)?.with_prior_variance(prior_variance(k).ok_or_else(refused)?))
}

/// L'^-1 right.
fn solve_upper(root: &DMatrix<f64>, right: &DMatrix<f64>) -> DMatrix<f64> {
    let mut solved = right.clone();
    linalg::solve_lower_transpose(root.as_slice(), root.nrows(), solved.as_mut_slice());
    solved
}

/// Variance of a correlation before the data: h_s'h_t / sqrt((1 + h_s'h_s)(1 + h_t'h_t)), by draws that are always the same.
fn prior_variance(k: usize) -> Option<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut sum = 0.0;
    for _ in 0..OF_PRIOR {
        let (v, _) = inverse_wishart(&DMatrix::identity(k, k), k as f64, &mut random)?;
        let root = linalg::cholesky(v)?;
        let mut drawn = || &root * DVector::from_fn(k, |_, _| normal(&mut random));
        let (first, second) = (drawn(), drawn());
        sum += first.dot(&second).powi(2) / ((1.0 + first.norm_squared()) * (1.0 + second.norm_squared()));
    }
    Some(sum / OF_PRIOR as f64)
}
