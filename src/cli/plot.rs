//! Figures for papers: `cognate plot`.

use super::check::checked;
use super::progress::Progress;
use super::run::check_output;
use crate::csv::Schema;
use crate::error::{Error, Result};
use crate::model::{Fit, write_whole};
use crate::plot::Figure;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Expected share of false edges where none is asked for.
const RATE: f64 = 0.1;

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(super) enum FigureArg {
    /// The task graph: edges at a false discovery rate, or the strongest relations
    Graph,
    /// The heat map of relatedness, the likest tasks side by side
    Relatedness,
    /// Estimates of all tasks with intervals of 95 %, a panel a feature
    Parameters,
    /// The climb of the log likelihood, and of the log posterior
    Trace,
    /// Where the targets of DATA fall in their forecasts, and how many lie in central intervals
    Calibration,
}

#[derive(Debug, Args)]
pub(super) struct PlotArgs {
    /// What to draw
    #[arg(value_enum)]
    figure: FigureArg,
    /// Model file
    pub model: PathBuf,
    /// CSV table of rows with targets, of the fit or held out (.gz too; - for stdin): for calibration, and for that only
    pub data: Option<PathBuf>,
    /// File to write, an SVG or a PNG by the end of its name
    #[arg(short, long, value_name = "FILE.svg|FILE.png")]
    pub output: PathBuf,
    /// Graph: the largest set of edges whose expected share of false ones is at most this (default: 0.1; structures that learn no graph have the signs of
    /// correlations in their place, or no rate)
    #[arg(long, value_name = "RATE")]
    pub fdr: Option<f64>,
    /// Parameters: a feature to draw; once more for another (default: up to twelve, those in which tasks differ most)
    #[arg(long = "feature", value_name = "NAME")]
    pub features: Vec<String>,
    /// Width in pixels, 96 to the inch (default: what suits the figure)
    #[arg(long, value_name = "PIXELS")]
    pub width: Option<u32>,
    /// Height in pixels, 96 to the inch (default: what suits the figure)
    #[arg(long, value_name = "PIXELS")]
    pub height: Option<u32>,
    /// PNG: how many of its pixels there are to one of the figure (1: width and height are its own; 3 for print)
    #[arg(long, default_value_t = 1.0)]
    pub scale: f64,
    /// Seed of what is drawn
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// How a figure is written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Svg,
    Png,
}

fn kind(path: &Path) -> Result<Kind> {
    match path.extension().map(|end| end.to_string_lossy().to_lowercase()).as_deref() {
        Some("svg") => Ok(Kind::Svg),
        Some("png") => Ok(Kind::Png),
        _ => Err(Error::Arguments(format!(
            "'{}' ends in neither .svg nor .png, which say how a figure is written; give a name that ends in one of the two",
            path.display()
        ))),
    }
}

impl PlotArgs {
    /// Refuses what the figure has no use for.
    fn check(&self, kind: Kind) -> Result<()> {
        let idle = [
            ("--fdr", self.fdr.is_some() && self.figure != FigureArg::Graph, "the figure 'graph'"),
            ("--feature", !self.features.is_empty() && self.figure != FigureArg::Parameters, "the figure 'parameters'"),
            ("a table", self.data.is_some() && self.figure != FigureArg::Calibration, "the figure 'calibration'"),
            ("--scale", self.scale != 1.0 && kind == Kind::Svg, "a PNG"),
        ];
        match idle.iter().find(|(_, is_idle, _)| *is_idle) {
            Some((flag, _, home)) => Err(Error::Arguments(format!("{flag} belongs to {home}; leave it out"))),
            None => Ok(()),
        }
    }
}

pub(super) fn plot(args: &PlotArgs, quiet: bool, progress: &Progress) -> Result<String> {
    let kind = kind(&args.output)?;
    args.check(kind)?;
    let read: Vec<&Path> = std::iter::once(&args.model).chain(&args.data).map(PathBuf::as_path).collect();
    check_output(Some(&args.output), &read)?;
    let load = || Fit::load(&args.model);
    let figure = match (args.figure, &args.data) {
        (FigureArg::Graph, _) => Figure::graph(&load()?, args.fdr.unwrap_or(RATE), args.seed)?,
        (FigureArg::Relatedness, _) => Figure::relatedness(&load()?)?,
        (FigureArg::Parameters, _) => Figure::parameters(&load()?, &args.features)?,
        (FigureArg::Trace, _) => Figure::trace(&load()?)?,
        (FigureArg::Calibration, Some(data)) => {
            let (fit, schema): (Fit, Schema) = Fit::load_with(&args.model)?;
            Figure::calibration(&checked((&fit, &schema, data), (0, args.seed), quiet, progress)?)?
        }
        (FigureArg::Calibration, None) => {
            let problem =
                "calibration is of forecasts against rows with targets; give their table: cognate plot calibration MODEL DATA -o FILE";
            return Err(Error::Arguments(problem.into()));
        }
    };
    if args.fdr.is_some() && !figure.is_at_rate() {
        let problem = "--fdr needs probabilities, which the relations of this model have none of; leave it out";
        return Err(Error::Arguments(problem.into()));
    }
    let figure = figure.with_size(args.width, args.height)?;
    let bytes = match kind {
        Kind::Svg => figure.svg()?.into_bytes(),
        Kind::Png => figure.png(args.scale)?,
    };
    write_whole(&args.output, &bytes)?;
    Ok(String::new())
}
