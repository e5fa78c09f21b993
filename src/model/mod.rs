//! What to fit, and what came out: a model is asked, a fit exists only when fitted.

mod clusters;
mod components;
mod criteria;
mod draws;
mod file;
mod fit;
mod groups;
mod guard;
mod hyperparameters;
mod intercepts;
mod intervals;
mod loadings;
mod mixture;
mod newcomers;
mod null;
mod predict;
mod renewed;
mod separation;
mod singular;
mod sites;
mod unseen;
mod variance_test;
mod visibility;
mod warnings;

pub use clusters::Cluster;
pub use components::VarianceComponent;
pub(crate) use file::{are_sums, discard_pending, is_model, load_sums, save_sums, write_whole};
pub use fit::{Fit, LikelihoodKind};
pub use guard::Gain;
pub use intervals::Intervals;
pub use loadings::Loadings;
pub use null::{Null, NullTest, SampledEdges};
pub use predict::{Forecast, Prediction};
pub(crate) use renewed::Renewed;
#[cfg(test)]
pub(crate) use unseen::Believed;
pub(crate) use unseen::{Belief, MeansOf, moments};
pub use variance_test::VarianceTest;
pub use visibility::Visibility;

use crate::em::{self, Step};
use crate::error::{Error, Result};
use crate::likelihood::{Dispersion, Gaussian, Inference, Likelihood, Observations, STILL, units_are_missing};
use crate::linalg;
use crate::posterior::{Posterior, trace_along};
use crate::prior::{Groups, Mean, Mixture, Prior, Relatedness};
use crate::quadratic::Quadratics;
use crate::structure::{FeatureCovariance, Setting, Sharing, Structure};
use crate::tasks::{Coordinates, SharedRows, Tasks};
use intervals::Origin;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// In which coordinates features are fitted; undone in every report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standardise {
    /// Centred and scaled to unit variance.
    #[default]
    Both,
    /// Scaled only.
    Scale,
    /// As they stand.
    None,
}

/// A likelihood, a structure and how to fit them.
///
/// ```
/// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
/// let mut rows = Rows::new("y", &["x"]);
/// for t in 0..6 {
///     for i in 0..10 {
///         let x = i as f64 - 4.5;
///         rows.push(&format!("task {t}"), &[x], (t % 3) as f64 + 0.5 * x + ((i * 7 + t) % 5) as f64 * 0.1, 1.0)?;
///     }
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
/// assert!(fit.converged());
/// assert!((fit.mean()[1] - 0.5).abs() < 0.05);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Debug)]
pub struct Model {
    likelihood: Box<dyn Likelihood>,
    structure: Box<dyn Structure>,
    standardise: Standardise,
    restricted: bool,
    zero_mean: bool,
    exact_evidence: bool,
    intervals: Intervals,
    options: em::Options,
}

impl Model {
    /// A model with default options: standardised features, maximum likelihood.
    pub fn new(likelihood: impl Likelihood + 'static, structure: impl Structure + 'static) -> Self {
        Model::of(Box::new(likelihood), Box::new(structure))
    }

    /// As [`Model::new`], from boxes.
    pub fn of(likelihood: Box<dyn Likelihood>, structure: Box<dyn Structure>) -> Self {
        let (options, intervals, standardise) = (em::Options::default(), Intervals::default(), Standardise::Both);
        Model { likelihood, structure, standardise, restricted: false, zero_mean: false, exact_evidence: false, intervals, options }
    }

    /// In which coordinates a scalar or diagonal K is diagonal. A full K, and pooling, do not depend on it.
    pub fn standardise(mut self, standardise: Standardise) -> Self {
        self.standardise = standardise;
        self
    }

    /// Restricted maximum likelihood: the common mean integrated out (always so where Sigma is learned).
    pub fn restricted(mut self, restricted: bool) -> Self {
        self.restricted = restricted;
        self
    }

    /// Varying features have mean zero, so that what all tasks have in common counts as relatedness.
    pub fn zero_mean(mut self, zero: bool) -> Self {
        self.zero_mean = zero;
        self
    }

    /// The exact log-likelihood at the fit too ([`Fit::evidence`]), which for families other than the Gaussian costs at least 512 log
    /// densities a row ([`Approximation::evidence`](crate::Approximation::evidence)). Means nothing to pooled and independent tasks.
    pub fn exact_evidence(mut self, exact: bool) -> Self {
        self.exact_evidence = exact;
        self
    }

    /// What intervals carry.
    pub fn intervals(mut self, intervals: Intervals) -> Self {
        self.intervals = intervals;
        self
    }

    /// When to stop.
    pub fn options(mut self, options: em::Options) -> Self {
        self.options = options;
        self
    }

