//! Where edges are looked for: the flags that fit, compare and graph share, and the files behind them.

use crate::csv;
use crate::error::{Error, Result};
use crate::graph;
use crate::structure::EdgeMethod;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Edges (task, task, weight).
type Edges = Vec<(String, String, f64)>;

#[derive(Debug, Args)]
pub(super) struct EdgeArgs {
    /// What is known of the task graph, as GraphML (.graphml, .xml), as DOT (.dot, .gv), or else as CSV with the columns source,
    /// target and weight (or partial_correlation; default 1): for the structure known who is whose neighbour, for graph the only pairs
    /// that may have an edge, which must not have been chosen by these data
    #[arg(long, value_name = "FILE")]
    pub graph: Option<PathBuf>,
    /// Look for edges only between each task and so many that are nearest to it, beside those of --graph (default: all pairs of up
    /// to 5,000 tasks, the 20 nearest beyond)
    #[arg(long, value_name = "K")]
    pub candidates: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum EdgesArg {
    /// Exact up to 1,000 tasks, pseudo-gibbs beyond
    Auto,
    /// By a Gibbs sampler of Omega and the parameters: probabilities that carry the noise of the tasks
    Exact,
    /// By node-wise regressions on drawn parameters: more modest than the exact ones, faster among very many tasks
    PseudoGibbs,
    /// By EM alone: scores that rank edges, too sure where tasks are noisy
    Fast,
}

/// The ways that sample.
pub(super) fn sampled_edges() -> impl TypedValueParser<Value = EdgesArg> {
    let names = EdgesArg::value_variants().iter().filter(|edges| !matches!(edges, EdgesArg::Fast)).filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(names).map(|name| EdgesArg::from_str(&name, false).unwrap_or(EdgesArg::Auto))
}

impl From<EdgesArg> for EdgeMethod {
    fn from(edges: EdgesArg) -> EdgeMethod {
        match edges {
            EdgesArg::Auto => EdgeMethod::Auto,
            EdgesArg::Exact => EdgeMethod::EXACT,
            EdgesArg::PseudoGibbs => EdgeMethod::PSEUDO_GIBBS,
            EdgesArg::Fast => EdgeMethod::Fast,
        }
    }
}

impl EdgeArgs {
    /// The edges of the graph's file.
    pub(super) fn known(&self) -> Result<Option<Edges>> {
        self.graph.as_deref().map(read).transpose()
    }

    /// How many nearest tasks of each are candidates.
    pub(super) fn nearest(&self) -> Result<Option<usize>> {
        match self.candidates {
            Some(0) => Err(Error::Arguments("--candidates 0 leaves no pair to look at; give a number such as 20".into())),
            count => Ok(count),
        }
    }
}

/// What to say of edges that name no task of the data.
pub(super) fn strangers(edges: &[(String, String, f64)], tasks: &[String]) -> Option<String> {
    let known: HashSet<&str> = tasks.iter().map(String::as_str).collect();
    let stranger = |(s, t, _): &(String, String, f64)| [s, t].into_iter().find(|name| !known.contains(name.as_str())).cloned();
    let strangers: Vec<String> = edges.iter().filter_map(stranger).collect();
    let first = strangers.first()?;
    let plural = if strangers.len() == 1 { "relation was" } else { "relations were" };
    Some(format!("{} {plural} left out, for the data have no task such as '{first}'", strangers.len()))
}

/// The edges in the format that the file's name says; `.gz` after it is no part of the format.
fn read(path: &Path) -> Result<Edges> {
    let name = path.display().to_string();
    let plain = name.to_lowercase();
    let reader = match plain.trim_end_matches(".gz").rsplit_once('.') {
        Some((_, "graphml" | "xml")) => graph::read_graphml,
        Some((_, "dot" | "gv")) => graph::read_dot,
        _ => return csv::read_relation(csv::open(path)?, &name),
    };
    let mut bytes = Vec::new();
    csv::open(path)?.read_to_end(&mut bytes).map_err(|error| Error::io(path, error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| Error::Table { source_name: name.clone(), problem: "it is not UTF-8 text; save it as UTF-8".into() })?;
    reader(&text, &name)
}
