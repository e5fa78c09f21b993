//! From flags to a result: each command reads, fits or loads, and hands back its text.

use super::args::{DataArgs, FitArgs, Format, ModelArgs, RecordFormat};
use super::audit;
use super::check;
use super::command::{Cli, Command};
use super::compare;
use super::demo;
use super::edges;
use super::graph;
use super::guard::{self, Guarded};
use super::manual;
use super::origin::{self, Origin};
use super::plot;
use super::predict;
use super::progress::Progress;
use super::report as pages;
use super::simulate;
use super::statistics;
use super::summaries;
use super::transfer;
use crate::csv::{self, Columns, Schema, Table};
use crate::em::Step;
use crate::error::{Error, Result};
use crate::model::{Fit, Model, write_whole};
use crate::page::Page;
use crate::relatedness;
use crate::relatedness::Stability;
use crate::report;
use crate::structure::{self, FeatureCovariance, KnownRelation, Structure};
use crate::tasks::{Design, Tasks};
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
        Command::Demo(args) => demo::demo(args, &cli.words, &progress).map(Output::from),
        Command::Fit(args) => fit(args, cli.quiet, &progress),
        Command::Statistics(args) => statistics::statistics(args, cli.quiet, &progress).map(Output::from),
        Command::Compare(args) => compare::compare(args, &cli.words, cli.quiet, &progress).map(Output::from),
        Command::Tasks(args) => predict::tasks(args).map(Output::from),
        Command::Predict(args) => predict::predict(args, cli.quiet, &progress).map(Output::from),
        Command::Transfer(args) => transfer::transfer(args, cli.quiet, &progress).map(Output::from),
        Command::Update(args) => transfer::update(args, &cli.words, cli.quiet, &progress).map(Output::from),
        Command::Graph(args) => graph::graph(args, cli.quiet, &progress).map(Output::from),
        Command::Audit(args) => audit::audit(args, cli.quiet).map(Output::from),
        Command::Relatedness(args) => super::relatedness::relatedness(args, cli.quiet).map(Output::from),
        Command::Check(args) => check::check(args, cli.quiet, &progress).map(Output::from),
        Command::Report(args) => pages::report(args, &cli.words, cli.quiet, &progress).map(Output::from),
        Command::Plot(args) => plot::plot(args, cli.quiet, &progress).map(Output::from),
        Command::Simulate(args) => simulate::simulate(args, &progress).map(Output::from),
        Command::Completions(args) => Ok(manual::completions(args).into()),
        Command::Man(args) => manual::man(args).map(Output::from),
    }
}

/// Reads the table and notes on stderr what was left out.
pub(super) fn table(args: &DataArgs, model: &ModelArgs, quiet: bool, progress: &Progress) -> Result<(Table, Option<FeatureCovariance>)> {
    let (columns, implied) = args.columns()?;
    let columns = Columns { own_units: args.targets.is_some() && model.is_gaussian(), ..columns };
    let table = csv::read(progress.open_table(&args.data, columns.needed().as_deref())?, &source_name(&args.data), &columns)?;
    if !quiet {
        let left_out = (table.missing_targets, table.dropped, table.empty_tasks.as_slice());
        note_left_out(left_out, &table.schema, args.targets.is_some());
    }
    Ok((table, implied))
}

/// Notes on stderr what was left out of a table (missing targets, rows dropped, tasks without rows), and its categories.
pub(super) fn note_left_out((missing_targets, dropped, empty_tasks): (u64, u64, &[String]), schema: &Schema, wide: bool) {
    if missing_targets > 0 {
        let (thing, what) = if wide { ("target", "missing") } else { ("row", "without a target left out") };
        note!("{} {what}", report::counted(missing_targets as usize, thing));
    }
    if dropped > 0 {
        note!("{} with missing values dropped", report::counted(dropped as usize, "row"));
    }
    if !empty_tasks.is_empty() {
        note!("tasks without any usable row left out: {}", empty_tasks.join(", "));
    }
    for coding in &schema.codings {
        if let Some(levels) = &coding.levels {
            note!("column '{}' has {} levels, reference '{}'", coding.column, levels.len(), levels[0]);
        }
    }
}

