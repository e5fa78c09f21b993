//! Block-sparse Cholesky along the connected components of the task graph.

use super::coupled::LIMIT_MB;
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, Operand, multiply_add};
use nalgebra::DMatrix;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Omega (x) I + blockdiag(N_t), factored component by component in a minimum-degree order of its tasks.
pub(crate) struct Sparse {
    components: Vec<Component>,
    /// Component and position of each task.
    place: Vec<(usize, usize)>,
}

struct Component {
    /// Tasks in elimination order.
    tasks: Vec<usize>,
    /// Cholesky factors of the pivots.
    pivots: Vec<DMatrix<f64>>,
    /// Blocks below each pivot, by position.
    below: Vec<BTreeMap<usize, DMatrix<f64>>>,
    /// Blocks of the inverse on the diagonal and where `below` has one, by columns.
    selected: OnceLock<Vec<BTreeMap<usize, DMatrix<f64>>>>,
    /// Lower triangle, by columns, of all blocks of the inverse.
    inverse: OnceLock<Vec<Vec<DMatrix<f64>>>>,
}

impl Sparse {
    /// Factors the system whose diagonal blocks are `omega_tt I + blocks[t]`.
    ///
    /// Cost: sum over pivots of (neighbours at elimination)^2 r^3. Refused beforehand where the factor and the inverse on its
    /// pattern would not fit in memory.
    pub(crate) fn factorise(graph: &TaskGraph, blocks: &[&DMatrix<f64>]) -> Result<Sparse> {
        let r = blocks.first().map_or(0, |block| block.nrows());
        let members = graph.components();
        let orders: Vec<Elimination> = members.iter().map(|tasks| minimum_degree(graph, tasks)).collect();
        let blocks_kept: usize = orders.iter().map(|order| order.tasks.len() + order.fill).sum();
        let needed_mb = (2 * blocks_kept * r * r * 8) as u64 / 1_000_000;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("the factor of a task graph that fills in to {blocks_kept} blocks of {r} x {r} varying directions"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "let fewer features vary, or use --structure exchangeable".into(),
            });
        }
        let mut place = vec![(0, 0); graph.len()];
        let components =
            orders.into_par_iter().map(|order| Component::factorise(graph, order.tasks, blocks)).collect::<Result<Vec<_>>>()?;
        for (number, component) in components.iter().enumerate() {
            component.tasks.iter().enumerate().for_each(|(position, t)| place[*t] = (number, position));
        }
        Ok(Sparse { components, place })
    }

    pub(crate) fn log_determinant(&self) -> f64 {
        self.components.iter().flat_map(|c| &c.pivots).map(linalg::log_determinant).sum()
    }

    /// Solves in place, r rows a task.
    pub(crate) fn solve(&self, right: &mut DMatrix<f64>, r: usize) {
        let whole = &*right;
        let solved: Vec<Vec<DMatrix<f64>>> = self
            .components
            .par_iter()
            .map(|component| {
                let mut x = component.gather(whole, r);
                component.forward(&mut x);
                component.backward(&mut x);
                x
            })
            .collect();
        self.components.iter().zip(solved).for_each(|(component, x)| component.scatter(&x, right, r));
    }

    /// Solves with the transposed factor only: standard normal numbers become draws.
    pub(crate) fn solve_transpose(&self, right: &mut DMatrix<f64>, r: usize) {
        for component in &self.components {
            let mut x = component.gather(right, r);
            component.backward(&mut x);
            component.scatter(&x, right, r);
        }
    }

    /// Block (s, t) of the inverse.
    pub(crate) fn covariance(&self, s: usize, t: usize, r: usize) -> DMatrix<f64> {
        match self.block(s, t) {
            Some((block, true)) => block.transpose(),
            Some((block, false)) => block.clone(),
            None => DMatrix::zeros(r, r),
        }
    }

    /// Its trace.
    pub(crate) fn trace(&self, s: usize, t: usize) -> f64 {
        self.block(s, t).map_or(0.0, |(block, _)| block.trace())
    }

    /// Block (s, t) of the inverse, or (t, s) and true; none between components.
    fn block(&self, s: usize, t: usize) -> Option<(&DMatrix<f64>, bool)> {
        let ((a, i), (b, j)) = (self.place[s], self.place[t]);
        if a != b {
            return None;
        }
        let (low, high) = (i.max(j), i.min(j));
        let block = match self.components[a].selected()[high].get(&low) {
            Some(block) => block,
            None => &self.components[a].inverse()[high][low - high],
        };
        Some((block, i < j))
    }

    /// Memory that the whole inverse of the largest component takes.
    pub(crate) fn inverse_mb(&self) -> u64 {
        let largest = self.components.iter().max_by_key(|component| component.tasks.len());
        largest.map_or(0, |component| {
            (component.tasks.len() * component.pivots.iter().map(DMatrix::len).sum::<usize>() * 4) as u64 / 1_000_000
        })
    }

    /// Adds the trace of every block of the inverse.
    pub(crate) fn add_traces(&self, moment: &mut DMatrix<f64>) {
        for component in &self.components {
            for (j, column) in component.inverse().iter().enumerate() {
                for (offset, block) in column.iter().enumerate() {
                    let (s, t) = (component.tasks[j + offset], component.tasks[j]);
                    let trace = block.trace();
                    moment[(s, t)] += trace;
                    if s != t {
                        moment[(t, s)] += trace;
                    }
                }
            }
        }
    }
}

