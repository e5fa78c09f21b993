//! How related tasks are and how sure that is: `cognate relatedness`.

use super::args::TableFormat;
use super::run::{as_json, check_output, csv_text, optional, printed};
use crate::error::Result;
use crate::model::Fit;
use crate::relatedness::{Options, Pair, Relations};
use crate::report;
use clap::Args;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(super) struct RelatednessArgs {
    /// Model file
    pub model: PathBuf,
    /// Pairs of one task only
    #[arg(long, value_name = "NAME")]
    pub task: Option<String>,
    /// Probability of the intervals
    #[arg(long, value_name = "LEVEL", default_value_t = 0.95, allow_negative_numbers = true)]
    pub interval: f64,
    /// Draws from the posterior (default: 1000, of a task graph of more than 300 tasks 200)
    #[arg(long, value_name = "N")]
    pub draws: Option<usize>,
    /// Strength of the prior on the covariance of the structure full, in the place of one drawn with it
    #[arg(long, value_name = "NU", allow_negative_numbers = true)]
    pub prior_strength: Option<f64>,
    /// Seed of the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Text)]
    pub format: TableFormat,
    /// File to write instead of stdout
    #[arg(short, long)]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct StabilityArgs {
    /// How far relations move in refits without each of so many parts of the rows (5), and where edges or starts are drawn with other seeds; for structures that
    /// learn them (clusters, factor, graph, full, kernel)
    #[arg(long, value_name = "PARTS", num_args = 0..=1, require_equals = true, default_missing_value = "5", conflicts_with_all = ["guard", "summaries"])]
    pub stability: Option<usize>,
}

pub(super) fn relatedness(args: &RelatednessArgs, quiet: bool) -> Result<String> {
    check_output(args.output.as_deref(), &[&args.model])?;
    let fit = Fit::load(&args.model)?;
    let options =
        Options { draws: args.draws, seed: args.seed, level: args.interval, strength: args.prior_strength, task: args.task.clone() };
    let relations = Relations::of(&fit, &options)?;
    if args.format == TableFormat::Csv && !quiet {
        relations.notes.iter().for_each(|own| note!("{own}"));
    }
    let text = match args.format {
        TableFormat::Text => report::relations_text(&relations),
        TableFormat::Csv => pairs_csv(&relations)?,
        TableFormat::Json => as_json(&relations)?,
    };
    printed(text, args.output.as_deref())
}

/// A line a pair.
fn pairs_csv(relations: &Relations) -> Result<String> {
    let header = [
        "task",
        "other",
        "correlation",
        "low",
        "high",
        "sd",
        "positive",
        "negative",
        "lfsr",
        "contraction",
        "fitted",
        "together",
        "shared",
        "shared_low",
        "shared_high",
        "shared_features",
    ];
    let line = |own: &Pair| {
        let sharing = own.sharing.as_ref();
        let numbers = [
            own.correlation,
            own.low,
            own.high,
            own.sd,
            own.positive,
            own.negative,
            own.local_false_sign_rate,
            own.contraction,
            own.fitted,
            own.together,
            sharing.map(|own| own.share),
            sharing.map(|own| own.low),
            sharing.map(|own| own.high),
        ];
        let numbers = numbers.map(optional);
        let features = sharing.map_or(0, |own| own.features).to_string();
        [vec![own.first.clone(), own.second.clone()], numbers.to_vec(), vec![features]].concat()
    };
    csv_text(std::iter::once(header.map(String::from).to_vec()).chain(relations.pairs.iter().map(line)))
}
