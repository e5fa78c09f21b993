//! Tasks from estimates and their covariances: against dense Gaussian formulas, fits of the rows behind them, and closed forms.

#[path = "common/command.rs"]
mod command;

use cognate::{
    Coordinates, Design, Dispersion, Exchangeable, FeatureCovariance, Fit, Gaussian, Intervals, Known, KnownRelation, Likelihood, Mean,
    Model, Noise, Observations, Pooled, Posterior, Prior, Relatedness, Rows, Standardise, Statistics, Structure, Summaries,
};
use command::{Run, cognate};
use nalgebra::{DMatrix, DVector, dmatrix};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::path::Path;

const KNOWN: Gaussian = Gaussian { noise: Noise::Known };

fn normal(random: &mut ChaCha8Rng) -> f64 {
    (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
}

fn definite(size: usize, random: &mut ChaCha8Rng) -> DMatrix<f64> {
    let root = DMatrix::from_fn(size, size, |_, _| normal(random));
    &root * root.transpose() / size as f64 + DMatrix::identity(size, size) * 0.2
}

type Estimates = Vec<(Vec<Option<f64>>, DMatrix<f64>)>;

/// Random estimates with about a quarter missing, and one task without any.
fn estimates(tasks: usize, features: usize, random: &mut ChaCha8Rng) -> Estimates {
    (0..tasks)
        .map(|t| {
            let estimate = (0..features).map(|_| (t != 1 && random.random::<f64>() > 0.25).then(|| 1.0 + normal(random))).collect();
            (estimate, definite(features, random))
        })
        .collect()
}

fn summaries(estimates: &Estimates, names: &[&str]) -> Summaries {
    let mut summaries = Summaries::new(names);
    for (t, (estimate, covariance)) in estimates.iter().enumerate() {
        summaries.push(&format!("t{t}"), estimate, covariance).unwrap();
    }
    summaries
}

/// The estimates that are there in one vector, the selection of them from vec(W), and their sampling covariance.
fn stacked(estimates: &Estimates) -> (DVector<f64>, DMatrix<f64>, DMatrix<f64>) {
    let d = estimates[0].0.len();
    let there: Vec<(usize, usize, f64)> =
        (0..estimates.len()).flat_map(|t| (0..d).filter_map(move |k| estimates[t].0[k].map(|b| (t, k, b)))).collect();
    let b = DVector::from_iterator(there.len(), there.iter().map(|(_, _, b)| *b));
    let mut selection = DMatrix::zeros(there.len(), estimates.len() * d);
    there.iter().enumerate().for_each(|(i, (t, k, _))| selection[(i, t * d + k)] = 1.0);
    let noise = DMatrix::from_fn(there.len(), there.len(), |i, j| {
        let ((s, a, _), (t, b, _)) = (there[i], there[j]);
        if s == t { estimates[s].1[(a, b)] } else { 0.0 }
    });
    (b, selection, noise)
}

/// ln N(b; X m, V) with m by generalised least squares, integrated over or not; the means and covariance of vec(W), m's own uncertainty
/// included.
fn dense(estimates: &Estimates, sigma: &DMatrix<f64>, k: &DMatrix<f64>, integrated: bool) -> (f64, DVector<f64>, DMatrix<f64>) {
    let (b, selection, noise) = stacked(estimates);
    let (tasks, d) = (estimates.len(), k.nrows());
    let between = sigma.kronecker(k);
    let common = DMatrix::from_element(tasks, 1, 1.0).kronecker(&DMatrix::identity(d, d));
    let v = &selection * &between * selection.transpose() + noise;
    let inverse = v.clone().try_inverse().unwrap();
    let x = &selection * &common;
    let information = x.transpose() * &inverse * &x;
    let spread = information.clone().try_inverse().unwrap();
    let mean = &spread * x.transpose() * &inverse * &b;
    let residual = &b - &x * &mean;
    let log_2_pi = (2.0 * std::f64::consts::PI).ln();
    let mut value =
        -0.5 * (b.len() as f64 * log_2_pi + v.symmetric_eigenvalues().map(f64::ln).sum() + residual.dot(&(&inverse * &residual)));
    if integrated {
        value += 0.5 * (d as f64 * log_2_pi - information.symmetric_eigenvalues().map(f64::ln).sum());
    }
    let gain = &between * selection.transpose() * &inverse;
    let means = &common * &mean + &gain * residual;
    let mut covariance = &between - &gain * &selection * &between;
    let rest = &common - &gain * x;
    covariance += &rest * spread * rest.transpose();
    (value, means, covariance)
}

fn hardly_differ(a: &DMatrix<f64>, b: &DMatrix<f64>, tolerance: f64) -> bool {
    (a - b).amax() <= tolerance * (1.0 + b.amax())
}

#[test]
fn posteriors_of_estimates_equal_dense_brute_force() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for (round, integrated) in [true, false, true, false, true, false].into_iter().enumerate() {
        let (tasks, d) = (5, 3);
        let given = estimates(tasks, d, &mut random);
        let of = summaries(&given, &["a", "b", "c"]).tasks();
        let data = Observations::new(&of, &Coordinates::identity(of.design()));
        let k = definite(d, &mut random);
        let sigma = if round < 2 { DMatrix::identity(tasks, tasks) } else { definite(tasks, &mut random) };
        let relatedness = if round < 2 { Relatedness::Identity } else { Relatedness::Dense(sigma.clone()) };
        let prior = Prior::new(if integrated { Mean::Integrated } else { Mean::Profiled }, relatedness, k.clone().cholesky().unwrap().l());
        let quadratics = KNOWN.quadratics(&data, &KNOWN.start(&data, &[0, 1, 2]));
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        let (value, means, covariance) = dense(&given, &sigma, &k, integrated);
        assert!((posterior.log_likelihood() - value).abs() < 1e-9 * value.abs(), "{} against {value}", posterior.log_likelihood());
        for t in 0..tasks {
            let (own, truth) = (posterior.coefficients(t), means.rows(t * d, d).into_owned());
            assert!((own - truth).amax() < 1e-9);
            let truth = covariance.view((t * d, t * d), (d, d)).into_owned();
            assert!(hardly_differ(&posterior.covariance(t), &truth, 1e-9));
        }
    }
}

