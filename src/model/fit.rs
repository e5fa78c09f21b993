//! What came out of a fit, in the units of the table.

use super::clusters::Memberships;
use super::groups::expand_mean;
use super::guard::Guarded;
use super::intervals::Carried;
use super::loadings::Loadings;
use super::newcomers::{self, Newcomers};
use super::sites::Sites;
use super::{Standardise, Visibility, intercepts};
use crate::em::{Climbed, Step, Stop};
use crate::error::Result;
use crate::graph::TaskGraph;
use crate::likelihood::{Approximation, Dispersion, Evidence, Inference, Observations};
use crate::prior::{Prior, TaskScales};
use crate::structure::{CandidateRule, FeatureCovariance};
use crate::tasks::{Coordinates, Rows, Tasks};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// What a log-likelihood is; figures of different kinds are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LikelihoodKind {
    /// Deviations integrated out, the mean at its estimate.
    Marginal,
    /// Deviations and mean integrated out.
    Restricted,
    /// At the estimated coefficients.
    Maximised,
}

/// What is known before the climb.
pub(crate) struct Plan {
    pub family: String,
    pub families: Vec<String>,
    pub inference: Option<Inference>,
    pub structure: String,
    pub feature_covariance: Option<FeatureCovariance>,
    pub standardise: Standardise,
    /// The log-likelihood at the estimated coefficients, where there is no marginal one.
    pub maximised: Option<f64>,
    pub parameters: usize,
    pub log_prior: f64,
    pub dropped: Vec<String>,
    pub edge_probabilities: Option<TaskGraph>,
    pub candidates: Option<CandidateRule>,
    pub prior_strength: Option<f64>,
}

/// A fitted model: parameters with uncertainty, hyperparameters, task graph, and the statistics it was fitted from.
///
/// Everything it returns is in the units of the table unless it says "fitted".
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fit {
    pub(super) family: String,
    /// The family of every group of tasks; none for the Gaussian.
    #[serde(default)]
    pub(super) families: Vec<String>,
    #[serde(default)]
    pub(super) inference: Option<Inference>,
    pub(super) structure: String,
    pub(super) feature_covariance_kind: Option<FeatureCovariance>,
    pub(super) standardise: Standardise,
    pub(super) tasks: Tasks,
    pub(super) coordinates: Coordinates,
    pub(super) prior: Prior,
    pub(super) dispersion: Dispersion,
    pub(super) log_likelihood: f64,
    #[serde(default)]
    pub(super) log_likelihood_error: f64,
    pub(super) log_likelihood_kind: LikelihoodKind,
    #[serde(default)]
    pub(super) evidence: Option<Evidence>,
    pub(super) log_posterior: f64,
    pub(super) parameters: usize,
    pub(super) trace: Vec<Step>,
    pub(super) stop: Stop,
    pub(super) dropped: Vec<String>,
    pub(super) edge_probabilities: Option<TaskGraph>,
    #[serde(default)]
    pub(super) candidates: Option<CandidateRule>,
    #[serde(default)]
    pub(super) prior_strength: Option<f64>,
    pub(super) visibility: Option<Visibility>,
    #[serde(default)]
    pub(super) loadings: Option<Loadings>,
    pub(super) warnings: Vec<String>,
    pub(super) own_shares: Vec<Option<f64>>,
    /// Where they are not the sums of the tasks.
    #[serde(default)]
    pub(super) sites: Option<Sites>,
    /// Tasks without rows.
    #[serde(default)]
    pub(super) newcomers: Newcomers,
    #[serde(default)]
    pub(super) guarded: Option<Guarded>,
    #[serde(default)]
    pub(super) memberships: Option<Memberships>,
    #[serde(default)]
    pub(super) carried: Carried,
    /// Rows that came after the fit.
    #[serde(default)]
    pub(super) added: u64,
    #[serde(with = "crate::linalg::record::vector")]
    pub(super) mean: DVector<f64>,
    #[serde(with = "crate::linalg::record::matrix")]
    pub(super) mean_covariance: DMatrix<f64>,
    /// d x T, fitted coordinates.
    #[serde(with = "crate::linalg::record::matrix")]
    pub(super) coefficients: DMatrix<f64>,
    /// d^2 x T, fitted coordinates.
    #[serde(with = "crate::linalg::record::matrix")]
    pub(super) covariances: DMatrix<f64>,
    /// E[u_t u_t'] of an average task, d x d, where the prior of Sigma takes a part of it from K; else empty.
    #[serde(default = "newcomers::nothing", with = "crate::linalg::record::matrix")]
    pub(super) between: DMatrix<f64>,
}

