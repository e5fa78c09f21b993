//! A known graph of neighbours: sensors on a lattice, with few noisy rows each, are told apart better by one that knows who is beside whom.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{
    Design, Exchangeable, FeatureCovariance, Gaussian, Known, KnownRelation, Mean, Model, Prior, Relatedness, Result, Structure, TaskGraph,
};
use nalgebra::{DMatrix, DVector};

const SIDE: usize = 12;
const GAMMA: f64 = 10.0;

fn main() -> Result<()> {
    let names: Vec<String> = (1..=SIDE * SIDE).map(|t| format!("t{t}")).collect();
    let (mut omega, mut beside) = (TaskGraph::empty(&names), Vec::new());
    for t in 0..SIDE * SIDE {
        for s in [(t % SIDE > 0).then(|| t - 1), (t >= SIDE).then(|| t - SIDE)].into_iter().flatten() {
            omega.connect(s, t, -GAMMA, None);
            [s, t].iter().for_each(|end| omega.set_diagonal(*end, omega.node(*end).precision + GAMMA));
            beside.push((names[s].clone(), names[t].clone(), 1.0));
        }
    }
    let prior = Prior::new(Mean::Given(DVector::zeros(5)), Relatedness::Graph(omega), DMatrix::identity(5, 5));
    let drawn = gaussian(&prior, names.len(), 10, NoiseLevel::Ratio(0.2), 1)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let error = |structure: Box<dyn Structure>| -> Result<f64> {
        let fit = Model::of(Box::new(Gaussian::default()), structure).fit(&table)?;
        let squares = (0..names.len()).map(|t| (fit.coefficients(t) - drawn.parameters.row(t).transpose()).norm_squared());
        Ok(squares.sum::<f64>() / (5 * names.len()) as f64)
    };
    let alike = error(Box::new(Exchangeable::new(FeatureCovariance::Diagonal)))?;
    let known = error(Box::new(Known::new(FeatureCovariance::Diagonal, KnownRelation::Graph(beside))))?;
    println!("mean squared error of the parameters {known:.4}, of exchangeable tasks {alike:.4}");
    assert!(known < 0.8 * alike);
    Ok(())
}
