//! Draws of all task parameters and the common mean given a task precision, task by task, so that no joint system is factored.

use super::Posterior;
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, normal};
use crate::prior::{Groups, Mean, Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rand::Rng;
use rayon::prelude::*;

/// Sweeps from one draw of the mean with the deviations held to the next.
const REFRESH: usize = 4;

/// Omega, as it is stored.
#[derive(Clone, Copy)]
pub(crate) enum TaskPrecision<'a> {
    Along(&'a TaskGraph),
    Dense(&'a DMatrix<f64>),
}

impl TaskPrecision<'_> {
    fn len(self) -> usize {
        match self {
            TaskPrecision::Along(graph) => graph.len(),
            TaskPrecision::Dense(omega) => omega.nrows(),
        }
    }

    fn own(self, t: usize) -> f64 {
        match self {
            TaskPrecision::Along(graph) => graph.node(t).precision,
            TaskPrecision::Dense(omega) => omega[(t, t)],
        }
    }

    /// Takes sum_s Omega_st b_s over the other tasks off the score of a task.
    fn pull(self, t: usize, deviations: &DMatrix<f64>, score: &mut DVector<f64>) {
        match self {
            TaskPrecision::Along(graph) => {
                for s in graph.neighbours(t) {
                    let precision = graph.edge(s, t).map_or(0.0, |edge| edge.precision);
                    score.axpy(-precision, &deviations.column(s), 1.0);
                }
            }
            TaskPrecision::Dense(omega) => {
                linalg::add_times(score.as_mut_slice(), -1.0, deviations.as_slice(), omega.column(t).as_slice());
                score.axpy(omega[(t, t)], &deviations.column(t), 1.0);
            }
        }
    }

    /// Omega v.
    fn times(self, v: &[f64]) -> DVector<f64> {
        match self {
            TaskPrecision::Along(graph) => {
                let mut sums = DVector::from_fn(graph.len(), |t, _| graph.node(t).precision * v[t]);
                for (s, t, edge) in graph.edges() {
                    sums[s] += edge.precision * v[t];
                    sums[t] += edge.precision * v[s];
                }
                sums
            }
            TaskPrecision::Dense(omega) => omega * DVector::from_column_slice(v),
        }
    }

    fn relatedness(self) -> Option<Relatedness> {
        match self {
            TaskPrecision::Along(graph) => Some(Relatedness::Graph(graph.clone())),
            TaskPrecision::Dense(omega) => Some(Relatedness::Dense(linalg::inverse_of_cholesky(&linalg::cholesky(omega.clone())?))),
        }
    }
}

/// The state of a Gibbs sampler over (mean, b_1, .., b_T) given Omega, with K, the noise and Omega held from outside.
///
/// A sweep draws every b_t given its neighbours, O(r^2) by the eigenvectors of L' J_t L found once, and the mean with the parameters
/// held; every [`REFRESH`] sweeps the mean is drawn with the deviations held as well (interweaving, Yu and Meng 2011), so that it
/// moves freely whatever the noise. That draw passes over all J_t twice, which are larger than the caches.
///
/// Where errors are correlated between tasks there is no drawing them one by one: a sweep is a draw from the joint posterior given Omega.
pub(crate) struct Gibbs<'a> {
    quadratics: &'a Quadratics,
    prior: &'a Prior,
    groups: &'a Groups,
    /// Eigenvalues and eigenvectors of L' J_t L.
    curvatures: Vec<(DVector<f64>, DMatrix<f64>)>,
    /// Cholesky factor of the information on the mean with all deviations known; none where the mean is given.
    information: Option<DMatrix<f64>>,
    /// Orthonormal directions in which all b_t of a group may move at the expense of its mean, r x k.
    translations: DMatrix<f64>,
    /// How L moves the means of a group, for each group.
    takers: Vec<Taker>,
    mean: DVector<f64>,
    deviations: DMatrix<f64>,
    /// L' (h_t - J_t mean) of every task, r x T, at the mean less L times the `shift` of its group, over its scale in the group.
    pulls: DMatrix<f64>,
    /// r x groups.
    shift: DMatrix<f64>,
    sweeps: usize,
}

/// The mean of a group as what its deviations move may become a part of it.
struct Taker {
    /// Place in the mean of each varying feature that has one.
    places: Vec<(usize, usize)>,
    /// Of the group.
    scale: f64,
    /// How far the deviation of every task moves with it, one over its own scale in the group; 0 for those of other groups.
    weights: Vec<f64>,
}

