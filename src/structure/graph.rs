//! A learned task graph: sparse Omega, its edges chosen by spike and slab, its values by exact constrained maximisation.

use super::edges::{Settings, sample};
use super::exchangeable::Exchangeable;
use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::nodewise::{SpikeSlab, inclusion, without_common_part};
use super::refit::refit;
use super::{Phase, Setting, Structure};
use crate::error::Result;
use crate::graph::TaskGraph;
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use nalgebra::DMatrix;

/// Steps after the ladder for which EM may go on choosing edges before they are sampled.
const SEARCH: usize = 10;

/// Steps of the ladder by which the edge rate falls from 1/2 to what is learned.
const LADDER: usize = 5;

/// Omega = Sigma^-1 on the edges of a task graph, with log prior nu/2 (log |Omega| - tr Omega) on its values.
///
/// Each M-step regresses every task on all others under a spike-and-slab prior (inclusion probabilities averaged over both
/// directions), keeps the edges with probability above one half, and refits Omega on them exactly. The fit starts from the
/// exchangeable one and the edge rate falls from dense to sparse, for an empty graph is a fixed point of EM under noise.
/// When that search has settled, a pseudo-Gibbs sampler finds the probability of every edge with the noise of the tasks carried,
/// and the edges more likely than not are fitted once more ([`EdgeMethod`]).
///
/// ```
/// use cognate::{FeatureCovariance, Graph, Structure};
/// assert_eq!(Graph::new(FeatureCovariance::Scalar).name(), "graph");
/// ```
#[derive(Clone, Debug)]
pub struct Graph {
    space: FactorSpace,
    names: Vec<String>,
    strength: f64,
    edges: EdgeMethod,
    seed: u64,
    search: Search,
    /// Every pair worth naming, once sampled.
    sampled: Option<TaskGraph>,
}

/// How edge probabilities are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EdgeMethod {
    /// By a pseudo-Gibbs sampler of so many sweeps, which carries the noise of the tasks.
    PseudoGibbs {
        /// Sweeps that count.
        sweeps: usize,
    },
    /// By EM alone: a score that ranks edges, too sure where tasks are noisy.
    Fast,
}

impl Default for EdgeMethod {
    fn default() -> Self {
        EdgeMethod::PseudoGibbs { sweeps: 200 }
    }
}

/// Where the search for edges stands.
#[derive(Clone, Debug)]
struct Search {
    step: usize,
    rate: f64,
    slab: f64,
    edges: Vec<(usize, usize)>,
    unchanged: usize,
    moved: f64,
}

impl Graph {
    /// With K of that shape and prior strength nu = 2.
    pub fn new(covariance: FeatureCovariance) -> Self {
        Graph {
            space: FactorSpace::new(covariance),
            names: Vec::new(),
            strength: 2.0,
            edges: EdgeMethod::default(),
            seed: 0,
            sampled: None,
            search: Search { step: 0, rate: 0.5, slab: 0.2, edges: Vec::new(), unchanged: 0, moved: f64::INFINITY },
        }
    }

    /// With another strength nu of the prior on Omega's values (`None`: 2).
    pub fn with_strength(mut self, strength: Option<f64>) -> Self {
        self.strength = strength.unwrap_or(self.strength);
        self
    }

    /// With another way to find the edge probabilities.
    pub fn with_edges(mut self, edges: EdgeMethod) -> Self {
        self.edges = edges;
        self
    }

    /// With another seed of the sampler (default 0).
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the search by EM has come to its end and sampling is still to do.
    fn ready_to_sample(&self) -> bool {
        let searched = self.search.unchanged >= 3 || self.search.step >= LADDER + SEARCH;
        self.edges != EdgeMethod::Fast && self.sampled.is_none() && searched
    }

    /// The median probability model (Barbieri and Berger 2004): the edges more likely than not.
    fn likely(graph: &TaskGraph) -> TaskGraph {
        let mut likely = graph.without_edges();
        for (s, t, edge) in graph.edges().filter(|(_, _, edge)| edge.probability.is_some_and(|p| p > 0.5)) {
            likely.connect_uncertain(s, t, edge.clone());
        }
        likely
    }

    /// Second moments of the tasks, summed over r directions, at the exchangeable start: the correlation of the posterior
    /// means, which noise shrinks less than the moments themselves.
    fn first_moment(posterior: &Posterior, r: f64) -> DMatrix<f64> {
        linalg::correlation(&posterior.task_moment_of_means()) * r
    }

    fn select(&mut self, moment: &DMatrix<f64>, r: f64) -> TaskGraph {
        let tasks = self.names.len();
        let pairs = (tasks * (tasks - 1)) as f64 / 2.0;
        let floor = if self.search.step < LADDER { 0.5f64.powi(self.search.step as i32 + 1) } else { 0.0 };
        let rate = self.search.rate.max(floor).min(0.5);
        let found = inclusion(moment, r, SpikeSlab { rate, slab: self.search.slab });
        let mut pattern = TaskGraph::empty(&self.names);
        let mut edges = Vec::new();
        let mut expected = 0.0;
        for t in 0..tasks {
            for s in 0..t {
                let probability = found.probabilities[(s, t)];
                expected += probability;
                if probability > 0.5 {
                    pattern.connect(s, t, 0.0, Some(probability));
                    edges.push((s, t));
                }
            }
        }
        // Beta(1, pairs) prior on the rate, one edge expected: with a weaker one every rate explains null data equally well.
        let rate = (1.0 + expected) / (1.0 + 2.0 * pairs);
        let unchanged = if edges == self.search.edges && self.search.step >= LADDER { self.search.unchanged + 1 } else { 0 };
        self.search = Search { step: self.search.step + 1, rate, slab: found.slab, edges, unchanged, moved: self.search.moved };
        pattern
    }
}

