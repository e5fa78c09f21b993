//! The Gaussian nearest to a posterior that is not: quadratics of the rows are made around it until it stands.

use super::family::Family;
use super::mixing::{Met, Mixing};
use super::rows::{Families, FamilyRows, Where};
use crate::error::Result;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mixture, Prior};
use crate::quadratic::{Quadratic, Quadratics};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// Most steps until the approximation must stand. Tens do but for a task of one class with a wide prior, where the curvature falls as the posterior widens.
const STEPS: usize = 1000;

/// Change of every coefficient below which it stands: to rounding.
pub(crate) const STILL: f64 = 1e-9;

/// Relative fall of what is climbed that is rounding.
const ROUNDING: f64 = 1e-11;

/// Share of a step below which none is taken.
const LEAST_SHARE: f64 = 1e-6;

/// How a Gaussian stands for a posterior.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// How much more the rows of each task say than its quadratic; nothing where they say the same.
    gaps: Vec<f64>,
}

/// An approximation on the way, what is climbed, and the quadratics around it.
struct Place {
    sites: Vec<Quadratic>,
    posterior: Posterior<'static>,
    means: Vec<DVector<f64>>,
    height: f64,
    log_likelihood: f64,
    gaps: Vec<f64>,
    around: Vec<Quadratic>,
}

impl Approximation {
    /// Makes the rows' quadratics around the latest posterior, and a posterior from them, until it stands. What is climbed (the bound;
    /// for [`Inference::Laplace`] the log density at the mode) never falls: steps that would are halved. O(n d^2) and an E-step each.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses.
    pub fn of(rows: &FamilyRows, family: &dyn Family, prior: &Prior, inference: Inference) -> Result<Self> {
        Self::beginning(None, rows, &Families::one(family), prior, (inference, STILL))
    }

    /// Where the quadratics need not be looked for.
    pub(crate) fn exact(quadratics: Quadratics, prior: &Prior) -> Result<Self> {
        let posterior = Posterior::owning(quadratics.clone(), prior)?;
        let log_likelihood = posterior.log_likelihood();
        Ok(Approximation { posterior, quadratics, log_likelihood, steps: 1, converged: true, gaps: Vec::new() })
    }

    /// Of tasks that share nothing, from those of each by itself.
    pub(super) fn of_each(each: Vec<Approximation>, prior: &Prior) -> Result<Self> {
        let quadratics = Quadratics::new(&each.iter().map(|own| own.quadratics.task(0)).collect::<Vec<_>>())?;
        Ok(Approximation {
            posterior: Posterior::owning(quadratics.clone(), prior)?,
            quadratics,
            log_likelihood: each.iter().map(|own| own.log_likelihood).sum(),
            steps: each.iter().map(|own| own.steps).max().unwrap_or(0),
            converged: each.iter().all(|own| own.converged),
            gaps: each.iter().flat_map(|own| own.gaps.iter().copied()).collect(),
        })
    }

    /// Of unknown clusters: one as if all tasks were of each component, in whose quadratics what they miss is a constant.
    fn of_components(
        from: Option<&Quadratics>,
        rows: &FamilyRows,
        families: &Families,
        (prior, mixture): (&Prior, &Mixture),
        search: (Inference, f64),
    ) -> Result<Self> {
        let each = (0..mixture.components())
            .map(|c| {
                let own = from.map(|from| from.of_component(c));
                Self::beginning(own, rows, families, &prior.of_component(mixture, c), search)
            })
            .collect::<Result<Vec<_>>>()?;
        let quadratics = Quadratics::of_components(each.iter().map(|own| own.quadratics.raised(&own.gaps)).collect());
        let found = Self::exact(quadratics, prior)?;
        Ok(Approximation {
            steps: each.iter().map(|own| own.steps).max().unwrap_or(0),
            converged: each.iter().all(|own| own.converged),
            ..found
        })
    }

