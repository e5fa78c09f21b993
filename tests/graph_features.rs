//! Tasks related in the directions of some features only: the chosen ones show the graph, the others do not blur it.

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{
    Design, FeatureCovariance, Fit, Full, Gaussian, Graph, Known, KnownRelation, Mean, Model, Prior, Relatedness, Structure, Tasks,
};
use nalgebra::{DMatrix, DVector};

const TASKS: usize = 12;
const CHOSEN: usize = 60;
const OTHERS: usize = 6;

/// A chain in the directions of the first features; the others vary nine times as much, in every task by itself.
fn chain(seed: u64) -> (Relatedness, Tasks) {
    let names: Vec<String> = (1..=TASKS).map(|t| format!("t{t}")).collect();
    let d = CHOSEN + OTHERS;
    let relatedness = Relatedness::Graph(task_graph(Layout::Chain, &names, 0.44..0.45, seed).unwrap());
    let prior = Prior {
        unrelated: (CHOSEN..d).collect(),
        ..Prior::new(
            Mean::Given(DVector::from_element(d, 1.0)),
            relatedness.clone(),
            DMatrix::from_fn(d, d, |a, b| {
                if a != b {
                    0.0
                } else if a < CHOSEN {
                    1.0
                } else {
                    3.0
                }
            }),
        )
    };
    let drawn = gaussian(&prior, TASKS, 100, NoiseLevel::Sd(1.0), seed).unwrap();
    let chosen: Vec<String> = drawn.rows.features()[..CHOSEN].to_vec();
    let design =
        Design::varying(drawn.rows.features()).without_intercept().with_graph_features(|name| chosen.iter().any(|own| own == name));
    (relatedness, drawn.rows.tasks(&design))
}

fn fitted(structure: impl Structure + 'static, tasks: &Tasks) -> Fit {
    Model::new(Gaussian::default(), structure).fit(tasks).unwrap()
}

/// Mean fitted variance of the chosen features and of the others.
fn variances(fit: &Fit) -> (f64, f64) {
    let (_, k) = fit.feature_covariance();
    let mean = |range: std::ops::Range<usize>| range.clone().map(|a| k[(a, a)]).sum::<f64>() / range.len() as f64;
    (mean(0..CHOSEN), mean(CHOSEN..CHOSEN + OTHERS))
}

#[test]
fn the_graph_of_the_chosen_features_is_found_and_the_others_keep_their_variance() {
    for kind in [FeatureCovariance::Scalar, FeatureCovariance::Diagonal] {
        let (_, tasks) = chain(3);
        let fit = fitted(Graph::new(kind), &tasks);
        assert!(fit.converged());
        let graph = fit.graph();
        let found = graph.edges().filter(|(s, t, _)| s.abs_diff(*t) == 1).count();
        assert!(found >= 9, "{found} of 11 edges");
        assert!(graph.edges().count() - found <= 2);
        let (chosen, others) = variances(&fit);
        // A task's variance is 1 on average, as it was drawn.
        assert!((0.75..1.35).contains(&chosen), "{chosen}");
        assert!((5.0..14.0).contains(&others), "{others}");
        assert!(fit.visibility().unwrap().effective_directions < CHOSEN as f64);
    }
}

/// At the optimum of every structure that relates tasks, no variance of either kind wants to move.
#[test]
fn every_structure_that_relates_tasks_ends_at_its_optimum() {
    let (relatedness, tasks) = chain(5);
    let Relatedness::Graph(graph) = relatedness else { unreachable!("a chain is a graph") };
    let edges = graph.edges().map(|(s, t, _)| (graph.node(s).task.clone(), graph.node(t).task.clone(), 1.0)).collect();
    let kind = FeatureCovariance::Diagonal;
    let structures: [Box<dyn Structure>; 3] =
        [Box::new(Known::new(kind, KnownRelation::Graph(edges))), Box::new(Full::new(kind)), Box::new(Graph::new(kind))];
    for structure in structures {
        let name = structure.name();
        let fit = Model::of(Box::new(Gaussian::default()), structure).fit(&tasks).unwrap();
        assert!(fit.converged(), "{name}");
        assert_eq!(fit.prior().unrelated.len(), OTHERS);
        let slope = fit.with_posterior(|posterior| posterior.covariance_slope()).unwrap();
        let k = fit.prior().feature_covariance();
        for a in 0..k.nrows() {
            assert!((k[(a, a)] * slope[(a, a)]).abs() < 0.02, "{name}, feature {a}: {}", k[(a, a)] * slope[(a, a)]);
        }
    }
}

/// A full K has no element between the two kinds.
#[test]
fn a_full_covariance_joins_no_two_of_the_two_kinds() {
    let (_, tasks) = chain(7);
    let few = tasks.clone().with_design(tasks.design().clone().with_varying(|name| ["x1", "x2", "x61", "x62"].contains(&name)));
    let fit = fitted(Full::new(FeatureCovariance::Full), &few);
    assert!(fit.converged());
    let k = fit.prior().feature_covariance();
    assert!(k.view((0, 2), (2, 2)).amax() == 0.0 && k[(0, 1)] != 0.0 && k[(2, 3)] != 0.0);
}

#[test]
fn exchangeable_tasks_take_no_notice() {
    let (_, tasks) = chain(9);
    let all = tasks.clone().with_design(Design::varying(tasks.design().features()).without_intercept());
    let model = || cognate::Exchangeable::new(FeatureCovariance::Scalar);
    assert_eq!(fitted(model(), &tasks).log_likelihood(), fitted(model(), &all).log_likelihood());
    let none = tasks.clone().with_design(tasks.design().clone().with_graph_features(|_| false));
    let refused = Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Scalar)).fit(&none);
    assert!(refused.unwrap_err().to_string().contains("no graph feature"));
}
