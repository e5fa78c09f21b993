//! The Gaussian nearest to a posterior that is not: quadratics of the rows are made around it until it stands.

use super::family::{Family, Local};
use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::quadratic::{Quadratic, Quadratics};
use crate::tasks::{Coordinates, Design, Rows};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Most steps until the approximation must stand.
const STEPS: usize = 200;

/// Change of every coefficient below which it stands.
const STILL: f64 = 1e-9;

/// Share of a step below which none is taken.
const LEAST_SHARE: f64 = 1e-6;

/// Rows of a family in the coordinates of a fit, task by task: what a family whose quadratics depend on the parameters keeps of a table.
/// d + 2 numbers a row.
#[derive(Clone, Debug)]
pub struct FamilyRows {
    features: usize,
    /// Where the rows of each task begin, and the number of all.
    begins: Vec<usize>,
    x: Vec<f64>,
    y: Vec<f64>,
    weight: Vec<f64>,
}

impl FamilyRows {
    /// The rows, with features in `coordinates` and targets as they are. O(n d).
    ///
    /// # Errors
    /// [`Error::BadTarget`] for a target that the family cannot have.
    pub fn new(rows: &Rows, design: &Design, coordinates: &Coordinates, family: &dyn Family) -> Result<Self> {
        let refused = |i: usize| family.refuses(rows.y(i), rows.weight(i)).map(|problem| (i, problem));
        if let Some((i, problem)) = (0..rows.len()).find_map(refused) {
            let (row, column) = (i as u64 + 1, rows.target().to_string());
            return Err(Error::BadTarget { row, column, value: rows.y(i), problem: problem.into() });
        }
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|i| rows.task(*i));
        let begins = (0..=rows.names().len()).map(|t| order.partition_point(|i| rows.task(*i) < t)).collect();
        let x = order.iter().flat_map(|i| coordinates.features(rows.x(*i)).as_slice().to_vec()).collect();
        let (y, weight) = order.iter().map(|i| (rows.y(*i), rows.weight(*i))).unzip();
        Ok(FamilyRows { features: design.len(), begins, x, y, weight })
    }

    /// How many tasks there are.
    pub fn tasks(&self) -> usize {
        self.begins.len() - 1
    }

    /// What `local(task, features, target, weight)` says of each row about the predictor it returns too, added up over each task's rows:
    /// there the quadratic's value is the sum of the rows' values.
    fn quadratics(&self, local: impl Fn(usize, &[f64], f64, f64) -> (f64, Local) + Sync) -> Vec<Quadratic> {
        (0..self.tasks()).into_par_iter().map(|t| self.quadratic(t, |x, y, v| local(t, x, y, v))).collect()
    }

    fn quadratic(&self, task: usize, local: impl Fn(&[f64], f64, f64) -> (f64, Local)) -> Quadratic {
        let p = self.features;
        let mut sum = Quadratic { constant: 0.0, linear: DVector::zeros(p), curvature: DMatrix::zeros(p, p) };
        for i in self.begins[task]..self.begins[task + 1] {
            let x = &self.x[i * p..(i + 1) * p];
            let (eta, own) = local(x, self.y[i], self.weight[i]);
            let pull = own.slope + own.curvature * eta;
            sum.constant += own.value - pull * eta + 0.5 * own.curvature * eta * eta;
            for (j, value) in x.iter().enumerate() {
                sum.linear[j] += pull * value;
                let scaled = own.curvature * value;
                sum.curvature.column_mut(j).iter_mut().zip(x).for_each(|(cell, other)| *cell += scaled * other);
            }
        }
        sum
    }
}

/// How a Gaussian stands for a posterior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inference {
    /// The Gaussian of smallest Kullback-Leibler divergence from it to the posterior: the log-likelihood is a lower bound, and each
    /// quadratic is the expectation of the rows' derivatives over it (conjugate-computation variational inference, Khan and Lin 2017).
    #[default]
    Variational,
    /// At the mode, by the curvature there: what lme4 does with nAGQ = 1.
    Laplace,
}

/// A Gaussian in the place of the posterior of tasks whose family is not Gaussian.
///
/// ```
/// use cognate::{Approximation, Binomial, Coordinates, Design, FamilyRows, Inference, Mean, Prior, Relatedness, Rows};
/// use nalgebra::{dmatrix, dvector};
/// let mut rows = Rows::new("well", &["dose"]);
/// for (task, dose, well) in [("a", 0.0, 0.0), ("a", 1.0, 1.0), ("a", 2.0, 1.0), ("b", 0.5, 0.0), ("b", 2.0, 1.0)] {
///     rows.push(task, &[dose], well, 1.0)?;
/// }
/// let design = Design::varying(rows.features());
/// let family = Binomial::default();
/// let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &family)?;
/// let prior = Prior::new(Mean::Given(dvector![0.0, 0.0]), Relatedness::Identity, dmatrix![1.0, 0.0; 0.0, 1.0]);
/// let found = Approximation::of(&kept, &family, &prior, Inference::Variational)?;
/// assert!(found.converged && found.posterior.coefficients(0)[1] > 0.0);
/// # Ok::<(), cognate::Error>(())
/// ```
pub struct Approximation {
    /// The Gaussian, as the posterior given `quadratics`.
    pub posterior: Posterior<'static>,
    /// Those around it.
    pub quadratics: Quadratics,
    /// The variational lower bound of the log marginal likelihood, or Laplace's approximation of it.
    pub log_likelihood: f64,
    /// E-steps taken.
    pub steps: usize,
    /// Whether it stands: another step moves no coefficient by more than 1e-9.
    pub converged: bool,
}

