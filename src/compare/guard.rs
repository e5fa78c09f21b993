//! Which tasks lose by sharing, and how the others do without them.

use super::gains::gains;
use super::{Candidate, Done, Options, cells, plans};
use crate::error::{Error, Result};
use crate::model::{Fit, Gain};
use crate::tasks::{Design, Rows, Tasks};

/// What each task gains by sharing, and who is better off alone.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Of every task with held-out rows, in the order of the rows; of a detached one what it gained in the round in which it was detached.
    pub gains: Vec<Gain>,
    /// Tasks that are expected to lose.
    pub detached: Vec<String>,
}

/// Most rounds of detaching, and the share of the losing tasks that goes in one, at least one task.
const ROUNDS: usize = 50;
const AT_ONCE: f64 = 0.1;

/// By cross-validation, what every task gains when it shares as `together` does against `alone`, a model of the same tasks that shares nothing. Tasks whose shrunken
/// gain ([`Gain::expected`]) is negative, a tenth of them in a round and those first that lost most, are detached and the others compared again without them,
/// until none loses.
///
/// # Errors
/// As [`folds`](super::folds); what the fits refuse; [`Error::Arguments`] where fewer than two tasks would be left.
pub fn guard(rows: &Rows, design: &Design, (together, alone): (&Candidate, &Candidate), options: &Options, done: &Done) -> Result<Guard> {
    let fold = plans::assigned(rows, options, 0)?;
    let densities = |candidate: &Candidate, keep: &[bool]| -> Result<Vec<Option<f64>>> {
        let part = rows.of_tasks(|t| keep[t]);
        let kept: Vec<usize> = (0..rows.len()).filter(|i| keep[rows.task(*i)]).collect();
        let own: Vec<Option<usize>> = kept.iter().map(|i| fold[*i]).collect();
        let plans = plans::by_fold(&part, design, &[candidate], &own)?;
        let cells = cells::fit_all(&part, &plans, &[candidate], None, done)?;
        let mut found = vec![None; rows.len()];
        for (plan, cell) in plans.iter().zip(&cells[0]) {
            let cell = cell.as_ref().map_err(|reason| Error::Arguments(format!("{}: {reason}", candidate.name)))?;
            plan.held.iter().zip(&cell.scored).for_each(|(i, row)| found[kept[*i]] = Some(row.log_density));
        }
        Ok(found)
    };
    let mut attached = vec![true; rows.names().len()];
    let own = densities(alone, &attached)?;
    let mut known: Vec<Option<Gain>> = vec![None; attached.len()];
    for _ in 0..ROUNDS {
        // Where every row that is left is the only one of its task, nobody can be judged any more.
        if !(0..rows.len()).any(|i| attached[rows.task(i)] && fold[i].is_some()) {
            break;
        }
        let shared = densities(together, &attached)?;
        let mut differences = vec![Vec::new(); attached.len()];
        for (i, pair) in shared.iter().zip(&own).enumerate() {
            if let (Some(shared), Some(own)) = pair {
                differences[rows.task(i)].push(shared - own);
            }
        }
        let (tasks, differences): (Vec<usize>, Vec<Vec<f64>>) =
            differences.into_iter().enumerate().filter(|(_, own)| !own.is_empty()).unzip();
        let found = gains(&differences);
        // A few may have spoilt it for the others: those that lost most go first.
        let mut losses: Vec<f64> = found.iter().filter(|own| own.is_expected_loss()).map(|own| own.gain).collect();
        losses.sort_by(f64::total_cmp);
        let limit = losses.get((losses.len() as f64 * AT_ONCE).ceil().max(1.0) as usize - 1).copied();
        for (t, gain) in tasks.into_iter().zip(found) {
            attached[t] = !gain.is_expected_loss() || limit.is_some_and(|limit| gain.gain > limit);
            known[t] = Some(Gain { task: rows.names()[t].clone(), ..gain });
        }
        if attached.iter().filter(|own| **own).count() < 2 {
            let problem = format!("by sharing as {} does all tasks but one lose; fit with --structure independent", together.name);
            return Err(Error::Arguments(problem));
        }
        if losses.is_empty() {
            break;
        }
    }
    let detached = (0..attached.len()).filter(|t| !attached[*t]).map(|t| rows.names()[t].clone()).collect();
    Ok(Guard { gains: known.into_iter().flatten().collect(), detached })
}

impl Guard {
    /// Fits the tasks that share to their rows, and where any is detached all tasks each by itself ([`Fit::guarded`]).
    ///
    /// # Errors
    /// Those of the fits.
    pub fn fit(self, rows: &Rows, design: &Design, (together, alone): (&Candidate, &Candidate)) -> Result<Fit> {
        let [kept, all] = self.parts(rows, design)?;
        let fit = together.model()?.fit(&kept)?;
        let alone = (!self.detached.is_empty()).then(|| alone.model()?.fit(&all)).transpose()?;
        fit.guarded(self.gains, self.detached, alone)
    }

    /// The tasks that share, and all.
    ///
    /// # Errors
    /// Those of [`Tasks::with_rows`].
    pub fn parts(&self, rows: &Rows, design: &Design) -> Result<[Tasks; 2]> {
        let is_detached = |t: usize| self.detached.contains(&rows.names()[t]);
        Ok([plans::with_rows(rows.of_tasks(|t| !is_detached(t)), design)?, plans::with_rows(rows.clone(), design)?])
    }
}
