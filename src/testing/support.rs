//! What targets a family can have, as points with probabilities: sums over whole numbers and shares, quadrature elsewhere.

use crate::likelihood::Family;
use std::f64::consts::{FRAC_PI_2, PI};

/// Which targets there are, by what a family says and refuses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Support {
    /// Whole numbers.
    Whole,
    /// Shares of as many trials as the weight.
    Shares,
    /// All numbers.
    Line,
    /// Positive ones.
    Positive,
    /// Those between 0 and 1.
    Unit,
}

/// Steps of the quadrature to either side, and their size.
const STEPS: i32 = 2560;
const STEP: f64 = 1.0 / 512.0;

/// Most whole numbers to either side.
const MOST: f64 = 100_000.0;

impl Support {
    pub(super) fn of(family: &dyn Family) -> Self {
        let has = |y: f64| family.refuses_later(y, 1.0).is_none();
        match () {
            () if family.is_whole() => Support::Whole,
            () if family.has_ends() => Support::Shares,
            () if has(-0.5) => Support::Line,
            () if has(1.5) => Support::Positive,
            () => Support::Unit,
        }
    }

    /// Weights at which densities are probabilities: any number of trials of a share; where a weight repeats a row 1 only.
    pub(super) fn weights(self, divides: bool) -> &'static [f64] {
        match self {
            Support::Shares => &[1.0, 7.0],
            _ if divides => &[1.0, 3.0],
            _ => &[1.0],
        }
    }

    /// Targets that are none, with their weights.
    pub(super) fn others(self) -> &'static [(f64, f64)] {
        match self {
            Support::Whole => &[(0.5, 1.0), (2.5, 1.0)],
            Support::Shares => &[(-0.5, 2.0), (1.5, 2.0), (0.3, 1.0)],
            Support::Line => &[],
            Support::Positive => &[(-1.0, 1.0), (-0.5, 2.0)],
            Support::Unit => &[(-1.0, 1.0), (2.0, 1.0)],
        }
    }

    /// The targets of that weight that there are at a predictor, ascending.
    pub(super) fn distribution(self, family: &dyn Family, weight: f64, eta: f64) -> Distribution {
        let (mean, sd) = (family.mean(eta), family.variance(weight, eta).sqrt());
        // Either may be what is wrong.
        let (mean, sd) = (if mean.is_finite() { mean } else { 0.0 }, if sd > 0.0 && sd.is_finite() { sd } else { 1.0 });
        let points: Vec<(f64, f64)> = match self {
            Support::Whole => {
                let reach = (mean.abs() + 60.0 * sd + 200.0).min(MOST) as i64;
                let whole = (-reach..=reach).map(|y| y as f64);
                whole.filter(|y| family.refuses_later(*y, weight).is_none()).map(|y| (y, 1.0)).collect()
            }
            Support::Shares => (0..=weight as i32).map(|won| (f64::from(won) / weight, 1.0)).collect(),
            // Double exponential quadrature (Takahasi and Mori 1974), in units of the spread.
            Support::Line => nodes(|t| {
                let inner = FRAC_PI_2 * t.sinh();
                (mean + sd * inner.sinh(), sd * inner.cosh() * FRAC_PI_2 * t.cosh())
            }),
            Support::Positive => {
                let (place, spread) = if mean > 0.0 { (mean, (sd / mean).min(1.0)) } else { (1.0, 1.0) };
                nodes(|t| {
                    let y = place * (spread * FRAC_PI_2 * t.sinh()).exp();
                    (y, y * spread * FRAC_PI_2 * t.cosh())
                })
            }
            Support::Unit => nodes(|t| {
                let odds = (-PI * t.sinh()).exp();
                (1.0 / (1.0 + odds), odds / (1.0 + odds).powi(2) * PI * t.cosh())
            }),
        };
        // Beyond double precision nothing is left to sum, and a density need not be one there.
        let inside =
            |(y, step): &(f64, f64)| y.is_finite() && *step > 0.0 && step.is_finite() && family.refuses_later(*y, weight).is_none();
        let (y, p) = points
            .into_iter()
            .filter(inside)
            .filter(|(y, _)| self != Support::Unit || *y < 1.0)
            .map(|(y, step)| (y, step * family.at(y, weight, eta).value.exp()))
            .unzip();
        Distribution { y, p, is_discrete: matches!(self, Support::Whole | Support::Shares) }
    }
}

fn nodes(at: impl Fn(f64) -> (f64, f64)) -> Vec<(f64, f64)> {
    (-STEPS..=STEPS)
        .map(|k| {
            let (y, slope) = at(f64::from(k) * STEP);
            (y, slope * STEP)
        })
        .collect()
}

/// Points of a distribution, ascending, and how likely each is.
pub(super) struct Distribution {
    pub y: Vec<f64>,
    pub p: Vec<f64>,
    is_discrete: bool,
}

impl Distribution {
    pub(super) fn mass(&self) -> f64 {
        self.p.iter().sum()
    }

    pub(super) fn mean(&self) -> f64 {
        self.p.iter().zip(&self.y).map(|(p, y)| p * y).filter(|own| *own != 0.0).sum()
    }

    pub(super) fn variance(&self) -> f64 {
        let mean = self.mean();
        self.p.iter().zip(&self.y).filter(|(p, _)| **p != 0.0).map(|(p, y)| p * (y - mean).powi(2)).sum()
    }

    /// About so many points y with P(Y <= y) that is neither 0 nor 1.
    pub(super) fn cumulative(&self, count: usize) -> Vec<(f64, f64)> {
        let mut sum = 0.0;
        let mut found: Vec<(f64, f64)> = Vec::new();
        for (y, p) in self.y.iter().zip(&self.p) {
            let below = sum + if self.is_discrete { *p } else { 0.5 * p };
            sum += p;
            let next = (found.len() + 1) as f64 / (count + 1) as f64;
            if below >= next && below < 1.0 - 1e-6 {
                found.push((*y, below));
            }
        }
        found
    }
}