/// The log-likelihood of an optimum is the density of the estimates at its own K and mean, in every coordinates.
#[test]
fn fits_report_the_density_of_the_estimates() {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let given = estimates(8, 2, &mut random);
    let tasks = summaries(&given, &["(Intercept)", "dose"]).tasks();
    for kind in [FeatureCovariance::Scalar, FeatureCovariance::Diagonal, FeatureCovariance::Full] {
        for (standardise, restricted) in [(Standardise::Both, false), (Standardise::Scale, true), (Standardise::None, false)] {
            let model = Model::new(KNOWN, Exchangeable::new(kind)).standardise(standardise).restricted(restricted);
            let fit = model.fit(&tasks).unwrap();
            let k = fit.feature_covariance().1;
            let (value, means, _) = dense(&given, &DMatrix::identity(8, 8), &k, restricted);
            assert!(
                (fit.log_likelihood() - value).abs() < 1e-8 * value.abs(),
                "{kind:?} {standardise:?}: {} {value}",
                fit.log_likelihood()
            );
            assert!((fit.coefficients(0) - means.rows(0, 2)).amax() < 1e-8);
            assert_eq!(fit.parameters(), 2 + [1, 2, 3][kind as usize]);
            assert!(fit.converged() && fit.warnings().iter().all(|warning| !warning.contains("noise")), "{:?}", fit.warnings());
            if kind == FeatureCovariance::Scalar && standardise != Standardise::Scale {
                assert!((k[(0, 0)] - k[(1, 1)]).abs() < 1e-9, "a scalar K is in the estimates' own units: {k}");
            }
        }
    }
}

/// Eight tasks of weighted rows with known noise, and their least-squares estimates.
fn rows_and_estimates(random: &mut ChaCha8Rng) -> (Rows, Summaries) {
    let mut rows = Rows::new("y", &["x"]);
    let mut summaries = Summaries::new(&["(Intercept)", "x"]);
    for t in 0..8 {
        let (mut j, mut h) = (DMatrix::zeros(2, 2), DVector::zeros(2));
        let (level, slope) = (3.0 + 0.8 * normal(random), -1.0 + 0.5 * normal(random));
        for i in 0..6 + t {
            let (x, weight) = (5.0 + normal(random), 1.0 + (i % 3) as f64);
            let y = level + slope * x + normal(random) / weight.sqrt();
            rows.push(&format!("t{t}"), &[x], y, weight).unwrap();
            let row = DVector::from_vec(vec![1.0, x]);
            j += weight * &row * row.transpose();
            h += weight * y * &row;
        }
        let covariance = j.try_inverse().unwrap();
        let estimate: Vec<Option<f64>> = (&covariance * h).iter().copied().map(Some).collect();
        summaries.push(&format!("t{t}"), &estimate, &covariance).unwrap();
    }
    (rows, summaries)
}

