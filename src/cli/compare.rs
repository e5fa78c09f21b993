//! Which structure predicts best: `cognate compare`.

use super::args::{DataArgs, Format, ModelArgs};
use super::progress::Progress;
use super::run::{check_output, json, note_strangers, quoted, table, without};
use super::rung::RungParser;
use crate::compare;
use crate::error::{Error, Result};
use crate::model::Intervals;
use crate::report;
use crate::structure;
use clap::Args;
use std::path::{Path, PathBuf};

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
    /// Structures to compare, as in fit, or all (known and kernel where something is known of the tasks, full of up to 50 tasks). One that has
    /// sizes may be named with one (factor:2) and is tried at every size else; exchangeable:full is that with such a feature covariance and else
    /// all three are tried; factor:2:robust has scales of single tasks. With --robust every structure that may be is tried both ways
    #[arg(long, value_delimiter = ',', default_value = "all", value_parser = RungParser { all: true })]
    pub structures: Vec<String>,
    /// Folds of the cross-validation
    #[arg(long, default_value_t = 5)]
    pub folds: usize,
    /// How often to cross-validate, each time with other folds (default: as often as makes 3,000 held-out rows, at most three times)
    #[arg(long)]
    pub repeats: Option<usize>,
    /// Hold out a quarter of the rows of every task first, choose by the rest, and report how the pick predicts them
    #[arg(long)]
    pub outer: bool,
    /// File in which every fit that is done is noted: after an interruption the same command goes on from there
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// How well tasks that no fit has seen are predicted after so many of their rows (default: 0,1,2,5,10,20), against learning them alone: tasks are held out whole, in ten parts
    #[arg(long, value_name = "ROWS", value_delimiter = ',', num_args = 0..=1, require_equals = true, default_missing_value = "0,1,2,5,10,20", conflicts_with_all = ["outer", "resume"])]
    pub few_shot: Option<Vec<usize>>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

pub(super) fn compare(args: &CompareArgs, words: &[String], quiet: bool, progress: &Progress) -> Result<String> {
    args.model.check_columns(&args.table)?;
    let read: Vec<&Path> = std::iter::once(args.table.data.as_path()).chain(args.model.files()).collect();
    check_output(args.resume.as_deref(), &read)?;
    let (table, implied) = table(&args.table, &args.model, quiet, progress)?;
    let options = args.model.options(&args.table, implied)?;
    note_strangers(options.relation.as_ref(), table.rows.names(), quiet);
    let tasks = table.rows.names().len();
    let fewer = |size: Option<usize>| size.map(|size| size.min(tasks.saturating_sub(1)).max(1));
    let options = structure::Options { rank: fewer(options.rank), clusters: fewer(options.clusters), ..options };
    let mut rungs = structure::rungs(&args.structures, &options)?;
    // What stands for several rungs stands for those worth trying.
    let varying = table.design.varying_features().len();
    let worth = |rung: &String| Ok(args.structures.contains(rung) || structure::is_worth_trying(rung, tasks, varying)?);
    let kept = rungs.iter().map(worth).collect::<Result<Vec<bool>>>()?;
    if kept.contains(&true) {
        rungs = rungs.into_iter().zip(kept).filter(|(_, worth)| *worth).map(|(rung, _)| rung).collect();
    }
    let of_families = args.table.family_column.is_some();
    let names: Vec<&str> = rungs.iter().map(String::as_str).filter(|name| !of_families || *name != "independent").collect();
    if names.is_empty() {
        let problem = "independent tasks share nothing, so that families need not be compared together; name other --structures";
        return Err(Error::Arguments(problem.into()));
    }
    // A ladder has plain and robust rungs by their names.
    let options = structure::Options { robust: false, ..options };
    for flag in args.model.idle_everywhere(&args.table, &names, &options)?.into_iter().filter(|_| !quiet) {
        note!("{flag} means nothing to these structures and was ignored");
    }
    let builder = args.model.builder(&args.table);
    let ladder = compare::ladder(&names, &options, move |structure| builder(structure).intervals(Intervals::PlugIn))?;
    if let Some(numbers) = &args.few_shot {
        // Alone they may still know how noisy the others are: of two rows nobody knows it.
        let name = if options.shared_noise == Some(false) { "independent" } else { "independent:shared-noise" };
        let alone = compare::ladder(&[name], &options, args.model.builder(&args.table))?.remove(0);
        let ladder: Vec<compare::Candidate> = ladder.into_iter().filter(|own| !own.name().starts_with("independent")).collect();
        let how = compare::FewShot { rows: numbers.clone(), seed: args.model.seed, ..Default::default() };
        let curves = compare::few_shot(&table.rows, &table.design, &ladder, &alone, &how, &progress.of_fits())?;
        return Ok(match args.format {
            Format::Text => report::curves_text(&curves),
            Format::Json => json(&serde_json::json!({ "curves": curves })),
        });
    }
    let by = if args.outer { compare::with_outer } else { compare::folds };
    let key = format!("{:?} {:?}", args.table, args.model);
    let how = compare::Options { folds: args.folds, repeats: args.repeats, seed: args.model.seed, journal: args.resume.clone(), key };
    let comparison = by(&table.rows, &table.design, &ladder, &how, &progress.of_fits())?;
    if let (None, Some(rung)) = (&comparison.best, comparison.rungs.first()) {
        let reason = rung.refused.clone().unwrap_or_default();
        return Err(Error::Arguments(format!("no structure could be fitted in every fold; {}: {reason}", rung.name)));
    }
    let command = |name: &Option<String>| name.as_ref().and_then(|own| comparison.rung(own)).map(|rung| repeat(words, &rung.arguments));
    let (best, simplest) = (command(&comparison.best), command(&comparison.simplest));
    Ok(match args.format {
        Format::Text => {
            let said =
                |what: &str, command: &Option<String>| command.as_ref().map_or_else(String::new, |own| format!("to fit {what}: {own}\n"));
            let commands = match best == simplest {
                true => said("it", &best),
                false => said("the best", &best) + &said("the simplest", &simplest),
            };
            report::comparison_text(&comparison) + "\n" + &commands
        }
        Format::Json => {
            let mut value = serde_json::to_value(&comparison).map_err(|error| Error::Arguments(error.to_string()))?;
            value["command"] = best.into();
            value["command_of_simplest"] = simplest.into();
            json(&value)
        }
    })
}

/// The command that fits a rung: that of the comparison without what makes it one.
fn repeat(words: &[String], rung: &[String]) -> String {
    const WITH_VALUE: [&str; 8] = ["--structures", "--folds", "--repeats", "--resume", "--format", "--threads", "--rank", "--groups"];
    const ALONE: [&str; 3] = ["--outer", "--robust", "--quiet"];
    let is_said = rung.iter().any(|own| own == "--feature-covariance").then_some("--feature-covariance");
    let with_value: Vec<&str> = WITH_VALUE.into_iter().chain(is_said).collect();
    let kept = without(words.iter().skip(1).filter(|word| *word != "compare"), &with_value, &ALONE);
    quoted(["cognate".to_string(), "fit".to_string()].iter().chain(kept).chain(rung))
}
