//! The passes of the block engine over tasks of few features, one task in each lane of the processor's vectors.

use super::MeanEstimate;
use super::block::{Design, First, Second};
use crate::linalg::lanes::{
    Cells, add_gram, add_products, are_factors, cell_of, cholesky, dot, gather, invert_lower, lanes, log_determinants, solve_lower,
    solve_lower_transpose, square, subtract_product, sum, triangle,
};
use crate::prior::{Mean, Prior};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// The blocks of the tasks of a range and what they say of the mean.
pub(super) struct FirstPass<'a> {
    pub design: &'a Design<'a>,
    pub range: Range<usize>,
}

/// Their posteriors given the mean.
pub(super) struct SecondPass<'a> {
    pub design: &'a Design<'a>,
    pub prior: &'a Prior,
    pub mean: &'a MeanEstimate,
    pub range: Range<usize>,
    pub deviations: &'a mut [f64],
    pub residuals: &'a mut [f64],
}

/// Some tasks side by side; lanes without a task have one of precision 0.
pub(super) struct Group<'a, S: Simd> {
    pub simd: S,
    pub design: &'a Design<'a>,
    /// The elements of L, the same in every lane (q x r).
    factor: Cells,
    /// J_t, lower triangles.
    pub curvature: Cells,
    pub linear: Cells,
    /// L' J_v,: and L' h_v, times precision and scale (r x (p + 1)).
    pub cross: Cells,
    /// The rows that vary of a part of J_t, by columns (q x p); then rows of `cross` (q x r).
    gathered: Cells,
    /// M_t, then its factor.
    pub block: Cells,
    whole: Cells,
    pub reciprocals: Cells,
    pub precision: S::f64s,
    pub scale: S::f64s,
}

impl<'a, S: Simd> Group<'a, S> {
    #[inline(always)]
    pub(super) fn new(simd: S, design: &'a Design<'a>) -> Self {
        let (p, q, r) = design.sizes();
        let mut factor = Cells::new::<S>(q * r);
        factor.get::<S>().iter_mut().zip(design.factor.as_slice()).for_each(|(cell, value)| *cell = simd.splat_f64s(*value));
        let none = simd.splat_f64s(0.0);
        Group {
            simd,
            design,
            factor,
            curvature: Cells::new::<S>(triangle(p)),
            linear: Cells::new::<S>(p),
            cross: Cells::new::<S>(r * (p + 1)),
            gathered: Cells::new::<S>(q * (p + 1).max(r)),
            block: Cells::new::<S>(triangle(r)),
            whole: Cells::new::<S>(r * r),
            reciprocals: Cells::new::<S>(r),
            precision: none,
            scale: none,
        }
    }

    /// Takes up tasks: their quadratics, `cross` and the factor of their blocks; false where one is not positive definite.
    #[inline(always)]
    pub(super) fn load(&mut self, tasks: Range<usize>) -> bool {
        let (simd, design, quadratics) = (self.simd, self.design, self.design.quadratics);
        let (p, q, r) = design.sizes();
        let task = |lane: usize| (tasks.start + lane).min(tasks.end - 1);
        let curvatures: Vec<&[f64]> = (0..S::F64_LANES).map(|lane| quadratics.curvature(task(lane))).collect();
        let linears: Vec<&[f64]> = (0..S::F64_LANES).map(|lane| quadratics.linear(task(lane))).collect();
        let curvature = self.curvature.get::<S>();
        gather(simd, curvature, &curvatures, p);
        let linear = self.linear.get::<S>();
        linear.iter_mut().enumerate().for_each(|(k, cell)| *cell = cell_of(simd, |lane| linears[lane][k]));
        self.precision = cell_of(simd, |lane| if lane < tasks.len() { quadratics.precision(task(lane)) } else { 0.0 });
        self.scale = cell_of(simd, |lane| design.scale(task(lane)));
        if r == 0 {
            return true;
        }
        let weight = simd.mul_f64s(self.precision, self.scale);
        let (cross, gathered, block) = (self.cross.get::<S>(), self.gathered.get::<S>(), self.block.get::<S>());
        let element = |i: usize, j: usize| if i > j { curvature[triangle(i) + j] } else { curvature[triangle(j) + i] };
        let one = simd.splat_f64s(1.0);
        if let Some(diagonal) = &design.diagonal {
            for (k, (feature, l)) in design.varying.iter().zip(diagonal).enumerate() {
                let weight = simd.mul_f64s(weight, simd.splat_f64s(*l));
                for j in 0..p {
                    cross[j * r + k] = simd.mul_f64s(weight, element(*feature, j));
                }
                cross[p * r + k] = simd.mul_f64s(weight, linear[*feature]);
            }
            for (i, (feature, l)) in design.varying.iter().zip(diagonal).enumerate() {
                let scale = simd.mul_f64s(self.scale, simd.splat_f64s(*l));
                let row = &mut block[triangle(i)..triangle(i + 1)];
                for (cell, value) in row.iter_mut().zip(&cross[feature * r..]) {
                    *cell = simd.mul_f64s(scale, *value);
                }
                row[i] = simd.add_f64s(row[i], one);
            }
        } else {
            let (factor, whole) = (self.factor.get::<S>(), self.whole.get::<S>());
            for (a, feature) in design.varying.iter().enumerate() {
                for j in 0..p {
                    gathered[j * q + a] = simd.mul_f64s(weight, element(*feature, j));
                }
                gathered[p * q + a] = simd.mul_f64s(weight, linear[*feature]);
            }
            cross.fill(simd.splat_f64s(0.0));
            add_products(simd, cross, factor, &gathered[..q * (p + 1)], q);
            for (a, feature) in design.varying.iter().enumerate() {
                for k in 0..r {
                    gathered[k * q + a] = simd.mul_f64s(self.scale, cross[feature * r + k]);
                }
            }
            whole.fill(simd.splat_f64s(0.0));
            add_products(simd, whole, factor, &gathered[..q * r], q);
            for i in 0..r {
                block[triangle(i)..triangle(i + 1)].copy_from_slice(&whole[i * r..=i * r + i]);
                block[triangle(i) + i] = simd.add_f64s(block[triangle(i) + i], one);
            }
        }
        cholesky(simd, block, self.reciprocals.get::<S>());
        are_factors::<S>(block, r).all(|sound| sound)
    }

