//! Few factors that tasks share and what each has for itself: relatedness that grows with the number of tasks and not with its square.

mod directions;
mod draws;
#[cfg(test)]
mod tests;

use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::{Information, Setting, Sharing, Smooth, Structure};
use crate::error::Result;
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use directions::Directions;
pub(crate) use draws::factor_draws;
use nalgebra::{DMatrix, DVector};

/// Prior strength of the uniquenesses where nothing is said, in observations.
const STRENGTH: f64 = 4.0;

/// Sum of squared loadings below which a factor is none.
const NOTHING: f64 = 0.01;

/// Sigma = Lambda Lambda' + diag(D), T x k loadings Lambda and uniquenesses D: factor analysis of the tasks' deviations.
///
/// First loadings and uniquenesses are those of highest posterior density under a prior that leaves nothing of factors as weak as chance makes them, so
/// that there may be fewer than asked for. That prior takes most of the size of the others too, for with one loading a task and few directions it is much
/// longer than the data, so sizes are then found by themselves: Lambda A with the k x k matrix A, K and the noise at the highest likelihood of the size
/// with the directions integrated out.
///
/// ```
/// use cognate::{Factor, FeatureCovariance, Structure};
/// assert_eq!(Factor::new(2, FeatureCovariance::Scalar).name(), "factor");
/// ```
#[derive(Clone, Debug)]
pub struct Factor {
    space: FactorSpace,
    rank: usize,
    strength: f64,
    /// Where sizes are measured from, once the directions are found.
    found: Option<Parts>,
}

impl Factor {
    /// With so many factors, K of that shape and the default strength.
    pub fn new(rank: usize, covariance: FeatureCovariance) -> Self {
        Factor { space: FactorSpace::new(covariance), rank, strength: STRENGTH, found: None }
    }

    /// With another strength nu of the prior on the uniquenesses (`None`: 4).
    pub fn with_strength(mut self, strength: Option<f64>) -> Self {
        self.strength = strength.unwrap_or(STRENGTH);
        self
    }

    /// The factors that are any, in their principal directions, as large as the deviations say: Lambda (E[Z'Z] / r)^(1/2).
    fn begun(&mut self, posterior: &Posterior) -> Option<Prior> {
        let related = posterior.related();
        let (moments, r) = (related.factor_moments().factors, related.prior().factor.ncols() as f64);
        let parts = Parts::of(posterior.prior())?;
        let (sizes, turns) = linalg::symmetric_eigen(&parts.strengths());
        let kept: Vec<usize> = (0..sizes.len()).rev().filter(|j| sizes[*j] > NOTHING).collect();
        let turns = turns.select_columns(&kept);
        let moments = turns.tr_mul(&moments) * &turns / r;
        let found = Parts { loadings: turns.tr_mul(&parts.loadings), uniquenesses: parts.uniquenesses };
        let begun = found.times(&linalg::semidefinite_factor(&moments));
        self.found = Some(found);
        Some(begun.prior(posterior.prior().clone()))
    }

    /// A with Lambda A the loadings.
    fn sizes(&self, parts: &Parts) -> DMatrix<f64> {
        let Some(found) = &self.found else { return DMatrix::zeros(0, 0) };
        let mut sizes = found.scaled() * parts.scaled().transpose();
        if let Some(root) = linalg::cholesky(found.strengths()) {
            linalg::solve_cholesky(&root, &mut sizes);
        }
        sizes
    }
}

/// Lambda' (a column a task) and D.
#[derive(Clone, Debug)]
struct Parts {
    loadings: DMatrix<f64>,
    uniquenesses: DVector<f64>,
}

impl Parts {
    fn of(prior: &Prior) -> Option<Parts> {
        match &prior.relatedness {
            Relatedness::LowRank { loadings, uniquenesses } => {
                Some(Parts { loadings: loadings.transpose(), uniquenesses: uniquenesses.clone() })
            }
            _ => None,
        }
    }

    fn prior(self, like: Prior) -> Prior {
        Prior { relatedness: Relatedness::LowRank { loadings: self.loadings.transpose(), uniquenesses: self.uniquenesses }, ..like }
    }

    /// With loadings Lambda A.
    fn times(&self, sizes: &DMatrix<f64>) -> Parts {
        Parts { loadings: sizes.tr_mul(&self.loadings), uniquenesses: self.uniquenesses.clone() }
    }

    /// H' with H = D^(-1/2) Lambda.
    fn scaled(&self) -> DMatrix<f64> {
        let mut scaled = self.loadings.clone();
        scaled.column_iter_mut().zip(self.uniquenesses.iter()).for_each(|(mut own, variance)| own /= variance.sqrt());
        scaled
    }

