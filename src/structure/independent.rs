//! Independent tasks: no information crosses; each is its own ridge regression, tuned by its own evidence.

use super::alone::alone;
use super::{FeatureCovariance, Setting, Sharing, Structure};
use crate::error::{Error, Result};
use crate::likelihood::Dispersion;
use crate::linalg;
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// Each task has a free intercept, slopes with a prior variance of its own and a noise variance of its own, the two
/// variances by the task's restricted evidence (MacKay 1992). A strong single-task baseline. Of other families the intercept has a wide normal
/// prior about the task's own level, so that tasks of one class are finite, and variance and dispersion go by the task's variational bound or
/// Laplace's approximation.
///
/// ```
/// use cognate::{Independent, Structure};
/// assert!(!Independent::default().has_marginal());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Independent {
    /// One noise variance for all Gaussian tasks, at which the sum of the restricted evidences is highest: what tasks then share is how noisy they are,
    /// and no parameter.
    pub shared_noise: bool,
}

impl Structure for Independent {
    fn name(&self) -> &'static str {
        "independent"
    }

    fn feature_covariance(&self) -> Option<FeatureCovariance> {
        Some(FeatureCovariance::Scalar)
    }

    fn fewest_tasks(&self) -> usize {
        1
    }

    fn sharing(&self) -> Sharing {
        Sharing::Nothing
    }

    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)> {
        let data = &setting.data.quadratics;
        let p = data.features();
        let free: Vec<usize> = setting.intercept.into_iter().collect();
        let slopes: Vec<usize> = (0..p).filter(|f| !free.contains(f)).collect();
        if let Some(t) = (0..data.len()).find(|t| setting.data.rows[*t] == 0.0) {
            return Err(Error::TooFewTasks {
                structure: "independent".into(),
                tasks: 0,
                needed: 1,
                remedy: format!("task '{}' has no rows; leave it out, or use --structure exchangeable", setting.names[t]),
            });
        }
        if setting.groups.are_several() {
            let problem = "independent tasks share nothing, so that those of different families are not fitted together; fit each family by itself, or \
                           use --structure pooled";
            return Err(Error::Arguments(problem.into()));
        }
        if setting.data.each.is_some() {
            if self.shared_noise {
                let problem = "tasks that share nothing but their noise are Gaussian ones; leave the shared noise out for other families";
                return Err(Error::Arguments(problem.into()));
            }
            let found = (0..data.len()).into_par_iter().map(|t| alone(setting, t, |spread| prior(&free, &slopes, vec![spread])));
            let (spread, own): (Vec<f64>, Vec<Dispersion>) = found.collect::<Result<Vec<_>>>()?.into_iter().unzip();
            // The geometric mean of each number.
            let common = own.iter().fold(vec![0.0; own[0].common.len()], |mut sum, own| {
                sum.iter_mut().zip(&own.common).for_each(|(sum, value)| *sum += value.ln() / data.len() as f64);
                sum
            });
            let common = common.into_iter().map(f64::exp).collect();
            let values = own.into_iter().flat_map(|own| own.values).collect();
            return Ok((prior(&free, &slopes, spread), Some(Dispersion { values, ..Dispersion::of_block(common) })));
        }
        let ridges: Vec<Ridge> = (0..data.len()).into_par_iter().map(|t| Ridge::of(setting, t, &slopes)).collect();
        let own: Vec<(f64, f64)> = ridges.par_iter().map(|ridge| ridge.tuned(setting.noise)).collect();
        let (spread, noise): (Vec<f64>, Vec<f64>) = own.into_iter().unzip();
        if self.shared_noise {
            let (spread, common) = together(&ridges, &noise, setting.noise);
            return Ok((prior(&free, &slopes, spread), Some(Dispersion::shared(common))));
        }
        let common = noise.len() as f64 / noise.iter().map(|v: &f64| 1.0 / v).sum::<f64>();
        Ok((prior(&free, &slopes, spread), Some(Dispersion { values: noise, ..Dispersion::shared(common) })))
    }

    fn update(&mut self, posterior: &Posterior) -> Result<Prior> {
        Ok(posterior.prior().clone())
    }

    fn parameters(&self, prior: &Prior) -> usize {
        match &prior.relatedness {
            Relatedness::Diagonal(spread) => spread.len(),
            _ => 0,
        }
    }

    fn frees_intercepts(&self) -> bool {
        true
    }

    fn has_marginal(&self) -> bool {
        false
    }
}

