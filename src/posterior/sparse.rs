//! Block-sparse Cholesky along the connected components of the task graph, in the order of `elimination`.

use super::coupled::LIMIT_MB;
use super::elimination::{Elimination, Group, Tree};
use crate::error::{Error, Result};
use crate::graph::TaskGraph;
use crate::linalg::{self, Operand, multiply_add};
use nalgebra::DMatrix;
use rayon::prelude::*;
use std::sync::{Arc, OnceLock};

/// Tasks whose columns of the inverse are one unit of parallel work.
const CHUNK: usize = 16;

/// Omega (x) I + blockdiag(N_t), factored component by component, a group of tasks at a time.
pub(crate) struct Sparse {
    components: Vec<Component>,
    /// Component and position of each task.
    place: Vec<(usize, usize)>,
}

struct Component {
    tree: Arc<Tree>,
    /// Rows of a block.
    r: usize,
    /// Of each group.
    factors: Vec<Factor>,
    /// Each group's own rows of the inverse at the columns of its own tasks and those below.
    selected: OnceLock<Vec<DMatrix<f64>>>,
    /// The same at the columns of its own tasks and all later ones.
    inverse: OnceLock<Vec<DMatrix<f64>>>,
}

/// A group's columns of the factor.
struct Factor {
    /// Lower, over its own tasks.
    pivot: DMatrix<f64>,
    /// Transposed, over the tasks below.
    right: DMatrix<f64>,
}

/// A block of a column-major matrix of that height, from its first element on.
struct Block<'z> {
    values: &'z [f64],
    height: usize,
}

impl Block<'_> {
    fn column(&self, k: usize, r: usize) -> &[f64] {
        &self.values[k * self.height..][..r]
    }

    fn matrix(&self, r: usize) -> DMatrix<f64> {
        DMatrix::from_vec(r, r, (0..r).map(|k| self.column(k, r)).collect::<Vec<_>>().concat())
    }

    fn trace(&self, r: usize) -> f64 {
        (0..r).map(|k| self.values[k * self.height + k]).sum()
    }
}

impl Sparse {
    /// Factors the system whose diagonal blocks are `omega_tt I + blocks[t]`.
    pub(crate) fn factorise(graph: &TaskGraph, blocks: &[&DMatrix<f64>]) -> Result<Sparse> {
        Sparse::along(&Elimination::of(graph), graph, blocks)
    }

    /// As [`Sparse::factorise`] with the elimination of that graph at hand.
    ///
    /// Cost: sum over tasks of (neighbours at elimination)^2 r^3. Refused beforehand where the factor and the inverse on its
    /// pattern would not fit in memory.
    pub(super) fn along(elimination: &Elimination, graph: &TaskGraph, blocks: &[&DMatrix<f64>]) -> Result<Sparse> {
        let r = blocks.first().map_or(0, |block| block.nrows());
        let needed_mb = elimination.needed_mb(r);
        if needed_mb > LIMIT_MB {
            let filled = elimination.blocks();
            return Err(Error::TooLarge {
                what: format!("the factor of a task graph that fills in to {filled} blocks of {r} x {r} varying directions"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "let fewer features vary, or use --structure exchangeable".into(),
            });
        }
        let place = elimination.place.clone();
        let components =
            elimination.trees.par_iter().map(|tree| Component::factorise(tree, &place, graph, blocks)).collect::<Result<_>>()?;
        Ok(Sparse { components, place })
    }

    /// Makes the inverse on the pattern of the factor.
    pub(crate) fn prepare(&self) {
        self.components.par_iter().for_each(|component| {
            component.selected();
        });
    }

    /// Makes all of the inverse.
    pub(crate) fn prepare_all(&self) {
        self.components.iter().for_each(|component| {
            component.inverse();
        });
    }

    pub(crate) fn log_determinant(&self) -> f64 {
        self.components.iter().flat_map(|c| &c.factors).map(|factor| linalg::log_determinant(&factor.pivot)).sum()
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
            Some((block, true)) => block.matrix(r).transpose(),
            Some((block, false)) => block.matrix(r),
            None => DMatrix::zeros(r, r),
        }
    }

    /// Its trace.
    pub(crate) fn trace(&self, s: usize, t: usize) -> f64 {
        self.block(s, t).map_or(0.0, |(block, _)| block.trace(self.components[self.place[s].0].r))
    }

