//! A learned task graph: sparse Omega, its edges chosen by spike and slab, its values by exact constrained maximisation.

use super::candidates::{CandidateRule, Candidates};
use super::correlations::CorrelationDraws;
use super::edges::{Settings, sample};
use super::exchangeable::Exchangeable;
use super::feature_covariance::{FactorSpace, FeatureCovariance};
use super::known::KnownRelation;
use super::moments::{MOST_DENSE, TaskMoments};
use super::natural::Natural;
use super::nodewise::{NodewisePrior, inclusion};
use super::refit::refit;
use super::{Options, Setting, Sharing, Smooth, Structure};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::likelihood::Dispersion;
use crate::posterior::{Posterior, log_determinant_along};
use crate::prior::{Mean, Prior, Relatedness};
use std::collections::HashMap;

/// Steps of the ladder by which the edge rate falls from the densest to what is learned.
const LADDER: usize = 5;

/// Tasks that each of very many may be joined with.
const NEAREST: usize = 20;

/// Omega = Sigma^-1 on the edges of a task graph, with log prior nu/2 (log |Omega| - tr Omega) on its values.
///
/// Starting from the exchangeable fit, a sampler finds the probability of every edge with the noise of the tasks carried
/// ([`EdgeMethod`]); the values of the edges more likely than not are then found by quasi-Newton steps.
///
/// With [`EdgeMethod::Fast`] EM chooses the edges itself: each M-step regresses every task on all others under a spike-and-slab
/// prior (inclusion scores averaged over both directions) and keeps the edges with score above one half. The edge rate falls from
/// dense to sparse, for an empty graph is a fixed point of EM under noise.
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
    rule: CandidateRule,
    candidates: Option<Candidates>,
    natural: Option<Natural>,
    search: Search,
    /// Every pair worth naming, once sampled.
    sampled: Option<TaskGraph>,
    expected_edges: f64,
    /// Where the correlations of the sampler's draws go, if they are asked for.
    kept: Option<CorrelationDraws>,
}

/// How edge probabilities are found.
///
/// ```
/// use cognate::EdgeMethod;
/// assert_eq!(EdgeMethod::default().for_tasks(50), EdgeMethod::EXACT);
/// assert_eq!(EdgeMethod::default().for_tasks(800), EdgeMethod::Exact { sweeps: 200 });
/// assert_eq!(EdgeMethod::default().for_tasks(5_000), EdgeMethod::PSEUDO_GIBBS);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EdgeMethod {
    /// [`EdgeMethod::Exact`] up to 1,000 tasks (from 300 on with 200 sweeps), [`EdgeMethod::PseudoGibbs`] beyond.
    #[default]
    Auto,
    /// By a Gibbs sampler whose limit is the posterior of the edges given K and the noise. O(T^3) a sweep.
    Exact {
        /// Sweeps that count.
        sweeps: usize,
    },
    /// By node-wise regressions on drawn parameters, which approximates that posterior. O(T^2) a sweep and more.
    PseudoGibbs {
        /// Sweeps that count.
        sweeps: usize,
    },
    /// By EM alone: a score that ranks edges, too sure where tasks are noisy.
    Fast,
}

impl EdgeMethod {
    /// The exact sampler with its usual number of sweeps.
    pub const EXACT: EdgeMethod = EdgeMethod::Exact { sweeps: 1000 };

    /// The pseudo-Gibbs sampler with its usual number of sweeps.
    pub const PSEUDO_GIBBS: EdgeMethod = EdgeMethod::PseudoGibbs { sweeps: 200 };

    /// Most tasks of which Omega is drawn exactly unless asked.
    const MOST_EXACT: usize = 1_000;

    /// Most of which it is drawn so often.
    const MOST_OFTEN: usize = 300;

    /// What [`EdgeMethod::Auto`] stands for among so many tasks; the others stand for themselves.
    pub fn for_tasks(self, tasks: usize) -> EdgeMethod {
        match self {
            EdgeMethod::Auto if tasks <= Self::MOST_OFTEN => Self::EXACT,
            EdgeMethod::Auto if tasks <= Self::MOST_EXACT => EdgeMethod::Exact { sweeps: 200 },
            EdgeMethod::Auto => Self::PSEUDO_GIBBS,
            other => other,
        }
    }

