//! Properties that hold for every data set, against dense brute force where there is one.

use cognate::{
    Coordinates, Design, Dispersion, Exchangeable, FeatureCovariance, Fit, Full, Gaussian, Graph, Independent, Intervals, Mean, Model,
    Noise, Observations, Pooled, Posterior, Prior, Relatedness, Rows, Standardise, TaskGraph, Tasks,
};
use nalgebra::{DMatrix, DVector};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LOG_2_PI: f64 = 1.837_877_066_409_345_3;

/// Rows of `tasks` related tasks on `d` features, ragged, weighted.
fn rows(tasks: usize, d: usize, seed: u64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = |a: f64, b: f64| random.random_range(a..b);
    let features: Vec<String> = (0..d).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &features);
    for t in 0..tasks {
        let w: Vec<f64> = (0..=d).map(|k| k as f64 * 0.3 + uniform(-1.0, 1.0)).collect();
        for _ in 0..(5 + 3 * t % 7) {
            let x: Vec<f64> = (0..d).map(|_| uniform(-2.0, 2.0)).collect();
            let y = w[0] + x.iter().zip(&w[1..]).map(|(a, b)| a * b).sum::<f64>() + uniform(-0.8, 0.8);
            rows.push(&format!("task {t}"), &x, y, uniform(0.5, 2.0)).unwrap();
        }
    }
    rows
}

/// Two factors, of which a task has none and one nothing for itself.
fn low_rank(n: usize, seed: u64) -> Relatedness {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut loadings = DMatrix::from_fn(n, 2, |_, _| random.random_range(-1.0..1.0));
    loadings.row_mut(n - 1).fill(0.0);
    let mut uniquenesses = DVector::from_fn(n, |_, _| random.random_range(0.2..1.5));
    uniquenesses[0] = 0.0;
    Relatedness::LowRank { loadings, uniquenesses }
}

fn spd(n: usize, seed: u64) -> DMatrix<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let root = DMatrix::from_fn(n, n, |_, _| random.random_range(-1.0..1.0));
    &root * root.transpose() * 0.3 + DMatrix::identity(n, n) * 0.4
}

fn tasks_of(rows: &Rows) -> Tasks {
    rows.tasks(&Design::varying(rows.features()))
}

/// Everything the posterior says, from the n x n covariance of the targets.
struct Dense {
    log_likelihood: f64,
    mean: DVector<f64>,
    /// T d stacked coefficients and their covariance, the mean's uncertainty included.
    coefficients: DVector<f64>,
    covariance: DMatrix<f64>,
    /// Of the deviations from the mean.
    spread: DMatrix<f64>,
    residuals: Vec<f64>,
}

/// K without what joins related and unrelated features.
fn in_parts(mut k: DMatrix<f64>, varying: &[usize], unrelated: &[usize]) -> DMatrix<f64> {
    let is = |i: usize| unrelated.contains(&varying[i]);
    (0..k.nrows()).for_each(|i| (0..k.nrows()).filter(|j| is(i) != is(*j)).for_each(|j| k[(i, j)] = 0.0));
    k
}

/// Sigma, K with its varying and unrelated features.
type Spread<'a> = (&'a DMatrix<f64>, &'a DMatrix<f64>, &'a [usize], &'a [usize]);

