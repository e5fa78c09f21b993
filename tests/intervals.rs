//! Intervals that carry the uncertainty of the hyperparameters, and tests of variances.

use cognate::csv::{Columns, Varying};
use cognate::{
    Binomial, Coordinates, Design, Dispersion, Exchangeable, FeatureCovariance, Fit, Gaussian, Generalised, Graph, Inference, Intervals,
    Mean, Model, Noise, Observations, Posterior, Prior, Relatedness, Rows, Standardise, Tasks, VarianceComponent,
};
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::path::PathBuf;

fn table(file: &str, columns: Columns) -> (Rows, Design) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracles").join(file);
    let table = cognate::csv::read(cognate::csv::open(&path).unwrap(), file, &columns).unwrap();
    (table.rows, table.design)
}

fn sleepstudy() -> (Rows, Design) {
    table("sleepstudy.csv", Columns { task: "Subject".into(), target: "Reaction".into(), varying: Varying::All, ..Columns::default() })
}

/// Ends within a share of the interval's length.
fn agree(own: &[VarianceComponent], expected: &[(&str, f64, f64)], share: f64) {
    for (name, low, high) in expected {
        let own = own.iter().find(|own| own.name == *name).unwrap_or_else(|| panic!("no {name} in {own:?}"));
        let near = |a: f64, b: f64| (a - b).abs() < share * (high - low);
        assert!(near(own.low, *low) && near(own.high, *high), "{own:?} against {low} to {high}");
    }
}

/// R 4, lme4: `confint(lmer(Reaction ~ Days + (Days | Subject), sleepstudy, REML = FALSE))`, and with `(Days || Subject)`.
#[test]
fn profiles_of_sleepstudy_are_those_of_lme4() {
    let (rows, design) = sleepstudy();
    let tasks = rows.tasks(&design);
    let full = [("(Intercept)", 14.38148112, 37.71601874), ("Days", 3.80116476, 8.75336666), ("noise", 22.89826622, 28.85799732)];
    let diagonal = [("(Intercept)", 15.2586462, 37.7864639), ("Days", 3.9640722, 8.7691604), ("noise", 22.8805547, 28.7875976)];
    for (kind, expected) in [(FeatureCovariance::Full, full), (FeatureCovariance::Diagonal, diagonal)] {
        for standardise in [Standardise::None, Standardise::Scale] {
            let fit = Model::new(Gaussian::default(), Exchangeable::new(kind)).standardise(standardise).fit(&tasks).unwrap();
            agree(fit.variance_components(), &expected, 3e-3);
            assert_eq!(fit.intervals(), Intervals::Full);
        }
    }
}

/// Tasks that do not differ. lme4: `s$g <- (seq_len(nrow(s)) - 1) %% 9; confint(lmer(Reaction ~ Days + (1 | g), s, REML = FALSE))`.
#[test]
fn an_interval_begins_at_the_boundary_where_the_likelihood_does() {
    let (rows, _) = sleepstudy();
    let mut other = Rows::new("Reaction", &["Days"]);
    (0..rows.len()).for_each(|i| other.push(&(i % 9).to_string(), rows.x(i), rows.y(i), 1.0).unwrap());
    let tasks = other.tasks(&Design::varying(&["Days"]).with_varying(|name| name == "(Intercept)"));
    let fit =
        Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).standardise(Standardise::None).fit(&tasks).unwrap();
    assert!((fit.log_likelihood() + 950.1465282).abs() < 1e-6);
    let own = fit.variance_components();
    assert_eq!((own[0].estimate, own[0].low), (0.0, 0.0));
    agree(own, &[("(Intercept)", 0.0, 8.6383424), ("noise", 42.9394763, 52.8065487)], 3e-3);
    // The variance may be more than its estimate, and so may the parameters be further from the mean.
    assert!(fit.covariance(0)[(0, 0)] > 1.2 * fit.mean_covariance()[(0, 0)]);
}

