//! `cognate simulate`: a table from a prior made of flags or of a model, and the truth beside it.

use super::progress::Progress;
use super::run::{check_output, csv_text, json, source_name};
use crate::csv::{self, Schema};
use crate::error::{Error, Result};
use crate::linalg;
use crate::model::{Fit, write_whole};
use crate::prior::{Mean, Prior, Relatedness};
use crate::report;
use crate::simulate::{self, Layout, NoiseLevel, Simulated};
use crate::tasks::{Coordinates, Design, Rows};
use clap::{Args, ValueEnum};
use nalgebra::{DMatrix, DVector};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Draw from the mean, feature covariance, relatedness and noise of this model, for the rows of --data, instead of a prior
    /// made of the options below
    #[arg(long, requires = "data", conflicts_with_all = ["tasks", "features", "rows", "mean_sd"])]
    pub model: Option<PathBuf>,
    /// Table whose targets are drawn anew
    #[arg(long, requires = "model")]
    pub data: Option<PathBuf>,
    /// Number of tasks
    #[arg(long, default_value_t = 20)]
    pub tasks: usize,
    /// Number of features, standard normal, all varying with variance 1 between tasks on average; there is no intercept
    #[arg(long, default_value_t = 5)]
    pub features: usize,
    /// Rows of every task
    #[arg(long, default_value_t = 50)]
    pub rows: usize,
    /// Standard deviation of the common mean's coefficients
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub mean_sd: f64,
    /// Task graph (default: none, or the model's own relatedness)
    #[arg(long, value_enum)]
    pub graph: Option<LayoutArg>,
    /// Edges of a random graph (default: as many as tasks)
    #[arg(long)]
    pub edges: Option<usize>,
    /// Smallest and largest size of the graph's partial correlations (default: 0.25,0.5)
    #[arg(long, value_name = "LOW,HIGH", value_parser = parse_range)]
    pub strength: Option<std::ops::Range<f64>>,
    /// Standard deviation of the noise (default: 1, or the model's)
    #[arg(long, conflicts_with = "noise_ratio", allow_negative_numbers = true)]
    pub noise_sd: Option<f64>,
    /// Sampling variance of a task's own estimate over its prior variance, instead of --noise-sd
    #[arg(long, allow_negative_numbers = true)]
    pub noise_ratio: Option<f64>,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// File to write the table to instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// File for the truth, as JSON: mean, K, Sigma, edges, parameters, noise
    #[arg(long)]
    pub truth: Option<PathBuf>,
    /// Instead of rows, each task's least-squares estimate and its covariance, for programs that work on estimates
    #[arg(long)]
    pub summaries: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum LayoutArg {
    /// No edges
    None,
    /// Every task with the next
    Chain,
    /// Pairs at random
    Random,
    /// Every sixth task with the five after it
    Hubs,
}

fn parse_range(text: &str) -> std::result::Result<std::ops::Range<f64>, String> {
    let ends = text.split_once(',').and_then(|(low, high)| Some(low.trim().parse().ok()?..high.trim().parse().ok()?));
    ends.ok_or_else(|| "give two numbers, such as 0.25,0.5".to_string())
}

/// Most numbers of anything that is drawn.
const MOST_NUMBERS: f64 = 1e9;

/// What was drawn, from what, and in which coordinates.
struct Drawn {
    simulated: Simulated,
    prior: Prior,
    design: Design,
    coordinates: Coordinates,
    task: String,
}

pub(super) fn simulate(args: &SimulateArgs, progress: &Progress) -> Result<String> {
    let inputs: Vec<&std::path::Path> = args.model.iter().chain(&args.data).map(|path| path.as_path()).collect();
    check_output(args.output.as_deref(), &inputs)?;
    check_output(args.truth.as_deref(), &inputs)?;
    if let (Some(table), Some(truth)) = (&args.output, &args.truth)
        && place(table) == place(truth)
    {
        return Err(Error::Arguments(format!("'{}' cannot hold both the table and the truth; give two files", table.display())));
    }
    let drawn = match (&args.model, &args.data) {
        (Some(model), Some(data)) => from_model(args, model, data, progress)?,
        _ => from_flags(args)?,
    };
    let text = if args.summaries { summaries(&drawn)? } else { table(&drawn)? };
    if let Some(path) = &args.output {
        write_whole(path, text.as_bytes())?;
    }
    if let Some(path) = &args.truth {
        write_whole(path, json(&truth(&drawn, args.seed)).as_bytes())?;
    }
    Ok(if args.output.is_some() { String::new() } else { text })
}

/// Where a file is or would be, however it was named.
fn place(path: &std::path::Path) -> Option<PathBuf> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(std::path::Path::new("."));
    Some(folder.canonicalize().ok()?.join(path.file_name()?))
}

