//! How tasks may be related: each structure is a constraint on the prior, a prior that pays for its parameters, and an M-step.

mod alone;
mod candidates;
mod clusters;
mod correlations;
mod edges;
mod exchangeable;
mod factor;
mod feature_covariance;
mod full;
mod graph;
mod independent;
mod inverse;
mod kernel;
mod known;
mod moments;
mod natural;
mod nodewise;
mod pooled;
mod refit;
mod robust;
mod rungs;
mod spike_slab;
mod strength;
mod wishart;

pub use candidates::CandidateRule;
pub use clusters::Clusters;
pub(crate) use correlations::{CorrelationDraws, mean_and_variance};
pub use exchangeable::Exchangeable;
pub use factor::Factor;
pub(crate) use factor::factor_draws;
pub use feature_covariance::FeatureCovariance;
pub use full::Full;
pub use graph::{EdgeMethod, Graph};
pub use independent::Independent;
pub use kernel::Kernel;
pub use known::{Known, KnownRelation};
pub use nodewise::edge_scores;
pub use pooled::Pooled;
pub use robust::Robust;
pub(crate) use rungs::SHARED_NOISE;
pub use rungs::{ALL, arguments, is_worth_trying, rungs};
pub(crate) use wishart::full_draws;

use crate::error::{Error, Result, suggestion};
use crate::graph::TaskGraph;
use crate::likelihood::{Dispersion, Likelihood, Observations};
use crate::posterior::Posterior;
use crate::prior::{Groups, KernelShape, Mean, Prior, Relatedness};
use crate::tasks::Descriptors;
use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a structure starts from.
pub struct Setting<'a> {
    /// The tasks in fitted coordinates.
    pub data: &'a Observations,
    /// Task names.
    pub names: &'a [String],
    /// Features that have a mean (rank-deficient ones left out).
    pub mean_features: &'a [usize],
    /// Features that vary.
    pub varying: &'a [usize],
    /// Those of them whose deviations are unrelated between tasks.
    pub unrelated: &'a [usize],
    /// Number of the intercept, if there is one.
    pub intercept: Option<usize>,
    /// How the mean is treated where Sigma is fixed; structures that learn Sigma integrate it unless it is given.
    pub mean: &'a Mean,
    /// Precision of the prior of the mean, over the mean features; empty for a flat one.
    pub mean_precision: &'a DMatrix<f64>,
    /// A noise variance to start from.
    pub noise: f64,
    /// Groups of tasks, with scales to start from.
    pub groups: &'a Groups,
    /// How the targets speak, for a structure that asks it of each task alone.
    pub likelihood: &'a dyn Likelihood,
}

impl Setting<'_> {
    /// A prior over this setting's features without free ones.
    pub(crate) fn prior(&self, mean: Mean, relatedness: Relatedness, factor: DMatrix<f64>) -> Prior {
        Prior {
            mean,
            mean_features: self.mean_features.to_vec(),
            varying: self.varying.to_vec(),
            free: Vec::new(),
            unrelated: self.unrelated.to_vec(),
            relatedness,
            factor,
            groups: self.groups.clone(),
            mixture: None,
            task_scales: None,
            kernel: None,
            mean_precision: self.mean_precision.clone(),
        }
    }

    /// The treatment of the mean where Sigma is learned: integrated, unless it is given.
    pub(crate) fn learned_mean(&self) -> Mean {
        if matches!(self.mean, Mean::Given(_)) { self.mean.clone() } else { Mean::Integrated }
    }
}

