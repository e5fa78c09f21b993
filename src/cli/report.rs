//! A fit as a page for a browser: `cognate report`, and `--report` of other commands.

use super::check::checked;
use super::origin::{Origin, command};
use super::progress::Progress;
use super::run::check_output;
use crate::error::{Error, Result};
use crate::model::{Fit, write_whole};
use crate::page::Page;
use clap::Args;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Model file
    pub model: PathBuf,
    /// CSV table of rows with targets, of the fit or held out (.gz too; - for stdin), for the calibration of forecasts
    pub data: Option<PathBuf>,
    /// HTML file to write: one file with everything in it, which asks nothing of the network
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// What 'cognate compare --format json' printed, for the ladder, the verdict and the gains of tasks; once more for curves of --few-shot
    #[arg(long, value_name = "FILE")]
    pub compare: Vec<PathBuf>,
    /// How many replications of the rows of DATA are drawn (0: none)
    #[arg(long, default_value_t = 200)]
    pub draws: usize,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct PageArgs {
    /// HTML file to write the report of the fit in, as 'cognate report' does
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

pub(super) fn report(args: &ReportArgs, words: &[String], quiet: bool, progress: &Progress) -> Result<String> {
    let read: Vec<&Path> = std::iter::once(&args.model).chain(&args.data).chain(&args.compare).map(PathBuf::as_path).collect();
    check_output(Some(&args.output), &read)?;
    let (fit, Origin { schema, commands }): (Fit, Origin) = Fit::load_with(&args.model)?;
    let comparisons = args.compare.iter().map(|path| comparison(path)).collect::<Result<Vec<_>>>()?;
    progress.say("relations, donors and parameters".into());
    let mut page = Page::of(&fit, args.seed)?.with_history(&commands).with_command(&command(words));
    for (path, comparison) in args.compare.iter().zip(comparisons) {
        page = page.with_comparison(comparison).map_err(|error| in_file(path, &error))?;
    }
    if let Some(data) = &args.data {
        page = page.with_check(&checked((&fit, &schema, data), (args.draws, args.seed), quiet, progress)?);
    }
    write_whole(&args.output, page.html().as_bytes())?;
    Ok(String::new())
}

/// Writes the page of a fit that was just made.
pub(super) fn write(page: Page, words: &[String], path: &Path) -> Result<()> {
    write_whole(path, page.with_command(&command(words)).html().as_bytes())
}

fn in_file(path: &Path, error: &dyn std::fmt::Display) -> Error {
    Error::Arguments(format!("--compare '{}': {error}", path.display()))
}

fn comparison(path: &Path) -> Result<serde_json::Value> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::io(path, source))?;
    serde_json::from_str(&text).map_err(|error| {
        in_file(path, &format!("it is no JSON ({error}); give the file that 'cognate compare --format json' was written to"))
    })
}
