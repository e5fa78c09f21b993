//! Who taught whom as tables to read.

use super::counted;
use super::text::{SHOWN, figure};
use crate::audit::{Explanation, Gain, Given, Lesson, Overview, Part};
use std::fmt::Write;

/// Parts of a prediction that are named.
const NAMED: usize = 5;

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".into(), figure)
}

/// Width of a column of names.
fn width<'n>(names: impl Iterator<Item = &'n str>, least: usize) -> usize {
    names.map(|name| name.chars().count()).max().unwrap_or(0).max(least)
}

/// A share with three digits after the point, or what it is a small part of one.
fn share(value: f64) -> String {
    if value == 0.0 || value.abs() >= 5e-4 { format!("{value:.3}") } else { format!("{value:.1e}") }
}

/// A share in per cent, three digits of it.
fn percent(share: f64) -> String {
    let value = 100.0 * share;
    if value != 0.0 && value.abs() < 5e-4 {
        return format!("{value:.1e} %");
    }
    let digits = if value > 0.0 { (2 - value.log10().floor() as i32).clamp(0, 4) as usize } else { 0 };
    format!("{value:.digits$} %")
}

/// All tasks: those taught most, and where more rows would help most.
pub(crate) fn overview_text(overview: &Overview) -> String {
    let has_prior = overview.tasks.iter().any(|own| own.prior != 0.0);
    let mut text = format!(
        "Who taught whom: {}, structure {}, at the fitted hyperparameters\n\
         A weight is the mean over {} of what a task's own estimate counts in the parameters; own{} all donors add to 1.\n\n",
        counted(overview.count, "task"),
        overview.structure,
        counted(overview.features, "feature"),
        if has_prior { ", prior and" } else { " and" }
    );
    let names = overview.tasks.iter().flat_map(|own| [Some(own.task.as_str()), own.strongest_donor.as_deref()]).flatten();
    let width = width(names, 15);
    let head = if has_prior { format!("  {:>6}", "prior") } else { String::new() };
    let _ = writeln!(
        text,
        "{:<width$}  {:>6}  {:>6}  {:>6}{head}  {:>7}  {:<width$}  {:>6}",
        "taught most", "rows", "own", "mean", "donors", "strongest donor", "weight"
    );
    for own in overview.tasks.iter().take(SHOWN) {
        let prior = if has_prior { format!("  {:>6}", share(own.prior)) } else { String::new() };
        let donor = own.strongest_donor.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "{:<width$}  {:>6}  {:>6}  {:>6}{prior}  {:>7.1}  {donor:<width$}  {:>6}",
            own.task,
            own.rows,
            share(own.own),
            share(own.mean),
            own.effective_donors,
            own.strongest_weight.map_or_else(|| "-".into(), share)
        );
    }
    if overview.count > SHOWN {
        let _ = writeln!(text, "... and {} more; --task NAME has all donors of one", overview.count - SHOWN);
    }
    if let Some(allocation) = &overview.allocation {
        let _ = writeln!(
            text,
            "\nWhere {} more rows would help most: by how much they lower the mean over all tasks of the variance of predictions ({})\n",
            allocation.rows,
            figure(allocation.variance)
        );
        let shown: Vec<&Gain> = allocation.tasks.iter().take(SHOWN).collect();
        let width = self::width(shown.iter().map(|gain| gain.task.as_str()), 12);
        let _ = writeln!(
            text,
            "{:<width$}  {:>6}  {:>10}  {:>10}  {:>10}  {:>9}",
            "more rows of", "rows", "of its own", "of others", "total", "reduction"
        );
        for gain in shown {
            let _ = writeln!(
                text,
                "{:<width$}  {:>6}  {:>10}  {:>10}  {:>10}  {:>9}",
                gain.task,
                gain.rows,
                figure(gain.own),
                figure(gain.others),
                figure(gain.total()),
                percent(gain.total() / allocation.variance)
            );
        }
    }
    text
}

