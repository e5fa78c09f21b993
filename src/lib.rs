//! cognate finds out which prediction tasks are related, how strongly and with what certainty, and uses it to predict better.
//!
//! Every task t has rows (x, y) and parameters w_t = mu + u_t, with vec(U) ~ N(0, Sigma (x) K): Sigma relates the tasks, K the
//! features. A [`Model`] is a likelihood and a [`Structure`] (a constraint on Sigma); fitting [`Tasks`] gives a [`Fit`].
//!
//! ```
//! use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows};
//! let mut rows = Rows::new("growth", &["light"]);
//! for field in 0..8 {
//!     for i in 0..12 {
//!         let light = i as f64 / 4.0;
//!         let growth = 2.0 + (field % 4) as f64 + (1.0 + 0.1 * field as f64) * light + ((i * 5 + field) % 7) as f64 * 0.05;
//!         rows.push(&format!("field {field}"), &[light], growth, 1.0)?;
//!     }
//! }
//! let tasks = rows.tasks(&Design::varying(rows.features()));
//! let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Full)).fit(&tasks)?;
//! let prediction = fit.predict("field 3", &[1.0], 0.95)?;
//! assert!(prediction.lower < prediction.mean && prediction.mean < prediction.upper);
//! let unseen = fit.predict("field 99", &[1.0], 0.95)?;
//! assert!(unseen.sd > prediction.sd);
//! # Ok::<(), cognate::Error>(())
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod audit;
pub mod check;
pub mod cli;
pub mod compare;
pub mod csv;
pub mod em;
mod error;
mod figures;
mod formula;
mod graph;
mod likelihood;
mod linalg;
mod model;
pub mod page;
pub mod plot;
mod posterior;
mod prior;
mod quadratic;
pub mod relatedness;
pub mod report;
mod scores;
pub mod simulate;
pub mod structure;
mod tasks;
pub mod testing;
mod transfer;

pub use error::{Error, Result};
pub use formula::Formula;
pub use graph::{Edge, Node, TaskGraph, read_dot, read_graphml};
pub use likelihood::{
    Approximation, Binomial, CorrelatedGaussian, Dispersion, Evidence, Family, FamilyRow, FamilyRows, Gamma, Gaussian, Generalised,
    Inference, Likelihood, Link, Local, NegativeBinomial, Noise, Normal, Observations, Ordinal, Poisson, StudentT,
};
pub use linalg::invert_each;
pub use model::{
    Cluster, Fit, Forecast, Gain, Intervals, LikelihoodKind, Loadings, Model, Null, NullTest, Prediction, SampledEdges, Standardise,
    VarianceComponent, VarianceTest, Visibility,
};
pub use posterior::Posterior;
pub use prior::{Groups, KernelShape, Mean, Mixture, Prior, Relatedness, TaskKernel, TaskScales};
pub use quadratic::{Quadratic, Quadratics, Statistics};
pub use scores::{Coverage, Outcome, Reliability, Scores, Summary, TaskScores, wilson_interval};
pub use structure::{
    CandidateRule, Clusters, EdgeMethod, Exchangeable, Factor, FeatureCovariance, Full, Graph, Independent, Kernel, Known, KnownRelation,
    Pooled, Robust, Smooth, Structure, edge_scores,
};
pub use tasks::{Coordinates, DescriptorValues, Descriptors, Design, INTERCEPT, Rows, Summaries, TargetUnit, Tasks};
pub use transfer::{Drift, Move, NewTask, TaskChange, Transfer, Update};

/// The code in README.md is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
