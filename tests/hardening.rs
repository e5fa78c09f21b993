//! What may happen to files: a program that is killed, permissions, names of files and of tasks.

#![cfg(unix)]

#[path = "common/command.rs"]
mod command;

use command::cognate;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

const FIT: [&str; 8] = ["fit", "t.csv", "--task", "site", "--target", "y", "--model", "m.cognate"];

/// Tasks by name, eight rows each.
fn table(names: &[&str]) -> String {
    let mut text = String::from("site,y,x\n");
    for (t, name) in names.iter().enumerate() {
        for i in 0..8 {
            let x = i as f64 * 0.5 - 1.75 + 0.1 * t as f64;
            let name = name.replace('"', "\"\"");
            text.push_str(&format!(
                "\"{name}\",{},{x}\n",
                (t % 3) as f64 + (0.5 + 0.2 * (t % 2) as f64) * x + ((i * 7 + t * 3) % 5) as f64 * 0.1
            ));
        }
    }
    text
}

fn folder(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.csv"), table(names)).unwrap();
    folder
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Wherever the kill falls, the file is the old model or the new one.
#[test]
fn a_kill_while_a_model_is_saved_loses_nothing() {
    let names: Vec<String> = (0..3000).map(|t| format!("t{t}")).collect();
    let folder = folder(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let program = assert_cmd::cargo::cargo_bin("cognate");
    let begin = std::time::Instant::now();
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    let whole = begin.elapsed();
    // Nothing is drawn in this fit, so that every run writes the same bytes.
    let old = std::fs::read(folder.path().join("m.cognate")).unwrap();
    let mut killed = 0;
    for k in 0..20 {
        let mut child = Command::new(&program).args(FIT).current_dir(folder.path()).stdout(Stdio::null()).spawn().unwrap();
        // Most of them near the end, where the file is written.
        std::thread::sleep(whole.mul_f64(0.6 + 0.03 * f64::from(k)).max(Duration::from_millis(1)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
        let now = std::fs::read(folder.path().join("m.cognate")).unwrap();
        assert!(now == old, "after {k}: {} bytes, {} before", now.len(), old.len());
        assert!(cognate(folder.path(), &["tasks", "m.cognate"]).status == 0, "after {k}");
    }
    assert!(killed > 0, "none was still at work");
}

#[test]
fn permissions_are_kept_and_new_files_are_for_whom_the_umask_says() {
    let folder = folder(&["a", "b", "c", "d"]);
    let at = folder.path().join("m.cognate");
    let program = assert_cmd::cargo::cargo_bin("cognate");
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let _ = std::fs::remove_file(&at);
        let line = format!("umask {umask}; {} {}", program.display(), FIT.join(" "));
        assert!(Command::new("sh").args(["-c", &line]).current_dir(folder.path()).stdout(Stdio::null()).status().unwrap().success());
        assert_eq!(mode(&at), expected, "umask {umask}");
    }
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(cognate(folder.path(), &FIT).status, 0);
    assert_eq!(mode(&at), 0o640);
    // A folder where nothing may be written: no half of a file, and a sentence. Root may write everywhere.
    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let run = cognate(folder.path(), &[&FIT[..7], &["closed/m.cognate"]].concat());
    assert!(run.status == 0 || run.status == 1 && run.err.contains("closed/m.cognate"), "{}", run.err);
    assert_eq!(closed.join("m.cognate").exists(), run.status == 0);
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn names_of_files_may_be_anything() {
    let folder = folder(&["a", "b", "c", "d"]);
    let program = assert_cmd::cargo::cargo_bin("cognate");
    for name in [&b"two words.csv"[..], b"\xff\xfe not text.csv", "gr\u{fc}n.csv".as_bytes(), b"-dash.csv", b"new\nline.csv"] {
        let data = folder.path().join(OsStr::from_bytes(name));
        let model = folder.path().join(OsStr::from_bytes(&[name, b".cognate"].concat()));
        std::fs::copy(folder.path().join("t.csv"), &data).unwrap();
        let fit =
            Command::new(&program).arg("fit").arg(&data).args(["--task", "site", "--target", "y", "--model"]).arg(&model).output().unwrap();
        assert!(fit.status.success() && model.exists(), "{}", String::from_utf8_lossy(&fit.stderr));
        let predict = Command::new(&program).arg("predict").arg(&model).arg(&data).output().unwrap();
        assert!(predict.status.success(), "{}", String::from_utf8_lossy(&predict.stderr));
    }
    let absent = folder.path().join(OsStr::from_bytes(b"\xff absent.csv"));
    let run = Command::new(&program).arg("fit").arg(&absent).args(["--task", "site", "--target", "y"]).output().unwrap();
    assert!(run.status.code() == Some(1) && String::from_utf8_lossy(&run.stderr).contains("absent.csv"));
}

/// Names that mean something to DOT, XML, CSV and a terminal come out as names.
#[test]
fn names_of_tasks_may_be_anything() {
    let names =
        ["\"];evil[label=\"x", "<script>alert(1)</script>", "a,b", "</key><node id=\"z\"/>", "back\\slash", "two\nlines", "-- > {}"];
    let folder = folder(&names);
    let fit = cognate(folder.path(), &[&FIT[..], &["--structure", "graph"]].concat());
    assert_eq!(fit.status, 0, "{}", fit.err);
    for format in ["dot", "graphml", "json", "csv"] {
        let run = cognate(folder.path(), &["graph", "m.cognate", "--format", format]);
        assert_eq!(run.status, 0, "{}", run.err);
        std::fs::write(folder.path().join(format!("g.{format}")), &run.out).unwrap();
        match format {
            "graphml" => {
                let page = roxmltree::Document::parse(&run.out).unwrap();
                assert_eq!(page.descendants().filter(|node| node.has_tag_name("node")).count(), names.len());
                assert!(names.iter().all(|name| {
                    page.descendants().any(|node| node.text() == Some(name) || node.attributes().any(|own| own.value() == *name))
                }));
            }
            "json" => {
                let value: serde_json::Value = serde_json::from_str(&run.out).unwrap();
                assert!(names.iter().all(|name| value.to_string().contains(&serde_json::json!(name).to_string())), "{value}");
            }
            _ => {}
        }
    }
    // What was written is read again, with the names as they are.
    for format in ["dot", "graphml"] {
        let known = cognate(
            folder.path(),
            &["fit", "t.csv", "--task", "site", "--target", "y", "--structure", "known", "--graph", &format!("g.{format}")],
        );
        assert!(!known.err.contains("is not among"), "{format}: {}", known.err);
    }
    let tasks = cognate(folder.path(), &["tasks", "m.cognate", "--format", "json"]);
    let tasks: Vec<serde_json::Value> = serde_json::from_str(&tasks.out).unwrap();
    assert!(names.iter().all(|name| tasks.iter().any(|own| own["task"] == *name)));
}
