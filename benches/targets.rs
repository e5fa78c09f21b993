//! Held-out errors on tables of several targets, with and without correlated errors: `cargo bench --bench targets -- TABLE.csv.gz SPLITS.txt ...`,
//! each a wide table whose targets are the columns named target_*, and the rows that are fitted, a line a split. The error of a target is the
//! root of its squared errors over its squared deviations from the mean of the fitted rows, averaged over targets and splits.

use cognate::compare::{Candidate, holdout};
use cognate::csv::{Columns, open, read};
use cognate::{CorrelatedGaussian, Exchangeable, FeatureCovariance, Full, Independent, Model};
use std::collections::HashSet;
use std::path::PathBuf;

fn candidates() -> Vec<Candidate> {
    let scalar = FeatureCovariance::Scalar;
    let correlated = CorrelatedGaussian::default;
    vec![
        Candidate::new("independent", move || Ok(Model::new(correlated(), Independent::default()))),
        Candidate::new("exchangeable", move || Ok(Model::new(correlated(), Exchangeable::new(scalar)))),
        Candidate::new("full", move || Ok(Model::new(correlated(), Full::new(scalar)))),
    ]
}

fn main() -> cognate::Result<()> {
    let files: Vec<PathBuf> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).map(PathBuf::from).collect();
    for pair in files.chunks_exact(2) {
        let (path, splits) = (&pair[0], std::fs::read_to_string(&pair[1]).expect("a file of splits"));
        let mut header = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(open(path)?), &mut header).expect("a header");
        let targets: Vec<String> = header.trim().split(',').filter(|name| name.starts_with("target_")).map(String::from).collect();
        let columns = Columns { targets, own_units: true, ..Columns::default() };
        let table = read(open(path)?, &path.display().to_string(), &columns)?;
        println!("{}: {} targets, {} rows", path.display(), table.rows.names().len(), table.rows.units().len());
        let mut all: Vec<(String, Vec<[f64; 3]>)> =
            candidates().iter().map(|candidate| (candidate.name().to_string(), Vec::new())).collect();
        for split in splits.lines().filter(|line| !line.starts_with('#')) {
            let fitted: HashSet<&str> = split.split_whitespace().collect();
            let train = |i: usize| fitted.contains(table.rows.unit_name(i));
            let (comparison, _) = holdout(&table.rows, &table.design, train, &candidates(), &|_, _, _| {})?;
            for (rung, (_, own)) in comparison.rungs.iter().zip(&mut all) {
                match (&rung.refused, rung.metrics.relative_rmse, rung.score) {
                    (None, Some(error), Some(score)) => own.push([error, score, rung.seconds]),
                    (reason, ..) => println!("  {}: {reason:?}", rung.name),
                }
            }
        }
        println!("  {:<34}  {:>13}  {:>11}  {:>10}", "structure", "relative rmse", "log density", "seconds");
        for (name, own) in all {
            let mean = |k: usize| own.iter().map(|figures| figures[k]).sum::<f64>() / own.len() as f64;
            println!("  {name:<34}  {:>13.4}  {:>11.4}  {:>10.2}", mean(0), mean(1), mean(2));
        }
    }
    Ok(())
}
