//! How often `update` tells of drift where there is none, and where the noise or how far tasks vary has changed.
//!
//! `cargo bench --bench drift -- SEEDS` (20 unless given): a line for each setting, of tasks with so many old and new rows, an
//! intercept and two slopes; rates at a probability of .01.

use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Model, Rows, Tasks};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;

/// What has become of the new rows.
#[derive(Clone, Copy)]
struct Change {
    noise_variance: f64,
    covariance: f64,
    one_task: bool,
}

/// Of one simulation: whether drift was told of, whether a likelihood ratio would have, whether a task was said to have changed, and the
/// statistic over its degrees of freedom.
type Told = (bool, bool, bool, f64);

/// Standard deviations of the tasks.
const SPREAD: [f64; 3] = [0.7, 0.4, 0.3];

fn drawn((tasks, old, new): (usize, usize, usize), change: Change, seed: u64) -> [Tasks; 2] {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let mut parts = [Rows::new("y", &["a", "b"]), Rows::new("y", &["a", "b"])];
    for t in 0..tasks {
        let u: Vec<f64> = SPREAD.iter().map(|sd| sd * normal()).collect();
        for i in 0..old + new {
            let is_new = i >= old;
            let (noise, mut far) = if is_new { (change.noise_variance.sqrt(), change.covariance.sqrt()) } else { (1.0, 1.0) };
            let x = [1.0, normal(), normal()];
            if is_new && change.one_task {
                far = if t == 0 { -1.0 } else { 1.0 };
            }
            let mean: f64 = x.iter().zip([1.0, 0.5, -0.5]).zip(&u).map(|((x, mean), u)| x * (mean + far * u)).sum();
            parts[usize::from(is_new)].push(&t.to_string(), &x[1..], mean + noise * normal(), 1.0).expect("numbers are finite");
        }
    }
    parts.map(|rows| rows.tasks(&Design::varying(&["a", "b"])))
}

fn main() -> cognate::Result<()> {
    let seeds: u64 = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(20);
    let none = Change { noise_variance: 1.0, covariance: 1.0, one_task: false };
    println!("tasks  old  new  change                drift  a refit's ratio  any task changed  mean statistic / freedom");
    for sizes in [(8, 20, 20), (30, 5, 5), (30, 20, 5), (30, 20, 20), (30, 5, 40), (100, 10, 3), (100, 10, 10)] {
        for (name, change) in [
            ("none", none),
            ("noise variance x 2", Change { noise_variance: 2.0, ..none }),
            ("noise variance x 1.3", Change { noise_variance: 1.3, ..none }),
            ("K x 4", Change { covariance: 4.0, ..none }),
        ] {
            let each: Vec<Told> = (0..seeds)
                .into_par_iter()
                .map(|seed| {
                    let [old, new] = drawn(sizes, change, 1000 + seed);
                    let model = || Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal));
                    let fit = model().fit(&old)?;
                    let update = fit.update(&new)?;
                    let drift = update.drift().expect("it is tested").clone();
                    let refit = model().fit(update.fit().tasks())?;
                    // Of as many degrees of freedom as hyperparameters and means.
                    let ratio = 2.0 * (refit.log_likelihood() - update.fit().log_likelihood());
                    let naive = ratio > 13.277;
                    let changed = !update.changed(0.01).is_empty();
                    Ok((drift.p_value < 0.01, naive, changed, drift.statistic / drift.freedom.max(1) as f64))
                })
                .collect::<cognate::Result<_>>()?;
            let share = |of: &dyn Fn(&Told) -> bool| each.iter().filter(|own| of(own)).count() as f64 / seeds as f64;
            let mean = each.iter().map(|own| own.3).sum::<f64>() / seeds as f64;
            let (tasks, old, new) = sizes;
            let rates = [share(&|own| own.0), share(&|own| own.1), share(&|own| own.2)];
            println!("{tasks:5} {old:4} {new:4}  {name:20} {:6.3} {:16.3} {:17.3} {mean:12.2}", rates[0], rates[1], rates[2]);
        }
    }
    Ok(())
}
