//! Several targets of the same rows: correlated errors are learned, are no relations, and are asked for where nobody declared them.

#[path = "common/command.rs"]
mod command;

use cognate::{
    CorrelatedGaussian, Design, Error, Exchangeable, FeatureCovariance, Fit, Full, Gaussian, Graph, Intervals, Likelihood, Model, Noise,
    Rows,
};
use command::cognate;
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::path::Path;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// What rows are drawn from: tasks, features, units, the correlation of all errors, and that of the parameters of tasks 0 and 1.
struct Truth {
    tasks: usize,
    features: usize,
    units: usize,
    errors: f64,
    relation: f64,
}

/// Rows that name their units where `declared`; error sds grow with the task, parameters have sd .15.
fn drawn(truth: &Truth, declared: bool, seed: u64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut w = DMatrix::from_fn(truth.features, truth.tasks, |_, _| 0.15 * normal(&mut random));
    let follower = w.column(0) * truth.relation + w.column(1) * (1.0 - truth.relation.powi(2)).sqrt();
    w.set_column(1, &follower);
    let names: Vec<String> = (0..truth.features).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &names);
    for i in 0..truth.units {
        let x: Vec<f64> = (0..truth.features).map(|_| normal(&mut random)).collect();
        let common = normal(&mut random);
        for t in 0..truth.tasks {
            let error = truth.errors.sqrt() * common + (1.0 - truth.errors).sqrt() * normal(&mut random);
            let y = w.column(t).dot(&DVector::from_column_slice(&x)) + (1.0 + 0.1 * t as f64) * error;
            let task = format!("t{t}");
            if declared { rows.push_of_unit(&i.to_string(), &task, &x, y, 1.0) } else { rows.push(&task, &x, y, 1.0) }.unwrap();
        }
    }
    rows
}

fn fitted(rows: Rows, model: Model) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features()).with_own_units()).with_rows(rows).unwrap();
    let fit = model.fit(&tasks).unwrap();
    assert!(fit.converged());
    fit
}

fn correlated(structure: impl cognate::Structure + 'static) -> Model {
    Model::new(CorrelatedGaussian::default(), structure)
}

/// Errors of correlation .7 and no relation: with the residual covariance there is no edge, without it there are, and a warning.
#[test]
fn correlated_errors_are_no_relations() {
    let truth = Truth { tasks: 10, features: 40, units: 120, errors: 0.7, relation: 0.0 };
    let graph = || Graph::new(FeatureCovariance::Scalar);
    let mut edges = 0;
    for seed in 0..3 {
        let fit = fitted(drawn(&truth, true, seed), correlated(graph()));
        assert_eq!(fit.graph().edges().count(), 0, "seed {seed}");
        assert!(!fit.warnings().iter().any(|warning| warning.contains("same units")));
        let errors = fit.residual_correlation().unwrap();
        let mean = (errors.sum() - 10.0) / 90.0;
        assert!((mean - 0.7).abs() < 0.1, "{mean}");
        // Errors of sd 1 to 1.9.
        let shares = (0..10).map(|t| fit.noise_variance(t).sqrt() / (1.0 + 0.1 * t as f64)).sum::<f64>() / 10.0;
        assert!((shares - 1.0).abs() < 0.15, "{shares}");

        let blind = fitted(drawn(&truth, false, seed), Model::new(Gaussian { noise: Noise::Task }, graph()));
        assert!(blind.warnings().iter().any(|warning| warning.contains("rows of t0 and 9 more tasks have the same features")));
        edges += blind.graph().edges().count();
    }
    assert!(edges > 0, "the trap is none");
}

/// A relation of .9 beside errors of correlation .7 is found, and nothing else.
#[test]
fn relations_are_told_from_correlated_errors() {
    let truth = Truth { tasks: 10, features: 60, units: 200, errors: 0.7, relation: 0.9 };
    let fit = fitted(drawn(&truth, true, 5), correlated(Graph::new(FeatureCovariance::Scalar)));
    let edges: Vec<(usize, usize)> = fit.graph().edges().map(|(s, t, _)| (s, t)).collect();
    assert_eq!(edges, [(0, 1)]);
}

