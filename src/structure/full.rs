//! Any task covariance under an inverse-Wishart prior: for few tasks, or as a yardstick for the graph.

use super::exchangeable::Exchangeable;
use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::strength;
use super::{Setting, Sharing, Smooth, Structure};
use crate::error::Result;
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use nalgebra::DMatrix;

/// Sigma ~ inverse-Wishart about I: log prior -nu/2 (log |Sigma| + tr Sigma^-1). M-step Sigma = (M + nu I) / (r + nu), the mean of Sigma given M under nu + T + 1
/// degrees of freedom.
///
/// Unless it is given, the strength nu is learned at the exchangeable fit: with M_k the posterior moment of a direction k, the one at which Sigma made of all other
/// directions makes M_k likeliest, sum_k log N(M_k | (sum_j M_j - M_k + nu I) / (r - 1 + nu)); where rows decide fewer directions than there are tasks, at least T + 1.
/// Unrelated tasks have a strength without bound, up to a hundred directions a task.
///
/// ```
/// use cognate::{FeatureCovariance, Full, Structure};
/// assert_eq!(Full::new(FeatureCovariance::Scalar).name(), "full");
/// ```
#[derive(Clone, Debug)]
pub struct Full {
    space: FactorSpace,
    asked: Option<f64>,
    /// nu, once it is known.
    strength: Option<f64>,
}

impl Full {
    /// With K of that shape and a strength that is learned.
    pub fn new(covariance: FeatureCovariance) -> Self {
        Full { space: FactorSpace::new(covariance), asked: None, strength: None }
    }

    /// With that strength nu (`None`: learned).
    pub fn with_strength(mut self, strength: Option<f64>) -> Self {
        self.asked = strength;
        self
    }

    fn sigma(prior: &Prior) -> &DMatrix<f64> {
        match &prior.relatedness {
            Relatedness::Dense(sigma) => sigma,
            _ => unreachable!("this structure makes dense priors only"),
        }
    }
}

impl Structure for Full {
    fn name(&self) -> &'static str {
        "full"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Exchangeable::new(self.space.kind)))
    }

    fn sharing(&self) -> Sharing {
        Sharing::Structure
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        self.strength = self.asked;
        Ok((setting.prior(setting.learned_mean(), Relatedness::Identity, self.space.start(setting)), None))
    }

    fn starts(&mut self, base: &dyn Fn() -> Result<Posterior<'static>>) -> Result<Vec<Prior>> {
        let posterior = base()?;
        let tasks = posterior.tasks();
        self.strength.get_or_insert_with(|| strength::learned(posterior.related()));
        Ok(vec![Prior { relatedness: Relatedness::Dense(DMatrix::identity(tasks, tasks)), ..posterior.prior().clone() }])
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let related = posterior.related();
        let (tasks, r, strength) = (related.tasks(), related.prior().factor.ncols() as f64, self.strength.unwrap_or_default());
        let moment = related.task_moment() + DMatrix::identity(tasks, tasks) * strength;
        self.space.step_at(posterior, Relatedness::Dense(moment / (r + strength)))
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let (Relatedness::Dense(sigma), Some(strength)) = (&prior.relatedness, self.strength) else { return 0.0 };
        let Some(root) = linalg::cholesky(sigma.clone()) else { return f64::NEG_INFINITY };
        let trace = linalg::inverse_of_cholesky(&root).trace();
        -0.5 * strength * (linalg::log_determinant(&root) + trace - root.nrows() as f64)
    }

    fn prior_strength(&self) -> Option<f64> {
        self.strength
    }

    fn relates(&self) -> bool {
        true
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let tasks = Self::sigma(prior).nrows();
        self.space.len(prior) + tasks * (tasks + 1) / 2 - 1
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        Some(self)
    }
}

impl Smooth for Full {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let root = linalg::semidefinite_factor(Self::sigma(prior));
        let tasks = root.nrows();
        let lower = (0..tasks).flat_map(|b| (b..tasks).map(move |a| (a, b))).map(|(a, b)| root[(a, b)]);
        self.space.coordinates(prior).into_iter().chain(lower).collect()
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, lower) = point.split_at(self.space.len(like));
        let tasks = Self::sigma(like).nrows();
        let mut root = DMatrix::zeros(tasks, tasks);
        let mut next = lower.iter();
        for b in 0..tasks {
            for a in b..tasks {
                root[(a, b)] = *next.next()?;
            }
        }
        if root.diagonal().iter().any(|v: &f64| *v <= 1e-8) {
            return None;
        }
        Some(Prior { relatedness: Relatedness::Dense(&root * root.transpose()), ..self.space.at(own, like)? })
    }

    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let prior = posterior.prior();
        let root = linalg::semidefinite_factor(Self::sigma(prior));
        let related = posterior.related();
        let (tasks, r) = (root.nrows(), related.prior().factor.ncols() as f64);
        // d / dC = C^-T (C^-1 (M + nu I) C^-T - (r + nu) I), lower triangle.
        let strength = self.strength.unwrap_or_default();
        let mut inner = related.task_moment() + DMatrix::identity(tasks, tasks) * strength;
        linalg::solve_lower_matrix(&root, &mut inner);
        let mut inner = inner.transpose();
        linalg::solve_lower_matrix(&root, &mut inner);
        (0..tasks).for_each(|t| inner[(t, t)] -= r + strength);
        let slope = root.transpose().solve_upper_triangular(&inner).unwrap_or(inner);
        let lower = (0..tasks).flat_map(|b| (b..tasks).map(move |a| (a, b))).map(|(a, b)| slope[(a, b)]);
        self.space.slope(posterior).into_iter().chain(lower).collect()
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}
