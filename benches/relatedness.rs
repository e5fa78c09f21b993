//! How often intervals of correlations between tasks hold the truth, K and the noise fitted: covariances drawn from the prior of `full` (its strength held at the truth, drawn, and held as fitted), unrelated
//! tasks, tasks in blocks, tasks of one factor, and task graphs. `cargo bench --bench relatedness -- 40` simulates so many tables a setting (5 unless said), `-- 40 graph` of one kind only.

use cognate::relatedness::{Options, Relations};
use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{Design, Factor, FeatureCovariance, Full, Gaussian, Graph, Intervals, Mean, Model, Prior, Relatedness, Structure};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const ROWS: usize = 30;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Sigma of that kind, and the structure that learns it.
fn truth(kind: &str, tasks: usize, seed: u64) -> cognate::Result<(Relatedness, Box<dyn Structure>)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let full = || Full::new(FeatureCovariance::Scalar);
    let strength = tasks + 1;
    Ok(match kind {
        "prior, strength held" | "prior, strength drawn" | "prior, strength fitted" => {
            // Inverse-Wishart(nu I, nu + T + 1).
            let vectors = DMatrix::from_fn(tasks, strength + tasks + 1, |_, _| normal(&mut random));
            let sigma = (&vectors * vectors.transpose() / strength as f64).try_inverse().expect("more vectors than tasks");
            (Relatedness::Dense(sigma), Box::new(full()))
        }
        "unrelated" => (Relatedness::Identity, Box::new(full())),
        "blocks" => {
            let element = |s: usize, t: usize| if s == t { 1.0 } else { 0.7 * f64::from(u8::from(s % 4 == t % 4)) };
            (Relatedness::Dense(DMatrix::from_fn(tasks, tasks, element)), Box::new(full()))
        }
        "factor" => {
            let loadings = DMatrix::from_fn(tasks, 1, |_, _| -> f64 { 1.5 * normal(&mut random) });
            let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_element(tasks, 1.0) };
            (relatedness, Box::new(Factor::new(1, FeatureCovariance::Scalar)))
        }
        _ => {
            let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
            let graph = task_graph(Layout::Random { edges: tasks }, &names, 0.25..0.5, seed)?;
            (Relatedness::Graph(graph), Box::new(Graph::new(FeatureCovariance::Scalar)))
        }
    })
}

fn main() -> cognate::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let tables: u64 = words.first().and_then(|own| own.parse().ok()).unwrap_or(5);
    println!(
        "{tables} tables a setting, {ROWS} rows a task (of graphs five times as many); share of all pairs whose interval holds the true correlation, and its mean length"
    );
    println!(
        "{:<24} {:>5} {:>8} {:>5}   {:>5} {:>6}   {:>5} {:>6}   {:>5}",
        "Sigma", "tasks", "features", "noise", "80 %", "length", "95 %", "length", "worth"
    );
    let only = words.get(1);
    let kinds = ["prior, strength held", "prior, strength drawn", "prior, strength fitted", "unrelated", "blocks", "factor", "graph"];
    for kind in kinds.into_iter().filter(|kind| only.is_none_or(|only| kind.ends_with(only.as_str()))) {
        // The edges of a graph are seen in more directions than those of a covariance are learned from.
        let more = if kind == "graph" { 5 } else { 1 };
        for (tasks, features, noise) in [(10, 20 * more, 1.0), (10, 20 * more, 4.0), (20, 10 * more, 2.0)] {
            let (mut held, mut length, mut pairs, mut worth) = ([0usize; 2], [0.0; 2], 0usize, 0.0);
            for seed in 0..tables {
                let (relatedness, structure) = truth(kind, tasks, seed)?;
                let sigma = relatedness.covariance(tasks).expect("it was made as a covariance");
                let prior =
                    Prior::new(Mean::Given(DVector::from_element(features, 1.0)), relatedness, DMatrix::identity(features, features));
                let rows = gaussian(&prior, tasks, ROWS * more, NoiseLevel::Sd(noise), seed + 1_000)?.rows;
                let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
                let fit = Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&table)?;
                for (k, level) in [0.8, 0.95].into_iter().enumerate() {
                    let strength = match kind {
                        "prior, strength held" => Some((tasks + 1) as f64),
                        "prior, strength fitted" => fit.prior_strength(),
                        _ => None,
                    };
                    let relations = Relations::of(&fit, &Options { level, strength, draws: Some(400), ..Options::default() })?;
                    worth += 0.5 * relations.effective_draws.unwrap_or(0.0) / tables as f64;
                    for own in &relations.pairs {
                        let (s, t) = own.tasks;
                        let true_value = sigma[(s, t)] / (sigma[(s, s)] * sigma[(t, t)]).sqrt();
                        // A fit that finds no factor has none.
                        let (low, high) = own.low.zip(own.high).unwrap_or((0.0, 0.0));
                        held[k] += usize::from(low <= true_value && true_value <= high);
                        length[k] += high - low;
                    }
                    pairs += if k == 0 { relations.pairs.len() } else { 0 };
                }
            }
            let n = pairs as f64;
            println!(
                "{kind:<24} {tasks:>5} {features:>8} {noise:>5}   {:>5.3} {:>6.2}   {:>5.3} {:>6.2}   {worth:>5.0}",
                held[0] as f64 / n,
                length[0] / n,
                held[1] as f64 / n,
                length[1] / n
            );
        }
    }
    Ok(())
}
