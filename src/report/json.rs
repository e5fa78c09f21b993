//! The JSON that `--format json` prints; keys are only ever added to.

use crate::graph::TaskGraph;
use crate::model::{Fit, Loadings, Null, NullTest, VarianceComponent, VarianceTest};
use nalgebra::{DMatrix, DVector};
use serde_json::{Map, Value, json};

/// Most tasks for which the relatedness matrix is printed.
const MOST_TASKS: usize = 500;

/// A finite number, or null.
fn number(value: f64) -> Value {
    serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number)
}

fn matrix(matrix: &DMatrix<f64>) -> Value {
    Value::Array((0..matrix.nrows()).map(|i| Value::Array((0..matrix.ncols()).map(|j| number(matrix[(i, j)])).collect())).collect())
}

fn named(names: &[String], values: impl Iterator<Item = f64>) -> Value {
    Value::Object(names.iter().cloned().zip(values.map(number)).collect::<Map<_, _>>())
}

/// A task graph: `{nodes: [{task, precision}], edges: [{source, target, partial_correlation, precision, probability,
/// sign_probability, low, high}], communities: [[task]]}`, communities of at least two tasks only.
pub fn graph_json(graph: &TaskGraph) -> Value {
    let name = |t: usize| graph.node(t).task.clone();
    let nodes: Vec<Value> = (0..graph.len()).map(|t| json!({"task": name(t), "precision": number(graph.node(t).precision)})).collect();
    let edges: Vec<Value> = graph
        .edges()
        .map(|(s, t, edge)| {
            json!({
                "source": name(s),
                "target": name(t),
                "partial_correlation": if edge.is_membership() { Value::Null } else { number(edge.partial_correlation) },
                "precision": number(edge.precision),
                "probability": edge.probability.map_or(Value::Null, number),
                "sign_probability": edge.sign_probability.map_or(Value::Null, number),
                "low": edge.interval.map_or(Value::Null, |(low, _)| number(low)),
                "high": edge.interval.map_or(Value::Null, |(_, high)| number(high)),
                "lfsr": edge.local_false_sign_rate().map_or(Value::Null, number),
                "score": edge.score.map_or(Value::Null, number),
            })
        })
        .collect();
    json!({"nodes": nodes, "edges": edges, "communities": super::communities(graph)})
}

/// A null test: `{null, count, p_value, expected_edges, expected_edges_of_nulls, rate, with_any_edge}`.
pub fn null_json(null: Null, test: &NullTest, rate: f64) -> Value {
    json!({
        "null": super::null_name(null),
        "count": test.nulls.len(),
        "p_value": number(test.p_value()),
        "expected_edges": number(test.observed.expected),
        "expected_edges_of_nulls": number(test.expected_of_nulls()),
        "rate": number(rate),
        "with_any_edge": test.with_any_edge(rate),
    })
}

/// What a simulated table was drawn from, in the table's units.
pub(crate) struct Truth<'a> {
    pub seed: u64,
    pub tasks: &'a [String],
    pub features: &'a [String],
    pub mean: &'a DVector<f64>,
    pub feature_covariance: &'a DMatrix<f64>,
    pub graph_features: Vec<&'a String>,
    pub relatedness: Option<&'a DMatrix<f64>>,
    pub graph: &'a TaskGraph,
    pub parameters: &'a [DVector<f64>],
    pub noise_sd: f64,
}

/// The truth of a simulation as one object.
pub(crate) fn truth_json(truth: &Truth) -> Value {
    let parameters: Map<String, Value> =
        (truth.tasks.iter().cloned()).zip(truth.parameters.iter().map(|w| named(truth.features, w.iter().copied()))).collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "seed": truth.seed,
        "noise_sd": number(truth.noise_sd),
        "mean": named(truth.features, truth.mean.iter().copied()),
        "feature_covariance": {"features": truth.features, "matrix": matrix(truth.feature_covariance)},
        "graph_features": truth.graph_features,
        "relatedness": truth.relatedness.filter(|r| r.nrows() <= MOST_TASKS).map_or(Value::Null, |r| json!({"tasks": truth.tasks, "matrix": matrix(r)})),
        "graph": graph_json(truth.graph),
        "parameters": parameters,
    })
}

/// The whole fit with tests of its variances: `{.., variance_tests: [{feature, statistic, parameters, p_value}]}`.
pub(crate) fn tested_json(fit: &Fit, tests: &[VarianceTest]) -> Value {
    let mut all = fit_json(fit);
    let test = |own: &VarianceTest| json!({"feature": own.feature, "statistic": number(own.statistic), "parameters": own.parameters, "p_value": number(own.p_value)});
    if let (Value::Object(map), false) = (&mut all, tests.is_empty()) {
        map.insert("variance_tests".into(), tests.iter().map(test).collect());
    }
    all
}