fn dense(rows: &Rows, (sigma, k, varying, unrelated): Spread, noise: f64, mean: &Mean) -> Dense {
    let (n, d, tasks) = (rows.len(), rows.features().len() + 1, rows.names().len());
    let x = DMatrix::from_fn(n, d, |i, j| if j == 0 { 1.0 } else { rows.x(i)[j - 1] });
    let y = DVector::from_fn(n, |i, _| rows.y(i));
    let weights = DVector::from_fn(n, |i, _| rows.weight(i));
    // E w = 1 (x) mu; prior covariance of the stacked w.
    let mut prior = DMatrix::zeros(tasks * d, tasks * d);
    for s in 0..tasks {
        for t in 0..tasks {
            for (i, a) in varying.iter().enumerate() {
                for (j, b) in varying.iter().enumerate() {
                    let between = if unrelated.contains(a) { f64::from(s == t) } else { sigma[(s, t)] };
                    prior[(s * d + a, t * d + b)] = between * k[(i, j)];
                }
            }
        }
    }
    let z = DMatrix::from_fn(n, tasks * d, |i, c| if c / d == rows.task(i) { x[(i, c % d)] } else { 0.0 });
    let v = &z * &prior * z.transpose() + DMatrix::from_diagonal(&weights.map(|w| noise / w));
    let inverse = v.clone().try_inverse().unwrap();
    let log_det = v.cholesky().unwrap().l().diagonal().iter().map(|p| 2.0 * p.ln()).sum::<f64>();
    let information = x.transpose() * &inverse * &x;
    let (mu, spread, volume) = match mean {
        Mean::Given(mu) => (mu.clone(), DMatrix::zeros(d, d), 0.0),
        _ => {
            let spread = information.clone().try_inverse().unwrap();
            let volume = if *mean == Mean::Integrated { 0.5 * (d as f64 * LOG_2_PI - information.determinant().ln()) } else { 0.0 };
            (&spread * x.transpose() * &inverse * &y, spread, volume)
        }
    };
    let rest = &y - &x * &mu;
    let log_likelihood = -0.5 * (n as f64 * LOG_2_PI + log_det + rest.dot(&(&inverse * &rest))) + volume;
    let ones = DMatrix::from_fn(tasks * d, d, |i, j| if i % d == j { 1.0 } else { 0.0 });
    let gain = &prior * z.transpose() * &inverse;
    let coefficients = &ones * &mu + &gain * &rest;
    let map = &ones - &gain * &x;
    let within = &prior - &gain * &z * &prior;
    let covariance = &within + &map * &spread * map.transpose();
    let moved = &gain * &x;
    let deviations = &within + &moved * &spread * moved.transpose();
    // The M-step of a profiled mean takes it as known.
    let known = if *mean == Mean::Integrated { covariance.clone() } else { within };
    let residuals = (0..tasks)
        .map(|t| {
            (0..n)
                .filter(|i| rows.task(*i) == t)
                .map(|i| {
                    let zi = z.row(i);
                    let error = y[i] - (zi * &coefficients)[0];
                    rows.weight(i) * (error * error + (zi * &known * zi.transpose())[0])
                })
                .sum()
        })
        .collect();
    Dense { log_likelihood: log_likelihood + 0.0, mean: mu, coefficients, covariance, spread: deviations, residuals }
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs()))
}

/// Fits of a table and of the same in other units.
fn rescaled_fits_agree(seed: u64, kind: FeatureCovariance) -> Result<(), TestCaseError> {
    let rows = rows(6, 2, seed);
    let mut other = Rows::new("y", rows.features());
    for i in 0..rows.len() {
        let x = [rows.x(i)[0] * 1000.0, rows.x(i)[1] + 1e8];
        other.push(&rows.names()[rows.task(i)], &x, rows.y(i) * 7.0 + 1e6, rows.weight(i)).unwrap();
    }
    let fit = |rows: &Rows| Model::new(Gaussian::default(), Exchangeable::new(kind)).fit(&tasks_of(rows)).unwrap();
    let (a, b) = (fit(&rows), fit(&other));
    let expected = a.log_likelihood() - rows.len() as f64 * 7f64.ln();
    prop_assert!(close(b.log_likelihood(), expected, 1e-6), "{} {}", b.log_likelihood(), expected);
    for i in 0..5 {
        let name = &rows.names()[rows.task(i)];
        let (p, q) = (a.predict(name, rows.x(i), 0.9).unwrap(), b.predict(name, other.x(i), 0.9).unwrap());
        prop_assert!((p.mean * 7.0 + 1e6 - q.mean).abs() < 1e-2 && (p.sd * 7.0 - q.sd).abs() < 1e-2, "{p:?} {q:?}");
    }
    Ok(())
}

