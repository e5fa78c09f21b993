//! Which tasks each task needs: variational spike-and-slab regressions of every task on all others.

use super::candidates::Candidates;
use super::moments::TaskMoments;
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use nalgebra::DMatrix;
use rayon::prelude::*;
use statrs::distribution::{ContinuousCDF, Normal};

/// Hyperparameters of the regressions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodewisePrior {
    /// Prior probability of an edge.
    pub rate: f64,
    /// Slab variance of a standardised coefficient over the residual variance.
    pub slab: f64,
}

/// Inclusion probabilities of all candidates, the mean of both directions, and the slab variance they suggest.
pub(crate) struct Inclusion {
    /// By the number of the pair.
    pub probabilities: Vec<f64>,
    /// Probability that a pair is included with a positive coefficient.
    pub positive: Vec<f64>,
    pub slab: f64,
}

/// Smallest slab variance: coefficients of about 0.3.
const LEAST_SLAB: f64 = 0.1;

/// Inclusion probability below which a coefficient is left out of the residual: it would move that by next to nothing.
const NEGLIGIBLE: f64 = 5e-3;

/// Lowest score that is named.
const NAMED: f64 = 1e-4;

/// Regresses every task on its candidates given the second moments of `directions` independent draws (their sum).
///
/// Coordinate updates of Carbonetto and Stephens (2012); the residual correlation of a node is touched only where a
/// coefficient changes, so tasks at zero cost nothing. O(T) a node and sweep, plus O(T) for each active coefficient; with c candidates
/// a task O(c), and O(c^2 r) once for their correlations.
pub(crate) fn inclusion(moments: &TaskMoments, candidates: &Candidates, directions: f64, prior: NodewisePrior) -> Inclusion {
    let tasks = candidates.tasks();
    let all = candidates.are_all().then(|| {
        let everyone: Vec<usize> = (0..tasks).collect();
        crate::linalg::correlation(&moments.among(&everyone))
    });
    let nodes: Vec<Node> = (0..tasks)
        .into_par_iter()
        .map(|t| match &all {
            Some(correlation) => Node::regress(correlation, t, directions, prior),
            None => {
                let local: Vec<usize> = std::iter::once(t).chain(candidates.of(t).map(|(s, _)| s)).collect();
                Node::regress(&crate::linalg::correlation(&moments.among(&local)), 0, directions, prior)
            }
        })
        .collect();
    let (mut probabilities, mut positive) = (vec![0.0; candidates.pairs()], vec![0.0; candidates.pairs()]);
    let (mut second, mut weight) = (0.0, 0.0);
    for (t, node) in nodes.iter().enumerate() {
        for (place, (s, pair)) in candidates.of(t).enumerate() {
            let own = if all.is_some() { s } else { place + 1 };
            probabilities[pair] += 0.5 * node.inclusion[own];
            positive[pair] += 0.5 * node.positive[own];
        }
        second += node.second_moment;
        weight += node.inclusion.iter().sum::<f64>();
    }
    // One coefficient's worth of the current slab keeps the estimate defined without edges; a slab narrower than LEAST_SLAB
    // would be a second spike, and edge rate and slab could no longer be told apart on null data.
    let slab = ((second + prior.slab) / (weight + 1.0)).clamp(LEAST_SLAB, 1.0);
    Inclusion { probabilities, positive, slab }
}

