//! Posterior predictive checks: what replicated data have of the observed ones' quantities (Gelman, Meng and Stern 1996).

use super::members::Members;
use crate::error::Result;
use crate::likelihood::{Family, draw_target};
use crate::linalg;
use crate::model::Fit;
use crate::posterior::Posterior;
use crate::prior::{Mean, Prior, Relatedness};
use crate::simulate::draw_parameters;
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};
use rayon::prelude::*;
use serde::Serialize;
use std::sync::Arc;

/// Of what a quantity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Of {
    /// Of the targets: parameters are drawn from the posterior.
    Targets,
    /// Of residuals over their standard deviation, both at drawn parameters (realised discrepancies), observed ones averaged over draws. Of rows of the fit only: parameters drawn
    /// without the rows are farther from these than from their replications.
    Residuals,
    /// Of the means of tasks: deviations are drawn anew from the prior, as for other tasks of the same kind.
    Tasks,
}

/// One quantity of observed and replicated data.
#[derive(Clone, Debug, Serialize)]
pub struct Quantity {
    /// The group (family) of tasks of which it is; none where there is one.
    pub group: Option<String>,
    /// Of what it is.
    pub of: Of,
    /// Its name.
    pub name: String,
    /// What was observed.
    pub observed: f64,
    /// Mean over replications.
    pub replicated: f64,
    /// 95 % interval of the replications.
    pub lower: f64,
    /// Its upper end.
    pub upper: f64,
    /// Share of draws in which the replicated quantity is larger than the observed one, ties counting half: the posterior predictive p-value.
    pub p_above: f64,
    /// Twice the smaller of it and its complement.
    pub p_value: f64,
}

/// Rows of one group of tasks, targets in units of their own where these differ between tasks.
struct Part {
    name: Option<String>,
    rows: Vec<usize>,
    family: Option<Arc<dyn Family>>,
}

/// A row as replications need it.
struct Row {
    member: usize,
    x: DVector<f64>,
    y: f64,
    weight: f64,
    offset: f64,
    /// Of Gaussian targets given the parameters, in fitted units.
    noise: f64,
}

/// Everything that stays from draw to draw.
struct Setting<'a, 'f> {
    members: &'a Members<'f>,
    rows: Vec<Row>,
    parts: Vec<Part>,
    /// Dispersions may differ between tasks of a family.
    families: Vec<Option<Arc<dyn Family>>>,
    /// Where deviations are drawn anew: the prior of U with a root in the place of Sigma.
    anew: Option<Prior>,
    /// A root of the covariance of the means of all groups.
    mean_root: DMatrix<f64>,
    roots: Vec<Option<(DVector<f64>, DMatrix<f64>)>>,
}

/// Quantities of each part; none where rows that tasks share have correlated errors, or in families of a user's own.
pub(super) fn of(fit: &Fit, members: &Members, draws: usize, seed: u64) -> Result<Option<Vec<Quantity>>> {
    let is_detached = |own: &super::members::Member| !std::ptr::eq(own.fit, fit);
    if fit.shares_rows() || members.all.iter().any(is_detached) || draws == 0 {
        return Ok(None);
    }
    let setting = Setting::of(fit, members)?;
    let posterior = Posterior::owning(fit.quadratics()?, fit.prior())?;
    let each: Vec<Vec<Vec<(f64, f64)>>> = (0..draws)
        .into_par_iter()
        .map(|draw| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(draw as u64 + 1);
            setting.drawn(fit, &posterior, &mut random)
        })
        .collect::<Result<_>>()?;
    let has_seen = members.all.iter().all(|own| own.fitted);
    let mut all = Vec::new();
    for (p, part) in setting.parts.iter().enumerate() {
        for (k, (of, name)) in setting.names(part).into_iter().enumerate().filter(|(_, (of, _))| has_seen || *of != Of::Residuals) {
            let pairs: Vec<(f64, f64)> = each.iter().map(|draw| draw[p][k]).collect();
            all.extend(summary((&part.name, of, name), &pairs));
        }
    }
    Ok((!all.is_empty()).then_some(all))
}

