//! What is known of tasks beside their rows: a table of descriptors, and where it puts tasks in relation to each other.

use crate::error::{Error, Result};
use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::f64::consts::FRAC_1_SQRT_2;

/// The values of one descriptor, one for every task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DescriptorValues {
    /// A quantity: an age, a coordinate, a dose.
    Numbers(Vec<f64>),
    /// One of several levels: a region, a kind. Two different levels are as far apart as numbers that differ by one standard deviation.
    Levels(Vec<String>),
}

impl DescriptorValues {
    fn len(&self) -> usize {
        match self {
            DescriptorValues::Numbers(values) => values.len(),
            DescriptorValues::Levels(values) => values.len(),
        }
    }
}

/// Descriptors of tasks, by task name; there may be tasks among them of which no row was measured.
///
/// ```
/// use cognate::{DescriptorValues, Descriptors};
/// let tasks = vec!["oslo".to_string(), "rome".to_string()];
/// let latitude = ("latitude".to_string(), DescriptorValues::Numbers(vec![59.9, 41.9]));
/// let coast = ("coast".to_string(), DescriptorValues::Levels(vec!["yes".into(), "no".into()]));
/// let descriptors = Descriptors::new(tasks, vec![latitude, coast])?;
/// assert_eq!(descriptors.names(), ["latitude", "coast"]);
/// assert!(Descriptors::new(vec!["oslo".to_string()], vec![]).is_err());
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descriptors {
    tasks: Vec<String>,
    names: Vec<String>,
    values: Vec<DescriptorValues>,
}

impl Descriptors {
    /// With a name and a value for every task of each.
    ///
    /// # Errors
    /// [`Error::Arguments`] without a descriptor, for a task or a descriptor named twice, and for a number that is not finite; [`Error::Shape`] for
    /// another number of values.
    pub fn new(tasks: Vec<String>, descriptors: Vec<(String, DescriptorValues)>) -> Result<Self> {
        let refuse = |problem: String| Err(Error::Arguments(problem));
        if descriptors.is_empty() {
            return refuse("there is no descriptor of the tasks; give a column beside that of the task names".into());
        }
        let mut seen = HashMap::new();
        if let Some(twice) = tasks.iter().find(|task| seen.insert(task.as_str(), ()).is_some()) {
            return refuse(format!("task '{twice}' has two rows of descriptors; keep one"));
        }
        for (i, (name, values)) in descriptors.iter().enumerate() {
            if values.len() != tasks.len() {
                return Err(Error::Shape { what: format!("the descriptor '{name}'"), found: values.len(), expected: tasks.len() });
            }
            if descriptors[..i].iter().any(|(other, _)| other == name) {
                return refuse(format!("two descriptors are named '{name}'; rename one"));
            }
            if let DescriptorValues::Numbers(numbers) = values
                && let Some(t) = numbers.iter().position(|value| value.is_nan() || value.abs() > super::LARGEST)
            {
                return refuse(format!(
                    "the descriptor '{name}' of task '{}' is {}; give a finite number of usual size",
                    tasks[t], numbers[t]
                ));
            }
        }
        let (names, values) = descriptors.into_iter().unzip();
        Ok(Descriptors { tasks, names, values })
    }

    /// Task names.
    pub fn tasks(&self) -> &[String] {
        &self.tasks
    }

    /// Names of the descriptors.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The values of every descriptor, as [`Descriptors::tasks`] are ordered.
    pub fn values(&self) -> &[DescriptorValues] {
        &self.values
    }
}

/// How one descriptor becomes coordinates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Axis {
    /// One, over the standard deviation about the mean of the tasks.
    Number { centre: f64, scale: f64 },
    /// One a level: 1 / sqrt(2) for its tasks, less the mean of all.
    Levels { levels: Vec<String>, centres: Vec<f64> },
}