    /// H'H, k x k.
    fn strengths(&self) -> DMatrix<f64> {
        let scaled = self.scaled();
        let mut strengths = &scaled * scaled.transpose();
        linalg::symmetrise(&mut strengths);
        strengths
    }

    /// How many numbers Sigma has for k factors: their turns and its scale are none.
    fn free(&self, k: usize) -> usize {
        self.loadings.ncols() * (k + 1) - k * k.saturating_sub(1) / 2 - 1
    }

    fn log_prior_of_uniquenesses(&self, strength: f64) -> f64 {
        -0.5 * strength * self.uniquenesses.iter().map(|own| own.ln() + 1.0 / own - 1.0).sum::<f64>()
    }
}

impl Structure for Factor {
    fn name(&self) -> &'static str {
        "factor"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Directions::new(self.rank, self.space.kind, self.strength)))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Parameters
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        self.found = None;
        let prior = setting.prior(setting.learned_mean(), Relatedness::Identity, self.space.start(setting));
        Ok((prior, None))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        if self.found.is_none()
            && let Some(prior) = self.begun(posterior)
        {
            return Ok(prior);
        }
        Ok(self.space.step(posterior))
    }

    /// log |I + (H'H)^-1| T / 2: the likelihood of the size of a factor of unknown direction is about that at the best direction times this.
    fn log_prior(&self, prior: &Prior) -> f64 {
        let Some(parts) = Parts::of(prior) else { return 0.0 };
        let (k, tasks) = parts.loadings.shape();
        let strengths = parts.strengths();
        let of_uniquenesses = parts.log_prior_of_uniquenesses(self.strength);
        let roots = linalg::cholesky(strengths.clone()).zip(linalg::cholesky(strengths + DMatrix::identity(k, k)));
        let Some((own, with)) = roots else { return of_uniquenesses };
        of_uniquenesses + 0.5 * tasks as f64 * (linalg::log_determinant(&with) - linalg::log_determinant(&own))
    }

    fn relates(&self) -> bool {
        true
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let Some(parts) = Parts::of(prior) else { return self.space.len(prior) };
        self.space.len(prior) + parts.free(parts.loadings.nrows())
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

impl Smooth for Factor {
    /// Those of K and the elements of A.
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.space.coordinates(prior);
        if let Some(parts) = Parts::of(prior) {
            point.extend(self.sizes(&parts).iter());
        }
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, sizes) = point.split_at(self.space.len(like));
        let prior = self.space.at(own, like)?;
        let Some(found) = &self.found else { return Some(prior) };
        let k = found.loadings.nrows();
        Some(found.times(&DMatrix::from_column_slice(k, k, sizes)).prior(prior))
    }

    /// By Fisher's identity with the factors: (E[Z'b_t] - E[Z'Z] lambda_t) / D_t in lambda_t, and through it in A.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.space.slope(posterior);
        let (Some(parts), Some(found)) = (Parts::of(posterior.prior()), &self.found) else { return slope };
        let moments = posterior.related().factor_moments();
        let rise = moments.slope_in_loadings(&parts.loadings, &parts.uniquenesses);
        let (k, tasks) = parts.loadings.shape();
        let strengths = parts.strengths();
        let roots = linalg::cholesky(strengths.clone()).zip(linalg::cholesky(&strengths + DMatrix::identity(k, k)));
        let mut along = &found.loadings * rise.transpose();
        if let Some((own, with)) = roots {
            let shorter = linalg::inverse_of_cholesky(&own) - linalg::inverse_of_cholesky(&with);
            along -= found.strengths() * self.sizes(&parts) * shorter * tasks as f64;
        }
        slope.extend(along.iter());
        slope
    }

    /// Of A that of r draws from N(0, A A').
    fn information(&self, posterior: &Posterior) -> Option<Information> {
        let mut all = self.space.information(posterior)?;
        let Some(parts) = Parts::of(posterior.prior()).filter(|_| self.found.is_some()) else { return Some(all) };
        let (sizes, r) = (self.sizes(&parts), posterior.related().prior().factor.ncols() as f64);
        let k = sizes.nrows();
        let inverse = sizes.try_inverse()?;
        let of_rows = inverse.tr_mul(&inverse);
        (0..k).for_each(|j| all.each.extend((0..k).map(|i| r * (of_rows[(i, i)] + inverse[(j, i)].powi(2)))));
        Some(all)
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}
