//! What a fit says of clusters of tasks: how large they are, where they are, and which tasks belong together.

use super::Fit;
use crate::graph::TaskGraph;
use crate::posterior::Posterior;
use crate::prior::Prior;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Most tasks between which pairs are looked at.
const MOST_PAIRED: usize = 2_000;

/// Probability of being of the same cluster from which on two tasks are joined.
const JOINED: f64 = 0.5;

/// One cluster, in the units of the table.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// Share of all tasks, those to come among them.
    pub share: f64,
    /// Expected number of the fit's tasks.
    pub size: f64,
    /// How far its tasks vary about its mean, as a multiple of the standard deviations of [`Fit::feature_covariance`].
    pub scale: f64,
    /// Mean of every feature, 0 for those that neither have a mean nor vary.
    pub mean: DVector<f64>,
    /// Its covariance, with what follows from not knowing the members for sure.
    pub mean_covariance: DMatrix<f64>,
}

/// What is kept of the clusters, in fitted coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memberships {
    /// Probability of each cluster and, last, of none, for each task: (k + 1) x T.
    #[serde(with = "crate::linalg::record::matrix")]
    probabilities: DMatrix<f64>,
    /// d x k.
    #[serde(with = "crate::linalg::record::matrix")]
    means: DMatrix<f64>,
    /// d^2 x k.
    #[serde(with = "crate::linalg::record::matrix")]
    mean_covariances: DMatrix<f64>,
}

impl Memberships {
    pub(super) fn of(posterior: &Posterior, prior: &Prior) -> Option<Self> {
        let probabilities = posterior.memberships()?.clone();
        let each = posterior.mixed()?.cluster_means(prior);
        let p = each.first().map_or(0, |(mean, _)| mean.len());
        let means = DMatrix::from_fn(p, each.len(), |k, c| each[c].0[k]);
        let mean_covariances = DMatrix::from_fn(p * p, each.len(), |k, c| each[c].1[k]);
        Some(Memberships { probabilities, means, mean_covariances })
    }

    pub(super) fn is_consistent(&self, (features, tasks): (usize, usize), prior: &Prior) -> bool {
        let Some(mixture) = &prior.mixture else { return false };
        let k = mixture.clusters();
        let numbers = [&self.probabilities, &self.means, &self.mean_covariances];
        self.probabilities.shape() == (k + 1, tasks)
            && self.means.shape() == (features, k)
            && self.mean_covariances.shape() == (features * features, k)
            && numbers.iter().all(|own| own.iter().all(|value| value.is_finite()))
    }
}

impl Fit {
    /// The clusters of the structure `clusters`, the largest share first; empty for others.
    pub fn clusters(&self) -> Vec<Cluster> {
        let (Some(kept), Some(mixture)) = (&self.memberships, &self.prior.mixture) else { return Vec::new() };
        let p = self.tasks.design().len();
        let map = self.coordinates.to_original();
        let of = |c: usize| Cluster {
            share: mixture.shares[c],
            size: kept.probabilities.row(c).sum(),
            scale: mixture.scales[c],
            mean: self.coordinates.parameters(&kept.means.column(c).into_owned()),
            mean_covariance: &map * DMatrix::from_column_slice(p, p, kept.mean_covariances.column(c).as_slice()) * map.transpose(),
        };
        (0..mixture.clusters()).map(of).collect()
    }

    /// Mean of a cluster and its covariance, in fitted coordinates; none for that of no cluster.
    pub(super) fn cluster_mean(&self, cluster: usize) -> Option<(DVector<f64>, DMatrix<f64>)> {
        let kept = self.memberships.as_ref().filter(|own| cluster < own.means.ncols())?;
        let p = kept.means.nrows();
        let covariance = DMatrix::from_column_slice(p, p, kept.mean_covariances.column(cluster).as_slice());
        Some((kept.means.column(cluster).into_owned(), covariance))
    }

    /// The probability that each task (a column) is of each cluster (a row), the last row that it is of none, given the hyperparameters;
    /// none for other structures.
    pub fn memberships(&self) -> Option<&DMatrix<f64>> {
        self.memberships.as_ref().map(|own| &own.probabilities)
    }

    /// The likeliest cluster of a task; none where that is none, and for other structures.
    ///
    /// # Panics
    /// For a task that there is not.
    pub fn cluster_of(&self, task: usize) -> Option<usize> {
        let probabilities = self.memberships()?;
        let likeliest = probabilities.column(task).iamax();
        (likeliest + 1 < probabilities.nrows()).then_some(likeliest)
    }

    /// The tasks whose likeliest cluster it is, the surest first (of `None` those of no cluster).
    pub(crate) fn members(&self, cluster: Option<usize>) -> Vec<usize> {
        let Some(probabilities) = self.memberships() else { return Vec::new() };
        let row = cluster.unwrap_or(probabilities.nrows() - 1);
        let mut members: Vec<usize> = (0..self.tasks.len()).filter(|t| self.cluster_of(*t) == cluster).collect();
        members.sort_by(|a, b| probabilities[(row, *b)].total_cmp(&probabilities[(row, *a)]));
        members
    }

    /// The probabilities that two tasks are of the same cluster, T x T, 1 for a task and itself.
    pub(super) fn co_membership(&self) -> Option<DMatrix<f64>> {
        let probabilities = self.memberships()?;
        let clusters = probabilities.rows(0, probabilities.nrows() - 1);
        let mut all = clusters.tr_mul(&clusters);
        all.fill_diagonal(1.0);
        Some(all)
    }

    /// The tasks that are more likely than not of the same cluster, joined with that probability; without edges beyond 2,000 tasks.
    pub(super) fn co_membership_graph(&self) -> Option<TaskGraph> {
        let probabilities = self.memberships()?;
        let mut graph = TaskGraph::empty(self.tasks.names());
        let (clusters, tasks) = (probabilities.rows(0, probabilities.nrows() - 1), self.tasks.len());
        if tasks <= MOST_PAIRED {
            let joined = |t: usize| {
                let with = |s: usize| clusters.column(s).dot(&clusters.column(t));
                (0..t).map(|s| (s, with(s))).filter(|(_, together)| *together > JOINED).collect::<Vec<_>>()
            };
            let each: Vec<Vec<(usize, f64)>> = (0..tasks).into_par_iter().map(joined).collect();
            each.iter().enumerate().for_each(|(t, own)| own.iter().for_each(|(s, together)| graph.connect(*s, t, 0.0, Some(*together))));
        }
        Some(graph)
    }
}