/// The log density of all targets at the fitted prior and residual covariance, by their dense covariance.
fn dense(fit: &Fit, rows: &Rows) -> f64 {
    let (coordinates, prior) = (fit.coordinates(), fit.prior());
    let sigma = prior.relatedness.covariance(fit.tasks().len()).unwrap();
    let errors = fit.residual_correlation().unwrap();
    let noise = |s: usize, t: usize| errors[(s, t)] * (fit.dispersion().variance(s) * fit.dispersion().variance(t)).sqrt();
    // About the means of each task's own rows.
    let all: Vec<DVector<f64>> = (0..rows.len()).map(|i| coordinates.features(rows.x(i)).select_rows(&prior.varying)).collect();
    let centre = |t: usize| {
        let own: Vec<&DVector<f64>> = (0..rows.len()).filter(|i| rows.task(*i) == t).map(|i| &all[i]).collect();
        own.iter().fold(DVector::zeros(all[0].len()), |sum, x| sum + *x) / own.len() as f64
    };
    let centres: Vec<DVector<f64>> = (0..fit.tasks().len()).map(centre).collect();
    let x: Vec<DVector<f64>> = all.iter().enumerate().map(|(i, x)| x - &centres[rows.task(i)]).collect();
    let k = prior.feature_covariance();
    let covariance = DMatrix::from_fn(rows.len(), rows.len(), |i, j| {
        let (s, t) = (rows.task(i), rows.task(j));
        sigma[(s, t)] * x[i].dot(&(&k * &x[j])) + if rows.unit_name(i) == rows.unit_name(j) { noise(s, t) } else { 0.0 }
    });
    let unit = |i: usize| coordinates.targets[rows.task(i)];
    let y = DVector::from_fn(rows.len(), |i, _| (rows.y(i) - unit(i).centre) / unit(i).scale);
    let units: f64 = (0..rows.len()).map(|i| unit(i).scale.ln()).sum();
    let factor = covariance.cholesky().unwrap();
    let log_determinant = 2.0 * factor.l().diagonal().map(f64::ln).sum();
    -0.5 * (rows.len() as f64 * (2.0 * std::f64::consts::PI).ln() + log_determinant + y.dot(&factor.solve(&y))) - units
}

#[test]
fn the_likelihood_is_the_dense_one_for_complete_and_for_partial_rows() {
    let truth = Truth { tasks: 3, features: 2, units: 40, errors: 0.6, relation: 0.0 };
    let complete = drawn(&truth, true, 1);
    let partial = complete.subset(|i| i % 7 != 0);
    for rows in [complete, partial] {
        for model in [correlated(Exchangeable::new(FeatureCovariance::Diagonal)), correlated(Full::new(FeatureCovariance::Scalar))] {
            let fit = fitted(rows.clone(), model);
            let truth = dense(&fit, &rows);
            assert!((fit.log_likelihood() - truth).abs() < 1e-7 * truth.abs(), "{} for {truth}", fit.log_likelihood());
        }
    }
}

/// A few targets missing change little: of 600 there are 590, with another engine.
#[test]
fn a_few_missing_targets_change_little() {
    let truth = Truth { tasks: 4, features: 5, units: 150, errors: 0.7, relation: 0.5 };
    let complete = drawn(&truth, true, 2);
    let partial = complete.subset(|i| i % 60 != 7);
    let full = || correlated(Full::new(FeatureCovariance::Scalar));
    let (one, other) = (fitted(complete, full()), fitted(partial, full()));
    assert_eq!(one.tasks().rows() - other.tasks().rows(), 10);
    for t in 0..4 {
        let errors = one.covariance(t).diagonal().map(f64::sqrt);
        let moved = (one.coefficients(t) - other.coefficients(t)).component_div(&errors).amax();
        assert!(moved < 0.6, "task {t}: {moved} standard errors");
    }
    assert!((one.residual_correlation().unwrap() - other.residual_correlation().unwrap()).amax() < 0.05);
}

