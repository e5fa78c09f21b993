//! The commands, and the flags that all of them have.

use super::args::{FitArgs, Format, TableFormat};
use super::audit::AuditArgs;
use super::check::CheckArgs;
use super::colour::ColourArg;
use super::compare::CompareArgs;
use super::demo::DemoArgs;
use super::graph::{GraphArgs, GraphFormat};
use super::manual::{CompletionsArgs, ManArgs};
use super::plot::PlotArgs;
use super::predict::{PredictArgs, TasksArgs};
use super::relatedness::RelatednessArgs;
use super::report::ReportArgs;
use super::simulate::SimulateArgs;
use super::statistics::StatisticsArgs;
use super::transfer::{TransferArgs, UpdateArgs};
use clap::{Parser, Subcommand};

/// Finds out which prediction tasks are related, how strongly and with what certainty, and uses it to predict better.
#[derive(Debug, Parser)]
#[command(name = "cognate", version, about)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub command: Command,
    /// Worker threads (default: all cores; results do not depend on it)
    #[arg(long, global = true, value_parser = parse_threads)]
    pub threads: Option<usize>,
    /// Colours
    #[arg(long, global = true, value_enum, default_value_t = ColourArg::Auto)]
    pub color: ColourArg,
    /// No progress and no notes on stderr
    #[arg(long, global = true)]
    pub quiet: bool,
    /// The command as it was given.
    #[arg(skip)]
    pub words: Vec<String>,
}

impl Cli {
    /// With the words of the command, which the report of a fit repeats.
    pub(super) fn with_words(mut self, words: Vec<String>) -> Self {
        if let Command::Fit(args) = &mut self.command {
            args.words.clone_from(&words);
        }
        Cli { words, ..self }
    }
}

fn parse_threads(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|n| (1..=256).contains(n)).ok_or_else(|| "give a number of threads from 1 to 256".to_string())
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the main job on data inside the program: the ladder of structures, the best one, its graph
    Demo(DemoArgs),
    /// Fits one structure to a table
    Fit(FitArgs),
    /// Sums a table in one pass for fits of Gaussian models; sums of several tables add, and subtract
    Statistics(StatisticsArgs),
    /// Compares structures by cross-validation
    Compare(CompareArgs),
    /// Prints every task's parameters with their uncertainty, as CSV
    Tasks(TasksArgs),
    /// Predicts the rows of a table, as CSV
    Predict(PredictArgs),
    /// Prints the parameters of tasks that a model has not seen, or predicts their rows, as CSV
    Transfer(TransferArgs),
    /// Adds rows of known tasks to a model, without the rows that it was fitted to
    Update(UpdateArgs),
    /// Prints the task graph of a model
    Graph(GraphArgs),
    /// Who taught whom: donors of every task, what is left without them, where more rows would help most
    Audit(AuditArgs),
    /// How related tasks are and how sure that is: intervals of correlations, how much of their parameters tasks share
    Relatedness(RelatednessArgs),
    /// Whether a model can be believed: with rows, calibration, replicated data and tasks that do not fit; without, what is singular, unlike or influential
    Check(CheckArgs),
    /// Writes a page for a browser: the verdict, the task graph, relatedness, parameters with intervals, calibration, all in one file
    Report(ReportArgs),
    /// Draws a figure for a paper, as SVG or PNG: the task graph, relatedness, parameters with intervals, the climb, calibration
    Plot(PlotArgs),
    /// Draws a table from a prior, with the truth beside it
    Simulate(SimulateArgs),
    /// Prints a script by which a shell completes commands and flags
    Completions(CompletionsArgs),
    /// Prints the manual, a page a command, or writes it to a folder
    Man(ManArgs),
}

impl Command {
    /// Whether it prints a page to read, and no data for programs.
    pub(super) fn prints_page(&self) -> bool {
        match self {
            Command::Demo(args) => args.format == Format::Text,
            Command::Fit(args) => args.format == Format::Text,
            Command::Compare(args) => args.format == Format::Text,
            Command::Graph(args) => args.format == GraphFormat::Text,
            Command::Audit(args) => args.format == TableFormat::Text,
            Command::Relatedness(args) => args.format == TableFormat::Text,
            Command::Check(args) => args.format == TableFormat::Text,
            _ => false,
        }
    }
}