pub(super) fn note_strangers(relation: Option<&KnownRelation>, tasks: &[String], quiet: bool) {
    if let Some(KnownRelation::Graph(pairs) | KnownRelation::Covariance(pairs)) = relation
        && let Some(note) = edges::strangers(pairs, tasks)
        && !quiet
    {
        note!("{note}");
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
    check_output(args.page.report.as_deref(), &[read, args.save.iter().map(PathBuf::as_path).collect()].concat())?;
    if args.page.report.is_some() && args.page.report == args.save {
        return Err(Error::Arguments("the model and its report cannot be the same file; name two".into()));
    }
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
    if args.guard.guard {
        let (table, implied) = table(&args.table, &args.model, quiet, progress)?;
        return guard::fit(args, table, implied, quiet, progress);
    }
    // Of sums no part of the rows can be left out.
    let whole = args.stability.stability.is_some();
    let sums_are_enough = !whole && args.model.is_gaussian() && !args.table.shares_rows() && args.table.family_column.is_none();
    let (tasks, rows, schema, implied) = if sums_are_enough {
        let (columns, implied) = args.table.columns()?;
        let summed = statistics::sum(&args.table, &columns, progress)?;
        if !quiet {
            note_left_out((summed.missing_targets, summed.dropped, &summed.empty_tasks), &summed.schema, false);
        }
        (summed.tasks, None, summed.schema, implied)
    } else {
        let (Table { rows, design, schema, .. }, implied) = table(&args.table, &args.model, quiet, progress)?;
        let kept = whole.then(|| rows.clone());
        (rows.tasks(&design).with_rows(rows)?, kept, schema, implied)
    };
    args.uncertainty.check(tasks.design())?;
    let (builder, options) = (args.model.builder(&args.table), args.model.options(&args.table, implied)?);
    let make = |quiet: bool| Ok(builder(structure(args, &options, tasks.names(), tasks.design(), quiet)?));
    let model = make(quiet)?;
    let seeded = |seed: u64| Ok(builder(structure::by_name(&args.structure, &structure::Options { seed, ..options.clone() })?));
    let parts = (args.stability.stability.unwrap_or_default(), args.model.seed);
    let stability = |fit: &Fit| match &rows {
        Some(rows) => relatedness::stability(rows, tasks.design(), fit, parts, &seeded).map(Some),
        None => Ok(None),
    };
    conclude(args, (model, &|| make(true), Beside { guarded: None, stability: Some(&stability) }), &tasks, &schema, quiet, progress)
}

type FindStability<'a> = dyn Fn(&Fit) -> Result<Option<Stability>> + 'a;

/// What else is found out beside a fit.
#[derive(Default)]
pub(super) struct Beside<'a> {
    /// A guard may have let some tasks go.
    pub guarded: Option<Guarded>,
    /// How stable its relations are, where that is asked.
    pub stability: Option<&'a FindStability<'a>>,
}

/// The structure that was asked for, and notes on stderr of what means nothing to it or to the tasks.
pub(super) fn structure(
    args: &FitArgs,
    options: &structure::Options,
    tasks: &[String],
    design: &Design,
    quiet: bool,
) -> Result<Box<dyn Structure>> {
    let structure = structure::by_name(&args.structure, options)?;
    let idle_evidence = (args.evidence.is_exact() && !structure.has_marginal()).then_some("--evidence");
    let twice = args.model.said_twice(&args.structure)?;
    for flag in args.model.idle(&args.table, structure.as_ref()).into_iter().chain(twice).chain(idle_evidence).filter(|_| !quiet) {
        note!("{flag} means nothing to the structure '{}' and was ignored", args.structure);
    }
    note_strangers(options.relation.as_ref(), tasks, quiet);
    let apart = structure.relates() && !design.unrelated_features().is_empty();
    if apart && options.feature_covariance == Some(FeatureCovariance::Full) && !quiet {
        note!("the feature covariance has correlations among the graph features and among the others, but none between the two");
    }
    Ok(structure)
}

