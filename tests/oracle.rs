//! Reference results from elsewhere: lme4, independent maximum-likelihood fits, closed forms.

use cognate::csv::{Columns, Varying};
use cognate::{
    Coordinates, Dispersion, Exchangeable, FeatureCovariance, Fit, Gaussian, Intervals, Mean, Model, Observations, Posterior, Prior,
    Relatedness, Standardise, TaskGraph,
};
use nalgebra::{DMatrix, DVector};
use std::path::PathBuf;

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
    let fit = Model::new(Gaussian::default(), Exchangeable::new(covariance))
        .standardise(standardise)
        .intervals(Intervals::PlugIn)
        .fit(&tasks)
        .unwrap();
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

/// A model of lme4.json: its tasks, its shape of K and its reference.
fn lme4_models() -> Vec<(serde_json::Value, cognate::Tasks, FeatureCovariance)> {
    let models = json("tests/oracles/lme4.json");
    let read = |model: &serde_json::Value| {
        let file = model["data"].as_str().unwrap();
        let path = if file.contains("school") { root().join("data/school.csv.gz") } else { root().join("tests/oracles").join(file) };
        let features: Vec<String> = model["fixef"].as_object().unwrap().keys().filter(|k| *k != "(Intercept)").cloned().collect();
        let columns = Columns {
            task: model["group"].as_str().unwrap().into(),
            target: model["formula"].as_str().unwrap().split('~').next().unwrap().trim().into(),
            features: Some(features),
            varying: Varying::Only(random_columns(model).into_iter().filter(|k| k != "1").collect()),
            ..Columns::default()
        };
        let table = cognate::csv::read(cognate::csv::open(&path).unwrap(), file, &columns).unwrap();
        let kind = if model["random_cov_structure"] == "full" { FeatureCovariance::Full } else { FeatureCovariance::Diagonal };
        (model.clone(), table.rows.tasks(&table.design), kind)
    };
    models["models"].as_array().unwrap().iter().map(read).collect()
}

fn random_columns(model: &serde_json::Value) -> Vec<String> {
    match &model["random_columns"] {
        serde_json::Value::Array(list) => list.iter().map(|v| v.as_str().unwrap().to_string()).collect(),
        one => vec![one.as_str().unwrap().to_string()],
    }
}

fn number_rows(value: &serde_json::Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(|row| row.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()).collect()
}

fn matrix(value: &serde_json::Value) -> DMatrix<f64> {
    let rows = number_rows(value);
    DMatrix::from_fn(rows.len(), rows.len(), |i, j| rows[i][j])
}

#[test]
fn lme4_log_likelihoods_are_reached() {
    for (model, tasks, kind) in lme4_models() {
        let id = &model["id"];
        let model_of = Model::new(Gaussian::default(), Exchangeable::new(kind)).standardise(Standardise::None);
        let fit = model_of.intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let expected = model["logLik"].as_f64().unwrap();
        println!("{id}: {} against {expected} ({} steps, {:?})", fit.log_likelihood(), fit.trace().len(), fit.stop());
        assert!(fit.log_likelihood() >= expected - 1e-6, "{id}: {} < {expected}", fit.log_likelihood());
        assert!(fit.log_likelihood() <= expected + 0.1 && fit.converged(), "{id}");
        for (k, feature) in tasks.design().features().iter().enumerate() {
            let (estimate, se) = (model["fixef"][feature].as_f64().unwrap(), model["fixef_se"][feature].as_f64().unwrap());
            assert!((fit.mean()[k] - estimate).abs() < 1e-3 * se, "{id} {feature}: {} against {estimate}", fit.mean()[k]);
            let own = fit.mean_covariance()[(k, k)].sqrt();
            assert!((own - se).abs() < 1e-3 * se, "{id} se of {feature}: {own} against {se}");
        }
    }
}

/// The log-likelihood, conditional modes and covariances at fixed parameters, without any optimiser.
fn at_point(tasks: &cognate::Tasks, mean: Vec<f64>, g: &DMatrix<f64>, noise: f64) -> (Observations, Prior, Dispersion) {
    let data = Observations::new(tasks, &Coordinates::identity(tasks.design()));
    let eigen = g.clone().symmetric_eigen();
    let root = &eigen.eigenvectors * DMatrix::from_diagonal(&eigen.eigenvalues.map(|v| v.max(0.0).sqrt()));
    let prior = Prior {
        mean_features: (0..mean.len()).collect(),
        varying: tasks.design().varying_features(),
        ..Prior::new(Mean::Given(DVector::from_vec(mean)), Relatedness::Identity, root)
    };
    (data, prior, Dispersion::shared(noise))
}

