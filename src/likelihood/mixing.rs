//! A shorter way to quadratics that stand: what the last ones became says where they go (Anderson 1965; Walker and Ni 2011).

use crate::linalg;
use crate::quadratic::Quadratic;
use nalgebra::DMatrix;
use rayon::prelude::*;

/// Most quadratics of before that are kept, and the numbers in all of them together.
const MEMORY: usize = 5;
const NUMBERS: usize = 1 << 25;

/// Share of the squares of changes that is added where they are all but alike.
const RIDGE: f64 = 1e-10;

/// Weights of quadratics of before beyond which they are no guide.
const FARTHEST: f64 = 100.0;

/// Quadratics of all tasks, and those that were made around their posterior.
pub(super) struct Met {
    pub sites: Vec<Quadratic>,
    pub around: Vec<Quadratic>,
}

/// The last of them, the latest first.
pub(super) struct Mixing {
    memory: usize,
    before: Vec<Met>,
}

impl Mixing {
    pub(super) fn of(tasks: usize, features: usize) -> Self {
        Mixing { memory: (NUMBERS / (2 * tasks * features * features).max(1)).min(MEMORY), before: Vec::new() }
    }

    pub(super) fn keep(&mut self, met: Met) {
        self.before.insert(0, met);
        self.before.truncate(self.memory);
    }

    pub(super) fn forget(&mut self) {
        self.before.clear();
    }

    /// Of the combinations of quadratics, with weights that add up to 1, the one of which what changed is least, as far as they change linearly, moved by that change. Changes count in units
    /// of the curvature. O(m^2 T d^2) for m kept ones. None where nothing is kept or they are no guide.
    pub(super) fn next(&self, sites: &[Quadratic], around: &[Quadratic]) -> Option<Vec<Quadratic>> {
        let count = self.before.len();
        if count == 0 {
            return None;
        }
        let products = (0..sites.len()).into_par_iter().map(|t| {
            let changes: Vec<Vec<f64>> = std::iter::once((&sites[t], &around[t]))
                .chain(self.before.iter().map(|met| (&met.sites[t], &met.around[t])))
                .map(|(site, around)| change(site, around, &units(&sites[t])))
                .collect();
            DMatrix::from_fn(count + 1, count + 1, |i, j| changes[i].iter().zip(&changes[j]).map(|(a, b)| a * b).sum::<f64>())
        });
        let products: Vec<DMatrix<f64>> = products.collect();
        let all = products.into_iter().fold(DMatrix::zeros(count + 1, count + 1), |sum, own| sum + own);
        let mut squares = DMatrix::from_fn(count, count, |i, j| all[(0, 0)] - all[(0, j + 1)] - all[(i + 1, 0)] + all[(i + 1, j + 1)]);
        let mut weights = DMatrix::from_fn(count, 1, |i, _| all[(0, 0)] - all[(i + 1, 0)]);
        (0..count).for_each(|i| squares[(i, i)] *= 1.0 + RIDGE);
        linalg::solve_cholesky(&linalg::cholesky(squares)?, &mut weights);
        if weights.amax() > FARTHEST {
            return None;
        }
        let combined = around.par_iter().enumerate().map(|(t, own)| {
            let mut sum = own.clone();
            for (met, weight) in self.before.iter().zip(weights.iter()) {
                let other = &met.around[t];
                sum.constant -= weight * (own.constant - other.constant);
                sum.linear -= (&own.linear - &other.linear) * *weight;
                sum.curvature -= (&own.curvature - &other.curvature) * *weight;
            }
            sum
        });
        Some(combined.collect())
    }
}

/// 1 / sqrt(J_aa), 0 where the rows say nothing.
fn units(site: &Quadratic) -> Vec<f64> {
    site.curvature.diagonal().iter().map(|own| if *own > 0.0 { own.sqrt().recip() } else { 0.0 }).collect()
}

/// What changed of the linear term and of the lower triangle of the curvature, in these units.
fn change(site: &Quadratic, around: &Quadratic, units: &[f64]) -> Vec<f64> {
    let p = units.len();
    let mut all = Vec::with_capacity(p * (p + 3) / 2);
    for a in 0..p {
        all.push((around.linear[a] - site.linear[a]) * units[a]);
        let (own, other) = (&around.curvature.as_slice()[a * p..(a + 1) * p], &site.curvature.as_slice()[a * p..(a + 1) * p]);
        all.extend((a..p).map(|b| (own[b] - other[b]) * units[a] * units[b]));
    }
    all
}
