//! The flags, each once (those of one subject are beside it).

use super::audit::AuditArgs;
use super::check::CheckArgs;
use super::compare::CompareArgs;
use super::edges::{EdgeArgs, EdgesArg};
use super::evidence::EvidenceArgs;
use super::graph::GraphArgs;
use super::guard::GuardArgs;
use super::intervals::UncertaintyArgs;
use super::known::KnownArgs;
use super::manual::{CompletionsArgs, ManArgs};
use super::plot::PlotArgs;
use super::predict::{PredictArgs, TasksArgs};
use super::relatedness::{RelatednessArgs, StabilityArgs};
use super::report::{PageArgs, ReportArgs};
use super::shape::ShapeArgs;
use super::simulate::SimulateArgs;
use super::statistics::{StatisticsArgs, SumArgs};
use super::summaries::SummaryArgs;
use super::transfer::{TransferArgs, UpdateArgs};
use crate::csv::{Columns, Uses, Varying};
use crate::error::{Error, Result};
use crate::formula::Formula;
use crate::likelihood::{self, CorrelatedGaussian, FAMILY_NAMES, Family, Gaussian, Generalised, Inference, Likelihood, Noise};
use crate::model::{Model, Standardise};
use crate::structure::{self, FeatureCovariance, KnownRelation, Structure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Finds out which prediction tasks are related, how strongly and with what certainty, and uses it to predict better.
#[derive(Debug, Parser)]
#[command(name = "cognate", version, about)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Worker threads (default: all cores; results do not depend on it)
    #[arg(long, global = true, value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// No progress and no notes on stderr
    #[arg(long, global = true)]
    pub quiet: bool,
    /// The command as it was given.
    #[arg(skip)]
    pub words: Vec<String>,
}

impl Cli {
    /// With the words of the command, which the report of a fit repeats.
    pub(super) fn with_words(mut self, words: Vec<String>) -> Self {
        if let Command::Fit(args) = &mut self.command {
            args.words.clone_from(&words);
        }
        Cli { words, ..self }
    }
}

fn parse_threads(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| "give a number of threads from 1 to 256".to_string())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the main job on data inside the program: the ladder of structures, the best one, its graph
    Demo(PageArgs),
    /// Fits one structure to a table
    Fit(FitArgs),
    /// Sums a table in one pass for fits of Gaussian models; sums of several tables add, and subtract
    Statistics(StatisticsArgs),
    /// Compares structures by cross-validation
    Compare(CompareArgs),
    /// Prints every task's parameters with their uncertainty, as CSV
    Tasks(TasksArgs),
    /// Predicts the rows of a table, as CSV
    Predict(PredictArgs),
    /// Prints the parameters of tasks that a model has not seen, or predicts their rows, as CSV
    Transfer(TransferArgs),
    /// Adds rows of known tasks to a model, without the rows that it was fitted to
    Update(UpdateArgs),
    /// Prints the task graph of a model
    Graph(GraphArgs),
    /// Who taught whom: donors of every task, what is left without them, where more rows would help most
    Audit(AuditArgs),
    /// How related tasks are and how sure that is: intervals of correlations, how much of their parameters tasks share
    Relatedness(RelatednessArgs),
    /// Whether a model can be believed: with rows, calibration, replicated data and tasks that do not fit; without, what is singular, unlike or influential
    Check(CheckArgs),
    /// Writes a page for a browser: the verdict, the task graph, relatedness, parameters with intervals, calibration, all in one file
    Report(ReportArgs),
    /// Draws a figure for a paper, as SVG or PNG: the task graph, relatedness, parameters with intervals, the climb, calibration
    Plot(PlotArgs),
    /// Draws a table from a prior, with the truth beside it
    Simulate(SimulateArgs),
    /// Prints a script by which a shell completes commands and flags
    Completions(CompletionsArgs),
    /// Prints the manual, a page a command, or writes it to a folder
    Man(ManArgs),
}