/// lme4: `confint(glmer(cbind(incidence, size - incidence) ~ p2 + p3 + p4 + (1 | herd), cbpp, family = binomial))`.
#[test]
fn the_profile_of_cbpp_is_that_of_lme4() {
    let columns = Columns {
        task: "herd".into(),
        target: "incidence".into(),
        trials: Some("size".into()),
        varying: Varying::None,
        ..Columns::default()
    };
    let (rows, design) = table("cbpp.csv", columns);
    let tasks = rows.tasks(&design).with_rows(rows).unwrap();
    let likelihood = Generalised::new(Binomial::default()).with_inference(Inference::Laplace);
    let fit = Model::new(likelihood, Exchangeable::new(FeatureCovariance::Diagonal)).standardise(Standardise::None).fit(&tasks).unwrap();
    // lme4 profiles the mean exactly, here it follows the mode: a difference of the second order.
    agree(fit.variance_components(), &[("(Intercept)", 0.3460732, 1.09997465)], 2e-2);
}

/// lme4: `anova(m1, m0)$Chisq` without the slope's and without the intercept's variance and their covariance; the p-values are half and half those of one
/// and two degrees of freedom.
#[test]
fn variance_tests_are_likelihood_ratios_with_half_of_each_distribution() {
    let (rows, design) = sleepstudy();
    let fit = |varies: &dyn Fn(&str) -> bool| {
        let tasks = rows.tasks(&design.clone().with_varying(varies));
        Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Full))
            .standardise(Standardise::None)
            .intervals(Intervals::PlugIn)
            .fit(&tasks)
            .unwrap()
    };
    let all = fit(&|_| true);
    for (kept, statistic, p) in [("(Intercept)", 42.13929852, 3.961e-10), ("Days", 22.14097079, 9.049e-6)] {
        let test = all.variance_test(&fit(&|name| name == kept)).unwrap();
        assert!((test.statistic - statistic).abs() < 1e-4 && test.parameters == 2 && test.feature != kept);
        assert!((test.p_value / p - 1.0).abs() < 1e-3, "{test:?}");
    }
    // With the null's own variance tested against none: half at 0, half chi-squared with one degree of freedom.
    let one = fit(&|name| name == "Days");
    let test = one.variance_test(&fit(&|_| false)).unwrap();
    assert!(test.parameters == 1 && test.p_value < 1e-10);
    assert!(all.variance_test(&all).unwrap_err().to_string().contains("that feature alone"));
    assert!(all.variance_test(&fit(&|_| false)).is_err());
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// 400 tables in which slopes are all the same. By restricted likelihood the statistic is 0 about half of the time, and p-values of .05 and .2 are as frequent
/// as they say; by maximum likelihood, whose variances are too small, no more frequent (three standard deviations).
#[test]
fn p_values_of_variances_are_true_under_the_null() {
    for restricted in [true, false] {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let (mut at_zero, mut below) = (0, [0; 2]);
        for _ in 0..400 {
            let mut rows = Rows::new("y", &["x"]);
            for t in 0..30 {
                let level = normal(&mut random);
                for _ in 0..10 {
                    let x = normal(&mut random);
                    rows.push(&t.to_string(), &[x], level + 0.5 * x + normal(&mut random), 1.0).unwrap();
                }
            }
            let design = Design::varying(&["x"]);
            let fit = |design: &Design| {
                let model = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn);
                model.standardise(Standardise::None).restricted(restricted).fit(&rows.tasks(design)).unwrap()
            };
            let test = fit(&design).variance_test(&fit(&design.clone().with_varying(|name| name != "x"))).unwrap();
            at_zero += usize::from(test.statistic < 1e-6);
            [0.05, 0.2].iter().zip(&mut below).for_each(|(level, count)| *count += usize::from(test.p_value <= *level));
        }
        println!("{at_zero} at zero, {below:?} below .05 and .2 of 400, restricted {restricted}");
        assert!(at_zero >= 170 && (1..=33).contains(&below[0]) && (1..=104).contains(&below[1]));
        assert!(!restricted || at_zero <= 250 && below[0] >= 7 && below[1] >= 56);
    }
}

