//! How long a known graph of neighbours takes and what it is worth: a lattice, or random neighbours whose graph fills in when factored.
//!
//! `cargo bench --bench neighbours -- TASKS FEATURES [PAIRS]` (default 400 tasks, 5 features, on a square lattice; or so many random pairs).

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{
    Design, Exchangeable, FeatureCovariance, Fit, Gaussian, Known, KnownRelation, Mean, Model, Prior, Relatedness, Structure, TaskGraph,
};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use std::time::Instant;

const GAMMA: f64 = 2.0;

fn pairs(tasks: usize, random: Option<usize>) -> Vec<(usize, usize)> {
    let mut source = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let side = (tasks as f64).sqrt() as usize;
    match random {
        Some(count) => (0..count).map(|_| (source.random_range(0..tasks), source.random_range(0..tasks))).filter(|(s, t)| s != t).collect(),
        None => (0..tasks)
            .flat_map(|t| [(t, t + 1, (t + 1) % side != 0), (t, t + side, true)])
            .filter(|(_, s, beside)| *beside && *s < tasks)
            .map(|(t, s, _)| (t, s))
            .collect(),
    }
}

fn main() -> cognate::Result<()> {
    let sizes: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let (tasks, features) = (*sizes.first().unwrap_or(&400), *sizes.get(1).unwrap_or(&5));
    let names: Vec<String> = (1..=tasks).map(|t| format!("t{t}")).collect();
    let mut omega = TaskGraph::empty(&names);
    let mut relations = Vec::new();
    for (s, t) in pairs(tasks, sizes.get(2).copied()) {
        if omega.edge(s, t).is_none() {
            omega.connect(s, t, -GAMMA, None);
            [s, t].iter().for_each(|end| omega.set_diagonal(*end, omega.node(*end).precision + GAMMA));
            relations.push((names[s].clone(), names[t].clone(), 1.0));
        }
    }
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), Relatedness::Graph(omega), DMatrix::identity(features, features));
    let drawn = gaussian(&prior, tasks, 2 * features, NoiseLevel::Ratio(1.0), 1)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let kind = FeatureCovariance::Diagonal;
    let structures: [Box<dyn Structure>; 2] =
        [Box::new(Exchangeable::new(kind)), Box::new(Known::new(kind, KnownRelation::Graph(relations)))];
    for structure in structures {
        let (name, clock) = (structure.name(), Instant::now());
        let fit: Fit = Model::of(Box::new(Gaussian::default()), structure).fit(&table)?;
        let squares: f64 = (0..tasks).map(|t| (fit.coefficients(t) - drawn.parameters.row(t).transpose()).norm_squared()).sum();
        let error = (squares / (tasks * features) as f64).sqrt();
        let exactness = fit.log_likelihood_error().map_or(String::new(), |se| format!(" (standard error {se:.1})"));
        let (seconds, steps) = (clock.elapsed().as_secs_f64(), fit.trace().len());
        println!(
            "{name:<12} {seconds:>6.1} s, {steps:>3} E-steps, log-likelihood {:.1}{exactness}, rms error {error:.4}",
            fit.log_likelihood()
        );
    }
    Ok(())
}