/// An approximation on the way, what is climbed, and the quadratics around it.
struct Place {
    sites: Vec<Quadratic>,
    posterior: Posterior<'static>,
    height: f64,
    log_likelihood: f64,
    around: Vec<Quadratic>,
}

impl Approximation {
    /// Makes the rows' quadratics around the latest posterior, and a posterior from them, until it stands. What is climbed (the bound;
    /// for [`Inference::Laplace`] the log density at the mode) never falls: steps that would are halved. O(n d^2) and an E-step each.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses.
    pub fn of(rows: &FamilyRows, family: &dyn Family, prior: &Prior, inference: Inference) -> Result<Self> {
        Self::beginning(None, rows, family, prior, inference)
    }

    /// Where the quadratics need not be looked for.
    pub(crate) fn exact(quadratics: Quadratics, prior: &Prior) -> Result<Self> {
        let posterior = Posterior::owning(quadratics.clone(), prior)?;
        let log_likelihood = posterior.log_likelihood();
        Ok(Approximation { posterior, quadratics, log_likelihood, steps: 1, converged: true })
    }

    /// As [`Approximation::of`], from quadratics that stood at a neighbouring prior.
    pub(crate) fn beginning(
        from: Option<&Quadratics>,
        rows: &FamilyRows,
        family: &dyn Family,
        prior: &Prior,
        inference: Inference,
    ) -> Result<Self> {
        let at = |sites: Vec<Quadratic>| -> Result<Place> {
            let posterior = Posterior::owning(Quadratics::new(&sites)?, prior)?;
            let (means, covariances): (Vec<DVector<f64>>, Vec<DMatrix<f64>>) = (0..rows.tasks())
                .into_par_iter()
                .map(|t| {
                    let covariance = match inference {
                        Inference::Variational => posterior.approximating_covariance(t),
                        Inference::Laplace => DMatrix::zeros(0, 0),
                    };
                    (posterior.coefficients(t), covariance)
                })
                .unzip();
            let around = rows.quadratics(|t, x, y, v| {
                let eta: f64 = x.iter().zip(means[t].iter()).map(|(a, b)| a * b).sum();
                (eta, family.expected(y, v, eta, deviation(&covariances[t], x)))
            });
            // What the rows say at the posterior, or on average over it, against what the quadratics did.
            let (mut said, mut stood, mut energy) = (0.0, 0.0, 0.0);
            for (t, (site, own)) in sites.iter().zip(&around).enumerate() {
                said += own.value(&means[t]);
                let spread = if covariances[t].is_empty() { 0.0 } else { site.curvature.dot(&covariances[t]) };
                stood += site.value(&means[t]) - 0.5 * spread;
                let score = &site.linear - &site.curvature * &means[t];
                energy += (&means[t] - posterior.mean()).dot(&score);
            }
            let (height, log_likelihood) = match inference {
                Inference::Variational => {
                    let bound = posterior.log_likelihood() + said - stood;
                    (bound, bound)
                }
                Inference::Laplace => (said - 0.5 * energy, posterior.log_likelihood() + said - stood),
            };
            Ok(Place { sites, posterior, height, log_likelihood, around })
        };
        let start = || {
            rows.quadratics(|_, _, y, v| {
                let eta = family.start(y, v);
                (eta, family.at(y, v, eta))
            })
        };
        let mut here = at(from.map_or_else(start, |from| (0..from.len()).map(|t| from.task(t)).collect()))?;
        let (mut steps, mut share, mut change) = (1, 1.0, f64::INFINITY);
        let mut before = DMatrix::zeros(rows.features, rows.tasks());
        while change >= STILL && steps < STEPS && share > LEAST_SHARE {
            let mixed: Vec<Quadratic> = here.sites.iter().zip(&here.around).map(|(old, new)| mix(old, new, share)).collect();
            steps += 1;
            match at(mixed) {
                Ok(there) if there.height >= here.height - 1e-12 * here.height.abs() => {
                    let moved = there.posterior.all_coefficients() - here.posterior.all_coefficients();
                    change = moved.amax() / share;
                    // Whole steps may swing to and fro about where it stands.
                    share = if moved.dot(&before) < 0.0 { 0.5 * share } else { f64::min(1.0, 1.5 * share) };
                    (here, before) = (there, moved);
                }
                _ => share *= 0.5,
            }
        }
        let Place { sites, posterior, log_likelihood, .. } = here;
        let quadratics = Quadratics::new(&sites)?;
        Ok(Approximation { posterior, quadratics, log_likelihood, steps, converged: change < STILL })
    }
}

/// (x' C x)^(1/2), 0 for an empty C.
fn deviation(covariance: &DMatrix<f64>, x: &[f64]) -> f64 {
    let columns = covariance.column_iter().zip(x);
    let square: f64 = columns.map(|(column, b)| b * column.iter().zip(x).map(|(c, a)| c * a).sum::<f64>()).sum();
    square.max(0.0).sqrt()
}

fn mix(old: &Quadratic, new: &Quadratic, share: f64) -> Quadratic {
    Quadratic {
        constant: old.constant + share * (new.constant - old.constant),
        linear: &old.linear + (&new.linear - &old.linear) * share,
        curvature: &old.curvature + (&new.curvature - &old.curvature) * share,
    }
}
