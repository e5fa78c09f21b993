//! Residuals by task: which tasks lie beside their forecasts, or spread otherwise than these say.

use super::Judged;
use super::members::Members;
use crate::error::Result;
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF, FisherSnedecor, Normal, StudentsT};

/// Residuals of the rows of one task, as normal scores: standardised residuals of Gaussian targets, quantile residuals of others (Dunn and Smyth 1996).
#[derive(Clone, Debug, Serialize)]
pub struct TaskResiduals {
    /// The task.
    pub task: String,
    /// Its rows that were judged.
    pub rows: usize,
    /// Whether the fit knows it.
    pub known: bool,
    /// Whether its rows are those of the fit.
    pub fitted: bool,
    /// Mean of the scores.
    pub mean: f64,
    /// Standard error of the mean where the model holds: scores of the rows of a task are correlated, for the parameters that they share are not known.
    pub mean_se: f64,
    /// mean / mean_se; none where the rows decide their mean themselves.
    pub z: Option<f64>,
    /// Variance of the scores about their mean over what it is expected to be: 1 where the model holds, larger where the task is noisier than the model says. None of one row.
    pub spread: Option<f64>,
    /// 95 % interval of the ratio, as if scores were normal; by Fisher's F where the noise of the task is estimated from few rows of its own.
    pub spread_interval: Option<(f64, f64)>,
    /// Scores beyond 3, of which .0027 a row are expected.
    pub beyond: usize,
    /// Probability of a mean or a spread as far off by chance: twice the smaller of the two. None where neither is tested.
    pub p_value: Option<f64>,
    /// The smallest false discovery rate at which the task is named (Benjamini and Hochberg 1995).
    pub q_value: Option<f64>,
}

