//! `cognate statistics`: the sums of a table, which add and subtract, and fits of them.

use super::args::{DataArgs, FitArgs, Missing};
use super::command::{Cli, Command};
use super::progress::Progress;
use super::run::{Beside, Output, check_output, conclude, note_left_out, source_name, structure};
use crate::csv::{self, Columns, Schema, Summed, Table};
use crate::error::{Error, Result};
use crate::model::{are_sums, is_model, load_sums, save_sums};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory};
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
#[command(mut_arg("task", |arg| arg.required_unless_present("formula")), mut_arg("target", |arg| arg.required_unless_present("formula")))]
pub(super) struct StatisticsArgs {
    #[command(flatten)]
    pub table: DataArgs,
    /// File to write
    #[arg(short, long)]
    pub output: PathBuf,
}

/// Files of sums beside or in the place of a table.
#[derive(Debug, Args)]
pub(super) struct SumArgs {
    /// More files that 'cognate statistics' wrote, where DATA is one: their rows are added
    #[arg(value_name = "STATISTICS")]
    pub more: Vec<PathBuf>,
    /// File that 'cognate statistics' wrote of rows to be left out, which are among those of DATA
    #[arg(long, value_name = "STATISTICS")]
    pub without: Vec<PathBuf>,
}

impl SumArgs {
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        self.more.iter().chain(&self.without).map(PathBuf::as_path)
    }
}

/// The sums of a table for a Gaussian model: in one pass where it is plain, else by way of its rows.
pub(super) fn sum(args: &DataArgs, columns: &Columns, progress: &Progress) -> Result<Summed> {
    let is_file = args.data.is_file();
    let open = || progress.open_table(&args.data, columns.needed().as_deref());
    if let Some(summed) = is_file.then(open).transpose()?.and_then(|input| csv::sum(input, columns)) {
        return Ok(summed);
    }
    let table = csv::read(open()?, &source_name(&args.data), columns)?;
    let Table { rows, design, schema, missing_targets, dropped, empty_tasks } = table;
    Ok(Summed { tasks: rows.tasks(&design), schema, missing_targets, dropped, empty_tasks })
}

pub(super) fn statistics(args: &StatisticsArgs, quiet: bool, progress: &Progress) -> Result<String> {
    check_output(Some(&args.output), &[&args.table.data])?;
    if args.table.shares_rows() || args.table.family_column.is_some() || args.table.trials.is_some() || args.table.exposure.is_some() {
        let problem = "sums are enough for Gaussian models of separate rows only; leave --targets, --row, --family-column, --trials and --exposure \
                       out, or fit the table itself";
        return Err(Error::Arguments(problem.into()));
    }
    let (columns, _) = args.table.columns()?;
    let summed = sum(&args.table, &columns, progress)?;
    if !quiet {
        note_left_out((summed.missing_targets, summed.dropped, &summed.empty_tasks), &summed.schema, false);
        note!("{} rows of {} tasks summed", summed.tasks.rows(), summed.tasks.len());
    }
    save_sums(&summed, args.table.formula.as_deref(), &args.output)?;
    Ok(String::new())
}

/// Refuses a fit of a table whose columns are not named.
pub(super) fn complete(cli: Cli) -> std::result::Result<Cli, clap::Error> {
    if let Command::Fit(args) = &cli.command {
        let table = &args.table;
        let named = table.formula.is_some() || table.targets.is_some() || args.summaries.summaries;
        let missing: Vec<&str> = [("--task <TASK>", &table.task), ("--target <TARGET>", &table.target)]
            .into_iter()
            .filter_map(|(flag, value)| value.is_none().then_some(flag))
            .collect();
        if !named && !missing.is_empty() && !are_given(args) && !is_model(&table.data) {
            let problem = format!("the following required arguments were not provided:\n  {}", missing.join("\n  "));
            let mut all = Cli::command();
            all.build();
            let fit = all.find_subcommand_mut("fit").expect("fit is a command");
            return Err(fit.error(ErrorKind::MissingRequiredArgument, problem));
        }
    }
    Ok(cli)
}

/// Whether columns, or what to do with them, were named.
fn names_columns(table: &DataArgs) -> bool {
    let names = [&table.task, &table.target, &table.row, &table.formula, &table.weights, &table.trials, &table.offset, &table.exposure];
    let lists = [&table.targets, &table.features, &table.graph_features];
    names.into_iter().chain([&table.family_column]).any(Option::is_some)
        || lists.into_iter().any(Option::is_some)
        || !table.factors.is_empty()
        || table.no_task_intercept
        || table.varying != ["all"]
        || table.missing != Missing::Refuse
}

/// Whether DATA is a file of sums.
pub(super) fn are_given(args: &FitArgs) -> bool {
    are_sums(&args.table.data)
}

pub(super) fn fit(args: &FitArgs, quiet: bool, progress: &Progress) -> Result<Output> {
    if names_columns(&args.table) || args.summaries.summaries || !args.model.is_gaussian() {
        let problem = "statistics are sums of named columns for a Gaussian model; leave the flags of columns, --summaries and --family out, or give \
                       the table";
        return Err(Error::Arguments(problem.into()));
    }
    if args.stability.stability.is_some() {
        return Err(Error::Arguments(
            "--stability leaves rows out, and sums have none to tell apart; give the table, or leave --stability out".into(),
        ));
    }
    if args.guard.guard {
        return Err(Error::Arguments(
            "--guard holds rows out, and sums have none to tell apart; give the table, or leave --guard out".into(),
        ));
    }
    let (mut tasks, schema, formula) = load_sums(&args.table.data)?;
    for path in &args.sums.more {
        let (more, other, _) = load_sums(path)?;
        check_same(&schema, &other, path)?;
        tasks = tasks.plus(&more)?;
    }
    for path in &args.sums.without {
        let (fewer, other, _) = load_sums(path)?;
        check_same(&schema, &other, path)?;
        tasks = tasks.minus(&fewer)?;
    }
    let table = DataArgs { formula, ..args.table.clone() };
    let (_, implied) = table.columns()?;
    args.uncertainty.check(tasks.design())?;
    let (builder, options) = (args.model.builder(&table), args.model.options(&args.table, implied)?);
    let make = |quiet: bool| Ok(builder(structure(args, &options, tasks.names(), tasks.design(), quiet)?));
    conclude(args, (make(quiet)?, &|| make(true), Beside::default()), &tasks, &schema, quiet, progress)
}

/// Sums of rows that were read in another way do not add.
fn check_same(first: &Schema, other: &Schema, path: &Path) -> Result<()> {
    let columns = |schema: &Schema| schema.codings.iter().map(|coding| coding.column.clone()).collect::<Vec<_>>();
    let told = |name: &Option<String>| name.as_ref().map_or_else(|| "none".to_string(), |name| format!("'{name}'"));
    let pairs = [("--weights", &first.weights, &other.weights), ("--offset", &first.offset, &other.offset)];
    let problem = if let Some((flag, ours, theirs)) = pairs.into_iter().find(|(_, ours, theirs)| ours != theirs) {
        format!("its {flag} column is {} and that of the first {}; sum both tables in the same way", told(theirs), told(ours))
    } else if columns(first) != columns(other) {
        let [ours, theirs] = [first, other].map(|schema| columns(schema).join(", "));
        format!("its feature columns are {theirs}, and those of the first {ours}; sum both tables with the same --features")
    } else if first.codings != other.codings {
        "its categories are not those of the first; sum both tables with the same ones, or give the features as numbers".into()
    } else {
        return Ok(());
    };
    Err(Error::StatisticsFile { path: path.into(), problem })
}
