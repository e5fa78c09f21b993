//! The posterior of a sparse precision matrix under spike and slab, exactly: a Gibbs sampler, column by column.

use super::candidates::Candidates;
use super::correlations::CorrelationDraws;
use super::inverse::Inverse;
use super::moments::TaskMoments;
use crate::graph::TaskGraph;
use crate::linalg::{self, normal};
use nalgebra::DMatrix;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution, Gamma};
use statrs::function::erf::erfc;

/// What is believed of Omega before the parameters are known.
///
/// p(Omega, edges, rate, slab) is proportional to, over positive definite Omega,
/// (|Omega| exp(-tr Omega))^(strength / 2) prod_edges rate M(omega_st; slab scale_s scale_t) prod_others (1 - rate),
/// times rate ~ Beta(1, sparsity) and slab ~ inverse gamma([`SLAB_SHAPE`], [`SLAB_SCALE`]). M(x; v) = x^2 / v N(x; 0, v) is the
/// first moment density of Johnson and Rossell (2010): an edge is not next to nothing, so pairs without one are soon known as such.
#[derive(Clone, Debug)]
pub(crate) struct Beliefs {
    pub strength: f64,
    pub sparsity: f64,
    /// Precision of each task when it is seen alone, one over its variance. With it the slab spreads as the unit information of one
    /// observation at no edge does (Kass and Wasserman 1995), so that the odds of an edge are those of its z-score: with 1 for all,
    /// weak chance edges between tasks of small variance pass for the strong ones of tasks of large variance.
    pub scale: Vec<f64>,
}

/// Shape of the slab's prior.
const SLAB_SHAPE: f64 = 5.0;

/// Scale of the slab's prior, whose mean is .1: elements of about .45, the mode of M.
const SLAB_SCALE: f64 = 0.4;

/// Sweeps between two fresh inversions of Omega, which bound the growth of rounding.
const REFRESH: usize = 20;

/// The state of the sampler.
#[derive(Clone, Debug)]
pub(crate) struct SpikeSlab {
    beliefs: Beliefs,
    candidates: Candidates,
    omega: DMatrix<f64>,
    sigma: Inverse,
    rate: f64,
    slab: f64,
    sweeps: usize,
    /// Conditional probability of every candidate's edge in the latest sweep, the mean of its two draws.
    pub probabilities: Vec<f64>,
    /// That of an edge with a positive partial correlation.
    pub positive: Vec<f64>,
}

impl SpikeSlab {
    /// Starts at the precision matrix of `start`, which must be positive definite and have edges among the candidates only.
    pub(crate) fn new(start: &TaskGraph, candidates: Candidates, beliefs: Beliefs) -> Self {
        let tasks = start.len();
        let omega = start.precision();
        let sigma = linalg::cholesky(omega.clone()).map_or_else(|| DMatrix::identity(tasks, tasks), |f| linalg::inverse_of_cholesky(&f));
        let edges = start.edges().count() as f64;
        SpikeSlab {
            rate: (1.0 + edges) / (1.0 + beliefs.sparsity + candidates.rated()),
            slab: SLAB_SCALE / SLAB_SHAPE,
            beliefs,
            omega,
            sigma: Inverse::new(sigma),
            sweeps: 0,
            probabilities: vec![0.0; candidates.pairs()],
            positive: vec![0.0; candidates.pairs()],
            candidates,
        }
    }

    /// Omega.
    pub(crate) fn omega(&self) -> &DMatrix<f64> {
        &self.omega
    }

    /// Keeps the correlations of the current Sigma.
    pub(crate) fn keep(&self, draws: &mut CorrelationDraws) {
        let diagonal: Vec<f64> = (0..self.omega.nrows()).map(|t| self.sigma.diagonal(t)).collect();
        draws.push(&diagonal, &|t| self.sigma.column(t));
    }

