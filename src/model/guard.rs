//! Tasks that lose by sharing, fitted by themselves beside the fit of the others.

use super::Fit;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// How much better the held-out rows of a task are predicted when it shares than when it is learned alone, in nats of log predictive density a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The task.
    pub task: String,
    /// Its held-out rows.
    pub rows: usize,
    /// Mean difference of the log densities.
    pub gain: f64,
    /// Its standard error, from the spread of the task's rows and, as if there were four more rows, that of all tasks'.
    pub gain_se: f64,
    /// Expectation of the gain on further rows: with gains of tasks N(m, s^2), m and s of flat priors, each is drawn towards m by as much as
    /// its own rows leave open (Efron and Morris 1975).
    pub expected: f64,
    /// Lower end of its central interval of 95 %.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Gain {
    /// Whether sharing is expected to cost this task something.
    pub fn is_expected_loss(&self) -> bool {
        self.expected < 0.0
    }

    /// Whether it is all but certain that sharing costs this task something: the whole interval is below 0.
    pub fn is_loss(&self) -> bool {
        self.high < 0.0
    }
}

/// What a guard found out: the gain of every task, and the fit of those that are detached, each by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Guarded {
    gains: Vec<Gain>,
    alone: Option<Box<Fit>>,
}

impl Fit {
    /// The fit with what each task gains by sharing, and beside it the fit of tasks that would lose, each by itself: they neither learn from the others
    /// nor teach them, and [`Fit::predict`] knows them by name.
    ///
    /// # Errors
    /// [`Error::Arguments`] where a task is in both fits, or the two have other features.
    pub fn guarded(mut self, gains: Vec<Gain>, alone: Option<Fit>) -> Result<Self> {
        if let Some(alone) = &alone {
            if alone.tasks.design().features() != self.tasks.design().features() {
                return Err(Error::Arguments(
                    "tasks that are detached have other features than the fit; fit them to the same columns".into(),
                ));
            }
            if let Some(task) = alone.tasks.names().iter().find(|name| self.task_number(name).is_some()) {
                return Err(Error::Arguments(format!("task '{task}' is detached and in the fit too; leave it out of one")));
            }
        }
        self.guarded = Some(Guarded { gains, alone: alone.map(Box::new) });
        Ok(self)
    }

    /// What every task gains by sharing, where a guard has found it out.
    pub fn gains(&self) -> &[Gain] {
        self.guarded.as_ref().map_or(&[], |own| &own.gains)
    }

    /// The fit of tasks that a guard has detached, each by itself.
    pub fn detached(&self) -> Option<&Fit> {
        self.guarded.as_ref()?.alone.as_deref()
    }

    /// The fit of the detached tasks and the number there, of a task by name.
    pub(super) fn detached_task(&self, task: &str) -> Option<(&Fit, usize)> {
        let alone = self.detached()?;
        Some((alone, alone.task_number(task)?))
    }
}