/// What the table is.
#[derive(Clone, Debug, Args)]
pub(super) struct DataArgs {
    /// CSV table, one row an observation (.gz too; - for stdin); for fit also a file that 'cognate statistics' wrote
    pub data: PathBuf,
    /// Column of the task names
    #[arg(long)]
    pub task: Option<String>,
    /// Column of the target
    #[arg(long)]
    pub target: Option<String>,
    /// Columns of a wide table that are the targets of a task each, measured on the same rows: their errors may be correlated. Each is
    /// in a unit of its own, and tasks vary about 0
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["task", "target", "formula", "row", "no_task_intercept"])]
    pub targets: Option<Vec<String>>,
    /// Column that names the row (patient, day) which rows of several tasks were measured on: their errors may be correlated
    #[arg(long)]
    pub row: Option<String>,
    /// The short way: 'score ~ f1 + f2 + (1 + f1 | school)'; || for a diagonal feature covariance
    #[arg(long, conflicts_with_all = ["task", "target", "features", "varying", "no_task_intercept"])]
    pub formula: Option<String>,
    /// Feature columns (default: all others)
    #[arg(long, value_delimiter = ',')]
    pub features: Option<Vec<String>>,
    /// Features that vary between tasks: names, all or none
    #[arg(long, value_delimiter = ',', default_value = "all")]
    pub varying: Vec<String>,
    /// The intercept is the same in all tasks
    #[arg(long)]
    pub no_task_intercept: bool,
    /// Varying features in whose directions tasks may be related ((Intercept) for the intercept; default: all); in the others each
    /// task varies by itself
    #[arg(long, value_delimiter = ',', value_name = "FEATURES")]
    pub graph_features: Option<Vec<String>>,
    /// Column of precision weights
    #[arg(long)]
    pub weights: Option<String>,
    /// Column of the number of trials, of which the target counts the successes (binomial, probit)
    #[arg(long, conflicts_with = "weights")]
    pub trials: Option<String>,
    /// Column of what is added to the linear predictor
    #[arg(long)]
    pub offset: Option<String>,
    /// Column of exposures: their logarithms are added to the linear predictor, so that counts are rates times exposure
    #[arg(long)]
    pub exposure: Option<String>,
    /// Column of the family of every task, in the place of --family: tasks of different kinds of target in one model, with a mean and a
    /// scale for each family (gaussian targets learn a noise variance of their own; trials and exposures may be empty in other families' rows)
    #[arg(long, value_name = "COLUMN", conflicts_with = "targets")]
    pub family_column: Option<String>,
    /// Number columns that hold categories
    #[arg(long, value_delimiter = ',')]
    pub factors: Vec<String>,
    /// Rows with a missing feature
    #[arg(long, value_enum, default_value_t = Missing::Refuse)]
    pub missing: Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Missing {
    Refuse,
    Drop,
}