/// Slopes of a task normal about 0 with its variance.
fn prior(free: &[usize], slopes: &[usize], spread: Vec<f64>) -> Prior {
    let relatedness = Relatedness::Diagonal(DVector::from_vec(spread));
    Prior {
        mean_features: Vec::new(),
        varying: slopes.to_vec(),
        free: free.to_vec(),
        ..Prior::new(Mean::Given(DVector::zeros(0)), relatedness, DMatrix::identity(slopes.len(), slopes.len()))
    }
}

/// One ridge regression in the directions of its curvature, the intercept integrated out.
struct Ridge {
    /// Eigenvalues of the curvature, and the linear term along each.
    curvature: Vec<f64>,
    linear: Vec<f64>,
    squares: f64,
    /// Rows less free coefficients.
    freedom: f64,
}

/// Steps of the grid over log (noise / prior variance), of which the best is refined.
const GRID: usize = 60;

impl Ridge {
    fn of(setting: &Setting, t: usize, slopes: &[usize]) -> Self {
        let data = &setting.data.quadratics;
        let p = data.features();
        let mut j = DMatrix::from_column_slice(p, p, data.curvature(t));
        let mut h = DVector::from_column_slice(data.linear(t));
        let mut squares = data.squares(t);
        if let Some(one) = setting.intercept {
            let (weight, column, sum) = (j[(one, one)], j.column(one).into_owned(), h[one]);
            j -= &column * column.transpose() / weight;
            h -= &column * (sum / weight);
            squares -= sum * sum / weight;
        }
        let free = usize::from(setting.intercept.is_some());
        let (values, vectors) = linalg::symmetric_eigen(&j.select_rows(slopes).select_columns(slopes));
        Ridge {
            curvature: values.iter().map(|own| own.max(0.0)).collect(),
            linear: (vectors.transpose() * h.select_rows(slopes)).as_slice().to_vec(),
            squares: squares.max(0.0),
            freedom: setting.data.rows[t] - free as f64,
        }
    }

    /// Largest curvature; none where there are no slopes to learn or no degree of freedom to learn them with.
    fn top(&self) -> Option<f64> {
        let top = self.curvature.iter().copied().fold(0.0, f64::max);
        (self.freedom >= 1.0 && self.squares > 0.0 && top > 0.0).then_some(top)
    }

    /// Squares that are left at a ratio noise / prior variance, those of the slopes over it included.
    fn left(&self, ratio: f64) -> f64 {
        let explained: f64 = self.curvature.iter().zip(&self.linear).map(|(e, g)| g * g / (e + ratio)).sum();
        (self.squares - explained).max(1e-6 * self.squares)
    }

    /// The noise variance that is likeliest at a ratio.
    fn noise(&self, ratio: f64) -> f64 {
        self.left(ratio) / self.freedom
    }

    /// The ratio at which a log evidence, but for its part log |I + J / ratio|, is highest; none where no slope is supported.
    fn best_ratio(&self, top: f64, fitted: impl Fn(f64) -> f64) -> Option<f64> {
        let value = |log_ratio: f64| {
            let ratio = log_ratio.exp();
            fitted(ratio) - 0.5 * self.curvature.iter().map(|e| (e / ratio).ln_1p()).sum::<f64>()
        };
        let (low, high) = ((top * 1e-6).ln(), (top * 1e6).ln());
        let at = |i: usize| low + (high - low) * i as f64 / GRID as f64;
        let best = (0..=GRID).max_by(|a, b| value(at(*a)).total_cmp(&value(at(*b)))).unwrap_or(0);
        let ratio = linalg::golden_section(value, (at(best.saturating_sub(1)), at((best + 1).min(GRID))), 60).exp();
        (best < GRID).then_some(ratio)
    }

