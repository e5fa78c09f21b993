//! More rows of known tasks without the old ones: rows of the same kind are no news, louder ones are drift, and a task that has changed is named.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Mean, Model, Prior, Relatedness, Result, Rows, Update};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let prior = Prior::new(Mean::Given(DVector::from_element(3, 1.0)), Relatedness::Identity, DMatrix::identity(3, 3) * 0.5);
    let drawn = gaussian(&prior, 20, 40, NoiseLevel::Sd(1.0), 1)?.rows;
    let design = Design::varying(drawn.features());
    let model = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal));
    let fit = model.fit(&drawn.tasks_of(&design, |i| i % 2 == 0))?;

    // The other half of the rows, with something added to the target.
    let update = |what: &str, added: &dyn Fn(usize) -> f64| -> Result<Update> {
        let mut more = Rows::new("y", drawn.features());
        for i in (1..drawn.len()).step_by(2) {
            more.push(&drawn.names()[drawn.task(i)], drawn.x(i), drawn.y(i) + added(i), 1.0)?;
        }
        let update = fit.update(&more.tasks(&design))?;
        let p = update.drift().map_or(f64::NAN, |drift| drift.p_value);
        let changed: Vec<&str> = update.changed(0.01).iter().map(|own| own.task.as_str()).collect();
        println!("{what}: hyperparameters still fit with p = {p:.1e}; changed: {changed:?}");
        Ok(update)
    };
    let same = update("as before  ", &|_| 0.0)?;
    let louder = update("louder     ", &|i| if i % 4 == 1 { 2.0 } else { -2.0 })?;
    let other = update("t5 changed ", &|i| if drawn.task(i) == 4 { 3.0 * drawn.x(i)[0] } else { 0.0 })?;

    let p = |update: &Update| update.drift().map_or(f64::NAN, |drift| drift.p_value);
    assert!(p(&same) > 0.01 && same.changed(0.01).is_empty() && same.fit().tasks().rows() == 800);
    assert!(p(&louder) < 1e-6);
    assert!(other.changed(0.01).iter().map(|own| own.task.as_str()).eq(["t5"]));
    Ok(())
}