/// Means of a group, their standard errors and their intervals, by feature.
fn means(fit: &Fit, group: usize) -> [Value; 3] {
    let with_mean = &fit.prior().mean_features;
    let names: Vec<String> = with_mean.iter().map(|f| fit.tasks().design().features()[*f].clone()).collect();
    let (mean, errors, intervals) =
        (fit.mean_of_group(group), fit.mean_covariance_of_group(group), fit.mean_intervals_of_group(group, 0.95));
    let interval = |(low, high): (f64, f64)| json!({"low": number(low), "high": number(high)});
    let intervals = names.iter().cloned().zip(with_mean.iter().map(|f| interval(intervals[*f]))).collect();
    [
        named(&names, with_mean.iter().map(|f| mean[*f])),
        named(&names, with_mean.iter().map(|f| errors[(*f, *f)].max(0.0).sqrt())),
        Value::Object(intervals),
    ]
}

/// Of the structure clusters `{clusters: [{share, size, scale, mean, mean_se}], none: {share, size}, tasks: {task: {cluster, probabilities}}}`: clusters numbered
/// from 1, the last probability that of none (whose number is null); null for other structures.
fn clusters(fit: &Fit) -> Value {
    let (Some(probabilities), Some(mixture)) = (fit.memberships(), &fit.prior().mixture) else { return Value::Null };
    let features = fit.tasks().design().features();
    let each: Vec<Value> = fit
        .clusters()
        .iter()
        .map(|own| {
            json!({
                "share": number(own.share),
                "size": number(own.size),
                "scale": number(own.scale),
                "mean": named(features, own.mean.iter().copied()),
                "mean_se": named(features, own.mean_covariance.diagonal().iter().map(|v| v.max(0.0).sqrt())),
            })
        })
        .collect();
    let tasks: Map<String, Value> = (fit.tasks().names().iter().enumerate())
        .map(|(t, name)| {
            let own: Vec<Value> = probabilities.column(t).iter().map(|value| number(*value)).collect();
            (name.clone(), json!({"cluster": fit.cluster_of(t).map(|c| c + 1), "probabilities": own}))
        })
        .collect();
    let none = json!({"share": number(mixture.shares[each.len()]), "size": number(probabilities.row(each.len()).sum())});
    json!({"clusters": each, "none": none, "tasks": tasks})
}

/// What tasks have of the factors that they share: a row a task, a column a factor.
fn loadings_json(loadings: &Loadings, names: &[String]) -> Value {
    let numbers = |values: &[f64]| values.iter().map(|value| number(*value)).collect::<Vec<_>>();
    json!({
        "tasks": names,
        "matrix": matrix(&loadings.loadings),
        "standard_errors": matrix(&loadings.standard_errors),
        "uniquenesses": numbers(loadings.uniquenesses.as_slice()),
        "shares": numbers(&loadings.shares),
    })
}

