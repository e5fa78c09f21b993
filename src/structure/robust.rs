//! Any structure with a scale for every task, so that one that is unlike the others is let go.

use super::{Setting, Sharing, Smooth, Structure};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::likelihood::Dispersion;
use crate::posterior::Posterior;
use crate::prior::{Prior, TaskScales};
use crate::structure::{CandidateRule, FeatureCovariance};
use crate::tasks::Descriptors;

/// EM steps until the degrees of freedom stand, at most.
const STEPS: usize = 40;

/// Relative change of the degrees of freedom below which they do.
const STILL: f64 = 0.01;

/// w_t = mean + tau_t u_t with U as the structure inside has it ([`TaskScales`]); tau by maximum posterior density, its degrees of freedom by EM.
///
/// ```
/// use cognate::{Exchangeable, FeatureCovariance, Robust, Structure};
/// assert_eq!(Robust::new(Box::new(Exchangeable::new(FeatureCovariance::Diagonal)))?.name(), "exchangeable");
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Debug)]
pub struct Robust {
    inner: Box<dyn Structure>,
    steps: usize,
    settled: bool,
}

impl Robust {
    /// Around a structure of which tasks share a spread.
    ///
    /// # Errors
    /// [`Error::Arguments`] for one that has no use for it: tasks that share no spread, clusters, which let tasks go by themselves, and graphs, of which every task
    /// has a variance of its own.
    pub fn new(inner: Box<dyn Structure>) -> Result<Self> {
        if !Robust::fits(inner.as_ref()) {
            let problem = format!("the structure '{}' has no use for scales of single tasks; leave --robust out", inner.name());
            return Err(Error::Arguments(problem));
        }
        Ok(Robust { inner, steps: 0, settled: false })
    }

    /// Whether scales of single tasks mean something to a structure: not where tasks share no spread, and not to clusters and graphs, which let a task go by themselves
    /// (it is of no cluster, or its variance is its own).
    pub fn fits(structure: &dyn Structure) -> bool {
        Robust::fits_name(structure.name())
    }

    pub(super) fn fits_name(structure: &str) -> bool {
        !matches!(structure, "independent" | "pooled" | "pooled-intercepts" | "clusters" | "graph")
    }
}

impl Structure for Robust {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        self.inner.feature_covariance()
    }

    fn fewest_tasks(&self) -> usize {
        self.inner.fewest_tasks()
    }

    fn base(&self) -> Option<Box<dyn Structure>> {
        Some(Box::new(Robust { inner: self.inner.base()?, steps: 0, settled: false }))
    }

    fn sharing(&self) -> Sharing {
        self.inner.sharing()
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        if setting.likelihood.needs_units() || !setting.unrelated.is_empty() {
            let problem = "scales of single tasks go neither with rows that tasks share nor with graph features; leave one of them out";
            return Err(Error::Arguments(problem.into()));
        }
        let (prior, fixed) = self.inner.start(setting)?;
        Ok((Prior { task_scales: Some(TaskScales::new(setting.names.len())), ..prior }, fixed))
    }

    fn starts(&mut self, base: &dyn Fn() -> Result<Posterior<'static>>) -> Result<Vec<Prior>> {
        self.inner.starts(base)
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        let prior = self.inner.update(posterior)?;
        let Some(scales) = &posterior.prior().task_scales else { return Ok(prior) };
        self.steps += 1;
        let mut moved = scales.clone();
        let mut said = Vec::with_capacity(moved.values.len());
        let r = directions(posterior.prior());
        for (t, slope) in posterior.task_scale_slopes().into_iter().enumerate() {
            let (own, curvature) = scales.slope(t);
            // Were the parameters known, the slope would be b'b - r and the curvature 2 b'b.
            let known = 2.0 * (slope + r).max(0.5 * r);
            moved.values[t] *= ((slope + own) / (known + curvature)).clamp(-1.0, 1.0).exp();
            said.push(0.5 * known * posterior.own_share(t).unwrap_or(0.0).powi(2));
        }
        let next = moved.with_best_degrees(&said);
        let change = (next.degrees_of_freedom / scales.degrees_of_freedom).ln().abs();
        self.settled = self.steps >= STEPS || (self.steps > 5 && change < STILL);
        Ok(Prior { task_scales: Some(next), ..prior })
    }

    fn log_prior(&self, prior: &Prior) -> f64 {
        self.inner.log_prior(prior) + prior.task_scales.as_ref().map_or(0.0, TaskScales::log_density)
    }

    fn parameters(&self, prior: &Prior) -> usize {
        self.inner.parameters(prior) + 1
    }

    fn smooth(&self) -> Option<&dyn Smooth> {
        (self.settled && self.inner.smooth().is_some()).then_some(self)
    }

    fn edge_probabilities(&self) -> Option<&TaskGraph> {
        self.inner.edge_probabilities()
    }

    fn candidates(&self) -> Option<&CandidateRule> {
        self.inner.candidates()
    }

    fn prior_strength(&self) -> Option<f64> {
        self.inner.prior_strength()
    }

    fn descriptors(&self) -> Option<&Descriptors> {
        self.inner.descriptors()
    }

    fn relates(&self) -> bool {
        self.inner.relates()
    }

    fn has_marginal(&self) -> bool {
        self.inner.has_marginal()
    }
}

/// How many directions vary.
fn directions(prior: &Prior) -> f64 {
    prior.factor.ncols() as f64
}

/// Of the logarithm of a scale, in which it is as well known as a coordinate of K.
fn unit(prior: &Prior, tasks: usize) -> f64 {
    (tasks as f64 / directions(prior).max(1.0)).sqrt()
}

impl Robust {
    fn within(&self) -> &dyn Smooth {
        self.inner.smooth().expect("asked only where it is")
    }
}

/// The coordinates of the structure inside, and the logarithms of the scales in their unit.
impl Smooth for Robust {
    fn coordinates(&self, prior: &Prior) -> Vec<f64> {
        let mut point = self.within().coordinates(prior);
        if let Some(scales) = &prior.task_scales {
            let unit = unit(prior, scales.values.len());
            point.extend(scales.values.iter().map(|tau| tau.ln() / unit));
        }
        point
    }

    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior> {
        let tasks = like.task_scales.as_ref().map_or(0, |scales| scales.values.len());
        let (own, logs) = point.split_at(point.len() - tasks);
        let (moved, unit) = (self.within().at(own, like)?, unit(like, tasks));
        let task_scales =
            like.task_scales.as_ref().map(|scales| TaskScales { values: logs.iter().map(|log| (log * unit).exp()).collect(), ..*scales });
        Some(Prior { task_scales, ..moved })
    }

    fn slope(&self, posterior: &Posterior) -> Vec<f64> {
        let mut slope = self.within().slope(posterior);
        if let Some(scales) = &posterior.prior().task_scales {
            let unit = unit(posterior.prior(), scales.values.len());
            slope.extend(posterior.task_scale_slopes().into_iter().enumerate().map(|(t, own)| unit * (own + scales.slope(t).0)));
        }
        slope
    }

    fn of_features(&self) -> Option<&dyn Smooth> {
        Some(self.within())
    }

    fn curvature(&self, prior: &Prior) -> Option<f64> {
        self.within().curvature(prior)
    }
}
