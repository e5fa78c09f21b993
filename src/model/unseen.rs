//! What a fit believes of a task that it has not seen: a weighted set of normal distributions.

use super::Fit;
use super::groups::expand_mean;
use super::sites::Sites;
use crate::error::{Error, Result};
use crate::likelihood::{Dispersion, Family, Generalised, Likelihood, Observations};
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mean, TaskScales};
use crate::quadratic::{Quadratic, Quadratics};
use crate::tasks::Tasks;
use nalgebra::{DMatrix, DVector};
use std::sync::Arc;

/// One of them, in fitted coordinates: w = mean + deviation.
#[derive(Clone, Debug)]
pub(crate) struct Believed {
    pub weight: f64,
    pub mean: DVector<f64>,
    /// Covariance of the mean.
    pub of_mean: DMatrix<f64>,
    /// Covariance of the deviation.
    pub of_deviation: DMatrix<f64>,
}

impl Believed {
    pub(crate) fn covariance(&self) -> DMatrix<f64> {
        &self.of_mean + &self.of_deviation
    }
}

/// A task is of one of these, with the probability of its weight; the weights add up to 1.
#[derive(Clone, Debug)]
pub(crate) struct Belief(pub Vec<Believed>);

impl Belief {
    /// Mean and covariance.
    pub(crate) fn moments(&self) -> (DVector<f64>, DMatrix<f64>) {
        moments(self.0.iter().map(|own| (own.weight, own.mean.clone(), own.covariance())))
    }
}

/// The mean of every group in fitted coordinates and its covariance as some tasks alone say it, none for a group without any of them, and
/// of how many directions of it they say nothing.
pub(crate) struct MeansOf {
    pub of_group: Vec<Option<(DVector<f64>, DMatrix<f64>)>>,
    pub undecided: usize,
}

/// Directions along which a curvature is 0 to rounding, by columns.
fn silent(curvature: &DMatrix<f64>) -> DMatrix<f64> {
    const ROUNDING: f64 = 1e-10;
    let unit = curvature.diagonal().map(|own| if own > 0.0 { own.sqrt().recip() } else { 1.0 });
    let n = unit.len();
    let (values, axes) = linalg::symmetric_eigen(&DMatrix::from_fn(n, n, |i, j| unit[i] * unit[j] * curvature[(i, j)]));
    let none: Vec<usize> = (0..n).filter(|k| values[*k] < ROUNDING).collect();
    DMatrix::from_fn(n, none.len(), |i, k| unit[i] * axes[(i, none[k])])
}

/// Mean and covariance of a mixture of normal distributions.
pub(crate) fn moments(each: impl Iterator<Item = (f64, DVector<f64>, DMatrix<f64>)>) -> (DVector<f64>, DMatrix<f64>) {
    let mut each: Vec<_> = each.collect();
    if each.len() == 1 {
        let (_, mean, covariance) = each.swap_remove(0);
        return (mean, covariance);
    }
    let p = each[0].1.len();
    let mean = each.iter().fold(DVector::zeros(p), |sum, (weight, own, _)| sum + own * *weight);
    let covariance = each.iter().fold(DMatrix::zeros(p, p), |sum, (weight, own, covariance)| {
        let away = own - &mean;
        sum + (covariance + &away * away.transpose()) * *weight
    });
    (mean, covariance)
}

impl Fit {
    /// What all rows of the fit say of a task without any, of one of the groups.
    ///
    /// # Errors
    /// [`Error::UnknownTask`] where the structure has no prior for it, [`Error::Arguments`] where it is to be placed by descriptors and has
    /// none.
    pub(crate) fn belief(&self, task: &str, group: usize) -> Result<Belief> {
        if self.prior.kernel.is_some() {
            let own = self.newcomers.get(task).and_then(|own| own.get(group)).ok_or_else(|| {
                let problem = "is not of the fit and has no descriptors there; give them by --descriptors FILE (Fit::place)";
                Error::Arguments(format!("task '{task}' {problem}"))
            })?;
            let (p, mean, of_deviation) = (own.coefficients.len(), own.coefficients.clone(), own.covariance.clone());
            return Ok(Belief(vec![Believed { weight: 1.0, mean, of_mean: DMatrix::zeros(p, p), of_deviation }]));
        }
        self.check_unseen(task)?;
        let Some(mixture) = &self.prior.mixture else {
            return Ok(self.belief_about(group, (self.fitted_mean(group), self.fitted_mean_covariance(group))));
        };
        let component = |(c, weight): (usize, &f64)| {
            let (mean, of_mean) = self.cluster_mean(c).unwrap_or_else(|| (self.fitted_mean(group), self.fitted_mean_covariance(group)));
            let root = mixture.factor(c, &self.prior.factor);
            let of_deviation = self.over_all(&(&root * root.transpose()));
            Believed { weight: *weight, mean, of_mean, of_deviation }
        };
        Ok(Belief(mixture.shares.iter().enumerate().map(component).collect()))
    }

