//! The same two looks at tasks of few features, one task in each lane of the processor's vectors.

use super::super::lanes::{Group, sums};
use super::passes::{First, Given, Known, Second};
use crate::linalg::lanes::{
    Cells, add_gram, add_products, add_scaled, add_symmetric_product, cell_of, dot, lanes, log_determinants, solve_lower,
    solve_lower_transpose, subtract_product, sum, triangle, unpack,
};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Products with as many matrices are summed at once.
const WIDE: usize = 8;

pub(super) struct FirstPass<'a> {
    pub given: &'a Given<'a>,
    pub range: Range<usize>,
}

pub(super) struct SecondPass<'a> {
    pub given: &'a Given<'a>,
    pub known: &'a Known,
    pub constants: &'a Constants,
    pub kept: Cells,
    pub range: Range<usize>,
}

/// Symmetric matrices that are the same for all tasks, element by element of their lower triangles.
pub(super) struct Constants {
    /// Of every element those of the covariances between the mean and the factors, and 0 up to a multiple of [`WIDE`].
    covariances: Vec<f64>,
    /// Those and then those of E[c_i] E[c_j]' / 2 and its transpose for factors, elements off the diagonal twice.
    products: Vec<f64>,
    /// Of K, those off the diagonal twice.
    spread: Vec<f64>,
}

impl Constants {
    pub(super) fn of(known: &Known) -> Self {
        let (p, k) = (known.spread.nrows(), known.scores.ncols());
        let centre = |i: usize, a: usize| known.centres[(a, i + 1)];
        let width = |count: usize| count.next_multiple_of(WIDE);
        let (narrow, wide) = (width(known.covariances.len()), width(known.covariances.len() + triangle(k)));
        let mut all =
            Constants { covariances: vec![0.0; narrow * triangle(p)], products: vec![0.0; wide * triangle(p)], spread: Vec::new() };
        for a in 0..p {
            for b in 0..=a {
                let (place, times) = (triangle(a) + b, if a == b { 1.0 } else { 2.0 });
                for (number, (.., part)) in known.covariances.iter().enumerate() {
                    all.covariances[place * narrow + number] = part[(a, b)];
                    all.products[place * wide + number] = times * part[(a, b)];
                }
                let pairs = (0..k).flat_map(|i| (0..=i).map(move |j| (i, j)));
                for (number, (i, j)) in pairs.enumerate() {
                    let both = 0.5 * (centre(i, a) * centre(j, b) + centre(i, b) * centre(j, a));
                    all.products[place * wide + known.covariances.len() + number] = times * both;
                }
                all.spread.push(times * known.spread[(a, b)]);
            }
        }
        all
    }
}

/// Loadings of some tasks, the mean's first; 0 in lanes without a task.
#[inline(always)]
fn take_loadings<S: Simd>(simd: S, given: &Given, tasks: &Range<usize>, loadings: &mut [S::f64s]) {
    for (i, cell) in loadings.iter_mut().enumerate() {
        *cell = cell_of(simd, |lane| if lane < tasks.len() { given.loading(tasks.start + lane, i) } else { 0.0 });
    }
}

