//! Factors: sixty tasks differ along one hidden direction, and the loadings of each are found, with intervals.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Factor, FeatureCovariance, Gaussian, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (tasks, features) = (60, 40);
    // Between -2 and 2, in no order.
    let loadings = DMatrix::from_fn(tasks, 1, |t, _| ((t * 37) % tasks) as f64 / (tasks - 1) as f64 * 4.0 - 2.0);
    let truth = Relatedness::LowRank { loadings: loadings.clone(), uniquenesses: DVector::from_element(tasks, 0.5) };
    let prior = Prior::new(Mean::Given(DVector::zeros(features)), truth, DMatrix::identity(features, features));
    let rows = gaussian(&prior, tasks, 80, NoiseLevel::Sd(1.0), 1)?.rows;
    let table = rows.tasks(&Design::varying(rows.features()).without_intercept());
    let fit = Model::new(Gaussian::default(), Factor::new(1, FeatureCovariance::Scalar)).fit(&table)?;
    let found = fit.loadings().expect("the structure has factors");
    println!("one factor makes {:.0} % of the variance between tasks", 100.0 * found.shares[0]);

    // Loadings are known but for their sign, at tr Sigma = T.
    let scale = (tasks as f64 / (loadings.norm_squared() + 0.5 * tasks as f64)).sqrt();
    let sign = found.loadings.column(0).dot(&loadings.column(0)).signum();
    let (mut held, mut square) = (0, 0.0);
    for t in 0..tasks {
        let (own, error) = (sign * found.loadings[(t, 0)], found.standard_errors[(t, 0)]);
        let truth = scale * loadings[(t, 0)];
        held += usize::from((own - truth).abs() < 1.96 * error);
        square += (own - truth).powi(2) / (scale * scale * loadings.norm_squared());
        if t < 4 {
            println!("t{}: {own:.2} (se {error:.2}), is {truth:.2}", t + 1);
        }
    }
    println!("95 % intervals hold {held} of {tasks} loadings; relative squared error {square:.3}");
    assert!(held >= 52 && square < 0.05 && found.shares[0] > 0.5);
    Ok(())
}
