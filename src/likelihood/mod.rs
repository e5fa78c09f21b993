//! How rows speak about parameters: a likelihood turns a task's rows into a quadratic and learns its own dispersion.

mod approximation;
mod binomial;
mod correlated;
mod counts;
mod crps;
mod draws;
mod evidence;
mod family;
mod gamma;
mod gaussian;
mod generalised;
mod integral;
mod level;
mod mixing;
mod normal;
mod ordinal;
mod outlook;
mod pareto;
mod rows;
mod student;
mod threshold;

pub(crate) use approximation::STILL;
pub use approximation::{Approximation, Inference};
pub use binomial::{Binomial, Link};
pub use correlated::CorrelatedGaussian;
pub use counts::{NegativeBinomial, Poisson};
pub(crate) use crps::normal_crps;
pub(crate) use draws::draw_target;
pub use evidence::Evidence;
pub use family::{Family, Local};
pub(crate) use family::{NAMES as FAMILY_NAMES, all as families, by_name as family};
pub use gamma::Gamma;
pub use gaussian::{Gaussian, Noise};
pub use generalised::Generalised;
pub use normal::Normal;
pub use ordinal::Ordinal;
pub(crate) use outlook::Outlook;
pub use rows::{FamilyRow, FamilyRows};
pub use student::StudentT;

use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use crate::tasks::{Coordinates, SharedRows, Tasks};
use nalgebra::DMatrix;
use rows::Families;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::sync::Arc;

/// Tasks in the coordinates of the fit.
pub struct Observations {
    /// Unit-precision quadratics, one a task.
    pub quadratics: Quadratics,
    /// Rows of each task.
    pub rows: Vec<f64>,
    /// Sum of the logarithms of each task's row weights.
    pub log_weights: Vec<f64>,
    /// The rows themselves, for a family whose quadratics depend on the parameters.
    pub each: Option<FamilyRows>,
    /// Those that tasks share, where their errors may be correlated.
    pub(crate) shared: Option<SharedRows>,
    /// The group of every task; nothing for one group.
    pub(crate) group: Vec<usize>,
}

impl Observations {
    /// The tasks in `coordinates`.
    pub fn new(tasks: &Tasks, coordinates: &Coordinates) -> Self {
        let each = 0..tasks.len();
        Observations {
            quadratics: tasks.quadratics(coordinates),
            rows: each.clone().map(|t| tasks.statistics(t).rows() as f64).collect(),
            log_weights: each.map(|t| tasks.statistics(t).log_weights()).collect(),
            each: None,
            shared: None,
            group: tasks.group_of_tasks().to_vec(),
        }
    }

    /// With the rows themselves, for the families of the groups of tasks.
    ///
    /// # Errors
    /// As [`FamilyRows::new`].
    pub(crate) fn with_families(self, tasks: &Tasks, coordinates: &Coordinates, families: &[Arc<dyn Family>]) -> Result<Self> {
        let rows = tasks.kept_rows().ok_or_else(|| rows_are_missing(families[0].name()))?;
        let of_tasks = Families::each(families.to_vec(), self.group.clone());
        Ok(Observations { each: Some(FamilyRows::of_families(rows, tasks.design(), coordinates, &of_tasks)?), ..self })
    }

    /// With a prior of each task's level by its own rows.
    pub(crate) fn with_levels(self, families: &[Arc<dyn Family>], intercept: bool) -> Self {
        let of_tasks = Families::each(families.to_vec(), self.group.clone());
        Observations { each: self.each.map(|rows| rows.with_levels(&of_tasks, intercept)), ..self }
    }

    /// The target of all rows of a group, where there are several and all have the same.
    pub(crate) fn only_target(&self, group: usize) -> Option<f64> {
        let (targets, _) = self.each.as_ref()?.targets(|t| self.group_of(t) == group);
        let first = *targets.first()?;
        (targets.len() > 1 && targets.iter().all(|target| *target == first)).then_some(first)
    }

    /// Mean and standard deviation of the targets of a group.
    pub(crate) fn target_moments(&self, group: usize) -> Option<(f64, f64)> {
        let (targets, _) = self.each.as_ref()?.targets(|t| self.group_of(t) == group);
        let count = targets.len().max(1) as f64;
        let mean = targets.iter().sum::<f64>() / count;
        Some((mean, (targets.iter().map(|target| (target - mean).powi(2)).sum::<f64>() / count).sqrt()))
    }

    /// The group of a task.
    pub(crate) fn group_of(&self, task: usize) -> usize {
        self.group.get(task).copied().unwrap_or(0)
    }

