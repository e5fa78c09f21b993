//! Conjugate gradients and Lanczos along the task graph, for a system whose Cholesky factor fills in too much.

mod panel;
mod spectrum;

use super::coupled::LIMIT_MB;
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, normal};
use nalgebra::DMatrix;
use panel::Panel;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use spectrum::{Measure, Run, log_determinant};
use std::sync::OnceLock;

/// Draws kept. They decide only what the neighbours of tasks say about their covariance, of which the standard error is
/// sqrt(2 / 32) = 25 %; half of that would take four times the work and the memory. log |A| of 140,000 numbers is known to .2.
const DRAWS: usize = 32;
/// Most columns in one run of Lanczos, whose basis is kept.
const WIDTH: usize = 8;
/// Most steps of Lanczos.
const STEPS: usize = 300;
/// Most steps of conjugate gradients from one computed residual.
const ITERATIONS: usize = 2_000;
/// Relative residuals: where Lanczos and conjugate gradients stop, and what is still an answer where rounding ends progress before.
const DRAWN: f64 = 1e-10;
const SOLVED: f64 = 1e-12;
const ACCEPTED: f64 = 1e-9;

/// A = Omega (x) I + blockdiag(N_t), which is never factored. With D_t = Omega_tt I + N_t = R_t R_t' and E the rest of A,
/// A = R (I + X) R' with X = R^-1 E R^-T (block Jacobi): O(T r^2 + edges r) a product.
pub(crate) struct Iterative {
    r: usize,
    /// The tasks joined to each, ascending, with their elements of Omega.
    near: Vec<Vec<(usize, f64)>>,
    /// R_t.
    roots: Vec<DMatrix<f64>>,
    /// Draws of N(0, A^-1).
    draws: Panel,
    log_determinant: (f64, f64),
    /// For each task its own block of A^-1 and those with the later tasks joined to it.
    selected: OnceLock<Vec<Vec<DMatrix<f64>>>>,
}

