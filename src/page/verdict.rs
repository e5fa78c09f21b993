//! What a fit says of its tasks, in words with the figures: what is shared, how strongly and with what certainty.

use crate::check::Check;
use crate::figures::Relation;
use crate::linalg;
use crate::model::{Fit, Intervals};
use crate::report::{counted, visibility_text};
use crate::tasks::INTERCEPT;
use serde_json::Value;

/// Three digits, without those that say nothing.
fn short(value: f64) -> String {
    let digits = (2 - value.abs().max(1e-12).log10().floor() as i32).clamp(0, 6) as usize;
    let text = format!("{value:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

/// The sentences of the verdict; `links` is what [`links_json`](super::relations::links_json) made.
pub(super) fn verdict(fit: &Fit, relation: Option<&Relation>, links: &Value) -> Vec<String> {
    let mut said = vec![shared(fit, relation, links)];
    said.extend(strength(fit));
    said.extend(certainty(fit));
    said.extend(guard(fit));
    if !fit.let_go().is_empty() {
        let names: Vec<&str> = fit.let_go().iter().take(5).map(|t| fit.tasks().names()[*t].as_str()).collect();
        said.push(format!(
            "{} vary at least three times as far as the others and are let go: {}{}.",
            counted(fit.let_go().len(), "task"),
            names.join(", "),
            if fit.let_go().len() > 5 { ", ..." } else { "" }
        ));
    }
    if !fit.converged() {
        said.push(format!("The fit has not converged ({}): figures may still move.", fit.stop()));
    }
    said
}

/// What rows with targets say of the forecasts.
pub(super) fn believed(check: &Check) -> String {
    let inside = check.pit.coverage.last().map_or(String::new(), |own| {
        format!("{:.1} % of their targets lie within intervals of {:.0} %, and ", 100.0 * own.covered, 100.0 * own.level)
    });
    let (rows, tasks) = (counted(check.rows, "row"), counted(check.count, "task"));
    format!("Held against {rows} of {tasks}: {inside}{} of the tasks do not fit (false discovery rate of .05).", check.misfits())
}

/// What tasks vary about.
fn about(fit: &Fit) -> &'static str {
    if fit.prior().mean_features.is_empty() { "vary about 0" } else { "share a common mean" }
}

/// What is shared.
fn shared(fit: &Fit, relation: Option<&Relation>, links: &Value) -> String {
    let tasks = counted(fit.tasks().len(), "task");
    let (prior, about) = (fit.prior(), about(fit));
    match fit.structure() {
        "independent" => format!("Nothing is shared: each of {tasks} is fitted to its own rows alone."),
        "pooled" => format!("Everything is shared: {tasks} have the same parameters."),
        "pooled-intercepts" => format!("All but the level is shared: {tasks} have the same parameters and an intercept each."),
        "clusters" => clusters(fit),
        "factor" => match fit.loadings().map(|own| &own.shares).filter(|shares| !shares.is_empty()) {
            Some(shares) => format!(
                "{tasks} {about} and have {} in common, which make{} {} of the variance between them; the rest is each task's own.",
                counted(shares.len(), "factor"),
                if shares.len() == 1 { "s" } else { "" },
                percent(shares.iter().sum())
            ),
            None => format!("{tasks} {about} and have no factor in common: no relation between them is seen beyond that."),
        },
        "kernel" => match &prior.kernel {
            Some(kernel) => format!(
                "{tasks} {about} and are alike as their descriptors are; descriptors do not tell {} of the variance between them.",
                percent(kernel.nugget)
            ),
            None => format!("{tasks} are alike as their descriptors are."),
        },
        "known" => format!("{tasks} {about} and are related as was given."),
        "graph" => graph(fit, links),
        "full" => full(fit, relation, links),
        _ if prior.mean_features.is_empty() => {
            format!("{tasks} vary about 0: each learns from the others how far tasks vary, and no more.")
        }
        _ if prior.task_scales.is_some() => format!(
            "{tasks} share a common mean, about which each varies by a scale of its own: each learns from all others, by as much as its own rows leave open."
        ),
        _ => format!(
            "{tasks} share a common mean, about which all vary alike: each learns from all others, by as much as its own rows leave open."
        ),
    }
}

fn clusters(fit: &Fit) -> String {
    let sizes: Vec<String> = fit.clusters().iter().map(|own| format!("{:.0}", own.size)).collect();
    let sure = fit.memberships().map_or(0, |all| all.column_iter().filter(|own| own.max() > 0.95).count());
    format!(
        "{} fall into {} of about {} tasks, each with a mean of its own; of {sure} it is all but certain where they belong (probability above .95).",
        counted(fit.tasks().len(), "task"),
        counted(sizes.len(), "cluster"),
        sizes.join(", ")
    )
}

/// The name of an end of an edge.
fn name(fit: &Fit, task: &Value) -> String {
    let number = task.as_u64().unwrap_or(0) as usize;
    fit.tasks().names().get(number).cloned().unwrap_or_default()
}

fn graph(fit: &Fit, links: &Value) -> String {
    let graph = fit.graph();
    let edges = graph.edges().count();
    let (tasks, about) = (counted(fit.tasks().len(), "task"), about(fit));
    let mut text = match edges {
        0 => format!("{tasks} {about}; no two are more likely than not related beyond that."),
        1 => format!("{tasks} {about}, and one pair is more likely than not related beyond that."),
        _ => format!("{tasks} {about}, and {edges} pairs are more likely than not related beyond that."),
    };
    if let Some(first) = links["edges"].get(0).and_then(Value::as_array).filter(|_| edges > 0) {
        let figure = |k: usize| first[k].as_f64();
        let interval = figure(4).zip(figure(5)).map_or(String::new(), |(low, high)| format!(" (95 %: {low:.2} to {high:.2})"));
        let probability = figure(3).map_or(String::new(), |own| format!(", probability {own:.3}"));
        text += &format!(
            " The surest: {} and {}, partial correlation {:.2}{interval}{probability}.",
            name(fit, &first[0]),
            name(fit, &first[1]),
            figure(2).unwrap_or(0.0)
        );
    }
    text
}

fn full(fit: &Fit, relation: Option<&Relation>, links: &Value) -> String {
    let tasks = fit.tasks().len();
    let count = counted(tasks, "task");
    let pairs = tasks * tasks.saturating_sub(1) / 2;
    let mean = relation.filter(|_| pairs > 0).map(|own| {
        let sum: f64 = (0..tasks).flat_map(|t| (0..t).map(move |s| (s, t))).map(|(s, t)| own.between(s, t).powi(2)).sum();
        (sum / pairs as f64).sqrt()
    });
    let mean = mean.map_or(String::new(), |own| format!("; correlations of their deviations have a root mean square of {own:.2}"));
    let sure = links["certainty"].is_string().then(|| {
        let edges = links["edges"].as_array().map_or(&[][..], Vec::as_slice);
        let count = edges.iter().filter(|own| own[3].as_f64().is_some_and(|p| p > 0.95)).count();
        format!(", and of {count} of {pairs} the sign is sure (local false sign rate below .05)")
    });
    format!("{count} {}{mean}{}.", about(fit), sure.unwrap_or_default())
}

/// How strongly.
fn strength(fit: &Fit) -> Option<String> {
    if !fit.prior().relatedness.varies() {
        return None;
    }
    let mut shares: Vec<f64> = (0..fit.tasks().len()).filter_map(|t| fit.own_share(t)).collect();
    if shares.is_empty() {
        return None;
    }
    shares.sort_by(f64::total_cmp);
    let (least, middle, most) = (shares[0], shares[shares.len() / 2], shares[shares.len() - 1]);
    let mut text = format!(
        "A task's own rows decide {} of its deviation in the middle task ({} to {}); the rest comes from what tasks share.",
        percent(middle),
        percent(least),
        percent(most)
    );
    let component = |name: &str| fit.variance_components().iter().find(|own| own.name == name);
    if let (Some(level), Some(noise)) = (component(INTERCEPT), component("noise")) {
        text += &format!(
            " Levels differ between tasks by a standard deviation of {} (95 %: {} to {}), rows within a task by {} ({} to {}).",
            short(level.estimate),
            short(level.low),
            short(level.high),
            short(noise.estimate),
            short(noise.low),
            short(noise.high)
        );
    }
    Some(text)
}

/// With what certainty.
fn certainty(fit: &Fit) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(visibility) = fit.visibility() {
        said.push(format!("What can be seen at all, with {}.", visibility_text(visibility)));
    }
    said.push(match fit.intervals_reason() {
        _ if fit.intervals() == Intervals::Full => "Intervals (95 %) carry the uncertainty of variances and noise.".into(),
        None => "Intervals (95 %) take variances and noise as known.".into(),
        Some(reason) => format!("Intervals (95 %) take variances and noise as known: {reason}."),
    });
    if fit.log_likelihood_is_bound() {
        said.push("The posterior is approximated by the nearest Gaussian, so that the log-likelihood is a lower bound.".into());
    }
    said
}