    /// L' x_v times `weight`.
    #[inline(always)]
    pub(super) fn factor_transpose_times(&mut self, x: &[S::f64s], weight: S::f64s, target: &mut [S::f64s]) {
        let (simd, design, q) = (self.simd, self.design, self.design.varying.len());
        let factor = self.factor.get::<S>();
        for (k, cell) in target.iter_mut().enumerate() {
            let mut value = simd.splat_f64s(0.0);
            if design.diagonal.is_some() {
                value = simd.mul_f64s(factor[k * q + k], x[design.varying[k]]);
            } else {
                for (feature, l) in design.varying.iter().zip(&factor[k * q..(k + 1) * q]) {
                    value = simd.mul_add_e_f64s(*l, x[*feature], value);
                }
            }
            *cell = simd.mul_f64s(weight, value);
        }
    }

    /// Adds L b to what varies of `target`.
    #[inline(always)]
    pub(super) fn add_factor_times(&mut self, b: &[S::f64s], target: &mut [S::f64s]) {
        let (simd, design, q) = (self.simd, self.design, self.design.varying.len());
        let factor = self.factor.get::<S>();
        for (k, value) in b.iter().enumerate() {
            if design.diagonal.is_some() {
                let cell = &mut target[design.varying[k]];
                *cell = simd.mul_add_e_f64s(factor[k * q + k], *value, *cell);
            } else {
                for (feature, l) in design.varying.iter().zip(&factor[k * q..(k + 1) * q]) {
                    target[*feature] = simd.mul_add_e_f64s(*l, *value, target[*feature]);
                }
            }
        }
    }
}

/// A whole symmetric matrix, by columns, of sums over the lanes of a lower triangle.
pub(super) fn sums<S: Simd>(cells: &[S::f64s], n: usize) -> Vec<f64> {
    let mut whole = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let value = sum::<S>(&cells[triangle(i) + j]);
            (whole[j * n + i], whole[i * n + j]) = (value, value);
        }
    }
    whole
}

