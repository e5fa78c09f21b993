//! Generalised linear targets: a family row by row, its dispersion learned with the rest.

use super::approximation::{Approximation, Inference, STILL};
use super::evidence::Evidence;
use super::family::Family;
use super::gaussian::Noise;
use super::rows::{Families, FamilyRows, Where};
use super::{Dispersion, Likelihood, Observations, rows_are_missing};
use crate::error::{Error, Result};
use crate::posterior::Posterior;
use crate::prior::{Prior, Relatedness};
use crate::quadratic::Quadratics;
use nalgebra::DVector;
use rayon::prelude::*;
use std::sync::Arc;

/// Targets of a [`Family`], whose quadratics are looked for in every E-step ([`Approximation`]).
///
/// The family's dispersion is learned: one for all tasks, or with [`Noise::Task`] one a task, its logarithms normal about a common value
/// with a variance that is learned in the first steps.
///
/// ```
/// use cognate::{Design, Exchangeable, FeatureCovariance, Generalised, Model, Poisson, Rows};
/// let mut rows = Rows::new("calls", &["hour"]);
/// for i in 0..80 {
///     let (line, hour) = (i % 8, f64::from(i / 8) / 5.0 - 1.0);
///     rows.push(&format!("line {line}"), &[hour], f64::from(1 + line / 2 + i * 7 % 3), 1.0)?;
/// }
/// let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
/// let fit = Model::new(Generalised::new(Poisson), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
/// assert!(fit.log_likelihood_is_bound());
/// assert!(fit.predict("line 7", &[0.0], 0.95)?.mean > fit.predict("line 0", &[0.0], 0.95)?.mean);
/// # Ok::<(), cognate::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Generalised {
    family: Arc<dyn Family>,
    inference: Inference,
    noise: Noise,
}

/// Least and largest learned variance of the logarithms of tasks' dispersions.
const SPREAD: (f64, f64) = (1e-3, 4.0);

/// Step in the logarithm of a dispersion by which derivatives are differences.
const STEP: f64 = 1e-4;

impl Generalised {
    /// Of a family, by variational inference, one dispersion for all tasks.
    pub fn new(family: impl Family + 'static) -> Self {
        Generalised::of(Arc::new(family))
    }

    /// As [`Generalised::new`], from a shared family.
    pub fn of(family: Arc<dyn Family>) -> Self {
        Generalised { family, inference: Inference::default(), noise: Noise::Shared }
    }

    /// By that inference.
    pub fn with_inference(self, inference: Inference) -> Self {
        Generalised { inference, ..self }
    }

    /// Whether tasks share the dispersion.
    pub fn with_noise(self, noise: Noise) -> Self {
        Generalised { noise, ..self }
    }

    /// The family at each block of a dispersion.
    fn at(&self, dispersion: &Dispersion, tasks: usize) -> Vec<Arc<dyn Family>> {
        let count = if dispersion.is_each() { tasks } else { 1 };
        let at = |t| self.family.with_dispersion(dispersion.block(t)).unwrap_or_else(|| Arc::clone(&self.family));
        (0..count).map(at).collect()
    }