impl<'a> Gibbs<'a> {
    /// Starts at the posterior means. O(T r^3).
    ///
    /// # Errors
    /// [`Error::NotPositiveDefinite`] where the rows do not determine the mean to double precision.
    pub(crate) fn new(posterior: &'a Posterior) -> Result<Self> {
        let (quadratics, prior) = (posterior.data(), &posterior.inner);
        let tied = quadratics.joint().is_some();
        let curvatures = (0..if tied { 0 } else { quadratics.len() })
            .into_par_iter()
            .map(|t| {
                let own = quadratics.task(t).curvature.select_rows(&prior.varying).select_columns(&prior.varying);
                linalg::symmetric_eigen(&(prior.factor.transpose() * own * &prior.factor))
            })
            .collect();
        let features = &prior.mean_features;
        let drawn = !tied && !matches!(prior.mean, Mean::Given(_)) && !features.is_empty();
        let information = if drawn {
            let total = (0..quadratics.len()).fold(DMatrix::zeros(quadratics.features(), quadratics.features()), |mut sum, t| {
                sum += quadratics.task(t).curvature;
                sum
            });
            let mut total = total.select_rows(features).select_columns(features);
            if !prior.mean_precision.is_empty() {
                total += &prior.mean_precision;
            }
            let factor = linalg::cholesky(total);
            Some(factor.ok_or_else(|| undetermined("the information on the common mean"))?)
        } else {
            None
        };
        let with_mean = |feature: usize| posterior.prior.mean_features.contains(&feature);
        let translations = if information.is_some() { translations(prior, with_mean) } else { DMatrix::zeros(prior.factor.ncols(), 0) };
        let takers: Vec<Taker> = match posterior.seen.grouped() {
            None => {
                let places = prior.varying.iter().copied().enumerate().collect();
                vec![Taker { places, scale: 1.0, weights: vec![1.0; quadratics.len()] }]
            }
            Some(grouped) => {
                let of_group = |g: usize| {
                    let place = |(k, feature): (usize, &usize)| Some((k, grouped.mean_place(g, *feature)?));
                    let own = |t: usize| posterior.prior.task_scales.as_ref().map_or(1.0, |own| own.values[t].recip());
                    Taker {
                        places: prior.varying.iter().enumerate().filter_map(place).collect(),
                        scale: grouped.groups().scales.get(g).copied().unwrap_or(1.0),
                        weights: (0..quadratics.len()).map(|t| if grouped.groups().of(t) == g { own(t) } else { 0.0 }).collect(),
                    }
                };
                (0..grouped.groups().len()).map(of_group).collect()
            }
        };
        let (mean, deviations) = (posterior.mean.clone(), posterior.deviations.clone());
        let r = prior.factor.ncols();
        let (pulls, shift) = (DMatrix::zeros(r, quadratics.len()), DMatrix::zeros(r, takers.len()));
        let groups = &posterior.prior.groups;
        let mut chain =
            Gibbs { quadratics, prior, groups, curvatures, information, translations, takers, mean, deviations, pulls, shift, sweeps: 0 };
        chain.refresh();
        Ok(chain)
    }

    /// Refuses draws that are beyond double precision.
    pub(crate) fn check(&self) -> Result<()> {
        let finite = self.deviations.iter().all(|value| value.abs() < 1e100);
        if finite { Ok(()) } else { Err(undetermined("the posterior precision of the tasks")) }
    }

    /// Makes the pulls anew at the mean.
    fn refresh(&mut self) {
        let pull = |t: usize| self.prior.factor.transpose() * self.score(t).select_rows(&self.prior.varying);
        let each: Vec<DVector<f64>> = (0..self.quadratics.len()).into_par_iter().map(pull).collect();
        each.iter().enumerate().for_each(|(t, own)| self.pulls.set_column(t, own));
        self.shift.fill(0.0);
    }

    /// The whitened deviations b_t, r x T.
    pub(crate) fn deviations(&self) -> &DMatrix<f64> {
        &self.deviations
    }

