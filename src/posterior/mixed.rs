//! The engine of unknown clusters: a posterior for every component as if all tasks were of it, and how likely each task is of each.

use super::{CHUNK, Engine, MeanEstimate, Outcome, Posterior};
use crate::error::{Error, Result};
use crate::linalg::{self, Operand, multiply_add, product};
use crate::prior::{Mean, Mixture, Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use rand::{Rng, RngExt};
use rayon::prelude::*;
use std::sync::OnceLock;

/// Probability of a component below which a task says nothing of it.
const NOTHING: f64 = 1e-12;

/// Component posteriors and memberships. Given the component tasks are unrelated, so that each costs what exchangeable tasks do.
pub(crate) struct Mixed {
    components: Vec<Posterior<'static>>,
    /// Probability of each component (a row) for each task (a column), the last one that of none.
    memberships: DMatrix<f64>,
    /// What the tasks say of each component, weighed by their memberships.
    said: Vec<Said>,
    mixture: Mixture,
    /// Features of the components' means.
    features: Vec<usize>,
    /// Positions among these of those of the common mean and of the varying ones, and S over them.
    common: Vec<usize>,
    varying: Vec<usize>,
    spread: DMatrix<f64>,
    /// Of (common mean, positions), and of the common mean alone, once asked for.
    covariances: OnceLock<(DMatrix<f64>, DMatrix<f64>)>,
}

/// Sums over tasks of what they say of the mean m of a component, each times its membership, over the component features.
pub(crate) struct Said {
    /// Expected number of tasks.
    pub count: f64,
    /// h_t - J_t E[w_t], the score of m.
    pub score: DVector<f64>,
    /// The information on m.
    pub information: DMatrix<f64>,
    /// Products of scores.
    pub outer: DMatrix<f64>,
}

impl Said {
    /// Nothing about p features.
    fn nothing(p: usize) -> Self {
        Said { count: 0.0, score: DVector::zeros(p), information: DMatrix::zeros(p, p), outer: DMatrix::zeros(p, p) }
    }

    fn plus(self, other: Said) -> Self {
        Said {
            count: self.count + other.count,
            score: self.score + other.score,
            information: self.information + other.information,
            outer: self.outer + other.outer,
        }
    }

    /// About some of the features.
    fn of(&self, features: &[usize]) -> Self {
        let [mut information, outer] = [&self.information, &self.outer].map(|all| all.select_rows(features).select_columns(features));
        linalg::symmetrise(&mut information);
        Said { count: self.count, score: self.score.select_rows(features), information, outer }
    }
}

impl Mixed {
    /// O(k) posteriors of unrelated tasks.
    pub(crate) fn solve(quadratics: &Quadratics, prior: &Prior, mixture: &Mixture) -> Result<Outcome> {
        check(quadratics, prior, mixture)?;
        let each = 0..mixture.components();
        let components: Vec<Posterior<'static>> =
            each.map(|c| Posterior::owning(quadratics.of_component(c).clone(), &prior.of_component(mixture, c))).collect::<Result<_>>()?;
        let heights: Vec<Vec<f64>> = components.iter().map(Posterior::task_log_likelihoods).collect();
        let tasks = quadratics.len();
        let mut memberships = DMatrix::zeros(mixture.components(), tasks);
        let mut log_likelihood = 0.0;
        for t in 0..tasks {
            let own: Vec<f64> = mixture.shares.iter().zip(&heights).map(|(share, heights)| share.ln() + heights[t]).collect();
            let highest = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = own.iter().map(|height| (height - highest).exp()).sum();
            log_likelihood += highest + total.ln();
            own.iter().enumerate().for_each(|(c, height)| memberships[(c, t)] = (height - highest).exp() / total);
        }
        let features = prior.component_features();
        let said = components.iter().enumerate().map(|(c, own)| own.said(&memberships, c, &features)).collect();
        let place = |feature: &usize| features.iter().position(|own| own == feature).expect("all are there");
        let [common, varying] = [&prior.mean_features, &prior.varying].map(|own| own.iter().map(place).collect::<Vec<usize>>());
        let mut spread = DMatrix::zeros(features.len(), mixture.spread.ncols());
        varying.iter().enumerate().for_each(|(k, place)| spread.row_mut(*place).copy_from(&mixture.spread.row(k)));
        let mut mean = DVector::zeros(quadratics.features());
        if let Mean::Given(values) | Mean::Estimated(values) = &prior.mean {
            prior.mean_features.iter().zip(values.iter()).for_each(|(feature, value)| mean[*feature] = *value);
        }
        let mixed = Mixed {
            components,
            memberships,
            said,
            mixture: mixture.clone(),
            features,
            common,
            varying,
            spread,
            covariances: OnceLock::new(),
        };
        Ok(Outcome {
            // Its covariance is found where it is asked for.
            mean: MeanEstimate { mean, covariance: DMatrix::zeros(0, 0), log_volume: 0.0 },
            deviations: DMatrix::zeros(prior.factor.ncols(), tasks),
            log_likelihood,
            log_likelihood_error: 0.0,
            engine: Engine::Mixed(mixed),
        })
    }

    pub(crate) fn memberships(&self) -> &DMatrix<f64> {
        &self.memberships
    }

    pub(crate) fn said(&self) -> &[Said] {
        &self.said
    }

    /// Components that a task may be of, with their probabilities and posteriors.
    fn of(&self, task: usize) -> impl Iterator<Item = (usize, f64, &Posterior<'static>)> {
        let each = self.components.iter().enumerate().map(move |(c, own)| (c, self.memberships[(c, task)], own));
        each.filter(|(_, share, _)| *share > NOTHING)
    }

    pub(crate) fn coefficients(&self, task: usize) -> DVector<f64> {
        let zero = DVector::zeros(self.components[0].data().features());
        self.of(task).fold(zero, |sum, (_, share, own)| sum + own.kept_coefficients(task) * share)
    }

    /// Cov(w_t) given the means of the components.
    pub(crate) fn within(&self, task: usize) -> DMatrix<f64> {
        let mean = self.coefficients(task);
        let zero = DMatrix::zeros(mean.len(), mean.len());
        self.of(task).fold(zero, |sum, (_, share, own)| {
            let away = own.kept_coefficients(task) - &mean;
            sum + (own.kept_covariance(task, &own.within(task), false) + &away * away.transpose()) * share
        })
    }

    /// d E[w_t] / d (common mean, positions) with the memberships held, and the same less the common mean.
    fn map(&self, task: usize, of_deviation: bool) -> DMatrix<f64> {
        let (p, m, r) = (self.components[0].data().features(), self.common.len(), self.spread.ncols());
        let mut map = DMatrix::zeros(p, m + r * self.mixture.clusters());
        for (c, share, own) in self.of(task) {
            let moved = own.mean_map(task) * share;
            self.common.iter().enumerate().for_each(|(j, place)| {
                let mut column = map.column_mut(j);
                column += moved.column(*place);
            });
            if c < self.mixture.clusters() {
                map.columns_mut(m + r * c, r).copy_from(&(&moved * &self.spread));
            }
        }
        if of_deviation {
            self.common.iter().enumerate().for_each(|(j, place)| map[(self.features[*place], j)] -= 1.0);
        }
        map
    }

    /// Cov of w_t (or of w_t less the common mean) that follows from the uncertainty of the common mean and the positions.
    pub(crate) fn moved(&self, prior: &Prior, task: usize, of_deviation: bool) -> DMatrix<f64> {
        let map = self.map(task, of_deviation);
        &map * self.coordinates_covariance(prior) * map.transpose()
    }

    /// Cov(w_t, w_s) of two tasks that follows from it.
    pub(crate) fn moved_between(&self, prior: &Prior, (t, s): (usize, usize)) -> DMatrix<f64> {
        self.map(t, false) * self.coordinates_covariance(prior) * self.map(s, false).transpose()
    }

    pub(crate) fn own_share(&self, task: usize) -> Option<f64> {
        self.of(task).try_fold(0.0, |sum, (_, share, own)| Some(sum + share * own.own_share(task)?))
    }

    pub(crate) fn residuals(&self) -> Vec<f64> {
        let each: Vec<Vec<f64>> = self.components.iter().map(Posterior::residuals).collect();
        (0..self.memberships.ncols()).map(|t| self.of(t).map(|(c, share, _)| share * each[c][t]).sum()).collect()
    }

    /// d log-likelihood / d covariance of a component about its mean.
    fn slope_of(&self, component: usize) -> DMatrix<f64> {
        let said = &self.said[component];
        (&said.outer - &said.information).select_rows(&self.varying).select_columns(&self.varying) * 0.5
    }

    /// d log-likelihood / dK.
    pub(crate) fn slope(&self) -> DMatrix<f64> {
        let q = self.varying.len();
        let scales = self.mixture.scales.iter().enumerate();
        scales.fold(DMatrix::zeros(q, q), |sum, (c, scale)| sum + self.slope_of(c) * scale.powi(2))
    }

    /// d log-likelihood / d log s of each cluster.
    pub(crate) fn scale_slopes(&self, prior: &Prior) -> Vec<f64> {
        let k = prior.feature_covariance();
        self.mixture.scales.iter().enumerate().map(|(c, scale)| 2.0 * scale.powi(2) * self.slope_of(c).dot(&k)).collect()
    }

    /// d log-likelihood / d (common mean, positions).
    pub(crate) fn coordinates_score(&self) -> DVector<f64> {
        let (m, r) = (self.common.len(), self.spread.ncols());
        let mut score = DVector::zeros(m + r * self.mixture.clusters());
        for (c, said) in self.said.iter().enumerate() {
            self.add_score(&said.score, c, &mut score);
        }
        score
    }

    /// Adds the score of the mean of a component in (common mean, positions).
    fn add_score(&self, own: &DVector<f64>, component: usize, score: &mut DVector<f64>) {
        let (m, r) = (self.common.len(), self.spread.ncols());
        self.common.iter().enumerate().for_each(|(j, place)| score[j] += own[*place]);
        if component < self.mixture.clusters() {
            let mut cluster = score.rows_mut(m + r * component, r);
            cluster += self.spread.tr_mul(own);
        }
    }

    /// The information on (common mean, positions) were the memberships known, the priors of both included: sum over the components of Z' A Z with Z =
    /// d m_c / d (common mean, positions).
    pub(crate) fn coordinates_information(&self, prior: &Prior) -> DMatrix<f64> {
        let (m, r, k) = (self.common.len(), self.spread.ncols(), self.mixture.clusters());
        let mut all = DMatrix::zeros(m + r * k, m + r * k);
        for (c, said) in self.said.iter().enumerate() {
            let own = &said.information;
            let mut corner = all.view_mut((0, 0), (m, m));
            corner += own.select_rows(&self.common).select_columns(&self.common);
            if c < k {
                let half = own * &self.spread;
                let cross = half.select_rows(&self.common);
                all.view_mut((0, m + r * c), (m, r)).copy_from(&cross);
                all.view_mut((m + r * c, 0), (r, m)).copy_from(&cross.transpose());
                all.view_mut((m + r * c, m + r * c), (r, r)).copy_from(&self.spread.tr_mul(&half));
            }
        }
        if !prior.mean_precision.is_empty() {
            let mut corner = all.view_mut((0, 0), (m, m));
            corner += &prior.mean_precision;
        }
        (m..all.nrows()).for_each(|j| all[(j, j)] += 1.0);
        all
    }

    /// Covariance of (common mean, positions), 0 where they are given: the inverse of the observed information, which not knowing the memberships lowers by the variance of the
    /// score over them (Louis 1982); where that leaves none, as away from a maximum, by the information of known memberships.
    fn coordinates_covariance(&self, prior: &Prior) -> &DMatrix<f64> {
        &self.covariances(prior).0
    }

    /// That of the common mean.
    pub(crate) fn mean_covariance(&self, prior: &Prior) -> &DMatrix<f64> {
        &self.covariances(prior).1
    }

    fn covariances(&self, prior: &Prior) -> &(DMatrix<f64>, DMatrix<f64>) {
        self.covariances.get_or_init(|| {
            let all = self.observed_covariance(prior);
            let m = self.common.len();
            let own = all.view((0, 0), (m, m)).into_owned();
            (all, own)
        })
    }

    fn observed_covariance(&self, prior: &Prior) -> DMatrix<f64> {
        let known = self.coordinates_information(prior);
        let size = known.nrows();
        if matches!(prior.mean, Mean::Given(_)) {
            return DMatrix::zeros(size, size);
        }
        let tasks = self.memberships.ncols();
        let unsure: Vec<usize> = (0..tasks).filter(|t| self.memberships.column(*t).max() < 1.0 - 1e-6).collect();
        let lost = unsure.par_chunks(CHUNK).map(|chunk| {
            let mut lost = DMatrix::zeros(size, size);
            for t in chunk {
                let mut mean = DVector::zeros(size);
                for (c, share, own) in self.of(*t) {
                    let mut score = DVector::zeros(size);
                    self.add_score(&own.score(*t).select_rows(&self.features), c, &mut score);
                    lost.ger(share, &score, &score, 1.0);
                    mean.axpy(share, &score, 1.0);
                }
                lost.ger(-1.0, &mean, &mean, 1.0);
            }
            lost
        });
        let lost = lost.collect::<Vec<_>>().into_iter().fold(DMatrix::zeros(size, size), |sum, own| sum + own);
        let sound = |information: DMatrix<f64>| linalg::cholesky(information).map(|factor| linalg::inverse_of_cholesky(&factor));
        sound(&known - lost).or_else(|| sound(known)).unwrap_or_else(|| DMatrix::zeros(size, size))
    }

    /// A draw of all task parameters: T x d.
    pub(crate) fn draw<R: Rng + ?Sized>(&self, prior: &Prior, random: &mut R) -> Result<DMatrix<f64>> {
        let mut normal = |n: usize| DVector::from_fn(n, |_, _| linalg::normal(random));
        let (m, r) = (self.common.len(), self.spread.ncols());
        let root = linalg::semidefinite_factor(self.coordinates_covariance(prior));
        let shift = &root * normal(root.ncols());
        let tasks = self.memberships.ncols();
        let noises: Vec<DMatrix<f64>> = self
            .components
            .iter()
            .map(|own| own.engine.draw(normal(own.deviations.len()), tasks).map(|noise| &own.inner.factor * noise))
            .collect::<Result<_>>()?;
        let mut all = DMatrix::zeros(tasks, self.components[0].data().features());
        for t in 0..tasks {
            let mut left: f64 = random.random();
            let last = self.mixture.clusters();
            let c = (0..last).find(|c| {
                left -= self.memberships[(*c, t)];
                left < 0.0
            });
            let c = c.unwrap_or(last);
            let own = &self.components[c];
            let mut moved = DVector::zeros(self.features.len());
            self.common.iter().enumerate().for_each(|(j, place)| moved[*place] += shift[j]);
            if c < last {
                moved += &self.spread * shift.rows(m + r * c, r);
            }
            let mut w = own.kept_coefficients(t) + own.mean_map(t) * moved;
            prior.varying.iter().zip(noises[c].column(t).iter()).for_each(|(feature, value)| w[*feature] += value);
            all.row_mut(t).copy_from(&w.transpose());
        }
        Ok(all)
    }

    /// Mean and covariance of the mean of every cluster, over all features.
    pub(crate) fn cluster_means(&self, prior: &Prior) -> Vec<(DVector<f64>, DMatrix<f64>)> {
        let (p, m, r) = (self.components[0].data().features(), self.common.len(), self.spread.ncols());
        let covariance = self.coordinates_covariance(prior);
        let of = |c: usize| {
            let mut map = DMatrix::zeros(p, covariance.nrows());
            self.common.iter().enumerate().for_each(|(j, place)| map[(self.features[*place], j)] = 1.0);
            self.features
                .iter()
                .enumerate()
                .for_each(|(k, feature)| map.view_mut((*feature, m + r * c), (1, r)).copy_from(&self.spread.row(k)));
            (self.components[c].mean.clone(), &map * covariance * map.transpose())
        };
        (0..self.mixture.clusters()).map(of).collect()
    }
}

fn check(quadratics: &Quadratics, prior: &Prior, mixture: &Mixture) -> Result<()> {
    if !mixture.is_consistent(prior.varying.len()) {
        let expected = mixture.components();
        return Err(Error::Shape {
            what: "the shares, scales and positions of the clusters".into(),
            found: mixture.shares.len(),
            expected,
        });
    }
    let plain = matches!(prior.relatedness, Relatedness::Identity) && matches!(prior.mean, Mean::Given(_) | Mean::Estimated(_));
    if !plain
        || prior.groups.are_several()
        || prior.task_scales.is_some()
        || !prior.unrelated.is_empty()
        || !prior.free.is_empty()
        || quadratics.joint().is_some()
    {
        let problem = "unknown clusters go with a mean that is given or estimated, Sigma = I, no other groups of tasks, no graph features and errors \
                       that are independent; leave one of them out";
        return Err(Error::Arguments(problem.into()));
    }
    Ok(())
}

impl Posterior<'_> {
    /// The probability that each task (a column) is of each cluster (a row), the last row that it is of none; none where there are no unknown
    /// clusters ([`Mixture`]).
    pub fn memberships(&self) -> Option<&DMatrix<f64>> {
        self.mixed().map(Mixed::memberships)
    }

    /// Those of the components, as if all tasks were of each; none where there are no unknown clusters.
    pub(crate) fn components(&self) -> &[Posterior<'static>] {
        self.mixed().map_or(&[], |mixed| &mixed.components)
    }

    pub(crate) fn mixed(&self) -> Option<&Mixed> {
        match &self.engine {
            Engine::Mixed(mixed) => Some(mixed),
            _ => None,
        }
    }

    /// Log marginal likelihood of each task, where they are unrelated and the mean is given: with b the whitened deviation at its mode
    /// l_t(w) - b'b / 2 - log |M_t| / 2.
    fn task_log_likelihoods(&self) -> Vec<f64> {
        let Engine::Block(block) = &self.engine else { unreachable!("unrelated tasks") };
        let (data, p) = (self.data(), self.data().features());
        let determinants = block.log_determinants();
        let own = |t: usize| {
            let (w, b) = (self.kept_coefficients(t), self.deviations.column(t));
            let (linear, curvature) = (data.linear(t), data.curvature(t));
            let mut value = 0.0;
            for j in 0..p {
                let along: f64 = curvature[j * p..(j + 1) * p].iter().zip(w.iter()).map(|(a, b)| a * b).sum();
                value += w[j] * (linear[j] - 0.5 * along);
            }
            data.constant(t) + data.precision(t) * value - 0.5 * (b.norm_squared() + determinants[t])
        };
        (0..self.tasks()).into_par_iter().map(own).collect()
    }

    /// h_t - J_t E[w_t] over all features.
    fn score(&self, task: usize) -> DVector<f64> {
        let (data, p) = (self.data(), self.data().features());
        let curvature = nalgebra::DMatrixView::from_slice(data.curvature(task), p, p);
        (DVector::from_column_slice(data.linear(task)) - curvature * self.kept_coefficients(task)) * data.precision(task)
    }

    /// Of a component: what the tasks say of its mean, weighed by how likely they are of it.
    fn said(&self, memberships: &DMatrix<f64>, component: usize, features: &[usize]) -> Said {
        let (data, p) = (self.data(), self.data().features());
        let varying = &self.inner.varying;
        let each: Vec<usize> = (0..self.tasks()).collect();
        let sums: Vec<Said> = each
            .par_chunks(CHUNK)
            .map(|tasks| {
                let mut sum = Said::nothing(p);
                for t in tasks.iter().copied() {
                    let weight = memberships[(component, t)];
                    if weight <= NOTHING {
                        continue;
                    }
                    let score = self.score(t);
                    sum.count += weight;
                    sum.outer.ger(weight, &score, &score, 1.0);
                    sum.score.axpy(weight, &score, 1.0);
                    // J - J_v L (I + L' J L)^-1 L' J_v, over features that a component has a mean of.
                    let curvature = DMatrix::from_column_slice(p, p, data.curvature(t)) * (data.precision(t) * weight);
                    if self.inner.factor.ncols() > 0 {
                        let mut all = DMatrix::zeros(self.inner.factor.ncols(), p);
                        let moved = self.sensitivity(t);
                        features.iter().enumerate().for_each(|(j, feature)| all.column_mut(*feature).copy_from(&moved.column(j)));
                        let across = product(Operand::of(&curvature.select_columns(varying)), Operand::of(&self.inner.factor));
                        multiply_add(sum.information.as_mut_slice(), -1.0, Operand::of(&across), Operand::of(&all));
                    }
                    sum.information += curvature;
                }
                sum
            })
            .collect();
        sums.into_iter().fold(Said::nothing(p), Said::plus).of(features)
    }
}