/// The whole fit as one object.
pub fn fit_json(fit: &Fit) -> Value {
    let tasks = fit.tasks();
    let design = tasks.design();
    let features = design.features();
    let (varying, covariance) = fit.feature_covariance();
    let prior = fit.prior();
    let grouped = prior.groups.are_several();
    let coordinates = fit.coordinates();
    let columns = &features[usize::from(design.has_intercept())..];
    let noise = match (fit.inference(), fit.dispersion().is_each()) {
        _ if tasks.are_estimates() => Value::Null,
        (Some(_), _) => Value::Null,
        (None, false) => number(fit.noise_variance(0)),
        (None, true) => named(tasks.names(), (0..tasks.len()).map(|t| fit.noise_variance(t))),
    };
    let block = |t: usize| Value::Object(fit.family_dispersion(t).into_iter().map(|(name, value)| (name, number(value))).collect());
    let dispersion = if grouped {
        Value::Null
    } else if fit.dispersion().is_each() && fit.inference().is_some() {
        Value::Object((0..tasks.len()).map(|t| (tasks.names()[t].clone(), block(t))).collect())
    } else {
        block(0)
    };
    let relatedness = if tasks.len() <= MOST_TASKS {
        fit.relatedness().map_or(Value::Null, |r| json!({"tasks": tasks.names(), "matrix": matrix(&r)}))
    } else {
        Value::Null
    };
    // Of several groups each has means of its own.
    let [mean, mean_se, mean_intervals] = if grouped { [Value::Null, Value::Null, Value::Null] } else { means(fit, 0) };
    let groups: Vec<Value> = (0..tasks.groups().len())
        .map(|g| {
            let members: Vec<&String> = tasks.members(g).map(|t| &tasks.names()[t]).collect();
            let first = tasks.members(g).next();
            let [mean, mean_se, mean_intervals] = means(fit, g);
            json!({
                "group": tasks.groups()[g],
                "family": first.map(|t| fit.family_of(t)),
                "tasks": members,
                "scale": number(prior.groups.scales.get(g).copied().unwrap_or(1.0)),
                "dispersion": first.map(block),
                "mean": mean,
                "mean_se": mean_se,
                "mean_intervals": mean_intervals,
            })
        })
        .collect();
    let component = |own: &VarianceComponent| json!({"name": own.name, "estimate": number(own.estimate), "low": number(own.low), "high": number(own.high)});
    let components: Vec<Value> = fit.variance_components().iter().map(component).collect();
    let fitted_names: Vec<&String> = prior.varying.iter().map(|f| &features[*f]).collect();
    let mut all = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "family": fit.family(),
        "inference": fit.inference(),
        "structure": fit.structure(),
        "target": if tasks.are_estimates() { Value::Null } else { json!(tasks.target()) },
        "from_summaries": tasks.are_estimates(),
        "tasks": tasks.len(),
        "rows": tasks.rows(),
        "features": features,
        "varying": fitted_names,
        "graph_features": prior.related_features().map(|f| &features[f]).collect::<Vec<_>>(),
        "log_likelihood": if fit.log_likelihood_error().is_none() { number(fit.log_likelihood()) } else { Value::Null },
        "log_likelihood_estimate": fit.log_likelihood_error().map_or(Value::Null, |_| number(fit.log_likelihood())),
        "log_likelihood_estimate_se": fit.log_likelihood_error().map_or(Value::Null, number),
        "log_likelihood_is_bound": fit.log_likelihood_is_bound(),
        "log_likelihood_kind": fit.log_likelihood_kind(),
        "evidence": fit.evidence().map_or(Value::Null, |own| json!({
            "log_likelihood": number(own.log_likelihood),
            "standard_error": number(own.standard_error),
            "sampled": own.sampled,
            "pareto_k": named(tasks.names(), own.pareto_k.iter().copied()),
        })),
        "log_posterior": number(fit.log_posterior()),
        "parameters": fit.parameters(),
        "aic": fit.aic().map_or(Value::Null, number),
        "bic": fit.bic().map_or(Value::Null, number),
        "converged": fit.converged(),
        "iterations": fit.trace().len(),
        "mean": mean,
        "mean_se": mean_se,
        "mean_intervals": mean_intervals,
        "groups": groups,
        "intervals": fit.intervals(),
        "intervals_reason": fit.intervals_reason(),
        "intervals_effective_points": fit.effective_points().map_or(Value::Null, number),
        "variance_components": components,
        "dropped": fit.dropped(),
        "feature_covariance": {"features": varying, "matrix": matrix(&covariance)},
        "feature_covariance_fitted": {
            "features": fitted_names,
            "matrix": matrix(&(prior.feature_covariance() * coordinates.target_scale.powi(2))),
            "centre": named(columns, coordinates.centre.iter().copied()),
            "scale": named(columns, coordinates.scale.iter().copied()),
        },
        "noise_variance": noise,
        "residual_correlation": fit
            .residual_correlation()
            .filter(|_| tasks.len() <= MOST_TASKS)
            .map_or(Value::Null, |r| json!({"tasks": tasks.names(), "matrix": matrix(&r)})),
        "dispersion": dispersion,
        "relatedness": relatedness,
        "graph": graph_json(&fit.graph()),
        "visibility": fit.visibility(),
        "warnings": fit.warnings(),
    });
    all["clusters"] = clusters(fit);
    all["guard"] = match fit.gains() {
        [] => Value::Null,
        gains => json!({"gains": gains, "detached": fit.detached()}),
    };
    all["variance_components_reason"] = fit.variance_components_reason().into();
    all["prior_strength"] = fit.prior_strength().into();
    all["kernel"] = super::kernel::kernel_json(fit);
    all["task_scales"] = fit.task_scales().map_or(
        Value::Null,
        |own| json!({"degrees_of_freedom": number(own.degrees_of_freedom), "scales": named(tasks.names(), own.values.iter().copied())}),
    );
    if let Value::Object(map) = &mut all {
        map.insert("loadings".into(), fit.loadings().map_or(Value::Null, |own| loadings_json(own, tasks.names())));
    }
    all
}
