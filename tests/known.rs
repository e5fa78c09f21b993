//! Known relations: the same fit by any engine, a strength that is learned, and refusals.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, FeatureCovariance, Gaussian, Intervals, Known, KnownRelation, Mean, Model, Prior, Relatedness, TaskGraph, Tasks};
use nalgebra::{DMatrix, DVector};

type Pairs = Vec<(String, String, f64)>;

/// A lattice of side x side tasks, each joined with the next in its row and column, some edges listed twice.
fn lattice(side: usize) -> (Vec<String>, Pairs) {
    let name = |i: usize, j: usize| format!("t{}", i * side + j + 1);
    let names = (0..side).flat_map(|i| (0..side).map(move |j| name(i, j))).collect();
    let mut edges = Vec::new();
    for i in 0..side {
        for j in 0..side {
            if j + 1 < side {
                edges.push((name(i, j + 1), name(i, j), 1.0));
                edges.push((name(i, j), name(i, j + 1), 1.0));
            }
            if i + 1 < side {
                edges.push((name(i, j), name(i + 1, j), 1.0));
            }
        }
    }
    (names, edges)
}

/// Tasks drawn with Omega = I + gamma (D - W).
fn drawn(side: usize, features: usize, gamma: f64, seed: u64) -> Tasks {
    let (names, edges) = lattice(side);
    let number = |name: &str| names.iter().position(|own| own == name).unwrap();
    let mut omega = DMatrix::identity(names.len(), names.len());
    for (a, b, _) in &edges {
        let (s, t) = (number(a), number(b));
        if omega[(s, t)] == 0.0 {
            (omega[(s, t)], omega[(t, s)]) = (-gamma, -gamma);
            omega[(s, s)] += gamma;
            omega[(t, t)] += gamma;
        }
    }
    let prior = Prior::new(
        Mean::Given(DVector::from_element(features, 1.0)),
        Relatedness::Graph(TaskGraph::of_precision(&names, &omega)),
        DMatrix::identity(features, features),
    );
    let drawn = gaussian(&prior, side * side, 3 * features, NoiseLevel::Sd(0.5), seed).unwrap();
    drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept())
}

fn model(relation: KnownRelation) -> Model {
    Model::new(Gaussian::default(), Known::new(FeatureCovariance::Scalar, relation)).intervals(Intervals::PlugIn)
}

/// The sparse engine along the lattice and the dense one, which is given Sigma, reach the same fit.
#[test]
fn a_graph_is_the_covariance_it_implies() {
    let tasks = drawn(5, 4, 2.0, 3);
    let (names, edges) = lattice(5);
    let graph = model(KnownRelation::Graph(edges)).fit(&tasks).unwrap();
    assert!(graph.converged());
    let sigma = graph.prior().relatedness.covariance(25).unwrap();
    // Named in another order.
    let elements = (0..25).rev().flat_map(|t| (0..25).map(move |s| (s, t)));
    let elements = elements.map(|(s, t)| (names[s].clone(), names[t].clone(), sigma[(s, t)])).collect();
    let dense = model(KnownRelation::Covariance(elements)).fit(&tasks).unwrap();
    assert!((graph.log_likelihood() - dense.log_likelihood()).abs() < 1e-6, "{} {}", graph.log_likelihood(), dense.log_likelihood());
    for t in 0..25 {
        assert!((graph.coefficients(t) - dense.coefficients(t)).amax() < 1e-5);
        assert!((graph.covariance(t) - dense.covariance(t)).amax() < 1e-6);
    }
}

#[test]
fn the_strength_of_a_lattice_is_learned() {
    let (_, edges) = lattice(14);
    let fit = model(KnownRelation::Graph(edges)).fit(&drawn(14, 5, 3.0, 7)).unwrap();
    // A corner has two neighbours: Omega = c (1 + 2 gamma) on its diagonal and -c gamma beside.
    let graph = fit.graph();
    let beside = -graph.edge(0, 1).unwrap().precision;
    let gamma = beside / (graph.node(0).precision - 2.0 * beside);
    assert!((1.8..5.0).contains(&gamma), "{gamma}");
}

#[test]
fn what_is_no_relation_is_refused() {
    let tasks = drawn(2, 2, 1.0, 1);
    let pair = |a: &str, b: &str, v: f64| (a.to_string(), b.to_string(), v);
    let variances = || ["t1", "t2", "t3", "t4"].map(|t| pair(t, t, 1.0)).into_iter();
    for (relation, word) in [
        (KnownRelation::Graph(vec![pair("t1", "t2", -1.0)]), "weight -1"),
        (KnownRelation::Graph(vec![pair("north", "t2", 1.0)]), "how the tasks are named"),
        (KnownRelation::Graph(vec![pair("t1", "t2", 1.0), pair("t2", "t1", 2.0)]), "two weights"),
        (KnownRelation::Covariance(vec![pair("t1", "t1", 1.0)]), "no positive variance for task 't2'"),
        (KnownRelation::Covariance(variances().chain([pair("t1", "t2", 2.0)]).collect()), "not positive definite"),
    ] {
        let error = model(relation).fit(&tasks).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// With a common correlation r and a mean of their own, tasks differ by 1 - r of Sigma, which K takes over: the restricted likelihood does
/// not depend on r, however near to 1 it is.
#[test]
fn what_all_tasks_have_in_common_does_not_matter_to_a_restricted_fit() {
    let tasks = drawn(3, 3, 1.0, 5);
    let at = |r: f64| {
        let element = |s: &String, t: &String| (s.clone(), t.clone(), if s == t { 1.0 } else { r });
        let all = tasks.names().iter().flat_map(|s| tasks.names().iter().map(move |t| element(s, t))).collect();
        let fit = model(KnownRelation::Covariance(all)).restricted(true).fit(&tasks).unwrap();
        (fit.log_likelihood(), fit.feature_covariance().1[(0, 0)] * (1.0 - r))
    };
    let (expected, variance) = at(0.0);
    for r in [0.9, 0.999, 0.999999] {
        let (found, own) = at(r);
        assert!((found - expected).abs() < 1e-4 && (own / variance - 1.0).abs() < 1e-2, "{r}: {found} {own} against {expected} {variance}");
    }
}
