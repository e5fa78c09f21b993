//! The column that makes groups of tasks by their family, and refuses a task with two.

use super::cells::is_missing;
use super::{Source, cell_of};
use crate::error::{Error, Result};
use crate::tasks::Rows;
use std::collections::{HashMap, HashSet};
use std::io::Read;

/// The column, and what it has said so far of each task by number.
pub(super) struct FamilyColumn {
    column: usize,
    name: String,
    of_task: HashMap<u32, String>,
}

/// Which columns beside features and target a family has a use for.
#[derive(Clone, Copy)]
pub(crate) struct Uses {
    pub trials: bool,
    pub exposure: bool,
}

impl Uses {
    pub(crate) fn of(family: &str) -> Self {
        Uses { trials: matches!(family, "binomial" | "probit"), exposure: matches!(family, "poisson" | "negative-binomial" | "gamma") }
    }
}

impl FamilyColumn {
    pub(super) fn of<R: Read>(source: &Source<R>, name: &str) -> Result<Self> {
        Ok(FamilyColumn { column: source.column(name)?, name: name.into(), of_task: HashMap::new() })
    }

    pub(super) fn column(&self) -> usize {
        self.column
    }

    /// What a row's family has a use for.
    pub(super) fn uses(&self, record: &csv::StringRecord) -> Uses {
        Uses::of(cell_of(record, self.column))
    }

    /// Takes down what a row says of its task.
    pub(super) fn note(&mut self, record: &csv::StringRecord, row: u64, (number, task): (u32, &str)) -> Result<()> {
        let family = cell_of(record, self.column);
        match self.of_task.get(&number) {
            _ if is_missing(family) => Err(Error::MissingValue { row, column: self.name.clone() }),
            None => {
                self.of_task.insert(number, family.into());
                Ok(())
            }
            Some(own) if own == family => Ok(()),
            Some(own) => Err(Error::Arguments(format!(
                "row {row}: task '{task}' has the family '{family}' in column '{}' and '{own}' in a row above; a task has one family",
                self.name
            ))),
        }
    }

    /// Groups the tasks by their families; `order` has the names of the tasks by number.
    pub(super) fn group(&self, rows: &mut Rows, order: &[String]) -> Result<()> {
        let with_rows: HashSet<String> = rows.names().iter().cloned().collect();
        let named = order.iter().enumerate().filter(|(_, task)| with_rows.contains(*task));
        named
            .filter_map(|(number, task)| Some((task, self.of_task.get(&(number as u32))?)))
            .try_for_each(|(task, family)| rows.set_group(task, family))
    }
}
