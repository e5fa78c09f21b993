//! What intervals carry: the uncertainty of the hyperparameters too, or that of the parameters alone.

use super::Fit;
use super::components::{Held, Profiles, VarianceComponent};
use super::hyperparameters::Hyperparameters;
use super::mixture::{self, Estimates, Mixture, integrate, upright};
use crate::error::{Error, Result};
use crate::likelihood::{Approximation, Dispersion, Likelihood, Observations};
use crate::prior::{Mean, Prior, Relatedness, TaskKernel};
use crate::structure::Structure;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

/// What intervals carry beside the uncertainty of the parameters given the hyperparameters (K, the noise or dispersion, the strength of a
/// known graph).
///
/// ```
/// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Intervals, Model, Rows};
/// let mut rows = Rows::new("y", &["x"]);
/// for i in 0..40 {
///     let (t, x) = (i % 5, (i / 5) as f64);
///     rows.push(&format!("task {t}"), &[x], t as f64 + 0.5 * x + (i * 7 % 4) as f64, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = |intervals| Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(intervals).fit(&tasks);
/// let (full, plug_in) = (fit(Intervals::Full)?, fit(Intervals::PlugIn)?);
/// assert_eq!(full.coefficients(0), plug_in.coefficients(0));
/// assert!(full.covariance(0)[(0, 0)] > plug_in.covariance(0)[(0, 0)]);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intervals {
    /// That of the hyperparameters too, where it changes intervals by more than a thousandth and takes seconds.
    #[default]
    Auto,
    /// That of the hyperparameters too, however long it takes: posteriors are averaged over them.
    Full,
    /// Nothing: hyperparameters are taken as known, as lme4 does.
    PlugIn,
}

/// Floating point operations that averages, and profiles of the variance components, may take.
const AFFORDABLE: (f64, f64) = (1e10, 2e9);

/// Numbers that an average may hold in memory.
const MOST_NUMBERS: f64 = 6e7;

/// Most hyperparameters that all tasks share over which posteriors are averaged.
const MOST_SHARED: usize = 60;

/// Relative variance of every variance below which it is left out: intervals would be longer by less than a thousandth.
const NEGLIGIBLE: f64 = 4e-3;

/// What the intervals of a fit carry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    pub intervals: Intervals,
    /// Why not more, where more was asked for.
    pub reason: Option<String>,
    pub average: Option<Average>,
    /// Intervals of the variance components.
    pub components: Vec<VarianceComponent>,
    /// Why some have none, where intervals were asked for.
    #[serde(default)]
    pub components_reason: Option<String>,
}

impl Default for Carried {
    fn default() -> Self {
        Carried { intervals: Intervals::PlugIn, reason: None, average: None, components: Vec::new(), components_reason: None }
    }
}

/// Averages over the hyperparameters, in fitted coordinates.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Average {
    /// Points that the average is worth.
    pub effective_points: f64,
    /// Covariances of the deviations u_t about their estimates, d^2 x T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub deviations: DMatrix<f64>,
    /// K, of a Sigma of trace T.
    #[serde(with = "crate::linalg::record::matrix")]
    pub feature_covariance: DMatrix<f64>,
    /// Each value of the dispersion.
    pub dispersion: Vec<f64>,
    /// The points, where tasks without rows may be placed by them.
    #[serde(default)]
    pub kernels: Vec<WeighedKernel>,
}

/// A kernel of the tasks with the hyperparameters beside it, and its share of the average.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct WeighedKernel {
    pub weight: f64,
    pub rates: Vec<f64>,
    pub nugget: f64,
    #[serde(with = "crate::linalg::record::matrix")]
    pub factor: DMatrix<f64>,
    pub dispersion: Vec<f64>,
}

impl WeighedKernel {
    pub(super) fn of(weight: f64, prior: &Prior, dispersion: &Dispersion) -> Option<Self> {
        let TaskKernel { rates, nugget, .. } = prior.kernel.clone()?;
        Some(WeighedKernel { weight, rates, nugget, factor: prior.factor.clone(), dispersion: dispersion.values.clone() })
    }