    /// Block (s, t) of the inverse, or (t, s) and true; none between components.
    fn block(&self, s: usize, t: usize) -> Option<(Block<'_>, bool)> {
        let ((a, i), (b, j)) = (self.place[s], self.place[t]);
        if a != b {
            return None;
        }
        let component = &self.components[a];
        let (low, high) = (i.min(j), i.max(j));
        let block = match component.tree.owner(low).slot(high) {
            Some(slot) => component.block(component.selected(), low, slot),
            None => component.whole_block(component.inverse(), low, high),
        };
        Some((block, i > j))
    }

    /// Memory that the whole inverse of the largest component takes.
    pub(crate) fn inverse_mb(&self) -> u64 {
        let bytes = self.components.iter().map(|component| component.tree.pairs() * component.r * component.r * 8);
        bytes.max().unwrap_or(0) as u64 / 1_000_000
    }

    /// Adds the trace of every block of the inverse.
    pub(crate) fn add_traces(&self, moment: &mut DMatrix<f64>) {
        for component in &self.components {
            let (tasks, inverse) = (&component.tree.tasks, component.inverse());
            for i in 0..tasks.len() {
                for j in i..tasks.len() {
                    let (s, t) = (tasks[i], tasks[j]);
                    let trace = component.whole_block(inverse, i, j).trace(component.r);
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
    /// Multifrontal (Duff and Reid 1983): the front of a group is the system over its own tasks and those below as the groups before
    /// leave it; what its own elimination leaves goes into the parent's front.
    fn factorise(tree: &Arc<Tree>, place: &[(usize, usize)], graph: &TaskGraph, blocks: &[&DMatrix<f64>]) -> Result<Component> {
        let r = blocks[tree.tasks[0]].nrows();
        let mut factors = Vec::with_capacity(tree.groups.len());
        let mut rests: Vec<DMatrix<f64>> = Vec::with_capacity(tree.groups.len());
        for level in &tree.levels {
            let eliminated = |group: &Group| {
                let mut front = Front::of(group, tree, place, graph, blocks);
                group.children.iter().for_each(|child| front.add(group, &rests[*child], &tree.groups[*child], r));
                front.eliminate().ok_or_else(|| Error::NotPositiveDefinite {
                    matrix: format!("the precision of task '{}' in the task graph", graph.node(tree.tasks[group.own.start]).task),
                    remedy: "raise --prior-strength, or standardise the features".into(),
                })
            };
            let groups = &tree.groups[level.clone()];
            let made: Vec<(Factor, DMatrix<f64>)> = groups.par_iter().map(eliminated).collect::<Result<_>>()?;
            groups.iter().flat_map(|group| &group.children).for_each(|child| rests[*child] = DMatrix::zeros(0, 0));
            for (factor, rest) in made {
                factors.push(factor);
                rests.push(rest);
            }
        }
        Ok(Component { tree: tree.clone(), r, factors, selected: OnceLock::new(), inverse: OnceLock::new() })
    }

    /// The rows of each group's own tasks.
    fn gather(&self, right: &DMatrix<f64>, r: usize) -> Vec<DMatrix<f64>> {
        let of = |group: &Group| {
            let mut own = DMatrix::zeros(group.own.len() * r, right.ncols());
            for (slot, t) in self.tree.tasks[group.own.clone()].iter().enumerate() {
                own.rows_mut(slot * r, r).copy_from(&right.rows(t * r, r));
            }
            own
        };
        self.tree.groups.iter().map(of).collect()
    }

    fn scatter(&self, x: &[DMatrix<f64>], right: &mut DMatrix<f64>, r: usize) {
        for (group, own) in self.tree.groups.iter().zip(x) {
            for (slot, t) in self.tree.tasks[group.own.clone()].iter().enumerate() {
                right.rows_mut(t * r, r).copy_from(&own.rows(slot * r, r));
            }
        }
    }

    /// Group and first row there of each task below a group.
    fn below(&self, group: &Group) -> impl Iterator<Item = (usize, usize)> {
        group.below.iter().map(|position| (self.tree.owners[*position], self.row(*position)))
    }

    /// A position's first row among those of its group.
    fn row(&self, position: usize) -> usize {
        (position - self.tree.owner(position).own.start) * self.r
    }

    fn forward(&self, x: &mut [DMatrix<f64>]) {
        for (j, (group, factor)) in self.tree.groups.iter().zip(&self.factors).enumerate() {
            linalg::solve_lower_matrix(&factor.pivot, &mut x[j]);
            let mut change = DMatrix::zeros(factor.right.ncols(), x[j].ncols());
            multiply_add(change.as_mut_slice(), -1.0, Operand::of(&factor.right).transpose(), Operand::of(&x[j]));
            for (slot, (owner, row)) in self.below(group).enumerate() {
                let mut rows = x[owner].rows_mut(row, self.r);
                rows += change.rows(slot * self.r, self.r);
            }
        }
    }

    fn backward(&self, x: &mut [DMatrix<f64>]) {
        for (j, (group, factor)) in self.tree.groups.iter().zip(&self.factors).enumerate().rev() {
            let mut known = DMatrix::zeros(factor.right.ncols(), x[j].ncols());
            for (slot, (owner, row)) in self.below(group).enumerate() {
                known.rows_mut(slot * self.r, self.r).copy_from(&x[owner].rows(row, self.r));
            }
            multiply_add(x[j].as_mut_slice(), -1.0, Operand::of(&factor.right), Operand::of(&known));
            linalg::solve_lower_transpose(factor.pivot.as_slice(), factor.pivot.nrows(), x[j].as_mut_slice());
        }
    }

    /// A block of the inverse: the rows of the task at `position`, the columns in that slot of its group's panel.
    fn block<'z>(&self, panels: &'z [DMatrix<f64>], position: usize, slot: usize) -> Block<'z> {
        let panel = &panels[self.tree.owners[position]];
        let (height, row) = (panel.nrows(), self.row(position));
        Block { values: &panel.as_slice()[slot * self.r * height + row..], height }
    }

    /// Block (low, high) of the whole inverse.
    fn whole_block<'z>(&self, panels: &'z [DMatrix<f64>], low: usize, high: usize) -> Block<'z> {
        self.block(panels, low, high - self.tree.owner(low).own.start)
    }

