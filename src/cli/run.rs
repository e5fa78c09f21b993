//! From flags to a result: each command reads, fits or loads, and hands back its text.

use super::args::{Cli, Command, CompareArgs, DataArgs, FitArgs, Format, ModelArgs, PredictArgs, TasksArgs};
use super::demo;
use super::edges;
use super::graph;
use super::known;
use super::progress::Progress;
use super::simulate;
use super::statistics;
use super::summaries;
use crate::compare;
use crate::csv::{self, Columns, Schema, Table};
use crate::em::Step;
use crate::error::{Error, Result};
use crate::model::{Fit, Intervals, Model, write_whole};
use crate::report;
use crate::scores::Outcome;
use crate::structure::{self, FeatureCovariance, KnownRelation, Structure};
use crate::tasks::{Design, Tasks};
use nalgebra::{DMatrix, DVector};
use statrs::distribution::{ContinuousCDF, Normal};
use std::path::{Path, PathBuf};

/// What goes to stdout, and what makes the command fail all the same.
pub(super) struct Output {
    pub text: String,
    pub complaint: Option<String>,
}

impl From<String> for Output {
    fn from(text: String) -> Output {
        Output { text, complaint: None }
    }
}

pub(super) fn execute(cli: &Cli) -> Result<Output> {
    let progress = Progress::new(cli.quiet);
    match &cli.command {
        Command::Demo => demo::demo(&progress).map(Output::from),
        Command::Fit(args) => fit(args, cli.quiet, &progress),
        Command::Statistics(args) => statistics::statistics(args, cli.quiet, &progress).map(Output::from),
        Command::Compare(args) => compare(args, cli.quiet, &progress).map(Output::from),
        Command::Tasks(args) => tasks(args).map(Output::from),
        Command::Predict(args) => predict(args, cli.quiet, &progress).map(Output::from),
        Command::Graph(args) => graph::graph(args, cli.quiet, &progress).map(Output::from),
        Command::Simulate(args) => simulate::simulate(args, &progress).map(Output::from),
    }
}

/// Reads the table and notes on stderr what was left out.
fn table(args: &DataArgs, model: &ModelArgs, quiet: bool, progress: &Progress) -> Result<(Table, Option<FeatureCovariance>)> {
    if crate::model::are_sums(&args.data) {
        let problem = format!("'{}' holds sums and no rows, which this command needs; give the table", args.data.display());
        return Err(Error::Arguments(problem));
    }
    let (columns, implied) = args.columns()?;
    let columns = Columns { own_units: args.targets.is_some() && model.is_gaussian(), ..columns };
    let table = csv::read(progress.watch(csv::open_columns(&args.data, columns.needed().as_deref())?), &source_name(&args.data), &columns)?;
    if !quiet {
        let left_out = (table.missing_targets, table.dropped, table.empty_tasks.as_slice());
        note_left_out(left_out, &table.schema, args.targets.is_some());
    }
    Ok((table, implied))
}

/// Notes on stderr what was left out of a table (missing targets, rows dropped, tasks without rows), and its categories.
pub(super) fn note_left_out((missing_targets, dropped, empty_tasks): (u64, u64, &[String]), schema: &Schema, wide: bool) {
    if missing_targets > 0 {
        let what = if wide { "targets missing" } else { "rows without a target left out" };
        note!("cognate: {missing_targets} {what}");
    }
    if dropped > 0 {
        note!("cognate: {dropped} rows with missing values dropped");
    }
    if !empty_tasks.is_empty() {
        note!("cognate: tasks without any usable row left out: {}", empty_tasks.join(", "));
    }
    for coding in &schema.codings {
        if let Some(levels) = &coding.levels {
            note!("cognate: column '{}' has {} levels, reference '{}'", coding.column, levels.len(), levels[0]);
        }
    }
}

fn note_strangers(relation: Option<&KnownRelation>, tasks: &[String], quiet: bool) {
    if let Some(KnownRelation::Graph(pairs) | KnownRelation::Covariance(pairs)) = relation
        && let Some(note) = edges::strangers(pairs, tasks)
        && !quiet
    {
        note!("cognate: {note}");
    }
}

pub(super) fn source_name(path: &Path) -> String {
    if path == Path::new("-") { "standard input".into() } else { path.display().to_string() }
}

