//! The held-out figures of one candidate.

use super::Candidate;
use super::cells::Outcome;
use super::plans::Plan;
use crate::scores::{self, Scored, clustered};
use crate::tasks::Rows;
use serde::Serialize;
use std::collections::BTreeMap;

/// Held-out figures of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Rung {
    /// Name of the candidate.
    pub name: String,
    /// The flags by which `cognate fit` makes it; none of a candidate that is no structure of the command line's.
    pub arguments: Vec<String>,
    /// Mean log predictive density a held-out row; none where a fit was refused.
    pub score: Option<f64>,
    /// Its standard error, clustered by task.
    pub score_se: Option<f64>,
    /// Score less that of the best rung.
    pub difference: Option<f64>,
    /// Standard error of the paired difference: the larger of that clustered by task and that of unrelated rows, for a few tasks may agree by chance.
    pub difference_se: Option<f64>,
    /// Other scores of the same predictions.
    pub metrics: Metrics,
    /// Time spent fitting.
    pub seconds: f64,
    /// Why a fit was refused.
    pub refused: Option<String>,
}

/// Errors of the predictive means, and scores as [`Scores`](crate::Scores) has them; none where they mean nothing.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Metrics {
    /// Root mean squared error, in the target's units; none where tasks have units, or families, of their own.
    pub rmse: Option<f64>,
    /// Mean over tasks of the root of squared error / squared deviation from the mean of the task's rows that were fitted.
    pub relative_rmse: Option<f64>,
    /// 1 - squared error / squared deviation from the held-out mean; none where tasks have units, or families, of their own.
    pub explained_variance: Option<f64>,
    /// Mean continuous ranked probability score, in the target's units; none where tasks have units of their own.
    pub crps: Option<f64>,
    /// Mean Brier score of shares, over trials.
    pub brier: Option<f64>,
    /// Mean over tasks, of those with both successes and failures, of the area under the ROC curve.
    pub task_auc: Option<f64>,
    /// Mean unit deviance at the predictive mean, rows by their weight; none where tasks have units of their own.
    pub deviance: Option<f64>,
}

