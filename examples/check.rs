//! A check names the task that does not fit, here one with three times the noise of the others, and is content with a model that gives each task a noise of its own.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Mean, Model, Noise, Prior, Relatedness, Result, Rows};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let prior = Prior::new(Mean::Given(DVector::from_element(3, 1.0)), Relatedness::Identity, DMatrix::identity(3, 3) * 0.5);
    let drawn = gaussian(&prior, 12, 60, NoiseLevel::Sd(1.0), 1)?;
    let mut rows = Rows::new("y", drawn.rows.features());
    for i in 0..drawn.rows.len() {
        let (t, x) = (drawn.rows.task(i), drawn.rows.x(i));
        let signal: f64 = x.iter().enumerate().map(|(k, x)| x * drawn.parameters[(t, k)]).sum();
        let noise = drawn.rows.y(i) - signal;
        rows.push(&drawn.rows.names()[t], x, signal + if t == 4 { 3.0 * noise } else { noise }, 1.0)?;
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    for (noise, misfits) in [(Noise::Shared, true), (Noise::Task, false)] {
        let fit = Model::new(Gaussian { noise }, Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
        let check = fit.check(&rows, 200, 1)?;
        let worst = &check.tasks[0];
        let spread = worst.spread.unwrap_or(f64::NAN);
        println!("{noise:?} noise: {} of 12 tasks do not fit; the worst is {}, spread {spread:.2}", check.misfits(), worst.task);
        for own in &check.pit.coverage {
            println!("  {:.1} % of the targets are in the {:.0} % interval", 100.0 * own.covered, 100.0 * own.level);
        }
        assert_eq!(check.misfits() > 0, misfits);
        assert!(!misfits || worst.task == "t5" && spread > 3.0);
    }
    Ok(())
}