    /// One sweep over all columns, the rate and the slab given the second moments of `directions` independent draws from
    /// N(0, Omega^-1), their sum. O(T c^2) with c the size of a component, and O(candidates).
    ///
    /// Column t is drawn as Wang (2015) does it, but for a spike at exactly 0: given all other elements and the pivot
    /// omega_tt - u' Omega_rest^-1 u, which stays positive, each u_s is 0 or from a known density with known odds (Geweke 1996).
    pub(crate) fn sweep<R: Rng + ?Sized>(&mut self, moment: &TaskMoments, directions: f64, random: &mut R) {
        let tasks = self.omega.nrows();
        self.probabilities.fill(0.0);
        self.positive.fill(0.0);
        self.sweeps += 1;
        if self.sweeps.is_multiple_of(REFRESH) {
            self.sigma.refresh(&self.omega);
        }
        (0..tasks).for_each(|t| self.draw_column(t, moment, directions, random));
        self.draw_hyperparameters(random);
    }

    fn draw_column<R: Rng + ?Sized>(&mut self, t: usize, moment: &TaskMoments, directions: f64, random: &mut R) {
        let tasks = self.omega.nrows();
        let own = moment.at(t, t) + self.beliefs.strength;
        let before = self.sigma.column(t);
        let own_sigma = before[t];
        // Omega_rest^-1 = Sigma - Sigma_t Sigma_t' / Sigma_tt; `along` is it times the column u.
        let mut along: Vec<f64> = before.iter().map(|s| -s / own_sigma).collect();
        along[t] = 0.0;
        let prior_odds = self.rate / (1.0 - self.rate);
        for (s, pair) in self.candidates.of(t) {
            let rest = self.sigma.diagonal(s) - before[s] * before[s] / own_sigma;
            let spread = self.slab * self.beliefs.scale[s] * self.beliefs.scale[t];
            let old = self.omega[(s, t)];
            let precision = own * rest + 1.0 / spread;
            let pull = -(moment.at(s, t) + own * (along[s] - rest * old));
            let location = pull / precision.sqrt();
            let ratio = (1.0 + location * location) / ((spread * precision) * (spread * precision).sqrt());
            let odds = prior_odds * ratio * (0.5 * location * location).exp();
            let probability = if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 };
            self.probabilities[pair] += 0.5 * probability;
            // A positive partial correlation is a negative element. What is next to impossible needs no sign.
            let upward = if probability > 1e-3 { moment_positive(-location) } else { 0.5 };
            self.positive[pair] += 0.5 * probability * upward;
            let new = if random.random::<f64>() < probability { draw_moment(location, random) / precision.sqrt() } else { 0.0 };
            if new != old {
                (self.omega[(s, t)], self.omega[(t, s)]) = (new, new);
                let (change, tilt) = (new - old, before[s] / own_sigma);
                let column = self.sigma.column(s);
                for (value, (own, shared)) in along.iter_mut().zip(column.iter().zip(&before)) {
                    *value += change * (own - shared * tilt);
                }
            }
        }
        let shape = 0.5 * (directions + self.beliefs.strength) + 1.0;
        let pivot = Gamma::new(shape, 2.0 / own).map_or(1.0 / own_sigma, |gamma| gamma.sample(random));
        self.omega[(t, t)] = pivot + (0..tasks).map(|s| self.omega[(s, t)] * along[s]).sum::<f64>();
        // Sigma_rest^-1 goes with the old column, and comes with the new one.
        along[t] = -1.0;
        let scaled = |values: Vec<f64>, by: f64| values.into_iter().map(|value| value * by).collect();
        self.sigma.change(scaled(along, pivot.sqrt().recip()), scaled(before, own_sigma.sqrt().recip()));
    }

    fn draw_hyperparameters<R: Rng + ?Sized>(&mut self, random: &mut R) {
        let (mut edges, mut squares) = (0.0, 0.0);
        for (s, t, _) in self.candidates.iter().filter(|(s, t, _)| self.omega[(*s, *t)] != 0.0) {
            edges += 1.0;
            squares += self.omega[(s, t)].powi(2) / (self.beliefs.scale[s] * self.beliefs.scale[t]);
        }
        if let Ok(rate) = Beta::new(1.0 + edges, self.beliefs.sparsity + self.candidates.rated() - edges) {
            self.rate = rate.sample(random).clamp(1e-12, 1.0 - 1e-12);
        }
        if let Ok(precision) = Gamma::new(SLAB_SHAPE + 1.5 * edges, 1.0 / (SLAB_SCALE + 0.5 * squares)) {
            self.slab = 1.0 / precision.sample(random);
        }
    }
}