impl Fit {
    pub(super) fn assemble(
        plan: Plan,
        tasks: &Tasks,
        data: &Observations,
        coordinates: Coordinates,
        climbed: Climbed,
        found: &Approximation,
    ) -> Fit {
        let posterior = &found.posterior;
        let Climbed { prior, dispersion, trace, stop, .. } = climbed;
        let (count, p) = (tasks.len(), tasks.design().len());
        let mut coefficients = DMatrix::zeros(p, count);
        let mut covariances = DMatrix::zeros(p * p, count);
        let mut own_shares = Vec::with_capacity(count);
        let each: Vec<_> = (0..count).into_par_iter().map(|t| (posterior.coefficients(t), posterior.covariance_and_own_share(t))).collect();
        for (t, (own, (covariance, share))) in each.into_iter().enumerate() {
            coefficients.set_column(t, &own);
            covariances.column_mut(t).copy_from_slice(covariance.as_slice());
            own_shares.push(share);
        }
        let restricted = prior.mean.is_integrated() && !prior.mean_features.is_empty();
        let kind = match (plan.maximised, restricted) {
            (Some(_), _) => LikelihoodKind::Maximised,
            (None, true) => LikelihoodKind::Restricted,
            (None, false) => LikelihoodKind::Marginal,
        };
        // From fitted to table units: the density of y, and for a restricted likelihood the volume of the mean.
        let mut units: f64 = (0..count).map(|t| -data.rows[t] * coordinates.target_unit(Some(t)).scale.ln()).sum();
        let fitted = plan.maximised.unwrap_or(found.log_likelihood);
        if kind == LikelihoodKind::Restricted {
            let scales = coordinates.scales();
            let of_group: f64 = prior.mean_features.iter().map(|f| coordinates.target_scale.ln() - scales[*f].ln()).sum();
            units += prior.groups.len() as f64 * of_group;
        }
        let visibility = prior.relatedness.as_graph().zip(plan.candidates.as_ref()).map(|(graph, rule)| {
            let neighbours = 2.0 * graph.edges().count() as f64 / count as f64;
            Visibility::among(count, rule.pairs, posterior.related().effective_directions() - neighbours)
        });
        let (mean, mean_covariance) = expand_mean(posterior, &prior, p);
        intercepts::add_left(tasks, &coordinates, (&prior, &dispersion), &mut coefficients, &mut covariances);
        let memberships = Memberships::of(posterior, &prior);
        let between = newcomers::average_square(posterior, &plan.structure);
        let mut fit = Fit {
            memberships,
            newcomers: Newcomers::new(),
            guarded: None,
            family: plan.family,
            families: plan.families,
            inference: plan.inference,
            structure: plan.structure,
            feature_covariance_kind: plan.feature_covariance,
            standardise: plan.standardise,
            tasks: tasks.clone(),
            coordinates,
            parameters: prior.mean_features.len() * prior.groups.len()
                + prior.free.len() * count
                + plan.parameters
                + dispersion.parameters(),
            log_likelihood: fitted + units,
            log_posterior: fitted + units + plan.log_prior,
            log_likelihood_error: posterior.log_likelihood_error(),
            log_likelihood_kind: kind,
            evidence: None,
            prior,
            dispersion,
            trace,
            stop,
            dropped: plan.dropped,
            edge_probabilities: plan.edge_probabilities,
            candidates: plan.candidates,
            prior_strength: plan.prior_strength,
            visibility,
            loadings: Loadings::of(posterior),
            warnings: Vec::new(),
            own_shares,
            sites: (data.each.is_some() || data.shared.is_some()).then(|| Sites::of(&found.quadratics)),
            carried: Carried::default(),
            added: 0,
            between,
            mean,
            mean_covariance,
            coefficients,
            covariances,
        };
        fit.warnings = fit.find_warnings();
        fit.warn_of_rows(data, found);
        fit
    }