    /// Whether it fits only tasks that keep their rows ([`Tasks::with_rows`]).
    pub fn needs_rows(&self) -> bool {
        self.likelihood.inference().is_some() || self.likelihood.needs_units()
    }

    /// By which of the families of multi-task learning information crosses tasks.
    pub fn sharing(&self) -> Sharing {
        self.structure.sharing()
    }

    /// Fits the tasks.
    ///
    /// # Errors
    /// No rows, a constant target or feature, fewer tasks than the structure needs, or what [`Posterior::given`] refuses; with exact
    /// evidence what [`Approximation::evidence`](crate::Approximation::evidence) does.
    pub fn fit(self, tasks: &Tasks) -> Result<Fit> {
        self.fit_with(tasks, &|_| {})
    }

    /// As [`Model::fit`]; `progress` is called after every E-step.
    pub fn fit_with(mut self, tasks: &Tasks, progress: &dyn Fn(&Step)) -> Result<Fit> {
        // A varying feature without a mean varies about 0 in the table's own units: nothing is centred.
        let about_zero = self.zero_mean.then(|| tasks.clone().with_design(tasks.design().clone().without_varying_means()));
        let tasks = about_zero.as_ref().unwrap_or(tasks);
        tasks.check()?;
        self.check_noise(tasks)?;
        let needed = self.structure.fewest_tasks();
        if tasks.len() < needed {
            return Err(Error::TooFewTasks {
                structure: self.structure.name().into(),
                tasks: tasks.len(),
                needed,
                remedy: match (self.structure.name(), tasks.len()) {
                    ("clusters", 3..) => format!("each cluster needs a task of its own; give --groups {} or fewer", tasks.len() - 1),
                    _ => "how tasks vary cannot be seen; use --structure pooled".into(),
                },
            });
        }
        self.check_clusters()?;
        self.likelihood.arrange(tasks.groups())?;
        let coordinates = self.coordinates(tasks);
        let mut data = Observations::new(tasks, &coordinates);
        let families = self.likelihood.families();
        if !families.is_empty() {
            if tasks.has_own_units() {
                let family = self.likelihood.name();
                let problem = format!("targets of the family '{family}' have no units of their own; leave Design::with_own_units out");
                return Err(Error::Arguments(problem));
            }
            data = data.with_families(tasks, &coordinates, families)?;
            for (g, group) in tasks.groups().iter().enumerate().filter(|(g, _)| families[*g].has_unit()) {
                if let Some(value) = data.only_target(g) {
                    return Err(Error::ConstantTarget { column: format!("{}, of all tasks of the family {group}", tasks.target()), value });
                }
            }
        }
        if self.likelihood.needs_units() {
            data.shared = Some(self.shared_rows(tasks, &coordinates)?);
        }
        let design = tasks.design();
        let varying = design.varying_features();
        let unrelated = if self.structure.relates() { design.unrelated_features() } else { Vec::new() };
        if !varying.is_empty() && unrelated.len() == varying.len() {
            return Err(Error::Arguments("no graph feature varies between tasks; choose one that does".into()));
        }
        let with_mean = design.mean_features();
        // A feature has a mean in all groups or in none. Where the rows of one do not decide it a prior does, of families.
        let each = (0..data.groups()).map(|g| total_curvature(&data, &with_mean, g));
        let kept = if families.is_empty() {
            let each = each.map(|own| linalg::independent_columns(&own));
            each.reduce(|all, own| all.into_iter().filter(|k| own.contains(k)).collect()).unwrap_or_default()
        } else {
            each.reduce(|all, own| all + own).map_or_else(Vec::new, |total| linalg::independent_columns(&total))
        };
        let mean_features: Vec<usize> = kept.iter().map(|k| with_mean[*k]).collect();
        let means = mean_features.len() * data.groups();
        if !self.likelihood.noise_is_known() && data.total_rows() <= means as f64 {
            return Err(Error::TooFewRows { rows: tasks.rows(), coefficients: means });
        }
        self.check_evidence(tasks, means)?;
        if self.structure.frees_intercepts() && !families.is_empty() {
            data = data.with_levels(families, intercepts::number(tasks).is_some());
        }
        let mean = em::mean_treatment(self.restricted);
        let begun = self.likelihood.start(&data, &mean_features);
        let noise = self.likelihood.noise(&data, &begun);
        let groups = starting_groups(&data, &noise);
        let mean_precision =
            separation::mean_precision((self.likelihood.as_ref(), &begun), &data, &mean_features, intercepts::number(tasks))?;
        let reference = groups.reference();
        let setting = Setting {
            data: &data,
            names: tasks.names(),
            mean_features: &mean_features,
            varying: &varying,
            unrelated: &unrelated,
            intercept: intercepts::number(tasks),
            mean: &mean,
            mean_precision: &mean_precision,
            noise: noise[reference],
            groups: &groups,
            likelihood: self.likelihood.as_ref(),
        };
        let mut climbed = em::climb(self.likelihood.as_ref(), self.structure.as_mut(), &setting, &self.options, progress)?;
        let log_prior = self.structure.log_prior(&climbed.prior) + self.likelihood.log_prior(&climbed.dispersion);
        let parameters = self.structure.parameters(&climbed.prior);
        let used = |f: &usize| climbed.prior.mean_features.contains(f) || climbed.prior.free.contains(f);
        let has_mean = !climbed.prior.mean_features.is_empty();
        let dropped = with_mean.iter().filter(|f| has_mean && !used(f)).map(|f| design.features()[*f].clone()).collect();
        let prior = climbed.prior.clone();
        climbed.prior = normalise(climbed.prior, tasks.len());
        let search = (climbed.quadratics.as_ref(), STILL);
        let found = self.likelihood.posterior(&data, &climbed.dispersion, &climbed.prior, search)?;
        let log_prior = log_prior + found.posterior.log_mean_density();
        let at_means = !self.structure.has_marginal();
        let plan = fit::Plan {
            maximised: at_means.then(|| self.likelihood.at_means(&data, &found, &climbed.dispersion)).transpose()?,
            family: self.likelihood.name().into(),
            families: self.likelihood.families().iter().map(|family| family.name().into()).collect(),
            inference: self.likelihood.inference(),
            structure: self.structure.name().into(),
            feature_covariance: self.structure.feature_covariance(),
            standardise: self.standardise,
            parameters,
            log_prior,
            dropped,
            edge_probabilities: self.structure.edge_probabilities().cloned(),
            candidates: self.structure.candidates().cloned(),
            prior_strength: self.structure.prior_strength(),
        };
        let exact = self.exact_evidence && self.structure.has_marginal();
        let evidence = exact.then(|| self.likelihood.evidence(&data, &found, &climbed.dispersion)).transpose()?;
        let mut fit = Fit::assemble(plan, tasks, &data, coordinates, climbed, &found);
        if let Some(evidence) = evidence {
            fit.add_evidence(evidence, found.log_likelihood);
        }
        let (likelihood, structure) = (self.likelihood.as_ref(), self.structure.as_ref());
        fit.carry(self.intervals, Origin { likelihood, structure, data: &data, prior, found: &found });
        if let Some(descriptors) = self.structure.descriptors().filter(|_| !tasks.has_own_units()) {
            fit.newcomers = fit.beside(&found.posterior, descriptors)?;
        }
        Ok(fit)
    }

