//! New tasks and more rows on the command line.

#[path = "common/command.rs"]
mod command;

use command::{Run, cognate};
use std::path::Path;
use tempfile::TempDir;

/// Rows of tasks of a feature and a colour, from that task on.
fn table(tasks: std::ops::Range<usize>, rows: usize) -> String {
    let mut text = String::from("site,y,x,colour\n");
    for t in tasks {
        for i in 0..rows {
            let (x, colour) = (i as f64 * 0.5 - 1.75 + 0.1 * t as f64, ["red", "green", "blue"][(i + t) % 3]);
            let noise = ((i * 7 + t * 3) % 5) as f64 * 0.1;
            text.push_str(&format!("s{t},{},{x},{colour}\n", 1.0 + (t % 3) as f64 + (0.5 + 0.2 * (t % 2) as f64) * x + noise));
        }
    }
    text
}

/// A folder with a model of six sites, and files.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table(0..6, 8)).unwrap();
    let fit = cognate(folder.path(), &["fit", "t.csv", "--task", "site", "--target", "y", "--model", "m.cognate"]);
    assert_eq!(fit.status, 0, "{}", fit.err);
    files.iter().for_each(|(name, text)| std::fs::write(folder.path().join(name), text).unwrap());
    folder
}

fn refused(run: &Run, needles: &[&str]) {
    assert_eq!((run.status, run.out.as_str()), (1, ""), "{needles:?}: {}", run.err);
    assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    needles.iter().for_each(|needle| assert!(run.err.contains(needle), "'{needle}' is not in: {}", run.err));
}

fn column(line: &str, k: usize) -> f64 {
    line.split(',').nth(k).unwrap().parse().unwrap()
}

#[test]
fn new_tasks_are_printed_as_tasks_are() {
    let new = table(10..12, 3) + "s12,,,\n";
    let folder = folder(&[("new.csv", &new)]);
    let run = cognate(folder.path(), &["transfer", "m.cognate", "new.csv"]);
    assert_eq!(run.status, 0, "{}", run.err);
    assert_eq!(run.err, "cognate: 3 new tasks, 1 without rows, from 6 tasks of the fit\n");
    let lines: Vec<&str> = run.out.lines().collect();
    assert_eq!((lines[0], lines.len()), ("task,feature,estimate,sd,low,high,own_share", 1 + 3 * 4));
    assert!(lines[1].starts_with("s10,(Intercept),") && lines[2].starts_with("s10,x,") && lines[9].starts_with("s12,(Intercept),"));
    assert!(column(lines[1], 3) < column(lines[9], 3) && column(lines[1], 6) > 0.0 && column(lines[9], 6) == 0.0);
    // From two sources less is known.
    let from = cognate(folder.path(), &["transfer", "m.cognate", "new.csv", "--from", "s0,s3", "-o", "new-tasks.csv"]);
    assert_eq!((from.status, from.out.as_str()), (0, ""), "{}", from.err);
    assert!(from.err.contains("from 2 tasks"));
    let written = std::fs::read_to_string(folder.path().join("new-tasks.csv")).unwrap();
    assert!(column(written.lines().nth(9).unwrap(), 3) > column(lines[9], 3));
}

#[test]
fn rows_of_new_tasks_are_predicted_by_their_own_and_others_by_the_fit() {
    let (new, ahead) = (table(10..11, 4), table(9..12, 1) + &table(0..1, 1)["site,y,x,colour\n".len()..]);
    let folder = folder(&[("new.csv", &new), ("ahead.csv", &ahead)]);
    let run = cognate(folder.path(), &["transfer", "m.cognate", "new.csv", "--predict", "ahead.csv", "--quiet"]);
    let plain = cognate(folder.path(), &["predict", "m.cognate", "ahead.csv"]);
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    let (own, by_fit): (Vec<&str>, Vec<&str>) = (run.out.lines().collect(), plain.out.lines().collect());
    assert_eq!((own.len(), own[0], own[1], own[3], own[4]), (5, by_fit[0], by_fit[1], by_fit[3], by_fit[4]));
    assert!(own[2].starts_with("2,s10,") && column(own[2], 3) < column(by_fit[2], 3));
}