fn guard(fit: &Fit) -> Option<String> {
    let gains = fit.gains();
    let sure = gains.iter().filter(|own| own.low > 0.0).count();
    let detached = fit.detached();
    let more = if detached.len() > 10 { format!(" and {} more", detached.len() - 10) } else { String::new() };
    let names = detached.iter().take(10).cloned().collect::<Vec<_>>().join(", ");
    (!gains.is_empty()).then(|| match detached.is_empty() {
        true => format!("By cross-validation {sure} of {} tasks gain by sharing for sure, and none is expected to lose.", gains.len()),
        false => format!(
            "By cross-validation {sure} of {} tasks gain by sharing for sure; {} expected to lose and fitted alone: {names}{more}.",
            gains.len(),
            if detached.len() == 1 { "one is".into() } else { format!("{} are", detached.len()) }
        ),
    })
}

/// The correlations of features in which tasks differ, where any is learned: `[names, rows below the diagonal]`.
pub(super) fn feature_correlations(fit: &Fit) -> Value {
    const WIDEST: usize = 40;
    let (names, covariance) = fit.feature_covariance();
    let is_learned = fit.feature_covariance_kind() == Some(crate::structure::FeatureCovariance::Full);
    if !is_learned || names.len() < 2 || names.len() > WIDEST {
        return Value::Null;
    }
    let all = linalg::correlation(&covariance);
    let rows: Vec<Vec<Value>> = (0..names.len()).map(|k| (0..k).map(|j| super::numbers::number(all[(k, j)])).collect()).collect();
    serde_json::json!([names, rows])
}