/// Tasks of an intercept alone, with noise of variance 1 that is known.
fn levels(spread: f64, tasks: usize, seed: u64) -> Tasks {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows::new::<&str>("y", &[]);
    for t in 0..tasks {
        let level = 1.0 + spread * normal(&mut random);
        (0..2 + t % 4).for_each(|_| rows.push(&t.to_string(), &[], level + normal(&mut random), 1.0).unwrap());
    }
    rows.tasks(&Design::varying::<&str>(&[]))
}

/// Moments about the estimates of a fit over a fine grid of the standard deviation and the noise, both flat (the noise in its logarithm).
fn by_grid(tasks: &Tasks, fit: &Fit, noises: &[f64]) -> (Vec<f64>, f64) {
    let data = Observations::new(tasks, &Coordinates::identity(tasks.design()));
    let (mut total, mut each, mut mean, mut highest) = (0.0, vec![0.0; tasks.len()], 0.0, f64::NEG_INFINITY);
    let place = |k: usize, noise: f64| {
        let factor = DMatrix::from_element(1, 1, (k as f64 + 0.5) * 0.01);
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(noise));
        let prior = Prior::new(Mean::Integrated, Relatedness::Identity, factor);
        (Posterior::given(&quadratics, &prior).unwrap().log_likelihood(), quadratics, prior)
    };
    for noise in noises {
        (0..600).for_each(|k| highest = f64::max(highest, place(k, *noise).0));
    }
    for noise in noises {
        for k in 0..600 {
            let (height, quadratics, prior) = place(k, *noise);
            let weight = (height - highest).exp();
            let posterior = Posterior::given(&quadratics, &prior).unwrap();
            total += weight;
            for (t, sum) in each.iter_mut().enumerate() {
                *sum += weight * (posterior.covariance(t)[(0, 0)] + (posterior.coefficients(t)[0] - fit.coefficients(t)[0]).powi(2));
            }
            mean += weight * (posterior.mean_covariance()[(0, 0)] + (posterior.mean()[0] - fit.mean()[0]).powi(2));
        }
    }
    (each.into_iter().map(|sum| sum / total).collect(), mean / total)
}

#[test]
fn averages_are_those_over_a_fine_grid_of_the_hyperparameters() {
    let (mut at_boundary, mut worst) = (0, [0.0; 2]);
    for (spread, seed) in [(1.0, 1), (0.4, 2), (0.0, 3), (0.0, 4), (0.0, 5)] {
        let tasks = levels(spread, 12, seed);
        for noise in [Noise::Known, Noise::Shared] {
            let model = || Model::new(Gaussian { noise }, Exchangeable::new(FeatureCovariance::Diagonal)).standardise(Standardise::None);
            let (fit, plug_in) = (model().fit(&tasks).unwrap(), model().intervals(Intervals::PlugIn).fit(&tasks).unwrap());
            at_boundary += usize::from(fit.feature_covariance().1[(0, 0)] == 0.0);
            let noises: Vec<f64> = match noise {
                Noise::Known => vec![1.0],
                _ => (0..60).map(|k| fit.noise_variance(0) * ((f64::from(k) - 29.5) / 20.0).exp()).collect(),
            };
            let (each, mean) = by_grid(&tasks, &fit, &noises);
            let own = (0..12).map(|t| fit.covariance(t)[(0, 0)]).chain([fit.mean_covariance()[(0, 0)]]);
            let error = own.zip(each.iter().chain([&mean])).map(|(own, expected)| (own / expected - 1.0).abs()).fold(0.0, f64::max);
            let before = (0..12).map(|t| (plug_in.covariance(t)[(0, 0)] / each[t] - 1.0).abs()).fold(0.0, f64::max);
            println!("{noise:?}, spread {spread}, seed {seed}: off by at most {error:.4} of a variance, {before:.4} without");
            worst[usize::from(noise == Noise::Shared)] = f64::max(worst[usize::from(noise == Noise::Shared)], error);
            assert_eq!(fit.coefficients(3), plug_in.coefficients(3));
        }
    }
    // With two hyperparameters 48 draws leave an error of .061 where tasks are most uncertain; without the average it is .46 to .86.
    assert!(worst[0] < 0.03 && worst[1] < 0.08, "{worst:?}");
    assert!(at_boundary >= 2);
}

