//! Generalised linear targets: a family (or one for each group of tasks) row by row, its dispersion learned with the rest.

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
    /// One for all tasks, or one a group, in the order of the groups once they are known.
    families: Vec<Arc<dyn Family>>,
    /// Names of the groups; none for one family.
    groups: Vec<String>,
    inference: Inference,
    noise: Noise,
}

/// Name of the families of several groups together.
const MIXED: &str = "mixed";

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
        Generalised { families: vec![family], groups: Vec::new(), inference: Inference::default(), noise: Noise::Shared }
    }

    /// Of a family for each group of tasks ([`Rows::set_group`](crate::Rows::set_group)), which share the dispersion of their group. Groups have a
    /// mean and a scale of their own: w_t = mean_g + s_g u_t, the scale of the largest group 1, and tasks of all groups are related as the
    /// structure says of u_t.
    ///
    /// ```
    /// use cognate::{Binomial, Design, Exchangeable, Family, FeatureCovariance, Generalised, Model, Normal, Rows};
    /// use std::sync::Arc;
    /// let mut rows = Rows::new("outcome", &["dose"]);
    /// for i in 0..120 {
    ///     let (ward, dose) = (i % 6, f64::from(i / 6) / 10.0 - 1.0);
    ///     let score = dose * f64::from(1 + ward / 2) + f64::from(i * 7 % 11) / 5.0 - 1.0;
    ///     let (kind, y) = if ward % 2 == 0 { ("gaussian", 50.0 + 10.0 * score) } else { ("bernoulli", f64::from(u8::from(score > 0.0))) };
    ///     rows.push(&format!("ward {ward}"), &[dose], y, 1.0)?;
    ///     rows.set_group(&format!("ward {ward}"), kind)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
    /// let families: [(&str, Arc<dyn Family>); 2] = [("gaussian", Arc::new(Normal::default())), ("bernoulli", Arc::new(Binomial::default()))];
    /// let fit = Model::new(Generalised::by_group(families), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    /// assert!((fit.predict("ward 0", &[0.0], 0.95)?.mean - 50.0).abs() < 5.0);
    /// assert!((fit.predict("ward 1", &[0.0], 0.95)?.mean - 0.5).abs() < 0.3);
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn by_group<S: Into<String>>(families: impl IntoIterator<Item = (S, Arc<dyn Family>)>) -> Self {
        let (groups, families) = families.into_iter().map(|(name, family)| (name.into(), family)).unzip();
        Generalised { families, groups, inference: Inference::default(), noise: Noise::Shared }
    }

    /// Of one family for all tasks or one for each of their groups, in the order of these.
    pub(crate) fn of_each(families: Vec<Arc<dyn Family>>) -> Self {
        Generalised { families, groups: Vec::new(), inference: Inference::default(), noise: Noise::Shared }
    }

    /// By that inference.
    pub fn with_inference(self, inference: Inference) -> Self {
        Generalised { inference, ..self }
    }

    /// Whether tasks share the dispersion.
    pub fn with_noise(self, noise: Noise) -> Self {
        Generalised { noise, ..self }
    }

    /// The families at a dispersion.
    fn at(&self, data: &Observations, dispersion: &Dispersion) -> Families<'static> {
        let with = |family: &Arc<dyn Family>, block: &[f64]| family.with_dispersion(block).unwrap_or_else(|| Arc::clone(family));
        match self.families.as_slice() {
            [family] if dispersion.is_each() => {
                let tasks = data.quadratics.len();
                Families::each((0..tasks).map(|t| with(family, dispersion.block(t))).collect(), (0..tasks).collect())
            }
            families => {
                let each = families.iter().zip(dispersion.places()).map(|(family, place)| with(family, &dispersion.common[place]));
                Families::each(each.collect(), data.group.clone())
            }
        }
    }

    fn rows<'a>(&self, data: &'a Observations) -> Result<&'a FamilyRows> {
        data.each.as_ref().ok_or_else(|| rows_are_missing(self.families[0].name()))
    }

    /// d expected log density / d log value of each number of each block.
    fn expected_slope(&self, data: &Observations, wheres: &[Where], dispersion: &Dispersion) -> Result<Vec<f64>> {
        let (rows, families) = (self.rows(data)?, self.at(data, dispersion));
        let places = dispersion.places();
        let at = |place: &Where| {
            let mut each = rows.sums(dispersion.common.len(), |t, row, sum| {
                if place.share(t) > 0.0 {
                    let (eta, sd) = (row.predictor(&place.means[t]) + row.offset, row.deviation(&place.covariances[t]));
                    families.of(t).add_dispersion_slope(row.y, row.weight, eta, sd, &mut sum[places[data.group_of(t)].clone()]);
                }
            });
            each.iter_mut().enumerate().for_each(|(t, own)| own.iter_mut().for_each(|value| *value *= place.share(t)));
            each
        };
        let add = |mut all: Vec<Vec<f64>>, own: Vec<Vec<f64>>| {
            all.iter_mut().flatten().zip(own.into_iter().flatten()).for_each(|(sum, own)| *sum += own);
            all
        };
        let each = wheres.iter().map(at).reduce(add).unwrap_or_default();
        if dispersion.is_each() {
            return Ok(each.concat());
        }
        Ok(each.iter().fold(vec![0.0; dispersion.common.len()], |mut sum, own| {
            sum.iter_mut().zip(own).for_each(|(a, b)| *a += b);
            sum
        }))
    }

    /// How far the logarithm of each number is from the common one.
    fn deviations<'a>(&self, dispersion: &'a Dispersion) -> impl Iterator<Item = f64> + 'a {
        dispersion.values.iter().zip(dispersion.common.iter().cycle()).map(|(own, common)| (own / common).ln())
    }

    /// Laplace's log-likelihood at values of which number `k` is multiplied by exp(step).
    fn moved(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion, (k, step): (usize, f64)) -> Result<f64> {
        let mut values = dispersion.values.clone();
        values[k] *= step.exp();
        let there = self.with_values(&values, dispersion);
        Ok(self.posterior(data, &there, found.posterior.prior(), (Some(&found.quadratics), STILL))?.log_likelihood)
    }

    /// The dispersion with other values, as far as families can have them, its common block at its best.
    fn with_values(&self, values: &[f64], dispersion: &Dispersion) -> Dispersion {
        let held =
            |family: &Arc<dyn Family>, block: &[f64]| family.with_dispersion(block).map_or_else(|| block.to_vec(), |own| own.dispersion());
        if !dispersion.is_each() {
            let values: Vec<f64> =
                self.families.iter().zip(dispersion.places()).flat_map(|(family, place)| held(family, &values[place])).collect();
            return Dispersion { common: values.clone(), values, ..dispersion.clone() };
        }
        let size = dispersion.common.len();
        let values: Vec<f64> = values.chunks(size).flat_map(|block| held(&self.families[0], block)).collect();
        let blocks = (values.len() / size) as f64;
        let common = (0..size).map(|k| (values.iter().skip(k).step_by(size).map(|v| v.ln()).sum::<f64>() / blocks).exp()).collect();
        Dispersion { values, common, ..dispersion.clone() }
    }
}