/// Smallest false discovery rate at which each hypothesis is rejected, in the order of their p-values: q_(i) = min_{j >= i} p_(j) n / j.
pub(super) fn false_discovery_rates(p_values: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p_values.iter().enumerate().filter_map(|(k, p)| Some((k, (*p)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let (count, mut least) = (order.len() as f64, 1.0f64);
    let mut rates = vec![None; p_values.len()];
    for (place, (k, p)) in order.iter().enumerate().rev() {
        least = least.min(p * count / (place + 1) as f64);
        rates[*k] = Some(least);
    }
    rates
}

/// Squared correlation of normal scores and standardised residuals in each group: how much of a correlation on the scale of the predictor scores have.
fn kept(members: &Members, judged: &[Vec<Option<Judged>>]) -> Vec<f64> {
    let groups = members.all.iter().map(|own| own.group + 1).max().unwrap_or(1);
    let of_group = |group: usize| {
        let rows = members.all.iter().zip(judged).filter(move |(own, _)| own.group == group).flat_map(|(_, rows)| rows.iter().flatten());
        let (mut zz, mut rr, mut zr) = (0.0, 0.0, 0.0);
        // Far outliers have no say in it.
        rows.filter(|row| row.z.abs() < 4.0 && row.pearson.abs() < 10.0).for_each(|row| {
            zz += row.z * row.z;
            rr += row.pearson * row.pearson;
            zr += row.z * row.pearson;
        });
        if zz > 0.0 && rr > 0.0 { (zr * zr / (zz * rr)).min(1.0) } else { 1.0 }
    };
    (0..groups).map(of_group).collect()
}

/// Laws of a ratio of variances and of a standardised mean: chi-squared over its degrees of freedom and normal where the noise is known, Fisher's F and Student's t where
/// it is an estimate.
struct Laws {
    freedom: f64,
    noise: Option<f64>,
}

impl Laws {
    /// Probability of a ratio as far off, twice that of its side.
    fn of_spread(&self, ratio: f64) -> f64 {
        let sides = match self.noise.and_then(|own| FisherSnedecor::new(self.freedom, own).ok()) {
            Some(law) => Some((law.cdf(ratio), law.sf(ratio))),
            None => ChiSquared::new(self.freedom).ok().map(|law| (law.cdf(ratio * self.freedom), law.sf(ratio * self.freedom))),
        };
        sides.map_or(1.0, |(below, above)| (2.0 * below.min(above)).min(1.0))
    }

    fn quantile(&self, probability: f64) -> f64 {
        match self.noise.and_then(|own| FisherSnedecor::new(self.freedom, own).ok()) {
            Some(law) => law.inverse_cdf(probability),
            None => ChiSquared::new(self.freedom).map_or(1.0, |law| law.inverse_cdf(probability) / self.freedom),
        }
    }

    fn of_mean(noise: Option<f64>, z: f64) -> f64 {
        match noise.and_then(|own| StudentsT::new(0.0, 1.0, own).ok()) {
            Some(law) => 2.0 * law.sf(z.abs()),
            None => 2.0 * Normal::standard().sf(z.abs()),
        }
    }
}

/// What is expected of the scores of a task: the sum of their correlations, and of the squares of these, each row's own among them, and of the squares of the
/// sums over a row.
struct Expected {
    sum: f64,
    squares: f64,
    rows: f64,
}

/// R = I + s k offdiag(a_i' C a_j) with a_i = x_i / sd_i, s = 1 for forecasts of new rows and -1 for those that leave rows of the fit out, whose errors
/// have covariance N - X C X'. O(n d + n d^2).
fn expected(rows: &[(DVector<f64>, f64)], covariance: &DMatrix<f64>, (sign, kept): (f64, f64)) -> Expected {
    let p = covariance.nrows();
    let (mut total, mut square) = (DVector::zeros(p), DMatrix::zeros(p, p));
    for (a, _) in rows {
        total += a;
        square.ger(1.0, a, a, 1.0);
    }
    let moved = covariance * &total;
    let scaled = sign * kept;
    let (mut own_squares, mut rows_squared, mut sum) = (0.0, 0.0, 0.0);
    for (a, own) in rows {
        let row = 1.0 + scaled * (a.dot(&moved) - own);
        sum += row;
        rows_squared += row * row;
        own_squares += own * own;
    }
    let product = covariance * square;
    let all_squares = product.transpose().dot(&product);
    Expected { sum, squares: rows.len() as f64 + kept * kept * (all_squares - own_squares).max(0.0), rows: rows_squared }
}

/// Every task, those that fit worst first.
pub(super) fn of(members: &Members, judged: &[Vec<Option<Judged>>]) -> Result<Vec<TaskResiduals>> {
    let kept = kept(members, judged);
    let each = (0..members.all.len()).into_par_iter().map(|m| one(members, m, &judged[m], kept[members.all[m].group]));
    let mut tasks: Vec<TaskResiduals> = each.collect::<Result<_>>()?;
    let rates = false_discovery_rates(&tasks.iter().map(|own| own.p_value).collect::<Vec<_>>());
    tasks.iter_mut().zip(rates).for_each(|(own, rate)| own.q_value = rate);
    tasks.sort_by(|a, b| a.p_value.unwrap_or(2.0).total_cmp(&b.p_value.unwrap_or(2.0)));
    Ok(tasks)
}

fn one(members: &Members, m: usize, judged: &[Option<Judged>], kept: f64) -> Result<TaskResiduals> {
    /// Share of its variance that a mean must have left to be tested.
    const LEFT: f64 = 1e-6;
    let own = &members.all[m];
    let known = members.known(m)?;
    let sign = if own.leaves_out { -1.0 } else { 1.0 };
    let (mut rows, mut scores) = (Vec::new(), Vec::new());
    for (i, row) in own.rows.iter().zip(judged) {
        let Some(row) = row else { continue };
        let seen = members.seen(m, &known, *i)?;
        let variance = seen.noise + sign * seen.spread;
        rows.push((seen.x / variance.sqrt(), seen.spread / variance));
        scores.push(row.z);
    }
    let n = scores.len() as f64;
    let mut found = TaskResiduals {
        task: own.name.clone(),
        rows: scores.len(),
        known: own.number.is_some(),
        fitted: own.fitted,
        mean: 0.0,
        mean_se: 0.0,
        z: None,
        spread: None,
        spread_interval: None,
        beyond: scores.iter().filter(|z| z.abs() > 3.0).count(),
        p_value: None,
        q_value: None,
    };
    if scores.is_empty() {
        return Ok(found);
    }
    let expected = expected(&rows, &known.covariance, (sign, kept));
    found.mean = scores.iter().sum::<f64>() / n;
    found.mean_se = expected.sum.max(0.0).sqrt() / n;
    found.z = (expected.sum > LEFT * n).then(|| found.mean / found.mean_se);
    let noise = own.noise_freedom();
    let of_mean = found.z.map(|z| Laws::of_mean(noise, z));
    let centred: f64 = scores.iter().map(|z| (z - found.mean).powi(2)).sum();
    let mean = n - expected.sum / n;
    let variance = 2.0 * (expected.squares - 2.0 * expected.rows / n + (expected.sum / n).powi(2));
    let mut of_spread = None;
    if scores.len() > 1 && mean > 0.0 && variance > 0.0 {
        let (ratio, laws) = (centred / mean, Laws { freedom: 2.0 * mean * mean / variance, noise });
        found.spread = Some(ratio);
        found.spread_interval = Some((ratio / laws.quantile(0.975), ratio / laws.quantile(0.025)));
        of_spread = Some(laws.of_spread(ratio));
    }
    found.p_value = match (of_mean, of_spread) {
        (Some(a), Some(b)) => Some((2.0 * a.min(b)).min(1.0)),
        (a, b) => a.or(b),
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R's p.adjust(c(.01, .04, .03, .2, .005), 'BH').
    #[test]
    fn false_discovery_rates_are_those_of_r() {
        let found = false_discovery_rates(&[Some(0.01), None, Some(0.04), Some(0.03), Some(0.2), Some(0.005)]);
        let expected = [Some(0.025), None, Some(0.05), Some(0.05), Some(0.2), Some(0.025)];
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.is_none() == expected.is_none() && (found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-15, "{found:?}");
        }
    }

    /// Against the matrix itself.
    #[test]
    fn expected_sums_are_those_of_the_correlations() {
        let rows: Vec<DVector<f64>> = (0..6).map(|i| DVector::from_vec(vec![1.0, f64::from(i) * 0.3 - 0.7])).collect();
        let covariance = nalgebra::dmatrix![0.08, 0.01; 0.01, 0.05];
        for (sign, kept) in [(1.0, 1.0), (-1.0, 0.6)] {
            let spreads: Vec<f64> = rows.iter().map(|x| x.dot(&(&covariance * x))).collect();
            let noise = |i: usize| 1.0 + 0.2 * i as f64;
            let sd = |i: usize| (noise(i) + sign * spreads[i]).sqrt();
            let each: Vec<(DVector<f64>, f64)> = (0..6).map(|i| (&rows[i] / sd(i), spreads[i] / sd(i).powi(2))).collect();
            let r =
                DMatrix::from_fn(
                    6,
                    6,
                    |i, j| {
                        if i == j { 1.0 } else { sign * kept * rows[i].dot(&(&covariance * &rows[j])) / (sd(i) * sd(j)) }
                    },
                );
            let found = expected(&each, &covariance, (sign, kept));
            assert!((found.sum - r.sum()).abs() < 1e-12 && (found.squares - r.norm_squared()).abs() < 1e-12);
            assert!((found.rows - r.column_sum().norm_squared()).abs() < 1e-12);
        }
    }
}