#[test]
fn estimates_of_rows_fit_as_the_rows_do() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let (rows, summaries) = rows_and_estimates(&mut random);
    let tasks = [rows.tasks(&Design::varying(rows.features())), summaries.tasks()];
    let chain = KnownRelation::Graph((0..7).map(|t| (format!("t{t}"), format!("t{}", t + 1), 1.0)).collect());
    type Make = Box<dyn Fn() -> Box<dyn Structure>>;
    let make: [(&str, Make); 4] = [
        ("diagonal", Box::new(|| Box::new(Exchangeable::new(FeatureCovariance::Diagonal)))),
        ("full", Box::new(|| Box::new(Exchangeable::new(FeatureCovariance::Full)))),
        ("known", Box::new(move || Box::new(Known::new(FeatureCovariance::Diagonal, chain.clone())))),
        ("pooled", Box::new(|| Box::new(Pooled { task_intercepts: true }))),
    ];
    // What the rows say beyond their estimates does not depend on the parameters.
    let mut constant = None;
    for (name, structure) in make {
        let fits: Vec<Fit> = tasks
            .iter()
            .map(|tasks| {
                let model = Model::of(Box::new(KNOWN), structure()).standardise(Standardise::None);
                model.restricted(name == "known").intervals(Intervals::PlugIn).fit(tasks).unwrap()
            })
            .collect();
        let [of_rows, of_estimates] = fits.as_slice() else { panic!() };
        assert!(hardly_differ(&of_rows.feature_covariance().1, &of_estimates.feature_covariance().1, 1e-5), "{name}");
        // Free intercepts have no mean.
        let shared = if name == "pooled" { 1 } else { 0 };
        assert!((of_rows.mean() - of_estimates.mean()).rows_range(shared..).amax() < 1e-6, "{name}");
        let difference = of_rows.log_likelihood() - of_estimates.log_likelihood();
        assert!((difference - *constant.get_or_insert(difference)).abs() < 1e-6, "{name}: {difference} {constant:?}");
        for t in 0..8 {
            assert!((of_rows.coefficients(t) - of_estimates.coefficients(t)).amax() < 1e-5, "{name}");
            assert!(hardly_differ(&of_rows.covariance(t), &of_estimates.covariance(t), 1e-5), "{name}");
        }
        assert_eq!(of_rows.parameters(), of_estimates.parameters());
        // Rows are predicted with their noise, of which estimates know nothing.
        let (row, own) = (of_rows.predict("t3", &[4.0], 0.95).unwrap(), of_estimates.predict("t3", &[1.0, 4.0], 0.95).unwrap());
        assert!((row.mean - own.mean).abs() < 1e-5 && (row.sd.powi(2) - 1.0 - own.sd.powi(2)).abs() < 1e-5, "{name}");
    }
}

/// One parameter, equal sampling variances: the maximum-likelihood variance is the mean square deviation less the sampling variance, and
/// effects are shrunk by its share.
#[test]
fn random_effects_meta_analysis_has_its_closed_form() {
    let effects = [0.3, -1.2, 2.4, 0.9, 1.7, -0.4];
    let (variance, mean) = (0.3, effects.iter().sum::<f64>() / 6.0);
    let squares = effects.iter().map(|b| (b - mean).powi(2)).sum::<f64>();
    for (restricted, degrees) in [(false, 6.0), (true, 5.0)] {
        let given: Estimates = effects.iter().map(|b| (vec![Some(*b)], dmatrix![variance])).collect();
        let model = Model::new(KNOWN, Exchangeable::new(FeatureCovariance::Diagonal)).restricted(restricted);
        let fit = model.fit(&summaries(&given, &["effect"]).tasks()).unwrap();
        let between = squares / degrees - variance;
        assert!((fit.feature_covariance().1[(0, 0)] - between).abs() < 1e-5);
        assert!((fit.mean()[0] - mean).abs() < 1e-8);
        assert!((fit.coefficients(2)[0] - mean - between / (between + variance) * (2.4 - mean)).abs() < 1e-5);
        let unseen = fit.predict("another", &[1.0], 0.95).unwrap();
        assert!((unseen.mean - mean).abs() < 1e-8 && unseen.sd > between.sqrt());
    }
}

