//! What descriptors tell of tasks: their parameters are smooth functions of two descriptors out of three, with something of each task's own; how well tasks without
//! rows are predicted from their descriptors, against the exchangeable mean and against the truth's own kernel. `cargo bench --bench kernel -- SEEDS TASKS SHAPE [NUGGET]`: 3, 60,
//! squared-exponential and .1; a nugget of 1 is a table of which descriptors tell nothing.

use cognate::{
    Coordinates, DescriptorValues, Descriptors, Design, Dispersion, Exchangeable, FeatureCovariance, Gaussian, Kernel, KernelShape, Mean,
    Model, Observations, Posterior, Prior, Quadratic, Quadratics, Relatedness, Rows,
};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const NEW: usize = 40;
const FEATURES: usize = 4;
const ROWS: usize = 20;
/// Of the two descriptors that tell something, each uniform in [0, 10].
const LENGTHS: [f64; 2] = [2.5, 5.0];

fn relatedness(shape: &str, x: &[f64], y: &[f64]) -> f64 {
    if shape == "linear" {
        return (0..2).map(|k| (x[k] - 5.0) * (y[k] - 5.0) / (100.0 / 12.0)).sum::<f64>() / 2.0;
    }
    let r = (0..2).map(|k| ((x[k] - y[k]) / LENGTHS[k]).powi(2)).sum::<f64>().sqrt();
    match shape {
        "exponential" => (-r).exp(),
        "matern32" => (1.0 + 3f64.sqrt() * r) * (-3f64.sqrt() * r).exp(),
        "matern52" => (1.0 + 5f64.sqrt() * r + 5.0 * r * r / 3.0) * (-5f64.sqrt() * r).exp(),
        _ => (-0.5 * r * r).exp(),
    }
}

fn main() -> cognate::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|own| own != "--bench").collect();
    let seeds: u64 = args.first().and_then(|seeds| seeds.parse().ok()).unwrap_or(3);
    let tasks: usize = args.get(1).and_then(|tasks| tasks.parse().ok()).unwrap_or(60);
    let shape = args.get(2).map_or("squared-exponential", String::as_str);
    let nugget: f64 = args.get(3).and_then(|nugget| nugget.parse().ok()).unwrap_or(0.1);
    let names: Vec<String> = (1..FEATURES).map(|k| format!("x{k}")).collect();
    let mut errors = [0.0; 3];
    let (mut covered, mut of_old, mut counts) = (0, 0, (0, 0));
    for seed in 0..seeds {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let all = tasks + NEW;
        let at: Vec<[f64; 3]> = (0..all).map(|_| [0; 3].map(|_| random.random_range(0.0..10.0))).collect();
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        let sigma = DMatrix::from_fn(all, all, |s, t| {
            (1.0 - nugget) * relatedness(shape, &at[s], &at[t]) + if s == t { nugget + 1e-9 } else { 0.0 }
        });
        let root = sigma.clone().cholesky().expect("the nugget is positive").l();
        let mut truth = root * DMatrix::from_fn(all, FEATURES, |_, _| 0.5 * normal());
        truth.column_mut(0).add_scalar_mut(1.0);
        let mut rows = Rows::new("y", &names);
        for t in 0..tasks {
            for _ in 0..ROWS {
                let x: Vec<f64> = (1..FEATURES).map(|_| normal()).collect();
                let y = truth[(t, 0)] + x.iter().enumerate().map(|(k, x)| x * truth[(t, k + 1)]).sum::<f64>() + normal();
                rows.push(&format!("task {t}"), &x, y, 1.0)?;
            }
        }
        let column = |k: usize| DescriptorValues::Numbers(at.iter().map(|own| own[k]).collect());
        let described = ["east", "north", "noise"].iter().enumerate().map(|(k, name)| (name.to_string(), column(k))).collect();
        let descriptors = Descriptors::new((0..all).map(|t| format!("task {t}")).collect(), described)?;
        let table = rows.tasks(&Design::varying(rows.features()));
        let asked = KernelShape::by_name(shape).unwrap_or_default();
        let fit = Model::new(Gaussian::default(), Kernel::new(FeatureCovariance::Diagonal, asked, descriptors)).fit(&table)?;
        let plain = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&table)?;
        if seed == 0 {
            print!("{fit}");
        }
        // The truth's own prediction: the posterior under the prior that the parameters were drawn from, new tasks without rows.
        let data = Observations::new(&table, &Coordinates::identity(table.design()));
        let quadratics = Gaussian::default().quadratics(&data, &Dispersion::shared(1.0));
        let nothing = Quadratic { constant: 0.0, linear: DVector::zeros(FEATURES), curvature: DMatrix::zeros(FEATURES, FEATURES) };
        let each: Vec<Quadratic> = (0..all).map(|t| if t < tasks { quadratics.task(t) } else { nothing.clone() }).collect();
        let mean = Mean::Given(DVector::from_fn(FEATURES, |k, _| if k == 0 { 1.0 } else { 0.0 }));
        let prior = Prior::new(mean, Relatedness::Dense(sigma), DMatrix::identity(FEATURES, FEATURES) * 0.5);
        let with_new = Quadratics::new(&each)?;
        let best = if all * FEATURES <= 4000 { Some(Posterior::given(&with_new, &prior)?) } else { None };
        for new in 0..NEW {
            let (own, covariance) = fit.newcomer(&format!("task {}", tasks + new)).expect("it has descriptors");
            let true_kernel = best.as_ref().map_or(DVector::from_element(FEATURES, f64::NAN), |best| best.coefficients(tasks + new));
            for k in 0..FEATURES {
                let target = truth[(tasks + new, k)];
                errors[0] += (own[k] - target).powi(2);
                errors[1] += (plain.mean()[k] - target).powi(2);
                errors[2] += (true_kernel[k] - target).powi(2);
                covered += usize::from((own[k] - target).abs() < 1.96 * covariance[(k, k)].sqrt());
                counts.0 += 1;
            }
        }
        for t in 0..tasks {
            let (own, covariance) = (fit.coefficients(t), fit.covariance(t));
            for k in 0..FEATURES {
                of_old += usize::from((own[k] - truth[(t, k)]).abs() < 1.96 * covariance[(k, k)].sqrt());
                counts.1 += 1;
            }
        }
    }
    println!("\n{shape}, {tasks} tasks with {ROWS} rows, {NEW} without, nugget {nugget}, {seeds} seeds");
    println!("  mean squared error of a new task's parameters over that of the exchangeable mean   {:.3}", errors[0] / errors[1]);
    println!("  the same of the prior that they were drawn from                                    {:.3}", errors[2] / errors[1]);
    println!("  95 % intervals cover new tasks {:.3}, tasks with rows {:.3}", share(covered, counts.0), share(of_old, counts.1));
    Ok(())
}

fn share(part: usize, all: usize) -> f64 {
    part as f64 / all as f64
}
