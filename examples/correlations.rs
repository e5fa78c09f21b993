//! How related tasks are, with intervals: two kinds of tasks that answer in opposite ways, every pair whose sign is said to be sure has the true one, and intervals hold the truth.

use cognate::relatedness::{Options, Relations};
use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, FeatureCovariance, Full, Gaussian, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (tasks, features) = (8, 30);
    let truth = |s: usize, t: usize| match (s == t, s % 2 == t % 2) {
        (true, _) => 1.0,
        (_, true) => 0.7,
        _ => -0.7,
    };
    let sigma = DMatrix::from_fn(tasks, tasks, truth);
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), Relatedness::Dense(sigma), DMatrix::identity(features, features));
    let rows = gaussian(&prior, tasks, 60, NoiseLevel::Sd(1.0), 1)?.rows;
    let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
    // About 0, so that what all tasks have in common would be relatedness too.
    let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)).zero_mean(true).fit(&table)?;
    let relations = Relations::of(&fit, &Options::default())?;
    let mut held = 0;
    for (place, own) in relations.pairs.iter().enumerate() {
        let (found, low, high) = (own.correlation.unwrap_or(0.0), own.low.unwrap_or(-1.0), own.high.unwrap_or(1.0));
        let truth = truth(own.tasks.0, own.tasks.1);
        held += usize::from(low <= truth && truth <= high);
        assert!(!own.is_sure() || found * truth > 0.0);
        if place < 5 {
            println!("{} and {}: {found:.2} ({low:.2} to {high:.2}), is {truth}", own.first, own.second);
        }
    }
    println!("{} of {} signs are sure, {held} intervals of 95 % hold the truth", relations.sure(), relations.pairs.len());
    assert!(relations.sure() >= 20 && held >= 24);
    Ok(())
}