    fn rows<'a>(&self, data: &'a Observations) -> Result<&'a FamilyRows> {
        data.each.as_ref().ok_or_else(|| rows_are_missing(self.family.name()))
    }

    /// d expected log density / d log value of each number of each block.
    fn expected_slope(&self, rows: &FamilyRows, place: &Where, dispersion: &Dispersion) -> Vec<f64> {
        let own = self.at(dispersion, rows.tasks());
        let families = Families(own.iter().map(Arc::as_ref).collect());
        let each = rows.sums(dispersion.common.len(), |t, row, sum| {
            let (eta, sd) = (row.predictor(&place.means[t]) + row.offset, row.deviation(&place.covariances[t]));
            families.of(t).add_dispersion_slope(row.y, row.weight, eta, sd, sum);
        });
        if dispersion.is_each() {
            return each.concat();
        }
        each.iter().fold(vec![0.0; dispersion.common.len()], |mut sum, own| {
            sum.iter_mut().zip(own).for_each(|(a, b)| *a += b);
            sum
        })
    }

    /// How far the logarithm of each number is from the common one.
    fn deviations<'a>(&self, dispersion: &'a Dispersion) -> impl Iterator<Item = f64> + 'a {
        dispersion.values.iter().zip(dispersion.common.iter().cycle()).map(|(own, common)| (own / common).ln())
    }

    /// Laplace's log-likelihood at values of which number `k` is multiplied by exp(step).
    fn moved(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion, (k, step): (usize, f64)) -> Result<f64> {
        let mut values = dispersion.values.clone();
        values[k] *= step.exp();
        let there = self.with_values(values, dispersion);
        Ok(self.posterior(data, &there, found.posterior.prior(), (Some(&found.quadratics), STILL))?.log_likelihood)
    }

    /// The dispersion with other values, its common block at its best.
    fn with_values(&self, values: Vec<f64>, dispersion: &Dispersion) -> Dispersion {
        let size = dispersion.common.len();
        let held = |block: &[f64]| self.family.with_dispersion(block).map_or_else(|| block.to_vec(), |family| family.dispersion());
        let values: Vec<f64> = if size == 0 { values } else { values.chunks(size).flat_map(held).collect() };
        let blocks = (values.len() / size.max(1)).max(1) as f64;
        let common = (0..size).map(|k| (values.iter().skip(k).step_by(size).map(|v| v.ln()).sum::<f64>() / blocks).exp()).collect();
        Dispersion { values, common, ..dispersion.clone() }
    }
}

