//! Which structure predicts best: `cognate compare`.

use super::args::{DataArgs, Format, ModelArgs};
use super::progress::Progress;
use super::run::{json, note_strangers, table};
use crate::compare;
use crate::error::{Error, Result};
use crate::model::Intervals;
use crate::report;
use crate::structure;
use clap::Args;

fn parse_rung(text: &str) -> std::result::Result<String, String> {
    let name = text.to_string();
    structure::rungs(std::slice::from_ref(&name), &structure::Options::default()).map(|_| name.clone()).map_err(|error| error.to_string())
}

#[derive(Debug, Args)]
#[command(
    mut_arg("task", |arg| arg.required_unless_present_any(["formula", "targets"])),
    mut_arg("target", |arg| arg.required_unless_present_any(["formula", "targets"]))
)]
pub(super) struct CompareArgs {
    #[command(flatten)]
    pub table: DataArgs,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Structures to compare, as in fit; graph and full take longest and are left out unless named. A structure that has sizes may be
    /// named with one (factor:2), and else is tried at every size
    #[arg(long, value_delimiter = ',', default_value = "independent,pooled,pooled-intercepts,exchangeable", value_parser = parse_rung)]
    pub structures: Vec<String>,
    /// Folds of the cross-validation
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

pub(super) fn compare(args: &CompareArgs, quiet: bool, progress: &Progress) -> Result<String> {
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