/// What is fitted.
#[derive(Debug, Args)]
pub(super) struct ModelArgs {
    /// Family of the target: gaussian, student (with outliers), bernoulli (0 or 1) or binomial (successes of --trials, or their share with
    /// the trials as --weights) with logit link, probit (the same with probit link), poisson or negative-binomial (counts, log link),
    /// gamma (positive, log link), ordinal (levels 1, 2, 3 .., cumulative logit)
    #[arg(long, default_value = "gaussian", value_parser = families(), conflicts_with = "family_column")]
    family: String,
    /// How the posterior of a family other than the Gaussian is approximated
    #[arg(long, value_enum)]
    inference: Option<InferenceArg>,
    /// Shape of the covariance between varying features (default: diagonal; with --formula full, or diagonal for ||)
    #[arg(long, value_enum)]
    feature_covariance: Option<Covariance>,
    /// Noise variance, or the dispersion of another family (default: shared, and of independent tasks each its own)
    #[arg(long, value_enum)]
    noise: Option<NoiseArg>,
    /// Mean of the varying features
    #[arg(long, value_enum, default_value_t = MeanArg::Shared)]
    mean: MeanArg,
    /// Restricted maximum likelihood
    #[arg(long)]
    reml: bool,
    /// Coordinates in which a scalar or diagonal feature covariance is meant (default: both; with --formula scale, which makes
    /// || the model of lme4)
    #[arg(long, value_enum)]
    standardise: Option<StandardiseArg>,
    #[command(flatten)]
    shape: ShapeArgs,
    /// How the structure graph finds its edge probabilities
    #[arg(long, value_enum, default_value_t = EdgesArg::Auto)]
    edges: EdgesArg,
    #[command(flatten)]
    search: EdgeArgs,
    #[command(flatten)]
    known: KnownArgs,
    /// Seed of whatever is drawn (edges, folds)
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

fn families() -> PossibleValuesParser {
    PossibleValuesParser::new(std::iter::once("gaussian").chain(FAMILY_NAMES))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum InferenceArg {
    /// The nearest Gaussian: the log-likelihood is a lower bound
    Variational,
    /// At the mode, by the curvature there, as lme4 does
    Laplace,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Covariance {
    /// One variance for all features (in fitted coordinates)
    Scalar,
    /// A variance for each feature
    Diagonal,
    /// Variances and correlations
    Full,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NoiseArg {
    /// One variance for all tasks
    Shared,
    /// One a task, shrunk to a common one
    Task,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum MeanArg {
    /// A common mean of all tasks, estimated
    Shared,
    /// Tasks vary about 0: what they have in common counts as relatedness
    Zero,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StandardiseArg {
    /// Features centred and scaled to unit variance: uncorrelated at the average row
    Both,
    /// Scaled only: uncorrelated where all features are 0
    Scale,
    /// As they stand in the table
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum TableFormat {
    Text,
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum RecordFormat {
    Csv,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(super) struct FitArgs {
    #[command(flatten)]
    pub table: DataArgs,
    #[command(flatten)]
    pub sums: SumArgs,
    #[command(flatten)]
    pub summaries: SummaryArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub uncertainty: UncertaintyArgs,
    /// How tasks may be related: independent (each alone), pooled (all the same), pooled-intercepts (the same but for their intercepts), known (neighbours or a covariance from a file), kernel (--descriptors of the tasks), exchangeable
    /// (random effects), clusters (--groups of tasks that nobody has named), factor (few factors that tasks share: any number of tasks), graph (a learned sparse task graph), full (any task covariance)
    #[arg(long, default_value = "exchangeable", value_parser = structure::NAMES)]
    pub structure: String,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub guard: GuardArgs,
    #[command(flatten)]
    pub stability: StabilityArgs,
    #[command(flatten)]
    pub page: PageArgs,
    /// File to save the model in
    #[arg(long = "model", value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// A fit that did not converge is a failure
    #[arg(long)]
    pub strict: bool,
    /// The command as it was given.
    #[arg(skip)]
    pub words: Vec<String>,
}

impl DataArgs {
    /// Whether rows of several tasks may have been measured on the same unit.
    pub(super) fn shares_rows(&self) -> bool {
        self.targets.is_some() || self.row.is_some()
    }

    /// The columns, and the feature covariance a formula implies.
    pub(super) fn columns(&self) -> Result<(Columns, Option<FeatureCovariance>)> {
        let (columns, implied) = match &self.formula {
            Some(formula) => {
                let formula = Formula::parse(formula)?;
                let implied = if formula.uncorrelated { FeatureCovariance::Diagonal } else { FeatureCovariance::Full };
                (formula.columns, Some(implied))
            }
            None => {
                let varying = match self.varying.as_slice() {
                    [one] if one == "all" => Varying::All,
                    [one] if one == "none" => Varying::None,
                    names => Varying::Only(names.to_vec()),
                };
                let columns = Columns {
                    task: self.task.clone().unwrap_or_default(),
                    target: self.target.clone().unwrap_or_default(),
                    targets: self.targets.clone().unwrap_or_default(),
                    features: self.features.clone(),
                    varying,
                    common_intercept: self.no_task_intercept,
                    ..Columns::default()
                };
                (columns, None)
            }
        };
        let rest = Columns {
            weights: self.weights.clone(),
            trials: self.trials.clone(),
            row: self.row.clone(),
            offset: self.offset.clone(),
            exposure: self.exposure.clone(),
            family: self.family_column.clone(),
            factors: self.factors.clone(),
            graph_features: self.graph_features.clone(),
            drop_missing: self.missing == Missing::Drop,
            ..columns
        };
        Ok((rest, implied))
    }
}

impl ModelArgs {
    /// Whether the family is the Gaussian.
    pub(super) fn is_gaussian(&self) -> bool {
        self.own_family().is_none()
    }

    /// The family, unless it is the Gaussian.
    fn own_family(&self) -> Option<Arc<dyn Family>> {
        likelihood::family(&self.family, &[])
    }

    /// Refuses columns that the family has no use for.
    pub(super) fn check_columns(&self, table: &DataArgs) -> Result<()> {
        if table.family_column.is_some() {
            return Ok(());
        }
        let uses = Uses::of(&self.family);
        if table.trials.is_some() && !uses.trials {
            return Err(Error::Arguments("--trials belongs to --family binomial or probit; choose one, or leave --trials out".into()));
        }
        if table.exposure.is_some() && !uses.exposure {
            let problem = "--exposure multiplies an expectation, so it belongs to a family with a log link (poisson, negative-binomial, gamma); \
                           choose one, or give --offset";
            return Err(Error::Arguments(problem.into()));
        }
        Ok(())
    }

    /// Flags given that mean nothing to this structure.
    pub(super) fn idle(&self, table: &DataArgs, structure: &dyn Structure) -> Vec<&'static str> {
        let learns = matches!(structure.name(), "factor" | "graph" | "full");
        let given = [
            ("--feature-covariance", self.feature_covariance.is_some() && structure.feature_covariance().is_none()),
            ("--prior-strength", self.shape.prior_strength.is_some() && !learns),
            ("--graph", self.search.graph.is_some() && !matches!(structure.name(), "known" | "graph")),
            ("--candidates", self.search.candidates.is_some() && structure.name() != "graph"),
            ("--graph-features", table.graph_features.is_some() && !structure.relates()),
            ("--edges", !matches!(self.edges, EdgesArg::Auto) && structure.name() != "graph"),
            ("--reml", self.reml && (!structure.has_marginal() || structure.name() == "clusters")),
            ("--noise", matches!(self.noise, Some(NoiseArg::Task)) && self.own_family().is_none() && table.shares_rows()),
            (
                "--noise",
                matches!(self.noise, Some(NoiseArg::Task)) && self.own_family().is_some_and(|family| family.dispersion().is_empty()),
            ),
            ("--inference", self.inference.is_some() && self.own_family().is_none() && table.family_column.is_none()),
        ];
        let others = self.shape.idle(structure).into_iter().chain(self.known.idle(structure));
        given.into_iter().chain(others).filter(|(_, idle)| *idle).map(|(flag, _)| flag).collect()
    }

    /// Flags given that mean nothing to any of these structures.
    pub(super) fn idle_everywhere(&self, table: &DataArgs, names: &[&str], options: &structure::Options) -> Result<Vec<&'static str>> {
        let mut idle: Option<Vec<&'static str>> = None;
        for name in names {
            let own = self.idle(table, structure::by_name(name, options)?.as_ref());
            idle = Some(idle.map_or(own.clone(), |all| all.into_iter().filter(|flag| own.contains(flag)).collect()));
        }
        Ok(idle.unwrap_or_default())
    }

    /// The files that say what is known of the tasks.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.search.graph.iter().chain(self.known.files()).map(PathBuf::as_path)
    }

    /// Options of the structures.
    pub(super) fn options(&self, table: &DataArgs, implied: Option<FeatureCovariance>) -> Result<structure::Options> {
        self.shape.check()?;
        let asked = self.feature_covariance.map(|kind| match kind {
            Covariance::Scalar => FeatureCovariance::Scalar,
            Covariance::Diagonal => FeatureCovariance::Diagonal,
            Covariance::Full => FeatureCovariance::Full,
        });
        let relation = match self.search.known()? {
            Some(edges) => Some(KnownRelation::Graph(edges)),
            None => self.known.covariance()?,
        };
        Ok(structure::Options {
            relation,
            feature_covariance: asked.or(implied),
            prior_strength: self.shape.prior_strength,
            edges: self.edges.into(),
            seed: self.seed,
            descriptors: self.known.descriptors(table)?,
            kernel: self.known.shape(),
            nearest: self.search.nearest()?,
            clusters: self.shape.groups,
            rank: self.shape.rank,
            shared_noise: match self.noise {
                Some(NoiseArg::Shared) if self.is_gaussian() => Some(true),
                None if self.is_gaussian() && !table.shares_rows() => None,
                _ => Some(false),
            },
            robust: self.shape.robust,
        })
    }

    /// The model of summaries around a structure: their noise as given, in their own units unless scaled.
    pub(super) fn of_summaries(&self, structure: Box<dyn Structure>) -> Result<Model> {
        let standardise = match self.standardise {
            Some(StandardiseArg::Both) => {
                let problem = "--standardise both would centre features, and summaries have no rows to centre; choose scale or none";
                return Err(Error::Arguments(problem.into()));
            }
            Some(StandardiseArg::Scale) => Standardise::Scale,
            Some(StandardiseArg::None) | None => Standardise::None,
        };
        let model = Model::of(Box::new(Gaussian { noise: Noise::Known }), structure).standardise(standardise);
        Ok(model.restricted(self.reml).zero_mean(self.mean == MeanArg::Zero))
    }

    /// A function that makes the model of a table around a structure.
    pub(super) fn builder(&self, table: &DataArgs) -> impl Fn(Box<dyn Structure>) -> Model + Clone + 'static {
        let noise = match self.noise {
            Some(NoiseArg::Shared) | None => Noise::Shared,
            Some(NoiseArg::Task) => Noise::Task,
        };
        let standardise = match self.standardise {
            Some(StandardiseArg::Both) => Standardise::Both,
            Some(StandardiseArg::Scale) => Standardise::Scale,
            Some(StandardiseArg::None) => Standardise::None,
            None if table.formula.is_some() => Standardise::Scale,
            None => Standardise::Both,
        };
        let (restricted, zero) = (self.reml, self.mean == MeanArg::Zero);
        let inference = match self.inference {
            Some(InferenceArg::Laplace) => Inference::Laplace,
            _ => Inference::Variational,
        };
        let (family, shares_rows, mixed) = (self.own_family(), table.shares_rows(), table.family_column.is_some());
        move |structure| {
            let likelihood: Box<dyn Likelihood> = match &family {
                Some(family) => Box::new(Generalised::of(Arc::clone(family)).with_inference(inference).with_noise(noise)),
                None if mixed => Box::new(Generalised::by_group(likelihood::families()).with_inference(inference).with_noise(noise)),
                None if shares_rows => Box::new(CorrelatedGaussian::default()),
                None => Box::new(Gaussian { noise }),
            };
            Model::of(likelihood, structure).standardise(standardise).restricted(restricted).zero_mean(zero)
        }
    }
}
