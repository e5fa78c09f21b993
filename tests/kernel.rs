//! Relatedness from descriptors of the tasks: found where it is, nothing where it is not, and tasks without rows predicted by name.

#[path = "common/command.rs"]
mod command;

use cognate::{
    Binomial, DescriptorValues, Descriptors, Design, Exchangeable, FeatureCovariance, Fit, Gaussian, Generalised, Intervals, Kernel,
    KernelShape, Model, Rows, Structure,
};
use command::cognate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::fmt::Write;

const FEATURES: usize = 3;

/// A table and the tasks' descriptors and parameters: smooth waves of `east`, or nothing but chance.
struct World {
    rows: Rows,
    east: Vec<f64>,
    kind: Vec<String>,
    truth: Vec<[f64; FEATURES]>,
}

fn world(tasks: usize, new: usize, rows_each: usize, smooth: bool, seed: u64) -> World {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let east: Vec<f64> = (0..tasks + new).map(|_| random.random_range(0.0..10.0)).collect();
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let truth: Vec<[f64; FEATURES]> = east
        .iter()
        .map(|x| {
            let mut wave = |k: usize| if smooth { (0.6 * x + 2.0 * k as f64).sin() } else { 0.7 * normal() };
            [2.0 + wave(0), wave(1), 0.5 * wave(2)]
        })
        .collect();
    let mut rows = Rows::new("y", &["a", "b"]);
    for (t, own) in truth.iter().take(tasks).enumerate() {
        for _ in 0..rows_each {
            let x = [normal(), normal()];
            rows.push(&format!("t{t}"), &x, own[0] + own[1] * x[0] + own[2] * x[1] + normal(), 1.0).unwrap();
        }
    }
    let kind = (0..tasks + new).map(|t| ["clay", "sand"][t % 2].to_string()).collect();
    World { rows, east, kind, truth }
}

impl World {
    fn descriptors(&self) -> Descriptors {
        let names = (0..self.east.len()).map(|t| format!("t{t}")).collect();
        let east = ("east".to_string(), DescriptorValues::Numbers(self.east.clone()));
        Descriptors::new(names, vec![east, ("soil".to_string(), DescriptorValues::Levels(self.kind.clone()))]).unwrap()
    }

    fn structure(&self, shape: KernelShape) -> Kernel {
        Kernel::new(FeatureCovariance::Diagonal, shape, self.descriptors())
    }

