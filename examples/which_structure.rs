//! Which structure predicts best? Cross-validation with a refit in every fold.

use cognate::structure::Options;
use cognate::{Design, Gaussian, Model, Result, Rows, compare, report};

fn main() -> Result<()> {
    let mut rows = Rows::new("y", &["x"]);
    for i in 0..300usize {
        let (t, x) = (i % 10, ((i * 37) % 100) as f64 / 50.0 - 1.0);
        let noise = ((i * 7919) % 101) as f64 / 50.0 - 1.0;
        rows.push(&t.to_string(), &[x], (t % 5) as f64 * 0.4 + (1.0 + 0.1 * t as f64) * x + noise, 1.0)?;
    }
    let design = Design::varying(rows.features());
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure);
    let ladder = compare::ladder(&["independent", "pooled", "pooled-intercepts", "exchangeable"], &Options::default(), build)?;
    let comparison = compare::folds(&rows, &design, &ladder, &compare::Options::default(), &|_, _, _| {})?;
    print!("{}", report::comparison_text(&comparison));
    assert!(comparison.best.is_some_and(|best| best != "pooled"));
    Ok(())
}