impl Component {
    fn factorise(graph: &TaskGraph, tasks: Vec<usize>, blocks: &[&DMatrix<f64>]) -> Result<Component> {
        let r = blocks[tasks[0]].nrows();
        let position: BTreeMap<usize, usize> = tasks.iter().enumerate().map(|(i, t)| (*t, i)).collect();
        let n = tasks.len();
        let mut diagonal: Vec<DMatrix<f64>> = tasks
            .iter()
            .map(|t| {
                let mut block = blocks[*t].clone();
                (0..r).for_each(|k| block[(k, k)] += graph.node(*t).precision);
                block
            })
            .collect();
        let mut below: Vec<BTreeMap<usize, DMatrix<f64>>> = vec![BTreeMap::new(); n];
        for (j, t) in tasks.iter().enumerate() {
            for s in graph.neighbours(*t) {
                let i = position[&s];
                if i > j {
                    let precision = graph.edge(s, *t).map_or(0.0, |edge| edge.precision);
                    below[j].insert(i, DMatrix::identity(r, r) * precision);
                }
            }
        }
        let mut pivots = Vec::with_capacity(n);
        for j in 0..n {
            let pivot = linalg::cholesky(std::mem::take(&mut diagonal[j])).ok_or_else(|| Error::NotPositiveDefinite {
                matrix: format!("the precision of task '{}' in the task graph", graph.node(tasks[j]).task),
                remedy: "raise --prior-strength, or standardise the features".into(),
            })?;
            let column = std::mem::take(&mut below[j]);
            let scaled: Vec<(usize, DMatrix<f64>)> = column
                .into_iter()
                .map(|(i, block)| {
                    let mut right = block.transpose();
                    linalg::solve_lower_matrix(&pivot, &mut right);
                    (i, right.transpose())
                })
                .collect();
            for (a, (i, left)) in scaled.iter().enumerate() {
                multiply_add(diagonal[*i].as_mut_slice(), -1.0, Operand::of(left), Operand::of(left).transpose());
                for (k, right) in &scaled[..a] {
                    let block = below[*k].entry(*i).or_insert_with(|| DMatrix::zeros(r, r));
                    multiply_add(block.as_mut_slice(), -1.0, Operand::of(left), Operand::of(right).transpose());
                }
            }
            below[j] = scaled.into_iter().collect();
            pivots.push(pivot);
        }
        Ok(Component { tasks, pivots, below, selected: OnceLock::new(), inverse: OnceLock::new() })
    }

    fn gather(&self, right: &DMatrix<f64>, r: usize) -> Vec<DMatrix<f64>> {
        self.tasks.iter().map(|t| right.rows(t * r, r).into_owned()).collect()
    }

    fn scatter(&self, x: &[DMatrix<f64>], right: &mut DMatrix<f64>, r: usize) {
        self.tasks.iter().zip(x).for_each(|(t, block)| right.rows_mut(t * r, r).copy_from(block));
    }

    fn forward(&self, x: &mut [DMatrix<f64>]) {
        for j in 0..x.len() {
            let (left, right) = x.split_at_mut(j + 1);
            linalg::solve_lower_matrix(&self.pivots[j], &mut left[j]);
            for (i, block) in &self.below[j] {
                right[i - j - 1] -= block * &left[j];
            }
        }
    }

