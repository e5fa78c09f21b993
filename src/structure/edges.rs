//! How sure each edge is: a pseudo-Gibbs sampler over the parameters, the mean, the edges and the values of Omega.

use super::nodewise::{SpikeSlab, inclusion, without_common_part};
use super::refit::refit;
use crate::error::Result;
use crate::graph::{Edge, TaskGraph};
use crate::posterior::{Gibbs, Posterior};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Beta, Distribution, Exp1};
use std::collections::BTreeMap;

/// Lowest probability of a pair that is kept.
const LEAST: f64 = 0.05;

/// Most tasks for which edges are chosen without the tasks' common part.
const FEW: usize = 5;

/// Draws of the parameters between two draws of the edges.
const INNER: usize = 2;

/// What a sampler holds fixed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// nu of the prior on Omega's values.
    pub strength: f64,
    /// Whether the varying features have a flat mean, so that Sigma's common part is not identified.
    pub mean_takes_all: bool,
    /// Sweeps that count; a quarter as many before them do not.
    pub sweeps: usize,
    pub seed: u64,
}

/// Every pair of probability at least [`LEAST`]: probability, partial correlation and its sign and interval, given K, the
/// noise and `start` as the first Omega.
///
/// A sweep draws the mean and U given Omega ([`Gibbs`]); finds the inclusion probabilities by node-wise variational regressions
/// on U; draws the edges from them, the edge rate given their number (Beta(1, T + pairs) prior), and Omega's values on the edges by
/// the constrained maximum at randomly weighted directions (the weighted likelihood bootstrap of Newton and Raftery 1994). The
/// reported probabilities are averages of the inclusion probabilities, not of the drawn edges. Noise in the tasks is thereby
/// carried: given one estimate of U, as EM has it, edges reinforce themselves.
pub(crate) fn sample(posterior: &Posterior, start: &TaskGraph, first: SpikeSlab, settings: Settings) -> Result<TaskGraph> {
    let mut random = ChaCha8Rng::seed_from_u64(settings.seed);
    let tasks = start.len();
    let pairs = (tasks * tasks.saturating_sub(1)) as f64 / 2.0;
    let mut chain = Gibbs::new(posterior);
    let mut hyper = first;
    let mut omega = start.clone();
    let empty = start.without_edges();
    let (mut probabilities, mut positive) = (DMatrix::zeros(tasks, tasks), DMatrix::zeros(tasks, tasks));
    let mut drawn: BTreeMap<(usize, usize), Vec<f64>> = BTreeMap::new();
    let burn_in = settings.sweeps / 4;
    // The common part wanders freely: among few tasks it is much of what they share, among many next to nothing of it.
    let few = settings.mean_takes_all && tasks <= FEW;
    for sweep in 0..burn_in + settings.sweeps {
        (0..INNER).for_each(|_| chain.sweep(&omega, &mut random));
        let deviations = chain.deviations();
        let directions = deviations.nrows() as f64;
        let own = deviations.transpose() * deviations;
        let found = inclusion(&if few { without_common_part(&own) } else { own }, directions, hyper);
        let mut pattern = empty.clone();
        let mut edges = 0.0;
        for t in 0..tasks {
            for s in 0..t {
                if random.random::<f64>() < found.probabilities[(s, t)] {
                    pattern.connect(s, t, 0.0, None);
                    edges += 1.0;
                }
            }
        }
        let weights = DVector::from_fn(deviations.nrows(), |_, _| -> f64 { Exp1.sample(&mut random) });
        let mut weighted = deviations.clone();
        weighted.row_iter_mut().zip(weights.iter()).for_each(|(mut row, weight)| row *= *weight);
        let moment = deviations.transpose() * weighted + DMatrix::identity(tasks, tasks) * settings.strength;
        // A pattern whose values cannot be found is passed over.
        omega = refit(&pattern, &(moment / (weights.sum() + settings.strength))).unwrap_or(omega);
        hyper.slab = found.slab;
        if let Ok(rate) = Beta::new(1.0 + edges, tasks as f64 + 2.0 * pairs - edges) {
            hyper.rate = rate.sample(&mut random).clamp(1e-12, 0.5);
        }
        if sweep >= burn_in {
            probabilities += found.probabilities;
            positive += found.positive;
            for (s, t, edge) in omega.edges() {
                drawn.entry((s, t)).or_default().push(edge.partial_correlation);
            }
        }
    }
    let mut graph = omega.without_edges();
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
    Ok(graph)
}
