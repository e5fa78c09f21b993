//! Scales of single tasks: one that is unlike the others is let go, and moves nothing else.

#[path = "common/command.rs"]
mod command;

use cognate::structure::{Options, by_name};
use cognate::{Binomial, Design, Fit, Gaussian, Generalised, Intervals, Likelihood, Model, Rows};
use command::cognate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::fmt::Write;
use std::sync::Arc;

const TASKS: usize = 40;

/// Forty tasks, of which the first three are `scale` times as far out; half the coefficients they were drawn with, and the target by the linear predictor.
fn table(rows_each: usize, scale: f64, first: usize, target: impl Fn(f64, &mut ChaCha8Rng) -> f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(4);
    let mut rows = Rows::new("y", &["a", "b", "c"]);
    for t in 0..TASKS {
        let far = if t < 3 { scale } else { 1.0 };
        let w: Vec<f64> = (0..4).map(|_| 0.5 * normal(&mut random)).collect();
        for _ in 0..rows_each {
            let x: Vec<f64> = (0..3).map(|_| normal(&mut random)).collect();
            let eta = w[0] + x.iter().zip(&w[1..]).map(|(x, w)| x * w).sum::<f64>();
            let y = target(1.0 + far * eta, &mut random);
            if t >= first {
                rows.push(&format!("task {t}"), &x, y, 1.0).unwrap();
            }
        }
    }
    rows
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

fn noisy(eta: f64, random: &mut ChaCha8Rng) -> f64 {
    eta + normal(random)
}

fn fit(rows: &Rows, likelihood: impl Likelihood + 'static, name: &str, robust: bool) -> Fit {
    fit_with(rows, likelihood, name, Options { robust, prior_strength: Some(TASKS as f64 + 1.0), ..Options::default() })
}

fn fit_with(rows: &Rows, likelihood: impl Likelihood + 'static, name: &str, options: Options) -> Fit {
    let structure = by_name(name, &options).unwrap();
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    Model::of(Box::new(likelihood), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

/// Root mean square of the differences between the other tasks' coefficients.
fn difference(a: &Fit, b: &Fit) -> f64 {
    let away = |t: usize| {
        let name = format!("task {t}");
        (a.coefficients(a.task_number(&name).unwrap()) - b.coefficients(b.task_number(&name).unwrap())).norm_squared()
    };
    ((3..TASKS).map(away).sum::<f64>() / (4 * (TASKS - 3)) as f64).sqrt()
}

#[test]
fn tasks_far_out_are_let_go_and_move_nothing_else() {
    for name in ["exchangeable", "full"] {
        let (far, without) = (table(25, 10.0, 0, noisy), table(25, 10.0, 3, noisy));
        let robust = fit(&far, Gaussian::default(), name, true);
        assert!(robust.converged(), "{name}");
        let mut gone = robust.let_go();
        gone.sort_unstable();
        assert_eq!(gone, [0, 1, 2], "{name}: {:?}", robust.task_scales());
        let alone = fit(&without, Gaussian::default(), name, false);
        let plain = fit(&far, Gaussian::default(), name, false);
        let (own, other) = (difference(&robust, &alone), difference(&plain, &alone));
        assert!(own < 0.4 * other && own < 0.05, "{name}: {own} and {other}");
    }
}

#[test]
fn tasks_are_let_go_where_the_strength_of_full_is_learned_too() {
    let (far, without) = (table(25, 10.0, 0, noisy), table(25, 10.0, 3, noisy));
    let of = |rows: &Rows, robust: bool| fit_with(rows, Gaussian::default(), "full", Options { robust, ..Options::default() });
    let (robust, alone) = (of(&far, true), of(&without, false));
    let mut gone = robust.let_go();
    gone.sort_unstable();
    assert_eq!(gone, [0, 1, 2], "{:?}", robust.task_scales());
    assert!(difference(&robust, &alone) < 0.05);
}

#[test]
fn without_such_tasks_scales_stay_at_one() {
    let rows = table(25, 1.0, 0, noisy);
    let robust = fit(&rows, Gaussian::default(), "exchangeable", true);
    let plain = fit(&rows, Gaussian::default(), "exchangeable", false);
    assert!(robust.let_go().is_empty() && difference(&robust, &plain) < 0.02, "{:?}", robust.task_scales());
    // By as much as the degrees of freedom say, no further.
    assert!(robust.task_scales().unwrap().degrees_of_freedom > 20.0);
}

#[test]
fn it_is_so_in_other_families() {
    let coin = |eta: f64, random: &mut ChaCha8Rng| f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
    let rows = table(150, 8.0, 0, coin);
    let robust = fit(&rows, Generalised::of(Arc::new(Binomial::default())), "exchangeable", true);
    assert!(robust.converged());
    assert!(robust.let_go().iter().all(|t| *t < 3) && robust.let_go().len() >= 2, "{:?}", robust.task_scales());
}

/// The unit of the target and the order of tasks do not matter.
#[test]
fn units_and_order_do_not_matter() {
    let rows = table(25, 10.0, 0, noisy);
    let mut moved = Rows::new("y", &["a", "b", "c"]);
    for i in (0..rows.len()).rev() {
        moved.push(&rows.names()[rows.task(i)], rows.x(i), 5.0 + 100.0 * rows.y(i), 1.0).unwrap();
    }
    let (own, other) = (fit(&rows, Gaussian::default(), "exchangeable", true), fit(&moved, Gaussian::default(), "exchangeable", true));
    let shift = rows.len() as f64 * 100f64.ln();
    assert!((own.log_likelihood() - shift - other.log_likelihood()).abs() < 1e-2);
    for t in 0..TASKS {
        let there = other.task_number(&own.tasks().names()[t]).unwrap();
        let (here, there) = (own.task_scales().unwrap().values[t], other.task_scales().unwrap().values[there]);
        assert!((here / there - 1.0).abs() < 1e-2, "task {t}: {here} and {there}");
    }
}

#[test]
fn the_command_line_names_the_tasks_and_a_new_one_may_be_like_them() {
    let folder = tempfile::tempdir().unwrap();
    let rows = table(25, 10.0, 0, noisy);
    let mut text = String::from("task,y,a,b,c\n");
    for i in 0..rows.len() {
        let x = rows.x(i);
        writeln!(text, "{},{},{},{},{}", rows.names()[rows.task(i)], rows.y(i), x[0], x[1], x[2]).unwrap();
    }
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let asked = ["fit", "t.csv", "--task", "task", "--target", "y", "--robust", "--model", "m"];
    let page = cognate(folder.path(), &asked);
    assert_eq!(page.status, 0, "{}", page.err);
    assert!(page.out.contains("let go (a scale of 3 or more): task"), "{}", page.out);
    let json = cognate(folder.path(), &[&asked[..], &["--format", "json"]].concat());
    let value: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert!(value["task_scales"]["scales"]["task 0"].as_f64().unwrap() > 2.0);
    let saved = Fit::load(folder.path().join("m")).unwrap();
    assert_eq!(saved.let_go().len(), 3);
    std::fs::write(folder.path().join("new.csv"), "task,a,b,c\nsomebody,0,0,0\n").unwrap();
    let sd = |model: &str| {
        let out = cognate(folder.path(), &["predict", model, "new.csv"]).out;
        out.lines().nth(1).unwrap().split(',').nth(3).unwrap().parse::<f64>().unwrap()
    };
    let plain = cognate(folder.path(), &["fit", "t.csv", "--task", "task", "--target", "y", "--model", "plain"]);
    assert_eq!(plain.status, 0);
    // A tenth of the tasks are far out, so that a new one may be: about as in the plain fit.
    assert!((sd("m") / sd("plain") - 1.0).abs() < 0.3, "{} and {}", sd("m"), sd("plain"));
    let ignored = cognate(folder.path(), &[&asked[..], &["--structure", "pooled"]].concat());
    assert!(ignored.status == 0 && ignored.err.contains("--robust means nothing"), "{}", ignored.err);
}