/// A variance is 0 here, and rounding is of either sign about it: intervals average over the same hyperparameters all the same.
#[test]
fn units_do_not_matter_where_a_variance_is_zero() {
    rescaled_fits_agree(365, FeatureCovariance::Diagonal).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every engine, with every treatment of the mean and some features unrelated, equals the dense Gaussian over the rows.
    #[test]
    fn every_engine_equals_dense_brute_force(tasks in 2usize..6, d in 1usize..4, seed in 0u64..1000, kind in 0usize..4, subset in any::<bool>(), treatment in 0usize..3, apart in 0usize..3) {
        let rows = rows(tasks, d, seed);
        let tasks_data = tasks_of(&rows);
        let data = Observations::new(&tasks_data, &Coordinates::identity(tasks_data.design()));
        let noise = 0.3;
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(noise));
        let varying: Vec<usize> = if subset { vec![0, d] } else { (0..=d).collect() };
        let unrelated = [vec![], vec![0], vec![d]][apart].clone();
        let k = in_parts(spd(varying.len(), seed + 1), &varying, &unrelated);
        let sigma = spd(tasks, seed + 2);
        let (sigma, relatedness) = match kind {
            0 => (DMatrix::identity(tasks, tasks), Relatedness::Identity),
            1 => (sigma.clone(), Relatedness::Dense(sigma)),
            2 => (low_rank(tasks, seed).covariance(tasks).unwrap(), low_rank(tasks, seed)),
            _ => {
                let mut graph = TaskGraph::empty(rows.names());
                (0..tasks).for_each(|t| graph.set_diagonal(t, 1.0 + 0.1 * t as f64));
                (1..tasks).filter(|t| t % 3 != 0).for_each(|t| graph.connect(t - 1, t, -0.4, None));
                if tasks > 3 { graph.connect(0, 3, 0.2, None); }
                (graph.precision().try_inverse().unwrap(), Relatedness::Graph(graph))
            }
        };
        let mean = match treatment {
            0 => Mean::Profiled,
            1 => Mean::Integrated,
            _ => Mean::Given(DVector::from_fn(d + 1, |i, _| 0.3 * i as f64)),
        };
        let expected = dense(&rows, (&sigma, &k, &varying, &unrelated), noise, &mean);
        let factor = k.cholesky().unwrap().l();
        let prior = Prior { mean_features: (0..=d).collect(), varying, unrelated, ..Prior::new(mean, relatedness, factor) };
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        prop_assert!(close(posterior.log_likelihood(), expected.log_likelihood, 1e-9));
        let residuals = posterior.residuals();
        for t in 0..tasks {
            let (w, c) = (posterior.coefficients(t), posterior.covariance(t));
            let (u, s) = posterior.deviation(t);
            prop_assert!((&u - (&w - posterior.mean())).amax() < 1e-12);
            prop_assert!(close(residuals[t], expected.residuals[t], 1e-8), "{} {}", residuals[t], expected.residuals[t]);
            for i in 0..=d {
                prop_assert!(close(posterior.mean()[i], expected.mean[i], 1e-8));
                prop_assert!(close(w[i], expected.coefficients[t * (d + 1) + i], 1e-8));
                for j in 0..=d {
                    prop_assert!(close(c[(i, j)], expected.covariance[(t * (d + 1) + i, t * (d + 1) + j)], 1e-8));
                    prop_assert!(close(s[(i, j)], expected.spread[(t * (d + 1) + i, t * (d + 1) + j)], 1e-8));
                }
            }
            for s in 0..tasks {
                let block = expected.covariance.view((t * (d + 1), s * (d + 1)), (d + 1, d + 1));
                prop_assert!((posterior.cross_covariance(t, s) - block).amax() < 1e-8 * (1.0 + block.amax()), "{t} {s}");
            }
        }
    }

    /// Fewer rows than features and next to no noise: integrating the unrelated features out keeps the digits.
    #[test]
    fn unrelated_features_keep_their_digits_without_noise(tasks in 2usize..6, seed in 0u64..1000, apart in 0usize..3) {
        let d = 4;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut few = Rows::new("y", &["x0", "x1", "x2", "x3"]);
        for i in 0..2 * tasks {
            let x: Vec<f64> = (0..d).map(|_| random.random_range(-1.0..1.0)).collect();
            few.push(&format!("t{}", i / 2), &x, random.random_range(-2.0..2.0), 1.0).unwrap();
        }
        let tasks_data = tasks_of(&few);
        let data = Observations::new(&tasks_data, &Coordinates::identity(tasks_data.design()));
        let noise = 1e-8;
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(noise));
        let varying: Vec<usize> = (0..=d).collect();
        let unrelated = [vec![0], vec![1, 3], vec![0, 2, 3, 4]][apart].clone();
        let k = in_parts(spd(d + 1, seed + 1), &varying, &unrelated);
        let sigma = spd(tasks, seed + 2);
        let mean = Mean::Given(DVector::from_element(d + 1, 0.3));
        let expected = dense(&few, (&sigma, &k, &varying, &unrelated), noise, &mean);
        let factor = k.cholesky().unwrap().l();
        let prior = Prior { unrelated, ..Prior::new(mean, Relatedness::Dense(sigma), factor) };
        let posterior = Posterior::given(&quadratics, &prior).unwrap();
        prop_assert!(close(posterior.log_likelihood(), expected.log_likelihood, 1e-5), "{} {}", posterior.log_likelihood(), expected.log_likelihood);
        for t in 0..tasks {
            for i in 0..=d {
                prop_assert!(close(posterior.coefficients(t)[i], expected.coefficients[t * (d + 1) + i], 1e-5));
            }
        }
    }

    /// G is the derivative of the log-likelihood by K, with the log prior of a mean that is estimated, in every engine, with every treatment of the
    /// mean, flat or not, also at a singular K.
    #[test]
    fn the_slope_is_the_derivative(tasks in 2usize..6, d in 1usize..4, seed in 0u64..1000, kind in 0usize..4, singular in any::<bool>(), treatment in 0usize..3, apart in 0usize..3) {
        let rows = rows(tasks, d, seed);
        let tasks_data = tasks_of(&rows);
        let data = Observations::new(&tasks_data, &Coordinates::identity(tasks_data.design()));
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(0.3));
        let relatedness = match kind {
            0 => Relatedness::Identity,
            1 => Relatedness::Dense(spd(tasks, seed + 2)),
            2 => low_rank(tasks, seed),
            _ => {
                let mut graph = TaskGraph::empty(rows.names());
                (1..tasks).filter(|t| t % 3 != 0).for_each(|t| graph.connect(t - 1, t, -0.4, None));
                Relatedness::Graph(graph)
            }
        };
        let mean = [Mean::Profiled, Mean::Integrated, Mean::Given(DVector::from_element(d + 1, 0.2))][treatment].clone();
        let precision = if seed % 2 == 0 { DMatrix::zeros(0, 0) } else { spd(d + 1, seed + 4) * 10.0 };
        let all: Vec<usize> = (0..=d).collect();
        let unrelated = [vec![], vec![0], vec![d]][apart].clone();
        let mut base = in_parts(spd(d + 1, seed + 1), &all, &unrelated);
        if singular {
            base.row_mut(d).fill(0.0);
            base.column_mut(d).fill(0.0);
        }
        let at = |k: &DMatrix<f64>| {
            let eigen = k.clone().symmetric_eigen();
            let factor = &eigen.eigenvectors * DMatrix::from_diagonal(&eigen.eigenvalues.map(|v| v.max(0.0).sqrt()));
            // An eigenvector of a matrix in parts has rounding errors in the other part.
            let factor = factor.map(|v| if v.abs() < 1e-12 { 0.0 } else { v });
            let (mean, relatedness, unrelated) = (mean.clone(), relatedness.clone(), unrelated.clone());
            Prior { unrelated, mean_precision: precision.clone(), ..Prior::new(mean, relatedness, factor) }
        };
        let slope = Posterior::given(&quadratics, &at(&base)).unwrap().covariance_slope();
        // Inwards only where K is singular: a three-point rule from one side.
        let value = |k: DMatrix<f64>| {
            let posterior = Posterior::given(&quadratics, &at(&k)).unwrap();
            let mean = posterior.mean();
            let estimated = matches!(posterior.prior().mean, Mean::Profiled) && !precision.is_empty();
            posterior.log_likelihood() - if estimated { 0.5 * mean.dot(&(&precision * &mean)) } else { 0.0 }
        };
        let direction = in_parts(spd(d + 1, seed + 3), &all, &unrelated);
        let h = 1e-4;
        let numeric = (4.0 * value(&base + &direction * h) - 3.0 * value(base.clone()) - value(&base + &direction * (2.0 * h))) / (2.0 * h);
        let analytic = (&slope * &direction).trace();
        prop_assert!((numeric - analytic).abs() < 1e-3 * (1.0 + slope.norm()), "{numeric} against {analytic}");
    }

    /// A fit ends where the Karush-Kuhn-Tucker conditions on K hold: stationary inside, no gain across a zero variance.
    #[test]
    fn a_fit_ends_at_the_conditions_on_k(seed in 0u64..1000, full in any::<bool>()) {
        // The last feature hardly varies between tasks.
        let mut flat = Rows::new("y", &["x0", "x1"]);
        let drawn = rows(6, 2, seed);
        for i in 0..drawn.len() {
            let t = drawn.task(i) as f64;
            let x = drawn.x(i);
            flat.push(&drawn.names()[drawn.task(i)], x, drawn.y(i) - x[1] * 0.1 * t, 1.0).unwrap();
        }
        let model = |structure: Box<dyn cognate::Structure>| Model::of(Box::new(Gaussian::default()), structure);
        let fit = if full { model(Box::new(Full::new(FeatureCovariance::Diagonal))) } else { model(Box::new(Exchangeable::new(FeatureCovariance::Diagonal))) };
        let fit = fit.fit(&tasks_of(&flat)).unwrap();
        prop_assert!(fit.converged());
        let g = fit.with_posterior(|posterior| posterior.covariance_slope()).unwrap();
        for a in 0..3 {
            let sd = fit.prior().factor[(a, a)];
            prop_assert!((sd * sd * g[(a, a)]).abs() < 1e-2, "feature {a}: sd {sd}, slope {}", g[(a, a)]);
            prop_assert!(sd != 0.0 || g[(a, a)] < 0.25, "feature {a} at 0 with slope {}", g[(a, a)]);
        }
    }

    /// The objective never falls in the EM phase, and the finish never ends below it.
    #[test]
    fn the_objective_never_falls(tasks in 3usize..7, d in 1usize..3, seed in 0u64..1000, full in any::<bool>(), per_task in any::<bool>()) {
        let data = tasks_of(&rows(tasks, d, seed));
        let noise = if per_task { Noise::Task } else { Noise::Shared };
        let options = cognate::em::Options::default();
        let fit = if full {
            Model::new(Gaussian { noise }, Full::new(FeatureCovariance::Diagonal)).fit(&data).unwrap()
        } else {
            Model::new(Gaussian { noise }, Exchangeable::new(FeatureCovariance::Full)).fit(&data).unwrap()
        };
        let trace = fit.trace();
        for pair in trace[..=options.warm_up].windows(2) {
            prop_assert!(pair[1].log_posterior >= pair[0].log_posterior - 1e-9 * (1.0 + pair[0].log_posterior.abs()));
        }
        prop_assert!(fit.converged());
        prop_assert!(trace[trace.len() - 1].log_posterior >= trace[options.warm_up].log_posterior - 1e-7);
    }

    /// Row order changes nothing but rounding; names may be permuted.
    #[test]
    fn row_and_task_order_do_not_matter(seed in 0u64..500) {
        let rows = rows(5, 2, seed);
        let mut turned = Rows::new("y", rows.features());
        for i in (0..rows.len()).rev() {
            turned.push(&rows.names()[rows.task(i)], rows.x(i), rows.y(i), rows.weight(i)).unwrap();
        }
        let fit = |rows: &Rows| Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks_of(rows)).unwrap();
        let (a, b) = (fit(&rows), fit(&turned));
        prop_assert!(close(a.log_likelihood(), b.log_likelihood(), 1e-8));
        for (t, name) in a.tasks().names().iter().enumerate() {
            let other = b.task_number(name).unwrap();
            prop_assert!((a.coefficients(t) - b.coefficients(other)).amax() < 1e-3);
        }
    }

    /// Rescaling the target or a feature, or shifting a feature, rescales or shifts and nothing else; also at offset 1e8.
    #[test]
    fn units_do_not_matter(seed in 0u64..500, kind in 0usize..3) {
        rescaled_fits_agree(seed, [FeatureCovariance::Scalar, FeatureCovariance::Diagonal, FeatureCovariance::Full][kind])?;
    }
}

