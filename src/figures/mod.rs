//! What is drawn of a fit, as numbers: edges, the heat map and parameters, which the page of a browser and figures on paper show alike.

mod heat;
mod links;
mod order;
mod parameters;
mod relation;

pub(crate) use heat::{BLOCKS, Heat};
pub(crate) use links::{FALSEST, Link, Links};
pub(crate) use parameters::Parameters;
pub(crate) use relation::Relation;
