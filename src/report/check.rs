//! Whether a fit can be believed, as pages to read.

use super::counted;
use super::text::{SHOWN, figure};
use crate::check::{Check, Of, Origin, Quantity, RATE, TaskResiduals};
use crate::model::Fit;
use std::fmt::Write;

/// A probability with three digits after the point, or what it is a small one.
pub(super) fn probability(p: f64) -> String {
    if p >= 5e-4 { format!("{p:.3}") } else { format!("{p:.1e}") }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// Rows with targets against the forecasts of a fit.
pub(crate) fn check_text(check: &Check, fit: &Fit) -> String {
    let mut text = format!(
        "Check of {} of {} against a {} model, structure {}\n",
        counted(check.rows, "row"),
        counted(check.count, "task"),
        fit.family(),
        fit.structure()
    );
    if !fit.converged() {
        let _ = writeln!(text, "The fit did not converge ({}): nothing below may be believed before it does.", fit.stop());
    }
    let whose = match (check.origin, check.left_out) {
        (Origin::Fit, true) => {
            "The rows are those of the fit. Each is judged by a forecast that leaves it out, at the fitted hyperparameters; held-out rows can tell more."
        }
        (Origin::Fit, false) => {
            "The rows are those of the fit, and their forecasts have seen them: what is wrong shows less than it would on held-out rows."
        }
        (Origin::Part, true) => {
            "Of some tasks the rows are those of the fit: each of these is judged by a forecast that leaves it out. Others are taken as held out."
        }
        (Origin::Part, false) => {
            "Of some tasks the rows are those of the fit, and their forecasts have seen them: what is wrong shows less than it would on held-out rows."
        }
        (Origin::Others, _) => {
            "Of no task are the rows those of the fit: they are taken as held out. (If they are a part of them, what is wrong shows too little.)"
        }
    };
    let _ = writeln!(text, "{whose}");
    if check.new_tasks > 0 {
        let _ = writeln!(text, "{} of the tasks are not of the fit and are forecast from the prior.", check.new_tasks);
    }
    if check.unjudged > 0 {
        let _ = writeln!(text, "{} decide their own forecast and are not judged.", counted(check.unjudged, "row"));
    }
    write_pit(check, &mut text);
    write_residuals(check, &mut text);
    if let Some(quantities) = &check.replicated {
        write_replicated(quantities, &mut text);
    }
    text
}

fn write_pit(check: &Check, text: &mut String) {
    let pit = &check.pit;
    let _ = writeln!(text, "\nCalibration: where targets fall in their forecasts, by tenths (10 % in each where these are calibrated)");
    for (k, share) in pit.shares.iter().enumerate() {
        // Two signs a per cent.
        let bar = "#".repeat((200.0 * share).round().min(100.0) as usize);
        let _ = writeln!(text, "  {:.1} to {:.1}  {:>6}  {bar}", k as f64 / 10.0, (k + 1) as f64 / 10.0, percent(*share));
    }
    let _ = writeln!(
        text,
        "  flat, with the rows of a task taken as alike: F = {:.2} with {:.1} degrees of freedom, p = {}",
        pit.statistic,
        pit.freedom.0,
        probability(pit.p_value)
    );
    let error = |se: Option<f64>, unit: f64| se.map_or_else(String::new, |se| format!(" (se {:.3})", unit * se));
    for own in &pit.coverage {
        let se = own.covered_se.map_or_else(String::new, |se| format!(" (se {})", percent(se)));
        let _ = writeln!(text, "  within the {:.0} % interval: {}{se}", 100.0 * own.level, percent(own.covered));
    }
    let _ = writeln!(text, "  normal scores: mean {:.3}{}, standard deviation {:.3}", pit.bias, error(pit.bias_se, 1.0), pit.spread);
    if pit.findings.is_empty() {
        let _ = writeln!(text, "  Nothing is wrong beyond chance.");
    }
    pit.findings.iter().for_each(|finding| {
        let _ = writeln!(text, "  - {finding}");
    });
}

/// What is wrong with a task, in words.
fn said(own: &TaskResiduals) -> &'static str {
    let beside = own.z.map_or(0.0, f64::abs);
    let spread = own.spread.zip(own.spread_interval);
    match (beside > 3.0, spread) {
        (_, Some((ratio, (low, _)))) if low > 1.0 && (beside <= 3.0 || (ratio > 2.0 && own.mean.abs() < ratio)) => {
            "noisier than the model says"
        }
        (false, Some((_, (_, high)))) if high < 1.0 => "less noisy than the model says",
        _ if own.mean > 0.0 => "above its forecasts",
        _ => "below its forecasts",
    }
}

