//! Growth of the E-step with the number of tasks, and what a second thread gains.
//!
//! `cargo bench --bench growth` prints for 1,000, 10,000 and 100,000 tasks of 20 features and an intercept, all varying, diagonal K, seconds per E-step:
//! user CPU on one thread (median), and wall clock on one thread and on two (fastest, for other jobs may run beside), in turn in the
//! same run. The exponent is that of the CPU time between the ends. `-- integrated` does it with the mean integrated (REML), `-- full`
//! with a full K.

use cognate::{Mean, Posterior, Prior, Quadratic, Quadratics, Relatedness};
use cpu_time::ProcessTime;
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

const FEATURES: usize = 21;
const ROWS: usize = 40;

fn quadratics(tasks: usize) -> Quadratics {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let all: Vec<Quadratic> = (0..tasks)
        .map(|_| {
            let x = DMatrix::from_fn(FEATURES, ROWS, |i, _| if i == 0 { 1.0 } else { random.random_range(-1.7..1.7) });
            let y = DVector::from_fn(ROWS, |_, _| random.random_range(-2.0..2.0));
            Quadratic { constant: 0.0, linear: &x * y, curvature: &x * x.transpose() }
        })
        .collect();
    Quadratics::new(&all).expect("all have the same features")
}

fn main() {
    let asked = |word: &str| std::env::args().any(|argument| argument == word);
    let factor = DMatrix::from_fn(FEATURES, FEATURES, |i, j| match i.cmp(&j) {
        std::cmp::Ordering::Equal => 0.3,
        std::cmp::Ordering::Greater if asked("full") => 0.02,
        _ => 0.0,
    });
    let mean = if asked("integrated") { Mean::Integrated } else { Mean::Profiled };
    let prior = Prior::new(mean, Relatedness::Identity, &factor * factor.transpose());
    let pool = |threads: usize| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("the pool is built");
    let (one, two) = (pool(1), pool(2));
    println!("| tasks | user s | 1 thread, wall s | 2 threads, wall s | speed-up | us a task |\n|---|---|---|---|---|---|");
    let mut ends = Vec::new();
    for tasks in [1_000, 10_000, 100_000] {
        let quadratics = quadratics(tasks);
        let step = || Posterior::given(&quadratics, &prior).expect("it is positive definite").log_likelihood();
        let repeats = (2_000_000 / tasks).clamp(15, 200);
        let (mut used, mut single, mut double) = (Vec::new(), f64::INFINITY, f64::INFINITY);
        let mut value = f64::NAN;
        for _ in 0..repeats {
            let (cpu, begin) = (ProcessTime::now(), Instant::now());
            value = one.install(step);
            single = single.min(begin.elapsed().as_secs_f64());
            used.push(cpu.elapsed().as_secs_f64());
            let begin = Instant::now();
            assert_eq!(two.install(step), value, "results do not depend on the threads");
            double = double.min(begin.elapsed().as_secs_f64());
        }
        used.sort_by(f64::total_cmp);
        let median = used[repeats / 2];
        println!("| {tasks} | {median:.5} | {single:.5} | {double:.5} | {:.2} | {:.2} |", single / double, 1e6 * median / tasks as f64);
        eprintln!("{tasks} tasks: log-likelihood {value:.6}");
        ends.push(median);
    }
    println!("\nexponent {:.3}", (ends[2] / ends[0]).ln() / 100f64.ln());
}
