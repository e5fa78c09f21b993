//! How strong the prior of a full task covariance should be: unrelated tasks, tasks of two factors and tasks in blocks; mean squared error of the parameters over that of
//! exchangeable tasks, with the strength learned and with T + 1, and how often 95 % intervals cover a new task's parameters. `cargo bench --bench full -- SEEDS TASKS FEATURES`: 5, 20 and 10.

use cognate::{Design, Exchangeable, FeatureCovariance, Fit, Full, Gaussian, Intervals, Model, Rows, Structure};
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const ROWS: usize = 20;

fn main() -> cognate::Result<()> {
    let args: Vec<usize> = std::env::args().skip(1).filter_map(|own| own.parse().ok()).collect();
    let (seeds, tasks, features) = (*args.first().unwrap_or(&5), *args.get(1).unwrap_or(&20), *args.get(2).unwrap_or(&10));
    let names: Vec<String> = (0..features).map(|k| format!("x{k}")).collect();
    println!("{tasks} tasks with {ROWS} rows, {features} features, {seeds} seeds");
    println!("             mean squared error over exchangeable    new tasks covered              strength learned");
    println!("             learned   T + 1                         exchangeable learned  T + 1     (median)");
    for kind in ["unrelated", "factors", "blocks"] {
        let mut errors = [0.0; 3];
        let mut covered = [0; 3];
        let mut strengths = Vec::new();
        for seed in 0..seeds {
            let mut random = ChaCha8Rng::seed_from_u64(seed as u64);
            let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
            let loadings = DMatrix::from_fn(tasks + 1, 2, |_, _| normal());
            let sigma = DMatrix::from_fn(tasks + 1, tasks + 1, |s, t| match kind {
                "unrelated" => f64::from(u8::from(s == t)),
                "factors" => 0.45 * loadings.row(s).dot(&loadings.row(t)) + if s == t { 0.1 } else { 0.0 },
                _ => 0.9 * f64::from(u8::from(s % 4 == t % 4)) + if s == t { 0.1 } else { 0.0 },
            });
            let root = sigma.cholesky().expect("its diagonal is raised").l();
            let truth = root * DMatrix::from_fn(tasks + 1, features, |_, _| 0.5 * normal());
            let mut rows = Rows::new("y", &names);
            for t in 0..tasks {
                for _ in 0..ROWS {
                    let x: Vec<f64> = (0..features).map(|_| normal()).collect();
                    let y = x.iter().enumerate().map(|(k, x)| x * truth[(t, k)]).sum::<f64>() + normal();
                    rows.push(&format!("task {t}"), &x, y, 1.0)?;
                }
            }
            let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
            let fit = |structure: Box<dyn Structure>| -> cognate::Result<Fit> {
                Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&table)
            };
            let shape = FeatureCovariance::Scalar;
            let plain = fit(Box::new(Exchangeable::new(shape)))?;
            let learned = fit(Box::new(Full::new(shape)))?;
            let fixed = fit(Box::new(Full::new(shape).with_strength(Some(tasks as f64 + 1.0))))?;
            strengths.push(learned.prior_strength().unwrap_or(f64::NAN));
            for (k, fit) in [&plain, &learned, &fixed].into_iter().enumerate() {
                let of = |t: usize| (0..features).map(|k| (fit.coefficients(t)[k] - truth[(t, k)]).powi(2)).sum::<f64>();
                errors[k] += (0..tasks).map(of).sum::<f64>();
                for j in 0..features {
                    let x: Vec<f64> = (0..features).map(|i| f64::from(u8::from(i == j))).collect();
                    let new = fit.predict("new", &x, 0.95)?;
                    let sd = (new.sd.powi(2) - fit.noise_variance(0)).sqrt();
                    covered[k] += usize::from((new.mean - truth[(tasks, j)]).abs() < 1.96 * sd);
                }
            }
        }
        strengths.sort_by(f64::total_cmp);
        let share = |k: usize| covered[k] as f64 / (seeds * features) as f64;
        println!(
            "  {kind:<10} {:.3}     {:.3}                         {:.3}        {:.3}    {:.3}     {:.1}",
            errors[1] / errors[0],
            errors[2] / errors[0],
            share(0),
            share(1),
            share(2),
            strengths[strengths.len() / 2]
        );
    }
    Ok(())
}
