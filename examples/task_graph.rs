//! A task graph at a false discovery rate, and whether there is any structure at all: a null test is sure of tasks that are related and says nothing of tasks that are not.

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::{
    Design, EdgeMethod, Exchangeable, FeatureCovariance, Gaussian, Graph, Mean, Model, Null, Prior, Relatedness, Result, TaskGraph,
};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (tasks, features) = (12, 50);
    let names: Vec<String> = (1..=tasks).map(|t| format!("t{t}")).collect();
    let related = task_graph(Layout::Chain, &names, 0.45..0.49, 1)?;
    for (what, truth) in [("related", related), ("unrelated", TaskGraph::empty(&names))] {
        let mean = Mean::Given(DVector::from_element(features, 0.5));
        let prior = Prior::new(mean, Relatedness::Graph(truth.clone()), DMatrix::identity(features, features));
        let rows = gaussian(&prior, tasks, 100, NoiseLevel::Sd(1.0), 2)?.rows;
        let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
        let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Scalar)).restricted(true).fit(&table)?;
        let graph = Graph::new(FeatureCovariance::Scalar).with_edges(EdgeMethod::Exact { sweeps: 200 });
        let test = fit.null_test(Null::Rotation, &graph, 19, 1, &|| {})?;
        let found = test.observed.graph.at_false_discovery_rate(0.1);
        let right = found.edges().filter(|(s, t, _)| truth.edge(*s, *t).is_some()).count();
        let (all, count) = (truth.edges().count(), found.edges().count());
        println!("{what}: p = {:.2}; {count} edges at a false discovery rate of .10, {right} of {all} true ones", test.p_value());
        for (s, t, edge) in found.strongest().into_iter().take(3) {
            let (low, high) = edge.interval.unwrap_or((f64::NAN, f64::NAN));
            println!("  {} and {}: {:.2} ({low:.2} to {high:.2})", names[s], names[t], edge.partial_correlation);
        }
        assert_eq!(test.p_value() <= 0.05, all > 0);
        // Of some eleven edges at that rate about one is false.
        assert!(count - right <= 1 && 4 * right >= 3 * all);
    }
    Ok(())
}
