//! Small fits of every structure, to draw and to report.

use cognate::{Design, Fit, Gaussian, Intervals, KnownRelation, Model, Rows, Structure, structure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// Rows of tasks with an intercept and slopes each, alike in two kinds.
pub fn table(tasks: usize, rows: usize, features: usize, name: impl Fn(usize) -> String) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut normal = move || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
    let names: Vec<String> = (0..features).map(|k| format!("x{k}")).collect();
    let mut table = Rows::new("y", &names);
    let kinds: Vec<Vec<f64>> = (0..2).map(|_| (0..=features).map(|_| normal()).collect()).collect();
    for t in 0..tasks {
        let own: Vec<f64> = kinds[t % 2].iter().map(|kind| kind + 0.5 * normal()).collect();
        for _ in 0..rows {
            let x: Vec<f64> = (0..features).map(|_| normal()).collect();
            let y = own[0] + x.iter().zip(&own[1..]).map(|(x, w)| x * w).sum::<f64>() + 0.5 * normal();
            table.push(&name(t), &x, y, 1.0).unwrap();
        }
    }
    table
}

pub fn fitted(rows: &Rows, structure: Box<dyn Structure>) -> Fit {
    let tasks = rows.tasks(&Design::varying(rows.features()));
    Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

pub fn by_name(name: &str, tasks: &[String]) -> Box<dyn Structure> {
    let mut options = structure::Options { relation: None, ..Default::default() };
    if name == "known" {
        options.relation = Some(KnownRelation::Graph(tasks.windows(2).map(|pair| (pair[0].clone(), pair[1].clone(), 1.0)).collect()));
    }
    if name == "kernel" {
        let kinds = cognate::DescriptorValues::Numbers((0..tasks.len()).map(|t| (t % 2) as f64).collect());
        let descriptors = cognate::Descriptors::new(tasks.to_vec(), vec![("kind".into(), kinds)]).unwrap();
        options.descriptors = Some(Arc::new(descriptors));
    }
    structure::by_name(name, &options).unwrap()
}
