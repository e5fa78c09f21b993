//! A guard: tasks that lose by sharing are named, fitted by themselves, and predicted so.

#[path = "common/command.rs"]
mod command;

use cognate::structure::{Options, by_name};
use cognate::{Design, Fit, Gaussian, Independent, Intervals, Model, Result, Rows, compare};
use command::cognate;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// Twelve tasks of slope about 1 and two whose target goes the other way, by far.
fn rows(others: usize) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut normal = || random.sample::<f64, _>(StandardNormal);
    let mut rows = Rows::new("y", &["x"]);
    for t in 0..12 + others {
        let slope = if t < 12 { 1.0 } else { -3.0 };
        for _ in 0..20 {
            let x = normal();
            rows.push(&format!("t{t}"), &[x], slope * x + 0.5 * normal(), 1.0).unwrap();
        }
    }
    rows
}

fn candidate(name: &'static str) -> compare::Candidate {
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    compare::Candidate::new(name, move || Ok(build(by_name(name, &Options::default())?)))
}

fn guarded(rows: &Rows, name: &'static str) -> Result<(compare::Guard, Fit)> {
    let design = Design::varying(rows.features());
    let (own, alone) = (candidate(name), candidate("independent"));
    let guard = compare::guard(rows, &design, (&own, &alone), &compare::Options::default(), &|_, _, _| {})?;
    let fit = guard.clone().fit(rows, &design, (&own, &alone))?;
    Ok((guard, fit))
}

/// A single model for all is wrong for the two, which are detached and predicted as if the others were not there; these as if the two were not.
#[test]
fn tasks_that_lose_are_fitted_by_themselves() -> Result<()> {
    let rows = rows(2);
    let design = Design::varying(rows.features());
    let (guard, fit) = guarded(&rows, "pooled")?;
    let count = guard.detached.len();
    assert!(count <= 3 && guard.detached.ends_with(&["t12".into(), "t13".into()]), "{:?}", guard.detached);
    assert!(guard.gains.iter().filter(|own| own.is_loss()).map(|own| own.task.as_str()).eq(["t12", "t13"]));
    assert_eq!((fit.tasks().len(), fit.detached().len(), fit.gains().len()), (14 - count, count, 14));
    let is_detached = |t: usize| guard.detached.contains(&rows.names()[t]);
    let own = rows.of_tasks(is_detached);
    assert_eq!((own.names(), own.len()), (&guard.detached[..], 20 * count));
    let alone = Model::new(Gaussian::default(), Independent::default()).intervals(Intervals::PlugIn).fit(&rows.tasks(&design))?;
    let others = candidate_fit("pooled", &rows.of_tasks(|t| !is_detached(t)))?;
    for x in [-1.0, 2.0] {
        assert_eq!(fit.predict("t13", &[x], 0.9)?.mean, alone.predict("t13", &[x], 0.9)?.mean);
        let task = &others.tasks().names()[3];
        assert_eq!(fit.predict(task, &[x], 0.9)?.mean, others.predict(task, &[x], 0.9)?.mean);
    }
    assert!(fit.scores(&rows)?.all.rmse.unwrap() < 0.55);
    Ok(())
}

fn candidate_fit(name: &str, rows: &Rows) -> Result<Fit> {
    let structure = by_name(name, &Options::default())?;
    let tasks = rows.tasks(&Design::varying(rows.features()));
    Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn).fit(&tasks)
}

/// Where all tasks are alike none is let go.
#[test]
fn tasks_that_gain_stay() -> Result<()> {
    let (guard, fit) = guarded(&rows(0), "pooled")?;
    assert!(guard.detached.is_empty() && fit.detached().is_empty() && fit.gains().len() == 12);
    assert!(guard.gains.iter().all(|own| own.expected > 0.0));
    Ok(())
}

#[test]
fn the_command_line_names_detached_tasks_and_knows_them() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows(2);
    let line = |i: usize| format!("{},{},{}\n", rows.names()[rows.task(i)], rows.y(i), rows.x(i)[0]);
    let table: String = std::iter::once("unit,y,x\n".to_string()).chain((0..rows.len()).map(line)).collect();
    std::fs::write(folder.path().join("t.csv"), table).unwrap();
    let run = |line: &str| cognate(folder.path(), &line.split(' ').collect::<Vec<_>>());
    let fit = run("fit t.csv --task unit --target y --structure pooled --guard --model m.cognate --format json");
    assert_eq!(fit.status, 0, "{}", fit.err);
    let report: serde_json::Value = serde_json::from_str(&fit.out).unwrap();
    let detached = report["guard"]["detached"].as_array().unwrap();
    assert!(detached.len() <= 3 && detached.ends_with(&["t12".into(), "t13".into()]), "{detached:?}");
    assert_eq!((report["tasks"].as_u64().unwrap() as usize, report["guard"]["gains"].as_array().unwrap().len()), (14 - detached.len(), 14));
    let text = run("fit t.csv --task unit --target y --structure pooled --guard").out;
    assert!(text.contains("fitted by themselves, for they are expected to lose") && text.contains("\n  t12  -"), "{text}");
    let tasks = run("tasks m.cognate").out;
    assert!(tasks.lines().count() == 1 + 14 * 2 && tasks.contains("t13,x,-3.0"), "{tasks}");
    let predicted = run("predict m.cognate t.csv");
    assert_eq!(predicted.out.lines().count(), 1 + 280, "{}", predicted.err);
    // More rows of the others leave them as they are, and they are called by what they are.
    let more: String =
        std::iter::once("unit,y,x\n".to_string()).chain((0..9).map(|i| format!("t3,{i},{}\n", i as f64 + 0.1 * (i % 3) as f64))).collect();
    std::fs::write(folder.path().join("more.csv"), more).unwrap();
    assert_eq!(run("update m.cognate more.csv -o new.cognate").status, 0);
    assert!(run("tasks new.cognate").out.contains(tasks.lines().last().unwrap()));
    for line in ["audit new.cognate --task t13", "transfer m.cognate t.csv --from t13"] {
        let run = run(line);
        assert!(run.status == 1 && (run.err.contains("'t13' is detached") || run.err.contains("is of the fit")), "{line}: {}", run.err);
    }
    let robust = run("fit t.csv --task unit --target y --guard --format json");
    let report: serde_json::Value = serde_json::from_str(&robust.out).unwrap();
    assert!(report["task_scales"]["scales"]["t12"].as_f64() > Some(2.0) || report["guard"]["detached"].as_array().unwrap().len() == 2);
    assert_eq!(run("statistics t.csv --task unit --target y -o s.cognate").status, 0);
    for (line, reason) in [
        ("fit s.cognate --guard", "sums have none to tell apart"),
        ("fit t.csv --task unit --target y --structure independent --guard", "leave --guard out"),
    ] {
        let run = run(line);
        assert!(run.status == 1 && run.err.contains(reason), "{line}: {}", run.err);
    }
}
