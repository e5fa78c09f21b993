//! Many small symmetric matrices at once, one in each lane of the processor's vectors: factors, inverses, solves and products.
//!
//! Loops over cells are written out: what a closure computes is compiled without the processor's vectors wherever it is not inlined.
//!
//! A cell is one element of as many matrices as a vector has lanes. Symmetric and triangular matrices are kept as lower triangles by
//! rows, others by columns, so that every product here is one of contiguous cells. Elements of different matrices never meet, so that a
//! matrix has the same result whatever its neighbours.

use pulp::Simd;
use pulp::bytemuck::{cast_slice, cast_slice_mut};
use std::array::from_fn;

/// Rows and columns of the tiles whose sums stay in registers.
const TILE: usize = 3;

/// Above this size a matrix by itself is faster: its cells no longer fit in the first cache.
pub(crate) const LARGEST: usize = 48;

/// Elements of a lower triangle.
pub(crate) const fn triangle(n: usize) -> usize {
    n * (n + 1) / 2
}

/// Room for cells, at an address that no vector crosses a cache line from.
pub(crate) struct Cells {
    numbers: Vec<f64>,
    start: usize,
    length: usize,
}

impl Cells {
    const LINE: usize = 64;

    pub(crate) fn new<S: Simd>(cells: usize) -> Self {
        let length = cells * S::F64_LANES;
        let numbers = vec![0.0; length + Self::LINE / size_of::<f64>()];
        let start = numbers.as_ptr().align_offset(Self::LINE).min(Self::LINE / size_of::<f64>());
        Cells { numbers, start, length }
    }

    pub(crate) fn get<S: Simd>(&mut self) -> &mut [S::f64s] {
        cast_slice_mut(&mut self.numbers[self.start..self.start + self.length])
    }
}

/// The numbers of the lanes of a cell.
#[inline(always)]
pub(crate) fn lanes<S: Simd>(cell: &S::f64s) -> &[f64] {
    cast_slice(std::slice::from_ref(cell))
}

/// The sum of the lanes of a cell.
pub(crate) fn sum<S: Simd>(cell: &S::f64s) -> f64 {
    lanes::<S>(cell).iter().sum()
}

/// A cell of a number for every lane.
#[inline(always)]
pub(crate) fn cell_of<S: Simd>(simd: S, number: impl Fn(usize) -> f64) -> S::f64s {
    let mut cell = [simd.splat_f64s(0.0)];
    cast_slice_mut::<S::f64s, f64>(&mut cell).iter_mut().enumerate().for_each(|(lane, value)| *value = number(lane));
    cell[0]
}

/// Most lanes that a vector has.
pub(super) const MOST_LANES: usize = 8;

/// As many cells as there are lanes, rows and columns exchanged.
#[inline(always)]
fn transpose<S: Simd>(simd: S, square: &mut [S::f64s]) {
    match square {
        [_] => {}
        [a, b] => [*a, *b] = simd.deinterleave_shfl_f64s([*a, *b]),
        [a, b, c, d] => [*a, *b, *c, *d] = simd.deinterleave_shfl_f64s([*a, *b, *c, *d]),
        square => {
            let numbers: &mut [f64] = cast_slice_mut(square);
            (0..S::F64_LANES).for_each(|i| (0..i).for_each(|j| numbers.swap(i * S::F64_LANES + j, j * S::F64_LANES + i)));
        }
    }
}

/// Fills lower triangles by rows from whole symmetric matrices by columns, of which upper triangles are read, one for each lane.
#[inline(always)]
pub(crate) fn gather<S: Simd>(simd: S, cells: &mut [S::f64s], sources: &[&[f64]], n: usize) {
    let mut square = [simd.splat_f64s(0.0); MOST_LANES];
    let square = &mut square[..S::F64_LANES];
    for i in 0..n {
        let (row, whole) = (&mut cells[triangle(i)..triangle(i + 1)], (i + 1) - (i + 1) % S::F64_LANES);
        let columns: [&[S::f64s]; MOST_LANES] =
            from_fn(|lane| sources.get(lane).map_or(&[][..], |source| cast_slice(&source[i * n..i * n + whole])));
        for (k, tile) in row.chunks_exact_mut(S::F64_LANES).enumerate() {
            (0..S::F64_LANES).for_each(|lane| square[lane] = columns[lane][k]);
            transpose(simd, square);
            (0..S::F64_LANES).for_each(|place| tile[place] = square[place]);
        }
        for k in whole..row.len() {
            row[k] = cell_of(simd, |lane| sources[lane][i * n + k]);
        }
    }
}