impl Likelihood for Generalised {
    fn name(&self) -> &'static str {
        self.family.name()
    }

    fn family(&self) -> Option<&dyn Family> {
        Some(self.family.as_ref())
    }

    fn inference(&self) -> Option<Inference> {
        Some(self.inference)
    }

    fn start(&self, data: &Observations, _: &[usize]) -> Dispersion {
        let begun = data.each.as_ref().and_then(|rows| {
            let (targets, weights) = rows.targets();
            self.family.begin(targets, weights)
        });
        let block = begun.map_or_else(|| self.family.dispersion(), |family| family.dispersion());
        match self.noise {
            Noise::Task if !block.is_empty() => {
                let tasks = data.quadratics.len();
                let values = block.iter().copied().cycle().take(tasks * block.len()).collect();
                Dispersion { values, common: block, strength: 4.0, correlations: Vec::new() }
            }
            _ => Dispersion::of_block(block),
        }
    }

    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> f64 {
        let Some(rows) = &data.each else { return 1.0 };
        let own = self.at(dispersion, rows.tasks());
        let families = Families(own.iter().map(Arc::as_ref).collect());
        let sums = rows.sums(2, |t, row, sum| {
            let family = families.of(t);
            sum[0] += family.at(row.y, row.weight, family.start(row.y, row.weight)).curvature;
            sum[1] += row.weight;
        });
        let (curvature, weight) = sums.iter().fold((0.0, 0.0), |all, own| (all.0 + own[0], all.1 + own[1]));
        if curvature > 0.0 { weight / curvature } else { 1.0 }
    }

    fn posterior(
        &self,
        data: &Observations,
        dispersion: &Dispersion,
        prior: &Prior,
        (from, still): (Option<&Quadratics>, f64),
    ) -> Result<Approximation> {
        let rows = self.rows(data)?;
        let own = self.at(dispersion, rows.tasks());
        let families = Families(own.iter().map(Arc::as_ref).collect());
        if let (Relatedness::Diagonal(variances), true) = (&prior.relatedness, prior.mean_features.is_empty() && rows.tasks() > 1) {
            let each = (0..rows.tasks()).into_par_iter().map(|t| {
                let alone = Prior { relatedness: Relatedness::Diagonal(DVector::from_element(1, variances[t])), ..prior.clone() };
                let from = from.map(|from| Quadratics::new(&[from.task(t)])).transpose()?;
                Approximation::beginning(from.as_ref(), &rows.alone(t), &Families(vec![families.of(t)]), &alone, (self.inference, still))
            });
            return Approximation::of_each(each.collect::<Result<Vec<_>>>()?, prior);
        }
        Approximation::beginning(from, rows, &families, prior, (self.inference, still))
    }

    fn evidence(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Evidence> {
        let rows = self.rows(data)?;
        let own = self.at(dispersion, rows.tasks());
        found.evidence_of(rows, &Families(own.iter().map(Arc::as_ref).collect()))
    }

    fn at_means(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<f64> {
        let rows = self.rows(data)?;
        let own = self.at(dispersion, rows.tasks());
        let families = Families(own.iter().map(Arc::as_ref).collect());
        let means = Where::of(&found.posterior, false).means;
        let each = rows.sums(1, |t, row, sum| {
            sum[0] += families.of(t).at(row.y, row.weight, row.predictor(&means[t]) + row.offset).value;
        });
        Ok(each.iter().map(|own| own[0]).sum())
    }

    /// A Newton step in the logarithms, of at most 1, and the spread of tasks' logarithms by EM.
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion {
        let (Some(rows), false) = (&data.each, dispersion.values.is_empty()) else { return dispersion.clone() };
        let place = Where::of(posterior, self.inference == Inference::Variational);
        let slope = self.expected_slope(rows, &place, dispersion);
        let raised = Dispersion { values: dispersion.values.iter().map(|v| v * STEP.exp()).collect(), ..dispersion.clone() };
        let there = self.expected_slope(rows, &place, &raised);
        let strength = dispersion.strength;
        let steps = slope.iter().zip(&there).zip(self.deviations(dispersion)).map(|((own, there), deviation)| {
            let information = ((own - there) / STEP).max(0.1 * own.abs()) + strength;
            let step = if information > 0.0 { ((own - strength * deviation) / information).clamp(-1.0, 1.0) } else { 0.0 };
            (step, information)
        });
        let (steps, information): (Vec<f64>, Vec<f64>) = steps.unzip();
        let values = dispersion.values.iter().zip(&steps).map(|(value, step)| value * step.exp()).collect();
        let mut next = self.with_values(values, dispersion);
        if next.is_each() {
            let spread: f64 = self.deviations(&next).zip(&information).map(|(deviation, own)| deviation * deviation + 1.0 / own).sum();
            next.strength = (next.values.len() as f64 / spread).clamp(1.0 / SPREAD.1, 1.0 / SPREAD.0);
        }
        next
    }

    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>> {
        let mut slope = match self.inference {
            _ if dispersion.values.is_empty() => return Ok(Vec::new()),
            Inference::Variational => self.expected_slope(self.rows(data)?, &Where::of(&found.posterior, true), dispersion),
            Inference::Laplace if dispersion.is_each() => {
                return Err(Error::Arguments(
                    "a dispersion for every task needs variational inference; leave --inference laplace or --noise task out".into(),
                ));
            }
            Inference::Laplace => (0..dispersion.values.len())
                .map(|k| {
                    let up = self.moved(data, found, dispersion, (k, STEP))?;
                    Ok((up - self.moved(data, found, dispersion, (k, -STEP))?) / (2.0 * STEP))
                })
                .collect::<Result<_>>()?,
        };
        slope.iter_mut().zip(self.deviations(dispersion)).for_each(|(own, deviation)| *own -= dispersion.strength * deviation);
        // A value at the end of its range stays there.
        for (up, sign) in [(true, 1.0), (false, -1.0)] {
            let moved = self.with_values(dispersion.values.iter().map(|value| value * (sign * STEP).exp()).collect(), dispersion);
            let ends = moved.values.iter().zip(&dispersion.values).map(|(there, here)| there == here);
            slope.iter_mut().zip(ends).filter(|(own, end)| *end && (**own > 0.0) == up).for_each(|(own, _)| *own = 0.0);
        }
        Ok(slope)
    }

    fn slope_along(
        &self,
        data: &Observations,
        found: &Approximation,
        dispersion: &Dispersion,
        slope: &dyn Fn(&Posterior) -> Vec<f64>,
    ) -> Result<Vec<f64>> {
        match self.inference {
            Inference::Variational => Ok(slope(&found.posterior)),
            Inference::Laplace => {
                let rows = self.rows(data)?;
                let own = self.at(dispersion, rows.tasks());
                let families = Families(own.iter().map(Arc::as_ref).collect());
                found.laplace_slope(rows, &families, slope)
            }
        }
    }

    /// What a family can have; the common block is the geometric mean.
    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion {
        self.with_values(point.iter().map(|value| value.exp()).collect(), like)
    }

    /// Normal logarithms about the common ones, of variance 1 / strength.
    fn log_prior(&self, dispersion: &Dispersion) -> f64 {
        if dispersion.strength == 0.0 {
            return 0.0;
        }
        -0.5 * dispersion.strength * self.deviations(dispersion).map(|own| own * own).sum::<f64>()
    }
}
