//! Tasks unlike the others and what they cost: 60 tasks, a tenth of them drawn ten times as far out; the mean squared error of the other tasks' parameters by a robust
//! fit, against a fit without the outliers, and without outliers against the plain fit. `cargo bench --bench robust -- SEEDS [STRUCTURE]`: 20 and exchangeable.

use cognate::structure::{Options, by_name};
use cognate::{Design, Fit, Gaussian, Intervals, Model, Rows};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const TASKS: usize = 60;
const OUTLIERS: usize = 6;
const FEATURES: usize = 6;
const ROWS: usize = 20;

fn main() -> cognate::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let seeds: u64 = args.first().and_then(|seeds| seeds.parse().ok()).unwrap_or(20);
    let structure = args.get(1).map_or("exchangeable", String::as_str);
    let names: Vec<String> = (1..FEATURES).map(|k| format!("x{k}")).collect();
    let mut sums = [0.0; 5];
    let (mut found, mut others) = (0, 0);
    for seed in 0..seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let truth: Vec<Vec<f64>> = (0..TASKS).map(|_| (0..FEATURES).map(|_| 0.5 * normal()).collect()).collect();
        let x: Vec<f64> = (0..TASKS * ROWS * FEATURES).map(|_| normal()).collect();
        let noise: Vec<f64> = (0..TASKS * ROWS).map(|_| normal()).collect();
        // The same rows with the first tasks far out, without these, and with them like the others.
        let rows = |scale: f64, first: usize| -> cognate::Result<Rows> {
            let mut rows = Rows::new("y", &names);
            for t in first..TASKS {
                let far = if t < OUTLIERS { scale } else { 1.0 };
                for i in (t * ROWS)..(t + 1) * ROWS {
                    let own = &x[i * FEATURES + 1..(i + 1) * FEATURES];
                    let eta = truth[t][0] + own.iter().zip(&truth[t][1..]).map(|(x, w)| x * w).sum::<f64>();
                    rows.push(&format!("task {t}"), own, 1.0 + far * eta + noise[i], 1.0)?;
                }
            }
            Ok(rows)
        };
        let fit = |rows: &Rows, robust: bool| -> cognate::Result<Fit> {
            let structure = by_name(structure, &Options { robust, ..Options::default() })?;
            Model::of(Box::new(Gaussian::default()), structure)
                .intervals(Intervals::PlugIn)
                .fit(&rows.tasks(&Design::varying(rows.features())))
        };
        let error = |fit: &Fit| -> f64 {
            let of = |t: usize| {
                let own = fit.coefficients(fit.task_number(&format!("task {t}")).unwrap_or(0));
                (0..FEATURES).map(|k| (own[k] - truth[t][k] - if k == 0 { 1.0 } else { 0.0 }).powi(2)).sum::<f64>()
            };
            (OUTLIERS..TASKS).map(of).sum()
        };
        let (far, without, like) = (rows(10.0, 0)?, rows(1.0, OUTLIERS)?, rows(1.0, 0)?);
        let robust = fit(&far, true)?;
        found += robust.let_go().iter().filter(|t| **t < OUTLIERS).count();
        others += robust.let_go().iter().filter(|t| **t >= OUTLIERS).count();
        let each = [
            error(&robust),
            error(&fit(&far, false)?),
            error(&fit(&without, false)?),
            error(&fit(&like, true)?),
            error(&fit(&like, false)?),
        ];
        sums.iter_mut().zip(each).for_each(|(sum, own)| *sum += own);
    }
    let ratio = |a: usize, b: usize| sums[a] / sums[b];
    println!("{structure}, {seeds} seeds: mean squared error of the {} other tasks' parameters", TASKS - OUTLIERS);
    println!("  with outliers, robust / without the outliers   {:.4}", ratio(0, 2));
    println!("  with outliers, plain / without the outliers    {:.4}", ratio(1, 2));
    println!("  no outliers, robust / plain                    {:.4}", ratio(3, 4));
    println!("  let go: {found} of {} outliers, {others} of {} others", seeds as usize * OUTLIERS, seeds as usize * (TASKS - OUTLIERS));
    Ok(())
}