fn all_models() -> Vec<(&'static str, Model)> {
    cognate::structure::NAMES
        .into_iter()
        .map(|name| {
            let chain =
                cognate::KnownRelation::Graph(vec![("task 0".into(), "task 1".into(), 1.0), ("task 1".into(), "task 2".into(), 0.5)]);
            let places = cognate::DescriptorValues::Numbers((0..9).map(f64::from).collect());
            let tasks = (0..9).map(|t| format!("task {t}")).collect();
            let descriptors = cognate::Descriptors::new(tasks, vec![("place".into(), places)]).unwrap();
            let options = cognate::structure::Options {
                relation: Some(chain),
                descriptors: Some(std::sync::Arc::new(descriptors)),
                ..Default::default()
            };
            let structure = cognate::structure::by_name(name, &options).unwrap();
            (name, Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn))
        })
        .collect()
}

#[test]
fn splitting_a_task_and_adding_its_quadratics_changes_nothing() {
    let rows = rows(4, 2, 3);
    let design = Design::varying(rows.features());
    let whole = rows.tasks(&design);
    let parts = [rows.tasks_of(&design, |i| i % 2 == 0), rows.tasks_of(&design, |i| i % 2 == 1)];
    for t in 0..4 {
        let sum = parts[0].statistics(t) + parts[1].statistics(t);
        assert_eq!(sum.rows(), whole.statistics(t).rows());
        let coordinates = Coordinates::identity(&design);
        let quadratic = |tasks: &Tasks| {
            let data = Observations::new(tasks, &coordinates);
            Gaussian::default().quadratics(&data, &Dispersion::shared(0.5)).task(t)
        };
        let (joint, all) = (quadratic(&parts[0]) + &quadratic(&parts[1]), quadratic(&whole));
        assert!((joint.curvature - all.curvature).amax() < 1e-10 && (joint.linear - all.linear).amax() < 1e-10);
        assert!((joint.constant - all.constant).abs() < 1e-10);
    }
}

