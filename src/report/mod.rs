//! A fit for people and for programs: one page of text, or JSON.

mod audit;
mod check;
mod clusters;
mod compare;
mod examination;
mod json;
mod kernel;
mod loadings;
mod relatedness;
mod scores;
mod text;
mod update;

use crate::graph::TaskGraph;

pub(crate) use audit::{explanation_text, lesson_text, overview_text};
pub(crate) use check::check_text;
pub(crate) use compare::guard_text;
pub use compare::{comparison_text, curves_text};
pub(crate) use examination::examination_text;
pub(crate) use json::{Truth, tested_json, truth_json};
pub use json::{fit_json, graph_json, null_json};
pub(crate) use loadings::loadings_text;
pub(crate) use relatedness::{relations_text, stability_text};
pub use scores::scores_text;
pub(crate) use text::{SHOWN, communities_text, variance_tests_text};
pub use text::{counted, edge_text, null_name, null_text, visibility_text};
pub(crate) use update::{update_json, update_notes};

/// The task names of every community of at least two tasks.
fn communities(graph: &TaskGraph) -> Vec<Vec<&str>> {
    let shared = graph.communities().into_iter().filter(|tasks| tasks.len() > 1);
    shared.map(|tasks| tasks.into_iter().map(|t| graph.node(t).task.as_str()).collect()).collect()
}