    /// What these tasks alone say of the mean of every group, at the hyperparameters of the fit. The mean is the only thing by which tasks
    /// teach one of which nothing is known but that it is a task, so with a flat prior of the mean few of them leave it wide. Where their
    /// rows say nothing at all of a direction of the mean it is that of the fit, with its uncertainty. An E-step over them.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses.
    pub(crate) fn means_from(&self, sources: &[usize]) -> Result<MeansOf> {
        let (p, features) = (self.tasks.design().len(), &self.prior.mean_features);
        let mut present: Vec<usize> = sources.iter().map(|t| self.tasks.group(*t)).collect();
        present.sort_unstable();
        present.dedup();
        let mut prior = self.prior.of_tasks(sources)?;
        let given = self.quadratics()?.of_tasks(sources);
        // About the mean of the fit, so that a prior of the mean about 0 is one about that.
        let about = |place: usize| {
            let own = given.task(place);
            let mean = self.fitted_mean(self.tasks.group(sources[place]));
            Quadratic { linear: &own.linear - &own.curvature * mean, ..own }
        };
        let moved = matches!(prior.mean, Mean::Profiled | Mean::Integrated) && !features.is_empty() && prior.mean_precision.is_empty();
        let quadratics = if moved { Quadratics::new(&(0..sources.len()).map(about).collect::<Vec<_>>())? } else { given.clone() };
        let mut undecided = 0;
        if moved {
            let m = features.len();
            let mut precision = DMatrix::zeros(m * present.len(), m * present.len());
            for (place, group) in present.iter().enumerate() {
                let of_group = (0..sources.len()).filter(|t| self.tasks.group(sources[*t]) == *group);
                let total = of_group.fold(DMatrix::zeros(p, p), |sum, t| sum + given.task(t).curvature);
                let nothing = silent(&total.select_rows(features).select_columns(features));
                if nothing.ncols() > 0 {
                    undecided += nothing.ncols();
                    let known = self.fitted_mean_covariance(*group).select_rows(features).select_columns(features);
                    let inverse = linalg::cholesky(nothing.tr_mul(&(known * &nothing))).map(|root| linalg::inverse_of_cholesky(&root));
                    let inverse = inverse.ok_or_else(|| Error::NotPositiveDefinite {
                        matrix: "the covariance of the mean".into(),
                        remedy: "let all tasks of the fit teach: leave the sources out".into(),
                    })?;
                    precision.view_mut((place * m, place * m), (m, m)).copy_from(&(&nothing * inverse * nothing.transpose()));
                }
            }
            if undecided > 0 {
                prior.mean_precision = precision;
            }
        }
        let posterior = Posterior::given(&quadratics, &prior)?;
        let (mean, covariance) = expand_mean(&posterior, &prior, p);
        let of_group = |group: usize| {
            let place = present.iter().position(|own| *own == group)? * p;
            let back = if moved { self.fitted_mean(group) } else { DVector::zeros(p) };
            Some((back + mean.rows(place, p), covariance.view((place, place), (p, p)).into_owned()))
        };
        Ok(MeansOf { of_group: (0..self.prior.groups.len()).map(of_group).collect(), undecided })
    }

    /// A task of a group about that mean.
    pub(crate) fn belief_about(&self, group: usize, (mean, of_mean): (DVector<f64>, DMatrix<f64>)) -> Belief {
        Belief(vec![Believed { weight: 1.0, mean, of_mean, of_deviation: self.between(group) }])
    }

    /// Whether tasks share rows whose errors are correlated.
    pub(crate) fn shares_rows(&self) -> bool {
        !self.dispersion.correlations.is_empty() || self.sites.as_ref().is_some_and(Sites::are_joint)
    }

