//! Observations row by row, as they are pushed.

use super::{Alike, Design, LARGEST, TaskSums, Tasks};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// Observations in the order they came: task, features, target and weight of each row.
///
/// ```
/// use cognate::{Design, Rows};
/// let mut rows = Rows::new("score", &["hours"]);
/// rows.push("north", &[1.0], 2.0, 1.0)?;
/// rows.push("south", &[2.0], 3.5, 1.0)?;
/// let tasks = rows.tasks(&Design::varying(rows.features()));
/// assert_eq!(tasks.names(), ["north", "south"]);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    target_name: String,
    features: Vec<String>,
    names: Vec<String>,
    index: HashMap<String, u32>,
    task: Vec<u32>,
    x: Vec<f64>,
    y: Vec<f64>,
    weight: Vec<f64>,
    offset: Vec<f64>,
    /// Names of the units that tasks share, and of each row the number of its own; empty where they share none.
    units: Vec<String>,
    unit_index: HashMap<String, u32>,
    unit: Vec<u32>,
    /// Names of the groups of tasks, and of each task the number of its own; empty where no group was named.
    groups: Vec<String>,
    group: Vec<u32>,
}

/// The group of a task for which none was named.
const NO_GROUP: u32 = u32::MAX;

impl Rows {
    /// No rows yet, of a target and some features (the intercept is not among them).
    pub fn new<S: AsRef<str>>(target: &str, features: &[S]) -> Self {
        let features = features.iter().map(|name| name.as_ref().to_string()).collect();
        Rows { target_name: target.to_string(), features, ..Rows::default() }
    }

    /// Adds a row; a new task name makes a new task, numbered in order of appearance.
    ///
    /// # Errors
    /// A value that is not finite, a weight that is not positive, or a row of another length.
    pub fn push(&mut self, task: &str, x: &[f64], y: f64, weight: f64) -> Result<()> {
        self.push_with_offset(task, x, y, weight, 0.0)
    }

    /// As [`Rows::push`], of a row whose linear predictor is x' w + `offset`: for counts the logarithm of the exposure.
    ///
    /// ```
    /// let mut rows = cognate::Rows::new("claims", &["age"]);
    /// rows.push_with_offset("north", &[40.0], 1.0, 1.0, 0.5f64.ln())?;
    /// assert_eq!(rows.offset(0), 0.5f64.ln());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rows::push`].
    pub fn push_with_offset(&mut self, task: &str, x: &[f64], y: f64, weight: f64, offset: f64) -> Result<()> {
        self.push_row(None, task, x, y, (weight, offset))
    }

    /// As [`Rows::push`], of a row that was measured on a unit (a patient, a day, a city) on which other tasks may have been measured too,
    /// so that their errors are correlated ([`CorrelatedGaussian`](crate::CorrelatedGaussian)). All rows name their unit, or none.
    ///
    /// ```
    /// let mut rows = cognate::Rows::new("level", &["age"]);
    /// rows.push_of_unit("patient 1", "iron", &[40.0], 11.0, 1.0)?;
    /// rows.push_of_unit("patient 1", "zinc", &[40.0], 13.0, 1.0)?;
    /// assert_eq!(rows.units(), ["patient 1"]);
    /// assert!(rows.push("iron", &[30.0], 12.0, 1.0).is_err());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Rows::push`], and [`Error::Arguments`] where rows before it named none.
    pub fn push_of_unit(&mut self, unit: &str, task: &str, x: &[f64], y: f64, weight: f64) -> Result<()> {
        self.push_row(Some(unit), task, x, y, (weight, 0.0))
    }

