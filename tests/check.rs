//! Checks of fits: forecasts that leave rows out, calibration where the model holds, and models that are wrong in known ways.

#[path = "common/command.rs"]
mod command;

use cognate::check::{Check, Kind, Method, Of, Origin};
use cognate::{
    Binomial, Design, Exchangeable, Family, FamilyRows, FeatureCovariance, Fit, Forecast, Full, Gamma as GammaTargets, Gaussian,
    Generalised, Independent, Inference, Intervals, Likelihood, Model, NegativeBinomial, Noise, Observations, Ordinal, Poisson, Posterior,
    Quadratic, Quadratics, Robust, Rows, StudentT,
};
use command::cognate;
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, Poisson as PoissonCounts, StandardNormal, StudentT as StudentNumbers};
use serde_json::Value;
use statrs::distribution::{ContinuousCDF, Normal};

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

/// Counts that are judged without themselves spread as new ones do; those that their forecasts have seen spread less.
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

/// Held-out rows and rows of the fit, of Gaussian, count and label targets: small p-values are as rare as they say, and of held-out rows all are uniform.
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
            // P-values of a task are twice the smaller of two, capped, so only small ones are looked at.
            let small = |values: &[f64]| values.iter().filter(|p| **p < 0.05).count() as f64 / values.len() as f64;
            let case = format!("{name}, held out {held_out}");
            assert!(small(&uniform) < 0.14, "{case}: {:.3}", small(&uniform));
            assert!(small(&tasks) < 0.075, "{case}: {:.3}", small(&tasks));
            assert!(misfits < 10, "{case}: {misfits}");
            // Kolmogorov's .001 point.
            if held_out {
                assert!(kolmogorov(uniform.clone()) < 1.95, "{case}: {:.2}", kolmogorov(uniform));
            }
        }
    }
}

