//! Many rows of a task added to its sums at once, each sum kept in a register meanwhile.

use super::Statistics;
use pulp::{Arch, NullaryFnOnce};
use std::hint::black_box;

/// Rows taken together, and numbers in a vector.
const ROWS: usize = 32;
const LANES: usize = 4;

/// Numbers in a line of the cache.
const LINE: usize = 8;

/// Room for some rows, columns (1, features, target) side by side and rows next to each other.
#[derive(Default)]
pub(crate) struct RowBlock {
    /// Of every group of columns each row's.
    columns: Vec<[f64; LANES]>,
    /// Of every column each row's times its weight.
    weighted: Vec<f64>,
}

impl Statistics {
    /// Adds rows of features, target and weight one after another, about a shift of features and target. The sums are those of
    /// [`add_row`](Statistics::add_row) to the last bit: every sum takes the rows in their order, and products are rounded before they are added.
    pub(crate) fn add_rows<'a>(&mut self, mut rows: impl ExactSizeIterator<Item = &'a [f64]> + Clone, shift: &[f64], block: &mut RowBlock) {
        while rows.len() > 0 {
            // Rows that lie apart are waited for together.
            black_box(rows.clone().take(ROWS).flat_map(|row| row.iter().step_by(LINE)).sum::<f64>());
            Arch::new().dispatch(Add { statistics: self, rows: &mut rows, shift, block });
        }
    }
}

struct Add<'a, R> {
    statistics: &'a mut Statistics,
    rows: &'a mut R,
    shift: &'a [f64],
    block: &'a mut RowBlock,
}

impl<'a, R: ExactSizeIterator<Item = &'a [f64]>> NullaryFnOnce for Add<'_, R> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Add { statistics, rows, shift, block } = self;
        let (count, size) = (rows.len().min(ROWS), shift.len() + 1);
        statistics.rows += count as u64;
        block.columns.resize(count * size.div_ceil(LANES), [0.0; LANES]);
        block.weighted.resize(count * size, 0.0);
        for (r, row) in rows.take(count).enumerate() {
            let weight = row[shift.len()];
            if weight != 1.0 {
                statistics.log_weights += weight.ln();
            }
            block.columns[r][0] = 1.0;
            block.weighted[r] = weight;
            for (k, (value, shift)) in row.iter().zip(shift).enumerate() {
                let (column, value) = (k + 1, value - shift);
                block.columns[column / LANES * count + r][column % LANES] = value;
                block.weighted[column * count + r] = weight * value;
            }
        }
        let mut cells = statistics.cross.as_mut_slice();
        for (i, weighted) in block.weighted.chunks_exact(count).enumerate() {
            let (own, rest) = cells.split_at_mut(i + 1);
            for (own, columns) in own.chunks_mut(LANES).zip(block.columns.chunks_exact(count)) {
                let mut sums = [0.0; LANES];
                sums[..own.len()].copy_from_slice(own);
                for (weighted, columns) in weighted.iter().zip(columns) {
                    for (sum, column) in sums.iter_mut().zip(columns) {
                        *sum += weighted * column;
                    }
                }
                own.copy_from_slice(&sums[..own.len()]);
            }
            cells = rest;
        }
    }
}