    /// G' with G = L R^-1, R group j's pivot and L what the factor has below it.
    fn scaled(&self, j: usize) -> DMatrix<f64> {
        let Factor { pivot, right } = &self.factors[j];
        let mut scaled = right.clone();
        linalg::solve_lower_transpose(pivot.as_slice(), pivot.nrows(), scaled.as_mut_slice());
        scaled
    }

    /// The panel of group j: its own block, yet 0, and the inverse at the columns of later positions by the recursion of Takahashi (1973)
    /// in blocks, -G' Z, with Z the inverse at the rows below the group, whose blocks (low, high) are `known`.
    fn panel<'z, F>(&self, j: usize, scaled: &DMatrix<f64>, columns: &[usize], known: F) -> DMatrix<f64>
    where
        F: Fn(usize, usize) -> Block<'z> + Sync,
    {
        let (r, below) = (self.r, &self.tree.groups[j].below);
        let (own, rows) = (scaled.nrows(), below.len() * r);
        let mut panel = DMatrix::zeros(own, own + columns.len() * r);
        let later = panel.as_mut_slice()[own * own..].par_chunks_mut((own * r * CHUNK).max(1)).zip(columns.par_chunks(CHUNK));
        later.for_each(|(panel, columns)| {
            let mut z = vec![0.0; rows * columns.len() * r];
            for (column, z) in columns.iter().zip(z.chunks_exact_mut((rows * r).max(1))) {
                let blocks: Vec<Block> = below.iter().map(|row| known(*row.min(column), *row.max(column))).collect();
                for (k, z) in z.chunks_exact_mut(rows).enumerate() {
                    for ((row, block), z) in below.iter().zip(&blocks).zip(z.chunks_exact_mut(r)) {
                        if row <= column {
                            z.copy_from_slice(block.column(k, r));
                        } else {
                            z.iter_mut().zip(block.values[k..].iter().step_by(block.height)).for_each(|(z, value)| *z = *value);
                        }
                    }
                }
            }
            multiply_add(panel, -1.0, Operand::of(scaled), Operand::new(&z, rows, columns.len() * r));
        });
        panel
    }

    /// The inverse where the factor has blocks. Any two tasks below a group are on that pattern.
    fn selected(&self) -> &Vec<DMatrix<f64>> {
        self.selected.get_or_init(|| {
            let tree = &self.tree;
            let mut panels = vec![DMatrix::zeros(0, 0); tree.groups.len()];
            for level in tree.levels.iter().rev() {
                let panel = |j: usize| {
                    let scaled = self.scaled(j);
                    let known = |low: usize, high: usize| {
                        let slot = tree.owner(low).slot(high).expect("tasks below a group are neighbours");
                        self.block(&panels, low, slot)
                    };
                    let mut panel = self.panel(j, &scaled, &tree.groups[j].below, known);
                    let mut own = linalg::inverse_of_cholesky(&self.factors[j].pivot);
                    let below = Operand::new(&panel.as_slice()[own.len()..], scaled.nrows(), scaled.ncols());
                    multiply_add(own.as_mut_slice(), -1.0, below, Operand::of(&scaled).transpose());
                    linalg::symmetrise(&mut own);
                    panel.as_mut_slice()[..own.len()].copy_from_slice(own.as_slice());
                    panel
                };
                let made: Vec<DMatrix<f64>> = level.clone().into_par_iter().map(panel).collect();
                panels[level.clone()].iter_mut().zip(made).for_each(|(place, panel)| *place = panel);
            }
            panels
        })
    }