#[test]
fn estimates_that_cannot_be_are_refused() {
    let plain = dmatrix![1.0, 0.5; 0.5, 1.0];
    let both = [Some(1.0), Some(2.0)];
    type Case<'a> = (&'a [Option<f64>], DMatrix<f64>, &'a str);
    let cases: [Case; 6] = [
        (&both, dmatrix![1.0, 1.0; 1.0, 1.0], "not positive definite"),
        (&both, dmatrix![1.0, 0.0; 0.0, -1.0], "not a positive number"),
        (&both, dmatrix![1.0, 0.5; 0.4, 1.0], "give one number"),
        (&[Some(f64::NAN), None], plain.clone(), "not a number"),
        (&[Some(1.0)], plain.clone(), "size 1"),
        (&both, dmatrix![1.0], "size 1"),
    ];
    for (estimate, covariance, needle) in cases {
        let error = Summaries::new(&["a", "b"]).push("north", estimate, &covariance).unwrap_err().to_string();
        assert!(error.contains(needle) && error.contains("'north'"), "{error}");
    }
    let mut some = Summaries::new(&["a", "b"]);
    some.push("north", &[Some(1.0), None], &plain).unwrap();
    some.push("south", &[Some(2.0), None], &plain).unwrap();
    let fit = |model: Model| model.fit(&some.tasks()).unwrap_err().to_string();
    assert!(fit(Model::new(KNOWN, Exchangeable::new(FeatureCovariance::Full))).contains("'b'"));
    let mut some = Summaries::new(&["a"]);
    [("north", 1.0), ("south", 2.0)].iter().for_each(|(t, b)| some.push(t, &[Some(*b)], &dmatrix![0.1]).unwrap());
    let refused = |model: Model, tasks: &cognate::Tasks| model.fit(tasks).unwrap_err().to_string();
    let exchangeable = || Exchangeable::new(FeatureCovariance::Diagonal);
    assert!(refused(Model::new(Gaussian::default(), exchangeable()), &some.tasks()).contains("Noise::Known"));
    assert!(refused(Model::new(KNOWN, cognate::Independent::default()), &some.tasks()).contains("exchangeable"));
    let with_constant = some.tasks().with_design(Design::varying(&["a"]));
    assert!(refused(Model::new(KNOWN, exchangeable()), &with_constant).contains("no constant column"));
    // One task is enough where all are one, and estimates of equal size are no constant target.
    some = Summaries::new(&["a"]);
    some.push("north", &[Some(0.0)], &dmatrix![0.1]).unwrap();
    assert_eq!(Model::new(KNOWN, Pooled { task_intercepts: false }).fit(&some.tasks()).unwrap().mean()[0], 0.0);
}

/// Independent estimates of the same parameters add up as their rows would.
#[test]
fn statistics_of_estimates_add() {
    let (a, b) = (Statistics::of_estimate(&[Some(1.0)], &dmatrix![0.5]), Statistics::of_estimate(&[Some(4.0)], &dmatrix![0.25]));
    let both = &a.unwrap() + &b.unwrap();
    assert_eq!(both.rows(), 2);
    assert_eq!(Dispersion::of_block(Vec::new()).variance(3), 1.0);
}

fn done(folder: &Path, arguments: &[&str]) -> Run {
    let run = cognate(folder, arguments);
    assert_eq!(run.status, 0, "{arguments:?}: {}", run.err);
    run
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(folder, &[arguments, &["--format", "json"]].concat()).out).unwrap()
}

