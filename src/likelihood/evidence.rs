//! The log marginal likelihood beyond the Gaussian approximation: exact up to the error of quadrature or sampling.

use super::approximation::Approximation;
use super::family::Family;
use super::integral::{Integral, Integrated};
use super::rows::{Families, FamilyRows};
use crate::error::{Error, Result};
use crate::linalg;
use crate::prior::{Prior, Relatedness};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Most coordinates of an integral over several tasks.
const JOINT: usize = 50;

/// Pareto k-hat above which the mean of importance weights is not to be trusted.
const WORRYING: f64 = 0.7;

/// Standard error at which sampling ends.
const AIM: f64 = 0.005;

/// Most pairs of draws an integral, and most log densities of rows beyond the first draws.
const MOST: (usize, usize) = (1 << 15, 1 << 30);

/// The exact log marginal likelihood, as far as it could be found, and how well the Gaussian stands for the posterior of each task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// The log marginal likelihood, all constants included.
    pub log_likelihood: f64,
    /// Its standard error, 0 where every integral was found by quadrature or in closed form.
    pub standard_error: f64,
    /// Whether any integral was found by importance sampling.
    pub sampled: bool,
    /// Pareto k-hat of the importance weights of each task, the same for tasks in one integral; empty where nothing had to be integrated.
    /// Above .7 the Gaussian is a poor stand for the posterior, and a standard error not to be trusted.
    pub pareto_k: Vec<f64>,
}

impl Evidence {
    /// The tasks whose k-hat is above .7.
    pub fn worrying(&self) -> impl Iterator<Item = usize> {
        self.pareto_k.iter().enumerate().filter(|(_, k)| **k > WORRYING).map(|(t, _)| t)
    }

    /// Refuses integrals over several tasks of more coordinates than are sampled.
    pub(crate) fn check_size(coordinates: usize) -> Result<()> {
        if coordinates <= JOINT {
            return Ok(());
        }
        Err(Error::Arguments(format!(
            "the exact log-likelihood of related tasks, or with the common mean integrated out, is one integral over the parameters of all, here over \
             {coordinates} and at most {JOINT}; use --structure exchangeable without --reml, or leave --evidence exact out"
        )))
    }
}

impl Approximation {
    /// The exact log marginal likelihood at the prior of this approximation: log int prod_i p(y_i | x_i' w_t + offset_i) dP(w). Given the mean
    /// (known, or at its estimate) unrelated tasks have an integral each, over b_t of w_t = mean + L b_t, K = L L'; related ones one
    /// together, and with an integrated mean all, over the mean too.
    ///
    /// Over one or two coordinates by Gauss-Hermite quadrature about the Gaussian (Liu and Pierce 1994), 8 nodes a coordinate, doubled until
    /// the log integral changes by less than 1e-7. Over more, or where 256 nodes (64 a coordinate of two) do not suffice, by importance
    /// sampling from it with the tails of a multivariate t of 7 degrees of freedom (or as many as coordinates), in antithetic pairs with
    /// the Gaussian's own weights as control variate; at least 256 pairs, doubled until the standard error is .005 or 32,768 are made (fewer
    /// for more than 16,384 rows: 2^30 log densities in all).
    /// Pareto k-hat (Vehtari, Simpson, Gelman, Yao and Gabry 2024) is that of these draws' weights, 256 pairs by quadrature. The same for
    /// any number of threads. At least 512 log densities a row.
    ///
    /// ```
    /// # use cognate::{Approximation, Binomial, Coordinates, Design, FamilyRows, Inference, Mean, Prior, Relatedness, Rows};
    /// # use nalgebra::{dmatrix, dvector};
    /// let mut rows = Rows::new("well", &["dose"]);
    /// for (task, dose, well) in [("a", 0.0, 0.0), ("a", 1.0, 1.0), ("a", 2.0, 1.0), ("b", 0.5, 0.0), ("b", 2.0, 1.0)] {
    ///     rows.push(task, &[dose], well, 1.0)?;
    /// }
    /// let design = Design::varying(rows.features());
    /// let family = Binomial::default();
    /// let kept = FamilyRows::new(&rows, &design, &Coordinates::identity(&design), &family)?;
    /// let prior = Prior::new(Mean::Given(dvector![0.0, 0.0]), Relatedness::Identity, dmatrix![1.0, 0.0; 0.0, 1.0]);
    /// let bound = Approximation::of(&kept, &family, &prior, Inference::Variational)?;
    /// let exact = bound.evidence(&kept, &family)?;
    /// assert!(exact.standard_error == 0.0 && exact.log_likelihood > bound.log_likelihood);
    /// assert!(exact.worrying().next().is_none());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for an integral over several tasks of more than 50 coordinates, [`Error::NotPositiveDefinite`] where Sigma is not or
    /// the rows do not decide an integrated mean.
    pub fn evidence(&self, rows: &FamilyRows, family: &dyn Family) -> Result<Evidence> {
        self.evidence_of(rows, &Families::one(family))
    }

