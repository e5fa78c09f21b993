//! A fit for people and for programs: one page of text, or JSON.

mod json;
mod text;

pub use json::{fit_json, graph_json};
pub use text::{comparison_text, edge_text, visibility_text};