/// The whole way: estimates drawn along a chain, the graph found from them, and everything that a model file is asked for.
#[test]
fn a_chain_of_estimates_is_found_and_its_model_answers() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let simulate = ["simulate", "--graph", "chain", "--tasks", "12", "--features", "150", "--rows", "200", "--noise-ratio", "0.1"];
    let drawn = ["--strength", "0.45,0.49", "--summaries", "-o", "s.csv", "--truth", "truth.json"];
    done(folder, &[&simulate[..], &drawn].concat());
    let fit = ["fit", "--summaries", "s.csv", "--structure", "graph", "--model", "m.cognate"];
    let report = done(folder, &fit);
    assert!(report.out.contains("Data: 1800 estimates of 12 tasks (150 each), 150 features, 150 varying"), "{}", report.out);
    assert!(report.out.contains("noise as given") && !report.out.contains("noise variance"), "{}", report.out);
    let graph = json(folder, &["graph", "m.cognate"]);
    let ends = |edge: &Value| (edge["source"].as_str().unwrap().to_string(), edge["target"].as_str().unwrap().to_string());
    let truth: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("truth.json")).unwrap()).unwrap();
    let edges: Vec<_> = graph["edges"].as_array().unwrap().iter().map(ends).collect();
    let true_edges: Vec<_> = truth["graph"]["edges"].as_array().unwrap().iter().map(ends).collect();
    let hits = edges.iter().filter(|edge| true_edges.contains(edge)).count();
    assert!(hits >= 10 && edges.len() <= hits + 1, "{hits} of 11: {edges:?}");
    assert_eq!(done(folder, &["tasks", "m.cognate"]).out.lines().count(), 1 + 12 * 150);
    assert!(done(folder, &["tasks", "m.cognate", "--deviations"]).status == 0);
    let refused = cognate(folder, &["simulate", "--model", "m.cognate", "--data", "s.csv"]);
    assert!(refused.status == 1 && refused.err.contains("--noise-sd"), "{}", refused.err);
    assert!(done(folder, &["simulate", "--model", "m.cognate", "--data", "s.csv", "--noise-sd", "0.5"]).out.lines().count() == 13);
}

const TRIALS: &str = "trial,(Intercept),dose,se:(Intercept),se:dose,n\n\
    a,1.0,0.5,0.2,0.1,40\n\
    b,2.5,,0.3,,30\n\
    c,0.2,0.9,0.2,0.15,50\n\
    d,NA,.,,,0\n\
    e,1.9,0.1,0.1,0.2,20\n";

fn with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("s.csv"), text).unwrap();
    folder
}

#[test]
fn standard_errors_missing_estimates_and_predictions_come_through() {
    let folder = with(TRIALS);
    let folder = folder.path();
    let fitted = ["fit", "s.csv", "--summaries", "--model", "m.cognate"];
    let notes = done(folder, &fitted).err;
    assert!(notes.contains("left out: n\n") && notes.contains("known from the others only: d\n"), "{notes}");
    let fit = json(folder, &fitted);
    let (rows, names) = (fit["rows"].as_u64(), fit["features"].as_array().unwrap());
    assert!(rows == Some(7) && fit["tasks"] == 5 && fit["from_summaries"] == true, "{fit}");
    assert!(fit["target"].is_null() && fit["noise_variance"].is_null() && names[0] == "(Intercept)" && fit["parameters"] == 4, "{fit}");
    // The same as a covariance, in either order of the names, whole or a triangle, and of the second column's tasks.
    let zero = "note,trial,(Intercept),dose,cov:(Intercept):(Intercept),cov:dose:dose,cov:(Intercept):dose\n\
        ,a,1.0,0.5,0.04,0.01,0\n,b,2.5,,0.09,,\n,c,0.2,0.9,0.04,0.0225,0\n,d,,,,,\n,e,1.9,0.1,0.01,0.04,0\n";
    for text in [zero.to_string(), zero.replace("cov:(Intercept):dose", "cov:dose:(Intercept)")] {
        std::fs::write(folder.join("c.csv"), text).unwrap();
        let again = json(folder, &["fit", "c.csv", "--summaries", "--task", "trial"]);
        let (one, two) = (fit["log_likelihood"].as_f64().unwrap(), again["log_likelihood"].as_f64().unwrap());
        assert!((one - two).abs() < 1e-6, "{one} {two}");
    }
    let one = json(folder, &["fit", "s.csv", "--summaries", "--features", "dose", "--quiet"]);
    assert_eq!((&one["rows"], one["features"].as_array().unwrap().len()), (&serde_json::json!(3), 1));
    for structure in ["pooled", "exchangeable", "graph", "full"] {
        let run = cognate(folder, &["fit", "s.csv", "--summaries", "--structure", structure, "--reml"]);
        assert_eq!(run.status, 0, "{structure}: {}", run.err);
    }
    // x'w_t, without noise, of a table without the constant, without a target and with columns of no name.
    std::fs::write(folder.join("new.csv"), ",trial,dose\n1,a,2\n2,zz,0\n").unwrap();
    let tasks = done(folder, &["tasks", "m.cognate"]).out;
    let number = |line: usize, column: usize| tasks.lines().nth(line).unwrap().split(',').nth(column).unwrap().parse::<f64>().unwrap();
    let predicted = done(folder, &["predict", "m.cognate", "new.csv"]).out;
    let cells: Vec<&str> = predicted.lines().nth(1).unwrap().split(',').collect();
    assert!((cells[2].parse::<f64>().unwrap() - number(1, 2) - 2.0 * number(2, 2)).abs() < 1e-12, "{predicted}\n{tasks}");
    // With the constant in the table, at 1 and dose 0: the intercept alone, with its own sd.
    std::fs::write(folder.join("new.csv"), "trial,dose,(Intercept)\na,0,1\n").unwrap();
    let predicted = done(folder, &["predict", "m.cognate", "new.csv"]).out;
    let cells: Vec<f64> = predicted.lines().nth(1).unwrap().split(',').skip(2).map(|cell| cell.parse().unwrap()).collect();
    (0..4).for_each(|k| assert!((cells[k] - number(1, 2 + k)).abs() < 1e-12, "{predicted}\n{tasks}"));
    let score = cognate(folder, &["predict", "m.cognate", "new.csv", "--score"]);
    assert!(score.status == 1 && score.err.contains("a model of summaries has none"), "{}", score.err);
}