/// Writes the lanes of cells to a target each, which has as many numbers.
#[inline(always)]
pub(super) fn scatter<S: Simd>(simd: S, cells: &[S::f64s], mut targets: Vec<&mut [f64]>) {
    let whole = cells.len() - cells.len() % S::F64_LANES;
    for k in whole..cells.len() {
        targets.iter_mut().zip(lanes::<S>(&cells[k])).for_each(|(target, value)| target[k] = *value);
    }
    let mut square = [simd.splat_f64s(0.0); MOST_LANES];
    let square = &mut square[..S::F64_LANES];
    let mut targets: Vec<&mut [S::f64s]> = targets.into_iter().map(|target| cast_slice_mut(&mut target[..whole])).collect();
    for (k, tile) in cells.chunks_exact(S::F64_LANES).enumerate() {
        (0..S::F64_LANES).for_each(|place| square[place] = tile[place]);
        transpose(simd, square);
        targets.iter_mut().zip(&*square).for_each(|(target, cell)| target[k] = *cell);
    }
}

/// Sums of the products of each of some slices with each of others, over as many cells as each has.
#[inline(always)]
fn dots<S: Simd, const R: usize, const C: usize>(simd: S, left: [&[S::f64s]; R], right: [&[S::f64s]; C]) -> [[S::f64s; C]; R] {
    let length = left[0].len();
    let (left, right) = (left.map(|one| &one[..length]), right.map(|one| &one[..length]));
    let mut sums = [[simd.splat_f64s(0.0); C]; R];
    for k in 0..length {
        let own = right.map(|one| one[k]);
        for a in 0..R {
            let value = left[a][k];
            for b in 0..C {
                sums[a][b] = simd.mul_add_e_f64s(value, own[b], sums[a][b]);
            }
        }
    }
    sums
}

/// Where tiles begin and how many rows they have: three, and one where three do not divide.
fn tiles(n: usize) -> impl Iterator<Item = (usize, usize)> {
    let whole = n - n % TILE;
    (0..whole).step_by(TILE).map(|start| (start, TILE)).chain((whole..n).map(|start| (start, 1)))
}

/// Runs a function of a tile's rows and columns at the tile's size.
macro_rules! at_size {
    ($rows:expr, $columns:expr, $name:ident($($argument:expr),*)) => {
        match ($rows, $columns) {
            (TILE, TILE) => $name::<S, TILE, TILE>($($argument),*),
            (TILE, _) => $name::<S, TILE, 1>($($argument),*),
            (_, TILE) => $name::<S, 1, TILE>($($argument),*),
            _ => $name::<S, 1, 1>($($argument),*),
        }
    };
}

/// Replaces lower triangles of n rows by their Cholesky factors, and fills `reciprocals` with those of the diagonal. Where a matrix is
/// not positive definite its lane of some diagonal element is not a positive finite number ([`are_factors`]).
#[inline(always)]
pub(crate) fn cholesky<S: Simd>(simd: S, matrix: &mut [S::f64s], reciprocals: &mut [S::f64s]) {
    for (i, rows) in tiles(reciprocals.len()) {
        for (j, columns) in tiles(reciprocals.len()).take_while(|(j, _)| *j <= i) {
            at_size!(rows, columns, factor_tile(simd, matrix, reciprocals, i, j));
        }
    }
}

#[inline(always)]
fn factor_tile<S: Simd, const R: usize, const C: usize>(simd: S, l: &mut [S::f64s], reciprocals: &mut [S::f64s], i: usize, j: usize) {
    let rows: [usize; R] = from_fn(|a| triangle(i + a));
    let columns: [usize; C] = from_fn(|b| triangle(j + b));
    let sums = dots(simd, rows.map(|start| &l[start..start + j]), columns.map(|start| &l[start..start + j]));
    for a in 0..R {
        for b in (0..C).take_while(|b| j + b <= i + a) {
            let mut value = simd.sub_f64s(l[rows[a] + j + b], sums[a][b]);
            for k in j..j + b {
                value = simd.negate_mul_add_e_f64s(l[rows[a] + k], l[columns[b] + k], value);
            }
            if i + a == j + b {
                value = simd.sqrt_f64s(value);
                reciprocals[i + a] = simd.div_f64s(simd.splat_f64s(1.0), value);
            } else {
                value = simd.mul_f64s(value, reciprocals[j + b]);
            }
            l[rows[a] + j + b] = value;
        }
    }
}

/// Whether the matrix of each lane was positive definite.
pub(crate) fn are_factors<S: Simd>(factor: &[S::f64s], n: usize) -> impl Iterator<Item = bool> {
    (0..S::F64_LANES).map(move |lane| {
        let mut diagonal = (0..n).map(|k| lanes::<S>(&factor[triangle(k) + k])[lane]);
        diagonal.all(|pivot| pivot > 0.0 && pivot < f64::INFINITY)
    })
}