/// A target in another unit has its parameters in that unit, and nothing else changes.
#[test]
fn the_units_of_targets_do_not_matter() {
    let truth = Truth { tasks: 3, features: 4, units: 60, errors: 0.5, relation: 0.5 };
    let plain = drawn(&truth, true, 3);
    let mut scaled = Rows::new("y", plain.features());
    for i in 0..plain.len() {
        let y = if plain.task(i) == 1 { 1e4 * plain.y(i) + 7e5 } else { plain.y(i) };
        scaled.push_of_unit(plain.unit_name(i), &plain.names()[plain.task(i)], plain.x(i), y, 1.0).unwrap();
    }
    let full = || correlated(Full::new(FeatureCovariance::Diagonal));
    let (one, other) = (fitted(plain, full()), fitted(scaled, full()));
    assert!((one.log_likelihood() - 60.0 * 1e4f64.ln() - other.log_likelihood()).abs() < 1e-5);
    let (a, b) = (one.coefficients(1), other.coefficients(1));
    assert!((1..a.len()).all(|k| (a[k] - b[k] / 1e4).abs() < 1e-5));
    assert!((b[0] - 7e5 - 1e4 * a[0]).abs() < 1.0);
    assert!((one.coefficients(0) - other.coefficients(0)).amax() < 1e-5);
    let (one, other) = (one.predict("t1", &[0.1; 4], 0.9).unwrap(), other.predict("t1", &[0.1; 4], 0.9).unwrap());
    assert!((1e4 * one.mean + 7e5 - other.mean).abs() < 1.0 && (1e4 * one.sd / other.sd - 1.0).abs() < 1e-5);
}

