//! What a model knows of tasks that it has not seen, and more rows of those that it has: `cognate transfer` and `cognate update`.

use super::args::{Format, RecordFormat};
use super::known;
use super::origin::{Origin, of_model};
use super::predict::{PARAMETERS, check_interval, forecast, header, note_scores, numbers, parameters, predicted};
use super::progress::Progress;
use super::run::{as_json, check_output, printed, records_text, source_name};
use crate::csv::{self, Columns, Query, Schema};
use crate::error::{Error, Result};
use crate::model::Fit;
use crate::report;
use crate::tasks::Tasks;
use crate::transfer::ALARM;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Model file
    pub model: PathBuf,
    /// CSV table of the new tasks, with the columns of the fit (.gz too; - for stdin). A task whose targets are all empty has no rows, and
    /// is known by its name alone
    pub data: PathBuf,
    /// Tasks of the fit that are to teach the new ones, and no others (default: all)
    #[arg(long, value_delimiter = ',', value_name = "TASKS")]
    pub from: Option<Vec<String>>,
    /// Table of rows to predict instead of printing parameters, those of new tasks by what DATA says of them
    #[arg(long, value_name = "FILE")]
    pub predict: Option<PathBuf>,
    /// Print scores of the predictions on stderr, as predict does
    #[arg(long, requires = "predict")]
    pub score: bool,
    /// Descriptors of the new tasks, where the fit has descriptors
    #[arg(long, value_name = "FILE")]
    pub descriptors: Option<PathBuf>,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
    /// Probability of the intervals
    #[arg(long, default_value_t = 0.95, allow_negative_numbers = true)]
    pub interval: f64,
    /// Format
    #[arg(long, value_enum, default_value_t = RecordFormat::Csv)]
    pub format: RecordFormat,
}

pub(super) fn transfer(args: &TransferArgs, quiet: bool, progress: &Progress) -> Result<String> {
    let (mut fit, schema): (Fit, Schema) = Fit::load_with(&args.model)?;
    let reach = check_interval(args.interval)?;
    let read = [&args.model, &args.data].into_iter().chain(&args.predict).chain(&args.descriptors).map(PathBuf::as_path);
    check_output(args.output.as_deref(), &read.collect::<Vec<_>>())?;
    if let Some(path) = &args.descriptors {
        fit.place(&known::read_descriptors(path, &schema.task)?)?;
    }
    let tasks = read_more(&args.data, &fit, &schema, progress)?;
    let from: Option<Vec<&str>> = args.from.as_ref().map(|names| names.iter().map(String::as_str).collect());
    let transfer = fit.transfer(&tasks, from.as_deref())?;
    if !quiet {
        let (new, without) = (tasks.len(), (0..tasks.len()).filter(|t| tasks.statistics(*t).rows() == 0).count());
        let sources = report::counted(transfer.sources().count(), "task");
        note!("{}, {without} without rows, from {sources} of the fit", report::counted(new, "new task"));
        if transfer.undecided() > 0 {
            let directions = report::counted(transfer.undecided(), "direction");
            note!("the sources say nothing of {directions} of the mean, which is that of all tasks there");
        }
    }
    let records = match &args.predict {
        None => {
            let names = fit.tasks().design().features();
            let lines = transfer.tasks().iter().flat_map(|task| {
                let share = task.own_share().map(|share| share.to_string()).unwrap_or_default();
                parameters((task.name(), names), (&task.coefficients(), &task.covariance()), reach, &share)
            });
            std::iter::once(header(&PARAMETERS)).chain(lines).collect::<Vec<_>>()
        }
        Some(path) => {
            let queries = csv::read_queries(progress.open_table(path, Some(&schema.needed()))?, &source_name(path), &schema)?;
            let known = numbers(&fit);
            let of = |query: &Query| match transfer.task(&query.task) {
                Some(task) => task.forecast(&query.x, query.weight, query.offset),
                None => forecast(&fit, &known, query, &schema),
            };
            let (records, outcomes) = predicted(&queries, (&schema, args.score), args.interval, &of)?;
            if args.score && !quiet {
                note_scores(&fit.scores_of(&outcomes)?);
            }
            records
        }
    };
    printed(records_text(records, args.format)?, args.output.as_deref())
}

#[derive(Debug, Args)]
pub(super) struct UpdateArgs {
    /// Model file
    pub model: PathBuf,
    /// CSV table of more rows of its tasks, with the columns of the fit (.gz too; - for stdin); the rows of the fit are not needed
    pub data: PathBuf,
    /// File to write the model with all rows to; the model file itself may be it
    #[arg(short, long)]
    pub output: PathBuf,
    /// Format: json prints drift and changes on stdout, every task with its new rows
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

pub(super) fn update(args: &UpdateArgs, words: &[String], quiet: bool, progress: &Progress) -> Result<String> {
    check_output(Some(&args.output), &[&args.data])?;
    let (fit, mut origin): (Fit, Origin) = Fit::load_with(&args.model)?;
    let update = fit.update(&read_more(&args.data, &fit, &origin.schema, progress)?)?;
    origin.commands.push(of_model(words));
    update.fit().save_with(&origin, &args.output)?;
    if !quiet {
        report::update_notes(&update, ALARM).iter().for_each(|line| note!("{line}"));
    }
    match args.format {
        Format::Text => Ok(String::new()),
        Format::Json => as_json(&report::update_json(&update)),
    }
}

/// Rows, or summaries, as the fit was made of.
fn read_more(path: &Path, fit: &Fit, schema: &Schema, progress: &Progress) -> Result<Tasks> {
    if !schema.targets.is_empty() {
        let problem =
            "the targets of a wide table are its tasks, so that a new task, or more rows of some, asks for another table; fit that anew";
        return Err(Error::Arguments(problem.into()));
    }
    if fit.tasks().are_estimates() {
        let features = schema.codings.iter().map(|coding| coding.column.clone()).collect();
        let columns = Columns { task: schema.task.clone(), features: Some(features), ..Columns::default() };
        return Ok(csv::read_summaries(progress.watch(csv::open(path)?), &source_name(path), &columns)?.tasks);
    }
    let input = progress.open_table(path, Some(&schema.needed()))?;
    let rows = csv::read_more(input, &source_name(path), schema)?;
    let tasks = rows.tasks(fit.tasks().design());
    if fit.inference().is_some() { tasks.with_rows(rows) } else { Ok(tasks) }
}
