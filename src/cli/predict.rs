//! What a model says of tasks and of new rows: `cognate tasks` and `cognate predict`.

use super::args::{Format, Missing, RecordFormat};
use super::known;
use super::progress::Progress;
use super::run::{as_json, check_output, printed, records_text, source_name};
use crate::csv::{self, Query, Schema};
use crate::error::{Error, Result, suggestion};
use crate::model::{Fit, Forecast, Prediction, write_whole};
use crate::report;
use crate::scores::{Outcome, Scores};
use clap::Args;
use nalgebra::{DMatrix, DVector};
use statrs::distribution::{ContinuousCDF, Normal};
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct TasksArgs {
    /// Model file
    pub model: PathBuf,
    /// Deviations from the common mean instead of parameters, with their own sd (own_share: how much of its deviation a
    /// task's own rows decide; the rest is the prior's and other tasks')
    #[arg(long)]
    pub deviations: bool,
    /// Probability of the intervals
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
    pub interval: f64,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Format
    #[arg(long, value_enum, default_value_t = RecordFormat::Csv)]
    pub format: RecordFormat,
}

#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// Model file
    pub model: PathBuf,
    /// CSV table (.gz too; - for stdin)
    pub data: PathBuf,
    /// Descriptors of tasks that the fit has not seen, as in fit
    #[arg(long, value_name = "FILE")]
    pub descriptors: Option<PathBuf>,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Probability of the intervals
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
    pub interval: f64,
    /// Print scores of the predictions on stderr where the table has targets: log density, rmse, crps, deviance, of shares Brier score and
    /// AUC (all of shares, also where predictions are counts), coverage and calibration, and the tasks predicted worst
    #[arg(long)]
    pub score: bool,
    /// Rows with a missing feature: drop leaves them out, and says how many they are
    #[arg(long, value_enum, default_value_t = Missing::Refuse)]
    pub missing: Missing,
    /// json: predictions as JSON; with --score and -o FILE these as CSV, and on stdout all scores, task by task
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// How many standard deviations a central interval of that probability reaches.
pub(super) fn check_interval(level: f64) -> Result<f64> {
    if level > 0.0 && level < 1.0 {
        Ok(Normal::standard().inverse_cdf(0.5 + 0.5 * level))
    } else {
        Err(Error::Arguments(format!("--interval {level} is not a probability; give one between 0 and 1, such as 0.95")))
    }
}

pub(super) fn tasks(args: &TasksArgs) -> Result<String> {
    check_output(args.output.as_deref(), &[&args.model])?;
    let fit = Fit::load(&args.model)?;
    let reach = check_interval(args.interval)?;
    let names = fit.tasks().design().features();
    let deviations = if args.deviations { Some(fit.deviations()?) } else { None };
    let rows = (0..fit.tasks().len()).flat_map(|t| {
        let (estimate, covariance) = match &deviations {
            Some(all) => all[t].clone(),
            None => (fit.coefficients(t), fit.covariance(t)),
        };
        let share = fit.own_share(t).map(|s| s.to_string()).unwrap_or_default();
        parameters((&fit.tasks().names()[t], names), (&estimate, &covariance), reach, &share)
    });
    let newcomers = fit.newcomers();
    let placed = newcomers.iter().filter(|_| !args.deviations).flat_map(|task| {
        let (estimate, covariance) = fit.newcomer(task).expect("it is one of them");
        parameters((task, names), (&estimate, &covariance), reach, "0")
    });
    let detached = fit.detached().iter().filter(|_| !args.deviations).filter_map(|task| {
        let alone = fit.alone()?;
        let t = alone.task_number(task)?;
        Some(parameters((task, names), (&alone.coefficients(t), &alone.covariance(t)), reach, "1"))
    });
    let all = std::iter::once(header(&PARAMETERS)).chain(rows).chain(placed).chain(detached.flatten());
    printed(records_text(all.collect(), args.format)?, args.output.as_deref())
}

/// Columns of a table of parameters, and of one of predictions.
pub(super) const PARAMETERS: [&str; 7] = ["task", "feature", "estimate", "sd", "low", "high", "own_share"];
pub(super) const PREDICTIONS: [&str; 6] = ["row", "task", "mean", "sd", "lower", "upper"];

pub(super) fn header(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|column| column.to_string()).collect()
}

/// The lines of a task, a feature each.
pub(super) fn parameters(
    (task, names): (&str, &[String]),
    (estimate, covariance): (&DVector<f64>, &DMatrix<f64>),
    reach: f64,
    share: &str,
) -> Vec<Vec<String>> {
    let of = |k: usize| {
        let (value, sd) = (estimate[k], covariance[(k, k)].max(0.0).sqrt());
        let numbers = [value, sd, value - reach * sd, value + reach * sd].map(|v| v.to_string());
        [vec![task.to_string(), names[k].clone()], numbers.to_vec(), vec![share.to_string()]].concat()
    };
    (0..names.len()).map(of).collect()
}

/// The line of a row; where the table counts successes, so do predictions.
pub(super) fn prediction(query: &Query, own: &Prediction) -> Vec<String> {
    let unit = if query.counts { query.weight } else { 1.0 };
    let plain = |v: f64| if v.abs() < 1e16 { v.to_string() } else { format!("{v:e}") };
    let numbers = [own.mean, own.sd, own.lower, own.upper].map(|v| plain(unit * v));
    [vec![query.row.to_string(), query.task.clone()], numbers.to_vec()].concat()
}