/// A family of priors and its M-step.
///
/// To add one, put a file beside `exchangeable.rs` that implements this trait and name it in [`by_name`].
pub trait Structure: std::fmt::Debug + Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// The shape of K; none where no feature varies, so that coordinates do not matter.
    fn feature_covariance(&self) -> Option<FeatureCovariance>;

    /// The fewest tasks it makes sense for.
    fn fewest_tasks(&self) -> usize {
        2
    }

    /// A simpler structure whose optimum is the place to start from.
    fn base(&self) -> Option<Box<dyn Structure>> {
        None
    }

    /// A prior to start from, and the dispersion where the structure determines it itself.
    fn start(&mut self, setting: &Setting) -> Result<(Prior, Option<Dispersion>)>;

    /// Where else to start from, given the posterior at the base's optimum: the best after a few EM steps is climbed from. None where the base's
    /// optimum is the one start.
    ///
    /// # Errors
    /// Those of the posterior.
    fn starts(&mut self, _base: &dyn Fn() -> Result<Posterior<'static>>) -> Result<Vec<Prior>> {
        Ok(Vec::new())
    }

    /// The M-step: the prior of highest expected log posterior, given the moments of `posterior`.
    fn update(&mut self, posterior: &Posterior) -> Result<Prior>;

    /// Log prior density of the structure's parameters, up to a constant.
    fn log_prior(&self, _prior: &Prior) -> f64 {
        0.0
    }

    /// How many free parameters the prior has.
    fn parameters(&self, prior: &Prior) -> usize;

    /// Coordinates for a quasi-Newton finish, where the log posterior is smooth in them; none while a discrete choice (an edge set)
    /// is still to make.
    fn smooth(&self) -> Option<&dyn Smooth> {
        None
    }

    /// Every pair of tasks with a probability worth naming, where edges were sampled.
    fn edge_probabilities(&self) -> Option<&TaskGraph> {
        None
    }

    /// Where edges were looked for, if they are learned.
    fn candidates(&self) -> Option<&CandidateRule> {
        None
    }

    /// Strength nu of the prior on Sigma, where it is learned from the data or may be.
    fn prior_strength(&self) -> Option<f64> {
        None
    }

    /// Descriptors of tasks, where it knows of them, those without rows among them.
    fn descriptors(&self) -> Option<&Descriptors> {
        None
    }

    /// By which of the families of multi-task learning information crosses tasks.
    fn sharing(&self) -> Sharing {
        Sharing::Transfer
    }

    /// Whether it relates tasks, so that a choice of graph features means something to it.
    fn relates(&self) -> bool {
        false
    }

    /// Whether every task has an intercept of its own that no common prior holds.
    fn frees_intercepts(&self) -> bool {
        false
    }

    /// Whether the log-likelihood is a marginal one (the parameters integrated out).
    fn has_marginal(&self) -> bool {
        true
    }
}

/// How information crosses tasks: the families of multi-task learning, and none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// It does not.
    Nothing,
    /// Parameters are the same in all tasks, or in a subspace that all share.
    Parameters,
    /// Each task is drawn towards others in a way that is given, as far as is learned.
    Transfer,
    /// Who is related to whom is learned.
    Structure,
}

/// How a log posterior bends: about -d^2 log posterior / d coordinate^2.
#[derive(Clone, Debug, Default)]
pub struct Information {
    /// Of every coordinate by itself, positive.
    pub each: Vec<f64>,
    /// Directions in which it bends much less than that says, a step of each for every coordinate, and how much along it.
    pub along: Vec<(Vec<f64>, f64)>,
}

/// A structure as a point of R^k.
pub trait Smooth {
    /// The coordinates of a prior.
    fn coordinates(&self, prior: &Prior) -> Vec<f64>;

    /// The prior at a point; `None` where there is none.
    fn at(&self, point: &[f64], like: &Prior) -> Option<Prior>;

    /// d (log-likelihood + log prior) / d coordinates at the posterior's prior.
    fn slope(&self, posterior: &Posterior) -> Vec<f64>;

    /// The coordinates of how far tasks vary, where these begin with them: what is carried, the reference prior and the boundaries are theirs
    /// unless something else is said.
    fn of_features(&self) -> Option<&dyn Smooth> {
        None
    }

    /// How many of the coordinates, the first ones, have an uncertainty that intervals carry: all but those of a learned Sigma.
    fn carried(&self, prior: &Prior) -> usize {
        self.of_features().map_or_else(|| self.coordinates(prior).len(), |own| own.carried(prior))
    }

    /// Log density, in the carried coordinates and up to a constant, of the prior over which intervals average: flat for standard
    /// deviations (Gelman 2006), uniform for correlations (Lewandowski, Kurowicka and Joe 2009). None where the coordinates are a mirror image of
    /// others that give the same prior.
    fn reference(&self, prior: &Prior) -> Option<f64> {
        self.of_features().map_or(Some(0.0), |own| own.reference(prior))
    }

    /// About -d^2 log posterior / d coordinate^2 at the prior, where it is much the same for all coordinates.
    fn curvature(&self, _prior: &Prior) -> Option<f64> {
        None
    }

    /// How the log posterior bends at the posterior's prior, where that is known: the units in which a finish moves.
    fn information(&self, _posterior: &Posterior) -> Option<Information> {
        None
    }

    /// The prior with what is all but on a boundary put on it, if anything is.
    fn snap(&self, prior: &Prior) -> Option<Prior> {
        self.of_features()?.snap(prior)
    }

    /// A better prior off a boundary at which the coordinates are stationary, if the Karush-Kuhn-Tucker conditions fail there.
    fn release(&self, posterior: &Posterior) -> Option<Prior> {
        self.of_features()?.release(posterior)
    }
}