    /// As [`Approximation::of`] with a family for every task, from quadratics that stood at a neighbouring prior.
    pub(super) fn beginning(
        from: Option<&Quadratics>,
        rows: &FamilyRows,
        families: &Families,
        prior: &Prior,
        (inference, still): (Inference, f64),
    ) -> Result<Self> {
        if let Some(mixture) = &prior.mixture {
            return Self::of_components(from, rows, families, (prior, mixture), (inference, still));
        }
        let kept: Vec<usize> = (0..rows.features()).filter(|k| !prior.free.contains(k)).collect();
        let at = |sites: Vec<Quadratic>| -> Result<Place> {
            let posterior = Posterior::owning(Quadratics::new(&sites)?, prior)?;
            let Where { means, covariances, .. } = Where::of(&posterior, inference == Inference::Variational);
            let around = rows.quadratics(families, |t, row| {
                let eta = row.predictor(&means[t]);
                (eta, families.of(t).expected(row.y, row.weight, eta + row.offset, row.deviation(&covariances[t])))
            });
            // What the rows say at the posterior, or on average over it, against what the quadratics did.
            let (mut said, mut stood, mut energy) = (0.0, 0.0, 0.0);
            let mut gaps = Vec::with_capacity(sites.len());
            for (t, (site, own)) in sites.iter().zip(&around).enumerate() {
                // That of rows is in their expected values already.
                let level = rows.levels().get(t).map_or(0.0, |level| spread(&level.quadratic().curvature, &covariances[t]));
                let (own_said, own_stood) =
                    (own.value(&means[t]) - 0.5 * level, site.value(&means[t]) - 0.5 * spread(&site.curvature, &covariances[t]));
                (said, stood) = (said + own_said, stood + own_stood);
                gaps.push(own_said - own_stood);
                if inference == Inference::Laplace {
                    let (score, mean) = (&site.linear - &site.curvature * &means[t], posterior.mean_of(t));
                    energy += kept.iter().zip(mean.iter()).map(|(k, mean)| (means[t][*k] - mean) * score[*k]).sum::<f64>();
                }
            }
            let log_likelihood = posterior.log_likelihood() + free_volume(&sites, &prior.free) + said - stood;
            let height = match inference {
                Inference::Variational => log_likelihood + posterior.log_mean_density(),
                Inference::Laplace => said - 0.5 * energy + posterior.log_density_of_mean(),
            };
            Ok(Place { sites, posterior, means, height, log_likelihood, gaps, around })
        };
        let start = || {
            rows.quadratics(families, |t, row| {
                let eta = families.of(t).start(row.y, row.weight);
                (eta - row.offset, families.of(t).at(row.y, row.weight, eta))
            })
        };
        let mut here = at(from.map_or_else(start, |from| (0..from.len()).map(|t| from.task(t)).collect()))?;
        let (mut steps, mut share, mut change) = (1, 1.0, f64::INFINITY);
        let mut before: Vec<DVector<f64>> = vec![DVector::zeros(rows.features()); rows.tasks()];
        let mut mixing = Mixing::of(rows.tasks(), rows.features());
        while change >= still && steps < STEPS && share > LEAST_SHARE {
            let ahead = mixing.next(&here.sites, &here.around);
            let is_ahead = ahead.is_some();
            let mixed =
                ahead.unwrap_or_else(|| here.sites.iter().zip(&here.around).map(|(old, new)| mix(old, new, share)).collect::<Vec<_>>());
            steps += 1;
            match at(mixed) {
                Ok(there) if there.height >= here.height - ROUNDING * (1.0 + here.height.abs()) => {
                    let moved: Vec<DVector<f64>> = there.means.iter().zip(&here.means).map(|(new, old)| new - old).collect();
                    let part = if is_ahead { 1.0 } else { share };
                    change = moved.iter().fold(0.0, |most: f64, own| most.max(own.amax())) / part;
                    if !is_ahead {
                        // Whole steps may swing to and fro about where it stands.
                        let turned = moved.iter().zip(&before).map(|(new, old)| new.dot(old)).sum::<f64>() < 0.0;
                        share = if turned { 0.5 * share } else { f64::min(1.0, 1.5 * share) };
                    }
                    let Place { sites, around, .. } = std::mem::replace(&mut here, there);
                    mixing.keep(Met { sites, around });
                    before = moved;
                }
                _ if is_ahead => mixing.forget(),
                _ => share *= 0.5,
            }
        }
        let Place { sites, posterior, log_likelihood, gaps, .. } = here;
        let quadratics = Quadratics::new(&sites)?;
        Ok(Approximation { posterior, quadratics, log_likelihood, steps, converged: change < still, gaps })
    }

