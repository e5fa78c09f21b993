//! Clusters of tasks that nobody has named: a task is of one of them with some probability, or of none.

use super::{Mean, Prior, Relatedness, flat};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// How many times as far as the positions of clusters the tasks of none are spread.
const WIDER: f64 = 2.0;

/// Unknown clusters of tasks. A task is of cluster c with the probability of its share, and then
/// w_t = mean + S a_c + s_c u_t with u_t ~ N(0, K), where S says how far clusters may be from each other, a_c is the position of the cluster in that
/// and s_c its scale. With the probability that is left it is of none, and w_t = mean + 2 S z with z ~ N(0, I).
///
/// ```
/// use cognate::{Mean, Mixture, Posterior, Prior, Quadratic, Quadratics, Relatedness};
/// use nalgebra::{dmatrix, dvector};
/// let task = |estimate: f64| Quadratic { constant: 0.0, linear: dvector![100.0 * estimate], curvature: dmatrix![100.0] };
/// let tasks = Quadratics::new(&[task(-2.0), task(1.9), task(9.0)])?;
/// let mixture = Mixture { shares: vec![0.49, 0.49, 0.02], scales: vec![1.0, 1.0], positions: dmatrix![-1.0, 1.0], spread: dmatrix![2.0] };
/// let prior = Prior { mixture: Some(mixture), ..Prior::new(Mean::Given(dvector![0.0]), Relatedness::Identity, dmatrix![0.5]) };
/// let posterior = Posterior::given(&tasks, &prior)?;
/// let memberships = posterior.memberships().unwrap();
/// assert!(memberships[(0, 0)] > 0.99 && memberships[(1, 1)] > 0.99 && memberships[(2, 2)] > 0.99);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mixture {
    /// Share of the tasks in each of the k clusters, and last in none; they add up to 1.
    pub shares: Vec<f64>,
    /// s of each cluster.
    pub scales: Vec<f64>,
    /// a of each cluster, a column each.
    #[serde(with = "crate::linalg::record::matrix")]
    pub positions: DMatrix<f64>,
    /// S, a row a varying feature.
    #[serde(with = "crate::linalg::record::matrix")]
    pub spread: DMatrix<f64>,
}

impl Mixture {
    /// How many clusters there are.
    pub fn clusters(&self) -> usize {
        self.scales.len()
    }

    /// How many things a task may be of: the clusters and none.
    pub(crate) fn components(&self) -> usize {
        self.clusters() + 1
    }

    /// How far the mean of a component is from the common one, over the varying features.
    pub(crate) fn offset(&self, component: usize) -> DVector<f64> {
        match component < self.clusters() {
            true => &self.spread * self.positions.column(component),
            false => DVector::zeros(self.spread.nrows()),
        }
    }

    /// A root of the covariance about the mean of a component, over the varying features; `factor` is L.
    pub(crate) fn factor(&self, component: usize, factor: &DMatrix<f64>) -> DMatrix<f64> {
        self.scales.get(component).map_or_else(|| &self.spread * WIDER, |scale| factor * *scale)
    }

    /// The same with the largest cluster first.
    pub(crate) fn sorted(&self) -> Self {
        let mut order: Vec<usize> = (0..self.clusters()).collect();
        order.sort_by(|a, b| self.shares[*b].total_cmp(&self.shares[*a]));
        Mixture {
            shares: order.iter().chain([&self.clusters()]).map(|c| self.shares[*c]).collect(),
            scales: order.iter().map(|c| self.scales[*c]).collect(),
            positions: self.positions.select_columns(&order),
            spread: self.spread.clone(),
        }
    }

    /// Whether there are as many of everything as there should be for q varying features, and shares are probabilities.
    pub(crate) fn is_consistent(&self, q: usize) -> bool {
        let (k, total) = (self.clusters(), self.shares.iter().sum::<f64>());
        self.shares.len() == k + 1
            && self.positions.ncols() == k
            && self.positions.nrows() == self.spread.ncols()
            && self.spread.nrows() == q
            && (total - 1.0).abs() < 1e-6
            && self.shares.iter().chain(&self.scales).all(|value| value.is_finite() && *value >= 0.0)
            && self.positions.iter().chain(self.spread.iter()).all(|value| value.is_finite())
    }
}

impl Prior {
    /// The features of which some component has a mean: the mean features and the varying ones, in their order.
    pub(crate) fn component_features(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.mean_features.iter().chain(&self.varying).copied().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The prior of tasks that are known to be of a component of the mixture.
    pub(crate) fn of_component(&self, mixture: &Mixture, component: usize) -> Prior {
        let features = self.component_features();
        let mut values = DVector::zeros(features.len());
        let place = |feature: &usize| features.iter().position(|own| own == feature).expect("all are there");
        if let Mean::Given(own) | Mean::Estimated(own) = &self.mean {
            self.mean_features.iter().zip(own.iter()).for_each(|(feature, value)| values[place(feature)] += value);
        }
        self.varying.iter().zip(mixture.offset(component).iter()).for_each(|(feature, value)| values[place(feature)] += value);
        Prior {
            mean: Mean::Given(values),
            mean_features: features,
            factor: mixture.factor(component, &self.factor),
            relatedness: Relatedness::Identity,
            mean_precision: flat(),
            mixture: None,
            ..self.clone()
        }
    }
}
