//! Slopes against differences, and EM against its promise.

use super::*;
use crate::likelihood::{Gaussian, Observations};
use crate::prior::{Groups, Mean};
use crate::quadratic::Quadratics;
use crate::simulate::{NoiseLevel, gaussian};
use crate::tasks::{Coordinates, Design, Tasks};

const TASKS: usize = 9;

fn tasks() -> Tasks {
    let loadings = DMatrix::from_fn(TASKS, 2, |t, j| if (t + j) % 3 == 0 { 1.5 } else { -0.6 * j as f64 });
    let truth = Relatedness::LowRank { loadings, uniquenesses: DVector::from_fn(TASKS, |t, _| 0.4 + 0.2 * t as f64) };
    let prior = Prior::new(Mean::Given(DVector::from_element(5, 0.5)), truth, DMatrix::identity(5, 5));
    let rows = gaussian(&prior, TASKS, 12, NoiseLevel::Sd(1.0), 3).unwrap().rows;
    rows.tasks(&Design::varying(rows.features()).without_intercept())
}

/// The structure begun and its prior after some M-steps, and what the rows say.
fn begun(structure: &mut dyn Structure, tasks: &Tasks, unrelated: &[usize], steps: usize) -> (Prior, Quadratics) {
    let data = Observations::new(tasks, &Coordinates::identity(tasks.design()));
    let likelihood = Gaussian::default();
    let features: Vec<usize> = (0..5).collect();
    let setting = Setting {
        data: &data,
        names: tasks.names(),
        mean_features: &features,
        varying: &features,
        unrelated,
        intercept: None,
        mean: &Mean::Profiled,
        mean_precision: &DMatrix::zeros(0, 0),
        noise: 1.0,
        groups: &Groups::default(),
        likelihood: &likelihood,
    };
    let quadratics = likelihood.quadratics(&data, &Dispersion::shared(1.0));
    let (mut prior, _) = structure.start(&setting).unwrap();
    if let Some(mut base) = structure.base().filter(|base| base.name() == "factor") {
        prior = begun(base.as_mut(), tasks, unrelated, steps).0;
    }
    for _ in 0..steps {
        prior = structure.update(&Posterior::given(&quadratics, &prior).unwrap()).unwrap();
    }
    (prior, quadratics)
}

fn both(rank: usize, kind: FeatureCovariance) -> [Box<dyn Structure>; 2] {
    [Box::new(Directions::new(rank, kind, 4.0)), Box::new(Factor::new(rank, kind))]
}

#[test]
fn slopes_are_differences_of_the_log_posterior() {
    const STEP: f64 = 1e-5;
    let tasks = tasks();
    for (kind, unrelated) in
        [(FeatureCovariance::Diagonal, vec![]), (FeatureCovariance::Full, vec![]), (FeatureCovariance::Diagonal, vec![1])]
    {
        for mut structure in both(2, kind) {
            let (prior, quadratics) = begun(structure.as_mut(), &tasks, &unrelated, 3);
            let smooth = structure.smooth().unwrap();
            let point = smooth.coordinates(&prior);
            let back = smooth.at(&point, &prior).unwrap();
            assert!((back.relatedness.covariance(TASKS).unwrap() - prior.relatedness.covariance(TASKS).unwrap()).amax() < 1e-12);
            let slope = smooth.slope(&Posterior::given(&quadratics, &prior).unwrap());
            assert_eq!(slope.len(), point.len());
            let value = |point: &[f64]| {
                let there = smooth.at(point, &prior).unwrap();
                Posterior::given(&quadratics, &there).unwrap().log_likelihood() + structure.log_prior(&there)
            };
            for (k, (own, difference)) in slope.iter().zip(linalg::differences(value, &point, STEP)).enumerate() {
                assert!((own - difference).abs() < 1e-5 * (1.0 + difference.abs()), "{structure:?} {k}: {own} {difference}");
            }
        }
    }
}

#[test]
fn the_log_posterior_never_falls_in_em() {
    let tasks = tasks();
    for mut structure in both(2, FeatureCovariance::Full) {
        // From where factors have begun.
        let (mut prior, quadratics) = begun(structure.as_mut(), &tasks, &[], 1);
        let mut before = f64::NEG_INFINITY;
        for step in 0..40 {
            let posterior = Posterior::given(&quadratics, &prior).unwrap();
            let now = posterior.log_likelihood() + structure.log_prior(&prior);
            assert!(now >= before - 1e-9 * before.abs().min(1e9), "step {step}: {now} after {before}");
            before = now;
            prior = structure.update(&posterior).unwrap();
        }
    }
}
