//! Two tasks that should not share: the literature's worked example, of which a single model gets a quarter wrong and more.

use cognate::csv::{Columns, read};
use cognate::structure::{Options, Sharing};
use cognate::{Binomial, Fit, Generalised, Model, Result, Rows, compare, report};

/// One problem of scikit-learn's make_classification: task 1 has its first ten columns, task 2 the other ten and the opposite target.
const DATA: &[u8] = include_bytes!("../data/two_tasks.csv");

fn accuracy(fit: &Fit, rows: &Rows, task: &str) -> Result<f64> {
    let own: Vec<usize> = (0..rows.len()).filter(|i| rows.names()[rows.task(*i)] == task).collect();
    let right = own.iter().map(|i| Ok((fit.predict(task, rows.x(*i), 0.9)?.mean > 0.5) == (rows.y(*i) == 1.0)));
    let right = right.collect::<Result<Vec<bool>>>()?;
    Ok(right.iter().filter(|right| **right).count() as f64 / own.len() as f64)
}

fn main() -> Result<()> {
    let features = (1..=10).map(|k| format!("x{k}")).collect();
    let columns = Columns { task: "task".into(), target: "y".into(), features: Some(features), ..Columns::default() };
    let table = read(DATA, "two_tasks.csv", &columns)?;
    // The column `split` says of every row of the file, in order, which part it is of.
    let text = String::from_utf8_lossy(DATA);
    let is_train: Vec<bool> = text.lines().skip(1).map(|line| line.ends_with("train")).collect();
    let train = |i: usize| is_train[i];
    let (training, test) = (table.rows.subset(train), table.rows.subset(|i| !train(i)));

    let build = |structure| Model::of(Box::new(Generalised::new(Binomial::default())), structure);
    let names = ["independent", "pooled", "pooled-intercepts", "exchangeable:scalar", "exchangeable:diagonal", "factor:1", "graph"];
    let ladder = compare::ladder(&names, &Options::default(), build)?;
    let comparison = compare::folds(&training, &table.design, &ladder, &compare::Options::default(), &|_, _, _| {})?;
    print!("{}", report::comparison_text(&comparison));

    println!("\naccuracy on the test rows   task 1  task 2");
    let tasks = training.tasks(&table.design).with_rows(training.clone())?;
    for (name, structure) in
        [("one model for both", "pooled"), ("each alone", "independent"), ("the verdict", &comparison.simplest.clone().unwrap_or_default())]
    {
        let fit = build(cognate::structure::by_name(structure, &Options::default())?).fit(&tasks)?;
        let (one, two) = (accuracy(&fit, &test, "1")?, accuracy(&fit, &test, "2")?);
        println!("{name:<26}  {one:>6.3}  {two:>6.3}");
        assert!(name == "one model for both" || (one >= 0.865 && two >= 0.850));
    }
    assert_eq!(comparison.verdict.map(|verdict| verdict.sharing), Some(Sharing::Nothing));
    Ok(())
}
