//! How related tasks are and how sure that is: correlations with intervals, how much of their parameters tasks share by magnitude, and what the data cannot tell.

mod identified;
mod pair;
mod sharing;
mod stability;

pub use pair::Pair;
pub use sharing::Sharing;
pub use stability::{Moved, MovedPair, Stability, stability};

use crate::error::{Error, Result};
use crate::model::Fit;
use crate::prior::Relatedness;
use crate::structure::{CorrelationDraws, EdgeMethod, factor_draws, full_draws};
use rayon::prelude::*;
use serde::Serialize;
use sharing::Parameters;
use std::cmp::Ordering;

/// Most tasks of which all pairs are looked at.
const MOST_PAIRED: usize = 500;

/// Most draws that may be asked for.
const MOST_DRAWS: usize = 1_000_000;

/// Draws where nobody says how many.
const DRAWS: usize = 1_000;

/// What is asked of a fit.
///
/// ```
/// let options = cognate::relatedness::Options::default();
/// assert_eq!((options.level, options.seed, options.task), (0.95, 0, None));
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Draws from the posterior: 1,000 where nothing is said, 200 of a task graph of more than 300 tasks.
    pub draws: Option<usize>,
    /// Seed of the draws.
    pub seed: u64,
    /// Probability of the intervals.
    pub level: f64,
    /// Strength nu at which the prior of a full Sigma is held; drawn with Sigma where nothing is said.
    pub strength: Option<f64>,
    /// The one task whose pairs are asked for; all pairs where none is named.
    pub task: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { draws: None, seed: 0, level: 0.95, strength: None, task: None }
    }
}

/// Where the correlations of a structure come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Drawn from the posterior given K and the noise.
    Sampled,
    /// A kernel's, averaged over its hyperparameters.
    Hyperparameters,
    /// As the fit has them, without intervals.
    Fitted,
    /// Given from outside.
    Given,
    /// Assumed by the structure.
    Assumed,
    /// Probabilities of belonging to the same cluster.
    Memberships,
}

/// What a fit says of the pairs of its tasks.
#[derive(Clone, Debug, Serialize)]
pub struct Relations {
    /// Name of the structure of the fit.
    pub structure: String,
    /// How many tasks the fit has.
    pub tasks: usize,
    /// The one whose pairs these are, if one was asked for.
    pub task: Option<String>,
    /// Where the correlations come from.
    pub source: Source,
    /// Probability of the intervals.
    pub level: f64,
    /// Draws of the correlations, where they are drawn.
    pub draws: Option<usize>,
    /// How many independent draws these are worth (batch means of eight parts).
    pub effective_draws: Option<f64>,
    /// Strength nu of the prior of a full Sigma, where it is held.
    pub prior_strength: Option<f64>,
    /// Standard deviation of a correlation before the data.
    pub prior_sd: Option<f64>,
    /// How much of that variance the data took, 1 - Var(R | y) / Var(R), over all pairs: near 0 the data add nothing.
    pub contraction: Option<f64>,
    /// Draws of the parameters by which sharing is counted.
    pub sharing_draws: usize,
    /// Features that may be shared: those that vary between tasks, without the intercept.
    pub sharing_features: Vec<String>,
    /// The pairs, those whose sign is surest first, then by the size of their correlation (of clusters by probability), then by what they share.
    pub pairs: Vec<Pair>,
    /// What the data cannot tell, in words.
    pub notes: Vec<String>,
}

