//! Scores of predictions as a table to read.

use crate::scores::{Scores, Summary};
use std::fmt::Write;

/// Tasks that the table of the worst shows.
const WORST: usize = 5;

/// The scores of predictions as a table: all rows, coverage, calibration, and the tasks of the lowest log density.
///
/// ```
/// use cognate::{Forecast, Outcome, Scores, report};
/// let outcome = |target: f64| Ok::<_, cognate::Error>(Outcome { task: "a".into(), forecast: Forecast::normal(0.0, 1.0)?, target, weight: 1.0 });
/// let text = report::scores_text(&Scores::of(&[outcome(-0.3)?, outcome(0.8)?])?);
/// assert!(text.starts_with("2 rows, log predictive density -1.1014"));
/// # Ok::<(), cognate::Error>(())
/// ```
pub fn scores_text(scores: &Scores) -> String {
    let all = &scores.all;
    let rmse = all.rmse.map_or_else(String::new, |rmse| format!(", rmse {rmse:.4}"));
    let mut text = format!("{} rows, log predictive density {:.4}{rmse}\n", all.rows, all.log_density);
    let _ = writeln!(text, "{:<28}  {:>10}  {:>8}", "score", "mean", "se");
    let mut line = |name: &str, value: Option<f64>, se: Option<f64>| {
        if let Some(value) = value {
            let se = se.map_or_else(|| "-".to_string(), |se| format!("{se:.4}"));
            let _ = writeln!(text, "{name:<28}  {value:>10.4}  {se:>8}");
        }
    };
    line("log density", Some(all.log_density), all.log_density_se);
    line("crps", all.crps, all.crps_se);
    line("brier", all.brier, all.brier_se);
    line("deviance", all.deviance, all.deviance_se);
    line("auc", all.auc, None);
    line("auc within tasks, mean", scores.task_auc, None);
    for own in &all.coverage {
        let least = if all.are_counts { ", or more" } else { "" };
        line(&format!("in the {:.0} % interval{least}", 100.0 * own.level), Some(own.covered), own.covered_se);
    }
    match (&all.reliability, &all.pit) {
        (Some(table), _) => {
            let _ = writeln!(text, "predicted       trials    mean  observed  95 % interval (Wilson)");
            for bin in table {
                if let (Some(predicted), Some(observed), Some(lower), Some(upper)) = (bin.predicted, bin.observed, bin.lower, bin.upper) {
                    let range = format!("{:.1} to {:.1}", bin.from, bin.to);
                    let _ = writeln!(text, "{range:<12}  {:>8}  {predicted:>6.3}  {observed:>8.3}  {lower:.3} to {upper:.3}", bin.trials);
                }
            }
        }
        (None, Some(bins)) => {
            let shares: Vec<String> = bins.iter().map(|share| format!("{:.1}", 100.0 * share)).collect();
            let _ = writeln!(text, "PIT by tenths, % (calibrated: 10 each): {}", shares.join(" "));
        }
        (None, None) => {}
    }
    worst(scores, &mut text);
    text
}

/// The tasks of the lowest log density, where there are several tasks.
fn worst(scores: &Scores, text: &mut String) {
    let mut order: Vec<usize> = (0..scores.tasks.len()).collect();
    order.sort_by(|a, b| scores.tasks[*a].scores.log_density.total_cmp(&scores.tasks[*b].scores.log_density));
    if order.len() < 2 {
        return;
    }
    let (name, score): (&str, fn(&Summary) -> Option<f64>) =
        if scores.all.brier.is_some() { ("brier", |own| own.brier) } else { ("crps", |own| own.crps) };
    order.truncate(WORST);
    let width = order.iter().map(|t| scores.tasks[*t].task.chars().count()).max().unwrap_or(0).max(19);
    let _ = writeln!(text, "{:<width$}  {:>6}  {:>11}  {name:>10}", "lowest log density", "rows", "log density");
    for t in order {
        let own = &scores.tasks[t];
        let value = score(&own.scores).map_or_else(|| "-".to_string(), |value| format!("{value:.4}"));
        let _ = writeln!(text, "{:<width$}  {:>6}  {:>11.4}  {value:>10}", own.task, own.scores.rows, own.scores.log_density);
    }
}