    /// How many groups of tasks there are.
    pub(crate) fn groups(&self) -> usize {
        self.group.iter().max().map_or(1, |last| last + 1)
    }

    /// As many rows of the same weights with other sums.
    pub(crate) fn with_sums(&self, quadratics: Quadratics) -> Self {
        let (rows, log_weights) = (self.rows.clone(), self.log_weights.clone());
        Observations { quadratics, rows, log_weights, each: None, shared: None, group: Vec::new() }
    }

    /// One of the tasks alone.
    pub(crate) fn alone(&self, task: usize) -> Self {
        Observations {
            quadratics: self.quadratics.of_tasks(&[task]),
            rows: vec![self.rows[task]],
            log_weights: vec![self.log_weights[task]],
            each: self.each.as_ref().map(|rows| rows.alone(task)),
            shared: None,
            group: Vec::new(),
        }
    }

    /// Rows over all tasks.
    pub fn total_rows(&self) -> f64 {
        self.rows.iter().sum()
    }
}

/// The learned spread of the targets about their expectation, in fitted units: positive numbers, a block of them for all tasks or one a task.
///
/// A Gaussian's block is its noise variance, a [`Family`]'s what [`Family::dispersion`] says, and empty where the spread follows from the mean.
/// Groups of tasks of different families have a block each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dispersion {
    /// The blocks, one after another.
    pub values: Vec<f64>,
    /// The common block to which tasks are shrunk (equal to the only one where it is shared).
    pub common: Vec<f64>,
    /// How much the common block weighs in each task (0: no shrinkage); for a Gaussian the number of rows it is worth.
    pub strength: f64,
    /// Correlations between the errors of tasks that share rows, below the diagonal row by row; none where errors are independent.
    #[serde(default)]
    pub correlations: Vec<f64>,
    /// The sizes of the blocks of groups of tasks, and the group of every task; nothing where there are no groups.
    #[serde(default)]
    pub sizes: Vec<usize>,
    /// The group of every task.
    #[serde(default)]
    pub group: Vec<usize>,
}

impl Dispersion {
    /// One variance for all tasks.
    pub fn shared(variance: f64) -> Self {
        Dispersion::of_block(vec![variance])
    }

    /// One block for all tasks.
    pub fn of_block(block: Vec<f64>) -> Self {
        Dispersion { values: block.clone(), common: block, strength: 0.0, correlations: Vec::new(), sizes: Vec::new(), group: Vec::new() }
    }

    /// The blocks of groups of tasks, and the group of every task.
    pub(crate) fn of_groups(groups: &[Vec<f64>], of_task: &[usize]) -> Self {
        let sizes = groups.iter().map(Vec::len).collect();
        Dispersion { sizes, group: of_task.to_vec(), ..Dispersion::of_block(groups.concat()) }
    }

    /// The common block of a group.
    pub(crate) fn common_block(&self, group: usize) -> &[f64] {
        &self.common[self.places().swap_remove(if self.sizes.is_empty() { 0 } else { group })]
    }

    /// Where the block of each group is among the common ones.
    pub(crate) fn places(&self) -> Vec<Range<usize>> {
        if self.sizes.is_empty() {
            return std::iter::once(0..self.common.len()).collect();
        }
        let mut end = 0;
        let place = |size: &usize| {
            let begin = end;
            end += size;
            begin..end
        };
        self.sizes.iter().map(place).collect()
    }

    /// Whether every task has a block of its own.
    pub fn is_each(&self) -> bool {
        self.values.len() != self.common.len()
    }

    /// The block of a task.
    pub fn block(&self, task: usize) -> &[f64] {
        if let Some(group) = self.group.get(task) {
            return &self.values[self.places()[*group].clone()];
        }
        let size = self.common.len();
        if self.is_each() { &self.values[task * size..(task + 1) * size] } else { &self.values }
    }

    /// The noise variance of a task: the first of its block, 1 where that is empty.
    pub fn variance(&self, task: usize) -> f64 {
        self.block(task).first().copied().unwrap_or(1.0)
    }

    /// Correlations between the errors of tasks that share rows, T x T; none where errors are independent.
    pub fn correlation(&self) -> Option<DMatrix<f64>> {
        let tasks = self.values.len();
        let mut below = self.correlations.iter();
        let mut all = DMatrix::identity(tasks, tasks);
        for t in 0..tasks {
            for s in 0..t {
                let value = *below.next()?;
                (all[(s, t)], all[(t, s)]) = (value, value);
            }
        }
        (!self.correlations.is_empty()).then_some(all)
    }

    /// How many numbers were learned.
    pub(crate) fn parameters(&self) -> usize {
        self.values.len() + self.correlations.len()
    }