fn noise(args: &SimulateArgs, otherwise: f64) -> Result<NoiseLevel> {
    let given = args.noise_ratio.or(args.noise_sd).filter(|value| !(*value >= 0.0 && value.is_finite()));
    match given {
        Some(value) => Err(Error::Arguments(format!("a noise of {value} is none; give a number from 0 upwards"))),
        None => Ok(args.noise_ratio.map_or(NoiseLevel::Sd(args.noise_sd.unwrap_or(otherwise)), NoiseLevel::Ratio)),
    }
}

/// The relatedness of the flags; none where they name no graph.
fn relatedness(args: &SimulateArgs, tasks: &[String]) -> Result<Option<Relatedness>> {
    if args.edges.is_some() && args.graph != Some(LayoutArg::Random) {
        return Err(Error::Arguments("--edges counts the edges of a random graph; add --graph random, or leave it out".into()));
    }
    if args.strength.is_some() && matches!(args.graph, None | Some(LayoutArg::None)) {
        return Err(Error::Arguments("--strength is that of a graph's edges; add --graph, or leave it out".into()));
    }
    let layout = match args.graph {
        None => return Ok(None),
        Some(LayoutArg::None) => return Ok(Some(Relatedness::Identity)),
        Some(LayoutArg::Chain) => Layout::Chain,
        Some(LayoutArg::Hubs) => Layout::Hubs,
        Some(LayoutArg::Random) => Layout::Random { edges: args.edges.unwrap_or(tasks.len()) },
    };
    simulate::task_graph(layout, tasks, args.strength.clone().unwrap_or(0.25..0.5), args.seed).map(|graph| Some(Relatedness::Graph(graph)))
}

fn from_flags(args: &SimulateArgs) -> Result<Drawn> {
    if let Some((_, what)) = [(args.tasks, "--tasks"), (args.features, "--features"), (args.rows, "--rows")].iter().find(|(n, _)| *n == 0) {
        return Err(Error::Arguments(format!("{what} 0 leaves nothing to draw; give at least 1")));
    }
    let (tasks, features, rows) = (args.tasks as f64, args.features as f64, args.rows as f64);
    let numbers =
        [(tasks * rows * (features + 1.0), "a table"), (features * features, "a feature covariance"), (tasks * features, "parameters")];
    if let Some((count, what)) = numbers.into_iter().find(|(count, _)| *count > MOST_NUMBERS) {
        return Err(Error::Arguments(format!("{what} of {count:.0} numbers is more than fits in memory; ask for less")));
    }
    if !(args.mean_sd >= 0.0 && args.mean_sd.is_finite()) {
        return Err(Error::Arguments(format!("--mean-sd {} is none; give a number from 0 upwards", args.mean_sd)));
    }
    let names: Vec<String> = (1..=args.tasks).map(|t| format!("t{t}")).collect();
    let mut random = ChaCha8Rng::seed_from_u64(args.seed ^ 0x6d65_616e);
    let mean = DVector::from_fn(args.features, |_, _| args.mean_sd * linalg::normal(&mut random));
    let prior = Prior::new(
        Mean::Given(mean),
        relatedness(args, &names)?.unwrap_or(Relatedness::Identity),
        DMatrix::identity(args.features, args.features),
    );
    let simulated = simulate::gaussian(&prior, args.tasks, args.rows, noise(args, 1.0)?, args.seed)?;
    let design = Design::varying(simulated.rows.features()).without_intercept();
    let coordinates = Coordinates::identity(&design);
    Ok(Drawn { simulated, prior, design, coordinates, task: "task".into() })
}

fn from_model(args: &SimulateArgs, model: &std::path::Path, data: &std::path::Path, progress: &Progress) -> Result<Drawn> {
    let (fit, schema): (Fit, Schema) = Fit::load_with(model)?;
    let queries = csv::read_queries(progress.open_table(data, Some(&schema.needed()))?, &source_name(data), &schema)?;
    let design = fit.tasks().design().clone();
    let columns = &design.features()[usize::from(design.has_intercept())..];
    let mut rows = Rows::new(fit.tasks().target(), columns);
    for query in &queries {
        rows.push_with_offset(&query.task, &query.x, 0.0, query.weight, query.offset)?;
    }
    let own = fit.prior();
    if !own.free.is_empty() {
        return Err(Error::Arguments(format!("the structure '{}' is no distribution of tasks to draw from; fit another", fit.structure())));
    }
    if fit.prior().mixture.is_some() || fit.prior().task_scales.is_some() {
        let problem = "clusters, and tasks with scales of their own, are not simulated; simulate from a fit without them";
        return Err(Error::Arguments(problem.into()));
    }
    if fit.tasks().groups().len() > 1 {
        return Err(Error::Arguments("tasks in groups with means of their own are not simulated; fit them together".into()));
    }
    if fit.family() != "gaussian" {
        return Err(Error::Arguments(format!("targets are drawn from Gaussian models only, and this one is {}; fit one", fit.family())));
    }
    if fit.tasks().are_estimates() && args.noise_sd.or(args.noise_ratio).is_none() {
        return Err(Error::Arguments("a model of summaries knows no noise of rows; give --noise-sd or --noise-ratio".into()));
    }
    if rows.names() != fit.tasks().names() && own.relatedness.is_learned() && args.graph.is_none() {
        return Err(Error::Arguments("the tasks of --data are not those of the model, in order; give the table it was fitted to".into()));
    }
    let mean = fit.fitted_mean(0).select_rows(&own.mean_features);
    let relatedness = relatedness(args, rows.names())?.unwrap_or_else(|| own.relatedness.clone());
    let prior = Prior { mean: Mean::Given(mean), relatedness, ..own.clone() };
    let noise = noise(args, fit.dispersion().common_variance().sqrt())?;
    let coordinates = fit.coordinates().clone();
    let simulated = simulate::targets(&prior, &rows, &design, &coordinates, noise, args.seed)?;
    Ok(Drawn { simulated, prior, design, coordinates, task: schema.task.clone() })
}

