//! Tasks of three families in one model: relations are found across them, though each has a mean, a scale and a kind of target of its own.
//! `-- FILE` also writes the table as CSV, for `fit --family-column family`.

use cognate::{Binomial, Design, Family, FeatureCovariance, Generalised, Graph, Model, Normal, Poisson, Rows, TaskGraph};
use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Poisson as Counts, StandardNormal};
use std::sync::Arc;

const FEATURES: usize = 30;
const ROWS: usize = 300;
/// Mean and scale of the coefficients of a family's tasks.
const FAMILIES: [(&str, f64, f64); 3] = [("gaussian", 5.0, 8.0), ("bernoulli", 0.2, 0.3), ("poisson", 0.05, 0.1)];

fn main() -> cognate::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let normal = |random: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(random) };
    let names: Vec<String> = FAMILIES.iter().flat_map(|(family, _, _)| (1..=4).map(move |k| format!("{family} {k}"))).collect();
    // Two Gaussian tasks are each related to a Bernoulli one, and two other Bernoulli ones to a Poisson one; the others to none.
    let mut graph = TaskGraph::empty(&names);
    for (s, t, precision) in [(0, 4, -0.8), (1, 5, -0.8), (6, 8, 0.8), (7, 9, 0.8)] {
        graph.connect(s, t, precision, None);
    }
    let root = graph.precision().try_inverse().and_then(|sigma| sigma.cholesky()).expect("no relation is that strong").l();
    let deviations = root * DMatrix::from_fn(names.len(), FEATURES + 1, |_, _| normal(&mut random));
    let features: Vec<String> = (1..=FEATURES).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("outcome", &features);
    let mut table = format!("task,family,outcome,{}\n", features.join(","));
    for (t, name) in names.iter().enumerate() {
        let (family, mean, scale) = FAMILIES[t / 4];
        for _ in 0..ROWS {
            let x: Vec<f64> = (0..FEATURES).map(|_| normal(&mut random)).collect();
            let coefficient = |k: usize| mean / (1.0 + k as f64) + scale * deviations[(t, k)];
            let eta = coefficient(0) + (0..FEATURES).map(|k| x[k] * coefficient(k + 1)).sum::<f64>();
            let y = match family {
                "gaussian" => eta + 20.0 * normal(&mut random),
                "bernoulli" => f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp()))),
                _ => Counts::new(eta.exp()).expect("a finite rate").sample(&mut random),
            };
            rows.push(name, &x, y, 1.0)?;
            table += &format!("{name},{family},{y},{}\n", x.iter().map(f64::to_string).collect::<Vec<_>>().join(","));
        }
        rows.set_group(name, family)?;
    }
    std::env::args().nth(1).map_or(Ok(()), |path| std::fs::write(&path, table).map_err(|source| cognate::Error::io(&path, source)))?;
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows)?;
    let families: [(&str, Arc<dyn Family>); 3] =
        [("gaussian", Arc::new(Normal::default())), ("bernoulli", Arc::new(Binomial::default())), ("poisson", Arc::new(Poisson))];
    let fit = Model::new(Generalised::by_group(families), Graph::new(FeatureCovariance::Scalar)).fit(&tasks)?;
    print!("{fit}");
    let found = fit.graph();
    let (right, wrong): (Vec<_>, Vec<_>) = found.edges().partition(|(s, t, _)| graph.edge(*s, *t).is_some());
    println!("\n{} of 4 relations across families found, {} that are none", right.len(), wrong.len());
    assert!(right.len() == 4 && wrong.len() <= 1);
    Ok(())
}
