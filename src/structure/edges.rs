//! How sure each edge is: draws of the parameters, the mean, the edges and the values of Omega in turn, counted.

use super::nodewise::{NodewisePrior, inclusion, without_common_part};
use super::refit::refit;
use super::spike_slab::{Beliefs, SpikeSlab};
use crate::graph::{Edge, TaskGraph};
use crate::posterior::{Gibbs, Posterior};
use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, Exp1};
use std::collections::BTreeMap;

/// Lowest probability of a pair that is kept.
const LEAST: f64 = 0.02;

/// What the edge rate's prior weighs beyond one pair without an edge for every task: among few tasks, whose common part cannot be
/// told from the mean, less would be too easily believed.
const BARE: f64 = 20.0;

/// Most tasks for which the pseudo-Gibbs sampler chooses edges without the tasks' common part.
const FEW: usize = 5;

/// What a sampler holds fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// nu of the prior on Omega's values.
    pub strength: f64,
    /// Whether the varying features have a flat mean, so that Sigma's common part is not identified.
    pub mean_takes_all: bool,
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
    /// Expected second moments of the tasks, T x T, summed over the directions.
    pub moment: DMatrix<f64>,
}

/// Samples the edges given K, the noise and `start` as the first Omega.
///
/// A sweep draws the mean and U given Omega ([`Gibbs`]), then Omega and its edges given U, exactly ([`SpikeSlab`]) or by
/// [`PseudoGibbs`]. The reported probabilities are averages of the conditional probabilities, not of the drawn edges. Noise in
/// the tasks is thereby carried: given one estimate of U, as EM has it, edges reinforce themselves.
pub(crate) fn sample(posterior: &Posterior, start: &TaskGraph, first: NodewisePrior, settings: Settings) -> Sampled {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let tasks = start.len();
    let mut chain = Gibbs::new(posterior);
    let mut omega = start.clone();
    let mut step = if settings.exact {
        let beliefs = Beliefs { strength: settings.strength, sparsity: tasks as f64 + BARE, scale: vec![1.0; tasks] };
        Step::Exact(SpikeSlab::new(start, beliefs))
    } else {
        // The common part wanders freely: among few tasks it is much of what they share, among many next to nothing of it.
        let few = settings.mean_takes_all && tasks <= FEW;
        Step::Pseudo(PseudoGibbs::new(start, first, settings.strength, few))
    };
    let (mut probabilities, mut positive) = (DMatrix::zeros(tasks, tasks), DMatrix::zeros(tasks, tasks));
    let mut moment = DMatrix::zeros(tasks, tasks);
    let mut drawn: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    let burn_in = settings.sweeps / 2;
    for sweep in 0..burn_in + settings.sweeps {
        chain.sweep(&omega, &mut random);
        let own = chain.deviations().transpose() * chain.deviations();
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
            probabilities += all;
            positive += up;
            moment += own;
            for (s, t, edge) in omega.edges() {
                drawn.entry((s, t)).or_default().push(edge.partial_correlation);
            }
        }
    }
    let mut graph = start.without_edges();
    for ((s, t), mut values) in drawn {
        let probability = (probabilities[(s, t)] / settings.sweeps as f64).min(1.0);
        if probability >= LEAST {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let up = positive[(s, t)] / probabilities[(s, t)];
            values.sort_by(f64::total_cmp);
            let at = |level: f64| values[(level * (values.len() - 1) as f64).round() as usize];
            let edge = Edge {
                precision: 0.0,
                partial_correlation: mean,
                probability: Some(probability),
                sign_probability: Some(if mean >= 0.0 { up } else { 1.0 - up }.clamp(0.0, 1.0)),
                interval: (values.len() >= 20).then(|| (at(0.025), at(0.975))),
            };
            graph.connect_uncertain(s, t, edge);
        }
    }
    let expected_edges = probabilities.upper_triangle().sum() / settings.sweeps as f64;
    Sampled { graph, expected_edges, moment: moment / settings.sweeps as f64 }
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
    strength: f64,
    few: bool,
    omega: TaskGraph,
    probabilities: DMatrix<f64>,
    positive: DMatrix<f64>,
}

impl PseudoGibbs {
    fn new(start: &TaskGraph, first: NodewisePrior, strength: f64, few: bool) -> Self {
        let empty = DMatrix::zeros(0, 0);
        PseudoGibbs { hyper: first, strength, few, omega: start.clone(), probabilities: empty.clone(), positive: empty }
    }

    fn sweep<R: Rng + ?Sized>(&mut self, deviations: &DMatrix<f64>, own: &DMatrix<f64>, random: &mut R) {
        let tasks = own.nrows();
        let directions = deviations.nrows() as f64;
        let found =
            if self.few { inclusion(&without_common_part(own), directions, self.hyper) } else { inclusion(own, directions, self.hyper) };
        let mut pattern = self.omega.without_edges();
        let mut edges = 0.0;
        for t in 0..tasks {
            for s in 0..t {
                if random.random::<f64>() < found.probabilities[(s, t)] {
                    pattern.connect(s, t, 0.0, None);
                    edges += 1.0;
                }
            }
        }
        let weights = DVector::from_fn(deviations.nrows(), |_, _| -> f64 { Exp1.sample(random) });
        let mut weighted = deviations.clone();
        weighted.row_iter_mut().zip(weights.iter()).for_each(|(mut row, weight)| row *= *weight);
        let moment = deviations.transpose() * weighted + DMatrix::identity(tasks, tasks) * self.strength;
        // A pattern whose values cannot be found is passed over; the edges before it stand another time.
        if let Ok(omega) = refit(&pattern, &(moment / (weights.sum() + self.strength)), 1e-5) {
            self.omega = omega;
        }
        self.hyper.slab = found.slab;
        let pairs = (tasks * tasks.saturating_sub(1)) as f64 / 2.0;
        if let Ok(rate) = Beta::new(1.0 + edges, tasks as f64 + 2.0 * pairs - edges) {
            self.hyper.rate = rate.sample(random).clamp(1e-12, 0.5);
        }
        (self.probabilities, self.positive) = (found.probabilities, found.positive);
    }
}