    /// Rows that tasks share, and what cannot be said of them refused.
    fn shared_rows(&self, tasks: &Tasks, coordinates: &Coordinates) -> Result<SharedRows> {
        let rows = tasks.kept_rows().filter(|rows| !rows.units().is_empty()).ok_or_else(units_are_missing)?;
        if tasks.len() < 2 {
            let problem =
                "one task has no other with which its errors could be correlated; name more targets, or leave --targets and --row out";
            return Err(Error::Arguments(problem.into()));
        }
        if self.structure.name() == "pooled-intercepts" || (self.structure.relates() && !tasks.design().unrelated_features().is_empty()) {
            let problem = match self.structure.name() {
                "pooled-intercepts" => "pooled-intercepts is not fitted with correlated errors; use --structure exchangeable",
                _ => "graph features are not told apart with correlated errors; leave --graph-features out",
            };
            return Err(Error::Arguments(problem.into()));
        }
        SharedRows::new(rows, tasks.design(), coordinates)
    }

    /// What is not made for tasks of unknown clusters.
    fn check_clusters(&self) -> Result<()> {
        let problem = match self.likelihood.inference() {
            _ if self.structure.name() != "clusters" => return Ok(()),
            Some(Inference::Laplace) => "clusters are not fitted by Laplace's approximation; leave --inference laplace out",
            Some(_) if self.exact_evidence => "there is no exact evidence of clusters; leave --evidence exact out",
            _ => return Ok(()),
        };
        Err(Error::Arguments(problem.into()))
    }