/// A result may not replace what it was made from, and its folder must be there before the work.
pub(super) fn check_output(output: Option<&Path>, inputs: &[&Path]) -> Result<()> {
    let Some(output) = output else { return Ok(()) };
    if output == Path::new("-") {
        return Err(Error::Arguments("'-' is no file to write to; name one, or leave the option out".into()));
    }
    if let Some(folder) = output.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        let missing = std::io::Error::new(std::io::ErrorKind::NotFound, format!("the folder '{}' does not exist", folder.display()));
        return Err(Error::io(output, missing));
    }
    let same = |input: &&&Path| matches!((output.canonicalize(), input.canonicalize()), (Ok(a), Ok(b)) if a == b);
    match inputs.iter().find(same) {
        Some(_) => {
            Err(Error::Arguments(format!("'{}' is read by this command and would be overwritten; write to another file", output.display())))
        }
        None => Ok(()),
    }
}

pub(super) fn describe(step: &Step) -> String {
    let edges = if step.edges > 0 { format!(", {} edges", step.edges) } else { String::new() };
    format!("log posterior {:.3}{edges}", step.log_posterior)
}

pub(super) fn json(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}

fn fit(args: &FitArgs, quiet: bool, progress: &Progress) -> Result<Output> {
    let read: Vec<&Path> = std::iter::once(args.table.data.as_path()).chain(args.model.files()).chain(args.sums.files()).collect();
    check_output(args.save.as_deref(), &read)?;
    if statistics::are_given(args) {
        return statistics::fit(args, quiet, progress);
    }
    if let Some(path) = args.sums.files().next() {
        let problem = format!(
            "'{}' is added to or taken from statistics, and DATA is a table; sum it with 'cognate statistics' first",
            path.display()
        );
        return Err(Error::Arguments(problem));
    }
    args.model.check_columns(&args.table)?;
    if args.summaries.summaries {
        return summaries::fit(args, quiet, progress);
    }
    let sums_are_enough = args.model.is_gaussian() && !args.table.shares_rows() && args.table.family_column.is_none();
    let (tasks, schema, implied) = if sums_are_enough {
        let (columns, implied) = args.table.columns()?;
        let summed = statistics::sum(&args.table, &columns, progress)?;
        if !quiet {
            note_left_out((summed.missing_targets, summed.dropped, &summed.empty_tasks), &summed.schema, false);
        }
        (summed.tasks, summed.schema, implied)
    } else {
        let (Table { rows, design, schema, .. }, implied) = table(&args.table, &args.model, quiet, progress)?;
        (rows.tasks(&design).with_rows(rows)?, schema, implied)
    };
    args.uncertainty.check(tasks.design())?;
    let builder = args.model.builder(&args.table);
    let make = |quiet: bool| Ok(builder(structure(args, implied, tasks.names(), tasks.design(), quiet)?));
    let model = make(quiet)?;
    conclude(args, (model, &|| make(true)), &tasks, &schema, quiet, progress)
}

/// The structure that was asked for, and notes on stderr of what means nothing to it or to the tasks.
pub(super) fn structure(
    args: &FitArgs,
    implied: Option<FeatureCovariance>,
    tasks: &[String],
    design: &Design,
    quiet: bool,
) -> Result<Box<dyn Structure>> {
    let options = args.model.options(&args.table, implied)?;
    let structure = structure::by_name(&args.structure, &options)?;
    let idle_evidence = (args.evidence.is_exact() && !structure.has_marginal()).then_some("--evidence");
    for flag in args.model.idle(&args.table, structure.as_ref()).into_iter().chain(idle_evidence).filter(|_| !quiet) {
        note!("cognate: {flag} means nothing to the structure '{}' and was ignored", args.structure);
    }
    note_strangers(options.relation.as_ref(), tasks, quiet);
    let apart = structure.relates() && !design.unrelated_features().is_empty();
    if apart && options.feature_covariance == Some(FeatureCovariance::Full) && !quiet {
        note!("cognate: the feature covariance has correlations among the graph features and among the others, but none between the two");
    }
    Ok(structure)
}

