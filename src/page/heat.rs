//! The heat map of relatedness: tasks in an order that shows groups, and blocks of tasks where there are too many for a cell each.

use super::order::seriated;
use super::relation::Relation;
use crate::model::Fit;
use rayon::prelude::*;
use serde_json::{Value, json};

/// Most rows of the map; beyond, a row is a block of tasks.
const ROWS: usize = 160;

/// `{of, order, starts, cells}`: the task numbers in the order of the map, the place there of the first of each block, and below the diagonal, row by row and with it, the
/// means over the pairs of two blocks in hundredths (of a task and itself null); null without relations of pairs. A graph too large to invert has its partial correlations, summed over a block.
/// O(T^2).
pub(super) fn heat_json(fit: &Fit, relation: Option<&Relation>) -> Value {
    let tasks = fit.tasks().len();
    let Some(relation) = relation else { return of_graph(fit) };
    let order = seriated(tasks, &|s, t| relation.between(s, t));
    let starts = starts(tasks);
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
    map(of, &order, &starts, rows.concat())
}

fn map(of: &str, order: &[usize], starts: &[usize], cells: Vec<Option<f64>>) -> Value {
    let hundredths = |own: Option<f64>| own.map_or(Value::Null, |own| Value::from((100.0 * own).round() as i64));
    json!({"of": of, "order": order, "starts": starts, "cells": cells.into_iter().map(hundredths).collect::<Vec<_>>()})
}

fn starts(tasks: usize) -> Vec<usize> {
    let rows = tasks.min(ROWS);
    (0..rows).map(|k| k * tasks / rows).collect()
}

/// Of a task graph too large to invert: communities side by side.
fn of_graph(fit: &Fit) -> Value {
    let tasks = fit.tasks().len();
    let Some(graph) = fit.prior().relatedness.as_graph().filter(|graph| graph.edges().next().is_some()) else { return Value::Null };
    let mut communities = graph.communities();
    communities.sort_by_key(|own| std::cmp::Reverse(own.len()));
    let order = communities.concat();
    let starts = starts(tasks);
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
    map("partial correlation, summed over a block", &order, &starts, cells.into_iter().map(Some).collect())
}
