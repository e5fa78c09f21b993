//! `cognate fit --summaries`: tasks from estimates and their covariances instead of rows.

use super::args::FitArgs;
use super::progress::Progress;
use super::run::{Beside, Output, conclude, source_name, structure};
use crate::csv::{self, SummaryTable};
use crate::error::Result;
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct SummaryArgs {
    /// DATA has one line a task instead, from any program: its estimates in columns named by feature, an empty cell where it has none, and
    /// their covariances in columns cov:a:b and cov:a:a (as simulate --summaries writes them) or standard errors in columns se:a. The noise
    /// is as given; the tasks are in the first column unless --task names another; predictions have no noise
    #[arg(long, conflicts_with_all = ["target", "targets", "row", "formula", "no_task_intercept", "weights", "trials", "offset", "exposure", "family_column", "factors", "missing",
        "family", "inference", "noise"])]
    pub summaries: bool,
}

pub(super) fn fit(args: &FitArgs, quiet: bool, progress: &Progress) -> Result<Output> {
    let (columns, _) = args.table.columns()?;
    let SummaryTable { tasks, schema, unused, empty_tasks } =
        csv::read_summaries(progress.watch(csv::open(&args.table.data)?), &source_name(&args.table.data), &columns)?;
    if !quiet {
        if !unused.is_empty() {
            note!("columns that say nothing of the estimates were left out: {}", unused.join(", "));
        }
        if !empty_tasks.is_empty() {
            note!("tasks without any estimate, known from the others only: {}", empty_tasks.join(", "));
        }
    }
    args.uncertainty.check(tasks.design())?;
    let options = args.model.options(&args.table, None)?;
    let make = |quiet: bool| args.model.of_summaries(structure(args, &options, tasks.names(), tasks.design(), quiet)?);
    conclude(args, (make(quiet)?, &|| make(true), Beside::default()), &tasks, &schema, quiet, progress)
}
