//! Manners of the command line: names that are nearly right, files that are not tables, colours, rows that miss a cell, intervals that are insisted on.

#[path = "common/command.rs"]
mod command;

use command::cognate;
use serde_json::Value;
use std::fmt::Write as _;
use std::path::Path;
use tempfile::TempDir;

/// Eight sites of twelve rows with two features, of which site s7 is left out of t.csv and alone in new.csv.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut known, mut new) = (String::from("site,y,x,z\n"), String::from("site,y,x,z\n"));
    for t in 0..8 {
        for i in 0..12 {
            let (x, z) = (f64::from(i % 5) - 2.0 + 0.1 * f64::from(t), f64::from((i * 3 + t) % 4) - 1.5);
            let noise = f64::from((i * 7 + t * 5) % 11) * 0.1;
            let y = f64::from(t % 3) + (0.5 + 0.2 * f64::from(t % 4)) * x - 0.3 * f64::from(t % 2) * z + noise;
            let text = if t == 7 { &mut new } else { &mut known };
            writeln!(text, "s{t},{y},{x},{z}").unwrap();
        }
    }
    std::fs::write(folder.path().join("t.csv"), known).unwrap();
    std::fs::write(folder.path().join("new.csv"), new).unwrap();
    folder
}

const FIT: [&str; 6] = ["fit", "t.csv", "--task", "site", "--target", "y"];

fn fit(at: &Path, more: &[&str]) -> command::Run {
    cognate(at, &[&FIT[..], more].concat())
}

#[test]
fn a_structure_has_the_same_names_in_fit_and_in_compare() {
    let folder = folder();
    let short = fit(folder.path(), &["--structure", "factor:2"]);
    let long = fit(folder.path(), &["--structure", "factor", "--rank", "2"]);
    assert!(short.status == 0 && short.out.contains("structure factor"), "{}", short.err);
    assert_eq!(short.out, long.out);
    let twice = fit(folder.path(), &["--structure", "factor:1", "--rank", "2"]);
    assert!(twice.err.contains("--rank means nothing to the structure 'factor:1' and was ignored"), "{}", twice.err);
    let compare = |name| cognate(folder.path(), &["compare", "t.csv", "--task", "site", "--target", "y", "--structures", name]);
    for (name, near) in [("exchangeable:ful", "did you mean 'full'?"), ("grph", "did you mean 'graph'?"), ("factor:0", "give 1 or more")] {
        for run in [fit(folder.path(), &["--structure", name]), compare(name)] {
            assert!(run.status == 2 && run.err.contains(near) && run.err.contains(name), "{name}: {}", run.err);
        }
    }
    let all = fit(folder.path(), &["--structure", "all"]);
    assert!(all.status == 2 && all.err.contains("'cognate compare' tries one by one"), "{}", all.err);
}

#[test]
fn usage_is_that_of_the_command() {
    let run = cognate(folder().path(), &["fit", "t.csv", "--task", "site"]);
    assert!(run.status == 2 && run.err.contains("--target <TARGET>") && run.err.contains("Usage: cognate fit "), "{}", run.err);
    assert!(!run.err.contains("--task <TASK>\n"), "{}", run.err);
}

#[test]
fn a_model_or_sums_in_the_place_of_a_table_are_named() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m"]).status, 0);
    assert_eq!(cognate(folder.path(), &["statistics", "t.csv", "--task", "site", "--target", "y", "-o", "s"]).status, 0);
    let columns = ["--task", "site", "--target", "y"];
    for (file, what) in [("m", "holds a model and no rows"), ("s", "holds sums and no rows")] {
        let compare = [&["compare", file][..], &columns].concat();
        for words in
            [&["predict", "m", file][..], &["transfer", "m", file], &["check", "m", file], &["update", "m", file, "-o", "n"], &compare]
        {
            let run = cognate(folder.path(), words);
            assert!(run.status == 1 && run.err.contains(what) && run.err.contains(&format!("'{file}'")), "{words:?}: {}", run.err);
        }
    }
    let run = cognate(folder.path(), &["fit", "m"]);
    assert!(run.status == 1 && run.err.contains("holds a model"), "{}", run.err);
    assert!(!folder.path().join("n").exists());
}

