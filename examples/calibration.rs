//! Are edge probabilities true? Claimed against true edge frequency on simulated graphs, at several noise levels.
//!
//! `cargo run --release --example calibration` prints two settings with five seeds; `... -- TASKS FEATURES NOISE SEEDS` any other.

use cognate::{Design, FeatureCovariance, Gaussian, Graph, Mean, Model, Prior, Relatedness, Result, TaskGraph, simulate};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// As many random edges as tasks, partial correlations of .25 to .5 and either sign; none for the null.
fn random_graph(tasks: usize, edges: usize, random: &mut ChaCha8Rng) -> TaskGraph {
    let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
    let mut graph = TaskGraph::empty(&names);
    while graph.edges().count() < edges {
        let (s, t) = (random.random_range(0..tasks), random.random_range(0..tasks));
        if s != t {
            let size = random.random_range(0.25..0.5);
            graph.connect(s, t, if random.random() { size } else { -size }, None);
        }
        if graph.precision().cholesky().is_none() {
            graph = graph.without_edges();
        }
    }
    graph
}

/// Edges claimed at 10 % FDR (all, false), true edges, and (probability, whether true) of every pair named.
struct Outcome {
    claimed: usize,
    wrong: usize,
    edges: usize,
    pairs: Vec<(f64, bool)>,
}

fn run(tasks: usize, features: usize, noise: f64, null: bool, seed: u64) -> Result<Outcome> {
    let mut random = ChaCha8Rng::seed_from_u64(seed + 1000);
    let truth = random_graph(tasks, if null { 0 } else { tasks }, &mut random);
    let prior = Prior {
        mean: Mean::Given(DVector::from_fn(features, |_, _| random.random_range(-2.0..2.0))),
        mean_features: (0..features).collect(),
        varying: (0..features).collect(),
        free: vec![],
        relatedness: Relatedness::Graph(truth.clone()),
        factor: DMatrix::identity(features, features),
    };
    // Sampling variance of a task's own estimate, sd^2 E[(X'X)^-1] = sd^2 / (rows - features - 1), over the prior variance 1.
    let rows = 2 * features;
    let sd = (noise.max(1e-4) * (rows - features - 1) as f64).sqrt();
    let drawn = simulate::gaussian(&prior, tasks, rows, simulate::NoiseLevel::Sd(sd), seed)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let clock = std::time::Instant::now(); let fit = Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Scalar).with_edges(cognate::EdgeMethod::Exact { sweeps: std::env::var("SWEEPS").map_or(500, |s| s.parse().unwrap()) })).options(cognate::em::Options { max_iterations: 25, ..Default::default() }).fit_with(&table, &|s| if std::env::var("TRACE").is_ok() { eprintln!("{:.2} {} {}", clock.elapsed().as_secs_f64(), s.log_posterior, s.edges) })?;
    if std::env::var("DUMP").is_ok() { for (s, t, e) in fit.edge_probabilities().unwrap().edges() { println!("P {s} {t} {}", e.probability.unwrap()); } }
    let all = fit.edge_probabilities().expect("the graph samples its edges");
    let is_true = |s: usize, t: usize| truth.edge(s, t).is_some();
    let chosen = all.at_false_discovery_rate(0.1);
    Ok(Outcome {
        claimed: chosen.edges().count(),
        wrong: chosen.edges().filter(|(s, t, _)| !is_true(*s, *t)).count(),
        edges: truth.edges().count(),
        pairs: all.edges().map(|(s, t, edge)| (edge.probability.unwrap_or(0.0), is_true(s, t))).collect(),
    })
}

fn report(tasks: usize, features: usize, noise: f64, null: bool, seeds: u64) -> Result<()> {
    let begin = std::time::Instant::now();
    let outcomes = (0..seeds).map(|seed| run(tasks, features, noise, null, seed)).collect::<Result<Vec<_>>>()?;
    let sum = |value: fn(&Outcome) -> usize| outcomes.iter().map(value).sum::<usize>() as f64;
    let (claimed, wrong, edges) = (sum(|o| o.claimed), sum(|o| o.wrong), sum(|o| o.edges));
    let with_any = outcomes.iter().filter(|o| o.claimed > 0).count();
    println!("{tasks} tasks, {features} features, noise/signal {noise}, {}", if null { "no edges" } else { "random edges" });
    println!(
        "  at FDR .10: {claimed} edges, {:.3} false, power {:.2}, {with_any} of {seeds} seeds with any; {:.1} s a fit",
        wrong / claimed.max(1.0),
        (claimed - wrong) / edges.max(1.0),
        begin.elapsed().as_secs_f64() / seeds as f64
    );
    for tenth in 0..10 {
        let (low, high) = (tenth as f64 / 10.0, (tenth + 1) as f64 / 10.0);
        let inside: Vec<&(f64, bool)> =
            outcomes.iter().flat_map(|o| &o.pairs).filter(|(p, _)| *p >= low && (*p < high || tenth == 9)).collect();
        if !inside.is_empty() {
            let count = inside.len() as f64;
            let claimed = inside.iter().map(|(p, _)| p).sum::<f64>() / count;
            let found = inside.iter().filter(|(_, truth)| *truth).count() as f64 / count;
            println!("  probability {low:.1} to {high:.1}: {count:>5} pairs, claimed {claimed:.3}, true {found:.3}");
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let arguments: Vec<f64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    match arguments.as_slice() {
        [tasks, features, noise, seeds] => {
            for null in [false] {
                report(*tasks as usize, *features as usize, *noise, null, *seeds as u64)?;
            }
        }
        _ => {
            report(20, 100, 0.3, false, 5)?;
            report(20, 100, 0.3, true, 5)?;
        }
    }
    Ok(())
}
