//! Whether the verdicts of `compare` are those of the truth: `cargo bench --bench verdicts -- [NAMES ...] [--seeds N] [--tasks N] [--features N] [--rows N] [--folds N] [--each 1]`: with the last, one line for each table. Tables are drawn from each rung and the ladder compared on them by
//! five folds; every rung is also fitted to the whole table and predicts 200 further rows of each task, which is its true score. A verdict is right where it names the rung that
//! drew the table, or one whose true score is less than a standard error (of the comparison) below that one's; a rung is visible where its true score is three such errors above that of every simpler one.

#[path = "common/asked.rs"]
mod asked;

use asked::{asked, taken};
use cognate::compare::{Comparison, Options, folds, holdout, ladder};
use cognate::simulate::{Layout, task_graph};
use cognate::structure::{Options as Structures, Sharing, by_name};
use cognate::{Design, Gaussian, Intervals, Mean, Model, Prior, Relatedness, Rows};
use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

const LADDER: [&str; 12] = [
    "independent",
    "independent:shared-noise",
    "pooled",
    "pooled-intercepts",
    "exchangeable:scalar",
    "exchangeable:diagonal",
    "exchangeable:full",
    "clusters:2",
    "factor:1",
    "factor:2",
    "graph",
    "full",
];

/// Rows that are predicted of every task.
const FURTHER: usize = 200;

/// Sizes of a table: tasks, features beside the constant one, rows of every task.
struct Size(usize, usize, usize);

/// Coefficients of all tasks, T x (1 + d), and their standard deviations of noise.
fn truth(name: &str, Size(tasks, features, _): &Size, random: &mut ChaCha8Rng) -> cognate::Result<(DMatrix<f64>, Vec<f64>)> {
    let d = features + 1;
    let mut normal = || random.sample::<f64, _>(StandardNormal);
    let centre = DVector::from_fn(d, |_, _| normal());
    let mut matrix = |rows: usize, columns: usize| DMatrix::from_fn(rows, columns, |_, _| normal());
    let mut noise = vec![1.0; *tasks];
    let deviations = match name {
        "independent" => {
            noise = matrix(*tasks, 1).iter().map(|own| (0.5 * own).exp()).collect();
            matrix(*tasks, d) * 2.0
        }
        "independent:shared-noise" => matrix(*tasks, d) * 2.0,
        "pooled" => DMatrix::zeros(*tasks, d),
        "pooled-intercepts" => {
            let mut all = DMatrix::zeros(*tasks, d);
            all.set_column(0, &matrix(*tasks, 1).column(0));
            all
        }
        "exchangeable:scalar" => matrix(*tasks, d) * 0.3,
        "exchangeable:diagonal" => {
            let sds = DVector::from_fn(d, |k, _| if k % 3 == 0 { 0.6 } else { 0.05 });
            matrix(*tasks, d) * DMatrix::from_diagonal(&sds)
        }
        // All features follow one direction but for a little.
        "exchangeable:full" => matrix(*tasks, 1) * DMatrix::from_element(1, d, 0.5) + matrix(*tasks, d) * 0.1,
        "clusters:2" => {
            let far = matrix(1, d) * 0.7;
            let mut all = matrix(*tasks, d) * 0.1;
            (0..*tasks).filter(|t| t % 2 == 0).for_each(|t| all.set_row(t, &(all.row(t) + far.row(0))));
            all
        }
        "factor:1" => matrix(*tasks, 1) * matrix(1, d) * 0.5 + matrix(*tasks, d) * 0.25,
        "graph" => {
            let names: Vec<String> = (0..*tasks).map(|t| t.to_string()).collect();
            let graph = task_graph(Layout::Chain, &names, 0.45..0.49, random.random())?;
            let prior = Prior::new(Mean::Given(DVector::zeros(d)), Relatedness::Graph(graph), DMatrix::identity(d, d));
            cognate::simulate::gaussian(&prior, *tasks, 1, cognate::simulate::NoiseLevel::Sd(1.0), random.random())?.parameters
        }
        // Sigma of an inverse-Wishart prior is far from diagonal.
        _ => matrix(*tasks, *tasks) * matrix(*tasks, d) * (0.5 / (*tasks as f64).sqrt()),
    };
    let all = DMatrix::from_fn(*tasks, d, |t, k| centre[k] + deviations[(t, k)]);
    Ok((all, noise))
}

