//! Sharing parameters wins: twelve instruments that measure the same, a dozen readings each; one model for all predicts best.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::structure::{ALL, Options, Sharing, is_worth_trying, rungs};
use cognate::{Design, Gaussian, Intervals, Mean, Model, Prior, Relatedness, compare, report};
use nalgebra::{DMatrix, DVector};

fn main() -> cognate::Result<()> {
    let (tasks, readings) = (12, 12);
    let common = DVector::from_vec(vec![1.0, 0.5, -0.5, 0.0]);
    let prior = Prior::new(Mean::Given(common), Relatedness::Identity, DMatrix::zeros(4, 4));
    let drawn = gaussian(&prior, tasks, readings, NoiseLevel::Sd(1.0), 3)?;

    let mut names = rungs(&[ALL.to_string()], &Options::default())?;
    names.retain(|name| is_worth_trying(name, tasks, 5).unwrap_or(false));
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&names.iter().map(String::as_str).collect::<Vec<_>>(), &Options::default(), build)?;
    let design = Design::varying(drawn.rows.features());
    let comparison = compare::folds(&drawn.rows, &design, &ladder, &compare::Options::default(), &|_, _, _| {})?;
    print!("{}", report::comparison_text(&comparison));
    assert_eq!(comparison.verdict.map(|verdict| verdict.sharing), Some(Sharing::Parameters));
    Ok(())
}
