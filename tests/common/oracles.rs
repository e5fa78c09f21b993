//! The files of reference results.

use cognate::Rows;
use nalgebra::DMatrix;
use serde_json::Value;
use std::collections::HashMap;
use std::path::PathBuf;

pub fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracles").join(file)
}

pub fn json(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path(file)).unwrap()).unwrap()
}

pub fn list(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

pub fn matrix(value: &Value) -> DMatrix<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(list).collect();
    DMatrix::from_fn(rows.len(), rows[0].len(), |i, j| rows[i][j])
}

/// A table by its header.
fn table(file: &str) -> Vec<HashMap<String, f64>> {
    let mut reader = csv::Reader::from_path(path(file)).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// The rows of a file; `trials` names the column of the number of trials.
pub fn rows(file: &str, task: &str, target: &str, trials: Option<&str>, features: &[String]) -> Rows {
    let mut rows = Rows::new(target, features);
    for row in table(file) {
        let x: Vec<f64> = features.iter().map(|name| row[name]).collect();
        let size = trials.map_or(1.0, |column| row[column]);
        rows.push(&row[task].to_string(), &x, row[target] / size, size).unwrap();
    }
    rows
}
