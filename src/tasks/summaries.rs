//! Tasks from elsewhere: each task's estimate and its covariance instead of its rows.

use super::{Design, Tasks};
use crate::error::{Error, Result};
use crate::quadratic::Statistics;
use nalgebra::DMatrix;
use std::collections::HashSet;

/// Each task's estimate b_t of its parameters and the sampling covariance C_t of that, from any program: a generalised linear model, a
/// Cox model, the head of a network. They enter as the quadratics l_t(w) = ln N(b_t; w, C_t), so every structure works as with rows, and
/// the log-likelihood is that of the estimates.
///
/// The covariances are known, so a fit needs [`Noise::Known`](crate::Noise::Known). Every feature is an estimated parameter, also one named
/// `(Intercept)`: the design has no intercept of its own. Nothing is centred, and a scalar K is in the estimates' own units unless
/// [`Standardise::Scale`](crate::Standardise::Scale) is asked for, which divides each feature's units by the root of its mean precision.
///
/// ```
/// use cognate::{Exchangeable, FeatureCovariance, Gaussian, Model, Noise, Summaries};
/// use nalgebra::dmatrix;
/// let mut summaries = Summaries::new(&["log hazard ratio"]);
/// for (trial, estimate) in [("a", -1.0), ("b", 0.0), ("c", 1.0), ("d", 2.0)] {
///     summaries.push(trial, &[Some(estimate)], &dmatrix![0.25])?;
/// }
/// let structure = Exchangeable::new(FeatureCovariance::Diagonal);
/// let fit = Model::new(Gaussian { noise: Noise::Known }, structure).fit(&summaries.tasks())?;
/// // Of equal variances: the mean square deviation less the sampling variance.
/// assert!((fit.feature_covariance().1[(0, 0)] - (1.25 - 0.25)).abs() < 1e-4);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summaries {
    features: Vec<String>,
    names: Vec<String>,
    seen: HashSet<String>,
    statistics: Vec<Statistics>,
}

impl Summaries {
    /// No task yet, of parameters that belong to these features.
    ///
    /// ```
    /// assert!(cognate::Summaries::new(&["(Intercept)", "dose"]).is_empty());
    /// ```
    pub fn new<S: AsRef<str>>(features: &[S]) -> Self {
        Summaries { features: features.iter().map(|name| name.as_ref().to_string()).collect(), ..Summaries::default() }
    }

    /// Adds a task: an estimate a feature, none where the task has none, and their covariance (d x d), of which the rows and columns of
    /// missing estimates are not looked at. A task without any estimate is one that only the others tell of. O(d^2 + k^3) for k estimates.
    ///
    /// ```
    /// use nalgebra::dmatrix;
    /// let mut summaries = cognate::Summaries::new(&["(Intercept)", "dose"]);
    /// summaries.push("north", &[Some(1.0), Some(0.2)], &dmatrix![0.5, -0.1; -0.1, 0.1])?;
    /// summaries.push("south", &[Some(2.0), None], &dmatrix![0.5, 0.0; 0.0, 0.0])?;
    /// assert_eq!(summaries.tasks().rows(), 3);
    /// assert!(summaries.push("south", &[None, None], &dmatrix![1.0, 0.0; 0.0, 1.0]).is_err());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for a task that is there already, and what [`Statistics::of_estimate`] refuses, with the task and the feature.
    pub fn push(&mut self, task: &str, estimate: &[Option<f64>], covariance: &DMatrix<f64>) -> Result<()> {
        if estimate.len() != self.features.len() {
            return Err(Error::Shape {
                what: format!("the estimate of task '{task}'"),
                found: estimate.len(),
                expected: self.features.len(),
            });
        }
        if self.seen.contains(task) {
            return Err(Error::Arguments(format!("task '{task}' is there twice; give one estimate a task")));
        }
        let statistics =
            Statistics::of_named_estimate(estimate, covariance, &format!("task '{task}'"), |k| format!("feature '{}'", self.features[k]))?;
        self.statistics.push(statistics);
        self.seen.insert(task.to_string());
        self.names.push(task.to_string());
        Ok(())
    }

    /// Names of the features.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Names of the tasks, in the order they came.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How many tasks there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The tasks, with every feature in the mean and varying; [`Tasks::with_design`] takes other designs without an intercept. O(T d^2).
    ///
    /// ```
    /// let mut summaries = cognate::Summaries::new(&["dose"]);
    /// summaries.push("north", &[None], &nalgebra::dmatrix![0.0])?;
    /// let tasks = summaries.tasks();
    /// assert!(tasks.are_estimates() && tasks.rows() == 0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn tasks(&self) -> Tasks {
        Tasks {
            target: "estimate".into(),
            names: self.names.clone(),
            design: Design::varying(&self.features).without_intercept(),
            shift: vec![0.0; self.len() * (self.features.len() + 1)],
            statistics: self.statistics.clone(),
            estimates: true,
            alike: Vec::new(),
            groups: Vec::new(),
            group: Vec::new(),
            rows: None,
        }
    }
}

impl Tasks {
    /// Whether they are estimates from elsewhere ([`Summaries`]): [`Tasks::rows`] counts estimates then, and predictions have no noise.
    pub fn are_estimates(&self) -> bool {
        self.estimates
    }

    /// Refuses what says nothing, and a constant column where there are no rows.
    pub(super) fn check_estimates(&self, total: &Statistics) -> Result<()> {
        if self.design.has_intercept() {
            let problem =
                "estimates have no constant column; take the intercept out of the design, and name the estimate of one '(Intercept)'";
            return Err(Error::Arguments(problem.into()));
        }
        if total.rows() == 0 {
            return Err(Error::Arguments("no task has an estimate, so there is nothing to fit; check the columns".into()));
        }
        match (0..self.design.len()).find(|k| total.cross(k + 1, k + 1) == 0.0) {
            Some(k) => {
                Err(Error::Arguments(format!("no task has an estimate of '{}'; leave it out of the features", self.design.features()[k])))
            }
            None => Ok(()),
        }
    }
}