    /// That prior, and the dispersion.
    pub(super) fn at(&self, prior: &Prior, dispersion: &Dispersion) -> Option<(Prior, Dispersion)> {
        let kernel = TaskKernel { rates: self.rates.clone(), nugget: self.nugget, scale: 1.0, ..prior.kernel.clone()? };
        let relatedness = kernel.relatedness()?;
        let prior = Prior { kernel: Some(kernel), relatedness, factor: self.factor.clone(), ..prior.clone() };
        Some((prior, Dispersion { values: self.dispersion.clone(), ..dispersion.clone() }))
    }

    fn is_consistent(&self, prior: &Prior, dispersion: &Dispersion) -> bool {
        let numbers = [&self.rates[..], &[self.nugget, self.weight], self.factor.as_slice(), &self.dispersion];
        prior.kernel.as_ref().is_some_and(|kernel| kernel.rates.len() == self.rates.len())
            && self.factor.shape() == prior.factor.shape()
            && self.dispersion.len() == dispersion.values.len()
            && numbers.iter().all(|list| list.iter().all(|value| value.is_finite()))
    }
}

impl Average {
    /// Whether shapes are those of a fit of that shape of coefficients, and every number is finite.
    pub(super) fn is_consistent(&self, (features, tasks): (usize, usize), (prior, dispersion): (&Prior, &Dispersion)) -> bool {
        let q = prior.varying.len();
        let numbers = [self.deviations.as_slice(), self.feature_covariance.as_slice(), &self.dispersion];
        self.deviations.shape() == (features * features, tasks)
            && self.feature_covariance.shape() == (q, q)
            && self.dispersion.len() == dispersion.values.len()
            && self.kernels.iter().all(|own| own.is_consistent(prior, dispersion))
            && numbers.iter().all(|list| list.iter().all(|value| value.is_finite()))
    }
}

/// What a fit was made by and from.
pub(super) struct Origin<'a> {
    pub likelihood: &'a dyn Likelihood,
    pub structure: &'a dyn Structure,
    pub data: &'a Observations,
    /// As it was climbed.
    pub prior: Prior,
    pub found: &'a Approximation,
}

impl Fit {
    /// Widens the covariances of a fit by the uncertainty of its hyperparameters, and finds the intervals of these.
    pub(super) fn carry(&mut self, intervals: Intervals, origin: Origin) {
        if intervals == Intervals::PlugIn {
            return;
        }
        let insists = intervals == Intervals::Full;
        (self.carried.components, self.carried.components_reason) = match self.profile_obstacle(&origin, insists) {
            Some(obstacle) => (Vec::new(), Some(obstacle)),
            None => self.profiled(&origin),
        };
        let averaged = match self.obstacle(&origin, insists) {
            Some(obstacle) => Err(obstacle),
            None => {
                self.averaged(&origin).ok_or_else(|| "the log posterior of the hyperparameters has no maximum near the estimates".into())
            }
        };
        match averaged {
            Ok(mixture) => {
                self.covariances = mixture.covariances;
                self.mean_covariance = mixture.mean_covariance;
                self.carried.intervals = Intervals::Full;
                self.carried.average = Some(mixture.average);
            }
            Err(reason) => self.carried.reason = Some(reason),
        }
    }

    /// The log posterior about the fit, the mean treated in that way.
    fn about<'a>(&'a self, origin: &'a Origin, still: f64, treat: impl Fn(Prior) -> Prior) -> Hyperparameters<'a> {
        Hyperparameters {
            likelihood: origin.likelihood,
            structure: origin.structure,
            data: origin.data,
            prior: upright(treat(origin.prior.clone())),
            dispersion: &self.dispersion,
            quadratics: self.inference.is_some().then_some(&origin.found.quadratics),
            still,
        }
    }