    /// What is known of the noise must be what the tasks and the structure take it for.
    fn check_noise(&self, tasks: &Tasks) -> Result<()> {
        let known = self.likelihood.noise_is_known();
        if tasks.are_estimates() && !known {
            let problem =
                "the covariances of estimates are known, which leaves no noise to learn; fit them with Gaussian { noise: Noise::Known }";
            return Err(Error::Arguments(problem.into()));
        }
        if tasks.are_estimates()
            && self.structure.name() == "pooled-intercepts"
            && let Some(one) = intercepts::number(tasks)
            && let Some(t) = (0..tasks.len()).find(|t| tasks.statistics(*t).cross(one + 1, one + 1) == 0.0)
        {
            return Err(Error::Arguments(format!(
                "task '{}' has no estimate of its intercept, which pooled-intercepts leaves free; leave the task out, or use --structure exchangeable",
                tasks.names()[t]
            )));
        }
        if known && self.structure.name() == "independent" {
            let problem = "the structure 'independent' learns a noise variance in every task, and here it is known; use exchangeable, and compare its \
                           parameters with the estimates themselves";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(())
    }

    /// A full K is the same model in any coordinates as long as the intercept varies, has a mean and is related as the slopes are, and
    /// a diagonal one at any scale; there the coordinates are the well-conditioned ones.
    fn coordinates(&self, tasks: &Tasks) -> Coordinates {
        let design = tasks.design();
        let kind = self.structure.feature_covariance();
        let intercept_varies = design.varying_features().first() == Some(&0) && design.has_intercept();
        let intercept_mean = design.mean_features().first() == Some(&0) && design.has_intercept();
        let apart = self.structure.relates() && !design.unrelated_features().is_empty();
        let free_to_centre = match kind {
            None => intercept_mean,
            Some(FeatureCovariance::Full) => intercept_varies && intercept_mean && !apart,
            Some(_) => false,
        };
        let free_to_scale = kind != Some(FeatureCovariance::Scalar);
        let centred = (self.standardise == Standardise::Both && !self.zero_mean) || free_to_centre;
        // Estimates cannot be centred, so standardising them leaves them as they are.
        let plain = if tasks.are_estimates() { self.standardise != Standardise::Scale } else { self.standardise == Standardise::None };
        let coordinates = tasks.coordinates(centred, !plain || free_to_scale);
        match self.likelihood.inference() {
            // The targets of a family are what they are.
            Some(_) => coordinates.of_plain_target(),
            None if self.likelihood.noise_is_known() => coordinates.of_target_units(),
            None => coordinates,
        }
    }
}

/// Groups of scales at which their prior variances are as large over the noise of their rows.
fn starting_groups(data: &Observations, noise: &[f64]) -> Groups {
    if data.groups() == 1 {
        return Groups::default();
    }
    let reference = Groups::new(data.group.clone(), vec![1.0; data.groups()]).reference();
    Groups::new(data.group.clone(), noise.iter().map(|own| (own / noise[reference]).sqrt()).collect())
}

/// Sum of x x' over all rows of the tasks of a group.
fn total_curvature(data: &Observations, features: &[usize], group: usize) -> DMatrix<f64> {
    let p = data.quadratics.features();
    let mut total = DMatrix::zeros(p, p);
    for t in (0..data.quadratics.len()).filter(|t| data.group_of(*t) == group) {
        total += DMatrix::from_column_slice(p, p, data.quadratics.curvature(t));
    }
    total.select_rows(features).select_columns(features)
}

/// Fixes what the likelihood does not see: the scalar that Sigma and K share, by tr(Sigma) = T, how factors are turned, and the order of clusters, the
/// largest first.
fn normalise(prior: Prior, tasks: usize) -> Prior {
    let mixture = prior.mixture.as_ref().map(Mixture::sorted);
    // The factors of a kernel are its descriptors.
    let relatedness = if prior.kernel.is_some() { prior.relatedness } else { prior.relatedness.in_principal_form() };
    let prior = Prior { relatedness, mixture, ..prior };
    let trace = match &prior.relatedness {
        Relatedness::Dense(sigma) => Some(sigma.trace()),
        Relatedness::Graph(graph) => trace_along(graph),
        Relatedness::LowRank { .. } => prior.relatedness.variances(tasks).map(|own| own.sum()),
        _ => None,
    };
    let Some(scale) = trace.map(|trace| trace / tasks as f64) else { return prior };
    prior.with_sigma_times(1.0 / scale)
}

impl Fit {
    /// The posterior over fitted coordinates, made again from the kept statistics: for draws and joint covariances.
    pub fn with_posterior<T>(&self, use_it: impl FnOnce(&Posterior) -> T) -> Result<T> {
        Ok(use_it(&Posterior::given(&self.quadratics()?, self.prior())?))
    }

    /// What the rows said: sums, or for a family what it kept of them.
    pub(crate) fn quadratics(&self) -> Result<Quadratics> {
        self.quadratics_at(self.dispersion())
    }

    /// As [`Fit::quadratics`], sums at another dispersion.
    fn quadratics_at(&self, dispersion: &Dispersion) -> Result<Quadratics> {
        match &self.sites {
            Some(sites) => sites.quadratics(),
            None => Ok(Gaussian::default().quadratics(&Observations::new(self.tasks(), self.coordinates()), dispersion)),
        }
    }
}

impl Mean {
    pub(crate) fn is_integrated(&self) -> bool {
        matches!(self, Mean::Integrated)
    }
}
