//! A report: what a fit and a check say as one page for a browser, a file that asks nothing of any other.

use cognate::page::Page;
use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, Error, Exchangeable, FeatureCovariance, Gaussian, Mean, Model, Prior, Relatedness, Result};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let prior = Prior::new(Mean::Given(DVector::from_element(3, 1.0)), Relatedness::Identity, DMatrix::identity(3, 3) * 0.5);
    let rows = gaussian(&prior, 12, 30, NoiseLevel::Sd(1.0), 1)?.rows;
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let fit = Model::new(Gaussian::default(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks)?;
    let html = Page::of(&fit, 0)?.with_check(&fit.check(&rows, 200, 1)?).html();
    let path = std::env::temp_dir().join("cognate_report.html");
    std::fs::write(&path, &html).map_err(|source| Error::io(&path, source))?;
    println!("{} kB in {}", html.len() / 1000, path.display());
    assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>") && html.contains("t12"));
    assert!(!html.contains("src=\"http") && !html.contains("href=\"http"));
    Ok(())
}
