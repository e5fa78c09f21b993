//! `cognate graph`: the task graph of a model, its edges at a false discovery rate, and whether chance would make as many.

use super::edges::{EdgeArgs, EdgesArg, sampled_edges};
use super::progress::Progress;
use super::run::{csv_text, json};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::model::{Fit, Null, NullTest};
use crate::report;
use crate::structure::{CandidateRule, EdgeMethod, FeatureCovariance, Graph};
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Sweeps of a null and of the data beside it: a p-value needs no more.
const SWEEPS: usize = 200;

/// Rate at which nulls are asked for any edge where none is given.
const RATE: f64 = 0.1;

#[derive(Debug, Args)]
pub(super) struct GraphArgs {
    /// Model file
    pub model: PathBuf,
    /// Sample the edge probabilities anew, at the exchangeable fit to the model's statistics and where the model looked for edges,
    /// unless --graph or --candidates says otherwise
    #[arg(long, value_parser = sampled_edges())]
    edges: Option<EdgesArg>,
    #[command(flatten)]
    search: EdgeArgs,
    /// Compare with so many data sets without relations, of each of two kinds: parametric (targets drawn anew from the
    /// exchangeable model) and rotation (every task's features rotated by themselves)
    #[arg(long, value_name = "N")]
    pub null: Option<usize>,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// The largest set of edges whose expected share of false ones is at most this (default: those more likely than not)
    #[arg(long, value_name = "RATE")]
    pub fdr: Option<f64>,
    /// Output format
    #[arg(long, value_enum, default_value_t = GraphFormat::Text)]
    pub format: GraphFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum GraphFormat {
    Text,
    Json,
    Dot,
    Graphml,
    Csv,
}

impl GraphArgs {
    /// How edges are to be sampled anew, if at all.
    pub(super) fn method(&self) -> Option<EdgeMethod> {
        let elsewhere = self.search.graph.is_some() || self.search.candidates.is_some();
        match self.edges.map(EdgeMethod::from) {
            None if self.null.is_some() || elsewhere => Some(EdgeMethod::Auto),
            given => given,
        }
    }

