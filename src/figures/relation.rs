//! How alike two tasks are by a fit, pair by pair, without a matrix of all pairs where there are too many.

use crate::linalg;
use crate::model::Fit;
use crate::prior::Relatedness;
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Most tasks of a task graph whose precision is inverted.
const MOST_INVERTED: usize = 1_000;

/// Most tasks of which all pairs are looked at.
pub(crate) const MOST_PAIRED: usize = 10_000;

/// What relates two tasks, in a form that tells it of any pair.
pub(crate) enum Relation<'f> {
    /// Correlations.
    Correlations(DMatrix<f64>),
    /// A covariance and the standard deviations of its diagonal.
    Covariance(&'f DMatrix<f64>, Vec<f64>),
    /// Loadings over the standard deviation of each task, a column a task.
    Factors(DMatrix<f64>),
    /// Probabilities of each cluster, a column a task.
    Memberships(DMatrix<f64>),
}

impl<'f> Relation<'f> {
    /// None where all pairs of tasks are alike, for a graph of more than 1,000 tasks and for more than 10,000 tasks.
    pub(crate) fn of(fit: &'f Fit) -> Option<Self> {
        let tasks = fit.tasks().len();
        if !(2..=MOST_PAIRED).contains(&tasks) {
            return None;
        }
        if let Some(memberships) = fit.memberships() {
            return Some(Relation::Memberships(memberships.rows(0, memberships.nrows() - 1).into_owned()));
        }
        match &fit.prior().relatedness {
            Relatedness::Dense(sigma) => Some(Relation::Covariance(sigma, sigma.diagonal().iter().map(|v| v.max(0.0).sqrt()).collect())),
            Relatedness::LowRank { loadings, uniquenesses } if loadings.ncols() > 0 => {
                let sd = |t: usize| (loadings.row(t).norm_squared() + uniquenesses[t]).sqrt();
                Some(Relation::Factors(DMatrix::from_fn(loadings.ncols(), tasks, |k, t| loadings[(t, k)] / sd(t))))
            }
            own @ Relatedness::Graph(_) if tasks <= MOST_INVERTED => {
                own.covariance(tasks).map(|sigma| Relation::Correlations(linalg::correlation(&sigma)))
            }
            _ => None,
        }
    }

    /// The correlation of two tasks, or the probability that they are of the same cluster; 1 of a task and itself.
    pub(crate) fn between(&self, s: usize, t: usize) -> f64 {
        if s == t {
            return 1.0;
        }
        let value = match self {
            Relation::Correlations(all) => all[(s, t)],
            Relation::Covariance(all, sd) => all[(s, t)] / (sd[s] * sd[t]),
            Relation::Factors(all) | Relation::Memberships(all) => all.column(s).dot(&all.column(t)),
        };
        if value.is_finite() { value.clamp(-1.0, 1.0) } else { 0.0 }
    }

    /// Whether it is a probability.
    pub(crate) fn is_membership(&self) -> bool {
        matches!(self, Relation::Memberships(_))
    }

    /// The strongest relations of each task, `each` of them (all of up to 30 tasks), every pair once, the strongest first.
    pub(crate) fn strongest(&self, tasks: usize, each: usize) -> Vec<(usize, usize, f64)> {
        const ALL: usize = 30;
        let of_task = |s: usize| -> Vec<(usize, usize, f64)> {
            let mut own: Vec<(usize, f64)> =
                (0..tasks).filter(|t| *t != s).map(|t| (t, self.between(s, t))).filter(|own| own.1 != 0.0).collect();
            let order = |a: &(usize, f64), b: &(usize, f64)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
            if tasks > ALL && own.len() > each {
                own.select_nth_unstable_by(each, order);
                own.truncate(each);
            }
            own.into_iter().map(|(t, value)| (s.min(t), s.max(t), value)).collect()
        };
        let mut pairs: Vec<(usize, usize, f64)> = (0..tasks).into_par_iter().flat_map_iter(of_task).collect();
        pairs.sort_by_key(|own| (own.0, own.1));
        pairs.dedup_by_key(|own| (own.0, own.1));
        pairs.sort_by(|a, b| b.2.abs().total_cmp(&a.2.abs()));
        pairs
    }
}
