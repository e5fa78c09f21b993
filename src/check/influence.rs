//! How far a single task moves what all tasks share: by fits without it, or by one step from the fit.

use super::one_step::{Point, Shares};
use crate::error::{Error, Result};
use crate::likelihood::{Gaussian, Noise};
use crate::linalg;
use crate::model::{Fit, Intervals, LikelihoodKind, Model};
use crate::structure::{self, FeatureCovariance, Options};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::Serialize;

/// How the estimates without a task are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// A fit without the task: of Gaussian targets, exchangeable tasks or any task covariance, from the sums that the fit kept.
    Refit,
    /// One step of Fisher's scoring from the fit towards the maximum without the task, dispersions of families held: of exchangeable tasks.
    OneStep,
}

/// What one task does to the estimates that all share.
#[derive(Clone, Debug, Serialize)]
pub struct TaskInfluence {
    /// The task.
    pub task: String,
    /// Its rows.
    pub rows: u64,
    /// How far variances between tasks and the noise move without it, in standard errors: (d' I d / k)^(1/2) over the k of them, with d their relative changes and I the
    /// information on their logarithms. Its square is Cook's distance (Cook 1977) of these estimates.
    pub on_variances: f64,
    /// The same of the common mean, at the fitted variances if by one step; 0 without one.
    pub on_mean: f64,
    /// Mean absolute change of the correlations between the other tasks; none where relatedness is not learned.
    pub on_relatedness: Option<f64>,
    /// Every one of [`Influence::names`] without the task less with it.
    pub changes: Vec<f64>,
}

impl TaskInfluence {
    /// The larger of the two distances.
    pub fn largest(&self) -> f64 {
        self.on_variances.max(self.on_mean)
    }
}

/// What every task does to the estimates.
#[derive(Clone, Debug, Serialize)]
pub struct Influence {
    /// How it was found.
    pub method: Method,
    /// The estimates: standard deviations between tasks in the table's units, correlations of features where these are learned, and the noise.
    pub names: Vec<String>,
    /// With all tasks.
    pub estimates: Vec<f64>,
    /// Their standard errors given the mean.
    pub standard_errors: Vec<f64>,
    /// The tasks, the most influential first.
    pub tasks: Vec<TaskInfluence>,
    /// Tasks without which there is no fit, and why.
    pub refused: Vec<String>,
}

/// Most tasks that are left out by fits, and of a task covariance that is learned.
const MOST_REFITS: (usize, usize) = (100, 40);

/// Most features whose correlations are listed.
const MOST_CORRELATIONS: usize = 10;

impl Fit {
    /// The method that [`Fit::influence`] has for this fit; refits where both are there.
    ///
    /// # Errors
    /// [`Error::Arguments`] where there is none, with the reason.
    pub fn influence_method(&self) -> Result<Method> {
        let (prior, tasks) = (self.prior(), self.tasks());
        let refused =
            |problem: &str| Err(Error::Arguments(format!("what a single task does to the estimates is not worked out {problem}")));
        if prior.groups.are_several()
            || prior.mixture.is_some()
            || !prior.unrelated.is_empty()
            || self.shares_rows()
            || tasks.has_own_units()
        {
            return refused("for groups of tasks, clusters, graph features, and targets that share rows or have units of their own");
        }
        if self.structure() == "pooled" || prior.varying.is_empty() || !prior.free.is_empty() || self.structure() == "independent" {
            return refused("where nothing is shared but a mean, or nothing at all");
        }
        if tasks.len() < 4 {
            return refused("with fewer than four tasks");
        }
        let plain = self.inference().is_none() && tasks.len() <= MOST_REFITS.0 && self.added_rows() == 0;
        match self.structure() {
            "exchangeable" if plain => Ok(Method::Refit),
            "full" if plain && tasks.len() <= MOST_REFITS.1 => Ok(Method::Refit),
            "exchangeable" if prior.task_scales.is_none() => Ok(Method::OneStep),
            _ => refused("for so many tasks of this structure; fit with --structure exchangeable to ask"),
        }
    }

