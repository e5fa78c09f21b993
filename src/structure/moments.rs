//! Second moments of the tasks as M-steps read them: a T x T matrix, or made from columns where that would be too large.

use crate::linalg;
use nalgebra::DMatrix;

/// Most tasks of which a T x T matrix is made.
pub(crate) const MOST_DENSE: usize = 5_000;

/// M, T x T, summed over directions.
#[derive(Clone, Debug)]
pub(crate) enum TaskMoments {
    /// M itself.
    Matrix(DMatrix<f64>),
    /// C with M = C' C, a column a task.
    Columns(DMatrix<f64>),
}

impl TaskMoments {
    /// C' C: the matrix where it is small enough. O(T^2 r), or O(T r).
    pub(crate) fn of_columns(columns: &DMatrix<f64>) -> Self {
        if columns.ncols() > MOST_DENSE {
            return TaskMoments::Columns(columns.clone());
        }
        TaskMoments::Matrix(linalg::gram(columns))
    }

    pub(crate) fn tasks(&self) -> usize {
        match self {
            TaskMoments::Matrix(matrix) => matrix.ncols(),
            TaskMoments::Columns(columns) => columns.ncols(),
        }
    }

    /// M_st.
    pub(crate) fn at(&self, s: usize, t: usize) -> f64 {
        match self {
            TaskMoments::Matrix(matrix) => matrix[(s, t)],
            TaskMoments::Columns(columns) => columns.column(s).dot(&columns.column(t)),
        }
    }

    /// M among these tasks.
    pub(crate) fn among(&self, tasks: &[usize]) -> DMatrix<f64> {
        match self {
            TaskMoments::Matrix(matrix) => DMatrix::from_fn(tasks.len(), tasks.len(), |i, j| matrix[(tasks[i], tasks[j])]),
            TaskMoments::Columns(columns) => linalg::gram(&columns.select_columns(tasks)),
        }
    }

    /// Correlations of all tasks with these: T x n.
    pub(crate) fn correlations_with(&self, tasks: &[usize]) -> DMatrix<f64> {
        let mut moments = match self {
            TaskMoments::Matrix(matrix) => matrix.select_columns(tasks),
            TaskMoments::Columns(columns) => columns.tr_mul(&columns.select_columns(tasks)),
        };
        let inverse = |t: usize| self.at(t, t).max(f64::MIN_POSITIVE).sqrt().recip();
        let rows: Vec<f64> = (0..self.tasks()).map(inverse).collect();
        for (mut column, t) in moments.column_iter_mut().zip(tasks) {
            column.iter_mut().zip(&rows).for_each(|(value, row)| *value *= row * rows[*t]);
        }
        moments
    }

    /// M as correlations times r.
    pub(crate) fn correlations(self, r: f64) -> Self {
        match self {
            TaskMoments::Matrix(matrix) => TaskMoments::Matrix(linalg::correlation(&matrix) * r),
            TaskMoments::Columns(mut columns) => {
                columns.column_iter_mut().for_each(|mut column| {
                    let norm = column.norm();
                    if norm > 0.0 {
                        column *= r.sqrt() / norm;
                    }
                });
                TaskMoments::Columns(columns)
            }
        }
    }

    /// The moments about the plain mean of the tasks of each group ([`without_common_part`]; among very many tasks its last term is nothing).
    /// All are one where `groups` is empty.
    pub(crate) fn without_common_part(&self, groups: &[usize]) -> Self {
        let members = members(groups, self.tasks());
        match self {
            TaskMoments::Matrix(matrix) => TaskMoments::Matrix(without_common_part(matrix, &members)),
            TaskMoments::Columns(columns) => {
                let mut centred = columns.clone();
                for own in &members {
                    let mean = columns.select_columns(own).column_mean();
                    own.iter().for_each(|t| centred.column_mut(*t).axpy(-1.0, &mean, 1.0));
                }
                TaskMoments::Columns(centred)
            }
        }
    }
}

/// The tasks of each group.
fn members(groups: &[usize], tasks: usize) -> Vec<Vec<usize>> {
    if groups.is_empty() {
        return vec![(0..tasks).collect()];
    }
    let count = groups.iter().max().map_or(0, |last| last + 1);
    (0..count).map(|g| (0..tasks).filter(|t| groups[*t] == g).collect()).collect()
}

/// C M C + D with C = I - 11' / n within each group of n tasks and D its (tr M / n) 11' / n there: the moments about the plain mean of each group.
///
/// With a flat mean the likelihood does not see a common component c 11' of Sigma in a group, and EM keeps whatever a dense start put
/// there; edges chosen from these moments do not depend on it. On unrelated tasks their expectation is r I.
fn without_common_part(moment: &DMatrix<f64>, members: &[Vec<usize>]) -> DMatrix<f64> {
    let mut all = moment.clone();
    for own in members {
        let size = own.len() as f64;
        let level = own.iter().map(|t| moment[(*t, *t)]).sum::<f64>() / (size * size);
        let rows = all.select_columns(own).column_mean();
        own.iter().for_each(|t| all.column_mut(*t).axpy(-1.0, &rows, 1.0));
        let columns = all.select_rows(own).row_mean();
        for s in own {
            all.row_mut(*s).iter_mut().zip(columns.iter()).for_each(|(value, mean)| *value -= mean);
            own.iter().for_each(|t| all[(*s, *t)] += level);
        }
    }
    all
}
