//! Any covariance between tasks: twelve tasks in three kinds that nobody has named; what is learned of their covariance makes the parameters better than exchangeable tasks have them.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Exchangeable, FeatureCovariance, Fit, Full, Gaussian, Mean, Model, Prior, Relatedness, Result, Structure};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (tasks, features) = (12, 20);
    let is_kind = |s: usize, t: usize| s % 3 == t % 3;
    let sigma = DMatrix::from_fn(tasks, tasks, |s, t| if s == t { 1.0 } else { 0.9 * f64::from(u8::from(is_kind(s, t))) });
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), Relatedness::Dense(sigma), DMatrix::identity(features, features) * 0.3);
    let drawn = gaussian(&prior, tasks, 25, NoiseLevel::Sd(1.0), 1)?;
    let table = drawn.rows.tasks(&Design::varying(drawn.rows.features()).without_intercept());
    let fit = |structure: Box<dyn Structure>| Model::of(Box::new(Gaussian::default()), structure).fit(&table);
    let error = |fit: &Fit| -> f64 {
        (0..tasks).map(|t| (fit.coefficients(t) - drawn.parameters.row(t).transpose()).norm_squared()).sum::<f64>()
            / (tasks * features) as f64
    };
    let plain = fit(Box::new(Exchangeable::new(FeatureCovariance::Scalar)))?;
    let full = fit(Box::new(Full::new(FeatureCovariance::Scalar)))?;
    let found = full.relatedness().expect("it is learned");
    let mean = |same: bool| {
        let pairs = (0..tasks).flat_map(|s| (0..s).map(move |t| (s, t))).filter(|(s, t)| is_kind(*s, *t) == same);
        let all: Vec<f64> = pairs.map(|(s, t)| found[(s, t)] / (found[(s, s)] * found[(t, t)]).sqrt()).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    println!("mean correlation of tasks of a kind {:.2}, of others {:.2}", mean(true), mean(false));
    println!("mean squared error of the parameters {:.4}, exchangeable {:.4}", error(&full), error(&plain));
    assert!(mean(true) > mean(false) + 0.5 && error(&full) < 0.8 * error(&plain));
    Ok(())
}
