//! A task of a family by itself: the prior variance of its slopes and its dispersion by its own evidence.

use super::Setting;
use crate::error::Result;
use crate::likelihood::{Approximation, Dispersion, STILL};
use crate::linalg::Lbfgs;
use crate::posterior::Posterior;
use crate::prior::Prior;

/// Least prior variance over the largest, both of them the ends of what is looked at.
const LEAST: f64 = 1e-8;

/// Variances of the grid from whose best a search begins.
const GRID: i32 = 8;

/// Change of a coefficient below which quadratics stand for a step of the search.
const NEARLY: f64 = 1e-7;

/// The variance and the dispersion of highest evidence of one task under the prior that `prior` makes of a variance; 0 where slopes of none are no
/// less likely.
pub(super) fn alone(setting: &Setting, task: usize, prior: impl Fn(f64) -> Prior) -> Result<(f64, Dispersion)> {
    let (likelihood, data) = (setting.likelihood, setting.data.alone(task));
    // A task may not have all levels of an ordinal target, and has their gaps all the same.
    let (own, all) = (likelihood.start(&data, &[]), Dispersion::of_block(likelihood.start(setting.data, &[]).common));
    let start = if own.values.len() == all.values.len() { own } else { all };
    let largest = data.each.as_ref().and_then(|rows| rows.levels().first()).map_or(0.0, |level| level.largest_variance());
    let mut latest = None;
    let mut place = |variance: f64, dispersion: &Dispersion, still: f64| -> Result<(f64, Approximation)> {
        let found = likelihood.posterior(&data, dispersion, &prior(variance), (latest.as_ref(), still))?;
        latest = Some(found.quadratics.clone());
        Ok((found.log_likelihood + likelihood.log_prior(dispersion), found))
    };
    let (low, high) = ((LEAST * largest).ln(), largest.ln());
    let mut best = (f64::NEG_INFINITY, low);
    if largest > 0.0 {
        for k in 0..=GRID {
            let log = high + (low - high) * f64::from(k) / f64::from(GRID);
            let value = place(log.exp(), &start, NEARLY)?.0;
            if value > best.0 {
                best = (value, log);
            }
        }
    }
    let begin: Vec<f64> = std::iter::once(best.1.max(f64::MIN)).chain(likelihood.coordinates(&start)).collect();
    let at = |point: &[f64]| (if largest > 0.0 { point[0].clamp(low, high).exp() } else { 0.0 }, likelihood.at(&point[1..], &start));
    let search = Lbfgs { memory: 10, evaluations: 200, gain: 1e-8, curvature: None };
    let found = search.minimise(begin, |point| {
        let (variance, dispersion) = at(point);
        let Ok((value, found)) = place(variance, &dispersion, NEARLY) else { return Ok(None) };
        // Not beyond the ends.
        let inside = (low..=high).contains(&point[0]);
        let along = |posterior: &Posterior| vec![if inside { variance * posterior.covariance_slope().trace() } else { 0.0 }];
        let mut slope = likelihood.slope_along(&data, &found, &dispersion, &along)?;
        slope.extend(likelihood.slope(&data, &found, &dispersion)?);
        slope.iter_mut().for_each(|value| *value = -*value);
        Ok::<_, crate::Error>(value.is_finite().then_some((-value, slope)))
    })?;
    let (variance, dispersion) = at(&found.point);
    let (value, without) = (place(variance, &dispersion, STILL)?.0, place(0.0, &dispersion, STILL)?.0);
    Ok((if without >= value - 1e-7 { 0.0 } else { variance }, dispersion))
}
