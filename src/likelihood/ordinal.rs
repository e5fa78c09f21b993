//! Ordered levels, of which only the order means something: by the cumulative logit.

use super::family::{Family, Local};
use std::sync::Arc;

/// Levels 1, 2, .. C with P(y <= k) = 1 / (1 + exp(eta - threshold_k)), proportional odds (McCullagh 1980): the first threshold is 0
/// (the intercept takes its place) and each of the others lies a gap above the one before. A row of weight v counts v times.
///
/// The expectation E(y | eta) is that of the number of the level.
///
/// ```
/// use cognate::{Family, Ordinal};
/// let three = Ordinal { gaps: vec![1.0] };
/// let p: f64 = (1..=3).map(|level| three.at(f64::from(level), 1.0, 0.4).value.exp()).sum();
/// assert!((p - 1.0).abs() < 1e-14);
/// ```
#[derive(Clone, Debug)]
pub struct Ordinal {
    /// From each threshold to the next, C - 2 of them.
    pub gaps: Vec<f64>,
}

/// Most levels.
const MOST: f64 = 100.0;

impl Default for Ordinal {
    fn default() -> Self {
        Ordinal { gaps: vec![1.0] }
    }
}

/// 1 / (1 + exp(-x)) and ln of it.
fn logistic(x: f64) -> (f64, f64) {
    let small = (-x.abs()).exp();
    let p = if x >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
    (p, x.min(0.0) - small.ln_1p())
}

impl Ordinal {
    fn levels(&self) -> usize {
        self.gaps.len() + 2
    }

    /// Threshold k of 1, 2, .. C - 1.
    fn threshold(&self, k: usize) -> f64 {
        self.gaps[..k - 1].iter().sum()
    }

    fn probability(&self, level: usize, eta: f64) -> f64 {
        self.at(level as f64, 1.0, eta).value.exp()
    }
}

impl Family for Ordinal {
    fn name(&self) -> &'static str {
        "ordinal"
    }

    /// With a < b the thresholds about the level less eta, s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)).
    fn at(&self, y: f64, weight: f64, eta: f64) -> Local {
        let level = (y as usize).clamp(1, self.levels());
        let mut local = Local { value: 0.0, slope: 0.0, curvature: 0.0 };
        if level < self.levels() {
            let (p, log_p) = logistic(self.threshold(level) - eta);
            local = Local { value: log_p, slope: p - 1.0, curvature: p * (1.0 - p) };
        }
        if level > 1 {
            let (p, log_p) = logistic(eta - self.threshold(level - 1));
            local = Local { value: local.value + log_p, slope: local.slope + 1.0 - p, curvature: local.curvature + p * (1.0 - p) };
        }
        if (2..self.levels()).contains(&level) {
            local.value += (-(-self.gaps[level - 2]).exp_m1()).ln();
        }
        Local { value: weight * local.value, slope: weight * local.slope, curvature: weight * local.curvature }
    }

    fn mean(&self, eta: f64) -> f64 {
        1.0 + (1..self.levels()).map(|k| logistic(eta - self.threshold(k)).0).sum::<f64>()
    }

    fn variance(&self, weight: f64, eta: f64) -> f64 {
        let mean = self.mean(eta);
        (1..=self.levels()).map(|k| self.probability(k, eta) * (k as f64 - mean).powi(2)).sum::<f64>() / weight
    }

    fn cumulative(&self, _: f64, _: f64, _: f64) -> Option<f64> {
        None
    }

    fn is_whole(&self) -> bool {
        true
    }

    fn start(&self, y: f64, _: f64) -> f64 {
        let level = (y as usize).clamp(1, self.levels());
        match level {
            1 => -1.0,
            last if last == self.levels() => self.threshold(last - 1) + 1.0,
            _ => 0.5 * (self.threshold(level - 1) + self.threshold(level)),
        }
    }

    fn refuses(&self, y: f64, _: f64) -> Option<&'static str> {
        (!(1.0..=MOST).contains(&y) || y != y.round()).then_some("is no level; number the levels 1, 2, 3 .. from low to high, at most 100")
    }

    fn refuses_later(&self, y: f64, weight: f64) -> Option<&'static str> {
        let above = y > self.levels() as f64;
        self.refuses(y, weight).or(above.then_some("is a level above all that were fitted; leave the row out, or fit with it"))
    }

    fn dispersion(&self) -> Vec<f64> {
        self.gaps.clone()
    }

    fn dispersion_names(&self) -> Vec<String> {
        (2..self.levels()).map(|k| format!("gap from threshold {} to {k}", k - 1)).collect()
    }

    fn with_dispersion(&self, values: &[f64]) -> Option<Arc<dyn Family>> {
        Some(Arc::new(Ordinal { gaps: values.iter().map(|gap| gap.clamp(1e-9, 1e3)).collect() }))
    }

    /// As many levels as the highest, at the thresholds of all targets together.
    fn begin(&self, targets: &[f64], weights: &[f64]) -> Option<Arc<dyn Family>> {
        let levels = targets.iter().fold(2.0, |most: f64, y| most.max(*y)) as usize;
        let total = weights.iter().sum::<f64>() + levels as f64;
        let below = |k: usize| {
            let counted: f64 = targets.iter().zip(weights).filter(|(y, _)| **y <= k as f64).map(|(_, v)| v).sum();
            let share = (counted + k as f64) / total;
            (share / (1.0 - share)).ln()
        };
        self.with_dispersion(&(2..levels).map(|k| (below(k) - below(k - 1)).max(1e-3)).collect::<Vec<_>>())
    }

    fn add_dispersion_slope(&self, y: f64, weight: f64, mean: f64, sd: f64, sum: &mut [f64]) {
        let level = (y as usize).clamp(1, self.levels());
        // d ln p / d threshold of the one above the level and the one below.
        let (mut above, mut below) = (0.0, 0.0);
        for (z, v) in crate::linalg::normal_rule_of(sd).iter() {
            let eta = mean + sd * z;
            if level < self.levels() {
                above += v * (1.0 - logistic(self.threshold(level) - eta).0);
            }
            if level > 1 {
                below -= v * (1.0 - logistic(eta - self.threshold(level - 1)).0);
            }
        }
        if (2..self.levels()).contains(&level) {
            let apart = 1.0 / self.gaps[level - 2].exp_m1();
            above += apart;
            below -= apart;
        }
        for (j, (cell, gap)) in sum.iter_mut().zip(&self.gaps).enumerate() {
            // Gap j lies below the thresholds from j + 2 on.
            let reached = if level >= j + 2 { above } else { 0.0 } + if level > j + 2 { below } else { 0.0 };
            *cell += weight * gap * reached;
        }
    }
}