impl WithSimd for FirstPass<'_> {
    type Output = First;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> First {
        let (p, _, r) = self.design.sizes();
        let mut group = Group::new(simd, self.design);
        let (mut information, mut score) = (Cells::new::<S>(triangle(p)), Cells::new::<S>(p));
        let mut explained = Cells::new::<S>(triangle(p + 1));
        let (information, score, explained) = (information.get::<S>(), score.get::<S>(), explained.get::<S>());
        let (mut log_determinant, mut defined) = (0.0, true);
        for start in self.range.clone().step_by(S::F64_LANES) {
            defined = group.load(start..(start + S::F64_LANES).min(self.range.end));
            if !defined {
                break;
            }
            for (cell, own) in information.iter_mut().zip(&*group.curvature.get::<S>()) {
                *cell = simd.mul_add_e_f64s(group.precision, *own, *cell);
            }
            for (cell, own) in score.iter_mut().zip(&*group.linear.get::<S>()) {
                *cell = simd.mul_add_e_f64s(group.precision, *own, *cell);
            }
            if r > 0 {
                let (block, reciprocals, cross) = (group.block.get::<S>(), group.reciprocals.get::<S>(), group.cross.get::<S>());
                log_determinant += log_determinants(simd, block, r).sum::<f64>();
                solve_lower(simd, block, reciprocals, cross);
                add_gram(simd, explained, cross, r, false);
            }
        }
        let score = score.iter().zip(&explained[triangle(p)..]).map(|(own, explained)| sum::<S>(own) - sum::<S>(explained));
        First {
            information: sums::<S>(information, p),
            score: score.collect(),
            explained: sums::<S>(&explained[..triangle(p)], p),
            log_determinant,
            defined,
        }
    }
}

impl WithSimd for SecondPass<'_> {
    type Output = Second;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Second {
        let (design, quadratics) = (self.design, self.design.quadratics);
        let (p, q, r) = design.sizes();
        let none = simd.splat_f64s(0.0);
        let mut group = Group::new(simd, design);
        let mut mean = Cells::new::<S>(p);
        let mean = mean.get::<S>();
        mean.iter_mut().zip(self.mean.mean.iter()).for_each(|(cell, value)| *cell = simd.splat_f64s(*value));
        let (mut rest, mut w, mut u, mut b) = (vec![none; p], vec![none; p], vec![none; p], vec![none; r]);
        let mut outer = vec![none; triangle(q)];
        let mut inverse = Cells::new::<S>(r * r);
        let mut integration = matches!(self.prior.mean, Mean::Integrated).then(|| Integration::new(simd, design, self.prior, self.mean));
        let mut log_likelihood = 0.0;
        for start in self.range.clone().step_by(S::F64_LANES) {
            let tasks = start..(start + S::F64_LANES).min(self.range.end);
            group.load(tasks.clone());
            let (precision, scale) = (group.precision, group.scale);
            // Score of the mean: h - J mean.
            rest.copy_from_slice(group.linear.get::<S>());
            subtract_product(simd, &mut rest, group.curvature.get::<S>(), mean);
            let linear = group.linear.get::<S>();
            let fit = simd.mul_f64s(precision, simd.add_f64s(dot(simd, mean, linear), dot(simd, mean, &rest)));
            w.copy_from_slice(mean);
            let (mut solved, mut spread) = (none, none);
            if r > 0 {
                group.factor_transpose_times(&rest, simd.mul_f64s(precision, scale), &mut b);
                let (block, reciprocals) = (group.block.get::<S>(), group.reciprocals.get::<S>());
                solve_lower(simd, block, reciprocals, &mut b);
                solved = dot(simd, &b, &b);
                solve_lower_transpose(simd, block, reciprocals, &mut b);
                for value in &mut b {
                    *value = simd.mul_f64s(*value, scale);
                }
                // tr(J C) = r - tr(M^-1).
                invert_lower(simd, block, reciprocals, inverse.get::<S>());
                let mut trace = none;
                for k in 0..r {
                    trace = simd.add_f64s(trace, square(simd, &inverse.get::<S>()[k * r + k..(k + 1) * r]));
                }
                spread = simd.sub_f64s(simd.splat_f64s(r as f64), trace);
                u.fill(none);
                group.add_factor_times(&b, &mut u);
                for (w, u) in w.iter_mut().zip(&u) {
                    *w = simd.add_f64s(*w, *u);
                }
                subtract_product(simd, &mut rest, group.curvature.get::<S>(), &u);
            }
            for (i, feature) in design.varying.iter().enumerate() {
                let value = simd.mul_f64s(simd.mul_f64s(precision, precision), rest[*feature]);
                for (cell, other) in outer[triangle(i)..triangle(i + 1)].iter_mut().zip(design.varying) {
                    *cell = simd.mul_add_e_f64s(value, rest[*other], *cell);
                }
            }
            if let Some(integration) = &mut integration {
                spread = simd.add_f64s(spread, integration.of(&mut group));
            }
            // y'y - 2 h'w + w'Jw = y'y - h'w - (h - Jw)'w.
            let explained = simd.add_f64s(dot(simd, &w, group.linear.get::<S>()), dot(simd, &w, &rest));
            for (lane, t) in tasks.enumerate() {
                let of = |cell: &S::f64s| lanes::<S>(cell)[lane];
                let (slot, precision) = (t - self.range.start, of(&precision));
                log_likelihood += quadratics.constant(t) + 0.5 * (of(&fit) + of(&solved));
                self.residuals[slot] = quadratics.squares(t) - of(&explained) + if precision > 0.0 { of(&spread) / precision } else { 0.0 };
                self.deviations[slot * r..(slot + 1) * r].iter_mut().zip(&b).for_each(|(value, b)| *value = of(b));
            }
        }
        let restricted = integration.map_or_else(|| vec![0.0; q * q], Integration::slope);
        Second { log_likelihood, outer: sums::<S>(&outer, q), restricted }
    }
}