/// Fits, saves, tests and prints; `make` makes the model again.
pub(super) fn conclude(
    args: &FitArgs,
    (model, make): (Model, &dyn Fn() -> Result<Model>),
    tasks: &Tasks,
    schema: &Schema,
    quiet: bool,
    progress: &Progress,
) -> Result<Output> {
    let model = model.intervals(args.uncertainty.intervals()).exact_evidence(args.evidence.is_exact());
    let fit = model.fit_with(tasks, &|step| progress.say(describe(step)))?;
    let tests = args.uncertainty.run(&fit, tasks, make)?;
    if let Some(path) = args.save.as_ref().filter(|_| fit.converged() || !args.strict) {
        fit.save_with(schema, path)?;
    }
    let text = match args.format {
        Format::Text => fit.to_string() + &report::variance_tests_text(&tests),
        Format::Json => json(&report::tested_json(&fit, &tests)),
    };
    let failed = !fit.converged();
    let note =
        format!("the fit did not converge after {} iterations; try a simpler structure or fewer varying features", fit.trace().len());
    if failed && !args.strict && !quiet {
        note!("cognate: {note}");
    }
    Ok(Output { text, complaint: (failed && args.strict).then_some(note) })
}

fn compare(args: &CompareArgs, quiet: bool, progress: &Progress) -> Result<String> {
    args.model.check_columns(&args.table)?;
    let (table, implied) = table(&args.table, &args.model, quiet, progress)?;
    let options = args.model.options(&args.table, implied)?;
    note_strangers(options.relation.as_ref(), table.rows.names(), quiet);
    let rungs = structure::rungs(&args.structures, &options)?;
    let names: Vec<&str> =
        rungs.iter().map(String::as_str).filter(|name| args.table.family_column.is_none() || *name != "independent").collect();
    if names.is_empty() {
        let problem = "independent tasks share nothing, so that families need not be compared together; name other --structures";
        return Err(Error::Arguments(problem.into()));
    }
    for flag in args.model.idle_everywhere(&args.table, &names, &options)?.into_iter().filter(|_| !quiet) {
        note!("cognate: {flag} means nothing to these structures and was ignored");
    }
    let builder = args.model.builder(&args.table);
    let ladder = compare::ladder(&names, &options, move |structure| builder(structure).intervals(Intervals::PlugIn))?;
    let say = |name: &str| progress.say(format!("fitting {name}"));
    let comparison = compare::folds(&table.rows, &table.design, &ladder, args.folds, args.model.seed, &say)?;
    if let (None, Some(rung)) = (&comparison.best, comparison.rungs.first()) {
        let reason = rung.refused.clone().unwrap_or_default();
        return Err(Error::Arguments(format!("no structure could be fitted in every fold; {}: {reason}", rung.name)));
    }
    Ok(match args.format {
        Format::Text => report::comparison_text(&comparison),
        Format::Json => json(&serde_json::to_value(&comparison).map_err(|error| Error::Arguments(error.to_string()))?),
    })
}

fn check_interval(level: f64) -> Result<f64> {
    if level > 0.0 && level < 1.0 {
        Ok(Normal::standard().inverse_cdf(0.5 + 0.5 * level))
    } else {
        Err(Error::Arguments(format!("--interval {level} is not a probability; give one between 0 and 1, such as 0.95")))
    }
}

