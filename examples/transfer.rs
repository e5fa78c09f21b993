//! A new task from few rows: what thirty others have in common makes three rows worth something, and its intervals know how little that is.

use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Exchangeable, FeatureCovariance, Gaussian, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let (known, new, features) = (30, 20, 4);
    let prior = Prior::new(Mean::Given(DVector::from_element(features, 1.0)), Relatedness::Identity, DMatrix::identity(features, features));
    let drawn = gaussian(&prior, known + new, 40, NoiseLevel::Sd(1.0), 1)?;
    let rows = &drawn.rows;
    let design = Design::varying(rows.features()).without_intercept();
    let model = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Scalar));
    let fit = model.fit(&rows.of_tasks(|t| t < known).tasks(&design))?;

    let newcomers = rows.of_tasks(|t| t >= known);
    let mut errors = Vec::new();
    for count in [0, 3, 10] {
        let mut few = newcomers.subset(|i| i % 40 < count);
        newcomers.names().iter().for_each(|name| few.name_task(name));
        let transfer = fit.transfer(&few.tasks(&design), None)?;
        let (mut square, mut held) = (0.0, 0);
        for t in known..known + new {
            let own = transfer.task(&rows.names()[t]).expect("it was named");
            let (estimate, covariance) = (own.coefficients(), own.covariance());
            for k in 0..features {
                let error = (estimate[k] - drawn.parameters[(t, k)]).abs();
                square += error * error / (new * features) as f64;
                held += usize::from(error < 1.96 * covariance[(k, k)].sqrt());
            }
        }
        println!("{count:>2} rows: mean squared error {square:.3}, 95 % intervals hold {held} of {} parameters", new * features);
        assert!(held as f64 > 0.88 * (new * features) as f64);
        errors.push(square);
    }
    assert!(errors[1] < 0.7 * errors[0] && errors[2] < 0.5 * errors[1]);
    Ok(())
}