    pub(crate) fn push_row(&mut self, unit: Option<&str>, task: &str, x: &[f64], y: f64, (weight, offset): (f64, f64)) -> Result<()> {
        let row = self.len() as u64 + 1;
        if !self.is_empty() && unit.is_some() == self.unit.is_empty() {
            let problem = format!("row {row} and those before it differ in whether they name a unit; let all rows name one, or none");
            return Err(Error::Arguments(problem));
        }
        if x.len() != self.features.len() {
            return Err(Error::Shape { what: format!("row {row}"), found: x.len(), expected: self.features.len() });
        }
        let of_offset = "offset".to_string();
        let named = self.features.iter().zip(x).chain([(&self.target_name, &y), (&of_offset, &offset)]);
        for (column, value) in named {
            if !value.is_finite() {
                return Err(Error::NotFinite { row, column: column.clone(), value: value.to_string() });
            }
            if value.abs() > LARGEST {
                return Err(Error::TooLargeValue { row, column: column.clone(), value: *value });
            }
        }
        if !(weight > 1.0 / LARGEST && weight < LARGEST) {
            return Err(Error::BadWeight { row, column: "weight".into(), value: weight });
        }
        let index = match self.task.last() {
            // Tables are mostly sorted by task.
            Some(last) if self.names[*last as usize] == task => *last,
            _ => self.number(task),
        };
        if let Some(unit) = unit {
            let next = self.units.len() as u32;
            let number = *self.unit_index.entry(unit.to_string()).or_insert(next);
            if number == next {
                self.units.push(unit.to_string());
            }
            self.unit.push(number);
        }
        self.task.push(index);
        self.x.extend_from_slice(x);
        self.y.push(y);
        self.weight.push(weight);
        self.offset.push(offset);
        Ok(())
    }

