//! What one prediction is made of: the task's own rows, its neighbours, and the mean.

use super::{Audit, Said};
use crate::error::{Error, Result};
use nalgebra::DVector;
use serde::Serialize;

/// A prediction in parts that add up to it. With w_t = mean + u_t, E(w_t) = mean + sum_s D_ts (h_s - J_s mean), D_ts = Cov(u_t, u_s | mean): what the rows of task
/// s say beyond the mean, as far as it concerns task t. In the target's units, of a family on the scale of its linear predictor.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The task.
    pub task: String,
    /// x' E(w_t), and the offset.
    pub prediction: f64,
    /// What the row has beside x' w_t ([`Explanation::with_offset`]), as the logarithm of an exposure.
    pub offset: f64,
    /// What the mean of the task's group says, x' mean.
    pub mean: f64,
    /// What the task's own rows add, and of targets in units of their own their level; with free features all that these say.
    pub own: f64,
    /// What all other tasks add beside the mean.
    pub neighbours: f64,
    /// Each of them, the largest by size first.
    pub parts: Vec<Part>,
    /// How the mean is made: the weight of every task in it, tr(V M_s' J_s) over the mean features divided by their number (V the covariance of the mean, M_s how
    /// E(w_s) moves with it), the largest first. They add to 1 for a flat mean; none for a given one.
    pub mean_weights: Vec<Part>,
    /// As many equal tasks as make the mean, (sum |a|)^2 / sum a^2.
    pub mean_effective_tasks: f64,
}

/// What is one task's of a prediction or of the mean.
#[derive(Clone, Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub task: String,
    /// How much it adds, or its weight.
    pub value: f64,
}

impl Explanation {
    /// The same for a row with an offset.
    pub fn with_offset(self, offset: f64) -> Self {
        Explanation { prediction: self.prediction + offset, offset: self.offset + offset, ..self }
    }
}

impl Audit<'_> {
    /// What the prediction of a task at the features `x` (the intercept left out, as in [`Fit::predict`](crate::Fit::predict)) is made of. As much as
    /// [`Audit::donors`].
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of features, [`Error::Arguments`] where tasks share some rows and not others, for there nobody knows which target
    /// said what, and what [`Audit::donors`] refuses.
    ///
    /// ```
    /// # use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, audit::Audit};
    /// # let mut rows = Rows::new("growth", &["light"]);
    /// # for i in 0..90 {
    /// #     let (field, light) = (i % 6, f64::from(i % 9) / 4.0);
    /// #     let growth = 2.0 + 0.3 * f64::from(field % 4) + light + f64::from((i * 5 + field) % 7) * 0.1;
    /// #     rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
    /// # }
    /// # let tasks = rows.tasks(&Design::varying(rows.features()));
    /// # let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// let parts = Audit::of(&fit)?.explain(2, &[1.5])?;
    /// assert!((parts.mean + parts.own + parts.neighbours - parts.prediction).abs() < 1e-9);
    /// assert!((parts.prediction - fit.predict("field 2", &[1.5], 0.9)?.mean).abs() < 1e-9);
    /// // Exchangeable tasks tell each other nothing but through the mean.
    /// assert!(parts.neighbours == 0.0 && parts.mean_effective_tasks > 5.0);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn explain(&self, task: usize, x: &[f64]) -> Result<Explanation> {
        let coordinates = self.fit.coordinates();
        if x.len() != coordinates.centre.len() {
            let what = format!("a row of task '{}'", self.name(task));
            return Err(Error::Shape { what, found: x.len(), expected: coordinates.centre.len() });
        }
        let said = self.said();
        if matches!(said, Said::Partial(_)) {
            let problem = "tasks share some of their rows and not others, so that nobody knows which target of a row said what; keep the rows of which every \
                           task has a target to see what a prediction is made of";
            return Err(Error::Arguments(problem.into()));
        }
        let posterior = &self.posterior;
        let own_units = self.fit.tasks().has_own_units();
        let z = self.fitted_row(task, x);
        let (centre, scale) = (self.centre(task), self.scale(task));
        let influence = posterior.influence(task)?;
        let mut added = said.each(self.tasks(), &|s| influence.given_mean(s), &|s, weights, pull| {
            let pull = pull.expect("rows are those of a task");
            scale * z.dot(&(pull - weights * posterior.prior_mean(s)))
        });
        let own = std::mem::take(&mut added[task]) + if own_units { centre } else { 0.0 };
        let mean = scale * z.dot(&posterior.prior_mean(task)) + if own_units { 0.0 } else { centre };
        let mean_weights = self.mean_weights(task, &said);
        let parts = self.sorted(added, mean.abs() + own.abs());
        let squares: f64 = mean_weights.iter().map(|own| own.value.powi(2)).sum();
        let sum: f64 = mean_weights.iter().map(|own| own.value.abs()).sum();
        Ok(Explanation {
            task: self.name(task),
            offset: 0.0,
            prediction: centre + scale * z.dot(&posterior.coefficients(task)),
            mean,
            own,
            neighbours: parts.iter().map(|part| part.value).sum(),
            parts,
            mean_weights,
            mean_effective_tasks: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        })
    }

    /// A row in fitted coordinates.
    pub(super) fn fitted_row(&self, task: usize, x: &[f64]) -> DVector<f64> {
        let coordinates = self.fit.coordinates();
        let mut z = coordinates.features(x);
        if let Some((means, _)) = self.fit.tasks().left_intercept(task, coordinates) {
            // The intercept is the target's mean less what the features explain there.
            z -= means;
            z[0] = 0.0;
        }
        z
    }

    /// [`Audit::explain`] at the mean of the features over a task's rows; none for a task without rows.
    ///
    /// # Errors
    /// As [`Audit::explain`].
    pub fn explain_average(&self, task: usize) -> Result<Option<Explanation>> {
        self.fit.tasks().average_row(task).map(|x| self.explain(task, &x)).transpose()
    }

    /// The weight of every task in the mean of a task's group.
    fn mean_weights(&self, task: usize, said: &Said) -> Vec<Part> {
        let (posterior, own) = (&self.posterior, self.posterior.mean_of_task(task));
        let size = self.fit.prior().mean_features.len();
        if size == 0 {
            return Vec::new();
        }
        let spread = own * posterior.spread_of_mean();
        let weight = |_: usize, weights: nalgebra::DMatrix<f64>, _: Option<DVector<f64>>| weights.trace() / size as f64;
        self.sorted(said.each(self.tasks(), &|s| &spread * posterior.parameters_by_mean(s).transpose(), &weight), 0.0)
    }

    /// With their names, the largest first, without those that are nothing but rounding beside the largest and what else there is.
    fn sorted(&self, values: Vec<f64>, beside: f64) -> Vec<Part> {
        let largest = values.iter().fold(beside, |most: f64, value| most.max(value.abs()));
        let kept = values.into_iter().enumerate().filter(|(_, value)| value.abs() > 1e-13 * largest);
        let mut parts: Vec<Part> = kept.map(|(s, value)| Part { task: self.name(s), value }).collect();
        parts.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
        parts
    }
}
