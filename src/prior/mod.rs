//! What is believed of the task parameters before the rows: a mean, a relatedness of tasks and a feature covariance.

mod kernel;
mod mixture;
mod part;
mod task_scales;

pub(crate) use kernel::Tie;
pub use kernel::{KernelShape, TaskKernel};
pub use mixture::Mixture;
pub use task_scales::TaskScales;

use crate::graph::TaskGraph;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// w_t = mean + u_t with vec(U) ~ N(0, Sigma (x) K): Sigma between tasks, K = L L' between the varying features.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prior {
    /// The common mean and how it is treated.
    pub mean: Mean,
    /// The features that have a mean.
    pub mean_features: Vec<usize>,
    /// The features that vary between tasks.
    pub varying: Vec<usize>,
    /// Features with a flat prior in every task; they are neither in the mean nor varying.
    pub free: Vec<usize>,
    /// Varying features whose deviations are unrelated between tasks, whatever Sigma: Cov(u_s, u_t) is Sigma_st K over the other
    /// varying features and 0 between and within these for s != t, where it is K for s = t. K joins no two of the two kinds.
    #[serde(default)]
    pub unrelated: Vec<usize>,
    /// Sigma, in one of its storage forms.
    pub relatedness: Relatedness,
    /// L, q x r with K = L L'; r < q where K is singular.
    #[serde(with = "crate::linalg::record::matrix")]
    pub factor: DMatrix<f64>,
    /// Precision of the normal prior of the mean about 0, over the mean features of all groups; empty for a flat one.
    #[serde(default = "flat", with = "crate::linalg::record::matrix")]
    pub mean_precision: DMatrix<f64>,
    /// Groups of tasks, each with a mean and a scale of its own.
    #[serde(default)]
    pub groups: Groups,
    /// Clusters of tasks of which nobody knows the members; none where all tasks are of one kind. Sigma is the identity then, and the mean is
    /// given or estimated elsewhere.
    #[serde(default)]
    pub mixture: Option<Mixture>,
    /// A scale for every task; none where all are 1.
    #[serde(default)]
    pub task_scales: Option<TaskScales>,
    /// What Sigma is made of where it follows from descriptors of the tasks.
    #[serde(default)]
    pub kernel: Option<TaskKernel>,
}

/// Groups of tasks: w_t = mean_g + s_g u_t for a task t of group g, with Sigma and K those of U. All tasks are one group of scale 1
/// where nothing is said.
///
/// ```
/// use cognate::{Groups, Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness};
/// use nalgebra::{dmatrix, dvector};
/// let task = |estimate: f64| Quadratic { constant: 0.0, linear: dvector![estimate], curvature: dmatrix![1.0] };
/// let tasks = Quadratics::new(&[task(1.0), task(3.0), task(50.0), task(70.0)])?;
/// let groups = Groups::new(vec![0, 0, 1, 1], vec![1.0, 10.0]);
/// let prior = Prior { groups, ..Prior::new(Mean::Profiled, Relatedness::Identity, dmatrix![1.0]) };
/// let posterior = Posterior::given(&tasks, &prior)?;
/// assert!((posterior.mean_of(0)[0] - 2.0).abs() < 1e-12 && (posterior.mean_of(3)[0] - 60.0).abs() < 1e-12);
/// assert!((posterior.coefficients(3)[0] - (60.0 + 10.0 * 100.0 / 101.0)).abs() < 1e-12);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Groups {
    /// The group of every task; empty for one group.
    pub of_task: Vec<usize>,
    /// The scale of every group; empty for one group.
    pub scales: Vec<f64>,
    /// The scales about which they are looked for.
    about: Vec<f64>,
}

/// How many times larger or smaller than where it is looked for a scale may be.
const REACH: f64 = 1e3;

impl Groups {
    /// The group of every task and the scale of every group.
    pub fn new(of_task: Vec<usize>, scales: Vec<f64>) -> Self {
        Groups { of_task, about: scales.clone(), scales }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scales.len().max(1)
    }

    /// Never: all tasks are in one group at least.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Whether there are several.
    pub(crate) fn are_several(&self) -> bool {
        self.len() > 1
    }

