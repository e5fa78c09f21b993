//! Which rows are held out when, and what the others say.

use super::{Candidate, Options, nothing_is_held_out};
use crate::error::{Error, Result};
use crate::tasks::{Design, Rows, Tasks};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Rows that are held out, and the tasks of the others.
pub(super) struct Plan {
    pub training: Tasks,
    pub held: Vec<usize>,
}

/// The rows that are held out in any, each once, in the order of the table.
fn held(plans: &[Plan]) -> Vec<usize> {
    let mut rows: Vec<usize> = plans.iter().flat_map(|plan| plan.held.iter().copied()).collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Their tasks.
pub(super) fn held_tasks(rows: &Rows, plans: &[Plan]) -> Vec<usize> {
    held(plans).into_iter().map(|i| rows.task(i)).collect()
}

/// The rows of every task.
pub(super) fn members(rows: &Rows) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); rows.names().len()];
    (0..rows.len()).for_each(|i| members[rows.task(i)].push(i));
    members
}

/// The plans of every repeat, one after another.
pub(super) fn folds(rows: &Rows, design: &Design, candidates: &[&Candidate], options: &Options) -> Result<Vec<Plan>> {
    let repeats = options.repeats_of(rows.len())?;
    let of_repeat = |repeat| by_fold(rows, design, candidates, &assigned(rows, options, repeat)?);
    Ok((0..repeats).map(of_repeat).collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The fold of every row in a repeat.
pub(super) fn assigned(rows: &Rows, options: &Options, repeat: usize) -> Result<Vec<Option<usize>>> {
    match options.folds {
        folds @ 0..2 => Err(Error::Arguments(format!("{folds} folds hold nothing out; give at least 2"))),
        folds => Ok(stratified(rows, folds, (options.seed, repeat))),
    }
}

pub(super) fn by_fold(rows: &Rows, design: &Design, candidates: &[&Candidate], fold: &[Option<usize>]) -> Result<Vec<Plan>> {
    let folds = fold.iter().flatten().max().map_or(0, |last| last + 1);
    let all = rows.tasks(design);
    let whole = need_rows(candidates)?;
    let mut plans = Vec::with_capacity(folds);
    for k in 0..folds {
        let held: Vec<usize> = (0..rows.len()).filter(|i| fold[*i] == Some(k)).collect();
        if !held.is_empty() {
            let training = if whole {
                with_rows(rows.subset(|i| fold[i] != Some(k)), design)?
            } else {
                all.without(&rows.tasks_of(design, |i| fold[i] == Some(k)))?
            };
            plans.push(Plan { training, held });
        }
    }
    if plans.is_empty() { Err(nothing_is_held_out()) } else { Ok(plans) }
}

pub(super) fn holdout(rows: &Rows, design: &Design, train: impl Fn(usize) -> bool, candidates: &[&Candidate]) -> Result<Plan> {
    let held: Vec<usize> = (0..rows.len()).filter(|i| !train(*i)).collect();
    if held.is_empty() {
        return Err(nothing_is_held_out());
    }
    let whole = need_rows(candidates)?;
    let training = if whole { with_rows(rows.subset(&train), design)? } else { rows.tasks_of(design, &train) };
    Ok(Plan { training, held })
}

/// Whether any candidate fits rows and not their sums alone.
pub(super) fn need_rows(candidates: &[&Candidate]) -> Result<bool> {
    candidates.iter().try_fold(false, |any, candidate| Ok(any || candidate.model()?.needs_rows()))
}

/// Tasks that keep their rows.
pub(crate) fn with_rows(rows: Rows, design: &Design) -> Result<Tasks> {
    rows.tasks(design).with_rows(rows)
}

/// A fold for every row, equally often within each task; none for a task's only row. Rows of one unit are in one fold. Repeats of a seed are other folds.
pub(crate) fn stratified(rows: &Rows, folds: usize, (seed, repeat): (u64, usize)) -> Vec<Option<usize>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(repeat as u64);
    if !rows.units().is_empty() {
        let mut order: Vec<usize> = (0..rows.units().len()).collect();
        order.shuffle(&mut random);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(k, unit)| place[*unit] = k % folds);
        return (0..rows.len()).map(|i| Some(place[rows.unit(i)])).collect();
    }
    let mut members = members(rows);
    let mut fold = vec![None; rows.len()];
    for (task, own) in members.iter_mut().enumerate().filter(|(_, own)| own.len() > 1) {
        own.shuffle(&mut random);
        // Tasks start at different folds, so that small tasks do not fill the first.
        own.iter().enumerate().for_each(|(place, i)| fold[*i] = Some((place + task) % folds));
    }
    fold
}
