//! Tasks in groups, each with a mean, a scale and a family of its own, in one model.

#[path = "common/command.rs"]
mod command;

use cognate::{
    Binomial, Design, Exchangeable, Family, FeatureCovariance, Fit, Full, Generalised, Inference, Intervals, LikelihoodKind, Model, Normal,
    Poisson, Rows, Structure,
};
use command::cognate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::fmt::Write;
use std::sync::Arc;

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

/// Eight Gaussian tasks, of which those of odd number have targets `shift + unit` times what they would be, in groups or not.
fn gaussian(shift: f64, unit: f64, grouped: bool) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..8 {
        let name = format!("task {t}");
        let w: Vec<f64> = (0..3).map(|k| f64::from(k) + normal(&mut random)).collect();
        for _ in 0..12 {
            let x = [normal(&mut random), normal(&mut random)];
            let y = w[0] + w[1] * x[0] + w[2] * x[1] + 0.8 * normal(&mut random);
            rows.push(&name, &x, if t % 2 == 1 { shift + unit * y } else { y }, 1.0).unwrap();
        }
        if grouped {
            rows.set_group(&name, if t % 2 == 1 { "odd" } else { "even" }).unwrap();
        }
    }
    rows
}

fn fit(rows: &Rows, structure: impl Structure + 'static, inference: Inference) -> Fit {
    let family: Arc<dyn Family> = Arc::new(Normal::default());
    let families = [("odd", Arc::clone(&family)), ("even", family)];
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows.clone()).unwrap();
    Model::new(Generalised::by_group(families).with_inference(inference), structure).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
}

/// Another unit of a group's targets is another mean, scale and noise of the group, and nothing else.
#[test]
fn the_units_of_a_group_do_not_matter_to_the_others() {
    let (shift, unit) = (30.0, 7.0);
    let structures: [fn() -> Box<dyn Structure>; 3] = [
        || Box::new(Exchangeable::new(FeatureCovariance::Diagonal)),
        || Box::new(Exchangeable::new(FeatureCovariance::Full)),
        || Box::new(Full::new(FeatureCovariance::Diagonal)),
    ];
    for (k, structure) in structures.iter().enumerate() {
        for inference in [Inference::Variational, Inference::Laplace] {
            let of = |shift, unit| {
                let rows = gaussian(shift, unit, true);
                let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
                let family: Arc<dyn Family> = Arc::new(Normal::default());
                let families = Generalised::by_group([("odd", Arc::clone(&family)), ("even", family)]).with_inference(inference);
                Model::of(Box::new(families), structure()).intervals(Intervals::PlugIn).fit(&tasks).unwrap()
            };
            let (plain, moved) = (of(0.0, 1.0), of(shift, unit));
            assert!(plain.converged() && moved.converged());
            let rows: u64 = (0..8).filter(|t| t % 2 == 1).map(|t| plain.tasks().statistics(t).rows()).sum();
            // The volume of the mean is in the group's unit too where it is integrated out.
            let volume = if plain.log_likelihood_kind() == LikelihoodKind::Restricted { 3.0 } else { 0.0 };
            let expected = plain.log_likelihood() - (rows as f64 - volume) * unit.ln();
            assert!((moved.log_likelihood() - expected).abs() < 1e-4, "{k}: {} and {expected}", moved.log_likelihood());
            let odd = moved.tasks().groups().iter().position(|own| own == "odd").unwrap();
            for (from, to) in plain.mean_of_group(odd).iter().zip(moved.mean_of_group(odd).iter()).skip(1) {
                assert!((from * unit - to).abs() < 1e-2, "{k}: {from} and {to}");
            }
            for t in 0..8 {
                let scale = if t % 2 == 1 { unit } else { 1.0 };
                let (from, to) = (plain.covariance(t)[(1, 1)].sqrt(), moved.covariance(t)[(1, 1)].sqrt());
                assert!((from * scale / to - 1.0).abs() < 2e-3, "{k}: {from} and {to}");
            }
            let scales = |fit: &Fit| fit.prior().groups.scales[odd] / fit.prior().groups.scales[1 - odd];
            assert!((scales(&plain) * unit / scales(&moved) - 1.0).abs() < 2e-2, "{k}: {} and {}", scales(&plain), scales(&moved));
        }
    }
}