/// Heavy tails, noise that is not the same in all tasks, counts that spread more, a task from elsewhere, a target that has moved.
/// Noise of ten rows of a task of its own is an estimate: laws for known noise name tasks here.
#[test]
fn noise_of_a_task_is_not_taken_as_known() {
    let (mut small, mut all, mut named) = (0, 0, 0);
    for seed in 0..40 {
        let rows = table(16, 20, 300 + seed, |_, eta, random| eta + normal(random));
        let fitted: Vec<bool> = (0..rows.len()).map(|i| i % 20 < 10).collect();
        let tasks = rows.subset(|i| fitted[i]).tasks(&Design::varying(rows.features()));
        let fit = Model::new(Gaussian { noise: Noise::Task }, Independent::default()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let check = fit.check(&rows.subset(|i| !fitted[i]), 0, 1).unwrap();
        small += check.tasks.iter().filter(|own| own.p_value.unwrap() < 0.05).count();
        all += check.tasks.len();
        named += usize::from(check.misfits() > 0);
    }
    let share = small as f64 / all as f64;
    assert!(named <= 5 && (0.02..0.07).contains(&share), "{named} of 40 tables, {share}");
}

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

/// Of a continuous family the Gaussian in the place of the rest is near E-steps without the row, at the same hyperparameters.
#[test]
fn forecasts_of_families_are_near_those_of_steps_without_the_row() {
    let rows = table(5, 7, 4, |_, eta, random| eta.exp() * Gamma::new(2.0, 0.5).unwrap().sample(random));
    let fit = family(&rows, GammaTargets::default(), Inference::Variational);
    let check = fit.check(&rows, 0, 1).unwrap();
    let number = fit.dispersion().block(0).to_vec();
    let likelihood = Generalised::new(GammaTargets { dispersion: number[0] });
    let (mut scores, mut apart) = (vec![Vec::new(); 5], Vec::new());
    for i in 0..rows.len() {
        let part = rows.subset(|j| j != i);
        let kept = FamilyRows::new(&part, fit.tasks().design(), fit.coordinates(), &GammaTargets::default()).unwrap();
        let mut data = Observations::new(&part.tasks(fit.tasks().design()), fit.coordinates());
        data.each = Some(kept);
        let found = likelihood.posterior(&data, fit.dispersion(), fit.prior(), (None, 1e-9)).unwrap();
        let (t, x) = (rows.task(i), fit.coordinates().features(rows.x(i)));
        let (mean, sd) = (x.dot(&found.posterior.coefficients(t)), x.dot(&(found.posterior.covariance(t) * &x)).sqrt());
        let (_, at) = Forecast::family("gamma", &number, 1.0, (mean, sd)).unwrap().pit(rows.y(i)).unwrap();
        scores[t].push(Normal::standard().inverse_cdf(at));
        let seen = fit.forecast(Some(t), "", rows.x(i), 1.0, 0.0).unwrap().pit(rows.y(i)).unwrap().1;
        apart.push((Normal::standard().inverse_cdf(seen) - scores[t].last().unwrap()).abs());
    }
    let mut worst = 0.0f64;
    for (t, own) in scores.iter().enumerate() {
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        worst = worst.max((of_task(&check, &format!("t{t}")).mean - mean).abs());
    }
    // Those that have seen the row are far from them.
    let apart = apart.iter().sum::<f64>() / apart.len() as f64;
    assert!(worst < 0.01 && apart > 5.0 * worst, "{worst} {apart}");
}

/// Distances against the covariance of estimates spelt out: with V the covariance of the targets, Cov(E u_t) = (Z_t K)' P (Z_t K), P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1.
#[test]
fn distances_are_by_the_covariance_of_the_estimates() {
    let rows = table(6, 5, 3, |_, eta, random| eta + 0.4 * normal(random));
    for kind in [FeatureCovariance::Diagonal, FeatureCovariance::Full] {
        let tasks = rows.tasks(&Design::varying(rows.features()));
        let fit = Model::new(Gaussian::default(), Exchangeable::new(kind)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let n = rows.len();
        let x = DMatrix::from_fn(n, 2, |i, k| fit.coordinates().features(rows.x(i))[k]);
        let (k, noise) = (fit.prior().feature_covariance(), fit.dispersion().variance(0));
        let own = |i: usize, j: usize| if rows.task(i) == rows.task(j) { (x.row(i) * &k * x.row(j).transpose())[(0, 0)] } else { 0.0 };
        let v = DMatrix::from_fn(n, n, |i, j| own(i, j) + if i == j { noise } else { 0.0 });
        let inverse = v.try_inverse().unwrap();
        let half = &inverse * &x;
        let p = &inverse - &half * (x.transpose() * &half).try_inverse().unwrap() * half.transpose();
        let y = DVector::from_fn(n, |i, _| (rows.y(i) - fit.coordinates().target_centre) / fit.coordinates().target_scale);
        let outlying = fit.outlying_tasks(1).unwrap();
        for t in 0..6 {
            let z = DMatrix::from_fn(n, 2, |i, c| if rows.task(i) == t { x[(i, c)] } else { 0.0 });
            let map = &z * &k;
            let (estimate, spread) = (map.transpose() * &p * &y, map.transpose() * &p * &map);
            let distance = estimate.dot(&(spread.try_inverse().unwrap() * &estimate));
            let found = outlying.tasks.iter().find(|own| own.task == format!("t{t}")).unwrap();
            assert!(found.directions == 2 && (found.distance - distance).abs() < 1e-6 * (1.0 + distance), "{} {distance}", found.distance);
        }
    }
}

/// Where deviations are normal p-values are uniform and next to no task is named; with t deviations and an alien the tails are heavy, the alien is first, and scales
/// of the tasks' own take it back.
#[test]
fn tasks_unlike_the_others_are_named() {
    let (mut tails, mut each, mut named) = (Vec::new(), Vec::new(), 0);
    for seed in 0..120 {
        let rows = table(25, 8, 500 + seed, |_, eta, random| eta + 0.5 * normal(random));
        let outlying = gaussian(&rows, Noise::Shared).outlying_tasks(seed).unwrap();
        tails.push(outlying.p_value);
        each.extend(outlying.tasks.iter().map(|own| own.p_value));
        named += outlying.named();
    }
    assert!(kolmogorov(tails.clone()) < 1.95, "{}", kolmogorov(tails));
    let small = each.iter().filter(|p| **p < 0.05).count() as f64 / each.len() as f64;
    assert!((0.03..0.065).contains(&small) && named < 14, "{small} {named}");

    let rows = table(25, 10, 77, |t, eta, random| eta + if t == 11 { 9.0 } else { 0.0 } + 0.5 * normal(random));
    let outlying = gaussian(&rows, Noise::Shared).outlying_tasks(1).unwrap();
    let first = &outlying.tasks[0];
    assert!(first.task == "t11" && first.q_value < 2e-3 && outlying.p_value < 0.005, "{first:?} {}", outlying.p_value);
    assert!(outlying.tasks[0].farthest == "(Intercept)" && outlying.tasks[0].farthest_z > 4.0);
    let structure = Robust::new(Box::new(Exchangeable::new(FeatureCovariance::Diagonal))).unwrap();
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let robust = Model::new(Gaussian::default(), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap().outlying_tasks(1).unwrap();
    assert!(robust.named() == 0 && robust.degrees_of_freedom.is_some(), "{:?}", robust.tasks[0]);
}

/// One step without a task is near the fit without it: tasks in the same order, moves of the same size; and fits without a task are those of tables without it.
#[test]
fn one_step_is_near_the_fit_without_the_task() {
    let rows = table(24, 10, 31, |t, eta, random| eta + if t == 7 { 4.0 } else { 0.0 } + 0.6 * normal(random));
    let tasks = rows.tasks(&Design::varying(rows.features()));
    for (kind, restricted) in [(FeatureCovariance::Diagonal, false), (FeatureCovariance::Full, true), (FeatureCovariance::Scalar, false)] {
        let model = || Model::new(Gaussian::default(), Exchangeable::new(kind)).restricted(restricted).intervals(Intervals::PlugIn);
        let fit = model().fit(&tasks).unwrap();
        assert_eq!(fit.influence_method().unwrap(), Method::Refit);
        let (exact, step) = (fit.influence(Method::Refit).unwrap(), fit.influence(Method::OneStep).unwrap());
        assert!(exact.tasks[0].task == "t7" && step.tasks[0].task == "t7");
        let left = rows.of_tasks(|t| t != 7);
        let without = model().fit(&left.tasks(&Design::varying(rows.features()))).unwrap();
        let (_, k) = without.feature_covariance();
        for (place, value) in [(0, k[(0, 0)].sqrt()), (1, k[(1, 1)].sqrt()), (exact.names.len() - 1, without.noise_variance(0).sqrt())] {
            let found = exact.estimates[place] + exact.tasks[0].changes[place];
            assert!((found - value).abs() < 1e-5 * value, "{}: {found} {value}", exact.names[place]);
        }
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for own in &exact.tasks {
            let other = step.tasks.iter().find(|other| other.task == own.task).unwrap();
            for (k, se) in exact.standard_errors.iter().enumerate() {
                let (x, y) = (own.changes[k] / se, other.changes[k] / se);
                (xx, yy, xy) = (xx + x * x, yy + y * y, xy + x * y);
            }
            assert!((own.on_mean - other.on_mean).abs() < 0.12 * (0.3 + own.on_mean), "{}: {} {}", own.task, own.on_mean, other.on_mean);
        }
        let (alike, size) = (xy / f64::sqrt(xx * yy), f64::sqrt(yy / xx));
        assert!(alike > 0.97 && (0.8..1.25).contains(&size), "{kind:?}: {alike} {size}");
    }
    // Of counts by one step: the task from elsewhere is first too.
    let counts =
        table(20, 12, 33, |t, eta, random| PoissonCounts::new((eta + if t == 3 { 3.0 } else { 0.0 }).exp()).unwrap().sample(random));
    let fit = family(&counts, Poisson, Inference::Variational);
    let influence = fit.influence(fit.influence_method().unwrap()).unwrap();
    assert!(influence.method == Method::OneStep && influence.tasks[0].task == "t3", "{:?}", influence.tasks[0]);
    let without = counts.of_tasks(|t| t != 3);
    let (_, k) = family(&without, Poisson, Inference::Variational).feature_covariance();
    let found = influence.estimates[0] + influence.tasks[0].changes[0];
    assert!((found - k[(0, 0)].sqrt()).abs() < 0.35 * (influence.estimates[0] - k[(0, 0)].sqrt()).abs(), "{found} {}", k[(0, 0)].sqrt());
}

/// A learned task covariance: how far the relations of the others move.
#[test]
fn a_task_moves_the_relations_of_others() {
    let rows = table(8, 12, 41, |_, eta, random| eta + 0.6 * normal(random));
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    let influence = fit.influence(fit.influence_method().unwrap()).unwrap();
    assert!(influence.method == Method::Refit && influence.tasks.iter().all(|own| own.on_relatedness.unwrap() >= 0.0));
    assert!(fit.influence(Method::OneStep).is_err());
}

/// Singular fits say along which directions tasks differ.
#[test]
fn what_is_singular_is_said_in_words() {
    let mut random = ChaCha8Rng::seed_from_u64(51);
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..30 {
        // Tasks deviate in b a fifth as far as in a, whose unit is a tenth of its spread.
        let u = normal(&mut random);
        for _ in 0..30 {
            let (a, b) = (normal(&mut random), 10.0 * normal(&mut random));
            let y = 1.0 + (1.0 + u) * a + (0.5 + 0.2 * u) * b + 0.5 * normal(&mut random);
            rows.push(&format!("t{t}"), &[a, b], y, 1.0).unwrap();
        }
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Full)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    let found = fit.singularities();
    let of = |kind: Kind| found.iter().find(|own| own.kind == kind);
    let own = of(Kind::Combination).or(of(Kind::NearCombination)).unwrap_or_else(|| panic!("{found:?}"));
    // What is said of the one in the other's units, to what 900 rows tell: b is .2 a, and a is 5 b.
    let (known, expected) = if own.about[0] == "b" { ("a", 0.2) } else { ("b", 5.0) };
    let words: Vec<&str> = own.finding.split([' ', ',']).collect();
    let place = words.iter().rposition(|word| *word == known).unwrap();
    let said: f64 = words[place - 1].parse().unwrap();
    assert!((said / expected - 1.0).abs() < 0.05, "{}", own.finding);

    let mut rows = Rows::new("y", &["fixed", "x"]);
    for i in 0..120 {
        let t = i % 12;
        let (fixed, x) = (f64::from(t % 5), normal(&mut random));
        rows.push(&format!("t{t}"), &[fixed, x], fixed + f64::from(t % 4) + x + 0.5 * normal(&mut random), 1.0).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let fit =
        Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    let found = fit.singularities();
    let constant = found.iter().find(|own| own.kind == Kind::ConstantWithinTasks).unwrap();
    assert!(constant.about == ["fixed"] && constant.finding.contains("12 of 12 tasks"), "{constant:?}");
    assert!(!found.iter().any(|own| own.kind == Kind::NoNoise));
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// A folder with tables, and the model of one of them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = table(10, 12, 61, |t, eta, random| eta + if t == 4 { 3.0 } else { 0.5 } * normal(random));
    write(&folder, "t.csv", &rows);
    write(&folder, "part.csv", &rows.subset(|i| i % 3 == 0));
    write(&folder, "some.csv", &rows.of_tasks(|t| t < 3));
    fit_in(&folder, &[]);
    folder
}

fn write(folder: &tempfile::TempDir, name: &str, rows: &Rows) {
    let line = |i: usize| format!("{},{},{}\n", rows.names()[rows.task(i)], rows.x(i)[0], rows.y(i));
    let text: String = (0..rows.len()).map(line).collect();
    std::fs::write(folder.path().join(name), format!("site,x,y\n{text}")).unwrap();
}

fn fit_in(folder: &tempfile::TempDir, extra: &[&str]) {
    const FIT: [&str; 9] = ["fit", "t.csv", "--task", "site", "--target", "y", "--model", "m.cognate", "--quiet"];
    let run = cognate(folder.path(), &[&FIT[..], extra].concat());
    assert_eq!(run.status, 0, "{extra:?}: {}", run.err);
}

#[test]
fn the_command_checks_rows_and_models() {
    let folder = folder();
    let check = |arguments: &[&str]| cognate(folder.path(), &[&["check", "m.cognate"], arguments].concat());
    let json = |arguments: &[&str]| -> Value {
        let run = check(&[arguments, &["--format", "json"]].concat());
        assert_eq!(run.status, 0, "{}", run.err);
        serde_json::from_str(&run.out).unwrap()
    };
    let page = check(&["t.csv"]);
    assert!(
        page.status == 0 && page.err.is_empty() && page.out.contains("Each is judged by a forecast that leaves it out"),
        "{}",
        page.out
    );
    assert!(page.out.contains("noisier than the model says"), "{}", page.out);
    assert!(page.out.contains("means of tasks, their deviations drawn anew"), "{}", page.out);
    assert_eq!(page.out, check(&["t.csv", "--threads", "1"]).out);
    assert_ne!(page.out, check(&["t.csv", "--seed", "2"]).out);
    let all = json(&["t.csv", "--draws", "20"]);
    assert_eq!((all["origin"].as_str(), all["rows"].as_u64(), all["tasks"][0]["task"].as_str()), (Some("fit"), Some(120), Some("t4")));
    assert!((all["pit"]["shares"].as_array().unwrap().iter().map(number).sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(json(&["t.csv", "--draws", "0"])["replicated"].is_null());
    assert_eq!(json(&["part.csv"])["origin"].as_str(), Some("others"));
    assert_eq!(json(&["some.csv"])["origin"].as_str(), Some("part"));
    let csv = check(&["t.csv", "--format", "csv"]).out;
    assert!(csv.lines().count() == 11 && csv.lines().all(|line| line.split(',').count() == 13), "{csv}");

    let page = check(&[]);
    assert!(page.out.contains("\nTasks unlike the others: ") && page.out.contains("fitted again without each"), "{}", page.out);
    assert_eq!(page.out, check(&["--threads", "1"]).out);
    let own = json(&[]);
    assert!(own["influence"]["tasks"].as_array().unwrap().len() == 10 && own["influence"]["method"] == "refit", "{own}");
    let csv = check(&["--format", "csv", "-o", "own.csv"]);
    assert_eq!((csv.status, csv.out.as_str()), (0, ""));
    let csv = std::fs::read_to_string(folder.path().join("own.csv")).unwrap();
    assert!(csv.lines().count() == 11 && csv.starts_with("task,distance,directions,"), "{csv}");

    std::fs::write(folder.path().join("new.csv"), "site,x,y\nt1,0.5,1\nnew,0.1,40\nnew,0.2,41\nt1,0.1,\n").unwrap();
    let new = check(&["new.csv"]);
    assert!(new.out.contains("1 of the tasks are not of the fit"), "{}", new.out);
    assert!(new.err.contains("1 row without a target left out"), "{}", new.err);
}

#[test]
fn the_command_refuses_in_words() {
    let folder = folder();
    for (name, text) in [
        ("head.csv", "site,x,y\n"),
        ("column.csv", "site,z,y\nt1,1,1\n"),
        ("target.csv", "site,x\nt1,1\n"),
        ("word.csv", "site,x,y\nt1,1,much\n"),
        ("empty.csv", ""),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let refusals: [(&[&str], &str); 7] = [
        (&["head.csv"], "has no rows"),
        (&["column.csv"], "'x'"),
        (&["target.csv"], "no row has a target: column 'y' is absent or empty"),
        (&["word.csv"], "'much' is not a number"),
        (&["empty.csv"], "empty.csv"),
        (&["none.csv"], "none.csv"),
        (&["t.csv", "-o", "m.cognate"], "would be overwritten"),
    ];
    let check = |arguments: &[&str]| cognate(folder.path(), &[&["check", "m.cognate"], arguments].concat());
    for (arguments, word) in refusals {
        let run = check(arguments);
        assert_eq!((run.status, run.out.len(), run.err.lines().count()), (1, 0, 1), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(word), "{arguments:?}: {}", run.err);
    }
    assert_eq!(check(&["t.csv", "--draws", "-1"]).status, 2);
    // The row of the table, though one before it has no target.
    write(&folder, "t.csv", &table(10, 12, 62, |_, eta, random| PoissonCounts::new(eta.exp()).unwrap().sample(random)));
    fit_in(&folder, &["--family", "poisson"]);
    std::fs::write(folder.path().join("half.csv"), "site,x,y\nt1,1,2\nt1,1,\nt2,0,1.5\n").unwrap();
    let run = check(&["half.csv", "--quiet"]);
    assert!(run.status == 1 && run.err.contains("row 3, column 'y'") && run.err.contains("1.5"), "{}", run.err);
}

/// Every structure and family has a check, or says in words what it has not.
#[test]
fn every_fit_has_a_check() {
    let folder = folder();
    write(&folder, "t.csv", &table(10, 12, 62, |_, eta, random| PoissonCounts::new(eta.exp()).unwrap().sample(random)));
    let cases: [&[&str]; 9] = [
        &["--family", "poisson", "--structure", "factor"],
        &["--family", "negative-binomial", "--noise", "task"],
        &["--structure", "independent"],
        &["--structure", "pooled"],
        &["--structure", "pooled-intercepts"],
        &["--structure", "clusters"],
        &["--structure", "graph"],
        &["--structure", "full", "--robust"],
        &["--structure", "exchangeable", "--mean", "zero", "--varying", "x", "--reml"],
    ];
    for extra in cases {
        fit_in(&folder, extra);
        for (arguments, heading) in [(&["t.csv", "--draws", "20"][..], "Residuals by task"), (&[], "\nSingular:")] {
            let run = cognate(folder.path(), &[&["check", "m.cognate"], arguments].concat());
            assert!(run.status == 0 && run.out.contains(heading), "{extra:?}: {}", run.err);
            let run = cognate(folder.path(), &[&["check", "m.cognate", "--format", "json"], arguments].concat());
            assert!(run.status == 0 && serde_json::from_str::<Value>(&run.out).is_ok(), "{extra:?}: {}", run.err);
        }
    }
}

/// Tasks that do not differ leave nothing but the mean and the noise, and a singular K that is said.
#[test]
fn tasks_that_do_not_differ_are_examined() {
    let once = table(1, 20, 31, |_, _, random| normal(random));
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..8 {
        (0..once.len()).for_each(|i| rows.push(&format!("t{t}"), once.x(i), once.y(i), 1.0).unwrap());
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    for structure in [FeatureCovariance::Diagonal, FeatureCovariance::Full] {
        let model = Model::new(Gaussian { noise: Noise::Shared }, Exchangeable::new(structure));
        let fit = model.intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        let examination = fit.examination(1);
        assert!(fit.feature_covariance().1.diagonal().iter().all(|own| *own == 0.0));
        assert!(!examination.singularities.is_empty());
    }
}

/// Residuals at drawn parameters are larger than their replications where the draws have not seen the rows: nothing is made of them.
#[test]
fn residuals_are_replicated_for_rows_of_the_fit_only() {
    let rows = table(10, 20, 32, |_, eta, random| eta + 0.6 * normal(random));
    let fit = gaussian(&rows.subset(|i| i % 2 == 0), Noise::Shared);
    let of = |rows: &Rows| fit.check(rows, 40, 1).unwrap();
    let is_replicated = |check: &Check| check.replicated.as_ref().unwrap().iter().any(|own| own.of == Of::Residuals);
    assert!(is_replicated(&of(&rows.subset(|i| i % 2 == 0))));
    let held = of(&rows.subset(|i| i % 2 == 1));
    assert!(!is_replicated(&held) && held.replicated.unwrap().iter().all(|own| own.p_value > 1e-3));
}
