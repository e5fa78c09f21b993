//! The same fit with more rows of its tasks, at its hyperparameters.

use super::fit::Plan;
use super::sites::Sites;
use super::{Fit, LikelihoodKind};
use crate::em::Climbed;
use crate::error::{Error, Result};
use crate::likelihood::{Approximation, Gaussian, Generalised, Likelihood, Observations, STILL};
use crate::posterior::Posterior;
use crate::quadratic::Quadratics;
use crate::tasks::{Rows, Tasks};
use nalgebra::DVector;

/// A fit with more rows.
pub(crate) struct Renewed {
    pub fit: Fit,
    /// What the new rows of the tasks say by themselves, at the noise of the fit; none for families other than the Gaussian.
    pub added: Option<Quadratics>,
}

impl Fit {
    /// With the rows of `more`, whose tasks have these numbers in the fit and its design. An E-step before and one after; for families as
    /// many as the approximation of the new rows takes.
    ///
    /// # Errors
    /// [`Error::Arguments`] for families without the rows themselves, or in unknown clusters, and what [`Posterior::given`] refuses.
    pub(crate) fn renewed(&self, more: &Tasks, numbers: &[usize]) -> Result<Renewed> {
        let held = self.quadratics()?;
        let before = Posterior::owning(held.clone(), &self.prior)?;
        let tasks = self.tasks.with_rows_of(more, numbers);
        let data = Observations::new(&tasks, &self.coordinates);
        let maximised = self.log_likelihood_kind == LikelihoodKind::Maximised;
        let at_means = |quadratics: &Quadratics, posterior: &Posterior| -> f64 {
            (0..quadratics.len()).map(|t| quadratics.task(t).value(&posterior.coefficients(t))).sum()
        };
        let (found, gained, added) = if self.inference.is_none() {
            let likelihood = Gaussian::default();
            let found = Approximation::exact(likelihood.quadratics(&data, &self.dispersion), &self.prior)?;
            let of_more = Observations::new(&self.tasks.without_rows().with_rows_of(more, numbers), &self.coordinates);
            let gained = match maximised {
                true => at_means(&found.quadratics, &found.posterior) - at_means(&held, &before),
                false => found.log_likelihood - before.log_likelihood(),
            };
            (found, gained, Some(likelihood.quadratics(&of_more, &self.dispersion)))
        } else {
            let (likelihood, own) = self.around(more, numbers, &held)?;
            let found = likelihood.posterior(&own, &self.dispersion, &self.prior, (Some(&held), STILL))?;
            let gained = match maximised {
                true => {
                    let rows = likelihood.at_means(&own, &found, &self.dispersion)?;
                    rows + at_means(&held, &found.posterior) - at_means(&held, &before)
                }
                false => found.log_likelihood - before.log_likelihood(),
            };
            (found, gained, None)
        };
        let rows: f64 = numbers.iter().enumerate().map(|(t, number)| more.statistics(t).rows() as f64 * self.unit_of(*number)).sum();
        let plan = Plan {
            maximised: maximised.then_some(0.0),
            family: self.family.clone(),
            families: self.families.clone(),
            inference: self.inference,
            structure: self.structure.clone(),
            feature_covariance: self.feature_covariance_kind,
            standardise: self.standardise,
            parameters: 0,
            log_prior: 0.0,
            dropped: self.dropped.clone(),
            edge_probabilities: self.edge_probabilities.clone(),
            candidates: self.candidates.clone(),
            prior_strength: self.prior_strength,
        };
        let climbed = Climbed::at(self.prior.clone(), self.dispersion.clone(), self.trace.clone(), self.stop);
        let mut fit = Fit::assemble(plan, &tasks, &data, self.coordinates.clone(), climbed, &found);
        let log_prior = found.posterior.log_mean_density() - before.log_mean_density();
        fit.log_likelihood = self.log_likelihood + gained - rows;
        fit.log_posterior = self.log_posterior + gained - rows + log_prior;
        fit.parameters = self.parameters;
        fit.sites = self.sites.as_ref().map(|_| Sites::of(&found.quadratics));
        fit.added = self.added + more.rows();
        fit.guarded = self.guarded.clone();
        fit.carried.reason = self.carried.average.is_some().then(|| "rows were added to the fit at its hyperparameters".into());
        fit.warnings = fit.find_warnings();
        Ok(Renewed { fit, added })
    }

    /// The fit with a warning more.
    pub(crate) fn with_warning(mut self, warning: String) -> Self {
        self.warnings.push(warning);
        self
    }

    /// Logarithm of the unit of a task's target.
    fn unit_of(&self, task: usize) -> f64 {
        self.coordinates.target_unit(Some(task)).scale.ln()
    }

    /// How the targets of a family speak, and the new rows of all tasks, beside which what the old ones said is held.
    fn around(&self, more: &Tasks, numbers: &[usize], held: &Quadratics) -> Result<(Generalised, Observations)> {
        if self.prior.mixture.is_some() {
            let problem =
                "the rows of each unknown cluster of a family speak in their own way, which more rows would change; fit all rows anew";
            return Err(Error::Arguments(problem.into()));
        }
        let groups: Vec<usize> = (0..self.tasks.len()).map(|t| self.tasks.group(t)).collect();
        let new = more.kept_rows().ok_or_else(|| crate::likelihood::rows_are_missing(&self.family))?;
        let mut rows = Rows::new(new.target(), new.features());
        self.tasks.names().iter().for_each(|name| rows.name_task(name));
        for i in 0..new.len() {
            let task = &self.tasks.names()[numbers[new.task(i)]];
            rows.push_with_offset(task, new.x(i), new.y(i), new.weight(i), new.offset(i))?;
        }
        let tasks = rows.tasks(self.tasks.design()).with_rows(rows)?;
        let data = self.observations(&tasks, &groups)?;
        let each = data.each.map(|rows| rows.with_held(held));
        let families = (0..self.prior.groups.len()).map(|group| self.family_of_new(group)).collect::<Result<Vec<_>>>()?;
        let inference = self.inference.unwrap_or_default();
        Ok((Generalised::of_each(families).with_inference(inference), Observations { each, ..data }))
    }

    /// Parameters of a task in fitted coordinates.
    pub(crate) fn fitted_coefficients(&self, task: usize) -> DVector<f64> {
        self.coefficients.column(task).into_owned()
    }

    /// How many rows were added after the fit, at its hyperparameters ([`Fit::update`]).
    pub fn added_rows(&self) -> u64 {
        self.added
    }
}
