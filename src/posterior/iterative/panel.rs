//! Many columns of T r numbers stored by tasks, so that a task's factor is read once for all of them.

use super::super::CHUNK;
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Columns of T r numbers, stored by tasks: the r x `columns` block of task 0, then that of task 1 and so on.
#[derive(Clone)]
pub(super) struct Panel {
    r: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f64>,
}

impl Panel {
    pub(super) fn zeros(r: usize, columns: usize, tasks: usize) -> Panel {
        Panel { r, columns, values: vec![0.0; r * columns * tasks] }
    }

    pub(super) fn zeroed(&self) -> Panel {
        Panel { values: vec![0.0; self.values.len()], ..*self }
    }

    pub(super) fn of(matrix: &DMatrix<f64>, r: usize) -> Panel {
        let mut panel = Panel::zeros(r, matrix.ncols(), matrix.nrows() / r.max(1));
        panel.by_task(|t, block| block.copy_from_slice(matrix.rows(t * r, r).into_owned().as_slice()));
        panel
    }

    pub(super) fn matrix(&self) -> DMatrix<f64> {
        let (r, block) = (self.r.max(1), self.r * self.columns);
        let rows = self.values.len() / self.columns.max(1);
        DMatrix::from_fn(rows, self.columns, |i, j| self.values[i / r * block + j * r + i % r])
    }

    /// Numbers of [`CHUNK`] tasks.
    fn chunk(&self) -> usize {
        (CHUNK * self.r * self.columns).max(1)
    }

    pub(super) fn by_task(&mut self, change: impl Fn(usize, &mut [f64]) + Sync) {
        let block = (self.r * self.columns).max(1);
        self.values.par_chunks_mut(block).with_min_len(CHUNK).enumerate().for_each(|(t, values)| change(t, values));
    }

    /// Adds the blocks of the tasks in `near`, weighted, to `block`.
    pub(super) fn gather(&self, near: &[(usize, f64)], block: &mut [f64]) {
        for (s, weight) in near {
            let own = &self.values[s * block.len()..][..block.len()];
            block.iter_mut().zip(own).for_each(|(sum, value)| *sum += weight * value);
        }
    }

    /// Column by column, the inner product with each of `others`; summed by chunks in order, whatever the threads.
    pub(super) fn dot_each(&self, others: &[Panel]) -> Vec<Vec<f64>> {
        let mut sums = vec![vec![0.0; self.columns]; others.len()];
        let chunk = |(number, own): (usize, &[f64])| {
            let mut sums = sums.clone();
            for (sums, other) in sums.iter_mut().zip(others) {
                let pairs = own.chunks(self.r).zip(other.values[number * self.chunk()..].chunks(self.r));
                pairs.enumerate().for_each(|(i, (a, b))| sums[i % self.columns] += a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>());
            }
            sums
        };
        let chunks: Vec<Vec<Vec<f64>>> = self.values.par_chunks(self.chunk()).enumerate().map(chunk).collect();
        for part in chunks.iter().flat_map(|chunk| chunk.iter().enumerate()) {
            sums[part.0].iter_mut().zip(part.1).for_each(|(sum, value)| *sum += value);
        }
        sums
    }

    pub(super) fn dot(&self, other: &Panel) -> Vec<f64> {
        self.dot_each(std::slice::from_ref(other)).concat()
    }

    pub(super) fn lengths(&self) -> Vec<f64> {
        self.dot(self).into_iter().map(f64::sqrt).collect()
    }

    /// Adds each of `others`, multiplied column by column.
    pub(super) fn add_each(&mut self, others: &[Panel], by: &[Vec<f64>]) {
        let (r, columns, chunk) = (self.r, self.columns, self.chunk());
        self.values.par_chunks_mut(chunk).enumerate().for_each(|(number, own)| {
            for (other, by) in others.iter().zip(by) {
                for (i, (sum, values)) in own.chunks_mut(r).zip(other.values[number * chunk..].chunks(r)).enumerate() {
                    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += by[i % columns] * value);
                }
            }
        });
    }

    pub(super) fn add(&mut self, by: f64, other: &Panel) {
        self.values.par_iter_mut().zip(&other.values).with_min_len(CHUNK * CHUNK).for_each(|(sum, value)| *sum += by * value);
    }

    pub(super) fn scale(&mut self, by: &[f64]) {
        let r = self.r;
        self.by_task(|_, block| block.chunks_mut(r).zip(by).for_each(|(column, by)| column.iter_mut().for_each(|value| *value *= by)));
    }
}
