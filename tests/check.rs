//! Checks of fits: forecasts that leave rows out, calibration where the model holds, and models that are wrong in known ways.

#[path = "common/command.rs"]
mod command;

use cognate::check::{Check, Of, Origin};
use cognate::{
    Binomial, Design, Exchangeable, Family, FeatureCovariance, Fit, Gaussian, Generalised, Inference, Intervals, Model, NegativeBinomial,
    Noise, Ordinal, Poisson, Posterior, Quadratic, Quadratics, Rows, StudentT,
};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson as PoissonCounts, StandardNormal, StudentT as StudentNumbers};

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Rows of tasks with an intercept and a slope each; `target(task, eta, random)` makes a target of a linear predictor.
fn table(tasks: usize, rows: usize, seed: u64, target: impl Fn(usize, f64, &mut ChaCha8Rng) -> f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut table = Rows::new("y", &["x"]);
    for t in 0..tasks {
        let (level, slope) = (0.5 + 0.7 * normal(&mut random), 0.4 * normal(&mut random));
        for _ in 0..rows {
            let x = normal(&mut random);
            let y = target(t, level + slope * x, &mut random);
            table.push(&format!("t{t}"), &[x], y, 1.0).unwrap();
        }
    }
    table
}

fn gaussian(rows: &Rows, noise: Noise) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let model = Model::new(Gaussian { noise }, Exchangeable::new(FeatureCovariance::Diagonal));
    model.intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

fn family(rows: &Rows, family: impl Family + 'static, inference: Inference) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    let likelihood = Generalised::new(family).with_inference(inference);
    let model = Model::new(likelihood, Exchangeable::new(FeatureCovariance::Diagonal));
    model.intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

fn of_task<'c>(check: &'c Check, name: &str) -> &'c cognate::check::TaskResiduals {
    check.tasks.iter().find(|own| own.task == name).unwrap()
}

/// Largest distance of an empirical distribution from the uniform one, times the root of their number.
fn kolmogorov(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let apart = |(k, p): (usize, &f64)| (p - k as f64 / n).abs().max((k as f64 + 1.0) / n - p);
    n.sqrt() * values.iter().enumerate().map(|own| apart((own.0, own.1))).fold(0.0, f64::max)
}

/// The posterior at the prior of the fit from all rows but one, made of the rows themselves.
fn without(fit: &Fit, rows: &Rows, left_out: Option<usize>) -> Quadratics {
    let p = fit.tasks().design().len();
    let nothing = || Quadratic { constant: 0.0, linear: DVector::zeros(p), curvature: DMatrix::zeros(p, p) };
    let mut each: Vec<Quadratic> = rows.names().iter().map(|_| nothing()).collect();
    for i in (0..rows.len()).filter(|i| Some(*i) != left_out) {
        let (t, coordinates) = (rows.task(i), fit.coordinates());
        let x = coordinates.features(rows.x(i));
        let precision = rows.weight(i) / fit.dispersion().variance(t);
        each[t].linear += &x * (precision * (rows.y(i) - coordinates.target_centre) / coordinates.target_scale);
        each[t].curvature += precision * &x * x.transpose();
    }
    Quadratics::new(&each).unwrap()
}