    /// The group of a task.
    pub fn of(&self, task: usize) -> usize {
        self.of_task.get(task).copied().unwrap_or(0)
    }

    /// The scale of a task's group.
    pub(crate) fn scale(&self, task: usize) -> f64 {
        self.scales.get(self.of(task)).copied().unwrap_or(1.0)
    }

    /// The largest, against which the scales of the others are measured.
    pub(crate) fn reference(&self) -> usize {
        let size = |g: usize| self.of_task.iter().filter(|own| **own == g).count();
        (0..self.scales.len()).rev().max_by_key(|g| size(*g)).unwrap_or(0)
    }

    /// The groups whose scales are learned: all but that.
    pub(crate) fn scaled(&self) -> Vec<usize> {
        let reference = self.reference();
        (0..self.scales.len()).filter(|g| *g != reference).collect()
    }

    /// Logarithms of the learned scales.
    pub(crate) fn coordinates(&self) -> Vec<f64> {
        self.scaled().into_iter().map(|g| self.scales[g].ln()).collect()
    }

    /// With other such logarithms, as far as scales may go.
    pub(crate) fn at(&self, point: &[f64]) -> Self {
        let mut moved = self.clone();
        for (g, log) in self.scaled().into_iter().zip(point) {
            moved.scales[g] = log.exp().clamp(self.about[g] / REACH, self.about[g] * REACH);
        }
        moved
    }

    /// How far the logarithm of each learned scale is from where it is looked for.
    pub(crate) fn deviations(&self) -> Vec<f64> {
        self.scaled().into_iter().map(|g| (self.scales[g] / self.about[g]).ln()).collect()
    }

    /// Whether a learned scale with such a deviation that would grow by a positive slope, or fall, is as large, or small, as may be.
    pub(crate) fn is_at_an_end(deviation: f64, slope: f64) -> bool {
        deviation.abs() > REACH.ln() - 1e-6 && (deviation > 0.0) == (slope > 0.0)
    }
}

fn flat() -> DMatrix<f64> {
    DMatrix::zeros(0, 0)
}

/// Largest partial correlation that an inverted covariance has by rounding.
const ROUNDING: f64 = 1e-12;

