//! How sure each edge is: draws of the parameters, the mean, the edges and the values of Omega in turn, counted.

use super::candidates::Candidates;
use super::correlations::CorrelationDraws;
use super::moments::{MOST_DENSE, TaskMoments};
use super::nodewise::{NodewisePrior, inclusion};
use super::refit::refit;
use super::spike_slab::{Beliefs, SpikeSlab};
use crate::error::Result;
use crate::graph::{Edge, TaskGraph};
use crate::posterior::{Gibbs, Posterior, TaskPrecision};
use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, Exp1};
use std::collections::BTreeMap;

/// Lowest probability of a pair that is kept.
const LEAST: f64 = 0.02;

/// nu of the exact sampler's prior on Omega's values, in observations of unrelated tasks: it only has to be proper. With 2, as the
/// point fit has it, probabilities are too modest: power among 139 tasks with 30 features falls by a fifth.
const BELIEVED: f64 = 0.25;

/// What a task's variance of 1, the average, weighs in its own, in observations: so that a few directions do not decide it.
const USUAL: f64 = 10.0;

/// Most tasks for which the pseudo-Gibbs sampler chooses edges without the tasks' common part.
const FEW: usize = 5;

/// Draws of very many tasks from which their moments are made in the end.
const KEPT_DRAWS: usize = 25;

/// What a sampler holds fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings<'a> {
    /// nu of the prior on Omega's values, for the pseudo-Gibbs sampler.
    pub strength: f64,
    /// Where the varying features have a flat mean, so that what a group has in common is no part of Sigma: the group of every task (nothing
    /// for one group).
    pub takers: Option<&'a [usize]>,
    /// Whether Omega is drawn from its exact conditional.
    pub exact: bool,
    /// Sweeps that count; half as many before them do not.
    pub sweeps: usize,
    pub seed: u64,
}

/// What the sampler found.
pub(crate) struct Sampled {
    /// Every pair of probability at least [`LEAST`]: probability, partial correlation and its sign and interval.
    pub graph: TaskGraph,
    /// Sum of the probabilities of all pairs.
    pub expected_edges: f64,
    /// Expected second moments of the tasks, summed over the directions.
    pub moments: TaskMoments,
}

/// Samples the edges among the candidates given K, the noise and `start` as the first Omega.
///
/// A sweep draws the mean and U given Omega ([`Gibbs`]), then Omega and its edges given U, exactly ([`SpikeSlab`]) or by
/// [`PseudoGibbs`]. The reported probabilities are averages of the conditional probabilities, not of the drawn edges. Noise in
/// the tasks is thereby carried: given one estimate of U, as EM has it, edges reinforce themselves. The correlations of every Omega that counts go
/// into `kept`, where Omega is drawn exactly.
///
/// # Errors
/// What [`Gibbs::new`] refuses, and draws beyond double precision.
pub(crate) fn sample(
    posterior: &Posterior,
    start: &TaskGraph,
    candidates: Candidates,
    first: NodewisePrior,
    settings: Settings,
    mut kept: Option<&mut CorrelationDraws>,
) -> Result<Sampled> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let tasks = start.len();
    let mut chain = Gibbs::new(posterior)?;
    let mut omega = start.clone();
    let mut step = if settings.exact {
        let beliefs = Beliefs { strength: BELIEVED, sparsity: candidates.sparsity(), scale: typical_precisions(posterior, start) };
        Step::Exact(SpikeSlab::new(start, candidates.clone(), beliefs))
    } else {
        // The common part wanders freely: among few tasks it is much of what they share, among many next to nothing of it.
        let takers = settings.takers.filter(|_| tasks <= FEW).map(<[usize]>::to_vec);
        Step::Pseudo(PseudoGibbs::new(start, candidates.clone(), first, settings.strength, takers))
    };
    let (mut probabilities, mut positive) = (vec![0.0; candidates.pairs()], vec![0.0; candidates.pairs()]);
    let mut moments = MeanMoments::new(tasks, settings.sweeps);
    let mut drawn: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    let burn_in = settings.sweeps / 2;
    for sweep in 0..burn_in + settings.sweeps {
        chain.sweep(TaskPrecision::Along(&omega), &mut random)?;
        chain.check()?;
        let own = TaskMoments::of_columns(chain.deviations());
        match &mut step {
            Step::Exact(sampler) => {
                sampler.sweep(&own, chain.deviations().nrows() as f64, &mut random);
                omega = start.like_precision(sampler.omega());
            }
            Step::Pseudo(sampler) => {
                sampler.sweep(chain.deviations(), &own, &mut random);
                omega.clone_from(&sampler.omega);
            }
        }
        if sweep >= burn_in {
            let (all, up) = match &step {
                Step::Exact(sampler) => (&sampler.probabilities, &sampler.positive),
                Step::Pseudo(sampler) => (&sampler.probabilities, &sampler.positive),
            };
            add(&mut probabilities, all);
            add(&mut positive, up);
            moments.add(own);
            if let (Some(kept), Step::Exact(sampler)) = (kept.as_deref_mut(), &step) {
                sampler.keep(kept);
            }
            for (s, t, edge) in omega.edges() {
                drawn.entry((s, t)).or_default().push(edge.partial_correlation);
            }
        }
    }
    let mut graph = start.without_edges();
    for ((s, t), mut values) in drawn {
        let Some(pair) = candidates.number(s, t) else { continue };
        let probability = (probabilities[pair] / settings.sweeps as f64).min(1.0);
        if probability >= LEAST {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let up = positive[pair] / probabilities[pair];
            values.sort_by(f64::total_cmp);
            let at = |level: f64| values[(level * (values.len() - 1) as f64).round() as usize];
            let edge = Edge {
                precision: 0.0,
                partial_correlation: mean,
                probability: Some(probability),
                sign_probability: Some(if mean >= 0.0 { up } else { 1.0 - up }.clamp(0.0, 1.0)),
                interval: (values.len() >= 20).then(|| (at(0.025), at(0.975))),
                score: None,
            };
            graph.connect_uncertain(s, t, edge);
        }
    }
    let expected_edges = probabilities.iter().sum::<f64>() / settings.sweeps as f64;
    Ok(Sampled { graph, expected_edges, moments: moments.mean() })
}