fn write_residuals(check: &Check, text: &mut String) {
    let misfits = check.misfits();
    let _ = writeln!(
        text,
        "\nResiduals by task: {} of {} not fit, at a false discovery rate of {RATE}",
        misfits,
        match check.count {
            1 => "1 task does".to_string(),
            count => format!("{count} tasks do"),
        }
    );
    let shown = &check.tasks[..check.tasks.len().min(if misfits > 0 { misfits.min(SHOWN) } else { 5 })];
    let width = shown.iter().map(|own| own.task.chars().count()).max().unwrap_or(0).max(11);
    let _ = writeln!(
        text,
        "{:<width$}  {:>6}  {:>7}  {:>6}  {:>6}  {:>16}  {:>8}  {:>8}",
        if misfits > 0 { "do not fit" } else { "fit worst" },
        "rows",
        "mean",
        "z",
        "spread",
        "95 % interval",
        "beyond 3",
        "q"
    );
    for own in shown {
        let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let _ = write!(
            text,
            "{:<width$}  {:>6}  {:>7.3}  {:>6}  {:>6}  {:>16}  {:>8}  {:>8}",
            own.task,
            own.rows,
            own.mean,
            or_dash(own.z.map(|z| format!("{z:.2}"))),
            or_dash(own.spread.map(|ratio| format!("{ratio:.2}"))),
            or_dash(own.spread_interval.map(|(low, high)| format!("{low:.2} to {high:.2}"))),
            own.beyond,
            or_dash(own.q_value.map(probability))
        );
        let _ = match own.q_value.is_some_and(|q| q <= RATE) {
            true => writeln!(text, "  {}{}", said(own), if own.known { "" } else { " (new)" }),
            false => writeln!(text),
        };
    }
    if misfits > SHOWN {
        let _ = writeln!(text, "... and {} more; --format csv has all", misfits - SHOWN);
    }
    let total: usize = check.tasks.iter().map(|own| own.beyond).sum();
    let _ = writeln!(text, "Scores beyond 3: {total}, where {} are expected.", figure(0.0027 * check.rows as f64));
}

/// Probability on both sides below which a quantity is said to be off.
const OFF: f64 = 0.01;

fn write_replicated(quantities: &[Quantity], text: &mut String) {
    let _ = writeln!(text, "\nReplicated data: what the model would have made of the same rows");
    let place = |own: &Quantity| {
        let of = match own.of {
            Of::Targets => "targets",
            Of::Residuals => "residuals, over their sd",
            Of::Tasks => "means of tasks, their deviations drawn anew",
        };
        own.group.as_ref().map_or_else(|| of.to_string(), |group| format!("{group}: {of}"))
    };
    let width = quantities.iter().map(|own| own.name.len() + 2).max().unwrap_or(0).max(20);
    let _ = writeln!(text, "{:<width$}  {:>12}  {:>12}  {:>26}  {:>6}", "", "observed", "replicated", "95 % of replications", "p");
    let mut last = String::new();
    for own in quantities {
        if place(own) != last {
            last = place(own);
            let _ = writeln!(text, "{last}");
        }
        let side = if own.observed > own.replicated { "larger" } else { "smaller" };
        let off = if own.p_value < OFF { format!("  {side} than the model makes it") } else { String::new() };
        let range = format!("{} to {}", figure(own.lower), figure(own.upper));
        let name = format!("  {}", own.name);
        let _ = writeln!(
            text,
            "{name:<width$}  {:>12}  {:>12}  {range:>26}  {:>6.3}{off}",
            figure(own.observed),
            figure(own.replicated),
            own.p_value
        );
    }
}
