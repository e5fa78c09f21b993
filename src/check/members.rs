//! The tasks of a table with targets as a fit knows them, and what it forecast of each row.

use super::{Judged, Origin};
use crate::error::{Error, Result};
use crate::likelihood::Inference;
use crate::model::{Fit, Forecast, Intervals};
use crate::posterior::Posterior;
use crate::tasks::{Rows, Tasks};
use nalgebra::{DMatrix, DVector};
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::HashMap;

/// Share of a row's variance given the parameters that its own forecast may take from it, beyond which the row decides that itself.
const DECIDED: f64 = 1.0 - 1e-6;

/// A task of the table.
pub(super) struct Member<'f> {
    pub name: String,
    /// The fit that knows it: itself, or that of the tasks that a guard let go.
    pub fit: &'f Fit,
    pub number: Option<usize>,
    pub group: usize,
    /// Whether its rows are those of the fit.
    pub fitted: bool,
    /// Whether forecasts of its rows leave these out.
    pub leaves_out: bool,
    pub rows: Vec<usize>,
}

impl Member<'_> {
    /// Degrees of freedom of the noise where the task has one of its own, from other rows than these: its rows and those that the prior of variances is worth, less its parameters.
    pub fn noise_freedom(&self) -> Option<f64> {
        let own = self.number.filter(|_| !self.leaves_out && self.fit.inference().is_none() && self.fit.dispersion().is_each())?;
        let tasks = self.fit.tasks();
        Some((tasks.statistics(own).rows() as f64 + self.fit.dispersion().strength - tasks.design().len() as f64).max(1.0))
    }
}

/// What is known of the parameters of a task, in fitted coordinates.
pub(super) struct Known {
    pub coefficients: DVector<f64>,
    /// Given the hyperparameters where rows are left out.
    pub covariance: DMatrix<f64>,
    /// What the uncertainty of the hyperparameters adds to that.
    more: Option<DMatrix<f64>>,
}

/// All of them.
pub(super) struct Members<'f> {
    fit: &'f Fit,
    pub rows: &'f Rows,
    pub all: Vec<Member<'f>>,
    /// Given the hyperparameters, where the fit's own covariances carry their uncertainty.
    posterior: Option<Posterior<'static>>,
}

/// A row as its forecast sees it.
pub(super) struct Seen {
    pub x: DVector<f64>,
    /// Variance of the linear predictor by the covariance of the parameters.
    pub spread: f64,
    /// Of the target given the parameters, on the scale of the predictor.
    pub noise: f64,
    /// Mean and variance of the predictor, by a forecast that leaves the row out where that is asked for; none where the row decides it.
    predictor: Option<(f64, f64)>,
}

impl<'f> Members<'f> {
    pub fn of(fit: &'f Fit, rows: &'f Rows) -> Result<Self> {
        if fit.tasks().are_estimates() {
            let problem = "the model is of estimates from elsewhere and has no targets to check; 'cognate check MODEL' without a table says what it can";
            return Err(Error::Arguments(problem.into()));
        }
        if rows.is_empty() {
            return Err(Error::Arguments("there are no rows with targets to check; give at least one".into()));
        }
        let columns = fit.tasks().design().columns();
        if rows.features().len() != columns {
            return Err(Error::Shape { what: "the features of the rows".into(), found: rows.features().len(), expected: columns });
        }
        let sums = rows.tasks(fit.tasks().design());
        let numbers: HashMap<&str, usize> = fit.tasks().names().iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
        let mut of_task = vec![Vec::new(); rows.names().len()];
        (0..rows.len()).for_each(|i| of_task[rows.task(i)].push(i));
        let mut all = Vec::new();
        for (t, own) in of_task.into_iter().enumerate().filter(|(_, own)| !own.is_empty()) {
            all.push(member(fit, (rows, &sums), t, numbers.get(rows.names()[t].as_str()).copied(), own)?);
        }
        let carries = all.iter().any(|own| own.leaves_out) && fit.intervals() == Intervals::Full;
        let posterior = if carries { Some(Posterior::owning(fit.quadratics()?, fit.prior())?) } else { None };
        Ok(Members { fit, rows, all, posterior })
    }

    pub fn origin(&self) -> Origin {
        let fitted = self.all.iter().filter(|own| own.fitted).count();
        let tasks = self.fit.tasks().len() + self.fit.alone().map_or(0, |alone| alone.tasks().len());
        match fitted {
            0 => Origin::Others,
            _ if fitted == self.all.len() && fitted == tasks => Origin::Fit,
            _ => Origin::Part,
        }
    }

    pub fn known(&self, m: usize) -> Result<Known> {
        let own = &self.all[m];
        let Some(t) = own.number else {
            let (coefficients, covariance) = own.fit.belief(&own.name, own.group)?.moments();
            return Ok(Known { coefficients, covariance, more: None });
        };
        let (coefficients, covariance) = (own.fit.fitted_coefficients(t), own.fit.fitted_covariance(t));
        match self.posterior.as_ref().filter(|_| own.leaves_out && std::ptr::eq(own.fit, self.fit)) {
            None => Ok(Known { coefficients, covariance, more: None }),
            Some(posterior) => {
                let given = posterior.covariance(t);
                Ok(Known { coefficients, more: Some(covariance - &given), covariance: given })
            }
        }
    }