#[test]
fn bad_input_of_transfer_gets_one_sentence() {
    let new = table(10..11, 3);
    let folder = folder(&[
        ("new.csv", &new),
        ("known.csv", &table(5..11, 2)),
        ("short.csv", &new.replace(",x,", ",z,")),
        ("untold.csv", &new.replace(",y,", ",q,")),
        ("violet.csv", &new.replace("green", "violet")),
        ("gap.csv", "site,y,x,colour\ns10,1,,red\n"),
        ("word.csv", "site,y,x,colour\ns10,one,1,red\n"),
        ("places.csv", "site,place\ns10,3\n"),
        ("empty.csv", ""),
        ("header.csv", "site,y,x,colour\n"),
    ]);
    let run = |data: &str, more: &[&str]| cognate(folder.path(), &[&["transfer", "m.cognate", data], more].concat());
    refused(&run("known.csv", &[]), &["task 's5'", "of the fit", "cognate update"]);
    refused(&run("short.csv", &[]), &["column 'x'", "site, y, z, colour"]);
    refused(&run("untold.csv", &[]), &["column 'y'"]);
    refused(&run("violet.csv", &[]), &["row 1", "'colour'", "violet", "blue, green, red"]);
    refused(&run("gap.csv", &[]), &["row 1", "'x'", "missing"]);
    refused(&run("word.csv", &[]), &["row 1", "'y'", "'one'"]);
    refused(&run("empty.csv", &[]), &["empty.csv", "empty"]);
    refused(&run("header.csv", &[]), &["header.csv", "no rows"]);
    refused(&run("m.cognate", &[]), &["m.cognate"]);
    refused(&run("nowhere.csv", &[]), &["nowhere.csv"]);
    refused(&run("new.csv", &["--from", "s00"]), &["'s00'", "did you mean 's0'", "cognate tasks"]);
    refused(&run("new.csv", &["--descriptors", "places.csv"]), &["kernel"]);
    refused(&run("new.csv", &["-o", "new.csv"]), &["would be overwritten"]);
    refused(&run("new.csv", &["--interval", "2"]), &["--interval"]);
    refused(&cognate(folder.path(), &["transfer", "t.csv", "new.csv"]), &["t.csv", "cognate model"]);
    assert!(Path::new(&folder.path().join("new.csv")).exists());
}

/// About so many a row apart without any order, and the others.
fn parts(table: &str, every: usize) -> (String, String) {
    let header = table.lines().next().unwrap();
    let part = |new: bool| {
        let lines = table.lines().skip(1).enumerate().filter(|(i, _)| (i * 7919 % 101 % every == 0) == new).map(|(_, line)| line);
        std::iter::once(header).chain(lines).collect::<Vec<_>>().join("\n") + "\n"
    };
    (part(false), part(true))
}

#[test]
fn an_update_knows_all_rows_without_the_old_ones() {
    let all = table(0..6, 12);
    let (old, new) = parts(&all, 3);
    let folder = folder(&[("old.csv", &old), ("new.csv", &new), ("all.csv", &all)]);
    let at = folder.path();
    let fit = |data: &str, model: &str| {
        let run = cognate(at, &["fit", data, "--task", "site", "--target", "y", "--model", model, "--intervals", "plug-in"]);
        assert_eq!(run.status, 0, "{}", run.err);
    };
    fit("old.csv", "old.cognate");
    std::fs::remove_file(at.join("old.csv")).unwrap();
    let before = std::fs::read(at.join("old.cognate")).unwrap();
    let run = cognate(at, &["update", "old.cognate", "new.csv", "-o", "new.cognate"]);
    assert_eq!((run.status, run.out.as_str()), (0, ""), "{}", run.err);
    let count = new.lines().count() - 1;
    assert!(
        run.err.starts_with(&format!("cognate: {count} rows added; 72 rows of 6 tasks\ncognate: the hyperparameters still fit (p = ")),
        "{}",
        run.err
    );
    // The model that was updated is as it was.
    assert_eq!(std::fs::read(at.join("old.cognate")).unwrap(), before);
    let tasks = |model: &str| cognate(at, &["tasks", model]).out;
    let (was, is) = (tasks("old.cognate"), tasks("new.cognate"));
    assert!(is.lines().zip(was.lines()).skip(1).all(|(is, was)| column(is, 3) < column(was, 3)));
    assert!(cognate(at, &["predict", "new.cognate", "all.csv"]).out.lines().count() == 73);
    // In the place of the model itself.
    let run = cognate(at, &["update", "old.cognate", "new.csv", "-o", "old.cognate", "--quiet"]);
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    assert_eq!(tasks("old.cognate"), is);
}

#[test]
fn drift_and_changed_tasks_are_told_in_words() {
    let (old, new) = parts(&table(0..6, 24), 3);
    // Site 2 is elsewhere now.
    let moved: Vec<String> = new
        .lines()
        .map(|line| match line.strip_prefix("s2,") {
            Some(rest) => {
                let (y, rest) = rest.split_once(',').unwrap();
                format!("s2,{},{rest}", y.parse::<f64>().unwrap() + 3.0)
            }
            None => line.to_string(),
        })
        .collect();
    let folder = folder(&[("old.csv", &old), ("moved.csv", &(moved.join("\n") + "\n"))]);
    let at = folder.path();
    assert_eq!(cognate(at, &["fit", "old.csv", "--task", "site", "--target", "y", "--model", "old.cognate"]).status, 0);
    let run = cognate(at, &["update", "old.cognate", "moved.csv", "-o", "new.cognate"]);
    assert_eq!(run.status, 0, "{}", run.err);
    assert!(run.err.contains("no longer fit (p < .0001)") && run.err.contains("fit all rows anew"), "{}", run.err);
    assert!(run.err.contains("not as the fit knew them: s2 (p < .0001)"), "{}", run.err);
}