    /// Prior variance of the slopes and noise variance by the evidence; where the rows leave no degree of freedom, `fallback` and no slopes.
    fn tuned(&self, fallback: f64) -> (f64, f64) {
        let Some(top) = self.top() else {
            return (0.0, if self.freedom < 1.0 || self.squares <= 0.0 { fallback } else { self.squares / self.freedom });
        };
        // The noise variance has a closed form given the ratio.
        match self.best_ratio(top, |ratio| -0.5 * self.freedom * self.noise(ratio).ln()) {
            Some(ratio) => (self.noise(ratio) / ratio, self.noise(ratio)),
            None => (0.0, self.squares / self.freedom),
        }
    }
}

/// Prior variances of all tasks and one noise variance, by coordinate ascent of the sum of evidences, from tasks' own; where no task has more than a row, `fallback`.
fn together(ridges: &[Ridge], own: &[f64], fallback: f64) -> (Vec<f64>, f64) {
    const ROUNDS: usize = 100;
    let freedom: f64 = ridges.iter().map(|ridge| ridge.freedom.max(0.0)).sum();
    if freedom < 1.0 {
        return (vec![0.0; ridges.len()], fallback);
    }
    let mut noise = ridges.iter().zip(own).map(|(ridge, own)| ridge.freedom.max(0.0) * own).sum::<f64>() / freedom;
    let mut ratios: Vec<Option<f64>> = Vec::new();
    for _ in 0..ROUNDS {
        let best = |ridge: &Ridge| ridge.best_ratio(ridge.top()?, |ratio| -0.5 * ridge.left(ratio) / noise);
        ratios = ridges.par_iter().map(best).collect();
        let left: f64 = ridges.iter().zip(&ratios).map(|(ridge, ratio)| ratio.map_or(ridge.squares, |ratio| ridge.left(ratio))).sum();
        let next = left / freedom;
        let change = (next / noise).ln().abs();
        noise = next;
        if change.is_nan() || change < 1e-10 {
            break;
        }
    }
    (ratios.into_iter().map(|ratio| ratio.map_or(0.0, |ratio| noise / ratio)).collect(), noise)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of evidences, log N(y; 0, noise (I + X X' / ratio)) of all tasks, is highest where it is said to be: no other noise or ratio is better.
    #[test]
    fn shared_noise_is_at_the_maximum_of_the_sum_of_evidences() {
        let ridge = |k: usize| Ridge {
            curvature: vec![8.0 + k as f64, 3.0, 0.5],
            linear: vec![6.0, 2.0 - 0.3 * k as f64, 0.4],
            squares: 14.0 + 2.0 * k as f64,
            freedom: 9.0,
        };
        let ridges: Vec<Ridge> = (0..4).map(ridge).collect();
        let own: Vec<f64> = ridges.iter().map(|own| own.tuned(1.0).1).collect();
        let (spread, noise) = together(&ridges, &own, 1.0);
        let evidence = |noise: f64, spread: &[f64]| {
            let one = |(own, spread): (&Ridge, &f64)| {
                let volume: f64 = own.curvature.iter().map(|e| (e * spread / noise).ln_1p()).sum();
                -0.5 * (own.freedom * noise.ln() + own.left(noise / spread) / noise + volume)
            };
            ridges.iter().zip(spread).map(one).sum::<f64>()
        };
        let here = evidence(noise, &spread);
        for factor in [0.99, 1.01] {
            assert!(evidence(noise * factor, &spread) < here);
            for t in 0..spread.len() {
                let mut moved = spread.clone();
                moved[t] *= factor;
                assert!(evidence(noise, &moved) < here);
            }
        }
        assert!(own.iter().any(|own| *own < noise) && own.iter().any(|own| *own > noise));
    }
}
