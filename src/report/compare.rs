//! A comparison as a page of text: the ladder, the pick, the verdict, and who loses by sharing.

use super::text::counted;
use crate::compare::{Comparison, Curve, Gains, Metrics, Outer, Rung};
use crate::model::Fit;
use std::cmp::Ordering;

/// A figure of a rung.
type Metric = fn(&Metrics) -> Option<f64>;

/// The ladder as a table: held-out log predictive density a row, the error (of shares the Brier score and the mean AUC within tasks), explained
/// variance, and the paired difference to the best; then the pick, the verdict, the gains of single tasks, and the pick's score on rows that had
/// no part in picking it.
pub fn comparison_text(comparison: &Comparison) -> String {
    let mut text = ladder_text(&comparison.rungs);
    if let (Some(best), Some(simplest)) = (&comparison.best, &comparison.simplest) {
        text.push_str(&format!("best: {best}; simplest of those as good: {simplest}\n"));
    }
    if let Some(verdict) = &comparison.verdict {
        text.push_str(&format!("\nverdict: {}\n", verdict.text));
    }
    text.push_str(&gains_text(&comparison.gains));
    text.push_str(&comparison.outer.as_ref().map_or_else(String::new, outer_text));
    text
}

/// Four decimals, where there is a value; what is nothing to these has no sign.
fn figure(value: Option<f64>) -> String {
    value.map_or("-".to_string(), |value| format!("{:.4}", if value.abs() < 5e-5 { 0.0 } else { value }))
}

fn ladder_text(rungs: &[Rung]) -> String {
    let width = rungs.iter().map(|rung| rung.name.len()).max().unwrap_or(0).max(9);
    let any = |metric: Metric| rungs.iter().any(|rung| metric(&rung.metrics).is_some());
    // Of targets in units of their own there is no common error.
    let errors: Vec<(&str, Metric)> = match () {
        _ if any(|own| own.brier) => vec![("brier", |own| own.brier), ("task auc", |own| own.task_auc)],
        _ if any(|own| own.rmse) => vec![("rmse", |own| own.rmse)],
        _ => vec![("rel.rmse", |own| own.relative_rmse)],
    };
    let heads: String = errors.iter().map(|(name, _)| format!("  {name:>8}")).collect();
    let mut text = format!("{:<width$}  {:>11}{heads}  {:>19}  {:>10}\n", "structure", "log density", "difference (se)", "explained");
    for rung in rungs {
        if let Some(reason) = &rung.refused {
            text.push_str(&format!("{:<width$}  refused: {reason}\n", rung.name));
            continue;
        }
        let difference = format!("{} ({})", figure(rung.difference), figure(rung.difference_se));
        let explained = rung.metrics.explained_variance.map_or("-".to_string(), |v| format!("{:.2} %", 100.0 * v));
        let errors: String = errors.iter().map(|(_, metric)| format!("  {:>8}", figure(metric(&rung.metrics)))).collect();
        text.push_str(&format!("{:<width$}  {:>11}{errors}  {difference:>19}  {explained:>10}\n", rung.name, figure(rung.score)));
    }
    text
}

/// How many losers are named.
const NAMED: usize = 10;

fn gains_text(gains: &Gains) -> String {
    let (Some(rung), false) = (&gains.gains_of, gains.tasks.is_empty()) else { return String::new() };
    let (count, losers) = (gains.tasks.len(), gains.losers());
    let gain = gains.tasks.iter().filter(|own| own.low > 0.0).count();
    let mut text = format!("by task, {rung} against each task alone (95 % intervals): {gain} of {count} gain, {} lose", losers.len());
    for (k, own) in losers.iter().take(NAMED).enumerate() {
        let head = if k == 0 { ":" } else { "," };
        text.push_str(&format!("{head} {} {:.3} ({:.3} to {:.3})", own.task, own.expected, own.low, own.high));
    }
    if losers.len() > NAMED {
        text.push_str(&format!(", and {} more", losers.len() - NAMED));
    }
    text.push('\n');
    text
}

/// Curves of new tasks: held-out log density after each number of rows, and what the best gains over tasks alone.
pub fn curves_text(curves: &[Curve]) -> String {
    let width = curves.iter().map(|own| own.name.len()).max().unwrap_or(0).max(9);
    let Some(first) = curves.first() else { return String::new() };
    let heads: String = first.shots.iter().map(|shot| format!("  {:>9}", counted(shot.rows, "row"))).collect();
    let mut text = format!("log density of further rows of new tasks, after so many of their own\n{:<width$}{heads}\n", "structure");
    for own in curves {
        if let Some(reason) = &own.refused {
            text.push_str(&format!("{:<width$}  refused: {reason}\n", own.name));
            continue;
        }
        let scores: String = own.shots.iter().map(|shot| format!("  {:>9}", figure(shot.score))).collect();
        text.push_str(&format!("{:<width$}{scores}\n", own.name));
    }
    for k in 0..first.shots.len() {
        let with = |own: &&Curve| own.shots.get(k).and_then(|shot| shot.gain).is_some();
        let best = curves.iter().filter(with).max_by(|a, b| a.shots[k].score.partial_cmp(&b.shots[k].score).unwrap_or(Ordering::Equal));
        if let Some((own, gain)) = best.and_then(|own| Some((own, own.shots[k].gain?))) {
            let error = own.shots[k].gain_se.map_or(String::new(), |se| format!(" (standard error {se:.4})"));
            text.push_str(&format!("after {}: {} gains {gain:.4}{error} over a task alone\n", counted(own.shots[k].rows, "row"), own.name));
        }
    }
    text
}

/// What a guard found out: the gains in short, and who was detached.
pub(crate) fn guard_text(fit: &Fit) -> String {
    let gains = fit.gains();
    if gains.is_empty() {
        return String::new();
    }
    let sure = gains.iter().filter(|own| own.low > 0.0).count();
    let names = fit.detached();
    let mut text = format!("Guard: by cross-validation {sure} of {} tasks gain by sharing (95 % intervals); ", gains.len());
    if names.is_empty() {
        text.push_str("none is expected to lose\n");
        return text;
    }
    text.push_str(&format!("detached and fitted by themselves, for they are expected to lose ({}, nats a row):\n", names.len()));
    for own in gains.iter().filter(|own| names.contains(&own.task)).take(super::text::SHOWN) {
        text.push_str(&format!("  {}  {:.3} (95 %: {:.3} to {:.3})\n", own.task, own.expected, own.low, own.high));
    }
    if names.len() > super::text::SHOWN {
        text.push_str(&format!("  and {} more\n", names.len() - super::text::SHOWN));
    }
    text
}

fn outer_text(outer: &Outer) -> String {
    let mut text = format!("\non {} rows that had no part in the choice:\n", outer.rows);
    text.push_str(&ladder_text(&outer.rungs));
    text
}