/// log |L L'| of each lane.
#[inline(always)]
pub(crate) fn log_determinants<S: Simd>(simd: S, factor: &[S::f64s], n: usize) -> impl Iterator<Item = f64> {
    let mut product = simd.splat_f64s(1.0);
    for k in 0..n {
        product = simd.mul_f64s(product, factor[triangle(k) + k]);
    }
    (0..S::F64_LANES).map(move |lane| {
        let all = lanes::<S>(&product)[lane];
        // One logarithm where the product neither overflows nor loses digits.
        let root = if all.is_normal() { all.ln() } else { (0..n).map(|k| lanes::<S>(&factor[triangle(k) + k])[lane].ln()).sum() };
        2.0 * root
    })
}

/// Solves L x = b in place for every column of `right`, columns of n cells.
#[inline(always)]
pub(crate) fn solve_lower<S: Simd>(simd: S, factor: &[S::f64s], reciprocals: &[S::f64s], right: &mut [S::f64s]) {
    let n = reciprocals.len();
    for (column, wide) in tiles(right.len().checked_div(n).unwrap_or(0)) {
        for (i, rows) in tiles(n) {
            at_size!(rows, wide, solve_tile(simd, factor, reciprocals, right, i, column, 0));
        }
    }
}

/// Fills the lower triangle of `inverse` with L^-1, by columns of n cells.
#[inline(always)]
pub(crate) fn invert_lower<S: Simd>(simd: S, factor: &[S::f64s], reciprocals: &[S::f64s], inverse: &mut [S::f64s]) {
    let n = reciprocals.len();
    for (column, wide) in tiles(n) {
        for k in column..column + wide {
            inverse[k * n + column..(k + 1) * n].fill(simd.splat_f64s(0.0));
            inverse[k * n + k] = simd.splat_f64s(1.0);
        }
        for (i, rows) in tiles(n).skip_while(|(i, _)| *i < column) {
            at_size!(rows, wide, solve_tile(simd, factor, reciprocals, inverse, i, column, column));
        }
    }
}

/// Rows from i of columns from `column`, above which `from` rows are 0.
#[inline(always)]
fn solve_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    l: &[S::f64s],
    reciprocals: &[S::f64s],
    right: &mut [S::f64s],
    i: usize,
    column: usize,
    from: usize,
) {
    let n = reciprocals.len();
    let rows: [usize; R] = from_fn(|a| triangle(i + a));
    let columns: [usize; C] = from_fn(|b| (column + b) * n);
    let sums = dots(simd, rows.map(|start| &l[start + from..start + i]), columns.map(|start| &right[start + from..start + i]));
    for b in 0..C {
        for a in 0..R {
            let mut value = simd.sub_f64s(right[columns[b] + i + a], sums[a][b]);
            for k in i..i + a {
                value = simd.negate_mul_add_e_f64s(l[rows[a] + k], right[columns[b] + k], value);
            }
            right[columns[b] + i + a] = simd.mul_f64s(value, reciprocals[i + a]);
        }
    }
}

/// Solves L' x = b in place for one column.
#[inline(always)]
pub(crate) fn solve_lower_transpose<S: Simd>(simd: S, factor: &[S::f64s], reciprocals: &[S::f64s], right: &mut [S::f64s]) {
    for i in (0..reciprocals.len()).rev() {
        let value = simd.mul_f64s(right[i], reciprocals[i]);
        right[i] = value;
        let row = &factor[triangle(i)..triangle(i) + i];
        for (cell, l) in right[..i].iter_mut().zip(row) {
            *cell = simd.negate_mul_add_e_f64s(value, *l, *cell);
        }
    }
}

/// Sum of squares of all cells: of L^-1, the trace of (L L')^-1.
#[inline(always)]
pub(crate) fn square<S: Simd>(simd: S, cells: &[S::f64s]) -> S::f64s {
    let mut sums = [simd.splat_f64s(0.0); 4];
    let whole = cells.len() - cells.len() % 4;
    for four in cells[..whole].chunks_exact(4) {
        for k in 0..4 {
            sums[k] = simd.mul_add_e_f64s(four[k], four[k], sums[k]);
        }
    }
    for cell in &cells[whole..] {
        sums[0] = simd.mul_add_e_f64s(*cell, *cell, sums[0]);
    }
    simd.add_f64s(simd.add_f64s(sums[0], sums[1]), simd.add_f64s(sums[2], sums[3]))
}

/// Adds C'C to lower triangles, C with columns of n cells; of lower triangular C only what is not 0 is multiplied.
#[inline(always)]
pub(crate) fn add_gram<S: Simd>(simd: S, target: &mut [S::f64s], columns: &[S::f64s], n: usize, lower: bool) {
    let count = columns.len().checked_div(n).unwrap_or(0);
    for (i, rows) in tiles(count) {
        for (j, wide) in tiles(count).take_while(|(j, _)| *j <= i) {
            at_size!(rows, wide, gram_tile(simd, target, (columns, columns), (n, if lower { i } else { 0 }), i, j));
        }
    }
}