/// A shared mean and tasks of one unit, on features of their own (a panel of firms by year).
#[test]
fn rows_of_a_unit_may_have_features_of_their_own() {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let mut rows = Rows::new("investment", &["value"]);
    for year in 0..40 {
        let common = normal(&mut random);
        for firm in 0..6 {
            let value = normal(&mut random);
            let y = 1.0 + (0.5 + 0.1 * f64::from(firm)) * value + common + 0.5 * normal(&mut random);
            rows.push_of_unit(&year.to_string(), &firm.to_string(), &[value], y, 1.0).unwrap();
        }
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    assert!(tasks.alike().is_empty());
    let model = |likelihood: Box<dyn Likelihood>| {
        Model::of(likelihood, Box::new(Exchangeable::new(FeatureCovariance::Diagonal))).intervals(Intervals::PlugIn)
    };
    let fit = model(Box::<CorrelatedGaussian>::default()).fit(&tasks).unwrap();
    let blind = model(Box::new(Gaussian { noise: Noise::Task })).fit(&tasks).unwrap();
    assert!(fit.converged() && fit.log_likelihood() > blind.log_likelihood() + 50.0);
    assert!(blind.warnings().iter().any(|warning| warning.contains("taken as independent")));
    let errors = |fit: &Fit| (0..6).map(|t| (fit.coefficients(t)[1] - 0.5 - 0.1 * t as f64).powi(2)).sum::<f64>();
    assert!(errors(&fit) < 0.5 * errors(&blind), "{} and {}", errors(&fit), errors(&blind));
    // The common effect of a year is in every firm's error: their intercepts are known no better than one of them.
    assert!(fit.covariance(0)[(0, 0)] > 2.0 * blind.covariance(0)[(0, 0)]);
}

#[test]
fn rows_without_units_are_refused() {
    let truth = Truth { tasks: 3, features: 2, units: 20, errors: 0.5, relation: 0.0 };
    let rows = drawn(&truth, false, 1);
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let refused = |tasks: &cognate::Tasks| correlated(Exchangeable::new(FeatureCovariance::Scalar)).fit(tasks).unwrap_err();
    for tasks in [tasks.clone(), tasks.with_rows(rows).unwrap()] {
        assert!(matches!(refused(&tasks), Error::Arguments(message) if message.contains("push_of_unit")));
    }
}

/// A wide table of three targets, one cell of which is empty, and the same as a long one.
fn tables(folder: &Path) {
    let rows = drawn(&Truth { tasks: 3, features: 2, units: 50, errors: 0.8, relation: 0.5 }, true, 4);
    let (mut wide, mut long) = (String::from("x0,x1,t0,t1,t2\n"), String::from("day,task,x0,x1,y\n"));
    for i in 0..50 {
        let own: Vec<usize> = (0..rows.len()).filter(|k| rows.unit_name(*k) == i.to_string()).collect();
        let x = rows.x(own[0]);
        let y: Vec<String> =
            own.iter().map(|k| if i == 4 && rows.task(*k) == 1 { String::new() } else { rows.y(*k).to_string() }).collect();
        wide += &format!("{},{},{}\n", x[0], x[1], y.join(","));
        y.iter().enumerate().for_each(|(t, y)| long += &format!("d{i},t{t},{},{},{y}\n", x[0], x[1]));
    }
    std::fs::write(folder.join("wide.csv"), wide).unwrap();
    std::fs::write(folder.join("long.csv"), long).unwrap();
}

#[test]
fn wide_tables_are_fitted_compared_and_predicted() {
    let folder = tempfile::tempdir().unwrap();
    tables(folder.path());
    let fit =
        cognate(folder.path(), &["fit", "wide.csv", "--targets", "t0,t1,t2", "--structure", "full", "--model", "m", "--format", "json"]);
    assert!(fit.status == 0, "{}", fit.err);
    assert!(fit.err.contains("1 target missing"), "{}", fit.err);
    let json: serde_json::Value = serde_json::from_str(&fit.out).unwrap();
    assert_eq!((json["tasks"].as_u64(), json["rows"].as_u64()), (Some(3), Some(149)));
    assert!(json["residual_correlation"]["matrix"][0][1].as_f64().unwrap() > 0.6);
    let predicted = cognate(folder.path(), &["predict", "m", "wide.csv", "--score"]);
    let lines: Vec<&str> = predicted.out.lines().collect();
    assert_eq!(lines.len(), 151, "{}", predicted.err);
    assert!(lines[1].starts_with("1,t0,") && lines[3].starts_with("1,t2,") && lines[4].starts_with("2,t0,"));
    let compared = cognate(folder.path(), &["compare", "wide.csv", "--targets", "t0,t1,t2", "--structures", "independent,exchangeable"]);
    assert!(compared.status == 0 && compared.out.contains("rel.rmse"), "{}{}", compared.out, compared.err);
    let text = cognate(folder.path(), &["fit", "wide.csv", "--targets", "t0,t1,t2"]);
    assert!(text.out.contains("Correlations of the errors of a row between tasks:"), "{}", text.out);
}

#[test]
fn rows_of_long_tables_are_named_by_a_column() {
    let folder = tempfile::tempdir().unwrap();
    tables(folder.path());
    let long = ["fit", "long.csv", "--task", "task", "--target", "y"];
    let named = cognate(folder.path(), &[&long[..], &["--row", "day"]].concat());
    assert!(named.status == 0 && named.out.contains("Correlations of the errors"), "{}{}", named.out, named.err);
    let blind = cognate(folder.path(), &[&long[..], &["--features", "x0,x1"]].concat());
    assert!(blind.status == 0 && blind.out.contains("have the same features as rows of other tasks"), "{}", blind.out);
}

#[test]
fn what_tables_of_shared_rows_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    tables(folder.path());
    let refused = |arguments: &[&str], message: &str| {
        let run = cognate(folder.path(), arguments);
        assert!(run.status != 0 && run.err.contains(message), "{arguments:?}: {}", run.err);
    };
    refused(&["fit", "wide.csv", "--targets", "t0,t1,t0"], "target 't0' is named twice");
    refused(&["fit", "wide.csv", "--targets", "t0,t9"], "t9");
    refused(&["fit", "wide.csv", "--targets", "t0,t1", "--features", "x0,t1"], "column 't1' cannot be a feature too");
    refused(&["fit", "wide.csv", "--targets", "t0,t1", "--task", "x0"], "cannot be used with");
    refused(&["fit", "long.csv", "--task", "task", "--target", "y", "--row", "task"], "cannot be the task or a target");
    refused(
        &["fit", "long.csv", "--task", "task", "--target", "y", "--row", "day", "--structure", "pooled-intercepts"],
        "pooled-intercepts",
    );
    let twice = "day,task,x,y\n1,a,0.5,1\n1,a,0.7,2\n1,b,0.5,1\n2,b,0.1,3\n";
    std::fs::write(folder.path().join("twice.csv"), twice).unwrap();
    refused(&["fit", "twice.csv", "--task", "task", "--target", "y", "--row", "day"], "task 'a' was measured twice on '1'");
    std::fs::write(folder.path().join("constant.csv"), "x,a,b\n1,2,3\n2,2,4\n3,2,5\n").unwrap();
    refused(&["fit", "constant.csv", "--targets", "a,b"], "'a'");
}
