//! Targets of the same rows: errors of three blood values of a patient are correlated, and the correlation is learned beside the parameters instead of passing for a relation of the tasks.

use cognate::{CorrelatedGaussian, Design, Exchangeable, FeatureCovariance, Gaussian, Model, Result, Rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const VALUES: [&str; 3] = ["iron", "ferritin", "zinc"];

fn main() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { random.sample(StandardNormal) };
    let mut rows = Rows::new("level", &["age", "dose"]);
    for patient in 0..300 {
        let (age, dose, common) = (normal(), normal(), normal());
        // The first two go together, .8 of their variance; the third by itself.
        let noise = [0.8f64.sqrt() * common + 0.2f64.sqrt() * normal(), 0.8f64.sqrt() * common + 0.2f64.sqrt() * normal(), normal()];
        for (t, value) in VALUES.iter().enumerate() {
            let level = 1.0 + 0.5 * t as f64 + 0.3 * age + (1.0 - t as f64) * dose + noise[t];
            rows.push_of_unit(&format!("patient {patient}"), value, &[age, dose], level, 1.0)?;
        }
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
    let structure = || Exchangeable::new(FeatureCovariance::Diagonal);
    let fit = Model::new(CorrelatedGaussian::default(), structure()).fit(&tasks)?;
    let errors = fit.residual_correlation().expect("the tasks share rows");
    for (s, t) in [(0, 1), (0, 2), (1, 2)] {
        println!("errors of {} and {}: {:.2}", VALUES[s], VALUES[t], errors[(s, t)]);
    }
    let independent = Model::new(Gaussian::default(), structure()).fit(&tasks)?;
    println!("log-likelihood {:.1}, with independent errors {:.1}", fit.log_likelihood(), independent.log_likelihood());
    assert!((errors[(0, 1)] - 0.8).abs() < 0.06 && errors[(0, 2)].abs() < 0.12 && errors[(1, 2)].abs() < 0.12);
    assert!(fit.log_likelihood() > independent.log_likelihood() + 50.0);
    Ok(())
}
