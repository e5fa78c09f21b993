//! Factors that tasks share: found where they are, nothing where there are none, the same whatever names, units and engines.

use cognate::simulate::{NoiseLevel, Simulated, gaussian};
use cognate::{
    Approximation, Binomial, Coordinates, CorrelatedGaussian, Design, Factor, FamilyRows, FeatureCovariance, Fit, Gaussian, Generalised,
    Inference, Intervals, Mean, Model, Prior, Relatedness, Rows,
};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

/// Of every further factor half the variance of the one before.
fn drawn(tasks: usize, d: usize, rows: usize, rank: usize, size: f64, seed: u64) -> (Simulated, Relatedness) {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let loadings = DMatrix::from_fn(tasks, rank, |_, j| (size / 2f64.powi(j as i32)).sqrt() * normal());
    let uniquenesses = DVector::from_fn(tasks, |_, _| (0.3 * normal()).exp());
    let truth = Relatedness::LowRank { loadings, uniquenesses };
    let prior = Prior::new(Mean::Given(DVector::from_fn(d, |_, _| normal())), truth.clone(), DMatrix::identity(d, d));
    (gaussian(&prior, tasks, rows, NoiseLevel::Sd(1.0), seed).unwrap(), truth)
}

fn fit(rows: &Rows, rank: usize) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features()).without_intercept());
    Model::new(Gaussian::default(), Factor::new(rank, FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

fn correlations(sigma: &DMatrix<f64>) -> Vec<f64> {
    let element = |s: usize, t: usize| sigma[(s, t)] / (sigma[(s, s)] * sigma[(t, t)]).sqrt();
    (0..sigma.nrows()).flat_map(|t| (0..t).map(move |s| (s, t))).map(|(s, t)| element(s, t)).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

#[test]
fn two_factors_are_found_and_as_large_as_they_are() {
    let (drawn, truth) = drawn(60, 60, 90, 2, 2.0, 4);
    let fit = fit(&drawn.rows, 2);
    assert!(fit.converged());
    let (was, is) = (correlations(&truth.covariance(60).unwrap()), correlations(&fit.relatedness().unwrap()));
    assert!(correlation(&was, &is) > 0.95, "{}", correlation(&was, &is));
    let size = |all: &[f64]| (all.iter().map(|r| r * r).sum::<f64>() / all.len() as f64).sqrt();
    assert!((size(&is) / size(&was) - 1.0).abs() < 0.15, "{} and {}", size(&is), size(&was));
    let found = fit.loadings().unwrap();
    assert!(found.shares.len() == 2 && found.shares[0] > found.shares[1] && found.shares[1] > 0.15, "{:?}", found.shares);
    let variances = (0..60).map(|t| found.loadings.row(t).norm_squared() + found.uniquenesses[t]).sum::<f64>();
    assert!((variances - 60.0).abs() < 1e-9);
    assert!((0..2).all(|j| found.loadings[(found.loadings.column(j).iamax(), j)] > 0.0));
    assert!(found.standard_errors.iter().all(|se| *se > 0.05 && *se < 0.6), "{}", found.standard_errors.max());
    assert!(fit.to_string().contains("Factors that tasks share"));
}

/// Of unrelated tasks the factors asked for come to nothing, and the fit is one of unrelated tasks.
#[test]
fn unrelated_tasks_share_no_factor() {
    for (tasks, d, rows, seed) in [(80, 10, 30, 1), (80, 10, 30, 2), (12, 30, 60, 3), (12, 30, 60, 4), (40, 20, 15, 5)] {
        let fit = fit(&drawn(tasks, d, rows, 0, 0.0, seed).0.rows, 2);
        assert!(fit.converged());
        assert_eq!(fit.loadings().unwrap().shares.len(), 0, "{tasks} tasks, seed {seed}");
        assert!(fit.to_string().contains("No factor"));
    }
}

#[test]
fn names_order_and_units_do_not_matter() {
    let rows = drawn(12, 6, 20, 1, 2.0, 7).0.rows;
    let mut turned = Rows::new("y", rows.features());
    for i in (0..rows.len()).rev() {
        let x: Vec<f64> = rows.x(i).iter().enumerate().map(|(k, x)| x * 10f64.powi(k as i32)).collect();
        turned.push(&rows.names()[rows.task(i)], &x, 7.0 * rows.y(i), 1.0).unwrap();
    }
    let (a, b) = (fit(&rows, 1), fit(&turned, 1));
    assert!((b.log_likelihood() - a.log_likelihood() + rows.len() as f64 * 7f64.ln() - units(&a)).abs() < 1e-5);
    let (first, second) = (a.loadings().unwrap(), b.loadings().unwrap());
    for (t, name) in a.tasks().names().iter().enumerate() {
        let other = b.task_number(name).unwrap();
        assert!((first.loadings[(t, 0)] - second.loadings[(other, 0)]).abs() < 1e-3);
        assert!((first.standard_errors[(t, 0)] - second.standard_errors[(other, 0)]).abs() < 1e-3);
        assert!((first.uniquenesses[t] - second.uniquenesses[other]).abs() < 1e-3);
    }
}

/// What the volume of an integrated mean takes from another scale of the features and the target.
fn units(fit: &Fit) -> f64 {
    (0..fit.tasks().design().len()).map(|k| 7f64.ln() - k as f64 * 10f64.ln()).sum()
}

#[test]
fn the_fit_ends_at_an_optimum_of_k_the_noise_and_the_sizes() {
    let fit = fit(&drawn(20, 8, 25, 2, 1.5, 9).0.rows, 2);
    assert!(fit.converged());
    let slope = fit.with_posterior(|posterior| posterior.covariance_slope()).unwrap();
    for a in 0..8 {
        let sd = fit.prior().factor[(a, a)];
        assert!((sd * sd * slope[(a, a)]).abs() < 1e-2, "{}", sd * sd * slope[(a, a)]);
    }
}

#[test]
fn too_many_factors_are_refused() {
    let rows = drawn(6, 3, 10, 1, 1.0, 1).0.rows;
    let tasks = rows.tasks(&Design::varying(rows.features()).without_intercept());
    for rank in [0, 4] {
        let refused = Model::new(Gaussian::default(), Factor::new(rank, FeatureCovariance::Diagonal)).fit(&tasks).unwrap_err();
        assert!(refused.to_string().contains("at most 3 factors"), "{refused}");
    }
}

/// Half of the tasks lean one way and half the other, in every direction alike.
fn halves(target: impl Fn(f64, f64) -> f64, unit: bool) -> Rows {
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let d = 8;
    let lean: Vec<f64> = (0..d).map(|_| 1.5 * normal()).collect();
    let features: Vec<String> = (0..d).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &features);
    let parameters: Vec<Vec<f64>> =
        (0..10).map(|t| lean.iter().map(|own| own * if t < 5 { 1.0 } else { -1.0 } + 0.3 * normal()).collect()).collect();
    for i in 0..120 {
        let shared: Vec<f64> = (0..d).map(|_| normal()).collect();
        for (t, w) in parameters.iter().enumerate() {
            let x: Vec<f64> = if unit { shared.clone() } else { (0..d).map(|_| normal()).collect() };
            let y = target(x.iter().zip(w).map(|(x, w)| x * w).sum::<f64>(), normal());
            match unit {
                true => rows.push_of_unit(&i.to_string(), &t.to_string(), &x, y, 1.0).unwrap(),
                false => rows.push(&t.to_string(), &x, y, 1.0).unwrap(),
            }
        }
    }
    rows
}

fn leans_apart(fit: &Fit) {
    let found = &fit.loadings().unwrap().loadings;
    assert_eq!(found.ncols(), 1);
    (0..5).for_each(|t| assert!(found[(t, 0)] * found[(t + 5, 0)] < 0.0 && found[(t, 0)] * found[(0, 0)] > 0.0, "{found}"));
}

#[test]
fn other_families_shared_rows_and_graph_features_have_factors_too() {
    let rows = halves(|eta, noise| eta + noise, false);
    let structure = || Factor::new(1, FeatureCovariance::Scalar);
    let design = Design::varying(rows.features());
    let chosen = design.clone().with_graph_features(|name| name != "(Intercept)" && name != "x7");
    let plain = Model::new(Gaussian::default(), structure()).intervals(Intervals::PlugIn);
    leans_apart(&plain.fit(&rows.tasks(&chosen)).unwrap());
    let shares = halves(|eta, noise| f64::from(eta + noise > 0.0), false);
    let tasks = shares.tasks(&design).with_rows(shares).unwrap();
    let model = Model::new(Generalised::new(Binomial::default()), structure()).intervals(Intervals::PlugIn);
    leans_apart(&model.fit(&tasks).unwrap());
    let shared = halves(|eta, noise| eta + noise, true);
    let tasks = shared.tasks(&design).with_rows(shared).unwrap();
    let fit = Model::new(CorrelatedGaussian::default(), structure()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    leans_apart(&fit);
    assert_eq!(fit.loadings().unwrap().standard_errors.nrows(), 0);
}

/// The exact log-likelihood knows of Sigma alone, however it is stored.
#[test]
fn exact_evidence_is_that_of_the_covariance() {
    let shares = halves(|eta, noise| f64::from(eta + noise > 0.0), false);
    let few = shares.subset(|i| i % 40 < 10);
    let (design, family) = (Design::varying(few.features()).without_intercept(), Binomial::default());
    let kept = FamilyRows::new(&few, &design, &Coordinates::identity(&design), &family).unwrap();
    let loadings = DMatrix::from_fn(few.names().len(), 1, |t, _| if t < 5 { 0.8 } else { -0.6 });
    let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_element(few.names().len(), 0.5) };
    let dense = Relatedness::Dense(relatedness.covariance(few.names().len()).unwrap());
    let [own, other] = [relatedness, dense].map(|relatedness| {
        let prior = Prior::new(Mean::Given(DVector::zeros(8)), relatedness, DMatrix::identity(4, 4) * 0.7);
        let prior = Prior { mean_features: (0..8).collect(), ..prior };
        let found = Approximation::of(&kept, &family, &prior, Inference::Variational).unwrap();
        (found.log_likelihood, found.evidence(&kept, &family).unwrap().log_likelihood)
    });
    assert!((own.0 - other.0).abs() < 1e-7 && (own.1 - other.1).abs() < 1e-6, "{own:?} {other:?}");
}
