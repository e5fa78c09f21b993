//! What a fit says when more rows come: of tasks that it has not seen, from all its tasks or some of them, and of its own.

mod drift;
mod learned;
mod update;

pub use drift::{Drift, Move};
pub(crate) use update::ALARM;
pub use update::{TaskChange, Update};

use crate::error::{Error, Result, suggestion};
use crate::likelihood::{Gaussian, Likelihood};
use crate::model::{Fit, Forecast, MeansOf};
use crate::tasks::Tasks;
use learned::Learned;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use std::collections::HashSet;

/// New tasks, each as if it alone were new.
#[derive(Clone, Debug)]
pub struct Transfer<'a> {
    fit: &'a Fit,
    sources: Vec<usize>,
    undecided: usize,
    tasks: Vec<NewTask<'a>>,
}

/// A task that the fit has not seen, in the units of the table.
#[derive(Clone, Debug)]
pub struct NewTask<'a> {
    fit: &'a Fit,
    name: String,
    group: usize,
    rows: u64,
    learned: Learned,
}

impl Fit {
    /// The posterior of tasks that the fit has not seen, at its hyperparameters: p(w | all rows) is proportional to p(rows of the new task
    /// | w) p(w | rows of the sources). Of what the sources say of a new task before its own rows [`Fit::forecast`] makes its forecasts
    /// too: the normal distribution of the mean and its uncertainty and of how far tasks vary; with clusters a mixture of one for each,
    /// whose weights the new rows change; with a kernel the distribution of a task at its descriptors ([`Fit::place`]). With Gaussian
    /// targets and [`Intervals::PlugIn`](crate::Intervals::PlugIn) this is exactly what a posterior of all tasks at these hyperparameters
    /// says, the mean integrated; with [`Intervals::Full`](crate::Intervals::Full) it carries the uncertainty of hyperparameters that
    /// forecasts of new tasks carry. Rows of other families are approximated as in the fit, and the dispersion is that which tasks share.
    ///
    /// Several new tasks are each as if it alone were new: they do not teach each other, nor the fit. A task without rows
    /// ([`Rows::name_task`](crate::Rows::name_task)) is what the sources say. O(d^3) for each, and an E-step over the sources.
    ///
    /// With `from` only these tasks of the fit teach the new ones, at the hyperparameters of all. What they teach is where the mean is,
    /// which has a flat prior, so that intervals from one or two sources are wide, also where these are known well: nobody knows how far
    /// they are from other tasks but by K. Where the rows of the sources say nothing at all of a direction of the mean (a feature that is
    /// the same in all of them) it is that of the fit ([`Transfer::undecided`]). The sources themselves do not change.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut rows = Rows::new("yield", &["rain"]);
    /// for i in 0..80 {
    ///     let (field, rain) = (i % 8, f64::from(i / 8) / 3.0);
    ///     let noise = f64::from(i * 7 % 5) * 0.1;
    ///     rows.push(&format!("field {field}"), &[rain], 2.0 + f64::from(field % 4) + 0.4 * rain + noise, 1.0)?;
    /// }
    /// let design = Design::varying(rows.features());
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&rows.tasks(&design))?;
    /// let mut new = Rows::new("yield", &["rain"]);
    /// new.push("orchard", &[1.0], 9.0, 1.0)?;
    /// new.name_task("meadow");
    /// let transfer = fit.transfer(&new.tasks(&design), None)?;
    /// let (orchard, meadow) = (&transfer.tasks()[0], &transfer.tasks()[1]);
    /// // One row decides most of its level, and nothing is known of the other but that it is a field.
    /// assert!(orchard.forecast(&[1.0], 1.0, 0.0)?.moments().0 > 8.0);
    /// assert_eq!(meadow.forecast(&[1.0], 1.0, 0.0)?.moments(), fit.forecast(None, "meadow", &[1.0], 1.0, 0.0)?.moments());
    /// let from_two = fit.transfer(&new.tasks(&design), Some(&["field 0", "field 1"]))?;
    /// assert!(from_two.tasks()[1].covariance()[(0, 0)] > meadow.covariance()[(0, 0)]);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for a task of the fit ([`Fit::update`] takes more rows of these), other features, sources that the fit has not,
    /// sources of a fit with a kernel or clusters, and rows that tasks share; [`Error::UnknownTask`] where the structure has no prior for
    /// new tasks; [`Error::BadTarget`] for a target that the family cannot have.
    pub fn transfer<'a>(&'a self, tasks: &Tasks, from: Option<&[&str]>) -> Result<Transfer<'a>> {
        let tasks = &self.alike(tasks)?;
        let known: HashSet<&str> = self.tasks().names().iter().map(String::as_str).collect();
        if let Some(name) = tasks.names().iter().find(|name| known.contains(name.as_str())) {
            let problem = format!("task '{name}' is of the fit, so it is not new; leave it out, or give its rows to 'cognate update'");
            return Err(Error::Arguments(problem));
        }
        tasks.names().iter().try_for_each(|name| self.check_attached(name))?;
        if self.shares_rows() {
            let problem = "errors are correlated between the tasks of this fit, and with a new task nobody knows how; fit all rows anew";
            return Err(Error::Arguments(problem.into()));
        }
        let sources = from.map(|names| self.sources(names)).transpose()?;
        let means = sources.as_ref().map(|sources| self.means_from(sources)).transpose()?;
        let groups = (0..tasks.len()).map(|t| self.group_of_new(tasks, t)).collect::<Result<Vec<_>>>()?;
        let data = self.observations(tasks, &groups)?;
        let likelihoods = (0..self.prior().groups.len()).map(|group| self.likelihood_of_new(group)).collect::<Result<Vec<_>>>()?;
        let learn = |t: usize| -> Result<NewTask<'a>> {
            let (name, group) = (tasks.names()[t].clone(), groups[t]);
            let belief = match &means {
                None => self.belief(&name, group)?,
                Some(means) => {
                    self.check_unseen(&name)?;
                    let mean = means.of_group[group].clone().ok_or_else(|| {
                        let of = self.tasks().groups().get(group).cloned().unwrap_or_default();
                        Error::Arguments(format!("task '{name}' is of the group (family) '{of}', and no source is; name one that is"))
                    })?;
                    self.belief_about(group, mean)
                }
            };
            let rows = tasks.statistics(t).rows();
            let learned = if rows == 0 {
                Learned::nothing(belief)
            } else {
                let (data, dispersion) = (data.alone(t), self.dispersion_of_new(group));
                let gaussian = Gaussian::default();
                let likelihood: &dyn Likelihood = likelihoods[group].as_deref().unwrap_or(&gaussian);
                Learned::of(belief, likelihood, &data, &dispersion)?
            };
            Ok(NewTask { fit: self, name, group, rows, learned })
        };
        let each = (0..tasks.len()).into_par_iter().map(learn).collect::<Result<Vec<_>>>()?;
        let undecided = means.as_ref().map_or(0, |means: &MeansOf| means.undecided);
        Ok(Transfer { fit: self, undecided, sources: sources.unwrap_or_else(|| (0..self.tasks().len()).collect()), tasks: each })
    }

    /// The numbers of named tasks of the fit, each once.
    fn sources(&self, names: &[&str]) -> Result<Vec<usize>> {
        let problem = match (names, &self.prior().kernel, &self.prior().mixture) {
            ([], ..) => "no source is named; name a task of the fit, or leave the sources out to let all teach",
            (_, Some(_), _) => "with descriptors every task teaches by how near it is; leave the sources out",
            (.., Some(_)) => "clusters are learned from all tasks together, so that no few of them teach alone; leave the sources out",
            _ => {
                let mut sources = Vec::with_capacity(names.len());
                for name in names {
                    self.check_attached(name)?;
                    let number = self.task_number(name).ok_or_else(|| {
                        let hint = suggestion(name, self.tasks().names().iter().map(String::as_str));
                        Error::Arguments(format!("the source '{name}' is no task of the fit{hint}; 'cognate tasks' lists them"))
                    })?;
                    if !sources.contains(&number) {
                        sources.push(number);
                    }
                }
                return Ok(sources);
            }
        };
        Err(Error::Arguments(problem.into()))
    }
}

