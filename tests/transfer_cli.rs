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
    refused(&run("new.csv", &["--descriptors", "t.csv"]), &["kernel"]);
    refused(&run("new.csv", &["-o", "new.csv"]), &["would be overwritten"]);
    refused(&run("new.csv", &["--interval", "2"]), &["--interval"]);
    refused(&cognate(folder.path(), &["transfer", "t.csv", "new.csv"]), &["t.csv", "cognate model"]);
    assert!(Path::new(&folder.path().join("new.csv")).exists());
}
