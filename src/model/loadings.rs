//! What tasks have of the factors that they share, with standard errors.

use super::Fit;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::Relatedness;
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

/// Factors that tasks share, in principal form: Lambda' D^-1 Lambda is diagonal and falls, and the largest loading of every factor is positive.
///
/// Sigma = Lambda Lambda' + diag(D) with tr Sigma = T, so that the squared loadings of a task and its uniqueness are its variance, 1 on average. Where
/// tasks have a common mean, what all loadings of a factor have in common is the mean's, and loadings are about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loadings {
    /// Lambda, a row a task and a column a factor; fewer columns than factors asked for where the data do not bear more.
    #[serde(with = "crate::linalg::record::matrix")]
    pub loadings: DMatrix<f64>,
    /// Standard errors of the loadings, infinite for a task without rows; a matrix without rows where tasks share rows.
    #[serde(with = "crate::linalg::record::matrix")]
    pub standard_errors: DMatrix<f64>,
    /// D: the variance that each task has for itself.
    #[serde(with = "crate::linalg::record::vector")]
    pub uniquenesses: DVector<f64>,
    /// Share of all variance between tasks that each factor makes, sum_t lambda_t^2 / T.
    pub shares: Vec<f64>,
}

impl Fit {
    /// Loadings of the tasks on the factors that they share; none for structures without factors.
    ///
    /// Standard errors hold K and the noise. They add up what the rows of a task leave open given the factors, the inverse of
    /// E[Z' M_t^-1 N_t Z] with Z the factors, N_t what the rows say of the task's whitened deviations and M_t = I + D_t N_t, and what the r_j directions
    /// that decide a factor leave open of its size, 1 / (2 r_j), and of its turn against another, g_j^2 / ((g_j - g_l)^2 r_j) with g the
    /// diagonal of Lambda' D^-1 Lambda (Lawley and Maxwell 1971), the gap made smaller by what chance makes of it. Factors of nearly the same g have
    /// large ones, for they can be turned into each other.
    ///
    /// ```
    /// use cognate::{Design, Factor, FeatureCovariance, Gaussian, Intervals, Mean, Model, Prior, Relatedness};
    /// use cognate::simulate::{NoiseLevel, gaussian};
    /// use nalgebra::{DMatrix, DVector};
    /// // Half of the tasks go one way, half the other.
    /// let loadings = DMatrix::from_fn(12, 1, |t, _| if t < 6 { 2.0 } else { -2.0 });
    /// let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_element(12, 1.0) };
    /// let prior = Prior::new(Mean::Given(DVector::zeros(30)), relatedness, DMatrix::identity(30, 30));
    /// let rows = gaussian(&prior, 12, 60, NoiseLevel::Sd(1.0), 1)?.rows;
    /// let tasks = rows.tasks(&Design::varying(rows.features()).without_intercept());
    /// let fit = Model::new(Gaussian::default(), Factor::new(1, FeatureCovariance::Scalar)).intervals(Intervals::PlugIn).fit(&tasks)?;
    /// let found = fit.loadings().unwrap();
    /// assert!(found.shares[0] > 0.6);
    /// assert!((0..6).all(|t| found.loadings[(t, 0)] * found.loadings[(t + 6, 0)] < 0.0));
    /// assert!(found.standard_errors.iter().all(|se| *se < 0.3));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn loadings(&self) -> Option<&Loadings> {
        self.loadings.as_ref()
    }
}

/// Mean squared sine of a turn of which nothing is known.
const ANY_TURN: f64 = 0.5;

impl Loadings {
    /// Those of a posterior's prior.
    pub(super) fn of(posterior: &Posterior) -> Option<Loadings> {
        let prior = posterior.prior();
        let (Relatedness::LowRank { loadings, uniquenesses }, None) = (&prior.relatedness, &prior.kernel) else { return None };
        let (tasks, k) = loadings.shape();
        let shares: Vec<f64> = loadings.column_iter().map(|own| own.norm_squared() / tasks as f64).collect();
        let strengths: Vec<f64> =
            (0..k).map(|j| (0..tasks).map(|t| loadings[(t, j)].powi(2) / uniquenesses[t].max(f64::MIN_POSITIVE)).sum()).collect();
        let standard_errors = match posterior.related().factor_knowledge() {
            None => DMatrix::zeros(0, k),
            Some((directions, of_tasks)) => {
                let mut errors = DMatrix::zeros(tasks, k);
                for (t, information) in of_tasks.iter().enumerate() {
                    let own = linalg::cholesky(information.clone()).map(|root| linalg::inverse_of_cholesky(&root));
                    for j in 0..k {
                        let loading = loadings[(t, j)];
                        let of_size = |l: usize| (loading * (f64::from(l == j) - shares[l])).powi(2) / (2.0 * directions[l]);
                        let of_turn = |l: usize| {
                            if l == j {
                                return 0.0;
                            }
                            // Chance alone drives two g apart: their squared gap is too large by about 2 (g_j + g_l)^2 / r.
                            let (own, other, r) = (strengths[j], strengths[l], directions[l].min(directions[j]));
                            let apart = ((own - other).powi(2) - 2.0 * (own + other).powi(2) / r).max(0.0);
                            let turn = (own * own / (apart * r)).min(ANY_TURN);
                            loadings[(t, l)].powi(2) * turn + (loading * turn).powi(2)
                        };
                        let variance = own.as_ref().map_or(f64::INFINITY, |own| own[(j, j)]);
                        errors[(t, j)] = (variance + (0..k).map(|l| of_size(l) + of_turn(l)).sum::<f64>()).sqrt();
                    }
                }
                errors
            }
        };
        Some(Loadings { loadings: loadings.clone(), standard_errors, uniquenesses: uniquenesses.clone(), shares })
    }
}