/// Groups of one family whose scales and means are all but equal fit as well as one group, and never worse.
#[test]
fn groups_have_a_higher_likelihood_than_one_group() {
    let structure = || Exchangeable::new(FeatureCovariance::Diagonal);
    let rows = gaussian(0.0, 1.0, false);
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let one = Model::new(Generalised::new(Normal::default()), structure()).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
    let grouped = fit(&gaussian(0.0, 1.0, true), structure(), Inference::Variational);
    let gain = grouped.log_likelihood() - one.log_likelihood();
    // Three means, a scale and a noise variance more.
    assert_eq!(grouped.parameters() - one.parameters(), 5);
    assert!(gain > -1e-6 && gain < 10.0, "{gain}");
}

/// Rows of three families from one prior, and their table as CSV.
fn mixed() -> (Rows, String) {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut rows = Rows::new("y", &["a", "b"]);
    let mut csv = String::from("task,kind,y,trials,a,b\n");
    for t in 0..12 {
        let (name, kind) = (format!("task {t}"), ["gaussian", "binomial", "poisson"][t % 3]);
        let scale = [4.0, 0.6, 0.3][t % 3];
        let w: Vec<f64> = (0..3).map(|k| [20.0, 0.5, 1.0][t % 3] / f64::from(k + 1) + scale * normal(&mut random)).collect();
        for i in 0..40 {
            let x = [normal(&mut random), normal(&mut random)];
            let eta = w[0] + w[1] * x[0] + w[2] * x[1];
            let trials = 1 + i % 3;
            let (y, weight, cell) = match kind {
                "gaussian" => (eta + 3.0 * normal(&mut random), 1.0, String::new()),
                "poisson" => (rand_distr::Poisson::new(eta.exp()).unwrap().sample(&mut random), 1.0, String::new()),
                _ => {
                    let wins = (0..trials).filter(|_| random.random::<f64>() < 1.0 / (1.0 + (-eta).exp())).count();
                    (wins as f64, f64::from(trials), trials.to_string())
                }
            };
            rows.push(&name, &x, y / weight, weight).unwrap();
            writeln!(csv, "{name},{kind},{y},{cell},{},{}", x[0], x[1]).unwrap();
        }
        rows.set_group(&name, kind).unwrap();
    }
    (rows, csv)
}

fn families() -> Generalised {
    let families: [(&str, Arc<dyn Family>); 3] =
        [("gaussian", Arc::new(Normal::default())), ("binomial", Arc::new(Binomial::default())), ("poisson", Arc::new(Poisson))];
    Generalised::by_group(families)
}

