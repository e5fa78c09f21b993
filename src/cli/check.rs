//! Whether a model can be believed: `cognate check`.

use super::args::TableFormat;
use super::progress::Progress;
use super::run::{as_json, check_output, csv_text, optional, printed, source_name};
use crate::check::{Check, Examination, OutlyingTask};
use crate::csv::{self, Query, Schema};
use crate::error::{Error, Result};
use crate::model::Fit;
use crate::report;
use crate::tasks::Rows;
use clap::Args;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Model file
    pub model: PathBuf,
    /// CSV table of rows with targets, of the fit or held out (.gz too; - for stdin); without one, what the model file alone tells
    pub data: Option<PathBuf>,
    /// How many replications of the rows are drawn (0: none)
    #[arg(long, default_value_t = 200)]
    pub draws: usize,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Output format: csv has a line a task
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    pub format: TableFormat,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

pub(super) fn check(args: &CheckArgs, quiet: bool, progress: &Progress) -> Result<String> {
    let read: Vec<&Path> = std::iter::once(&args.model).chain(&args.data).map(PathBuf::as_path).collect();
    check_output(args.output.as_deref(), &read)?;
    let (fit, schema): (Fit, Schema) = Fit::load_with(&args.model)?;
    let text = match &args.data {
        Some(data) => {
            let check = checked((&fit, &schema, data), (args.draws, args.seed), quiet, progress)?;
            match args.format {
                TableFormat::Text => report::check_text(&check, &fit),
                TableFormat::Csv => tasks_csv(&check)?,
                TableFormat::Json => as_json(&check)?,
            }
        }
        None => {
            let examination = fit.examination(args.seed);
            match args.format {
                TableFormat::Text => report::examination_text(&examination, &fit),
                TableFormat::Csv => examination_csv(&examination)?,
                TableFormat::Json => as_json(&examination)?,
            }
        }
    };
    printed(text, args.output.as_deref())
}

/// Reads rows with targets and holds a fit against them, with so many replications by that seed.
pub(super) fn checked(
    (fit, schema, data): (&Fit, &Schema, &Path),
    (draws, seed): (usize, u64),
    quiet: bool,
    progress: &Progress,
) -> Result<Check> {
    let source = source_name(data);
    let queries = csv::read_queries(progress.open_table(data, Some(&schema.needed()))?, &source, schema)?;
    let (with_target, without): (Vec<&Query>, Vec<&Query>) = queries.iter().partition(|query| query.target.is_some());
    if with_target.is_empty() {
        let trials = schema.trials.as_ref().map_or(String::new(), |trials| format!(" (or '{trials}', of which it counts successes)"));
        let problem = match queries.is_empty() {
            _ if fit.tasks().are_estimates() => {
                "the model is of estimates, not of rows; leave the table out: cognate check MODEL".to_string()
            }
            true => format!("{source} has no rows; give at least one with a target"),
            false => {
                format!("no row has a target: column '{}'{trials} is absent or empty; give rows whose targets are known", schema.target)
            }
        };
        return Err(Error::Arguments(problem));
    }
    if !without.is_empty() && !quiet {
        note!("{} without a target left out", report::counted(without.len(), "row"));
    }
    let design = fit.tasks().design();
    let mut rows = Rows::new(&schema.target, &design.features()[usize::from(design.has_intercept())..]);
    let in_table = |error: Error| match error {
        Error::BadTarget { row, value, problem, .. } => {
            let query = with_target[row as usize - 1];
            let column = if schema.targets.is_empty() { &schema.target } else { &query.task };
            Error::BadTarget { row: query.row, column: column.clone(), value, problem }
        }
        Error::TooLargeValue { row, column, value } => Error::TooLargeValue { row: with_target[row as usize - 1].row, column, value },
        Error::BadWeight { row, column, value } => Error::BadWeight { row: with_target[row as usize - 1].row, column, value },
        other => other,
    };
    for query in &with_target {
        let target = query.target.expect("these have one");
        rows.push_with_offset(&query.task, &query.x, target, query.weight, query.offset).map_err(in_table)?;
        if let Some(family) = &query.family {
            rows.set_group(&query.task, family)?;
        }
    }
    fit.check(&rows, draws, seed).map_err(in_table)
}

/// A line a task, those that fit worst first.
fn tasks_csv(check: &Check) -> Result<String> {
    const HEADER: [&str; 13] =
        ["task", "rows", "known", "fitted", "mean", "mean_se", "z", "spread", "spread_low", "spread_high", "beyond", "p_value", "q_value"];
    let records = check.tasks.iter().map(|own| {
        vec![
            own.task.clone(),
            own.rows.to_string(),
            own.known.to_string(),
            own.fitted.to_string(),
            own.mean.to_string(),
            own.mean_se.to_string(),
            optional(own.z),
            optional(own.spread),
            optional(own.spread_interval.map(|(low, _)| low)),
            optional(own.spread_interval.map(|(_, high)| high)),
            own.beyond.to_string(),
            optional(own.p_value),
            optional(own.q_value),
        ]
    });
    csv_text(std::iter::once(HEADER.map(String::from).to_vec()).chain(records))
}

/// A line a task, the most influential first where that is known.
fn examination_csv(examination: &Examination) -> Result<String> {
    let mut header: Vec<String> =
        ["task", "distance", "directions", "p_value", "q_value", "farthest", "farthest_z"].map(String::from).to_vec();
    let influence = examination.influence.as_ref();
    let outlying: &[OutlyingTask] = examination.outlying.as_ref().map_or(&[], |own| &own.tasks);
    let by_name: HashMap<&str, &OutlyingTask> = outlying.iter().map(|own| (own.task.as_str(), own)).collect();
    if let Some(influence) = influence {
        header.extend(["on_variances", "on_mean", "on_relatedness"].map(String::from));
        header.extend(influence.names.iter().map(|name| format!("change of {name}")));
    }
    let known = |own: Option<&&OutlyingTask>| {
        vec![
            optional(own.map(|own| own.distance)),
            optional(own.map(|own| own.directions)),
            optional(own.map(|own| own.p_value)),
            optional(own.map(|own| own.q_value)),
            own.map(|own| own.farthest.clone()).unwrap_or_default(),
            optional(own.map(|own| own.farthest_z)),
        ]
    };
    let records: Vec<Vec<String>> = match influence {
        None => outlying.iter().map(|own| [vec![own.task.clone()], known(Some(&own))].concat()).collect(),
        Some(influence) => influence
            .tasks
            .iter()
            .map(|own| {
                let moved = vec![own.on_variances.to_string(), own.on_mean.to_string(), optional(own.on_relatedness)];
                let changes = own.changes.iter().map(f64::to_string).collect();
                [vec![own.task.clone()], known(by_name.get(own.task.as_str())), moved, changes].concat()
            })
            .collect(),
    };
    csv_text(std::iter::once(header).chain(records))
}
