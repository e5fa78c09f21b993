//! Statistical promises, at fixed seeds and stated error rates.

use cognate::{Design, FeatureCovariance, Fit, Full, Gaussian, Graph, Mean, Model, Prior, Relatedness, TaskGraph, simulate};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

fn normal(n: usize, seed: u64) -> DVector<f64> {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    DVector::from_fn(n, |_, _| StandardNormal.sample(&mut random))
}

fn simulated(graph: &TaskGraph, features: usize, rows: usize, mean_scale: f64, seed: u64) -> cognate::Tasks {
    let prior = Prior::new(
        Mean::Given(normal(features, seed + 1000) * mean_scale),
        Relatedness::Graph(graph.clone()),
        DMatrix::identity(features, features),
    );
    let drawn = simulate::gaussian(&prior, graph.len(), rows, simulate::NoiseLevel::Sd(1.0), seed).unwrap();
    drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept())
}

fn names(tasks: usize) -> Vec<String> {
    (0..tasks).map(|t| t.to_string()).collect()
}

fn chain(tasks: usize) -> TaskGraph {
    let mut graph = TaskGraph::empty(&names(tasks));
    (1..tasks).for_each(|t| graph.connect(t - 1, t, -0.45, None));
    graph
}

fn edges(fit: &Fit) -> Vec<(usize, usize)> {
    fit.graph().edges().filter(|(_, _, e)| e.probability.is_some_and(|p| p > 0.5)).map(|(s, t, _)| (s, t)).collect()
}

fn graph_fit(tasks: &cognate::Tasks) -> Fit {
    Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Scalar)).fit(tasks).unwrap()
}

#[test]
fn a_chain_of_visible_strength_is_found_and_little_else() {
    let (mut found, mut wrong) = (0, 0);
    for seed in 0..10 {
        let fit = graph_fit(&simulated(&chain(20), 100, 400, 1.0, seed));
        let edges = edges(&fit);
        let right = edges.iter().filter(|(s, t)| s + 1 == *t).count();
        found += right;
        wrong += edges.len() - right;
    }
    println!("chain of 20, 10 seeds: {:.1} of 19 true edges, {:.1} false", found as f64 / 10.0, wrong as f64 / 10.0);
    assert!(found >= 175, "{found} true edges in ten fits");
    assert!(wrong <= 15, "{wrong} false edges in ten fits");
}

#[test]
fn unrelated_tasks_have_an_empty_graph() {
    let with_edges =
        (0..20).filter(|seed| !edges(&graph_fit(&simulated(&TaskGraph::empty(&names(20)), 100, 400, 1.0, 100 + seed))).is_empty()).count();
    println!("null of 20 tasks: {with_edges} of 20 seeds with an edge");
    assert!(with_edges <= 3, "{with_edges} of 20 nulls with an edge");
}

#[test]
fn a_large_common_mean_makes_no_edge_and_no_correlation() {
    for tasks in [2, 3, 6, 20] {
        let empty = (0..20)
            .filter(|seed| edges(&graph_fit(&simulated(&TaskGraph::empty(&names(tasks)), 100, 200, 10.0, 300 + seed))).is_empty())
            .count();
        println!("{tasks} unrelated tasks with a large common mean: {empty} of 20 seeds without an edge");
        assert!(empty >= 18, "{tasks} tasks: only {empty} of 20 without an edge");
        let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar))
            .fit(&simulated(&TaskGraph::empty(&names(tasks)), 200, 400, 10.0, 7))
            .unwrap();
        let r = fit.relatedness().unwrap();
        let pairs = (tasks * (tasks - 1)) as f64;
        let mean = (r.sum() - tasks as f64) / pairs;
        println!("full, {tasks} tasks, d = 200: mean correlation {mean:.3}, {} steps {:?}", fit.trace().len(), fit.stop());
        assert!(mean.abs() <= 0.05, "{tasks} tasks: mean correlation {mean}");
        assert!(fit.converged());
    }
}