#[test]
fn vanishing_and_growing_feature_covariance_are_pooling_and_separation() {
    let rows = rows(4, 1, 5);
    let tasks = tasks_of(&rows);
    let data = Observations::new(&tasks, &Coordinates::identity(tasks.design()));
    let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(0.5));
    let at = |scale: f64| Prior::new(Mean::Profiled, Relatedness::Identity, DMatrix::identity(2, 2) * scale);
    let pooled = (0..4).map(|t| quadratics.task(t)).reduce(|a, b| a + &b).unwrap().maximiser().unwrap();
    let (near, far) = (at(1e-6), at(1e6));
    let (near, far) = (Posterior::given(&quadratics, &near).unwrap(), Posterior::given(&quadratics, &far).unwrap());
    for t in 0..4 {
        assert!((near.coefficients(t) - &pooled).amax() < 1e-6);
        assert!((far.coefficients(t) - quadratics.task(t).maximiser().unwrap()).amax() < 1e-6);
    }
}

#[test]
fn thread_count_does_not_change_a_bit() {
    let rows = rows(150, 2, 11);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Full)).fit(&tasks_of(&rows)).unwrap();
            (fit.log_likelihood().to_bits(), fit.coefficients(77)[1].to_bits(), fit.trace().len())
        })
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn save_and_load_are_exact_for_every_structure() {
    let tasks = tasks_of(&rows(6, 2, 17));
    let folder = tempfile::tempdir().unwrap();
    for (name, model) in all_models() {
        let fit = model.fit(&tasks).unwrap();
        let path = folder.path().join(name);
        fit.save(&path).unwrap();
        let back = Fit::load(&path).unwrap();
        assert_eq!(format!("{fit:?}"), format!("{back:?}"), "{name}");
        assert_eq!(fit.to_string(), back.to_string());
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), cognate::structure::NAMES.len(), "no temporary file stays");
}