    /// How far the variances between tasks, the noise, the mean and the relatedness move when each task is left out. A fit a task, in parallel, or O(T d^3 + T k^2) by one
    /// step over k hyperparameters.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, check::Method};
    /// let mut rows = Rows::new("y", &["x"]);
    /// for i in 0..240 {
    ///     let (t, x) = (i % 12, f64::from(i / 12) / 5.0);
    ///     let slope = if t == 5 { 4.0 } else { 1.0 + 0.1 * f64::from(t % 3) };
    ///     rows.push(&format!("t{t}"), &[x], f64::from(7 * t % 5) + slope * x + 0.2 * f64::from(i * 7 % 5), 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let influence = fit.influence(Method::OneStep)?;
    /// // Without t5 slopes vary much less.
    /// let place = influence.names.iter().position(|name| name == "sd of x").unwrap();
    /// assert!(influence.tasks[0].task == "t5" && influence.tasks[0].changes[place] < -0.3 * influence.estimates[place]);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Fit::influence_method`], for a method that the fit does not have, and what the fits refuse where each of them does.
    pub fn influence(&self, method: Method) -> Result<Influence> {
        let best = self.influence_method()?;
        if method == Method::Refit && best != method
            || method == Method::OneStep && (self.structure() != "exchangeable" || self.task_scales().is_some())
        {
            return Err(Error::Arguments(
                "this fit has not that method of leaving tasks out; Fit::influence_method says which it has".into(),
            ));
        }
        let shares = Shares::of(self)?;
        let estimates = self.figures(self, &self.prior().feature_covariance(), self.noise_of_row(None));
        let (mut tasks, mut refused, mut first) = (Vec::new(), Vec::new(), None);
        match method {
            Method::OneStep => {
                tasks = (0..self.tasks().len()).into_par_iter().map(|t| self.by_one_step(t, &shares, &estimates)).collect();
            }
            Method::Refit => {
                let with = if self.learns_relatedness() { self.relatedness() } else { None };
                let each = (0..self.tasks().len()).into_par_iter().map(|t| self.by_refit(t, &shares, &estimates, with.as_ref()));
                for (t, own) in each.collect::<Vec<_>>().into_iter().enumerate() {
                    match own {
                        Ok(own) => tasks.push(own),
                        Err(problem) => {
                            refused.push(format!("without '{}': {problem}", self.tasks().names()[t]));
                            first.get_or_insert(problem);
                        }
                    }
                }
            }
        }
        if let Some(problem) = first.filter(|_| tasks.is_empty()) {
            return Err(problem);
        }
        tasks.sort_by(|a, b| b.largest().total_cmp(&a.largest()));
        let standard_errors = self.standard_errors(&shares, &estimates);
        Ok(Influence { method, names: self.figure_names(), estimates, standard_errors, tasks, refused })
    }

    fn figure_names(&self) -> Vec<String> {
        let (features, _) = self.feature_covariance();
        let mut names: Vec<String> = features.iter().map(|name| format!("sd of {name}")).collect();
        for (j, i) in self.listed_pairs(features.len()) {
            names.push(format!("correlation of {} and {}", features[j], features[i]));
        }
        if self.has_learned_noise() {
            names.push("sd of the noise".into());
        }
        names
    }

    fn has_learned_noise(&self) -> bool {
        self.inference().is_none() && !self.noise_is_known() && !self.dispersion().is_each()
    }

    fn listed_pairs(&self, q: usize) -> Vec<(usize, usize)> {
        let listed = self.feature_covariance_kind() == Some(FeatureCovariance::Full) && q <= MOST_CORRELATIONS;
        (0..q).filter(|_| listed).flat_map(|i| (0..i).map(move |j| (j, i))).collect()
    }

    /// The estimates in the table's units at a covariance in the fitted coordinates of a fit, of the same features, and a noise variance there.
    fn figures(&self, of: &Fit, covariance: &DMatrix<f64>, noise: f64) -> Vec<f64> {
        let p = of.tasks().design().len();
        let mut all = DMatrix::zeros(p, p);
        linalg::place(&mut all, (&of.prior().varying, &of.prior().varying), covariance);
        let map = of.coordinates().to_original();
        let original = &map * all * map.transpose();
        let names = of.tasks().design().features();
        let (shown, _) = self.feature_covariance();
        let places: Vec<usize> = shown.iter().filter_map(|name| names.iter().position(|own| own == name)).collect();
        let sd = |k: usize| original[(places[k], places[k])].max(0.0).sqrt();
        let mut figures: Vec<f64> = (0..places.len()).map(sd).collect();
        for (j, i) in self.listed_pairs(places.len()) {
            let size = sd(i) * sd(j);
            figures.push(if size > 0.0 { original[(places[i], places[j])] / size } else { 0.0 });
        }
        if self.has_learned_noise() {
            figures.push(noise.sqrt() * of.coordinates().target_scale);
        }
        figures
    }

