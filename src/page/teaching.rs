//! Who taught the tasks that learned most from others, within a fixed amount of work.

use super::numbers::number;
use crate::audit::Audit;
use crate::model::Fit;
use serde_json::{Value, json};

/// Most tasks whose donors are found, and most donors of each that are kept.
const TAUGHT: usize = 300;
const DONORS: usize = 6;

/// Multiplications that donors may take where each task is a column of a joint system.
const WORK: f64 = 1e11;

/// `{tasks: [[task, own weight, through the mean, prior, effective donors, [[donor, weight]]]], words}`: of the tasks whose own rows decide least of their deviation, up to 300 where
/// tasks are unrelated given what they share (exchangeable, factors), and along a task graph or a learned covariance as many as take some seconds.
pub(super) fn teaching_json(fit: &Fit) -> Value {
    let nothing = |words: String| json!({"tasks": [], "words": words});
    if fit.tasks().len() < 2 || matches!(fit.structure(), "independent") {
        return nothing("Tasks learn nothing from each other.".into());
    }
    let audit = match Audit::of(fit) {
        Ok(audit) => audit,
        Err(error) => return nothing(error.to_string()),
    };
    let tasks = fit.tasks().len();
    let most = if audit.shares_directly() {
        TAUGHT
    } else if audit.is_factored() {
        let size = tasks as f64 * fit.tasks().design().len() as f64;
        ((WORK / (size * size * fit.tasks().design().len() as f64)) as usize).min(TAUGHT)
    } else {
        0
    };
    let mut order: Vec<usize> = (0..tasks).collect();
    let own = |t: usize| fit.own_share(t).unwrap_or(1.0);
    order.sort_by(|a, b| own(*a).total_cmp(&own(*b)).then(a.cmp(b)));
    order.truncate(most);
    order.sort_unstable();
    if order.is_empty() {
        return nothing(
            "Tasks are too many, and too much related, for a page of donors: 'cognate audit MODEL --task NAME' finds those of one.".into(),
        );
    }
    match audit.donors_of(&order) {
        Err(error) => nothing(error.to_string()),
        Ok(all) => {
            let each = order.iter().zip(&all).map(|(t, own)| {
                let donors: Vec<Value> = own.donors.iter().take(DONORS).map(|donor| json!([donor.number, number(donor.weight)])).collect();
                json!([t, number(own.own), number(own.mean), number(own.prior), number(own.effective_donors), donors])
            });
            let words = match order.len() < tasks {
                true => format!(
                    "Donors are known of the {} tasks whose own rows decide least; 'cognate audit MODEL --task NAME' finds those of any.",
                    order.len()
                ),
                false => String::new(),
            };
            json!({"tasks": each.collect::<Vec<_>>(), "words": words})
        }
    }
}