    /// The slope of Laplace's approximation in whatever `slope` gives that of a Gaussian log-likelihood in, the quadratics held. The
    /// log-determinant of the curvature W = diag(c(eta_i)) also follows the mode m, which moves as that of the held quadratics does:
    /// dL = slope(h) - g' dm with g_t = 1/2 sum_i c'(eta_i) (x_i' Cov(w_t) x_i) x_i.
    /// g' m is the derivative of the Gaussian log-likelihood along g in the linear terms h, in which `slope` is quadratic, so that
    /// g' dm = (slope(h + g) - slope(h - g)) / 2 exactly. Two E-steps.
    pub(super) fn laplace_slope(&self, rows: &FamilyRows, families: &Families, slope: &dyn Fn(&Posterior) -> Vec<f64>) -> Result<Vec<f64>> {
        const STEP: f64 = 1e-4;
        let Where { means, covariances, .. } = Where::of(&self.posterior, true);
        let pulls = rows.sums(rows.features(), |t, row, sum| {
            let eta = row.predictor(&means[t]) + row.offset;
            let curvature = |eta: f64| families.of(t).at(row.y, row.weight, eta).curvature;
            let third = (curvature(eta + STEP) - curvature(eta - STEP)) / (2.0 * STEP);
            let share = 0.5 * third * row.deviation(&covariances[t]).powi(2);
            sum.iter_mut().zip(row.x).for_each(|(cell, value)| *cell += share * value);
        });
        let pulled = |sign: f64| -> Result<Vec<f64>> {
            let moved = (0..self.quadratics.len()).map(|t| {
                let own = self.quadratics.task(t);
                Quadratic { linear: &own.linear + DVector::from_column_slice(&pulls[t]) * sign, ..own }
            });
            let quadratics = Quadratics::new(&moved.collect::<Vec<_>>())?;
            Ok(slope(&Posterior::owning(quadratics, self.posterior.prior())?))
        };
        let (own, up, down) = (slope(&self.posterior), pulled(1.0)?, pulled(-1.0)?);
        Ok(own.iter().zip(up.iter().zip(&down)).map(|(own, (up, down))| own - 0.5 * (up - down)).collect())
    }
}

/// tr(J C), 0 for an empty C.
fn spread(curvature: &DMatrix<f64>, covariance: &DMatrix<f64>) -> f64 {
    if covariance.is_empty() { 0.0 } else { curvature.dot(covariance) }
}

/// What integrating over the free coefficients of every task adds to the log-likelihood at their best: 1/2 log |2 pi J^-1| over them.
fn free_volume(sites: &[Quadratic], free: &[usize]) -> f64 {
    if free.is_empty() {
        return 0.0;
    }
    let volume = |site: &Quadratic| {
        let factor = linalg::cholesky(site.curvature.select_rows(free).select_columns(free));
        // Without it there is no posterior either.
        factor.map_or(0.0, |factor| 0.5 * (free.len() as f64 * (2.0 * PI).ln() - linalg::log_determinant(&factor)))
    };
    sites.iter().map(volume).sum()
}

fn mix(old: &Quadratic, new: &Quadratic, share: f64) -> Quadratic {
    Quadratic {
        constant: old.constant + share * (new.constant - old.constant),
        linear: &old.linear + (&new.linear - &old.linear) * share,
        curvature: &old.curvature + (&new.curvature - &old.curvature) * share,
    }
}