#[test]
fn bad_input_of_update_gets_one_sentence_and_leaves_the_model() {
    let more = table(2..4, 3);
    let folder = folder(&[
        ("more.csv", &more),
        ("stranger.csv", &table(5..7, 2)),
        ("short.csv", &more.replace(",x,", ",z,")),
        ("untold.csv", &more.replace(",y,", ",q,")),
        ("violet.csv", &more.replace("green", "violet")),
        ("void.csv", "site,y,x,colour\ns1,,1,red\n"),
        ("header.csv", "site,y,x,colour\n"),
        ("empty.csv", ""),
    ]);
    let before = std::fs::read(folder.path().join("m.cognate")).unwrap();
    let run = |data: &str, output: &str| cognate(folder.path(), &["update", "m.cognate", data, "-o", output]);
    refused(&run("stranger.csv", "n"), &["'s6'", "not of the fit", "cognate transfer"]);
    refused(&run("short.csv", "n"), &["column 'x'"]);
    refused(&run("untold.csv", "n"), &["column 'y'"]);
    refused(&run("violet.csv", "n"), &["'colour'", "violet"]);
    refused(&run("void.csv", "m.cognate"), &["no row has a target", "'y'"]);
    refused(&run("header.csv", "n"), &["no rows"]);
    refused(&run("empty.csv", "n"), &["empty"]);
    refused(&run("m.cognate", "n"), &["holds a model", "give the table"]);
    refused(&run("more.csv", "more.csv"), &["would be overwritten"]);
    refused(&run("more.csv", "nowhere/n"), &["the folder 'nowhere' does not exist"]);
    assert_eq!(cognate(folder.path(), &["update", "m.cognate", "more.csv"]).status, 2);
    assert_eq!(std::fs::read(folder.path().join("m.cognate")).unwrap(), before);
    assert!(!folder.path().join("n").exists());
}

#[test]
fn models_of_several_targets_and_of_other_kinds_are_refused_or_taken_in_words() {
    let wide = "a,b,x\n1,2,1\n2,1,3\n3,5,2\n4,3,5\n2,6,4\n5,2,6\n1,1,2\n3,4,4\n";
    let estimates = "trial,dose,se:dose\na,1,0.3\nb,2,0.3\nc,1.5,0.2\nd,0.5,0.3\n";
    let folder = folder(&[
        ("wide.csv", wide),
        ("trials.csv", estimates),
        ("new.csv", "trial,dose,se:dose\ne,3,0.3\nf,,\n"),
        ("more.csv", "trial,dose,se:dose\na,1.4,0.2\n"),
    ]);
    let at = folder.path();
    assert_eq!(cognate(at, &["fit", "wide.csv", "--targets", "a,b", "--model", "wide.cognate"]).status, 0);
    refused(&cognate(at, &["transfer", "wide.cognate", "wide.csv"]), &["wide table", "fit that anew"]);
    refused(&cognate(at, &["update", "wide.cognate", "wide.csv", "-o", "n"]), &["wide table", "fit that anew"]);
    // Estimates are added and transferred as they were fitted.
    assert_eq!(cognate(at, &["fit", "trials.csv", "--summaries", "--model", "trials.cognate"]).status, 0);
    let run = cognate(at, &["transfer", "trials.cognate", "new.csv", "--quiet"]);
    assert!(run.status == 0 && run.out.lines().count() == 3 && column(run.out.lines().nth(1).unwrap(), 2) > 1.3, "{} {}", run.out, run.err);
    let run = cognate(at, &["update", "trials.cognate", "more.csv", "-o", "n", "--quiet"]);
    assert_eq!((run.status, run.err.as_str()), (0, ""));
    let sd = |model: &str| column(cognate(at, &["tasks", model]).out.lines().nth(1).unwrap(), 3);
    assert!(sd("n") < sd("trials.cognate"));
}

#[test]
fn levels_above_those_fitted_are_refused() {
    let rows = |tasks: std::ops::Range<usize>, top: usize| {
        let row = |t: usize, i: usize| format!("t{t},{},{}\n", 1 + (i + t) % top, i as f64 / 5.0);
        "task,y,x\n".to_string() + &tasks.flat_map(|t| (0..10).map(move |i| row(t, i))).collect::<String>()
    };
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("t.csv", rows(0..6, 3)), ("new.csv", rows(6..8, 4)), ("more.csv", rows(0..2, 4))] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let fit = ["fit", "t.csv", "--task", "task", "--target", "y", "--family", "ordinal", "--intervals", "plug-in", "--model", "m.cognate"];
    assert_eq!(cognate(folder.path(), &fit).status, 0);
    for (words, row) in
        [(&["transfer", "m.cognate", "new.csv"][..], "row 2,"), (&["update", "m.cognate", "more.csv", "-o", "n.cognate"], "row 4,")]
    {
        let run = cognate(folder.path(), words);
        refused(&run, &["column 'y'", row, "level above all that were fitted"]);
    }
}
