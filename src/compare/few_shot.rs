//! How well a task that no fit has seen is predicted after few of its rows, against learning it alone.

use super::cells::{predicted, scored};
use super::rung::{Scores, difference};
use super::{Candidate, Done, plans};
use crate::error::{Error, Result};
use crate::scores::Scored;
use crate::structure::Sharing;
use crate::tasks::{Design, Rows};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

/// What new tasks are given, and how they are held out.
#[derive(Clone, Debug)]
pub struct FewShot {
    /// How many rows a new task has.
    pub rows: Vec<usize>,
    /// Parts into which the tasks are dealt, each held out once: as many as there are tasks leaves one task out at a time.
    pub parts: usize,
    /// Seed of the parts and of which rows come first.
    pub seed: u64,
}

impl Default for FewShot {
    fn default() -> Self {
        FewShot { rows: vec![0, 1, 2, 5, 10, 20], parts: 10, seed: 0 }
    }
}

/// The curve of one candidate.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// Name of the candidate.
    pub name: String,
    /// After each number of rows, in the order asked; empty where it was refused.
    pub shots: Vec<Shot>,
    /// Why it was refused.
    pub refused: Option<String>,
}

/// Held-out figures of new tasks with so many rows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Shot {
    /// Rows of its own that a new task has.
    pub rows: usize,
    /// Mean log predictive density of its other rows, the same whatever the number; none where tasks alone could not be fitted.
    pub score: Option<f64>,
    /// Its standard error, clustered by task.
    pub score_se: Option<f64>,
    /// What is gained over learning it alone from these rows; none without rows.
    pub gain: Option<f64>,
    /// Its standard error.
    pub gain_se: Option<f64>,
}

/// The curves of candidates and, first, that of tasks learned alone (`alone`, a model that shares nothing, fitted to all new tasks with so many rows). New tasks are those that have more rows
/// than the largest number; their first rows, in an order that is drawn, teach, and all beyond the largest number are predicted. Each part of the tasks is new to a fit of the others
/// ([`Fit::transfer`](crate::Fit::transfer)). A fit for every candidate and part.
///
/// # Errors
/// [`Error::Arguments`] where fewer than two tasks have so many rows, or without numbers.
pub fn few_shot(
    rows: &Rows,
    design: &Design,
    candidates: &[Candidate],
    alone: &Candidate,
    how: &FewShot,
    done: &Done,
) -> Result<Vec<Curve>> {
    let most = how.rows.iter().copied().max().ok_or_else(|| Error::Arguments("no number of rows was given; name one, such as 5".into()))?;
    if !rows.units().is_empty() {
        let problem = "tasks share rows, so that a new task's errors are those of known ones; there is no curve of few rows for them";
        return Err(Error::Arguments(problem.into()));
    }
    let mut random = ChaCha8Rng::seed_from_u64(how.seed);
    let mut members = plans::members(rows);
    members.iter_mut().for_each(|own| own.shuffle(&mut random));
    let mut new: Vec<usize> = (0..members.len()).filter(|t| members[*t].len() > most).collect();
    if new.len() < 2 {
        let mut lengths: Vec<usize> = members.iter().map(Vec::len).collect();
        lengths.sort_unstable();
        let second = lengths.len().checked_sub(2).map_or(0, |place| lengths[place].saturating_sub(1));
        let fewer: Vec<String> = how.rows.iter().filter(|own| **own <= second).map(usize::to_string).collect();
        let remedy = if fewer.is_empty() {
            "none can be held out whole".into()
        } else {
            format!("ask for fewer, as by --few-shot={}", fewer.join(","))
        };
        return Err(Error::Arguments(format!("fewer than two tasks have more than {most} rows; {remedy}")));
    }
    new.shuffle(&mut random);
    let parts = how.parts.clamp(2, new.len());
    let mut first = vec![usize::MAX; rows.len()];
    members.iter().for_each(|own| own.iter().enumerate().for_each(|(place, i)| first[*i] = place));
    let new_tasks: Vec<Vec<usize>> = (0..parts).map(|k| new.iter().copied().skip(k).step_by(parts).collect()).collect();
    let held: Vec<usize> = new_tasks.iter().flatten().flat_map(|t| members[*t][most..].iter().copied()).collect();
    let tasks: Vec<usize> = held.iter().map(|i| rows.task(*i)).collect();
    let all = candidates.len() * parts + how.rows.len();
    let mut count = 0;
    let mut one_more = |name: &str| {
        count += 1;
        done(name, count, all);
    };
    let table = Table { rows, design, members: &members, first: &first, most };
    let by_itself: Vec<Option<Vec<Scored>>> = how
        .rows
        .iter()
        .map(|number| {
            let found = table.scored_alone(alone, (&new, *number), &held).ok().filter(|_| *number > 0);
            one_more(&alone.name);
            found
        })
        .collect();
    let mut curves = vec![Curve { name: "alone".into(), shots: shots(&how.rows, &by_itself, None, &tasks), refused: None }];
    for candidate in candidates {
        let mut found: Vec<Vec<Scored>> = how.rows.iter().map(|_| Vec::new()).collect();
        let outcome = new_tasks.iter().try_for_each(|part| {
            let own = table.scored_new(candidate, part, &how.rows)?;
            found.iter_mut().zip(own).for_each(|(all, own)| all.extend(own));
            one_more(&candidate.name);
            Ok::<_, Error>(())
        });
        let found: Vec<Option<Vec<Scored>>> = found.into_iter().map(Some).collect();
        let name = candidate.name.clone();
        curves.push(match outcome {
            Ok(()) => Curve { name, shots: shots(&how.rows, &found, Some(&by_itself), &tasks), refused: None },
            Err(error) => Curve { name, shots: Vec::new(), refused: Some(error.to_string()) },
        });
    }
    Ok(curves)
}