    /// About how many floating point operations an E-step takes.
    fn work(&self) -> f64 {
        /// Steps until the Gaussian in the place of a posterior stands, and operations a row beside its products.
        const STEPS: f64 = 5.0;
        const ROW: f64 = 500.0;
        let (p, tasks) = (self.tasks.design().len() as f64, self.tasks.len() as f64);
        let joint = match &self.prior.relatedness {
            Relatedness::Dense(_) => vec![self.tasks.len()],
            Relatedness::Graph(graph) => graph.components().iter().map(Vec::len).collect(),
            Relatedness::LowRank { loadings, .. } => vec![loadings.ncols()],
            _ => Vec::new(),
        };
        let r = self.prior.factor.ncols() as f64;
        let posterior = 2.0 * tasks * p.powi(3) + joint.iter().map(|tasks| (*tasks as f64 * r).powi(3)).sum::<f64>();
        if self.inference.is_none() {
            return posterior;
        }
        STEPS * (posterior + self.tasks.rows() as f64 * (2.0 * p * p + ROW))
    }

    /// Why intervals cannot, or need not, carry the uncertainty of the hyperparameters.
    fn obstacle(&self, origin: &Origin, insists: bool) -> Option<String> {
        if origin.structure.smooth().is_none() || !self.prior.free.is_empty() {
            return Some(format!("the structure '{}' leaves every task hyperparameters of its own", self.structure));
        }
        if !self.dispersion.correlations.is_empty() {
            return Some("the residual covariance of tasks that share rows is held".into());
        }
        if self.tasks.has_own_units() {
            return Some("targets are in units of their own".into());
        }
        if !self.converged() {
            return Some("the fit did not converge".into());
        }
        // With flat standard deviations the posterior of one is proper from three tasks on (Gelman 2006).
        let few = |g: usize| self.prior.groups.are_several() && self.tasks.members(g).count() < 3;
        if let Some((_, group)) = self.tasks.groups().iter().enumerate().find(|(g, _)| few(*g)) {
            return Some(format!("fewer than three tasks of the family '{group}' do not say how far its tasks vary"));
        }
        if self.log_likelihood_error > 0.0 {
            return Some("the log-likelihood is an estimate".into());
        }
        let shared = self.about(origin, 1e-3, |prior| prior).shared();
        if shared > MOST_SHARED {
            return Some(format!("{shared} hyperparameters are too many to average over (at most {MOST_SHARED})"));
        }
        if insists {
            return None;
        }
        if self.is_negligible(origin) {
            return Some(
                "so many tasks leave the hyperparameters next to no uncertainty: intervals would be longer by less than a thousandth"
                    .into(),
            );
        }
        let numbers = 2.0 * (mixture::points(shared) * self.covariances.len()) as f64;
        if mixture::steps(shared) as f64 * self.work() > AFFORDABLE.0 || numbers > MOST_NUMBERS {
            let problem = "an average over the hyperparameters would take more than seconds with so many rows, tasks and features (full intervals make it all the same)";
            return Some(problem.into());
        }
        None
    }

    /// Why no interval of a variance component is looked for.
    fn profile_obstacle(&self, origin: &Origin, insists: bool) -> Option<String> {
        /// E-steps of an interval, about.
        const STEPS: f64 = 32.0;
        if origin.structure.smooth().is_none() || !self.prior.free.is_empty() || !self.dispersion.correlations.is_empty() {
            return Some(format!("the structure '{}' has no profile of its likelihood", self.structure));
        }
        if matches!(self.prior.relatedness, Relatedness::Graph(_)) || self.learns_relatedness() || self.prior.mixture.is_some() {
            return Some(
                "profiles of the likelihood are not taken where a graph, factors, clusters or a task covariance have a part in them".into(),
            );
        }
        if !self.converged() {
            return Some("the fit did not converge".into());
        }
        let count = self.prior.varying.len() + self.component_names().len();
        let coordinates = self.about(origin, 1e-4, with_profiled_mean).point().len();
        if coordinates > MOST_SHARED {
            return Some(format!("{coordinates} hyperparameters are too many to profile (at most {MOST_SHARED})"));
        }
        if count as f64 * STEPS * self.work() > AFFORDABLE.1 && !insists {
            return Some(format!(
                "{count} profiles of the likelihood would take more than seconds (full intervals take them all the same)"
            ));
        }
        None
    }