/// CSV text of records.
pub(super) fn csv_text(records: impl IntoIterator<Item = Vec<String>>) -> Result<String> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let failed = |error: String| Error::Arguments(format!("the result cannot be written as CSV: {error}"));
    for record in records {
        writer.write_record(&record).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

fn tasks(args: &TasksArgs) -> Result<String> {
    let fit = Fit::load(&args.model)?;
    let reach = check_interval(args.interval)?;
    let names = fit.tasks().design().features();
    let deviations = if args.deviations { Some(fit.deviations()?) } else { None };
    let header = ["task", "feature", "estimate", "sd", "low", "high", "own_share"].map(String::from).to_vec();
    let lines = |task: &str, estimate: &DVector<f64>, covariance: &DMatrix<f64>, share: &str| {
        let of = |k: usize| {
            let (value, sd) = (estimate[k], covariance[(k, k)].max(0.0).sqrt());
            let numbers = [value, sd, value - reach * sd, value + reach * sd].map(|v| v.to_string());
            [vec![task.to_string(), names[k].clone()], numbers.to_vec(), vec![share.to_string()]].concat()
        };
        (0..names.len()).map(of).collect::<Vec<_>>()
    };
    let rows = (0..fit.tasks().len()).flat_map(|t| {
        let (estimate, covariance) = match &deviations {
            Some(all) => all[t].clone(),
            None => (fit.coefficients(t), fit.covariance(t)),
        };
        let share = fit.own_share(t).map(|s| s.to_string()).unwrap_or_default();
        lines(&fit.tasks().names()[t], &estimate, &covariance, &share)
    });
    let newcomers = fit.newcomers();
    let placed = newcomers.iter().filter(|_| !args.deviations).flat_map(|task| {
        let (estimate, covariance) = fit.newcomer(task).expect("it is one of them");
        lines(task, &estimate, &covariance, "0")
    });
    csv_text(std::iter::once(header).chain(rows).chain(placed))
}

fn predict(args: &PredictArgs, quiet: bool, progress: &Progress) -> Result<String> {
    let (mut fit, schema): (Fit, Schema) = Fit::load_with(&args.model)?;
    check_interval(args.interval)?;
    let read: Vec<&Path> = [&args.model, &args.data].into_iter().chain(&args.descriptors).map(PathBuf::as_path).collect();
    check_output(args.output.as_deref(), &read)?;
    if let Some(path) = &args.descriptors {
        fit.place(&known::read_descriptors(path, &schema.task)?)?;
    }
    if args.score && fit.tasks().are_estimates() {
        return Err(Error::Arguments("--score needs targets, and a model of summaries has none; leave --score out".into()));
    }
    if args.format == Format::Json && !(args.score && args.output.is_some()) {
        let problem = "--format json prints scores, and needs --score and -o FILE for the predictions; add them, or leave --format out";
        return Err(Error::Arguments(problem.into()));
    }
    let queries =
        csv::read_queries(progress.watch(csv::open_columns(&args.data, Some(&schema.needed()))?), &source_name(&args.data), &schema)?;
    let known: std::collections::HashMap<&str, usize> =
        fit.tasks().names().iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect();
    let mut records = vec![["row", "task", "mean", "sd", "lower", "upper"].map(String::from).to_vec()];
    let mut outcomes = Vec::new();
    for query in &queries {
        let number = known.get(query.task.as_str()).copied();
        if let (Some(own), Some(named)) = (number.and_then(|t| fit.tasks().groups().get(fit.tasks().group(t))), &query.family)
            && own != named
        {
            let column = schema.family.clone().unwrap_or_default();
            let (row, task) = (query.row, &query.task);
            let problem = format!(
                "row {row}: task '{task}' has the family '{named}' in column '{column}' and was fitted with '{own}'; correct the cell"
            );
            return Err(Error::Arguments(problem));
        }
        let forecast = match (number, &query.family) {
            (None, Some(family)) => fit.forecast_new(family, &query.task, &query.x, query.weight, query.offset)?,
            _ => fit.forecast(number, &query.task, &query.x, query.weight, query.offset)?,
        };
        let p = forecast.prediction(args.interval);
        if let Some(target) = query.target.filter(|_| args.score) {
            if let Some(problem) = p.forecast().refuses(target) {
                let column = if schema.targets.is_empty() { &schema.target } else { &query.task };
                return Err(Error::BadTarget { row: query.row, column: column.clone(), value: target, problem: problem.into() });
            }
            outcomes.push(Outcome { task: query.task.clone(), forecast: p.forecast().clone(), target, weight: query.weight });
        }
        // Where the table counts successes, so do predictions.
        let unit = if query.counts { query.weight } else { 1.0 };
        let plain = |v: f64| if v.abs() < 1e16 { v.to_string() } else { format!("{v:e}") };
        let numbers = [p.mean, p.sd, p.lower, p.upper].map(|v| plain(unit * v));
        records.push([vec![query.row.to_string(), query.task.clone()], numbers.to_vec()].concat());
    }
    let text = csv_text(records)?;
    if args.score && outcomes.is_empty() {
        let trials = schema.trials.as_ref().map_or(String::new(), |trials| format!(" (or '{trials}', of which it counts successes)"));
        let problem = format!("--score needs targets: column '{}'{trials} is absent or empty; leave --score out", schema.target);
        return Err(Error::Arguments(problem));
    }
    let scores = if args.score { Some(fit.scores_of(&outcomes)?) } else { None };
    if let Some(scores) = scores.as_ref().filter(|_| !quiet && args.format == Format::Text) {
        note!("cognate: {}", report::scores_text(scores).trim_end());
    }
    let Some(path) = &args.output else { return Ok(text) };
    write_whole(path, text.as_bytes())?;
    match scores.filter(|_| args.format == Format::Json) {
        Some(scores) => Ok(json(&serde_json::to_value(&scores).map_err(|error| Error::Arguments(error.to_string()))?)),
        None => Ok(String::new()),
    }
}