/// What a candidate scored: on the held-out rows of all plans, one after another, and the log density of each row that is held out in any, its mean over them; or why a fit was refused.
pub(super) enum Scores<'a> {
    Of { scored: Vec<&'a Scored>, log_densities: Vec<f64>, seconds: f64 },
    Refused { reason: &'a str, seconds: f64 },
}

impl<'a> Scores<'a> {
    pub(super) fn of(cells: &'a [Outcome], plans: &[Plan]) -> Self {
        let seconds = cells.iter().flatten().map(|cell| cell.seconds).sum();
        match cells.iter().find_map(|cell| cell.as_ref().err()) {
            Some(reason) => Scores::Refused { reason, seconds },
            None => {
                let scored: Vec<&Scored> = cells.iter().flatten().flat_map(|cell| &cell.scored).collect();
                let mut of_row: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
                for (i, row) in plans.iter().flat_map(|plan| &plan.held).zip(&scored) {
                    let (sum, count) = of_row.entry(*i).or_default();
                    (*sum, *count) = (*sum + row.log_density, *count + 1.0);
                }
                Scores::Of { scored, log_densities: of_row.into_values().map(|(sum, count)| sum / count).collect(), seconds }
            }
        }
    }

    /// Mean log density and its standard error, clustered by the tasks of the rows.
    pub(super) fn mean(&self, tasks: &[usize]) -> Option<(f64, Option<f64>)> {
        Some(clustered(self.log_densities()?, None, tasks))
    }

    /// Log densities of the held-out rows, in the order of the table.
    pub(super) fn log_densities(&self) -> Option<&[f64]> {
        match self {
            Scores::Of { log_densities, .. } => Some(log_densities),
            Scores::Refused { .. } => None,
        }
    }
}

/// Mean and standard error ([`Rung::difference_se`]) of a score less another on the same rows.
pub(super) fn difference(own: &Scores, other: &Scores, tasks: &[usize]) -> Option<(f64, Option<f64>)> {
    let (own, other) = own.log_densities().zip(other.log_densities())?;
    let differences: Vec<f64> = own.iter().zip(other).map(|(a, b)| a - b).collect();
    let (mean, by_task) = clustered(&differences, None, tasks);
    let by_row = clustered(&differences, None, &(0..differences.len()).collect::<Vec<_>>()).1;
    Some((mean, by_task.into_iter().chain(by_row).reduce(f64::max)))
}

/// Fills in how far each rung is from the best.
pub(super) fn compare_with(best: usize, rungs: &mut [Rung], scored: &[Scores], tasks: &[usize]) {
    for (rung, own) in rungs.iter_mut().zip(scored) {
        if let Some((mean, se)) = difference(own, &scored[best], tasks) {
            (rung.difference, rung.difference_se) = (Some(mean), se);
        }
    }
}

impl Rung {
    pub(super) fn of(candidate: &Candidate, scores: &Scores, (rows, tasks): (&Rows, &[usize]), plans: &[Plan]) -> Self {
        let mut rung = Rung {
            name: candidate.name.clone(),
            arguments: candidate.arguments.clone(),
            score: None,
            score_se: None,
            difference: None,
            difference_se: None,
            metrics: Metrics::default(),
            seconds: 0.0,
            refused: None,
        };
        match scores {
            Scores::Refused { reason, seconds } => (rung.refused, rung.seconds) = (Some(reason.to_string()), *seconds),
            Scores::Of { scored, seconds, .. } => {
                rung.seconds = *seconds;
                (rung.score, rung.score_se) = scores.mean(tasks).map_or((None, None), |(mean, se)| (Some(mean), se));
                rung.metrics = Metrics::of(scored, rows, plans);
            }
        }
        rung
    }
}

/// Sums over the held-out rows of a task: of squared errors, and of squared deviations from the mean of those fitted.
#[derive(Clone, Copy, Default)]
struct Errors {
    squares: f64,
    about_mean: f64,
}

impl Metrics {
    fn of(scored: &[&Scored], rows: &Rows, plans: &[Plan]) -> Self {
        let mut errors = vec![Errors::default(); rows.names().len()];
        let held = plans.iter().flat_map(|plan| plan.held.iter().map(move |i| (plan, *i)));
        for (row, (plan, i)) in scored.iter().zip(held) {
            let own = &mut errors[row.task];
            own.squares += (rows.y(i) - row.mean).powi(2);
            own.about_mean += (rows.y(i) - plan.training.target_mean(row.task)).powi(2);
        }
        let count = scored.len() as f64;
        let centre = scored.iter().map(|row| row.target).sum::<f64>() / count;
        let total: f64 = scored.iter().map(|row| (row.target - centre).powi(2)).sum();
        let squares: f64 = errors.iter().map(|own| own.squares).sum();
        let tasks = &plans[0].training;
        let one_unit = !tasks.has_own_units() && tasks.groups().len() < 2;
        let relative: Vec<f64> =
            errors.iter().filter(|own| own.about_mean > 0.0).map(|own| (own.squares / own.about_mean).sqrt()).collect();
        let own = scores::Scores::of_rows(scored, |task| rows.names()[task].clone());
        let scores::Scores { all, task_auc, .. } = if one_unit { own } else { own.of_many_units() };
        Metrics {
            rmse: one_unit.then(|| (squares / count).sqrt()),
            explained_variance: (one_unit && total > 0.0).then(|| 1.0 - squares / total),
            relative_rmse: (!relative.is_empty()).then(|| relative.iter().sum::<f64>() / relative.len() as f64),
            crps: all.crps,
            brier: all.brier,
            task_auc,
            deviance: all.deviance,
        }
    }
}