/// How the common mean is treated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Mean {
    /// Known: a value for each mean feature, of each group one group after another.
    Given(#[serde(with = "crate::linalg::record::vector")] DVector<f64>),
    /// Estimated by generalised least squares and taken as known in the moments (maximum likelihood).
    Profiled,
    /// The same with an estimate made otherwise (as many values).
    Estimated(#[serde(with = "crate::linalg::record::vector")] DVector<f64>),
    /// Integrated over its prior, as a rule a flat one (restricted likelihood).
    Integrated,
}

/// Storage forms of the task covariance Sigma.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Relatedness {
    /// Sigma = 0: all tasks have the same parameters.
    Zero,
    /// Sigma = I: exchangeable tasks.
    Identity,
    /// Sigma = diag(v): unrelated tasks of different spread.
    Diagonal(#[serde(with = "crate::linalg::record::vector")] DVector<f64>),
    /// Any covariance.
    Dense(#[serde(with = "crate::linalg::record::matrix")] DMatrix<f64>),
    /// Omega = Sigma^-1 on the edges of a graph.
    Graph(TaskGraph),
    /// Sigma = Lambda Lambda' + diag(D): what tasks have of a few factors, and what each has for itself.
    LowRank {
        /// Lambda, a row a task and a column a factor.
        #[serde(with = "crate::linalg::record::matrix")]
        loadings: DMatrix<f64>,
        /// D of every task, not negative.
        #[serde(with = "crate::linalg::record::vector")]
        uniquenesses: DVector<f64>,
    },
}

/// Most tasks of which the pairs that factors relate are spelt out as a task graph.
const MOST_SPELT_OUT: usize = 500;

impl Prior {
    /// With every feature, as many as `factor` L has rows, in the mean, varying and related.
    ///
    /// ```
    /// use cognate::{Mean, Prior, Relatedness};
    /// use nalgebra::dmatrix;
    /// let prior = Prior::new(Mean::Profiled, Relatedness::Identity, dmatrix![2.0, 0.0; 1.0, 1.0]);
    /// assert_eq!(prior.varying, [0, 1]);
    /// assert_eq!(prior.feature_covariance(), dmatrix![4.0, 2.0; 2.0, 2.0]);
    /// ```
    pub fn new(mean: Mean, relatedness: Relatedness, factor: DMatrix<f64>) -> Self {
        let all: Vec<usize> = (0..factor.nrows()).collect();
        Prior {
            mean,
            mean_features: all.clone(),
            varying: all,
            free: Vec::new(),
            unrelated: Vec::new(),
            relatedness,
            factor,
            groups: Groups::default(),
            mixture: None,
            task_scales: None,
            kernel: None,
            mean_precision: flat(),
        }
    }

    /// Log prior density of a mean (over the mean features) up to a constant: -1/2 m' P m.
    pub(crate) fn log_mean_density(&self, mean: &DVector<f64>) -> f64 {
        if self.mean_precision.is_empty() { 0.0 } else { -0.5 * mean.dot(&(&self.mean_precision * mean)) }
    }

    /// The scale of a task: of its group, times its own.
    pub(crate) fn scale(&self, task: usize) -> f64 {
        self.groups.scale(task) * self.task_scales.as_ref().map_or(1.0, |own| own.values[task])
    }

    /// K, q x q.
    pub fn feature_covariance(&self) -> DMatrix<f64> {
        &self.factor * self.factor.transpose()
    }

    /// The positions among the varying features of those that follow Sigma.
    pub(crate) fn related_positions(&self) -> Vec<usize> {
        (0..self.varying.len()).filter(|k| !self.unrelated.contains(&self.varying[*k])).collect()
    }

    /// The varying features that follow Sigma.
    pub(crate) fn related_features(&self) -> impl Iterator<Item = usize> {
        self.related_positions().into_iter().map(|k| self.varying[k])
    }

    /// The positions of the unrelated features among the varying ones, in their order.
    pub(crate) fn unrelated_positions(&self) -> Vec<usize> {
        self.unrelated.iter().filter_map(|feature| self.varying.iter().position(|own| own == feature)).collect()
    }

    /// The columns of L that follow Sigma: all, or where some features are unrelated those that move any of the others.
    pub(crate) fn related_columns(&self) -> Vec<usize> {
        let rows = self.related_positions();
        let moves = |k: &usize| self.unrelated.is_empty() || rows.iter().any(|a| self.factor[(*a, *k)] != 0.0);
        (0..self.factor.ncols()).filter(moves).collect()
    }

    /// How many directions of the feature space vary and follow Sigma.
    pub(crate) fn related_directions(&self) -> usize {
        self.related_columns().iter().filter(|k| self.factor.column(**k).norm() > 0.0).count()
    }

    /// The same prior with Sigma times `scale`, where it is learned, and K divided by it.
    pub(crate) fn with_sigma_times(mut self, scale: f64) -> Self {
        self.related_columns().into_iter().for_each(|k| self.factor.column_mut(k).unscale_mut(scale.sqrt()));
        let kernel = self.kernel.take().map(|kernel| TaskKernel { scale: kernel.scale * scale, ..kernel });
        Prior { relatedness: self.relatedness.scaled(scale), kernel, ..self }
    }

    /// L's diagonal, where L is square and diagonal.
    pub(crate) fn diagonal(&self) -> Option<Vec<f64>> {
        let factor = &self.factor;
        let is_diagonal = factor.is_square() && (0..factor.ncols()).all(|j| (0..factor.nrows()).all(|i| i == j || factor[(i, j)] == 0.0));
        is_diagonal.then(|| factor.diagonal().iter().copied().collect())
    }
}

impl Relatedness {
    /// Whether tasks share a learned spread.
    pub(crate) fn varies(&self) -> bool {
        !matches!(self, Relatedness::Zero | Relatedness::Diagonal(_))
    }

    /// Whether Sigma itself is learned.
    pub(crate) fn is_learned(&self) -> bool {
        matches!(self, Relatedness::Dense(_) | Relatedness::Graph(_) | Relatedness::LowRank { .. })
    }

    /// The task graph where Sigma is stored as one.
    pub(crate) fn as_graph(&self) -> Option<&TaskGraph> {
        match self {
            Relatedness::Graph(graph) => Some(graph),
            _ => None,
        }
    }

    /// Sigma times `factor`, where it is learned; fixed forms stay.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Relatedness::Dense(sigma) => Relatedness::Dense(sigma * factor),
            Relatedness::Graph(graph) => Relatedness::Graph(graph.scaled(1.0 / factor)),
            Relatedness::LowRank { loadings, uniquenesses } => {
                Relatedness::LowRank { loadings: loadings * factor.sqrt(), uniquenesses: uniquenesses * factor }
            }
            other => other,
        }
    }

    /// Sigma as correlations; where all tasks have the same parameters, all are 1. None as for [`Relatedness::covariance`].
    pub(crate) fn correlation(&self, tasks: usize) -> Option<DMatrix<f64>> {
        match self {
            Relatedness::Zero => Some(DMatrix::from_element(tasks, tasks, 1.0)),
            other => other.covariance(tasks).map(|sigma| crate::linalg::correlation(&sigma)),
        }
    }

    /// Factors turned so that Lambda' D^-1 Lambda is diagonal and falls, and the largest loading of each is positive; other forms as they are.
    pub(crate) fn in_principal_form(self) -> Self {
        let Relatedness::LowRank { loadings, uniquenesses } = self else { return self };
        let weighted =
            DMatrix::from_fn(loadings.nrows(), loadings.ncols(), |t, j| loadings[(t, j)] / uniquenesses[t].max(f64::MIN_POSITIVE));
        let mut strengths = weighted.tr_mul(&loadings);
        crate::linalg::symmetrise(&mut strengths);
        let (_, turns) = crate::linalg::symmetric_eigen(&strengths);
        let falling: Vec<usize> = (0..turns.ncols()).rev().collect();
        let mut loadings = loadings * turns.select_columns(&falling);
        for mut own in loadings.column_iter_mut().filter(|own| !own.is_empty()) {
            if own[own.iamax()] < 0.0 {
                own.neg_mut();
            }
        }
        Relatedness::LowRank { loadings, uniquenesses }
    }

    /// Whether the pairs that it relates are too many to be spelt out.
    pub(crate) fn is_too_wide(&self) -> bool {
        matches!(self, Relatedness::LowRank { uniquenesses, .. } if uniquenesses.len() > MOST_SPELT_OUT)
    }

    /// Sigma's diagonal; none as for [`Relatedness::covariance`]. O(T k) for k factors.
    pub(crate) fn variances(&self, tasks: usize) -> Option<DVector<f64>> {
        match self {
            Relatedness::LowRank { loadings, uniquenesses } => {
                Some(DVector::from_fn(tasks, |t, _| loadings.row(t).norm_squared() + uniquenesses[t]))
            }
            other => other.covariance(tasks).map(|sigma| sigma.diagonal()),
        }
    }

    /// The task graph of Omega: learned edges, all pairs for a dense Sigma and for factors of up to 500 tasks, no edge for the other forms.
    pub(crate) fn graph(&self, names: &[String]) -> TaskGraph {
        match self {
            Relatedness::Graph(graph) => graph.clone(),
            Relatedness::Dense(sigma) => match crate::linalg::cholesky(sigma.clone()) {
                Some(factor) => {
                    let mut omega = crate::linalg::inverse_of_cholesky(&factor);
                    let scale: Vec<f64> = omega.diagonal().iter().map(|own| own.sqrt()).collect();
                    // What is nothing but the rounding of the inversion is no edge.
                    for (t, mut column) in omega.column_iter_mut().enumerate() {
                        column.iter_mut().zip(&scale).for_each(|(value, own)| {
                            if value.abs() <= ROUNDING * own * scale[t] {
                                *value = 0.0;
                            }
                        });
                    }
                    TaskGraph::of_precision(names, &omega)
                }
                None => TaskGraph::empty(names),
            },
            Relatedness::LowRank { .. } if !self.is_too_wide() => match self.covariance(names.len()) {
                Some(sigma) => Relatedness::Dense(sigma).graph(names),
                None => TaskGraph::empty(names),
            },
            _ => TaskGraph::empty(names),
        }
    }

    /// The elements (s, t, value), s <= t, of Omega = Sigma^-1 that are not 0 by construction; `None` where Sigma has no
    /// inverse. O(T^3) for a dense Sigma, O(T^2 k) for k factors.
    pub(crate) fn precision_elements(&self, tasks: usize) -> Option<Vec<(usize, usize, f64)>> {
        let diagonal = |value: &dyn Fn(usize) -> f64| (0..tasks).map(|t| (t, t, value(t))).collect::<Vec<_>>();
        match self {
            Relatedness::Zero => None,
            Relatedness::Identity => Some(diagonal(&|_| 1.0)),
            Relatedness::Diagonal(v) => v.iter().all(|v| *v > 0.0).then(|| diagonal(&|t| 1.0 / v[t])),
            Relatedness::Dense(sigma) => {
                let omega = crate::linalg::inverse_of_cholesky(&crate::linalg::cholesky(sigma.clone())?);
                Some((0..tasks).flat_map(|t| (0..=t).map(move |s| (s, t))).map(|(s, t)| (s, t, omega[(s, t)])).collect())
            }
            Relatedness::Graph(graph) => {
                let mut elements = diagonal(&|t| graph.node(t).precision);
                elements.extend(graph.edges().map(|(s, t, edge)| (s, t, edge.precision)));
                Some(elements)
            }
            Relatedness::LowRank { loadings, uniquenesses } => {
                // Omega = D^-1 - X X' with X = D^-1 Lambda R^-T, R R' = I + Lambda' D^-1 Lambda.
                if uniquenesses.iter().any(|own| *own <= 0.0) {
                    return None;
                }
                let scaled = DMatrix::from_fn(loadings.ncols(), tasks, |j, t| loadings[(t, j)] / uniquenesses[t]);
                let mut inner = &scaled * loadings;
                (0..inner.nrows()).for_each(|j| inner[(j, j)] += 1.0);
                let mut x = scaled;
                crate::linalg::solve_lower_matrix(&crate::linalg::cholesky(inner)?, &mut x);
                let element = |s: usize, t: usize| (s, t, if s == t { 1.0 / uniquenesses[t] } else { 0.0 } - x.column(s).dot(&x.column(t)));
                Some((0..tasks).flat_map(|t| (0..=t).map(move |s| (s, t))).map(|(s, t)| element(s, t)).collect())
            }
        }
    }

    /// Sigma as a dense matrix of `tasks` tasks; `None` where a graph's precision is not positive definite. O(T^3) for a graph.
    pub fn covariance(&self, tasks: usize) -> Option<DMatrix<f64>> {
        Some(match self {
            Relatedness::Zero => DMatrix::zeros(tasks, tasks),
            Relatedness::Identity => DMatrix::identity(tasks, tasks),
            Relatedness::Diagonal(v) => DMatrix::from_diagonal(v),
            Relatedness::Dense(sigma) => sigma.clone(),
            Relatedness::LowRank { loadings, uniquenesses } => {
                let mut sigma = crate::linalg::gram(&loadings.transpose());
                uniquenesses.iter().enumerate().for_each(|(t, own)| sigma[(t, t)] += own);
                sigma
            }
            Relatedness::Graph(graph) => {
                let mut sigma = DMatrix::zeros(tasks, tasks);
                let omega = graph.precision();
                for component in graph.components() {
                    let n = component.len();
                    let block = DMatrix::from_fn(n, n, |i, j| omega[(component[i], component[j])]);
                    let inverse = crate::linalg::inverse_of_cholesky(&crate::linalg::cholesky(block)?);
                    for i in 0..n {
                        for j in 0..n {
                            sigma[(component[i], component[j])] = inverse[(i, j)];
                        }
                    }
                }
                sigma
            }
        })
    }
}
