//! A planted chain of twelve tasks is found again, and printed as Graphviz text.

use cognate::{Design, FeatureCovariance, Gaussian, Graph, Mean, Model, Prior, Relatedness, Result, TaskGraph, simulate};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let names: Vec<String> = (1..=12).map(|t| t.to_string()).collect();
    let mut truth = TaskGraph::empty(&names);
    (1..12).for_each(|t| truth.connect(t - 1, t, -0.45, None));
    let features = 100;
    let prior = Prior::new(
        Mean::Given(DVector::from_element(features, 0.5)),
        Relatedness::Graph(truth.clone()),
        DMatrix::identity(features, features),
    );
    let drawn = simulate::gaussian(&prior, 12, 200, simulate::NoiseLevel::Sd(1.0), 1)?;
    let tasks = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let fit = Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Scalar)).fit(&tasks)?;
    let found = fit.graph();
    let right = found.edges().filter(|(s, t, _)| truth.edge(*s, *t).is_some()).count();
    println!("{right} of 11 true edges, {} false", found.edges().count() - right);
    println!("{}", found.to_dot());
    assert!(right >= 9);
    Ok(())
}
