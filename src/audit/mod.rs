//! Who taught whom: what each task's rows have to do with another's parameters, exactly, at the fitted hyperparameters.
//!
//! The posterior mean of a task is a linear combination of what all tasks say, E(w_t) = sum_s W_ts b_s with W_ts = Cov(w_t, w_s) J_s, b_s the
//! least-squares estimate of task s by itself and J_s its information (Robinson 1991; of a family at the fitted Gaussian in the place of its rows). With a
//! flat mean the weights add to the identity, so that a task has exactly as much from others as it lacks itself.

mod donors;
mod explanation;
mod lesson;
mod overview;
mod said;
mod value;
mod without;

pub use donors::{Donor, Donors};
pub use explanation::{Explanation, Part};
pub use lesson::{Given, Lesson};
pub use overview::{Overview, Summary};
pub use value::{Allocation, Gain, Value};

use crate::error::{Error, Result};
use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use said::Said;

/// Tasks of one unit of parallel work; fixed, so that sums do not depend on the thread count.
const CHUNK: usize = 64;

/// A fit asked who taught whom. Everything is given the fitted hyperparameters (variances, relatedness, noise), also where the fit's own intervals carry their
/// uncertainty.
///
/// ```
/// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, audit::Audit};
/// let mut rows = Rows::new("growth", &["light"]);
/// for i in 0..90 {
///     // Field 0 has few rows.
///     let (field, light) = (if i < 4 { 0 } else { 1 + i % 5 }, f64::from(i % 9) / 4.0);
///     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
///     rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
/// let audit = Audit::of(&fit)?;
/// let donors = audit.donors(0)?;
/// let all = donors.own + donors.donors.iter().map(|donor| donor.weight).sum::<f64>();
/// assert!((all - 1.0).abs() < 1e-9 && donors.effective_donors > 3.0);
/// assert!(donors.own < audit.donors(1)?.own);
/// # Ok::<(), cognate::Error>(())
/// ```
pub struct Audit<'f> {
    fit: &'f Fit,
    posterior: Posterior<'static>,
    /// Sums of x x' over the rows of each task, in fitted coordinates.
    rows: Quadratics,
    /// How many features the rows tell apart.
    features: usize,
}

impl<'f> Audit<'f> {
    /// Makes the posterior again from what the fit kept: as much as an E-step.
    ///
    /// # Errors
    /// [`Error::Arguments`] for unknown clusters, where the parameters depend on who is thought to be of which cluster and so are no linear combination, and
    /// what [`Posterior::given`] refuses.
    pub fn of(fit: &'f Fit) -> Result<Self> {
        if fit.prior().mixture.is_some() {
            let problem = "of unknown clusters a task's parameters depend on which cluster it is thought to be of, so that they are no linear combination of \
                           what the tasks say; fit with --structure exchangeable, factor or full to ask who taught whom";
            return Err(Error::Arguments(problem.into()));
        }
        let posterior = Posterior::owning(fit.quadratics()?, fit.prior())?;
        let said = posterior.quadratics();
        let nothing = DMatrix::zeros(said.features(), said.features());
        let total = (0..said.len()).fold(nothing, |sum, t| sum + said.task(t).curvature);
        let prior = fit.prior();
        let known = |f: &usize| [&prior.mean_features, &prior.varying, &prior.free].iter().any(|part| part.contains(f));
        let known: Vec<usize> = (0..said.features()).filter(known).collect();
        let features = linalg::independent_columns(&total.select_rows(&known).select_columns(&known)).len();
        Ok(Audit { fit, posterior, rows: fit.tasks().quadratics(fit.coordinates()), features })
    }

    /// The fit that is asked.
    pub fn fit(&self) -> &Fit {
        self.fit
    }

    /// The number of a task.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a name that the fit does not have, with the nearest that it has.
    pub fn task(&self, name: &str) -> Result<usize> {
        self.fit.check_attached(name)?;
        self.fit.task_number(name).ok_or_else(|| Error::no_such_task(name, self.fit.tasks().names()))
    }

    /// Whether tasks are unrelated given what they share, so that donors of one are found in one look at the others.
    pub(crate) fn shares_directly(&self) -> bool {
        self.posterior.shared_covariance().is_some()
    }

    /// Whether the system of related tasks is factored, so that donors of one are a column of it.
    pub(crate) fn is_factored(&self) -> bool {
        self.posterior.is_factored()
    }

    fn name(&self, task: usize) -> String {
        self.fit.tasks().names()[task].clone()
    }

    fn tasks(&self) -> usize {
        self.fit.tasks().len()
    }

    fn said(&self) -> Said<'_> {
        Said::of(&self.posterior)
    }

    /// The mean of x x' over the rows of a task, in fitted coordinates; over all rows for a task without. None of estimates from elsewhere.
    fn moment(&self, task: usize) -> Option<DMatrix<f64>> {
        let tasks = self.fit.tasks();
        if tasks.are_estimates() {
            return None;
        }
        let weight = |t: usize| tasks.statistics(t).cross(0, 0);
        if weight(task) > 0.0 {
            return Some(self.rows.task(task).curvature / weight(task));
        }
        let p = self.rows.features();
        let (mut all, mut total) = (DMatrix::zeros(p, p), 0.0);
        for t in 0..self.tasks() {
            all += self.rows.task(t).curvature;
            total += weight(t);
        }
        Some(all / total)
    }

    /// A with w = A (fitted w) + the target's centre on the intercept; of targets in units of their own the intercept is what is left at the mean of a task's rows.
    fn to_table(&self, task: usize) -> DMatrix<f64> {
        let coordinates = self.fit.coordinates();
        let map = coordinates.of_task(task).to_original();
        match self.fit.tasks().left_intercept(task, coordinates) {
            None => map,
            Some((means, _)) => {
                let mut left = DMatrix::identity(map.nrows(), map.nrows());
                left.row_mut(0).copy_from(&(-means).transpose());
                left[(0, 0)] = 1.0;
                map * left
            }
        }
    }

    /// Fitted parameters in the table's units.
    fn coefficients(&self, task: usize, fitted: &DVector<f64>) -> DVector<f64> {
        let mut own = self.to_table(task) * fitted;
        if self.fit.tasks().design().has_intercept() {
            own[0] += self.centre(task);
        }
        own
    }

    /// Covariances of fitted parameters in the table's units.
    fn covariance(&self, task: usize, fitted: &DMatrix<f64>) -> DMatrix<f64> {
        let map = self.to_table(task);
        let mut own = &map * fitted * map.transpose();
        own[(0, 0)] += self.level_variance(task).unwrap_or(0.0);
        own
    }

    /// The variance of the level of a target in a unit of its own, which no prior knows of.
    fn level_variance(&self, task: usize) -> Option<f64> {
        let left = self.fit.tasks().left_intercept(task, self.fit.coordinates()).filter(|_| !self.fit.prior().free.contains(&0));
        left.map(|(_, weight)| self.fit.noise_variance(task) / weight)
    }

    /// Where the target of a task lies in the fitted coordinates, and how large a unit of these is.
    fn centre(&self, task: usize) -> f64 {
        self.fit.coordinates().of_task(task).target_centre
    }

    fn scale(&self, task: usize) -> f64 {
        self.fit.coordinates().of_task(task).target_scale
    }

    /// Whether a row may be of several tasks, with errors that are correlated.
    fn shares_rows(&self) -> bool {
        !matches!(self.said(), Said::Each(_))
    }
}