    /// Refuses a new task where the structure has no prior for it.
    pub(crate) fn check_unseen(&self, task: &str) -> Result<()> {
        if !self.prior.free.is_empty() || self.structure == "independent" || self.tasks.has_own_units() {
            return Err(Error::UnknownTask { task: task.into(), structure: self.structure.clone() });
        }
        Ok(())
    }

    /// Covariance of the deviation of a new task of a group from its mean, in fitted coordinates: how far an average task of the fit
    /// deviates, where there are no clusters.
    pub(crate) fn between(&self, group: usize) -> DMatrix<f64> {
        let averaged =
            || self.carried.average.as_ref().map_or_else(|| self.prior.feature_covariance(), |all| all.feature_covariance.clone());
        let between = if self.between.is_empty() { self.over_all(&averaged()) } else { self.between.clone() };
        let scale = self.prior.groups.scales.get(group).copied().unwrap_or(1.0);
        between * scale.powi(2) * self.prior.task_scales.as_ref().map_or(1.0, TaskScales::mean_square)
    }

    /// A covariance of the varying features over all features.
    fn over_all(&self, of_varying: &DMatrix<f64>) -> DMatrix<f64> {
        let p = self.tasks.design().len();
        let mut all = DMatrix::zeros(p, p);
        linalg::place(&mut all, (&self.prior.varying, &self.prior.varying), of_varying);
        all
    }

    /// How the rows of a new task of a family speak, at the dispersion that its group shares; none for Gaussian targets, which are sums.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a family of a user's own.
    pub(crate) fn likelihood_of_new(&self, group: usize) -> Result<Option<Box<dyn Likelihood>>> {
        let Some(inference) = self.inference else { return Ok(None) };
        let family = self.family_of_new(group)?;
        Ok(Some(Box::new(Generalised::of(family).with_inference(inference))))
    }

    /// The dispersion of a new task of a group: that which its tasks share.
    pub(crate) fn dispersion_of_new(&self, group: usize) -> Dispersion {
        Dispersion::of_block(self.dispersion.common_block(group).to_vec())
    }

    /// Other tasks of the same features, under the design of the fit.
    ///
    /// # Errors
    /// [`Error::Arguments`] for other features, or estimates in the place of rows.
    pub(crate) fn alike(&self, tasks: &Tasks) -> Result<Tasks> {
        let (own, other) = (self.tasks.design().features(), tasks.design().features());
        let problem = if own != other {
            format!("the features of the new rows are {} and those of the fit {}; give the same ones", other.join(", "), own.join(", "))
        } else if self.tasks.are_estimates() != tasks.are_estimates() {
            let of = |estimates: bool| if estimates { "estimates" } else { "rows" };
            format!(
                "the fit is of {} and what is new are {}; give what it is of",
                of(self.tasks.are_estimates()),
                of(tasks.are_estimates())
            )
        } else {
            return Ok(tasks.clone().with_design(self.tasks.design().clone()));
        };
        Err(Error::Arguments(problem))
    }

    /// The group of the fit of which another task is.
    ///
    /// # Errors
    /// [`Error::Arguments`] where it is in none of them.
    pub(crate) fn group_of_new(&self, tasks: &Tasks, task: usize) -> Result<usize> {
        let (groups, name) = (self.tasks.groups(), &tasks.names()[task]);
        if groups.is_empty() {
            return Ok(0);
        }
        let own = tasks.groups().get(tasks.group(task)).map_or("", String::as_str);
        groups.iter().position(|group| group == own).ok_or_else(|| {
            let known = groups.join(", ");
            let problem = if own.is_empty() {
                "is in no group (family)".to_string()
            } else {
                format!("is of the group (family) '{own}', which the fit has not seen")
            };
            Error::Arguments(format!("task '{name}' {problem}; the fit has {known}"))
        })
    }

    /// Other tasks in the coordinates of the fit, of these groups of it, with their rows where its quadratics are made of rows.
    ///
    /// # Errors
    /// [`Error::Arguments`] where rows are needed and were not given, [`Error::BadTarget`] for a target that the family cannot have.
    pub(crate) fn observations(&self, tasks: &Tasks, groups: &[usize]) -> Result<Observations> {
        let data = Observations { group: groups.to_vec(), ..Observations::new(tasks, &self.coordinates) };
        if self.inference.is_none() {
            return Ok(data);
        }
        let families = (0..self.prior.groups.len()).map(|group| self.family_of_new(group)).collect::<Result<Vec<_>>>()?;
        if let Some(rows) = tasks.kept_rows() {
            let refused = |i: usize| families[groups[rows.task(i)]].refuses_later(rows.y(i), rows.weight(i)).map(|problem| (i, problem));
            if let Some((i, problem)) = (0..rows.len()).find_map(refused) {
                let (row, column) = (i as u64 + 1, rows.target().to_string());
                return Err(Error::BadTarget { row, column, value: rows.y(i), problem: problem.into() });
            }
        }
        data.with_families(tasks, &self.coordinates, &families)
    }