    /// The common noise variance.
    pub fn common_variance(&self) -> f64 {
        self.common.first().copied().unwrap_or(1.0)
    }
}

/// How targets speak about parameters: Gaussian by sums of their rows, or of a [`Family`] row by row ([`Generalised`]).
pub trait Likelihood: std::fmt::Debug + Send + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// The families of the groups of tasks (one for all without groups), where quadratics depend on the parameters; none where they are sums.
    fn families(&self) -> &[Arc<dyn Family>] {
        &[]
    }

    /// Puts its families into the order of the groups of these names (none for one group).
    ///
    /// # Errors
    /// [`Error::Arguments`] for a group without a family.
    fn arrange(&mut self, _groups: &[String]) -> Result<()> {
        Ok(())
    }

    /// How the posterior is approximated; none where it is exact.
    fn inference(&self) -> Option<Inference> {
        None
    }

    /// Whether the noise variance is known to be 1 in the target's units, so that the target is not rescaled.
    fn noise_is_known(&self) -> bool {
        false
    }

    /// Whether it fits only tasks whose rows name the units that tasks share.
    fn needs_units(&self) -> bool {
        false
    }

    /// A dispersion to start from.
    fn start(&self, data: &Observations, mean_features: &[usize]) -> Dispersion;

    /// About the variance with which a row of weight 1 tells its linear predictor, in each group of tasks.
    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> Vec<f64>;

    /// The E-step at a dispersion. Where quadratics have to be looked for, that begins with those of `search`, and ends when no coefficient
    /// changes by more than its number.
    ///
    /// # Errors
    /// What [`Posterior::given`] refuses.
    fn posterior(
        &self,
        data: &Observations,
        dispersion: &Dispersion,
        prior: &Prior,
        search: (Option<&Quadratics>, f64),
    ) -> Result<Approximation>;

    /// The log-likelihood at a posterior that it made without the approximation, where there is one.
    ///
    /// # Errors
    /// As [`Approximation::evidence`].
    fn evidence(&self, _data: &Observations, found: &Approximation, _: &Dispersion) -> Result<Evidence> {
        let standard_error = found.posterior.log_likelihood_error();
        Ok(Evidence { log_likelihood: found.log_likelihood, standard_error, sampled: false, pareto_k: Vec::new() })
    }

    /// The log-likelihood at the means of a posterior.
    ///
    /// # Errors
    /// As [`Likelihood::posterior`].
    fn at_means(&self, _data: &Observations, found: &Approximation, _: &Dispersion) -> Result<f64> {
        Ok((0..found.quadratics.len()).map(|t| found.quadratics.task(t).value(&found.posterior.coefficients(t))).sum())
    }

    /// The M-step.
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion;

    /// The dispersion as a point of R^k: the logarithms of its values, unless it has correlations.
    fn coordinates(&self, dispersion: &Dispersion) -> Vec<f64> {
        dispersion.values.iter().map(|value| value.ln()).collect()
    }

    /// The dispersion at a point, its common block at its best.
    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion;

    /// d (log-likelihood + log prior) / d coordinates of the dispersion.
    ///
    /// # Errors
    /// As [`Likelihood::posterior`].
    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>>;

    /// About -d^2 (log-likelihood + log prior) / d coordinate^2 of the dispersion, where it is known.
    fn information(&self, _data: &Observations, _: &Dispersion) -> Option<Vec<f64>> {
        None
    }

    /// The slope of the log-likelihood in whatever `slope` gives the slope of a Gaussian one in, the quadratics held.
    ///
    /// # Errors
    /// As [`Likelihood::posterior`].
    fn slope_along(
        &self,
        _data: &Observations,
        found: &Approximation,
        _: &Dispersion,
        slope: &dyn Fn(&Posterior) -> Vec<f64>,
    ) -> Result<Vec<f64>> {
        Ok(slope(&found.posterior))
    }

    /// Log prior density of the dispersion (0 without one).
    fn log_prior(&self, dispersion: &Dispersion) -> f64;
}

/// What a family without its rows is refused with.
pub(crate) fn rows_are_missing(family: &str) -> Error {
    Error::Arguments(format!("the family '{family}' needs the rows themselves, which sums do not hold; give them to Tasks::with_rows"))
}

/// What rows that name no unit are refused with where errors are to be correlated.
pub(crate) fn units_are_missing() -> Error {
    let problem = "correlated errors need rows that name the units that tasks share; push them with Rows::push_of_unit, and give them to \
                   Tasks::with_rows";
    Error::Arguments(problem.into())
}
