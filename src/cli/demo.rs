//! The main job on the School data inside the program: the ladder on a held-out quarter, the best rung, its graph.

use super::args::Format;
use super::progress::Progress;
use super::report::{self as pages, PageArgs};
use super::run::{as_json, check_output};
use crate::compare::{self, Comparison};
use crate::csv::{self, Columns};
use crate::error::{Error, Result};
use crate::likelihood::Gaussian;
use crate::model::{Fit, Intervals, Model};
use crate::page::Page;
use crate::report;
use crate::structure;
use clap::Args;
use std::fmt::Write as _;

const SCHOOL: &[u8] = include_bytes!("../../data/school.csv.gz");
/// One bit a row, the highest first: 1 trains, 0 tests.
const SPLIT: &[u8] = include_bytes!("../../data/school_split0.bin");
const LADDER: [&str; 5] = ["independent", "pooled", "pooled-intercepts", "exchangeable", "graph"];

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    #[command(flatten)]
    pub page: PageArgs,
    /// Output format: json has the comparison and every fit
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

pub(super) fn demo(args: &DemoArgs, words: &[String], progress: &Progress) -> Result<String> {
    check_output(args.page.report.as_deref(), &[])?;
    let columns = Columns { task: "school".into(), target: "score".into(), ..Columns::default() };
    let table = csv::read(flate2::read::GzDecoder::new(SCHOOL), "the School data", &columns)?;
    let train = |row: usize| SPLIT[row / 8] >> (7 - row % 8) & 1 == 1;
    let ladder = compare::ladder(&LADDER, &structure::Options::default(), |structure| {
        Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn)
    })?;
    let (comparison, fits) = compare::holdout(&table.rows, &table.design, train, &ladder, &progress.of_fits())?;
    if let Some(path) = &args.page.report
        && let Some(fit) = comparison.best.as_deref().and_then(|best| fit_of(&comparison, &fits, best))
    {
        let compared = serde_json::to_value(&comparison).map_err(|error| Error::Arguments(error.to_string()))?;
        pages::write(Page::of(fit, 0)?.with_comparison(compared)?, words, path)?;
    }
    match args.format {
        Format::Text => Ok(page(&comparison, &fits)),
        Format::Json => {
            let named = comparison.rungs.iter().zip(&fits);
            let fits = named.filter_map(|(rung, fit)| Some((rung.name.clone(), report::fit_json(fit.as_ref()?))));
            as_json(&serde_json::json!({ "comparison": comparison, "fits": fits.collect::<serde_json::Map<_, _>>() }))
        }
    }
}

fn fit_of<'f>(comparison: &Comparison, fits: &'f [Option<Fit>], name: &str) -> Option<&'f Fit> {
    comparison.rungs.iter().position(|rung| rung.name == name).and_then(|i| fits[i].as_ref())
}

fn page(comparison: &Comparison, fits: &[Option<Fit>]) -> String {
    let mut text = String::from(
        "School data: exam scores of 15,362 pupils in 139 schools; each school is a task with 27 features.\n\
         Three quarters of every school's pupils are fitted, the others predicted.\n\n",
    );
    text.push_str(&report::comparison_text(comparison));
    if let Some(fit) = fit_of(comparison, fits, "graph") {
        let _ = writeln!(text, "\nThe learned task graph:\n\n{fit}");
    }
    if let Some(fit) = comparison.best.as_deref().filter(|best| *best != "graph").and_then(|best| fit_of(comparison, fits, best)) {
        let _ = writeln!(text, "The best structure:\n\n{fit}");
    }
    text
}
