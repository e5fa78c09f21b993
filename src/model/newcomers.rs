//! Tasks without rows: those that have a place among those of the fit by their descriptors, and how far any other may be from the mean.

use super::Fit;
use super::intervals::WeighedKernel;
use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::{Relatedness, TaskKernel, TaskScales, Tie};
use crate::tasks::Descriptors;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// The parameters of a task in fitted coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Newcomer {
    #[serde(with = "crate::linalg::record::vector")]
    pub coefficients: DVector<f64>,
    #[serde(with = "crate::linalg::record::matrix")]
    pub covariance: DMatrix<f64>,
}

impl Newcomer {
    fn is_consistent(&self, features: usize) -> bool {
        self.coefficients.len() == features
            && self.covariance.shape() == (features, features)
            && self.coefficients.iter().chain(self.covariance.iter()).all(|value| value.is_finite())
    }
}

/// By name, as one of each group.
pub(super) type Newcomers = BTreeMap<String, Vec<Newcomer>>;

pub(super) fn are_consistent(newcomers: &Newcomers, features: usize, groups: usize) -> bool {
    newcomers.values().all(|own| own.len() == groups && own.iter().all(|of_group| of_group.is_consistent(features)))
}

impl Fit {
    /// Places tasks that the fit has not seen among those that it has, by their descriptors, so that [`Fit::predict`] knows them by name; tasks of the fit
    /// are passed over. Those in the table of descriptors that the fit was made with are there from the start.
    ///
    /// With Sigma the kernel's, w = mean + sum_t a_t u_t + e with a = Sigma^-1 Sigma(., new) and e ~ N(0, (Sigma(new, new) - Sigma(new, .) a) K): the Gaussian
    /// process regression of the tasks' deviations on their descriptors, of which the posterior given all rows is taken (kriging). Covariances carry the uncertainty
    /// of the hyperparameters where those of the tasks do ([`Fit::intervals`]). An E-step for each of up to 64 points then, else one.
    ///
    /// # Errors
    /// [`Error::Arguments`] where the fit has no kernel, for a descriptor that is missing, and a level that no task of the fit has.
    pub fn place(&mut self, descriptors: &Descriptors) -> Result<()> {
        if self.prior.kernel.is_none() {
            let problem = format!("the structure '{}' knows of no descriptors; fit with --structure kernel", self.structure);
            return Err(Error::Arguments(problem));
        }
        if self.tasks.has_own_units() {
            let problem =
                "targets are in units of their own, and nobody knows that of a task that was not measured; leave its descriptors out";
            return Err(Error::Arguments(problem.into()));
        }
        let added = self.with_posterior(|posterior| self.beside(posterior, descriptors))??;
        self.newcomers.extend(added);
        Ok(())
    }

    /// Those of the tasks with descriptors that are not of the fit, by a posterior at its hyperparameters.
    pub(super) fn beside(&self, posterior: &Posterior, descriptors: &Descriptors) -> Result<Newcomers> {
        let known: HashSet<&str> = self.tasks.names().iter().map(String::as_str).collect();
        let new = descriptors.tasks().iter().enumerate().filter(|(_, task)| !known.contains(task.as_str()));
        let (rows, names): (Vec<usize>, Vec<String>) = new.map(|(row, task)| (row, task.clone())).unzip();
        let Some(kernel) = self.prior.kernel.as_ref().filter(|_| !rows.is_empty()) else { return Ok(Newcomers::new()) };
        let points = rows.iter().map(|row| kernel.points().place(descriptors, *row)).collect::<Result<Vec<_>>>()?;
        let mut placed = self.placed(kernel, posterior, &points)?;
        if let Some(average) = self.carried.average.as_ref().filter(|average| !average.kernels.is_empty()) {
            self.average(&mut placed, &average.kernels, &points)?;
        }
        Ok(names.into_iter().zip(placed).collect())
    }

