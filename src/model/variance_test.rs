//! Whether a feature varies between tasks: a likelihood-ratio test on the boundary of the variances.

use super::Fit;
use crate::error::{Error, Result};
use crate::prior::Relatedness;
use crate::structure::FeatureCovariance;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// The test that the variance between tasks of a feature, and its covariances, are 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VarianceTest {
    /// The feature.
    pub feature: String,
    /// Twice the difference of the log-likelihoods.
    pub statistic: f64,
    /// How many parameters of K the null hypothesis leaves out: k of the mixture of chi-squared distributions with k - 1 and k degrees of freedom.
    pub parameters: usize,
    /// Its probability of a larger statistic under the null hypothesis.
    pub p_value: f64,
}

impl Fit {
    /// Tests this fit against `without`, the same in which one feature less varies: the statistic is about half of the time chi-squared with k - 1
    /// and half of the time with k degrees of freedom, since a variance cannot be negative (Self and Liang 1987; Stram and Lee 1994). k is 1 for a
    /// diagonal K and the number of features that vary together for a full one. With variational inference the log-likelihoods are bounds.
    /// That the intercept does not vary is meant where features are centred, if they are.
    ///
    /// ```
    /// use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
    /// let mut rows = Rows::new("y", &["x"]);
    /// for i in 0..60 {
    ///     let (t, x) = (i % 6, (i / 6) as f64);
    ///     rows.push(&format!("task {t}"), &[x], (t * t) as f64 + 0.5 * x + (i * 7 % 4) as f64, 1.0)?;
    /// }
    /// let design = Design::varying(rows.features());
    /// let fit = |varies: fn(&str) -> bool| {
    ///     let tasks = rows.tasks(&design.clone().with_varying(varies));
    ///     Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Full)).fit(&tasks)
    /// };
    /// let full = fit(|_| true)?;
    /// assert!(full.variance_test(&fit(|name| name == "(Intercept)")?)?.p_value > 0.5);
    /// assert!(full.variance_test(&fit(|name| name == "x")?)?.p_value < 0.001);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] where the two do not differ in one varying feature alone, for a learned relatedness, and for a scalar K of several features, which has no
    /// variance of each.
    pub fn variance_test(&self, without: &Fit) -> Result<VarianceTest> {
        let refused = |problem: &str| Err(Error::Arguments(problem.into()));
        let (ours, theirs) = (&self.prior.varying, &without.prior.varying);
        let removed: Vec<usize> = ours.iter().copied().filter(|feature| !theirs.contains(feature)).collect();
        let alike = self.family == without.family
            && self.inference == without.inference
            && self.structure == without.structure
            && self.feature_covariance_kind == without.feature_covariance_kind
            && self.log_likelihood_kind == without.log_likelihood_kind
            && self.dispersion.values.len() == without.dispersion.values.len()
            && self.tasks.names() == without.tasks.names()
            && self.tasks.rows() == without.tasks.rows()
            && self.tasks.design().features() == without.tasks.design().features()
            && self.prior.mean_features == without.prior.mean_features;
        let ([feature], true, true) = (&removed[..], theirs.len() + 1 == ours.len(), alike) else {
            return refused(
                "a variance is tested against a fit to the same tasks by the same model in which that feature alone does not vary",
            );
        };
        let is_plain = self.prior.mixture.is_none() && self.prior.task_scales.is_none();
        if !is_plain || self.learns_relatedness() || matches!(self.prior.relatedness, Relatedness::Zero | Relatedness::Diagonal(_)) {
            return refused(
                "variances are tested where tasks are exchangeable or their relatedness is known, without scales of their own; use --structure exchangeable",
            );
        }
        let together = ours.iter().filter(|other| self.prior.unrelated.contains(other) == self.prior.unrelated.contains(feature)).count();
        let parameters = match self.feature_covariance_kind {
            Some(FeatureCovariance::Full) => together,
            Some(FeatureCovariance::Scalar) if together > 1 => {
                return refused("a scalar feature covariance has one variance for all features; test with --feature-covariance diagonal");
            }
            _ => 1,
        };
        let statistic = (2.0 * (self.log_likelihood - without.log_likelihood)).max(0.0);
        let p_value = 0.5 * (beyond(statistic, parameters - 1)? + beyond(statistic, parameters)?);
        Ok(VarianceTest { feature: self.tasks.design().features()[*feature].clone(), statistic, parameters, p_value })
    }
}

/// P(chi-squared >= x), with 0 degrees of freedom all at 0.
fn beyond(x: f64, freedom: usize) -> Result<f64> {
    if x <= 0.0 || freedom == 0 {
        return Ok(f64::from(x <= 0.0));
    }
    let chi = ChiSquared::new(freedom as f64).map_err(|error| Error::Arguments(error.to_string()))?;
    Ok(chi.sf(x))
}
