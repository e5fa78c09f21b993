//! A family of targets that is not cognate's own: checked, and fitted to whatever rows a strategy draws.

use cognate::testing::{check_family, check_likelihood, strategies};
use cognate::{Exchangeable, Family, FeatureCovariance, Generalised, Local, Model};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Waiting times, exponential about exp(eta); a row of weight v counts v times.
#[derive(Clone, Debug)]
struct Waiting;

impl Family for Waiting {
    fn name(&self) -> &'static str {
        "waiting"
    }
    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let ratio = y * (-eta).exp();
        Local { value: -weight * (eta + ratio), slope: weight * (ratio - 1.0), curvature: weight * ratio }
    }
    fn mean(&self, eta: f64) -> f64 {
        eta.exp()
    }
    fn variance(&self, weight: f64, eta: f64) -> f64 {
        (2.0 * eta).exp() / weight
    }
    fn cumulative(&self, y: f64, _: f64, eta: f64) -> Option<f64> {
        Some(-(-y.max(0.0) * (-eta).exp()).exp_m1())
    }
    fn start(&self, y: f64, _: f64) -> f64 {
        y.ln()
    }
    fn refuses(&self, y: f64, _: f64) -> Option<&'static str> {
        (y <= 0.0).then_some("is no waiting time; give a positive number")
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    check_family(&Waiting, &[(0.2, 1.0), (1.0, 2.0), (7.5, 1.0)])?;
    let times = (0.1f64..20.0).prop_map(|y| (y, 1.0));
    let mut runner = TestRunner::new(Config { cases: 20, failure_persistence: None, ..Config::default() });
    runner.run(&strategies::tasks(3..6, 1, 6..10, times), |tasks| {
        check_likelihood(Generalised::new(Waiting), &tasks).map_err(|failure| TestCaseError::fail(failure.to_string()))?;
        let fit = Model::new(Generalised::new(Waiting), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks);
        prop_assert!(fit.is_ok_and(|fit| fit.log_likelihood().is_finite()));
        Ok(())
    })?;
    println!("waiting times keep every promise, and 20 tables of them are fitted");
    Ok(())
}