    /// Numbers of the dispersion that have intervals.
    fn component_names(&self) -> Vec<String> {
        match self.inference {
            _ if self.dispersion.is_each() => Vec::new(),
            Some(_) => self.dispersion_names(),
            None => vec!["noise".to_string()],
        }
    }

    /// Whether every variance is as good as known: its relative variance is about 2 / sum_t share_t^2, with the share of the deviation that a task's own
    /// rows decide.
    fn is_negligible(&self, origin: &Origin) -> bool {
        if self.dispersion.is_each() || 2.0 / (self.tasks.rows() as f64) > NEGLIGIBLE {
            return false;
        }
        let variances = self.prior.feature_covariance().diagonal();
        let mut information = DVector::<f64>::zeros(variances.len());
        for t in 0..self.tasks.len() {
            let within = origin.found.posterior.conditional(t).1 / self.prior.groups.scale(t).powi(2);
            information.iter_mut().enumerate().for_each(|(k, sum)| *sum += (1.0 - within[(k, k)] / variances[k]).max(0.0).powi(2));
        }
        // Without a variance it is not a number.
        information.iter().all(|own| 2.0 / own < NEGLIGIBLE)
    }

    fn averaged(&self, origin: &Origin) -> Option<Mixture> {
        let target = self.about(origin, 1e-3, with_integrated_mean);
        let (p, tasks) = self.coefficients.shape();
        let mut deviations = DMatrix::zeros(p, tasks);
        (0..tasks).for_each(|t| deviations.set_column(t, &origin.found.posterior.deviation(t).0));
        integrate(&target, &Estimates { coefficients: &self.coefficients, deviations, mean: &self.mean })
    }

    /// Profile intervals of the standard deviations between tasks and of a dispersion that tasks share, and why some have none.
    fn profiled(&self, origin: &Origin) -> (Vec<VarianceComponent>, Option<String>) {
        let target = self.about(origin, 1e-4, with_profiled_mean);
        let own = target.own();
        let Some(profiles) = Profiles::about(&target) else {
            return (Vec::new(), Some("the likelihood has no maximum near the estimates".into()));
        };
        let map = self.coordinates.to_original().select_columns(&self.prior.varying);
        let (mut components, mut lost) = (Vec::new(), Vec::new());
        let mut found = |name: &str, estimate: f64, held: &Held, back: &dyn Fn(f64) -> f64| match profiles.interval(held) {
            Some((low, high)) => components.push(VarianceComponent { name: name.into(), estimate, low: back(low), high: back(high) }),
            None => lost.push(name.to_string()),
        };
        let (features, covariance) = self.feature_covariance();
        for (k, name) in features.iter().enumerate() {
            let row = self.prior.varying[k];
            found(name, covariance[(k, k)].max(0.0).sqrt(), &Held::Deviation(map.row(row).transpose()), &|sd| sd);
        }
        let back = |log: f64| if self.inference.is_some() { log.exp() } else { (0.5 * log).exp() * self.coordinates.target_scale };
        for (k, (name, value)) in self.component_names().iter().zip(&self.dispersion.values).enumerate() {
            found(name, back(value.ln()), &Held::Coordinate(own + k), &back);
        }
        let reason =
            (!lost.is_empty()).then(|| format!("the search along the profile of the likelihood found no end for {}", lost.join(", ")));
        (components, reason)
    }

    /// What intervals carry.
    pub fn intervals(&self) -> Intervals {
        self.carried.intervals
    }

    /// Why they carry less than was asked for, if they do.
    pub fn intervals_reason(&self) -> Option<&str> {
        self.carried.reason.as_deref()
    }

