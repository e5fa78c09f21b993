//! Which pairs of tasks may be joined: all, those that are given, or each task's nearest.

use super::moments::TaskMoments;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What the edge rate's prior weighs beyond the tasks' share of pairs: among few tasks, whose common part cannot be told from the
/// mean, less would be too easily believed.
const BARE: f64 = 20.0;

/// Fewest tasks for which that is enough; among fewer it grows as their number falls.
const FEW: f64 = 10.0;

/// Tasks whose nearest are looked for at once.
const CHUNK: usize = 64;

/// Where edges are looked for, as it was asked, and among how many pairs that is; by default all pairs of up to 5,000 tasks and the 20
/// nearest of each beyond.
///
/// ```
/// let everywhere = cognate::CandidateRule::default();
/// assert!(everywhere.given.is_none() && everywhere.nearest.is_none());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CandidateRule {
    /// Pairs of task names.
    pub given: Option<Vec<(String, String)>>,
    /// Each task with so many whose posterior means correlate most with its own.
    pub nearest: Option<usize>,
    /// How many pairs the edge rate is a rate of: the given ones alone, else all, for the data chose the nearest. 0 before a fit.
    pub pairs: f64,
}

/// Pairs of tasks among which edges are looked for; no others have one.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    /// The tasks that each may be joined with, ascending, and the number of the pair.
    near: Vec<Vec<(u32, u32)>>,
    pairs: usize,
    /// How many pairs the edge rate is a rate of.
    rated: f64,
}

impl Candidates {
    /// All pairs of so many tasks.
    pub(crate) fn all(tasks: usize) -> Self {
        let number = |s: usize, t: usize| (t.max(s) * (t.max(s) - 1) / 2 + t.min(s)) as u32;
        let others = |t: usize| (0..tasks).filter(|s| *s != t).map(|s| (s as u32, number(s, t))).collect();
        let pairs = tasks * tasks.saturating_sub(1) / 2;
        Candidates { near: (0..tasks).map(others).collect(), pairs, rated: pairs as f64 }
    }

    /// Those pairs, chosen before the data were seen: the edge rate is a rate among them.
    pub(crate) fn given(tasks: usize, pairs: &[(usize, usize)]) -> Self {
        let set: BTreeSet<(usize, usize)> = pairs.iter().filter(|(s, t)| s != t).map(|(s, t)| (*s.min(t), *s.max(t))).collect();
        let mut near = vec![Vec::new(); tasks];
        for (number, (s, t)) in set.iter().enumerate() {
            near[*s].push((*t as u32, number as u32));
            near[*t].push((*s as u32, number as u32));
        }
        near.iter_mut().for_each(|list| list.sort_unstable());
        Candidates { near, pairs: set.len(), rated: set.len() as f64 }
    }

    /// Each task with the `count` tasks of largest absolute correlation with it, and the pairs in `also`. As the data chose them, the
    /// edge rate is a rate among all pairs. O(T^2 r), in pieces: no T x T matrix is made.
    pub(crate) fn nearest(moments: &TaskMoments, count: usize, also: &[(usize, usize)]) -> Self {
        let tasks = moments.tasks();
        let count = count.min(tasks.saturating_sub(1));
        let pairs: Vec<Vec<(usize, usize)>> = (0..tasks.div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let own: Vec<usize> = (chunk * CHUNK..((chunk + 1) * CHUNK).min(tasks)).collect();
                let correlations = moments.correlations_with(&own);
                let mut found = Vec::with_capacity(own.len() * count);
                for (j, t) in own.iter().enumerate() {
                    let column = correlations.column(j);
                    let mut others: Vec<usize> = (0..tasks).filter(|s| s != t).collect();
                    let nearer = |a: &usize, b: &usize| column[*b].abs().total_cmp(&column[*a].abs()).then(a.cmp(b));
                    if count < others.len() {
                        others.select_nth_unstable_by(count, nearer);
                        others.truncate(count);
                    }
                    found.extend(others.into_iter().map(|s| (s, *t)));
                }
                found
            })
            .collect();
        let all: Vec<(usize, usize)> = pairs.into_iter().flatten().chain(also.iter().copied()).collect();
        Candidates { rated: (tasks * tasks.saturating_sub(1) / 2) as f64, ..Candidates::given(tasks, &all) }
    }

    pub(crate) fn tasks(&self) -> usize {
        self.near.len()
    }

    /// How many there are.
    pub(crate) fn pairs(&self) -> usize {
        self.pairs
    }

    /// How many pairs the edge rate is a rate of.
    pub(crate) fn rated(&self) -> f64 {
        self.rated
    }

    /// Whether every pair is one.
    pub(crate) fn are_all(&self) -> bool {
        self.pairs == self.tasks() * self.tasks().saturating_sub(1) / 2
    }

    /// The tasks that `t` may be joined with, ascending, and the number of the pair.
    pub(crate) fn of(&self, t: usize) -> impl ExactSizeIterator<Item = (usize, usize)> {
        self.near[t].iter().map(|(s, number)| (*s as usize, *number as usize))
    }

    /// All pairs (s, t, number) with s < t.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        (0..self.tasks()).flat_map(move |t| self.of(t).take_while(move |(s, _)| *s < t).map(move |(s, number)| (s, t, number)))
    }

    /// The number of the pair, where it is one.
    pub(crate) fn number(&self, s: usize, t: usize) -> Option<usize> {
        let place = self.near[t].binary_search_by_key(&(s as u32), |(task, _)| *task).ok()?;
        Some(self.near[t][place].1 as usize)
    }

    /// b of the edge rate's Beta(1, b) prior: about one edge for every task is expected, fewer among few tasks.
    pub(crate) fn sparsity(&self) -> f64 {
        let tasks = self.tasks().max(1) as f64;
        self.rated / tasks + BARE * (FEW / tasks).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nalgebra::DMatrix;

    #[test]
    fn all_pairs_are_numbered_once() {
        let all = Candidates::all(5);
        let mut numbers: Vec<usize> = all.iter().map(|(_, _, number)| number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..10).collect::<Vec<_>>());
        assert!(all.iter().all(|(s, t, number)| s < t && all.number(t, s) == Some(number)));
        assert!(all.are_all() && all.number(2, 2).is_none());
    }

    #[test]
    fn the_nearest_are_those_of_largest_correlation_and_those_given() {
        let columns = DMatrix::from_fn(6, 40, |i, j| ((i * 37 + j * 101 + i * j * 13) % 89) as f64 / 40.0 - 1.1);
        let moments = TaskMoments::Columns(columns.clone());
        let found = Candidates::nearest(&moments, 3, &[(0, 1)]);
        let correlation =
            |s: usize, t: usize| columns.column(s).dot(&columns.column(t)).abs() / (columns.column(s).norm() * columns.column(t).norm());
        for t in 0..40 {
            let mut order: Vec<usize> = (0..40).filter(|s| *s != t).collect();
            order.sort_by(|a, b| correlation(*b, t).total_cmp(&correlation(*a, t)));
            assert!(order[..3].iter().all(|s| found.number(*s, t).is_some()));
        }
        assert!(found.number(1, 0).is_some() && found.pairs() <= 121 && !found.are_all());
        assert_eq!(found.rated(), 780.0);
        assert!(Candidates::nearest(&moments, usize::MAX, &[]).are_all());
    }
}