/// What integrating over the mean adds.
struct Integration<'a, S: Simd> {
    features: &'a [usize],
    /// The covariance of the mean, the same in every lane (m x m).
    covariance: Cells,
    /// P_t = J_t - B'B, lower triangles; its rows at the mean's features (m x p); those times the covariance; how the mean moves b
    /// (r x m) and w (p x m); and sum_t P_v,m V P_m,v (q x q).
    projected: Cells,
    rows: Cells,
    spread: Cells,
    moved: Cells,
    slope: Vec<S::f64s>,
    picked: [Vec<S::f64s>; 2],
}

impl<'a, S: Simd> Integration<'a, S> {
    fn new(simd: S, design: &Design, prior: &'a Prior, mean: &MeanEstimate) -> Self {
        let ((p, q, r), m) = (design.sizes(), prior.mean_features.len());
        let mut covariance = Cells::new::<S>(m * m);
        covariance.get::<S>().iter_mut().zip(mean.covariance.as_slice()).for_each(|(cell, value)| *cell = simd.splat_f64s(*value));
        let none = simd.splat_f64s(0.0);
        Integration {
            features: &prior.mean_features,
            covariance,
            projected: Cells::new::<S>(triangle(p)),
            rows: Cells::new::<S>(m * p),
            spread: Cells::new::<S>(m * p),
            moved: Cells::new::<S>(r * m),
            slope: vec![none; q * q],
            picked: [vec![none; m * q], vec![none; m * q]],
        }
    }

    /// Adds P_v,m V P_m,v to the slope; tr(V T' J T).
    #[inline(always)]
    fn of(&mut self, group: &mut Group<S>) -> S::f64s {
        let (simd, design, m) = (group.simd, group.design, self.features.len());
        let (p, _, r) = design.sizes();
        let none = simd.splat_f64s(0.0);
        let (projected, rows, spread) = (self.projected.get::<S>(), self.rows.get::<S>(), self.spread.get::<S>());
        let curvature = group.curvature.get::<S>();
        projected.fill(none);
        if r > 0 {
            let cross = &mut group.cross.get::<S>()[..r * p];
            solve_lower(simd, group.block.get::<S>(), group.reciprocals.get::<S>(), cross);
            add_gram(simd, projected, cross, r, false);
        }
        for (cell, own) in projected.iter_mut().zip(curvature) {
            *cell = simd.sub_f64s(simd.mul_f64s(group.precision, *own), *cell);
        }
        for j in 0..p {
            for (i, feature) in self.features.iter().enumerate() {
                rows[j * m + i] = if *feature > j { projected[triangle(*feature) + j] } else { projected[triangle(j) + feature] };
            }
        }
        spread.fill(none);
        add_products(simd, spread, self.covariance.get::<S>(), rows, m);
        for (k, feature) in design.varying.iter().enumerate() {
            self.picked[0][k * m..(k + 1) * m].copy_from_slice(&spread[feature * m..(feature + 1) * m]);
            self.picked[1][k * m..(k + 1) * m].copy_from_slice(&rows[feature * m..(feature + 1) * m]);
        }
        add_products(simd, &mut self.slope, &self.picked[0], &self.picked[1], m);
        // tr(V T'P) with T = 1 on the mean's features less L M^-1 L'J.
        let mut trace = none;
        for (i, feature) in self.features.iter().enumerate() {
            trace = simd.add_f64s(trace, spread[feature * m + i]);
        }
        let moved = self.moved.get::<S>();
        for (i, feature) in self.features.iter().enumerate().filter(|_| r > 0) {
            moved[i * r..(i + 1) * r].copy_from_slice(&group.cross.get::<S>()[feature * r..(feature + 1) * r]);
            let own = &mut moved[i * r..(i + 1) * r];
            solve_lower_transpose(simd, group.block.get::<S>(), group.reciprocals.get::<S>(), own);
            let mut along = vec![none; p];
            group.add_factor_times(own, &mut along);
            let mut part = none;
            for j in 0..p {
                part = simd.mul_add_e_f64s(along[j], spread[j * m + i], part);
            }
            trace = simd.sub_f64s(trace, simd.mul_f64s(group.scale, part));
        }
        trace
    }