    fn fit(&self, structure: impl Structure + 'static) -> Fit {
        let tasks = self.rows.tasks(&Design::varying(self.rows.features()));
        Model::new(Gaussian::default(), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
    }

    /// Squared errors of the parameters of the tasks without rows, by a fit or by its mean.
    fn errors(&self, fit: &Fit, tasks: usize) -> f64 {
        let of = |t: usize| {
            let own = fit.newcomer(&format!("t{t}")).map_or_else(|| fit.mean(), |(own, _)| own);
            (0..FEATURES).map(|k| (own[k] - self.truth[t][k]).powi(2)).sum::<f64>()
        };
        (tasks..self.east.len()).map(of).sum()
    }

    fn write(&self, folder: &std::path::Path, tasks: usize) {
        let mut text = String::from("site,a,b,y\n");
        for i in 0..self.rows.len() {
            let x = self.rows.x(i);
            writeln!(text, "{},{},{},{}", self.rows.names()[self.rows.task(i)], x[0], x[1], self.rows.y(i)).unwrap();
        }
        std::fs::write(folder.join("rows.csv"), text).unwrap();
        for (file, range) in [("sites.csv", 0..tasks + 2), ("later.csv", tasks + 2..self.east.len())] {
            let mut text = String::from("east,site,soil\n");
            range.for_each(|t| writeln!(text, "{},t{t},{}", self.east[t], self.kind[t]).unwrap());
            std::fs::write(folder.join(file), text).unwrap();
        }
        let mut text = String::from("site,a,b,y\n");
        (0..self.east.len()).for_each(|t| {
            let own = self.truth[t];
            writeln!(text, "t{t},0.5,-1,{}", own[0] + 0.5 * own[1] - own[2]).unwrap();
        });
        std::fs::write(folder.join("new.csv"), text).unwrap();
    }
}

#[test]
fn unseen_tasks_are_better_predicted_by_their_descriptors_than_by_the_mean() {
    let world = world(40, 20, 15, true, 1);
    let plain = world.fit(Exchangeable::new(FeatureCovariance::Diagonal));
    for shape in [KernelShape::SquaredExponential, KernelShape::Matern52, KernelShape::Matern32, KernelShape::Exponential] {
        let fit = world.fit(world.structure(shape));
        let ratio = world.errors(&fit, 40) / world.errors(&plain, 40);
        // The waves are all but known where the other tasks are.
        assert!(fit.converged() && ratio < if shape == KernelShape::Exponential { 0.3 } else { 0.15 }, "{shape:?} {ratio}");
        let kernel = fit.prior().kernel.as_ref().unwrap();
        let lengths: Vec<f64> = kernel.lengths().iter().zip(kernel.points().units()).map(|(length, unit)| length / unit).collect();
        assert!(lengths[1] > 3.0 * lengths[0], "soils tell nothing: {lengths:?}");
        assert!(kernel.nugget < 0.3, "{}", kernel.nugget);
    }
}

#[test]
fn descriptors_that_tell_nothing_leave_exchangeable_tasks() {
    for seed in 0..4 {
        let world = world(40, 20, 15, false, seed);
        let (fit, plain) = (world.fit(world.structure(KernelShape::default())), world.fit(Exchangeable::new(FeatureCovariance::Diagonal)));
        let ratio = world.errors(&fit, 40) / world.errors(&plain, 40);
        let nugget = fit.prior().kernel.as_ref().unwrap().nugget;
        assert!((0.9..1.15).contains(&ratio) && nugget > 0.5, "seed {seed}: {ratio}, nugget {nugget}");
    }
}

/// Parameters that are linear in the descriptors beyond where tasks were measured.
#[test]
fn a_linear_kernel_goes_on_beyond_the_tasks() {
    let mut world = world(30, 1, 15, true, 2);
    world.east[30] = 30.0;
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..30 {
        for _ in 0..15 {
            let x = [normal(), normal()];
            let y = 1.0 + 0.5 * world.east[t] + (2.0 - 0.3 * world.east[t]) * x[0] + 0.3 * x[1] + 0.5 * normal();
            rows.push(&format!("t{t}"), &x, y, 1.0).unwrap();
        }
    }
    world.rows = rows;
    let fit = world.fit(world.structure(KernelShape::Linear));
    let (own, covariance) = fit.newcomer("t30").unwrap();
    assert!(fit.loadings().is_none());
    for (k, truth) in [16.0, -7.0, 0.3].into_iter().enumerate() {
        let sd = covariance[(k, k)].sqrt();
        assert!((own[k] - truth).abs() < 3.0 * sd && sd < 1.0, "{k}: {} +- {sd} and {truth}", own[k]);
    }
    let shares = fit.prior().kernel.as_ref().unwrap().lengths();
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12 && shares[0] > 0.7, "{shares:?}");
}

#[test]
fn a_fit_does_not_depend_on_how_tasks_and_descriptors_are_ordered() {
    let world = world(30, 3, 12, true, 4);
    let fit = world.fit(world.structure(KernelShape::Matern52));
    let mut turned = Rows::new("y", world.rows.features());
    for i in (0..world.rows.len()).rev() {
        turned.push(&world.rows.names()[world.rows.task(i)], world.rows.x(i), world.rows.y(i), 1.0).unwrap();
    }
    let all = world.descriptors();
    let tasks: Vec<String> = all.tasks().iter().rev().cloned().collect();
    let east = DescriptorValues::Numbers(world.east.iter().rev().map(|x| 1e6 + 100.0 * x).collect());
    let kind = DescriptorValues::Levels(world.kind.iter().rev().cloned().collect());
    let descriptors = Descriptors::new(tasks, vec![("soil".into(), kind), ("east".into(), east)]).unwrap();
    let other = Model::new(Gaussian::default(), Kernel::new(FeatureCovariance::Diagonal, KernelShape::Matern52, descriptors))
        .intervals(Intervals::PlugIn)
        .fit(&turned.tasks(&Design::varying(turned.features())))
        .unwrap();
    assert!((fit.log_likelihood() - other.log_likelihood()).abs() < 1e-5);
    for task in ["t30", "t32"] {
        assert!((fit.newcomer(task).unwrap().0 - other.newcomer(task).unwrap().0).amax() < 1e-3);
    }
    let (first, second) = (fit.prior().kernel.as_ref().unwrap().lengths(), other.prior().kernel.as_ref().unwrap().lengths());
    assert!((second[1] / first[0] - 100.0).abs() < 0.5, "{first:?} {second:?}");
}

