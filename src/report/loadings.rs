//! The factors that tasks share, as lines of the page.

use super::text::figure;
use crate::model::Loadings;

/// Most tasks that are named for a factor.
const LEADING: usize = 8;

/// Of every factor its share of the variance between tasks and the tasks of largest loadings; what tasks have for themselves.
pub(crate) fn loadings_text(loadings: &Loadings, names: &[String]) -> String {
    let count = loadings.shares.len();
    let mut text = match count {
        0 => "\nNo factor: no relatedness that chance would not make\n".to_string(),
        _ => "\nFactors that tasks share (loadings with standard errors):\n".to_string(),
    };
    for j in 0..count {
        let own = loadings.loadings.column(j);
        let mut order: Vec<usize> = (0..own.len()).collect();
        order.sort_by(|a, b| own[*b].abs().total_cmp(&own[*a].abs()));
        let error = |t: usize| loadings.standard_errors.get((t, j)).map_or(String::new(), |se| format!(" ({se:.2})"));
        let named: Vec<String> = order.iter().take(LEADING).map(|t| format!("{} {:+.2}{}", names[*t], own[*t], error(*t))).collect();
        let more = if order.len() > LEADING { ", ..." } else { "" };
        text.push_str(&format!("  {}: {:.1} % of the variance; {}{more}\n", j + 1, 100.0 * loadings.shares[j], named.join(", ")));
    }
    let mut own: Vec<f64> = loadings.uniquenesses.iter().copied().collect();
    own.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (own.first(), own.last()) {
        let middle = figure(own[own.len() / 2]);
        text.push_str(&format!("  variance of a task for itself: {} to {}, median {middle}\n", figure(*least), figure(*most)));
    }
    text
}