#[test]
fn draws_have_the_posterior_mean_and_covariance_and_repeat() {
    let tasks = tasks_of(&rows(5, 1, 23));
    let slopes = tasks.clone().with_design(tasks.design().clone().with_graph_features(|feature| feature == "x0"));
    let by_slopes = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Diagonal));
    let by_slopes = by_slopes.intervals(Intervals::PlugIn).fit(&slopes).unwrap();
    let fits = all_models().into_iter().map(|(name, model)| (name, model.fit(&tasks).unwrap()));
    for (name, fit) in fits.chain([("full by slopes", by_slopes)]) {
        let draws = fit.sample(4000, 9).unwrap();
        assert_eq!(fit.sample(1, 9).unwrap()[0], draws[0]);
        for t in 0..5 {
            let (w, c) = (fit.coefficients(t), fit.covariance(t));
            for k in 0..2 {
                let mean = draws.iter().map(|d| d[(t, k)]).sum::<f64>() / 4000.0;
                let variance = draws.iter().map(|d| (d[(t, k)] - mean).powi(2)).sum::<f64>() / 4000.0;
                let sd = c[(k, k)].sqrt();
                assert!((mean - w[k]).abs() < 5.0 * sd / 4000f64.sqrt() + 1e-9, "{name} task {t}: {mean} {}", w[k]);
                assert!((variance - c[(k, k)]).abs() < 0.15 * c[(k, k)] + 1e-12, "{name} task {t}: {variance} {}", c[(k, k)]);
            }
        }
    }
}

