//! Comparison of structures: the ladder, its order and words, what is held out, and going on after an interruption.

#[path = "common/command.rs"]
mod command;

use cognate::structure::{Options, Sharing};
use cognate::{Design, Gaussian, Intervals, Model, Result, Rows, compare};
use command::cognate;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use serde_json::Value;

const LADDER: [&str; 7] = [
    "independent",
    "independent:shared-noise",
    "pooled",
    "pooled-intercepts",
    "exchangeable:scalar",
    "exchangeable:diagonal",
    "clusters:2",
];

/// Tasks whose coefficients are N(1, spread^2), of `each` rows with noise of variance 1.
fn rows(seed: u64, tasks: usize, each: usize, spread: f64) -> Rows {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows = Rows::new("y", &["a", "b"]);
    for t in 0..tasks {
        let w: Vec<f64> = (0..3).map(|_| 1.0 + spread * random.sample::<f64, _>(StandardNormal)).collect();
        for _ in 0..each {
            let x = [random.sample::<f64, _>(StandardNormal), random.sample::<f64, _>(StandardNormal)];
            let y = w[0] + w[1] * x[0] + w[2] * x[1] + random.sample::<f64, _>(StandardNormal);
            rows.push(&format!("t{t}"), &x, y, 1.0).unwrap();
        }
    }
    rows
}

fn compared(rows: &Rows, options: &compare::Options) -> Result<compare::Comparison> {
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&LADDER, &Options::default(), build)?;
    compare::folds(rows, &Design::varying(rows.features()), &ladder, options, &|_, _, _| {})
}

fn sharing(comparison: &compare::Comparison) -> Sharing {
    comparison.verdict.as_ref().unwrap().sharing
}

/// Of tasks that are the same parameters are shared, of tasks that are alike each learns from the others, and of tasks that have nothing in common nothing is shared.
/// Where a structure and a richer one that can be the same score alike, chance is beyond one standard error in one table of six, beyond two in one of forty.
#[test]
fn verdicts_are_those_of_the_truth() -> Result<()> {
    const SEEDS: u64 = 12;
    for ((tasks, each, spread), expected, least) in
        [((20, 20, 0.0), Sharing::Parameters, 9), ((20, 20, 0.3), Sharing::Transfer, 9), ((8, 200, 3.0), Sharing::Nothing, 11)]
    {
        let verdicts = (0..SEEDS).map(|seed| Ok(sharing(&compared(&rows(seed, tasks, each, spread), &compare::Options::default())?)));
        let right = verdicts.collect::<Result<Vec<_>>>()?.into_iter().filter(|own| *own == expected).count();
        assert!(right >= least, "{expected:?}: {right} of {SEEDS}");
    }
    Ok(())
}

/// Scores are what fits to the other folds say of rows they have not seen: those of a fit without them, made by hand.
#[test]
fn a_fold_is_a_fit_without_its_rows() -> Result<()> {
    let rows = rows(1, 5, 9, 0.5);
    let design = Design::varying(rows.features());
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&["exchangeable:diagonal"], &Options::default(), build)?;
    let (comparison, fits) = compare::holdout(&rows, &design, |i| i % 4 != 0, &ladder, &|_, _, _| {})?;
    let fit = fits[0].as_ref().unwrap();
    let by_hand = Model::of(Box::new(Gaussian::default()), cognate::structure::by_name("exchangeable", &Options::default())?)
        .intervals(Intervals::PlugIn)
        .fit(&rows.tasks_of(&design, |i| i % 4 != 0))?;
    assert!((fit.log_likelihood() - by_hand.log_likelihood()).abs() < 1e-9);
    let held: Vec<usize> = (0..rows.len()).filter(|i| i % 4 == 0).collect();
    let density = |i: &usize| by_hand.predict(&rows.names()[rows.task(*i)], rows.x(*i), 0.9).unwrap().log_density(rows.y(*i));
    let mean = held.iter().map(density).sum::<f64>() / held.len() as f64;
    assert!((comparison.rungs[0].score.unwrap() - mean).abs() < 1e-9);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// The best is the highest, the simplest the first within a standard error of it, and tasks by their names whatever their order.
    #[test]
    fn picks_are_consistent(seed in 0..1000u64, spread in 0.0..1.0f64) {
        let comparison = compared(&rows(seed, 6, 12, spread), &compare::Options { folds: 3, seed, ..Default::default() }).unwrap();
        let best = comparison.rung(comparison.best.as_ref().unwrap()).unwrap();
        // Scores within a millionth are equal, and the simpler rung is the pick.
        prop_assert!(comparison.rungs.iter().all(|rung| rung.score.is_none_or(|score| score <= best.score.unwrap() + 1e-6)));
        prop_assert_eq!((best.difference, best.difference_se), (Some(0.0), Some(0.0)));
        let is_near = |rung: &compare::Rung, reach: f64| rung.difference.is_some_and(|own| -own <= reach * rung.difference_se.unwrap());
        let is_alone = |rung: &compare::Rung| rung.name.starts_with("independent");
        let simplest = comparison.rung(comparison.simplest.as_ref().unwrap()).unwrap();
        let best_alone = comparison.rungs.iter().filter(|rung| is_alone(rung)).max_by(|a, b| a.score.partial_cmp(&b.score).unwrap()).unwrap();
        prop_assert_eq!(is_alone(simplest), is_near(best_alone, 2.0));
        if !is_alone(simplest) {
            let first = comparison.rungs.iter().find(|rung| !is_alone(rung) && is_near(rung, 1.0)).unwrap();
            prop_assert_eq!(&first.name, &simplest.name);
        }
        prop_assert_eq!(comparison.gains.tasks.len(), 6);
        let rows_of: usize = comparison.gains.tasks.iter().map(|own| own.rows).sum();
        prop_assert_eq!(rows_of, 72);
    }
}