    /// One sweep given Omega. O(T r^2 + edges r), and O(T p^2) where the mean is drawn with the deviations held.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses, where errors are correlated between tasks.
    pub(crate) fn sweep<R: Rng + ?Sized>(&mut self, omega: TaskPrecision, random: &mut R) -> Result<()> {
        if self.quadratics.joint().is_some() {
            let relatedness = omega.relatedness().ok_or_else(|| undetermined("the drawn precision of the tasks"))?;
            let prior = Prior { relatedness, ..self.prior.clone() };
            self.deviations = Posterior::given(self.quadratics, &prior)?.draw_deviations(random)?;
            return Ok(());
        }
        for t in 0..self.quadratics.len() {
            let mut score = self.pulls.column(t).into_owned();
            omega.pull(t, &self.deviations, &mut score);
            let (values, vectors) = &self.curvatures[t];
            let (own, group) = (omega.own(t), self.groups.of(t));
            let weight = self.takers[group].weights[t];
            // The score at b_t = 0, and what the shift of the mean takes off it, in the eigenvectors' coordinates.
            let (score, shift) = linalg::transpose_times_both(vectors.as_slice(), score.as_slice(), self.shift.column(group).as_slice());
            let rotated: Vec<f64> = (0..values.len())
                .map(|k| {
                    let value = values[k].max(0.0);
                    let variance = 1.0 / (own + value);
                    variance * (score[k] - value * weight * shift[k]) + variance.sqrt() * normal(random)
                })
                .collect();
            let mut deviation = self.deviations.column_mut(t);
            deviation.fill(0.0);
            linalg::add_times(deviation.as_mut_slice(), 1.0, vectors.as_slice(), &rotated);
        }
        self.translate(omega, random);
        self.sweeps += 1;
        if self.sweeps.is_multiple_of(REFRESH) && self.information.is_some() {
            self.draw_mean(random);
            self.refresh();
        }
        Ok(())
    }

    /// h_t - J_t mean.
    fn score(&self, task: usize) -> DVector<f64> {
        let mut score = DVector::from_column_slice(self.quadratics.linear(task));
        linalg::add_times(score.as_mut_slice(), -1.0, self.quadratics.curvature(task), self.mean.as_slice());
        score * self.quadratics.precision(task)
    }

    /// Moves the mean and all deviations against it, the parameters w_t held.
    fn translate<R: Rng + ?Sized>(&mut self, omega: TaskPrecision, random: &mut R) {
        if self.translations.ncols() == 0 {
            return;
        }
        for (g, taker) in self.takers.iter().enumerate() {
            let pull = omega.times(&taker.weights);
            let total: f64 = taker.weights.iter().zip(pull.iter()).map(|(weight, pull)| weight * pull).sum();
            let mut along = self.translations.tr_mul(&(&self.deviations * &pull)) / total;
            along.iter_mut().for_each(|value| *value += normal(random) / total.sqrt());
            let shift = &self.translations * along;
            let moving = (0..omega.len()).filter(|t| taker.weights[*t] != 0.0);
            moving.for_each(|t| self.deviations.column_mut(t).axpy(-taker.weights[t], &shift, 1.0));
            let moved = &self.prior.factor * &shift;
            self.shift.column_mut(g).axpy(1.0, &shift, 1.0);
            taker.places.iter().for_each(|(k, place)| self.mean[*place] += taker.scale * moved[*k]);
        }
    }

    /// Draws the mean with all deviations held.
    fn draw_mean<R: Rng + ?Sized>(&mut self, random: &mut R) {
        let Some(factor) = &self.information else { return };
        let (p, features) = (self.quadratics.features(), &self.prior.mean_features);
        let chunks: Vec<DVector<f64>> = (0..self.quadratics.len().div_ceil(super::CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let mut sum = DVector::zeros(p);
                for t in chunk * super::CHUNK..((chunk + 1) * super::CHUNK).min(self.quadratics.len()) {
                    let moved = &self.prior.factor * self.deviations.column(t);
                    let mut whole = DVector::zeros(p);
                    self.prior.varying.iter().zip(moved.iter()).for_each(|(feature, value)| whole[*feature] = *value);
                    let mut own = DVector::from_column_slice(self.quadratics.linear(t));
                    linalg::add_times(own.as_mut_slice(), -1.0, self.quadratics.curvature(t), whole.as_slice());
                    sum.axpy(self.quadratics.precision(t), &own, 1.0);
                }
                sum
            })
            .collect();
        let score = chunks.into_iter().fold(DVector::zeros(p), |sum, part| sum + part);
        let mut right = DMatrix::from_column_slice(features.len(), 1, score.select_rows(features).as_slice());
        linalg::solve_lower_matrix(factor, &mut right);
        right.iter_mut().for_each(|value| *value += normal(random));
        linalg::solve_lower_transpose(factor.as_slice(), features.len(), right.as_mut_slice());
        self.mean.fill(0.0);
        features.iter().zip(right.iter()).for_each(|(feature, value)| self.mean[*feature] = *value);
    }
}