/// Finite differences of the log-likelihood against the slope: a fit at its optimum does not gain by moving.
#[test]
fn optima_are_optima() {
    let rows = rows(12, 2, 31);
    let tasks = tasks_of(&rows);
    for kind in [FeatureCovariance::Scalar, FeatureCovariance::Diagonal, FeatureCovariance::Full] {
        for restricted in [false, true] {
            let fit = Model::new(Gaussian::default(), Exchangeable::new(kind)).restricted(restricted).fit(&tasks).unwrap();
            let data = Observations::new(&tasks, fit.coordinates());
            let value = |prior: &Prior, noise: f64| {
                let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(noise));
                Posterior::given(&quadratics, prior).unwrap().log_likelihood()
            };
            let noise = fit.dispersion().common_variance();
            let top = value(fit.prior(), noise);
            for step in [0.99, 1.01] {
                assert!(value(fit.prior(), noise * step) <= top + 1e-7);
                let scaled = Prior { factor: &fit.prior().factor * step, ..fit.prior().clone() };
                assert!(value(&scaled, noise) <= top + 1e-7, "{kind:?}");
            }
        }
    }
}

#[test]
fn independent_tasks_do_not_hear_each_other() {
    let first = rows(4, 2, 41);
    let mut changed = Rows::new("y", first.features());
    for i in 0..first.len() {
        let y = if first.task(i) == 3 { first.y(i) * -2.0 } else { first.y(i) };
        changed.push(&first.names()[first.task(i)], first.x(i), y, first.weight(i)).unwrap();
    }
    let fit =
        |rows: &Rows| Model::new(Gaussian::default(), Independent::default()).standardise(Standardise::None).fit(&tasks_of(rows)).unwrap();
    let (a, b) = (fit(&first), fit(&changed));
    (0..3).for_each(|t| assert!((a.coefficients(t) - b.coefficients(t)).amax() < 1e-6));
    assert!((a.coefficients(3) - b.coefficients(3)).amax() > 0.1);
}