impl Structure for Graph {
    fn name(&self) -> &'static str {
        "graph"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(self.space.kind)
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Exchangeable::new(self.space.kind)))
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        self.names = setting.names.to_vec();
        let prior = setting.prior(setting.learned_mean(), Relatedness::Identity, self.space.start(setting));
        Ok((prior, None))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let prior = posterior.prior();
        let tasks = posterior.tasks();
        // Directions without variance carry nothing.
        let largest = (0..prior.factor.ncols()).map(|k| prior.factor.column(k).norm()).fold(0.0, f64::max);
        let kept: Vec<usize> = (0..prior.factor.ncols()).filter(|k| prior.factor.column(*k).norm() > 1e-4 * largest).collect();
        let r = kept.len() as f64;
        if kept.is_empty() {
            (self.search.unchanged, self.search.moved) = (usize::MAX, 0.0);
            self.sampled = Some(TaskGraph::empty(&self.names));
            return Ok(prior.clone());
        }
        let moment = match &prior.relatedness {
            Relatedness::Graph(_) => posterior.task_moment(),
            _ => Self::first_moment(posterior, r),
        };
        // Where the varying features have a flat mean, what all tasks have in common is the mean's.
        let mean_takes_all = prior.mean == Mean::Integrated && has_means(prior);
        if let (true, Relatedness::Graph(start), EdgeMethod::PseudoGibbs { sweeps }) =
            (self.ready_to_sample(), &prior.relatedness, self.edges)
        {
            let settings = Settings { strength: self.strength, mean_takes_all, sweeps, seed: self.seed };
            let first = SpikeSlab { rate: self.search.rate.min(0.5), slab: self.search.slab };
            self.sampled = Some(sample(posterior, start, first, settings)?);
            self.search.unchanged = usize::MAX;
        }
        let pattern = if let Some(sampled) = &self.sampled {
            Self::likely(sampled)
        } else if mean_takes_all {
            self.select(&without_common_part(&moment), r)
        } else {
            self.select(&moment, r)
        };
        let shrunk = (moment + DMatrix::identity(tasks, tasks) * self.strength) / (r + self.strength);
        let graph = refit(&pattern, &shrunk)?;
        self.search.moved = match &prior.relatedness {
            Relatedness::Graph(before) => (before.precision() - graph.precision()).amax(),
            _ => f64::INFINITY,
        };
        let was_graph = matches!(prior.relatedness, Relatedness::Graph(_));
        let relatedness = Relatedness::Graph(graph);
        let factor = if was_graph { self.space.update_at(posterior, &relatedness)? } else { prior.factor.clone() };
        // K keeps its shape; only the columns that span it are stored.
        let spans: Vec<usize> = (0..factor.ncols()).filter(|k| factor.column(*k).norm() > 1e-4 * largest).collect();
        Ok(Prior { relatedness, factor: factor.select_columns(&spans), ..prior.clone() })
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let Relatedness::Graph(graph) = &prior.relatedness else { return 0.0 };
        let omega = graph.precision();
        let Some(root) = linalg::cholesky(omega.clone()) else { return f64::NEG_INFINITY };
        let values = 0.5 * self.strength * (linalg::log_determinant(&root) - omega.trace() + graph.len() as f64);
        let r = prior.factor.ncols() as f64;
        let edges = graph.edges().count() as f64;
        let rate = self.search.rate.min(0.5);
        let pairs = (graph.len() * graph.len().saturating_sub(1)) as f64 / 2.0;
        // Edge set and Beta(1, pairs) prior of the rate.
        let empty = (2.0 * pairs - 1.0).max(0.0) * (1.0 - rate).ln();
        values + empty + edges * ((rate / (1.0 - rate)).ln() - 0.5 * (r * self.search.slab).ln_1p())
    }

    fn parameters(&self, prior: &Prior) -> usize {
        let edges = match &prior.relatedness {
            Relatedness::Graph(graph) => graph.edges().count() + graph.len() - 1,
            _ => 0,
        };
        self.space.len(prior.varying.len()) + edges
    }

    fn edge_probabilities(&self) -> Option<&TaskGraph> {
        self.sampled.as_ref()
    }

    fn phase(&self) -> Phase {
        let chosen = if self.edges == EdgeMethod::Fast { self.search.unchanged >= 3 } else { self.sampled.is_some() };
        match (chosen, self.search.moved < 1e-4) {
            (false, _) => Phase::Searching,
            (true, false) => Phase::Chosen,
            (true, true) => Phase::Settled,
        }
    }
}

/// Whether some varying feature has a mean. (Those dropped from it as combinations of others have one through these.)
fn has_means(prior: &Prior) -> bool {
    prior.varying.iter().any(|feature| prior.mean_features.contains(feature))
}
