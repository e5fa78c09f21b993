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
/// assert!(!Independent.has_marginal());
/// ```
#[derive(Clone, Debug)]
pub struct Independent;

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
        let mut spread = Vec::with_capacity(data.len());
        let mut noise = Vec::with_capacity(data.len());
        for t in 0..data.len() {
            let rows = setting.data.rows[t];
            let mut j = DMatrix::from_column_slice(p, p, data.curvature(t));
            let mut h = DVector::from_column_slice(data.linear(t));
            let mut squares = data.squares(t);
            if let Some(one) = setting.intercept {
                let (weight, column, sum) = (j[(one, one)], j.column(one).into_owned(), h[one]);
                j -= &column * column.transpose() / weight;
                h -= &column * (sum / weight);
                squares -= sum * sum / weight;
            }
            let (k, variance) = evidence(
                &j.select_rows(&slopes).select_columns(&slopes),
                &h.select_rows(&slopes),
                squares.max(0.0),
                rows - free.len() as f64,
                setting.noise,
            );
            spread.push(k);
            noise.push(variance);
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

/// Prior variance of the slopes and noise variance of one ridge regression (J, h, y'y, degrees of freedom), by maximising
/// the evidence over their ratio; where the rows leave no degree of freedom, `fallback` and no slopes.
fn evidence(curvature: &DMatrix<f64>, linear: &DVector<f64>, squares: f64, freedom: f64, fallback: f64) -> (f64, f64) {
    if freedom < 1.0 || squares <= 0.0 {
        return (0.0, fallback);
    }
    let (values, vectors) = linalg::symmetric_eigen(curvature);
    let rotated = vectors.transpose() * linear;
    let top = values.iter().copied().fold(0.0, f64::max);
    if top <= 0.0 {
        return (0.0, squares / freedom);
    }
    let floor = 1e-6 * squares / freedom;
    // With ratio = noise / prior variance, the noise variance has a closed form.
    let noise = |ratio: f64| {
        let explained: f64 = values.iter().zip(rotated.iter()).map(|(e, g)| g * g / (e.max(0.0) + ratio)).sum();
        ((squares - explained) / freedom).max(floor)
    };
    let value = |log_ratio: f64| {
        let ratio = log_ratio.exp();
        let volume: f64 = values.iter().map(|e| (e.max(0.0) / ratio).ln_1p()).sum();
        -0.5 * (freedom * noise(ratio).ln() + volume)
    };
    let (low, high) = ((top * 1e-6).ln(), (top * 1e6).ln());
    let grid = 60;
    let at = |i: usize| low + (high - low) * i as f64 / grid as f64;
    let best = (0..=grid).max_by(|a, b| value(at(*a)).total_cmp(&value(at(*b)))).unwrap_or(0);
    let ratio = linalg::golden_section(value, (at(best.saturating_sub(1)), at((best + 1).min(grid))), 60).exp();
    let variance = noise(ratio);
    // At the upper end of the range the slopes are not supported at all.
    if best == grid { (0.0, squares / freedom) } else { (variance / ratio, variance) }
}