/// Predictions, deviations and unseen tasks carry it too, and a file keeps it.
#[test]
fn predictions_carry_it_and_files_keep_it() {
    let tasks = levels(0.5, 10, 6);
    let model = || Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal));
    let (full, plug_in) = (model().fit(&tasks).unwrap(), model().intervals(Intervals::PlugIn).fit(&tasks).unwrap());
    for task in ["0", "9", "unseen"] {
        let (own, before) = (full.predict(task, &[], 0.95).unwrap(), plug_in.predict(task, &[], 0.95).unwrap());
        assert!(own.mean == before.mean && own.sd > before.sd);
    }
    let (own, before) = (full.deviations().unwrap(), plug_in.deviations().unwrap());
    assert!(own.iter().zip(&before).all(|(own, before)| own.0 == before.0 && own.1[(0, 0)] > before.1[(0, 0)]));
    let (low, high) = full.mean_intervals(0.95)[0];
    assert!((low + high - 2.0 * full.mean()[0]).abs() < 1e-12 && high - low > 2.0 * 1.96 * plug_in.mean_covariance()[(0, 0)].sqrt());
    let folder = tempfile::tempdir().unwrap();
    full.save(folder.path().join("m")).unwrap();
    let read = Fit::load(folder.path().join("m")).unwrap();
    assert_eq!(read.predict("unseen", &[], 0.9).unwrap().upper, full.predict("unseen", &[], 0.9).unwrap().upper);
    assert_eq!(read.variance_components(), full.variance_components());
    assert_eq!((read.intervals(), plug_in.intervals()), (Intervals::Full, Intervals::PlugIn));
    // The same numbers again, whatever the threads.
    let again = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| model().fit(&tasks).unwrap());
    assert_eq!(again.covariance(0), full.covariance(0));
}

/// A variance for every task's noise, learned relatedness, families and very many tasks: each carries what it can, or says why not.
#[test]
fn every_model_says_what_its_intervals_carry() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let mut rows = Rows::new("y", &["a", "b"]);
    for i in 0..240 {
        let (t, x) = (i % 12, [normal(&mut random), normal(&mut random)]);
        let y = f64::from(t % 3) + x[0] * f64::from(1 + t % 4) + normal(&mut random);
        rows.push(&t.to_string(), &x, y, 1.0).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let diagonal = FeatureCovariance::Diagonal;
    let models: Vec<(&str, Model)> = vec![
        ("noise a task", Model::new(Gaussian { noise: Noise::Task }, Exchangeable::new(diagonal))),
        ("full", Model::new(Gaussian::default(), cognate::Full::new(diagonal))),
        ("graph", Model::new(Gaussian::default(), Graph::new(diagonal))),
        ("scalar", Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Scalar)).restricted(true)),
        ("pooled", Model::new(Gaussian::default(), cognate::Pooled { task_intercepts: false })),
        ("zero mean", Model::new(Gaussian::default(), Exchangeable::new(diagonal)).zero_mean(true)),
    ];
    for (name, model) in models {
        let fit = model.fit(&tasks).unwrap();
        println!("{name}: {:?} {:?} {:?}", fit.intervals(), fit.intervals_reason(), fit.effective_points());
        assert_eq!((fit.intervals(), fit.intervals_reason()), (Intervals::Full, None), "{name}");
        assert!(fit.effective_points().unwrap() > 10.0, "{name}");
        for t in 0..12 {
            let within = fit.with_posterior(|posterior| posterior.covariance(t)).unwrap();
            let map = fit.coordinates().to_original();
            let wider = fit.covariance(t) - &map * within * map.transpose();
            assert!(wider.trace() > 0.0, "{name}, task {t}");
        }
    }
    let alone = Model::new(Gaussian::default(), cognate::Independent::default()).fit(&tasks).unwrap();
    assert!(alone.intervals() == Intervals::PlugIn && alone.intervals_reason().unwrap().contains("of its own"));
    assert!(alone.to_string().contains("take variances and noise as known: the structure 'independent'"));

    let many = Model::new(Gaussian { noise: Noise::Known }, Exchangeable::new(diagonal)).fit(&levels(1.0, 3000, 8)).unwrap();
    assert!(many.intervals_reason().unwrap().contains("less than a thousandth"), "{:?}", many.intervals_reason());
    let spread = &many.variance_components()[0];
    assert!(spread.low > 0.9 && spread.high < 1.1, "{spread:?}");
}

