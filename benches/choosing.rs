//! How good the picks of `compare` are: `cargo bench --bench choosing -- FOLDER [NAMES ...] [--seeds N] [--first N] [--folds N] [--repeats N] [--each 1]`, FOLDER with the tables, NAMES of tables and of rungs where not all are to be tried. Of every table a quarter of the rows of each task
//! (of landmine all but 80) is held out; the ladder is compared by cross-validation on the rest, then every rung is fitted to the rest and predicts the quarter. The loss of a pick is how
//! far its log density there is below that of the rung that is best there; `--each 1` prints how far each rung is below the best, by the folds and on the quarter. School is split as FOLDER/../oracles/school_splits.json has it, where that is.

#[path = "common/asked.rs"]
mod asked;
#[path = "common/split.rs"]
mod split;

use asked::{asked, taken};
use cognate::compare::{Options, folds, holdout, ladder};
use cognate::csv::{Columns, Table, open, read};
use cognate::structure::{ALL, Options as Structures, is_worth_trying, rungs};
use cognate::{Binomial, CorrelatedGaussian, Gaussian, Generalised, Intervals, Likelihood, Model, Poisson, Standardise};
use split::split;
use std::path::{Path, PathBuf};

struct Job {
    name: &'static str,
    likelihood: fn() -> Box<dyn Likelihood>,
    exposure: Option<&'static str>,
    /// Rows of every task that are fitted; three quarters where there is no number.
    fitted: Option<usize>,
}

fn jobs() -> Vec<Job> {
    let bernoulli = || -> Box<dyn Likelihood> { Box::new(Generalised::new(Binomial::default())) };
    let gaussian = || -> Box<dyn Likelihood> { Box::new(Gaussian::default()) };
    let job = |name, likelihood| Job { name, likelihood, exposure: None, fitted: None };
    vec![
        job("two_tasks", bernoulli),
        job("two_tasks_redundant10", bernoulli),
        job("heart4", bernoulli),
        job("german_credit", bernoulli),
        Job { fitted: Some(80), ..job("landmine", bernoulli) },
        job("beijing_air", gaussian),
        job("parkinsons", gaussian),
        Job { exposure: Some("exposure"), ..job("motor_claims", || Box::new(Generalised::new(Poisson))) },
        job("wall_robot", bernoulli),
        job("atp1d", || Box::new(CorrelatedGaussian::default())),
        job("oes10", || Box::new(CorrelatedGaussian::default())),
        job("school", gaussian),
    ]
}

fn table(folder: &Path, job: &Job) -> cognate::Result<Table> {
    let zipped = folder.join(format!("{}.csv.gz", job.name));
    let path = if zipped.exists() { zipped } else { folder.join(format!("{}.csv", job.name)) };
    let mut header = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(open(&path)?), &mut header).expect("a header");
    let has = |column: &str| header.trim().split(',').any(|own| own == column);
    let targets: Vec<String> = header.trim().split(',').filter(|name| name.starts_with("target_")).map(String::from).collect();
    let own = |names: [&str; 2]| names.into_iter().find(|name| has(name)).unwrap_or_default().to_string();
    let columns = if targets.is_empty() {
        let (task, target) = (own(["task", "school"]), if has("score") { "score".into() } else { own(["target", "y"]) });
        let other = [task.as_str(), &target, "split", job.exposure.unwrap_or("exposure")];
        let features = header.trim().split(',').filter(|name| !other.contains(name)).map(String::from).collect();
        Columns { task, target, features: Some(features), exposure: job.exposure.map(String::from), ..Columns::default() }
    } else {
        Columns { targets, own_units: true, ..Columns::default() }
    };
    read(open(&path)?, job.name, &columns)
}

/// One bit a row, as hexadecimal digits; tasks in the order of the table.
fn school_split(folder: &Path, seed: u64, rows: usize) -> Option<Vec<bool>> {
    let text = std::fs::read_to_string(folder.join("../oracles/school_splits.json")).ok()?;
    let all: serde_json::Value = serde_json::from_str(&text).ok()?;
    let digits: Vec<u32> = all["train_hex"][seed.to_string()].as_str()?.chars().filter_map(|digit| digit.to_digit(16)).collect();
    Some((0..rows).map(|row| digits[row / 4] >> (3 - row % 4) & 1 == 1).collect())
}