    fn backward(&self, x: &mut [DMatrix<f64>]) {
        for j in (0..x.len()).rev() {
            let (left, right) = x.split_at_mut(j + 1);
            for (i, block) in &self.below[j] {
                left[j] -= block.transpose() * &right[i - j - 1];
            }
            let r = left[j].nrows();
            linalg::solve_lower_transpose(self.pivots[j].as_slice(), r, left[j].as_mut_slice());
        }
    }

    /// G_kj = L_kj R_j^-1 for the blocks below pivot j.
    fn scaled(&self, j: usize) -> Vec<(usize, DMatrix<f64>)> {
        let r = self.pivots[j].nrows();
        let each = self.below[j].iter().map(|(k, block)| {
            let mut right = block.transpose();
            linalg::solve_lower_transpose(self.pivots[j].as_slice(), r, right.as_mut_slice());
            (*k, right.transpose())
        });
        each.collect()
    }

    /// Z_jj of the recursion below, given every Z_kj.
    fn own_block<'z>(&self, j: usize, scaled: &[(usize, DMatrix<f64>)], below: impl Fn(usize) -> &'z DMatrix<f64>) -> DMatrix<f64> {
        let mut own = linalg::inverse_of_cholesky(&self.pivots[j]);
        for (k, g) in scaled {
            multiply_add(own.as_mut_slice(), -1.0, Operand::of(g).transpose(), Operand::of(below(*k)));
        }
        linalg::symmetrise(&mut own);
        own
    }

    /// The inverse by the recursion of Takahashi (1973) in blocks, where the factor has blocks:
    /// Z_ij = -sum_k Z_ik G_kj and Z_jj = (R_j R_j')^-1 - sum_k G_kj' Z_kj. Any two tasks below a pivot are on the pattern.
    fn selected(&self) -> &Vec<BTreeMap<usize, DMatrix<f64>>> {
        self.selected.get_or_init(|| {
            let n = self.tasks.len();
            let mut selected: Vec<BTreeMap<usize, DMatrix<f64>>> = vec![BTreeMap::new(); n];
            for j in (0..n).rev() {
                let r = self.pivots[j].nrows();
                let scaled = self.scaled(j);
                let mut column: BTreeMap<usize, DMatrix<f64>> = scaled
                    .par_iter()
                    .map(|(i, _)| {
                        let mut sum = DMatrix::zeros(r, r);
                        for (k, g) in &scaled {
                            let (low, high) = (*i.max(k), *i.min(k));
                            let block = &selected[high][&low];
                            let block = if i >= k { Operand::of(block) } else { Operand::of(block).transpose() };
                            multiply_add(sum.as_mut_slice(), -1.0, block, Operand::of(g));
                        }
                        (*i, sum)
                    })
                    .collect();
                column.insert(j, self.own_block(j, &scaled, |k| &column[&k]));
                selected[j] = column;
            }
            selected
        })
    }

    /// The inverse by the same recursion for every pair of the component's tasks.
    fn inverse(&self) -> &Vec<Vec<DMatrix<f64>>> {
        self.inverse.get_or_init(|| {
            let n = self.tasks.len();
            let mut inverse: Vec<Vec<DMatrix<f64>>> = vec![Vec::new(); n];
            for j in (0..n).rev() {
                let r = self.pivots[j].nrows();
                let scaled = self.scaled(j);
                let done = &inverse;
                let mut column: Vec<DMatrix<f64>> = (j + 1..n)
                    .into_par_iter()
                    .map(|i| {
                        let mut sum = DMatrix::zeros(r, r);
                        for (k, g) in &scaled {
                            if i >= *k {
                                sum.gemm(-1.0, &done[*k][i - k], g, 1.0);
                            } else {
                                sum.gemm(-1.0, &done[i][k - i].transpose(), g, 1.0);
                            }
                        }
                        sum
                    })
                    .collect();
                column.insert(0, self.own_block(j, &scaled, |k| &column[k - j - 1]));
                inverse[j] = column;
            }
            inverse
        })
    }
}

/// An order of elimination.
struct Elimination {
    tasks: Vec<usize>,
    /// Blocks below the diagonal of the factor.
    fill: usize,
}