    /// As [`Approximation::evidence`] with a family for every task.
    pub(super) fn evidence_of(&self, rows: &FamilyRows, families: &Families) -> Result<Evidence> {
        let prior = self.posterior.prior();
        if !prior.free.is_empty() {
            return Err(Error::Arguments(
                "parameters that are free in every task have no prior to be integrated over; use exchangeable".into(),
            ));
        }
        let flat = if prior.mean.is_integrated() { prior.mean_features.len() * prior.groups.len() } else { 0 };
        let base = |t: usize| if flat > 0 { DVector::zeros(rows.features()) } else { self.posterior.mean_of(t) };
        let groups = groups(prior, rows.tasks(), flat > 0);
        let integrals: Vec<Integral> = groups
            .iter()
            .enumerate()
            .map(|(number, group)| {
                if group.len() > 1 {
                    Evidence::check_size(coordinates(prior, group.len(), flat))?;
                }
                let maps = maps(prior, group, rows.features(), flat)?;
                let tasks = group.iter().zip(maps).map(|(t, map)| (*t, base(*t), map)).collect();
                Integral::new((rows, families, &self.quadratics), number, tasks, (flat, &prior.mean_precision))
            })
            .collect::<Result<_>>()?;
        let aim = AIM * AIM / groups.len() as f64;
        let most = (MOST.1 / (2 * rows.len().max(1))).min(MOST.0);
        let found: Vec<Integrated> = integrals.par_iter().map(|own| own.integrate(aim, most)).collect();
        let mut pareto_k: Vec<Option<f64>> = vec![None; rows.tasks()];
        groups.iter().zip(&found).for_each(|(group, own)| group.iter().for_each(|t| pareto_k[*t] = own.pareto_k));
        Ok(Evidence {
            log_likelihood: found.iter().map(|own| own.value).sum(),
            standard_error: found.iter().filter_map(|own| own.variance).fold(0.0, |sum, own| sum + own).sqrt(),
            sampled: found.iter().any(|own| own.variance.is_some()),
            pareto_k: pareto_k.into_iter().flatten().collect(),
        })
    }
}

/// The tasks of each integral.
fn groups(prior: &Prior, tasks: usize, together: bool) -> Vec<Vec<usize>> {
    match &prior.relatedness {
        _ if together => vec![(0..tasks).collect()],
        Relatedness::Dense(_) | Relatedness::LowRank { .. } => vec![(0..tasks).collect()],
        Relatedness::Graph(graph) => graph.components(),
        Relatedness::Zero | Relatedness::Identity | Relatedness::Diagonal(_) => (0..tasks).map(|t| vec![t]).collect(),
    }
}

/// How many coordinates the integral over so many tasks has.
fn coordinates(prior: &Prior, tasks: usize, flat: usize) -> usize {
    flat + if prior.relatedness.varies() || matches!(prior.relatedness, Relatedness::Diagonal(_)) {
        tasks * directions(prior).len()
    } else {
        0
    }
}

/// The columns of L that move anything.
fn directions(prior: &Prior) -> Vec<usize> {
    (0..prior.factor.ncols()).filter(|k| prior.factor.column(*k).norm() > 0.0).collect()
}

/// M_t of each task of an integral, p x n, with w_t = base + M_t z: first the means of all groups where they are flat, then for each direction of K the
/// deviations of all tasks, whitened by a root of Sigma where they follow that.
fn maps(prior: &Prior, group: &[usize], features: usize, flat: usize) -> Result<Vec<DMatrix<f64>>> {
    let size = coordinates(prior, group.len(), flat);
    let mut maps = vec![DMatrix::zeros(features, size); group.len()];
    if flat > 0 {
        for (map, t) in maps.iter_mut().zip(group) {
            let first = prior.groups.of(*t) * prior.mean_features.len();
            prior.mean_features.iter().enumerate().for_each(|(j, feature)| map[(*feature, first + j)] = 1.0);
        }
    }
    if size == flat {
        return Ok(maps);
    }
    let (root, related) = (root(&prior.relatedness, group)?, prior.related_columns());
    for (position, k) in directions(prior).into_iter().enumerate() {
        for (t, map) in maps.iter_mut().enumerate() {
            for s in 0..group.len() {
                let share = prior.groups.scale(group[t]) * if related.contains(&k) { root[(t, s)] } else { f64::from(s == t) };
                let column = flat + position * group.len() + s;
                prior.varying.iter().enumerate().for_each(|(i, feature)| map[(*feature, column)] += share * prior.factor[(i, k)]);
            }
        }
    }
    Ok(maps)
}

/// R with R R' = Sigma among the tasks of a group, which are related to no others.
fn root(relatedness: &Relatedness, group: &[usize]) -> Result<DMatrix<f64>> {
    let size = group.len();
    let root = match relatedness {
        Relatedness::Zero | Relatedness::Identity => Some(DMatrix::identity(size, size)),
        Relatedness::Diagonal(variances) => {
            Some(DMatrix::from_fn(size, size, |i, j| if i == j { variances[group[i]].sqrt() } else { 0.0 }))
        }
        Relatedness::Dense(sigma) => linalg::cholesky(sigma.select_rows(group).select_columns(group)),
        Relatedness::LowRank { loadings, uniquenesses } => {
            let own = Relatedness::LowRank { loadings: loadings.select_rows(group), uniquenesses: uniquenesses.select_rows(group) };
            own.covariance(size).map(|sigma| linalg::semidefinite_factor(&sigma))
        }
        Relatedness::Graph(graph) => {
            let element = |i: usize, j: usize| match (group[i], group[j]) {
                (s, t) if s == t => graph.node(s).precision,
                (s, t) => graph.edge(s, t).map_or(0.0, |edge| edge.precision),
            };
            linalg::cholesky(DMatrix::from_fn(size, size, element)).map(|factor| {
                let mut inverse = DMatrix::identity(size, size);
                linalg::solve_lower_matrix(&factor, &mut inverse);
                inverse.transpose()
            })
        }
    };
    root.ok_or_else(|| Error::NotPositiveDefinite { matrix: "the task covariance Sigma".into(), remedy: "raise --prior-strength".into() })
}