    fn slope(self) -> Vec<f64> {
        self.slope.iter().map(|cell| sum::<S>(cell)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::block::Block;
    use super::*;
    use crate::prior::Relatedness;
    use crate::quadratic::{Quadratic, Quadratics};
    use nalgebra::{DMatrix, DVector};
    use pulp::{Arch, Scalar};

    fn close(a: &[f64], b: &[f64]) -> bool {
        let size = a.iter().fold(1.0, |size: f64, value| size.max(value.abs()));
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-11 * size)
    }

    #[test]
    fn tasks_side_by_side_have_the_sums_of_tasks_one_by_one() {
        let (p, tasks) = (7, 11);
        let number = |seed: usize| ((seed * 7919 + 13) % 101) as f64 / 50.0 - 1.0;
        let task = |t: usize| {
            // The fourth task has no rows, the fifth fewer than features.
            let x = DMatrix::from_fn(p, [12, 9, 20, 0, 3][t % 5], |i, j| if i == 0 { 1.0 } else { number(t * 400 + i * 31 + j * 7) });
            let y = DVector::from_fn(x.ncols(), |j, _| number(t * 77 + j));
            Quadratic { constant: t as f64, linear: &x * y, curvature: &x * x.transpose() * 3.0 }
        };
        let quadratics = Quadratics::new(&(0..tasks).map(task).collect::<Vec<_>>()).unwrap();
        let scales: Vec<f64> = (0..tasks).map(|t| 0.5 + t as f64 * 0.1).collect();
        for varying in [vec![0, 1, 2, 3, 4, 5, 6], vec![5, 0, 2], vec![]] {
            let q = varying.len();
            let diagonal = DMatrix::from_diagonal(&DVector::from_fn(q, |k, _| if k == 1 { 0.0 } else { 0.4 + k as f64 * 0.1 }));
            let full = DMatrix::from_fn(q, q.saturating_sub(1), |i, j| number(i * 5 + j * 3));
            for (factor, mean, scales) in [
                (&diagonal, Mean::Profiled, None),
                (&diagonal, Mean::Integrated, Some(&scales)),
                (&full, Mean::Integrated, None),
                (&full, Mean::Profiled, Some(&scales)),
            ] {
                let mut prior = Prior::new(mean, Relatedness::Identity, DMatrix::identity(p, p));
                (prior.factor, prior.varying, prior.mean_features) = (factor.clone(), varying.clone(), vec![0, 1, 2, 4, 6]);
                let design = Design::new(&quadratics, &prior, scales.map(Vec::as_slice));
                let expected = Block::first_pass(&design, 0..tasks);
                let side = || FirstPass { design: &design, range: 0..tasks };
                for first in [Arch::new().dispatch(side()), side().with_simd(Scalar::new())] {
                    assert!(close(&expected.information, &first.information) && close(&expected.explained, &first.explained));
                    assert!(close(&expected.score, &first.score) && first.defined);
                    assert!((expected.log_determinant - first.log_determinant).abs() < 1e-11);
                }
                let covariance = DMatrix::from_fn(5, 5, |i, j| if i == j { 0.3 } else { 0.02 });
                let mean = MeanEstimate { mean: DVector::from_fn(p, |k, _| number(k)), covariance, log_volume: 0.0 };
                let r = factor.ncols();
                let run = |way: &dyn Fn(SecondPass) -> Second| {
                    let (mut deviations, mut residuals) = (vec![0.0; r * tasks], vec![0.0; tasks]);
                    let (deviations, residuals) = (&mut deviations[..], &mut residuals[..]);
                    let sums = way(SecondPass { design: &design, prior: &prior, mean: &mean, range: 0..tasks, deviations, residuals });
                    (sums, deviations.to_vec(), residuals.to_vec())
                };
                let (expected, deviations, residuals) = run(&Block::second_pass);
                for (second, own, rest) in [run(&|pass| Arch::new().dispatch(pass)), run(&|pass| pass.with_simd(Scalar::new()))] {
                    assert!((expected.log_likelihood - second.log_likelihood).abs() < 1e-10);
                    assert!(close(&expected.outer, &second.outer) && close(&deviations, &own) && close(&residuals, &rest));
                    let symmetric = |sums: &Second| {
                        let all = DMatrix::from_column_slice(q, q, &sums.restricted);
                        (&all + all.transpose()).as_slice().to_vec()
                    };
                    assert!(close(&symmetric(&expected), &symmetric(&second)));
                }
            }
        }
    }
}
