//! In-process fit times of cognate, user CPU on one thread, median of five, reading excluded unless said.
//!
//! `cargo bench --bench fit` prints `name,log-likelihood,user seconds,reading seconds,peak MB`; `cargo bench --bench fit -- write FILE`
//! writes the simulated random-intercept table; `... -- only NAME` runs one problem. `benches/run.sh` adds the peers.

#[path = "common/memory.rs"]
mod memory;

use cognate::csv::{Columns, Varying};
use cognate::{Exchangeable, FeatureCovariance, Gaussian, Intervals, Model, Standardise};
use cpu_time::ProcessTime;
use memory::peak_mb;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::io::Write;
use std::path::{Path, PathBuf};

const GROUPS: usize = 125_066;

struct Problem {
    name: &'static str,
    file: PathBuf,
    columns: Columns,
    covariance: FeatureCovariance,
    standardise: Standardise,
}

fn list(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

fn problems() -> Vec<Problem> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let school = || Columns { task: "school".into(), target: "score".into(), ..Columns::default() };
    let independent = "f1 f2 f4 f5 f6 f8 f9 f10 f11 f12 f13 f14 f15 f16 f17 f18 f19 f20 f22 f23 f25 f26";
    let (diagonal, full) = (FeatureCovariance::Diagonal, FeatureCovariance::Full);
    let problem =
        |name, file: &str, columns, covariance, standardise| Problem { name, file: root.join(file), columns, covariance, standardise };
    vec![
        problem("school_28_diagonal", "data/school.csv.gz", school(), diagonal, Standardise::None),
        problem(
            "school_8_full",
            "data/school.csv.gz",
            Columns { varying: Varying::Only(list("f1 f2 f4 f5 f6 f8 f9 f11")), ..school() },
            full,
            Standardise::Both,
        ),
        problem("school_22_full", "data/school.csv.gz", Columns { features: Some(list(independent)), ..school() }, full, Standardise::Both),
        problem(
            "chem97",
            "tests/oracles/chem97.csv.gz",
            Columns { task: "school".into(), target: "score".into(), ..Columns::default() },
            full,
            Standardise::Both,
        ),
        problem(
            "insteval",
            "tests/oracles/insteval_d.csv.gz",
            Columns { task: "d".into(), target: "y".into(), ..Columns::default() },
            full,
            Standardise::Both,
        ),
        problem(
            "intercepts",
            "target/bench/intercepts.csv",
            Columns { task: "g".into(), target: "y".into(), ..Columns::default() },
            full,
            Standardise::Both,
        ),
    ]
}

/// One to seven rows a group, variance 0.5 between groups and 1 within.
fn write_intercepts(path: &Path) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    std::fs::create_dir_all(path.parent().expect("the table is in a folder")).expect("the folder can be made");
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).expect("the table can be written"));
    writeln!(out, "g,y").expect("the table can be written");
    for g in 0..GROUPS {
        let u = 0.5f64.sqrt() * normal();
        for _ in 0..1 + g % 7 {
            writeln!(out, "{g},{:.6}", 3.0 + u + normal()).expect("the table can be written");
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    if let [word, path] = arguments.as_slice()
        && word == "write"
    {
        return write_intercepts(Path::new(path));
    }
    let only = arguments.iter().position(|a| a == "only").and_then(|at| arguments.get(at + 1));
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().expect("the pool is built once");
    for problem in problems().into_iter().filter(|p| only.is_none_or(|name| name == p.name)) {
        if problem.name == "intercepts" && !problem.file.exists() {
            write_intercepts(&problem.file);
        }
        let begin = ProcessTime::now();
        let input = cognate::csv::open(&problem.file).expect("the table opens");
        let table = cognate::csv::read(input, problem.name, &problem.columns).expect("the table reads");
        let tasks = table.rows.tasks(&table.design);
        let reading = begin.elapsed().as_secs_f64();
        let mut times = Vec::new();
        let mut log_likelihood = f64::NAN;
        for _ in 0..5 {
            let begin = ProcessTime::now();
            let model = Model::new(Gaussian::default(), Exchangeable::new(problem.covariance)).standardise(problem.standardise);
            // As lme4, which takes variances as known.
            let fit = model.intervals(Intervals::PlugIn).fit(&tasks).expect("the model fits");
            times.push(begin.elapsed().as_secs_f64());
            assert!(fit.converged());
            log_likelihood = fit.log_likelihood();
        }
        times.sort_by(f64::total_cmp);
        println!("{},{log_likelihood:.6},{:.4},{reading:.4},{:.0}", problem.name, times[2], peak_mb());
    }
}
