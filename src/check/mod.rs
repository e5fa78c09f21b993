//! Whether a fit can be believed: its forecasts against rows that came, replicated data, tasks that do not fit, and what is singular in it.
//!
//! Rows that were fitted are judged by forecasts that leave each of them out, so that a check in the sample is no kinder than one out of it where that is possible
//! ([`Check::left_out`]).

mod deviations;
mod influence;
mod members;
mod one_step;
mod pit;
mod replicated;
mod residuals;
mod singular;

pub use deviations::{Outlying, OutlyingTask};
pub use influence::{Influence, Method, TaskInfluence};
pub use pit::{Coverage, Pit};
pub use replicated::{Of, Quantity};
pub use residuals::TaskResiduals;
pub use singular::{Kind, Singularity};

use crate::error::{Error, Result};
use crate::model::Fit;
use crate::tasks::Rows;
use members::Members;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// False discovery rate at which tasks are said not to fit.
pub const RATE: f64 = 0.05;

/// Whose rows they are, as the sums that the fit kept tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// All of them are rows of the fit, and all of its rows are there.
    Fit,
    /// Of some tasks they are the rows of the fit.
    Part,
    /// Of no task: held out, or a part of the rows of the fit, which sums do not tell.
    Others,
}

/// What rows with targets say of a fit.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Rows that were judged.
    pub rows: usize,
    /// Rows that were not, for they decide their own forecast.
    pub unjudged: usize,
    /// Tasks of the rows.
    pub count: usize,
    /// Those that the fit has not seen.
    pub new_tasks: usize,
    /// Whose rows they are.
    pub origin: Origin,
    /// Whether rows of the fit were judged by forecasts that leave them out: given the hyperparameters, exactly for Gaussian targets and otherwise by the Gaussian in
    /// the place of the rest. Where they were not (shared rows, clusters), a check in the sample sees too little.
    pub left_out: bool,
    /// Calibration over all rows.
    pub pit: Pit,
    /// Quantities of observed and replicated data; none where no draws were asked for, and where rows that tasks share have correlated errors.
    pub replicated: Option<Vec<Quantity>>,
    /// Task by task, those that fit worst first.
    pub tasks: Vec<TaskResiduals>,
}

impl Check {
    /// How many tasks do not fit, at a false discovery rate of [`RATE`].
    pub fn misfits(&self) -> usize {
        self.tasks.iter().filter(|own| own.q_value.is_some_and(|q| q <= RATE)).count()
    }
}

/// What a fit says of itself.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// What is singular in it.
    pub singularities: Vec<Singularity>,
    /// How tasks deviate; none where that means nothing.
    pub outlying: Option<Outlying>,
    /// What single tasks do to the estimates; none where it is not worked out.
    pub influence: Option<Influence>,
    /// Why parts are not there.
    pub notes: Vec<String>,
}

/// What is known of one row, once its target has come.
#[derive(Clone, Copy, Debug)]
struct Judged {
    /// P(Y <= y), randomised where Y may be y.
    pit: f64,
    /// Its normal score.
    z: f64,
    /// Target less forecast over the forecast's standard deviation.
    pearson: f64,
}

impl Fit {
    /// Checks forecasts of rows whose targets are known: calibration (probability integral transforms, randomised for counts, shares and levels; Czado, Gneiting and Held
    /// 2009), residuals by task, and `draws` replications of the rows (200 do; 0 for none). Tasks that the fit has not seen are forecast from the prior. The same for
    /// the same seed, whatever the thread count. O(n d^2), and for each draw O(n d) and one of all parameters.
    ///
    /// Replications at parameters that have seen the targets look more like these than they should: for rows of the fit p-values of targets and residuals are
    /// conservative.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut rows = Rows::new("growth", &["light"]);
    /// for i in 0..120 {
    ///     let (field, light) = (i % 8, f64::from(i / 8) / 4.0);
    ///     // In field 7 growth is the same every other day.
    ///     let noise = if field == 7 { 4.0 * f64::from(i / 8 % 2) } else { f64::from((i * 5 + field) % 7) * 0.1 };
    ///     rows.push(&format!("field {field}"), &[light], f64::from(field % 4) + light + noise, 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let check = fit.check(&rows, 50, 1)?;
    /// assert_eq!((check.rows, check.origin), (120, cognate::check::Origin::Fit));
    /// assert!(check.tasks[0].task == "field 7" && check.tasks[0].spread.unwrap() > 2.0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] without rows, for a fit of estimates from elsewhere and for a task in a group (family) other than at the fit; [`Error::BadTarget`] for a
    /// target that cannot occur; [`Error::Shape`] for rows of other features; [`Error::UnknownTask`] for a new task where the structure has no prior for it.
    pub fn check(&self, rows: &Rows, draws: usize, seed: u64) -> Result<Check> {
        let members = Members::of(self, rows)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let between: Vec<f64> = (0..rows.len()).map(|_| random.random()).collect();
        let judged: Vec<Vec<Option<Judged>>> =
            (0..members.all.len()).into_par_iter().map(|m| members.judged(m, &between)).collect::<Result<_>>()?;
        let flat: Vec<(usize, Judged)> =
            judged.iter().enumerate().flat_map(|(m, own)| own.iter().flatten().map(move |row| (m, *row))).collect();
        if flat.is_empty() {
            return Err(Error::Arguments(
                "every row decides its own forecast, so that nothing can be checked; give rows that were held out".into(),
            ));
        }
        let tasks = residuals::of(&members, &judged)?;
        Ok(Check {
            rows: flat.len(),
            unjudged: rows.len() - flat.len(),
            count: members.all.len(),
            new_tasks: members.all.iter().filter(|own| own.number.is_none()).count(),
            origin: members.origin(),
            left_out: members.all.iter().any(|own| own.leaves_out),
            pit: Pit::of(&flat),
            replicated: replicated::of(self, &members, draws, seed)?,
            tasks,
        })
    }

    /// What the fit alone tells: [`Fit::singularities`], [`Fit::outlying_tasks`] and [`Fit::influence`] by the best method that it has. Parts that mean nothing for the
    /// fit, or cannot be worked out, are left out, and [`Examination::notes`] say why.
    pub fn examination(&self, seed: u64) -> Examination {
        let mut notes = Vec::new();
        let mut note = |problem: Error| notes.push(problem.to_string());
        let outlying = self.outlying_tasks(seed).map_err(&mut note).ok();
        let influence = self.influence_method().and_then(|method| self.influence(method)).map_err(&mut note).ok();
        Examination { singularities: self.singularities(), outlying, influence, notes }
    }
}
