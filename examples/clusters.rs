//! Clusters that nobody has named: 200 tasks of four kinds and three of none, found from 50 rows each. `-- FILE` also writes the table as CSV, for
//! `fit --structure clusters --groups 4`.

#[path = "../tests/common/agreement.rs"]
mod agreement;

use agreement::rand_index;
use cognate::{Clusters, Design, FeatureCovariance, Gaussian, Model, Rows};
use nalgebra::DVector;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const FEATURES: usize = 9;
const KINDS: usize = 4;

fn main() -> cognate::Result<()> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let mut draw = |sd: f64| DVector::from_fn(FEATURES + 1, |_, _| sd * normal());
    let centres: Vec<DVector<f64>> = (0..KINDS).map(|_| draw(0.5)).collect();
    let features: Vec<String> = (1..=FEATURES).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &features);
    let mut table = format!("task,y,{}\n", features.join(","));
    for t in 0..203 {
        let name = if t < 200 { format!("kind {} no {t}", t % KINDS) } else { format!("other {t}") };
        let w = if t < 200 { &centres[t % KINDS] + draw(0.3) } else { draw(3.0) };
        for _ in 0..50 {
            let mut x = draw(1.0);
            let noise = x[0];
            x[0] = 1.0;
            let y = x.dot(&w) + noise;
            rows.push(&name, &x.as_slice()[1..], y, 1.0)?;
            let cells: Vec<String> = x.iter().skip(1).map(f64::to_string).collect();
            table += &format!("{name},{y},{}\n", cells.join(","));
        }
    }
    if let Some(path) = std::env::args().nth(1) {
        std::fs::write(&path, table).map_err(|source| cognate::Error::io(&path, source))?;
    }
    let tasks = rows.tasks(&Design::varying(rows.features()));
    let fit = Model::new(Gaussian::default(), Clusters::new(FeatureCovariance::Diagonal, KINDS)).fit(&tasks)?;
    print!("{fit}");

    // Tasks of no kind are one more.
    let index = rand_index(&fit, |t| if t < 200 { t % KINDS } else { KINDS });
    println!("\nAdjusted Rand index {index:.3}");
    assert!(index >= 0.95);
    Ok(())
}