    /// The same method with another number of sweeps.
    pub(crate) fn with_sweeps(self, sweeps: usize) -> EdgeMethod {
        match self {
            EdgeMethod::Exact { .. } => EdgeMethod::Exact { sweeps },
            EdgeMethod::PseudoGibbs { .. } => EdgeMethod::PseudoGibbs { sweeps },
            other => other,
        }
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
            expected_edges: 0.0,
            kept: None,
            rule: CandidateRule::default(),
            candidates: None,
            natural: None,
            search: Search { step: 0, rate: 0.5, slab: 0.2, edges: Vec::new(), unchanged: 0 },
        }
    }

    /// As the options say.
    pub(crate) fn of_options(options: &Options) -> Self {
        let given = match &options.relation {
            Some(KnownRelation::Graph(edges)) => Some(edges.iter().map(|(s, t, _)| (s.clone(), t.clone())).collect()),
            _ => None,
        };
        Graph::new(options.feature_covariance.unwrap_or(FeatureCovariance::Diagonal))
            .with_strength(options.prior_strength)
            .with_edges(options.edges)
            .with_seed(options.seed)
            .with_rule(CandidateRule { given, nearest: options.nearest, pairs: 0.0 })
    }

    /// With another strength nu of the prior on Omega's values (`None`: 2); the exact sampler of edges has one of its own.
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

    /// Looks for edges among these pairs of tasks only: what is known of where relations may be makes weaker ones visible.
    pub fn with_candidates(mut self, pairs: &[(String, String)]) -> Self {
        self.rule.given = Some(pairs.to_vec());
        self
    }

    /// Looks for edges only between each task and the `count` tasks whose posterior means correlate most with its own, and the given
    /// candidates (`None`: all pairs of up to 5,000 tasks, the 20 nearest beyond).
    pub fn with_nearest(mut self, count: Option<usize>) -> Self {
        self.rule.nearest = count;
        self
    }

    /// Looks for edges where another fit looked for them.
    pub fn with_rule(mut self, rule: CandidateRule) -> Self {
        self.rule = rule;
        self
    }

    /// Keeping the correlations of what the exact sampler draws.
    pub(crate) fn keeping(mut self, draws: CorrelationDraws) -> Self {
        self.kept = Some(draws);
        self
    }

    /// Those, once sampled.
    pub(crate) fn kept(&mut self) -> Option<CorrelationDraws> {
        self.kept.take()
    }

    /// Among tasks of these names, for updates without a start.
    pub(crate) fn among(mut self, names: &[String]) -> Self {
        self.names = names.to_vec();
        self
    }

    /// Curvature of the log-likelihood of known parameters in a coordinate of K, as that of Omega's coordinates is made: 2 T for each
    /// direction that the coordinate scales.
    fn tightness(&self, prior: &Prior) -> f64 {
        let directions = if self.space.kind == FeatureCovariance::Scalar { prior.related_columns().len() } else { 1 };
        2.0 * (self.names.len() * directions) as f64
    }

    /// Where edges are looked for, given the moments of the posterior means.
    fn candidates_at(&mut self, moments: &TaskMoments) -> Result<Candidates> {
        let tasks = self.names.len();
        let given = self.rule.given.as_ref().map(|pairs| {
            let place: HashMap<&str, usize> = self.names.iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
            let both = |(s, t): &(String, String)| Some((*place.get(s.as_str())?, *place.get(t.as_str())?));
            pairs.iter().filter_map(both).filter(|(s, t)| s != t).collect::<Vec<_>>()
        });
        if given.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::Arguments(
                "no candidate edge joins two tasks of the data; check how --graph names the tasks, or leave it out".into(),
            ));
        }
        let candidates = match (given, self.rule.nearest) {
            (Some(pairs), None) => Candidates::given(tasks, &pairs),
            (None, None) if tasks <= MOST_DENSE => Candidates::all(tasks),
            (given, nearest) => Candidates::nearest(moments, nearest.unwrap_or(NEAREST), &given.unwrap_or_default()),
        };
        self.rule.pairs = candidates.rated();
        Ok(candidates)
    }

    /// Second moments of the tasks, summed over r directions, at the exchangeable start: the correlation of the posterior
    /// means, which noise shrinks less than the moments themselves.
    fn first_moments(posterior: &Posterior, r: f64) -> TaskMoments {
        let moments = if posterior.tasks() <= MOST_DENSE {
            TaskMoments::Matrix(posterior.task_moment_of_means())
        } else {
            TaskMoments::Columns(posterior.whitened_deviations().clone())
        };
        moments.correlations(r)
    }

    /// Samples the edges at an exchangeable posterior of r directions; the likely ones, and the expected moments of the tasks.
    fn sample(&mut self, posterior: &Posterior, r: f64, (exact, sweeps): (bool, usize)) -> Result<(TaskGraph, TaskMoments)> {
        let takers = takers(posterior.prior());
        let moments = Self::first_moments(posterior, r);
        let candidates = self.candidates_at(&moments)?;
        if posterior.tasks() > EdgeMethod::MOST_OFTEN {
            // A sampler forgets its start, and the dense rungs of the ladder cost most.
            let rate = candidates.tasks() as f64 / candidates.rated().max(1.0);
            self.search = Search { step: LADDER, rate, ..self.search.clone() };
        }
        let pattern = loop {
            let pattern = self.select(&moments, &candidates, r, takers.as_deref());
            if self.search.step > LADDER {
                break pattern;
            }
        };
        let start = refit(&pattern, &moments, (r, self.strength), 1e-5)?;
        let first = NodewisePrior { rate: self.search.rate.min(0.5), slab: self.search.slab };
        let settings = Settings { strength: self.strength, takers: takers.as_deref(), exact, sweeps, seed: self.seed };
        let sampled = sample(posterior, &start, candidates, first, settings, self.kept.as_mut())?;
        let likely = sampled.graph.likely();
        self.expected_edges = sampled.expected_edges;
        self.sampled = Some(sampled.graph);
        Ok((likely, sampled.moments))
    }

    /// Sum of the sampled probabilities of all pairs, those not worth naming included.
    pub(crate) fn expected_edges(&self) -> f64 {
        self.expected_edges
    }

    /// Whether the edges are settled, so that only values are left to find.
    fn is_chosen(&self) -> bool {
        self.sampled.is_some() || self.search.unchanged >= 3
    }

    /// One step of the search; where the varying features have a flat mean, what all tasks have in common is the mean's.
    fn select(&mut self, moments: &TaskMoments, candidates: &Candidates, r: f64, takers: Option<&[usize]>) -> TaskGraph {
        let floor = if self.search.step < LADDER { densest(candidates) * 0.5f64.powi(self.search.step as i32) } else { 0.0 };
        let rate = self.search.rate.max(floor).min(0.5);
        let prior = NodewisePrior { rate, slab: self.search.slab };
        let found = match takers {
            Some(groups) => inclusion(&moments.without_common_part(groups), candidates, r, prior),
            None => inclusion(moments, candidates, r, prior),
        };
        let mut pattern = TaskGraph::empty(&self.names);
        let mut edges = Vec::new();
        let mut expected = 0.0;
        for (s, t, pair) in candidates.iter() {
            let probability = found.probabilities[pair];
            expected += probability;
            if probability > 0.5 {
                pattern.connect(s, t, 0.0, Some(probability));
                edges.push((s, t));
            }
        }
        // Beta(1, pairs) prior on the rate, one edge expected: with a weaker one every rate explains null data equally well.
        let rate = (1.0 + expected) / (1.0 + 2.0 * candidates.rated());
        let unchanged = if edges == self.search.edges && self.search.step >= LADDER { self.search.unchanged + 1 } else { 0 };
        self.search = Search { step: self.search.step + 1, rate, slab: found.slab, edges, unchanged };
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

    fn sharing(&self) -> Sharing {
        Sharing::Structure
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
        let directions = prior.related_columns();
        let largest = directions.iter().map(|k| prior.factor.column(*k).norm()).fold(0.0, f64::max);
        let (kept, empty): (Vec<usize>, Vec<usize>) = directions.into_iter().partition(|k| prior.factor.column(*k).norm() > 1e-4 * largest);
        let r = kept.len() as f64;
        if kept.is_empty() {
            self.search.unchanged = usize::MAX;
            self.sampled = (self.edges != EdgeMethod::Fast).then(|| TaskGraph::empty(&self.names));
            return Ok(prior.clone());
        }
        if !empty.is_empty() {
            return Ok(Prior { factor: prior.factor.clone().remove_columns_at(&empty), ..prior.clone() });
        }
        let related = posterior.related();
        let was_graph = prior.relatedness.as_graph().is_some();
        let (pattern, moments) = match self.edges.for_tasks(tasks) {
            EdgeMethod::Exact { sweeps } => self.sample(related, r, (true, sweeps))?,
            EdgeMethod::PseudoGibbs { sweeps } => self.sample(related, r, (false, sweeps))?,
            EdgeMethod::Auto | EdgeMethod::Fast => {
                related.check_pairs()?;
                let moments = if was_graph { TaskMoments::Matrix(related.task_moment()) } else { Self::first_moments(related, r) };
                let candidates = match self.candidates.take() {
                    Some(candidates) => candidates,
                    None => self.candidates_at(&moments)?,
                };
                let pattern = self.select(&moments, &candidates, r, takers(related.prior()).as_deref());
                self.candidates = Some(candidates);
                (pattern, moments)
            }
        };
        let fitted = refit(&pattern, &moments, (r, self.strength), 1e-11)?;
        let relatedness = Relatedness::Graph(fitted);
        let chosen = if was_graph { self.space.step_at(posterior, relatedness)? } else { Prior { relatedness, ..prior.clone() } };
        if !self.is_chosen() {
            return Ok(chosen);
        }
        // The likelihood does not see the scale that Omega and K share; its prior is highest where tr Omega = T.
        let trace = |prior: &Prior| prior.relatedness.as_graph().map_or(1.0, |graph| (0..tasks).map(|t| graph.node(t).precision).sum());
        let scale: f64 = tasks as f64 / trace(&chosen);
        let scaled = chosen.with_sigma_times(1.0 / scale);
        self.natural = scaled.relatedness.as_graph().map(|omega| Natural::at(omega, (self.tightness(prior) / r).sqrt()));
        Ok(Prior { factor: self.space.of(&scaled.feature_covariance()), ..scaled })
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        let Relatedness::Graph(graph) = &prior.relatedness else { return 0.0 };
        let Some(log_determinant) = log_determinant_along(graph) else { return f64::NEG_INFINITY };
        let trace: f64 = (0..graph.len()).map(|t| graph.node(t).precision).sum();
        let values = 0.5 * self.strength * (log_determinant - trace + graph.len() as f64);
        let r = prior.related_directions() as f64;
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
        self.space.len(prior) + edges
    }

    fn relates(&self) -> bool {
        true
    }

    fn edge_probabilities(&self) -> Option<&TaskGraph> {
        self.sampled.as_ref()
    }

    fn candidates(&self) -> Option<&CandidateRule> {
        Some(&self.rule)
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        if self.is_chosen() { Some(self) } else { None }
    }
}