/// A draw from the density proportional to x^2 N(x; location, 1): (w + m)^2 <= 2 (w^2 + m^2), so half the draws of a mixture of
/// w ~ +-chi_3 and w ~ N(0, 1) with weights 1 : m^2 are taken.
fn draw_moment<R: Rng + ?Sized>(location: f64, random: &mut R) -> f64 {
    let square = location * location;
    // So far out x^2 is next to constant.
    if square.is_nan() || square > 1e12 {
        return location + normal(random);
    }
    loop {
        let w = if random.random::<f64>() * (1.0 + square) < 1.0 {
            let radius = (0..3).map(|_| normal(random).powi(2)).sum::<f64>().sqrt();
            if random.random() { radius } else { -radius }
        } else {
            normal(random)
        };
        let x = location + w;
        if random.random::<f64>() * 2.0 * (w * w + square) < x * x {
            return x;
        }
    }
}

/// Probability that such a draw is positive: Phi(m) + m phi(m) / (1 + m^2).
fn moment_positive(location: f64) -> f64 {
    let density = (-0.5 * location * location).exp() / (2.0 * std::f64::consts::PI).sqrt();
    0.5 * erfc(-location * std::f64::consts::FRAC_1_SQRT_2) + location * density / (1.0 + location * location)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::posterior::{Gibbs, Posterior, TaskPrecision};
    use crate::prior::{Mean, Prior, Relatedness};
    use crate::quadratic::{Quadratic, Quadratics};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const TASKS: usize = 4;
    const STRENGTH: f64 = 2.0;
    const SPARSITY: f64 = 2.0;

    fn beliefs() -> Beliefs {
        Beliefs { strength: STRENGTH, sparsity: SPARSITY, scale: vec![1.0, 1.5, 0.8, 1.2] }
    }

    fn names() -> Vec<String> {
        (0..TASKS).map(|t| t.to_string()).collect()
    }

    /// A draw of (Omega, rate, slab) from the beliefs by rejection: |Omega| is at most the product of the diagonal.
    fn draw(random: &mut ChaCha8Rng) -> (DMatrix<f64>, f64, f64) {
        loop {
            let rate = Beta::new(1.0, SPARSITY).unwrap().sample(random);
            let slab = 1.0 / Gamma::new(SLAB_SHAPE, 1.0 / SLAB_SCALE).unwrap().sample(random);
            let diagonal = Gamma::new(0.5 * STRENGTH + 1.0, 2.0 / STRENGTH).unwrap();
            let mut omega = DMatrix::from_fn(TASKS, TASKS, |i, j| if i == j { diagonal.sample(random) } else { 0.0 });
            let scale = beliefs().scale;
            for t in 0..TASKS {
                for s in 0..t {
                    if random.random::<f64>() < rate {
                        omega[(s, t)] = draw_moment(0.0, random) * (slab * scale[s] * scale[t]).sqrt();
                        omega[(t, s)] = omega[(s, t)];
                    }
                }
            }
            if let Some(factor) = linalg::cholesky(omega.clone())
                && random.random::<f64>().ln() < 0.5 * STRENGTH * (linalg::log_determinant(&factor) - omega.diagonal().map(f64::ln).sum())
            {
                return (omega, rate, slab);
            }
        }
    }

    fn summaries(omega: &DMatrix<f64>, slab: f64) -> [f64; 5] {
        let edges = (0..TASKS).flat_map(|t| (0..t).map(move |s| (s, t))).filter(|(s, t)| omega[(*s, *t)] != 0.0).count() as f64;
        [omega[(0, 1)], omega[(2, 3)], omega[(0, 0)], edges, slab]
    }

    /// Simulation-based calibration (Talts et al. 2018): with truths drawn from the beliefs, the rank of a truth among draws of its
    /// posterior is uniform, ties broken at random. The parameters are seen with noise; the mean is flat and drawn along.
    #[test]
    fn ranks_of_truths_among_draws_are_uniform() {
        const REPLICATES: usize = 1500;
        const KEPT: usize = 19;
        const THIN: usize = 12;
        const DIRECTIONS: usize = 6;
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let mut counts = [[0usize; 5]; 5];
        for _ in 0..REPLICATES {
            let (omega, _, slab) = draw(&mut random);
            let sigma = omega.clone().try_inverse().unwrap();
            let z = DMatrix::from_fn(DIRECTIONS, TASKS, |_, _| normal(&mut random));
            let b = z * linalg::semidefinite_factor(&sigma).transpose();
            let quadratics: Vec<Quadratic> = (0..TASKS)
                .map(|t| {
                    let precision = 0.5 + t as f64;
                    let noisy = b.column(t).map(|value| 3.0 + value + normal(&mut random) / precision.sqrt());
                    Quadratic { constant: 0.0, linear: noisy * precision, curvature: DMatrix::identity(DIRECTIONS, DIRECTIONS) * precision }
                })
                .collect();
            let quadratics = Quadratics::new(&quadratics).unwrap();
            let prior = Prior::new(Mean::Integrated, Relatedness::Identity, DMatrix::identity(DIRECTIONS, DIRECTIONS));
            let posterior = Posterior::given(&quadratics, &prior).unwrap();
            let mut chain = Gibbs::new(&posterior).unwrap();
            let mut sampler = SpikeSlab::new(&TaskGraph::empty(&names()), Candidates::all(TASKS), beliefs());
            let truth = summaries(&omega, slab);
            let (mut below, mut tied) = ([0usize; 5], [0usize; 5]);
            for sweep in 1..=(KEPT + 3) * THIN {
                chain.sweep(TaskPrecision::Dense(sampler.omega()), &mut random).unwrap();
                let moment = chain.deviations().transpose() * chain.deviations();
                sampler.sweep(&TaskMoments::Matrix(moment), DIRECTIONS as f64, &mut random);
                if sweep > 3 * THIN && sweep.is_multiple_of(THIN) {
                    for (k, (drawn, own)) in summaries(sampler.omega(), sampler.slab).iter().zip(&truth).enumerate() {
                        below[k] += usize::from(drawn < own);
                        tied[k] += usize::from(drawn == own);
                    }
                }
            }
            for k in 0..5 {
                counts[k][(below[k] + random.random_range(0..=tied[k])) * 5 / (KEPT + 1)] += 1;
            }
        }
        for (k, name) in ["omega_01", "omega_23", "omega_00", "edges", "slab"].iter().enumerate() {
            let expected = REPLICATES as f64 / 5.0;
            let chi2: f64 = counts[k].iter().map(|c| (*c as f64 - expected).powi(2) / expected).sum();
            // Chi-squared with 4 degrees of freedom exceeds 18.5 once in a thousand.
            assert!(chi2 < 18.5, "ranks of {name} are not uniform: {:?}", counts[k]);
        }
    }

    #[test]
    fn moment_draws_have_the_moments_and_signs_of_their_density() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for location in [0.0, 0.7, -2.5] {
            let draws: Vec<f64> = (0..40_000).map(|_| draw_moment(location, &mut random)).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let positive = draws.iter().filter(|x| **x > 0.0).count() as f64 / draws.len() as f64;
            // E x^3 / E x^2 under N(location, 1).
            let expected = (location.powi(3) + 3.0 * location) / (location * location + 1.0);
            assert!((mean - expected).abs() < 0.03, "{mean} against {expected}");
            assert!((positive - moment_positive(location)).abs() < 0.01);
        }
    }

    /// The inverse that is carried along stays that of Omega.
    #[test]
    fn sigma_remains_the_inverse() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let moment = DMatrix::from_fn(6, 6, |i, j| if i == j { 30.0 } else { 6.0 / (1.0 + (i as f64 - j as f64).abs()) });
        let names: Vec<String> = (0..6).map(|t| t.to_string()).collect();
        let beliefs = Beliefs { strength: 2.0, sparsity: 6.0, scale: vec![1.0; 6] };
        let moment = TaskMoments::Matrix(moment);
        let mut sampler = SpikeSlab::new(&TaskGraph::empty(&names), Candidates::all(6), beliefs);
        for _ in 0..REFRESH - 1 {
            sampler.sweep(&moment, 25.0, &mut random);
            let error = {
                let sigma = DMatrix::from_fn(6, 6, |i, j| sampler.sigma.column(j)[i]);
                (sampler.omega() * sigma - DMatrix::identity(6, 6)).amax()
            };
            assert!(error < 1e-9, "{error}");
        }
    }
}