/// Scores of the rows of the fit are residuals of E-steps without each row, in units of what such a forecast and the noise leave open.
#[test]
fn rows_of_the_fit_are_judged_without_themselves() {
    let mut rows = Rows::new("y", &["x"]);
    let source = table(5, 6, 1, |_, eta, random| eta + 0.5 * normal(random));
    for i in 0..source.len() {
        rows.push(&source.names()[source.task(i)], source.x(i), source.y(i), 1.0 + (i % 3) as f64).unwrap();
    }
    for noise in [Noise::Shared, Noise::Task] {
        let fit = gaussian(&rows, noise);
        let check = fit.check(&rows, 0, 1).unwrap();
        assert!(check.origin == Origin::Fit && check.left_out && check.unjudged == 0 && check.replicated.is_none());
        let mut scores = vec![Vec::new(); 5];
        for i in 0..rows.len() {
            let (t, quadratics) = (rows.task(i), without(&fit, &rows, Some(i)));
            let posterior = Posterior::given(&quadratics, fit.prior()).unwrap();
            let x = fit.coordinates().features(rows.x(i));
            let y = (rows.y(i) - fit.coordinates().target_centre) / fit.coordinates().target_scale;
            let variance = x.dot(&(posterior.covariance(t) * &x)) + fit.dispersion().variance(t) / rows.weight(i);
            scores[t].push((y - x.dot(&posterior.coefficients(t))) / variance.sqrt());
        }
        for (t, own) in scores.iter().enumerate() {
            let found = of_task(&check, &format!("t{t}"));
            let mean = own.iter().sum::<f64>() / own.len() as f64;
            assert!((found.mean - mean).abs() < 1e-9, "{} {mean}", found.mean);
        }
        // The covariance of residuals y - X E(w), of the rows of a task: noise less X C X'.
        let quadratics = without(&fit, &rows, None);
        let posterior = Posterior::given(&quadratics, fit.prior()).unwrap();
        let members: Vec<usize> = (0..rows.len()).filter(|i| rows.task(*i) == 2).collect();
        let x = DMatrix::from_fn(members.len(), 2, |i, k| fit.coordinates().features(rows.x(members[i]))[k]);
        let noise = DMatrix::from_fn(members.len(), members.len(), |i, j| {
            if i == j { fit.dispersion().variance(2) / rows.weight(members[i]) } else { 0.0 }
        });
        let left = noise - &x * posterior.covariance(2) * x.transpose();
        let correlation = DMatrix::from_fn(members.len(), members.len(), |i, j| left[(i, j)] / (left[(i, i)] * left[(j, j)]).sqrt());
        let se = correlation.sum().sqrt() / members.len() as f64;
        assert!((of_task(&check, "t2").mean_se - se).abs() < 1e-9);
    }
}

/// For counts and labels the cavity is near a fit of the other rows at the same hyperparameters: mean scores by it differ by little from those of E-steps without
/// the row.
#[test]
fn families_are_judged_without_the_row_too() {
    for inference in [Inference::Variational, Inference::Laplace] {
        let rows = table(6, 8, 4, |_, eta, random| PoissonCounts::new((eta + 0.5).exp()).unwrap().sample(random));
        let fit = family(&rows, Poisson, inference);
        let check = fit.check(&rows, 0, 1).unwrap();
        assert!(check.left_out && check.origin == Origin::Fit);
        // Judged as if they were held out, rows are nearer to what has seen them.
        let mut held_out = Rows::new("y", &["x"]);
        (0..rows.len()).filter(|i| i % 8 != 7).for_each(|i| {
            held_out.push(&rows.names()[rows.task(i)], rows.x(i), rows.y(i), 1.0).unwrap();
        });
        let seen = fit.check(&held_out, 0, 1).unwrap();
        assert_eq!(seen.origin, Origin::Others);
        assert!(check.pit.spread > seen.pit.spread, "{} {}", check.pit.spread, seen.pit.spread);
        assert!((check.pit.spread - 1.0).abs() < 0.25, "{}", check.pit.spread);
    }
}

