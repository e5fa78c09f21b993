//! Held-out errors on tables of several targets, with and without correlated errors: `cargo bench --bench targets -- TABLE.csv.gz ...`,
//! each a wide table whose targets are the columns named target_*. Five splits of the rows, 75 % of them fitted; the error of a target is the
//! root of its squared errors over its squared deviations from the mean of the fitted rows, averaged over targets and splits.

use cognate::compare::{Candidate, holdout};
use cognate::csv::{Columns, open, read};
use cognate::{CorrelatedGaussian, Exchangeable, FeatureCovariance, Full, Independent, Model};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use std::path::PathBuf;

const SPLITS: u64 = 5;

fn candidates() -> Vec<Candidate> {
    let scalar = FeatureCovariance::Scalar;
    // The prior of correlations weighs so many units that there are none.
    let apart = || CorrelatedGaussian { strength: Some(1e12) };
    vec![
        Candidate::new("independent", move || Ok(Model::new(CorrelatedGaussian::default(), Independent))),
        Candidate::new("exchangeable, independent errors", move || Ok(Model::new(apart(), Exchangeable::new(scalar)))),
        Candidate::new("full, independent errors", move || Ok(Model::new(apart(), Full::new(scalar)))),
        Candidate::new("exchangeable", move || Ok(Model::new(CorrelatedGaussian::default(), Exchangeable::new(scalar)))),
        Candidate::new("full", move || Ok(Model::new(CorrelatedGaussian::default(), Full::new(scalar)))),
    ]
}

fn main() -> cognate::Result<()> {
    for path in std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from) {
        let mut header = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(open(&path)?), &mut header).expect("a header");
        let targets: Vec<String> = header.trim().split(',').filter(|name| name.starts_with("target_")).map(String::from).collect();
        let columns = Columns { targets, own_units: true, ..Columns::default() };
        let table = read(open(&path)?, &path.display().to_string(), &columns)?;
        println!("{}: {} targets, {} rows", path.display(), table.rows.names().len(), table.rows.units().len());
        let mut sums: Vec<(String, f64, f64, f64)> = Vec::new();
        for seed in 0..SPLITS {
            let units = table.rows.units();
            let mut order: Vec<usize> = (0..units.len()).collect();
            order.shuffle(&mut rand_chacha::ChaCha8Rng::seed_from_u64(seed));
            let fitted: std::collections::HashSet<usize> = order[..units.len() * 3 / 4].iter().copied().collect();
            let numbers: std::collections::HashMap<&str, usize> = units.iter().enumerate().map(|(k, name)| (name.as_str(), k)).collect();
            let train = |i: usize| fitted.contains(&numbers[table.rows.unit_name(i)]);
            let (comparison, _) = holdout(&table.rows, &table.design, train, &candidates(), &|_| {})?;
            for (k, rung) in comparison.rungs.iter().enumerate() {
                if let Some(reason) = &rung.refused {
                    println!("  {}: {reason}", rung.name);
                }
                let own = (rung.metrics.relative_rmse.unwrap_or(f64::NAN), rung.score.unwrap_or(f64::NAN), rung.seconds);
                match sums.get_mut(k) {
                    Some(sum) => (sum.1, sum.2, sum.3) = (sum.1 + own.0, sum.2 + own.1, sum.3 + own.2),
                    None => sums.push((rung.name.clone(), own.0, own.1, own.2)),
                }
            }
        }
        println!("  {:<34}  {:>13}  {:>11}  {:>10}", "structure", "relative rmse", "log density", "seconds");
        let mean = |sum: f64| sum / SPLITS as f64;
        sums.iter().for_each(|(name, error, score, seconds)| {
            println!("  {name:<34}  {:>13.4}  {:>11.4}  {:>10.2}", mean(*error), mean(*score), mean(*seconds));
        });
    }
    Ok(())
}