    /// Makes a task of that name known, though it may have no row.
    ///
    /// ```
    /// let mut rows = cognate::Rows::new("score", &["hours"]);
    /// rows.push("north", &[1.0], 2.0, 1.0)?;
    /// rows.name_task("south");
    /// assert_eq!((rows.names().len(), rows.len()), (2, 1));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn name_task(&mut self, task: &str) {
        self.number(task);
    }

    /// The number of a task, a new one for a new name.
    fn number(&mut self, task: &str) -> u32 {
        if let Some(index) = self.index.get(task) {
            return *index;
        }
        let next = self.names.len() as u32;
        self.names.push(task.to_string());
        self.index.insert(task.to_string(), next);
        next
    }

    /// Puts a task into a group; the tasks of a group have a mean and a scale of their own, and one [`Family`](crate::Family) (see
    /// [`Generalised::by_group`](crate::Generalised::by_group)). Tasks for which none is named form one together, without a name.
    ///
    /// ```
    /// let mut rows = cognate::Rows::new("outcome", &["dose"]);
    /// rows.push("pain", &[1.0], 3.5, 1.0)?;
    /// rows.push("relapse", &[1.0], 0.0, 1.0)?;
    /// rows.set_group("pain", "gaussian")?;
    /// rows.set_group("relapse", "bernoulli")?;
    /// assert_eq!((rows.groups(), rows.group(1)), (&["gaussian".to_string(), "bernoulli".to_string()][..], 1));
    /// # Ok::<(), cognate::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Arguments`] for a task without rows so far, or in another group already.
    pub fn set_group(&mut self, task: &str, group: &str) -> Result<()> {
        let Some(task_number) = self.index.get(task).map(|t| *t as usize) else {
            return Err(Error::Arguments(format!("task '{task}' has no rows yet; push them before its group is named")));
        };
        let number = self.groups.iter().position(|own| own == group).unwrap_or(self.groups.len());
        match self.group.get(task_number).filter(|own| **own != NO_GROUP) {
            Some(own) if *own as usize != number => {
                let own = &self.groups[*own as usize];
                return Err(Error::Arguments(format!(
                    "task '{task}' is in the groups '{own}' and '{group}'; a task is in one, so name it once"
                )));
            }
            _ => {}
        }
        if number == self.groups.len() {
            self.groups.push(group.to_string());
        }
        if self.group.len() <= task_number {
            self.group.resize(task_number + 1, NO_GROUP);
        }
        self.group[task_number] = number as u32;
        Ok(())
    }

    /// Names of the groups of tasks, in the order in which they were named.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// The number of a task's group, that of no name for tasks for which none was named.
    pub fn group(&self, task: usize) -> usize {
        match self.group.get(task) {
            Some(own) if *own != NO_GROUP => *own as usize,
            _ => self.groups.iter().position(String::is_empty).unwrap_or(self.groups.len()),
        }
    }

    /// Names of the groups and the group of every task; nothing where no group was named.
    fn grouped(&self) -> (Vec<String>, Vec<usize>) {
        if self.groups.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let of_task: Vec<usize> = (0..self.names.len()).map(|t| self.group(t)).collect();
        let mut names = self.groups.clone();
        if of_task.contains(&names.len()) {
            names.push(String::new());
        }
        (names, of_task)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.y.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.y.is_empty()
    }

    /// Names of the features.
    pub fn features(&self) -> &[String] {
        &self.features
    }

    /// Names of the tasks, in order of appearance.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Name of the target.
    pub fn target(&self) -> &str {
        &self.target_name
    }

    /// The task number of row `i`.
    pub fn task(&self, i: usize) -> usize {
        self.task[i] as usize
    }

    /// The features of row `i`.
    pub fn x(&self, i: usize) -> &[f64] {
        let d = self.features.len();
        &self.x[i * d..(i + 1) * d]
    }

    /// The target of row `i`.
    pub fn y(&self, i: usize) -> f64 {
        self.y[i]
    }

    /// The weight of row `i`.
    pub fn weight(&self, i: usize) -> f64 {
        self.weight[i]
    }

    /// What the linear predictor of row `i` has beside x' w.
    pub fn offset(&self, i: usize) -> f64 {
        self.offset[i]
    }

    /// Names of the units that tasks share, in order of appearance; none where rows name none.
    pub fn units(&self) -> &[String] {
        &self.units
    }

    /// The name of the unit of row `i`.
    ///
    /// # Panics
    /// Where rows name none.
    pub fn unit_name(&self, i: usize) -> &str {
        &self.units[self.unit(i)]
    }

    /// The number of the unit of row `i`.
    pub(crate) fn unit(&self, i: usize) -> usize {
        self.unit[i] as usize
    }

    /// The rows for which `keep(row)` holds; tasks left without rows stay, empty.
    pub fn subset(&self, keep: impl Fn(usize) -> bool) -> Rows {
        let mut part = Rows {
            names: self.names.clone(),
            index: self.index.clone(),
            units: self.units.clone(),
            unit_index: self.unit_index.clone(),
            groups: self.groups.clone(),
            group: self.group.clone(),
            ..Rows::new(&self.target_name, &self.features)
        };
        for i in (0..self.len()).filter(|i| keep(*i)) {
            part.task.push(self.task[i]);
            part.x.extend_from_slice(self.x(i));
            part.y.push(self.y[i]);
            part.weight.push(self.weight[i]);
            part.offset.push(self.offset[i]);
            part.unit.extend(self.unit.get(i));
        }
        part
    }

    /// The rows of the tasks for which `keep(task)` holds; the other tasks are gone.
    pub fn of_tasks(&self, keep: impl Fn(usize) -> bool) -> Rows {
        let kept: Vec<usize> = (0..self.names.len()).filter(|t| keep(*t)).collect();
        let mut part = self.subset(|i| keep(self.task(i)));
        let mut place = vec![0; self.names.len()];
        kept.iter().enumerate().for_each(|(new, old)| place[*old] = new as u32);
        part.task.iter_mut().for_each(|task| *task = place[*task as usize]);
        part.names = kept.iter().map(|t| self.names[*t].clone()).collect();
        part.index = part.names.iter().enumerate().map(|(t, name)| (name.clone(), t as u32)).collect();
        part.group = kept.iter().filter_map(|t| self.group.get(*t).cloned()).collect();
        part
    }

    /// Folds the rows into one set of statistics a task, of targets less offsets. O(n d^2), one pass.
    pub fn tasks(&self, design: &Design) -> Tasks {
        self.tasks_of(design, |_| true)
    }

    /// As [`Rows::tasks`], with only the rows for which `keep(row)` holds; tasks left without rows stay, empty.
    pub fn tasks_of(&self, design: &Design, keep: impl Fn(usize) -> bool) -> Tasks {
        let mut sums = TaskSums::new(self.features.len());
        sums.resize(self.names.len());
        for i in 0..self.len() {
            sums.begin(self.task(i), self.x(i), self.y(i) - self.offset[i]);
            if keep(i) {
                sums.add(self.task(i), self.x(i), self.y(i) - self.offset[i], self.weight[i]);
            }
        }
        let mut alike = Alike::default();
        if !self.features.is_empty() && self.units.is_empty() && self.names.len() > 1 {
            (0..self.len()).filter(|i| keep(*i)).for_each(|i| alike.note(self.x(i), self.task(i), self.len()));
        }
        let (groups, group) = self.grouped();
        Tasks {
            target: self.target_name.clone(),
            groups,
            group,
            alike: alike.tasks(self.len()).into_iter().map(|t| self.names[t].clone()).collect(),
            ..sums.tasks(&self.target_name, self.names.clone(), design)
        }
    }
}