/// The choice is made on three quarters of the rows, and the figures of the last quarter are those of fits to the three.
#[test]
fn the_outer_quarter_has_no_part_in_the_choice() -> Result<()> {
    let rows = rows(4, 10, 16, 0.4);
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&LADDER, &Options::default(), build)?;
    let options = compare::Options::default();
    let comparison = compare::with_outer(&rows, &Design::varying(rows.features()), &ladder, &options, &|_, _, _| {})?;
    let outer = comparison.outer.as_ref().unwrap();
    assert_eq!(outer.rows, 40);
    assert_eq!(outer.rungs.iter().filter(|rung| Some(&rung.name) == comparison.best.as_ref()).count(), 1);
    assert!(outer.rungs.iter().any(|rung| rung.name == "independent" && rung.score.is_some()));
    assert_eq!(comparison.gains.tasks.iter().map(|own| own.rows).sum::<usize>(), 120);
    Ok(())
}

fn table() -> String {
    let rows = rows(2, 8, 12, 0.6);
    let line = |i: usize| format!("{},{},{},{}\n", rows.names()[rows.task(i)], rows.y(i), rows.x(i)[0], rows.x(i)[1]);
    std::iter::once("unit,y,a,b\n".to_string()).chain((0..rows.len()).map(line)).collect()
}

/// What it printed, without times.
fn timeless(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    value["rungs"].as_array_mut().unwrap().iter_mut().for_each(|rung| rung["seconds"] = Value::Null);
    value
}

const COMPARE: [&str; 8] = ["compare", "t.csv", "--task", "unit", "--target", "y", "--format", "json"];

/// The same bytes whatever the thread count, and the same again from notes, of which the last may be torn.
#[test]
fn an_interrupted_comparison_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| cognate(folder.path(), &[&COMPARE[..], words].concat());
    std::fs::write(folder.path().join("t.csv"), table()).unwrap();
    let whole = run(&["--threads", "1"]);
    assert_eq!(whole.status, 0, "{}", whole.err);
    assert!(timeless(&run(&["--threads", "3"]).out) == timeless(&whole.out));
    assert!(timeless(&run(&["--resume", "notes"]).out) == timeless(&whole.out));
    let notes = folder.path().join("notes");
    let bytes = std::fs::read(&notes).unwrap();
    for part in [bytes.len() / 3, bytes.len() - 1, bytes.len()] {
        std::fs::write(&notes, &bytes[..part]).unwrap();
        assert!(timeless(&run(&["--resume", "notes"]).out) == timeless(&whole.out), "{part}");
        assert_eq!(std::fs::read(&notes).unwrap().len(), bytes.len());
    }
    for (words, reason) in [
        (&["--resume", "notes", "--seed", "3"][..], "other rows, folds or models"),
        (&["--resume", "notes", "--noise", "task"][..], "other rows, folds or models"),
        (&["--resume", "t.csv"][..], "would be overwritten"),
    ] {
        let run = run(words);
        assert!(run.status == 1 && run.err.contains(reason), "{words:?}: {}", run.err);
    }
}

