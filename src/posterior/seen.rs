//! What the rows said in the coordinates that the engines see, and the way back: free features eliminated, groups spelt out.

use super::free::Eliminated;
use super::grouped::Grouped;
use crate::error::{Error, Result};
use crate::prior::Prior;
use crate::quadratic::Quadratics;
use nalgebra::{DMatrix, DVector};
use std::borrow::Cow;

/// Quadratics as they were given, and how they are seen.
pub(super) struct Seen<'a> {
    given: Cow<'a, Quadratics>,
    eliminated: Option<Eliminated>,
    grouped: Option<Grouped>,
}

impl<'a> Seen<'a> {
    /// The prior becomes one over the engines' coordinates.
    pub(super) fn new(given: Cow<'a, Quadratics>, prior: &mut Prior) -> Result<Self> {
        let eliminated = if prior.free.is_empty() { None } else { Some(Eliminated::new(&given, prior)?) };
        let mut seen = Seen { given, eliminated, grouped: None };
        if prior.groups.are_several() || prior.task_scales.is_some() {
            seen.check_groups(prior)?;
            seen.grouped = Some(Grouped::new(seen.quadratics(), prior));
        }
        Ok(seen)
    }

    /// As they were given.
    pub(super) fn given(&self) -> &Quadratics {
        &self.given
    }

    /// As the engines see them.
    pub(super) fn quadratics(&self) -> &Quadratics {
        match (&self.grouped, &self.eliminated) {
            (Some(grouped), _) => grouped.quadratics(),
            (None, Some(eliminated)) => eliminated.quadratics(),
            (None, None) => &self.given,
        }
    }

    /// Features of a task.
    pub(super) fn features(&self) -> usize {
        self.given.features()
    }

    /// How many of them are free.
    pub(super) fn free(&self) -> usize {
        self.eliminated.as_ref().map_or(0, Eliminated::free)
    }

    /// Where groups are spelt out.
    pub(super) fn grouped(&self) -> Option<&Grouped> {
        self.grouped.as_ref()
    }

    fn check_groups(&self, prior: &Prior) -> Result<()> {
        let (groups, tasks) = (&prior.groups, self.given.len());
        if let Some(scales) = prior.task_scales.as_ref().filter(|scales| scales.values.len() != tasks) {
            return Err(Error::Shape { what: "the scales of the tasks".into(), found: scales.values.len(), expected: tasks });
        }
        if !groups.are_several() {
            return self.check_rows(prior);
        }
        if groups.of_task.len() != tasks || groups.of_task.iter().any(|own| *own >= groups.len()) {
            return Err(Error::Shape { what: "the groups of the tasks".into(), found: groups.of_task.len(), expected: tasks });
        }
        self.check_rows(prior)
    }

    fn check_rows(&self, prior: &Prior) -> Result<()> {
        if self.given.joint().is_some() || !prior.unrelated.is_empty() {
            let problem = "groups of tasks with means of their own, and scales of single tasks, go neither with correlated errors nor with graph features; leave one of them out";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(())
    }

    /// The mean of a group over the features that are not free.
    pub(super) fn mean_of_group(&self, group: usize, mean: &DVector<f64>) -> DVector<f64> {
        match &self.grouped {
            None => mean.clone(),
            Some(grouped) => DVector::from_fn(grouped.features(), |k, _| grouped.mean_place(group, k).map_or(0.0, |place| mean[place])),
        }
    }

    /// The parameters of a task.
    pub(super) fn coefficients(&self, task: usize, z: DVector<f64>) -> DVector<f64> {
        let kept = self.of_groups(task, z);
        match &self.eliminated {
            None => kept,
            Some(eliminated) => eliminated.coefficients(task, &kept),
        }
    }

    /// As [`Seen::coefficients`] with standard normal `noise` on the free ones.
    pub(super) fn draw(&self, task: usize, z: DVector<f64>, noise: Option<&DVector<f64>>) -> DVector<f64> {
        let kept = self.of_groups(task, z);
        match (&self.eliminated, noise) {
            (Some(eliminated), Some(noise)) => eliminated.draw(task, &kept, noise),
            _ => kept,
        }
    }

    fn of_groups(&self, task: usize, z: DVector<f64>) -> DVector<f64> {
        match &self.grouped {
            None => z,
            Some(grouped) => grouped.parameters(task, &z),
        }
    }

    /// Their covariance.
    pub(super) fn covariance(&self, task: usize, of: DMatrix<f64>) -> DMatrix<f64> {
        self.between((task, task), of)
    }

    /// The covariance between the parameters of two tasks.
    pub(super) fn between(&self, tasks: (usize, usize), of: DMatrix<f64>) -> DMatrix<f64> {
        let kept = match &self.grouped {
            None => of,
            Some(grouped) => grouped.between(tasks, &of),
        };
        match &self.eliminated {
            None => kept,
            Some(eliminated) => eliminated.between(tasks, &kept),
        }
    }

    /// How the parameters of a task move with columns of what the engines see.
    pub(super) fn moved(&self, task: usize, columns: DMatrix<f64>) -> DMatrix<f64> {
        let kept = match &self.grouped {
            None => columns,
            Some(grouped) => grouped.moved(task, &columns),
        };
        match &self.eliminated {
            None => kept,
            Some(eliminated) => eliminated.moved(task, &kept),
        }
    }

    /// How the mean that a task varies about moves with columns of what the engines see.
    pub(super) fn of_mean(&self, task: usize, columns: DMatrix<f64>) -> DMatrix<f64> {
        let kept = match &self.grouped {
            None => columns,
            Some(grouped) => grouped.moved(task, &columns),
        };
        match &self.eliminated {
            None => kept,
            Some(eliminated) => eliminated.spread(&kept),
        }
    }

    /// Parameters and their covariance of a task without rows, of a group and with a scale.
    pub(super) fn newcomer(&self, at: (usize, f64), z: DVector<f64>, of: DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
        match &self.grouped {
            None => (z, of),
            Some(grouped) => grouped.newcomer(at, &z, &of),
        }
    }

    /// The deviation of a task from the mean of its group.
    pub(super) fn deviation(&self, task: usize, z: DVector<f64>) -> DVector<f64> {
        match &self.grouped {
            None => z,
            Some(grouped) => grouped.deviation(task, &z),
        }
    }

    /// Its covariance.
    pub(super) fn deviation_covariance(&self, task: usize, of: DMatrix<f64>) -> DMatrix<f64> {
        match &self.grouped {
            None => of,
            Some(grouped) => grouped.deviation_covariance(task, &of),
        }
    }
}