/// One task and its donors.
pub(crate) fn lesson_text(lesson: &Lesson, on_link: bool) -> String {
    let mut text = format!(
        "Task {}: {}, own weight {}, mean {}",
        lesson.task,
        counted(lesson.rows as usize, "row"),
        share(lesson.own),
        share(lesson.mean)
    );
    if lesson.prior != 0.0 {
        let _ = write!(text, ", prior {}", share(lesson.prior));
    }
    let _ = writeln!(text, ", {:.1} donors in effect", lesson.effective_donors);
    if let Some(explanation) = &lesson.prediction {
        let sd = lesson.sd.map_or_else(String::new, |sd| format!(" (sd {})", figure(sd)));
        let scale = if on_link { ", on the scale of the linear predictor" } else { "" };
        let _ = writeln!(text, "At the mean of its features{scale}: {}{sd}", figure(explanation.prediction));
        write_parts(explanation, &mut text);
    }
    let width = width(lesson.donors.iter().take(SHOWN).map(|own| own.task.as_str()), 14);
    let more = format!("{} more rows", lesson.more_rows);
    let _ = writeln!(
        text,
        "\n{:<width$}  {:>6}  {:>7}  {:>7}  {:>9}  {:>10}  {:>10}  {:>14}",
        "", "", "", "", "says by", "prediction", "sd", more
    );
    let _ = writeln!(
        text,
        "{:<width$}  {:>6}  {:>7}  {:>7}  {:>9}  {:>10}  {:>10}  {:>14}",
        "donor", "rows", "weight", "direct", "itself", "without it", "without it", "lower variance"
    );
    let mut line = |name: &str, own: &Given| {
        let reduction = own.reduction.zip(lesson.variance).map_or_else(|| "-".into(), |(less, all)| percent(less / all));
        let _ = writeln!(
            text,
            "{name:<width$}  {:>6}  {:>7}  {:>7}  {:>9}  {:>10}  {:>10}  {reduction:>14}",
            own.rows,
            share(own.weight),
            share(own.direct),
            optional(own.by_itself),
            optional(own.prediction_without),
            optional(own.sd_without)
        );
    };
    line("its own rows", &lesson.itself);
    lesson.donors.iter().take(SHOWN).for_each(|own| line(&own.task, own));
    if lesson.donors.len() > SHOWN {
        let _ = writeln!(text, "... and {} more (--format csv has all)", lesson.donors.len() - SHOWN);
    }
    text
}

/// What one prediction is made of.
pub(crate) fn explanation_text(explanation: &Explanation, on_link: bool) -> String {
    let scale = if on_link { ", on the scale of the linear predictor" } else { "" };
    let mut text = format!("Prediction of task {}{scale}: {}\n", explanation.task, figure(explanation.prediction));
    write_parts(explanation, &mut text);
    text
}

fn write_parts(explanation: &Explanation, text: &mut String) {
    let signed = |value: f64| if value <= 0.0 { figure(value) } else { format!("+{}", figure(value)) };
    let made = match explanation.mean_weights.is_empty() {
        true => String::new(),
        false => format!(
            "  made of {:.1} tasks in effect: {}",
            explanation.mean_effective_tasks,
            listed(&explanation.mean_weights, &|value| share(value))
        ),
    };
    let _ = writeln!(text, "  mean        {:>12}{made}", figure(explanation.mean));
    let _ = writeln!(text, "  own rows    {:>12}", signed(explanation.own));
    let parts = if explanation.parts.is_empty() { String::new() } else { format!("  {}", listed(&explanation.parts, &signed)) };
    let _ = writeln!(text, "  neighbours  {:>12}{parts}", signed(explanation.neighbours));
    if explanation.offset != 0.0 {
        let _ = writeln!(text, "  offset      {:>12}", signed(explanation.offset));
    }
}

fn listed(parts: &[Part], show: &dyn Fn(f64) -> String) -> String {
    let named: Vec<String> = parts.iter().take(NAMED).map(|part| format!("{} {}", part.task, show(part.value))).collect();
    let more = if parts.len() > NAMED { format!(", and {} more", parts.len() - NAMED) } else { String::new() };
    format!("{}{more}", named.join(", "))
}