impl Relations {
    /// Draws correlations and parameters and counts. For `full` a Gibbs sampler over the parameters, the mean, Sigma and the scale that K shares with it, at the fitted K and noise,
    /// under the prior by which the fit was made (its strength drawn too, unless it is held), in four chains; O(T^3 + T^2 r) a sweep of T tasks and r directions. For `factor` one
    /// over the parameters, factors, loadings and uniquenesses, of as many factors as the fit has. For `graph` the sampler of its edge probabilities, one chain. For `kernel` the
    /// points over which the fit's intervals average. Other structures do not learn correlations, and say what they have. The same whatever the thread count.
    ///
    /// # Errors
    /// [`Error::Arguments`] for a level outside (0, 1), fewer than 40 draws or more than a million, a task that the fit does not have, a single task and all pairs of more than 500 tasks;
    /// [`Error::TooLarge`] for draws that would not fit in memory; what [`Posterior::given`](crate::Posterior::given) refuses.
    ///
    /// ```
    /// use cognate::relatedness::{Options, Relations, Source};
    /// use cognate::{Design, FeatureCovariance, Full, Gaussian, Model, Rows};
    /// // Eight fields; odd ones answer to light and rain as even ones do, with the sign changed.
    /// let mut rows = Rows::new("growth", &["a", "b", "c", "d", "e", "f"]);
    /// for i in 0..320u32 {
    ///     let (field, x) = (i % 8, (0..6).map(|k| f64::from((i / 8 * (k + 2) + k) % 11) - 5.0).collect::<Vec<_>>());
    ///     let sign = if field % 2 == 0 { 1.0 } else { -1.0 };
    ///     let growth = x.iter().enumerate().map(|(k, x)| sign * (1.0 + k as f64) * x).sum::<f64>() + f64::from(i % 7);
    ///     rows.push(&format!("field {field}"), &x, growth, 1.0)?;
    /// }
    /// let tasks = rows.tasks(&Design::varying(rows.features()));
    /// let fit = Model::new(Gaussian::default(), Full::new(FeatureCovariance::Scalar)).fit(&tasks)?;
    /// let relations = Relations::of(&fit, &Options::default())?;
    /// assert_eq!((relations.source, relations.pairs.len()), (Source::Sampled, 28));
    /// let first = &relations.pairs[0];
    /// assert!(first.low.unwrap() < first.correlation.unwrap() && first.correlation.unwrap() < first.high.unwrap());
    /// # Ok::<(), cognate::Error>(())
    /// ```
    pub fn of(fit: &Fit, options: &Options) -> Result<Self> {
        let tasks = fit.tasks().len();
        if !(options.level > 0.0 && options.level < 1.0) {
            return Err(Error::Arguments(format!(
                "{} is no probability of an interval; give one between 0 and 1, such as 0.95",
                options.level
            )));
        }
        if options.draws.is_some_and(|draws| draws < 40) {
            return Err(Error::Arguments("fewer than 40 draws have no interval worth the name; give --draws 1000".into()));
        }
        if options.draws.is_some_and(|draws| draws > MOST_DRAWS) {
            return Err(Error::Arguments(format!("more than {MOST_DRAWS} draws would take hours; give --draws 10000")));
        }
        if options.strength.is_some_and(|strength| !(strength > 0.0 && strength <= 1e6)) {
            return Err(Error::Arguments("the strength of a prior is a positive number up to 1e6; leave it out to have it drawn".into()));
        }
        if tasks < 2 {
            return Err(Error::Arguments("one task has no other to be related to; fit a table of several tasks".into()));
        }
        let only = options.task.as_deref().map(|name| number(fit, name)).transpose()?;
        if only.is_none() && tasks > MOST_PAIRED {
            let problem = format!("{tasks} tasks have too many pairs to look at all of them; name one task (--task NAME)");
            return Err(Error::Arguments(problem));
        }
        let parameters = Parameters::drawn(fit, options.draws.unwrap_or(DRAWS), options.seed)?;
        let (source, drawn) = correlations(fit, only, options)?;
        let mut relations = Relations {
            structure: fit.structure().into(),
            tasks,
            task: options.task.clone(),
            source,
            level: options.level,
            draws: drawn.as_ref().map(CorrelationDraws::len),
            effective_draws: drawn.as_ref().map(CorrelationDraws::effective),
            prior_strength: options.strength.filter(|_| fit.prior_strength().is_some()),
            prior_sd: drawn.as_ref().and_then(|own| own.prior_variance()).map(f64::sqrt),
            contraction: None,
            sharing_draws: parameters.draws(),
            sharing_features: parameters.features(),
            pairs: Vec::new(),
            notes: Vec::new(),
        };
        relations.pairs = match &drawn {
            Some(drawn) => pair::of_draws(fit, drawn, options.level),
            None => pair::of_fit(fit, source, only, options.level),
        };
        if let Some(before) = drawn.as_ref().and_then(CorrelationDraws::prior_variance) {
            let after =
                relations.pairs.iter().filter_map(|own| own.sd).map(|sd| sd * sd).sum::<f64>() / relations.pairs.len().max(1) as f64;
            relations.contraction = Some(1.0 - after / before);
        }
        relations.pairs.par_iter_mut().for_each(|own| own.sharing = parameters.shared(own.tasks, options.level));
        relations.pairs.sort_by(order);
        relations.notes = identified::notes(fit, &relations, parameters.effective_directions());
        Ok(relations)
    }