    /// Why some variance components have no interval, where they were asked for.
    pub fn variance_components_reason(&self) -> Option<&str> {
        self.carried.components_reason.as_deref()
    }

    /// How many points of equal weight the average over the hyperparameters is worth; none where intervals are plug-in.
    pub fn effective_points(&self) -> Option<f64> {
        self.carried.average.as_ref().map(|average| average.effective_points)
    }

    /// Estimates and 95 % intervals of the standard deviations between tasks, and of the noise or dispersion that tasks share, by the profile
    /// likelihood (lme4's `confint`): where twice the log-likelihood, at its highest with the number held, is 3.84 below the maximum. The lower end is
    /// 0 where the fall to 0 is less. Empty for plug-in intervals, related tasks and fits too large for it.
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut rows = Rows::new("y", &["x"]);
    /// for i in 0..40 {
    ///     let (t, x) = (i % 5, (i / 5) as f64);
    ///     rows.push(&format!("task {t}"), &[x], t as f64 + 0.5 * x + (i * 7 % 4) as f64, 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let slope = &fit.variance_components()[1];
    /// assert!(slope.name == "x" && slope.low == 0.0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn variance_components(&self) -> &[VarianceComponent] {
        &self.carried.components
    }

    /// The deviations u_t = w_t - mean of every task with their posterior covariances, the uncertainty of the mean included;
    /// 0 for features that do not vary. Made again from the kept statistics, O(T d^3).
    ///
    /// # Errors
    /// [`Error::Arguments`] for independent tasks, which have no common mean, and what [`Posterior::given`](crate::Posterior::given) refuses.
    pub fn deviations(&self) -> Result<Vec<(DVector<f64>, DMatrix<f64>)>> {
        if !self.prior.free.is_empty() {
            return Err(Error::Arguments(format!(
                "the structure '{}' has no common mean of the features that are free in every task, so there are no deviations from it; ask \
                 for the parameters instead",
                self.structure
            )));
        }
        let p = self.tasks.design().len();
        self.with_posterior(|posterior| {
            let each = (0..self.tasks.len()).into_par_iter().map(|t| {
                let map = self.coordinates.of_task(t).to_original();
                let (deviation, plug_in) = posterior.deviation(t);
                let wider =
                    self.carried.average.as_ref().map(|average| DMatrix::from_column_slice(p, p, average.deviations.column(t).as_slice()));
                let covariance = wider.unwrap_or(plug_in);
                (&map * deviation, &map * covariance * map.transpose())
            });
            each.collect()
        })
    }

    /// Central intervals of [`Fit::mean`] of that probability.
    pub fn mean_intervals(&self, level: f64) -> Vec<(f64, f64)> {
        self.mean_intervals_of_group(0, level)
    }

    /// Central intervals of [`Fit::mean_of_group`] of that probability.
    ///
    /// # Panics
    /// For a group that there is not.
    pub fn mean_intervals_of_group(&self, group: usize, level: f64) -> Vec<(f64, f64)> {
        let reach = Normal::standard().inverse_cdf(0.5 + 0.5 * level);
        let covariance = self.mean_covariance_of_group(group);
        let spread = |(k, mean): (usize, &f64)| {
            let reach = reach * covariance[(k, k)].max(0.0).sqrt();
            (mean - reach, mean + reach)
        };
        self.mean_of_group(group).iter().enumerate().map(spread).collect()
    }
}

/// The prior with the mean at its best wherever the hyperparameters are.
fn with_profiled_mean(prior: Prior) -> Prior {
    match prior.mean {
        Mean::Estimated(_) if prior.mixture.is_none() => Prior { mean: Mean::Profiled, ..prior },
        _ => prior,
    }
}

/// The prior with the mean integrated instead of estimated.
fn with_integrated_mean(prior: Prior) -> Prior {
    match prior.mean {
        _ if prior.mixture.is_some() => prior,
        Mean::Profiled | Mean::Estimated(_) if !prior.mean_features.is_empty() => Prior { mean: Mean::Integrated, ..prior },
        _ => prior,
    }
}
