//! Sums that add: two halves of a table, each summed where it is, give the fit of the whole, and what was added can be taken out again.

use cognate::csv::{self, Columns};
use cognate::{Exchangeable, FeatureCovariance, Gaussian, Model, Result, Tasks};
use std::io::Read;
use std::path::Path;

fn main() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/school.csv.gz");
    let mut text = String::new();
    csv::open(&path)?.read_to_string(&mut text).map_err(|source| cognate::Error::io(&path, source))?;
    let features = ["f4", "f5", "f6", "f8", "f9"].map(String::from).to_vec();
    let columns = Columns { task: "school".into(), target: "score".into(), features: Some(features), ..Columns::default() };
    let sum = |keep: &dyn Fn(usize) -> bool| {
        let lines = text.lines().enumerate().filter(|(i, _)| *i == 0 || keep(*i)).map(|(_, line)| line);
        let table = lines.collect::<Vec<_>>().join("\n");
        csv::sum(table.as_bytes(), &columns).expect("a table of numbers").tasks
    };
    let fit = |tasks: &Tasks| Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(tasks);
    let (first, second, all) = (sum(&|i| i % 2 == 0), sum(&|i| i % 2 == 1), sum(&|_| true));
    let (added, whole) = (fit(&first.plus(&second)?)?, fit(&all)?);
    println!("halves of {} and {} rows added: log-likelihood {:.6}", first.rows(), second.rows(), added.log_likelihood());
    println!("the whole, {} rows:            log-likelihood {:.6}", all.rows(), whole.log_likelihood());
    assert!((added.log_likelihood() - whole.log_likelihood()).abs() < 1e-5);

    let (left, alone) = (fit(&first.plus(&second)?.minus(&second)?)?, fit(&first)?);
    println!("the second forgotten again: {:.6}, the first alone {:.6}", left.log_likelihood(), alone.log_likelihood());
    assert!((left.log_likelihood() - alone.log_likelihood()).abs() < 1e-5);
    Ok(())
}
