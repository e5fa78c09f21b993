//! How many rows a new task needs: with few of them it gains much by what other tasks know, with many little.

use cognate::compare::{self, FewShot};
use cognate::simulate::{NoiseLevel, gaussian};
use cognate::structure::{Options, by_name};
use cognate::{Design, Gaussian, Intervals, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let prior = Prior::new(Mean::Given(DVector::from_element(4, 1.0)), Relatedness::Identity, DMatrix::identity(4, 4) * 0.2);
    let rows = gaussian(&prior, 30, 60, NoiseLevel::Sd(1.0), 1)?.rows;
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let candidate = |name: &'static str| compare::Candidate::new(name, move || Ok(build(by_name(name, &Options::default())?)));
    let candidates = [candidate("pooled"), candidate("exchangeable:diagonal")];
    let how = FewShot { rows: vec![0, 5, 10, 40], ..FewShot::default() };
    let design = Design::varying(rows.features());
    let curves = compare::few_shot(&rows, &design, &candidates, &candidate("independent:shared-noise"), &how, &|_, _, _| {})?;
    for curve in &curves {
        for shot in &curve.shots {
            let text = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            println!("{:<22} {:>2} rows: log density {:>7}, gain {:>6}", curve.name, shot.rows, text(shot.score), text(shot.gain));
        }
    }
    let gain = |curve: usize, shot: usize| curves[curve].shots[shot].gain.unwrap_or(f64::NAN);
    assert_eq!(curves[2].name, "exchangeable:diagonal");
    assert!(gain(2, 1) > 0.1 && gain(2, 1) > gain(2, 2) && gain(2, 2) > gain(2, 3) && gain(2, 3) > -0.01);
    // A single model for all does not learn what is a task's own.
    assert!(gain(1, 3) < 0.0);
    Ok(())
}