/// Options of the structures, as the command line has them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Shape of K.
    pub feature_covariance: Option<FeatureCovariance>,
    /// nu of the prior on Sigma.
    pub prior_strength: Option<f64>,
    /// How the graph's edge probabilities are found.
    pub edges: EdgeMethod,
    /// Seed of what is drawn.
    pub seed: u64,
    /// What `known` knows; a graph names the candidate edges of `graph`.
    pub relation: Option<KnownRelation>,
    /// Descriptors of the tasks, for `kernel`.
    pub descriptors: Option<Arc<Descriptors>>,
    /// How relatedness depends on them.
    pub kernel: KernelShape,
    /// How many nearest tasks of each are candidates of `graph`.
    pub nearest: Option<usize>,
    /// How many clusters there are.
    pub clusters: Option<usize>,
    /// How many factors `factor` has.
    pub rank: Option<usize>,
    /// Whether independent Gaussian tasks share a noise variance; where nobody says so they do not, and a ladder tries both.
    pub shared_noise: Option<bool>,
    /// Whether every task has a scale of its own, where that means something ([`Robust::fits`]).
    pub robust: bool,
}

/// Names of all structures, simple to rich.
pub const NAMES: [&str; 10] =
    ["independent", "pooled", "pooled-intercepts", "known", "kernel", "exchangeable", "clusters", "factor", "graph", "full"];

/// Clusters where nobody says how many.
const FEWEST_CLUSTERS: usize = 2;

/// The structure of that name, or of a rung's ([`rungs`]).
///
/// ```
/// assert_eq!(cognate::structure::by_name("graph", &Default::default())?.name(), "graph");
/// # Ok::<(), cognate::Error>(())
/// ```
///
/// # Errors
/// [`Error::Arguments`] for a name not in [`NAMES`], a size that it cannot have, for `known` without a relation and for `kernel` without descriptors.
pub fn by_name(name: &str, options: &Options) -> Result<Box<dyn Structure>> {
    let rung = rungs::Rung::of(name)?;
    let (size, covariance) = (rung.size, rung.feature_covariance().or(options.feature_covariance));
    let structure: Box<dyn Structure> = match rung.name() {
        "independent" => Box::new(Independent { shared_noise: rung.shared_noise || options.shared_noise == Some(true) }),
        "pooled" => Box::new(Pooled { task_intercepts: false }),
        "pooled-intercepts" => Box::new(Pooled { task_intercepts: true }),
        "exchangeable" => Box::new(Exchangeable::new(covariance.unwrap_or(FeatureCovariance::Diagonal))),
        "known" => {
            let relation = options.relation.clone().ok_or_else(|| {
                Error::Arguments(
                    "the structure 'known' needs to be told how tasks are related; give --graph FILE or --covariance FILE".into(),
                )
            })?;
            Box::new(Known::new(covariance.unwrap_or(FeatureCovariance::Diagonal), relation))
        }
        "kernel" => {
            let descriptors = options.descriptors.clone().ok_or_else(|| {
                let problem = "the structure 'kernel' needs a table of descriptors, a row a task; give --descriptors FILE";
                Error::Arguments(problem.into())
            })?;
            Box::new(Kernel::new(covariance.unwrap_or(FeatureCovariance::Diagonal), options.kernel, descriptors))
        }
        "clusters" => {
            let count = size.or(options.clusters).unwrap_or(FEWEST_CLUSTERS);
            Box::new(Clusters::new(covariance.unwrap_or(FeatureCovariance::Diagonal), count).with_seed(options.seed))
        }
        "full" => Box::new(Full::new(covariance.unwrap_or(FeatureCovariance::Diagonal)).with_strength(options.prior_strength)),
        "factor" => {
            let rank = size.or(options.rank).unwrap_or(1);
            Box::new(Factor::new(rank, covariance.unwrap_or(FeatureCovariance::Diagonal)).with_strength(options.prior_strength))
        }
        "graph" => Box::new(Graph::of_options(&Options { feature_covariance: covariance, ..options.clone() })),
        other => return Err(unknown(other)),
    };
    Ok(if (rung.robust || options.robust) && Robust::fits(structure.as_ref()) { Box::new(Robust::new(structure)?) } else { structure })
}

fn unknown(name: &str) -> Error {
    if name == rungs::ALL {
        return Error::Arguments("'all' stands for all structures, which 'cognate compare' tries one by one; name one".into());
    }
    Error::Arguments(format!("there is no structure '{name}'{}; choose one of {}", suggestion(name, NAMES.into_iter()), NAMES.join(", ")))
}
