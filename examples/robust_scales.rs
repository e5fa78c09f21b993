//! A task ten times as far out as the others is let go, and named, and what is known of the others does not suffer.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Exchangeable, FeatureCovariance, Fit, Gaussian, Mean, Model, Prior, Relatedness, Result, Robust, Rows, Structure};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (tasks, features, far) = (30, 6, 10.0);
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), Relatedness::Identity, DMatrix::identity(features, features) * 0.25);
    let drawn = gaussian(&prior, tasks, 20, NoiseLevel::Sd(1.0), 1)?;
    let mut rows = Rows::new("y", drawn.rows.features());
    for i in 0..drawn.rows.len() {
        let (t, x) = (drawn.rows.task(i), drawn.rows.x(i));
        let signal: f64 = x.iter().enumerate().map(|(k, x)| x * drawn.parameters[(t, k)]).sum();
        let more = if t < 2 { (far - 1.0) * signal } else { 0.0 };
        rows.push(&drawn.rows.names()[t], x, drawn.rows.y(i) + more, 1.0)?;
    }
    let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
    let plain = || Box::new(Exchangeable::new(FeatureCovariance::Scalar));
    let fit = |structure: Box<dyn Structure>| Model::of(Box::new(Gaussian::default()), structure).fit(&table);
    let error = |fit: &Fit| -> f64 {
        (2..tasks).map(|t| (fit.coefficients(t) - drawn.parameters.row(t).transpose()).norm_squared()).sum::<f64>()
            / ((tasks - 2) * features) as f64
    };
    let (shared, robust) = (fit(plain())?, fit(Box::new(Robust::new(plain())?))?);
    let mut let_go: Vec<&str> = robust.let_go().into_iter().map(|t| robust.tasks().names()[t].as_str()).collect();
    let_go.sort_unstable();
    println!("let go: {let_go:?}");
    println!("mean squared error of the others: {:.4}, of a fit with one scale for all {:.4}", error(&robust), error(&shared));
    assert_eq!(let_go, ["t1", "t2"]);
    assert!(error(&robust) < 0.95 * error(&shared));
    Ok(())
}