/// Adds C'D to lower triangles, where it is symmetric; C and D have columns of n cells.
#[inline(always)]
pub(crate) fn add_symmetric_product<S: Simd>(simd: S, target: &mut [S::f64s], left: &[S::f64s], right: &[S::f64s], n: usize) {
    let count = left.len().checked_div(n).unwrap_or(0);
    for (i, rows) in tiles(count) {
        for (j, wide) in tiles(count).take_while(|(j, _)| *j <= i) {
            at_size!(rows, wide, gram_tile(simd, target, (left, right), (n, 0), i, j));
        }
    }
}

#[inline(always)]
fn gram_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    target: &mut [S::f64s],
    (left, right): (&[S::f64s], &[S::f64s]),
    (n, from): (usize, usize),
    i: usize,
    j: usize,
) {
    let left: [&[S::f64s]; R] = from_fn(|a| &left[(i + a) * n + from..(i + a + 1) * n]);
    let right: [&[S::f64s]; C] = from_fn(|b| &right[(j + b) * n + from..(j + b + 1) * n]);
    let sums = dots(simd, left, right);
    for a in 0..R {
        for b in (0..C).take_while(|b| j + b <= i + a) {
            let cell = &mut target[triangle(i + a) + j + b];
            *cell = simd.add_f64s(*cell, sums[a][b]);
        }
    }
}

/// Adds C'D to columns of as many cells as C has columns; C and D have columns of n cells.
#[inline(always)]
pub(crate) fn add_products<S: Simd>(simd: S, target: &mut [S::f64s], left: &[S::f64s], right: &[S::f64s], n: usize) {
    let (rows, columns) = (left.len().checked_div(n).unwrap_or(0), right.len().checked_div(n).unwrap_or(0));
    for (j, wide) in tiles(columns) {
        for (i, tall) in tiles(rows) {
            at_size!(tall, wide, product_tile(simd, (&mut *target, rows), left, right, n, i, j));
        }
    }
}

#[inline(always)]
fn product_tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    (target, stride): (&mut [S::f64s], usize),
    left: &[S::f64s],
    right: &[S::f64s],
    n: usize,
    i: usize,
    j: usize,
) {
    let sums = dots::<S, R, C>(simd, from_fn(|a| &left[(i + a) * n..(i + a + 1) * n]), from_fn(|b| &right[(j + b) * n..(j + b + 1) * n]));
    for b in 0..C {
        for a in 0..R {
            let cell = &mut target[(j + b) * stride + i + a];
            *cell = simd.add_f64s(*cell, sums[a][b]);
        }
    }
}

/// Subtracts M x from `target`, M a symmetric matrix.
#[inline(always)]
pub(crate) fn subtract_product<S: Simd>(simd: S, target: &mut [S::f64s], matrix: &[S::f64s], x: &[S::f64s]) {
    for i in 0..x.len() {
        let row = &matrix[triangle(i)..triangle(i + 1)];
        let mut own = target[i];
        for ((cell, value), other) in target[..i].iter_mut().zip(row).zip(x) {
            *cell = simd.negate_mul_add_e_f64s(*value, x[i], *cell);
            own = simd.negate_mul_add_e_f64s(*value, *other, own);
        }
        target[i] = simd.negate_mul_add_e_f64s(row[i], x[i], own);
    }
}

/// Whole matrices, by columns, of lower triangles.
#[inline(always)]
pub(crate) fn unpack<S: Simd>(whole: &mut [S::f64s], lower: &[S::f64s], n: usize) {
    for i in 0..n {
        for (j, cell) in lower[triangle(i)..triangle(i + 1)].iter().enumerate() {
            whole[j * n + i] = *cell;
            whole[i * n + j] = *cell;
        }
    }
}

/// Adds `weight` times cells to others.
#[inline(always)]
pub(crate) fn add_scaled<S: Simd>(simd: S, target: &mut [S::f64s], weight: S::f64s, cells: &[S::f64s]) {
    for (cell, own) in target.iter_mut().zip(cells) {
        *cell = simd.mul_add_e_f64s(weight, *own, *cell);
    }
}

/// Sum of products of pairs of cells.
#[inline(always)]
pub(crate) fn dot<S: Simd>(simd: S, left: &[S::f64s], right: &[S::f64s]) -> S::f64s {
    let mut sum = simd.splat_f64s(0.0);
    for (a, b) in left.iter().zip(right) {
        sum = simd.mul_add_e_f64s(*a, *b, sum);
    }
    sum
}
