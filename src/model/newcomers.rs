//! Tasks without rows: those that have a place among those of the fit by their descriptors, and how far any other may be from the mean.

use super::Fit;
use super::intervals::WeighedKernel;
use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::{Relatedness, TaskKernel, TaskScales};
use crate::tasks::Descriptors;
use nalgebra::{DMatrix, DMatrixView, DVector, DVectorView};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// Their parameters in fitted coordinates, of every group one after another.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Newcomers {
    names: BTreeMap<String, usize>,
    /// d x (newcomers x groups).
    #[serde(with = "crate::linalg::record::matrix")]
    coefficients: DMatrix<f64>,
    /// d^2 x (newcomers x groups).
    #[serde(with = "crate::linalg::record::matrix")]
    covariances: DMatrix<f64>,
}

impl Newcomers {
    /// Where its column is, if it is among them.
    pub(super) fn get(&self, task: &str, group: usize) -> Option<(DVectorView<'_, f64>, DMatrixView<'_, f64>)> {
        let (d, count) = (self.coefficients.nrows(), self.names.len());
        let column = group * count + self.names.get(task)?;
        let covariance = DMatrixView::from_slice(self.covariances.column(column).data.into_slice(), d, d);
        Some((DVectorView::from_slice(self.coefficients.column(column).data.into_slice(), d), covariance))
    }