    /// How many pairs have a correlation of sure sign: a local false sign rate below .05.
    pub fn sure(&self) -> usize {
        self.pairs.iter().filter(|own| own.is_sure()).count()
    }
}

/// The number of a task of the fit.
fn number(fit: &Fit, name: &str) -> Result<usize> {
    fit.check_attached(name)?;
    fit.task_number(name).ok_or_else(|| Error::no_such_task(name, fit.tasks().names()))
}

/// Where the correlations of a fit come from, and draws of them if they are drawn.
fn correlations(fit: &Fit, only: Option<usize>, options: &Options) -> Result<(Source, Option<CorrelationDraws>)> {
    let prior = fit.prior();
    if prior.mixture.is_some() {
        return Ok((Source::Memberships, None));
    }
    if prior.kernel.is_some() {
        let source = if fit.weighed_kernels().is_empty() { Source::Fitted } else { Source::Hyperparameters };
        return Ok((source, None));
    }
    let work = (options.draws.unwrap_or(DRAWS), options.seed);
    match (&prior.relatedness, fit.prior_strength()) {
        _ if fit.structure() == "known" => Ok((Source::Given, None)),
        (Relatedness::Dense(_), Some(strength)) => {
            let strength = options.strength.map_or((strength, false), |own| (own, true));
            Ok((Source::Sampled, Some(full_draws(&fit.quadratics()?, prior, strength, only, work)?)))
        }
        (Relatedness::Graph(_), _) => {
            let draws = match EdgeMethod::Auto.for_tasks(fit.tasks().len()) {
                EdgeMethod::Exact { sweeps } => sweeps,
                _ => DRAWS,
            };
            Ok((Source::Sampled, Some(fit.edge_draws(only, (options.draws.unwrap_or(draws), options.seed))?)))
        }
        (Relatedness::LowRank { loadings, .. }, _) if loadings.ncols() > 0 && fit.tasks().len() <= MOST_PAIRED => {
            Ok((Source::Sampled, Some(factor_draws(&fit.quadratics()?, prior, only, work)?)))
        }
        (Relatedness::LowRank { .. } | Relatedness::Dense(_), _) => Ok((Source::Fitted, None)),
        _ => Ok((Source::Assumed, None)),
    }
}

/// Sure signs first, then the larger correlation, then what is shared.
fn order(a: &Pair, b: &Pair) -> Ordering {
    let rate = |own: &Pair| own.local_false_sign_rate.unwrap_or(1.0);
    let size = |own: &Pair| own.together.or(own.correlation.map(f64::abs)).unwrap_or(0.0);
    let shared = |own: &Pair| own.sharing.as_ref().map_or(0.0, |own| own.share);
    rate(a).total_cmp(&rate(b)).then(size(b).total_cmp(&size(a))).then(shared(b).total_cmp(&shared(a))).then(a.tasks.cmp(&b.tasks))
}
