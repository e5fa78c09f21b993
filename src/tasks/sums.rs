//! Rows folded into the statistics of their tasks as they come, and tasks that add and subtract.

use super::{Design, Tasks};
use crate::error::{Error, Result};
use crate::quadratic::Statistics;
use std::collections::{HashMap, HashSet};

/// The statistics of numbered tasks, each about its first row.
#[derive(Default)]
pub(crate) struct TaskSums {
    features: usize,
    begun: Vec<bool>,
    shift: Vec<f64>,
    statistics: Vec<Statistics>,
    row: Vec<f64>,
}

impl TaskSums {
    pub(crate) fn new(features: usize) -> Self {
        TaskSums { features, row: vec![0.0; features], ..TaskSums::default() }
    }

    /// Room for so many tasks.
    pub(crate) fn resize(&mut self, tasks: usize) {
        self.begun.resize(tasks, false);
        self.shift.resize(tasks * (self.features + 1), 0.0);
        self.statistics.resize_with(tasks, || Statistics::new(self.features));
    }

    /// Makes a row the shift of its task, where it has none.
    #[inline(always)]
    pub(crate) fn begin(&mut self, task: usize, x: &[f64], y: f64) {
        if !self.begun[task] {
            self.begun[task] = true;
            let shift = &mut self.shift[task * (self.features + 1)..(task + 1) * (self.features + 1)];
            shift[..self.features].copy_from_slice(x);
            shift[self.features] = y;
        }
    }

    /// Adds a row of a task that was begun.
    #[inline(always)]
    pub(crate) fn add(&mut self, task: usize, x: &[f64], y: f64, weight: f64) {
        let shift = &self.shift[task * (self.features + 1)..(task + 1) * (self.features + 1)];
        for ((cell, value), shift) in self.row.iter_mut().zip(x).zip(shift) {
            *cell = value - shift;
        }
        self.statistics[task].add_row(&self.row, y - shift[self.features], weight);
    }

    /// The tasks, task t of several sets of sums being task t / n of set t % n.
    pub(crate) fn joined(sets: Vec<TaskSums>, tasks: usize) -> TaskSums {
        let features = sets.first().map_or(0, |set| set.features);
        let mut all = TaskSums::new(features);
        let count = sets.len();
        let mut sets: Vec<_> = sets.into_iter().map(|set| (set.shift, set.statistics.into_iter())).collect();
        for t in 0..tasks {
            let (shift, statistics) = &mut sets[t % count];
            all.shift.extend_from_slice(&shift[t / count * (features + 1)..(t / count + 1) * (features + 1)]);
            all.statistics.extend(statistics.next());
        }
        all
    }

    /// Named tasks.
    pub(crate) fn tasks(self, target: &str, names: Vec<String>, design: &Design) -> Tasks {
        Tasks {
            target: target.to_string(),
            names,
            design: design.clone(),
            shift: self.shift,
            statistics: self.statistics,
            estimates: false,
            alike: Vec::new(),
            groups: Vec::new(),
            group: Vec::new(),
            rows: None,
        }
    }
}

impl Tasks {
    /// With the names of the tasks whose rows have the same features as rows of others.
    pub(crate) fn with_alike(mut self, tasks: Vec<usize>) -> Self {
        self.alike = tasks.into_iter().map(|t| self.names[t].clone()).collect();
        self
    }

    /// Whether every task has a name, a shift and statistics of finite numbers, as all have that were made and not edited.
    pub(crate) fn is_consistent(&self) -> bool {
        let (tasks, columns) = (self.names.len(), self.design.columns());
        self.statistics.len() == tasks
            && self.shift.len() == tasks * (columns + 1)
            && self.shift.iter().all(|value| value.is_finite())
            && self.statistics.iter().all(|own| own.is_consistent(columns))
            && (self.group.is_empty() || self.group.len() == tasks && self.group.iter().all(|own| *own < self.groups.len()))
    }