#[test]
fn a_known_graph_and_graph_features_relate_estimates() {
    let folder = with("t,a,b,se:a,se:b\np,1,2,.5,.5\nq,1.5,2.5,.5,.5\nr,3,0,.5,.5\ns,3.5,.5,.5,.5\n");
    std::fs::write(folder.path().join("g.csv"), "source,target\np,q\nr,s\nx,y\n").unwrap();
    let fit = ["fit", "s.csv", "--summaries", "--structure", "known", "--graph", "g.csv", "--graph-features", "a", "--model", "m.cognate"];
    let run = done(folder.path(), &fit);
    assert!(run.out.contains("Graph features: a") && run.err.contains("1 relation was left out"), "{} {}", run.out, run.err);
    // Nulls are drawn and fitted with the noise as given.
    done(folder.path(), &["fit", "s.csv", "--summaries", "--reml", "--model", "m.cognate"]);
    let nulls = done(folder.path(), &["graph", "m.cognate", "--null", "3"]).out;
    assert!(nulls.contains("(3 parametric nulls") && nulls.contains("(3 rotation nulls"), "{nulls}");
    for extra in [["--varying", "a"], ["--mean", "zero"], ["--standardise", "scale"], ["--feature-covariance", "scalar"]] {
        done(folder.path(), &[&["fit", "s.csv", "--summaries"][..], &extra].concat());
    }
}