    pub(super) fn are_consistent(&self, features: usize, groups: usize) -> bool {
        let columns = self.names.len() * groups;
        self.coefficients.shape() == (features, columns)
            && self.covariances.shape() == (features * features, columns)
            && self.names.values().all(|place| *place < self.names.len())
            && [&self.coefficients, &self.covariances].iter().all(|own| own.iter().all(|value| value.is_finite()))
    }
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
        let Some(kernel) = &self.prior.kernel else {
            let problem = format!("the structure '{}' knows of no descriptors; fit with --structure kernel", self.structure);
            return Err(Error::Arguments(problem));
        };
        if self.tasks.has_own_units() {
            let problem =
                "targets are in units of their own, and nobody knows that of a task that was not measured; leave its descriptors out";
            return Err(Error::Arguments(problem.into()));
        }
        let known: HashSet<&str> = self.tasks.names().iter().map(String::as_str).collect();
        let rows: Vec<usize> = (0..descriptors.tasks().len()).filter(|row| !known.contains(descriptors.tasks()[*row].as_str())).collect();
        let points = rows.iter().map(|row| kernel.points().place(descriptors, *row)).collect::<Result<Vec<_>>>()?;
        let mut added = self.with_posterior(|posterior| self.placed(kernel, posterior, &points))??;
        added.names = rows.iter().enumerate().map(|(place, row)| (descriptors.tasks()[*row].clone(), place)).collect();
        if let Some(average) = self.carried.average.as_ref().filter(|average| !average.kernels.is_empty()) {
            added.covariances = self.averaged_about(&added, &average.kernels, &points)?;
        }
        let newcomers = self.newcomers.get_or_insert_with(Newcomers::default);
        let mut merged: Vec<(String, usize, bool)> = newcomers.names.iter().map(|(name, place)| (name.clone(), *place, false)).collect();
        merged.retain(|(name, ..)| !added.names.contains_key(name));
        merged.extend(added.names.iter().map(|(name, place)| (name.clone(), *place, true)));
        merged.sort();
        let groups = self.prior.groups.len();
        let columns = |old: &DMatrix<f64>, new: &DMatrix<f64>| {
            let of = |(_, place, is_new): &(String, usize, bool), group: usize| {
                let (from, count) = if *is_new { (new, added.names.len()) } else { (old, newcomers.names.len()) };
                from.column(group * count + place).into_owned()
            };
            let each: Vec<_> = (0..groups).flat_map(|group| merged.iter().map(move |own| of(own, group))).collect();
            if each.is_empty() { DMatrix::zeros(new.nrows(), 0) } else { DMatrix::from_columns(&each) }
        };
        *newcomers = Newcomers {
            coefficients: columns(&newcomers.coefficients, &added.coefficients),
            covariances: columns(&newcomers.covariances, &added.covariances),
            names: merged.into_iter().enumerate().map(|(place, (name, ..))| (name, place)).collect(),
        };
        Ok(())
    }

    /// Mean squares about those coefficients, over the hyperparameters.
    fn averaged_about(&self, about: &Newcomers, kernels: &[WeighedKernel], points: &[DVector<f64>]) -> Result<DMatrix<f64>> {
        let each = kernels.par_iter().map(|own| {
            let Some((prior, dispersion)) = own.at(&self.prior, &self.dispersion) else { return Ok(None) };
            let quadratics = self.quadratics_at(&dispersion)?;
            let (posterior, kernel) = (Posterior::given(&quadratics, &prior)?, prior.kernel.as_ref().expect("it was just put there"));
            let mut found = self.placed(kernel, &posterior, points)?;
            for column in 0..found.coefficients.ncols() {
                let away = found.coefficients.column(column) - about.coefficients.column(column);
                found
                    .covariances
                    .column_mut(column)
                    .iter_mut()
                    .zip((&away * away.transpose()).iter())
                    .for_each(|(own, square)| *own += square);
            }
            Ok(Some(found.covariances * own.weight))
        });
        let each: Vec<Option<DMatrix<f64>>> = each.collect::<Result<_>>()?;
        let weight: f64 = each.iter().zip(kernels).filter_map(|(own, kernel)| own.as_ref().map(|_| kernel.weight)).sum();
        let sum = each.into_iter().flatten().reduce(|all, own| all + own);
        Ok(sum.map_or_else(|| about.covariances.clone(), |sum| sum / weight))
    }

    fn placed(&self, kernel: &TaskKernel, posterior: &Posterior, points: &[DVector<f64>]) -> Result<Newcomers> {
        let ties = kernel.ties(points)?;
        let of_tasks = self.prior.task_scales.as_ref().map_or(1.0, TaskScales::mean_square).sqrt();
        let groups = self.prior.groups.len();
        let d = self.tasks.design().len();
        let mut newcomers = Newcomers {
            names: BTreeMap::new(),
            coefficients: DMatrix::zeros(d, ties.len() * groups),
            covariances: DMatrix::zeros(d * d, ties.len() * groups),
        };
        for group in 0..groups {
            let scale = self.prior.groups.scales.get(group).copied().unwrap_or(1.0) * of_tasks;
            let each: Vec<_> = ties.par_iter().map(|tie| posterior.newcomer(tie, group, scale)).collect();
            for (place, (own, covariance)) in each.into_iter().enumerate() {
                let column = group * ties.len() + place;
                newcomers.coefficients.set_column(column, &own);
                newcomers.covariances.column_mut(column).copy_from_slice(covariance.as_slice());
            }
        }
        Ok(newcomers)
    }

    /// Parameters of a task that [`Fit::place`] has placed, of the first group of tasks, and their posterior covariance.
    pub fn newcomer(&self, task: &str) -> Option<(DVector<f64>, DMatrix<f64>)> {
        let (own, covariance) = self.newcomers.as_ref()?.get(task, 0)?;
        let map = self.coordinates.to_original();
        Some((self.coordinates.parameters(&own.into_owned()), &map * covariance * map.transpose()))
    }

    /// Names of the tasks without rows that have a place by their descriptors, in alphabetical order.
    pub fn newcomers(&self) -> Vec<&str> {
        self.newcomers.iter().flat_map(|own| own.names.keys().map(String::as_str)).collect()
    }
}

pub(super) fn nothing() -> DMatrix<f64> {
    DMatrix::zeros(0, 0)
}

/// E[u_t u_t'] over the features of an average task, where Sigma is learned pair by pair, so that its prior pulls K; nothing else.
pub(super) fn average_square(posterior: &Posterior) -> DMatrix<f64> {
    let prior = posterior.prior();
    let is_pulled = matches!(prior.relatedness, Relatedness::Dense(_) | Relatedness::Graph(_)) && prior.kernel.is_none();
    if !is_pulled || !prior.free.is_empty() || prior.groups.are_several() || prior.task_scales.is_some() {
        return nothing();
    }
    let square = |t: usize| {
        let (own, covariance) = posterior.deviation(t);
        &own * own.transpose() + covariance
    };
    let each: Vec<DMatrix<f64>> = (0..posterior.tasks()).into_par_iter().map(square).collect();
    each.into_iter().reduce(|all, own| all + own).map_or_else(nothing, |sum| sum / posterior.tasks() as f64)
}