/// The command that it prints fits the pick.
#[test]
fn the_pick_can_be_fitted_by_the_command_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a b.csv"), table()).unwrap();
    let words =
        ["compare", "a b.csv", "--task=unit", "--target", "y", "--structures", "factor,exchangeable:full:robust", "--rank=2", "--quiet"];
    let run = cognate(folder.path(), &[&words[..], &["--format", "json", "--folds=3", "--reml"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    let value: Value = serde_json::from_str(&run.out).unwrap();
    let command = shlex::split(value["command"].as_str().unwrap()).unwrap();
    let best = value["best"].as_str().unwrap();
    let rung = value["rungs"].as_array().unwrap().iter().find(|rung| rung["name"] == best).unwrap();
    let flags: Vec<&str> = rung["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let start = ["cognate", "fit", "a b.csv", "--task=unit", "--target", "y", "--reml"];
    assert_eq!(command, [&start[..], &flags].concat());
    let words: Vec<&str> = command.iter().skip(1).map(String::as_str).collect();
    assert_eq!(cognate(folder.path(), &words).status, 0);
}

/// New tasks are predicted the better the more rows they have, from the first by as much as the tasks have in common; alone they need more of them.
#[test]
fn new_tasks_need_few_rows() -> Result<()> {
    let rows = rows(6, 24, 40, 0.3);
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&["exchangeable:scalar", "pooled-intercepts"], &Options::default(), build)?;
    let alone = compare::ladder(&["independent:shared-noise"], &Options::default(), build)?.remove(0);
    let how = compare::FewShot { rows: vec![0, 5, 20], ..Default::default() };
    let design = Design::varying(rows.features());
    let curves = compare::few_shot(&rows, &design, &ladder, &alone, &how, &|_, _, _| {})?;
    assert_eq!(curves.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(), ["alone", "exchangeable:scalar", "pooled-intercepts"]);
    let score = |k: usize, n: usize| curves[k].shots[n].score;
    assert!(score(0, 0).is_none() && curves[1].shots[0].gain.is_none());
    assert!(score(1, 0) < score(1, 1) && score(1, 1) < score(1, 2), "{:?}", curves[1]);
    let gain = |n: usize| curves[1].shots[n].gain.unwrap();
    assert!(gain(1) > gain(2) && gain(2) > -0.01, "{:?}", curves[1]);
    // By hand: the first part's tasks are new to a fit of the others, so without rows they are predicted as any unseen task.
    assert!(curves[2].refused.as_ref().unwrap().contains("pooled-intercepts"), "{:?}", curves[2].refused);
    let too_many = compare::FewShot { rows: vec![40], ..Default::default() };
    let problem = compare::few_shot(&rows, &design, &ladder, &alone, &too_many, &|_, _, _| {}).unwrap_err().to_string();
    assert!(problem.contains("fewer than two tasks have more than 40 rows"), "{problem}");
    Ok(())
}

/// Without rows, one task left out at a time is predicted as a fit of the others predicts one that it has not seen.
#[test]
fn a_new_task_is_one_that_the_others_have_not_seen() -> Result<()> {
    let rows = rows(8, 5, 6, 0.5);
    let build = |structure| Model::of(Box::new(Gaussian::default()), structure).intervals(Intervals::PlugIn);
    let ladder = compare::ladder(&["exchangeable:diagonal"], &Options::default(), build)?;
    let alone = compare::ladder(&["independent:shared-noise"], &Options::default(), build)?.remove(0);
    let how = compare::FewShot { rows: vec![0], parts: 5, seed: 1 };
    let design = Design::varying(rows.features());
    let curves = compare::few_shot(&rows, &design, &ladder, &alone, &how, &|_, _, _| {})?;
    let mut sum = 0.0;
    for t in 0..5 {
        let fit = build(cognate::structure::by_name("exchangeable:diagonal", &Options::default())?)
            .fit(&rows.of_tasks(|other| other != t).tasks(&design))?;
        for i in (0..rows.len()).filter(|i| rows.task(*i) == t) {
            sum += fit.forecast(None, &rows.names()[t], rows.x(i), 1.0, 0.0)?.log_density(rows.y(i));
        }
    }
    assert!((curves[1].shots[0].score.unwrap() - sum / rows.len() as f64).abs() < 1e-9);
    Ok(())
}

#[test]
fn the_curve_of_few_rows_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table()).unwrap();
    let words = ["compare", "t.csv", "--task", "unit", "--target", "y", "--structures", "exchangeable:full,pooled"];
    let run = cognate(folder.path(), &[&words[..], &["--few-shot=0,2,8"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    assert!(
        run.out.contains("0 rows") && run.out.contains("8 rows") && run.out.contains("alone") && run.out.contains("after 2 rows: "),
        "{}",
        run.out
    );
    let value: Value =
        serde_json::from_str(&cognate(folder.path(), &[&words[..], &["--few-shot=0,2", "--format", "json"]].concat()).out).unwrap();
    assert_eq!((value["curves"].as_array().unwrap().len(), value["curves"][1]["shots"][1]["rows"].as_u64()), (3, Some(2)));
    let run = cognate(folder.path(), &[&words[..], &["--few-shot"]].concat());
    assert!(
        run.status == 1 && run.err.contains("fewer than two tasks have more than 20 rows; ask for fewer, as by --few-shot="),
        "{}",
        run.err
    );
}
