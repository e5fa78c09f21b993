//! The heat map of relatedness: tasks in an order that shows groups, and blocks of tasks where there are too many for a cell each.

use super::order::seriated;
use super::relation::Relation;
use crate::model::Fit;
use rayon::prelude::*;

/// Rows of a map of blocks.
pub(crate) const BLOCKS: usize = 160;

/// The map: task numbers in its order, the place there of the first of each row, and below the diagonal, row by row and with it, the means over the pairs of two rows.
pub(crate) struct Heat {
    /// What a cell is.
    pub of: &'static str,
    pub order: Vec<usize>,
    pub starts: Vec<usize>,
    /// None of a task and itself.
    cells: Vec<Option<f64>>,
}

impl Heat {
    /// Of at most so many rows, beyond which a row is a block of tasks; none without relations of pairs. A graph too large to invert has its partial correlations, summed over a
    /// block. O(T^2).
    pub(crate) fn of(fit: &Fit, relation: Option<&Relation>, rows: usize) -> Option<Self> {
        match relation {
            Some(relation) => Some(of_relation(fit.tasks().len(), relation, rows)),
            None => of_graph(fit, rows),
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.starts.len()
    }

    /// The cell of two rows.
    pub(crate) fn at(&self, i: usize, j: usize) -> Option<f64> {
        let (low, high) = (i.min(j), i.max(j));
        self.cells[high * (high + 1) / 2 + low]
    }

    /// Below the diagonal, row by row and with it.
    pub(crate) fn cells(&self) -> &[Option<f64>] {
        &self.cells
    }

    /// The tasks of a row.
    pub(crate) fn members(&self, row: usize) -> &[usize] {
        &self.order[self.starts[row]..self.starts.get(row + 1).copied().unwrap_or(self.order.len())]
    }
}

fn of_relation(tasks: usize, relation: &Relation, rows: usize) -> Heat {
    let order = seriated(tasks, &|s, t| relation.between(s, t));
    let starts = starts(tasks, rows);
    let ends: Vec<usize> = starts.iter().skip(1).copied().chain([tasks]).collect();
    let cell = |i: usize, j: usize| -> Option<f64> {
        let (mut sum, mut pairs) = (0.0, 0usize);
        for a in &order[starts[i]..ends[i]] {
            for b in order[starts[j]..ends[j]].iter().filter(|b| *b != a) {
                sum += relation.between(*a, *b);
                pairs += 1;
            }
        }
        (pairs > 0).then(|| sum / pairs as f64)
    };
    let rows: Vec<Vec<Option<f64>>> = (0..starts.len()).into_par_iter().map(|i| (0..=i).map(|j| cell(i, j)).collect()).collect();
    let of = if relation.is_membership() { "probability of the same cluster" } else { "correlation" };
    Heat { of, order, starts, cells: rows.concat() }
}

fn starts(tasks: usize, rows: usize) -> Vec<usize> {
    let rows = tasks.min(rows);
    (0..rows).map(|k| k * tasks / rows).collect()
}

/// Of a task graph too large to invert: communities side by side.
fn of_graph(fit: &Fit, rows: usize) -> Option<Heat> {
    let tasks = fit.tasks().len();
    let graph = fit.prior().relatedness.as_graph().filter(|graph| graph.edges().next().is_some())?;
    let mut communities = graph.communities();
    communities.sort_by_key(|own| std::cmp::Reverse(own.len()));
    let order = communities.concat();
    let starts = starts(tasks, rows);
    let mut block = vec![0; tasks];
    let mut own = 0;
    for (place, t) in order.iter().enumerate() {
        own += usize::from(starts.get(own + 1) == Some(&place));
        block[*t] = own;
    }
    let mut cells = vec![0.0; starts.len() * (starts.len() + 1) / 2];
    for (s, t, edge) in graph.edges() {
        let (low, high) = (block[s].min(block[t]), block[s].max(block[t]));
        cells[high * (high + 1) / 2 + low] += edge.partial_correlation;
    }
    Some(Heat { of: "partial correlation, summed over a block", order, starts, cells: cells.into_iter().map(Some).collect() })
}