/// With its edges given: K's coordinates, and round ones (`natural.rs`) for Omega's diagonal and its elements on the edges.
impl Smooth for Graph {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let own = self.space.coordinates(prior);
        let (Relatedness::Graph(graph), Some(natural)) = (&prior.relatedness, &self.natural) else { return own };
        let diagonal = (0..graph.len()).map(|t| graph.node(t).precision.ln());
        let values: Vec<f64> = diagonal.chain(graph.edges().map(|(_, _, edge)| edge.precision)).collect();
        own.into_iter().chain(natural.of(&values)).collect()
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let (own, rest) = point.split_at(self.space.len(like));
        let relatedness = match (&like.relatedness, &self.natural) {
            (Relatedness::Graph(graph), Some(natural)) => {
                let there = natural.back(rest);
                let (diagonal, values) = there.split_at(graph.len());
                let mut moved = graph.clone();
                diagonal.iter().enumerate().for_each(|(t, value)| moved.set_diagonal(t, value.exp()));
                graph.edges().zip(values).for_each(|((s, t, _), value)| moved.set_precision(s, t, *value));
                Relatedness::Graph(moved)
            }
            (other, _) => other.clone(),
        };
        Some(Prior { relatedness, ..self.space.at(own, like)? })
    }

    /// d log posterior / d Omega_st = ((r + nu) Sigma - M - nu I)_st / 2, twice that where an edge has two elements.
    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let prior = posterior.prior();
        let mut slope = self.space.slope(posterior);
        let related = posterior.related();
        if let (Relatedness::Graph(graph), Some(natural)) = (&prior.relatedness, &self.natural) {
            let (expected, moment) = (related.prior_task_moment_on_graph(graph), related.task_moment_on_graph(graph));
            let extra = 1.0 + self.strength / related.prior().factor.ncols() as f64;
            let residuals = expected.iter().zip(&moment).map(|(prior, own)| extra * prior - own).enumerate();
            let own: Vec<f64> = residuals
                .map(|(k, residual)| if k < graph.len() { 0.5 * (residual - self.strength) * graph.node(k).precision } else { residual })
                .collect();
            slope.extend(natural.slope(&own));
        }
        slope
    }

    fn curvature(&self, prior: &Prior) -> Option<f64> {
        Some(self.tightness(prior))
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(&self.space)
    }
}

/// Edge rate at which the ladder begins: half of all pairs, or twenty neighbours a task where these are fewer.
fn densest(candidates: &Candidates) -> f64 {
    (10.0 * candidates.tasks() as f64 / candidates.rated().max(1.0)).min(0.5)
}

/// Where the mean is flat and some varying feature has one, the group of every task, whose common part its mean takes (nothing for one
/// group). (Features dropped from the mean as combinations of others have one through these.)
fn takers(prior: &Prior) -> Option<Vec<usize>> {
    let takes = prior.mean == Mean::Integrated && prior.varying.iter().any(|feature| prior.mean_features.contains(feature));
    takes.then(|| prior.groups.of_task.clone())
}