/// By both inferences, and within what four tasks a group can tell of it.
#[test]
fn a_fit_of_three_families_finds_what_was_simulated() {
    let (rows, _) = mixed();
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    for inference in [Inference::Variational, Inference::Laplace] {
        let families = families().with_inference(inference);
        let fit =
            Model::new(families.clone(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn).fit(&tasks).unwrap();
        assert!(fit.converged());
        let groups = fit.tasks().groups();
        assert_eq!(groups, ["gaussian", "binomial", "poisson"]);
        assert_eq!((fit.family(), fit.family_of(1), fit.family_of(3)), ("mixed", "binomial", "gaussian"));
        assert_eq!(fit.family_dispersion(1).len(), 0);
        let noise = fit.family_dispersion(0)[0].1;
        assert!((noise - 9.0).abs() < 3.0, "{noise}");
        // The truth of the simulation, by four tasks a group.
        let sd = |g: usize| fit.prior().groups.scales[g] * fit.feature_covariance().1[(1, 1)].sqrt();
        for (g, truth) in [4.0, 0.6, 0.3].into_iter().enumerate() {
            assert!((0.3..3.0).contains(&(sd(g) / truth)), "{inference:?}: group {g} has {} and not {truth}", sd(g));
        }
    }
}

#[test]
fn full_intervals_carry_the_uncertainty_of_scales_too() {
    let (rows, _) = mixed();
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let of = |intervals| Model::new(families(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(intervals).fit(&tasks).unwrap();
    let (full, plug_in) = (of(Intervals::Full), of(Intervals::PlugIn));
    assert_eq!(full.intervals(), Intervals::Full, "{:?}", full.intervals_reason());
    assert_eq!(full.coefficients(1), plug_in.coefficients(1));
    let ratio = (0..12).map(|t| (full.covariance(t)[(1, 1)] / plug_in.covariance(t)[(1, 1)]).sqrt()).sum::<f64>() / 12.0;
    assert!(ratio > 1.005, "{ratio}");
    assert!(full.variance_components().iter().any(|own| own.name == "gaussian noise variance"), "{:?}", full.variance_components());
}

#[test]
fn the_command_line_fits_a_family_for_each_task() {
    let (rows, csv) = mixed();
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("mixed.csv", &csv);
    let table = ["--task", "task", "--target", "y", "--family-column", "kind", "--trials", "trials"];
    let run =
        cognate(folder.path(), &[&["fit", "mixed.csv", "--format", "json", "--model", "m", "--intervals", "plug-in"][..], &table].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    let fit: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((fit["family"].as_str(), fit["groups"].as_array().map(Vec::len)), (Some("mixed"), Some(3)));
    assert!(fit["mean"].is_null() && fit["groups"][2]["mean"]["a"].is_number());
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let model = Model::new(families(), Exchangeable::new(FeatureCovariance::Diagonal)).intervals(Intervals::PlugIn);
    let expected = model.fit(&tasks).unwrap();
    assert!((fit["log_likelihood"].as_f64().unwrap() - expected.log_likelihood()).abs() < 1e-9);

    // Known tasks by their name, new ones by their family; successes are counted where trials are given.
    let queries = "task,kind,trials,a,b\ntask 0,gaussian,,0,0\ntask 1,binomial,4,0,0\nnew,poisson,,0,0\n";
    write("new.csv", queries);
    let run = cognate(folder.path(), &["predict", "m", "new.csv"]);
    assert_eq!(run.status, 0, "{}", run.err);
    let means: Vec<f64> = run.out.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let of = |t: usize, weight: f64| expected.forecast(Some(t), "", &[0.0, 0.0], weight, 0.0).unwrap().moments().0;
    assert!((means[0] - of(0, 1.0)).abs() < 1e-9 && (means[1] - 4.0 * of(1, 4.0)).abs() < 1e-9);
    assert!((means[2] - expected.forecast_new("poisson", "new", &[0.0, 0.0], 1.0, 0.0).unwrap().moments().0).abs() < 1e-9);

    // Without the column of trials only successes are unknown.
    write("scored.csv", "task,kind,y,a,b\ntask 0,gaussian,20,0,0\ntask 1,binomial,1,0,0\n");
    let run = cognate(folder.path(), &["predict", "m", "scored.csv", "--score"]);
    assert!(run.status == 0 && run.err.contains("1 row"), "{}", run.err);
    write("unscored.csv", "task,kind,y,a,b\ntask 1,binomial,1,0,0\n");
    let run = cognate(folder.path(), &["predict", "m", "unscored.csv", "--score"]);
    assert!(run.status == 1 && run.err.contains("'trials'"), "{}", run.err);

    // What is refused names the row or the task.
    for (bad, problem) in [
        (csv.replace("task 1,binomial", "task 1,poison"), "there is no family 'poison'"),
        (csv.replacen("task 1,binomial", "task 1,poisson", 1), "a task has one family"),
        (csv.replacen("task 1,binomial", "task 1,", 1), "kind"),
    ] {
        write("bad.csv", &bad);
        let run = cognate(folder.path(), &[&["fit", "bad.csv"][..], &table].concat());
        assert_eq!(run.status, 1);
        assert!(run.err.contains(problem), "{}", run.err);
    }
    write("unknown.csv", "task,a,b\nnew,0,0\n");
    let run = cognate(folder.path(), &["predict", "m", "unknown.csv"]);
    assert!(run.err.contains("name the one that it is of"), "{}", run.err);
}

/// Runs `cognate` on a table whose lines are apart by semicolons.
fn on(table: &str, arguments: &[&str]) -> command::Run {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table.replace(';', "\n")).unwrap();
    let columns = ["--task", "task", "--target", "y", "--features", "x", "--family-column", "family", "--intervals", "plug-in"];
    cognate(folder.path(), &[&["fit", "t.csv", "--format", "json"][..], &columns, arguments].concat())
}

fn means(run: &command::Run, group: usize) -> (f64, f64) {
    assert_eq!(run.status, 0, "{}", run.err);
    let fit: serde_json::Value = serde_json::from_str(&run.out).unwrap();
    let mean = &fit["groups"][group]["mean"];
    (mean["(Intercept)"].as_f64().unwrap(), mean["x"].as_f64().unwrap())
}

const LARGE: &str = "task,family,x,y;g,gaussian,1,1100;g,gaussian,2,1250;g,gaussian,3,1280;h,gaussian,1,900;h,gaussian,2,1010;h,gaussian,3,1190;\
                     k,gaussian,1,1010;k,gaussian,2,1000;k,gaussian,3,1230";
const BINARY: &str = ";a,bernoulli,1,0;a,bernoulli,2,1;a,bernoulli,3,0;b,bernoulli,1,1;b,bernoulli,2,0;b,bernoulli,3,1";

/// Large targets far from 0 beside binary ones: the means are those of each family by itself (least squares: 877.8 and 115.0).
#[test]
fn the_size_of_targets_does_not_matter() {
    for structure in ["pooled", "exchangeable"] {
        let run = on(&format!("{LARGE}{BINARY}"), &["--structure", structure]);
        let (intercept, slope) = means(&run, 0);
        assert!((intercept - 877.78).abs() < 0.1 && (slope - 115.0).abs() < 0.1, "{structure}: {intercept} {slope}");
        assert!(!run.out.contains("undecided"));
    }
}

/// What the rows of one family do not decide is no matter of the others: it gets a wide prior there, and a warning names it.
#[test]
fn a_short_task_of_another_family_takes_no_feature_from_the_others() {
    let alone = means(&on(LARGE, &[]), 0);
    let run = on(&format!("{LARGE};z,bernoulli,2,1"), &[]);
    let beside = means(&run, 0);
    assert!((alone.0 - beside.0).abs() < 0.5 && (alone.1 - beside.1).abs() < 0.5, "{alone:?} {beside:?}");
    assert!(run.out.contains("x (bernoulli)"), "{}", run.out);
}

/// One task a family says nothing of how far its tasks vary: averaged over that, standard errors would have no bound.
#[test]
fn families_of_few_tasks_have_plug_in_intervals() {
    let mut rows = Rows::new("y", &["x"]);
    for i in 0..12 {
        let (x, noise) = (f64::from(i / 2), f64::from(i * 7 % 5) / 5.0);
        let (task, y) = if i % 2 == 0 { ("a", x + noise) } else { ("b", (x / 2.0 + 3.0 * noise).floor()) };
        rows.push(task, &[x], y, 1.0).unwrap();
    }
    rows.set_group("a", "gaussian").unwrap();
    rows.set_group("b", "poisson").unwrap();
    let tasks = rows.tasks(&Design::varying(rows.features())).with_rows(rows).unwrap();
    let fit = Model::new(families(), Exchangeable::new(FeatureCovariance::Diagonal)).fit(&tasks).unwrap();
    assert!(fit.intervals_reason().is_some_and(|reason| reason.contains("gaussian")));
    assert!(fit.mean_covariance_of_group(1)[(0, 0)].sqrt() < 3.0);
}

#[test]
fn families_use_their_own_columns_only_and_constant_numbers_are_refused() {
    let table = |first: &str, of_gaussian: &str| {
        format!("task,family,e,x,y;a,poisson,{first},1,12;a,poisson,10,2,15;b,poisson,10,1,9;b,poisson,10,2,14;b,poisson,10,3,22")
            + &format!(";g,gaussian,{of_gaussian},1,0.9;g,gaussian,,2,2.1;h,gaussian,,1,1.1;h,gaussian,,2,1.9;h,gaussian,,3,3.1")
    };
    let run = on(&table("", ""), &["--exposure", "e"]);
    assert!(run.status == 1 && run.err.contains("row 1") && run.err.contains("'e'"), "{}", run.err);
    let (plain, exposed) = (on(&table("10", ""), &["--exposure", "e"]), on(&table("10", "100"), &["--exposure", "e"]));
    assert_eq!(means(&plain, 1), means(&exposed, 1));
    let constant = on(&format!("task,family,x,y;g,gaussian,1,7;g,gaussian,2,7;h,gaussian,1,7{BINARY}"), &[]);
    assert!(constant.status == 1 && constant.err.contains("of all tasks of the family gaussian"), "{}", constant.err);
}