impl<'a> Transfer<'a> {
    /// The new tasks, in the order of the table.
    pub fn tasks(&self) -> &[NewTask<'a>] {
        &self.tasks
    }

    /// The one of that name.
    pub fn task(&self, name: &str) -> Option<&NewTask<'a>> {
        self.tasks.iter().find(|task| task.name == name)
    }

    /// Of how many directions of the mean the rows of the sources say nothing, so that it is that of the fit there.
    pub fn undecided(&self) -> usize {
        self.undecided
    }

    /// Names of the tasks that taught them.
    pub fn sources(&self) -> impl Iterator<Item = &str> {
        self.sources.iter().map(|t| self.fit.tasks().names()[*t].as_str())
    }
}

impl NewTask<'_> {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many rows of its own it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Posterior mean of its parameters.
    pub fn coefficients(&self) -> DVector<f64> {
        self.fit.coordinates().parameters(&self.learned.moments.0)
    }

    /// Their posterior covariance, the uncertainty of the mean included.
    pub fn covariance(&self) -> DMatrix<f64> {
        let map = self.fit.coordinates().to_original();
        &map * &self.learned.moments.1 * map.transpose()
    }

    /// How much of its deviation from the mean its own rows decide, in [0, 1] ([`Fit::own_share`]); 0 without rows, none where nothing
    /// varies; of a task placed by descriptors how much of what these and the other tasks leave open.
    pub fn own_share(&self) -> Option<f64> {
        self.learned.own_share
    }

    /// Log density of its rows before they are seen, given those of the sources (of families other than the Gaussian as the fit
    /// approximates it; of estimates that of these): how likely such a task was. 0 without rows.
    pub fn log_density(&self) -> f64 {
        self.learned.log_density - self.rows as f64 * self.fit.coordinates().target_scale.ln()
    }

    /// The probability that it is of each cluster, and last of none ([`Fit::clusters`]); 1 alone where there are no clusters.
    pub fn memberships(&self) -> &[f64] {
        &self.learned.weights
    }

    /// The predictive distribution of an observation at features `x` (the intercept left out) of that weight and offset, as
    /// [`Fit::forecast`] makes it.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features.
    pub fn forecast(&self, x: &[f64], weight: f64, offset: f64) -> Result<Forecast> {
        self.fit.forecast_of(self.group, &self.learned.moments, &self.name, x, (weight, offset))
    }
}
