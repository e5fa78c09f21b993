//! Draws of a full task covariance and the parameters in turn: how sure its correlations are.

use super::correlations::CorrelationDraws;
use crate::error::{Error, Result};
use crate::linalg::{self, normal};
use crate::posterior::{Gibbs, Posterior, TaskPrecision};
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::DMatrix;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution};
use rayon::prelude::*;

/// Chains side by side, whatever the thread count.
const CHAINS: usize = 4;

/// Work between two draws that are kept: sweeps of a task covariance cost about its cube, and there are at most so many.
const WORK: usize = 4_000_000;
const MOST_SWEEPS: usize = 10;

/// `draws` draws of the correlations of Sigma given K up to its scale, and the noise, by a Gibbs sampler over (the mean, the parameters, that scale, Sigma).
///
/// The prior is the one under which the structure full is fitted: exp(-nu/2 (log |Sigma| + tr Sigma^-1)) is, as a density of the elements of Omega = Sigma^-1, a
/// Wishart one, so that Sigma ~ inverse-Wishart(nu I, nu + T + 1), whose correlations have the density (1 - R^2)^(nu/2) before the data. With the whitened parameters B
/// of r directions Sigma is inverse-Wishart(nu I + B'B, nu + T + 1 + r), whose mean is the M-step of the fit.
///
/// The scale kappa of K is drawn with Sigma, flat as a standard deviation: at the maximum of both Sigma takes the shape of the few directions that there are and K is too
/// small, so that the same data would seem to say much more of the correlations than they do. As Sigma's scale, Sigma ~ inverse-Wishart(kappa nu I, nu + T + 1), it is drawn
/// with Sigma integrated out, p(B | kappa) ~ kappa^(T (nu + T + 1) / 2) |kappa nu I + B'B|^(-(nu + T + 1 + r) / 2), by slices (Neal 2003). The parameters are drawn task
/// by task ([`Gibbs`]). A sweep is O(T^3 + T^2 r + T r^2).
///
/// `quadratics` and `prior` are those of the fit, its strength is nu.
///
/// # Errors
/// What [`Posterior::given`] and [`Gibbs::new`] refuse, and a Sigma without an inverse.
pub(crate) fn full_draws(
    quadratics: &Quadratics,
    prior: &Prior,
    strength: f64,
    only: Option<usize>,
    (draws, seed): (usize, u64),
) -> Result<CorrelationDraws> {
    let tasks = quadratics.len();
    let refused = || Error::NotPositiveDefinite {
        matrix: "the task covariance of the fit".into(),
        remedy: "fit with a larger --prior-strength".into(),
    };
    let sigma = prior.relatedness.covariance(tasks).ok_or_else(refused)?;
    let omega = linalg::inverse_of_cholesky(&linalg::cholesky(sigma).ok_or_else(refused)?);
    let empty: Vec<usize> = (0..prior.factor.ncols()).filter(|k| prior.factor.column(*k).norm() == 0.0).collect();
    // Where it starts is forgotten, and unrelated tasks need no joint system.
    let factor = prior.factor.clone().remove_columns_at(&empty);
    let start = Posterior::given(quadratics, &Prior { relatedness: Relatedness::Identity, factor, ..prior.clone() })?;
    let posterior = start.related();
    let each = draws.div_ceil(CHAINS);
    let thin = (WORK / tasks.pow(3).max(1)).clamp(1, MOST_SWEEPS);
    let mut all = CorrelationDraws::new(tasks, only, each * CHAINS)?.with_prior_variance((strength + 3.0).recip());
    let chains = (0..CHAINS as u64).into_par_iter().map(|chain| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(chain + 1);
        let mut own = CorrelationDraws::new(tasks, only, each)?;
        let mut sampler = Gibbs::new(posterior)?;
        let (mut omega, mut log_scale) = (omega.clone(), 0.0);
        for sweep in 0..(each / 2 + each) * thin {
            sampler.sweep(TaskPrecision::Dense(&omega), &mut random)?;
            sampler.check()?;
            let deviations = sampler.deviations();
            log_scale = draw_log_scale(log_scale, strength, deviations, &mut random);
            let mut about = linalg::gram(deviations);
            (0..tasks).for_each(|t| about[(t, t)] += log_scale.exp() * strength);
            let freedom = strength + (tasks + 1 + deviations.nrows()) as f64;
            let drawn = draw(&about, freedom, &mut random).ok_or_else(refused)?;
            omega = drawn.1;
            if sweep >= each / 2 * thin && (sweep + 1) % thin == 0 {
                let sigma = drawn.0;
                own.push(sigma.diagonal().as_slice(), &|t| sigma.column(t).iter().copied().collect());
            }
        }
        Ok(own)
    });
    chains.collect::<Result<Vec<_>>>()?.into_iter().for_each(|own| all.append(own));
    Ok(all)
}