/// Where tasks are in the space of their descriptors, each of unit spread.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Points {
    names: Vec<String>,
    axes: Vec<Axis>,
    /// The descriptor of every coordinate.
    of: Vec<usize>,
    /// A column a task.
    #[serde(with = "crate::linalg::record::matrix")]
    at: DMatrix<f64>,
}

impl Points {
    /// Of the tasks of these names, in their order.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a task without descriptors, and where another of the table has a level that none of these has.
    pub(crate) fn of(descriptors: &Descriptors, tasks: &[String]) -> Result<Self> {
        let place: HashMap<&str, usize> = descriptors.tasks.iter().enumerate().map(|(row, task)| (task.as_str(), row)).collect();
        let missing: Vec<&str> = tasks.iter().map(String::as_str).filter(|task| !place.contains_key(task)).collect();
        if let Some(first) = missing.first() {
            let more = if missing.len() > 1 { format!(" and {} more", missing.len() - 1) } else { String::new() };
            return Err(Error::Arguments(format!(
                "task '{first}'{more} of the data has no row in the descriptors; add it, or check how the tasks are named"
            )));
        }
        let rows: Vec<usize> = tasks.iter().map(|task| place[task.as_str()]).collect();
        let axes: Vec<Axis> = descriptors.values.iter().map(|values| Axis::of(values, &rows)).collect();
        let of = axes.iter().enumerate().flat_map(|(k, axis)| std::iter::repeat_n(k, axis.len())).collect();
        let mut points = Points { names: descriptors.names.clone(), axes, of, at: DMatrix::zeros(0, 0) };
        // Those without rows are placed after a fit, which must not have been in vain.
        let all = (0..descriptors.tasks.len()).map(|row| points.place(descriptors, row)).collect::<Result<Vec<_>>>()?;
        let each: Vec<DVector<f64>> = rows.iter().map(|row| all[*row].clone()).collect();
        points.at = if each.is_empty() { DMatrix::zeros(points.of.len(), 0) } else { DMatrix::from_columns(&each) };
        Ok(points)
    }

    /// Where a row of descriptors is, of a task of these points or not.
    ///
    /// # Errors
    /// [`Error::Arguments`] where a descriptor is absent, no number where these are numbers, or a level that none of these tasks has.
    pub(crate) fn place(&self, descriptors: &Descriptors, row: usize) -> Result<DVector<f64>> {
        let task = &descriptors.tasks[row];
        let mut at = Vec::with_capacity(self.of.len());
        for (name, axis) in self.names.iter().zip(self.axes.iter()) {
            let refuse = |problem: String| Err(Error::Arguments(format!("the descriptor '{name}' of task '{task}' {problem}")));
            let Some(k) = descriptors.names.iter().position(|own| own == name) else {
                return Err(Error::missing_column(name, &descriptors.names));
            };
            match (axis, &descriptors.values[k]) {
                (Axis::Number { centre, scale }, DescriptorValues::Numbers(values)) => at.push((values[row] - centre) / scale),
                (Axis::Levels { levels, centres }, values) => {
                    let level = match values {
                        DescriptorValues::Levels(values) => values[row].clone(),
                        DescriptorValues::Numbers(values) => values[row].to_string(),
                    };
                    let Some(own) = levels.iter().position(|known| *known == level) else {
                        return refuse(format!("is '{level}', a level that no task of the fit has; those are {}", levels.join(", ")));
                    };
                    at.extend(centres.iter().enumerate().map(|(j, centre)| if j == own { FRAC_1_SQRT_2 - centre } else { -centre }));
                }
                (Axis::Number { .. }, DescriptorValues::Levels(values)) => {
                    return refuse(format!("is '{}', and those of the fit are numbers; correct it", values[row]));
                }
            }
        }
        Ok(DVector::from_vec(at))
    }

    /// Names of the descriptors.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The unit of each descriptor in which distances are: the standard deviation of a number, 1 for levels.
    pub fn units(&self) -> Vec<f64> {
        let unit = |axis: &Axis| match axis {
            Axis::Number { scale, .. } => *scale,
            Axis::Levels { .. } => 1.0,
        };
        self.axes.iter().map(unit).collect()
    }

