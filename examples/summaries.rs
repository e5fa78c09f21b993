//! A meta-analysis: thirteen trials of the BCG vaccine, of which only log risk ratios and their variances are published (Colditz and others 1994); the mean and the variance
//! between trials are those that REML gives elsewhere.

use cognate::{Exchangeable, FeatureCovariance, Gaussian, Model, Noise, Result, Summaries};
use nalgebra::dmatrix;

/// Log risk ratio and sampling variance.
const TRIALS: [(&str, f64, f64); 13] = [
    ("Aronson 1948", -0.8893, 0.3256),
    ("Ferguson and Simes 1949", -1.5854, 0.1946),
    ("Rosenthal 1960", -1.3481, 0.4154),
    ("Hart and Sutherland 1977", -1.4416, 0.0200),
    ("Frimodt-Moller 1973", -0.2175, 0.0512),
    ("Stein and Aronson 1953", -0.7861, 0.0069),
    ("Vandiviere 1973", -1.6209, 0.2230),
    ("TPT Madras 1980", 0.0120, 0.0040),
    ("Coetzee and Berjak 1968", -0.4694, 0.0564),
    ("Rosenthal 1961", -1.3713, 0.0730),
    ("Comstock 1974", -0.3394, 0.0124),
    ("Comstock and Webster 1969", 0.4459, 0.5325),
    ("Comstock 1976", -0.0173, 0.0714),
];

fn main() -> Result<()> {
    let mut summaries = Summaries::new(&["log risk ratio"]);
    for (trial, ratio, variance) in TRIALS {
        summaries.push(trial, &[Some(ratio)], &dmatrix![variance])?;
    }
    let model = Model::new(Gaussian { noise: Noise::Known }, Exchangeable::new(FeatureCovariance::Diagonal)).restricted(true);
    let fit = model.fit(&summaries.tasks())?;
    let (mean, variance) = (fit.mean()[0], fit.feature_covariance().1[(0, 0)]);
    let (low, high) = fit.mean_intervals(0.95)[0];
    println!("mean log risk ratio {mean:.4} ({low:.2} to {high:.2}), variance between trials {variance:.4}");
    let (first, sd) = (fit.coefficients(0)[0], fit.covariance(0)[(0, 0)].sqrt());
    println!(
        "{}: {:.2} as published (se {:.2}), {first:.2} with what the others say (sd {sd:.2})",
        TRIALS[0].0,
        TRIALS[0].1,
        TRIALS[0].2.sqrt()
    );
    // The manual of R's metafor (Viechtbauer 2010) has -0.7145 and 0.3132.
    assert!((mean + 0.7145).abs() < 5e-4 && (variance - 0.3132).abs() < 5e-4);
    assert!(high < 0.0 && sd < TRIALS[0].2.sqrt());
    Ok(())
}
