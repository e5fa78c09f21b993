//! Whether tasks deviate from the mean as normal variables do, and which are unlike the others.

use super::residuals::false_discovery_rates;
use crate::error::{Error, Result};
use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use nalgebra::DVector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{ChiSquared as Chi, Distribution};
use rayon::prelude::*;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF, Normal};

/// A task and how far it is from the mean.
#[derive(Clone, Debug, Serialize)]
pub struct OutlyingTask {
    /// The task.
    pub task: String,
    /// u' V^-1 u of its estimated deviation u, where V = Sigma_tt K - Cov(u | rows) is what shrinkage leaves of the variance of the estimate: chi-squared where deviations
    /// are normal.
    pub distance: f64,
    /// Its degrees of freedom: the directions of which the rows say something.
    pub directions: usize,
    /// Probability of a distance as large.
    pub p_value: f64,
    /// The smallest false discovery rate at which the task is named (Benjamini and Hochberg 1995).
    pub q_value: f64,
    /// The feature in which it is farthest out, and how many standard deviations of the estimate.
    pub farthest: String,
    /// That number.
    pub farthest_z: f64,
}

/// How tasks deviate.
#[derive(Clone, Debug, Serialize)]
pub struct Outlying {
    /// Every task of whose deviation the rows say something, the least likely first.
    pub tasks: Vec<OutlyingTask>,
    /// Sum over tasks of q^2 - 2 (r + 2) q + r (r + 2), q the distance over its average and r the directions, over its standard deviation: Mardia's kurtosis, larger
    /// where tails are heavy.
    pub kurtosis: f64,
    /// Probability of one as large where deviations are normal, by simulation.
    pub p_value: f64,
    /// Degrees of freedom of the tasks' own scales, where they have them ([`Robust`](crate::Robust)).
    pub degrees_of_freedom: Option<f64>,
}

impl Outlying {
    /// How many tasks are named at a false discovery rate of [`RATE`](super::RATE).
    pub fn named(&self) -> usize {
        self.tasks.iter().filter(|own| own.q_value <= super::RATE).count()
    }
}

/// Share of the variance of a direction that a task's rows must decide.
const LEAST: f64 = 0.02;

/// Most tasks whose Sigma is spelt out for its diagonal.
const MOST_RELATED: usize = 3_000;

/// Sum of the second Laguerre polynomials of distances, which have no part along a common factor of K, over its standard deviation.
fn kurtosis(distances: &[(f64, f64)]) -> f64 {
    let (total, directions) = distances.iter().fold((0.0, 0.0), |sum, (q, r)| (sum.0 + q, sum.1 + r));
    let scale = directions / total;
    let sum: f64 = distances.iter().map(|(q, r)| (q * scale).powi(2) - 2.0 * (r + 2.0) * q * scale + r * (r + 2.0)).sum();
    sum / distances.iter().map(|(_, r)| 8.0 * r * (r + 2.0)).sum::<f64>().sqrt()
}

