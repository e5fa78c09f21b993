//! Rows folded into the statistics of their tasks as they come, and tasks that add and subtract.

use super::{Design, Tasks};
use crate::error::{Error, Result};
use crate::quadratic::{RowBlock, Statistics};
use rayon::prelude::*;
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

/// Tasks whose rows are added by one piece of parallel work, at most.
const TASKS: usize = 16;

/// Rows of numbered tasks that are still to be added: features, target and weight of each one after another.
#[derive(Default)]
pub(crate) struct HeldRows {
    pub tasks: Vec<u32>,
    pub numbers: Vec<f64>,
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
    pub(crate) fn begin(&mut self, task: usize, x: &[f64], y: f64) {
        if !self.begun[task] {
            self.begun[task] = true;
            let shift = &mut self.shift[task * (self.features + 1)..(task + 1) * (self.features + 1)];
            shift[..self.features].copy_from_slice(x);
            shift[self.features] = y;
        }
    }

    /// Adds a row of a task that was begun.
    pub(crate) fn add(&mut self, task: usize, x: &[f64], y: f64, weight: f64) {
        let shift = &self.shift[task * (self.features + 1)..(task + 1) * (self.features + 1)];
        for ((cell, value), shift) in self.row.iter_mut().zip(x).zip(shift) {
            *cell = value - shift;
        }
        self.statistics[task].add_row(&self.row, y - shift[self.features], weight);
    }

    /// Whether so many rows are held that adding them reads and writes every sum for several of them: as many numbers as half of the sums have.
    pub(crate) fn are_worth_adding(&self, held: &[HeldRows]) -> bool {
        let sums = self.statistics.len() * (self.features + 2) * (self.features + 3) / 2;
        held.iter().map(|rows| rows.numbers.len()).sum::<usize>() >= sums / 2
    }

    /// Adds rows, those of every task in their order, whatever the thread count; tasks that are new begin with their first.
    pub(crate) fn add_all(&mut self, held: &[HeldRows]) {
        let width = self.features + 2;
        let mut ends = vec![0; self.statistics.len() + 1];
        held.iter().flat_map(|rows| &rows.tasks).for_each(|task| ends[*task as usize + 1] += 1);
        (1..ends.len()).for_each(|t| ends[t] += ends[t - 1]);
        // Places of the rows of every task one after another; what was its begin is its end in the end.
        let mut places = vec![(0u32, 0u32); ends[ends.len() - 1]];
        for (part, rows) in held.iter().enumerate() {
            for (row, task) in rows.tasks.iter().enumerate() {
                let end = &mut ends[*task as usize];
                places[*end] = (part as u32, row as u32);
                *end += 1;
            }
        }
        let place = |(part, row): &(u32, u32)| &held[*part as usize].numbers[*row as usize * width..(*row as usize + 1) * width];
        let tasks = self.statistics.par_iter_mut().zip(&mut self.begun).zip(self.shift.par_chunks_exact_mut(width - 1));
        tasks.enumerate().with_max_len(TASKS).for_each_init(RowBlock::default, |block, (t, ((statistics, begun), shift))| {
            let own = &places[if t == 0 { 0 } else { ends[t - 1] }..ends[t]];
            if let Some(first) = own.first().filter(|_| !std::mem::replace(begun, true)) {
                shift.copy_from_slice(&place(first)[..width - 1]);
            }
            statistics.add_rows(own.iter().map(place), shift, block);
        });
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

    /// Whether a task has the sums of a task of others, to rounding, and so as good as certainly its rows.
    pub(crate) fn has_rows_of(&self, task: usize, others: &Tasks, number: usize) -> bool {
        const ROUNDING: f64 = 1e-8;
        let (own, other) = (&self.statistics[task], others.about(number, self.shift(task)));
        let near = |i: usize, j: usize| {
            let scale = (own.cross(i, i) * own.cross(j, j)).sqrt();
            (own.cross(i, j) - other.cross(i, j)).abs() <= ROUNDING * scale
        };
        own.rows() == other.rows() && (0..self.design.columns() + 2).all(|i| (0..=i).all(|j| near(i, j)))
    }

    /// These tasks with the rows of others, which have these numbers among them, whatever their names.
    pub(crate) fn with_rows_of(&self, others: &Tasks, numbers: &[usize]) -> Tasks {
        let mut all = Tasks { rows: None, ..self.clone() };
        for (t, own) in numbers.iter().enumerate() {
            all.statistics[*own] = &all.statistics[*own] + &others.about(t, self.shift(*own));
        }
        all
    }

    /// Some of these tasks, without their rows.
    pub(crate) fn of_tasks(&self, tasks: &[usize]) -> Tasks {
        let names: Vec<String> = tasks.iter().map(|t| self.names[*t].clone()).collect();
        Tasks {
            shift: tasks.iter().flat_map(|t| self.shift(*t)).copied().collect(),
            statistics: tasks.iter().map(|t| self.statistics[*t].clone()).collect(),
            group: tasks.iter().filter_map(|t| self.group.get(*t)).copied().collect(),
            alike: self.alike.iter().filter(|name| names.contains(name)).cloned().collect(),
            rows: None,
            names,
            ..self.clone()
        }
    }

    /// These tasks without any row.
    pub(crate) fn without_rows(&self) -> Tasks {
        let statistics = self.names.iter().map(|_| Statistics::new(self.design.columns())).collect();
        Tasks { statistics, rows: None, ..self.clone() }
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