    /// Makes covariances mean squares about the coefficients, over the hyperparameters.
    /// The task covariances of a kernel over which intervals average, and the weight of each; none where nothing is averaged.
    pub(crate) fn weighed_kernels(&self) -> Vec<(f64, Relatedness)> {
        let points = self.carried.average.iter().flat_map(|average| &average.kernels);
        points.filter_map(|own| Some((own.weight, own.at(&self.prior, &self.dispersion)?.0.relatedness))).collect()
    }

    fn average(&self, about: &mut [Vec<Newcomer>], kernels: &[WeighedKernel], points: &[DVector<f64>]) -> Result<()> {
        let each = kernels.par_iter().map(|own| {
            let Some((prior, dispersion)) = own.at(&self.prior, &self.dispersion) else { return Ok(None) };
            let quadratics = self.quadratics_at(&dispersion)?;
            let (posterior, kernel) = (Posterior::given(&quadratics, &prior)?, prior.kernel.as_ref().expect("it was just put there"));
            Ok(Some((own.weight, self.placed(kernel, &posterior, points)?)))
        });
        let each: Vec<(f64, Vec<Vec<Newcomer>>)> = each.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect();
        let weight: f64 = each.iter().map(|(weight, _)| weight).sum();
        if each.is_empty() {
            return Ok(());
        }
        for (t, task) in about.iter_mut().enumerate() {
            for (group, own) in task.iter_mut().enumerate() {
                own.covariance.fill(0.0);
                for (share, placed) in &each {
                    let there = &placed[t][group];
                    let away = &there.coefficients - &own.coefficients;
                    own.covariance += (&there.covariance + &away * away.transpose()) * (share / weight);
                }
            }
        }
        Ok(())
    }

    fn placed(&self, kernel: &TaskKernel, posterior: &Posterior, points: &[DVector<f64>]) -> Result<Vec<Vec<Newcomer>>> {
        let ties = kernel.ties(points)?;
        let of_tasks = self.prior.task_scales.as_ref().map_or(1.0, TaskScales::mean_square).sqrt();
        let of_group = |tie: &Tie, group: usize| {
            let scale = self.prior.groups.scales.get(group).copied().unwrap_or(1.0) * of_tasks;
            let (coefficients, covariance) = posterior.newcomer(tie, group, scale);
            Newcomer { coefficients, covariance }
        };
        Ok(ties.par_iter().map(|tie| (0..self.prior.groups.len()).map(|group| of_group(tie, group)).collect()).collect())
    }

    /// Parameters of a task that [`Fit::place`] has placed, of the first group of tasks, and their posterior covariance.
    pub fn newcomer(&self, task: &str) -> Option<(DVector<f64>, DMatrix<f64>)> {
        let Newcomer { coefficients, covariance } = self.newcomers.get(task)?.first()?;
        let map = self.coordinates.to_original();
        Some((self.coordinates.parameters(coefficients), &map * covariance * map.transpose()))
    }

    /// Names of the tasks without rows that have a place by their descriptors, in alphabetical order.
    pub fn newcomers(&self) -> Vec<&str> {
        self.newcomers.keys().map(String::as_str).collect()
    }
}

pub(super) fn nothing() -> DMatrix<f64> {
    DMatrix::zeros(0, 0)
}

/// E[u_t u_t'] over the features of an average task, where Sigma is learned pair by pair, so that its prior pulls K; nothing else.
pub(super) fn average_square(posterior: &Posterior, structure: &str) -> DMatrix<f64> {
    let prior = posterior.prior();
    let is_pulled = matches!(prior.relatedness, Relatedness::Dense(_) | Relatedness::Graph(_)) && prior.kernel.is_none();
    if !is_pulled || structure == "known" || !prior.free.is_empty() || prior.groups.are_several() || prior.task_scales.is_some() {
        return nothing();
    }
    let square = |t: usize| {
        let (own, covariance) = posterior.deviation(t);
        &own * own.transpose() + covariance
    };
    let each: Vec<DMatrix<f64>> = (0..posterior.tasks()).into_par_iter().map(square).collect();
    each.into_iter().reduce(|all, own| all + own).map_or_else(nothing, |sum| sum / posterior.tasks() as f64)
}
