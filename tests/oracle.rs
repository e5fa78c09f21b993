//! Reference results from elsewhere: lme4, independent maximum-likelihood fits, closed forms.

use cognate::csv::{Columns, Varying};
use cognate::{Exchangeable, FeatureCovariance, Fit, Gaussian, Model, Standardise};
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn json(path: &str) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(root().join(path)).unwrap()).unwrap()
}

fn school(varying: Varying, features: Option<Vec<String>>, covariance: FeatureCovariance, standardise: Standardise) -> Fit {
    let columns = Columns { task: "school".into(), target: "score".into(), varying, features, ..Columns::default() };
    let table = cognate::csv::read(cognate::csv::open(&root().join("data/school.csv.gz")).unwrap(), "school", &columns).unwrap();
    let tasks = table.rows.tasks(&table.design);
    let start = std::time::Instant::now();
    let fit = Model::new(Gaussian::default(), Exchangeable::new(covariance)).standardise(standardise).fit(&tasks).unwrap();
    println!("school {covariance:?}: {} in {} steps, {:?}, {:?}", fit.log_likelihood(), fit.trace().len(), fit.stop(), start.elapsed());
    fit
}

fn names(list: &str) -> Vec<String> {
    list.split(' ').map(String::from).collect()
}

#[test]
fn school_28_uncorrelated_slopes_reach_the_maximum() {
    let fit = school(Varying::All, None, FeatureCovariance::Diagonal, Standardise::None);
    assert!(fit.log_likelihood() >= -57219.6579272 - 1e-4 && fit.converged());
    assert_eq!(fit.dropped(), ["f3", "f7", "f21", "f24", "f27"]);
}

#[test]
fn school_8_correlated_slopes_reach_the_maximum_that_lme4_misses() {
    let fit = school(Varying::Only(names("f1 f2 f4 f5 f6 f8 f9 f11")), None, FeatureCovariance::Full, Standardise::Both);
    assert!(fit.log_likelihood() >= -57201.0399375 - 1e-4 && fit.converged());
}

#[test]
fn school_22_correlated_slopes_reach_the_maximum() {
    let independent = names("f1 f2 f4 f5 f6 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f22 f23 f25 f26");
    let fit = school(Varying::All, Some(independent), FeatureCovariance::Full, Standardise::Both);
    assert!(fit.log_likelihood() >= -57131.2348374 - 1e-3 && fit.converged());
}

#[test]
fn lme4_log_likelihoods_are_reached() {
    for model in json("tests/oracles/lme4.json")["models"].as_array().unwrap() {
        let id = model["id"].as_str().unwrap();
        let file = model["data"].as_str().unwrap();
        let path = if file.contains("school") { root().join("data/school.csv.gz") } else { Path::new(&root()).join("tests/oracles").join(file) };
        let random: Vec<&str> = match &model["random_columns"] {
            serde_json::Value::Array(list) => list.iter().map(|v| v.as_str().unwrap()).collect(),
            one => vec![one.as_str().unwrap()],
        };
        let features: Vec<String> = model["fixef"].as_object().unwrap().keys().filter(|k| *k != "(Intercept)").cloned().collect();
        let columns = Columns {
            task: model["group"].as_str().unwrap().into(),
            target: model["formula"].as_str().unwrap().split('~').next().unwrap().trim().into(),
            features: Some(features),
            varying: Varying::Only(random.iter().filter(|k| **k != "1").map(|k| k.to_string()).collect()),
            ..Columns::default()
        };
        let table = cognate::csv::read(cognate::csv::open(&path).unwrap(), id, &columns).unwrap();
        let tasks = table.rows.tasks(&table.design);
        let kind = if model["random_cov_structure"] == "full" { FeatureCovariance::Full } else { FeatureCovariance::Diagonal };
        let fit = Model::new(Gaussian::default(), Exchangeable::new(kind)).standardise(Standardise::None).fit(&tasks).unwrap();
        let expected = model["logLik"].as_f64().unwrap();
        println!("{id}: {} against {expected} ({} steps, {:?})", fit.log_likelihood(), fit.trace().len(), fit.stop());
        assert!(fit.log_likelihood() >= expected - 1e-6, "{id}: {} < {expected}", fit.log_likelihood());
        assert!(fit.log_likelihood() <= expected + 0.1 && fit.converged(), "{id}");
    }
}
