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

/// What a guard found out: the gain of every task, who is detached, and a fit in which every one of these is by itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Guarded {
    gains: Vec<Gain>,
    detached: Vec<String>,
    alone: Option<Box<Fit>>,
}

impl Fit {
    /// The fit with what each task gains by sharing, and, where tasks are detached, beside it a fit in which each is by itself (with others or without), which are
    /// known from then on: they neither learn from the tasks of this fit nor teach them, and [`Fit::predict`] knows them by name.
    ///
    /// # Errors
    /// [`Error::Arguments`] where a detached task is in the fit, or not in the one beside it, or the two have other features.
    pub fn guarded(mut self, gains: Vec<Gain>, detached: Vec<String>, alone: Option<Fit>) -> Result<Self> {
        if let Some(alone) = &alone
            && alone.tasks.design().features() != self.tasks.design().features()
        {
            return Err(Error::Arguments("tasks that are detached have other features than the fit; fit them to the same columns".into()));
        }
        for task in &detached {
            if self.task_number(task).is_some() {
                return Err(Error::Arguments(format!("task '{task}' is detached and in the fit too; leave it out of one")));
            }
            if alone.as_ref().and_then(|alone| alone.task_number(task)).is_none() {
                return Err(Error::Arguments(format!("task '{task}' is detached and not fitted by itself; give the fit that has it")));
            }
        }
        let alone = alone.filter(|_| !detached.is_empty()).map(Box::new);
        self.guarded = Some(Guarded { gains, detached, alone });
        Ok(self)
    }

    /// What every task gains by sharing, where a guard has found it out.
    pub fn gains(&self) -> &[Gain] {
        self.guarded.as_ref().map_or(&[], |own| &own.gains)
    }

    /// The tasks that a guard has detached.
    pub fn detached(&self) -> &[String] {
        self.guarded.as_ref().map_or(&[], |own| &own.detached)
    }

    /// A fit in which the detached tasks are, each by itself.
    pub fn alone(&self) -> Option<&Fit> {
        self.guarded.as_ref()?.alone.as_deref()
    }

    /// That fit and the number there of a detached task by name.
    pub(crate) fn detached_task(&self, task: &str) -> Option<(&Fit, usize)> {
        let is_detached = self.detached().iter().any(|own| own == task);
        let alone = self.alone().filter(|_| is_detached)?;
        Some((alone, alone.task_number(task)?))
    }

    /// # Errors
    /// [`Error::Arguments`] for a task that a guard has detached, of which only predictions and parameters are known.
    pub(crate) fn check_attached(&self, task: &str) -> Result<()> {
        if self.detached().iter().any(|own| own == task) {
            let problem =
                "is detached: it is fitted by itself, for it would lose by sharing; only 'cognate tasks' and 'cognate predict' know it";
            return Err(Error::Arguments(format!("task '{task}' {problem}")));
        }
        Ok(())
    }
}