/// None where a quantity is no number, as the spread of one task's mean.
fn summary((group, of, name): (&Option<String>, Of, &str), pairs: &[(f64, f64)]) -> Option<Quantity> {
    if pairs.iter().any(|(observed, replicated)| !observed.is_finite() || !replicated.is_finite()) {
        return None;
    }
    let count = pairs.len() as f64;
    let mut replicated: Vec<f64> = pairs.iter().map(|pair| pair.1).collect();
    replicated.sort_by(f64::total_cmp);
    let quantile = |p: f64| {
        let place = p * (count - 1.0);
        let (low, share) = (place.floor() as usize, place.fract());
        replicated[low] + share * (replicated[(low + 1).min(pairs.len() - 1)] - replicated[low])
    };
    // Rounding makes no difference.
    let near = |(a, b): &(f64, f64)| (a - b).abs() <= 1e-12 * (a.abs() + b.abs());
    let above = pairs.iter().map(|pair| if near(pair) { 0.5 } else { f64::from(u8::from(pair.1 > pair.0)) }).sum::<f64>();
    let p_above = (above + 0.5) / (count + 1.0);
    Some(Quantity {
        group: group.clone(),
        of,
        name: name.into(),
        observed: pairs.iter().map(|pair| pair.0).sum::<f64>() / count,
        replicated: replicated.iter().sum::<f64>() / count,
        lower: quantile(0.025),
        upper: quantile(0.975),
        p_above,
        p_value: (2.0 * p_above.min(1.0 - p_above)).min(1.0),
    })
}

/// Mean, standard deviation, skewness and excess kurtosis.
fn moments(values: &[f64]) -> [f64; 4] {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let power = |k: i32| values.iter().map(|value| (value - mean).powi(k)).sum::<f64>() / n;
    let square = power(2);
    [mean, square.sqrt(), power(3) / square.powf(1.5), power(4) / (square * square) - 3.0]
}

const TARGETS: [&str; 6] = ["mean", "standard deviation", "smallest", "largest", "skewness", "excess kurtosis"];
const ZEROS: &str = "share of zeros";
const RESIDUALS: [&str; 5] =
    ["mean square", "skewness", "excess kurtosis", "largest mean square of a task", "largest mean of a task, in standard errors"];
const TASKS: [&str; 3] = ["standard deviation", "largest distance from their mean", "excess kurtosis"];

impl<'a, 'f> Setting<'a, 'f> {
    fn of(fit: &Fit, members: &'a Members<'f>) -> Result<Self> {
        let (table, own_units) = (members.rows, fit.tasks().has_own_units());
        let families: Vec<_> = members.all.iter().map(|own| fit.family_of_row((own.number, own.group))).collect::<Result<_>>()?;
        let mut rows = Vec::new();
        for (m, own) in members.all.iter().enumerate() {
            let unit = fit.coordinates().target_unit(own.number);
            for i in &own.rows {
                let y = if own_units { (table.y(*i) - unit.centre) / unit.scale } else { table.y(*i) };
                let (weight, offset) = (table.weight(*i), table.offset(*i));
                let x = fit.coordinates().features(table.x(*i));
                rows.push(Row { member: m, x, y, weight, offset, noise: fit.noise_of_row(own.number) / weight });
            }
        }
        let part = |g: usize| Part {
            name: fit.tasks().groups().get(g).cloned(),
            rows: (0..rows.len()).filter(|i| members.all[rows[*i].member].group == g).collect(),
            family: members.all.iter().position(|own| own.group == g).and_then(|m| families[m].clone()),
        };
        let parts = (0..fit.prior().groups.len()).map(part).filter(|part| !part.rows.is_empty()).collect();
        let of_new = |own: &super::members::Member| -> Result<_> {
            if own.number.is_some() {
                return Ok(None);
            }
            let (mean, covariance) = fit.belief(&own.name, own.group)?.moments();
            Ok(Some((mean, linalg::semidefinite_factor(&covariance))))
        };
        Ok(Setting {
            roots: members.all.iter().map(of_new).collect::<Result<_>>()?,
            rows,
            parts,
            families,
            anew: anew(fit),
            mean_root: fit.root_of_means(),
            members,
        })
    }

    fn names(&self, part: &Part) -> Vec<(Of, &'static str)> {
        let zeros = part.family.as_ref().filter(|family| family.has_ends() && family.name() != "ordinal").map(|_| (Of::Targets, ZEROS));
        let tasks = TASKS.iter().filter(|_| self.anew.is_some());
        let of = |of: Of| move |name: &&'static str| (of, *name);
        TARGETS
            .iter()
            .map(of(Of::Targets))
            .chain(zeros)
            .chain(RESIDUALS.iter().map(of(Of::Residuals)))
            .chain(tasks.map(of(Of::Tasks)))
            .collect()
    }