    pub(super) fn family_of_new(&self, group: usize) -> Result<Arc<dyn Family>> {
        self.family_at(group, self.dispersion.common_block(group)).ok_or_else(|| {
            let name = self.families.get(group).unwrap_or(&self.family);
            Error::Arguments(format!("'{name}' is no family of cognate's, so it does not know how more rows speak; fit all rows anew"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::TaskGraph;
    use crate::posterior::Posterior;
    use crate::prior::{Groups, Prior, Relatedness};
    use crate::quadratic::{Quadratic, Quadratics};
    use nalgebra::{DMatrix, dmatrix, dvector};

    /// A task of which nothing is said is integrated out: the others are as if it were not there.
    #[test]
    fn tasks_without_rows_make_no_difference_to_the_others() {
        let nothing = Quadratic { constant: 0.0, linear: dvector![0.0, 0.0], curvature: DMatrix::zeros(2, 2) };
        let task = |a: f64, b: f64| Quadratic { constant: 0.0, linear: dvector![a, b], curvature: dmatrix![2.0, 0.3; 0.3, 1.0] };
        let all = [task(1.0, 2.0), nothing.clone(), task(-1.0, 0.5), nothing, task(0.3, 0.1)];
        let kept = [0, 2, 4];
        let some = Quadratics::new(&kept.map(|t| all[t].clone())).unwrap();
        let all = Quadratics::new(&all).unwrap();
        let names: Vec<String> = (0..5).map(|t| t.to_string()).collect();
        let mut omega = DMatrix::identity(5, 5) * 2.0;
        for t in 0..4 {
            (omega[(t, t + 1)], omega[(t + 1, t)]) = (-0.7, -0.7);
        }
        let sigma = omega.clone().try_inverse().unwrap();
        let low_rank =
            Relatedness::LowRank { loadings: dmatrix![1.0; 0.5; -1.0; 0.2; 0.8], uniquenesses: dvector![0.5, 1.0, 0.3, 1.0, 0.6] };
        for relatedness in [
            Relatedness::Identity,
            Relatedness::Diagonal(dvector![1.0, 2.0, 3.0, 4.0, 5.0]),
            Relatedness::Dense(sigma),
            Relatedness::Graph(TaskGraph::of_precision(&names, &omega)),
            low_rank,
        ] {
            let prior = Prior::new(Mean::Integrated, relatedness, dmatrix![1.0, 0.0; 0.4, 0.8]);
            let (whole, part) = (Posterior::given(&all, &prior).unwrap(), prior.of_tasks(&kept).unwrap());
            let part = Posterior::given(&some, &part).unwrap();
            assert!((whole.mean() - part.mean()).amax() < 1e-12);
            for (place, t) in kept.iter().enumerate() {
                assert!((whole.coefficients(*t) - part.coefficients(place)).amax() < 1e-12);
                assert!((whole.covariance(*t) - part.covariance(place)).amax() < 1e-12);
            }
        }
    }

    #[test]
    fn groups_without_tasks_are_left_out() {
        let task = |a: f64| Quadratic { constant: 0.0, linear: dvector![a], curvature: dmatrix![1.0] };
        let all = Quadratics::new(&[task(1.0), task(2.0), task(30.0), task(60.0)]).unwrap();
        let groups = Groups::new(vec![0, 0, 1, 1], vec![1.0, 10.0]);
        let prior = Prior { groups, ..Prior::new(Mean::Profiled, Relatedness::Identity, dmatrix![1.0]) };
        let whole = Posterior::given(&all, &prior).unwrap();
        let second = Quadratics::new(&[all.task(2), all.task(3)]).unwrap();
        let part = prior.of_tasks(&[2, 3]).unwrap();
        let part = Posterior::given(&second, &part).unwrap();
        assert!((part.mean()[0] - whole.mean_of(3)[0]).abs() < 1e-12);
        assert!((part.coefficients(1)[0] - whole.coefficients(3)[0]).abs() < 1e-12);
    }
}
