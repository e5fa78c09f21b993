//! Learning structure wins: thirty sensors along a line, each with a hundred coefficients that it all but shares with its neighbours, which nobody has named.

use cognate::simulate::{Layout, NoiseLevel, gaussian, task_graph};
use cognate::structure::{Options, Sharing};
use cognate::{Design, Gaussian, Intervals, Mean, Model, Prior, Relatedness, compare, report};
use nalgebra::{DMatrix, DVector};

fn main() -> cognate::Result<()> {
    const FEATURES: usize = 100;
    let names: Vec<String> = (1..=30).map(|k| format!("sensor {k}")).collect();
    let graph = task_graph(Layout::Chain, &names, 0.45..0.49, 5)?;
    let prior = Prior::new(Mean::Given(DVector::zeros(FEATURES)), Relatedness::Graph(graph), DMatrix::identity(FEATURES, FEATURES));
    let drawn = gaussian(&prior, names.len(), 150, NoiseLevel::Ratio(1.0), 5)?;

    let ladder = ["independent", "pooled", "exchangeable:scalar", "factor:1:scalar", "factor:2:scalar", "graph:scalar"];
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&ladder, &Options::default(), build)?;
    let design = Design::varying(drawn.rows.features());
    let comparison = compare::folds(&drawn.rows, &design, &ladder, &compare::Options { folds: 3, ..Default::default() }, &|_, _, _| {})?;
    print!("{}", report::comparison_text(&comparison));
    assert_eq!(comparison.verdict.map(|verdict| verdict.sharing), Some(Sharing::Structure));
    Ok(())
}