fn undetermined(matrix: &str) -> Error {
    let remedy = "weights or features differ too much in size; bring them nearer to each other, or use --standardise both";
    Error::NotPositiveDefinite { matrix: matrix.into(), remedy: remedy.into() }
}

/// Directions c with L c in the span of the mean features: the mean can take L c over from all deviations.
fn translations(prior: &Prior, with_mean: impl Fn(usize) -> bool) -> DMatrix<f64> {
    let without: Vec<usize> = (0..prior.varying.len()).filter(|k| !with_mean(prior.varying[*k])).collect();
    let rows = prior.factor.select_rows(&without);
    let (values, vectors) = linalg::symmetric_eigen(&(rows.transpose() * rows));
    let largest = prior.factor.norm_squared();
    let kept: Vec<usize> = (0..values.len()).filter(|k| values[*k] <= 1e-12 * largest).collect();
    vectors.select_columns(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::{Relatedness, TaskScales};
    use crate::quadratic::Quadratic;
    use rand::SeedableRng;

    /// Long-run means and second moments are those of the joint posterior, with the mean integrated, in noise and without, where
    /// all varying features have a mean and where one has none, along a graph, with a dense precision and with scales of single tasks.
    #[test]
    fn the_sampler_has_the_joint_posterior_as_its_limit() {
        let scaled = || Some(TaskScales { values: vec![1.0, 3.0, 0.5, 1.2], degrees_of_freedom: 5.0 });
        let dense = |graph: &TaskGraph| Relatedness::Dense(graph.precision().try_inverse().unwrap());
        let kinds = [
            (0.5, vec![0, 1], None),
            (20.0, vec![0, 1], None),
            (2.0, vec![0], None),
            (20.0, vec![0, 1], scaled()),
            (1.0, vec![0], scaled()),
        ];
        for (scale, features, task_scales) in kinds {
            let quadratics: Vec<Quadratic> = (0..4)
                .map(|t| {
                    let root = DMatrix::from_fn(3, 2, |i, j| ((i * 5 + j * 3 + t * 7) % 11) as f64 / 5.0 - 1.0);
                    let linear = DVector::from_fn(2, |i, _| ((i * 3 + t * 5) % 7) as f64 - 2.0);
                    Quadratic { constant: 0.0, linear: linear * scale, curvature: root.transpose() * root * scale }
                })
                .collect();
            let quadratics = Quadratics::new(&quadratics).unwrap();
            let mut graph = TaskGraph::empty(&["a", "b", "c", "d"]);
            graph.connect(0, 1, -0.5, None);
            graph.connect(1, 2, 0.3, None);
            let omega = graph.precision();
            let (relatedness, along) = match &task_scales {
                None => (Relatedness::Graph(graph.clone()), TaskPrecision::Along(&graph)),
                Some(_) => (dense(&graph), TaskPrecision::Dense(&omega)),
            };
            let factor = DMatrix::from_row_slice(2, 2, &[0.8, 0.0, 0.3, 0.5]);
            let prior = Prior { mean_features: features, task_scales, ..Prior::new(Mean::Integrated, relatedness, factor) };
            let posterior = Posterior::given(&quadratics, &prior).unwrap();
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(3);
            let mut chain = Gibbs::new(&posterior).unwrap();
            let sweeps = 40_000;
            let (mut mean, mut moment) = (DMatrix::zeros(2, 4), DMatrix::zeros(4, 4));
            let mut common = DVector::zeros(posterior.mean.len());
            for _ in 0..sweeps {
                chain.sweep(along, &mut random).unwrap();
                mean += chain.deviations();
                moment += chain.deviations().transpose() * chain.deviations();
                common += &chain.mean;
            }
            let n = f64::from(sweeps);
            assert!((mean / n - &posterior.deviations).amax() < 0.05, "at scale {scale}");
            let expected = posterior.task_moment();
            assert!((moment / n - &expected).amax() < 0.05 * (1.0 + expected.amax()), "at scale {scale}");
            assert!((common / n - &posterior.mean).amax() < 0.05, "at scale {scale}");
        }
    }
}