/// Tasks in an order that always eliminates one with the fewest remaining neighbours, which become neighbours of each other.
fn minimum_degree(graph: &TaskGraph, members: &[usize]) -> Elimination {
    let mut near: BTreeMap<usize, BTreeSet<usize>> = members.iter().map(|t| (*t, graph.neighbours(*t).into_iter().collect())).collect();
    let mut queue: BTreeSet<(usize, usize)> = near.iter().map(|(t, set)| (set.len(), *t)).collect();
    let mut elimination = Elimination { tasks: Vec::with_capacity(members.len()), fill: 0 };
    while let Some((_, t)) = queue.pop_first() {
        elimination.tasks.push(t);
        let set = near.remove(&t).unwrap_or_default();
        elimination.fill += set.len();
        for s in &set {
            let other = near.get_mut(s).expect("neighbours are not eliminated yet");
            queue.remove(&(other.len(), *s));
            other.remove(&t);
            other.extend(set.iter().filter(|u| *u != s));
            queue.insert((other.len(), *s));
        }
    }
    elimination
}

#[cfg(test)]
mod tests {
    use super::super::draw_along;
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Draws along a graph whose tasks are eliminated in another order than theirs have its covariance.
    #[test]
    fn draws_have_the_covariance_of_the_graph() {
        const DRAWS: usize = 60_000;
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut graph = TaskGraph::empty(&["hub", "a", "b", "c"]);
        [(0, 1, -0.5), (0, 2, 0.4), (0, 3, 0.3)].iter().for_each(|(s, t, value)| graph.connect(*s, *t, *value, None));
        let draws = draw_along(&graph, DMatrix::from_fn(4, DRAWS, |_, _| linalg::normal(&mut random))).unwrap();
        let expected = graph.precision().try_inverse().unwrap();
        assert!((&draws * draws.transpose() / DRAWS as f64 - expected).amax() < 0.04);
    }

    proptest! {
        /// Any graph, any curvatures: the log-determinant and all blocks of the inverse, on the pattern and off it, are those of the
        /// dense matrix.
        #[test]
        fn the_inverse_is_the_dense_one(
            tasks in 1usize..9,
            r in 1usize..4,
            edges in prop::collection::vec((0usize..9, 0usize..9, -0.9f64..0.9), 0..14),
            curvatures in prop::collection::vec(-1.5f64..1.5, 9 * 16),
        ) {
            let names: Vec<String> = (0..tasks).map(|t| t.to_string()).collect();
            let mut graph = TaskGraph::empty(&names);
            // Diagonally dominant, so that any edges do.
            let mut weight = vec![0.3; tasks];
            for (s, t, value) in edges.iter().filter(|(s, t, _)| s != t && *s < tasks && *t < tasks) {
                if graph.edge(*s, *t).is_none() {
                    graph.connect(*s, *t, *value, None);
                    weight[*s] += value.abs();
                    weight[*t] += value.abs();
                }
            }
            (0..tasks).for_each(|t| graph.set_diagonal(t, weight[t]));
            let blocks: Vec<DMatrix<f64>> = (0..tasks)
                .map(|t| {
                    let root = DMatrix::from_fn(r, r, |i, j| curvatures[t * 16 + i * 4 + j]);
                    &root * root.transpose()
                })
                .collect();
            let sparse = Sparse::factorise(&graph, &blocks.iter().collect::<Vec<_>>()).unwrap();
            let omega = graph.precision();
            let dense = DMatrix::from_fn(tasks * r, tasks * r, |i, j| {
                let ((s, a), (t, b)) = ((i / r, i % r), (j / r, j % r));
                (if a == b { omega[(s, t)] } else { 0.0 }) + if s == t { blocks[s][(a, b)] } else { 0.0 }
            });
            let root = linalg::cholesky(dense).unwrap();
            let inverse = linalg::inverse_of_cholesky(&root);
            prop_assert!((sparse.log_determinant() - linalg::log_determinant(&root)).abs() < 1e-9);
            for s in 0..tasks {
                for t in 0..tasks {
                    let expected = inverse.view((s * r, t * r), (r, r));
                    prop_assert!((sparse.covariance(s, t, r) - expected).amax() < 1e-9);
                    prop_assert!((sparse.trace(s, t) - expected.trace()).abs() < 1e-9);
                }
            }
        }
    }
}