#[test]
fn colours_are_for_pages_on_terminals() {
    let folder = folder();
    let plain = fit(folder.path(), &[]);
    assert!(!plain.out.contains('\u{1b}') && !plain.err.contains('\u{1b}'));
    let coloured = fit(folder.path(), &["--color", "always"]);
    assert!(coloured.out.contains("\u{1b}[1mCommon mean:\u{1b}[0m"), "{}", coloured.out);
    let mut text = coloured.out.clone();
    for code in ["\u{1b}[1m", "\u{1b}[0m", "\u{1b}[33m"] {
        text = text.replace(code, "");
    }
    assert_eq!(text, plain.out);
    let data = fit(folder.path(), &["--color", "always", "--format", "json"]);
    assert!(!data.out.contains('\u{1b}') && serde_json::from_str::<Value>(&data.out).is_ok());
    let failure = cognate(folder.path(), &["--color", "always", "tasks", "nothing"]);
    assert!(failure.err.starts_with("\u{1b}[1m\u{1b}[31mcognate:\u{1b}[0m 'nothing'"), "{:?}", failure.err);
}

#[test]
fn rows_that_miss_a_cell_can_be_left_out_of_predictions() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m"]).status, 0);
    std::fs::write(folder.path().join("q.csv"), "site,x,z\ns1,1,0\ns2,,0\ns3,1,NA\ns1,0,1\n").unwrap();
    let refused = cognate(folder.path(), &["predict", "m", "q.csv"]);
    assert!(refused.status == 1 && refused.err.contains("row 2") && refused.err.contains("'x'"), "{}", refused.err);
    let dropped = cognate(folder.path(), &["predict", "m", "q.csv", "--missing", "drop"]);
    assert!(dropped.err.contains("2 rows with missing values not predicted"), "{}", dropped.err);
    let rows: Vec<&str> = dropped.out.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(rows, ["1", "4"]);
}

/// The scores of a new task's rows are those of the same forecasts by `predict`, where it is fitted too and hyperparameters are those.
#[test]
fn predictions_of_new_tasks_are_scored() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m"]).status, 0);
    let run = cognate(folder.path(), &["transfer", "m", "new.csv", "--predict", "new.csv", "--score"]);
    assert!(run.status == 0 && run.err.contains("12 rows, log predictive density"), "{}", run.err);
    let density = |text: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with("log density")).unwrap();
        line.split_whitespace().nth(2).unwrap().parse().unwrap()
    };
    let unseen = cognate(folder.path(), &["predict", "m", "new.csv", "--score"]);
    assert!(density(&run.err) > density(&unseen.err), "{} {}", run.err, unseen.err);
    let without = cognate(folder.path(), &["transfer", "m", "new.csv", "--score"]);
    assert!(without.status == 2 && without.err.contains("--predict"), "{}", without.err);
    std::fs::write(folder.path().join("q.csv"), "site,x,z\ns7,1,0\n").unwrap();
    let blank = cognate(folder.path(), &["transfer", "m", "new.csv", "--predict", "q.csv", "--score"]);
    assert!(blank.status == 1 && blank.err.contains("'y'"), "{}", blank.err);
}

#[test]
fn a_variance_without_an_interval_has_a_reason() {
    let folder = folder();
    let own = fit(folder.path(), &["--feature-covariance", "diagonal"]);
    let learned = fit(folder.path(), &["--structure", "full"]);
    assert!(!own.out.contains("no intervals of these"), "{}", own.out);
    assert!(learned.out.contains("no intervals of these: profiles of the likelihood are not taken"), "{}", learned.out);
    let json: Value = serde_json::from_str(&fit(folder.path(), &["--structure", "full", "--format", "json"]).out).unwrap();
    assert!(json["variance_components_reason"].as_str().is_some_and(|reason| reason.contains("profiles")));
    assert!(learned.out.contains("none of them 0 in the structure 'full'"), "{}", learned.out);
}

/// Three thousand tasks leave variances next to no uncertainty: intervals carry it where that is insisted on.
#[test]
fn full_intervals_are_made_where_they_are_insisted_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("task,y\n");
    for t in 0..3000 {
        for i in 0..4 {
            writeln!(text, "t{t},{}", f64::from((t * 37) % 101) * 0.05 + f64::from((i * 7 + t * 3) % 13) * 0.1).unwrap();
        }
    }
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let with = |more: &[&str]| cognate(folder.path(), &[&["fit", "t.csv", "--task", "task", "--target", "y"][..], more].concat()).out;
    assert!(with(&[]).contains("take variances and noise as known: so many tasks"), "{}", with(&[]));
    assert!(with(&["--intervals", "full"]).contains("carry the uncertainty of the variances"), "{}", with(&["--intervals", "full"]));
}

