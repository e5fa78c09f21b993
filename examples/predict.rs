//! Predictions with intervals, scored on pupils held out: schools that share what they know are predicted better than by one model for all, and their intervals hold what they promise.

use cognate::csv::{self, Columns};
use cognate::structure::{Options, by_name};
use cognate::{Gaussian, Model, Result};
use std::path::Path;

fn main() -> Result<()> {
    let features = ["f4", "f5", "f6", "f8", "f9"].map(String::from).to_vec();
    let columns = Columns { task: "school".into(), target: "score".into(), features: Some(features), ..Columns::default() };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/school.csv.gz");
    let table = csv::read(csv::open(&path)?, "school", &columns)?;
    let (train, held) = (table.rows.subset(|i| i % 4 > 0), table.rows.subset(|i| i % 4 == 0));

    let mut errors = Vec::new();
    for name in ["pooled", "exchangeable"] {
        let structure = by_name(name, &Options::default())?;
        let fit = Model::of(Box::new(Gaussian::default()), structure).fit(&train.tasks(&table.design))?;
        let scores = fit.scores(&held)?.all;
        println!("{name}: log density {:.4}, root mean squared error {:.3}", scores.log_density, scores.rmse.unwrap_or(f64::NAN));
        for own in &scores.coverage {
            println!("  {:.1} % of the targets are in the {:.0} % interval", 100.0 * own.covered, 100.0 * own.level);
            assert!((own.covered - own.level).abs() < 0.02);
        }
        let pupil = fit.predict(&held.names()[held.task(0)], held.x(0), 0.9)?;
        println!("  first pupil: {:.1}, 90 % interval {:.1} to {:.1}; was {}", pupil.mean, pupil.lower, pupil.upper, held.y(0));
        errors.extend(scores.rmse);
    }
    assert!(errors[1] < errors[0]);
    Ok(())
}
