//! Cholesky factor and inverse of 10,000 small matrices: `invert_each` beside faer and nalgebra one matrix at a time, in the same run.
//!
//! `cargo bench --bench kernels` prints a table: user CPU milliseconds on one thread, medians of nine rounds that take the three in turn. Each
//! matrix is read from its own memory and replaced by its inverse; all three read the same numbers and are checked against each other.

use cpu_time::ProcessTime;
use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::cholesky::llt;
use faer::{MatMut, Par};
use nalgebra::DMatrix;

const MATRICES: usize = 10_000;
const ROUNDS: usize = 9;

/// Correlated, diagonally dominant enough to be well-conditioned.
fn matrices(n: usize) -> Vec<f64> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let mut all = Vec::with_capacity(MATRICES * n * n);
    for _ in 0..MATRICES {
        let mut one = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..i {
                let value = uniform();
                one[i * n + j] = value;
                one[j * n + i] = value;
            }
            one[i * n + i] = 0.5 * n as f64 + 1.0;
        }
        all.extend(one);
    }
    all
}

fn with_faer(all: &mut [f64], n: usize) {
    let mut scratch = MemBuffer::new(
        llt::factor::cholesky_in_place_scratch::<f64>(n, Par::Seq, Default::default())
            .or(llt::inverse::inverse_scratch::<f64>(n, Par::Seq)),
    );
    let mut inverse = vec![0.0; n * n];
    for one in all.chunks_exact_mut(n * n) {
        let stack = MemStack::new(&mut scratch);
        let mut view = MatMut::from_column_major_slice_mut(one, n, n);
        llt::factor::cholesky_in_place(view.as_mut(), Default::default(), Par::Seq, stack, Default::default())
            .expect("it is positive definite");
        let target = MatMut::from_column_major_slice_mut(&mut inverse, n, n);
        llt::inverse::inverse(target, view.as_ref(), Par::Seq, MemStack::new(&mut scratch));
        for j in 0..n {
            for i in j..n {
                one[j * n + i] = inverse[j * n + i];
                one[i * n + j] = inverse[j * n + i];
            }
        }
    }
}

fn with_nalgebra(all: &mut [f64], n: usize) {
    for one in all.chunks_exact_mut(n * n) {
        let factor = DMatrix::from_column_slice(n, n, one).cholesky().expect("it is positive definite");
        one.copy_from_slice(factor.inverse().as_slice());
    }
}

fn main() {
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the pool is built once");
    println!("| n | cognate ms | faer ms | nalgebra ms | faer / cognate | nalgebra / cognate |\n|---|---|---|---|---|---|");
    for n in [4, 8, 12, 20, 28, 40] {
        let start = matrices(n);
        let (mut times, mut found) = ([const { Vec::new() }; 3], Vec::new());
        for _ in 0..ROUNDS {
            let ways: [fn(&mut [f64], usize); 3] = [|all, n| drop(cognate::invert_each(all, n)), with_faer, with_nalgebra];
            found.clear();
            for (way, times) in ways.into_iter().zip(&mut times) {
                let mut all = start.clone();
                let begin = ProcessTime::now();
                way(&mut all, n);
                times.push(1e3 * begin.elapsed().as_secs_f64());
                found.push(all);
            }
        }
        for other in &found[1..] {
            assert!(found[0].iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-12));
        }
        let [own, faer, nalgebra] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[ROUNDS / 2]
        });
        println!("| {n} | {own:.2} | {faer:.2} | {nalgebra:.2} | {:.2} | {:.2} |", faer / own, nalgebra / own);
    }
}
