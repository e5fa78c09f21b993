//! Unrelated tasks among related ones: what sharing costs them against being learned alone, and what is left of that with a guard, which on the command line also gives tasks
//! scales of their own. `cargo bench --bench guard -- SEEDS` tables, by default 2.

use cognate::structure::{Options, by_name};
use cognate::{Design, Gaussian, Intervals, Model, Rows, compare};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const FEATURES: usize = 5;
const RELATED: usize = 20;
const UNRELATED: usize = 6;

/// Rows to fit and rows to predict: of related tasks N(1, .3^2) are the coefficients, of the others N(0, 2^2).
fn drawn(seed: u64, each: usize) -> cognate::Result<[Rows; 2]> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || random.sample::<f64, _>(StandardNormal);
    let features: Vec<String> = (1..=FEATURES).map(|k| format!("x{k}")).collect();
    let (mut train, mut test) = (Rows::new("y", &features), Rows::new("y", &features));
    for t in 0..RELATED + UNRELATED {
        let (name, centre, sd) = if t < RELATED { ("related", 1.0, 0.3) } else { ("other", 0.0, 2.0) };
        let w: Vec<f64> = (0..=FEATURES).map(|_| centre + sd * normal()).collect();
        for i in 0..each + 200 {
            let x: Vec<f64> = (0..FEATURES).map(|_| normal()).collect();
            let y = w[0] + x.iter().zip(&w[1..]).map(|(x, w)| x * w).sum::<f64>() + normal();
            (if i < each { &mut train } else { &mut test }).push(&format!("{name} {t}"), &x, y, 1.0)?;
        }
    }
    Ok([train, test])
}

/// Mean squared error and mean log density of the predictions of related tasks and of the others.
fn losses(fit: &cognate::Fit, test: &Rows) -> cognate::Result<[[f64; 2]; 2]> {
    let mut sums = [[0.0; 3]; 2];
    for i in 0..test.len() {
        let name = &test.names()[test.task(i)];
        let p = fit.predict(name, test.x(i), 0.9)?;
        let own = &mut sums[usize::from(name.starts_with("other"))];
        own[0] += (p.mean - test.y(i)).powi(2);
        own[1] -= p.log_density(test.y(i));
        own[2] += 1.0;
    }
    Ok(sums.map(|own| [own[0] / own[2], own[1] / own[2]]))
}

fn main() -> cognate::Result<()> {
    let seeds: u64 = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(2);
    let make = |name: &'static str| {
        let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
        compare::Candidate::new(name, move || Ok(build(by_name(name, &Options::default())?)))
    };
    let fit = |name: &'static str, rows: &Rows, design: &Design| {
        let structure = by_name(name, &Options::default())?;
        Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&rows.tasks(design))
    };
    println!("loss over that of tasks alone: squared error, log density (less, in nats); of related tasks and of the others");
    for rows in [10, 20, 40] {
        for structure in ["exchangeable:diagonal", "exchangeable:diagonal:robust", "graph"] {
            let (mut plain, mut guarded) = ([[0.0; 2]; 2], [[0.0; 2]; 2]);
            let mut detached = [0; 2];
            for seed in 0..seeds {
                let [train, test] = drawn(seed, rows)?;
                let design = Design::varying(train.features());
                let alone = losses(&fit("independent", &train, &design)?, &test)?;
                let (own, none) = (make(structure), make("independent:shared-noise"));
                let guard = compare::guard(&train, &design, (&own, &none), &compare::Options::default(), &|_, _, _| {})?;
                guard.detached.iter().for_each(|name| detached[usize::from(name.starts_with("other"))] += 1);
                let fits = [fit(structure, &train, &design)?, guard.fit(&train, &design, (&own, &none))?];
                for (sum, fit) in [&mut plain, &mut guarded].into_iter().zip(&fits) {
                    let own = losses(fit, &test)?;
                    for k in 0..2 {
                        sum[k][0] += own[k][0] / alone[k][0] / seeds as f64;
                        sum[k][1] += (own[k][1] - alone[k][1]) / seeds as f64;
                    }
                }
            }
            let text = |own: [[f64; 2]; 2]| own.map(|[square, log]| format!("{square:.3} {log:+.3}")).join("  ");
            let [related, other] = detached;
            println!(
                "{rows:>3} rows  {structure:<29} plain {}  guarded {}  detached {:.1} of {RELATED}, {:.1} of {UNRELATED}",
                text(plain),
                text(guarded),
                f64::from(related) / seeds as f64,
                f64::from(other) / seeds as f64
            );
        }
    }
    Ok(())
}
