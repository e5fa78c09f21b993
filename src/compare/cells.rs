//! A cell of a comparison is one candidate fitted without one fold: all of them, side by side.

use super::journal::Journal;
use super::plans::Plan;
use super::{Candidate, Done};
use crate::error::{Error, Result};
use crate::model::{Fit, Forecast};
use crate::scores::Scored;
use crate::tasks::Rows;
use serde::{Deserialize, Serialize};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

/// The scores of the held-out rows of a plan, and the time of the fit.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cell {
    pub scored: Vec<Scored>,
    pub seconds: f64,
}

/// A cell, or why its fit was refused.
pub(super) type Outcome = std::result::Result<Cell, String>;

/// Of every candidate those of all plans.
pub(super) type Cells = Vec<Vec<Outcome>>;

/// Fits a candidate without a plan's held-out rows and scores these.
pub(super) fn fit_one(rows: &Rows, plan: &Plan, candidate: &Candidate) -> Result<(Cell, Fit)> {
    let begin = Instant::now();
    let fit = candidate.model()?.fit(&plan.training)?;
    let seconds = begin.elapsed().as_secs_f64();
    let scored = plan.held.iter().map(|i| predicted(rows, *i, (&fit, Some(rows.task(*i))))).collect::<Result<Vec<_>>>()?;
    Ok((Cell { scored, seconds }, fit))
}

/// The scores of a row, predicted by a fit that has its task under that number.
pub(super) fn predicted(rows: &Rows, i: usize, (fit, number): (&Fit, Option<usize>)) -> Result<Scored> {
    let task = &rows.names()[rows.task(i)];
    Ok(scored(rows, i, &fit.forecast(number, task, rows.x(i), rows.weight(i), rows.offset(i))?))
}

/// The scores of a row as it was forecast.
pub(super) fn scored(rows: &Rows, i: usize, forecast: &Forecast) -> Scored {
    Scored::of(forecast, rows.y(i), rows.weight(i), rows.task(i))
}

/// The largest tables whose fits go side by side: elements of all tasks' covariances.
const MOST_SIDE_BY_SIDE: usize = 1 << 24;

/// All cells. Every worker has threads of its own, so that no fit waits for a part of another, and takes the next cell, those of the richest candidate first.
pub(super) fn fit_all(rows: &Rows, plans: &[Plan], candidates: &[&Candidate], journal: Option<Journal>, done: &Done) -> Result<Cells> {
    let all = candidates.len() * plans.len();
    let features = plans[0].training.design().features().len();
    let large = plans[0].training.len() * features * features > MOST_SIDE_BY_SIDE;
    let threads = rayon::current_num_threads();
    let workers = if large { 1 } else { threads.min(all) };
    let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let journal = Mutex::new(journal);
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let found: Vec<Mutex<Option<Outcome>>> = (0..all).map(|_| Mutex::default()).collect();
    let work = || {
        while let Some(place) = all.checked_sub(1 + next.fetch_add(1, Ordering::Relaxed)) {
            let (candidate, fold) = (candidates[place / plans.len()], place % plans.len());
            let noted = lock(&journal).as_mut().and_then(|own| own.take(candidate, fold));
            let outcome = noted.unwrap_or_else(|| {
                let outcome = fit_one(rows, &plans[fold], candidate).map(|(cell, _)| cell).map_err(|error| error.to_string());
                if let Some(Err(error)) = lock(&journal).as_mut().map(|own| own.note(candidate, fold, &outcome)) {
                    lock(&failure).get_or_insert(error);
                }
                outcome
            });
            *lock(&found[place]) = Some(outcome);
            done(&candidate.name, finished.fetch_add(1, Ordering::Relaxed) + 1, all);
            if lock(&failure).is_some() {
                break;
            }
        }
    };
    if workers < 2 {
        work();
    } else {
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| match rayon::ThreadPoolBuilder::new().num_threads(threads / workers).build() {
                    Ok(pool) => pool.install(work),
                    Err(_) => work(),
                });
            }
        });
    }
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let mut outcomes = found.into_iter().filter_map(|own| own.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
    Ok(candidates.iter().map(|_| outcomes.by_ref().take(plans.len()).collect()).collect())
}

fn lock<T>(own: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    own.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
