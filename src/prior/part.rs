//! The prior of some of the tasks alone, at the same hyperparameters.

use super::{Groups, Mean, Prior, Relatedness, TaskScales};
use crate::error::{Error, Result};
use crate::linalg;
use nalgebra::DMatrix;

/// Most tasks of a component of a task graph whose precision is inverted to leave some of them out.
const MOST_JOINED: usize = 5_000;

impl Prior {
    /// Of these tasks, without a kernel or a mixture: Sigma's block (of a task graph that of its inverse, for what is left out is
    /// integrated out), and of the groups those that have any, in their order.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a task graph of more than 5,000 joined tasks, [`Error::NotPositiveDefinite`] for one without an inverse.
    pub(crate) fn of_tasks(&self, tasks: &[usize]) -> Result<Prior> {
        let mut present: Vec<usize> = tasks.iter().map(|t| self.groups.of(*t)).collect();
        present.sort_unstable();
        present.dedup();
        let m = self.mean_features.len();
        let places: Vec<usize> = present.iter().flat_map(|g| g * m..(g + 1) * m).collect();
        let (groups, factor) = match present.as_slice() {
            [only] => (Groups::default(), &self.factor * self.groups.scales.get(*only).copied().unwrap_or(1.0)),
            _ => {
                let number = |t: &usize| present.iter().position(|g| *g == self.groups.of(*t)).unwrap_or(0);
                let scales = present.iter().map(|g| self.groups.scales[*g]).collect();
                (Groups::new(tasks.iter().map(number).collect(), scales), self.factor.clone())
            }
        };
        let precision = &self.mean_precision;
        Ok(Prior {
            mean: match &self.mean {
                Mean::Given(values) => Mean::Given(values.select_rows(&places)),
                Mean::Integrated => Mean::Integrated,
                Mean::Profiled | Mean::Estimated(_) => Mean::Profiled,
            },
            mean_precision: if precision.is_empty() { precision.clone() } else { precision.select_rows(&places).select_columns(&places) },
            relatedness: self.relatedness.of_tasks(tasks)?,
            factor,
            groups,
            mixture: None,
            kernel: None,
            task_scales: self.task_scales.as_ref().map(|own| TaskScales {
                values: tasks.iter().map(|t| own.values[*t]).collect(),
                degrees_of_freedom: own.degrees_of_freedom,
            }),
            ..self.clone()
        })
    }
}

impl Relatedness {
    fn of_tasks(&self, tasks: &[usize]) -> Result<Relatedness> {
        Ok(match self {
            Relatedness::Zero => Relatedness::Zero,
            Relatedness::Identity => Relatedness::Identity,
            Relatedness::Diagonal(own) => Relatedness::Diagonal(own.select_rows(tasks)),
            Relatedness::Dense(sigma) => Relatedness::Dense(sigma.select_rows(tasks).select_columns(tasks)),
            Relatedness::LowRank { loadings, uniquenesses } => {
                Relatedness::LowRank { loadings: loadings.select_rows(tasks), uniquenesses: uniquenesses.select_rows(tasks) }
            }
            Relatedness::Graph(graph) => {
                let omega = graph.precision();
                let mut sigma = DMatrix::zeros(tasks.len(), tasks.len());
                for component in graph.components() {
                    let own: Vec<(usize, usize)> =
                        (0..tasks.len()).filter_map(|place| Some((place, component.iter().position(|t| *t == tasks[place])?))).collect();
                    let n = component.len();
                    if own.is_empty() {
                        continue;
                    }
                    if n > MOST_JOINED {
                        return Err(Error::TooLarge {
                            what: format!("the covariance of {n} joined tasks"),
                            needed_mb: (2 * n * n * 8 / 1_000_000) as u64,
                            limit_mb: (2 * MOST_JOINED * MOST_JOINED * 8 / 1_000_000) as u64,
                            remedy: "let all tasks of the fit teach: leave the sources out".into(),
                        });
                    }
                    let block = DMatrix::from_fn(n, n, |i, j| omega[(component[i], component[j])]);
                    let root = linalg::cholesky(block).ok_or_else(|| Error::NotPositiveDefinite {
                        matrix: "the precision of the task graph".into(),
                        remedy: "fit again".into(),
                    })?;
                    let inverse = linalg::inverse_of_cholesky(&root);
                    for (a, i) in &own {
                        own.iter().for_each(|(b, j)| sigma[(*a, *b)] = inverse[(*i, *j)]);
                    }
                }
                Relatedness::Dense(sigma)
            }
        })
    }
}
