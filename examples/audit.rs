//! Who taught whom: of ten stations along a river one has three readings, and what is known of it comes from its neighbours, whose weights add up to all of it.

use cognate::audit::Audit;
use cognate::simulate::{NoiseLevel, gaussian};
use cognate::{Design, FeatureCovariance, Gaussian, Known, KnownRelation, Mean, Model, Prior, Relatedness, Result, TaskGraph};
use nalgebra::{DMatrix, DVector};

fn main() -> Result<()> {
    let names: Vec<String> = (1..=10).map(|t| format!("t{t}")).collect();
    let mut river = TaskGraph::empty(&names);
    (1..10).for_each(|t| river.connect(t - 1, t, -0.48, None));
    let relation = names.windows(2).map(|pair| (pair[0].clone(), pair[1].clone(), 1.0)).collect();
    let prior = Prior::new(Mean::Given(DVector::zeros(6)), Relatedness::Graph(river), DMatrix::identity(6, 6));
    let rows = gaussian(&prior, 10, 60, NoiseLevel::Sd(1.0), 1)?.rows;
    let tasks = rows.tasks_of(&Design::varying(rows.features()), |i| rows.task(i) != 4 || i % 60 < 3);
    let fit = Model::new(Gaussian::default(), Known::new(FeatureCovariance::Scalar, KnownRelation::Graph(relation))).fit(&tasks)?;

    let audit = Audit::of(&fit)?;
    let few = audit.donors(audit.task("t5")?)?;
    println!("t5 has {} rows, which decide {:.2} of its parameters", few.rows, few.own);
    few.donors.iter().take(4).for_each(|donor| println!("  {} {:.2}", donor.task, donor.weight));
    let total = few.own + few.prior + few.donors.iter().map(|donor| donor.weight).sum::<f64>();
    let mut strongest: Vec<&str> = few.donors.iter().take(2).map(|donor| donor.task.as_str()).collect();
    strongest.sort_unstable();
    assert!((total - 1.0).abs() < 1e-9 && few.own < 0.5);
    assert_eq!(strongest, ["t4", "t6"]);

    let best = &audit.allocation(10.0)?.tasks[0];
    println!("10 more rows help most at {}", best.task);
    assert_eq!(best.task, "t5");
    Ok(())
}