impl Likelihood for Generalised {
    fn name(&self) -> &'static str {
        if self.groups.is_empty() { self.families[0].name() } else { MIXED }
    }

    fn families(&self) -> &[Arc<dyn Family>] {
        &self.families
    }

    fn arrange(&mut self, groups: &[String]) -> Result<()> {
        if self.groups.is_empty() {
            // The same family for all.
            self.families = vec![Arc::clone(&self.families[0]); groups.len().max(1)];
        } else {
            let place = |group: &String| {
                let known = self.groups.join(", ");
                let problem = || match group.as_str() {
                    "" => format!("some tasks are in no group; put each in one of {known}"),
                    group => format!("there is no family '{group}', which some tasks are said to have; choose one of {known}"),
                };
                self.groups.iter().position(|own| own == group).ok_or_else(|| Error::Arguments(problem()))
            };
            if groups.is_empty() {
                return Err(Error::Arguments("families by group need tasks in groups; name them with Rows::set_group".into()));
            }
            let order: Vec<usize> = groups.iter().map(place).collect::<Result<_>>()?;
            self.families = order.iter().map(|k| Arc::clone(&self.families[*k])).collect();
            self.groups = groups.to_vec();
        }
        if self.families.len() > 1 && matches!(self.noise, Noise::Task) {
            let problem =
                "the tasks of a group share its dispersion, so tasks in groups do not go with --noise task; leave one of them out";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(())
    }

    fn inference(&self) -> Option<Inference> {
        Some(self.inference)
    }

    fn start(&self, data: &Observations, _: &[usize]) -> Dispersion {
        let begin = |(g, family): (usize, &Arc<dyn Family>)| {
            let begun = data.each.as_ref().filter(|_| !family.dispersion().is_empty()).and_then(|rows| {
                let (targets, weights) = rows.targets(|t| data.group_of(t) == g);
                family.begin(&targets, &weights)
            });
            begun.map_or_else(|| family.dispersion(), |family| family.dispersion())
        };
        let mut blocks: Vec<Vec<f64>> = self.families.iter().enumerate().map(begin).collect();
        if blocks.len() > 1 {
            return Dispersion::of_groups(&blocks, &data.group);
        }
        let block = blocks.remove(0);
        match self.noise {
            Noise::Task if !block.is_empty() => {
                let tasks = data.quadratics.len();
                let values = block.iter().copied().cycle().take(tasks * block.len()).collect();
                Dispersion { values, strength: 4.0, ..Dispersion::of_block(block) }
            }
            _ => Dispersion::of_block(block),
        }
    }

    fn noise(&self, data: &Observations, dispersion: &Dispersion) -> Vec<f64> {
        let Some(rows) = &data.each else { return vec![1.0; data.groups()] };
        let families = self.at(data, dispersion);
        let sums = rows.sums(2, |t, row, sum| {
            let family = families.of(t);
            sum[0] += family.at(row.y, row.weight, family.start(row.y, row.weight)).curvature;
            sum[1] += row.weight;
        });
        let mut each = vec![(0.0, 0.0); data.groups()];
        for (t, own) in sums.iter().enumerate() {
            let sum = &mut each[data.group_of(t)];
            (sum.0, sum.1) = (sum.0 + own[0], sum.1 + own[1]);
        }
        each.into_iter().map(|(curvature, weight)| if curvature > 0.0 { weight / curvature } else { 1.0 }).collect()
    }

    fn posterior(
        &self,
        data: &Observations,
        dispersion: &Dispersion,
        prior: &Prior,
        (from, still): (Option<&Quadratics>, f64),
    ) -> Result<Approximation> {
        let rows = self.rows(data)?;
        let families = self.at(data, dispersion);
        if let (Relatedness::Diagonal(variances), true) = (&prior.relatedness, prior.mean_features.is_empty() && rows.tasks() > 1) {
            let each = (0..rows.tasks()).into_par_iter().map(|t| {
                let alone = Prior { relatedness: Relatedness::Diagonal(DVector::from_element(1, variances[t])), ..prior.clone() };
                let from = from.map(|from| Quadratics::new(&[from.task(t)])).transpose()?;
                let family = Families::one(families.of(t));
                Approximation::beginning(from.as_ref(), &rows.alone(t), &family, &alone, (self.inference, still))
            });
            return Approximation::of_each(each.collect::<Result<Vec<_>>>()?, prior);
        }
        Approximation::beginning(from, rows, &families, prior, (self.inference, still))
    }

    fn evidence(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Evidence> {
        found.evidence_of(self.rows(data)?, &self.at(data, dispersion))
    }

    fn at_means(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<f64> {
        let (rows, families) = (self.rows(data)?, self.at(data, dispersion));
        let means = Where::of(&found.posterior, false).means;
        let each = rows.sums(1, |t, row, sum| {
            sum[0] += families.of(t).at(row.y, row.weight, row.predictor(&means[t]) + row.offset).value;
        });
        Ok(each.iter().map(|own| own[0]).sum())
    }

    /// A Newton step in the logarithms, of at most 1, and the spread of tasks' logarithms by EM.
    fn update(&self, data: &Observations, posterior: &Posterior, dispersion: &Dispersion) -> Dispersion {
        if dispersion.values.is_empty() {
            return dispersion.clone();
        }
        let wheres = Where::each(posterior, self.inference == Inference::Variational);
        let Ok(slope) = self.expected_slope(data, &wheres, dispersion) else { return dispersion.clone() };
        let raised = self.with_values(&dispersion.values.iter().map(|v| v * STEP.exp()).collect::<Vec<_>>(), dispersion);
        let Ok(there) = self.expected_slope(data, &wheres, &raised) else { return dispersion.clone() };
        let strength = dispersion.strength;
        let steps = slope.iter().zip(&there).zip(self.deviations(dispersion)).map(|((own, there), deviation)| {
            let information = ((own - there) / STEP).max(0.1 * own.abs()) + strength;
            let step = if information > 0.0 { ((own - strength * deviation) / information).clamp(-1.0, 1.0) } else { 0.0 };
            (step, information)
        });
        let (steps, information): (Vec<f64>, Vec<f64>) = steps.unzip();
        let values: Vec<f64> = dispersion.values.iter().zip(&steps).map(|(value, step)| value * step.exp()).collect();
        let mut next = self.with_values(&values, dispersion);
        if next.is_each() {
            let spread: f64 = self.deviations(&next).zip(&information).map(|(deviation, own)| deviation * deviation + 1.0 / own).sum();
            next.strength = (next.values.len() as f64 / spread).clamp(1.0 / SPREAD.1, 1.0 / SPREAD.0);
        }
        next
    }

    fn slope(&self, data: &Observations, found: &Approximation, dispersion: &Dispersion) -> Result<Vec<f64>> {
        let mut slope = match self.inference {
            _ if dispersion.values.is_empty() => return Ok(Vec::new()),
            Inference::Variational => self.expected_slope(data, &Where::each(&found.posterior, true), dispersion)?,
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
            let values: Vec<f64> = dispersion.values.iter().map(|value| value * (sign * STEP).exp()).collect();
            let moved = self.with_values(&values, dispersion);
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
            Inference::Laplace => found.laplace_slope(self.rows(data)?, &self.at(data, dispersion), slope),
        }
    }

    /// What a family can have; the common block is the geometric mean.
    fn at(&self, point: &[f64], like: &Dispersion) -> Dispersion {
        self.with_values(&point.iter().map(|value| value.exp()).collect::<Vec<_>>(), like)
    }

    /// Normal logarithms about the common ones, of variance 1 / strength.
    fn log_prior(&self, dispersion: &Dispersion) -> f64 {
        if dispersion.strength == 0.0 {
            return 0.0;
        }
        -0.5 * dispersion.strength * self.deviations(dispersion).map(|own| own * own).sum::<f64>()
    }
}