fn main() -> cognate::Result<()> {
    let (mut words, seeds) = asked(1);
    let first = taken(&mut words, "--first").unwrap_or(0);
    let repeats = taken(&mut words, "--repeats").map(|number| number as usize);
    let parts = taken(&mut words, "--folds").unwrap_or(5) as usize;
    let each = taken(&mut words, "--each").is_some();
    let Some((folder, names)) = words.split_first() else {
        println!("give the folder of the tables");
        return Ok(());
    };
    let folder = PathBuf::from(folder);
    println!(
        "{:<22} {:>4} {:<26} {:<26} {:<26} {:>18} {:>8} {:>9} {:>8}",
        "table", "seed", "best", "simplest", "best on the quarter", "loss (se)", "basic", "error", "seconds"
    );
    let (tables, mut rungs_asked): (Vec<String>, Vec<String>) =
        names.iter().cloned().partition(|name| jobs().iter().any(|job| job.name == name));
    let all = rungs_asked.is_empty();
    if all {
        rungs_asked.push(ALL.to_string());
    }
    for job in jobs().iter().filter(|job| tables.is_empty() || tables.iter().any(|name| name == job.name)) {
        let Table { rows, design, .. } = table(&folder, job)?;
        let (tasks, varying) = (rows.names().len(), design.varying_features().len());
        let gaussian = (job.likelihood)().inference().is_none() && rows.units().is_empty();
        let options = Structures { shared_noise: if gaussian { None } else { Some(false) }, ..Structures::default() };
        let mut names = rungs(&rungs_asked, &options)?;
        names.retain(|name| !all || is_worth_trying(name, tasks, varying).unwrap_or(false));
        let likelihood = job.likelihood;
        let build = move |structure| Model::of(likelihood(), structure).standardise(Standardise::Both).intervals(Intervals::PlugIn);
        let candidates = ladder(&names.iter().map(String::as_str).collect::<Vec<_>>(), &options, build)?;
        for seed in first..seeds {
            let begin = std::time::Instant::now();
            let own = if job.name == "school" { school_split(&folder, seed, rows.len()) } else { None };
            let train = own.unwrap_or_else(|| split(&rows, job.fitted, seed));
            let options = Options { seed, repeats, folds: parts, ..Options::default() };
            let chosen = folds(&rows.subset(|i| train[i]), &design, &candidates, &options, &|_, _, _| {})?;
            let (there, _) = holdout(&rows, &design, |i| train[i], &candidates, &|_, _, _| {})?;
            let seconds = begin.elapsed().as_secs_f64();
            let (best, simplest) = (chosen.best.unwrap_or_default(), chosen.simplest.unwrap_or_default());
            let Some(pick) = there.rung(&best) else { continue };
            let score = |name: &str| there.rung(name).and_then(|rung| rung.score).unwrap_or(f64::NEG_INFINITY);
            let basic = there
                .rungs
                .iter()
                .filter(|rung| ["independent", "pooled", "exchangeable"].iter().any(|own| rung.name.split(':').next() == Some(own)));
            let basic = basic.filter_map(|rung| rung.score).fold(f64::NEG_INFINITY, f64::max);
            let metrics = &pick.metrics;
            let error = metrics.task_auc.or(metrics.explained_variance).or(metrics.relative_rmse).unwrap_or(f64::NAN);
            println!(
                "{:<22} {seed:>4} {best:<26} {simplest:<26} {:<26} {:>9.5} ({:.5}) {:>8.5} {error:>9.4} {seconds:>8.1}",
                job.name,
                there.best.as_deref().unwrap_or_default(),
                -pick.difference.unwrap_or(f64::NAN),
                pick.difference_se.unwrap_or(f64::NAN),
                score(&best) - basic,
            );
            for (own, there) in chosen.rungs.iter().zip(&there.rungs).filter(|_| each) {
                let below = |rung: &cognate::compare::Rung| {
                    format!("{:>9.5} ({:.5})", -rung.difference.unwrap_or(f64::NAN), rung.difference_se.unwrap_or(f64::NAN))
                };
                println!("    {:<40} {} {}", own.name, below(own), below(there));
            }
            for rung in there.rungs.iter().filter(|rung| rung.refused.is_some()) {
                println!("    {}: {}", rung.name, rung.refused.as_deref().unwrap_or_default());
            }
        }
    }
    Ok(())
}