#[test]
fn a_report_has_the_commands_that_made_the_model() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m", "--structure", "factor:1", "--quiet"]).status, 0);
    let more: String = std::fs::read_to_string(folder.path().join("t.csv")).unwrap().lines().take(5).collect::<Vec<_>>().join("\n");
    std::fs::write(folder.path().join("more.csv"), more).unwrap();
    assert_eq!(cognate(folder.path(), &["update", "m", "more.csv", "-o", "n"]).status, 0);
    assert_eq!(cognate(folder.path(), &["report", "n", "-o", "r.html", "--threads", "1"]).status, 0);
    let page = std::fs::read_to_string(folder.path().join("r.html")).unwrap();
    let fitted = "cognate fit t.csv --task site --target y --structure factor:1";
    assert!(page.contains(&format!("\"history\":[\"{fitted}\",\"cognate update m more.csv\"]")), "{:?}", page.find("history"));
    assert!(page.contains("\"command\":\"cognate report n -o r.html\""));
}

#[test]
fn parameters_can_be_written_to_a_file() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m"]).status, 0);
    let printed = cognate(folder.path(), &["tasks", "m"]);
    assert_eq!(cognate(folder.path(), &["tasks", "m", "-o", "tasks.csv"]).out, "");
    assert_eq!(std::fs::read_to_string(folder.path().join("tasks.csv")).unwrap(), printed.out);
    let same = cognate(folder.path(), &["tasks", "m", "-o", "m"]);
    assert!(same.status == 1 && same.err.contains("would be overwritten"), "{}", same.err);
}

/// Tasks of the same parameters whose noise is .05 to 5: alone they are predicted better for that only, and the verdict says so.
#[test]
fn a_verdict_knows_noise_from_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = String::from("task,y,x\n");
    for t in 0..10 {
        for i in 0..40 {
            let (x, noise) = (f64::from(i % 8) / 4.0, f64::from((i * 37 + t * 11) % 41) / 20.0 - 1.0);
            writeln!(text, "t{t},{},{x}", 1.0 + x + noise * 0.05 * 1.6_f64.powi(t)).unwrap();
        }
    }
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    let compare = |more: &[&str]| {
        let words = ["compare", "t.csv", "--task", "task", "--target", "y", "--structures", "independent,pooled,exchangeable:diagonal"];
        cognate(folder.path(), &[&words[..], more].concat()).out
    };
    let plain = compare(&[]);
    assert!(plain.contains("verdict: do not share") && plain.contains("Compare with --noise task."), "{plain}");
    let each = compare(&["--noise", "task"]);
    assert!(!each.contains("Compare with --noise task.") && !each.contains("verdict: do not share"), "{each}");
}

/// What `update` says of drift stays with the model.
#[test]
fn a_model_that_has_drifted_warns() {
    let folder = folder();
    assert_eq!(fit(folder.path(), &["--model", "m"]).status, 0);
    let mut text = String::from("site,y,x,z\n");
    for t in 0..7 {
        for i in 0..30 {
            writeln!(text, "s{t},{},{},0.5", f64::from(i * 13 % 29) * 2.0 - 20.0, f64::from(i % 5) - 2.0).unwrap();
        }
    }
    std::fs::write(folder.path().join("more.csv"), text).unwrap();
    let update = cognate(folder.path(), &["update", "m", "more.csv", "-o", "n"]);
    assert!(update.err.contains("no longer fit"), "{}", update.err);
    for words in [["report", "n", "-o", "r.html"], ["report", "m", "-o", "s.html"]] {
        assert_eq!(cognate(folder.path(), &words).status, 0);
    }
    let page = |name| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(page("r.html").contains("hyperparameters that no longer fit") && !page("s.html").contains("no longer fit"));
}

#[test]
fn the_demonstration_is_data_too() {
    let run = cognate(Path::new("."), &["demo", "--format", "json", "--quiet"]);
    let all: Value = serde_json::from_str(&run.out).unwrap();
    let best = all["comparison"]["best"].as_str().unwrap();
    assert_eq!(all["fits"][best]["structure"], all["comparison"]["best"]);
    assert_eq!(all["fits"].as_object().unwrap().len(), all["comparison"]["rungs"].as_array().unwrap().len());
}
