//! Cold start: stations whose parameters change along a coast; one that has no data yet is predicted by where it is.

use cognate::{DescriptorValues, Descriptors, Design, FeatureCovariance, Gaussian, Kernel, KernelShape, Model, Result, Rows};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Level and slope at a place.
fn parameters(place: f64) -> [f64; 2] {
    [2.0 * (place / 2.0).sin(), (place / 3.0).cos()]
}

fn main() -> Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { random.sample(StandardNormal) };
    let places: Vec<f64> = (0..40).map(|t| f64::from(t) * 0.25).collect();
    let names: Vec<String> = (0..places.len()).map(|t| format!("station {t}")).collect();
    let is_new = |t: usize| t % 5 == 2;
    let mut rows = Rows::new("level", &["tide"]);
    for t in (0..places.len()).filter(|t| !is_new(*t)) {
        let [level, slope] = parameters(places[t]);
        for _ in 0..20 {
            let tide = normal();
            rows.push(&names[t], &[tide], level + slope * tide + 0.5 * normal(), 1.0)?;
        }
    }
    let descriptors = Descriptors::new(names.clone(), vec![("place".into(), DescriptorValues::Numbers(places.clone()))])?;
    let kernel = Kernel::new(FeatureCovariance::Diagonal, KernelShape::SquaredExponential, descriptors);
    let fit = Model::new(Gaussian::default(), kernel).fit(&rows.tasks(&Design::varying(rows.features())))?;

    let (mut by_place, mut by_mean, mut held, mut count) = (0.0, 0.0, 0, 0);
    for t in (0..places.len()).filter(|t| is_new(*t)) {
        let (own, covariance) = fit.newcomer(&names[t]).expect("it has a place");
        for (k, truth) in parameters(places[t]).into_iter().enumerate() {
            by_place += (own[k] - truth).powi(2);
            by_mean += (fit.mean()[k] - truth).powi(2);
            held += usize::from((own[k] - truth).abs() < 1.96 * covariance[(k, k)].sqrt());
            count += 1;
        }
    }
    println!("squared error of stations without data over that of the mean of all: {:.3}", by_place / by_mean);
    println!("95 % intervals hold {held} of {count} parameters");
    assert!(by_place < 0.05 * by_mean && held >= count - 2);
    Ok(())
}