#[test]
fn pooled_is_least_squares_and_pooled_intercepts_is_within_least_squares() {
    let rows = rows(4, 2, 43);
    let n = rows.len();
    for intercepts in [false, true] {
        let columns = if intercepts { 6 } else { 3 };
        let x = DMatrix::from_fn(n, columns, |i, j| match (intercepts, j) {
            (_, 0 | 1) => rows.x(i)[j],
            (false, _) => 1.0,
            (true, j) => f64::from(u8::from(rows.task(i) + 2 == j)),
        });
        let w = DMatrix::from_diagonal(&DVector::from_fn(n, |i, _| rows.weight(i)));
        let y = DVector::from_fn(n, |i, _| rows.y(i));
        let beta = (x.transpose() * &w * &x).try_inverse().unwrap() * x.transpose() * &w * y;
        let fit = Model::new(Gaussian::default(), Pooled { task_intercepts: intercepts }).fit(&tasks_of(&rows)).unwrap();
        for t in 0..4 {
            let found = fit.coefficients(t);
            let intercept = if intercepts { beta[2 + t] } else { beta[2] };
            assert!((found[0] - intercept).abs() < 1e-8 && (found[1] - beta[0]).abs() < 1e-8 && (found[2] - beta[1]).abs() < 1e-8);
        }
    }
}

#[test]
fn noise_of_its_own_for_every_task_is_found_and_shrunk() {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..20 {
        let sd = if t < 10 { 0.5 } else { 2.0 };
        for _ in 0..40 {
            let x = random.random_range(-1.0..1.0);
            // Sum of twelve uniforms less 6: standard normal to this purpose.
            let e: f64 = (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
            rows.push(&t.to_string(), &[x], 1.0 + x + sd * e, 1.0).unwrap();
        }
    }
    let fit = Model::new(Gaussian { noise: Noise::Task }, Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks_of(&rows)).unwrap();
    assert!(fit.converged());
    (0..10).for_each(|t| assert!(fit.noise_variance(t) < 0.6, "{}", fit.noise_variance(t)));
    (10..20).for_each(|t| assert!(fit.noise_variance(t) > 1.5, "{}", fit.noise_variance(t)));
}

#[test]
fn a_graph_fit_keeps_a_positive_definite_precision_on_its_edges() {
    let tasks = tasks_of(&rows(8, 3, 51));
    let fit = Model::new(Gaussian::default(), Graph::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
    assert!(fit.graph().precision().cholesky().is_some());
    let sigma = fit.relatedness().unwrap();
    (0..8).for_each(|t| assert!((sigma[(t, t)] - 1.0).abs() < 1e-12));
}

#[test]
fn tasks_that_differ_much_do_not_look_noisier_than_each_other() {
    let mut random = ChaCha8Rng::seed_from_u64(6);
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..30 {
        for _ in 0..30 {
            let x = random.random_range(-1.0..1.0);
            let e: f64 = (0..12).map(|_| random.random_range(0.0..1.0)).sum::<f64>() - 6.0;
            rows.push(&t.to_string(), &[x], 3.0 * (t % 7) as f64 + x + e, 1.0).unwrap();
        }
    }
    let fit = Model::new(Gaussian { noise: Noise::Task }, Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks_of(&rows)).unwrap();
    let all: Vec<f64> = (0..30).map(|t| fit.noise_variance(t)).collect();
    let (low, high) = (all.iter().copied().fold(f64::INFINITY, f64::min), all.iter().copied().fold(0.0, f64::max));
    assert!(high / low < 1.5, "{low} to {high}");
}

#[test]
fn with_mean_zero_what_tasks_have_in_common_is_relatedness() {
    let tasks = tasks_of(&rows(6, 3, 61));
    let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)).zero_mean(true).fit(&tasks).unwrap();
    assert!(fit.mean().amax() == 0.0);
    let related = fit.relatedness().unwrap();
    let with_mean = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)).fit(&tasks).unwrap().relatedness().unwrap();
    assert!(related.sum() > with_mean.sum() + 1.0, "{} {}", related.sum(), with_mean.sum());
}

#[test]
fn own_share_is_zero_without_rows_and_grows_with_them() {
    let all = rows(6, 1, 67);
    let design = Design::varying(all.features());
    let tasks = all.tasks_of(&design, |i| all.task(i) != 2);
    let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
    assert_eq!(fit.own_share(2), Some(0.0));
    (0..6).filter(|t| *t != 2).for_each(|t| assert!(fit.own_share(t).is_some_and(|share| share > 0.3 && share <= 1.0)));
}