impl Iterative {
    /// Makes the draws and the log-determinant from probes that depend on nothing but `seed`. Refused beforehand where the factors
    /// of the diagonal blocks, the draws and the basis of a longest run of Lanczos would not fit in memory.
    pub(crate) fn new(graph: &TaskGraph, blocks: &[&DMatrix<f64>], seed: u64) -> Result<Iterative> {
        let (tasks, r) = (blocks.len(), blocks.first().map_or(0, |block| block.nrows()));
        let needed_mb = ((r + DRAWS + STEPS) * tasks * r * 8) as u64 / 1_000_000;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("the iterative solution for {tasks} tasks x {r} varying directions"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "let fewer features vary, or use --structure exchangeable".into(),
            });
        }
        let root = |(t, block): (usize, &&DMatrix<f64>)| {
            let pivot = *block + DMatrix::identity(r, r) * graph.node(t).precision;
            linalg::cholesky(pivot).ok_or_else(|| not_positive_definite(format!("the precision of task '{}'", graph.node(t).task)))
        };
        let roots = blocks.par_iter().enumerate().map(root).collect::<Result<Vec<_>>>()?;
        let mut near = vec![Vec::new(); tasks];
        for (s, t, edge) in graph.edges() {
            near[s].push((t, edge.precision));
            near[t].push((s, edge.precision));
        }
        near.iter_mut().for_each(|list| list.sort_unstable_by_key(|(s, _)| *s));
        let nothing = Panel::zeros(r, DRAWS, tasks);
        let mut iterative = Iterative { r, near, roots, draws: nothing, log_determinant: (0.0, 0.0), selected: OnceLock::new() };
        let mut probes = DMatrix::zeros(tasks * r, DRAWS);
        probes.as_mut_slice().par_chunks_mut((tasks * r).max(1)).enumerate().for_each(|(probe, column)| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(probe as u64);
            column.fill_with(|| normal(&mut random));
        });
        let (draws, measures) = iterative.drawn(&probes)?;
        iterative.draws = Panel::of(&draws, r);
        let (coupled, error) = log_determinant(&measures, tasks * r, iterative.square_trace());
        let pivots: f64 = iterative.roots.iter().map(linalg::log_determinant).sum();
        iterative.log_determinant = (pivots + coupled, error);
        Ok(iterative)
    }

    /// log |A| and its standard error.
    pub(crate) fn log_determinant(&self) -> (f64, f64) {
        self.log_determinant
    }

    /// Solves in place, r rows a task, by conjugate gradients for all columns at once, each with its own coefficients. The residual
    /// is computed anew at the end, and the rest of it solved for as long as that halves it.
    pub(crate) fn solve(&self, right: &mut DMatrix<f64>) -> Result<()> {
        let mut target = Panel::of(right, self.r);
        target.by_task(|t, block| linalg::solve_lower(self.roots[t].as_slice(), self.r, block));
        let lengths = target.lengths();
        let wanted: Vec<f64> = lengths.iter().map(|length| SOLVED * length).collect();
        let (mut solution, mut residual) = (target.zeroed(), target.clone());
        let mut reached = f64::INFINITY;
        loop {
            self.descend(&mut solution, residual, &wanted)?;
            residual = target.clone();
            residual.add(-1.0, &self.product(&solution));
            let ratios = residual.lengths().into_iter().zip(&lengths).map(|(left, length)| left * reciprocal(*length));
            let now = ratios.fold(0.0, |worst: f64, ratio| if ratio > worst || ratio.is_nan() { ratio } else { worst });
            if now <= SOLVED {
                break;
            }
            if now <= 0.5 * reached {
                reached = now;
            } else if now <= ACCEPTED {
                break;
            } else {
                return Err(out_of_reach());
            }
        }
        solution.by_task(|t, block| linalg::solve_lower_transpose(self.roots[t].as_slice(), self.r, block));
        *right = solution.matrix();
        Ok(())
    }

    /// Adds (I + X)^-1 `residual` to `solution`; a column whose residual is as short as `wanted` stands still.
    fn descend(&self, solution: &mut Panel, mut residual: Panel, wanted: &[f64]) -> Result<()> {
        let mut direction = residual.clone();
        let mut squares = residual.dot(&residual);
        for _ in 0..ITERATIONS {
            let moving: Vec<bool> = squares.iter().zip(wanted).map(|(square, wanted)| square.sqrt() > *wanted).collect();
            if !moving.contains(&true) {
                return Ok(());
            }
            let ratio = |above: &[f64], below: &[f64]| -> Vec<f64> {
                above.iter().zip(below).zip(&moving).map(|((a, b), moving)| if *moving { a / b } else { 0.0 }).collect()
            };
            let image = self.product(&direction);
            let curvatures = direction.dot(&image);
            if curvatures.iter().zip(&moving).any(|(curvature, moving)| *moving && (curvature.is_nan() || *curvature <= 0.0)) {
                break;
            }
            let steps = ratio(&squares, &curvatures);
            solution.add_each(std::slice::from_ref(&direction), std::slice::from_ref(&steps));
            residual.add_each(&[image], &[steps.iter().map(|step| -step).collect()]);
            let next = residual.dot(&residual);
            direction.scale(&ratio(&next, &squares));
            direction.add(1.0, &residual);
            squares = next;
        }
        Err(out_of_reach())
    }

    /// Standard normal numbers turned into draws from N(0, A^-1), column by column: R^-T (I + X)^-1/2 z (Chow and Saad 2014).
    pub(crate) fn draw(&self, normal: &DMatrix<f64>) -> Result<DMatrix<f64>> {
        Ok(self.drawn(normal)?.0)
    }

    fn drawn(&self, normal: &DMatrix<f64>) -> Result<(DMatrix<f64>, Vec<Measure>)> {
        let fitting = (LIMIT_MB * 1_000_000) as usize / (STEPS * normal.nrows() * 8).max(1);
        let width = fitting.clamp(1, WIDTH);
        let (mut draws, mut measures) = (normal.clone(), Vec::new());
        for start in (0..normal.ncols()).step_by(width) {
            let columns = width.min(normal.ncols() - start);
            let (mut panel, own) = self.lanczos(Panel::of(&normal.columns(start, columns).into_owned(), self.r))?;
            panel.by_task(|t, block| linalg::solve_lower_transpose(self.roots[t].as_slice(), self.r, block));
            draws.columns_mut(start, columns).copy_from(&panel.matrix());
            measures.extend(own);
        }
        Ok((draws, measures))
    }

    /// (I + X)^-1/2 of every column, and its spectral measure, by Lanczos with full reorthogonalisation (Ubaru, Chen and Saad 2017).
    fn lanczos(&self, start: Panel) -> Result<(Panel, Vec<Measure>)> {
        let lengths = start.lengths();
        let mut runs = vec![Run::default(); start.columns];
        let mut basis: Vec<Panel> = Vec::new();
        let (mut next, mut inverse_lengths) = (start, lengths.iter().map(|length| reciprocal(*length)).collect::<Vec<f64>>());
        while runs.iter().any(|run| !run.finished) {
            if basis.len() == STEPS {
                return Err(out_of_reach());
            }
            next.scale(&inverse_lengths);
            basis.push(next);
            next = self.coupling(&basis[basis.len() - 1]);
            let along = next.dot_each(&basis);
            let away: Vec<Vec<f64>> = along.iter().map(|values| values.iter().map(|value| -value).collect()).collect();
            next.add_each(&basis, &away);
            let left = next.lengths();
            for (j, run) in runs.iter_mut().enumerate().filter(|(_, run)| !run.finished) {
                run.extend(along[along.len() - 1][j], left[j])?;
            }
            inverse_lengths = runs.iter().zip(&left).map(|(run, left)| if run.finished { 0.0 } else { reciprocal(*left) }).collect();
        }
        let (mut root, mut measures) = (basis[0].zeroed(), Vec::new());
        let mut coefficients = vec![vec![0.0; runs.len()]; basis.len()];
        for (j, run) in runs.iter().enumerate() {
            let (nodes, vectors) = linalg::symmetric_eigen(&run.matrix());
            for (k, node) in nodes.iter().enumerate() {
                for i in 0..nodes.len() {
                    coefficients[i][j] += lengths[j] * vectors[(i, k)] * vectors[(0, k)] / (1.0 + node).sqrt();
                }
            }
            let weight = |k: usize| (lengths[j] * vectors[(0, k)]).powi(2);
            measures.push(nodes.iter().enumerate().map(|(k, node)| (*node, weight(k))).collect());
        }
        root.add_each(&basis, &coefficients);
        Ok((root, measures))
    }

    /// X v.
    fn coupling(&self, v: &Panel) -> Panel {
        let (mut turned, mut image) = (v.clone(), v.zeroed());
        turned.by_task(|t, block| linalg::solve_lower_transpose(self.roots[t].as_slice(), self.r, block));
        image.by_task(|t, block| {
            turned.gather(&self.near[t], block);
            linalg::solve_lower(self.roots[t].as_slice(), self.r, block);
        });
        image
    }

    /// (I + X) v.
    fn product(&self, v: &Panel) -> Panel {
        let mut image = self.coupling(v);
        image.add(1.0, v);
        image
    }

    /// tr X^2 = sum over ordered pairs of Omega_st^2 tr(D_s^-1 D_t^-1).
    fn square_trace(&self) -> f64 {
        let inverses: Vec<DMatrix<f64>> = self.roots.par_iter().map(linalg::inverse_of_cholesky).collect();
        let own = |t: usize| -> f64 { self.near[t].iter().map(|(s, value)| value * value * inverses[*s].dot(&inverses[t])).sum() };
        (0..inverses.len()).into_par_iter().map(own).collect::<Vec<f64>>().iter().sum()
    }

    /// Block (s, t) of A^-1, Rao-Blackwellised (Sidén et al. 2018): given all other tasks, b_s and b_t have a known covariance V and
    /// the means -V (pulls of the others), so only the second moments of those are taken from the draws. Of all tasks and edges at
    /// once, O((T + edges) r^3), and O(r^3) for any other pair.
    pub(crate) fn covariance(&self, s: usize, t: usize) -> DMatrix<f64> {
        let (low, high) = (s.min(t), s.max(t));
        let block = match self.slot(low, high) {
            Some(slot) => self.selected()[low][slot].clone(),
            None => self.pair(low, high),
        };
        if s <= t { block } else { block.transpose() }
    }

    /// Its trace.
    pub(crate) fn trace(&self, s: usize, t: usize) -> f64 {
        let (low, high) = (s.min(t), s.max(t));
        self.slot(low, high).map_or_else(|| self.pair(low, high).trace(), |slot| self.selected()[low][slot].trace())
    }

    /// The later tasks joined to a task.
    fn later(&self, task: usize) -> &[(usize, f64)] {
        let near = &self.near[task];
        &near[near.partition_point(|(s, _)| *s < task)..]
    }

    /// Where the block of these two tasks is among those kept for the first, if it is.
    fn slot(&self, low: usize, high: usize) -> Option<usize> {
        if low == high { Some(0) } else { self.later(low).binary_search_by_key(&high, |(s, _)| *s).ok().map(|k| k + 1) }
    }

    /// Makes the blocks of all tasks and edges.
    pub(crate) fn prepare(&self) {
        self.selected();
    }

    fn selected(&self) -> &Vec<Vec<DMatrix<f64>>> {
        self.selected.get_or_init(|| {
            let of =
                |t: usize| std::iter::once(self.conditioned(&[t])).chain(self.later(t).iter().map(|(s, _)| self.pair(t, *s))).collect();
            (0..self.roots.len()).into_par_iter().map(of).collect()
        })
    }

    fn pair(&self, low: usize, high: usize) -> DMatrix<f64> {
        self.conditioned(&[low, high]).view((0, self.r), (self.r, self.r)).into_owned()
    }

    /// The covariance of a few tasks' b.
    fn conditioned(&self, tasks: &[usize]) -> DMatrix<f64> {
        let (r, size) = (self.r, self.r * tasks.len());
        let (mut precision, mut pulls) = (DMatrix::zeros(size, size), DMatrix::zeros(size, DRAWS));
        for (i, t) in tasks.iter().enumerate() {
            let root = &self.roots[*t];
            precision.view_mut((i * r, i * r), (r, r)).copy_from(&(root * root.transpose()));
            let (inside, outside): (Vec<_>, Vec<_>) = self.near[*t].iter().partition(|(s, _)| tasks.contains(s));
            for (s, value) in inside {
                let j = tasks.iter().position(|task| *task == s).expect("it is one of them");
                (0..r).for_each(|k| precision[(i * r + k, j * r + k)] = value);
            }
            let mut pull = DMatrix::zeros(r, DRAWS);
            self.draws.gather(&outside, pull.as_mut_slice());
            pulls.rows_mut(i * r, r).copy_from(&pull);
        }
        let root = linalg::cholesky(precision).expect("Lanczos found the whole matrix positive definite");
        linalg::solve_cholesky(&root, &mut pulls);
        let mut covariance = linalg::inverse_of_cholesky(&root);
        covariance.gemm(1.0 / DRAWS as f64, &pulls, &pulls.transpose(), 1.0);
        linalg::symmetrise(&mut covariance);
        covariance
    }
}