    /// Whether shapes agree and every number is finite, as in every fit that was made and not edited.
    pub(super) fn is_consistent(&self) -> bool {
        let (tasks, p) = (self.tasks.len(), self.tasks.design().len());
        let coordinates = &self.coordinates;
        let numbers = [self.mean.as_slice(), self.mean_covariance.as_slice(), self.coefficients.as_slice(), self.covariances.as_slice()];
        let scales = [&coordinates.centre[..], &coordinates.scale, &[coordinates.target_centre, coordinates.target_scale]];
        let places = [&self.prior.mean_features, &self.prior.varying, &self.prior.free, &self.prior.unrelated];
        self.tasks.is_consistent()
            && places.iter().all(|own| own.iter().all(|k| *k < p))
            && self.coefficients.shape() == (p, tasks)
            && self.own_shares.len() == tasks
            && self.evidence_is_consistent()
            && self.sites.as_ref().is_none_or(|sites| sites.are_consistent(p, tasks))
            && self.prior.mixture.is_some() == self.memberships.is_some()
            && self.prior.mixture.as_ref().is_none_or(|mixture| mixture.is_consistent(self.prior.varying.len()))
            && self.prior.task_scales.as_ref().is_none_or(|own| {
                own.values.len() == tasks
                    && own.values.iter().chain([&own.degrees_of_freedom]).all(|value| value.is_finite() && *value > 0.0)
            })
            && self.prior.kernel.as_ref().is_none_or(|kernel| kernel.is_consistent(tasks))
            && self.alone().is_none_or(Fit::is_consistent)
            && newcomers::are_consistent(&self.newcomers, p, self.prior.groups.len())
            && self.memberships.as_ref().is_none_or(|own| own.is_consistent((p, tasks), &self.prior))
            && self.carried.average.as_ref().is_none_or(|average| average.is_consistent((p, tasks), (&self.prior, &self.dispersion)))
            && self.covariances.shape() == (p * p, tasks)
            && (self.between.is_empty() || self.between.shape() == (p, p))
            && self.mean.len() == p * self.prior.groups.len()
            && self.mean_covariance.shape() == (self.mean.len(), self.mean.len())
            && coordinates.centre.len() + usize::from(self.tasks.design().has_intercept()) == p
            && numbers.iter().chain(&scales).all(|list| list.iter().all(|v| v.is_finite()))
    }

    /// Strength nu of the inverse-Wishart prior on Sigma of the structure full, learned unless it was given: in directions, as many as would say as much.
    pub fn prior_strength(&self) -> Option<f64> {
        self.prior_strength
    }

    /// Whether the relatedness of the tasks was learned pair by pair (factor, graph and full), not given or a kernel's.
    pub fn learns_relatedness(&self) -> bool {
        self.prior.relatedness.is_learned() && self.structure != "known" && self.prior.kernel.is_none()
    }

    /// Name of the family.
    pub fn family(&self) -> &str {
        &self.family
    }

    /// How the posterior of a family other than the Gaussian was approximated.
    pub fn inference(&self) -> Option<Inference> {
        self.inference
    }

    /// Name of the structure.
    pub fn structure(&self) -> &str {
        &self.structure
    }

    /// The coordinates that were asked for.
    pub fn standardise(&self) -> Standardise {
        self.standardise
    }

    /// Shape of K; none for pooled tasks.
    pub fn feature_covariance_kind(&self) -> Option<FeatureCovariance> {
        self.feature_covariance_kind
    }