impl WithSimd for FirstPass<'_> {
    type Output = First;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> First {
        let (given, design, k) = (self.given, self.given.design, self.given.rank());
        let (p, _, r) = design.sizes();
        let (none, size) = (simd.splat_f64s(0.0), triangle(p));
        let mut group = Group::new(simd, design);
        let mut kept = Cells::new::<S>(size * self.range.len().div_ceil(S::F64_LANES));
        let (mut curvatures, mut linears) = (Cells::new::<S>(triangle(k + 1) * size), Cells::new::<S>((k + 1) * p));
        let (curvatures, linears) = (curvatures.get::<S>(), linears.get::<S>());
        let mut explained = Cells::new::<S>(triangle(p + 1));
        let (explained, mut loadings) = (explained.get::<S>(), vec![none; k + 1]);
        let (mut log_determinant, mut defined) = (0.0, true);
        for (number, start) in self.range.clone().step_by(S::F64_LANES).enumerate() {
            let tasks = start..(start + S::F64_LANES).min(self.range.end);
            defined = group.load(tasks.clone());
            if !defined {
                break;
            }
            take_loadings(simd, given, &tasks, &mut loadings);
            explained.fill(none);
            if r > 0 {
                let (block, reciprocals, cross) = (group.block.get::<S>(), group.reciprocals.get::<S>(), group.cross.get::<S>());
                log_determinant += log_determinants(simd, block, r).sum::<f64>();
                solve_lower(simd, block, reciprocals, cross);
                add_gram(simd, explained, cross, r, false);
            }
            let own = &mut kept.get::<S>()[number * size..(number + 1) * size];
            for ((cell, curvature), explained) in own.iter_mut().zip(&*group.curvature.get::<S>()).zip(&*explained) {
                *cell = simd.sub_f64s(simd.mul_f64s(group.precision, *curvature), *explained);
            }
            for i in 0..=k {
                for j in 0..=i {
                    let place = (triangle(i) + j) * size;
                    add_scaled(simd, &mut curvatures[place..place + size], simd.mul_f64s(loadings[i], loadings[j]), own);
                }
                let target = &mut linears[i * p..(i + 1) * p];
                for ((cell, linear), explained) in target.iter_mut().zip(&*group.linear.get::<S>()).zip(&explained[size..]) {
                    let left = simd.sub_f64s(simd.mul_f64s(group.precision, *linear), *explained);
                    *cell = simd.mul_add_e_f64s(loadings[i], left, *cell);
                }
            }
        }
        let [curvatures, linears] = [curvatures, linears].map(|cells| cells.iter().map(|cell| sum::<S>(cell)).collect());
        First { kept: Some(kept), curvatures, linears, log_determinant, defined }
    }
}

/// Sums of products with each of [`WIDE`] matrices whose elements lie side by side, `stride` numbers from element to element.
#[inline(always)]
fn dots_with<S: Simd>(simd: S, cells: &[S::f64s], constants: &[f64], stride: usize) -> [S::f64s; WIDE] {
    let mut sums = [simd.splat_f64s(0.0); WIDE];
    for (cell, row) in cells.iter().zip(constants.chunks(stride)) {
        for (sum, value) in sums.iter_mut().zip(&row[..WIDE]) {
            *sum = simd.mul_add_e_f64s(*cell, simd.splat_f64s(*value), *sum);
        }
    }
    sums
}

/// Sums over matrices whose elements lie side by side, each times a weight.
#[inline(always)]
fn mix<S: Simd>(simd: S, target: &mut [S::f64s], constants: &[f64], weights: &[S::f64s]) {
    for (cell, row) in target.iter_mut().zip(constants.chunks_exact(weights.len())) {
        let mut sums = [simd.splat_f64s(0.0); 2];
        for (two, values) in weights.chunks_exact(2).zip(row.chunks_exact(2)) {
            sums[0] = simd.mul_add_e_f64s(two[0], simd.splat_f64s(values[0]), sums[0]);
            sums[1] = simd.mul_add_e_f64s(two[1], simd.splat_f64s(values[1]), sums[1]);
        }
        *cell = simd.add_f64s(sums[0], sums[1]);
    }
}

/// Sum of products with a matrix that is the same in every lane.
#[inline(always)]
fn dot_with<S: Simd>(simd: S, cells: &[S::f64s], constants: &[f64]) -> S::f64s {
    let mut sum = simd.splat_f64s(0.0);
    for (cell, value) in cells.iter().zip(constants) {
        sum = simd.mul_add_e_f64s(*cell, simd.splat_f64s(*value), sum);
    }
    sum
}

