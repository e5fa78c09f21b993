//! The engines behind one face: what a posterior asks of whichever made it.

use super::MeanEstimate;
use super::apart::Apart;
use super::block::Block;
use super::coupled::Coupled;
use super::kronecker::Kronecker;
use super::low_rank::LowRank;
use super::mixed::Mixed;
use super::tied::Tied;
use crate::error::Result;
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};

pub(super) enum Engine {
    Block(Box<Block>),
    Coupled(Coupled),
    Apart(Apart),
    Kronecker(Kronecker),
    Mixed(Mixed),
    LowRank(Box<LowRank>),
    Tied(Tied),
}

/// Whitened deviations are those of a component.
const OF_COMPONENTS: &str = "asked of the components, which have an engine each";

/// What an engine hands back.
pub(crate) struct Outcome {
    pub(super) mean: MeanEstimate,
    pub(super) deviations: DMatrix<f64>,
    pub(super) log_likelihood: f64,
    pub(super) log_likelihood_error: f64,
    pub(super) engine: Engine,
}

impl Engine {
    /// Covariance between b_s and b_t given the mean.
    pub(super) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        match self {
            Engine::Block(block) => block.covariance(s, t),
            Engine::Coupled(coupled) => coupled.covariance(s, t),
            Engine::Apart(apart) => apart.covariance(s, t),
            Engine::Kronecker(kronecker) => kronecker.covariance(s, t),
            Engine::Mixed(_) => unreachable!("{OF_COMPONENTS}"),
            Engine::LowRank(factors) => factors.covariance(s, t),
            Engine::Tied(tied) => tied.covariance(s, t),
        }
    }

    /// Cov(b_s, b_t) given the mean for every s, one below another: (T r) x r. Exact also where [`Engine::covariance`] is an estimate.
    pub(super) fn column(&self, t: usize, tasks: usize) -> Result<DMatrix<f64>> {
        match self {
            Engine::Coupled(coupled) => coupled.column(t),
            Engine::Apart(apart) => apart.column(t, tasks),
            other => {
                let own = other.covariance(t, t);
                let r = own.nrows();
                let mut all = DMatrix::zeros(tasks * r, r);
                (0..tasks).filter(|s| *s != t).for_each(|s| all.rows_mut(s * r, r).copy_from(&other.covariance(s, t)));
                all.rows_mut(t * r, r).copy_from(&own);
                Ok(all)
            }
        }
    }

    /// Covariance given the mean of what tasks share, given which and the mean they are unrelated; none where the engine has nothing of the kind.
    pub(super) fn shared(&self) -> Option<DMatrix<f64>> {
        match self {
            Engine::Block(_) => Some(DMatrix::zeros(0, 0)),
            Engine::LowRank(factors) => Some(factors.shared().clone()),
            _ => None,
        }
    }

    /// d E[b_t | mean, what is shared] / d what is shared: r x its length.
    pub(super) fn shared_map(&self, t: usize) -> DMatrix<f64> {
        match self {
            Engine::Block(block) => DMatrix::zeros(block.directions(), 0),
            Engine::LowRank(factors) => factors.shared_map(t),
            _ => unreachable!("where something is shared"),
        }
    }

    /// Whether covariances are averages over draws.
    pub(super) fn is_estimated(&self) -> bool {
        match self {
            Engine::Coupled(coupled) => coupled.is_estimated(),
            Engine::Apart(apart) => apart.related().engine.is_estimated(),
            _ => false,
        }
    }

    /// Covariance of sum_t weight_t b_t given the mean.
    pub(super) fn combined(&self, weights: &[(usize, f64)]) -> DMatrix<f64> {
        if let Engine::Coupled(coupled) = self {
            return coupled.combined(weights);
        }
        let pairs = weights.iter().flat_map(|first| weights.iter().map(move |second| (first, second)));
        let each = pairs.map(|((s, first), (t, second))| self.covariance(*s, *t) * (first * second));
        each.reduce(|all, own| all + own).unwrap_or_default()
    }

    /// tr Cov(b_s, b_t) given the mean.
    pub(super) fn trace(&self, s: usize, t: usize) -> f64 {
        match self {
            Engine::Coupled(coupled) => coupled.trace(s, t),
            Engine::Kronecker(kronecker) => kronecker.trace(s, t),
            other => other.covariance(s, t).trace(),
        }
    }

    /// Sigma between two tasks that the task graph joins (or one and itself).
    pub(super) fn sigma(&self, s: usize, t: usize) -> f64 {
        match self {
            Engine::Block(_) => f64::from(s == t),
            Engine::Coupled(coupled) => coupled.sigma(s, t),
            Engine::Apart(apart) => apart.sigma(s, t),
            Engine::Kronecker(kronecker) => kronecker.sigma(s, t),
            Engine::Mixed(_) => unreachable!("{OF_COMPONENTS}"),
            Engine::LowRank(factors) => factors.sigma(s, t),
            Engine::Tied(tied) => tied.sigma(s, t),
        }
    }

    /// -d E[b_t | mean] / d mean: r x m.
    pub(super) fn sensitivity(&self, data: &Quadratics, prior: &Prior, task: usize) -> DMatrix<f64> {
        match self {
            Engine::Block(block) => block.sensitivity(data, prior, task),
            Engine::Coupled(coupled) => coupled.sensitivity(task),
            Engine::Apart(apart) => apart.sensitivity(task),
            Engine::Kronecker(kronecker) => kronecker.sensitivity(task),
            Engine::Mixed(_) => unreachable!("{OF_COMPONENTS}"),
            Engine::LowRank(factors) => factors.sensitivity(data, prior, task),
            Engine::Tied(tied) => tied.sensitivity(task),
        }
    }

    /// How many standard normal numbers a draw of so many elements takes.
    pub(super) fn normals(&self, elements: usize) -> usize {
        match self {
            Engine::LowRank(factors) => factors.normals(),
            Engine::Apart(apart) => apart.normals(elements),
            _ => elements,
        }
    }

    /// Standard normal numbers turned into a draw from N(0, covariance of b): r x T.
    pub(super) fn draw(&self, normal: DVector<f64>, tasks: usize) -> Result<DMatrix<f64>> {
        match self {
            Engine::Block(block) => Ok(block.draw(normal, tasks)),
            Engine::Coupled(coupled) => coupled.draw(normal, tasks),
            Engine::Apart(apart) => apart.draw(normal, tasks),
            Engine::Kronecker(kronecker) => Ok(kronecker.draw(normal)),
            Engine::Mixed(_) => unreachable!("{OF_COMPONENTS}"),
            Engine::LowRank(factors) => Ok(factors.draw(normal)),
            Engine::Tied(tied) => Ok(tied.draw(normal)),
        }
    }
}
