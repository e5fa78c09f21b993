//! Draws of a full task covariance and the parameters in turn: how sure its correlations are.

use super::correlations::{CorrelationDraws, Sweep, in_chains};
use crate::error::{Error, Result};
use crate::linalg::{self, normal};
use crate::posterior::{Gibbs, Posterior, TaskPrecision};
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared, Distribution};
use statrs::function::gamma::ln_gamma;

/// Largest strength.
const STRONGEST: f64 = 1e6;

/// `draws` draws of the correlations of Sigma given K up to its scale, and the noise, by a Gibbs sampler over (the mean, the parameters, that scale, the strength of the prior,
/// Sigma).
///
/// The prior is the one under which the structure full is fitted: exp(-nu/2 (log |Sigma| + tr Sigma^-1)) is, as a density of the elements of Omega = Sigma^-1, a
/// Wishart one, so that Sigma ~ inverse-Wishart(nu I, nu + T + 1), whose correlations have the density (1 - R^2)^(nu/2) before the data. With the whitened parameters B
/// of r directions Sigma is inverse-Wishart(nu I + B'B, nu + T + 1 + r), whose mean is the M-step of the fit.
///
/// The scale kappa of K is drawn with Sigma, flat as a standard deviation: at the maximum of both Sigma takes the shape of the few directions that there are and K is too
/// small, so that the same data would seem to say much more of the correlations than they do. Unless it is held the strength is drawn too, the standard deviation of a
/// correlation before the data, (nu + 3)^(-1/2), flat between 0 and 3^(-1/2). Both are drawn with Sigma integrated out, by slices (Neal 2003; [`Scales::log_density`]), the
/// parameters task by task ([`Gibbs`]). A sweep is O(T^3 + T^2 r + T r^2).
///
/// `quadratics` and `prior` are those of the fit, and `strength` where it starts.
///
/// # Errors
/// What [`Posterior::given`] and [`Gibbs::new`] refuse, and a Sigma without an inverse.
pub(crate) fn full_draws(
    quadratics: &Quadratics,
    prior: &Prior,
    (strength, is_held): (f64, bool),
    only: Option<usize>,
    work: (usize, u64),
) -> Result<CorrelationDraws> {
    let tasks = quadratics.len();
    let refused =
        || Error::NotPositiveDefinite { matrix: "the task covariance".into(), remedy: "fit with a larger --prior-strength".into() };
    let sigma = prior.relatedness.covariance(tasks).ok_or_else(refused)?;
    let first = linalg::inverse_of_cholesky(&linalg::cholesky(sigma).ok_or_else(refused)?);
    let start = unrelated(quadratics, prior)?;
    let posterior = start.related();
    let chain = || -> Result<Box<Sweep>> {
        let (mut sampler, mut omega) = (Gibbs::new(posterior)?, first.clone());
        let mut scales = Scales { log_scale: 0.0, log_strength: strength.ln() };
        Ok(Box::new(move |random: &mut ChaCha8Rng| {
            sampler.sweep(TaskPrecision::Dense(&omega), random)?;
            sampler.check()?;
            let deviations = sampler.deviations();
            scales.draw(deviations, is_held, random);
            let mut about = linalg::gram(deviations);
            (0..tasks).for_each(|t| about[(t, t)] += (scales.log_scale + scales.log_strength).exp());
            let freedom = scales.log_strength.exp() + (tasks + 1 + deviations.nrows()) as f64;
            let (sigma, inverse) = inverse_wishart(&about, freedom, random).ok_or_else(refused)?;
            omega = inverse;
            Ok(sigma)
        }))
    };
    // Of a correlation given nu it is 1 / (nu + 3).
    let before = if is_held { (strength + 3.0).recip() } else { 1.0 / 9.0 };
    Ok(in_chains(tasks, only, work, &chain)?.with_prior_variance(before))
}

/// The posterior of unrelated tasks from which a sampler begins: where it starts is forgotten, and they need no joint system. Directions without variance tell nothing.
pub(super) fn unrelated<'q>(quadratics: &'q Quadratics, prior: &Prior) -> Result<Posterior<'q>> {
    let empty: Vec<usize> = (0..prior.factor.ncols()).filter(|k| prior.factor.column(*k).norm() == 0.0).collect();
    let factor = prior.factor.clone().remove_columns_at(&empty);
    Posterior::given(quadratics, &Prior { relatedness: Relatedness::Identity, factor, ..prior.clone() })
}

/// The scale kappa that K and Sigma share, taken as Sigma's, Sigma ~ inverse-Wishart(kappa nu I, nu + T + 1), and the strength nu.
struct Scales {
    log_scale: f64,
    log_strength: f64,
}