#[test]
fn other_families_and_robust_fits_have_kernels_too() {
    let world = world(40, 10, 40, true, 5);
    let mut rows = Rows::new("y", world.rows.features());
    for i in 0..world.rows.len() {
        rows.push(&world.rows.names()[world.rows.task(i)], world.rows.x(i), f64::from(u8::from(world.rows.y(i) > 2.0)), 1.0).unwrap();
    }
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let model = Model::new(Generalised::new(Binomial::default()), world.structure(KernelShape::default()));
    let fit = model.intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    // At a = 1, b = 0 the chance of more than 2 follows the waves.
    let chance = |t: usize| fit.predict(&format!("t{t}"), &[1.0, 0.0], 0.95).unwrap().mean;
    let height = |t: usize| world.truth[t][0] + world.truth[t][1];
    let (mut high, mut low): (Vec<usize>, Vec<usize>) = (40..50).partition(|t| height(*t) > 2.0);
    assert!(!high.is_empty() && !low.is_empty());
    high.sort_by(|a, b| height(*b).total_cmp(&height(*a)));
    low.sort_by(|a, b| height(*a).total_cmp(&height(*b)));
    assert!(chance(high[0]) > 0.6 && chance(low[0]) < 0.4, "{} {}", chance(high[0]), chance(low[0]));
    let robust = cognate::Robust::new(Box::new(world.structure(KernelShape::default()))).unwrap();
    let fit = world.fit(robust);
    let plain = world.fit(Exchangeable::new(FeatureCovariance::Diagonal));
    assert!(fit.task_scales().is_some() && world.errors(&fit, 40) < 0.3 * world.errors(&plain, 40));
}

#[test]
fn the_command_line_predicts_tasks_by_their_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(25, 6, 12, true, 6);
    world.write(folder.path(), 25);
    let fit = |more: &[&str]| {
        let all = ["fit", "rows.csv", "--task", "site", "--target", "y", "--structure", "kernel", "--intervals", "plug-in"];
        cognate(folder.path(), &[&all[..], more].concat())
    };
    let found = fit(&["--descriptors", "sites.csv", "--kernel", "matern52", "--model", "m.cognate", "--format", "json"]);
    assert!(found.status == 0, "{}", found.err);
    let json: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(json["kernel"]["shape"], "matern52");
    assert_eq!(json["kernel"]["newcomers"], serde_json::json!(["t25", "t26"]));
    assert_eq!(json["kernel"]["descriptors"][1]["descriptor"], "soil");
    assert!(json["kernel"]["descriptors"][0]["length_scale"].as_f64().unwrap() > 0.0);
    let text = fit(&["--descriptors", "sites.csv"]);
    assert!(text.out.contains("Kernel of the tasks' descriptors, squared-exponential") && text.out.contains("2 tasks without rows"));

    // Rows of tasks that nobody placed are refused, and placed ones predicted.
    let unknown = cognate(folder.path(), &["predict", "m.cognate", "new.csv"]);
    assert!(unknown.status == 1 && unknown.err.contains("'t27' is not of the fit and has no descriptors"), "{}", unknown.err);
    let placed = cognate(folder.path(), &["predict", "m.cognate", "new.csv", "--descriptors", "later.csv", "-o", "p.csv"]);
    assert!(placed.status == 0, "{}", placed.err);
    let lines = std::fs::read_to_string(folder.path().join("p.csv")).unwrap();
    let mut library: Fit = Fit::load(folder.path().join("m.cognate")).unwrap();
    let later = std::fs::File::open(folder.path().join("later.csv")).unwrap();
    library.place(&cognate::csv::read_descriptors(later, "later.csv", "site").unwrap()).unwrap();
    let own = library.predict("t30", &[0.5, -1.0], 0.95).unwrap();
    assert!(lines.contains(&format!("31,t30,{},{}", own.mean, own.sd)), "{lines}");
    let tasks = cognate(folder.path(), &["tasks", "m.cognate"]);
    assert!(tasks.out.contains("t26,(Intercept)"), "{}", tasks.out);

    let compared = cognate(
        folder.path(),
        &["compare", "rows.csv", "--task", "site", "--target", "y", "--structures", "exchangeable,kernel", "--descriptors", "sites.csv"],
    );
    assert!(compared.status == 0 && compared.out.contains("kernel"), "{}", compared.err);

    for (more, needle) in [
        (&[][..], "needs a table of descriptors"),
        (&["--descriptors", "later.csv"][..], "'t0' and 24 more of the data has no row in the descriptors"),
        (&["--descriptors", "rows.csv"][..], "has two rows of descriptors"),
        (&["--descriptors", "none.csv"][..], "none.csv"),
    ] {
        let refused = fit(more);
        assert!(refused.status == 1 && refused.err.contains(needle), "{}", refused.err);
    }
    let idle = cognate(folder.path(), &["fit", "rows.csv", "--task", "site", "--target", "y", "--descriptors", "sites.csv"]);
    assert!(idle.status == 0 && idle.err.contains("--descriptors means nothing"), "{}", idle.err);
}