/// Refused: exit 1, one sentence with the task and the column, nothing on stdout.
#[test]
fn every_bad_table_of_estimates_gets_one_sentence() {
    let good = "t,a,b,cov:a:a,cov:b:a,cov:b:b\np,1,2,1,.5,1\nq,2,3,1,.5,1\n";
    let errors = "t,a,b,se:a,se:b\np,1,2,1,1\nq,2,3,1,1\n";
    let cases: [(String, &[&str], &[&str]); 26] = [
        ("".into(), &[], &["s.csv", "empty"]),
        ("t,a,se:a\n".into(), &[], &["s.csv", "nothing below"]),
        ("t,a,b\np,1,2\n".into(), &[], &["s.csv", "no estimates", "cov:x:x"]),
        (good.into(), &["--task", "task"], &["'task'", "t, a, b"]),
        (good.into(), &["--features", "a,c"], &["'c'", "t, a, b"]),
        (good.into(), &["--features", "a,a"], &["'a'", "--features"]),
        (good.into(), &["--features", "t"], &["'t'", "cannot be a feature", "--features"]),
        (good.replace("p,1,2", "p,one,2"), &[], &["s.csv", "task 'p', column 'a'", "'one'", "correct it"]),
        (good.replace("p,1,2", "p,inf,2"), &[], &["task 'p', column 'a'", "'inf'"]),
        (good.replace("q,2,3", "p,2,3"), &[], &["row 2", "task 'p'", "twice"]),
        (good.replace("q,2,3", ",2,3"), &[], &["row 2", "no task", "'t'"]),
        (good.replace("1,.5,1\nq", "1,1,1\nq"), &[], &["task 'p'", "feature 'b'", "not positive definite", "correct it"]),
        (good.replace("1,.5,1\nq", "0,.5,1\nq"), &[], &["task 'p', column 'cov:a:a'", "not positive"]),
        (good.replace("1,.5,1\nq", "1,.5,\nq"), &[], &["task 'p', column 'cov:b:b'", "missing", "fill it in"]),
        (good.replace("1,.5,1\nq", "1,,1\nq"), &[], &["task 'p', column 'cov:b:a'", "missing"]),
        (good.replace("cov:b:a", "cov:b:c"), &[], &["task 'p', column 'cov:b:a'", "not in the table"]),
        (good.replace("cov:b:b", "cov:bb"), &["--features", "a,b"], &["'b'", "neither 'cov:b:b' nor 'se:b'"]),
        ("t,a,b,cov:a:a,cov:b:b,cov:a:b,cov:b:a\np,1,2,1,1,.5,.4\n".into(), &[], &["task 'p'", "feature 'b'", "one number"]),
        ("t,a,se:a,cov:a:a\np,1,1,1\n".into(), &[], &["both 'cov:a:a' and 'se:a'", "leave one out"]),
        (errors.replace("q,2,3,1,1", "q,2,3,1,-1"), &[], &["task 'q', column 'se:b'", "not positive"]),
        (errors.replace("q,2,3,1,1", "q,2,3,,1"), &[], &["task 'q', column 'se:a'", "missing"]),
        ("t,a,se:a\np,,\nq,,\n".into(), &[], &["no task has an estimate"]),
        (errors.into(), &["--structure", "independent"], &["independent", "use exchangeable"]),
        (TRIALS.into(), &["--structure", "pooled-intercepts"], &["task 'd'", "intercept", "leave the task out"]),
        (errors.into(), &["--structure", "pooled-intercepts"], &["needs an intercept", "(Intercept)"]),
        (errors.into(), &["--standardise", "both"], &["--standardise both", "scale or none"]),
    ];
    for (text, extra, needles) in cases {
        let folder = with(&text);
        let run = cognate(folder.path(), &[&["fit", "s.csv", "--summaries", "--model", "m.cognate"], extra].concat());
        assert_eq!((run.status, run.out.as_str()), (1, ""), "{needles:?}: {}", run.err);
        let complaint: Vec<&str> = run.err.lines().filter(|line| !line.contains("left out:") && !line.contains("others only")).collect();
        assert_eq!(complaint.len(), 1, "{needles:?}: {}", run.err);
        needles.iter().for_each(|needle| assert!(complaint[0].contains(needle), "'{needle}' is not in: {}", complaint[0]));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{needles:?}: a file was left");
    }
}

#[test]
fn flags_about_rows_are_wrong_usage_with_summaries() {
    let folder = with(TRIALS);
    for extra in [
        &["--target", "n"][..],
        &["--formula", "a ~ b + (1 | t)"],
        &["--no-task-intercept"],
        &["--weights", "n"],
        &["--trials", "n"],
        &["--offset", "n"],
        &["--exposure", "n"],
        &["--factors", "n"],
        &["--missing", "drop"],
        &["--family", "poisson"],
        &["--inference", "laplace"],
        &["--noise", "task"],
    ] {
        let run = cognate(folder.path(), &[&["fit", "s.csv", "--summaries"], extra].concat());
        assert!(run.status == 2 && run.err.contains("cannot be used with"), "{extra:?}: {}", run.err);
    }
    // Without it, what rows need is still needed.
    assert_eq!(cognate(folder.path(), &["fit", "s.csv"]).status, 2);
    assert_eq!(cognate(folder.path(), &["fit", "s.csv", "--task", "trial"]).status, 2);
    assert_eq!(cognate(folder.path(), &["compare", "s.csv", "--summaries"]).status, 2);
}
