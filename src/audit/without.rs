//! A task's parameters as they would be without the rows of one task.

use super::Audit;
use crate::error::{Error, Result};
use crate::linalg;
use crate::posterior::Posterior;
use crate::quadratic::{Quadratic, Quadratics};
use nalgebra::{DMatrix, DVector};

/// Share of a direction that all but the donor decides, where it is nothing but rounding, and where few digits of it are left.
const NONE_LEFT: f64 = 1e-6;
const FEW_LEFT: f64 = 1e-3;
/// How many times its standard deviation a task may move by a unit of such a direction before it is asked for by an E-step.
const FAR: f64 = 100.0;

impl Audit<'_> {
    /// The parameters of a task and their covariance without the rows of a donor (or its own), at the same hyperparameters and in the table's units:
    /// m_t - C_ts (I - J_s C_ss)^-1 (h_s - J_s m_s) and C_tt + C_ts (I - J_s C_ss)^-1 J_s C_st, C the joint posterior covariance. O(d^3) beside
    /// [`Audit::donors`]; an E-step where the rows of the donor decide nearly all of a direction that concerns the task.
    ///
    /// # Errors
    /// [`Error::Arguments`] where tasks share rows, for then those of the others say something else without it, and what [`Posterior::given`] refuses, as
    /// where nothing else decides the parameters.
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
    /// let audit = Audit::of(&fit)?;
    /// let (with, without) = (audit.without(2, 3)?.1, audit.without(2, 2)?.1);
    /// assert!(without[(0, 0)] > with[(0, 0)], "its own rows tell most of it");
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn without(&self, task: usize, donor: usize) -> Result<(DVector<f64>, DMatrix<f64>)> {
        if self.shares_rows() {
            let problem = "what a task would be without another is not known where tasks share rows: without the targets of one task those of the others on the \
                           same rows say something else; leave its column out and fit again";
            return Err(Error::Arguments(problem.into()));
        }
        let influence = self.posterior.influence(task)?;
        let (whole, between) = (influence.with(task), influence.with(donor));
        let (mean, covariance) = self.less((task, donor), (&whole, &between), &self.posterior.exact_covariance(donor)?)?;
        Ok((self.coefficients(task, &mean), self.covariance(task, &covariance)))
    }

    /// In fitted coordinates, from C_tt, C_ts and C_ss.
    pub(super) fn less(
        &self,
        (task, donor): (usize, usize),
        (whole, between): (&DMatrix<f64>, &DMatrix<f64>),
        own: &DMatrix<f64>,
    ) -> Result<(DVector<f64>, DMatrix<f64>)> {
        let said = self.posterior.quadratics().task(donor);
        let residual = said.linear - &said.curvature * self.posterior.coefficients(donor);
        let (root, _) = linalg::pivoted_root(&said.curvature);
        // With J = B B', (I - J C)^-1 J = B (I - B' C B)^-1 B'.
        let seen = root.tr_mul(&(own * &root));
        let mut left = DMatrix::identity(seen.nrows(), seen.ncols()) - seen;
        linalg::symmetrise(&mut left);
        let (values, vectors) = linalg::symmetric_eigen(&left);
        let along = between * &root * &vectors;
        let size = whole.diagonal().amax().sqrt();
        // A direction that nothing but the donor decides, and that does not concern the task.
        let idle = |k: usize| values[k] < NONE_LEFT && along.column(k).amax() <= 1e-9 * size;
        let unsure = |k: usize| values[k] < FEW_LEFT && !idle(k) && along.column(k).amax() > FAR * size * values[k];
        if (0..values.len()).any(unsure) {
            return self.less_anew(task, donor);
        }
        let inverse = DVector::from_fn(values.len(), |k, _| if idle(k) { 0.0 } else { 1.0 / values[k] });
        let scaled = &along * DMatrix::from_diagonal(&inverse);
        let covariance = whole + &scaled * along.transpose();
        // (I - J C)^-1 = I + B (I - B' C B)^-1 B' C.
        let moved = between * &residual + scaled * vectors.tr_mul(&root.tr_mul(&(own * &residual)));
        Ok((self.posterior.coefficients(task) - moved, covariance))
    }

    /// By an E-step without those rows.
    fn less_anew(&self, task: usize, donor: usize) -> Result<(DVector<f64>, DMatrix<f64>)> {
        let all = self.posterior.quadratics();
        let nothing = |quadratic: Quadratic| Quadratic {
            constant: 0.0,
            linear: DVector::zeros(quadratic.linear.len()),
            curvature: DMatrix::zeros(quadratic.linear.len(), quadratic.linear.len()),
        };
        let rest: Vec<Quadratic> = (0..all.len()).map(|s| if s == donor { nothing(all.task(s)) } else { all.task(s) }).collect();
        let posterior = Posterior::owning(Quadratics::new(&rest)?, self.fit.prior()).map_err(|error| {
            let (task, donor) = (self.name(task), self.name(donor));
            Error::Arguments(format!(
                "without the rows of task '{donor}' the parameters of '{task}' are not decided ({error}); ask without another"
            ))
        })?;
        Ok((posterior.coefficients(task), posterior.exact_covariance(task)?))
    }
}
