//! How well the structure `factor` finds simulated relatedness, what it makes of unrelated tasks, and what it gains on rows held out:
//! `cargo run --release --example factors -- TASKS FEATURES ROWS RANK SIZE SEEDS [FITTED_RANK]`, loadings N(0, SIZE), uniquenesses about 1.

use cognate::simulate::{NoiseLevel, Simulated, gaussian};
use cognate::{
    Coordinates, Design, Dispersion, Exchangeable, Factor, FeatureCovariance, Fit, Gaussian, Intervals, Likelihood, Mean, Model,
    Observations, Posterior, Prior, Relatedness, Structure,
};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

fn correlations(sigma: &DMatrix<f64>) -> Vec<f64> {
    let tasks = sigma.nrows();
    let pairs = (0..tasks).flat_map(|t| (0..t).map(move |s| (s, t)));
    pairs.map(|(s, t)| sigma[(s, t)] / (sigma[(s, s)] * sigma[(t, t)]).sqrt()).collect()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let dot = |x: &[f64], mx: f64, y: &[f64], my: f64| x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>();
    dot(a, ma, b, mb) / (dot(a, ma, a, ma) * dot(b, mb, b, mb)).sqrt()
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

fn main() -> cognate::Result<()> {
    let arguments: Vec<f64> = std::env::args().skip(1).map(|a| a.parse().expect("numbers")).collect();
    let [tasks, d, rows, rank, size, seeds] = arguments[..6] else { panic!("TASKS FEATURES ROWS RANK SIZE SEEDS") };
    let (tasks, d, rows, rank) = (tasks as usize, d as usize, rows as usize, rank as usize);
    let fitted = arguments.get(6).map_or(rank.max(1), |k| *k as usize);
    let kind = match std::env::var("KIND").as_deref() {
        Ok("scalar") => FeatureCovariance::Scalar,
        Ok("full") => FeatureCovariance::Full,
        _ => FeatureCovariance::Diagonal,
    };
    println!("seed  found  rms true  rms found  exchangeable  factor gain  steps  seconds");
    for seed in 0..seeds as u64 {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1000 + seed);
        let loadings = DMatrix::from_fn(tasks, rank, |_, _| {
            let z: f64 = StandardNormal.sample(&mut random);
            size.sqrt() * z
        });
        let uniquenesses = DVector::from_fn(tasks, |_, _| {
            if std::env::var("HET").is_ok() {
                let z: f64 = StandardNormal.sample(&mut random);
                z.exp()
            } else {
                random.random_range(0.5..1.5)
            }
        });
        let truth = Relatedness::LowRank { loadings, uniquenesses };
        let mean = DVector::from_fn(d, |_, _| StandardNormal.sample(&mut random));
        let prior = Prior::new(Mean::Given(mean), truth.clone(), DMatrix::identity(d, d));
        let drawn = gaussian(&prior, tasks, 2 * rows, NoiseLevel::Sd(1.0), seed)?;
        let design = Design::varying(drawn.rows.features()).without_intercept();
        let data = drawn.rows.tasks_of(&design, |i| i % 2 == 0);
        let fit =
            |structure: Box<dyn Structure>| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&data);
        let plain = fit(Box::new(Exchangeable::new(kind)))?;
        let begin = std::time::Instant::now();
        let factors = fit(Box::new(Factor::new(fitted, kind)))?;
        let seconds = begin.elapsed().as_secs_f64();
        let (was, is) = (correlations(&truth.covariance(tasks).unwrap()), correlations(&factors.relatedness().unwrap()));
        let before = held_out(&plain, &drawn);
        let observed = Observations::new(&data, &Coordinates::identity(&design));
        let quadratics = Gaussian::default().quadratics(&observed, &Dispersion::shared(1.0));
        let at = Posterior::given(&quadratics, &Prior { mean: Mean::Integrated, ..prior.clone() })?;
        let rows_of = &drawn.rows;
        let odd: Vec<usize> = (0..rows_of.len()).filter(|i| i % 2 == 1).collect();
        let all: Vec<_> = (0..tasks).map(|t| (at.coefficients(t), at.covariance(t))).collect();
        let best = odd
            .iter()
            .map(|i| {
                let x = DVector::from_column_slice(rows_of.x(*i));
                let (w, c) = &all[rows_of.task(*i)];
                let v: f64 = 1.0 + x.dot(&(c * &x));
                -0.5 * (rows_of.y(*i) - x.dot(w)).powi(2) / v - 0.5 * (v * 2.0 * std::f64::consts::PI).ln()
            })
            .sum::<f64>()
            / odd.len() as f64;
        println!(
            "true gain {:.5}, rank {}, log likelihood beyond truth {:.2}, exchangeable {:.2}; K {:.3}..{:.3}",
            best - before,
            match &factors.prior().relatedness {
                Relatedness::LowRank { loadings, .. } => loadings.ncols(),
                _ => 0,
            },
            factors.log_likelihood() - at.log_likelihood(),
            plain.log_likelihood() - at.log_likelihood(),
            factors.feature_covariance().1.diagonal().min(),
            factors.feature_covariance().1.diagonal().max()
        );
        println!(
            "{seed:>4}  {:>5.3}  {:>8.3}  {:>9.3}  {before:>12.5}  {:>11.5}  {}  {:>5}  {seconds:>7.2}",
            correlation(&was, &is),
            root_mean_square(&was),
            root_mean_square(&is),
            held_out(&factors, &drawn) - before,
            factors.stop(),
            factors.trace().len()
        );
    }
    Ok(())
}