/// The rows to fit, then those to predict.
fn rows(name: &str, size: &Size, seed: u64) -> cognate::Result<(Rows, Vec<bool>)> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (parameters, noise) = truth(name, size, &mut random)?;
    let Size(tasks, features, each) = *size;
    let names: Vec<String> = (1..=features).map(|k| format!("x{k}")).collect();
    let (mut rows, mut train) = (Rows::new("y", &names), Vec::new());
    for t in 0..tasks {
        for i in 0..each + FURTHER {
            let x: Vec<f64> = (0..features).map(|_| random.sample(StandardNormal)).collect();
            let mean = parameters[(t, 0)] + x.iter().enumerate().map(|(k, x)| parameters[(t, k + 1)] * x).sum::<f64>();
            rows.push(&t.to_string(), &x, mean + noise[t] * random.sample::<f64, _>(StandardNormal), 1.0)?;
            train.push(i < each);
        }
    }
    Ok((rows, train))
}

fn figure(comparison: &Comparison, name: &str) -> (f64, f64, f64) {
    let rung = comparison.rung(name).expect("a rung of the ladder");
    (rung.score.unwrap_or(f64::NEG_INFINITY), rung.difference.unwrap_or(f64::NEG_INFINITY), rung.difference_se.unwrap_or(0.0))
}

fn main() -> cognate::Result<()> {
    let (mut names, seeds) = asked(20);
    let parts = taken(&mut names, "--folds").unwrap_or(5) as usize;
    let each = taken(&mut names, "--each").is_some();
    let other = ["--tasks", "--features", "--rows"].map(|flag| taken(&mut names, flag).map(|number| number as usize));
    println!(
        "{:<26} {:>14} {:>9} {:>15} {:>13} {:>14} {:>10}  verdicts",
        "drawn from", "T x d x n", "visible", "right, visible", "right of all", "loss of best", "sharing"
    );
    for name in LADDER.iter().filter(|name| **name != "factor:2" && (names.is_empty() || names.iter().any(|own| own == *name))) {
        let size = match *name {
            "graph" => Size(20, 40, 60),
            "full" => Size(8, 40, 60),
            "clusters:2" => Size(100, 5, 15),
            "factor:1" => Size(120, 10, 30),
            _ => Size(20, 5, 30),
        };
        let size = Size(other[0].unwrap_or(size.0), other[1].unwrap_or(size.1), other[2].unwrap_or(size.2));
        let (mut visible, mut right, mut of_visible, mut loss, mut shared) = (0, 0, 0, 0.0, 0);
        let mut verdicts = std::collections::BTreeMap::new();
        for seed in 0..seeds {
            let (rows, train) = rows(name, &size, seed)?;
            let design = Design::varying(rows.features());
            let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
            let candidates = ladder(&LADDER, &Structures::default(), build)?;
            let found = folds(
                &rows.subset(|i| train[i]),
                &design,
                &candidates,
                &Options { seed, repeats: Some(1), folds: parts, ..Options::default() },
                &|_, _, _| {},
            )?;
            let (there, _) = holdout(&rows, &design, |i| train[i], &candidates, &|_, _, _| {})?;
            let (best, simplest) = (found.best.clone().unwrap_or_default(), found.simplest.clone().unwrap_or_default());
            let place = LADDER.iter().position(|own| own == name).unwrap_or_default();
            let own = figure(&there, name).0;
            let error = |other: &str| figure(&found, name).2.max(figure(&found, other).2);
            let apart = |other: &&str| (own - figure(&there, other).0) / error(other);
            let least = LADDER[..place].iter().map(|other| (apart(other), *other)).min_by(|a, b| a.0.total_cmp(&b.0));
            let is_visible = least.is_none_or(|(errors, _)| errors > 3.0);
            let is_right = simplest == *name || own - figure(&there, &simplest).0 <= error(&simplest);
            if let Some((errors, other)) = least.filter(|_| each) {
                println!("    {seed}: best {best}, simplest {simplest}, {errors:.1} errors above {other}");
            }
            visible += u32::from(is_visible);
            right += u32::from(is_right);
            of_visible += u32::from(is_right && is_visible);
            loss -= figure(&there, &best).1 / seeds as f64;
            shared += u32::from(by_name(&simplest, &Structures::default())?.sharing() != Sharing::Nothing);
            *verdicts.entry(simplest).or_insert(0) += 1;
        }
        let list: Vec<String> = verdicts.iter().map(|(name, count)| format!("{name} {count}")).collect();
        let Size(tasks, features, each) = size;
        let dimensions = format!("{tasks} x {} x {each}", features + 1);
        println!(
            "{name:<26} {dimensions:>14} {visible:>9} {:>15} {:>13} {loss:>14.5} {:>10}  {}",
            format!("{of_visible} of {visible}"),
            format!("{right} of {seeds}"),
            format!("{shared} of {seeds}"),
            list.join(", ")
        );
    }
    Ok(())
}