    /// The inverse for every pair of the component's tasks.
    fn inverse(&self) -> &Vec<DMatrix<f64>> {
        self.inverse.get_or_init(|| {
            let selected = self.selected();
            let mut panels = vec![DMatrix::zeros(0, 0); selected.len()];
            for (j, group) in self.tree.groups.iter().enumerate().rev() {
                let later: Vec<usize> = (group.own.end..self.tree.tasks.len()).collect();
                let mut panel = self.panel(j, &self.scaled(j), &later, |low, high| self.whole_block(&panels, low, high));
                let own = panel.nrows().pow(2);
                panel.as_mut_slice()[..own].copy_from_slice(&selected[j].as_slice()[..own]);
                panels[j] = panel;
            }
            panels
        })
    }
}

/// The symmetric system over a group's own tasks and those below; of its two square parts the upper triangle counts.
struct Front {
    own: DMatrix<f64>,
    /// Own rows, the columns below.
    right: DMatrix<f64>,
    below: DMatrix<f64>,
}

impl Front {
    /// Without what the group's children leave.
    fn of(group: &Group, tree: &Tree, place: &[(usize, usize)], graph: &TaskGraph, blocks: &[&DMatrix<f64>]) -> Self {
        let r = blocks[tree.tasks[group.own.start]].nrows();
        let (own, below) = (group.own.len() * r, group.below.len() * r);
        let mut front = Front { own: DMatrix::zeros(own, own), right: DMatrix::zeros(own, below), below: DMatrix::zeros(below, below) };
        for (i, position) in group.own.clone().enumerate() {
            let t = tree.tasks[position];
            front.own.view_mut((i * r, i * r), (r, r)).copy_from(blocks[t]);
            (0..r).for_each(|k| front.own[(i * r + k, i * r + k)] += graph.node(t).precision);
            for s in graph.neighbours(t).into_iter().filter(|s| place[*s].1 > position) {
                let column = group.slot(place[s].1).expect("later neighbours are of the group or below it") * r;
                let precision = graph.edge(s, t).map_or(0.0, |edge| edge.precision);
                let (part, column) = if column < own { (&mut front.own, column) } else { (&mut front.right, column - own) };
                (0..r).for_each(|k| part[(i * r + k, column + k)] = precision);
            }
        }
        front
    }

    /// Adds what the elimination of a child of `group` has left below it.
    fn add(&mut self, group: &Group, rest: &DMatrix<f64>, child: &Group, r: usize) {
        let slot = |position: &usize| group.slot(*position).expect("a child's tasks are its parent's");
        let rows: Vec<usize> = child.below.iter().map(|position| slot(position) * r).collect();
        let own = self.own.nrows();
        let split = rows.partition_point(|row| *row < own);
        for (j, source) in rest.as_slice().chunks_exact(rest.nrows().max(1)).enumerate() {
            let (last, column) = (j / r, rows[j / r] + j % r);
            if last < split {
                add_blocks(self.own.column_mut(column).as_mut_slice(), 0, source, &rows[..=last], r);
            } else {
                add_blocks(self.right.column_mut(column - own).as_mut_slice(), 0, source, &rows[..split], r);
                add_blocks(self.below.column_mut(column - own).as_mut_slice(), own, &source[split * r..], &rows[split..=last], r);
            }
        }
    }

    /// The factor of the group's own tasks and what is left below, as an upper triangle; none where it is not positive definite.
    fn eliminate(mut self) -> Option<(Factor, DMatrix<f64>)> {
        let pivot = linalg::cholesky(self.own.transpose())?;
        linalg::solve_lower_matrix(&pivot, &mut self.right);
        linalg::subtract_gram(&mut self.below, &self.right);
        Some((Factor { pivot, right: self.right }, self.below))
    }
}

/// Adds successive blocks of a column at `rows`, counted from the row `first`.
fn add_blocks(column: &mut [f64], first: usize, blocks: &[f64], rows: &[usize], r: usize) {
    for (block, row) in blocks.chunks_exact(r).zip(rows) {
        column[row - first..][..r].iter_mut().zip(block).for_each(|(sum, value)| *sum += value);
    }
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
