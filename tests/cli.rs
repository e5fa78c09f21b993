//! The command line: results on stdout, one sentence on stderr, exit status, files whole or not at all.

#[path = "common/command.rs"]
mod command;

use assert_cmd::Command;
use command::cognate;
use serde_json::Value;
use tempfile::TempDir;

/// Six tasks of eight rows with a text column.
fn table() -> String {
    let mut text = String::from("site,y,x,colour\n");
    for t in 0..6 {
        for i in 0..8 {
            let x = i as f64 * 0.5 - 1.75 + 0.1 * t as f64;
            let noise = ((i * 7 + t * 3) % 5) as f64 * 0.1;
            let colour = ["red", "green", "blue"][(i + t) % 3];
            text.push_str(&format!("s{t},{},{x},{colour}\n", 1.0 + (t % 3) as f64 + (0.5 + 0.2 * (t % 2) as f64) * x + noise));
        }
    }
    text
}

fn folder_with(text: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), text).unwrap();
    folder
}

/// For the structure kernel a table of descriptors of the sites.
fn described(folder: &TempDir, text: &str, structure: &str) -> Vec<&'static str> {
    if structure != "kernel" {
        return Vec::new();
    }
    let column = text.lines().next().unwrap().split(',').position(|name| name == "site").unwrap();
    let sites: std::collections::BTreeSet<&str> = text.lines().skip(1).map(|line| line.split(',').nth(column).unwrap()).collect();
    let lines: Vec<String> = sites.iter().enumerate().map(|(i, site)| format!("{site},{i}")).collect();
    std::fs::write(folder.path().join("sites.csv"), format!("site,place\n{}\n", lines.join("\n"))).unwrap();
    vec!["--descriptors", "sites.csv"]
}

const FIT: [&str; 8] = ["fit", "t.csv", "--task", "site", "--target", "y", "--model", "m.cognate"];

