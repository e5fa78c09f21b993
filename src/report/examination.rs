//! What a fit says of itself, as a page to read.

use super::check::probability;
use super::counted;
use super::text::{SHOWN, figure};
use crate::check::{Examination, Influence, Method, Outlying, RATE, TaskInfluence};
use crate::model::Fit;
use std::fmt::Write;

/// Influential tasks that are shown.
const MOST: usize = 10;

/// Tasks shown where none is named.
const FEW: usize = 3;

/// Tasks below which none is named that varies in one direction, for then its distance is below T - 1.
const FEWEST: usize = 8;

/// Standard errors from which on a task is said to move the estimates.
const MOVES: f64 = 0.5;

/// Singularities, tasks that are unlike the others, and tasks that decide what all share.
pub(crate) fn examination_text(examination: &Examination, fit: &Fit) -> String {
    let mut text = format!("Check of a {} model, structure {}, {}\n", fit.family(), fit.structure(), counted(fit.tasks().len(), "task"));
    let _ = writeln!(text, "\nSingular:");
    if examination.singularities.is_empty() {
        let _ = writeln!(text, "  nothing is");
    }
    for own in &examination.singularities {
        let _ = writeln!(text, "  - {}\n    It means: {}.\n    To do: {}.", own.finding, own.meaning, own.remedy);
    }
    if let Some(outlying) = &examination.outlying {
        write_outlying(outlying, fit, &mut text);
    }
    if let Some(influence) = &examination.influence {
        write_influence(influence, &mut text);
    }
    for note in &examination.notes {
        let _ = writeln!(text, "\nNote: {note}.");
    }
    text
}

fn write_outlying(outlying: &Outlying, fit: &Fit, text: &mut String) {
    let named = outlying.named();
    let _ = writeln!(
        text,
        "\nTasks unlike the others: {named} of {}, at a false discovery rate of {RATE}\n  heavy tails: kurtosis {:.2} standard deviations above that of normal deviations, p = {}",
        outlying.tasks.len(),
        outlying.kurtosis,
        probability(outlying.p_value)
    );
    if named == 0 && outlying.tasks.len() < FEWEST {
        let _ = writeln!(text, "  of so few tasks none can be named: each makes the variance larger from which it would be far");
    }
    let robust = fit.task_scales().is_some();
    match (outlying.degrees_of_freedom, named > 0 || outlying.p_value < 0.01) {
        (Some(freedom), _) => {
            let _ = writeln!(text, "  the tasks have scales of their own: a t prior of {} degrees of freedom", figure(freedom));
        }
        (None, true) if !robust && !matches!(fit.structure(), "graph" | "clusters") => {
            let _ =
                writeln!(text, "  To do: --robust gives every task a scale of its own, so that tasks unlike the others do not move them.");
        }
        _ => {}
    }
    let shown = &outlying.tasks[..outlying.tasks.len().min(if named > 0 { named.min(SHOWN) } else { FEW })];
    let width = shown.iter().map(|own| own.task.chars().count()).max().unwrap_or(0).max(12);
    let _ = writeln!(
        text,
        "{:<width$}  {:>9}  {:>10}  {:>8}  {:>8}  farthest out in",
        if named > 0 { "unlike" } else { "farthest out" },
        "distance",
        "directions",
        "p",
        "q"
    );
    for own in shown {
        let _ = writeln!(
            text,
            "{:<width$}  {:>9.2}  {:>10}  {:>8}  {:>8}  {} ({:+.2} sd)",
            own.task,
            own.distance,
            own.directions,
            probability(own.p_value),
            probability(own.q_value),
            own.farthest,
            own.farthest_z
        );
    }
    if named > SHOWN {
        let _ = writeln!(text, "... and {} more; --format csv has all", named - SHOWN);
    }
}

/// The estimate that a task moves farthest in standard errors.
fn farthest(own: &TaskInfluence, influence: &Influence) -> Option<usize> {
    let size = |k: &usize| if influence.standard_errors[*k] > 0.0 { own.changes[*k].abs() / influence.standard_errors[*k] } else { 0.0 };
    (0..own.changes.len()).max_by(|a, b| size(a).total_cmp(&size(b)))
}

fn write_influence(influence: &Influence, text: &mut String) {
    let how = match influence.method {
        Method::Refit => "fitted again without each",
        Method::OneStep => "one step of Fisher's scoring without each; dispersions held",
    };
    let _ = writeln!(text, "\nInfluence of single tasks on what all share ({how}): how far estimates move, in their standard errors");
    let related = influence.tasks.iter().any(|own| own.on_relatedness.is_some());
    let shown = &influence.tasks[..influence.tasks.len().min(MOST)];
    let width = shown.iter().map(|own| own.task.chars().count()).max().unwrap_or(0).max(12);
    let more = if related { format!("  {:>11}", "relatedness") } else { String::new() };
    let _ = writeln!(text, "{:<width$}  {:>6}  {:>9}  {:>6}{more}  moves most", "without", "rows", "variances", "mean");
    for own in shown {
        let more = match (related, own.on_relatedness) {
            (true, Some(change)) => format!("  {change:>11.3}"),
            (true, None) => format!("  {:>11}", "-"),
            _ => String::new(),
        };
        let moved = farthest(own, influence).map_or_else(String::new, |k| {
            let (name, with) = (&influence.names[k], influence.estimates[k]);
            format!("{name}: {} to {}", figure(with), figure(with + own.changes[k]))
        });
        let _ = writeln!(text, "{:<width$}  {:>6}  {:>9.2}  {:>6.2}{more}  {moved}", own.task, own.rows, own.on_variances, own.on_mean);
    }
    for own in &influence.refused {
        let _ = writeln!(text, "Not fitted {own}");
    }
    let many = influence.tasks.iter().filter(|own| own.largest() > MOVES).count();
    let _ = match many {
        0 => writeln!(text, "No single task moves them by more than {MOVES} standard errors."),
        1 => writeln!(text, "1 task moves them by more than {MOVES} standard errors: what is said of all tasks rests on it."),
        _ => writeln!(text, "{many} tasks move them by more than {MOVES} standard errors each: what is said of all tasks rests on them."),
    };
    if related {
        let _ = writeln!(text, "Relatedness: mean absolute change of the correlations between the other tasks.");
    }
}