fn table(drawn: &Drawn) -> Result<String> {
    let rows = &drawn.simulated.rows;
    let header = [vec![drawn.task.clone()], rows.features().to_vec(), vec![rows.target().to_string()]].concat();
    let records = (0..rows.len()).map(|i| {
        let numbers = rows.x(i).iter().chain(std::iter::once(&rows.y(i))).map(f64::to_string).collect::<Vec<_>>();
        [vec![rows.names()[rows.task(i)].clone()], numbers].concat()
    });
    csv_text(std::iter::once(header).chain(records))
}

/// Least-squares estimates in the table's units and the lower triangle of their covariance at the true noise, a task a line.
fn summaries(drawn: &Drawn) -> Result<String> {
    let tasks = drawn.simulated.rows.tasks(&drawn.design);
    let data = tasks.quadratics(&drawn.coordinates);
    let names = drawn.design.features();
    let pairs = || (0..names.len()).flat_map(|a| (0..=a).map(move |b| (a, b)));
    let covariances = pairs().map(|(a, b)| format!("cov:{}:{}", names[a], names[b]));
    let mut records = vec![std::iter::once(drawn.task.clone()).chain(names.iter().cloned()).chain(covariances).collect::<Vec<_>>()];
    let map = drawn.coordinates.to_original();
    for t in 0..tasks.len() {
        let own = data.task(t);
        let estimate = drawn.coordinates.parameters(&own.maximiser()?);
        let inverse = own.curvature.try_inverse().ok_or_else(|| Error::NotPositiveDefinite {
            matrix: format!("the curvature of task '{}'", tasks.names()[t]),
            remedy: "draw more rows".into(),
        })?;
        let covariance = &map * inverse * map.transpose() * drawn.simulated.noise_sd.powi(2);
        let numbers = estimate.iter().copied().chain(pairs().map(|(a, b)| covariance[(a, b)])).map(|v| v.to_string());
        records.push(std::iter::once(tasks.names()[t].clone()).chain(numbers).collect());
    }
    csv_text(records)
}

/// The truth in the table's units; Sigma, edges and their precisions have none.
fn truth(drawn: &Drawn, seed: u64) -> serde_json::Value {
    let Drawn { simulated, prior, design, coordinates, .. } = drawn;
    let p = design.len();
    let (mut mean, mut covariance) = (DVector::zeros(p), DMatrix::zeros(p, p));
    if let Mean::Given(values) = &prior.mean {
        prior.mean_features.iter().zip(values.iter()).for_each(|(f, value)| mean[*f] = *value);
    }
    let k = prior.feature_covariance();
    for (i, a) in prior.varying.iter().enumerate() {
        prior.varying.iter().enumerate().for_each(|(j, b)| covariance[(*a, *b)] = k[(i, j)]);
    }
    let map = coordinates.to_original();
    let parameters: Vec<DVector<f64>> =
        (0..simulated.parameters.nrows()).map(|t| coordinates.parameters(&simulated.parameters.row(t).transpose())).collect();
    let related = if prior.relatedness.is_too_wide() { None } else { prior.relatedness.covariance(simulated.rows.names().len()) };
    report::truth_json(&report::Truth {
        seed,
        tasks: simulated.rows.names(),
        features: design.features(),
        mean: &coordinates.parameters(&mean),
        feature_covariance: &(&map * covariance * map.transpose()),
        graph_features: prior.related_features().map(|f| &design.features()[f]).collect(),
        relatedness: related.as_ref(),
        graph: &prior.relatedness.graph(simulated.rows.names()),
        parameters: &parameters,
        noise_sd: simulated.noise_sd * coordinates.target_scale,
    })
}
