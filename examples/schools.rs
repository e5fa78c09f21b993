//! From a table to a fit, a prediction for a known school and one for a school never seen.

use cognate::csv::{self, Columns};
use cognate::{Exchangeable, FeatureCovariance, Gaussian, Model, Result};
use std::path::Path;

fn main() -> Result<()> {
    let columns = Columns { task: "school".into(), target: "score".into(), ..Columns::default() };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/school.csv.gz");
    let table = csv::read(csv::open(&path)?, "school", &columns)?;
    let tasks = table.rows.tasks(&table.design);
    let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    let pupil = table.rows.x(0);
    let known = fit.predict("1", pupil, 0.95)?;
    let unseen = fit.predict("a new school", pupil, 0.95)?;
    println!("school 1:     {:.1} ({:.1} to {:.1})", known.mean, known.lower, known.upper);
    println!("a new school: {:.1} ({:.1} to {:.1})", unseen.mean, unseen.lower, unseen.upper);
    assert!(unseen.sd > known.sd);
    Ok(())
}
