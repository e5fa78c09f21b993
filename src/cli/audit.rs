//! Who taught whom: `cognate audit`.

use super::args::TableFormat;
use super::run::{as_json, check_output, csv_text, optional, printed};
use crate::audit::{Audit, Explanation, Gain, Given, Lesson, Overview};
use crate::csv::{self, Schema};
use crate::error::{Error, Result};
use crate::model::Fit;
use crate::report;
use crate::tasks::INTERCEPT;
use clap::Args;
use std::collections::HashMap;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Model file
    pub model: PathBuf,
    /// One task in full: the weight of every donor, what would be predicted without it, and what more rows of it would be worth
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// How many more rows of a task are thought of
    #[arg(long, value_name = "N", default_value_t = 10.0, allow_negative_numbers = true)]
    pub rows: f64,
    /// What one prediction of the task is made of: its columns as 'light=1.5,soil=clay', those of the table of the fit
    #[arg(long, value_name = "COLUMN=VALUE,..", requires = "task")]
    pub predict: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    pub format: TableFormat,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

pub(super) fn audit(args: &AuditArgs, quiet: bool) -> Result<String> {
    if !(args.rows.is_finite() && args.rows > 0.0) {
        return Err(Error::Arguments(format!("--rows {} is no number of more rows; give a positive one, such as 10", args.rows)));
    }
    check_output(args.output.as_deref(), &[&args.model])?;
    let (fit, schema): (Fit, Schema) = Fit::load_with(&args.model)?;
    let audit = Audit::of(&fit)?;
    let on_link = fit.inference().is_some();
    let text = match (&args.task, &args.predict) {
        (None, _) => {
            let most = if args.format == TableFormat::Text { report::SHOWN } else { fit.tasks().len() };
            let overview = audit.overview(most, args.rows)?;
            if args.format != TableFormat::Text && overview.tasks.len() < overview.count && !quiet {
                note!("of {} tasks the {} that are taught most; --task NAME has any", overview.count, overview.tasks.len());
            }
            if overview.allocation.is_none() && !quiet {
                match fit.tasks().are_estimates() {
                    true => note!("the model is of estimates from elsewhere, so that what more rows would be worth is not known"),
                    false => note!("related tasks too many for where more rows would help most; --task NAME has it for one"),
                }
            }
            match args.format {
                TableFormat::Text => report::overview_text(&overview),
                TableFormat::Csv => overview_csv(&overview)?,
                TableFormat::Json => as_json(&overview)?,
            }
        }
        (Some(task), Some(columns)) => {
            let explanation = explanation(&audit, &schema, task, columns)?;
            match args.format {
                TableFormat::Text => report::explanation_text(&explanation, on_link),
                TableFormat::Csv => explanation_csv(&explanation)?,
                TableFormat::Json => as_json(&explanation)?,
            }
        }
        (Some(task), None) => {
            let lesson = audit.lesson(audit.task(task)?, args.rows)?;
            match args.format {
                TableFormat::Text => report::lesson_text(&lesson, on_link),
                TableFormat::Csv => lesson_csv(&lesson)?,
                TableFormat::Json => as_json(&lesson)?,
            }
        }
    };
    printed(text, args.output.as_deref())
}

/// The row of `column=value,..` read as a table of one row, so that texts, contrasts, offsets and exposures mean what they mean there.
fn explanation(audit: &Audit, schema: &Schema, task: &str, columns: &str) -> Result<Explanation> {
    let number = audit.task(task)?;
    let (mut names, mut cells) = (Vec::new(), Vec::new());
    for part in columns.split(',') {
        let Some((name, cell)) = part.split_once('=') else {
            return Err(Error::Arguments(format!("--predict: '{part}' says no value; write column=value, with commas between")));
        };
        names.push(name.trim().to_string());
        cells.push(cell.trim().to_string());
    }
    let others = [&schema.weights, &schema.trials, &schema.offset, &schema.exposure].into_iter().flatten();
    let known: Vec<&String> = schema.codings.iter().map(|own| &own.column).chain(others).collect();
    if let Some(stranger) = names.iter().find(|name| !known.contains(name)) {
        return Err(Error::missing_column(stranger, known));
    }
    let features = schema.codings.iter().map(|own| &own.column).filter(|column| *column != INTERCEPT);
    let needed = features.chain([&schema.offset, &schema.exposure].into_iter().flatten());
    let missing: Vec<String> = needed.filter(|column| !names.contains(column)).map(|column| format!("'{column}'")).collect();
    if !missing.is_empty() {
        return Err(Error::Arguments(format!("--predict says no value of {}; give each one", missing.join(", "))));
    }
    if schema.targets.is_empty() {
        names.push(schema.task.clone());
        cells.push(task.to_string());
    }
    let table = csv_text([names, cells])?;
    let queries = csv::read_queries(table.as_bytes(), "--predict", schema)?;
    let query = queries.iter().find(|query| query.task == task).ok_or_else(|| Error::no_such_task(task, audit.fit().tasks().names()))?;
    Ok(audit.explain(number, &query.x)?.with_offset(query.offset))
}

fn record<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(String::from).to_vec()
}

/// A line a task.
fn overview_csv(overview: &Overview) -> Result<String> {
    let gains =
        overview.allocation.as_ref().map_or_else(HashMap::new, |all| all.tasks.iter().map(|gain| (gain.task.as_str(), gain)).collect());
    let header = record([
        "task",
        "rows",
        "own",
        "mean",
        "prior",
        "effective_donors",
        "strongest_donor",
        "strongest_weight",
        "reduction_own",
        "reduction_others",
        "reduction",
    ]);
    let lines = overview.tasks.iter().map(|own| {
        let gain = gains.get(own.task.as_str());
        let worth = |of: fn(&Gain) -> f64| optional(gain.map(|gain| of(gain)));
        vec![
            own.task.clone(),
            own.rows.to_string(),
            own.own.to_string(),
            own.mean.to_string(),
            own.prior.to_string(),
            own.effective_donors.to_string(),
            optional(own.strongest_donor.clone()),
            optional(own.strongest_weight),
            worth(|gain| gain.own),
            worth(|gain| gain.others),
            worth(Gain::total),
        ]
    });
    csv_text(std::iter::once(header).chain(lines))
}

/// A line a donor, the task itself first.
fn lesson_csv(lesson: &Lesson) -> Result<String> {
    let header = record(["donor", "rows", "weight", "direct", "by_itself", "prediction_without", "sd_without", "reduction"]);
    let line = |own: &Given| {
        let numbers = [own.by_itself, own.prediction_without, own.sd_without, own.reduction].map(optional);
        let first = vec![own.task.clone(), own.rows.to_string(), own.weight.to_string(), own.direct.to_string()];
        [first, numbers.to_vec()].concat()
    };
    csv_text(std::iter::once(header).chain(std::iter::once(&lesson.itself).chain(&lesson.donors).map(line)))
}

/// A line a part.
fn explanation_csv(explanation: &Explanation) -> Result<String> {
    let line = |part: &str, task: &str, value: f64| vec![part.to_string(), task.to_string(), value.to_string()];
    let mut lines = vec![record(["part", "task", "value"])];
    lines.push(line("prediction", &explanation.task, explanation.prediction));
    lines.push(line("mean", "", explanation.mean));
    lines.push(line("own", &explanation.task, explanation.own));
    lines.push(line("offset", "", explanation.offset));
    lines.extend(explanation.parts.iter().map(|part| line("neighbour", &part.task, part.value)));
    lines.extend(explanation.mean_weights.iter().map(|part| line("weight in the mean", &part.task, part.value)));
    csv_text(lines)
}
