//! What a reader should know before trusting the figures of a fit.

use super::{Fit, LikelihoodKind};
use crate::likelihood::{Approximation, Observations};

/// Share of the prior in a coefficient of the common mean from which on a warning names it.
const NAMED: f64 = 0.05;

/// Tasks from which on false discovery rates held in simulations (benches/RESULTS.md).
const ENOUGH: usize = 10;

/// The first five names, and how many more there are.
pub(super) fn first_five(names: &[&str]) -> String {
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    names[..names.len().min(5)].join(", ") + &more
}

impl Fit {
    pub(super) fn find_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.converged() {
            warnings.push(format!("not converged: {} after {} iterations", self.stop, self.trace.len()));
        }
        if self.inference.is_none() && self.dispersion.common_variance() <= 1e-9 {
            warnings.push(
                "the features all but determine the target: the noise variance is at its lower bound, and intervals mean nothing".into(),
            );
        }
        if !self.dropped.is_empty() {
            warnings.push(format!("dropped from the mean as combinations of the features before them: {}", self.dropped.join(", ")));
        }
        if self.learns_relatedness() && self.prior.relatedness.as_graph().is_some() && self.edge_probabilities.is_none() {
            warnings.push("edge scores of EM alone: they rank edges, but are too sure as probabilities where tasks are noisy".to_string());
        }
        let learned = self.learns_relatedness();
        let directions = self.prior.related_directions();
        if learned && self.tasks.len() < ENOUGH && self.log_likelihood_kind == LikelihoodKind::Restricted {
            warnings.push(format!(
                "with {} tasks relatedness is hardly identified: what they have in common can hardly be told from the mean, and edges are too sure",
                self.tasks.len()
            ));
        }
        if learned && directions < 10 {
            warnings.push(format!("relatedness rests on {directions} varying directions: only very strong relations can be seen"));
        }
        let single: Vec<&str> =
            (0..self.tasks.len()).filter(|t| self.tasks.statistics(*t).rows() < 2).map(|t| self.tasks.names()[t].as_str()).collect();
        if !single.is_empty() && (self.structure == "independent" || (self.inference.is_none() && self.dispersion.is_each())) {
            let shown = single.iter().take(5).copied().collect::<Vec<_>>().join(", ");
            warnings.push(format!("{} tasks have fewer than two rows, too few for a noise variance of their own: {shown}", single.len()));
        }
        let effects = (self.tasks.len() * self.prior.varying.len()) as u64;
        if !self.noise_is_known() && self.tasks.rows() <= effects && self.prior.relatedness.varies() {
            warnings.push(format!(
                "{} rows for {effects} task deviations: the variance between tasks can hardly be told from the noise; is '{}' the target and the \
                 task column the right one?",
                self.tasks.rows(),
                self.tasks.target()
            ));
        }
        if let [first, others @ ..] = self.tasks.alike() {
            warnings.push(format!(
                "rows of {first} and {} have the same features as rows of other tasks: if they were measured on the same units, their errors are \
                 correlated, and relations found may be noise; name the column of the units with --row, or give --targets of a wide table",
                match others {
                    [other] => other.clone(),
                    _ => format!("{} more tasks", others.len()),
                }
            ));
        }
        if self.added > 0 {
            warnings.push(format!(
                "{} of the {} rows were added after the fit, at its hyperparameters (update): intervals and criteria take these as they are",
                self.added,
                self.tasks.rows()
            ));
        }
        let zero: Vec<&str> = self.singular_features();
        if !zero.is_empty() {
            let which = if self.prior.mixture.is_some() { "between tasks of a cluster" } else { "between tasks" };
            warnings.push(format!("no variation {which} (variance 0) in: {}", zero.join(", ")));
        }
        if self.has_combinations() {
            warnings.push("tasks differ along fewer directions than features vary; 'cognate check MODEL' says which".into());
        }
        warnings
    }

    /// What only the rows of a family show.
    pub(super) fn warn_of_rows(&mut self, data: &Observations, found: &Approximation) {
        if self.residual_correlation().is_none()
            && self.structure != "independent"
            && self.tasks.kept_rows().is_some_and(|rows| !rows.units().is_empty())
        {
            self.warnings.push(
                "errors of rows that share a unit are taken as independent, which they are hardly ever: relations found may be noise"
                    .into(),
            );
        }
        let Some(rows) = &data.each else { return };
        let ended = |g: &usize| self.plain_family(*g).is_some_and(|family| family.has_ends());
        let sided = (0..data.groups()).filter(ended).flat_map(|g| rows.one_sided(|t| data.group_of(t) == g));
        let one_sided: Vec<&str> = sided.map(|t| self.tasks.names()[t].as_str()).collect();
        if !one_sided.is_empty() {
            self.warnings.push(format!(
                "all targets are at one end of their range, so that only the prior keeps parameters finite, in: {}",
                first_five(&one_sided)
            ));
        }
        let (names, groups, size) = (self.tasks.design().features(), self.tasks.groups(), self.prior.mean_features.len());
        let shares = found.posterior.mean_prior_shares();
        let named = |(k, _): (usize, &f64)| {
            let feature = &names[self.prior.mean_features[k % size]];
            groups.get(k / size).map_or_else(|| feature.clone(), |group| format!("{feature} ({group})"))
        };
        let undecided: Vec<String> = shares.iter().enumerate().filter(|(_, share)| **share > NAMED).map(named).collect();
        if !undecided.is_empty() {
            let of_group = if groups.len() > 1 { ", or it is 0 in all rows of a family" } else { "" };
            self.warnings.push(format!(
                "the rows leave the common mean undecided (all targets are at one end of their range wherever a combination of features is not \
                 0{of_group}), so that only a wide prior keeps it finite, in: {}",
                first_five(&undecided.iter().map(String::as_str).collect::<Vec<_>>())
            ));
        }
        if !found.converged {
            self.warnings.push(format!("the Gaussian in the place of the posterior still moves after {} steps", found.steps));
        }
    }
}
