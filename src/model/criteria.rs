//! What a fit's likelihood is worth: the exact evidence where it was asked for, and the criteria that weigh it against parameters.

use super::warnings::first_five;
use super::{Fit, LikelihoodKind, Model};
use crate::error::Result;
use crate::likelihood::Evidence;
use crate::tasks::Tasks;

impl Model {
    /// Refuses before the work an integral that would be over too much after it, unless every variance between tasks is 0 then.
    pub(super) fn check_evidence(&self, tasks: &Tasks, mean_features: usize) -> Result<()> {
        let integrated = self.restricted || (self.structure.relates() && self.structure.name() != "known");
        if !self.exact_evidence || !self.needs_rows() || !self.structure.has_marginal() || !integrated || mean_features == 0 {
            return Ok(());
        }
        Evidence::check_size(mean_features + tasks.len())
    }
}

impl Fit {
    /// The exact log-likelihood in the target's units, of [`Fit::log_likelihood_kind`], and how well the Gaussian stands for each task's
    /// posterior, where [`Model::exact_evidence`] asked for it.
    ///
    /// It is that at the parameters of the fit, which maximise the bound or Laplace's approximation: the maximum of the exact one is higher.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// Akaike's criterion, -2 log-likelihood + 2 parameters, by the exact log-likelihood where there is one ([`Fit::evidence`]); none where
    /// coefficients were shrunk but not integrated, and where the log-likelihood is an estimate along a graph too large to factor.
    pub fn aic(&self) -> Option<f64> {
        self.has_criteria().then(|| -2.0 * self.judged() + 2.0 * self.parameters as f64)
    }

    /// Schwarz's criterion, -2 log-likelihood + log(rows) parameters; by the same log-likelihood and none as for [`Fit::aic`].
    pub fn bic(&self) -> Option<f64> {
        let rows = (self.tasks.rows() as f64).ln();
        self.has_criteria().then(|| -2.0 * self.judged() + rows * self.parameters as f64)
    }

    fn judged(&self) -> f64 {
        self.evidence.as_ref().map_or(self.log_likelihood, |evidence| evidence.log_likelihood)
    }

    fn has_criteria(&self) -> bool {
        self.structure != "independent" && self.log_likelihood_error == 0.0
    }

    /// Keeps the evidence, found in fitted units as the log-likelihood `found` was, and says where the Gaussian stands badly.
    pub(super) fn add_evidence(&mut self, evidence: Evidence, found: f64) {
        if self.log_likelihood_kind == LikelihoodKind::Maximised {
            return;
        }
        let worrying: Vec<&str> = evidence.worrying().map(|t| self.tasks.names()[t].as_str()).collect();
        if !worrying.is_empty() {
            let doubt = if evidence.sampled { " and the exact log-likelihood may be off by more than its standard error" } else { "" };
            self.warnings.push(format!(
                "Pareto k-hat is above 0.7, so that the Gaussian in the place of the posterior is a poor one{doubt}, in: {}",
                first_five(&worrying)
            ));
        }
        let log_likelihood = self.log_likelihood + (evidence.log_likelihood - found);
        self.evidence = Some(Evidence { log_likelihood, ..evidence });
    }

    /// Whether the evidence is of these tasks and all its numbers are numbers.
    pub(super) fn evidence_is_consistent(&self) -> bool {
        self.evidence.as_ref().is_none_or(|own| {
            let numbers = [own.log_likelihood, own.standard_error];
            (own.pareto_k.is_empty() || own.pareto_k.len() == self.tasks.len())
                && numbers.iter().chain(&own.pareto_k).all(|number| !number.is_nan())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::likelihood::Gaussian;
    use crate::structure::{Exchangeable, FeatureCovariance};
    use crate::tasks::{Design, Rows};

    /// Six tasks and their evidence beside a log-likelihood of -3 in fitted units.
    fn fit_with(sampled: bool, pareto_k: Vec<f64>) -> Fit {
        let mut rows = Rows::new("y", &["x"]);
        for i in 0..60 {
            let (t, x) = (i % 6, f64::from(i * 7 % 11));
            rows.push(&format!("t{t}"), &[x], f64::from(t % 3) + 0.2 * x + f64::from(i * 5 % 4), 1.0).unwrap();
        }
        let tasks = rows.tasks(&Design::varying(rows.features()));
        let mut fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
        fit.add_evidence(Evidence { log_likelihood: -2.5, standard_error: 0.0, sampled, pareto_k }, -3.0);
        fit
    }

    #[test]
    fn tasks_with_a_poor_gaussian_are_named() {
        let before = fit_with(false, vec![0.1, 0.69, -1.5, 0.0, 0.2, f64::NEG_INFINITY]);
        assert!(!before.warnings().iter().any(|warning| warning.contains("k-hat")));
        assert!((before.evidence().unwrap().log_likelihood - before.log_likelihood() - 0.5).abs() < 1e-12);
        assert!((before.aic().unwrap() + 2.0 * before.log_likelihood() + 1.0 - 2.0 * before.parameters() as f64).abs() < 1e-9);
        let named = |fit: &Fit| fit.warnings().iter().find(|warning| warning.contains("k-hat is above 0.7")).cloned().unwrap();
        let two = named(&fit_with(false, vec![0.1, 0.71, -1.5, 0.0, f64::INFINITY, 0.7]));
        assert!(two.ends_with("is a poor one, in: t1, t4"), "{two}");
        let all = named(&fit_with(true, vec![0.9; 6]));
        assert!(all.ends_with("off by more than its standard error, in: t0, t1, t2, t3, t4 and 1 more"), "{all}");
        assert!(all.contains("Pareto"));
    }

    #[test]
    fn evidence_of_other_tasks_is_inconsistent() {
        assert!(fit_with(false, Vec::new()).is_consistent() && fit_with(false, vec![0.1; 6]).is_consistent());
        assert!(!fit_with(false, vec![0.1; 5]).is_consistent() && !fit_with(false, vec![f64::NAN; 6]).is_consistent());
    }
}
