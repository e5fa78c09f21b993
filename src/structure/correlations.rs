//! Draws of the correlations between tasks, kept pair by pair.

use crate::error::{Error, Result};
use nalgebra::DMatrix;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Chains side by side, whatever the thread count.
const CHAINS: usize = 4;

/// Work between two draws that are kept: sweeps of a task covariance cost about its cube, and there are at most so many.
const WORK: usize = 4_000_000;
const MOST_SWEEPS: usize = 10;

/// One step of a chain: the next Sigma.
pub(super) type Sweep<'a> = dyn FnMut(&mut ChaCha8Rng) -> Result<DMatrix<f64>> + 'a;

/// `draws` draws of the correlations by four chains that `chain` begins, each after half as many that do not count.
pub(super) fn in_chains<'a>(
    tasks: usize,
    only: Option<usize>,
    (draws, seed): (usize, u64),
    chain: &(dyn Fn() -> Result<Box<Sweep<'a>>> + Sync),
) -> Result<CorrelationDraws> {
    let each = draws.div_ceil(CHAINS);
    let thin = (WORK / tasks.pow(3).max(1)).clamp(1, MOST_SWEEPS);
    let mut all = CorrelationDraws::new(tasks, only, each * CHAINS)?;
    let chains = (0..CHAINS as u64).into_par_iter().map(|number| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(number + 1);
        let mut own = CorrelationDraws::new(tasks, only, each)?;
        let mut next = chain()?;
        for sweep in 0..(each / 2 + each) * thin {
            let sigma = next(&mut random)?;
            if sweep >= each / 2 * thin && (sweep + 1) % thin == 0 {
                own.push(sigma.diagonal().as_slice(), &|t| sigma.column(t).iter().copied().collect());
            }
        }
        Ok(own)
    });
    chains.collect::<Result<Vec<_>>>()?.into_iter().for_each(|own| all.append(own));
    Ok(all)
}

/// Memory that draws may take.
const LIMIT_MB: u64 = 1_000;

/// Parts of the draws, one after another, whose means show how far the draws depend on each other.
const PARTS: usize = 8;

/// Draws of every pair of tasks, or of the pairs of one task, from the posterior of Sigma.
#[derive(Clone, Debug)]
pub(crate) struct CorrelationDraws {
    tasks: usize,
    only: Option<usize>,
    /// One draw after another, in the order of [`CorrelationDraws::pairs`].
    values: Vec<f32>,
    /// Variance of a correlation before the data.
    prior_variance: Option<f64>,
}

impl CorrelationDraws {
    /// Room for so many draws.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where they would not fit in memory.
    pub(crate) fn new(tasks: usize, only: Option<usize>, draws: usize) -> Result<Self> {
        let pairs = if only.is_some() { tasks.saturating_sub(1) } else { tasks * tasks.saturating_sub(1) / 2 };
        let needed_mb = (4 * pairs * draws) as u64 / 1_000_000;
        if needed_mb > LIMIT_MB {
            return Err(Error::TooLarge {
                what: format!("keeping {draws} draws of {pairs} correlations"),
                needed_mb,
                limit_mb: LIMIT_MB,
                remedy: "ask for one task (--task NAME) or fewer draws (--draws)".into(),
            });
        }
        Ok(CorrelationDraws { tasks, only, values: Vec::with_capacity(pairs * draws), prior_variance: None })
    }

    /// With what a correlation varied before the data.
    pub(crate) fn with_prior_variance(mut self, variance: f64) -> Self {
        self.prior_variance = Some(variance);
        self
    }

    /// Variance of a correlation before the data, where it is known.
    pub(crate) fn prior_variance(&self) -> Option<f64> {
        self.prior_variance
    }

    /// The pairs (s, t), s < t.
    pub(crate) fn pairs(&self) -> Vec<(usize, usize)> {
        match self.only {
            Some(own) => (0..self.tasks).filter(|t| *t != own).map(|t| (own.min(t), own.max(t))).collect(),
            None => (0..self.tasks).flat_map(|t| (0..t).map(move |s| (s, t))).collect(),
        }
    }

    fn width(&self) -> usize {
        if self.only.is_some() { self.tasks.saturating_sub(1) } else { self.tasks * self.tasks.saturating_sub(1) / 2 }
    }

    /// How many draws there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len().checked_div(self.width()).unwrap_or(0)
    }

    /// Adds the correlations of a drawn Sigma by its diagonal and columns.
    pub(crate) fn push(&mut self, diagonal: &[f64], column: &dyn Fn(usize) -> Vec<f64>) {
        let scale: Vec<f64> = diagonal.iter().map(|own| if *own > 0.0 { own.sqrt().recip() } else { 0.0 }).collect();
        let correlation = |value: f64, s: usize, t: usize| (value * scale[s] * scale[t]).clamp(-1.0, 1.0) as f32;
        match self.only {
            Some(own) => {
                let values = column(own);
                self.values.extend((0..self.tasks).filter(|t| *t != own).map(|t| correlation(values[t], own, t)));
            }
            None => {
                for t in 0..self.tasks {
                    let values = column(t);
                    self.values.extend((0..t).map(|s| correlation(values[s], s, t)));
                }
            }
        }
    }

    /// Adds the draws of another chain.
    fn append(&mut self, mut other: CorrelationDraws) {
        self.values.append(&mut other.values);
    }

    /// The draws of a pair, by its place among the pairs.
    pub(crate) fn of(&self, pair: usize) -> Vec<f64> {
        self.values.iter().skip(pair).step_by(self.width()).map(|value| f64::from(*value)).collect()
    }

    /// How many independent draws these are worth, all pairs together: the variance of a draw over that of a mean of draws, which the means of eight
    /// parts one after another show (batch means).
    pub(crate) fn effective(&self) -> f64 {
        let (draws, size) = (self.len(), self.len() / PARTS);
        if size < 2 {
            return draws as f64;
        }
        let each = (0..self.width()).into_par_iter().map(|pair| {
            let values = self.of(pair);
            let (_, variance) = mean_and_variance(&values);
            let means: Vec<f64> = values.chunks_exact(size).map(|part| part.iter().sum::<f64>() / size as f64).collect();
            (variance, mean_and_variance(&means).1 / means.len() as f64)
        });
        let (of_draw, of_mean) = each.collect::<Vec<_>>().into_iter().fold((0.0, 0.0), |all, own| (all.0 + own.0, all.1 + own.1));
        if of_mean > 0.0 { (of_draw / of_mean).min(draws as f64) } else { draws as f64 }
    }
}

/// Mean and variance (over n - 1) of numbers.
pub(crate) fn mean_and_variance(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0))
}
