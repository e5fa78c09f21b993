//! How long a task graph takes: point fit and sampled edges of many simulated tasks, against the truth.
//!
//! `cargo bench --bench large_graph -- TASKS FEATURES [EDGES [SWEEPS [exact]]]` (default 200 tasks, 20 features, as many edges as
//! tasks, weaker if they are more; so many sweeps of the pseudo-Gibbs or the exact sampler instead of what the number of tasks calls for).

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{Design, EdgeMethod, FeatureCovariance, Gaussian, Graph, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};
use std::time::Instant;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let sizes: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let (tasks, features) = (*sizes.first().unwrap_or(&200), *sizes.get(1).unwrap_or(&20));
    let wanted = *sizes.get(2).unwrap_or(&tasks);
    let edges = match (sizes.get(3), words.get(4)) {
        (Some(sweeps), Some(_)) => EdgeMethod::Exact { sweeps: *sweeps },
        (Some(sweeps), None) => EdgeMethod::PseudoGibbs { sweeps: *sweeps },
        (None, _) => EdgeMethod::Auto,
    };
    let names: Vec<String> = (1..=tasks).map(|t| format!("t{t}")).collect();
    let weaker = (tasks as f64 / wanted.max(tasks) as f64).sqrt();
    let truth = task_graph(Layout::Random { edges: wanted }, &names, 0.25 * weaker..0.5 * weaker, 1)?;
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), Relatedness::Graph(truth.clone()), DMatrix::identity(features, features));
    let drawn = gaussian(&prior, tasks, 2 * features, NoiseLevel::Ratio(0.3), 1)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let clock = Instant::now();
    let fit = Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Scalar).with_edges(edges)).fit_with(&table, &|step| {
        eprintln!("{:>8.1} s  log posterior {:.3}, {} edges", clock.elapsed().as_secs_f64(), step.log_posterior, step.edges)
    })?;
    let seconds = clock.elapsed().as_secs_f64();
    let chosen = fit.edge_probabilities().expect("the graph samples its edges").at_false_discovery_rate(0.1);
    let right = chosen.edges().filter(|(s, t, _)| truth.edge(*s, *t).is_some()).count();
    println!(
        "{tasks} tasks, {features} features: {seconds:.1} s, {} edges at a false discovery rate of .10, {right} of {wanted} true ones; {}, log-likelihood known to {}",
        chosen.edges().count(),
        fit.stop(),
        fit.log_likelihood_error().map_or("rounding".into(), |error| format!("{error:.1}"))
    );
    Ok(())
}