    /// The quantities of each part, observed and replicated, at parameters drawn once.
    fn drawn(&self, fit: &Fit, posterior: &Posterior, random: &mut ChaCha8Rng) -> Result<Vec<Vec<(f64, f64)>>> {
        let of_fit = fit.drawn_parameters(posterior, random)?;
        let anew = self.anew.as_ref().map(|prior| self.deviations_anew(fit, prior, random)).transpose()?;
        let of_members: Vec<DVector<f64>> = self
            .members
            .all
            .iter()
            .zip(&self.roots)
            .map(|(own, root)| match (own.number, root) {
                (Some(t), _) => of_fit.row(t).transpose(),
                (None, Some((mean, root))) => mean + root * DVector::from_fn(root.ncols(), |_, _| linalg::normal(random)),
                (None, None) => DVector::zeros(of_fit.ncols()),
            })
            .collect();
        Ok(self.parts.iter().map(|part| self.quantities((fit, part), &of_members, anew.as_deref(), random)).collect())
    }

    /// Parameters of all tasks of the table with new deviations, about means drawn from their posterior.
    fn deviations_anew(&self, fit: &Fit, prior: &Prior, random: &mut ChaCha8Rng) -> Result<Vec<DVector<f64>>> {
        let p = fit.tasks().design().len();
        let normal = DVector::from_fn(self.mean_root.ncols(), |_, _| linalg::normal(random));
        let shift = &self.mean_root * normal;
        if let Some(mixture) = &fit.prior().mixture {
            let belief = fit.belief("", 0)?;
            let drawn = |random: &mut ChaCha8Rng| {
                let mut left = random.random::<f64>();
                let place = mixture.shares.iter().position(|share| {
                    left -= share;
                    left < 0.0
                });
                let own = &belief.0[place.unwrap_or(mixture.shares.len() - 1)];
                let root = linalg::semidefinite_factor(&own.of_deviation);
                &own.mean + shift.rows(0, p) + &root * DVector::from_fn(root.ncols(), |_, _| linalg::normal(random))
            };
            return Ok(self.members.all.iter().map(|_| drawn(random)).collect());
        }
        let known = draw_parameters(prior, fit.tasks().len(), p, random)?;
        let alone = Prior { relatedness: Relatedness::Identity, ..prior.clone() };
        let mut all = Vec::with_capacity(self.members.all.len());
        for own in &self.members.all {
            let deviation = match own.number {
                Some(t) => known.row(t).transpose(),
                None => draw_parameters(&alone, 1, p, random)?.row(0).transpose(),
            };
            let mut scale = prior.groups.scales.get(own.group).copied().unwrap_or(1.0);
            if let Some(scales) = &fit.prior().task_scales {
                let half = 0.5 * scales.degrees_of_freedom;
                scale *= Gamma::new(half, half.recip()).map_or(1.0, |precision| precision.sample(random)).powf(-0.5);
            }
            all.push(fit.fitted_mean(own.group) + shift.rows(own.group * p, p) + deviation * scale);
        }
        Ok(all)
    }

    /// The expectation of a row's target at parameters, the standard deviation about it, and a draw.
    fn replicate(&self, fit: &Fit, row: &Row, w: &DVector<f64>, random: &mut ChaCha8Rng) -> (f64, f64, f64) {
        let eta = row.x.dot(w);
        match &self.families[row.member] {
            None => {
                let unit = fit.coordinates().target_unit(None);
                let (mean, sd) = (unit.centre + unit.scale * eta + row.offset, unit.scale * row.noise.sqrt());
                (mean, sd, mean + sd * linalg::normal(random))
            }
            Some(family) => {
                let eta = eta + row.offset;
                let y = draw_target(family.as_ref(), row.weight, eta, random);
                (family.mean(eta), family.variance(row.weight, eta).sqrt(), y)
            }
        }
    }

