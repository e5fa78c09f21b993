//! Fits of families in-process, reading excluded: user CPU of one thread, median of five, for lme4's data sets; wall clock and peak memory
//! on all cores for a million rows.
//!
//! `cargo bench --bench families` prints `name,inference,log-likelihood,seconds` (`exact`: variational and its exact evidence, `full`: with intervals
//! that carry the hyperparameters, the default, and profiles of the variance components), then `million,variational,log-likelihood,seconds,peak MB`;
//! `... -- only NAME` runs one problem. `benches/families.sh` adds lme4.

#[path = "common/memory.rs"]
mod memory;

use cognate::{
    Binomial, Design, Exchangeable, Family, FeatureCovariance, Fit, Generalised, Inference, Intervals, Model, Poisson, Rows, Tasks,
};
use cpu_time::ProcessTime;
use memory::peak_mb;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

struct Problem {
    name: &'static str,
    task: &'static str,
    target: &'static str,
    trials: Option<&'static str>,
    features: &'static [&'static str],
    varying: &'static [&'static str],
    family: Arc<dyn Family>,
}

const INTERCEPT: &str = cognate::INTERCEPT;

fn problems() -> Vec<Problem> {
    let binomial = || Arc::new(Binomial::default());
    let (task, target, trials) = ("district", "use", None);
    vec![
        Problem { name: "contraception", task, target, trials, features: &["age"], varying: &[INTERCEPT], family: binomial() },
        Problem {
            name: "contraception_urban",
            task,
            target,
            trials,
            features: &["age", "urban"],
            varying: &[INTERCEPT, "urban"],
            family: binomial(),
        },
        Problem {
            name: "grouseticks",
            task: "location",
            target: "ticks",
            trials,
            features: &["y96", "y97", "h100"],
            varying: &[INTERCEPT],
            family: Arc::new(Poisson),
        },
        Problem {
            name: "cbpp",
            task: "herd",
            target: "incidence",
            trials: Some("size"),
            features: &["p2", "p3", "p4"],
            varying: &[INTERCEPT],
            family: binomial(),
        },
    ]
}

impl Problem {
    fn tasks(&self) -> Tasks {
        let file = self.name.trim_end_matches("_urban");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/oracles").join(format!("{file}.csv"));
        let mut reader = csv::Reader::from_path(path).expect("the table opens");
        let mut rows = Rows::new(self.target, self.features);
        for row in reader.deserialize::<HashMap<String, f64>>() {
            let row = row.expect("the table is of numbers");
            let x: Vec<f64> = self.features.iter().map(|name| row[*name]).collect();
            let size = self.trials.map_or(1.0, |name| row[name]);
            rows.push(&row[self.task].to_string(), &x, row[self.target] / size, size).expect("the row is sound");
        }
        let design = Design::varying(rows.features()).with_varying(|name| self.varying.contains(&name));
        rows.tasks(&design).with_rows(rows).expect("they are its own rows")
    }

    fn fit(&self, tasks: &Tasks, (inference, intervals, exact): (Inference, Intervals, bool)) -> Fit {
        let likelihood = Generalised::of(Arc::clone(&self.family)).with_inference(inference);
        let structure = Exchangeable::new(FeatureCovariance::Full);
        let model = Model::new(likelihood, structure).intervals(intervals).exact_evidence(exact);
        model.fit(tasks).expect("the model fits")
    }
}

/// 10,000 tasks of 100 rows with ten features and an intercept, all varying.
fn million() -> Rows {
    const FEATURES: usize = 10;
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let names: Vec<String> = (0..FEATURES).map(|k| format!("x{k}")).collect();
    let mut rows = Rows::new("y", &names);
    let normal = |random: &mut ChaCha8Rng| -> f64 { StandardNormal.sample(random) };
    let mean: Vec<f64> = (0..=FEATURES).map(|_| 0.5 * normal(&mut random)).collect();
    let mut x = [0.0; FEATURES];
    for t in 0..10_000 {
        let w: Vec<f64> = mean.iter().map(|m| m + 0.4 * normal(&mut random)).collect();
        let name = t.to_string();
        for _ in 0..100 {
            x.iter_mut().for_each(|value| *value = normal(&mut random));
            let eta = w[0] + x.iter().zip(&w[1..]).map(|(a, b)| a * b).sum::<f64>();
            let y = f64::from(u8::from(random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())));
            rows.push(&name, &x, y, 1.0).expect("the row is sound");
        }
    }
    rows
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let only = arguments.iter().position(|a| a == "only").and_then(|at| arguments.get(at + 1));
    let asked = |name: &str| only.is_none_or(|only| only == name);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool of one thread");
    for problem in problems().iter().filter(|problem| asked(problem.name)) {
        let tasks = problem.tasks();
        // glmer takes variances as known.
        for (name, kind) in [
            ("laplace", (Inference::Laplace, Intervals::PlugIn, false)),
            ("variational", (Inference::Variational, Intervals::PlugIn, false)),
            ("full", (Inference::Variational, Intervals::Full, false)),
            ("exact", (Inference::Variational, Intervals::PlugIn, true)),
        ] {
            let (mut times, mut log_likelihood) = (Vec::new(), f64::NAN);
            for _ in 0..5 {
                let begin = ProcessTime::now();
                let fit = one.install(|| problem.fit(&tasks, kind));
                times.push(begin.elapsed().as_secs_f64());
                assert!(fit.converged());
                log_likelihood = fit.evidence().map_or(fit.log_likelihood(), |evidence| evidence.log_likelihood);
            }
            times.sort_by(f64::total_cmp);
            println!("{},{name},{log_likelihood:.6},{:.4}", problem.name, times[2]);
        }
    }
    if asked("million") {
        let rows = million();
        let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).expect("they are its own rows");
        let begin = Instant::now();
        let model = Model::new(Generalised::new(Binomial::default()), Exchangeable::new(FeatureCovariance::Diagonal));
        let fit = model.fit(&tasks).expect("the model fits");
        let seconds = begin.elapsed().as_secs_f64();
        assert!(fit.converged());
        println!("million,variational,{:.3},{seconds:.1},{:.0}", fit.log_likelihood(), peak_mb());
        eprintln!("{} E-steps; K {:?}", fit.trace().len(), fit.feature_covariance().1.diagonal().as_slice());
    }
}