/// Scores to compare with others.
fn all(rows: &[Scored]) -> Scores<'_> {
    Scores::Of { scored: rows.iter().collect(), log_densities: rows.iter().map(|row| row.log_density).collect(), seconds: 0.0 }
}

/// The rows, in which order those of a task come, and how many of them may teach.
struct Table<'a> {
    rows: &'a Rows,
    design: &'a Design,
    /// Of every task its rows in their order, and of every row its place there.
    members: &'a [Vec<usize>],
    first: &'a [usize],
    most: usize,
}

impl Table<'_> {
    /// The first rows of some tasks, of which all are there.
    fn few(&self, tasks: &[usize], number: usize) -> Rows {
        let mut is_one = vec![false; self.members.len()];
        tasks.iter().for_each(|t| is_one[*t] = true);
        self.rows.subset(|i| is_one[self.rows.task(i)] && self.first[i] < number).of_tasks(|t| is_one[t])
    }

    /// The held rows, predicted by tasks each fitted alone to its first rows.
    fn scored_alone(&self, alone: &Candidate, (new, number): (&[usize], usize), held: &[usize]) -> Result<Vec<Scored>> {
        let rows = self.rows;
        let fit = alone.model()?.fit(&plans::with_rows(self.few(new, number), self.design)?)?;
        let numbers: Vec<Option<usize>> = rows.names().iter().map(|name| fit.task_number(name)).collect();
        held.iter().map(|i| predicted(rows, *i, (&fit, numbers[rows.task(*i)]))).collect()
    }

    /// For every number of rows those that are predicted of the tasks of a part, which are new to a fit of the others.
    fn scored_new(&self, candidate: &Candidate, part: &[usize], numbers: &[usize]) -> Result<Vec<Vec<Scored>>> {
        let (rows, model) = (self.rows, candidate.model()?);
        if model.sharing() == Sharing::Nothing {
            let problem = "it shares nothing, so that it says nothing of a new task; see the curve of tasks alone";
            return Err(Error::Arguments(problem.into()));
        }
        let known = rows.of_tasks(|t| !part.contains(&t));
        let fit =
            model.fit(&if plans::need_rows(&[candidate])? { plans::with_rows(known, self.design)? } else { known.tasks(self.design) })?;
        let of_number = |number: &usize| {
            let transfer = fit.transfer(&plans::with_rows(self.few(part, *number), self.design)?, None)?;
            let mut found = Vec::new();
            for t in part {
                let task = transfer.task(&rows.names()[*t]).ok_or_else(|| Error::Arguments("a new task went missing".into()))?;
                for i in &self.members[*t][self.most..] {
                    found.push(scored(rows, *i, &task.forecast(rows.x(*i), rows.weight(*i), rows.offset(*i))?));
                }
            }
            Ok(found)
        };
        numbers.iter().map(of_number).collect()
    }
}

fn shots(numbers: &[usize], own: &[Option<Vec<Scored>>], alone: Option<&[Option<Vec<Scored>>]>, tasks: &[usize]) -> Vec<Shot> {
    let shot = |(k, number): (usize, &usize)| {
        let score = own[k].as_ref().and_then(|rows| all(rows).mean(tasks));
        let other = alone.and_then(|alone| alone[k].as_ref());
        let gain = own[k].as_ref().zip(other).and_then(|(own, other)| difference(&all(own), &all(other), tasks));
        Shot {
            rows: *number,
            score: score.map(|own| own.0),
            score_se: score.and_then(|own| own.1),
            gain: gain.map(|own| own.0),
            gain_se: gain.and_then(|own| own.1),
        }
    };
    numbers.iter().enumerate().map(shot).collect()
}