    fn quantities(
        &self,
        (fit, part): (&Fit, &Part),
        parameters: &[DVector<f64>],
        anew: Option<&[DVector<f64>]>,
        random: &mut ChaCha8Rng,
    ) -> Vec<(f64, f64)> {
        let drawn: Vec<(f64, f64, f64)> =
            part.rows.iter().map(|i| self.replicate(fit, &self.rows[*i], &parameters[self.rows[*i].member], random)).collect();
        let observed: Vec<f64> = part.rows.iter().map(|i| self.rows[*i].y).collect();
        let replicated: Vec<f64> = drawn.iter().map(|(_, _, y)| *y).collect();
        let of_targets = |values: &[f64]| {
            let [mean, sd, skewness, kurtosis] = moments(values);
            let [low, high] = [f64::INFINITY, f64::NEG_INFINITY]
                .map(|from| values.iter().fold(from, |end, value| if from > 0.0 { end.min(*value) } else { end.max(*value) }));
            vec![mean, sd, low, high, skewness, kurtosis]
        };
        let pair = |a: Vec<f64>, b: Vec<f64>| a.into_iter().zip(b).collect::<Vec<(f64, f64)>>();
        let mut pairs = pair(of_targets(&observed), of_targets(&replicated));
        if self.names(part).contains(&(Of::Targets, ZEROS)) {
            let zeros = |values: &[f64]| values.iter().filter(|value| **value == 0.0).count() as f64 / values.len() as f64;
            pairs.push((zeros(&observed), zeros(&replicated)));
        }
        let standardised = |values: &[f64]| {
            let each: Vec<f64> =
                values.iter().zip(&drawn).map(|(y, (mean, sd, _))| if *sd > 0.0 { (y - mean) / sd } else { 0.0 }).collect();
            self.of_residuals(part, &each)
        };
        pairs.extend(pair(standardised(&observed), standardised(&replicated)));
        if let Some(anew) = anew {
            let other: Vec<f64> =
                part.rows.iter().map(|i| self.replicate(fit, &self.rows[*i], &anew[self.rows[*i].member], random).2).collect();
            pairs.extend(pair(self.of_tasks(part, &observed), self.of_tasks(part, &other)));
        }
        pairs
    }

    /// Sums, sums of squares and numbers of the rows of each task, in the order of the tasks.
    fn by_task(&self, part: &Part, values: &[f64]) -> Vec<(f64, f64, f64)> {
        let mut sums: Vec<(usize, (f64, f64, f64))> = Vec::new();
        for (i, value) in part.rows.iter().zip(values) {
            let member = self.rows[*i].member;
            if sums.last().is_none_or(|(last, _)| *last != member) {
                sums.push((member, (0.0, 0.0, 0.0)));
            }
            if let Some((_, (sum, square, count))) = sums.last_mut() {
                (*sum, *square, *count) = (*sum + value, *square + value * value, *count + 1.0);
            }
        }
        sums.into_iter().map(|(_, own)| own).collect()
    }

    fn of_residuals(&self, part: &Part, each: &[f64]) -> Vec<f64> {
        let [mean, sd, skewness, kurtosis] = moments(each);
        let tasks = self.by_task(part, each);
        let largest = |of: &dyn Fn(&(f64, f64, f64)) -> f64| tasks.iter().map(of).fold(0.0, f64::max);
        let square = largest(&|(_, square, count)| square / count);
        let beside = largest(&|(sum, _, count)| sum.abs() / count.sqrt());
        vec![mean * mean + sd * sd, skewness, kurtosis, square, beside]
    }

    fn of_tasks(&self, part: &Part, values: &[f64]) -> Vec<f64> {
        let means: Vec<f64> = self.by_task(part, values).into_iter().map(|(sum, _, count)| sum / count).collect();
        if means.len() < 3 {
            return vec![f64::NAN; TASKS.len()];
        }
        let [mean, sd, _, kurtosis] = moments(&means);
        vec![sd, means.iter().map(|own| (own - mean).abs()).fold(0.0, f64::max), kurtosis]
    }
}

/// The prior of deviations alone, about 0 and with a root in the place of a dense Sigma; none where tasks have no common prior, or targets units of their own.
fn anew(fit: &Fit) -> Option<Prior> {
    let prior = fit.prior();
    if !prior.free.is_empty() || fit.structure() == "independent" || fit.tasks().has_own_units() || prior.varying.is_empty() {
        return None;
    }
    let relatedness = match &prior.relatedness {
        Relatedness::Zero => return None,
        Relatedness::Dense(sigma) => {
            Relatedness::LowRank { loadings: linalg::semidefinite_factor(sigma), uniquenesses: DVector::zeros(sigma.nrows()) }
        }
        other => other.clone(),
    };
    Some(Prior { relatedness, mean: Mean::Given(DVector::zeros(prior.mean_features.len())), ..prior.clone() })
}