impl WithSimd for SecondPass<'_> {
    type Output = Second;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Second {
        let SecondPass { given, known, constants, mut kept, range } = self;
        let (design, quadratics, k) = (given.design, given.design.quadratics, given.rank());
        let (p, q, r) = design.sizes();
        let (none, size, active) = (simd.splat_f64s(0.0), triangle(p), known.covariances.len());
        let (narrow, wide) = (active.next_multiple_of(WIDE), (active + triangle(k)).next_multiple_of(WIDE));
        let mut group = Group::new(simd, design);
        let kept = kept.get::<S>();
        let mut room = Cells::new::<S>(2 * size + 3 * p * p);
        let (covariance, rest_of_room) = room.get::<S>().split_at_mut(size);
        let (known_scores, rest_of_room) = rest_of_room.split_at_mut(size);
        let (whole, rest_of_room) = rest_of_room.split_at_mut(p * p);
        let (whole_covariance, half) = rest_of_room.split_at_mut(p * p);
        let mut sums_of = Cells::new::<S>(triangle(q) + k * p);
        let (within, scores) = sums_of.get::<S>().split_at_mut(triangle(q));
        let vector = || vec![none; p];
        let (mut w, mut rest, mut score) = (vector(), vector(), vector());
        let (mut b, mut pull) = (vec![none; r], vec![none; r]);
        let (mut loadings, mut weights, mut products) = (vec![none; k + 1], vec![none; narrow], vec![none; wide]);
        let (mut given_factors, mut of_factors) = (vec![none; k + 1], vec![none; k]);
        let (two, directions) = (simd.splat_f64s(2.0), simd.splat_f64s(r as f64));
        let pairs = (0..k).flat_map(|i| (0..=i).map(move |j| (i, j)));
        let place_of = |(i, j): (usize, usize)| known.covariances.iter().position(|(a, b, _)| (*a, *b) == (i + 1, j + 1));
        let of_pairs: Vec<Option<usize>> = pairs.map(place_of).collect();
        let mut all = Second::begun(given, range.len());
        for (number, start) in range.clone().step_by(S::F64_LANES).enumerate() {
            let tasks = start..(start + S::F64_LANES).min(range.end);
            group.load(tasks.clone());
            take_loadings(simd, given, &tasks, &mut loadings);
            let own = &kept[number * size..(number + 1) * size];
            let (precision, unique) = (group.precision, simd.mul_f64s(group.scale, group.scale));
            // b_t = M_t^-1 (Z lambda_t + D_t L' (h_t - J_t mean)).
            for (cell, value) in w.iter_mut().zip(known.centres.column(0).iter()) {
                *cell = simd.splat_f64s(*value);
            }
            rest.copy_from_slice(group.linear.get::<S>());
            subtract_product(simd, &mut rest, group.curvature.get::<S>(), &w);
            group.factor_transpose_times(&rest, simd.mul_f64s(precision, unique), &mut b);
            for (j, loading) in loadings[1..].iter().enumerate() {
                for (cell, value) in b.iter_mut().zip(known.scores.column(j).iter()) {
                    *cell = simd.mul_add_e_f64s(*loading, simd.splat_f64s(*value), *cell);
                }
            }
            if r > 0 {
                let (block, reciprocals) = (group.block.get::<S>(), group.reciprocals.get::<S>());
                solve_lower(simd, block, reciprocals, &mut b);
                solve_lower_transpose(simd, block, reciprocals, &mut b);
            }
            group.add_factor_times(&b, &mut w);
            rest.copy_from_slice(group.linear.get::<S>());
            subtract_product(simd, &mut rest, group.curvature.get::<S>(), &w);
            for (cell, value) in score.iter_mut().zip(&rest) {
                *cell = simd.mul_f64s(precision, *value);
            }
            group.factor_transpose_times(&score, simd.splat_f64s(1.0), &mut pull);
            let linear = group.linear.get::<S>();
            let (with_linear, with_rest) = (dot(simd, &w, linear), dot(simd, &w, &rest));
            let penalty = simd.mul_f64s(unique, dot(simd, &pull, &pull));
            let fit = simd.sub_f64s(simd.mul_f64s(precision, simd.add_f64s(with_linear, with_rest)), penalty);

            // Cov(a_t), P_t Cov(a_t) P_t, and products of P_t with covariances.
            for ((i, j, _), weight) in known.covariances.iter().zip(&mut weights) {
                let both = simd.mul_f64s(loadings[*i], loadings[*j]);
                *weight = if i == j { both } else { simd.mul_f64s(two, both) };
            }
            known_scores.fill(none);
            if active > 0 {
                mix(simd, covariance, &constants.covariances, &weights);
                unpack::<S>(whole_covariance, covariance, p);
                unpack::<S>(whole, own, p);
                half.fill(none);
                add_products(simd, half, whole_covariance, whole, p);
                add_symmetric_product(simd, known_scores, whole, half, p);
            }
            for (number, sums) in products.chunks_exact_mut(WIDE).enumerate().filter(|_| p > 0) {
                sums.copy_from_slice(&dots_with(simd, own, &constants.products[number * WIDE..], wide));
            }
            given_factors.fill(none);
            for ((i, j, _), product) in known.covariances.iter().zip(&products) {
                given_factors[*i] = simd.mul_add_e_f64s(loadings[*j], *product, given_factors[*i]);
                if i != j {
                    given_factors[*j] = simd.mul_add_e_f64s(loadings[*i], *product, given_factors[*j]);
                }
            }
            let (of_own, of_scores) = (dot_with(simd, own, &constants.spread), dot_with(simd, known_scores, &constants.spread));
            let mut spread = simd.mul_f64s(unique, simd.sub_f64s(of_own, of_scores));
            spread = simd.add_f64s(spread, dot(simd, &loadings, &given_factors));
            let own_square = simd.mul_f64s(unique, simd.sub_f64s(directions, simd.mul_f64s(unique, of_own)));
            let mut square = simd.add_f64s(dot(simd, &b, &b), own_square);
            square = simd.mul_add_e_f64s(simd.mul_f64s(unique, unique), of_scores, square);
            for j in 0..k {
                of_factors[j] = dot_with(simd, &loadings[1..], known.traces.column(j).as_slice());
                let left = simd.sub_f64s(of_factors[j], simd.mul_f64s(simd.mul_f64s(two, unique), given_factors[j + 1]));
                square = simd.mul_add_e_f64s(loadings[j + 1], left, square);
                let with = dot_with(simd, &b, known.scores.column(j).as_slice());
                of_factors[j] = simd.add_f64s(with, simd.sub_f64s(of_factors[j], simd.mul_f64s(unique, given_factors[j + 1])));
                add_scaled(simd, &mut scores[j * p..(j + 1) * p], loadings[j + 1], &score);
            }
            for (i, a) in design.varying.iter().enumerate() {
                for (cell, other) in within[triangle(i)..triangle(i + 1)].iter_mut().zip(design.varying) {
                    let place = if a > other { triangle(*a) + other } else { triangle(*other) + a };
                    let more = simd.sub_f64s(simd.mul_add_e_f64s(score[*a], score[*other], known_scores[place]), own[place]);
                    // Lanes without a task have no curvature and no score.
                    *cell = simd.mul_add_e_f64s(unique, more, *cell);
                }
            }
            for (lane, t) in tasks.enumerate() {
                let of = |cell: &S::f64s| lanes::<S>(cell)[lane];
                let precision = of(&precision);
                all.log_likelihood += quadratics.constant(t) + 0.5 * of(&fit);
                let spread = if precision > 0.0 { of(&spread) / precision } else { 0.0 };
                all.residuals.push(quadratics.squares(t) - of(&with_linear) - of(&with_rest) + spread);
                all.deviations.extend(b.iter().map(of));
                all.cross.extend(of_factors.iter().map(of));
                all.squares.push(of(&square));
                for (sum, covariance) in products[active..].iter().zip(&of_pairs) {
                    all.information.push(of(sum) + covariance.map_or(0.0, |place| of(&products[place])));
                }
            }
        }
        all.within = sums::<S>(within, q);
        all.scores = scores.iter().map(|cell| sum::<S>(cell)).collect();
        all
    }
}