/// The logarithm of the scale of Sigma given the whitened parameters, Sigma integrated out.
fn draw_log_scale<R: Rng + ?Sized>(from: f64, strength: f64, deviations: &DMatrix<f64>, random: &mut R) -> f64 {
    const WIDTH: f64 = 0.5;
    const MOST_STEPS: usize = 40;
    let (r, tasks) = deviations.shape();
    let squares = if r < tasks { deviations * deviations.transpose() } else { linalg::gram(deviations) };
    let (squares, _) = linalg::symmetric_eigen(&squares);
    let freedom = strength + tasks as f64 + 1.0;
    let rest = (tasks - squares.len()) as f64;
    let density = |log: f64| {
        let own = strength * log.exp();
        let volume = rest * own.ln() + squares.iter().map(|square| (own + square.max(0.0)).ln()).sum::<f64>();
        0.5 * (tasks as f64 * freedom + 1.0) * log - 0.5 * (freedom + r as f64) * volume
    };
    let level = density(from) + random.random::<f64>().ln();
    let mut low = from - WIDTH * random.random::<f64>();
    let mut high = low + WIDTH;
    for _ in 0..MOST_STEPS {
        if density(low) <= level {
            break;
        }
        low -= WIDTH;
    }
    for _ in 0..MOST_STEPS {
        if density(high) <= level {
            break;
        }
        high += WIDTH;
    }
    loop {
        let there = low + (high - low) * random.random::<f64>();
        if density(there) > level || high - low < 1e-12 {
            return there;
        }
        if there < from { low = there } else { high = there }
    }
}

/// Sigma ~ inverse-Wishart(S, m) and its inverse, by the triangular factor of a Wishart matrix (Bartlett 1933): with S = C C', Sigma = C A^-T A^-1 C'.
fn draw<R: Rng + ?Sized>(about: &DMatrix<f64>, freedom: f64, random: &mut R) -> Option<(DMatrix<f64>, DMatrix<f64>)> {
    let n = about.nrows();
    let root = linalg::cholesky(about.clone())?;
    let mut triangle = DMatrix::zeros(n, n);
    for j in 0..n {
        triangle[(j, j)] = ChiSquared::new(freedom - j as f64).ok()?.sample(random).sqrt();
        (j + 1..n).for_each(|i| triangle[(i, j)] = normal(random));
    }
    let mut half = root.transpose();
    linalg::solve_lower_matrix(&triangle, &mut half);
    let mut other = &root * &triangle;
    linalg::solve_cholesky(&root, &mut other);
    Some((linalg::gram(&half), linalg::gram(&other.transpose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sigma and Omega are each other's inverse, and their means those of the two laws: S / (m - n - 1) and m S^-1.
    #[test]
    fn draws_have_the_means_of_their_law() {
        let about = DMatrix::from_row_slice(3, 3, &[4.0, 1.0, -0.5, 1.0, 3.0, 0.7, -0.5, 0.7, 2.0]);
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let (mut sigma, mut omega) = (DMatrix::zeros(3, 3), DMatrix::zeros(3, 3));
        let (count, freedom) = (40_000, 12.0);
        for _ in 0..count {
            let (own, inverse) = draw(&about, freedom, &mut random).unwrap();
            assert!((&own * &inverse - DMatrix::identity(3, 3)).amax() < 1e-9);
            sigma += own;
            omega += inverse;
        }
        let n = f64::from(count);
        assert!((sigma / n - &about / (freedom - 4.0)).amax() < 0.01);
        assert!((omega / n - about.try_inverse().unwrap() * freedom).amax() < 0.1);
    }
}