/// Held-out rows and rows of the fit, of Gaussian, count and label targets, of known tasks and new ones: p-values are uniform.
#[test]
fn where_the_model_holds_p_values_are_uniform() {
    const TABLES: u64 = 60;
    type Make = fn(usize, f64, &mut ChaCha8Rng) -> f64;
    let gaussian_target: Make = |_, eta, random| eta + 0.8 * normal(random);
    let count: Make = |_, eta, random| PoissonCounts::new((eta + 0.5).exp()).unwrap().sample(random);
    let label: Make = |_, eta, random| f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
    for (name, make) in [("gaussian", gaussian_target), ("poisson", count), ("bernoulli", label)] {
        for held_out in [false, true] {
            let (mut uniform, mut tasks, mut misfits) = (Vec::new(), Vec::new(), 0);
            for seed in 0..TABLES {
                let all = table(12, 30, 100 + seed, make);
                let fitted = if held_out { all.subset(|i| i % 2 == 0) } else { all.clone() };
                let fit = match name {
                    "gaussian" => gaussian(&fitted, Noise::Shared),
                    "poisson" => family(&fitted, Poisson, Inference::Variational),
                    _ => family(&fitted, Binomial::default(), Inference::Variational),
                };
                let rows = if held_out { all.subset(|i| i % 2 == 1) } else { all };
                let check = fit.check(&rows, 0, seed).unwrap();
                uniform.push(check.pit.p_value);
                tasks.extend(check.tasks.iter().map(|own| own.p_value.unwrap()));
                misfits += check.misfits();
            }
            // Kolmogorov's .001 point is 1.95; p-values of a task are twice the smaller of two, capped, so only small ones are looked at.
            let small = |values: &[f64]| values.iter().filter(|p| **p < 0.05).count() as f64 / values.len() as f64;
            let case = format!("{name}, held out {held_out}");
            assert!(small(&uniform) < 0.14, "{case}: {:.3}", small(&uniform));
            assert!(small(&tasks) < 0.075, "{case}: {:.3}", small(&tasks));
            assert!(misfits < 10, "{case}: {misfits}");
            if held_out {
                assert!(kolmogorov(uniform.clone()) < 1.95, "{case}: {:.2}", kolmogorov(uniform));
            }
        }
    }
}

/// Heavy tails, noise that is not the same in all tasks, counts that spread more, a task from elsewhere, a target that has moved.
#[test]
fn models_that_are_wrong_are_found() {
    let heavy = table(20, 40, 7, |_, eta, random| eta + 0.5 * StudentNumbers::new(2.2).unwrap().sample(random));
    let check = gaussian(&heavy, Noise::Shared).check(&heavy, 100, 1).unwrap();
    assert!(check.pit.p_value < 1e-3, "{}", check.pit.p_value);
    let quantity = |check: &Check, of: Of, name: &str| {
        check.replicated.as_ref().unwrap().iter().find(|own| own.of == of && own.name == name).cloned().unwrap()
    };
    let tails = quantity(&check, Of::Residuals, "excess kurtosis");
    assert!(tails.p_value < 0.03 && tails.observed > tails.upper, "{tails:?}");
    let fits_better = family(&heavy, StudentT::default(), Inference::Variational).check(&heavy, 100, 1).unwrap();
    assert!(fits_better.pit.p_value > 0.01, "{}", fits_better.pit.p_value);

    let unequal = table(20, 40, 8, |t, eta, random| eta + if t < 3 { 2.0 } else { 0.5 } * normal(random));
    let check = gaussian(&unequal, Noise::Shared).check(&unequal, 100, 1).unwrap();
    let noisy: Vec<&str> = check.tasks.iter().take(3).map(|own| own.task.as_str()).collect();
    assert!(noisy.iter().all(|name| ["t0", "t1", "t2"].contains(name)) && check.tasks[2].q_value.unwrap() < 1e-6, "{noisy:?}");
    assert!(quantity(&check, Of::Residuals, "largest mean square of a task").p_value < 0.03);
    let own_noise = gaussian(&unequal, Noise::Task).check(&unequal, 100, 1).unwrap();
    assert!(own_noise.misfits() == 0, "{}", own_noise.misfits());

    let spread = table(15, 40, 9, |_, eta, random| {
        let rate = (eta + 1.0).exp() * Gamma::new(1.0, 1.0).unwrap().sample(random);
        if rate > 0.0 { PoissonCounts::new(rate).unwrap().sample(random) } else { 0.0 }
    });
    let check = family(&spread, Poisson, Inference::Variational).check(&spread, 100, 1).unwrap();
    assert!(
        check.pit.p_value < 1e-4 && check.pit.findings.iter().any(|finding| finding.contains("too narrow")),
        "{:?}",
        check.pit.findings
    );
    let square = quantity(&check, Of::Residuals, "mean square");
    assert!(square.p_value < 0.03 && square.observed > 1.5, "{square:?}");
    assert!(quantity(&check, Of::Targets, "share of zeros").observed > quantity(&check, Of::Targets, "share of zeros").upper);
    let check = family(&spread, NegativeBinomial::default(), Inference::Variational).check(&spread, 100, 1).unwrap();
    assert!(check.pit.p_value > 0.01 && quantity(&check, Of::Residuals, "mean square").p_value > 0.05);

    let train = table(15, 20, 10, |_, eta, random| eta + 0.6 * normal(random));
    let fit = gaussian(&train, Noise::Shared);
    let mut moved = Rows::new("y", &["x"]);
    let test = table(15, 20, 10, |_, eta, random| eta + 0.6 * normal(random));
    for i in 0..test.len() {
        let mut name = test.names()[test.task(i)].as_str();
        let (mut x, mut y) = (test.x(i)[0] + 0.01, test.y(i));
        if name == "t4" {
            y += 2.5;
        }
        if name == "t9" {
            (name, x, y) = ("alien", x, 9.0 + y);
        }
        moved.push(name, &[x], y, 1.0).unwrap();
    }
    let check = fit.check(&moved, 100, 1).unwrap();
    assert!(check.new_tasks == 1 && check.origin == Origin::Others);
    let worst: Vec<&str> = check.tasks.iter().take(2).map(|own| own.task.as_str()).collect();
    assert!(worst.contains(&"t4") && worst.contains(&"alien") && check.misfits() <= 3, "{worst:?} {}", check.misfits());
    assert!(!of_task(&check, "alien").known && of_task(&check, "alien").z.unwrap() > 5.0);
}