impl Fit {
    /// How far each task is from the mean, against what a normal distribution of the fitted K and Sigma makes of such estimates, and whether all together have heavier tails.
    /// As much as an E-step and O(T d^3); the same for the same seed.
    ///
    /// With a flat mean Cov(u - E u) and Cov(E u) add to the prior covariance of u (Robinson 1991), so that distances of Gaussian fits are exact given the hyperparameters. An outlying
    /// task makes K larger and so hides itself and others; a fit with scales of their own (`--robust`) is not moved by it.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut rows = Rows::new("y", &["x"]);
    /// for i in 0..400 {
    ///     let (t, x) = (i % 20, f64::from(i / 20) / 5.0);
    ///     let level = if t == 13 { 30.0 } else { f64::from(7 * t % 11) / 5.0 };
    ///     rows.push(&format!("t{t}"), &[x], level + x + 0.3 * f64::from(i * 7 % 5), 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let outlying = fit.outlying_tasks(1)?;
    /// assert!(outlying.named() == 1 && outlying.tasks[0].task == "t13" && outlying.p_value < 0.01);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] where tasks have no common prior, for unknown clusters, where relatedness is learned, and for related tasks too many to spell Sigma out.
    pub fn outlying_tasks(&self, seed: u64) -> Result<Outlying> {
        let prior = self.prior();
        let refused = |problem: &str| Err(Error::Arguments(problem.into()));
        if prior.mixture.is_some() {
            return refused("tasks of unknown clusters are let go by these: the report of the fit names those of none");
        }
        if !prior.relatedness.varies() || !prior.free.is_empty() || self.structure() == "independent" {
            return refused("tasks have no common prior from which one could be far");
        }
        if self.learns_relatedness() {
            return refused(
                "every task has a variance of its own where relatedness is learned, so that none is unlike the others; fit with --structure exchangeable to ask",
            );
        }
        if prior.relatedness.as_graph().is_some() && self.tasks().len() > MOST_RELATED {
            return refused("related tasks too many to say how far each varies");
        }
        let (factor, related) = self.directions();
        let r = factor.ncols();
        let Some(sizes) = prior.relatedness.variances(self.tasks().len()).filter(|_| r > 0) else {
            return refused("tasks do not differ, or their task graph has no covariance");
        };
        let back = factor.clone().pseudo_inverse(1e-12).map_err(|problem| Error::Arguments(problem.into()))?;
        let posterior = Posterior::owning(self.quadratics()?, prior)?;
        let of_task = |t: usize| -> Option<OutlyingTask> {
            let (deviation, covariance) = posterior.deviation(t);
            let scale = prior.scale(t);
            let own = &back * deviation.select_rows(&prior.varying) / scale;
            let left = &back * covariance.select_rows(&prior.varying).select_columns(&prior.varying) * back.transpose() / (scale * scale);
            let size = DVector::from_fn(r, |k, _| if related[k] { sizes[t] } else { 1.0 });
            // In units of the prior of each direction.
            let unit = size.map(|own| own.sqrt().recip());
            let decided = nalgebra::DMatrix::from_fn(r, r, |i, j| f64::from(u8::from(i == j)) - left[(i, j)] * unit[i] * unit[j]);
            let (values, axes) = linalg::symmetric_eigen(&decided);
            let own = own.component_mul(&unit);
            let told: Vec<usize> = (0..values.len()).filter(|k| values[*k] > LEAST).collect();
            if told.is_empty() {
                return None;
            }
            let distance = told.iter().map(|k| axes.column(*k).dot(&own).powi(2) / values[*k]).sum::<f64>();
            let spread = |k: usize| {
                let row = factor.row(k).transpose();
                let all = row.component_mul(&row).dot(&size) * scale * scale - covariance[(prior.varying[k], prior.varying[k])];
                if all > 0.0 { deviation[prior.varying[k]] / all.sqrt() } else { 0.0 }
            };
            let each: Vec<f64> = (0..prior.varying.len()).map(spread).collect();
            let farthest = (0..each.len()).max_by(|a, b| each[*a].abs().total_cmp(&each[*b].abs()))?;
            Some(OutlyingTask {
                task: self.tasks().names()[t].clone(),
                distance,
                directions: told.len(),
                p_value: ChiSquared::new(told.len() as f64).map_or(1.0, |chi| chi.sf(distance)),
                q_value: 1.0,
                farthest: self.tasks().design().features()[prior.varying[farthest]].clone(),
                farthest_z: each[farthest],
            })
        };
        let mut tasks: Vec<OutlyingTask> =
            (0..self.tasks().len()).into_par_iter().map(of_task).collect::<Vec<_>>().into_iter().flatten().collect();
        if tasks.is_empty() {
            return refused("the rows say next to nothing of how tasks deviate");
        }
        let rates = false_discovery_rates(&tasks.iter().map(|own| Some(own.p_value)).collect::<Vec<_>>());
        tasks.iter_mut().zip(rates).for_each(|(own, rate)| own.q_value = rate.unwrap_or(1.0));
        tasks.sort_by(|a, b| a.p_value.total_cmp(&b.p_value).then(b.distance.total_cmp(&a.distance)));
        let distances: Vec<(f64, f64)> = tasks.iter().map(|own| (own.distance, own.directions as f64)).collect();
        let found = kurtosis(&distances);
        let p_value = by_chance(&distances, found, seed);
        let degrees_of_freedom = self.task_scales().map(|scales| scales.degrees_of_freedom);
        Ok(Outlying { tasks, kurtosis: found, p_value, degrees_of_freedom })
    }
}

/// Probability of a kurtosis as large from independent chi-squared distances: by simulation, of many tasks by the normal distribution.
fn by_chance(distances: &[(f64, f64)], found: f64, seed: u64) -> f64 {
    const MANY: usize = 2_000;
    const TABLES: usize = 999;
    if distances.len() > MANY {
        return Normal::standard().sf(found);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut larger = 0;
    for _ in 0..TABLES {
        let drawn: Vec<(f64, f64)> = distances.iter().map(|(_, r)| (Chi::new(*r).map_or(*r, |chi| chi.sample(&mut random)), *r)).collect();
        larger += usize::from(kurtosis(&drawn) >= found);
    }
    (larger + 1) as f64 / (TABLES + 1) as f64
}