    /// The sampler of that method for a model.
    pub(super) fn sampler(&self, fit: &Fit, edges: EdgeMethod) -> Result<Graph> {
        let given = self.search.known()?.map(|edges| edges.into_iter().map(|(s, t, _)| (s, t)).collect());
        let asked = CandidateRule { given, nearest: self.search.nearest()?, pairs: 0.0 };
        let rule = if asked == CandidateRule::default() { fit.candidates().cloned().unwrap_or(asked) } else { asked };
        let covariance = fit.feature_covariance_kind().unwrap_or(FeatureCovariance::Diagonal);
        Ok(Graph::new(covariance).with_edges(edges).with_seed(self.seed).with_rule(rule))
    }
}

pub(super) fn graph(args: &GraphArgs, quiet: bool, progress: &Progress) -> Result<String> {
    if let Some(rate) = args.fdr.filter(|rate| !(*rate > 0.0 && *rate < 1.0)) {
        return Err(Error::Arguments(format!("--fdr {rate} is not a rate; give a number between 0 and 1, such as 0.1")));
    }
    if args.null == Some(0) {
        return Err(Error::Arguments("--null 0 compares with nothing; give a number such as 200".into()));
    }
    let fit = Fit::load(&args.model)?;
    let method = args.method();
    let tests = null_tests(&fit, args, method, progress)?;
    let fresh = match method {
        Some(method) => Some(fit.sample_edges(&args.sampler(&fit, method)?)?),
        None => None,
    };
    let sampled = fresh.as_ref().map(|edges| &edges.graph);
    let graph = match (args.fdr, sampled.or(fit.edge_probabilities())) {
        (Some(rate), Some(all)) => all.at_false_discovery_rate(rate),
        (Some(_), None) => {
            return Err(Error::Arguments(
                "--fdr needs edge probabilities, which this model has none of; have them sampled with --edges auto".into(),
            ));
        }
        (None, _) => sampled.map_or_else(|| fit.graph(), TaskGraph::likely),
    };
    if !quiet {
        fit.warnings().iter().for_each(|warning| note!("{warning}"));
    }
    let none_learned = !fit.learns_relatedness() && fit.structure() != "graph" && graph.edges().next().is_none();
    if none_learned && fit.memberships().is_some() && fresh.is_none() && !quiet {
        note!("no two tasks are more likely than not of the same cluster, so there are no edges");
    } else if none_learned && fresh.is_none() && !quiet {
        note!(
            "the structure '{}' learns no graph, so there are no edges; fit with --structure graph{}",
            fit.structure(),
            if fit.prior().varying.is_empty() || !fit.prior().free.is_empty() { "" } else { ", or sample them with --edges auto" }
        );
    }
    if fit.prior().relatedness.is_too_wide() && fresh.is_none() && !quiet {
        note!("factors relate all pairs of these tasks, too many to be edges; 'cognate fit --format json' has the loadings");
    }
    let rate = args.fdr.unwrap_or(RATE);
    let lines: Vec<String> = tests.iter().map(|(null, test)| report::null_text(*null, test, rate)).collect();
    if !matches!(args.format, GraphFormat::Text | GraphFormat::Json) && !quiet {
        lines.iter().for_each(|line| note!("{line}"));
    }
    Ok(match args.format {
        GraphFormat::Json => {
            let mut value = report::graph_json(&graph);
            value["visibility"] = serde_json::json!(fresh.as_ref().map(|edges| edges.visibility).or(fit.visibility()));
            value["warnings"] = serde_json::json!(fit.warnings());
            if !tests.is_empty() {
                let each = tests.iter().map(|(null, test)| report::null_json(*null, test, rate)).collect();
                value["nulls"] = serde_json::Value::Array(each);
            }
            json(&value)
        }
        GraphFormat::Dot => graph.to_dot(),
        GraphFormat::Graphml => graph.to_graphml(),
        GraphFormat::Csv => edges_csv(&graph)?,
        GraphFormat::Text => {
            let strongest = graph.strongest();
            let mut text = format!(
                "{}, {}, {}\n",
                report::counted(graph.len(), "task"),
                report::counted(strongest.len(), "edge"),
                report::counted(graph.components().len(), "component")
            );
            if let Some(visibility) = fresh.as_ref().map(|edges| edges.visibility).or(fit.visibility()) {
                let _ = writeln!(text, "{}", report::visibility_text(visibility));
            }
            lines.iter().for_each(|line| text.push_str(&format!("{line}\n")));
            if let Some(communities) = report::communities_text(&graph) {
                let _ = writeln!(text, "{communities}");
            }
            for (s, t, edge) in strongest {
                let (a, b) = (&graph.node(s).task, &graph.node(t).task);
                let _ = writeln!(text, "{a} -- {b}  {}", report::edge_text(edge));
            }
            text
        }
    })
}

fn null_tests(fit: &Fit, args: &GraphArgs, method: Option<EdgeMethod>, progress: &Progress) -> Result<Vec<(Null, NullTest)>> {
    let (Some(count), Some(method)) = (args.null, method) else { return Ok(Vec::new()) };
    let graph = args.sampler(fit, method.for_tasks(fit.tasks().len()).with_sweeps(SWEEPS))?;
    [Null::Parametric, Null::Rotation]
        .into_iter()
        .map(|null| {
            let done = progress.count(format!("nulls by {}", report::null_name(null)), count);
            Ok((null, fit.null_test(null, &graph, count, args.seed, &done)?))
        })
        .collect()
}

fn edges_csv(graph: &TaskGraph) -> Result<String> {
    let header = ["source", "target", "partial_correlation", "low", "high", "probability", "sign_probability", "lfsr", "score", "weight"];
    let header = header.map(String::from).to_vec();
    let rows = graph.edges().map(|(s, t, edge)| {
        let (low, high) = edge.interval.unzip();
        let partial = if edge.is_membership() { String::new() } else { edge.partial_correlation.to_string() };
        let rest = [low, high, edge.probability, edge.sign_probability, edge.local_false_sign_rate(), edge.score];
        let weight = if edge.is_membership() { edge.strength() } else { edge.partial_correlation };
        let mut row = vec![graph.node(s).task.clone(), graph.node(t).task.clone(), partial];
        row.extend(rest.map(|value| value.map(|v| v.to_string()).unwrap_or_default()));
        row.push(weight.to_string());
        row
    });
    csv_text(std::iter::once(header).chain(rows.collect::<Vec<_>>()))
}
