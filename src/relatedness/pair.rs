//! Two tasks: how related they are, from draws, from weighed points or as the fit has it.

use super::{Sharing, Source};
use crate::linalg;
use crate::model::Fit;
use crate::structure::{CorrelationDraws, mean_and_variance};
use nalgebra::DMatrix;
use rayon::prelude::*;
use serde::Serialize;

/// Local false sign rate below which a sign is sure.
pub(super) const SURE: f64 = 0.05;

/// What is said of two tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Pair {
    /// Their numbers.
    #[serde(skip)]
    pub tasks: (usize, usize),
    /// The first task.
    pub first: String,
    /// The second.
    pub second: String,
    /// Posterior mean of the correlation Sigma_st / sqrt(Sigma_ss Sigma_tt); the fit's where nothing is drawn, none of clusters.
    pub correlation: Option<f64>,
    /// The correlation of the fit itself, a posterior mode.
    pub fitted: Option<f64>,
    /// Lower end of its central interval.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
    /// Posterior standard deviation.
    pub sd: Option<f64>,
    /// Probability that it is positive; of a task graph the rest may be that it is exactly 0.
    pub positive: Option<f64>,
    /// Probability that it is negative.
    pub negative: Option<f64>,
    /// One less the larger of the two.
    pub local_false_sign_rate: Option<f64>,
    /// How much of the variance before the data is gone: 1 - Var(R | y) / Var(R).
    pub contraction: Option<f64>,
    /// Of clusters the probability that both are of the same one.
    pub together: Option<f64>,
    /// How much of their parameters they share; none where no feature has a sure sign in either.
    pub sharing: Option<Sharing>,
}

impl Pair {
    fn new(fit: &Fit, tasks: (usize, usize)) -> Self {
        let names = fit.tasks().names();
        Pair {
            tasks,
            first: names[tasks.0].clone(),
            second: names[tasks.1].clone(),
            correlation: None,
            fitted: None,
            low: None,
            high: None,
            sd: None,
            positive: None,
            negative: None,
            local_false_sign_rate: None,
            contraction: None,
            together: None,
            sharing: None,
        }
    }

    /// Whether the sign of the correlation is sure.
    pub fn is_sure(&self) -> bool {
        self.local_false_sign_rate.is_some_and(|rate| rate < SURE)
    }

    /// With what weighed values of the correlation say; weights add to 1.
    fn with_values(mut self, mut values: Vec<(f64, f64)>, level: f64) -> Self {
        /// Below it a correlation is 0 but for rounding, as between tasks that no path of edges joins.
        const ROUNDING: f64 = 1e-12;
        values.iter_mut().filter(|(value, _)| value.abs() < ROUNDING).for_each(|(value, _)| *value = 0.0);
        let mean: f64 = values.iter().map(|(value, weight)| value * weight).sum();
        let probability =
            |is: fn(f64) -> bool| values.iter().filter(|(value, _)| is(*value)).map(|(_, weight)| weight).sum::<f64>().min(1.0);
        let (positive, negative) = (probability(|value| value > 0.0), probability(|value| value < 0.0));
        let variance: f64 = values.iter().map(|(value, weight)| weight * (value - mean).powi(2)).sum();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let tail = 0.5 * (1.0 - level);
        self.correlation = Some(mean);
        (self.low, self.high) = (quantile(&values, tail), quantile(&values, 1.0 - tail));
        self.sd = Some(variance.sqrt());
        (self.positive, self.negative) = (Some(positive), Some(negative));
        self.local_false_sign_rate = Some(1.0 - positive.max(negative));
        self
    }
}

/// The quantile of sorted weighed values, in the middle of the weight of each and by straight lines between.
fn quantile(sorted: &[(f64, f64)], at: f64) -> Option<f64> {
    let (mut before, mut last): (f64, Option<(f64, f64)>) = (0.0, None);
    for (value, weight) in sorted {
        let middle = before + 0.5 * weight;
        if middle >= at {
            return Some(match last {
                Some((lower, place)) if middle > place => lower + (value - lower) * (at - place) / (middle - place),
                _ => *value,
            });
        }
        (before, last) = (before + weight, Some((*value, middle)));
    }
    last.map(|(value, _)| value)
}

/// Of drawn correlations.
pub(super) fn of_draws(fit: &Fit, drawn: &CorrelationDraws, level: f64) -> Vec<Pair> {
    let fitted = fit.relatedness();
    let weight = (drawn.len() as f64).recip();
    let each = drawn.pairs().into_par_iter().enumerate().map(|(k, (s, t))| {
        let values = drawn.of(k);
        let (_, variance) = mean_and_variance(&values);
        let own = Pair::new(fit, (s, t)).with_values(values.into_iter().map(|value| (value, weight)).collect(), level);
        Pair {
            fitted: fitted.as_ref().map(|all| all[(s, t)]),
            contraction: drawn.prior_variance().map(|before| 1.0 - variance / before),
            ..own
        }
    });
    each.collect()
}

/// Of a fit without draws.
pub(super) fn of_fit(fit: &Fit, source: Source, only: Option<usize>, level: f64) -> Vec<Pair> {
    let tasks = fit.tasks().len();
    let pairs: Vec<(usize, usize)> = match only {
        Some(own) => (0..tasks).filter(|t| *t != own).map(|t| (own.min(t), own.max(t))).collect(),
        None => (0..tasks).flat_map(|t| (0..t).map(move |s| (s, t))).collect(),
    };
    let is_estimated = matches!(source, Source::Hyperparameters | Source::Fitted | Source::Given);
    let fitted = (is_estimated && tasks <= MOST_SPELT_OUT).then(|| fit.relatedness()).flatten();
    let points: Vec<(f64, DMatrix<f64>)> = match source {
        Source::Hyperparameters if tasks <= MOST_SPELT_OUT => {
            let all = fit.weighed_kernels().into_par_iter();
            let each = all.filter_map(|(weight, own)| Some((weight, linalg::correlation(&own.covariance(tasks)?))));
            each.collect()
        }
        _ => Vec::new(),
    };
    let memberships = fit.memberships();
    let each = pairs.into_par_iter().map(|(s, t)| {
        let mut own = Pair::new(fit, (s, t));
        own.fitted = fitted.as_ref().map(|all| all[(s, t)]);
        own.correlation = own.fitted;
        if !points.is_empty() {
            // Which sign a correlation has is the shape of the kernel's to say, not the data's.
            let all = own.with_values(points.iter().map(|(weight, all)| (all[(s, t)], *weight)).collect(), level);
            own = Pair { positive: None, negative: None, local_false_sign_rate: None, ..all };
        }
        own.together = memberships.map(|all| (0..all.nrows() - 1).map(|c| all[(c, s)] * all[(c, t)]).sum());
        own
    });
    each.collect()
}

/// Most tasks of which a T x T matrix is made.
const MOST_SPELT_OUT: usize = 2_000;