    /// Refuses tasks that do not add.
    fn check_same_columns(&self, other: &Tasks) -> Result<()> {
        let problem = if self.target != other.target {
            format!("the targets differ: '{}' and '{}'", self.target, other.target)
        } else if self.design != other.design {
            let of = |tasks: &Tasks| tasks.design.features().join(", ");
            let varying = |tasks: &Tasks| {
                let names = tasks.design.varying_features().into_iter().map(|f| tasks.design.features()[f].clone());
                names.collect::<Vec<_>>().join(", ")
            };
            match (of(self) == of(other), varying(self) == varying(other)) {
                (false, _) => format!("the features differ: {} and {}", of(self), of(other)),
                (true, false) => format!("what varies between tasks differs: {} and {}", varying(self), varying(other)),
                (true, true) => "the graph features, or what has a mean, differ".to_string(),
            }
        } else if !self.groups.is_empty() || !other.groups.is_empty() || self.estimates != other.estimates {
            "groups of tasks and estimates do not add to rows".to_string()
        } else {
            return Ok(());
        };
        Err(Error::Arguments(format!("{problem}; make both statistics with the same columns")))
    }

    /// These tasks with the rows of others of the same columns, about whatever shifts: rows of a task that both name add, other tasks
    /// follow. The sums are those of all rows in one pass, to rounding. O(T d^2).
    ///
    /// ```
    /// use cognate::{Design, Rows};
    /// let mut parts = [Rows::new("y", &["x"]), Rows::new("y", &["x"])];
    /// parts[0].push("north", &[1e8], 1.0, 1.0)?;
    /// parts[1].push("north", &[1e8 + 2.0], 4.0, 1.0)?;
    /// parts[1].push("south", &[3.0], 2.0, 1.0)?;
    /// let design = Design::varying(&["x"]);
    /// let [a, b] = parts.map(|rows| rows.tasks(&design));
    /// let both = a.plus(&b)?;
    /// assert_eq!((both.names(), both.rows()), (&["north".to_string(), "south".to_string()][..], 3));
    /// assert_eq!(both.minus(&b)?.statistics(0), a.statistics(0));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for other targets or features.
    pub fn plus(&self, other: &Tasks) -> Result<Tasks> {
        self.check_same_columns(other)?;
        let mut all = Tasks { rows: None, ..self.clone() };
        let numbers: HashMap<&str, usize> = self.names.iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
        for (t, name) in other.names.iter().enumerate() {
            if let Some(own) = numbers.get(name.as_str()) {
                all.statistics[*own] = &self.statistics[*own] + &other.about(t, self.shift(*own));
            } else {
                all.names.push(name.clone());
                all.shift.extend_from_slice(other.shift(t));
                all.statistics.push(other.statistics[t].clone());
            }
        }
        let known: HashSet<&String> = self.alike.iter().collect();
        all.alike.extend(other.alike.iter().filter(|name| !known.contains(name)).cloned());
        Ok(all)
    }

    /// These tasks without the rows of others, which were added before; tasks of which no row is left are left out. O(T d^2).
    ///
    /// # Errors
    /// [`Error::Arguments`] for other targets or features, and for rows that are not among these.
    pub fn minus(&self, other: &Tasks) -> Result<Tasks> {
        self.check_same_columns(other)?;
        let numbers: HashMap<&str, usize> = self.names.iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
        let mut rest = Tasks { rows: None, ..self.clone() };
        for (t, name) in other.names.iter().enumerate() {
            let refused = |problem: &str| Error::Arguments(format!("task '{name}' {problem}; subtract only statistics that were added"));
            let own = *numbers.get(name.as_str()).ok_or_else(|| refused("has no rows here"))?;
            let before = &self.statistics[own];
            if before.rows() < other.statistics[t].rows() {
                return Err(refused("has fewer rows than are subtracted"));
            }
            let left = before - &other.about(t, self.shift(own));
            if !left.are_sums_of(before) {
                return Err(refused("has other rows than those subtracted"));
            }
            rest.statistics[own] = left;
        }
        let kept: Vec<usize> = (0..rest.len()).filter(|t| rest.statistics[*t].rows() > 0).collect();
        if kept.len() < rest.len() {
            let (names, shift, mut statistics) = (&self.names, &self.shift, std::mem::take(&mut rest.statistics));
            let width = self.design.columns() + 1;
            rest.names = kept.iter().map(|t| names[*t].clone()).collect();
            rest.shift = kept.iter().flat_map(|t| shift[t * width..(t + 1) * width].iter().copied()).collect();
            rest.statistics = kept.iter().map(|t| std::mem::replace(&mut statistics[*t], Statistics::new(0))).collect();
            rest.alike.retain(|name| rest.names.contains(name));
        }
        Ok(rest)
    }
}