    /// The tasks with the statistics of their rows.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// The map between the table's units and the fitted ones.
    pub fn coordinates(&self) -> &Coordinates {
        &self.coordinates
    }

    /// The fitted prior, in fitted coordinates, tr(Sigma) = T.
    pub fn prior(&self) -> &Prior {
        &self.prior
    }

    /// The scale of every task where they have scales of their own ([`Robust`](crate::Robust)): how many times as far as the others it varies; none elsewhere.
    pub fn task_scales(&self) -> Option<&TaskScales> {
        self.prior.task_scales.as_ref()
    }

    /// The tasks that are let go, the largest scale first: those that vary at least three times as far as the others.
    pub fn let_go(&self) -> Vec<usize> {
        const FAR: f64 = 3.0;
        let scale = |t: &usize| self.prior.task_scales.as_ref().map_or(1.0, |own| own.values[*t]);
        let mut tasks: Vec<usize> = (0..self.tasks.len()).filter(|t| scale(t) >= FAR).collect();
        tasks.sort_by(|a, b| scale(b).total_cmp(&scale(a)));
        tasks
    }

    /// The fitted dispersion, in fitted units.
    pub fn dispersion(&self) -> &Dispersion {
        &self.dispersion
    }

    /// Log-likelihood in the target's units, of [`Fit::log_likelihood_kind`].
    pub fn log_likelihood(&self) -> f64 {
        self.log_likelihood
    }

    /// Whether it is a lower bound of that, as variational inference gives it for families other than the Gaussian.
    pub fn log_likelihood_is_bound(&self) -> bool {
        self.inference == Some(Inference::Variational) && self.log_likelihood_kind != LikelihoodKind::Maximised
    }

    /// What the log-likelihood is.
    pub fn log_likelihood_kind(&self) -> LikelihoodKind {
        self.log_likelihood_kind
    }

    /// Standard error of the log-likelihood where it is an estimate, as for a task graph too large to factor; none where it is exact.
    pub fn log_likelihood_error(&self) -> Option<f64> {
        (self.log_likelihood_error > 0.0).then_some(self.log_likelihood_error)
    }

    /// Log-likelihood plus the log priors of structure, dispersion and an estimated mean.
    pub fn log_posterior(&self) -> f64 {
        self.log_posterior
    }

    /// Free parameters: mean coefficients, covariances, edges, noise variances.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// Whether the fit ended at an optimum or a settled edge set.
    pub fn converged(&self) -> bool {
        self.stop.converged()
    }

    /// Why it ended.
    pub fn stop(&self) -> Stop {
        self.stop
    }

    /// Every E-step, in fitted units.
    pub fn trace(&self) -> &[Step] {
        &self.trace
    }

    /// Features left out of the mean because they are combinations of those before them.
    pub fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// What a reader should know before trusting the figures.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Parameters of a task.
    pub fn coefficients(&self, task: usize) -> DVector<f64> {
        self.coordinates.of_task(task).parameters(&self.coefficients.column(task).into_owned())
    }

    /// Posterior covariance of a task's parameters about [`Fit::coefficients`], the uncertainty of the mean included, and with
    /// [`Intervals::Full`](crate::Intervals) that of the hyperparameters.
    pub fn covariance(&self, task: usize) -> DMatrix<f64> {
        let map = self.coordinates.of_task(task).to_original();
        &map * self.fitted_covariance(task) * map.transpose()
    }

    pub(crate) fn fitted_covariance(&self, task: usize) -> DMatrix<f64> {
        let p = self.tasks.design().len();
        DMatrix::from_column_slice(p, p, self.covariances.column(task).as_slice())
    }

    /// How much of a task's deviation from the mean its own rows decide, in [0, 1]; the rest is the prior's and other tasks'.
    /// None where nothing varies.
    pub fn own_share(&self, task: usize) -> Option<f64> {
        self.own_shares[task]
    }