/// One over the variance of each task among the directions, as the exchangeable posterior expects it.
fn typical_precisions(posterior: &Posterior, start: &TaskGraph) -> Vec<f64> {
    let directions = posterior.whitened_deviations().nrows() as f64;
    let squares = posterior.task_moment_on_graph(&start.without_edges());
    squares.iter().map(|own| (directions + USUAL) / (own + USUAL)).collect()
}

fn add(sum: &mut [f64], more: &[f64]) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
}

/// The mean of the moments of many draws; of very many tasks, whose matrix is not made, the moments of some of the draws.
struct MeanMoments {
    sum: Option<DMatrix<f64>>,
    columns: Vec<DMatrix<f64>>,
    every: usize,
    added: usize,
}

impl MeanMoments {
    fn new(tasks: usize, draws: usize) -> Self {
        let sum = (tasks <= MOST_DENSE).then(|| DMatrix::zeros(tasks, tasks));
        MeanMoments { sum, columns: Vec::new(), every: draws.div_ceil(KEPT_DRAWS).max(1), added: 0 }
    }

    fn add(&mut self, own: TaskMoments) {
        match (&mut self.sum, own) {
            (Some(sum), TaskMoments::Matrix(own)) => *sum += own,
            (_, TaskMoments::Columns(own)) if self.added.is_multiple_of(self.every) => self.columns.push(own),
            _ => {}
        }
        self.added += 1;
    }

    fn mean(self) -> TaskMoments {
        match self.sum {
            Some(sum) => TaskMoments::Matrix(sum / self.added.max(1) as f64),
            None => {
                let scale = (self.columns.len().max(1) as f64).sqrt().recip();
                let (rows, tasks) = self.columns.first().map_or((0, 0), DMatrix::shape);
                let mut all = DMatrix::zeros(rows * self.columns.len(), tasks);
                for (k, own) in self.columns.into_iter().enumerate() {
                    all.rows_mut(k * rows, rows).copy_from(&(own * scale));
                }
                TaskMoments::Columns(all)
            }
        }
    }
}

/// How Omega is drawn given U.
enum Step {
    Exact(SpikeSlab),
    Pseudo(PseudoGibbs),
}

/// Edges from node-wise variational regressions, the edge rate given their number (Beta(1, T + pairs) prior), and Omega's values
/// on the edges by the constrained maximum at randomly weighted directions (the weighted likelihood bootstrap of Newton and
/// Raftery 1994). For many tasks, where [`SpikeSlab`] is slow.
struct PseudoGibbs {
    hyper: NodewisePrior,
    candidates: Candidates,
    strength: f64,
    takers: Option<Vec<usize>>,
    omega: TaskGraph,
    probabilities: Vec<f64>,
    positive: Vec<f64>,
}

impl PseudoGibbs {
    fn new(start: &TaskGraph, candidates: Candidates, first: NodewisePrior, strength: f64, takers: Option<Vec<usize>>) -> Self {
        PseudoGibbs { hyper: first, candidates, strength, takers, omega: start.clone(), probabilities: Vec::new(), positive: Vec::new() }
    }

    fn sweep<R: Rng + ?Sized>(&mut self, deviations: &DMatrix<f64>, own: &TaskMoments, random: &mut R) {
        let directions = deviations.nrows() as f64;
        let found = match &self.takers {
            Some(groups) => inclusion(&own.without_common_part(groups), &self.candidates, directions, self.hyper),
            None => inclusion(own, &self.candidates, directions, self.hyper),
        };
        let mut pattern = self.omega.without_edges();
        let mut edges = 0.0;
        for (s, t, pair) in self.candidates.iter() {
            if random.random::<f64>() < found.probabilities[pair] {
                pattern.connect(s, t, 0.0, None);
                edges += 1.0;
            }
        }
        let weights = DVector::from_fn(deviations.nrows(), |_, _| -> f64 { Exp1.sample(random) });
        let mut weighted = deviations.clone();
        weighted.row_iter_mut().zip(weights.iter()).for_each(|(mut row, weight)| row *= weight.sqrt());
        // A pattern whose values cannot be found is passed over; the edges before it stand another time.
        if let Ok(omega) = refit(&pattern, &TaskMoments::Columns(weighted), (weights.sum(), self.strength), 1e-5) {
            self.omega = omega;
        }
        self.hyper.slab = found.slab;
        if let Ok(rate) = Beta::new(1.0 + edges, self.candidates.tasks() as f64 + 2.0 * self.candidates.rated() - edges) {
            self.hyper.rate = rate.sample(random).clamp(1e-12, 0.5);
        }
        (self.probabilities, self.positive) = (found.probabilities, found.positive);
    }
}