/// The forecast of a row by the fit alone, whose tasks have these numbers.
pub(super) fn forecast(fit: &Fit, known: &HashMap<&str, usize>, query: &Query, schema: &Schema) -> Result<Forecast> {
    let number = known.get(query.task.as_str()).copied();
    if let (Some(own), Some(named)) = (number.and_then(|t| fit.tasks().groups().get(fit.tasks().group(t))), &query.family)
        && own != named
    {
        let column = schema.family.clone().unwrap_or_default();
        let (row, task) = (query.row, &query.task);
        let problem =
            format!("row {row}: task '{task}' has the family '{named}' in column '{column}' and was fitted with '{own}'; correct the cell");
        return Err(Error::Arguments(problem));
    }
    match (number, &query.family) {
        (None, Some(family)) => fit.forecast_new(family, &query.task, &query.x, query.weight, query.offset),
        _ => fit.forecast(number, &query.task, &query.x, query.weight, query.offset),
    }
}

/// The numbers of the tasks of a fit by name.
pub(super) fn numbers(fit: &Fit) -> HashMap<&str, usize> {
    fit.tasks().names().iter().enumerate().map(|(t, name)| (name.as_str(), t)).collect()
}

/// Notes on stderr which tasks of the rows neither the fit nor its descriptors know: a mistyped name is predicted as a new task.
fn note_unseen(fit: &Fit, known: &HashMap<&str, usize>, queries: &[Query]) {
    const NAMED: usize = 5;
    let others: BTreeSet<&str> = fit.newcomers().into_iter().chain(fit.detached().iter().map(String::as_str)).collect();
    let is_new = |task: &str| !known.contains_key(task) && !others.contains(task);
    let strange: Vec<&str> = queries.iter().map(|query| query.task.as_str()).filter(|task| is_new(task)).collect();
    let names: BTreeSet<&str> = strange.iter().copied().collect();
    if names.is_empty() {
        return;
    }
    // Site 12 is no mistyped site 21.
    let letters = |name: &str| name.chars().filter(|own| !own.is_ascii_digit()).collect::<String>();
    let near = |name: &str| suggestion(name, known.keys().copied().filter(|own| letters(own) != letters(name)));
    let each = names.iter().take(NAMED).map(|name| format!("'{name}'{}", near(name)));
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    let (rows, tasks) = (report::counted(strange.len(), "row"), report::counted(names.len(), "task"));
    note!("{rows} of {tasks} that the fit has not seen: {}{more}", each.collect::<Vec<_>>().join(", "));
}

/// A line for every row, the first one the header; and where they are to be scored, what came of those whose targets are known.
pub(super) fn predicted(
    queries: &[Query],
    (schema, score): (&Schema, bool),
    interval: f64,
    forecast: &dyn Fn(&Query) -> Result<Forecast>,
) -> Result<(Vec<Vec<String>>, Vec<Outcome>)> {
    let mut records = vec![header(&PREDICTIONS)];
    let mut outcomes = Vec::new();
    for query in queries {
        let own = forecast(query)?.prediction(interval);
        if let Some(target) = query.target.filter(|_| score) {
            if let Some(problem) = own.forecast().refuses(target) {
                let column = if schema.targets.is_empty() { &schema.target } else { &query.task };
                return Err(Error::BadTarget { row: query.row, column: column.clone(), value: target, problem: problem.into() });
            }
            outcomes.push(Outcome { task: query.task.clone(), forecast: own.forecast().clone(), target, weight: query.weight });
        }
        records.push(prediction(query, &own));
    }
    if score && outcomes.is_empty() {
        let trials = schema.trials.as_ref().map_or(String::new(), |trials| format!(" (or '{trials}', of which it counts successes)"));
        let problem = format!("--score needs targets: column '{}'{trials} is absent or empty; leave --score out", schema.target);
        return Err(Error::Arguments(problem));
    }
    Ok((records, outcomes))
}

/// Prints scores on stderr.
pub(super) fn note_scores(scores: &Scores) {
    note!("{}", report::scores_text(scores).trim_end());
}

pub(super) fn predict(args: &PredictArgs, quiet: bool, progress: &Progress) -> Result<String> {
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
    if args.format == Format::Json && args.score && args.output.is_none() {
        let problem = "--format json with --score prints scores, and needs -o FILE for the predictions; add it, or leave one out";
        return Err(Error::Arguments(problem.into()));
    }
    let input = progress.open_table(&args.data, Some(&schema.needed()))?;
    let (queries, dropped) = match args.missing {
        Missing::Refuse => (csv::read_queries(input, &source_name(&args.data), &schema)?, 0),
        Missing::Drop => csv::read_whole_queries(input, &source_name(&args.data), &schema)?,
    };
    if dropped > 0 && !quiet {
        note!("{} with missing values not predicted", report::counted(dropped as usize, "row"));
    }
    let known = numbers(&fit);
    let of = |query: &Query| forecast(&fit, &known, query, &schema);
    let (records, outcomes) = predicted(&queries, (&schema, args.score), args.interval, &of)?;
    let rows = if args.format == Format::Json && !args.score { RecordFormat::Json } else { RecordFormat::Csv };
    let text = records_text(records, rows)?;
    if !quiet {
        note_unseen(&fit, &known, &queries);
    }
    let scores = if args.score { Some(fit.scores_of(&outcomes)?) } else { None };
    if let Some(scores) = scores.as_ref().filter(|_| !quiet && args.format == Format::Text) {
        note_scores(scores);
    }
    let Some(path) = &args.output else { return Ok(text) };
    write_whole(path, text.as_bytes())?;
    match scores.filter(|_| args.format == Format::Json) {
        Some(scores) => as_json(&scores),
        None => Ok(String::new()),
    }
}
