//! A fit for people and for programs: one page of text, or JSON.

mod json;
mod text;

pub(crate) use json::{Truth, truth_json};
pub use json::{fit_json, graph_json, null_json};
pub use text::{comparison_text, edge_text, null_name, null_text, visibility_text};
