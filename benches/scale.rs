//! From a large CSV table to a fitted model: reading and summing in one pass, then a fit with diagonal K, exchangeable or of factors.
//!
//! `cargo bench --bench scale -- write FILE ROWS TASKS [RANK]` writes a table of 20 normal features with all their digits, of tasks that share so many factors;
//! `... -- FILE THREADS` reads it on so many threads and fits it, `... -- FILE THREADS RANK` with so many factors. `benches/scale.sh` does the first two, and
//! DuckDB's sums of the same file.

#[path = "common/memory.rs"]
mod memory;

use cognate::csv::Columns;
use cognate::{Exchangeable, Factor, FeatureCovariance, Gaussian, Intervals, Model, Structure};
use cpu_time::ProcessTime;
use memory::peak_mb;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::cell::Cell;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

const FEATURES: usize = 20;

/// Every task its own slopes, rows in random order of tasks. Of every further factor half the variance of the one before, the first's that of what the average
/// task has for itself.
fn write(path: &str, rows: usize, tasks: usize, rank: usize) -> std::io::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let mut slopes: Vec<f64> = (0..tasks * (FEATURES + 1)).map(|k| (k % 3) as f64 * 0.2 + 0.4 * normal()).collect();
    let factors: Vec<f64> = (0..rank * (FEATURES + 1)).map(|_| 0.4 * normal()).collect();
    for own in slopes.chunks_exact_mut(FEATURES + 1) {
        for (j, factor) in factors.chunks_exact(FEATURES + 1).enumerate() {
            let loading = 0.5f64.powi(j as i32).sqrt() * normal();
            own.iter_mut().zip(factor).for_each(|(slope, value)| *slope += loading * value);
        }
    }
    let mut out = std::io::BufWriter::with_capacity(1 << 20, std::fs::File::create(path)?);
    let names: Vec<String> = (1..=FEATURES).map(|k| format!("x{k}")).collect();
    writeln!(out, "task,{},y", names.join(","))?;
    for row in 0..rows {
        // Every task appears before any does again, in another order each time.
        let task = (row % tasks * 7_919 + row / tasks * 104_729) % tasks;
        let own = &slopes[task * (FEATURES + 1)..(task + 1) * (FEATURES + 1)];
        let mut y = own[0] + normal();
        write!(out, "t{task}")?;
        for slope in &own[1..] {
            let x = normal();
            y += slope * x;
            write!(out, ",{x}")?;
        }
        writeln!(out, ",{y}")?;
    }
    out.flush()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |text: &String| text.parse::<usize>().expect("a whole number");
    match arguments.as_slice() {
        [word, path, rows, tasks, rank @ ..] if word == "write" => {
            write(path, number(rows), number(tasks), rank.first().map_or(0, number)).expect("the table can be written");
        }
        [path, threads, rank @ ..] => {
            rayon::ThreadPoolBuilder::new().num_threads(number(threads)).build_global().expect("the pool is built once");
            let columns = Columns { task: "task".into(), target: "y".into(), ..Columns::default() };
            for _ in 0..3 {
                let (begin, used) = (Instant::now(), ProcessTime::now());
                let input = cognate::csv::open(Path::new(path)).expect("the table opens");
                let tasks = cognate::csv::sum(input, &columns).expect("the table is plain").tasks;
                println!(
                    "read and summed {} rows of {} tasks on {threads} threads: {:.2} s, {:.2} s CPU, peak {:.2} GB",
                    tasks.rows(),
                    tasks.len(),
                    begin.elapsed().as_secs_f64(),
                    used.elapsed().as_secs_f64(),
                    peak_mb() / 1000.0
                );
            }
            let tasks =
                cognate::csv::sum(cognate::csv::open(Path::new(path)).expect("the table opens"), &columns).expect("it is plain").tasks;
            let structure = || -> Box<dyn Structure> {
                match rank.first() {
                    Some(rank) => Box::new(Factor::new(number(rank), FeatureCovariance::Diagonal)),
                    None => Box::new(Exchangeable::new(FeatureCovariance::Diagonal)),
                }
            };
            for intervals in [Intervals::PlugIn, Intervals::Full] {
                let (begin, used) = (Instant::now(), ProcessTime::now());
                let steps = Cell::new(0);
                let model = Model::of(Box::new(Gaussian::default()), structure()).intervals(intervals);
                let fit = model.fit_with(&tasks, &|_| steps.set(steps.get() + 1)).expect("the model fits");
                println!(
                    "fitted ({intervals:?} intervals): {:.2} s, {:.2} s CPU, {} E-steps, log-likelihood {:.4}, peak {:.2} GB",
                    begin.elapsed().as_secs_f64(),
                    used.elapsed().as_secs_f64(),
                    steps.get(),
                    fit.log_likelihood(),
                    peak_mb() / 1000.0
                );
            }
        }
        _ => {}
    }
}