impl Scales {
    /// log p(B, log kappa, log nu), Sigma integrated out, up to a constant, by the eigenvalues of B'B (those that are not 0 by its shape): with m = nu + T + 1
    /// T m / 2 log(kappa nu) - (m + r) / 2 log |kappa nu I + B'B| + log Gamma_T((m + r) / 2) - log Gamma_T(m / 2), and the priors.
    fn log_density(&self, (squares, tasks, r): (&DVector<f64>, usize, usize)) -> f64 {
        let (strength, log) = (self.log_strength.exp(), self.log_scale + self.log_strength);
        if strength > STRONGEST {
            return f64::NEG_INFINITY;
        }
        let (own, freedom) = (log.exp(), strength + tasks as f64 + 1.0);
        // Over kappa nu, so that large strengths lose no digits.
        let volume: f64 = squares.iter().map(|square| (square.max(0.0) / own).ln_1p()).sum();
        let gammas: f64 = (0..tasks).map(|i| ln_gamma(0.5 * (freedom + r as f64 - i as f64)) - ln_gamma(0.5 * (freedom - i as f64))).sum();
        let likelihood = gammas - 0.5 * (freedom + r as f64) * volume - 0.5 * (tasks * r) as f64 * log;
        likelihood + 0.5 * self.log_scale + self.log_strength - 1.5 * (strength + 3.0).ln()
    }

    fn draw<R: Rng + ?Sized>(&mut self, deviations: &DMatrix<f64>, is_held: bool, random: &mut R) {
        let (r, tasks) = deviations.shape();
        let squares = if r < tasks { deviations * deviations.transpose() } else { linalg::gram(deviations) };
        let (squares, _) = linalg::symmetric_eigen(&squares);
        let about = (&squares, tasks, r);
        let (log_strength, log_scale) = (self.log_strength, self.log_scale);
        self.log_scale = slice(log_scale, &|log_scale| Scales { log_scale, log_strength }.log_density(about), random);
        if is_held {
            return;
        }
        let log_scale = self.log_scale;
        self.log_strength = slice(log_strength, &|log_strength| Scales { log_scale, log_strength }.log_density(about), random);
        // And along the product, which the parameters know.
        let product = self.log_scale + self.log_strength;
        let along = |log_strength: f64| Scales { log_scale: product - log_strength, log_strength }.log_density(about);
        self.log_strength = slice(self.log_strength, &along, random);
        self.log_scale = product - self.log_strength;
    }
}

/// A number after `from` in a chain whose limit has that log density.
fn slice<R: Rng + ?Sized>(from: f64, log_density: &dyn Fn(f64) -> f64, random: &mut R) -> f64 {
    const WIDTH: f64 = 0.5;
    const MOST_STEPS: usize = 40;
    let level = log_density(from) + random.random::<f64>().ln();
    let is_above = |at: f64| log_density(at) > level;
    let mut low = from - WIDTH * random.random::<f64>();
    let mut high = low + WIDTH;
    let down = (random.random::<f64>() * MOST_STEPS as f64) as usize;
    for _ in 0..down {
        if !is_above(low) {
            break;
        }
        low -= WIDTH;
    }
    for _ in down..MOST_STEPS {
        if !is_above(high) {
            break;
        }
        high += WIDTH;
    }
    loop {
        let there = low + (high - low) * random.random::<f64>();
        if is_above(there) || high - low < 1e-12 {
            return there;
        }
        if there < from { low = there } else { high = there }
    }
}

/// Sigma ~ inverse-Wishart(S, m) and its inverse, by the triangular factor of a Wishart matrix (Bartlett 1933): with S = C C', Sigma = C A^-T A^-1 C'.
pub(super) fn inverse_wishart<R: Rng + ?Sized>(about: &DMatrix<f64>, freedom: f64, random: &mut R) -> Option<(DMatrix<f64>, DMatrix<f64>)> {
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
    use rand::SeedableRng;

    /// Sigma and Omega are each other's inverse, and their means those of the two laws: S / (m - n - 1) and m S^-1.
    #[test]
    fn draws_have_the_means_of_their_law() {
        let about = DMatrix::from_row_slice(3, 3, &[4.0, 1.0, -0.5, 1.0, 3.0, 0.7, -0.5, 0.7, 2.0]);
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let (mut sigma, mut omega) = (DMatrix::zeros(3, 3), DMatrix::zeros(3, 3));
        let (count, freedom) = (40_000, 12.0);
        for _ in 0..count {
            let (own, inverse) = inverse_wishart(&about, freedom, &mut random).unwrap();
            assert!((&own * &inverse - DMatrix::identity(3, 3)).amax() < 1e-9);
            sigma += own;
            omega += inverse;
        }
        let n = f64::from(count);
        assert!((sigma / n - &about / (freedom - 4.0)).amax() < 0.01);
        assert!((omega / n - about.try_inverse().unwrap() * freedom).amax() < 0.1);
    }

    /// Of a normal density with two bounds, its moments.
    #[test]
    fn slices_have_the_density_as_their_limit() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let density = |x: f64| if x < 0.0 { f64::NEG_INFINITY } else { -0.5 * x * x };
        let (mut x, mut sums) = (1.0, [0.0; 2]);
        for _ in 0..100_000 {
            x = slice(x, &density, &mut random);
            sums[0] += x / 1e5;
            sums[1] += x * x / 1e5;
        }
        assert!((sums[0] - (2.0 / std::f64::consts::PI).sqrt()).abs() < 0.015 && (sums[1] - 1.0).abs() < 0.03, "{sums:?}");
    }
}
