//! Held-out accuracy of every structure on tables of other families: `cargo bench --bench datasets -- FOLDER [NAMES ...]`, FOLDER
//! with the tables, NAMES those to measure. A quarter of the rows of every task is held out, five times by
//! seeds 0 to 4; of landmine all but 20, 40, 80 or 160. AUC is the mean over the tasks whose held-out rows have both classes, and beside it that of
//! all rows, which also ranks tasks; deviance is the mean over rows.

#[path = "../tests/common/agreement.rs"]
mod agreement;
#[path = "common/split.rs"]
mod split;

use agreement::rand_index;
use cognate::compare::{Candidate, holdout, ladder};
use cognate::csv::{Columns, Table, open, read};
use cognate::{Family, Fit, Generalised, Intervals, Model, NegativeBinomial, Poisson, Rows};
use split::split;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SEEDS: u64 = 5;

const STRUCTURES: [&str; 7] = ["independent", "pooled", "pooled-intercepts", "exchangeable", "clusters", "full", "graph"];

/// What is measured on a table.
struct Job {
    file: &'static str,
    family: fn() -> Arc<dyn Family>,
    exposure: Option<&'static str>,
    /// Rows of every task that are fitted; three quarters where there is no number.
    fitted: Option<usize>,
    structures: &'static [&'static str],
    /// The kind of a task, where it is known.
    kind: Option<fn(&str) -> usize>,
    note: &'static str,
}

fn bernoulli() -> Arc<dyn Family> {
    Arc::new(cognate::Binomial::default())
}

fn jobs() -> Vec<Job> {
    let job = |file, note| Job { file, family: bernoulli, exposure: None, fitted: None, structures: &STRUCTURES, kind: None, note };
    let claims = |family| Job { family, exposure: Some("exposure"), ..job("motor_claims.csv.gz", "") };
    let mut all = vec![
        job("heart4.csv.gz", ""),
        job("german_credit.csv.gz", ""),
        claims(|| Arc::new(Poisson)),
        claims(|| Arc::new(NegativeBinomial::default())),
        Job {
            structures: &STRUCTURES[..4],
            ..job(
                "wall_robot.csv.gz",
                "four tasks on the same rows, of which exactly one is 1 at a time: they are not independent, whatever the structure",
            )
        },
    ];
    let terrain = |field: &str| usize::from(field.trim_start_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().is_ok_and(|n| n > 15));
    all.extend([20, 40, 80, 160].map(|rows| Job { fitted: Some(rows), kind: Some(terrain), ..job("landmine.csv.gz", "") }));
    all
}

/// The probability that a 1 is ranked before a 0, ties half; none without both.
fn auc(scored: &mut [(f64, f64)]) -> Option<f64> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let ones = scored.iter().filter(|(_, y)| *y == 1.0).count() as f64;
    let zeros = scored.len() as f64 - ones;
    let (mut sum, mut below) = (0.0, 0.0);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let own = tied.iter().filter(|(_, y)| *y == 1.0).count() as f64;
        sum += own * (below + 0.5 * (tied.len() as f64 - own));
        below += tied.len() as f64 - own;
    }
    (ones > 0.0 && zeros > 0.0).then(|| sum / (ones * zeros))
}

fn expectation(fit: &Fit, rows: &Rows, i: usize) -> cognate::Result<f64> {
    let t = rows.task(i);
    Ok(fit.forecast(Some(t), &rows.names()[t], rows.x(i), rows.weight(i), rows.offset(i))?.moments().0)
}

/// Mean task AUC where targets are 0 or 1 and that of all rows together, else mean Poisson deviance.
fn figures(fit: &Fit, rows: &Rows, held: &[usize], classes: bool) -> cognate::Result<[f64; 2]> {
    if !classes {
        let deviance = |i: &usize| -> cognate::Result<f64> {
            let (mean, y) = (expectation(fit, rows, *i)?, rows.y(*i));
            Ok(2.0 * (if y > 0.0 { y * (y / mean).ln() } else { 0.0 } - (y - mean)))
        };
        return Ok([held.iter().map(deviance).sum::<cognate::Result<f64>>()? / held.len() as f64, f64::NAN]);
    }
    let mut of_task = vec![Vec::new(); rows.names().len()];
    for i in held {
        of_task[rows.task(*i)].push((expectation(fit, rows, *i)?, rows.y(*i)));
    }
    let found: Vec<f64> = of_task.iter_mut().filter_map(|own| auc(own)).collect();
    Ok([found.iter().sum::<f64>() / found.len() as f64, auc(&mut of_task.concat()).unwrap_or(f64::NAN)])
}

/// Mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt())
}

fn measure(job: &Job, table: &Table) -> cognate::Result<()> {
    let (rows, family) = (&table.rows, (job.family)());
    let classes = family.name() == "binomial";
    let candidates: Vec<Candidate> = ladder(job.structures, &Default::default(), move |structure| {
        Model::of(Box::new(Generalised::of(Arc::clone(&family))), structure).intervals(Intervals::PlugIn)
    })?;
    let mut found: Vec<Vec<[f64; 4]>> = vec![Vec::new(); candidates.len()];
    let mut indices = Vec::new();
    for seed in 0..SEEDS {
        let train = split(rows, job.fitted, seed);
        let held: Vec<usize> = (0..rows.len()).filter(|i| !train[*i]).collect();
        let (comparison, fits) = holdout(rows, &table.design, |i| train[i], &candidates, &|_, _, _| {})?;
        for ((rung, fit), own) in comparison.rungs.iter().zip(&fits).zip(&mut found) {
            match (fit, rung.score) {
                (Some(fit), Some(score)) => {
                    let [own_figure, of_all] = figures(fit, rows, &held, classes)?;
                    own.push([own_figure, score, rung.seconds, of_all]);
                    indices.extend(
                        job.kind.filter(|_| fit.memberships().is_some()).map(|kind| rand_index(fit, |t| kind(&fit.tasks().names()[t]))),
                    );
                    if !fit.converged() {
                        println!("  {}, seed {seed}: did not converge", rung.name);
                    }
                }
                _ => println!("  {}, seed {seed}: {}", rung.name, rung.refused.as_deref().unwrap_or("refused")),
            }
        }
    }
    let name = if classes { "AUC" } else { "deviance" };
    println!("  {:<20} {name:>9} {:>8} {:>18} {:>9} {:>12} {:>9}", "structure", "se", "over splits", "all rows", "log density", "seconds");
    for (candidate, own) in candidates.iter().zip(&found).filter(|(_, own)| own.len() > 1) {
        let column = |k: usize| own.iter().map(|figures| figures[k]).collect::<Vec<_>>();
        let ((value, error), score, seconds, of_all) = (mean(&column(0)), mean(&column(1)).0, mean(&column(2)).0, mean(&column(3)).0);
        let lowest = column(0).into_iter().fold(f64::INFINITY, f64::min);
        let highest = column(0).into_iter().fold(f64::NEG_INFINITY, f64::max);
        println!(
            "  {:<20} {value:>9.4} {error:>8.4} {lowest:>8.4} - {highest:>7.4} {of_all:>9.4} {score:>12.4} {seconds:>9.2}",
            candidate.name()
        );
    }
    if indices.len() > 1 {
        let each: Vec<String> = indices.iter().map(|own| format!("{own:.2}")).collect();
        println!(
            "  adjusted Rand index of the clusters against the known kinds {:.3} (of the splits {})",
            mean(&indices).0,
            each.join(", ")
        );
    }
    Ok(())
}

fn main() -> cognate::Result<()> {
    let given: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let (folders, names): (Vec<String>, Vec<String>) = given.into_iter().partition(|arg| Path::new(arg).is_dir());
    let Some(folder) = folders.first() else {
        println!("name the folder with the tables: cargo bench --bench datasets -- FOLDER");
        return Ok(());
    };
    for job in jobs().iter().filter(|job| names.is_empty() || names.iter().any(|name| job.file.starts_with(name.as_str()))) {
        let path = PathBuf::from(folder).join(job.file);
        if !path.is_file() {
            println!("{}: no such file, left out", path.display());
            continue;
        }
        let columns =
            Columns { task: "task".into(), target: "target".into(), exposure: job.exposure.map(String::from), ..Columns::default() };
        let table = read(open(&path)?, job.file, &columns)?;
        let fitted = job.fitted.map_or(String::new(), |rows| format!(", {rows} rows of each task fitted"));
        let (tasks, rows, features) = (table.rows.names().len(), table.rows.len(), table.design.features().len());
        println!("{} ({}): {tasks} tasks, {rows} rows, {features} features{fitted}", job.file, (job.family)().name());
        if !job.note.is_empty() {
            println!("  {}", job.note);
        }
        measure(job, &table)?;
    }
    Ok(())
}