/// Refused: exit 1, one sentence that names the place, nothing on stdout, nothing written.
fn refused(text: &str, extra: &[&str], needles: &[&str]) {
    let folder = folder_with(text);
    let run = cognate(folder.path(), &[&FIT[..], extra].concat());
    assert_eq!(run.status, 1, "{needles:?}: {} {}", run.out, run.err);
    assert!(run.out.is_empty(), "{needles:?}: {}", run.out);
    let complaint: Vec<&str> = run.err.lines().filter(|line| !line.contains("levels, reference")).collect();
    assert_eq!(complaint.len(), 1, "{needles:?}: {}", run.err);
    for needle in needles {
        assert!(complaint[0].contains(needle), "'{needle}' is not in: {}", complaint[0]);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{needles:?}: a file was left");
}

#[test]
fn every_bad_input_gets_one_sentence_and_leaves_nothing() {
    let good = table();
    refused("", &[], &["t.csv", "empty"]);
    refused("site,y,x\n", &[], &["t.csv", "no rows"]);
    refused(&good, &["--features", "x,w"], &["'w'", "site, y, x, colour"]);
    refused(&good, &["--features", "colur"], &["did you mean 'colour'"]);
    refused(&good.replace("s0,", "s0,oops"), &[], &["row 1", "'y'", "oops"]);
    let ragged = good.replacen("s1,", "s1,inf,", 1).replacen("inf,2", "inf", 1);
    refused(&ragged, &[], &["line 10", "cells"]);
    refused(&ragged.replace('\n', "\r\n"), &[], &["line 10", "cells"]);
    refused("site,y,x\na,1,2\na,2,inf\nb,1,1\nb,2,2\n", &[], &["row 2", "'x'", "not finite"]);
    refused("site,y,x\na,1,2\na,2,\nb,1,1\nb,2,2\n", &[], &["row 2", "'x'", "missing", "--missing drop"]);
    refused("site,y,x\na,1,2\n,2,3\nb,1,1\nb,2,2\n", &[], &["row 2", "'site'", "missing"]);
    refused("site,y,x\na,1,2\na,2,1e200\nb,1,1\nb,2,2\n", &[], &["row 2", "'x'", "too large"]);
    refused("site,y,x,w\na,1,2,1\na,2,3,0\nb,1,1,1\nb,2,2,1\n", &["--weights", "w"], &["row 2", "'w'", "not a positive"]);
    refused("site,y,x\na,1,2\na,2,2\nb,1,2\nb,2,2\n", &[], &["'x'", "same value"]);
    refused("site,y,x\na,1,2\na,1,3\nb,1,4\nb,1,2\n", &[], &["'y'", "same value"]);
    refused("site,y,x\na,1,2\na,2,3\na,4,4\na,3,2\n", &[], &["at least 2 tasks", "pooled"]);
    refused("site,y,x\na,,2\nb,NA,3\n", &[], &["no rows", "2 rows have no target"]);
    refused("site,y,x,x\na,1,2,1\n", &[], &["two columns are named 'x'"]);
    refused("site;y;x\na;1;2\n", &[], &["semicolons"]);
    refused("site,y,x\na,1,2\nb,2,3\n", &[], &["2 rows", "2 mean coefficients"]);
    let many: String = (0..200).map(|i| format!("s{},{i},note {i}\n", i % 4)).collect();
    refused(&format!("site,y,note\n{many}"), &[], &["'note'", "200 different texts"]);
    refused(&good, &["--prior-strength", "0", "--structure", "full"], &["--prior-strength"]);
    refused(&good, &["--features", "x", "--varying", "colour"], &["'colour' varies", "add it to --features"]);
}

#[test]
fn a_text_target_and_a_missing_folder_are_refused_before_the_work() {
    let folder = folder_with(&table());
    let run = cognate(folder.path(), &["fit", "t.csv", "--task", "site", "--target", "colour", "--model", "m.cognate"]);
    assert!(run.status == 1 && run.err.contains("row 1, column 'colour'") && run.err.contains("choose a column of numbers"), "{}", run.err);
    let run = cognate(folder.path(), &["fit", "t.csv", "--task", "site", "--target", "y", "--model", "nowhere/m.cognate"]);
    assert!(run.status == 1 && run.err.contains("the folder 'nowhere' does not exist"), "{}", run.err);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_missing_file_and_a_wrong_flag_are_told_apart() {
    let folder = folder_with(&table());
    let run = cognate(folder.path(), &["fit", "nowhere.csv", "--task", "a", "--target", "b"]);
    assert_eq!((run.status, run.err.lines().count()), (1, 1));
    assert!(run.err.contains("nowhere.csv"));
    assert_eq!(cognate(folder.path(), &["fit", "t.csv", "--task", "site"]).status, 2);
    assert_eq!(cognate(folder.path(), &["fit", "t.csv", "--task", "site", "--target", "y", "--structure", "tree"]).status, 2);
    assert_eq!(cognate(folder.path(), &["--threads", "0", "demo"]).status, 2);
}

#[test]
fn awkward_but_honest_tables_are_fitted_with_finite_answers() {
    let awkward = [
        ("one row a task", "site,y,x\na,1,2\nb,2,3\nc,4,4\nd,3,2\ne,5,7\n"),
        ("duplicate feature", "site,y,x,z\na,1,2,2\na,2,3,3\nb,4,4,4\nb,3,2,2\nb,5,6,6\n"),
        (
            "more features than rows a task",
            "site,y,p,q,r,s\na,1,2,1,0,3\na,2,3,4,1,1\nb,4,4,2,2,0\nb,3,2,1,5,2\nc,5,6,0,1,1\nc,1,0,2,2,4\nd,2,2,3,1,0\n",
        ),
        ("noiseless", "site,y,x\na,1,0\na,3,1\na,5,2\nb,1,0\nb,3,1\nb,5,2\nc,1,0\nc,3,1\nc,5,2\n"),
        ("equal targets within tasks", "site,y,x\na,1,0\na,1,1\na,1,4\nb,2,0\nb,2,1\nb,2,4\nc,3,0\nc,3,1\nc,3,4\n"),
    ];
    for (what, text) in awkward {
        for structure in cognate::structure::NAMES.into_iter().filter(|name| *name != "known") {
            let folder = folder_with(text);
            let descriptors = described(&folder, text, structure);
            let run = cognate(folder.path(), &[&FIT[..], &["--structure", structure, "--format", "json"], &descriptors].concat());
            if run.status == 1 {
                assert_eq!((run.err.lines().count(), run.out.len()), (1, 0), "{what}, {structure}: {}", run.err);
                continue;
            }
            let fit: Value = serde_json::from_str(&run.out).unwrap();
            assert!(fit["log_likelihood"].is_f64(), "{what}, {structure}: {}", run.out);
            let tasks = cognate(folder.path(), &["tasks", "m.cognate"]);
            assert!(tasks.status == 0 && !tasks.out.contains("NaN") && !tasks.out.contains("inf"), "{what}, {structure}: {}", tasks.out);
        }
    }
}

#[test]
fn fit_prints_the_keys_of_the_contract() {
    let folder = folder_with(&table());
    for structure in cognate::structure::NAMES.into_iter().filter(|name| *name != "known") {
        let descriptors = described(&folder, &table(), structure);
        let run = cognate(folder.path(), &[&FIT[..], &["--structure", structure, "--format", "json"], &descriptors].concat());
        assert_eq!(run.status, 0, "{structure}: {}", run.err);
        let fit: Value = serde_json::from_str(&run.out).unwrap();
        let keys = "version family structure tasks rows features varying log_likelihood log_likelihood_kind log_posterior parameters aic bic \
                    converged iterations mean mean_se dropped feature_covariance feature_covariance_fitted noise_variance relatedness graph warnings";
        for key in keys.split_whitespace() {
            assert!(fit.get(key).is_some(), "{structure}: no key {key}");
        }
        assert_eq!(fit["tasks"], 6);
        assert_eq!(fit["features"], serde_json::json!(["(Intercept)", "x", "colour[green]", "colour[red]"]));
        let kind = match structure {
            "independent" | "pooled" | "pooled-intercepts" => "maximised",
            "exchangeable" | "clusters" => "marginal",
            _ => "restricted",
        };
        assert_eq!(fit["log_likelihood_kind"], kind, "{structure}");
        assert!(run.err.contains("reference 'blue'"));
    }
}

#[test]
fn predictions_come_in_input_order_for_known_and_unseen_tasks() {
    let folder = folder_with(&table());
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    std::fs::write(folder.path().join("new.csv"), "colour,site,x,extra\nred,s3,0.5,1\nblue,elsewhere,0.5,1\nred,s0,1,1\n").unwrap();
    let run = cognate(folder.path(), &["predict", "m.cognate", "new.csv"]);
    assert_eq!(run.status, 0, "{}", run.err);
    let lines: Vec<Vec<&str>> = run.out.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(run.err, "cognate: 1 row of 1 task that the fit has not seen: 'elsewhere'\n");
    assert_eq!(lines[0], ["row", "task", "mean", "sd", "lower", "upper"]);
    assert_eq!([lines[1][1], lines[2][1], lines[3][1]], ["s3", "elsewhere", "s0"]);
    let sd = |line: usize| lines[line][3].parse::<f64>().unwrap();
    assert!(sd(2) > sd(1) && sd(2) > sd(3));
    let run = cognate(folder.path(), &["predict", "m.cognate", "new.csv", "-o", "out.csv"]);
    assert!(run.status == 0 && run.out.is_empty() && folder.path().join("out.csv").exists());
    std::fs::write(folder.path().join("bad.csv"), "colour,site,x\npink,s3,0.5\n").unwrap();
    let run = cognate(folder.path(), &["predict", "m.cognate", "bad.csv", "-o", "out2.csv"]);
    assert!(run.status == 1 && run.err.contains("row 1") && run.err.contains("pink") && run.err.contains("blue, green, red"));
    assert!(!folder.path().join("out2.csv").exists());
    let run = cognate(folder.path(), &["predict", "m.cognate", "t.csv", "--score"]);
    assert!(run.status == 0 && run.err.contains("log predictive density"));
    assert_eq!(cognate(folder.path(), &["predict", "m.cognate", "t.csv", "-o", "t.csv"]).status, 1);
    assert_eq!(cognate(folder.path(), &["predict", "m.cognate", "t.csv", "--interval", "2"]).status, 1);
}

/// JSON has what CSV has, a name that looks like a number is a name all the same.
#[test]
fn records_are_json_where_that_is_asked() {
    let folder = folder_with(&table().replace("s0,", "7,"));
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    for command in [&["tasks", "m.cognate"][..], &["predict", "m.cognate", "t.csv"], &["transfer", "m.cognate", "new.csv"]] {
        std::fs::write(folder.path().join("new.csv"), "site,y,x,colour\n77,1,0.5,red\n77,2,1,blue\n").unwrap();
        let csv = cognate(folder.path(), command);
        let json = cognate(folder.path(), &[command, &["--format", "json"]].concat());
        assert_eq!(json.status, 0, "{}", json.err);
        let json: Vec<Value> = serde_json::from_str(&json.out).unwrap();
        let lines: Vec<Vec<&str>> = csv.out.lines().map(|line| line.split(',').collect()).collect();
        assert!(json.len() == lines.len() - 1 && !json.is_empty());
        for (object, line) in json.iter().zip(&lines[1..]) {
            for (column, cell) in lines[0].iter().zip(line) {
                match &object[*column] {
                    Value::String(text) => assert!(["task", "feature"].contains(column) && text == cell),
                    Value::Number(number) => assert_eq!(number.as_f64().unwrap(), cell.parse::<f64>().unwrap(), "{column}"),
                    other => panic!("{column} is {other}"),
                }
            }
        }
    }
    let update = cognate(folder.path(), &["update", "m.cognate", "t.csv", "-o", "u.cognate", "--format", "json", "--quiet"]);
    let update: Value = serde_json::from_str(&update.out).unwrap();
    assert!(update["rows_added"] == 48 && update["rows"] == 96 && update["tasks"].as_array().unwrap().len() == 6);
    // They are the rows of the fit.
    assert_eq!(update["repeated"].as_array().unwrap().len(), 6);
    assert!(update["drift"]["p_value"].is_number() && update["drift"]["hyperparameters"][0]["ratio"].is_number());
}

#[test]
fn damaged_models_are_refused() {
    let folder = folder_with(&table());
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    let path = folder.path().join("m.cognate");
    let bytes = std::fs::read(&path).unwrap();
    let mut damaged = vec![bytes[..bytes.len() / 2].to_vec(), b"hello".to_vec(), Vec::new()];
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    let mut newer = bytes.clone();
    newer[8] = 99;
    damaged.extend([flipped, newer]);
    for bytes in damaged {
        std::fs::write(&path, bytes).unwrap();
        for command in ["tasks", "graph"] {
            let run = cognate(folder.path(), &[command, "m.cognate"]);
            assert_eq!((run.status, run.err.lines().count()), (1, 1), "{}", run.err);
            assert!(run.err.contains("m.cognate"));
        }
    }
}

#[test]
fn stdin_gz_and_formula_give_the_same_fit() {
    let folder = folder_with(&table());
    let options = ["--features", "x", "--feature-covariance", "full", "--format", "json"];
    let plain = cognate(folder.path(), &[&["fit", "t.csv", "--task", "site", "--target", "y"], &options[..]].concat());
    let formula = cognate(folder.path(), &["fit", "t.csv", "--formula", "y ~ x + (x | site)", "--format", "json"]);
    assert_eq!(plain.out, formula.out);
    // Without correlations a formula is lme4's model, whose features are not centred.
    let long = ["--features", "x", "--standardise", "scale", "--format", "json"];
    let scaled = cognate(folder.path(), &[&["fit", "t.csv", "--task", "site", "--target", "y"], &long[..]].concat());
    let formula = cognate(folder.path(), &["fit", "t.csv", "--formula", "y ~ x + (x || site)", "--format", "json"]);
    assert_eq!(scaled.out, formula.out);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, table().as_bytes()).unwrap();
    let output = Command::cargo_bin("cognate")
        .unwrap()
        .args([&["fit", "-", "--task", "site", "--target", "y"], &options[..]].concat())
        .write_stdin(packed.finish().unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plain.out);
}

#[test]
fn formulas_that_are_not_supported_say_what_to_write() {
    let folder = folder_with(&table());
    for formula in [
        "y ~ x",
        "y ~ x + (x|site) + (1|colour)",
        "y ~ x:z + (1|site)",
        "~ x",
        "y ~ x + (1|a/b)",
        "y ~ log(x) + (1|site)",
        "y ~ x + (|site)",
        "",
    ] {
        let run = cognate(folder.path(), &["fit", "t.csv", "--formula", formula]);
        assert_eq!((run.status, run.err.lines().count()), (1, 1), "{formula}: {}", run.err);
        assert!(run.err.contains("formula"), "{formula}: {}", run.err);
    }
}

#[test]
fn missing_targets_are_counted_and_missing_features_can_be_dropped() {
    let text = table().replacen("s2,", "s2,,", 1).replacen(",,2", ",", 1);
    let text = text.lines().map(|line| line.split(',').take(4).collect::<Vec<_>>().join(",")).collect::<Vec<_>>().join("\n");
    let folder = folder_with(&text.replacen(",blue", ",", 1));
    let run = cognate(folder.path(), &[&FIT[..], &["--missing", "drop"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    assert!(run.err.contains("1 row with missing values dropped"), "{}", run.err);
}

#[test]
fn graphs_print_in_every_format_and_tasks_tell_their_deviations() {
    let folder = folder_with(&table());
    assert_eq!(cognate(folder.path(), &[&FIT[..], &["--structure", "full"]].concat()).status, 0);
    assert!(cognate(folder.path(), &["graph", "m.cognate", "--format", "dot"]).out.starts_with("graph {"));
    let graph: Value = serde_json::from_str(&cognate(folder.path(), &["graph", "m.cognate", "--format", "json"]).out).unwrap();
    assert_eq!(graph["nodes"].as_array().unwrap().len(), 6);
    assert_eq!(graph["edges"].as_array().unwrap().len(), 15);
    assert_eq!(cognate(folder.path(), &["graph", "m.cognate", "--format", "csv"]).out.lines().count(), 16);
    assert_eq!(cognate(folder.path(), &["graph", "m.cognate", "--fdr", "0.1"]).status, 1, "full selects no edges");
    let tasks = cognate(folder.path(), &["tasks", "m.cognate", "--deviations"]).out;
    assert_eq!(tasks.lines().next().unwrap(), "task,feature,estimate,sd,low,high,own_share");
    assert_eq!(tasks.lines().count(), 1 + 6 * 4);
    assert_eq!(cognate(folder.path(), &[&FIT[..], &["--structure", "exchangeable", "--varying", "x"]].concat()).status, 0);
    let run = cognate(folder.path(), &["graph", "m.cognate"]);
    assert!(run.status == 0 && run.err.contains("learns no graph"), "{}", run.err);
    // A feature that does not vary does not deviate.
    let tasks = cognate(folder.path(), &["tasks", "m.cognate", "--deviations"]).out;
    assert!(tasks.lines().filter(|line| line.contains("colour[red]")).all(|line| line.contains("colour[red],0,0,0,0,")), "{tasks}");
    assert_eq!(cognate(folder.path(), &[&FIT[..], &["--structure", "independent"]].concat()).status, 0);
    assert_eq!(cognate(folder.path(), &["tasks", "m.cognate", "--deviations"]).status, 1);
}

#[test]
fn compare_ranks_structures_and_says_why_one_was_refused() {
    let folder = folder_with(&table());
    let run = cognate(folder.path(), &["compare", "t.csv", "--task", "site", "--target", "y", "--folds", "4", "--format", "json"]);
    assert_eq!(run.status, 0, "{}", run.err);
    let comparison: Value = serde_json::from_str(&run.out).unwrap();
    let names: Vec<&str> = comparison["rungs"].as_array().unwrap().iter().map(|rung| rung["name"].as_str().unwrap()).collect();
    let structures: std::collections::BTreeSet<&str> = names.iter().map(|name| name.split(':').next().unwrap()).collect();
    assert_eq!(structures.len(), 8, "{names:?}");
    assert!(
        names.contains(&"independent:shared-noise")
            && names.contains(&"exchangeable:full")
            && names.contains(&"exchangeable:diagonal:robust")
            && names.contains(&"factor:3")
    );
    assert!(comparison["best"].is_string() && comparison["simplest"].is_string());
    assert_eq!(cognate(folder.path(), &["compare", "t.csv", "--task", "site", "--target", "y", "--folds", "1"]).status, 1);
}

#[test]
fn factors_have_a_rank_and_rungs_a_size() {
    let folder = folder_with(&table());
    let run = cognate(folder.path(), &[&FIT[..], &["--structure", "factor", "--rank", "2", "--format", "json"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    let fit: Value = serde_json::from_str(&run.out).unwrap();
    let rank = fit["loadings"]["shares"].as_array().unwrap().len();
    assert!(rank <= 2 && fit["loadings"]["matrix"].as_array().unwrap().len() == 6);
    assert_eq!(cognate(folder.path(), &[&FIT[..], &["--structure", "factor", "--rank", "0"]].concat()).status, 1);
    let run = cognate(folder.path(), &[&FIT[..], &["--rank", "2"]].concat());
    assert!(run.status == 0 && run.err.contains("--rank means nothing to the structure 'exchangeable'"), "{}", run.err);
    let compare = ["compare", "t.csv", "--task", "site", "--target", "y", "--folds", "3", "--format", "json", "--structures"];
    let run = cognate(folder.path(), &[&compare[..], &["factor,exchangeable", "--rank", "2"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    let comparison: Value = serde_json::from_str(&run.out).unwrap();
    let names: Vec<&str> = comparison["rungs"].as_array().unwrap().iter().map(|rung| rung["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["exchangeable:scalar", "exchangeable:diagonal", "exchangeable:full", "factor:1", "factor:2"]);
    for wrong in ["factor:0", "factor:two", "pooled:2", "factors"] {
        assert_eq!(cognate(folder.path(), &[&compare[..], &[wrong]].concat()).status, 2, "{wrong}");
    }
}

#[test]
fn an_interrupted_reader_is_no_error() {
    let folder = folder_with(&table());
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cognate"))
        .current_dir(folder.path())
        .args(["tasks", "m.cognate"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

/// Interrupted at any moment, a fit leaves its model whole or not at all, and nothing beside it.
#[cfg(unix)]
#[test]
fn an_interruption_leaves_no_half_file() {
    let mut interrupted = 0;
    for wait in (0..60).step_by(3) {
        let folder = folder_with(&table());
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cognate"))
            .current_dir(folder.path())
            .args(FIT)
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        std::process::Command::new("sh").args(["-c", &format!("kill -INT {} 2>/dev/null", child.id())]).status().unwrap();
        interrupted += usize::from(!child.wait().unwrap().success());
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(name == "t.csv" || name == "m.cognate", "{name} was left after {wait} ms");
        }
        if folder.path().join("m.cognate").exists() {
            assert_eq!(cognate(folder.path(), &["graph", "m.cognate"]).status, 0, "half a model after {wait} ms");
        }
    }
    assert!(interrupted > 0, "no run was interrupted");
}

/// Interrupted while it waits for its table, a fit ends at once with status 130 and writes nothing.
#[cfg(unix)]
#[test]
fn an_interruption_while_reading_ends_with_its_own_status() {
    let folder = folder_with(&table());
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("cognate"))
        .current_dir(folder.path())
        .args([&["fit", "-"], &FIT[2..]].concat())
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, table().as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    std::process::Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop(input);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn edges_are_sampled_by_seed_and_chosen_by_false_discovery_rate() {
    // Twelve features, three pairs of twins among eight tasks.
    let mut text = format!("site,y,{}\n", (0..12).map(|k| format!("x{k}")).collect::<Vec<_>>().join(","));
    let draw = |a: usize, b: usize| (((a * 7919 + b * 104_729 + 13) * 2_654_435_761 % 4_294_967_296) as f64 / 4_294_967_296.0 - 0.5) * 3.4;
    for t in 0..8 {
        let twin = if t < 6 { t / 2 } else { t };
        for i in 0..40 {
            let x: Vec<f64> = (0..12).map(|k| draw(t * 40 + i, k + 20)).collect();
            let y: f64 = (0..12).map(|k| x[k] * draw(twin, k)).sum::<f64>() + 0.2 * draw(t * 40 + i, 99);
            text.push_str(&format!("s{t},{y},{}\n", x.iter().map(f64::to_string).collect::<Vec<_>>().join(",")));
        }
    }
    let folder = folder_with(&text);
    let fit = |seed: &str, file: &str, more: &[&str]| {
        let base = ["fit", "t.csv", "--task", "site", "--target", "y", "--structure", "graph", "--format", "json"];
        let run = cognate(folder.path(), &[&base[..], &["--seed", seed, "--model", file], more].concat());
        assert_eq!(run.status, 0, "{}", run.err);
        run.out
    };
    assert_eq!(fit("1", "a.cognate", &[]), fit("1", "b.cognate", &["--threads", "1"]), "the same seed gives the same bytes");
    let graph: Value =
        serde_json::from_str(&cognate(folder.path(), &["graph", "a.cognate", "--fdr", "0.1", "--format", "json"]).out).unwrap();
    let edges = graph["edges"].as_array().unwrap();
    assert!(edges.iter().any(|edge| edge["source"] == "s0" && edge["target"] == "s1"), "{graph}");
    for edge in edges {
        let number = |key: &str| edge[key].as_f64().unwrap();
        assert!(number("probability") > 0.5 && number("sign_probability") > 0.5, "{edge}");
        assert!(number("low") <= number("partial_correlation") && number("partial_correlation") <= number("high"), "{edge}");
    }
    fit("1", "fast.cognate", &["--edges", "fast"]);
    let run = cognate(folder.path(), &["graph", "fast.cognate", "--fdr", "0.1"]);
    assert!(run.status == 1 && run.err.contains("--edges auto"), "{}", run.err);
    assert_eq!(cognate(folder.path(), &["graph", "a.cognate", "--fdr", "2"]).status, 1);
}

#[test]
fn a_simulated_table_is_fitted_beside_its_truth() {
    let folder = folder_with("");
    let plan = ["simulate", "--tasks", "9", "--features", "12", "--rows", "40", "--graph", "chain", "--strength", "0.4,0.49"];
    let more = ["--noise-ratio", "0.1", "--seed", "4", "-o", "drawn.csv", "--truth", "truth.json"];
    let run = cognate(folder.path(), &[&plan[..], &more].concat());
    assert!(run.status == 0 && run.out.is_empty(), "{}", run.err);
    let table = std::fs::read_to_string(folder.path().join("drawn.csv")).unwrap();
    assert_eq!(table.lines().count(), 9 * 40 + 1);
    let truth: Value = serde_json::from_str(&std::fs::read_to_string(folder.path().join("truth.json")).unwrap()).unwrap();
    assert_eq!(truth["graph"]["edges"].as_array().unwrap().len(), 8);
    let run = cognate(folder.path(), &["fit", "drawn.csv", "--task", "task", "--target", "y", "--model", "m.cognate", "--format", "json"]);
    let fitted: Value = serde_json::from_str(&run.out).unwrap();
    let (found, known) = (fitted["noise_variance"].as_f64().unwrap(), truth["noise_sd"].as_f64().unwrap().powi(2));
    assert!((found / known - 1.0).abs() < 0.25, "{found} against {known}");

    // New targets for the same rows, from the model; the same seed gives the same bytes.
    let again = ["simulate", "--model", "m.cognate", "--data", "drawn.csv", "--graph", "hubs", "--seed", "2"];
    let run = cognate(folder.path(), &again);
    assert_eq!(run.out.lines().count(), 9 * 40 + 1, "{}", run.err);
    assert_eq!(run.out, cognate(folder.path(), &again).out);
    let summaries = cognate(folder.path(), &[&plan[..], &["--summaries"]].concat());
    assert_eq!(summaries.out.lines().count(), 10, "{}", summaries.err);
    assert_eq!(summaries.out.lines().next().unwrap().split(',').count(), 1 + 12 + 78);

    for (bad, word) in [
        (&["simulate", "--tasks", "0"][..], "--tasks 0"),
        (&["simulate", "--graph", "random", "--edges", "45", "--tasks", "10"], "fewer or weaker"),
        (&["simulate", "--strength", "0.9,0.2", "--graph", "chain"], "smaller first"),
        (&["simulate", "--noise-ratio", "0.5", "--rows", "3", "--features", "5"], "more rows"),
        (&["simulate", "--noise-sd", "-1"], "from 0 upwards"),
    ] {
        let run = cognate(folder.path(), bad);
        assert!(run.status != 0 && run.out.is_empty(), "{bad:?}");
        assert!(run.err.contains(word) || run.status == 2, "{bad:?}: {}", run.err);
    }
}

#[test]
fn a_graph_is_compared_with_nulls_and_exported() {
    let folder = folder_with("");
    let plan = ["simulate", "--tasks", "8", "--features", "60", "--rows", "120", "--graph", "chain", "--strength", "0.42,0.49"];
    cognate(folder.path(), &[&plan[..], &["--noise-ratio", "0.05", "-o", "d.csv"]].concat());
    // Any structure's statistics serve.
    cognate(folder.path(), &["fit", "d.csv", "--task", "task", "--target", "y", "--model", "m.cognate"]);
    let run = cognate(folder.path(), &["graph", "m.cognate", "--null", "9", "--fdr", "0.2", "--format", "json", "--threads", "2"]);
    let graph: Value = serde_json::from_str(&run.out).unwrap();
    let nulls = graph["nulls"].as_array().unwrap();
    assert_eq!(nulls.len(), 2);
    for null in nulls {
        assert_eq!(null["p_value"], 0.1, "{null}");
        assert!(null["expected_edges"].as_f64().unwrap() > null["expected_edges_of_nulls"].as_f64().unwrap());
    }
    assert!(!graph["edges"].as_array().unwrap().is_empty());
    assert_eq!(
        run.out,
        cognate(folder.path(), &["graph", "m.cognate", "--null", "9", "--fdr", "0.2", "--format", "json", "--threads", "1"]).out
    );
    let graphml = cognate(folder.path(), &["graph", "m.cognate", "--edges", "exact", "--format", "graphml"]).out;
    assert!(graphml.contains("<graphml") && graphml.contains("partial_correlation"), "{graphml}");
    assert!(cognate(folder.path(), &["graph", "m.cognate", "--edges", "pseudo-gibbs", "--fdr", "0.2"]).out.contains("edges"));
    let fast = cognate(folder.path(), &["graph", "m.cognate", "--edges", "fast"]);
    assert!(fast.status == 2 && fast.err.contains("pseudo-gibbs"), "{}", fast.err);
    assert_eq!(cognate(folder.path(), &["graph", "m.cognate", "--null", "0"]).status, 1);
}

/// No command takes away what it reads or writes one file over another; sizes and weights beyond reason are refused, not tried.
#[test]
fn what_would_lose_files_or_never_end_is_refused() {
    let folder = folder_with(&table());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let run = |words: &str| cognate(folder.path(), &words.split(' ').collect::<Vec<_>>());
    write("g.csv", "source,target\ns0,s1\n");
    write("lower.csv", "task,s0,s1\ns0,1,0.5\ns1,0,1\n");
    let weighted: String =
        table().lines().enumerate().map(|(i, line)| format!("{line},{}\n", if i == 0 { "w" } else { ["1e9", "1e-9"][i % 2] })).collect();
    write("w.csv", &weighted);
    let fit = "fit t.csv --task site --target y --features x";
    for (words, sentence) in [
        (format!("{fit} --structure known --graph g.csv --model g.csv"), "would be overwritten"),
        (format!("{fit} --structure graph --model -"), "no file to write to"),
        (format!("{fit} --structure known --covariance lower.csv"), "must be symmetric"),
        ("fit w.csv --task site --target y --features x --weights w --structure graph --feature-covariance full".into(), ""),
        ("simulate -o same.csv --truth ./same.csv".into(), "two files"),
        ("simulate --tasks 10 --graph random --edges 46".into(), "45 pairs"),
        ("simulate --features 100000 --tasks 2".into(), "in memory"),
        ("simulate --rows 99999999999999999".into(), "in memory"),
        ("simulate --mean-sd -1".into(), "--mean-sd"),
        ("simulate --edges 5".into(), "--graph random"),
    ] {
        let refused = run(&words);
        assert!(
            sentence.is_empty() || (refused.status == 1 && refused.err.contains(sentence)),
            "{words}: {} {}",
            refused.status,
            refused.err
        );
        assert!(refused.status <= 1 && !refused.err.contains("panicked"), "{words}: {}", refused.err);
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("g.csv")).unwrap(), "source,target\ns0,s1\n");
    assert!(!folder.path().join("same.csv").exists() && !folder.path().join("-").exists());
}

#[test]
fn targets_of_other_families_are_fitted_compared_and_predicted() {
    let mut table = String::from("ward,dose,well,falls\n");
    for i in 0..240 {
        let (ward, dose) = (i % 8, f64::from(i / 8 % 15) / 7.0 - 1.0);
        let well = u8::from(dose + f64::from(ward) / 4.0 + f64::from(i * 7 % 11) / 5.0 > 2.0);
        table.push_str(&format!("w{ward},{dose},{well},{}\n", (i * 5 % 7 + ward) / 3));
    }
    let folder = folder_with(&table);
    let run = |words: &str| cognate(folder.path(), &words.split(' ').collect::<Vec<_>>());
    for (family, target) in [("bernoulli", "well"), ("probit", "well"), ("poisson", "falls")] {
        let fit =
            run(&format!("fit t.csv --task ward --target {target} --features dose --family {family} --model m.cognate --format json"));
        let report: serde_json::Value = serde_json::from_str(&fit.out).unwrap();
        assert_eq!((report["converged"].as_bool(), report["log_likelihood_is_bound"].as_bool()), (Some(true), Some(true)), "{}", fit.err);
        assert!(report["noise_variance"].is_null() && report["log_likelihood"].as_f64().unwrap() < 0.0);
        let predicted = run("predict m.cognate t.csv --score");
        assert!(predicted.status == 0 && predicted.err.contains("log predictive density"), "{}", predicted.err);
        let means: Vec<f64> = predicted.out.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
        assert!(means.iter().all(|mean| *mean > 0.0 && (target == "falls" || *mean < 1.0)));
        let compared = run(&format!(
            "compare t.csv --task ward --target {target} --features dose --family {family} --format json --structures independent,pooled,pooled-intercepts,exchangeable:diagonal"
        ));
        let comparison: serde_json::Value = serde_json::from_str(&compared.out).unwrap();
        let rungs = comparison["rungs"].as_array().unwrap();
        assert!(rungs.len() == 4 && rungs.iter().all(|rung| rung["refused"].is_null()), "{}", compared.out);
        let score = |k: usize| rungs[k]["score"].as_f64().unwrap();
        assert!(rungs[3]["name"] == "exchangeable:diagonal" && score(3) > score(1), "{}", compared.out);
        let nulls = run("graph m.cognate --null 3");
        assert!(nulls.status == 1 && nulls.err.contains("holds no rows"), "{}", nulls.err);
    }
    for (words, sentence) in [
        ("fit t.csv --task ward --target falls --features dose --family bernoulli", "column 'falls': 2.0 is no share of successes"),
        ("fit t.csv --task ward --target dose --features well --family poisson", "is no count"),
    ] {
        let refused = run(words);
        assert!(refused.status == 1 && refused.err.contains(sentence), "{words}: {}", refused.err);
    }
}

/// Counts of successes with their trials, counts with their exposure, levels: predicted in the target's own units.
#[test]
fn trials_exposures_and_dispersions_are_read_and_told() {
    let mut text = String::from("ward,cured,treated,falls,months,stay,grade,dose\n");
    for i in 0..96 {
        let (ward, dose) = (i % 8, f64::from(i / 8) / 6.0 - 1.0);
        let (treated, months) = (2 + i % 5, 1 + i % 3);
        let cured = ((f64::from(treated) * (0.3 + 0.05 * f64::from(ward) + 0.1 * dose)).round() as i32 + i * 7 % 2).min(treated);
        let falls = months * (1 + ward / 3) + i * 5 % 4;
        let stay = (1.0 + 0.2 * f64::from(ward) + 0.3 * dose) * (1.0 + 0.3 * f64::from(i * 11 % 7));
        let grade = 1 + (ward + 3 * (i * 7 % 5)) / 5;
        text.push_str(&format!("w{ward},{cured},{treated},{falls},{months},{stay},{grade},{dose}\n"));
    }
    let folder = folder_with(&text);
    let run = |line: &str| cognate(folder.path(), &line.split(' ').collect::<Vec<_>>());
    let base = "fit t.csv --task ward --features dose --model m.cognate --format json";
    let cases = [
        ("--target cured --trials treated --family binomial", 0),
        ("--target cured --trials treated --family probit --inference laplace", 0),
        ("--target falls --exposure months --family poisson", 0),
        ("--target falls --exposure months --family negative-binomial", 1),
        ("--target stay --family gamma", 1),
        ("--target stay --family gamma --noise task", 8),
        ("--target stay --family student", 2),
        ("--target grade --family ordinal", 2),
    ];
    for (flags, dispersions) in cases {
        let fit = run(&format!("{base} {flags}"));
        assert_eq!((fit.status, fit.err.as_str()), (0, ""), "{flags}");
        let fit: Value = serde_json::from_str(&fit.out).unwrap();
        assert_eq!(fit["dispersion"].as_object().unwrap().len(), dispersions, "{flags}: {}", fit["dispersion"]);
        assert_eq!(fit["inference"], if flags.contains("laplace") { "laplace" } else { "variational" });
        assert_eq!(fit["converged"], true, "{flags}");
        let scored = run("predict m.cognate t.csv --score");
        assert_eq!(scored.status, 0, "{flags}: {}", scored.err);
        assert!(scored.err.contains("96 rows, log predictive density -"), "{flags}: {}", scored.err);
        let rows: Vec<Vec<f64>> = scored
            .out
            .lines()
            .skip(1)
            .map(|line| line.split(',').enumerate().filter(|(k, _)| *k != 1).map(|(_, cell)| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.iter().all(|row| row[3] <= row[1] && row[1] <= row[4]), "{flags}");
        if flags.contains("--trials") {
            // Expected counts add up to about those observed.
            let expected: f64 = rows.iter().map(|row| row[1]).sum();
            let observed: f64 = text.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<f64>().unwrap()).sum();
            assert!((expected / observed - 1.0).abs() < 0.05, "{expected} {observed}");
        }
    }
    let refusals = [
        ("--target cured --trials treated --family poisson", "--trials belongs to --family binomial or probit"),
        ("--target falls --trials treated --family binomial", "is no number of successes in"),
        ("--target cured --trials dose --family binomial", "is no number of trials"),
        ("--target falls --exposure dose --family poisson", "is no exposure"),
        ("--target stay --exposure months --family student", "--exposure multiplies an expectation"),
        ("--target dose --family gamma", "is not positive"),
        ("--target stay --family ordinal", "is no level"),
        ("--target stay --family gamma --noise task --inference laplace", "needs variational inference"),
    ];
    for (flags, complaint) in refusals {
        let run = run(&format!("fit t.csv --task ward --features grade --model refused.cognate {flags}"));
        assert_eq!(run.status, 1, "{flags}: {}", run.out);
        assert!(run.out.is_empty() && run.err.contains(complaint), "{flags}: {}", run.err);
        assert!(!folder.path().join("refused.cognate").exists(), "{flags}");
    }
    let idle = run(&format!("{base} --target falls --family poisson --noise task"));
    assert!(idle.err.contains("--noise means nothing"), "{}", idle.err);
}

#[test]
fn a_known_graph_is_read_in_every_format_that_is_written() {
    let folder = folder_with(&table());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let fit = |file: &str| {
        let data = ["fit", "t.csv", "--task", "site", "--target", "y", "--features", "x", "--model", "m.cognate"];
        cognate(folder.path(), &[&data[..], &["--structure", "known", "--graph", file, "--format", "json"]].concat())
    };
    write("g.csv", "source,target\ns0,s3\ns1,s4\ns2,s5\n");
    let by_csv = fit("g.csv");
    assert_eq!(by_csv.status, 0, "{}", by_csv.err);
    write("g.dot", "graph { first [label=s0]; first -- s3; s1 -- s4; s2 -- s5 }");
    let edges = |numbers: [(u8, u8); 3]| numbers.map(|(s, t)| format!(r#"<edge source="n{s}" target="n{t}"/>"#)).concat();
    let nodes: String = (0..6).map(|t| format!(r#"<node id="n{t}"><data key="task">s{t}</data></node>"#)).collect();
    write("g.graphml", &format!("<graphml><graph>{nodes}{}</graph></graphml>", edges([(0, 3), (1, 4), (2, 5)])));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut packed, &std::fs::read(folder.path().join("g.dot")).unwrap()).unwrap();
    std::fs::write(folder.path().join("packed.GV.gz"), packed.finish().unwrap()).unwrap();
    for file in ["g.dot", "g.graphml", "packed.GV.gz"] {
        assert_eq!(fit(file).out, by_csv.out, "{file}");
    }

    // What `cognate graph` writes comes back; its communities are the pairs.
    for (format, file) in [("dot", "written.gv"), ("graphml", "written.xml")] {
        write(file, &cognate(folder.path(), &["graph", "m.cognate", "--format", format]).out);
        assert_eq!(fit(file).status, 0, "{file}");
    }
    let text = cognate(folder.path(), &["graph", "m.cognate"]).out;
    assert!(text.contains("\ncommunities: s0 s3 | s1 s4 | s2 s5\n"), "{text}");
    let graph: Value = serde_json::from_str(&cognate(folder.path(), &["graph", "m.cognate", "--format", "json"]).out).unwrap();
    assert_eq!(graph["communities"], serde_json::json!([["s0", "s3"], ["s1", "s4"], ["s2", "s5"]]));

    write("bad.dot", "graph { s0 -- s3 [weight=much] }");
    write("bad.graphml", "<graphml><graph><node id=\"s0\"/><edge source=\"s0\" target=\"s9\"/></graph></graphml>");
    write("negative.gv", "graph { s0 -- s3 [weight=-1] }");
    std::fs::write(folder.path().join("latin.xml"), b"<graphml>Z\xfcrich</graphml>").unwrap();
    for (file, word) in [
        ("bad.dot", "'much' is not a finite number"),
        ("bad.graphml", "'s9', which is no node"),
        ("negative.gv", "weight -1"),
        ("latin.xml", "UTF-8"),
        ("nowhere.dot", "nowhere.dot"),
    ] {
        let run = fit(file);
        assert_eq!((run.status, run.out.len(), run.err.lines().count()), (1, 0, 1), "{file}: {}", run.err);
        assert!(run.err.contains(word), "{file}: {}", run.err);
    }
}

#[test]
fn edges_are_looked_for_among_candidates_only() {
    let folder = folder_with(&table());
    std::fs::write(folder.path().join("c.csv"), "source,target\ns0,s3\ns4,s1\n").unwrap();
    let data = ["fit", "t.csv", "--task", "site", "--target", "y", "--features", "x", "--model", "m.cognate", "--structure", "graph"];
    let all = |run: &str| -> Vec<(String, String)> {
        let ends = |line: &str| line.split(',').map(String::from).collect::<Vec<_>>();
        run.lines().skip(1).map(ends).map(|words| (words[0].clone(), words[1].clone())).collect()
    };
    let allowed = |(s, t): &(String, String)| [("s0", "s3"), ("s1", "s4"), ("s4", "s1")].contains(&(s.as_str(), t.as_str()));
    let fitted = cognate(folder.path(), &[&data[..], &["--graph", "c.csv"]].concat());
    assert_eq!(fitted.status, 0, "{}", fitted.err);
    let named = cognate(folder.path(), &["graph", "m.cognate", "--fdr", "0.99", "--format", "csv"]);
    assert!(named.status == 0 && all(&named.out).iter().all(allowed), "{}", named.out);
    // Sampled anew, the model's edges are looked for where they were.
    let again = cognate(folder.path(), &["graph", "m.cognate", "--edges", "exact", "--fdr", "0.99", "--format", "csv"]);
    assert!(again.status == 0 && all(&again.out).iter().all(allowed), "{}", again.out);
    // Another model's edges sampled anew among them, and among the nearest.
    assert_eq!(cognate(folder.path(), &data).status, 0);
    let anew = cognate(folder.path(), &["graph", "m.cognate", "--graph", "c.csv", "--fdr", "0.99", "--format", "csv"]);
    assert!(anew.status == 0 && all(&anew.out).iter().all(allowed), "{}{}", anew.out, anew.err);
    assert_eq!(cognate(folder.path(), &["graph", "m.cognate", "--candidates", "1"]).status, 0);
    let none = cognate(folder.path(), &[&data[..], &["--candidates", "0"]].concat());
    assert!(none.status == 1 && none.err.contains("--candidates 0"), "{}", none.err);
}

#[test]
fn graph_features_are_named_in_the_report_and_must_vary() {
    let folder = folder_with(&table());
    let run = cognate(folder.path(), &[&FIT[..], &["--structure", "full", "--graph-features", "x", "--format", "json"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    let fit: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!(fit["graph_features"], serde_json::json!(["x"]));
    let run = cognate(folder.path(), &[&FIT[..], &["--structure", "graph", "--graph-features", "(Intercept),colour", "--quiet"]].concat());
    assert_eq!(run.status, 0, "{}", run.err);
    assert!(run.out.contains("Graph features: (Intercept), colour[green], colour[red]"), "{}", run.out);
    let run = cognate(folder.path(), &[&FIT[..], &["--graph-features", "x"]].concat());
    assert!(run.err.contains("--graph-features means nothing to the structure 'exchangeable'"), "{}", run.err);
    refused(&table(), &["--structure", "graph", "--graph-features", "y2"], &["'y2'", "graph feature"]);
    refused(&table(), &["--structure", "graph", "--varying", "x", "--graph-features", "colour"], &["colour", "does not vary"]);
}

#[test]
fn audit_says_who_taught_whom_and_refuses_in_words() {
    let folder = folder_with(&table());
    let fit = |extra: &[&str]| {
        let run = cognate(folder.path(), &[&FIT[..], extra].concat());
        assert_eq!(run.status, 0, "{}", run.err);
    };
    let audit = |arguments: &[&str]| cognate(folder.path(), &[&["audit", "m.cognate"], arguments].concat());
    let json = |arguments: &[&str]| -> Value {
        let run = audit(&[arguments, &["--format", "json"]].concat());
        assert_eq!(run.status, 0, "{}", run.err);
        serde_json::from_str(&run.out).unwrap()
    };
    fit(&["--structure", "full"]);

    let text = audit(&[]);
    assert!(text.status == 0 && text.err.is_empty() && text.out.starts_with("Who taught whom: 6 tasks, structure full"), "{}", text.err);
    assert!(text.out.contains("\nWhere 10 more rows would help most"), "{}", text.out);
    let all = json(&["--rows", "5"]);
    assert_eq!((all["tasks"].as_array().unwrap().len(), all["allocation"]["rows"].as_f64()), (6, Some(5.0)));
    let csv = audit(&["--format", "csv"]).out;
    assert_eq!((csv.lines().count(), csv.lines().next().unwrap().split(',').count()), (7, 11), "{csv}");

    let one = json(&["--task", "s2"]);
    let number = |value: &Value| value.as_f64().unwrap();
    let donors = one["donors"].as_array().unwrap();
    let sum: f64 = number(&one["own"]) + donors.iter().map(|donor| number(&donor["weight"])).sum::<f64>() + number(&one["prior"]);
    assert!(
        (sum - 1.0).abs() < 1e-9 && donors.len() == 5 && number(&one["itself"]["reduction"]) > number(&donors[0]["reduction"]),
        "{one}"
    );
    assert!(audit(&["--task", "s2"]).out.contains("\nits own rows"));
    assert_eq!(audit(&["--task", "s2", "--format", "csv"]).out.lines().count(), 7);

    // The parts of a prediction are those of what `predict` says.
    let row = "x=0.5,colour=blue";
    let parts = json(&["--task", "s2", "--predict", row]);
    std::fs::write(folder.path().join("row.csv"), "site,x,colour\ns2,0.5,blue\n").unwrap();
    let predicted = cognate(folder.path(), &["predict", "m.cognate", "row.csv"]).out;
    let mean: f64 = predicted.lines().nth(1).unwrap().split(',').nth(2).unwrap().parse().unwrap();
    let sum: f64 = ["mean", "own", "neighbours", "offset"].iter().map(|part| number(&parts[*part])).sum();
    assert!((number(&parts["prediction"]) - mean).abs() < 1e-9 && (sum - mean).abs() < 1e-9, "{parts}");
    assert!(audit(&["--task", "s2", "--predict", row]).out.starts_with("Prediction of task s2: "));
    assert!(audit(&["--task", "s2", "--predict", row, "--format", "csv"]).out.starts_with("part,task,value\nprediction,s2,"));

    let saved = audit(&["--format", "csv", "-o", "audit.csv"]);
    assert_eq!((saved.status, saved.out.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(folder.path().join("audit.csv")).unwrap(), csv);

    let refusals: [(&[&str], &str); 10] = [
        (&["--task", "s22"], "task 's22' is not in the model (did you mean 's2'?)"),
        (&["--rows", "0"], "--rows 0"),
        (&["--rows", "-3"], "--rows -3"),
        (&["--rows", "NaN"], "--rows NaN"),
        (&["--task", "s2", "--predict", "x=1"], "'colour'"),
        (&["--task", "s2", "--predict", "x=1,colour=pink"], "level 'pink'"),
        (&["--task", "s2", "--predict", "x=much,colour=red"], "'much' is not a number"),
        (&["--task", "s2", "--predict", "x"], "'x' says no value"),
        (&["--task", "s2", "--predict", "x=1,colour=red,color=red"], "'color' is not in the table (did you mean 'colour'?)"),
        (&["-o", "m.cognate"], "would be overwritten"),
    ];
    for (arguments, word) in refusals {
        let run = audit(arguments);
        assert_eq!((run.status, run.out.len(), run.err.lines().count()), (1, 0, 1), "{arguments:?}: {}", run.err);
        assert!(run.err.contains(word), "{arguments:?}: {}", run.err);
    }
    assert_eq!(audit(&["--predict", row]).status, 2);
    assert_eq!(audit(&["--rows", "many"]).status, 2);

    let mut bytes = std::fs::read(folder.path().join("m.cognate")).unwrap();
    bytes[8] += 1;
    std::fs::write(folder.path().join("other.cognate"), bytes).unwrap();
    let run = cognate(folder.path(), &["audit", "other.cognate"]);
    assert!(run.status == 1 && run.err.contains("version") && run.err.lines().count() == 1, "{}", run.err);

    fit(&["--structure", "clusters", "--groups", "2"]);
    assert!(audit(&[]).status == 1 && audit(&[]).err.contains("no linear combination"), "{}", audit(&[]).err);
    fit(&["--structure", "independent"]);
    let alone = json(&["--task", "s2"]);
    assert!(alone["donors"].as_array().unwrap().is_empty() && number(&alone["own"]) > 0.5, "{alone}");
}