    /// K with the names of its features. The intercept is among them also where only slopes vary about a centred feature.
    pub fn feature_covariance(&self) -> (Vec<String>, DMatrix<f64>) {
        let features = self.tasks.design().features();
        let p = features.len();
        let k = self.prior.feature_covariance();
        let mut all = DMatrix::zeros(p, p);
        for (i, a) in self.prior.varying.iter().enumerate() {
            for (j, b) in self.prior.varying.iter().enumerate() {
                all[(*a, *b)] = k[(i, j)];
            }
        }
        let map = self.coordinates.to_original();
        let original = &map * all * map.transpose();
        let implied = self.tasks.design().has_intercept() && !self.prior.varying.contains(&0) && original[(0, 0)] > 0.0;
        let shown: Vec<usize> = implied.then_some(0).into_iter().chain(self.prior.varying.iter().copied()).collect();
        (shown.iter().map(|f| features[*f].clone()).collect(), original.select_rows(&shown).select_columns(&shown))
    }

    /// Whether the noise was known, not learned ([`Noise::Known`](crate::Noise::Known)).
    pub fn noise_is_known(&self) -> bool {
        self.inference.is_none() && self.dispersion.values.is_empty()
    }

    /// Noise variance of a task; 1 where it is known.
    pub fn noise_variance(&self, task: usize) -> f64 {
        self.dispersion.variance(task) * self.coordinates.target_unit(Some(task)).scale.powi(2)
    }

    /// The noise variance common to all tasks, or towards which each task's is shrunk.
    pub fn common_noise_variance(&self) -> f64 {
        self.dispersion.common_variance() * self.coordinates.target_scale.powi(2)
    }

    /// Correlations between the errors of tasks that share rows (T x T); none where errors are independent.
    pub fn residual_correlation(&self) -> Option<DMatrix<f64>> {
        self.dispersion.correlation()
    }

    /// Correlations between tasks (T x T), of clusters the probabilities that two tasks are of the same; none where a task graph's precision
    /// cannot be inverted.
    pub fn relatedness(&self) -> Option<DMatrix<f64>> {
        if let Some(together) = self.co_membership() {
            return Some(together);
        }
        self.prior.relatedness.correlation(self.tasks.len())
    }

    /// The task graph: learned edges, all pairs for a dense Sigma and for factors of up to 500 tasks, none for exchangeable or independent tasks. Precisions are
    /// the fitted ones; sampled edges have the partial correlation of [`Fit::edge_probabilities`], others that of the precisions. Of clusters the tasks that
    /// are more likely than not of the same one, with that probability and without partial correlations (up to 2,000 tasks).
    pub fn graph(&self) -> TaskGraph {
        if let Some(graph) = self.co_membership_graph() {
            return graph;
        }
        let graph = self.prior.relatedness.graph(self.tasks.names());
        match &self.edge_probabilities {
            Some(sampled) => graph.with_partial_correlations_of(sampled),
            None => graph.scored(),
        }
    }

    /// Where edges were looked for; none where no graph was learned.
    pub fn candidates(&self) -> Option<&CandidateRule> {
        self.candidates.as_ref()
    }

    /// How strong a relation must be to be seen in this task graph; none where no graph was learned.
    pub fn visibility(&self) -> Option<Visibility> {
        self.visibility
    }

    /// Every pair of tasks whose edge has a probability of 0.02 or more, with its sign and interval: sampled with the noise of
    /// the tasks carried, K and the noise variance held. None where edges were not sampled. [`Fit::graph`] has the likely ones.
    pub fn edge_probabilities(&self) -> Option<&TaskGraph> {
        self.edge_probabilities.as_ref()
    }

    /// Fitted values x' w_t of rows of known tasks.
    pub fn fitted_values(&self, rows: &Rows) -> Result<Vec<f64>> {
        (0..rows.len()).map(|i| Ok(self.predict(&rows.names()[rows.task(i)], rows.x(i), 0.95)?.mean)).collect()
    }

    /// Targets less fitted values.
    pub fn residuals(&self, rows: &Rows) -> Result<Vec<f64>> {
        Ok(self.fitted_values(rows)?.iter().enumerate().map(|(i, value)| rows.y(i) - value).collect())
    }
}