/// Replications of rows from the model itself, their deviations drawn anew: p-values of tasks are uniform; those of targets and residuals lean to the middle.
#[test]
fn replications_are_like_data_of_the_model() {
    let (mut of_tasks, mut middle, mut extreme) = (Vec::new(), 0, 0);
    for seed in 0..60 {
        let rows = table(15, 12, 300 + seed, |_, eta, random| eta + 0.8 * normal(random));
        let check = gaussian(&rows, Noise::Shared).check(&rows, 60, seed).unwrap();
        for own in check.replicated.unwrap() {
            assert!(own.lower <= own.replicated && own.replicated <= own.upper, "{own:?}");
            match (own.of, own.name.as_str()) {
                (Of::Tasks, "excess kurtosis") => of_tasks.push(own.p_above),
                (Of::Targets | Of::Residuals, _) => {
                    middle += usize::from(own.p_value > 0.2);
                    extreme += usize::from(own.p_value < 0.05);
                }
                _ => {}
            }
        }
    }
    assert!(kolmogorov(of_tasks.clone()) < 1.95, "{}", kolmogorov(of_tasks));
    assert!(middle > 450 && extreme < 45, "{middle} {extreme}");
}

/// Levels and every other target can be replicated, and the same seed gives the same check.
#[test]
fn checks_do_not_depend_on_threads() {
    let rows = table(8, 15, 20, |_, eta, random| {
        let noise = (random.random::<f64>() / (1.0 - random.random::<f64>()).max(1e-9)).max(1e-9).ln();
        1.0 + f64::from(u8::from(eta + noise > 0.0)) + f64::from(u8::from(eta + noise > 1.0))
    });
    let fit = family(&rows, Ordinal::default(), Inference::Variational);
    let json = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        serde_json::to_string(&pool.install(|| fit.check(&rows, 20, 5).unwrap())).unwrap()
    };
    let one = json(1);
    assert_eq!(one, json(3));
    assert!(one.contains("\"replicated\":[{"));
    assert_ne!(one, serde_json::to_string(&fit.check(&rows, 20, 6).unwrap()).unwrap());
}