    /// With q = x'Cx and the row's own Gaussian of slope g and curvature c at its predictor m, what the others say of the predictor is N(m - v g, v) with
    /// v = q / (1 - c q) (the cavity of Opper and Winther 2000; for Gaussian targets the posterior without the row).
    pub fn seen(&self, m: usize, known: &Known, i: usize) -> Result<Seen> {
        let (own, weight) = (&self.all[m], self.rows.weight(i));
        let x = own.fit.coordinates().features(self.rows.x(i));
        let (centre, spread) = (x.dot(&known.coefficients), x.dot(&(&known.covariance * &x)).max(0.0));
        let more = known.more.as_ref().map_or(0.0, |more| x.dot(&(more * &x)).max(0.0));
        let (slope, curvature, noise) = match own.fit.family_of_row((own.number, own.group))? {
            None => {
                let unit = own.fit.coordinates().target_unit(own.number);
                let noise = own.fit.noise_of_row(own.number) / weight;
                let residual = (self.rows.y(i) - self.rows.offset(i) - unit.centre) / unit.scale - centre;
                (residual / noise, 1.0 / noise, noise)
            }
            Some(family) => {
                let by_mode = own.fit.inference() == Some(Inference::Laplace);
                let (y, eta) = (self.rows.y(i), centre + self.rows.offset(i));
                let local = family.expected(y, weight, eta, if by_mode { 0.0 } else { spread.sqrt() });
                // Where the curvature of a row says little of how far its target spreads.
                let by_curvature = !family.has_unit() && local.curvature > 0.0;
                let noise = if by_curvature { 1.0 / local.curvature } else { family.variance(weight, eta) };
                (local.slope, local.curvature.max(0.0), noise)
            }
        };
        let predictor = match own.leaves_out {
            false => Some((centre, spread)),
            true => (curvature * spread < DECIDED).then(|| {
                let rest = spread / (1.0 - curvature * spread);
                (centre - rest * slope, rest + more)
            }),
        };
        Ok(Seen { x, spread, noise, predictor })
    }

    fn forecast(&self, m: usize, seen: &Seen, i: usize) -> Result<Option<Forecast>> {
        let own = &self.all[m];
        let at = |predictor| own.fit.forecast_at((own.number, own.group), predictor, (self.rows.weight(i), self.rows.offset(i)));
        seen.predictor.map(at).transpose()
    }

    /// The rows of a task in their order, those that decide their own forecast left out; `between` says where a randomised transform lies.
    pub fn judged(&self, m: usize, between: &[f64]) -> Result<Vec<Option<Judged>>> {
        const LEAST: f64 = 1e-16;
        let known = self.known(m)?;
        let of_row = |i: &usize| {
            let seen = self.seen(m, &known, *i)?;
            let Some(forecast) = self.forecast(m, &seen, *i)? else { return Ok(None) };
            let y = self.rows.y(*i);
            let refused = |problem: &str| Error::BadTarget {
                row: *i as u64 + 1,
                column: self.rows.target().into(),
                value: y,
                problem: problem.into(),
            };
            if let Some(problem) = forecast.refuses(y) {
                return Err(refused(problem));
            }
            let (mean, sd) = forecast.moments();
            let pearson = if sd > 0.0 && sd.is_finite() { (y - mean) / sd } else { 0.0 };
            if self.is_normal(m) {
                return Ok(Some(Judged { pit: Normal::standard().cdf(pearson), z: pearson, pearson }));
            }
            let (below, at) = forecast.pit(y).ok_or_else(|| refused("has no probability by its forecast; leave the row out"))?;
            let pit = below + between[*i] * (at - below);
            Ok(Some(Judged { pit, z: Normal::standard().inverse_cdf(pit.clamp(LEAST, 1.0 - LEAST)), pearson }))
        };
        self.all[m].rows.iter().map(of_row).collect()
    }

    fn is_normal(&self, m: usize) -> bool {
        self.all[m].fit.inference().is_none()
    }
}

fn member<'f>(fit: &'f Fit, (rows, sums): (&Rows, &Tasks), t: usize, number: Option<usize>, own: Vec<usize>) -> Result<Member<'f>> {
    let name = rows.names()[t].clone();
    let (fit, number) = match (number, fit.detached_task(&name)) {
        (None, Some((alone, number))) => (alone, Some(number)),
        _ => (fit, number),
    };
    let group = match (number, fit.tasks().groups().is_empty() || rows.groups().is_empty()) {
        (Some(number), true) => fit.tasks().group(number),
        (Some(number), false) => {
            let (group, named) = (fit.tasks().group(number), fit.group_of_new(sums, t)?);
            if group != named {
                let [fitted, named] = [group, named].map(|group| fit.tasks().groups()[group].clone());
                let problem = format!("task '{name}' is of the group (family) '{named}' and was fitted with '{fitted}'; correct the rows");
                return Err(Error::Arguments(problem));
            }
            group
        }
        (None, _) => fit.group_of_new(sums, t)?,
    };
    let fitted = number.is_some_and(|number| fit.tasks().has_rows_of(number, sums, t));
    let leaves_out = fitted && !fit.shares_rows() && fit.prior().mixture.is_none();
    Ok(Member { name, fit, number, group, fitted, leaves_out, rows: own })
}