fn not_positive_definite(matrix: String) -> Error {
    Error::NotPositiveDefinite { matrix, remedy: "raise --prior-strength, or standardise the features".into() }
}

fn out_of_reach() -> Error {
    not_positive_definite("the joint posterior precision to working precision".into())
}

fn reciprocal(length: f64) -> f64 {
    if length > 0.0 { 1.0 / length } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::RngExt;

    /// Distinct random edges with a diagonally dominant Omega, and curvatures of random rank.
    fn system(tasks: usize, edges: usize, r: usize, seed: u64) -> (TaskGraph, Vec<DMatrix<f64>>) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut graph = TaskGraph::empty(&vec!["task"; tasks]);
        let mut weight = vec![0.3; tasks];
        for _ in 0..edges {
            let (s, t) = (random.random_range(0..tasks), random.random_range(0..tasks));
            if s != t && graph.edge(s, t).is_none() {
                let value: f64 = random.random_range(-0.9..0.9);
                graph.connect(s, t, value, None);
                weight[s] += value.abs();
                weight[t] += value.abs();
            }
        }
        (0..tasks).for_each(|t| graph.set_diagonal(t, weight[t]));
        let blocks = (0..tasks)
            .map(|_| {
                let root = DMatrix::from_fn(r, random.random_range(0..=r), |_, _| 0.7 * normal(&mut random));
                &root * root.transpose()
            })
            .collect();
        (graph, blocks)
    }

    fn iterative(graph: &TaskGraph, blocks: &[DMatrix<f64>], seed: u64) -> Iterative {
        Iterative::new(graph, &blocks.iter().collect::<Vec<_>>(), seed).unwrap()
    }

    fn dense(graph: &TaskGraph, blocks: &[DMatrix<f64>]) -> DMatrix<f64> {
        let r = blocks[0].nrows();
        let mut dense = graph.precision().kronecker(&DMatrix::identity(r, r));
        for (t, block) in blocks.iter().enumerate() {
            let mut own = dense.view_mut((t * r, t * r), (r, r));
            own += block;
        }
        dense
    }

    proptest! {
        /// Any graph, any curvatures, also without edges, of rank 0 or with one direction: solutions and the covariance of draws are
        /// exact, the log-determinant is so without edges and within its error with them.
        #[test]
        fn solutions_draws_and_log_determinant_are_the_dense_ones(
            (tasks, edges, r, seed) in (1usize..9, 0usize..14, 1usize..5, 0u64..1000),
            scale in prop_oneof![Just(0.0), Just(0.1), Just(10.0)],
        ) {
            let (graph, blocks) = system(tasks, edges, r, seed);
            let blocks: Vec<DMatrix<f64>> = blocks.into_iter().map(|block| block * scale).collect();
            let (iterative, dense) = (iterative(&graph, &blocks, seed), dense(&graph, &blocks));
            let root = linalg::cholesky(dense).unwrap();
            let inverse = linalg::inverse_of_cholesky(&root);
            let mut solved = DMatrix::identity(tasks * r, tasks * r + 1);
            iterative.solve(&mut solved).unwrap();
            prop_assert!((solved.columns(0, tasks * r) - &inverse).amax() < 1e-9);
            prop_assert!(solved.column(tasks * r).amax() == 0.0);
            let map = iterative.draw(&DMatrix::identity(tasks * r, tasks * r)).unwrap();
            prop_assert!((&map * map.transpose() - &inverse).amax() < 1e-8);

            let (value, error) = iterative.log_determinant();
            let off = (value - linalg::log_determinant(&root)).abs();
            prop_assert!(off <= 1e-8 + 6.0 * error, "{off} with an error of {error}");
            if graph.edges().count() == 0 {
                prop_assert!(off < 1e-9 && error < 1e-9);
            }
        }
    }

    /// Over 60 seeds the truth is within 4 standard errors, within 2 about as often as Student's t with 31 degrees of freedom says
    /// (.946: 57 +- 1.8), and the mean is unbiased.
    #[test]
    fn the_error_of_the_log_determinant_is_calibrated() {
        const SEEDS: u64 = 60;
        let (graph, blocks) = system(60, 110, 3, 1);
        let expected = linalg::log_determinant(&linalg::cholesky(dense(&graph, &blocks)).unwrap());
        let scores: Vec<f64> = (0..SEEDS)
            .map(|seed| {
                let (value, error) = iterative(&graph, &blocks, seed).log_determinant();
                (value - expected) / error
            })
            .collect();
        let within = scores.iter().filter(|score| score.abs() < 2.0).count();
        let mean = scores.iter().sum::<f64>() / SEEDS as f64;
        assert!(scores.iter().all(|score| score.abs() < 4.0));
        assert!(within >= 51, "{within} of {SEEDS}");
        assert!(mean.abs() < 4.0 / (SEEDS as f64).sqrt(), "{mean}");
    }

    /// Over 100 seeds the mean of every element of the blocks of tasks and of pairs, joined or not, is within 5 standard errors of the
    /// truth, and their rms error is less than half that of plain averages of draws.
    #[test]
    fn covariances_are_unbiased_and_better_than_averages_of_draws() {
        const SEEDS: u64 = 100;
        let (graph, blocks) = system(12, 18, 3, 2);
        let r = 3;
        let inverse = dense(&graph, &blocks).try_inverse().unwrap();
        let pairs: Vec<(usize, usize)> = (0..12).flat_map(|s| (0..12).map(move |t| (s, t))).collect();
        let engines: Vec<Iterative> = (0..SEEDS).map(|seed| iterative(&graph, &blocks, seed)).collect();
        let (mut own, mut plain) = ([0.0; 3], [0.0; 3]);
        for (s, t) in pairs {
            let expected = inverse.view((s * r, t * r), (r, r));
            let kind = if s == t {
                0
            } else if graph.edge(s, t).is_some() {
                1
            } else {
                2
            };
            let mut sum = [DMatrix::zeros(r, r), DMatrix::zeros(r, r)];
            for engine in &engines {
                let off = engine.covariance(s, t) - expected;
                assert_eq!(engine.covariance(t, s), engine.covariance(s, t).transpose());
                assert_eq!(engine.trace(s, t), engine.covariance(s, t).trace());
                let draws = engine.draws.matrix();
                let average = draws.rows(s * r, r) * draws.rows(t * r, r).transpose() / DRAWS as f64;
                own[kind] += off.norm_squared();
                plain[kind] += (average - expected).norm_squared();
                sum[1] += off.component_mul(&off);
                sum[0] += off;
            }
            let n = SEEDS as f64;
            for (total, squares) in sum[0].iter().zip(sum[1].iter()) {
                assert!(total.abs() <= 1e-12 + 5.0 * squares.sqrt(), "({s}, {t}): {} +- {}", total / n, squares.sqrt() / n);
            }
        }
        own.iter().zip(&plain).for_each(|(own, plain)| assert!(own.sqrt() < 0.5 * plain.sqrt(), "{own} {plain}"));
    }

    #[test]
    fn the_thread_count_changes_nothing() {
        let (graph, blocks) = system(300, 500, 3, 3);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let engine = iterative(&graph, &blocks, 7);
                let mut right = DMatrix::from_fn(900, 4, |i, j| ((i * 7 + j * 3) % 11) as f64);
                engine.solve(&mut right).unwrap();
                (engine.draws.values, engine.log_determinant, right)
            })
        };
        assert_eq!(with(1), with(2));
    }

    #[test]
    fn thousands_of_tasks_are_solved() {
        let (graph, blocks) = system(2_000, 3_000, 10, 4);
        let engine = iterative(&graph, &blocks, 1);
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let right = DMatrix::from_fn(20_000, 3, |_, _| normal(&mut random));
        let mut solved = right.clone();
        engine.solve(&mut solved).unwrap();
        let mut left = right.clone();
        for t in 0..2_000 {
            let mut sum = (&blocks[t] + DMatrix::identity(10, 10) * graph.node(t).precision) * solved.rows(t * 10, 10);
            graph.neighbours(t).iter().for_each(|s| sum += solved.rows(s * 10, 10) * graph.edge(*s, t).unwrap().precision);
            let mut own = left.rows_mut(t * 10, 10);
            own -= sum;
        }
        assert!(left.norm() < 1e-10 * right.norm());
    }

    #[test]
    fn an_indefinite_system_and_one_too_large_are_refused() {
        let mut graph = TaskGraph::empty(&["a", "b"]);
        graph.connect(0, 1, -1.5, None);
        let block = DMatrix::zeros(2, 2);
        assert!(matches!(Iterative::new(&graph, &[&block, &block], 1), Err(Error::NotPositiveDefinite { .. })));
        let graph = TaskGraph::empty(&vec!["task"; 200_000]);
        let block = DMatrix::zeros(5, 5);
        assert!(matches!(Iterative::new(&graph, &vec![&block; 200_000], 1), Err(Error::TooLarge { .. })));
    }
}