/// Fits, saves, tests and prints; `make` makes the model again.
pub(super) fn conclude(
    args: &FitArgs,
    (model, make, beside): (Model, &dyn Fn() -> Result<Model>, Beside),
    tasks: &Tasks,
    schema: &Schema,
    quiet: bool,
    progress: &Progress,
) -> Result<Output> {
    let model = model.intervals(args.uncertainty.intervals()).exact_evidence(args.evidence.is_exact());
    let fit = model.fit_with(tasks, &|step| progress.say(describe(step)))?;
    let fit = match beside.guarded {
        Some((guard, alone)) => fit.guarded(guard.gains, guard.detached, alone)?,
        None => fit,
    };
    let tests = args.uncertainty.run(&fit, tasks, make)?;
    if let Some(path) = args.save.as_ref().filter(|_| fit.converged() || !args.strict) {
        let origin = Origin { schema: schema.clone(), commands: vec![origin::of_model(&args.words)] };
        fit.save_with(&origin, path)?;
    }
    if let Some(path) = args.page.report.as_ref().filter(|_| fit.converged() || !args.strict) {
        progress.say("the report".into());
        pages::write(Page::of(&fit, args.model.seed)?, &args.words, path)?;
    }
    let stability = match beside.stability {
        Some(find) => find(&fit)?,
        None => None,
    };
    let text = match args.format {
        Format::Text => {
            let more = stability.as_ref().map_or_else(String::new, report::stability_text);
            fit.to_string() + &report::variance_tests_text(&tests) + &more
        }
        Format::Json => {
            let mut all = report::tested_json(&fit, &tests);
            if let Some(stability) = &stability {
                all["stability"] = serde_json::to_value(stability).map_err(|error| Error::Arguments(error.to_string()))?;
            }
            json(&all)
        }
    };
    let failed = !fit.converged();
    let note =
        format!("the fit did not converge after {} iterations; try a simpler structure or fewer varying features", fit.trace().len());
    if failed && !args.strict && !quiet {
        note!("{note}");
    }
    Ok(Output { text, complaint: (failed && args.strict).then_some(note) })
}

/// The words of a command without these flags, those of the first list with their values.
pub(super) fn without<'w>(words: impl Iterator<Item = &'w String>, with_value: &[&str], alone: &[&str]) -> Vec<&'w String> {
    let (mut words, mut kept) = (words, Vec::new());
    while let Some(word) = words.next() {
        let name = word.split_once('=').map_or(word.as_str(), |(name, _)| name);
        if with_value.contains(&name) {
            if name == word {
                words.next();
            }
        } else if !alone.contains(&name) {
            kept.push(word);
        }
    }
    kept
}

/// Words as a shell reads them.
pub(super) fn quoted<'w>(words: impl Iterator<Item = &'w String>) -> String {
    words.map(|word| shlex::try_quote(word).map_or_else(|_| word.clone(), |own| own.into_owned())).collect::<Vec<_>>().join(" ")
}

/// A value as JSON text.
pub(super) fn as_json(value: &impl serde::Serialize) -> Result<String> {
    Ok(json(&serde_json::to_value(value).map_err(|error| Error::Arguments(error.to_string()))?))
}

/// A cell of a value that may be missing.
pub(super) fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// The text for stdout: nothing where it is written to a file.
pub(super) fn printed(text: String, output: Option<&Path>) -> Result<String> {
    match output {
        None => Ok(text),
        Some(path) => write_whole(path, text.as_bytes()).map(|()| String::new()),
    }
}

/// Records as CSV text, or as JSON: an object a record, columns but those of names and texts as numbers, null where a cell is empty.
pub(super) fn records_text(records: Vec<Vec<String>>, format: RecordFormat) -> Result<String> {
    const NAMES: [&str; 2] = ["task", "feature"];
    if format == RecordFormat::Csv {
        return csv_text(records);
    }
    let Some((header, rows)) = records.split_first() else { return as_json(&[(); 0]) };
    let value = |(column, cell): (&String, &String)| {
        let value = match cell.parse::<f64>() {
            _ if NAMES.contains(&column.as_str()) => cell.as_str().into(),
            _ if column == "row" => cell.parse::<u64>().map_or(serde_json::Value::Null, Into::into),
            Ok(number) => number.into(),
            Err(_) => serde_json::Value::Null,
        };
        (column.clone(), value)
    };
    let object = |row: &Vec<String>| header.iter().zip(row).map(value).collect::<serde_json::Map<_, _>>();
    as_json(&rows.iter().map(object).collect::<Vec<_>>())
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