/// Runs the program in a folder: its output and what it says on stderr.
fn program(folder: &std::path::Path, arguments: &[&str]) -> (bool, String, String) {
    let output = assert_cmd::Command::cargo_bin("cognate").unwrap().current_dir(folder).args(arguments).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_command_line_prints_intervals_and_tests() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/sleepstudy.csv"), folder.path().join("sleep.csv")).unwrap();
    let formula = "Reaction ~ Days + (Days | Subject)";
    let fit = |more: &[&str]| program(folder.path(), &[&["fit", "sleep.csv", "--formula", formula], more].concat());

    let (done, page, _) = fit(&["--test-variance", "Days,(Intercept)", "--model", "m"]);
    assert!(
        done && page.contains("sd       5.7168  (3.80") && page.contains("noise variance 654.94  sd 25.592  (22.898 to 28.858)"),
        "{page}"
    );
    assert!(page.contains("Intervals (95 %) carry the uncertainty of the variances and the noise"));
    assert!(page.contains("Days         chi-squared    42.139  with 1 or 2 degrees of freedom  p = 3.961e-10"), "{page}");
    let (_, plain, _) = fit(&["--intervals", "plug-in", "--model", "p"]);
    assert!(plain.contains("take variances and noise as known (plug-in)") && !plain.contains("Tests") && !plain.contains(" to 8."));

    let json: serde_json::Value = serde_json::from_str(&fit(&["--test-variance", "all", "--format", "json"]).1).unwrap();
    assert_eq!((&json["intervals"], &json["intervals_reason"]), (&"full".into(), &serde_json::Value::Null));
    assert_eq!(json["variance_tests"].as_array().unwrap().len(), 2);
    assert!(json["variance_tests"][1]["p_value"].as_f64().unwrap() < 1e-9 && json["variance_tests"][1]["parameters"] == 2);
    let components = json["variance_components"].as_array().unwrap();
    assert_eq!(components.iter().map(|own| own["name"].as_str().unwrap()).collect::<Vec<_>>(), ["(Intercept)", "Days", "noise"]);
    let (low, mean) = (json["mean_intervals"]["Days"]["low"].as_f64().unwrap(), json["mean"]["Days"].as_f64().unwrap());
    assert!(((mean - low) / json["mean_se"]["Days"].as_f64().unwrap() - 1.959964).abs() < 1e-4);

    // Tasks and predictions: the same estimates, wider.
    let sds = |text: &str| -> Vec<(String, f64)> {
        let cells = text.lines().skip(1).map(|line| line.split(',').map(String::from).collect::<Vec<_>>());
        cells.map(|cells| (cells[2].clone(), cells[3].parse().unwrap())).collect()
    };
    for command in [&["tasks"][..], &["tasks", "--deviations"], &["predict"]] {
        let of = |model: &str| {
            let data = if command[0] == "predict" { &["sleep.csv"][..] } else { &[] };
            sds(&program(folder.path(), &[command, &[model], data].concat()).1)
        };
        let (full, plug_in) = (of("m"), of("p"));
        assert!(full.len() > 30 && full.iter().zip(&plug_in).all(|(own, before)| own.0 == before.0 && own.1 > before.1), "{command:?}");
    }

    let (done, _, problem) = fit(&["--test-variance", "Nights"]);
    assert!(
        !done && problem.contains("--test-variance Nights: no such feature varies between tasks; name some of (Intercept), Days"),
        "{problem}"
    );
    let (done, _, problem) = fit(&["--test-variance", "Days", "--structure", "full"]);
    assert!(!done && problem.contains("use --structure exchangeable"), "{problem}");
    let (done, _, problem) = fit(&["--test-variance", "Days", "--feature-covariance", "scalar"]);
    assert!(!done && problem.contains("test with --feature-covariance diagonal"), "{problem}");
}