#[test]
fn lme4_check_points_conditional_modes_and_covariances_agree() {
    let mut points = 0;
    for (model, tasks, _) in lme4_models() {
        let id = &model["id"];
        let mean = |fixed: &serde_json::Value| tasks.design().features().iter().map(|f| fixed[f].as_f64().unwrap()).collect();
        if let Some(point) = model.get("check_point") {
            let (data, prior, noise) = at_point(&tasks, mean(&point["fixef"]), &matrix(&point["G"]), point["sigma2"].as_f64().unwrap());
            let quadratics = Gaussian::default().quadratics(&data, &noise);
            let value = Posterior::given(&quadratics, &prior).unwrap().log_likelihood();
            assert!((value - point["logLik"].as_f64().unwrap()).abs() < 1e-8 * value.abs().max(1.0), "{id}: {value}");
            points += 1;
        }
        let (data, prior, noise) = at_point(&tasks, mean(&model["fixef"]), &matrix(&model["G"]), model["sigma2"].as_f64().unwrap());
        let quadratics = Gaussian::default().quadratics(&data, &noise);
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        assert!((posterior.log_likelihood() - model["logLik"].as_f64().unwrap()).abs() < 1e-6);
        for group in model["conditional_first5"].as_array().unwrap() {
            let name = group["group"].to_string();
            let t = tasks.names().iter().position(|task| *task == name).unwrap();
            let (mode, covariance) = posterior.conditional(t);
            // lme4 numbers the columns as the design does: the intercept first.
            let expected: Vec<f64> = match &group["mode"] {
                serde_json::Value::Array(list) => list.iter().map(|v| v.as_f64().unwrap()).collect(),
                one => vec![one.as_f64().unwrap()],
            };
            let theirs = matrix(&group["cov"]);
            let scale = theirs.diagonal().map(f64::sqrt);
            for i in 0..expected.len() {
                assert!((mode[i] - expected[i]).abs() < 1e-6 * (1.0 + scale[i]), "{id} group {name}: {} against {}", mode[i], expected[i]);
                for j in 0..expected.len() {
                    assert!((covariance[(i, j)] - theirs[(i, j)]).abs() < 1e-6 * (1e-6 + scale[i] * scale[j]), "{id} group {name}");
                }
            }
        }
    }
    assert!(points >= 5);
}

#[test]
fn sleepstudy_restricted_criterion() {
    let (_, tasks, kind) = lme4_models().swap_remove(0);
    for standardise in [Standardise::Both, Standardise::Scale, Standardise::None] {
        let fit = Model::new(Gaussian::default(), Exchangeable::new(kind)).standardise(standardise).restricted(true).fit(&tasks).unwrap();
        println!("sleepstudy REML criterion {:.5}", -2.0 * fit.log_likelihood());
        assert!((-2.0 * fit.log_likelihood() - 1743.6283).abs() < 1e-4);
    }
}

#[test]
fn posterior_with_all_hyperparameters_fixed() {
    let oracle = json("tests/oracles/posterior_gaussian.json");
    let columns = Columns {
        task: "task".into(),
        target: "y_gaussian".into(),
        features: Some(names("x0 x1 x2")),
        no_intercept: true,
        ..Columns::default()
    };
    let table =
        cognate::csv::read(cognate::csv::open(&root().join("tests/oracles/posterior_data.csv")).unwrap(), "data", &columns).unwrap();
    let tasks = table.rows.tasks(&table.design);
    let data = Observations::new(&tasks, &Coordinates::identity(tasks.design()));
    let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(oracle["sigma2"].as_f64().unwrap()));
    let list = |key: &str| oracle[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let sigma = matrix(&oracle["Sigma"]);
    let precision = sigma.clone().try_inverse().unwrap();
    let task_names = tasks.names();
    for relatedness in [Relatedness::Dense(sigma), Relatedness::Graph(TaskGraph::of_precision(task_names, &precision))] {
        let prior = Prior::new(Mean::Given(DVector::from_vec(list("mu"))), relatedness, matrix(&oracle["K"]).cholesky().unwrap().l());
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        assert!((posterior.log_likelihood() - oracle["log_marginal_likelihood"].as_f64().unwrap()).abs() < 1e-10 * 196.0);
        let (mean, covariance) = (list("posterior_mean"), matrix(&oracle["posterior_cov"]));
        for t in 0..8 {
            let (w, c) = (posterior.coefficients(t), posterior.covariance(t));
            for i in 0..3 {
                assert!((w[i] - mean[t * 3 + i]).abs() < 1e-10);
                (0..3).for_each(|j| assert!((c[(i, j)] - covariance[(t * 3 + i, t * 3 + j)]).abs() < 1e-10));
            }
        }
    }
}
