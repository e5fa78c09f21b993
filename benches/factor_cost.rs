//! What an E-step of the engine of factors costs among many tasks: processor time and memory at d features and k factors,
//! `cargo bench --bench factor_cost -- FEATURES RANK TASKS...`; 20, 3, 1,000 and 10,000 where nothing is said.

#[path = "common/memory.rs"]
mod memory;

use cognate::{Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness};
use memory::peak_mb;
use nalgebra::{DMatrix, DVector};

/// Seconds of processor time that this process has had, in hundredths.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    fields.get(11).and_then(|ticks| ticks.parse::<f64>().ok()).map_or(f64::NAN, |ticks| ticks / 100.0)
}

fn main() -> cognate::Result<()> {
    let given: Vec<usize> = std::env::args().skip(1).filter(|own| own != "--bench").map(|a| a.parse().expect("numbers")).collect();
    let arguments = if given.is_empty() { vec![20, 3, 1_000, 10_000] } else { given };
    let [d, rank, all @ ..] = &arguments[..] else { panic!("FEATURES RANK TASKS...") };
    let uneven = |i: usize| ((i * 37 + i * i % 1009 * 11) % 97) as f64 / 48.0 - 1.0;
    println!("tasks  processor seconds an E-step  us a task  MB of the rows  MB at most");
    for tasks in all {
        let task = |t: usize| {
            let rows = DMatrix::from_fn(2 * d, *d, |i, j| uneven(t * 31 + i * 7 + j * 3));
            Quadratic { constant: 0.0, linear: DVector::from_fn(*d, |i, _| uneven(t * 13 + i)), curvature: rows.tr_mul(&rows) }
        };
        let quadratics = Quadratics::new(&(0..*tasks).map(task).collect::<Vec<_>>())?;
        let before = peak_mb();
        let loadings = DMatrix::from_fn(*tasks, *rank, |t, j| uneven(t * 5 + j));
        let relatedness = Relatedness::LowRank { loadings, uniquenesses: DVector::from_element(*tasks, 0.7) };
        let prior = Prior::new(Mean::Integrated, relatedness, DMatrix::identity(*d, *d));
        let begin = processor_seconds();
        let posterior = Posterior::given(&quadratics, &prior)?;
        let seconds = processor_seconds() - begin;
        assert!(posterior.log_likelihood().is_finite());
        println!("{tasks:>6}  {seconds:>27.2}  {:>9.1}  {before:>14.0}  {:>10.0}", 1e6 * seconds / *tasks as f64, peak_mb());
    }
    Ok(())
}
