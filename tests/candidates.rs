//! Candidate edges: nothing is found elsewhere, weaker relations are seen, and what cannot be is refused.

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{Design, EdgeMethod, Error, FeatureCovariance, Fit, Gaussian, Graph, Mean, Model, Prior, Relatedness, TaskGraph, Tasks};
use nalgebra::{DMatrix, DVector};

const TASKS: usize = 24;
const FEATURES: usize = 40;

fn names() -> Vec<String> {
    (1..=TASKS).map(|t| format!("t{t}")).collect()
}

fn drawn(truth: &TaskGraph, seed: u64) -> Tasks {
    let prior = Prior::new(Mean::Given(DVector::zeros(FEATURES)), Relatedness::Graph(truth.clone()), DMatrix::identity(FEATURES, FEATURES));
    let drawn = gaussian(&prior, TASKS, 2 * FEATURES, NoiseLevel::Ratio(0.2), seed).unwrap();
    drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept())
}

fn fit(tasks: &Tasks, graph: Graph) -> Fit {
    Model::new(Gaussian::default(), graph.with_edges(EdgeMethod::Exact { sweeps: 300 })).fit(tasks).unwrap()
}

/// Right and wrong edges at a false discovery rate of 10 %.
fn found(fit: &Fit, truth: &TaskGraph) -> (usize, usize) {
    let chosen = fit.edge_probabilities().unwrap().at_false_discovery_rate(0.1);
    let right = chosen.edges().filter(|(s, t, _)| truth.edge(*s, *t).is_some()).count();
    (right, chosen.edges().count() - right)
}

#[test]
fn known_places_of_edges_make_weaker_ones_visible() {
    let (mut everywhere, mut among) = (0, 0);
    for seed in 0..4 {
        let truth = task_graph(Layout::Chain, &names(), 0.25..0.4, seed).unwrap();
        let tasks = drawn(&truth, seed);
        // The next and the next but one: half of the candidates are edges.
        let near = |step: usize| (0..TASKS - step).map(move |t| (t, t + step));
        let candidates: Vec<(String, String)> = near(1).chain(near(2)).map(|(s, t)| (names()[t].clone(), names()[s].clone())).collect();
        let wide = fit(&tasks, Graph::new(FeatureCovariance::Scalar));
        let narrow = fit(&tasks, Graph::new(FeatureCovariance::Scalar).with_candidates(&candidates));
        assert!(narrow.edge_probabilities().unwrap().edges().all(|(s, t, _)| t - s <= 2));
        assert!(narrow.visibility().unwrap().half < wide.visibility().unwrap().half);
        everywhere += found(&wide, &truth).0;
        let (right, wrong) = found(&narrow, &truth);
        among += right;
        assert!(wrong <= 5, "{wrong} of {} edges are wrong", right + wrong);
    }
    assert!(among > everywhere + 8, "{among} edges among the candidates, {everywhere} among all pairs");
}

#[test]
fn the_nearest_hold_the_strong_edges() {
    let truth = task_graph(Layout::Random { edges: 12 }, &names(), 0.5..0.6, 3).unwrap();
    let tasks = drawn(&truth, 3);
    let (all, _) = found(&fit(&tasks, Graph::new(FeatureCovariance::Scalar)), &truth);
    let near = fit(&tasks, Graph::new(FeatureCovariance::Scalar).with_nearest(Some(4)));
    let (right, wrong) = found(&near, &truth);
    assert!(right + 1 >= all && right >= 8 && wrong <= 3, "{right} right and {wrong} wrong, {all} among all pairs");
}

#[test]
fn candidates_that_name_no_two_tasks_are_refused() {
    let tasks = drawn(&TaskGraph::empty(&names()), 1);
    let graph = Graph::new(FeatureCovariance::Scalar).with_candidates(&[("t1".into(), "somewhere".into()), ("t2".into(), "t2".into())]);
    let refused = Model::new(Gaussian::default(), graph).fit(&tasks);
    assert!(matches!(refused, Err(Error::Arguments(text)) if text.contains("candidate")));
}