    /// Coordinates, a column a task.
    pub(crate) fn coordinates(&self) -> &DMatrix<f64> {
        &self.at
    }

    /// The descriptor of every coordinate.
    pub(crate) fn descriptor_of(&self) -> &[usize] {
        &self.of
    }

    /// Whether numbers belong together as those of so many tasks do.
    pub(crate) fn are_consistent(&self, tasks: usize) -> bool {
        let coordinates: usize = self.axes.iter().map(Axis::len).sum();
        self.at.shape() == (coordinates, tasks)
            && self.of.len() == coordinates
            && self.of.iter().all(|k| *k < self.names.len())
            && self.names.len() == self.axes.len()
            && self.at.iter().all(|value| value.is_finite())
    }
}

impl Axis {
    fn of(values: &DescriptorValues, rows: &[usize]) -> Self {
        let count = rows.len().max(1) as f64;
        match values {
            DescriptorValues::Numbers(values) => {
                // About the first, so that a large offset takes no digits.
                let first = rows.first().map_or(0.0, |row| values[*row]);
                let away = rows.iter().map(|row| values[*row] - first).sum::<f64>() / count;
                let square = rows.iter().map(|row| (values[*row] - first - away).powi(2)).sum::<f64>() / count;
                Axis::Number { centre: first + away, scale: if square > 0.0 { square.sqrt() } else { 1.0 } }
            }
            DescriptorValues::Levels(values) => {
                let mut levels: Vec<String> = rows.iter().map(|row| values[*row].clone()).collect();
                levels.sort();
                levels.dedup();
                let share = |level: &String| rows.iter().filter(|row| values[**row] == *level).count() as f64 / count;
                let centres = levels.iter().map(|level| FRAC_1_SQRT_2 * share(level)).collect();
                Axis::Levels { levels, centres }
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Axis::Number { .. } => 1,
            Axis::Levels { levels, .. } => levels.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Descriptors {
        let tasks = ["a", "b", "c", "new"].map(String::from).to_vec();
        let age = DescriptorValues::Numbers(vec![1e8 + 1.0, 1e8 + 2.0, 1e8 + 3.0, 1e8 + 5.0]);
        let kind = DescriptorValues::Levels(["x", "y", "x", "y"].map(String::from).to_vec());
        Descriptors::new(tasks, vec![("age".into(), age), ("kind".into(), kind)]).unwrap()
    }

    #[test]
    fn distances_are_in_standard_deviations_and_between_levels_one() {
        let descriptors = table();
        let points = Points::of(&descriptors, &["c".into(), "a".into(), "b".into()]).unwrap();
        let at = points.coordinates();
        let unit = (2.0f64 / 3.0).sqrt();
        assert!((points.units()[0] - unit).abs() < 1e-7);
        assert!((at[(0, 0)] - 1.0 / unit).abs() < 1e-7 && at.ncols() == 3);
        assert!(at.column_mean().amax() < 1e-9, "points are about their mean");
        let levels = |s: usize, t: usize| (at.column(s).rows(1, 2) - at.column(t).rows(1, 2)).norm();
        assert!(levels(0, 1) < 1e-15 && (levels(0, 2) - 1.0).abs() < 1e-15);
        let new = points.place(&descriptors, 3).unwrap();
        assert!((new[0] - 3.0 / unit).abs() < 1e-7);
    }

    #[test]
    fn what_cannot_be_placed_is_named() {
        let descriptors = table();
        let message = |tasks: &[&str]| {
            let names: Vec<String> = tasks.iter().map(|task| task.to_string()).collect();
            Points::of(&descriptors, &names).unwrap_err().to_string()
        };
        assert!(message(&["a", "z", "y"]).contains("'z' and 1 more"));
        assert!(message(&["a", "c"]).contains("'kind' of task 'b' is 'y', a level that no task"));
    }
}
