//! An update in words: what was added, and whether it goes with what the fit had learned.

use crate::transfer::{Drift, Move, TaskChange, Update};

/// Most tasks that are named.
const NAMED: usize = 5;

/// All that an update found; drift is the reason in words where it was not tested.
pub(crate) fn update_json(update: &Update) -> serde_json::Value {
    let drift = match update.drift() {
        Ok(drift) => serde_json::json!(drift),
        Err(reason) => serde_json::json!({ "not_tested": reason }),
    };
    serde_json::json!({ "rows_added": update.rows(), "rows": update.fit().tasks().rows(), "drift": drift, "tasks": update.changes(), "repeated": update.repeated() })
}

/// The lines, of drift and changed tasks those with a probability below `alarm` by chance.
pub(crate) fn update_notes(update: &Update, alarm: f64) -> Vec<String> {
    let fit = update.fit();
    let mut lines = vec![format!("{} rows added; {} rows of {} tasks", update.rows(), fit.tasks().rows(), fit.tasks().len())];
    if let [first, others @ ..] = update.repeated() {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
        lines.push(format!("the rows of {first}{more} are those that the fit had, and now count twice; give new rows only"));
    }
    match update.drift() {
        Err(reason) => lines.push(format!("drift not tested: {reason}")),
        Ok(drift) if drift.freedom == 0 => lines.push("drift not tested: the new rows say next to nothing of the hyperparameters".into()),
        Ok(drift) if drift.p_value < alarm => lines.push(drifted(drift)),
        Ok(drift) => lines.push(format!("the hyperparameters still fit (p = {:.2})", drift.p_value)),
    }
    let changed = update.changed(alarm);
    if !changed.is_empty() {
        lines.push(format!("not as the fit knew them: {}", tasks(&changed)));
    }
    lines
}

fn drifted(drift: &Drift) -> String {
    /// Standard deviations from which on a hyperparameter is named beside the one that has moved most.
    const FAR: f64 = 3.0;
    let mut moved: Vec<&Move> = drift.hyperparameters.iter().collect();
    moved.sort_by(|a, b| b.z.abs().total_cmp(&a.z.abs()));
    let named = moved.iter().filter(|own| own.z.abs() > FAR).count().clamp(1, NAMED);
    let of = |own: &&Move| match (own.name.as_str(), own.ratio.is_finite()) {
        ("noise", _) => format!("noise about {:.2} times as large", own.ratio),
        (name, true) => format!("tasks vary about {:.2} times as far in {name}", own.ratio),
        (name, false) => format!("tasks vary in {name}, where they did not"),
    };
    let which = moved.iter().take(named).map(of).collect::<Vec<_>>().join(", ");
    format!(
        "the hyperparameters no longer fit (p {}): {which}; a refit would gain about {:.1} in log-likelihood: fit all rows anew",
        probability(drift.p_value),
        drift.gain
    )
}

fn tasks(changed: &[&TaskChange]) -> String {
    let of = |own: &&TaskChange| format!("{} (p {})", own.task, probability(own.p_value));
    let more = if changed.len() > NAMED { format!(" and {} more", changed.len() - NAMED) } else { String::new() };
    changed.iter().take(NAMED).map(of).collect::<Vec<_>>().join(", ") + &more
}

fn probability(p: f64) -> String {
    if p < 1e-4 { "< .0001".into() } else { format!("= {p:.4}") }
}
