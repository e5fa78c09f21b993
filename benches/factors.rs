//! How well the structure `factor` finds simulated relatedness, what it makes of unrelated tasks, what it gains on rows held out against exchangeable
//! tasks, and how often intervals of loadings hold the truth:
//! `cargo bench --bench factors -- TASKS FEATURES ROWS RANK SIZE RATIO SPREAD SEEDS [FITTED_RANK [STRENGTH]]`, with loadings
//! N(0, SIZE), the variance of every further factor's that of the one before over RATIO, and logarithms of uniquenesses N(0, SPREAD^2).

use cognate::simulate::{NoiseLevel, Simulated, gaussian};
use cognate::{Design, Exchangeable, Factor, FeatureCovariance, Fit, Gaussian, Intervals, Mean, Model, Prior, Relatedness, Structure};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};

fn correlations(sigma: &DMatrix<f64>) -> Vec<f64> {
    let pairs = (0..sigma.nrows()).flat_map(|t| (0..t).map(move |s| (s, t)));
    pairs.map(|(s, t)| sigma[(s, t)] / (sigma[(s, s)] * sigma[(t, t)]).sqrt()).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(x, y)| f(x - ma, y - mb)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

fn root_mean_square(a: &[f64]) -> f64 {
    (a.iter().map(|v| v * v).sum::<f64>() / a.len() as f64).sqrt()
}

/// Mean log density of the odd rows.
fn held_out(fit: &Fit, drawn: &Simulated) -> f64 {
    let rows = &drawn.rows;
    let odd: Vec<usize> = (0..rows.len()).filter(|i| i % 2 == 1).collect();
    let density = |i: &usize| {
        let task = rows.task(*i);
        fit.forecast(Some(task), &rows.names()[task], rows.x(*i), 1.0, 0.0).unwrap().log_density(rows.y(*i))
    };
    odd.iter().map(density).sum::<f64>() / odd.len() as f64
}

/// Loadings about their weighted mean, in principal form and at tr Sigma = T.
fn principal(loadings: &DMatrix<f64>, uniquenesses: &DVector<f64>) -> DMatrix<f64> {
    let weights = uniquenesses.map(|own| 1.0 / own);
    let mut centred = loadings.clone();
    for mut own in centred.column_iter_mut() {
        let mean = own.dot(&weights) / weights.sum();
        own.add_scalar_mut(-mean);
    }
    if loadings.ncols() == 0 {
        return centred;
    }
    let eigen = (centred.transpose() * DMatrix::from_diagonal(&weights) * &centred).symmetric_eigen();
    let mut order: Vec<usize> = (0..eigen.eigenvalues.len()).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let trace = centred.norm_squared() + uniquenesses.sum();
    centred * eigen.eigenvectors.select_columns(&order) * (loadings.nrows() as f64 / trace).sqrt()
}

/// How many of the 95 % intervals hold the truth, and how many there are.
fn coverage(fit: &Fit, truth: &DMatrix<f64>) -> (usize, usize) {
    let Some(found) = fit.loadings().filter(|found| found.loadings.ncols() == truth.ncols()) else { return (0, 0) };
    let mut inside = 0;
    for j in 0..truth.ncols() {
        let sign = found.loadings.column(j).dot(&truth.column(j)).signum();
        inside += (0..truth.nrows())
            .filter(|t| (found.loadings[(*t, j)] - sign * truth[(*t, j)]).abs() < 1.96 * found.standard_errors[(*t, j)])
            .count();
    }
    (inside, truth.len())
}

fn main() -> cognate::Result<()> {
    let given: Vec<f64> = std::env::args().skip(1).filter(|own| own != "--bench").map(|a| a.parse().expect("numbers")).collect();
    let arguments = if given.is_empty() { vec![60.0, 30.0, 50.0, 2.0, 4.0, 2.0, 0.3, 1.0] } else { given };
    let [tasks, d, rows, rank, size, ratio, spread, seeds] = arguments[..8] else {
        panic!("TASKS FEATURES ROWS RANK SIZE RATIO SPREAD SEEDS")
    };
    let (tasks, d, rows, rank) = (tasks as usize, d as usize, rows as usize, rank as usize);
    let (fitted, strength) = (arguments.get(8).map_or(rank.max(1), |k| *k as usize), arguments.get(9).copied());
    let (mut gains, mut inside, mut intervals) = (Vec::new(), 0, 0);
    println!("seed  rank  correlation  rms true  rms found      gain  steps  seconds");
    for seed in 0..seeds as u64 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1000 + seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let loadings = DMatrix::from_fn(tasks, rank, |_, j| (size / ratio.powi(j as i32)).sqrt() * normal());
        let uniquenesses = DVector::from_fn(tasks, |_, _| (spread * normal()).exp());
        let truth = Relatedness::LowRank { loadings: loadings.clone(), uniquenesses: uniquenesses.clone() };
        let prior = Prior::new(Mean::Given(DVector::from_fn(d, |_, _| normal())), truth.clone(), DMatrix::identity(d, d));
        let drawn = gaussian(&prior, tasks, 2 * rows, NoiseLevel::Sd(1.0), seed)?;
        let design = Design::varying(drawn.rows.features()).without_intercept();
        let data = drawn.rows.tasks_of(&design, |i| i % 2 == 0);
        let fit =
            |structure: Box<dyn Structure>| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&data);
        let plain = fit(Box::new(Exchangeable::new(FeatureCovariance::Diagonal)))?;
        let begin = std::time::Instant::now();
        let factors = fit(Box::new(Factor::new(fitted, FeatureCovariance::Diagonal).with_strength(strength)))?;
        let seconds = begin.elapsed().as_secs_f64();
        let (was, is) = (correlations(&truth.covariance(tasks).unwrap()), correlations(&factors.relatedness().unwrap()));
        gains.push(held_out(&factors, &drawn) - held_out(&plain, &drawn));
        let (own, all) = coverage(&factors, &principal(&loadings, &uniquenesses));
        (inside, intervals) = (inside + own, intervals + all);
        println!(
            "{seed:>4}  {:>4}  {:>11.3}  {:>8.3}  {:>9.3}  {:>8.5}  {:>5}  {seconds:>7.2}",
            factors.loadings().map_or(0, |found| found.shares.len()),
            correlation(&was, &is),
            root_mean_square(&was),
            root_mean_square(&is),
            gains[gains.len() - 1],
            factors.trace().len()
        );
    }
    let mean = gains.iter().sum::<f64>() / gains.len() as f64;
    println!(
        "mean gain {mean:.5}; {inside} of {intervals} intervals of loadings hold the truth ({:.3})",
        inside as f64 / intervals.max(1) as f64
    );
    Ok(())
}