    /// By differences of the estimates along each hyperparameter, and the inverse of the information on these.
    fn standard_errors(&self, shares: &Shares, estimates: &[f64]) -> Vec<f64> {
        const STEP: f64 = 1e-4;
        let covariance = shares.covariance();
        let count = shares.len();
        let mut slopes = DMatrix::zeros(estimates.len(), count);
        for k in 0..count {
            let step = DVector::from_fn(count, |j, _| if j == k { STEP } else { 0.0 });
            let moved = shares.moved(&step);
            let there = self.figures(self, &moved.covariance, moved.noise);
            there.iter().zip(estimates).enumerate().for_each(|(row, (there, here))| slopes[(row, k)] = (there - here) / STEP);
        }
        let all = &slopes * covariance * slopes.transpose();
        (0..estimates.len()).map(|k| all[(k, k)].max(0.0).sqrt()).collect()
    }

    fn by_one_step(&self, t: usize, shares: &Shares, estimates: &[f64]) -> TaskInfluence {
        let moved: Point = shares.moved(&shares.without(t));
        let figures = self.figures(self, &moved.covariance, moved.noise);
        TaskInfluence {
            task: self.tasks().names()[t].clone(),
            rows: self.tasks().statistics(t).rows(),
            on_variances: shares.distance(&moved),
            on_mean: shares.distance_of_mean(&shares.mean_without(t)),
            on_relatedness: None,
            changes: figures.iter().zip(estimates).map(|(there, here)| there - here).collect(),
        }
    }

    /// The model of this fit, to be fitted again without intervals.
    fn again(&self) -> Result<Model> {
        let noise = match (self.noise_is_known(), self.dispersion().is_each()) {
            (true, _) => Noise::Known,
            (false, true) => Noise::Task,
            (false, false) => Noise::Shared,
        };
        let options = Options {
            feature_covariance: self.feature_covariance_kind(),
            prior_strength: self.prior_strength(),
            robust: self.task_scales().is_some(),
            ..Options::default()
        };
        let about_zero = self.prior().varying.iter().all(|f| !self.tasks().design().mean_features().contains(f));
        let model = Model::of(Box::new(Gaussian { noise }), structure::by_name(self.structure(), &options)?);
        let restricted = self.log_likelihood_kind() == LikelihoodKind::Restricted;
        Ok(model.standardise(self.standardise()).restricted(restricted).zero_mean(about_zero).intervals(Intervals::PlugIn))
    }

    fn by_refit(&self, t: usize, shares: &Shares, estimates: &[f64], with: Option<&DMatrix<f64>>) -> Result<TaskInfluence> {
        let rest: Vec<usize> = (0..self.tasks().len()).filter(|s| *s != t).collect();
        let fit = self.again()?.fit(&self.tasks().of_tasks(&rest))?;
        let figures = self.figures(&fit, &fit.prior().feature_covariance(), fit.noise_of_row(None));
        // In the fitted coordinates of this fit.
        let p = self.tasks().design().len();
        let mut all = DMatrix::zeros(p, p);
        linalg::place(&mut all, (&fit.prior().varying, &fit.prior().varying), &fit.prior().feature_covariance());
        let back = self.coordinates().to_original().try_inverse().unwrap_or_else(|| DMatrix::identity(p, p));
        let map = &back * fit.coordinates().to_original();
        let varying = &self.prior().varying;
        let covariance = (&map * all * map.transpose()).select_rows(varying).select_columns(varying);
        let noise = fit.noise_of_row(None) * (fit.coordinates().target_scale / self.coordinates().target_scale).powi(2);
        let mean = &back * (fit.mean() - self.mean());
        let on_relatedness = with.zip(fit.relatedness()).map(|(with, without)| {
            let pairs: Vec<f64> = (0..rest.len())
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| (without[(i, j)] - with[(rest[i], rest[j])]).abs())
                .collect();
            pairs.iter().sum::<f64>() / pairs.len() as f64
        });
        Ok(TaskInfluence {
            task: self.tasks().names()[t].clone(),
            rows: self.tasks().statistics(t).rows(),
            on_variances: shares.distance(&Point { covariance, noise }),
            on_mean: shares.distance_of_mean(&mean.select_rows(&self.prior().mean_features)),
            on_relatedness,
            changes: figures.iter().zip(estimates).map(|(there, here)| there - here).collect(),
        })
    }
}