/// Scores of all pairs of tasks as edges, from parameters that are known: the node-wise M-step of [`Graph`](super::Graph) by itself, its edge rate and
/// slab learned. Of `parameters`, T x d, every column counts as a draw from N(0, Sigma); take off the mean beforehand. Scores rank edges; pairs below .0001
/// are left out. O(T^2 d), and O(T) a task and sweep beside O(T) for each active coefficient.
///
/// ```
/// use nalgebra::DMatrix;
/// // The second task repeats half of the first, the third goes its own way.
/// let noise = |k: usize, d: usize| ((d * 37 + k * 101 + d * d * (k + 3)) % 97) as f64 / 48.0 - 1.0;
/// let w = DMatrix::from_fn(3, 60, |t, d| if t == 1 { noise(0, d) + noise(1, d) } else { noise(t, d) });
/// let scores = cognate::edge_scores(&["a", "b", "c"], &w)?;
/// assert_eq!(scores.strongest()[0].0..=scores.strongest()[0].1, 0..=1);
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Shape`] where there are not as many names as rows, [`Error::NotPositiveDefinite`] for parameters that are not finite.
pub fn edge_scores<S: AsRef<str>>(tasks: &[S], parameters: &DMatrix<f64>) -> Result<TaskGraph> {
    const ROUNDS: usize = 3;
    if parameters.nrows() != tasks.len() {
        return Err(Error::Shape { what: "the rows of the parameters".into(), found: parameters.nrows(), expected: tasks.len() });
    }
    if parameters.iter().any(|value| !value.is_finite()) {
        let remedy = "give finite parameters only".into();
        return Err(Error::NotPositiveDefinite { matrix: "the moment matrix of the parameters".into(), remedy });
    }
    let candidates = Candidates::all(tasks.len());
    let (moments, d) = (TaskMoments::of_columns(&parameters.transpose()), parameters.ncols() as f64);
    let everyone = candidates.rated().max(1.0);
    let mut prior = NodewisePrior { rate: (tasks.len() as f64 / everyone).min(0.5), slab: 0.2 };
    let mut found = inclusion(&moments, &candidates, d, prior);
    for _ in 1..ROUNDS {
        let rate = (1.0 + found.probabilities.iter().sum::<f64>()) / (1.0 + 2.0 * everyone);
        prior = NodewisePrior { rate: rate.min(0.5), slab: found.slab };
        found = inclusion(&moments, &candidates, d, prior);
    }
    let mut scores = TaskGraph::empty(tasks);
    for (s, t, pair) in candidates.iter() {
        let size = (moments.at(s, s) * moments.at(t, t)).sqrt();
        if found.probabilities[pair] >= NAMED && size > 0.0 {
            scores.connect(s, t, -moments.at(s, t) / size, Some(found.probabilities[pair]));
        }
    }
    Ok(scores)
}

/// One node's regression.
struct Node {
    inclusion: Vec<f64>,
    /// Inclusion with a positive coefficient.
    positive: Vec<f64>,
    /// Expected sum of squared coefficients over the residual variance.
    second_moment: f64,
}

impl Node {
    fn regress(correlation: &DMatrix<f64>, node: usize, n: f64, prior: NodewisePrior) -> Node {
        const SWEEPS: usize = 200;
        let tasks = correlation.nrows();
        let mut order: Vec<usize> = (0..tasks).filter(|k| *k != node).collect();
        order.sort_by(|a, b| correlation[(*b, node)].abs().total_cmp(&correlation[(*a, node)].abs()));
        let log_odds = (prior.rate / (1.0 - prior.rate)).ln() - 0.5 * (n * prior.slab).ln_1p();
        let precision = n + 1.0 / prior.slab;
        let (mut inclusion, mut mean, mut active) = (vec![0.0; tasks], vec![0.0; tasks], vec![0.0; tasks]);
        // n times the correlation of every task with the residual of this node.
        let mut rest: Vec<f64> = correlation.column(node).iter().map(|c| n * c).collect();
        let mut variance = 1.0;
        // Between two sweeps over all coordinates, only those that are not next to nothing are gone over until they settle.
        let mut candidates: Vec<usize> = Vec::new();
        let mut all = true;
        for _ in 0..SWEEPS {
            let mut moved: f64 = 0.0;
            for &k in if all { &order } else { &candidates } {
                mean[k] = (rest[k] + n * active[k]) / precision;
                let evidence = log_odds + 0.5 * mean[k] * mean[k] * precision / variance;
                inclusion[k] = 1.0 / (1.0 + (-evidence).exp());
                let target = if inclusion[k] < NEGLIGIBLE { 0.0 } else { inclusion[k] * mean[k] };
                let change = target - active[k];
                if change.abs() > 1e-7 {
                    active[k] = target;
                    let column = &correlation.as_slice()[k * tasks..(k + 1) * tasks];
                    rest.iter_mut().zip(column).for_each(|(r, c)| *r -= n * change * c);
                    moved = moved.max(change.abs());
                }
            }
            if all {
                candidates = order.iter().copied().filter(|k| inclusion[*k] >= NEGLIGIBLE).collect();
            }
            let mut squares = n;
            let mut weight = 0.0;
            for &k in &candidates {
                squares -= active[k] * (n * correlation[(k, node)] + rest[k]);
                if inclusion[k] >= NEGLIGIBLE {
                    let second = inclusion[k] * (mean[k] * mean[k] + variance / precision);
                    squares += n * (second - active[k] * active[k]) + second / prior.slab;
                    weight += inclusion[k];
                }
            }
            let next = (squares / (n + weight)).clamp(1e-6, 1.0);
            moved = moved.max((next - variance).abs());
            variance = next;
            if moved < 1e-5 && all {
                break;
            }
            all = moved < 1e-5;
        }
        let normal = Normal::standard();
        let second_moment =
            (0..tasks).filter(|k| *k != node).map(|k| inclusion[k] * (mean[k] * mean[k] / variance + 1.0 / precision)).sum();
        let sign = |k: usize| if inclusion[k] < NEGLIGIBLE { 0.5 } else { normal.cdf(mean[k] * (precision / variance).sqrt()) };
        let positive = (0..tasks).map(|k| inclusion[k] * sign(k)).collect();
        Node { inclusion, positive, second_moment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tasks: 0 and 1 related, 2 apart. With two predictors the exact posterior is a sum over four models.
    #[test]
    fn agrees_with_enumeration_of_all_models_at_fixed_variance() {
        let c = DMatrix::from_row_slice(3, 3, &[1.0, 0.5, 0.1, 0.5, 1.0, 0.05, 0.1, 0.05, 1.0]);
        let (n, prior) = (100.0, NodewisePrior { rate: 0.2, slab: 0.2 });
        let candidates = Candidates::all(3);
        let found = inclusion(&TaskMoments::Matrix(&c * n), &candidates, n, prior).probabilities;
        let exact = |node: usize, of: usize| {
            let others: Vec<usize> = (0..3).filter(|k| *k != node).collect();
            let (mut with, mut all) = (0.0, 0.0);
            for model in 0..4usize {
                let chosen: Vec<usize> = (0..2).filter(|b| model >> b & 1 == 1).map(|b| others[b]).collect();
                let k = chosen.len();
                let x = DMatrix::from_fn(k, k, |i, j| n * c[(chosen[i], chosen[j])] + if i == j { 1.0 / prior.slab } else { 0.0 });
                let xy = DMatrix::from_fn(k, 1, |i, _| n * c[(chosen[i], node)]);
                let explained = if k == 0 { 0.0 } else { (xy.transpose() * x.clone().try_inverse().unwrap() * &xy)[0] };
                // Residual variance with a flat prior on its logarithm.
                let log = -0.5 * n * ((n - explained) / n).ln() - 0.5 * (if k == 0 { 0.0 } else { (x * prior.slab).determinant().ln() })
                    + k as f64 * prior.rate.ln()
                    + (2 - k) as f64 * (1.0 - prior.rate).ln();
                all += log.exp();
                if chosen.contains(&of) {
                    with += log.exp();
                }
            }
            with / all
        };
        for (s, t) in [(0, 1), (0, 2), (1, 2)] {
            let expected = 0.5 * (exact(s, t) + exact(t, s));
            let own = found[candidates.number(s, t).unwrap()];
            assert!((own - expected).abs() < 0.02, "{s}-{t}: {own} against {expected}");
        }
    }
}
