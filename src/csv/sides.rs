//! What a row has beside features and target (weights, trials, offset, exposure), read alike for fits and predictions.

use super::cells::{is_missing, number};
use super::families::Uses;
use super::{Source, cell_of};
use crate::error::{Error, Result};
use std::io::Read;

/// Which they are in a table.
pub(super) struct Sides {
    weights: Option<(usize, String)>,
    trials: Option<(usize, String)>,
    offset: Option<(usize, String)>,
    exposure: Option<(usize, String)>,
}

/// What they say of a row.
#[derive(Clone, Debug)]
pub(super) struct Side {
    pub weight: f64,
    pub offset: f64,
    /// The first of the columns whose cell is missing.
    pub missing: Option<String>,
    /// Whether the target counts successes among `weight` trials.
    pub counts: bool,
}

impl Default for Side {
    fn default() -> Self {
        Side { weight: 1.0, offset: 0.0, missing: None, counts: false }
    }
}

impl Sides {
    /// Of columns named as weights, trials, offset and exposure.
    pub(super) fn of<R: Read>(source: &Source<R>, names: [&Option<String>; 4]) -> Result<Sides> {
        let find = |name: &Option<String>| name.as_ref().map(|name| Ok((source.column(name)?, name.clone()))).transpose();
        let [weights, trials, offset, exposure] = names.map(find);
        let sides = Sides { weights: weights?, trials: trials?, offset: offset?, exposure: exposure? };
        if sides.weights.is_some() && sides.trials.is_some() {
            let problem = "trials are the weights of shares of successes, so there are no other weights; leave --weights or --trials out";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(sides)
    }

    fn each(&self) -> [&Option<(usize, String)>; 4] {
        [&self.weights, &self.trials, &self.offset, &self.exposure]
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = Option<usize>> {
        self.each().map(|side| side.as_ref().map(|(column, _)| *column)).into_iter()
    }

    pub(super) fn any(&self) -> bool {
        self.each().iter().any(|side| side.is_some())
    }

    /// Where the row names its family, trials and exposures that this has no use for are not looked at.
    pub(super) fn of_row(&self, record: &csv::StringRecord, row: u64, uses: Option<Uses>) -> Result<Side> {
        let mut missing = None;
        let mut cell = |side: &Option<(usize, String)>, used: bool| -> Result<Option<f64>> {
            let Some((column, name)) = side.as_ref().filter(|_| used) else { return Ok(None) };
            let cell = cell_of(record, *column);
            if is_missing(cell) {
                missing.get_or_insert_with(|| name.clone());
                return Ok(None);
            }
            number(row, name, cell).map(Some)
        };
        let used = uses.unwrap_or(Uses { trials: true, exposure: true });
        let (weight, trials) = (cell(&self.weights, true)?, cell(&self.trials, used.trials)?);
        let (offset, exposure) = (cell(&self.offset, true)?, cell(&self.exposure, used.exposure)?);
        let refused = |side: &Option<(usize, String)>, value: f64, problem: &str| {
            let column = side.as_ref().map(|(_, name)| name.clone()).unwrap_or_default();
            Error::BadTarget { row, column, value, problem: problem.into() }
        };
        if let (Some(value), Some((_, column))) = (weight.filter(|value| *value <= 0.0), &self.weights) {
            return Err(Error::BadWeight { row, column: column.clone(), value });
        }
        if let Some(value) = trials.filter(|value| *value < 1.0 || *value != value.round()) {
            return Err(refused(&self.trials, value, "is no number of trials; give a whole number from 1 on, or leave the row out"));
        }
        if let Some(value) = exposure.filter(|value| *value <= 0.0) {
            return Err(refused(&self.exposure, value, "is no exposure; give a positive number, or leave the row out"));
        }
        Ok(Side {
            weight: trials.or(weight).unwrap_or(1.0),
            offset: offset.unwrap_or(0.0) + exposure.map_or(0.0, f64::ln),
            missing,
            counts: self.trials.is_some() && used.trials,
        })
    }
}

impl Side {
    /// The target that the model has: the share of successes where the table counts them.
    pub(super) fn share(&self, target: f64, row: u64, column: &str) -> Result<f64> {
        if !self.counts || self.missing.is_some() {
            return Ok(target);
        }
        if target < 0.0 || target > self.weight || (!target.is_nan() && target != target.round()) {
            let problem =
                format!("is no number of successes in {} trials; give a whole number from 0 to the number of trials", self.weight);
            return Err(Error::BadTarget { row, column: column.into(), value: target, problem });
        }
        Ok(target / self.weight)
    }
}
